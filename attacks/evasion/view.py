"""A subject seen in unit coordinates: every feature's range is [0, 1], scores are torch tensors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from auditor.dataset import Array, Domain
from auditor.subject import Access, Counted

_LEAST = 1e-30  # probabilities below it count as this, so that their logarithm stays finite


@dataclass(frozen=True, eq=False)
class View:
    """A counted subject on its own device: scores are logits, or the log of probabilities.

    `span` and `low` (*shape) carry unit coordinates to inputs, `top` (*shape) is the upper end in unit
    coordinates: 1, or 0 where a feature is constant. `takes` is the number type of the subject's inputs. With a `goal`
    there are two scores: that of the best other class, and that of the goal.
    """

    subject: Counted
    domain: Domain
    low: torch.Tensor
    span: torch.Tensor
    top: torch.Tensor
    plain: bool
    takes: torch.dtype
    goal: int | None

    @classmethod
    def of(cls, subject: Counted, domain: Domain, goal: int | None = None) -> "View":
        """The view of this subject, in float32 or wider."""
        white = Access.GRADIENTS in subject.access
        device = subject.device if white else torch.device("cpu")
        dtype = torch.promote_types(subject.dtype, torch.float32) if white else torch.float32
        low, span, top = (
            torch.as_tensor(np.array(a), dtype=dtype, device=device)
            for a in (domain.low, domain.span, (domain.high - domain.low) / domain.span)
        )
        plain = bool((low == 0).all()) and bool((span == 1).all())
        return cls(subject, domain, low, span, top, plain, subject.dtype if white else dtype, goal)

    def unit(self, x: Array) -> torch.Tensor:
        """Inputs (n, *shape) in unit coordinates, by way of float64."""
        return torch.as_tensor(self.domain.to_unit(x), dtype=self.low.dtype, device=self.low.device)

    def inputs(self, u: torch.Tensor) -> npt.NDArray[np.float64]:
        """Unit coordinates (n, *shape) as inputs of the subject, in float64."""
        exact = u.detach().cpu().double().numpy()
        return exact if self.plain else np.asarray(exact * self.domain.span + self.domain.low, np.float64)

    def differentiable(self, u: torch.Tensor) -> torch.Tensor:
        """Scores (n, K) that carry the subject's gradient, if any, to unit coordinates (n, *shape)."""
        x = u if self.plain else self.low + u * self.span
        return self.read(self.subject.logits(x.to(self.takes)).to(self.low.dtype))

    def scores(self, u: torch.Tensor) -> torch.Tensor:
        """Scores (n, K) of unit coordinates (n, *shape), without a gradient."""
        if Access.GRADIENTS in self.subject.access:
            with torch.no_grad():
                return self.differentiable(u)
        outputs = self.subject.predict(self.domain.clip(self.inputs(u).astype(np.float32)))
        return self.read(torch.as_tensor(outputs, dtype=self.low.dtype))

    def read(self, outputs: torch.Tensor) -> torch.Tensor:
        """The scores that outputs (n, K) of the subject stand for."""
        scores = outputs if self.subject.outputs == "logits" else outputs.clamp_min(_LEAST).log()
        if self.goal is None:
            return scores
        own = torch.arange(scores.shape[1], device=scores.device) == self.goal
        return torch.stack([scores.masked_fill(own, -torch.inf).amax(1), scores[:, self.goal]], 1)
