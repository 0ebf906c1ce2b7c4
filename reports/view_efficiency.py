"""What each group costs beside what it is worth: training and tuning, then every answer that it gives."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from auditor.bundle import UnitTiming
from auditor.energy import Energy, estimated

from . import cells, wording
from .material import Group, Line, Material
from .page import Cell, Column, Table
from .view_costs import cost, safety_line, tuning_seconds

PROBE = "efficiency"
NONE = Cell("–", note="not measured", tone="absent")


def beside(material: Material) -> Table | None:
    """Accuracy and safety of each group beside what making and using it takes; None where no training was timed."""
    groups = [g for g in material.groups if cost(material, g).cpu]
    if not groups:
        return None
    worth = [line for line in (_line(material, "accuracy", "accuracy"), safety_line(material)) if line]
    worth = list({line.qualified: line for line in worth}.values())
    energies = {g.id: _energy(material, g) for g in groups}
    powered = any(energies.values())
    columns = (
        Column("Group"),
        *(Column(line.metric.title, "number", wording.place(line.at)) for line in worth),
        Column("Training", "number", "CPU time a model"),
        Column("Operations", "number", "a training"),
        Column("Tuning, apart", "number", "CPU time"),
        *([Column("Energy", "number", "a training")] if powered else []),
        *([Column("Latency", "number", "one row"), Column("Weights", "number")] if _timed(material) else []),
    )
    rows = tuple(
        (
            Cell(g.name, head=True, tone=f"swatch-{g.index % 8 + 1}"),
            *(cells.cell(material.number(line, g), line.metric) for line in worth),
            *_making(material, g),
            *([_joules(energies[g.id])] if powered else []),
            *([_latency(material, g), _stored(material, g)] if _timed(material) else []),
        )
        for g in groups
    )
    return Table("Cost beside safety", columns, rows, _note(energies.values()))


def use(material: Material) -> Table | None:
    """What an answer of each group takes; None where nothing asked for it."""
    groups = [g for g in material.groups if _units(material, g)]
    if not groups:
        return None
    columns = (
        Column("Group"),
        Column("Parameters", "number"),
        Column("Weights", "number", "stored"),
        Column("Operations", "number", "one row"),
        Column("Latency", "number", "one row"),
        Column("Throughput", "number", "rows a second"),
        Column("Peak memory", "number", "one batch"),
    )
    rows = tuple(
        (
            Cell(g.name, head=True, tone=f"swatch-{g.index % 8 + 1}"),
            _counted(material, g, "parameters", ""),
            _stored(material, g),
            _counted(material, g, "flops_per_row", ""),
            _latency(material, g),
            _throughput(material, g),
            _averaged(material, g, "inference_peak_bytes", lambda n: wording.sized(n, "B")),
        )
        for g in groups
    )
    note = "Counts are exact and in the record; times are those of this machine under what else it did, and are not."
    return Table("Cost of an answer", columns, rows, note)


def _making(material: Material, group: Group) -> tuple[Cell, ...]:
    """Training time and operations of a member, and the time of the search before them."""
    spent, searched = cost(material, group).cpu, tuning_seconds(material, group)
    flops = [m.training.flops for m in group.members if m.training and m.training.flops is not None]
    return (
        Cell(wording.seconds(spent.value), tone="number", exact=repr(spent.value)) if spent else NONE,
        Cell(wording.scaled(fmean(flops)), tone="number", exact=repr(fmean(flops))) if flops else Cell("not known"),
        _searched(searched, [m.training.tuning for m in group.members if m.training and m.training.tuning]),
    )


def _searched(seconds: float | None, searches: Sequence[Mapping[str, Any]]) -> Cell:  # of any JSON values
    """What the search of a group took: the members share one, so its operations are those of the first."""
    flops = [t["flops"] for t in searches[0].get("trials", ()) if t.get("flops")] if searches else []
    note = f"{wording.scaled(sum(flops))} operations" if flops else ""
    return Cell("–" if seconds is None else wording.seconds(seconds), note=note, tone="number")


def _line(material: Material, probe: str, metric: str) -> Line | None:
    named = ((p, m) for p in material.probes for m in p.metrics if (p.id, m.name) == (probe, metric))
    return next((line for p, m in named for line in material.lines(p, m)), None)


def _units(material: Material, group: Group) -> list[UnitTiming]:
    """The times of this group's members at answering."""
    ids = {m.id for m in group.members}
    timed = (u for u in material.facts.timings.units if u.kind == "probe" and u.probe == PROBE)
    return [u for u in timed if u.subject in ids and "latency_seconds" in u.detail]


def _timed(material: Material) -> bool:
    return any(_units(material, g) for g in material.groups)


def _averaged(material: Material, group: Group, name: str, said: Callable[[float], str], note: str = "") -> Cell:
    values = [u.detail[name] for u in _units(material, group) if name in u.detail]
    return Cell(said(fmean(values)), note=note, tone="number", exact=repr(fmean(values))) if values else NONE


def _latency(material: Material, group: Group) -> Cell:
    late = [u.detail["latency_p95_seconds"] for u in _units(material, group)]
    note = f"95 % within {wording.seconds(fmean(late))}" if late else ""
    return _averaged(material, group, "latency_seconds", wording.seconds, note)


def _throughput(material: Material, group: Group) -> Cell:
    sizes = sorted({round(u.detail["best_batch"]) for u in _units(material, group)})
    note = f"in batches of {wording.listed(map(str, sizes))}"
    return _averaged(material, group, "rows_per_second", lambda n: wording.sized(n, ""), note)


def _counted(material: Material, group: Group, name: str, unit: str) -> Cell:
    line = _line(material, PROBE, name)
    number = material.number(line, group) if line else None
    if number is None:
        return NONE
    values = sorted({m.value for m in (*number.members, *([number.measurement] if number.measurement else []))})
    text = "–".join(wording.sized(v, unit) for v in dict.fromkeys((values[0], values[-1])))
    return Cell(text, tone="number", exact=repr(values[0]) if len(values) == 1 else "")


def _stored(material: Material, group: Group) -> Cell:
    """The bytes of the weights, or of the file where a model shows no more."""
    weights, file = (_counted(material, group, name, "B") for name in ("weight_bytes", "file_bytes"))
    return replace(file, note="its file") if weights is NONE and file is not NONE else weights


def _energy(material: Material, group: Group) -> Energy | None:
    """The mean energy of a member's training: as it was metered, or by the watts that the audit states."""
    ids, watts = {m.id for m in group.members}, _watts(material)
    units = [u for u in material.facts.timings.units if u.kind == "fit" and u.probe is None and u.subject in ids]
    metered = [u.energy for u in units if u.energy]
    if units and len(metered) == len(units):
        return metered[0].model_copy(update={"joules": fmean(e.joules for e in metered)})
    spent = cost(material, group).cpu
    return estimated(spent.value, watts) if spent and watts else None


def _watts(material: Material) -> float:
    stated = (r.parameters.get("watts_per_core", 0.0) for r in material.results(PROBE))
    return next((float(w) for w in stated if w), 0.0)


def _joules(found: Energy | None) -> Cell:
    return Cell(wording.sized(found.joules, "J"), note=found.method, tone="number") if found else NONE


def _note(energies: Iterable[Energy | None]) -> str:
    how = sorted({f"{e.method}: {e.assumption}" for e in energies if e})
    told = f" Energy by {'; '.join(how)}." if how else ""
    return f"Means over seeds. Times are those of this machine; the search for a learning rate is counted once.{told}"
