"""A step of a user's own preprocessing that gradients pass: forward as it is, backward as if it were smoother."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Step = Callable[[torch.Tensor], torch.Tensor]


class StraightThrough(nn.Module):
    """A step whose answers are its own and whose gradient is another's: see `straight_through`."""

    def __init__(self, step: Step, like: Step | None = None) -> None:
        super().__init__()
        self.step, self.like = step, like

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the step makes of x."""
        answer: torch.Tensor = _Passed.apply(x, self.step, self.like)  # type: ignore[no-untyped-call]  # torch's own
        return answer


def straight_through(step: Step, like: Step | None = None) -> StraightThrough:
    """How do gradients pass a step that has none, such as rounding: forward `step`, backward `like` or the identity.

    Backward pass differentiable approximation (Athalye, Carlini and Wagner 2018). An audit attacks a model through its
    gradients; a step that rounds, compresses or thresholds its inputs makes them zero, and the attack falls back on
    slopes estimated from scores, which cost hundreds of passes each. A model that carries this step instead is
    answered just as before and attacked at full strength:

        model = nn.Sequential(straight_through(lambda x: (x * 15).round() / 15), network)

    `like` is a differentiable step with answers of the same shape that comes near: a soft threshold for a hard one.
    Without it the step must keep the shape of its input. The result is a module, so it can be a part of one. Never
    train with it what should be masked: it changes no forward pass, but every backward one. Raises ValueError, in the
    forward pass, for a step that changes the shape and has no `like`.
    """
    return StraightThrough(step, like)


class _Passed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, step: Step, like: Step | None) -> torch.Tensor:  # torch's own context
        with torch.no_grad():
            answer = step(x.detach())
        if like is None and answer.shape != x.shape:
            raise ValueError(
                f"a step from shape {tuple(x.shape)} to {tuple(answer.shape)} cannot pass its gradient on as it is; "
                "give `like`, a differentiable step with the same shapes"
            )
        ctx.like = like
        ctx.save_for_backward(x)
        return answer.clone() if answer.data_ptr() == x.data_ptr() else answer

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, None, None]:  # torch's own context
        (x,), like = ctx.saved_tensors, ctx.like
        if like is None:
            return gradients[0], None, None
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            (passed,) = torch.autograd.grad(like(point), point, gradients[0])
        return passed, None, None
