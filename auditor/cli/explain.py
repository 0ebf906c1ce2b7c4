"""auditor explain: what a name means."""

import click


@click.command("explain", short_help="Explain a probe, metric or optimizer.")
@click.argument("name")
def command(name: str) -> None:
    """Explain NAME: a probe (evasion.linf), a metric (evasion.linf.robust_accuracy), or an optimizer (adamw)."""
    click.echo("\n".join(_lines(name)))


def _lines(name: str) -> list[str]:
    from auditor import plugins
    from auditor.auditing import catalogue
    from auditor.errors import UnknownNameError

    shown = catalogue()
    if entry := shown.probe(name):
        return _probe(entry)
    if metric := shown.metric(name):
        better = {"higher": "higher is better", "lower": "lower is better", "neither": "neither direction is better"}[
            metric.better
        ]
        at = f", at {', '.join(metric.at)}" if metric.at else ""
        return [
            f"{name}: {metric.title}",
            f"{metric.kind}, {better}{at}",
            f"see `auditor explain {name.rpartition('.')[0]}`",
        ]
    if name in plugins.names("auditor.optimizers"):
        return _optimizer(name)
    known = [p.id for p in shown.probes] + shown.metric_names() + list(plugins.names("auditor.optimizers"))
    raise UnknownNameError("name", name, known)


def _probe(entry: "object") -> list[str]:
    from auditor.catalogue import ProbeEntry

    assert isinstance(entry, ProbeEntry)
    if entry.error:
        return [f"{entry.id} (from {entry.source}) could not be read: {entry.error}"]
    lines = [
        f"{entry.id}, version {entry.version}: {entry.title}",
        "",
        entry.question,
        *(["", entry.method] if entry.method else []),
    ]
    if entry.threat:
        lines += [
            "",
            f"attacker   wants {entry.threat.goal}; knows {entry.threat.knowledge}; can {entry.threat.capability}",
        ]
    lines += ["", f"needs      {', '.join(entry.needs)}", "metrics"]
    lines += [f"  {m.name:<20} {m.title} ({m.kind}, {m.better} is better)" for m in entry.metrics]
    lines += ["blind spots", *[f"  {b}" for b in entry.blind_spots]] if entry.blind_spots else []
    return [
        *lines,
        "parameters",
        *_parameters(entry.id),
        "frameworks",
        *[f"  {k}: {', '.join(v)}" for k, v in entry.references.items()],
    ]


def _parameters(probe: str) -> list[str]:
    from auditor import plugins

    return [f"  {k}: {v!r}" for k, v in plugins.load("auditor.probes", probe)().parameters().items()] or ["  none"]


def _optimizer(name: str) -> list[str]:
    from auditor.training.optimizers import resolve

    spec = resolve(name)
    settings = ", ".join(f"{k}={v}" for k, v in spec.settings.items()) or "none"
    grid = " ".join(f"{rate:g}" for rate in spec.grid)
    return [
        f"{spec.name}: {spec.title}",
        f"settings   {settings}",
        f"rates      {grid} (default {spec.default:g})",
        f"source     {spec.source}",
    ]
