"""The search for a square and what it must show: the attacks of the ball, held to a few pixels of each image."""

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from auditor.probe import Case, Outcome, Samples
from auditor.record import Caveat

from . import repairs, sanity
from .apgd import apgd
from .bench import Attack, Bench, Mask, Standing
from .draws import uniform
from .losses import lead_away
from .patch import Patch
from .paths import full_range
from .results import Clean, answered, exemplars
from .slopes import slope
from .square import square
from .survivors import Attacked

_WHOLE = 1.0  # inside its square a patch may show the whole range
_PLACE = 8  # purpose of random draws
_FULL_RANGE_STEPS = 20
_QUERIES = 10  # of a random search, for a step along a gradient


def investigate(case: Case, probe: Patch) -> Outcome:
    """Everything the patch probe finds on one subject."""
    steady = repairs.steadied(case)
    case = steady.case
    clean = answered(case, case.rows(probe.samples))
    bench = Bench.of(case, clean.rows, clean.outputs, probe.batch_size)
    rows = torch.as_tensor(np.flatnonzero(~clean.broken), device=bench.unit.device)
    found = slope(bench, rows, random=steady.random)
    standing, broken = Standing.before(bench, clean.broken, clean.prediction), []
    blind = bool(found.missing)
    for size in probe.sizes:
        side = max(1, round(size * min(case.data.shape[1:])))
        for corner in _places(bench, side, probe.places, blind=blind).unbind(1):
            inside = squares(corner, bench.unit.shape[2:], side)
            standing.strike(bench, _WHOLE, _patched(bench, inside, probe, blind=blind))
        broken.append(standing.broken.copy())
    caveats = [*steady.caveats, *sanity.slope_caveats(found, len(rows))]
    caveats += sanity.clean_caveats(clean.outputs, clean.y, clean.correct, bench.temperature, scored=True)
    caveats += sanity.untested_caveats(tested=probe.self_test)
    violations = standing.violations
    if probe.self_test and not blind and not sanity.little_stands(standing.broken):
        end = full_range(bench, Standing.before(bench, clean.broken, clean.prediction), _FULL_RANGE_STEPS, None)
        caveats += sanity.full_range_caveats(end.tried, end.left, standing.broken)
        violations += end.violations
    caveats += sanity.budget_caveats(violations)
    return _outcome(case, probe, clean, np.stack(broken, axis=1), standing, caveats)


def _outcome(
    case: Case, probe: Patch, clean: Clean, broken: Mask, standing: Standing, caveats: list[Caveat]
) -> Outcome:
    """Measurements, samples and exemplars, of what is broken (N, sizes)."""
    accuracy = (
        case.proportion("patch_accuracy", ~broken[:, j], column=f"correct:{j}", at={"size": size})
        for j, size in enumerate(probe.sizes)
    )
    columns = {"correct": ~broken, "clean": clean.correct[:, None]}
    return Outcome(
        (case.proportion("clean_accuracy", clean.correct, column="clean:0"), *accuracy),
        Samples(case.data.test_rows[clean.rows], clean.y, clean.prediction, columns),
        tuple(caveats),
        exemplars(case.data.x_test[clean.rows], clean, standing),
    )


def squares(corner: torch.Tensor, size: torch.Size, side: int) -> torch.Tensor:
    """Which pixels lie in the square of this side whose upper left corner is given (n, 2): (n, 1, H, W)."""
    inside = []
    for axis, length in enumerate(size):
        behind = torch.arange(length, device=corner.device) - corner[:, axis : axis + 1]
        inside.append((behind >= 0) & (behind < side))
    return (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1)


def tried(weight: torch.Tensor, side: int, count: int) -> torch.Tensor:
    """The corners (n, count, 2) of the squares of this side, half a side apart, that hold most weight (n, C, H, W).

    The last square of each row and column ends with the image; where there are fewer squares, all of them.
    """
    height, width = weight.shape[2:]
    down, across = _steps(height, side).to(weight.device), _steps(width, side).to(weight.device)
    held = avg_pool2d(weight.sum(1, keepdim=True), side, stride=1)[:, 0][:, down][:, :, across]
    order = held.flatten(1).argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.stack([down[order // len(across)], across[order % len(across)]], 2)


def _steps(length: int, side: int) -> torch.Tensor:
    last = length - side
    return torch.tensor(sorted({*range(0, last + 1, max(1, side // 2)), last}))


def _places(bench: Bench, side: int, count: int, *, blind: bool) -> torch.Tensor:
    """Where to put the patch on each row (N, count, 2): where the lead's gradient is largest, or anywhere."""
    if blind:
        draws = uniform(bench.keys, torch.zeros_like(bench.keys), bench.unit[0].numel(), purpose=_PLACE)
        return tried(draws.view_as(bench.unit), side, count)
    weights = []
    for at in range(0, len(bench.unit), bench.width):
        here, y = bench.unit[at : at + bench.width].clone().requires_grad_(), bench.labels[at : at + bench.width]
        lead = lead_away(bench.view.differentiable(here), y, y)
        weights.append(torch.autograd.grad(lead.sum(), here)[0].abs().nan_to_num())
    return tried(torch.cat(weights), side, count)


def _patched(bench: Bench, inside: torch.Tensor, probe: Patch, *, blind: bool) -> Attack:
    """The attack on rows whose pixels inside the squares (N, 1, H, W) may be anything, and no others may change."""

    def run(rows: torch.Tensor) -> Attacked:
        start = bench.random_start(rows, _WHOLE)
        task = replace(bench.task(rows, start, _WHOLE), still=~inside[rows].expand_as(start))
        if blind:
            return square(bench.view.scores, task, bench.keys[rows], queries=_QUERIES * probe.steps, width=bench.width)
        return apgd(bench.view.differentiable, task, lead_away, steps=probe.steps, width=bench.width)

    return run
