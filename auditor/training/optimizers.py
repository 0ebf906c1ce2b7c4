"""The optimizers a comparison is made of: what each is called, may be set to, and how it is built."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor import plugins
from auditor.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    import torch

Settings = Mapping[str, float | bool]
Build = Callable[[Iterable["torch.nn.Parameter"], float, Settings], "torch.optim.Optimizer"]


@dataclass(frozen=True)
class OptimizerSpec:
    """One optimizer under one name.

    `grid` holds the learning rates that tuning tries, `settings` the other settings with their defaults, `source` the
    paper. `build(params, learning_rate, settings)` makes it; only then is torch imported.
    """

    name: str
    title: str
    grid: tuple[float, ...]
    default: float
    settings: Settings
    source: str
    build: Build
    aliases: tuple[str, ...] = ()


def resolve(name: str, *, where: str = "") -> OptimizerSpec:
    """The optimizer of this name or alias. Raises UnknownNameError with the nearest name."""
    installed = plugins.names("auditor.optimizers")
    if name not in installed:
        every = {known: plugins.load("auditor.optimizers", known) for known in installed}
        aliases = {alias: known for known, spec in every.items() for alias in spec.aliases}
        if name not in aliases:
            raise UnknownNameError("optimizer", name, (*installed, *aliases), where=where)
        name = aliases[name]
    spec = plugins.load("auditor.optimizers", name)
    if not isinstance(spec, OptimizerSpec):
        raise ConfigError(
            f"the optimizer {name!r} is a {type(spec).__name__}; its entry point must name an OptimizerSpec"
        )
    return spec


def check_settings(spec: OptimizerSpec, given: Settings, *, where: str = "") -> dict[str, float | bool]:
    """All settings of an optimizer, those given over its defaults.

    Raises UnknownNameError for a setting it does not have, ConfigError for a value of the wrong kind or below zero.
    """
    place = where + ": " if where else ""
    for name, value in given.items():
        if name not in spec.settings:
            raise UnknownNameError(f"setting of {spec.name}", name, spec.settings, where=where)
        if isinstance(spec.settings[name], bool) != isinstance(value, bool):
            kind = "true or false" if isinstance(spec.settings[name], bool) else "a number"
            raise ConfigError(f"{place}{spec.name}: {name} is {value!r}; it must be {kind}")
        if not math.isfinite(value) or value < 0:
            raise ConfigError(f"{place}{spec.name}: {name} is {value!r}; it must be finite and not negative")
    return {**spec.settings, **given}


def _torch_optimizer(name: str, **fixed: Any) -> Build:  # any keyword of a torch optimizer
    """A builder for an optimizer of torch.optim; `beta1` and `beta2` become its betas."""

    def build(
        params: Iterable["torch.nn.Parameter"], learning_rate: float, settings: Settings
    ) -> "torch.optim.Optimizer":
        import torch

        keywords: dict[str, Any] = {k: v for k, v in settings.items() if k not in ("beta1", "beta2")}  # torch's own
        if "beta1" in settings:
            keywords["betas"] = (settings["beta1"], settings["beta2"])
        optimizer: torch.optim.Optimizer = getattr(torch.optim, name)(params, lr=learning_rate, **keywords, **fixed)
        return optimizer

    return build


# Grids are four steps of about a factor of four: the best of small and larger networks lies inside, not on an edge.
# fused=True is torch's one-kernel update: two to four times faster on small networks on a CPU.
SGD = OptimizerSpec(
    name="sgd",
    aliases=("nesterov",),
    title="SGD with Nesterov momentum",
    grid=(0.01, 0.04, 0.16, 0.64),
    default=0.1,
    settings={"momentum": 0.9, "nesterov": True, "weight_decay": 0.0},
    source="Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013",
    build=_torch_optimizer("SGD", fused=True),
)
ADAM = OptimizerSpec(
    name="adam",
    title="Adam",
    grid=(1e-3, 4e-3, 1.6e-2, 6.4e-2),
    default=3e-3,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    source="Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015",
    build=_torch_optimizer("Adam", fused=True),
)
ADAMW = OptimizerSpec(
    name="adamw",
    title="AdamW",
    grid=(1e-3, 4e-3, 1.6e-2, 6.4e-2),
    default=3e-3,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
    source="Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019",
    build=_torch_optimizer("AdamW", fused=True),
)
RMSPROP = OptimizerSpec(
    name="rmsprop",
    title="RMSprop",
    grid=(3e-4, 1.2e-3, 5e-3, 2e-2),
    default=1e-3,
    settings={"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0},
    source="Tieleman and Hinton, Neural networks for machine learning, lecture 6.5, Coursera 2012",
    build=_torch_optimizer("RMSprop", foreach=True),
)
NADAM = OptimizerSpec(
    name="nadam",
    title="NAdam",
    grid=(1e-3, 4e-3, 1.6e-2, 6.4e-2),
    default=3e-3,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "momentum_decay": 4e-3, "weight_decay": 0.0},
    source="Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016",
    build=_torch_optimizer("NAdam", foreach=True),
)
RADAM = OptimizerSpec(
    name="radam",
    title="RAdam",
    grid=(4e-3, 1.6e-2, 6.4e-2, 0.25),
    default=1e-2,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    source="Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020",
    build=_torch_optimizer("RAdam", foreach=True),
)
ADAGRAD = OptimizerSpec(
    name="adagrad",
    title="Adagrad",
    grid=(0.005, 0.02, 0.08, 0.32),
    default=0.03,
    settings={"lr_decay": 0.0, "eps": 1e-10, "weight_decay": 0.0},
    source="Duchi, Hazan and Singer, Adaptive subgradient methods for online learning, JMLR 2011",
    build=_torch_optimizer("Adagrad", fused=True),
)
