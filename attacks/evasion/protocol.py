"""The order of an evasion audit: clean rows, the attack that fits the access, self-tests, results."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from auditor.probe import Case, Gallery, Outcome
from auditor.record import Caveat
from auditor.subject import Access

from . import repairs, sanity
from .ball import Ball
from .bench import Bench, Mask, Standing
from .course import Course, Path, nearest_answers, standing_rows
from .minimum_norm import Distances, Nearest, found_by_labels, median_distance, nearest_broken, not_asked
from .paths import full_range
from .planted import plant
from .rejection import FULL_RANGE_STEPS, Known, Uncaught, uncaught
from .results import Clean, exemplars, look, measure, samples
from .second_looks import SecondLooks
from .slopes import Slope, slope
from .twin import Twin

_PLANTED_STEPS = 20


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The path taken, what that choice costs, and what is known of the subject's gradients, and of the clean rows."""

    path: Path
    caveats: list[Caveat]
    repaired: repairs.Repaired


@dataclass(frozen=True, eq=False)
class _Attack:
    """What the attack left: broken (n, epsilons), how far from it (n,), the worst of each row, exemplars, doubts.

    `past` is what broke uncaught, where a class stands for refusing.
    """

    broken: npt.NDArray[np.bool_]
    past: Uncaught
    distance: Distances
    standing: Standing
    gallery: Gallery | None
    caveats: list[Caveat]


def investigate(case: Case, probe: Ball) -> Outcome:
    """Everything an evasion probe finds on one subject."""
    scored, goal = case.subject.outputs != "labels", probe.aim(case.data.classes)
    steady = repairs.steadied(case)
    case = steady.case
    clean = look(case, probe, goal)
    bench = Bench.of(case, clean.rows, clean.outputs, probe.batch_size, probe.norm, goal)
    caveats = sanity.clean_caveats(clean.outputs, clean.y, clean.correct, bench.temperature, scored=scored)
    chosen = _choose(steady, bench, clean)
    caveats += sanity.whole_caveats(probe.radii, bench.whole, bench.unit[0].numel())
    attack = _attack(bench, clean, probe, chosen)
    caveats += steady.caveats + chosen.caveats + attack.caveats
    if not (steady.random or sanity.little_stands(attack.past.broken[:, 0])):
        caveats += sanity.stateful_caveats(case.subject.predict, bench.x, clean.outputs)
    return Outcome(
        measure(case, probe, clean, attack.broken, attack.past.asked)
        + median_distance(case, attack.distance, bench.whole),
        samples(case, probe, clean, attack.broken, attack.standing, attack.distance, attack.past.asked),
        tuple(caveats),
        attack.gallery,
    )


def _choose(steady: repairs.Steadied, bench: Bench, clean: Clean) -> _Chosen:
    """The strongest path this subject allows, and what that choice costs."""
    subject = steady.case.subject
    rows = torch.as_tensor(np.flatnonzero(~clean.broken), device=bench.unit.device)
    repaired = repairs.Repaired(Slope(), steady.random, rows)
    hard, white = sanity.hard(clean.outputs), Access.GRADIENTS in subject.access
    if subject.outputs == "labels" or (hard and not white):
        return _by_labels(clean, repaired)
    if not white:
        told = "no gradients: random search on scores"
        return _Chosen("scores", [Caveat(flag="black_box_only", severity="info", evidence=told)], repaired)
    found = slope(bench, rows, random=steady.random)
    if hard and (found.missing or found.zero == 1):
        return _by_labels(clean, repaired)
    repaired.slope = found
    return _Chosen("scores" if repaired.slope.missing else "gradients", [], repaired)


def _by_labels(clean: Clean, repaired: repairs.Repaired) -> _Chosen:
    told = f"decision-based search on {len(clean.y)} rows: with labels alone robust accuracy is overestimated by an "
    caveat = Caveat(flag="labels_only", severity="suspicious", evidence=told + "unknown amount")
    return _Chosen("labels", [caveat], repaired)


def _attack(bench: Bench, clean: Clean, probe: Ball, chosen: _Chosen) -> _Attack:
    path, repaired = chosen.path, chosen.repaired
    standing = Standing.before(bench, clean.broken, clean.prediction)
    looks, twin = SecondLooks.of(probe, blind=path != "gradients"), Twin.of(bench.case)
    course = Course(path, repaired, _nearest(bench, standing, probe, looks) if path == "labels" else bench.unit)
    far, columns, gallery = not_asked(bench), list[Mask](), None
    for epsilon in (min(radius, bench.whole) for radius in probe.radii):  # beyond the whole there is nothing
        looks.before(bench, standing, epsilon)
        bench = course.advance(bench, standing, epsilon, probe)
        if not columns:
            far = _distances(bench, standing, clean.broken, probe, course)
        if path == "gradients":
            looks.beside(bench, standing, epsilon)
            far.carry(bench, standing, epsilon)
        course.repair(bench, standing, epsilon, probe)
        looks.after(bench, standing, epsilon, doubtful=repaired.slope.doubtful or repaired.stalled is not None)
        twin.strike(bench, standing, epsilon, gradients=path == "gradients")
        columns.append(standing.broken.copy())
        gallery = gallery or exemplars(bench.x, clean, standing, epsilon)
    broken = np.stack(columns, axis=1)
    past = uncaught(bench, clean, probe, Known(course, looks, standing, broken))
    broken = past.fold(standing, broken)
    caveats = looks.caveats(len(clean.y)) + twin.caveats(len(clean.y)) + far.caveats()
    caveats += _doubts(bench, clean, standing, probe, course, past.broken[:, 0])
    caveats += past.caveats(bench, clean, probe)
    fell = standing.broken & ~clean.broken
    caveats += sanity.repeat_caveats(bench.case.subject.predict, standing.changed[fell], bench.y[fell])
    return _Attack(broken, past, far.least(bench, standing), standing, gallery, caveats)


def _distances(bench: Bench, standing: Standing, wrong: Mask, probe: Ball, course: Course) -> Nearest:
    """How near rows can be broken, where the probe asks for it and there is an attack that says."""
    if not probe.minimum_norm or course.path == "scores":
        return not_asked(bench)
    if course.path == "gradients":
        return nearest_broken(bench, standing, wrong, probe)
    return found_by_labels(bench, standing, wrong, course.point)


def _nearest(bench: Bench, standing: Standing, probe: Ball, looks: SecondLooks) -> torch.Tensor:
    """The nearest wrongly classified unit points found by labels alone, for every row; clean ones where broken."""
    rows = standing_rows(bench, standing)
    lent = looks.lent(bench, rows, probe.radii[0]) if len(rows) else None
    return nearest_answers(bench, rows, probe, lent).point


def _doubts(bench: Bench, clean: Clean, standing: Standing, probe: Ball, course: Course, least: Mask) -> list[Caveat]:
    """What speaks against the attack; `least` (n,) is what broke in the smallest ball, by what counts least."""
    tested = probe.self_test and not sanity.little_stands(least)
    rows = np.flatnonzero(~clean.broken)
    moved = _moved(bench, course.point if course.path == "labels" else standing.point)
    caveats = sanity.noop_caveats(moved[rows])
    if (still := bench.still(max(probe.radii))) is not None:
        caveats += sanity.constrained_caveats(rows, standing.broken, standing.refused, still.cpu().numpy())
    caveats += course.caveats(len(clean.y))
    violations = standing.violations
    if course.path == "labels":
        caveats += sanity.full_range_caveats(~clean.broken, ~moved, standing.broken)
    elif tested:
        trial = Standing.before(bench, clean.broken, clean.prediction)
        queries = probe.blind_queries if course.path == "scores" else None
        end = full_range(bench, trial, FULL_RANGE_STEPS, queries)
        violations += end.violations
        caveats += sanity.full_range_caveats(end.tried, end.left, standing.broken)
    caveats += sanity.budget_caveats(violations) + sanity.untested_caveats(tested=probe.self_test)
    if tested and probe.planted and course.path == "gradients":
        known = course.repaired.clean[: probe.planted]
        caveats += sanity.planted_caveats(plant(bench, known, min(max(probe.radii), bench.whole), _PLANTED_STEPS))
    if probe.self_test and not tested:
        caveats += sanity.fallen_caveats(least, min(probe.radii))
    searched = course.path != "gradients" or probe.queries > 0
    return caveats + repairs.repair_caveats(course.repaired, standing.broken, searched=searched)


def _moved(bench: Bench, point: torch.Tensor) -> Mask:
    moved: Mask = (point != bench.unit).flatten(1).any(1).cpu().numpy()
    return moved
