"""Balls in three norms, in unit coordinates and float64: how far a row was moved, and into the ball with it."""

from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt

NormName = Literal["linf", "l2", "l1"]
Moves = npt.NDArray[np.float64]
SLACK = 1e-6  # of the range, and of the radius: what float32 rounds


def distance(norm: NormName, move: Moves) -> Moves:
    """How long are moves (N, *shape), each coordinate in units of its range: (N,)."""
    flat = np.abs(move.reshape(len(move), -1))
    match norm:
        case "linf":
            return np.asarray(flat.max(axis=1, initial=0.0))
        case "l2":
            return np.asarray(np.sqrt((flat**2).sum(axis=1)))
        case "l1":
            return np.asarray(flat.sum(axis=1))
        case _:
            assert_never(norm)


def too_far(norm: NormName, move: Moves, epsilon: float) -> npt.NDArray[np.bool_]:
    """Which moves (N, *shape) leave the ball of radius epsilon by more than rounding does (N,)."""
    return distance(norm, move) > epsilon + SLACK * max(1.0, epsilon)


def into(norm: NormName, move: Moves, epsilon: float) -> Moves:
    """Moves (N, *shape) no longer than epsilon: clipped in Linf, in L2 and L1 shortened as they are.

    A shortened move stays in every box that holds both of its ends. It need not be the nearest point of the ball.
    """
    if norm == "linf":
        return np.clip(move, -epsilon, epsilon)
    length = distance(norm, move).reshape(-1, *[1] * (move.ndim - 1))
    return move * np.minimum(1.0, epsilon / np.maximum(length, 1e-300))
