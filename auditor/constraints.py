"""What must hold of a row besides its ranges: features nobody can change, whole numbers, one-hot groups, relations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.record import Frozen

Rows = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
SLACK = 1e-6


class Relation(Frozen):
    """A linear relation of features: their weighted sum plus `constant` is at most 0, or `equal` to 0.

    `text` is how its author wrote it, `features` are indices of features and `coefficients` their weights.
    """

    text: str
    features: tuple[int, ...]
    coefficients: tuple[float, ...]
    constant: float = 0.0
    equal: bool = False

    def holds(self, x: Rows, slack: float = SLACK) -> Mask:
        """Does it hold for rows x (N, D)? `slack` is a share of the sum of its terms' sizes, so it has no unit."""
        terms = np.asarray(x, np.float64)[:, list(self.features)] * np.array(self.coefficients)
        excess = self.excess(x)
        room = slack * (np.abs(terms).sum(axis=1) + abs(self.constant))
        return np.asarray((np.abs(excess) if self.equal else excess) <= room)

    def excess(self, x: Rows) -> npt.NDArray[np.float64]:
        """The weighted sum plus the constant, of rows x (N, D)."""
        return np.asarray(
            np.asarray(x, np.float64)[:, list(self.features)] @ np.array(self.coefficients) + self.constant
        )

    def pulled_back(self, x: Rows, original: Rows, free: Mask) -> npt.NDArray[np.float64]:
        """Rows x (N, D) whose features of this relation went back toward `original` until it holds.

        Only the `free` features (D,) go, all by the same share; where they cannot mend it, the row stays as it is.
        """
        moved, before = np.array(x, np.float64), np.asarray(original, np.float64)
        own = [i for i in self.features if free[i]]
        start = moved.copy()
        start[:, own] = before[:, own]
        there, here = self.excess(start), self.excess(moved)
        broken = ~self.holds(moved) & self.holds(start)
        reach = np.clip(np.divide(there, there - here, out=np.zeros(len(moved)), where=broken & (there < 0)), 0, 1)
        share = np.where(broken, 0.0 if self.equal else reach, 1.0)[:, None]
        moved[:, own] = before[:, own] + share * (moved[:, own] - before[:, own])
        return moved


@dataclass(frozen=True)
class Breach:
    """The first row (from 0) that breaks a rule, the rule as a sentence, and how many rows break it."""

    rule: str
    row: int
    rows: int


class Constraints(Frozen):
    """Which changes of a row of D features are possible at all? Indices of features, and relations between them.

    `immutable` features keep their value, `integer` ones take whole numbers, of each `one_hot` group exactly one is 1
    and the others are 0, and every one of `relations` holds. Rows with a range of their own are the domain's matter.
    """

    immutable: tuple[int, ...] = ()
    integer: tuple[int, ...] = ()
    one_hot: tuple[tuple[int, ...], ...] = ()
    relations: tuple[Relation, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.immutable or self.integer or self.one_hot or self.relations)

    @property
    def categorical(self) -> tuple[int, ...]:
        """The features of all one-hot groups."""
        return tuple(i for group in self.one_hot for i in group)

    def still(self, radius: npt.NDArray[np.floating]) -> Mask:
        """Which features cannot move when each may change by `radius` (D,), in its own unit?

        Immutable ones, and whole numbers and categories where the radius is below 1.
        """
        still = np.zeros(len(radius), bool)
        steps = list({*self.integer, *self.categorical})
        still[steps] = np.asarray(radius)[steps] < 1 - SLACK
        still[list(self.immutable)] = True
        return still

    def project(self, x: Rows, original: Rows, radius: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Changed rows x (N, D) brought back to what is possible, without leaving the ball they lie in.

        Immutable features are put back; whole numbers are rounded toward the original; a one-hot group becomes the
        category with the largest value where that beats the original's and `radius` (D,) is at least 1, else it is
        put back. A broken relation takes its other features back toward the original, one relation after the other:
        that need not mend them all, so ask `satisfied` afterwards.
        """
        moved, before = np.array(x, np.float64), np.asarray(original, np.float64)
        whole = list(self.integer)
        moved[:, whole] = before[:, whole] + _toward_zero(moved[:, whole] - before[:, whole])
        for group in map(list, self.one_hot):
            wide = bool((np.asarray(radius)[group] >= 1 - SLACK).all())
            moved[:, group] = _category(moved[:, group], before[:, group]) if wide else before[:, group]
        fixed = list(self.immutable)
        moved[:, fixed] = before[:, fixed]
        free = np.ones(moved.shape[1], bool)
        free[[*whole, *self.categorical]] = False
        for relation in self.relations:
            moved = relation.pulled_back(moved, before, free)
        return moved

    def satisfied(self, x: Rows, original: Rows | None = None, slack: float = SLACK) -> Mask:
        """Which rows of x (N, D) are possible (N,), as changes of `original` where it is given?"""
        possible = np.ones(len(x), bool)
        for rule in self._rules(x, slack, tuple(f"feature {i}" for i in range(x.shape[1]))):
            possible &= rule.kept
        if original is not None:
            fixed = list(self.immutable)
            possible &= (np.abs(np.asarray(x, np.float64)[:, fixed] - original[:, fixed]) <= slack).all(axis=1)
        return possible

    def breach(self, x: Rows, names: Sequence[str] = ()) -> Breach | None:
        """The first rule that a row of x (N, D) breaks as it stands, or None."""
        called = tuple(names) or tuple(f"feature {i}" for i in range(x.shape[1]))
        for rule in self._rules(x, SLACK, called):
            if not rule.kept.all():
                return Breach(rule.sentence, int(np.flatnonzero(~rule.kept)[0]), int((~rule.kept).sum()))
        return None

    def outside(self, features: int) -> bool:
        """Whether any index is none of so many features."""
        named = [*self.immutable, *self.integer, *self.categorical, *(i for r in self.relations for i in r.features)]
        return any(not 0 <= i < features for i in named)

    def sentences(self, names: Sequence[str]) -> tuple[str, ...]:
        """The constraints for people, a sentence each; `names` (D,) are those of the features."""
        said = []
        if self.immutable:
            said.append(f"nobody can change {_listed(names, self.immutable)}")
        if self.integer:
            said.append(f"whole numbers: {_listed(names, self.integer)}")
        said += [f"exactly one is 1: {_listed(names, group)}" for group in self.one_hot]
        return (*said, *(relation.text for relation in self.relations))

    def _rules(self, x: Rows, slack: float, names: Sequence[str]) -> "Iterator[_Rule]":
        rows = np.asarray(x, np.float64)
        for i in self.integer:
            yield _Rule(f"{names[i]} is a whole number", np.abs(rows[:, i] - np.round(rows[:, i])) <= slack)
        for group in map(list, self.one_hot):
            part = rows[:, group]
            kept = (np.minimum(np.abs(part), np.abs(part - 1)) <= slack).all(axis=1) & (np.round(part).sum(axis=1) == 1)
            yield _Rule(f"exactly one is 1: {_listed(names, group)}", kept)
        for relation in self.relations:
            yield _Rule(relation.text, relation.holds(rows, slack))


@dataclass(frozen=True, eq=False)
class _Rule:
    sentence: str
    kept: Mask


def _toward_zero(change: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Whole numbers no farther from 0; what lacks a millionth of the next one by rounding counts as that."""
    return np.asarray(np.sign(change) * np.floor(np.abs(change) + SLACK))


def _category(x: npt.NDArray[np.float64], before: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One-hot groups (N, categories): the original category, unless another one has a larger value."""
    rows, old, new = np.arange(len(x)), before.argmax(axis=1), x.argmax(axis=1)
    chosen = np.where(x[rows, new] > x[rows, old], new, old)
    return np.asarray(np.eye(x.shape[1])[chosen])


def _listed(names: Sequence[str], which: Sequence[int]) -> str:
    return ", ".join(names[i] for i in which)
