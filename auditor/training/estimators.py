"""The classifiers of scikit-learn that can be trained here, with their solvers, which are their optimizers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auditor.errors import ConfigError, UnknownNameError

Settings = Mapping[str, float | bool]


@dataclass(frozen=True)
class Solver:
    """One solver of an estimator.

    `settings` are keywords of the estimator with their defaults. `rate` is the keyword of the learning rate, tuned over
    `grid`, and `default` its value where it is not tuned; None where there is none. `keywords` make the estimator use
    this solver. `batches` says whether a step sees `batch_size` rows.
    """

    name: str
    settings: Settings
    keywords: Mapping[str, Any]  # any value that the estimator takes
    rate: str | None = None
    grid: tuple[float, ...] = ()
    default: float | None = None
    batches: bool = False

    def line(self) -> str:
        """Its settings and rates in one line, as a message names them."""
        settings = ", ".join(f"{k} {_said(v)}" for k, v in self.settings.items())
        rates = f"rates {' '.join(f'{r:g}' for r in self.grid)}" if self.rate else "no learning rate"
        return f"{self.name}: {settings}; {rates}"


@dataclass(frozen=True)
class Estimator:
    """A classifier with its solvers; `kwargs` says its shape, with defaults."""

    name: str
    path: str  # "module:class" of scikit-learn
    title: str
    solvers: Mapping[str, Solver]
    kwargs: Mapping[str, Any]

    def line(self) -> str:
        """Its solvers in one line, as a message names them."""
        return f"{self.name} ({self.title}): {', '.join(self.solvers)}"


def _said(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _table(*solvers: Solver) -> dict[str, Solver]:
    return {solver.name: solver for solver in solvers}


def _network(name: str, settings: Settings, grid: tuple[float, ...] = ()) -> Solver:
    rate, default = ("learning_rate_init", 0.001) if grid else (None, None)
    return Solver(name, {"alpha": 1e-4, "tol": 1e-4, **settings}, {"solver": name}, rate, grid, default, bool(grid))


def _logistic(name: str) -> Solver:
    return Solver(name, {"C": 1.0, "tol": 1e-4}, {"solver": name})


def _descent(name: str, grid: tuple[float, ...] = (), **settings: float) -> Solver:
    common = {"alpha": 1e-4, "tol": 1e-3, "n_iter_no_change": 5, **settings}
    keywords = {"loss": "log_loss", "learning_rate": name}
    return Solver(name, common, keywords, "eta0" if grid else None, grid, 0.01 if grid else None)


NETWORK = Estimator(
    name="mlp-classifier",
    path="sklearn.neural_network:MLPClassifier",
    title="fully connected layers",
    solvers=_table(
        _network(
            "sgd", {"momentum": 0.9, "nesterovs_momentum": True, "n_iter_no_change": 10}, (0.003, 0.012, 0.05, 0.2)
        ),
        _network(
            "adam",
            {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "n_iter_no_change": 10},
            (0.001, 0.004, 0.016, 0.064),
        ),
        _network("lbfgs", {}),
    ),
    kwargs={"hidden_layer_sizes": (100,), "activation": "relu"},
)
LOGISTIC = Estimator(
    name="logistic-regression",
    path="sklearn.linear_model:LogisticRegression",
    title="logits linear in the features, all classes at once",
    solvers=_table(*map(_logistic, ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"))),
    kwargs={},
)
DESCENT = Estimator(
    name="sgd-classifier",
    path="sklearn.linear_model:SGDClassifier",
    title="log loss of each class against the rest, one row a step; its schedules are its optimizers",
    solvers=_table(
        _descent("optimal"),
        _descent("constant", (0.002, 0.008, 0.032, 0.128)),
        _descent("invscaling", (0.1, 0.4, 1.6, 6.4), power_t=0.5),
        _descent("adaptive", (0.002, 0.008, 0.032, 0.128)),
    ),
    kwargs={},
)
ESTIMATORS: Mapping[str, Estimator] = {e.name: e for e in (NETWORK, LOGISTIC, DESCENT)}
ACTIVATIONS = ("relu", "tanh", "logistic", "identity")
BOUNDS: Mapping[str, tuple[str, float, float]] = {  # in words, least and greatest
    "C": ("a number above 0", math.ulp(0.0), math.inf),
    "epsilon": ("a number above 0", math.ulp(0.0), math.inf),
    "momentum": ("a number from 0 to 1", 0, 1),
    "beta_1": ("a number from 0 to below 1", 0, 1 - 1e-12),
    "beta_2": ("a number from 0 to below 1", 0, 1 - 1e-12),
    "n_iter_no_change": ("a whole number from 1 on", 1, math.inf),
}
ELSEWHERE: Mapping[str, str] = {  # what people write, and where it stands
    "learning_rate_init": "say `learning_rate` beside `settings`",
    "eta0": "say `learning_rate` beside `settings`",
    "learning_rate": "say `learning_rate` beside `settings`",
    "max_iter": "say `epochs` in the train section",
    "batch_size": "say `batch_size` beside `settings`",
    "random_state": "it is the seed of each model: say `seeds` in the train section",
    "early_stopping": "it would hold rows back that other solvers learn from",
}


def estimator(name: str, *, where: str = "") -> Estimator:
    """The estimator of this name. Raises UnknownNameError with the nearest and its solvers."""
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    plain = UnknownNameError("estimator", name, ESTIMATORS, where=where)
    if plain.nearest is None:
        raise plain
    raise UnknownNameError("estimator", name, ESTIMATORS, where=where, about=ESTIMATORS[plain.nearest].line())


def solver(of: Estimator, name: str, *, where: str = "") -> Solver:
    """A solver of an estimator. Raises UnknownNameError with the nearest and what it is, and ConfigError for liblinear.

    liblinear fits one class against one other, and refuses more; lbfgs minimises the same for any number of classes.
    """
    if name in of.solvers:
        return of.solvers[name]
    if of is LOGISTIC and name == "liblinear":
        raise ConfigError(
            f"{where + ': ' if where else ''}liblinear cannot tell more than two classes apart and penalises the "
            "intercept, which no other solver does: take lbfgs or newton-cholesky"
        )
    kind = f"solver of {of.name}"
    plain = UnknownNameError(kind, name, of.solvers, where=where)
    about = of.solvers[plain.nearest].line() if plain.nearest else of.line()
    raise UnknownNameError(kind, name, of.solvers, where=where, about=about)


def check_settings(of: Solver, given: Settings, *, where: str = "") -> dict[str, float | bool]:
    """All settings of a solver, those given over its defaults.

    Raises UnknownNameError for one that it does not have, ConfigError for a value that it cannot take.
    """
    place = where + ": " if where else ""
    for name, value in given.items():
        if name not in of.settings:
            if hint := ELSEWHERE.get(name):
                raise ConfigError(f"{place}{name} is no setting of the solver {of.name}: {hint}")
            raise UnknownNameError(f"setting of {of.name}", name, of.settings, where=where, about=of.line())
        if isinstance(of.settings[name], bool) != isinstance(value, bool):
            kind = "true or false" if isinstance(of.settings[name], bool) else "a number"
            raise ConfigError(f"{place}{of.name}: {name} is {value!r}; it must be {kind}")
        words, least, most = BOUNDS.get(name, ("finite and not negative", 0, math.inf))
        whole = name != "n_iter_no_change" or value == int(value)
        if not (math.isfinite(value) and least <= value <= most and whole):
            raise ConfigError(f"{place}{of.name}: {name} is {value:g}; it must be {words}")
    return {**of.settings, **given}


def check_kwargs(of: Estimator, given: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
    """The shape of an estimator, what is given over its defaults. Raises as `check_settings` does."""
    for name in given:
        if name not in of.kwargs:
            raise UnknownNameError(f"keyword of {of.name}", name, of.kwargs, where=where)
    shape = {**of.kwargs, **given}
    place = f"{where + ': ' if where else ''}{of.name}: "
    layers = shape.get("hidden_layer_sizes", ())
    if not isinstance(layers, list | tuple) or not all(type(size) is int and size > 0 for size in layers):
        raise ConfigError(f"{place}hidden_layer_sizes is {layers!r}; it must be a list of whole numbers such as [100]")
    if shape.get("activation", "relu") not in ACTIVATIONS:
        raise UnknownNameError("activation", str(shape["activation"]), ACTIVATIONS, where=place.removesuffix(": "))
    return shape
