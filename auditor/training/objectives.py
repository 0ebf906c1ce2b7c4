"""What a training minimises: cross-entropy on the rows as they are, or on rows moved against the network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from auditor.dataset import Domain
from auditor.recipe import Dp, Objective, Pgd, Standard, Trades

Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]
"""The mean loss of a module on rows x (N, *shape) with labels y (N,); what is drawn comes from the generator."""

FIRST_STEP = 0.001  # TRADES starts this close to the rows, in units of the range: at a row itself KL has no slope


def loss_of(objective: Objective, domain: Domain) -> Loss:
    """The loss of an objective on data of this domain. That of `dp` is plain: private is how it is descended."""
    match objective:
        case Standard() | Dp():
            return plain
        case Pgd():
            return Moved(Ball.of(domain, objective.epsilon, objective.steps, objective.step))
        case Trades():
            ball = Ball.of(domain, objective.epsilon, objective.steps, objective.step)
            return Smoothed(ball, objective.beta)
        case _:
            assert_never(objective)


def plain(module: nn.Module, x: torch.Tensor, y: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    """Mean cross-entropy on the rows as they are."""
    return cross_entropy(module(x), y)


@dataclass(frozen=True, eq=False)
class Ball:
    """Where a row may go, and how: all tensors are in the data's own units, one entry a feature.

    A feature moves at most `radius` and stays between `low` and `high`; one that cannot move has radius 0.
    """

    low: torch.Tensor
    high: torch.Tensor
    span: torch.Tensor
    radius: torch.Tensor
    step: torch.Tensor
    steps: int

    @classmethod
    def of(cls, domain: Domain, epsilon: float, steps: int, step: float | None) -> "Ball":
        """The Linf ball of this radius in units of each feature's range; a step is 2.5 epsilon / steps by default."""
        span = torch.from_numpy(np.where(movable(domain, epsilon), domain.high - domain.low, 0).astype(np.float32))
        length = min(2.5 * epsilon / steps, epsilon) if step is None else step
        low, high = torch.tensor(domain.low), torch.tensor(domain.high)
        return cls(low, high, span, epsilon * span, length * span, steps)

    def ascend(
        self, x: torch.Tensor, start: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Rows moved from `start` so that `value` rises: along the sign of its gradient, back into ball and domain.

        Only the rows are differentiated: no parameter's gradient is touched. `start` is used up.
        """
        lower = (x - self.radius).clamp_(self.low, self.high)
        upper = (x + self.radius).clamp_(self.low, self.high)
        point = start.clamp_(lower, upper)
        with torch.enable_grad():
            for _ in range(self.steps):
                # not autograd.grad: operations could not be counted through it
                value(point.requires_grad_()).backward(inputs=[point])  # type: ignore[no-untyped-call]  # torch's own
                assert point.grad is not None
                point = point.detach().addcmul_(point.grad.sign_(), self.step).clamp_(lower, upper)
        return point


def movable(domain: Domain, epsilon: float) -> npt.NDArray[np.bool_]:
    """Which features (*shape) can move inside this ball: no constant one, and none that the constraints hold still."""
    still = domain.constraints.still((epsilon * domain.span).reshape(-1))
    return np.asarray((domain.high > domain.low) & ~still.reshape(domain.low.shape))


@dataclass(frozen=True, eq=False)
class Moved:
    """Mean cross-entropy on rows moved from a random point of the ball by projected gradient ascent.

    Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018. The module moves them in
    the mode it is in: in training mode running statistics see every step, as in that paper's code.
    """

    ball: Ball

    def __call__(self, module: nn.Module, x: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """See `Loss`."""
        start = torch.empty_like(x).uniform_(-1, 1, generator=generator).mul_(self.ball.radius).add_(x)
        worst = self.ball.ascend(x, start, lambda point: cross_entropy(module(point), y, reduction="sum"))
        return cross_entropy(module(worst), y)


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Mean cross-entropy on the rows, plus `beta` times KL(p(rows) || p(moved rows)), rows moved so that KL rises.

    Zhang et al., Theoretically principled trade-off between robustness and accuracy, ICML 2019. As in that paper's
    code rows are moved in evaluation mode, from Gaussian noise of 0.001 of each range, and both answers are
    differentiated.
    """

    ball: Ball
    beta: float

    def __call__(self, module: nn.Module, x: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """See `Loss`."""
        worst = self._moved(module, x, generator)
        logits = module(x)
        apart = _divergence(log_softmax(logits, dim=1), module(worst)) / len(x)
        return cross_entropy(logits, y) + self.beta * apart

    def _moved(self, module: nn.Module, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        training = module.training
        module.eval()
        with torch.no_grad():
            answer = log_softmax(module(x), dim=1)
        start = torch.empty_like(x).normal_(0, FIRST_STEP, generator=generator).mul_(self.ball.span).add_(x)
        worst = self.ball.ascend(x, start, lambda point: _divergence(answer, module(point)))
        module.train(training)
        return worst


def _divergence(log_p: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Sum over rows of KL(p || softmax(logits))."""
    return kl_div(log_softmax(logits, dim=1), log_p, reduction="sum", log_target=True)
