"""What an attack maximises, and when a row counts as broken: functions of scores (n, K), torch only."""

import torch
from torch.nn import functional

STEEP = 10.0


def margin(scores: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """How far does the true class lead (n,): its score minus the best other; at or below zero is broken.

    Scores that are not numbers give -inf: an answer that cannot be read is no right answer.
    """
    own = scores.gather(1, y.unsqueeze(1)).squeeze(1)
    best = scores.scatter(1, y.unsqueeze(1), -torch.inf).amax(1)
    lead = own - best
    return torch.where(lead.isnan() | scores.isnan().any(1), -torch.inf, lead)


def cross_entropy(scores: torch.Tensor, y: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Cross-entropy of each row (n,) with the scores divided by a temperature."""
    return functional.cross_entropy(scores / temperature if temperature != 1.0 else scores, y, reduction="none")


def towards(scores: torch.Tensor, y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Lead of the target class over the true class (n,): positive once the target wins.

    The plain difference of two scores. A sign step ignores its scale, so it needs no normalisation, and it is
    defined for two classes, where the difference-of-logits ratio (Croce and Hein 2020) is not.
    """
    return scores.gather(1, target.unsqueeze(1)).squeeze(1) - scores.gather(1, y.unsqueeze(1)).squeeze(1)


def runners_up(scores: torch.Tensor, y: torch.Tensor, count: int) -> torch.Tensor:
    """Which classes come next after the true one (n, min(count, K - 1)), the best first."""
    others = torch.nan_to_num(scores, nan=-torch.inf).scatter(1, y.unsqueeze(1), -torch.inf)
    return others.topk(min(count, scores.shape[1] - 1), dim=1).indices


def fitting_temperature(scores: torch.Tensor) -> float:
    """By how much must these scores (n, K) be divided for cross-entropy to keep its gradient.

    1 for scores of ordinary size. Where the median gap between the two best exceeds 10, float32 softmax comes
    near rounding to one and zero, and the median gap is brought down to 10.
    """
    two = torch.nan_to_num(scores.double(), nan=0.0, posinf=0.0, neginf=0.0).topk(2, dim=1).values
    gap = float((two[:, 0] - two[:, 1]).median())
    return max(1.0, gap / STEEP)
