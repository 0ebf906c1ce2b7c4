"""Do members and non-members differ before any model looks at them? A two-sample check in input space."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def shift_scores(members: Floats, others: Floats, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """How much does each row look like the members' side, by inputs alone? Scores (N1 + N0,), members first.

    Rows are (N, D) in units of the feature range. A diagonal linear discriminant on the values and their
    squared distances from the mean, so that moved means and changed spreads both show, fitted on one half and
    applied to the other. Where the two sides come from one distribution, the AUC of these scores is near one
    half.
    """
    x = np.concatenate([members, others]).astype(np.float32, copy=False)
    x = np.concatenate([x, (x - x.mean(axis=0)) ** 2], axis=1)
    side = np.arange(len(x)) < len(members)
    half = _halves(len(members), rng), _halves(len(others), rng)
    fold = np.concatenate(half)
    scores = np.empty(len(x))
    for held in (False, True):
        scores[fold == held] = _discriminant(x[fold != held], side[fold != held], x[fold == held])
    return scores


def _halves(n: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    return np.asarray(rng.permutation(n) % 2 == 0)


def _discriminant(
    x: npt.NDArray[np.float32], side: npt.NDArray[np.bool_], queries: npt.NDArray[np.float32]
) -> npt.NDArray[np.floating]:
    inside, outside = x[side].mean(axis=0), x[~side].mean(axis=0)
    spread = x.var(axis=0)
    weights = np.where(spread > 0, (inside - outside) / np.where(spread > 0, spread, 1), 0)
    return np.asarray((queries - (inside + outside) / 2) @ weights)
