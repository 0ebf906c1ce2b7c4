"""The order of an evasion audit: clean rows, the attack that fits the access, self-tests, results."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np
import numpy.typing as npt
import torch

from auditor.attacks.art_adapter import hop_skip_jump
from auditor.dataset import Array, Labels
from auditor.probe import Case, Gallery, Outcome, Samples
from auditor.record import Caveat, Measurement
from auditor.subject import Access, margins, predicted_labels

from . import sanity
from .bench import Bench, Mask, Rows, Standing
from .paths import Gains, by_gradients, by_labels, by_scores, full_range

if TYPE_CHECKING:
    from .linf import Linf

Path = Literal["gradients", "scores", "labels"]

_FULL_RANGE_STEPS = 20
_EXEMPLARS = 8


@dataclass(frozen=True, eq=False)
class _Clean:
    """The attacked rows before the attack."""

    rows: Rows
    y: Labels
    outputs: Array
    prediction: Labels
    correct: Mask
    broken: Mask  # where not right, and where a tie or no number


@dataclass(frozen=True, eq=False)
class _Attack:
    """What the attack left: broken (n, epsilons), exemplars, and what casts doubt on it."""

    broken: npt.NDArray[np.bool_]
    gallery: Gallery | None
    caveats: list[Caveat]


def investigate(case: Case, probe: "Linf") -> Outcome:
    """Everything evasion.linf finds on one subject."""
    scored = case.subject.outputs != "labels"
    clean = _look(case, case.rows(probe.samples if scored else min(probe.samples, probe.label_rows)))
    bench = Bench.of(case, clean.rows, clean.outputs, probe.batch_size)
    caveats = sanity.clean_caveats(clean.outputs, clean.y, clean.correct, bench.temperature, scored=scored)
    caveats += sanity.steadiness_caveats(case.subject.predict, bench.x)
    path, doubts = _choose(case, bench, clean)
    attack = _attack(bench, clean, probe, path)
    return Outcome(
        _measure(case, probe, clean, attack.broken),
        Samples(
            case.data.test_rows[clean.rows],
            clean.y,
            clean.prediction,
            {"correct": ~attack.broken, "clean": clean.correct[:, None]},
        ),
        tuple(caveats + doubts + attack.caveats),
        attack.gallery,
    )


def _look(case: Case, rows: Rows) -> _Clean:
    x, y = case.domain.clip(case.data.x_test[rows]), case.data.y_test[rows]
    outputs = case.subject.predict(x)
    prediction = predicted_labels(outputs)
    return _Clean(rows, y, outputs, prediction, prediction == y, margins(outputs, y) <= 0)


def _choose(case: Case, bench: Bench, clean: _Clean) -> tuple[Path, list[Caveat]]:
    """The strongest path this subject allows, and what that choice costs."""
    if case.subject.outputs == "labels":
        return "labels", [
            Caveat(
                flag="labels_only",
                severity="suspicious",
                evidence=f"decision-based search on {len(clean.y)} rows: "
                "with labels alone robust accuracy is overestimated by an unknown amount",
            )
        ]
    if Access.GRADIENTS not in case.subject.access:
        return "scores", [
            Caveat(flag="black_box_only", severity="info", evidence="no gradients: random search on scores")
        ]
    rows = np.flatnonzero(~clean.broken)
    found = sanity.slope(bench, rows)
    return ("scores" if found.missing else "gradients"), sanity.slope_caveats(found, len(rows))


def _attack(bench: Bench, clean: _Clean, probe: "Linf", path: Path) -> _Attack:
    standing = Standing.before(bench, clean.broken, clean.prediction)
    nearest = _nearest(bench, standing, probe) if path == "labels" else bench.unit
    gains, broken, gallery = Gains(), [], None
    for epsilon in probe.radii:
        match path:
            case "gradients":
                by_gradients(bench, standing, epsilon, probe, gains)
            case "scores":
                by_scores(bench, standing, epsilon, probe, gains)
            case "labels":
                by_labels(bench, standing, epsilon, nearest)
            case _:
                assert_never(path)
        broken.append(standing.broken.copy())
        gallery = gallery or _exemplars(bench, clean, standing)
    caveats = _doubts(bench, clean, standing, probe, path, gains, nearest) + sanity.untested_caveats(
        tested=probe.self_test
    )
    return _Attack(np.stack(broken, axis=1), gallery, caveats)


def _nearest(bench: Bench, standing: Standing, probe: "Linf") -> torch.Tensor:
    """The nearest wrongly classified unit point found for each standing row by its labels alone."""
    rows = np.flatnonzero(~standing.broken)
    nearest = bench.unit.clone()
    if len(rows):
        found = hop_skip_jump(
            bench.case,
            bench.x[rows],
            bench.y[rows],
            rows=bench.case.data.test_rows[rows],
            iterations=probe.label_iterations,
        )
        nearest[torch.as_tensor(rows)] = bench.view.unit(found)
    return nearest


def _doubts(
    bench: Bench, clean: _Clean, standing: Standing, probe: "Linf", path: Path, gains: Gains, nearest: torch.Tensor
) -> list[Caveat]:
    rows = np.flatnonzero(~clean.broken)
    point = nearest if path == "labels" else standing.point
    moved = (point != bench.unit).flatten(1).any(1).cpu().numpy()
    caveats = sanity.noop_caveats(moved[rows])
    if (still := bench.still(max(probe.radii))) is not None:
        caveats += sanity.constrained_caveats(rows, standing.broken, standing.refused, still.cpu().numpy())
    caveats += sanity.gain_caveats("noise_beats_attack", "noise", gains.noise, len(clean.y))
    caveats += sanity.gain_caveats("blackbox_beats_whitebox", "random search", gains.black_box, len(clean.y))
    violations = standing.violations
    if path == "labels":
        caveats += sanity.full_range_caveats(~clean.broken, ~moved, standing.broken)
    elif probe.self_test:
        trial = Standing.before(bench, clean.broken, clean.prediction)
        end = full_range(bench, trial, _FULL_RANGE_STEPS, probe.blind_queries if path == "scores" else None)
        violations += end.violations
        caveats += sanity.full_range_caveats(end.tried, end.left, standing.broken)
    return caveats + sanity.budget_caveats(violations)


def _exemplars(bench: Bench, clean: _Clean, standing: Standing) -> Gallery | None:
    """At most eight rows that were right and broke, spread over the rows."""
    rows = np.flatnonzero(standing.broken & ~clean.broken)
    if not len(rows):
        return None
    some = rows[np.unique(np.linspace(0, len(rows) - 1, min(_EXEMPLARS, len(rows))).round().astype(int))]
    return Gallery(bench.x[some], standing.changed[some], clean.y[some], standing.prediction[some])


def _measure(case: Case, probe: "Linf", clean: _Clean, broken: npt.NDArray[np.bool_]) -> tuple[Measurement, ...]:
    robust = (
        case.proportion("robust_accuracy", ~broken[:, j], column=f"correct:{j}", at={"epsilon": epsilon})
        for j, epsilon in enumerate(probe.radii)
    )
    return (case.proportion("clean_accuracy", clean.correct, column="clean:0"), *robust)
