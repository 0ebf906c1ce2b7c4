"""Balls in three norms, cut by the box: where an adversary may go, and which way is steepest; torch only.

Points are (n, d) in unit coordinates. A box is given by its ends `lower` and `upper`, (n, d), with the clean rows
inside; what cannot move has equal ends. Methods that end in `_` change their first argument.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Literal, Protocol

import torch

from auditor.balls import NormName

Radius = float | torch.Tensor  # of all rows, or each row's own (n,)

_TINY = 1e-30
_SAFE = (1e-12, 1e12)  # lengths whose squares, and those of their parts, lie well within float32
_ROUNDS = 40  # most of which an accelerator runs in vain, rather than be waited for


class Norm(Protocol):
    """What an attack asks of a norm."""

    @property
    def name(self) -> NormName:
        """linf, l2 or l1."""
        ...

    def distance(self, move: torch.Tensor) -> torch.Tensor:
        """Length (n,) of moves (n, d)."""
        ...

    def dual(self, gradient: torch.Tensor) -> torch.Tensor:
        """Steepest rise (n,) of a linear function a unit of distance, of gradients (n, d)."""
        ...

    def direction_(self, gradient: torch.Tensor) -> torch.Tensor:
        """Gradients (n, d) made steps of length 1, zero where the gradient is zero or no number."""
        ...

    def project_(
        self, u: torch.Tensor, x: torch.Tensor, epsilon: Radius, lower: torch.Tensor, upper: torch.Tensor
    ) -> torch.Tensor:
        """Points u (n, d) brought into ball and box; the radius may be each row's own (n,)."""
        ...

    def contain_(
        self, u: torch.Tensor, x: torch.Tensor, epsilon: Radius, lower: torch.Tensor, upper: torch.Tensor
    ) -> torch.Tensor:
        """The same for points that are inside already or hardly outside: cheaper, and less exact."""
        ...

    def spread(self, draws: torch.Tensor, epsilon: float) -> torch.Tensor:
        """Moves (n, d) of a random start, of numbers drawn evenly from [0, 1)."""
        ...

    def whole(self, features: int) -> float:
        """The radius of a ball that holds the whole range, of so many features."""
        ...

    def share(self, epsilon: float, features: int) -> float:
        """How far each of so many features may move, if all move by the same."""
        ...


@dataclass(frozen=True)
class Linf:
    """Every coordinate may move by epsilon: the ball is a box, so projections are exact."""

    name: Literal["linf"] = "linf"

    def distance(self, move: torch.Tensor) -> torch.Tensor:
        """The largest move of a coordinate."""
        return move.abs().amax(1)

    def dual(self, gradient: torch.Tensor) -> torch.Tensor:
        """Sum of absolute values."""
        return gradient.abs().sum(1)

    def direction_(self, gradient: torch.Tensor) -> torch.Tensor:
        """Signs; what is no number has the sign 0."""
        return gradient.sign_()

    def project_(  # the ball is in the ends
        self,
        u: torch.Tensor,
        x: torch.Tensor,  # noqa: ARG002
        epsilon: Radius,  # noqa: ARG002
        lower: torch.Tensor,
        upper: torch.Tensor,
    ) -> torch.Tensor:
        """Clipped to the ends, which are those of ball and box already."""
        return torch.clamp(u, lower, upper, out=u)

    contain_ = project_

    def spread(self, draws: torch.Tensor, epsilon: float) -> torch.Tensor:
        """Evenly over the ball."""
        return epsilon * (2 * draws - 1)

    def whole(self, features: int) -> float:  # noqa: ARG002  # the same for any number
        """1: each feature's range."""
        return 1.0

    def share(self, epsilon: float, features: int) -> float:  # noqa: ARG002  # the same for any number
        """All of it."""
        return epsilon


@dataclass(frozen=True)
class L2:
    """The Euclidean ball. `rounds` of scaling bring a projection from inside to the edge of the ball cut by the box.

    Without any, a projection is the radial one clipped to the box, which Auto-PGD was published with: where the box
    clips much, it stays well inside the ball. One round is all but exact, and worth several times its cost in steps.
    """

    rounds: int = 1
    name: Literal["l2"] = "l2"

    def distance(self, move: torch.Tensor) -> torch.Tensor:
        """Euclidean length."""
        length: torch.Tensor = torch.linalg.vector_norm(move, dim=1)
        return length

    def dual(self, gradient: torch.Tensor) -> torch.Tensor:
        """Euclidean length, though the squares of its entries be too small for the number type."""
        peak = _peak(gradient)
        return self.distance(gradient / peak) * peak.squeeze(1)

    def direction_(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient divided by its length, though the squares of its entries leave the number type."""
        length = self.distance(gradient)
        safe = (length > _SAFE[0]) & (length < _SAFE[1])
        if gradient.device.type != "cpu":
            gradient.nan_to_num_(0, 0, 0).div_(_peak(gradient))
            length = self.distance(gradient)
        elif not bool(safe.all()):
            odd = gradient[~safe].nan_to_num_(0, 0, 0)
            gradient[~safe] = odd.div_(_peak(odd))
            length[~safe] = self.distance(odd)
        return gradient.mul_(length.clamp_min_(_TINY).reciprocal_().unsqueeze(1))

    def project_(
        self, u: torch.Tensor, x: torch.Tensor, epsilon: Radius, lower: torch.Tensor, upper: torch.Tensor
    ) -> torch.Tensor:
        """The nearest point: clip(x + s (u - x)) for the largest s <= 1 whose length is at most epsilon.

        The square of that length is concave in s^2 and 0 at 0, so to scale s by epsilon over the length nears the
        edge from inside: a row may stop short of it, never beyond. Exact at once where a coordinate is either free or
        cannot move at all, as most clipped pixels.
        """
        move, share = self._shorten_(u, x, epsilon, lower, upper)
        for _ in range(self.rounds):
            share.mul_(epsilon / self.distance(u - x).clamp_min_(_TINY))
            torch.addcmul(x, move, share.clamp_max(1).unsqueeze(1), out=u).clamp_(lower, upper)
        return u

    def contain_(
        self, u: torch.Tensor, x: torch.Tensor, epsilon: Radius, lower: torch.Tensor, upper: torch.Tensor
    ) -> torch.Tensor:
        """Shortened to the ball, then clipped to the box, which may leave them well inside."""
        self._shorten_(u, x, epsilon, lower, upper)
        return u

    def _shorten_(
        self, u: torch.Tensor, x: torch.Tensor, epsilon: Radius, lower: torch.Tensor, upper: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Moves (n, d) before, and epsilon over their length (n,)."""
        move = u - x
        share = epsilon / self.distance(move).clamp_min_(_TINY)
        torch.addcmul(x, move, share.clamp_max(1).unsqueeze(1), out=u).clamp_(lower, upper)
        return move, share

    def spread(self, draws: torch.Tensor, epsilon: float) -> torch.Tensor:
        """In a random direction, epsilon far."""
        move = 2 * draws - 1
        return move * (epsilon / self.distance(move).clamp_min(_TINY)).unsqueeze(1)

    def whole(self, features: int) -> float:
        """The diagonal of the unit cube."""
        return sqrt(features)

    def share(self, epsilon: float, features: int) -> float:
        """The radius over the diagonal."""
        return epsilon / sqrt(features)


@dataclass(frozen=True)
class L1:
    """Moves sum to epsilon at most: few coordinates move far. A projection may stop short of it by a share `close`."""

    close: float = 1e-4
    name: Literal["l1"] = "l1"

    def distance(self, move: torch.Tensor) -> torch.Tensor:
        """Sum of absolute moves."""
        return move.abs().sum(1)

    def dual(self, gradient: torch.Tensor) -> torch.Tensor:
        """The largest absolute value."""
        return gradient.abs().amax(1)

    def direction_(self, gradient: torch.Tensor) -> torch.Tensor:
        """All on the steepest coordinate."""
        gradient.nan_to_num_(0, 0, 0)
        place = gradient.abs().argmax(1, keepdim=True)
        sign = gradient.gather(1, place).sign()
        return gradient.zero_().scatter_(1, place, sign)

    def project_(
        self, u: torch.Tensor, x: torch.Tensor, epsilon: Radius, lower: torch.Tensor, upper: torch.Tensor
    ) -> torch.Tensor:
        """The nearest point, or one as far inside the ball as `close` allows (Croce and Hein 2021, proposition 2.1).

        A coordinate that would move by m with room r moves by clip(m - t, 0, r), with the least t >= 0 at which that
        sums to epsilon at most.
        """
        move = u - x
        most = torch.clamp(u, lower, upper, out=u).sub_(x).abs_()
        size, kept = move.abs(), torch.empty_like(move)
        cut = _threshold(size, most, epsilon, self.close, kept)
        _shrunk(size, cut, most, kept)
        kept.mul_((epsilon / kept.sum(1).clamp_min(_TINY)).clamp_max(1).unsqueeze(1))  # rounding of the sums
        torch.add(x, torch.mul(kept, move.sign_(), out=kept), out=u)
        return u.clamp_(lower, upper)

    contain_ = project_

    def spread(self, draws: torch.Tensor, epsilon: float) -> torch.Tensor:
        """In a random direction, epsilon far."""
        move = torch.erfinv((2 * draws - 1).clamp(-0.999999, 0.999999))
        return move * (epsilon / self.distance(move).clamp_min(_TINY)).unsqueeze(1)

    def whole(self, features: int) -> float:
        """From one end of every range to the other."""
        return float(features)

    def share(self, epsilon: float, features: int) -> float:
        """An even share of the radius."""
        return epsilon / features


def _peak(gradient: torch.Tensor) -> torch.Tensor:
    """The largest absolute value of each row (n, 1), at least the least that can be divided by."""
    return torch.maximum(gradient.amax(1, keepdim=True), -gradient.amin(1, keepdim=True)).clamp_min(_TINY)


def _threshold(
    size: torch.Tensor, most: torch.Tensor, epsilon: Radius, close: float, spare: torch.Tensor
) -> torch.Tensor:
    """The least t >= 0 (n,) at which the sum of clip(size - t, 0, most) is at most epsilon, or near it by a share.

    The sum falls with t, by pieces: the rule of false position, Illinois variant, which is exact on a piece. Six rounds
    are usual. A sort of all pieces would cost several times more.
    """
    low, over = torch.zeros_like(size[:, 0]), most.sum(1) - epsilon
    settled = over <= 0
    high, under = torch.where(settled, 0, size.amax(1)), torch.zeros_like(over) - epsilon
    cut, side = low, torch.zeros_like(over)
    for _ in range(_ROUNDS):
        if size.device.type == "cpu" and bool(settled.all()):
            break
        cut = torch.where(settled, cut, high - under * (high - low) / (under - over))
        found = _shrunk(size, cut, most, spare).sum(1) - epsilon
        above = found > 0
        # a bound that stays twice counts for half, so that the other one moves beyond the zero
        under = torch.where(above, torch.where(side > 0, under / 2, under), found)
        over = torch.where(above, found, torch.where(side < 0, over / 2, over))
        low, high = torch.where(above, cut, low), torch.where(above, high, cut)
        side = torch.where(above, 1.0, -1.0)
        settled = settled | (found.abs() <= close * epsilon)
    return cut


def _shrunk(size: torch.Tensor, cut: torch.Tensor, most: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Sizes (n, d) less a cut (n,), at least 0 and at most `most`."""
    return torch.minimum(torch.sub(size, cut.unsqueeze(1), out=out).clamp_(min=0), most, out=out)


LINF, L2_BALL, L1_BALL = Linf(), L2(), L1()
BY_NAME: dict[NormName, Norm] = {"linf": LINF, "l2": L2_BALL, "l1": L1_BALL}
