"""What a person sees of a checkup: a short table a subject, then what to mend."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from auditor.checks.examination import Verdict
from auditor.doctor.diagnosis import Checkup, grouped
from auditor.doctor.examining import Diagnosis

MARKS: dict[Verdict, str] = {"ok": "[green]✔ ok[/]", "problem": "[red]✘ problem[/]", "unknown": "[yellow]– unknown[/]"}


def show(found: Checkup) -> None:
    """Print a checkup."""
    out = Console(highlight=False)
    out.print(f"data    {escape(found.data)}", soft_wrap=True)
    for diagnosis in found.subjects:
        out.print(_table(diagnosis))
        for check in diagnosis.problems:
            if check.advice:
                out.print(f"[red]mend[/]    {escape(check.name)}: {escape(check.advice)}", soft_wrap=True)
        for reason, probes in grouped(diagnosis.left_out).items():
            out.print(f"[yellow]without[/] {escape(', '.join(probes))}: {escape(reason)}", soft_wrap=True)
    if found.card:
        out.print(f"[yellow]card[/]    not stated yet: {', '.join(found.card)}", soft_wrap=True)
    if found.plan is not None:
        out.print(f"[red]plan[/]    {escape(found.plan)}", soft_wrap=True)
    else:
        out.print(f"cost    {escape(found.cost)}", soft_wrap=True)
    out.print(_verdict(found), soft_wrap=True)


def _table(diagnosis: Diagnosis) -> Table:
    table = Table(title=f"{escape(diagnosis.subject)} ({escape(diagnosis.how)})", title_justify="left")
    for name in ("check", "verdict", "found"):
        table.add_column(name, overflow="fold")
    for check in diagnosis.checks:
        table.add_row(check.name, MARKS[check.verdict], escape(check.found))
    return table


def _verdict(found: Checkup) -> str:
    problems = sum(len(d.problems) for d in found.subjects)
    if not problems:
        return "[bold green]OK[/]  No check found a problem." if found.plan is None else "[bold red]NOT PLANNED[/]"
    ill = [d.subject for d in found.subjects if d.problems]
    return f"[bold red]PROBLEM[/]  {problems} problem{'s' if problems > 1 else ''} in {escape(', '.join(ill))}."
