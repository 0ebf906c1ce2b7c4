"""From configuration to a plan: what is wrong is said before anything runs."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from auditor import plugins
from auditor.config import AuditConfig, Loaded, OptimizerConfig, SubjectConfig, TrainConfig, TuneConfig, narrowed
from auditor.errors import AuditorError, ConfigError, UnknownNameError
from auditor.plan import Plan, PlannedResult, PlannedSubject, Unit, UnitKind
from auditor.probe import Probe, Setting, misfit
from auditor.recipe import Fit, Recipe, Tuned
from auditor.record import DatasetRecord, digest
from auditor.sources import Codes, environment
from auditor.subject import Access
from auditor.training.optimizers import check_settings, resolve

TUNING_SEED = -1  # never the seed of a subject, so that what is compared was not used for choosing


@dataclass
class Planner:
    """Collects units; the same work asked for twice is one unit."""

    config: AuditConfig
    data: DatasetRecord
    directory: Path
    environment: Mapping[str, Any]
    units: dict[str, Unit] = field(default_factory=dict)

    @cached_property
    def codes(self) -> Codes:
        """Digests of code that is not ours."""
        return Codes(self.directory)

    def add(
        self, kind: UnitKind, label: str, spec: Mapping[str, Any], inputs: tuple[str, ...] = (), **of: str | None
    ) -> str:
        """The identity of this unit, added if it is new."""
        spec = {"data": self.data.sha256, "root": self.config.seed, **spec}
        identity = digest({"kind": kind, "spec": spec, "inputs": inputs, "environment": self.environment})
        if identity not in self.units:
            self.units[identity] = Unit(kind, label, spec, inputs, identity, **of)
        return identity

    def fit(self, fit: Fit, label: str, subject: str | None = None) -> str:
        """A training, after the search for its learning rate where it has one."""
        tuned = fit.recipe.learning_rate
        inputs = (self.tune(fit.recipe, tuned),) if isinstance(tuned, Tuned) else ()
        spec = {"fit": fit.model_dump(mode="json"), "code": self.code_of(fit)}
        return self.add("fit", label, spec, inputs, subject=subject)

    def code_of(self, fit: Fit) -> dict[str, str | None]:
        """Digests of the code that a training runs beside ours, which stands in the environment."""
        name = fit.recipe.architecture
        return {
            "architecture": self.codes.named(name) if ":" in name else self.codes.plugin("auditor.architectures", name),
            "optimizer": self.codes.plugin("auditor.optimizers", fit.recipe.optimizer),
            "change": self.codes.of(fit.change.function) if fit.change else None,
        }

    def tune(self, recipe: Recipe, tuned: Tuned) -> str:
        """A search: one trial a learning rate, then the choice among them."""
        name = f"{recipe.architecture}/{recipe.optimizer}"
        trials = []
        for rate in tuned.grid:
            trial = recipe.model_copy(update={"learning_rate": rate, "seed": TUNING_SEED, "epochs": tuned.epochs})
            trials.append(self.fit(Fit(recipe=trial, holdout=tuned.validation), f"tune {name} at {rate:g}"))
        return self.add("tune", f"tune {name}", {"grid": list(tuned.grid)}, tuple(trials))


def make_plan(loaded: Loaded, data: DatasetRecord, *, only: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> Plan:
    """Everything that an audit will do. Raises AuditorError for whatever can be known to be wrong before it starts."""
    config = loaded.config
    planner = Planner(config, data, loaded.directory, environment())
    probes = chosen_probes(loaded, only, skip)
    subjects = [s for entry in config.subjects for s in _subjects(planner, entry, loaded)]
    _check_reference(loaded, subjects)
    results = tuple(_result(planner, subject, name, probe) for subject in subjects for name, probe in probes.items())
    contents = [[s.id, planner.units[s.unit].spec.get("content")] for s in subjects]
    sha256 = digest(
        {
            "config": config.declared(),
            "data": data.sha256,
            "models": contents,
            "results": [[r.subject, r.probe, r.version, dict(r.parameters)] for r in results],
        }
    )
    return Plan(config, data, planner.units, tuple(subjects), results, sha256)


def chosen_probes(loaded: Loaded, only: tuple[str, ...], skip: tuple[str, ...]) -> dict[str, Probe | str]:
    """Probes by id: made with their parameters, or why an installed one cannot be made."""
    enabled = loaded.enabled()
    for name in loaded.config.probes:
        if name not in plugins.names("auditor.probes"):
            raise UnknownNameError(
                "probe", name, plugins.names("auditor.probes"), where=loaded.document.place(("probes", name))
            )
    on = list(enabled)
    if only:
        on = [
            n
            for n in plugins.names("auditor.probes")
            if n in narrowed(only, list(plugins.names("auditor.probes")), "--only")
        ]
    if skip:
        off = narrowed(skip, list(plugins.names("auditor.probes")), "--skip")
        on = [n for n in on if n not in off]
    return {name: _made(loaded, name, enabled.get(name, {})) for name in sorted(on)}


def _made(loaded: Loaded, name: str, parameters: Mapping[str, Any]) -> Probe | str:
    where = loaded.document.place(("probes", name))
    try:
        kind: type[Probe] = plugins.load("auditor.probes", name)
    except AuditorError:
        raise
    except Exception as error:  # noqa: BLE001  # a third party's import: its probe is errored, the audit goes on
        return f"the probe could not be imported: {type(error).__name__}: {error}"
    known = kind.__dataclass_fields__
    for key in parameters:
        if key not in known:
            raise UnknownNameError(
                f"parameter of {name}", key, known, where=loaded.document.place(("probes", name, key))
            )
        if wrong := misfit(known[key].default, parameters[key]):
            place = loaded.document.place(("probes", name, key))
            raise ConfigError(f"{place}: probes.{name}.{key} {wrong} (found {parameters[key]!r})")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()})
    except (TypeError, ValueError, ConfigError) as error:
        raise ConfigError(f"{where}: probes.{name}: {error}") from None


def _subjects(planner: Planner, entry: SubjectConfig, loaded: Loaded) -> list[PlannedSubject]:
    place = ("subjects", loaded.config.subjects.index(entry))
    where = loaded.document.place(place)
    if entry.train is None:
        return [_loaded_subject(planner, entry, where)]
    made = []
    check_architecture(entry.train.architecture, loaded.document.place((*place, "train", "architecture")))
    for number, arm in enumerate(entry.train.arms):
        at = loaded.document.place((*place, "train", "optimizers", number))
        name = _arm_name(arm, at)
        recipe = _recipe(entry.train, arm, at)
        for seed in range(entry.train.seeds):
            subject = f"{entry.id}/{name}/{seed}"
            seeded = recipe.model_copy(update={"seed": seed})
            unit = planner.fit(Fit(recipe=seeded), f"train {subject}", subject)
            made.append(PlannedSubject(subject, f"{entry.id}/{name}", entry, name, seed, seeded, unit))
    if doubled := [s.id for s in made if [m.id for m in made].count(s.id) > 1]:
        raise ConfigError(f"{where}: {doubled[0].rpartition('/')[0]} is named twice")
    return made


def _arm_name(arm: OptimizerConfig, where: str) -> str:
    return resolve(arm.name, where=where).name


def _recipe(train: TrainConfig, arm: OptimizerConfig, where: str) -> Recipe:
    spec = resolve(arm.name, where=where)
    check_settings(spec, arm.settings, where=where)
    rate: float | Tuned = arm.learning_rate or spec.default
    if arm.learning_rate is None and train.tune != "off":
        tune = train.tune if isinstance(train.tune, TuneConfig) else TuneConfig()
        rate = Tuned(grid=tune.grid or spec.grid, epochs=train.epochs, validation=tune.validation)
    return Recipe(
        architecture=train.architecture,
        kwargs=train.kwargs,
        optimizer=spec.name,
        settings=arm.settings,
        learning_rate=rate,
        epochs=train.epochs,
        batch_size=train.batch_size,
        schedule=train.schedule,
        objective=train.objective,
    )


def check_architecture(name: str, where: str) -> None:
    """Raise UnknownNameError for an architecture that is neither built in nor "module:callable"."""
    if ":" not in name and name not in plugins.names("auditor.architectures"):
        raise UnknownNameError("architecture", name, plugins.names("auditor.architectures"), where=where)


def _loaded_subject(planner: Planner, entry: SubjectConfig, where: str) -> PlannedSubject:
    assert entry.load is not None
    if entry.load.format == "object":
        # what an object answers cannot be told by its name: each is an input of its own, never taken for an earlier one
        spec: dict[str, Any] = {"object": entry.load.path, "outputs": entry.load.outputs, "handed_in": uuid4().hex}
        unit = planner.add("load", f"load {entry.id}", spec, subject=entry.id)
        return PlannedSubject(entry.id, entry.id, entry, None, None, None, unit)
    path = planner.directory / entry.load.path
    if not path.is_file():
        raise ConfigError(f"{where}: load.path: {path} does not exist")
    spec = {
        "load": entry.load.model_dump(mode="json"),
        "content": _content(path),
        "factory": planner.codes.named(entry.load.factory),
    }
    unit = planner.add("load", f"load {entry.id}", spec, subject=entry.id)
    return PlannedSubject(entry.id, entry.id, entry, None, None, None, unit)


def _content(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _result(planner: Planner, subject: PlannedSubject, name: str, probe: Probe | str) -> PlannedResult:
    if isinstance(probe, str):
        return PlannedResult(subject.id, name, 0, {}, None, probe, errored=True)
    parameters = probe.parameters()
    if Access.RECIPE in probe.needs and subject.recipe is None:
        reason = f"needs access: recipe (it retrains the model); {subject.id} is a finished model without one"
        return PlannedResult(subject.id, name, probe.version, parameters, None, reason)
    try:
        wanted = probe.fits(Setting(planner.data, subject.recipe))
    except AuditorError:
        raise
    except Exception as error:  # noqa: BLE001  # a third party's probe: it is errored, the audit goes on
        return PlannedResult(
            subject.id,
            name,
            probe.version,
            parameters,
            None,
            f"planning failed: {type(error).__name__}: {error}",
            errored=True,
        )
    fits = {key: planner.fit(fit, f"{name} {key} for {subject.id}") for key, fit in sorted(wanted.items())}
    spec = {
        "probe": name,
        "version": probe.version,
        "parameters": parameters,
        "subject": subject.id,
        "seed": subject.seed or 0,
        "recipe": subject.recipe.model_dump(mode="json") if subject.recipe else None,
        "fits": fits,
        "model": subject.unit,
        "confidence": planner.config.confidence,
        "source": planner.codes.plugin("auditor.probes", name),
        "gallery": planner.config.gallery in ("on", True),
    }
    unit = planner.add(
        "probe", f"{name} on {subject.id}", spec, (subject.unit, *fits.values()), subject=subject.id, probe=name
    )
    return PlannedResult(subject.id, name, probe.version, parameters, unit)


def _check_reference(loaded: Loaded, subjects: list[PlannedSubject]) -> None:
    reference = loaded.config.contrasts.reference
    groups = {s.group for s in subjects}
    if reference is not None and reference not in groups:
        raise UnknownNameError("group", reference, groups, where=loaded.document.place(("contrasts", "reference")))
