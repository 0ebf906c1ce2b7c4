"""Optimizers of a third party: sign descent, and specifications that are wrong in every way one can be."""

from dataclasses import replace
from typing import Any

from auditor.training.optimizers import Limit, OptimizerSpec


def signs(params: Any, learning_rate: float, settings: Any) -> Any:
    """Each weight moves by the rate against the sign of its gradient."""
    import torch

    class Signs(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.mul_(1 - group["lr"] * settings["shrink"]).sub_(weight.grad.sign(), alpha=group["lr"])

    return Signs(params, {"lr": learning_rate})


def nothing(params: Any, learning_rate: float, settings: Any) -> None:
    """No optimizer."""


SIGNS = OptimizerSpec(
    name="trouble-signs",
    aliases=("sign-descent", "descent-by-signs"),
    title="Sign descent",
    grid=(1e-4, 4e-4, 1.6e-3, 6.4e-3),
    default=1e-3,
    settings={"shrink": 0.0},
    limits={"shrink": Limit(below=1)},
    source="Bernstein et al., signSGD: compressed optimisation for non-convex problems, ICML 2018",
    build=signs,
    elementwise=True,
    state=0,
    decay="decoupled",
    licence="MIT",
)
MISNAMED = replace(SIGNS, name="signs", aliases=())
NONE = replace(SIGNS, name="trouble-none", aliases=(), build=nothing)
RATELESS = replace(SIGNS, name="trouble-rateless", aliases=(), grid=(0.1, -0.2))
TWIN = replace(SIGNS, name="trouble-twin", aliases=("descent-by-signs", "nesterov", "adamw"))
WORDLESS = {"name": "trouble-wordless"}
