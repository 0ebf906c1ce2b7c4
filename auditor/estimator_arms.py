"""The arms of a scikit-learn classifier: each of its solvers as an optimizer, with settings and rate checked."""

from auditor.config import Loaded, OptimizerConfig, TrainConfig, TuneConfig
from auditor.documents import Loc
from auditor.errors import ConfigError
from auditor.recipe import Recipe, Tuned
from auditor.training.estimators import Estimator, Solver, check_kwargs, check_settings, estimator, solver


def estimated(train: TrainConfig, name: str, loaded: Loaded, place: Loc) -> list[tuple[str, Recipe]]:
    """The name of each arm and its recipe.

    Raises ConfigError or UnknownNameError with the place of a name, setting or rate that cannot be.
    """
    kind = estimator(name, where=loaded.document.place((*place, "estimator")))
    if "optimizers" not in train.model_fields_set:
        raise ConfigError(
            f"{loaded.document.place(place)}: the optimizers of an estimator are its solvers; name them under "
            f"`optimizers` ({kind.line()})"
        )
    check_kwargs(kind, train.kwargs, where=loaded.document.place((*place, "kwargs")))
    at = [loaded.document.place((*place, "optimizers", number)) for number in range(len(train.arms))]
    solvers = [solver(kind, arm.name, where=where) for arm, where in zip(train.arms, at, strict=True)]
    _check_section(train, kind, solvers, loaded, place)
    made = []
    for arm, chosen, where in zip(train.arms, solvers, at, strict=True):
        _check_arm(arm, chosen, where)
        recipe = Recipe(
            estimator=kind.name,
            optimizer=chosen.name,
            settings=arm.settings,
            kwargs=train.kwargs,
            epochs=train.epochs,
            batch_size=arm.batch_size or train.batch_size,
            learning_rate=_rate(arm, chosen, train, solvers),
        )
        made.append((arm.as_ or chosen.name, recipe))
    return made


def _check_section(train: TrainConfig, kind: Estimator, solvers: list[Solver], loaded: Loaded, place: Loc) -> None:
    """Raise ConfigError for what none of the solvers has a use for."""
    idle = {
        "batch_size": not any(s.batches for s in solvers),
        "tune": isinstance(train.tune, TuneConfig) and not any(s.rate for s in solvers),
    }
    for key, useless in idle.items():
        if useless and key in train.model_fields_set:
            raise ConfigError(
                f"{loaded.document.place((*place, key))}: {key} acts on none of the solvers "
                f"{', '.join(s.name for s in solvers)} of {kind.name}: remove it"
            )


def _check_arm(arm: OptimizerConfig, chosen: Solver, where: str) -> None:
    check_settings(chosen, arm.settings, where=where)
    if arm.learning_rate is not None and chosen.rate is None:
        raise ConfigError(
            f"{where}: {chosen.name} has no learning rate: it finds the length of each step itself; remove "
            f"`learning_rate` ({chosen.line()})"
        )
    if arm.batch_size is not None and not chosen.batches:
        raise ConfigError(f"{where}: {chosen.name} takes no batches: remove `batch_size` ({chosen.line()})")


def _rate(arm: OptimizerConfig, chosen: Solver, train: TrainConfig, solvers: list[Solver]) -> float | Tuned | None:
    """Its own rate, the default, or one to be found with as many trials for each solver that has one."""
    if chosen.rate is None:
        return None
    if arm.learning_rate is not None or train.tune == "off":
        return arm.learning_rate or chosen.default
    return train.search(chosen.grid, max(len(s.grid) for s in solvers))
