"""Optimizers whose update is torch's own."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from auditor.training.optimizers.spec import SHARE, Build, Limit, OptimizerSpec, Settings

if TYPE_CHECKING:
    import torch

LICENCE = "BSD-3-Clause"
BETAS = {"beta1": SHARE, "beta2": SHARE}
Keywords = Callable[[Settings], dict[str, Any]]  # any keyword of a torch optimizer


def betas(settings: Settings) -> dict[str, Any]:  # any keyword of a torch optimizer
    """The settings as keywords; `beta1` and `beta2` become the pair that torch wants."""
    keywords: dict[str, Any] = {k: v for k, v in settings.items() if k not in ("beta1", "beta2")}
    if "beta1" in settings:
        keywords["betas"] = (settings["beta1"], settings["beta2"])
    return keywords


def looking_ahead(settings: Settings) -> dict[str, Any]:  # any keyword of a torch optimizer
    """The settings of SGD; without momentum there is nothing to look ahead by, and torch refuses the word."""
    return {**settings, "nesterov": bool(settings["nesterov"]) and settings["momentum"] > 0}


def _torch_optimizer(name: str, keywords: Keywords = betas, **fixed: Any) -> Build:  # any keyword of a torch optimizer
    """A builder for an optimizer of torch.optim."""

    def build(params: Any, learning_rate: float, settings: Settings) -> "torch.optim.Optimizer":
        import torch

        from auditor.training.optimizers.eager import eager

        kind = eager(getattr(torch.optim, name))
        made: torch.optim.Optimizer = kind(params, lr=learning_rate, **keywords(settings), **fixed)
        return made

    return build


def _rprop(params: Any, learning_rate: float, settings: Settings) -> "torch.optim.Optimizer":
    """Rprop, whose rate is its first step and so no shorter than the shortest."""
    import torch

    from auditor.training.optimizers.eager import eager

    least, most = min(settings["step_min"], learning_rate), settings["step_max"]
    etas = (settings["eta_minus"], settings["eta_plus"])
    made: torch.optim.Optimizer = eager(torch.optim.Rprop)(
        params, lr=learning_rate, etas=etas, step_sizes=(least, most), foreach=True
    )
    return made


def _adafactor(settings: Settings) -> dict[str, Any]:  # any keyword of a torch optimizer
    """Our decay counts up, torch's exponent down; where epsilon of squares is None torch takes the type's own."""
    return {
        "beta2_decay": -settings["decay"],
        "d": settings["clip"],
        "eps": (None, settings["eps"]),
        "weight_decay": settings["weight_decay"],
    }


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
    build=_torch_optimizer("SGD", looking_ahead, fused=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=1,
    limits={"momentum": SHARE},
)
MOMENTUM = OptimizerSpec(
    name="momentum",
    aliases=("heavy-ball",),
    title="SGD with heavy-ball momentum",
    grid=(0.01, 0.04, 0.16, 0.64),
    default=0.1,
    settings={"momentum": 0.9, "weight_decay": 0.0},
    source="Polyak, Some methods of speeding up the convergence of iteration methods, 1964",
    build=_torch_optimizer("SGD", fused=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=1,
    limits={"momentum": SHARE},
)
SGD_PLAIN = OptimizerSpec(
    name="sgd-plain",
    title="SGD without momentum",
    grid=(0.04, 0.16, 0.64, 2.56),
    default=0.3,
    settings={"weight_decay": 0.0},
    source="Robbins and Monro, A stochastic approximation method, 1951",
    build=_torch_optimizer("SGD", fused=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=0,
)
ADAM = OptimizerSpec(
    name="adam",
    title="Adam",
    grid=(1e-3, 4e-3, 1.6e-2, 6.4e-2),
    default=3e-3,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    source="Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015",
    build=_torch_optimizer("Adam", fused=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=2,
    limits=BETAS,
)
ADAMW = OptimizerSpec(
    name="adamw",
    title="AdamW",
    grid=(1e-3, 4e-3, 1.6e-2, 6.4e-2),
    default=3e-3,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
    source="Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019",
    build=_torch_optimizer("AdamW", fused=True),
    provider="torch",
    licence=LICENCE,
    decay="decoupled",
    elementwise=True,
    state=2,
    limits=BETAS,
)
RMSPROP = OptimizerSpec(
    name="rmsprop",
    title="RMSprop",
    grid=(3e-4, 1.2e-3, 5e-3, 2e-2),
    default=1e-3,
    settings={"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0},
    source="Tieleman and Hinton, Neural networks for machine learning, lecture 6.5, Coursera 2012",
    build=_torch_optimizer("RMSprop", foreach=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=1,
    limits={"alpha": SHARE, "momentum": SHARE},
)
NADAM = OptimizerSpec(
    name="nadam",
    title="NAdam",
    grid=(1e-3, 4e-3, 1.6e-2, 6.4e-2),
    default=3e-3,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "momentum_decay": 4e-3, "weight_decay": 0.0},
    source="Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016",
    build=_torch_optimizer("NAdam", foreach=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=2,
    limits=BETAS,
)
RADAM = OptimizerSpec(
    name="radam",
    title="RAdam",
    grid=(4e-3, 1.6e-2, 6.4e-2, 0.25),
    default=1e-2,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    source="Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020",
    build=_torch_optimizer("RAdam", foreach=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=2,
    limits=BETAS,
)
ADAGRAD = OptimizerSpec(
    name="adagrad",
    title="Adagrad",
    grid=(0.005, 0.02, 0.08, 0.32),
    default=0.03,
    settings={"lr_decay": 0.0, "eps": 1e-10, "weight_decay": 0.0},
    source="Duchi, Hazan and Singer, Adaptive subgradient methods for online learning, JMLR 2011",
    build=_torch_optimizer("Adagrad", fused=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=1,
)
ADADELTA = OptimizerSpec(
    name="adadelta",
    title="Adadelta",
    grid=(0.25, 1.0, 4.0, 16.0),
    default=3.0,
    settings={"rho": 0.9, "eps": 1e-6, "weight_decay": 0.0},
    source="Zeiler, ADADELTA: an adaptive learning rate method, 2012",
    build=_torch_optimizer("Adadelta", foreach=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=2,
    limits={"rho": SHARE},
)
ADAMAX = OptimizerSpec(
    name="adamax",
    title="Adamax",
    grid=(4e-3, 1.6e-2, 6.4e-2, 0.25),
    default=2e-2,
    settings={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
    source="Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, section 7.1",
    build=_torch_optimizer("Adamax", foreach=True),
    provider="torch",
    licence=LICENCE,
    decay="l2",
    elementwise=True,
    state=2,
    limits=BETAS,
)
ADAFACTOR = OptimizerSpec(
    name="adafactor",
    title="Adafactor",
    grid=(5e-3, 2e-2, 8e-2, 0.32),
    default=5e-2,
    settings={"decay": 0.8, "clip": 1.0, "eps": 1e-3, "weight_decay": 0.0},
    source="Shazeer and Stern, Adafactor: adaptive learning rates with sublinear memory cost, ICML 2018",
    build=_torch_optimizer("Adafactor", _adafactor, foreach=False),
    provider="torch",
    licence=LICENCE,
    decay="decoupled",
    limits={"clip": Limit(least=1)},
)
RPROP = OptimizerSpec(
    name="rprop",
    title="Resilient backpropagation",
    grid=(1.5e-4, 6e-4, 2.5e-3, 1e-2),
    default=3e-3,
    settings={"eta_minus": 0.5, "eta_plus": 1.2, "step_min": 1e-6, "step_max": 50.0},
    source="Riedmiller and Braun, A direct adaptive method for faster backpropagation learning: the RPROP algorithm, "
    "ICNN 1993; without backtracking, as Igel and Huesken, Improving the Rprop learning algorithm, NC 2000, have it",
    build=_rprop,
    provider="torch",
    licence=LICENCE,
    decay="none",
    elementwise=True,
    full_batch=True,
    schedule="own",
    state=2,
    limits={"eta_minus": Limit(below=1, open=True), "eta_plus": Limit(least=1, open=True)},
)
