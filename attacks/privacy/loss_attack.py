"""The loss attack on membership: a row that the model fits well is called a member. Pure maths on outputs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.dataset import Labels
from auditor.statistics import wilson
from auditor.subject import Outputs, log_probabilities

Floats = npt.NDArray[np.float64]
FEWEST_FALSE_ALARMS = 3


def membership_score(outputs: npt.NDArray[np.floating], y: Labels, kind: Outputs) -> Floats:
    """How much does each row (N,) look like a member: log(p / (1 - p)) of its true label's probability p.

    It falls strictly as the cross-entropy -log p rises, so it ranks exactly as the loss of Yeom et al. 2018
    does, and tells confident rows apart where -log p rounds to 0. For one-hot labels it says no more than
    right or wrong.
    """
    log_p = log_probabilities(outputs, kind)
    mine = np.arange(log_p.shape[1]) == y[:, None]
    rest = np.where(mine, -np.inf, log_p)
    top = rest.max(axis=1)
    return np.asarray(log_p[mine] - top - np.log(np.exp(rest - top[:, None]).sum(axis=1)))


@dataclass(frozen=True)
class Threshold:
    """A row whose score is above `value` is called a member; `allowed` and `used` count false alarms."""

    value: float
    allowed: int
    used: int

    @property
    def enough_rows(self) -> bool:
        """Whether the false-positive rate allows enough false alarms to be told apart from none."""
        return self.allowed >= FEWEST_FALSE_ALARMS

    @property
    def resolved(self) -> bool:
        """Whether the threshold could be placed at all: ties among non-members may leave nothing above it."""
        return self.enough_rows and self.used > 0


def threshold_at(non_members: Floats, fpr: float) -> Threshold:
    """Where must the bar lie so that at most this share of non-members (N,) is above it?

    Never interpolated: rows that tie with the bar are not called members, so the false-positive rate is never
    passed.
    """
    allowed = int(fpr * len(non_members) + 1e-9)
    value = float(np.sort(non_members)[::-1][min(allowed, len(non_members) - 1)])
    return Threshold(value=value, allowed=allowed, used=int((non_members > value).sum()))


def tied_share(a: Floats, b: Floats) -> float:
    """Share of pairs (one of a, one of b) whose scores are equal."""
    ordered = np.sort(b)
    ties = np.searchsorted(ordered, a, side="right") - np.searchsorted(ordered, a, side="left")
    return float(ties.sum() / (len(a) * len(b)))


@dataclass(frozen=True, eq=False)
class Gap:
    """Accuracy on members minus on non-members: `value` is the mean of `contribution` (n1 + n0,)."""

    value: float
    low: float
    high: float
    contribution: Floats


def accuracy_gap(members: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_], confidence: float) -> Gap:
    """How much more often is the model right on members (n1,) than on non-members (n0,)?

    The interval joins the two Wilson intervals; Newcombe, Statistics in Medicine 17 (1998) 873-890, method
    10.
    """
    inside, outside = float(members.mean()), float(others.mean())
    low_in, high_in = wilson(int(members.sum()), len(members), confidence)
    low_out, high_out = wilson(int(others.sum()), len(others), confidence)
    value, total = inside - outside, len(members) + len(others)
    return Gap(
        value=value,
        low=value - float(np.hypot(inside - low_in, high_out - outside)),
        high=value + float(np.hypot(high_in - inside, outside - low_out)),
        contribution=np.concatenate(
            [value + total / len(members) * (members - inside), value - total / len(others) * (others - outside)]
        ),
    )
