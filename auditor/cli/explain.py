"""auditor explain: what a name means."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from auditor.training.optimizers import OptimizerSpec


@click.command("explain", short_help="Explain a probe, metric or optimizer.")
@click.argument("name")
def command(name: str) -> None:
    """Explain NAME: a probe (evasion.linf), a metric (evasion.linf.robust_accuracy), or an optimizer (adamw).

    Or a classifier of scikit-learn with its solvers (mlp-classifier).
    """
    click.echo("\n".join(_lines(name)))


def _lines(name: str) -> list[str]:
    from auditor.auditing import catalogue
    from auditor.errors import UnknownNameError
    from auditor.training.estimators import ESTIMATORS
    from auditor.training.optimizers import names

    if name in ESTIMATORS:
        return _estimator(name)
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
    known = [p.id for p in shown.probes] + shown.metric_names()
    try:
        return _optimizer(name)
    except UnknownNameError:
        raise UnknownNameError("name", name, [*known, *names(), *ESTIMATORS]) from None


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


def _estimator(name: str) -> list[str]:
    from auditor.training.estimators import ESTIMATORS

    spec = ESTIMATORS[name]
    lines = [f"{spec.name}: {spec.title}", f"class      {spec.path.replace(':', '.')}"]
    if spec.kwargs:
        lines.append("kwargs     " + ", ".join(f"{k}={v}" for k, v in spec.kwargs.items()))
    lines.append("solvers")
    for solver in spec.solvers.values():
        default = "" if solver.default is None else f" (default {solver.default:g})"
        lines.append(f"  {solver.line()}{default}")
    return [*lines, "epochs are the most iterations"]


def _optimizer(name: str) -> list[str]:
    from auditor.training.optimizers import non_commercial, resolve

    spec = resolve(name)
    refused = ": no commercial use, refused unless train.allow_licences names it" * non_commercial(spec.licence)
    settings = ", ".join(f"{k}={v}" for k, v in spec.settings.items()) or "none"
    grid = " ".join(f"{rate:g}" for rate in spec.grid)
    kept = "tensors kept depend on shapes" if spec.state is None else f"{spec.state} tensors a weight kept"
    return [
        f"{spec.name}: {spec.title}",
        *([f"aliases    {', '.join(spec.aliases)}"] if spec.aliases else []),
        f"settings   {settings}",
        f"rates      {grid} (default {spec.default:g})",
        f"needs      {', '.join(_needs(spec)) or 'nothing but a gradient'}",
        f"costs      about {spec.passes} gradient{'s' * (spec.passes > 1)} a step, {kept}",
        f"decay      {spec.decay}",
        f"provider   {spec.provider}, {spec.licence}{refused}",
        f"source     {spec.source}",
        "conformance",
        *_conformance(spec),
    ]


def _needs(spec: "OptimizerSpec") -> list[str]:
    needs = {
        "a closure that works out the gradient again": spec.needs_closure,
        "all rows at every step": spec.full_batch,
        "other weights put in place to be evaluated": spec.train_eval,
        "hidden matrices apart from the rest": spec.matrices,
        "no schedule but its own": spec.schedule == "own",
    }
    return [text for text, needed in needs.items() if needed]


def _conformance(spec: "OptimizerSpec") -> list[str]:
    """The checks, made now; a machine without torch, or without the package of an extra, is told so."""
    from auditor.errors import ConfigError

    try:
        from auditor.training.conformance import conformance

        checks = conformance(spec).checks
    except (ImportError, ConfigError) as error:
        return [f"  not checked: {error}"]
    said = {"pass": "ok", "fail": "FAILS", "none": "-"}
    return [f"  {check.name:<13} {said[check.outcome]:<6} {check.evidence}" for check in checks]
