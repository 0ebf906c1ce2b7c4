"""Muon: momentum made orthogonal, for hidden matrices and flattened kernels; AdamW for whatever is no such matrix."""

import math
from typing import Any

import torch

QUINTIC = (3.4445, -4.7750, 2.0315)  # of Jordan's Newton-Schulz iteration
ITERATIONS = 5
TINY = 1e-7  # below which a matrix has no direction
AS_ADAM = 0.2  # root mean square of an update of AdamW, which Muon's is scaled to (Liu et al., 2025, section 2.2)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrix (rows, columns), roughly: all singular values between about 0.7 and 1.2.

    Five times X = a X + (b A + c A A) X with A = X X^T, from the matrix by its Frobenius norm, in its own number type:
    bfloat16, which is faster on accelerators, would give other bits on other processors.
    """
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp(min=TINY)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Two groups: those with "matrix" True are made orthogonal, the others follow AdamW, at one rate and one decay.

    m = momentum m + (1 - momentum) g; u = orthogonal(g + momentum (m - g)), or of m without Nesterov;
    w = w (1 - rate decay) - rate 0.2 sqrt(max(rows, columns)) u. A kernel (out, in, height, width) is the matrix
    (out, in height width). So scaled, an update is as large as AdamW's, and one rate serves both.
    """

    def __init__(self, params: Any, lr: float, **settings: float) -> None:
        super().__init__(params, {"lr": lr, "matrix": False, **settings})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002  # of torch's signature
        """Move the weights that have a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    (self._turn if group["matrix"] else self._adapt)(weight, weight.grad, group)

    def _turn(self, weight: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        mean = state.setdefault("mean", torch.zeros_like(weight))
        mean.lerp_(gradient, 1 - group["momentum"])
        way = torch.lerp(gradient, mean, group["momentum"]) if group["nesterov"] else mean
        flat = orthogonal(way.flatten(1))
        weight.add_(flat.view(weight.shape), alpha=-group["lr"] * AS_ADAM * math.sqrt(max(flat.shape)))

    def _adapt(self, weight: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, beta1, beta2 = self.state[weight], group["beta1"], group["beta2"]
        mean = state.setdefault("mean", torch.zeros_like(weight))
        square = state.setdefault("square", torch.zeros_like(weight))
        state["steps"] = steps = state.get("steps", 0) + 1
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = (square / (1 - beta2**steps)).sqrt_().add_(group["eps"])
        weight.addcdiv_(mean, scale, value=-group["lr"] / (1 - beta1**steps))
