"""What an attack maximises, and when a row counts as broken: functions of scores (n, K), torch only."""

import torch
from torch.nn import functional

STEEP = 10.0


def margin(scores: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """How far does the true class lead (n,): its score minus the best other; at or below zero is broken.

    Scores that are not numbers give -inf: an answer that cannot be read is no right answer.
    """
    own = scores.gather(1, y.unsqueeze(1)).squeeze(1)
    # a maximum with a score that is no number is none, and neither is a difference with one
    best = scores.scatter(1, y.unsqueeze(1), -torch.inf).amax(1)
    return torch.nan_to_num(own - best, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


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


def lead_away(scores: torch.Tensor, y: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """How far the best other class leads over the true one (n,): the plain margin, without a target."""
    others = scores.scatter(1, y.unsqueeze(1), -torch.inf)
    return others.amax(1) - scores.gather(1, y.unsqueeze(1)).squeeze(1)


def towards_ratio(scores: torch.Tensor, y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Lead of the target class over the true one (n,), as a share of how far the best scores lie apart.

    The targeted difference-of-logits ratio (Croce and Hein 2020): divided by the best score minus the mean of the
    third and fourth, so that neither scale nor offset of the logits matters. Needs four classes.
    """
    best = scores.topk(4, dim=1).values
    spread = best[:, 0] - (best[:, 2] + best[:, 3]) / 2
    return towards(scores, y, target) / (spread + 1e-12)
