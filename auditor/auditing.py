"""The verb `audit` from end to end: configuration to sealed bundle, each stage reading only the one before."""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from auditor import plugins
from auditor.assemble import Assembly
from auditor.attestations import load_attestations
from auditor.bundle import Facts, LayerWriter, file_sha256, read_facts
from auditor.catalogue import Catalogue, ProbeEntry, describe
from auditor.config import Loaded
from auditor.datasets.spec import DataConfig
from auditor.engine import Engine, Executor
from auditor.errors import ConfigError, UnknownNameError
from auditor.executors.inline import Inline
from auditor.folder import claim
from auditor.job import Failure
from auditor.journal import Journal
from auditor.judgement import check_policy
from auditor.plan import Plan, PlannedSubject, Unit
from auditor.planner import make_plan
from auditor.policy import Findings, Policy, Waivers, load_policy, load_waivers
from auditor.record import DatasetRecord, canonical_json, digest
from auditor.sources import environment
from auditor.stages import judged, render_bundle, seal_findings
from auditor.store import Store


@dataclass(frozen=True)
class Options:
    """How an audit is run; nothing here changes a number."""

    store: Path = Path(".auditor")
    out: Path | None = None
    workers: int | None = None
    fresh: bool = False
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("html", "md")
    inline: bool = False
    models: Mapping[str, Any] = field(default_factory=dict)  # objects handed in, by subject id
    command: str = ""


@dataclass(frozen=True)
class Audited:
    """A finished or interrupted audit: its bundle, and what was read back from it."""

    bundle: Path
    facts: Facts
    findings: Findings
    failures: Mapping[str, Failure]
    interrupted: bool


Watch = Callable[[Plan, Store], Callable[[Unit, str, str], None]]
UNWATCHED: Watch = lambda _plan, _store: lambda *_: None  # noqa: E731  # a default that does nothing


def catalogue() -> Catalogue:
    """What every installed probe says of itself; one that cannot be read is listed with its error."""
    return Catalogue(version=version("auditor"), probes=tuple(_entry(name) for name in plugins.names("auditor.probes")))


def _entry(name: str) -> ProbeEntry:
    source = plugins.owner(plugins.names("auditor.probes")[name])
    try:
        return describe(plugins.load("auditor.probes", name), source)
    except Exception as error:  # noqa: BLE001  # a third party's import must not end an audit
        return ProbeEntry(id=name, source=source, error=f"{type(error).__name__}: {error}")


def prepared_data(loaded: Loaded, store: Store) -> DatasetRecord:
    """The facts of the configured data, which is in the store afterwards. Loads it only if it is not there yet.

    Data that a user's or a third party's code makes is made every time: what that code reads, nobody can know.
    """
    from auditor.datasets import content_files

    config = loaded.config.data
    files = {os.path.relpath(f, loaded.directory): file_sha256(f) for f in content_files(config, loaded.directory)}
    key = digest({"data": config.model_dump(mode="json"), "files": files, "environment": environment()})
    pointer = store.root / "data" / f"{key}.json"
    if _all_ours(config) and (known := _facts_in(pointer)) is not None and store.has_dataset(known.sha256):
        return known
    from auditor.datasets import load

    data = load(config, loaded.directory)
    store.write_dataset(data)
    partial = pointer.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(canonical_json(data.facts()))
    partial.replace(pointer)
    return data.facts()


def _all_ours(config: DataConfig) -> bool:
    installed = plugins.names("auditor.datasets")
    used = [config.source, *(ood.source for ood in config.ood)]
    return all(name in installed and installed[name].module.startswith("auditor.") for name in used)


def _facts_in(pointer: Path) -> DatasetRecord | None:
    try:
        return DatasetRecord.model_validate_json(pointer.read_bytes())
    except (OSError, ValueError):  # not written yet, or in part
        return None


def planned(loaded: Loaded, options: Options, data: DatasetRecord | None = None) -> Plan:
    """The plan of an audit, its data in the store. Raises AuditorError for what is wrong before anything runs."""
    store = Store(options.store)
    for name in options.formats:
        if name not in plugins.names("auditor.reports"):
            raise UnknownNameError("report", name, plugins.names("auditor.reports"), where="--format")
    shown = catalogue()
    policy, _ = bar(loaded)
    check_policy(policy, shown)
    if stated := loaded.config.attestations:
        load_attestations(loaded.input_text(stated, "attestations"), stated)
    facts = data or prepared_data(loaded, store)
    plan = make_plan(
        loaded, facts, only=options.only, skip=options.skip, test_rows=lambda: store.dataset(facts.sha256).x_test
    )
    for metric in plan.config.contrasts.metrics or ():
        if shown.metric(metric) is None:
            raise UnknownNameError(
                "metric", metric, shown.metric_names(), where=loaded.document.place(("contrasts", "metrics"))
            )
    return plan


def bar(loaded: Loaded) -> tuple[Policy, Waivers | None]:
    """The policy and the waivers that an audit names."""
    policy = load_policy(loaded.policy_text, loaded.config.policy or "the shipped baseline policy")
    name = loaded.config.waivers
    return policy, load_waivers(loaded.input_text(name, "waivers"), name) if name else None


def run(loaded: Loaded, options: Options, watch: Watch = UNWATCHED, data: DatasetRecord | None = None) -> Audited:
    """Do an audit: fit or load, probe, judge, render. What was measured is sealed before anything is judged.

    `data` names a data set that is in the store already, for one that was handed in.
    """
    plan = planned(loaded, options, data)
    bundle = options.out or Path("audits") / loaded.config.name
    _claim(bundle, plan)
    store = Store(options.store)
    started = datetime.now(UTC)
    store.sweep()
    journal = Journal(bundle / "events.jsonl")
    journal.write("started", plan=plan.sha256, units=len(plan.units))
    on_unit = journal.watching(watch(plan, store))
    engine = Engine(plan, store, loaded.directory, fresh=options.fresh, on_unit=on_unit, models=options.models)
    interrupted = False
    try:
        engine.run(executor(plan, options))
    except KeyboardInterrupt:
        interrupted = True
    journal.failures(engine.failures)
    journal.write(
        "interrupted" if interrupted else "finished", finished=len(engine.finished), failed=len(engine.failures)
    )
    provenance = {
        "started": started.isoformat(timespec="seconds"),
        "wall_seconds": time.perf_counter() - engine.started,
        "command": options.command,
    }
    write_facts(bundle, plan, loaded, Assembly(plan, store, engine.failures, catalogue()), provenance)
    for subject in plan.subjects:
        if plan.units[subject.unit].kind == "fit" and subject.unit in engine.finished:
            keep_weights(bundle / "artifacts", store, subject, None)
    findings = judged(read_facts(bundle))
    seal_findings(bundle, findings)
    render_bundle(bundle, options.formats)
    return Audited(bundle, read_facts(bundle), findings, engine.failures, interrupted)


def _claim(bundle: Path, plan: Plan) -> None:
    """Make this plan's folder, or make sure that it is; what planning could not find out may be why it is not."""
    try:
        claim(bundle, plan.sha256)
    except ConfigError as error:
        raise ConfigError("\n".join((*plan.notes, str(error)))) from None


def executor(plan: Plan, options: Options) -> Callable[[], Executor]:
    """Where the units of this plan run."""
    if options.inline:
        return Inline
    from auditor.executors.local import LocalPool, cores

    return lambda: LocalPool(options.workers or cores(), plan.config.unit_seconds)


def write_facts(bundle: Path, plan: Plan, loaded: Loaded, assembly: Assembly, provenance: Mapping[str, Any]) -> None:
    """Seal what was seen."""
    record = assembly.record()
    writer = LayerWriter(bundle, "facts")
    writer.write("record.json", canonical_json(record))
    writer.write("catalogue.json", canonical_json(assembly.catalogue))
    writer.write("timings.json", canonical_json(assembly.timings(provenance)))
    writer.write("config.json", canonical_json(plan.config))
    for name, path in sorted(assembly.files.items()):
        writer.copy(name, path)
    writer.write("inputs/audit.yaml", loaded.text.encode())
    writer.write("inputs/policy.yaml", loaded.policy_text.encode())
    for key in ("waivers", "attestations"):
        if name := getattr(loaded.config, key):
            writer.write(f"inputs/{key}.yaml", loaded.input_text(name, key).encode())
    if loaded.config.baseline:
        _copy_baseline(writer, loaded)
    writer.seal(may_differ=frozenset({"timings.json"}))


def _copy_baseline(writer: LayerWriter, loaded: Loaded) -> None:
    assert loaded.config.baseline is not None
    baseline = read_facts(loaded.directory / loaded.config.baseline)
    writer.copy("inputs/baseline/record.json", baseline.root / "record.json")
    if (baseline.root / "samples").is_dir():
        writer.copy("inputs/baseline/samples", baseline.root / "samples")


@dataclass(frozen=True)
class Trained:
    """What `train` made: a line a subject, and the exit code."""

    lines: tuple[str, ...]
    exit_code: int


def train(loaded: Loaded, options: Options, watch: Watch = UNWATCHED) -> Trained:
    """Only the trainings of an audit; the weights go to OUT/artifacts as safetensors with their recipe."""
    plan = planned(loaded, options).trainings()
    bundle = options.out or Path("audits") / loaded.config.name
    _claim(bundle, plan)
    store = Store(options.store)
    engine = Engine(plan, store, loaded.directory, fresh=options.fresh, on_unit=watch(plan, store))
    engine.run(executor(plan, options))
    lines = [
        keep_weights(bundle / "artifacts", store, s, engine.failures.get(s.unit))
        if plan.units[s.unit].kind == "fit"
        else f"{s.id}: loaded, nothing to train"
        for s in plan.subjects
    ]
    return Trained(tuple(lines), 3 if engine.failures else 0)


def keep_weights(folder: Path, store: Store, subject: PlannedSubject, failure: Failure | None) -> str:
    """Copy a subject's weights out of the store; a line that says where they are, or why there are none."""
    if failure is not None:
        return f"{subject.id}: errored: {failure.reason}"
    said = store.read(subject.unit)
    if said["diverged_at"] is not None:
        return f"{subject.id}: diverged at step {said['diverged_at']}, no weights kept"
    if not store.path(subject.unit, "model.safetensors").is_file():
        return f"{subject.id}: trained; it is no torch module, so no weights are kept"
    path = folder / f"{subject.id.replace('/', '__')}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(store.path(subject.unit, "model.safetensors"), path)
    if said["learning_rate"] is None:
        return f"{subject.id}: trained by {said['recipe']['function'] or said['recipe']['estimator']}, {path}"
    return f"{subject.id}: learning rate {said['learning_rate']:g}, loss {said['curve'][-1]['loss']:.4f}, {path}"
