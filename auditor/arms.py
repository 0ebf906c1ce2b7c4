"""The arms of a comparison: each optimizer with its recipe, and the same but for one thing, to see what matters."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from auditor import plugins
from auditor.ablations import ablated
from auditor.augmentation import check_augment
from auditor.beginnings import checked_start
from auditor.config import Loaded, OptimizerConfig, TrainConfig
from auditor.documents import Loc
from auditor.errors import ConfigError, UnknownNameError
from auditor.estimator_arms import estimated
from auditor.planning import Planner
from auditor.recipe import Recipe, Start, Tuned
from auditor.train_section import NAME, AblationConfig, Declared
from auditor.training.optimizers import OptimizerSpec, check, check_settings, resolve

INHERITED = ("settings", "schedule", "warmup", "clip", "augment", "batch_size")  # what decides a search beside the rate


@dataclass(frozen=True)
class Arm:
    """A name within its subject, and the recipe whose seeds are trained."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Bench:
    """A train section with where it stands, and all that is needed to make recipes of it."""

    planner: Planner
    train: TrainConfig
    loaded: Loaded
    place: Loc
    start: Start | None

    @cached_property
    def trials(self) -> int:
        """How many rates each optimizer has that is tuned over its own: as many as the longest grid."""
        tuned = [(n, arm.name) for n, arm in enumerate(self.train.arms) if arm.learning_rate is None]
        return max(len(resolve(name, where=self.at("optimizers", n)).grid) for n, name in tuned)

    def at(self, *keys: str | int) -> str:
        """File and line of a key of the section."""
        return self.loaded.document.place((*self.place, *keys))


def arms(planner: Planner, train: TrainConfig, loaded: Loaded, place: Loc) -> list[Arm]:
    """Every arm of a train section: the optimizers in their order, then what the ablations make of them.

    Raises ConfigError, UnknownNameError or ModelError with the place of what cannot be.
    """
    if train.function is not None:
        where = [loaded.document.place((*place, "optimizers", number)) for number in range(len(train.arms))]
        own = [_own(train, train.function, arm.name, at) for arm, at in zip(train.arms, where, strict=True)]
        return _distinct([Arm(r.optimizer, r) for r in own], loaded, place)
    if train.estimator is not None:
        return _distinct([Arm(name, r) for name, r in estimated(train, train.estimator, loaded, place)], loaded, place)
    check_architecture(train.architecture, loaded.document.place((*place, "architecture")))
    start = None
    if train.start is not None:
        start = checked_start(planner, train, train.start.start, loaded.document.place((*place, "start")))
    bench = Bench(planner, train, loaded, place, start)
    plain = [_arm(bench, declared, number) for number, declared in enumerate(train.arms)]
    _distinct(plain, loaded, place)
    return plain + [arm for number, one in enumerate(train.ablations) for arm in _ablated(bench, one, number, plain)]


def _distinct(found: list[Arm], loaded: Loaded, place: Loc) -> list[Arm]:
    names = [arm.name for arm in found]
    if twice := next((n for n in names if names.count(n) > 1), None):
        where = loaded.document.place((*place, "optimizers"))
        raise ConfigError(
            f"{where}: {loaded.config.subjects[int(place[1])].id}/{twice} is named twice; give one of them a name of "
            f"its own: {{name: {twice}, as: {twice}-2}}"
        )
    return found


def _arm(bench: Bench, declared: OptimizerConfig, number: int) -> Arm:
    """One optimizer with what it declares for itself over what the section says."""
    train, at = bench.train, bench.at("optimizers", number)
    spec = resolve(declared.name, where=at)
    recipe = Recipe(
        architecture=train.architecture,
        kwargs=train.kwargs,
        optimizer=spec.name,
        settings=declared.settings,
        epochs=train.epochs,
        batch_size=train.batch_size,
        schedule=train.schedule,
        warmup=train.warmup,
        clip=train.clip,
        augment=train.augment,
        layout=train.layout,
        start=bench.start,
        objective=train.objective,
    )
    recipe = recipe.model_copy(update=_over(declared))
    _check(bench, recipe, spec, at)
    return Arm(declared.as_ or spec.name, recipe.model_copy(update={"learning_rate": _rate(bench, declared, spec)}))


def _over(declared: Declared) -> dict[str, Any]:
    """The fields of a recipe that an arm or ablation names, but for rate and settings."""
    named = {k: getattr(declared, k) for k in ("schedule", "warmup", "clip", "augment", "batch_size")}
    return {k: None if v == "off" else v for k, v in named.items() if v is not None}


def _rate(bench: Bench, declared: Declared, spec: OptimizerSpec) -> float | Tuned:
    train = bench.train
    if declared.learning_rate is not None or train.tune == "off":
        return declared.learning_rate or spec.default
    return train.search(spec.grid, bench.trials)


def _check(bench: Bench, recipe: Recipe, spec: OptimizerSpec, at: str) -> None:
    """Raise what can be known to be wrong with a recipe before it is trained."""
    check(spec, recipe.settings, recipe.objective.name, bench.train.allow_licences, where=at)
    if recipe.layout == "channels-last":
        _check_layout(bench, recipe)
    check_augment(recipe.augment, bench.planner.data.shape, recipe.objective.name, where=at)
    if recipe.clip is not None and spec.needs_closure and spec.full_batch:
        raise ConfigError(
            f"{at}: {spec.name} searches along a line, which a clipped gradient misleads: say `clip: off` for it"
        )


def _check_layout(bench: Bench, recipe: Recipe) -> None:
    """Raise where images cannot lie with their channels last."""
    at, shape = bench.at("layout"), bench.planner.data.shape
    if len(shape) != 3:
        raise ConfigError(f"{at}: channels-last is for images, and these rows have shape {tuple(shape)}: remove layout")
    if recipe.objective.name == "dp":
        raise ConfigError(f"{at}: the objective dp takes the gradient of each row alone, channels first: remove layout")


def _ablated(bench: Bench, ablation: AblationConfig, number: int, plain: list[Arm]) -> list[Arm]:
    """The arms that an ablation makes. Raises where one that it names cannot have it, or none has it."""
    at = bench.at("ablations", number)
    if ablation.optimizers is None:
        return _of_all(bench, ablation, plain, at)
    known = {arm.name: arm for arm in plain}
    found = []
    for name in ablation.optimizers:
        if name not in known:
            raise UnknownNameError(f"optimizer of the ablation {ablation.name}", name, known, where=at)
        spec = resolve(known[name].recipe.optimizer)
        check_settings(spec, ablation.settings, where=at)
        made = _without(bench, ablation, known[name], spec, at)
        if made is None:
            raise ConfigError(f"{at}: the ablation {ablation.name!r} changes nothing for {name}: leave {name} out")
        found.append(made)
    return found


def _of_all(bench: Bench, ablation: AblationConfig, plain: list[Arm], at: str) -> list[Arm]:
    """An ablation of every arm whose optimizer has the settings, and which is another by it."""
    specs = [resolve(arm.recipe.optimizer) for arm in plain]
    for setting in ablation.settings:
        if not any(setting in spec.settings for spec in specs):
            kind = f"setting of the ablation {ablation.name}, for any of {', '.join(s.name for s in specs)}"
            raise UnknownNameError(kind, setting, {name for spec in specs for name in spec.settings}, where=at)
    able = [(arm, s) for arm, s in zip(plain, specs, strict=True) if set(ablation.settings) <= set(s.settings)]
    found = [made for arm, spec in able if (made := _without(bench, ablation, arm, spec, at))]
    if not found:
        raise ConfigError(f"{at}: the ablation {ablation.name!r} changes nothing for any optimizer: remove it")
    return found


def _without(bench: Bench, ablation: AblationConfig, arm: Arm, spec: OptimizerSpec, at: str) -> Arm | None:
    """The arm as the ablation has it; None where it would be trained in the same way."""
    parent = arm.recipe
    settings = {**parent.settings, **ablation.settings}
    recipe = parent.model_copy(update={**_over(ablation), "settings": settings})
    if ablation.learning_rate is not None:
        recipe = recipe.model_copy(update={"learning_rate": ablation.learning_rate})
    _check(bench, recipe, spec, at)
    if _acting(recipe, spec) == _acting(parent, spec):
        return None
    rate = recipe.learning_rate
    if ablation.tune == "inherit" and isinstance(rate, Tuned):
        before = parent.model_dump(mode="json", include=set(INHERITED))
        recipe = recipe.model_copy(update={"learning_rate": rate.model_copy(update={"of": before})})
    return Arm(ablated(arm.name, ablation.name), recipe)


def _acting(recipe: Recipe, spec: OptimizerSpec) -> dict[str, Any]:
    """What of a recipe the training would notice, its optimizer being so."""
    idle = {"batch_size"} if spec.full_batch else set[str]()
    idle |= {"schedule", "warmup"} if spec.schedule == "own" else set()
    return {**recipe.model_dump(mode="json", exclude=idle), "settings": check_settings(spec, recipe.settings)}


def check_architecture(name: str, where: str) -> None:
    """Raise UnknownNameError for an architecture that is neither built in nor "module:callable"."""
    if ":" not in name and name not in plugins.names("auditor.architectures"):
        raise UnknownNameError("architecture", name, plugins.names("auditor.architectures"), where=where)


def _own(train: TrainConfig, function: str, optimizer: str, where: str) -> Recipe:
    """A recipe whose optimizer is a word that the user's function understands."""
    if ":" not in function:
        raise ConfigError(f'{where}: train.function {function!r} is not of the form "module:callable"')
    if not re.fullmatch(NAME, optimizer):
        raise ConfigError(
            f"{where}: the optimizer {optimizer!r} becomes part of file names: use letters, digits, . - and single _"
        )
    return Recipe(function=function, optimizer=optimizer, epochs=train.epochs, outputs=train.outputs)
