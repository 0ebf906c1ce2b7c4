"""From configuration to a plan: what is wrong is said before anything runs."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from auditor import plugins
from auditor.config import Loaded, narrowed
from auditor.dataset import Array
from auditor.errors import AuditorError, ConfigError, UnknownNameError
from auditor.origins import planned
from auditor.plan import Plan, PlannedResult, PlannedSubject
from auditor.planning import Planner
from auditor.probe import Probe, Setting, misfit
from auditor.record import DatasetRecord, digest
from auditor.sources import environment
from auditor.subject import Access
from auditor.variants.names import FLOAT

OF_VARIANTS = ("variant.agreement", "backdoor.awakened")  # on where there are variants
DECIDING = ("content", "beside", "factory", "imports", "code")  # of a model, what it is beside what is declared


NO_VARIANT = "asked of variants alone: this is the model that they are compared with"
NO_RECIPE = (
    "needs access: recipe (it retrains the model); a finished model has none unless `recipe` is stated beside `load`"
)


def make_plan(
    loaded: Loaded,
    data: DatasetRecord,
    *,
    only: tuple[str, ...] = (),
    skip: tuple[str, ...] = (),
    test_rows: Callable[[], Array] | None = None,
) -> Plan:
    """Everything that an audit will do. Raises AuditorError for whatever can be known to be wrong before it starts.

    By `test_rows`, asked where they are needed, a model is known that has no file.
    """
    config = loaded.config
    planner = Planner(config, data, loaded.directory, environment(), test_rows)
    probes = chosen_probes(loaded, only, skip)
    subjects = [s for entry in config.subjects for s in planned(planner, entry, loaded)]
    _check_reference(loaded, subjects)
    results = tuple(_result(planner, subject, name, probe) for subject in subjects for name, probe in probes.items())
    contents = [[s.id, *(planner.units[s.unit].spec.get(k) for k in DECIDING)] for s in subjects]
    sha256 = digest(
        {
            "config": config.declared(),
            "data": data.sha256,
            "models": contents,
            "results": [[r.subject, r.probe, r.version, dict(r.parameters)] for r in results],
        }
    )
    return Plan(config, data, planner.units, tuple(subjects), results, sha256, tuple(planner.notes))


def chosen_probes(loaded: Loaded, only: tuple[str, ...], skip: tuple[str, ...]) -> dict[str, Probe | str]:
    """Probes by id: made with their parameters, or why an installed one cannot be made."""
    enabled = loaded.enabled()
    for name in loaded.config.probes:
        if name not in plugins.names("auditor.probes"):
            raise UnknownNameError(
                "probe", name, plugins.names("auditor.probes"), where=loaded.document.place(("probes", name))
            )
    on = list(enabled)
    if any(s.variants for s in loaded.config.subjects):
        on += [name for name in OF_VARIANTS if name not in loaded.config.probes]
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
    known = {f.name: f for f in fields(kind)}
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
        raise ConfigError(f"{where}: probes.{name}: {str(error).removeprefix(f'{name}: ')}") from None


def _result(planner: Planner, subject: PlannedSubject, name: str, probe: Probe | str) -> PlannedResult:
    if isinstance(probe, str):
        return PlannedResult(subject.id, name, 0, {}, None, probe, errored=True)
    parameters = probe.parameters()

    def not_run(reason: str, *, errored: bool = False) -> PlannedResult:
        return PlannedResult(subject.id, name, probe.version, parameters, None, reason, errored)

    if probe.of_variants and subject.variant == FLOAT:
        return not_run(NO_VARIANT)
    if Access.RECIPE in probe.needs and subject.recipe is None:
        return not_run(NO_RECIPE)
    setting = Setting(planner.data, subject.recipe)
    try:
        if unasked := probe.unasked(setting):
            return not_run(unasked)
        wanted = probe.fits(setting)
    except AuditorError:
        raise
    except Exception as error:  # noqa: BLE001  # a third party's probe: it is errored, the audit goes on
        return not_run(f"planning failed: {type(error).__name__}: {error}", errored=True)
    fits = {key: planner.fit(fit, f"{name} {key} for {subject.id}") for key, fit in sorted(wanted.items())}
    return PlannedResult(subject.id, name, probe.version, parameters, _asking(planner, subject, probe, fits))


def _asking(planner: Planner, subject: PlannedSubject, probe: Probe, fits: Mapping[str, str]) -> str:
    """The identity of the unit that asks this probe about this subject, with its fits."""
    spec = {
        "probe": probe.id,
        "version": probe.version,
        "parameters": probe.parameters(),
        "subject": subject.id,
        "seed": subject.seed or 0,
        "recipe": subject.recipe.model_dump(mode="json") if subject.recipe else None,
        "fits": dict(fits),
        "model": subject.unit,
        "variant": subject.variant,
        "original": subject.original,
        "confidence": planner.config.confidence,
        "source": planner.codes.plugin("auditor.probes", probe.id),
        "gallery": planner.config.gallery in ("on", True),
    }
    inputs = (subject.unit, *((subject.original,) if subject.original else ()), *fits.values())
    return planner.add("probe", f"{probe.id} on {subject.id}", spec, inputs, subject=subject.id, probe=probe.id)


def _check_reference(loaded: Loaded, subjects: list[PlannedSubject]) -> None:
    reference = loaded.config.contrasts.reference
    groups = {s.group for s in subjects}
    if reference is not None and reference not in groups:
        raise UnknownNameError("group", reference, groups, where=loaded.document.place(("contrasts", "reference")))
