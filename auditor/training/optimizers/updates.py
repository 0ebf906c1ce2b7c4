"""The updates of Lion and SAM, and torch's averaged SGD and L-BFGS led so that they can be evaluated and scheduled."""

from collections.abc import Callable
from typing import Any

import torch

Closure = Callable[[], torch.Tensor]
TINY = 1e-12  # below which a gradient has no direction


class Lion(torch.optim.Optimizer):
    """Which way do the last gradients agree? Each weight moves by the rate that way (Chen et al., 2023, algorithm 2).

    u = sign(beta1 m + (1 - beta1) g); w = w - rate (u + weight_decay w); m = beta2 m + (1 - beta2) g.
    """

    def __init__(self, params: Any, lr: float, beta1: float, beta2: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "beta1": beta1, "beta2": beta2, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002  # of torch's signature
        """Move the weights that have a gradient."""
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            gradients = [p.grad for p in weights]
            means = [self.state[p].setdefault("mean", torch.zeros_like(p)) for p in weights]
            ways = torch._foreach_lerp(means, gradients, 1 - group["beta1"])
            torch._foreach_sign_(ways)
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, ways, alpha=-group["lr"])
            torch._foreach_lerp_(means, gradients, 1 - group["beta2"])


class Sam(torch.optim.SGD):
    """Where is the loss of the neighbourhood least? SGD by gradients from where the loss nearby is highest.

    The gradient is taken at w + rho g / |g|, g that at w and |.| the L2 norm over all weights; the step of SGD is made
    from w (Foret et al., 2021, algorithm 1). Weight decay acts at w.
    """

    def __init__(self, params: Any, lr: float, rho: float, **settings: Any) -> None:
        super().__init__(params, lr=lr, fused=True, **settings)
        self.rho = rho

    def step(self, closure: Closure) -> torch.Tensor:  # type: ignore[override]  # it cannot do without
        """Two gradients, one step; the loss at w comes back."""
        loss = closure()
        weights = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        with torch.no_grad():
            before = [p.clone() for p in weights]
            gradients = [p.grad for p in weights]
            length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            torch._foreach_add_(weights, torch._foreach_mul(gradients, self.rho / (length + TINY)))
        closure()
        with torch.no_grad():
            torch._foreach_copy_(weights, before)
        super().step()
        return loss


class Averaged(torch.optim.ASGD):
    """Torch's averaged SGD, whose average is evaluated: torch keeps it, and never puts it in place.

    The average is over steps after `t0`; before, it is the last weights.
    """

    @torch.no_grad()
    def eval(self) -> None:
        """Put the average in place."""
        for weight, state in self.state.items():
            weight.copy_(state["ax"])

    def train(self) -> None:
        """Nothing: the driver puts back what was trained."""


class Lbfgs(torch.optim.LBFGS):
    """Torch's L-BFGS; at rate 0, where its line search would divide by zero, it stays where it is."""

    def step(self, closure: Closure) -> torch.Tensor:  # type: ignore[override]  # it cannot do without
        """Some iterations, each along a line; the loss at the start comes back."""
        if self.param_groups[0]["lr"] == 0:
            return closure()
        loss: torch.Tensor = super().step(closure)  # type: ignore[no-untyped-call]  # torch's own
        return loss
