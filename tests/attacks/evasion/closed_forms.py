"""Exact answers for linear models, which attacks are held against."""

import numpy as np


def steepest_fall(norm: str, slope: np.ndarray, x: np.ndarray, epsilon: float) -> float:
    """How much slope . u can fall below slope . x while u stays in the ball around x and in the unit box."""
    steep, room = np.abs(slope), np.where(slope < 0, 1 - x, x)
    if norm == "linf":
        return float((steep * np.minimum(room, epsilon)).sum())
    if norm == "l1":
        order = np.argsort(-steep)
        spent = np.cumsum(room[order]) - room[order]
        return float((steep[order] * np.clip(epsilon - spent, 0, room[order])).sum())
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        inside = (np.minimum(middle * steep, room) ** 2).sum() <= epsilon**2
        low, high = (middle, high) if inside else (low, middle)
    return float((steep * np.minimum(low * steep, room)).sum())
