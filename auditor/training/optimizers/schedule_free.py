"""Schedule-free SGD and AdamW by their authors' package, which the [optim] extra brings."""

from typing import TYPE_CHECKING, Any

from auditor import extras
from auditor.training.optimizers.spec import Build, Limit, OptimizerSpec, Settings
from auditor.training.optimizers.torch_optim import BETAS, betas

if TYPE_CHECKING:
    import torch

SOURCE = "Defazio et al., The road less scheduled, NeurIPS 2024"


def _schedule_free(name: str, optimizer: str) -> Build:
    """A builder for a class of schedulefree."""

    def build(params: Any, learning_rate: float, settings: Settings) -> "torch.optim.Optimizer":
        package = extras.imported("schedulefree", "optim", f"the optimizer {optimizer}")
        keywords = betas(settings) | {"warmup_steps": int(settings["warmup_steps"])}
        made: torch.optim.Optimizer = getattr(package, name)(params, lr=learning_rate, **keywords)
        return made

    return build


SGD = OptimizerSpec(
    name="schedule-free-sgd",
    aliases=("sf-sgd", "schedulefreesgd"),
    title="Schedule-free SGD",
    grid=(0.1, 0.4, 1.6, 6.4),
    default=1.0,
    settings={"momentum": 0.9, "weight_decay": 0.0, "warmup_steps": 0.0},
    source=SOURCE,
    build=_schedule_free("SGDScheduleFree", "schedule-free-sgd"),
    provider="schedulefree",
    licence="Apache-2.0",
    extra="optim",
    decay="l2",
    train_eval=True,
    elementwise=True,
    schedule="own",
    state=1,
    limits={"momentum": Limit(below=1, open=True), "warmup_steps": Limit(whole=True)},
)
ADAMW = OptimizerSpec(
    name="schedule-free-adamw",
    aliases=("sf-adamw", "schedulefreeadamw"),
    title="Schedule-free AdamW",
    grid=(1e-3, 4e-3, 1.6e-2, 6.4e-2),
    default=5e-3,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "warmup_steps": 0.0},
    source=SOURCE,
    build=_schedule_free("AdamWScheduleFree", "schedule-free-adamw"),
    provider="schedulefree",
    licence="Apache-2.0",
    extra="optim",
    decay="decoupled",
    train_eval=True,
    elementwise=True,
    schedule="own",
    state=2,
    limits=BETAS | {"warmup_steps": Limit(whole=True)},
)
