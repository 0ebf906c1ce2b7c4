"""The search of evasion.spatial: every row at every rotation and translation of a grid, until it breaks."""

from dataclasses import dataclass
from itertools import product
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from auditor.dataset import Array
from auditor.errors import DataError
from auditor.probe import Case, Outcome, Samples
from auditor.record import Measurement
from auditor.subject import Access, leads, margins, predicted_labels

from . import repairs, sanity
from .ball import ANY
from .bench import Bench, Mask, Rows, Standing
from .draws import uniform
from .losses import margin
from .results import Clean, answered, exemplars
from .spatial import Spatial
from .turning import Padding, turned

Floats = npt.NDArray[np.float64]
Turns = npt.NDArray[np.float64]  # (m, 3): degrees, and shares of the side down and right

_PURPOSE = 8


@dataclass(frozen=True, eq=False)
class _Table:
    """The rows to turn, the case that judges them, and whether answers on the device may be asked first."""

    case: Case
    bench: Bench
    padding: Padding
    screened: bool

    def changed(self, rows: torch.Tensor, turns: Turns) -> torch.Tensor:
        """These rows (n,) under these turns (m, 3), one for all or one for each, in unit coordinates."""
        unit = self.bench.unit[rows]
        height, width = unit.shape[2:]
        sides = np.array([height, width], np.float64)
        degrees, shift = (torch.as_tensor(a, device=unit.device) for a in (turns[:, 0], turns[:, 1:] * sides))
        return turned(unit, degrees, shift, self.padding)

    def inputs(self, u: torch.Tensor) -> Array:
        """Unit coordinates as inputs of the subject, in the domain."""
        return self.case.domain.clip(self.bench.view.inputs(u).astype(np.float32))

    def judge(self, standing: Standing, rows: Rows, turns: Turns, by: Turns) -> None:
        """Try one turn a row (n,), and write down those that break it: rows, and by what."""
        index = torch.as_tensor(rows, device=self.bench.unit.device)
        u = self.changed(index, turns)
        if self.screened:
            claimed = margin(self.bench.view.scores(u), self.bench.labels[index]) <= 0
            kept = claimed.cpu().numpy()
            rows, u, turns = rows[kept], u[claimed], np.broadcast_to(turns, (len(kept), 3))[kept]
        if not len(rows):
            return
        x = self.inputs(u)
        outputs = self.case.subject.predict(x)
        won = leads(outputs, self.bench.y[rows], self.bench.view.goal) <= 0
        standing.broken[rows[won]] = True
        standing.changed[rows[won]], standing.prediction[rows[won]] = x[won], predicted_labels(outputs)[won]
        by[rows[won]] = np.broadcast_to(turns, (len(rows), 3))[won]


def investigate(case: Case, probe: Spatial) -> Outcome:
    """Everything the spatial probe finds on one subject. Raises DataError for rows that are no images."""
    if len(case.data.shape) != 3:
        raise DataError(f"{case.data.id}: {probe.id} turns images; these rows have the shape {case.data.shape}")
    goal, scored = probe.aim(case.data.classes), case.subject.outputs != "labels"
    steady = repairs.steadied(case)
    case = steady.case
    clean = _look(case, probe, goal)
    bench = Bench.of(case, clean.rows, clean.outputs, probe.batch_size, goal=goal)
    screened = Access.GRADIENTS in case.subject.access and not steady.random
    table = _Table(case, bench, cast("Padding", probe.padding), screened)
    caveats = sanity.clean_caveats(clean.outputs, clean.y, clean.correct, bench.temperature, scored=scored)
    standing, by = Standing.before(bench, clean.broken, clean.prediction), np.full((len(clean.rows), 3), np.nan)
    broken = []
    for level in probe.levels:
        search(table, standing, grid(probe, level, case.rng(row=f"grid:{level:g}")), by)
        broken.append(standing.broken.copy())
    held, right = np.stack(broken, axis=1), random_turns(table, probe)
    caveats += steady.caveats
    if not steady.random:
        caveats += sanity.stateful_caveats(case.subject.predict, bench.x, clean.outputs)
    columns = {"correct": ~held, "clean": clean.correct[:, None], "random": right[:, None], "broken_by": by}
    samples = Samples(case.data.test_rows[clean.rows], clean.y, clean.prediction, columns)
    measured = _measure(case, probe, clean, held, right)
    return Outcome(measured, samples, tuple(caveats), exemplars(bench.x, clean, standing))


def _look(case: Case, probe: Spatial, goal: int | None) -> Clean:
    """The rows to turn, as the subject answers them; with a goal, those of other classes. Raises DataError if none."""
    rows = case.rows(probe.samples)
    rows = rows if goal is None else rows[case.data.y_test[rows] != goal]
    if not len(rows):
        raise DataError(f"{probe.id}: goal {probe.goal!r}: every row that could be attacked is of that class")
    return answered(case, rows, goal)


def grid(probe: Spatial, level: float, rng: np.random.Generator) -> Turns:
    """The turns (angles * shifts^2, 3) of a grid within the limits times this level, in random order."""
    angles = _even(probe.rotation * level, probe.angles)
    shifts = _even(probe.translation * level, probe.shifts)
    turns = np.array(sorted(set(product(angles, shifts, shifts))))
    return turns[rng.permutation(len(turns))]


def _even(limit: float, count: int) -> list[float]:
    return np.linspace(-limit, limit, count).tolist() if count > 1 else [limit]


def search(table: _Table, standing: Standing, turns: Turns, by: Turns) -> None:
    """Try turns (m, 3) one after the other on the rows that stand; the one that breaks a row is written to `by` (n, 3).

    Where few rows stand several turns are tried at once, and the first of a row's counts: what breaks a row does not
    depend on the others.
    """
    at, width = 0, table.bench.width
    while at < len(turns) and not standing.broken.all():
        rows = np.flatnonzero(~standing.broken)
        count = max(1, min(width // len(rows), len(turns) - at))
        if count == 1:
            for part in (rows[i : i + width] for i in range(0, len(rows), width)):
                table.judge(standing, part, turns[at : at + 1], by)
        else:
            # the last of a row's that is written stays, so the first comes last
            several = turns[at : at + count][::-1]
            table.judge(standing, np.tile(rows, count), several.repeat(len(rows), axis=0), by)
        at += count


def random_turns(table: _Table, probe: Spatial) -> Floats:
    """The share (n,) of a row's random turns, even within the limits, under which it is answered rightly."""
    bench, limits = table.bench, np.array([probe.rotation, probe.translation, probe.translation])
    right, width = np.zeros(len(bench.x)), bench.width
    for draw in range(probe.draws):
        drawn = uniform(bench.keys, torch.full_like(bench.keys, draw), 3, purpose=_PURPOSE).double().cpu().numpy()
        turns = (2 * drawn - 1) * limits
        for part in (np.arange(i, min(i + width, len(right))) for i in range(0, len(right), width)):
            x = table.inputs(table.changed(torch.as_tensor(part, device=bench.unit.device), turns[part]))
            right[part] += margins(table.case.subject.predict(x), bench.y[part]) > 0
    return right / probe.draws


def _measure(case: Case, probe: Spatial, clean: Clean, broken: Mask, right: Floats) -> tuple[Measurement, ...]:
    """Clean and random accuracy, and what stands of the rows at each level, of what is broken (n, levels)."""
    metric = "robust_accuracy" if probe.goal == ANY else "targeted_robust_accuracy"
    robust = (
        case.proportion(metric, ~broken[:, j], column=f"correct:{j}", at={"level": level})
        for j, level in enumerate(probe.levels)
    )
    asked = case.mean("random_accuracy", right, column="random:0")
    return (case.proportion("clean_accuracy", clean.correct, column="clean:0"), asked, *robust)
