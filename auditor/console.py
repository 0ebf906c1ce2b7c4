"""What a person sees in the terminal: progress while units run, and the summary of an audit."""

import statistics as stdlib_statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from auditor.contrast_reasons import reasons
from auditor.grid import Grid, Row
from auditor.job import INHERITED
from auditor.policy import Finding, Findings, State
from auditor.record import Contrast, Measurement, Record
from auditor.statistics import mean_interval

if TYPE_CHECKING:
    from auditor.auditing import Audited
    from auditor.plan import Plan, Unit
    from auditor.store import Store

MARKS: dict[State, str] = {
    "pass": "[green]✔ pass[/]",
    "fail": "[red]✘ fail[/]",
    "inconclusive": "[yellow]? inconclusive[/]",
    "not-assessed": "[yellow]– not assessed[/]",
    "waived": "[blue]○ waived[/]",
}
VERDICT_COLOURS = {"improved": "green", "regressed": "red", "equivalent": "blue"}
VERDICTS = {"pass": "[bold green]PASS[/]", "fail": "[bold red]FAIL[/]", "inconclusive": "[bold yellow]INCONCLUSIVE[/]"}


@dataclass
class Terminal:
    """Progress and summary on standard error and output; a bar where there is a terminal, else plain lines."""

    quiet: bool = False
    out: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=False))
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    progress: Progress | None = None
    task: TaskID | None = None
    total: int = 0
    seen: int = 0
    cached: int = 0
    started: float = field(default_factory=time.perf_counter)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.progress is not None:
            self.progress.stop()

    def watch(self, plan: "Plan", store: "Store") -> "Watcher":  # noqa: ARG002  # the shape of a watch
        """Begin to show the units of a plan."""
        self.total = len(plan.units)
        if not self.quiet:
            self.err.print(
                f"{plan.config.name}: {_count(len(plan.subjects), 'subject')}, {_count(self.total, 'unit')}, "
                f"plan {plan.sha256[:12]}"
            )
            if self.err.is_terminal:
                columns = (
                    SpinnerColumn(),
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                )
                self.progress = Progress(*columns, console=self.err, transient=True)
                self.task = self.progress.add_task("", total=self.total)
                self.progress.start()
        return Watcher(self)

    def unit(self, unit: "Unit", status: str, reason: str) -> None:
        """Show that a unit ended."""
        self.seen += 1
        self.cached += status == "cached"
        if status == "failed":
            self._errored(unit, reason)
        if self.quiet or status == "cached":
            self._advance(unit)
            return
        self._advance(unit)
        if self.progress is None and (self.seen * 10 // self.total) > ((self.seen - 1) * 10 // self.total):
            self.err.print(
                f"{self.seen:>5}/{self.total}  {time.perf_counter() - self.started:6.1f} s  {escape(unit.label)}"
            )

    def _errored(self, unit: "Unit", reason: str) -> None:
        """A line for what failed itself; what only needed it is counted in the summary."""
        if not reason.startswith(INHERITED):
            self.err.print(f"[red]errored[/] {escape(unit.label)}: {escape(reason)}", soft_wrap=True)

    def _advance(self, unit: "Unit") -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, advance=1, description=escape(unit.label[:48].ljust(48)))

    def summary(self, audited: "Audited") -> None:
        """What came out, and where the report is."""
        record, findings = audited.facts.record, audited.findings
        if not self.quiet:
            if record.measurements:
                self.out.print(groups_table(audited))
            if record.contrasts:
                self.out.print(contrasts_table(audited))
            for line in reasons(findings.contrasts, _titles(audited)):
                self.out.print(f"[yellow]no verdict[/] {escape(line)}", soft_wrap=True)
            self.out.print(findings_table(findings.findings))
            for note in findings.notes:
                self.out.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
        if audited.interrupted:
            self.out.print("[yellow]interrupted[/]: what was finished is kept; the same command goes on from here")
        self.out.print(f"{VERDICTS[findings.verdict]}  {escape(findings.summary)}", soft_wrap=True)
        if self.cached == self.total and not self.quiet:
            self.out.print("nothing was left to do: all units were finished before")
        if audited.facts.config.get("policy") is None and not self.quiet:
            self.out.print("no policy was named: judged by the shipped policy `baseline`")
        looks = sorted((audited.bundle / "looks").glob("report.*"))
        self.out.print("report " + escape(" ".join(str(p) for p in looks)), soft_wrap=True)


@dataclass(frozen=True)
class Watcher:
    """Passes what the engine says to the terminal."""

    terminal: Terminal

    def __call__(self, unit: "Unit", status: str, reason: str) -> None:
        """Show one unit's end."""
        self.terminal.unit(unit, status, reason)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def groups_table(audited: "Audited") -> Grid:
    """Optimizers, or subjects where nothing was trained, by headline metric, each with its interval."""
    record, catalogue = audited.facts.record, audited.facts.catalogue
    headlines = [(p.id, m.name, m.title, m.unit) for p in catalogue.probes for m in p.metrics if m.headline]
    shown = [h for h in headlines if any((m.probe, m.metric) == h[:2] for m in record.measurements)]
    names = tuple(dict.fromkeys(s.group if s.seed is not None else s.id for s in record.subjects))
    rows = [
        Row((escape(title) + _at(at),), tuple(_cell(_find(record, name, probe, metric, at), unit) for name in names))
        for probe, metric, title, unit in shown
        for at in _coordinates(record, probe, metric)
    ]
    costs = training_cost(audited)
    if costs:
        rows.append(Row(("training, CPU seconds",), tuple(costs.get(name, "") for name in names)))
    title = f"{escape(record.audit.name)}: what was measured ({_confidence(record)} intervals)"
    return Grid(title, ("",), names, tuple(rows))


def _confidence(record: Record) -> str:
    return f"{record.measurements[0].confidence * 100:g} %" if record.measurements else "95 %"


def _coordinates(record: Record, probe: str, metric: str) -> list[dict[str, float | str]]:
    found = {tuple(sorted(m.at.items())): m.at for m in record.measurements if (m.probe, m.metric) == (probe, metric)}
    return list(found.values())


def _find(record: Record, of: str, probe: str, metric: str, at: dict[str, float | str]) -> Measurement | None:
    return next((m for m in record.measurements if (m.of, m.probe, m.metric, m.at) == (of, probe, metric, at)), None)


def _at(at: dict[str, float | str]) -> str:
    return "".join(f", {k} {v:g}" if isinstance(v, float) else f", {escape(v)}" for k, v in at.items())


def _cell(m: Measurement | None, unit: str) -> str:
    if m is None:
        return "[dim]not measured[/]"
    scale, digits = (1, 3) if unit == "number" else (100, 1)
    interval = (
        "" if m.low is None or m.high is None else f" [dim][{m.low * scale:.{digits}f}, {m.high * scale:.{digits}f}][/]"
    )
    return f"{m.value * scale:.{digits}f}{' %' if unit != 'number' else ''}{interval}"


def training_cost(audited: "Audited") -> dict[str, str]:
    """CPU seconds of one training by group, with the t interval over seeds."""
    spent: dict[str, list[float]] = defaultdict(list)
    groups = {s.id: s.group for s in audited.facts.record.subjects if s.seed is not None}
    for unit in audited.facts.timings.units:
        if unit.kind == "fit" and unit.subject in groups:
            spent[groups[unit.subject]].append(unit.detail.get("cpu_seconds", unit.cpu_seconds))
    cells = {}
    for group, seconds in spent.items():
        low, high = mean_interval(seconds, 0.95) if len(seconds) > 1 else (seconds[0], seconds[0])
        cells[group] = f"{stdlib_statistics.fmean(seconds):.2f} [dim][{max(low, 0):.2f}, {high:.2f}][/]"
    return cells


def contrasts_table(audited: "Audited") -> Grid:
    """A row a metric, a column a pair of groups: the paired difference, its interval, and what it allows to be said."""
    record, catalogue = audited.facts.record, audited.facts.catalogue
    verdicts = {(c.metric, tuple(sorted(c.at.items())), c.a, c.b): c.verdict for c in audited.findings.contrasts}
    pairs = list(dict.fromkeys((c.a, c.b) for c in record.contrasts))
    rows = []
    for (metric, at), one in {(c.metric, tuple(sorted(c.at.items()))): c for c in record.contrasts}.items():
        entry = catalogue.metric(metric)
        mine = {(c.a, c.b): c for c in record.contrasts if (c.metric, c.at) == (metric, one.at)}
        cells = [
            _difference(mine[p], verdicts.get((metric, at, *p), "inconclusive"), entry.unit if entry else "share")
            if p in mine
            else ""
            for p in pairs
        ]
        rows.append(Row((escape(entry.title if entry else metric) + _at(one.at),), tuple(cells)))
    title = f"Paired differences between groups (shares in points, {_confidence(record)} intervals)"
    return Grid(title, ("",), tuple(f"{b} − {a}" for a, b in pairs), tuple(rows))


def _titles(audited: "Audited") -> dict[str, str]:
    return {f"{p.id}.{m.name}": m.title for p in audited.facts.catalogue.probes for m in p.metrics}


def _difference(c: Contrast, verdict: str, unit: str) -> str:
    scale, digits = (1, 3) if unit == "number" else (100, 1)
    numbers = f"{c.difference * scale:+.{digits}f} [dim][{c.low * scale:+.{digits}f}, {c.high * scale:+.{digits}f}][/]"
    return f"{numbers}\n[{VERDICT_COLOURS.get(verdict, 'yellow')}]{verdict}[/]"


def findings_table(findings: tuple[Finding, ...]) -> Grid:
    """A row a rule, a column a subject; each cell says the state and what was measured."""
    subjects = list(dict.fromkeys(f.subject for f in findings if f.subject is not None)) or [""]
    firsts: dict[object, Finding] = {}
    for f in findings:
        firsts.setdefault((f.rule, tuple(sorted(f.at.items()))), f)
    rows = []
    for first in firsts.values():
        mine = [f for f in findings if (f.rule, f.at) == (first.rule, first.at)]
        cells = ["\n".join(_finding(f) for f in mine if f.subject in (s, None)) for s in subjects]
        bar = escape(first.title) or first.metric + _at(first.at)
        names = (escape(first.rule), first.severity, f"{bar}\n[dim]{_threshold(first)}[/]")
        rows.append(Row(names, tuple(cells)))
    return Grid("Findings", ("rule", "severity", "bar"), tuple(subjects), tuple(rows), right=False)


def _finding(f: Finding) -> str:
    interval = "" if f.low is None or f.high is None else f"\n[dim]{f.low:.3f} to {f.high:.3f}[/]"
    return MARKS[f.state] + interval


def _threshold(f: Finding) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in f.threshold.items())


def print_findings(findings: Findings, *, quiet: bool = False) -> None:
    """Findings and verdict, without the record they were made from."""
    out = Console(highlight=False)
    if not quiet:
        out.print(findings_table(findings.findings))
        for note in findings.notes:
            out.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
    out.print(f"{VERDICTS[findings.verdict]}  {escape(findings.summary)}", soft_wrap=True)
