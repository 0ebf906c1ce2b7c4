"""Optimizers that torch lacks, or whose own has to be led: Lion, SAM, Muon, averaged SGD, L-BFGS."""

from typing import TYPE_CHECKING, Any

from auditor.training.optimizers.spec import COUNT, SHARE, OptimizerSpec, Settings
from auditor.training.optimizers.torch_optim import looking_ahead

if TYPE_CHECKING:
    import torch

LICENCE = "Apache-2.0"
TORCH = "BSD-3-Clause"
LONGEST_SEARCH = 10  # losses an iteration of L-BFGS may look at, on average


def _lion(params: Any, learning_rate: float, settings: Settings) -> "torch.optim.Optimizer":
    from auditor.training.optimizers.eager import eager
    from auditor.training.optimizers.updates import Lion

    made: torch.optim.Optimizer = eager(Lion)(params, learning_rate, **settings)
    return made


def _sam(params: Any, learning_rate: float, settings: Settings) -> "torch.optim.Optimizer":
    from auditor.training.optimizers.updates import Sam

    return Sam(params, learning_rate, **looking_ahead(settings))


def _muon(params: Any, learning_rate: float, settings: Settings) -> "torch.optim.Optimizer":
    from auditor.training.optimizers.eager import eager
    from auditor.training.optimizers.muon import Muon

    made: torch.optim.Optimizer = eager(Muon)(params, learning_rate, **settings)
    return made


def _asgd(params: Any, learning_rate: float, settings: Settings) -> "torch.optim.Optimizer":
    from auditor.training.optimizers.updates import Averaged

    numbers: dict[str, Any] = dict(settings)
    return Averaged(params, lr=learning_rate, foreach=False, **numbers)  # one by one: as exact for every number type


def _lbfgs(params: Any, learning_rate: float, settings: Settings) -> "torch.optim.Optimizer":
    from auditor.training.optimizers.updates import Lbfgs

    whole: dict[str, Any] = {name: int(value) for name, value in settings.items()}
    most = LONGEST_SEARCH * whole["max_iter"]  # torch's default would cut searches off before they find a length
    return Lbfgs(params, lr=learning_rate, max_eval=most, **whole, line_search_fn="strong_wolfe")


LION = OptimizerSpec(
    name="lion",
    title="Lion",
    grid=(1e-4, 4e-4, 1.6e-3, 6.4e-3),
    default=1e-3,
    settings={"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.01},
    source="Chen et al., Symbolic discovery of optimization algorithms, NeurIPS 2023",
    build=_lion,
    provider="auditor",
    licence=LICENCE,
    decay="decoupled",
    elementwise=True,
    state=1,
    limits={"beta1": SHARE, "beta2": SHARE},
)
SAM = OptimizerSpec(
    name="sam",
    aliases=("sam-sgd",),
    title="Sharpness-aware minimization over SGD with Nesterov momentum",
    grid=(0.01, 0.04, 0.16, 0.64),
    default=0.1,
    settings={"rho": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0},
    source="Foret et al., Sharpness-aware minimization for efficiently improving generalization, ICLR 2021",
    build=_sam,
    provider="auditor",
    licence=LICENCE,
    decay="l2",
    needs_closure=True,
    passes=2,
    state=1,
    limits={"momentum": SHARE},
)
MUON = OptimizerSpec(
    name="muon",
    title="Muon on hidden matrices and flattened kernels, AdamW on the rest",
    grid=(4e-3, 1.6e-2, 6.4e-2, 0.25),
    default=2e-2,
    settings={"momentum": 0.95, "nesterov": True, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8},
    source="Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024; its scale after Liu et al., "
    "Muon is scalable for LLM training, 2025",
    build=_muon,
    provider="auditor",
    licence=LICENCE,
    decay="decoupled",
    matrices=True,
    limits={"momentum": SHARE, "beta1": SHARE, "beta2": SHARE},
)
ASGD = OptimizerSpec(
    name="asgd",
    title="SGD whose evaluated weights are an average over its steps",
    grid=(0.04, 0.16, 0.64, 2.56),
    default=0.3,
    settings={"lambd": 1e-4, "alpha": 0.75, "t0": 100.0, "weight_decay": 0.0},
    source="Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992",
    build=_asgd,
    provider="torch",
    licence=TORCH,
    decay="l2",
    train_eval=True,
    elementwise=True,
    state=1,
)
LBFGS = OptimizerSpec(
    name="lbfgs",
    title="L-BFGS with strong Wolfe line search",
    grid=(0.06, 0.25, 1.0, 4.0),
    default=1.0,
    settings={"max_iter": 4.0, "history_size": 10.0},
    source="Liu and Nocedal, On the limited memory BFGS method for large scale optimization, 1989",
    build=_lbfgs,
    provider="torch",
    licence=TORCH,
    decay="none",
    needs_closure=True,
    passes=5,
    full_batch=True,
    limits={"max_iter": COUNT, "history_size": COUNT},
)
