"""How foreign an input looks: scores from outputs and features, higher is more foreign."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_AT_ONCE = 1 << 22  # distances held at one time: 32 MiB


def maximum_softmax(log_p: Floats) -> Floats:
    """One minus the largest probability (N,) of log-probabilities (N, K).

    Hendrycks & Gimpel 2017. Summed over the other classes instead of subtracted from one, so that confident
    rows differ where 1 - p would round to 0.
    """
    others = np.sort(np.asarray(log_p, np.float64), axis=1)[:, :-1]
    return np.asarray(np.exp(others).sum(axis=1))


def energy(logits: npt.NDArray[np.floating]) -> Floats:
    """Free energy at temperature 1, -log sum_k exp(logit_k), (N,) of logits (N, K). Liu et al. 2020."""
    scores = np.asarray(logits, np.float64)
    top = scores.max(axis=1)
    return np.asarray(-top - np.log(np.exp(scores - top[:, None]).sum(axis=1)))


def unit_length(features: npt.NDArray[np.floating]) -> Floats:
    """Rows (N, D) scaled to Euclidean length 1; a row of zeros stays."""
    rows = np.asarray(features, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def neighbour_distance(bank: Floats, queries: Floats, k: int) -> Floats:
    """Euclidean distance (N,) of queries (N, D) to the k-th nearest row of a bank (M, D). Sun et al. 2022."""
    # |q - b|^2 = |q|^2 + |b|^2 - 2 q.b needs one matrix product; the k-th smallest does not depend on |q|.
    lengths, nearest = (bank**2).sum(axis=1), np.empty(len(queries))
    rows = max(1, _AT_ONCE // len(bank))
    for start in range(0, len(queries), rows):
        offsets = -2 * queries[start : start + rows] @ bank.T
        offsets += lengths
        offsets.partition(k - 1, axis=1)
        nearest[start : start + rows] = offsets[:, k - 1]
    return np.asarray(np.sqrt(np.maximum(nearest + (queries**2).sum(axis=1), 0)))


def acceptance_threshold(familiar: Floats, share: float) -> float:
    """The smallest score that keeps at least this share of familiar rows at or below it."""
    return float(np.sort(familiar)[int(np.ceil(share * len(familiar) - 1e-9)) - 1])
