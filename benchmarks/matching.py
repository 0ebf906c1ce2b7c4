"""What holds where two groups are not equally accurate, and does the minimum detectable difference hold? Simulations.

Outcomes of yes and no with random seeds and rows, clean and attacked: a seed that is more accurate is sturdier as well.
The groups differ in accuracy alone, so at equal accuracy their difference is zero. Counted is how often an interval
holds zero: of all pairs, and of those among them where equal accuracy is shown (what an audit judges); where it is not,
of the pairs that match on held-back rows, if these are shown to be equally accurate, and of the regression.

Run: OMP_NUM_THREADS=1 python benchmarks/matching.py [replications]
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.contrast import contrast, shown_equivalent
from auditor.distributions import beta_share, normal_quantile
from auditor.groups import Member
from auditor.matching import matched_seeds, regression
from auditor.statistics import crossed_difference, minimum_detectable

Floats = npt.NDArray[np.float64]
SHARE, ROW_SD, MARGIN, ROWS, HELD_BACK = 0.96, 2.0, 1.5, 360, 240
ALPHA, DELTA = 0.05, 0.02


@dataclass(frozen=True)
class World:
    """How much less accurate b is, how far accuracy spreads between seeds (shares), and how it pulls sturdiness.

    With `stray`, one seed of b is that much less accurate than the others.
    """

    gap: float
    seed_sd: float
    pull: float = 1.0
    seeds: int = 5
    stray: float = 0.0


WORLDS = (
    World(0.0, 0.003),
    World(0.0, 0.01),
    World(0.0, 0.02),
    World(0.01, 0.003),
    World(0.01, 0.01),
    World(0.01, 0.02),
    World(0.03, 0.01),
    World(0.03, 0.02),
    World(0.03, 0.02, pull=0.0),
    World(0.01, 0.01, seeds=8),
    World(0.0, 0.001, seeds=5, stray=0.08),
    World(0.0, 0.001, seeds=8, stray=0.08),
)


def simulate(world: World, rng: np.random.Generator) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Of a and then b: rows right (seeds, rows), rows right under attack, and accuracy on held-back rows (seeds,)."""
    scale = math.sqrt(1.0 + ROW_SD**2)
    z = normal_quantile(SHARE)
    slope = scale * math.sqrt(2.0 * math.pi) * math.exp(z * z / 2.0)  # latent units a share
    shared, row = rng.normal(size=(world.seeds, 1)), rng.normal(size=(1, ROWS + HELD_BACK))
    for side in (0, 1):
        own = rng.normal(size=(world.seeds, 1))
        shift = -slope * world.gap * side + slope * world.seed_sd * (shared + own) / math.sqrt(2.0)
        shift[0] -= slope * world.stray * side
        base = z * scale + ROW_SD * row + rng.normal(size=(world.seeds, ROWS + HELD_BACK))
        right, sturdy = base + shift > 0.0, base - MARGIN * scale + world.pull * shift > 0.0
        yield right[:, :ROWS] * 1.0, sturdy[:, :ROWS] * 1.0, right[:, ROWS:].mean(axis=1)


NAMES = np.array([f"{i:04d}" for i in range(ROWS)])


def members(group: str, table: Floats) -> list[Member]:
    return [Member(f"{group}/{s}", group, s, NAMES, values) for s, values in enumerate(table)]


def coverage(world: World, replications: int, rng: np.random.Generator) -> str:
    """How often the intervals hold zero: all pairs, where these are shown to be equally accurate; and what follows."""
    held: dict[str, list[bool]] = {"all": [], "all, shown equal": [], "subset": [], "regression": []}
    for _ in range(replications):
        (clean_a, a, back_a), (clean_b, b, back_b) = simulate(world, rng)
        sides = [members(g, t) for g, t in (("a", a), ("b", b), ("a", clean_a), ("b", clean_b))]
        held["all"].append(holds_zero(sides))
        if equal(sides):
            held["all, shown equal"].append(held["all"][-1])
            continue
        kept = matched_seeds(dict(enumerate(back_a)), dict(enumerate(back_b)), DELTA)
        inside = [[m for m in side if m.seed in kept] for side in sides]
        if kept and equal(inside):
            held["subset"].append(holds_zero(inside))
        if (fitted := regression(*sides, 0.95)) is not None:
            held["regression"].append(fitted.low <= 0.0 <= fitted.high)
    return "".join(f"\n    {name:<17} {told(hits, replications)}" for name, hits in held.items())


def equal(sides: list[list[Member]]) -> bool:
    return bool(shown_equivalent(*sides[2:], delta=DELTA, alpha=ALPHA))


def holds_zero(sides: list[list[Member]]) -> bool:
    one = contrast("m.m", {}, *sides[:2], alpha=ALPHA, delta=DELTA, better="higher", confidence=0.95)
    return one.low <= 0.0 <= one.high


def told(hits: list[bool], replications: int) -> str:
    if not hits:
        return "-"
    n, misses = len(hits), len(hits) - sum(hits)
    p = beta_share(misses, n - misses + 1.0, 0.05) if misses else 1.0
    return f"{sum(hits) / n:.3f} (p {p:.2g}, possible in {n / replications:.2f})"


def power(seeds: int, replications: int, rng: np.random.Generator) -> tuple[float, float]:
    """How often a difference as large as the mean minimum detectable one is found, by rows and seeds both."""
    world, least, null = World(0.0, 0.01, seeds=seeds), [], []
    for _ in range(replications):
        (_, a, _), (_, b, _) = simulate(world, rng)
        found = crossed_difference(a, b, 0.95, (0.0, 1.0))
        least.append(minimum_detectable(found.se, found.df, ALPHA, estimated=True))
        null.append(found)
    true = float(np.mean(least))
    moved = [abs(f.value + true) > f.high - f.value for f in null]
    return true, float(np.mean(moved))


def main(replications: int) -> None:
    """Print the coverage in every world, and the power at the minimum detectable difference."""
    start, rng = time.perf_counter(), np.random.default_rng(20261122)
    for world in WORLDS:
        print(f"{world}{coverage(world, replications, rng)}", flush=True)
    for seeds in (3, 5, 8):
        true, share = power(seeds, replications, rng)
        print(
            f"{seeds} seeds: a difference of {100 * true:.2f} points, the minimum detectable one, found in {share:.3f}"
        )
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
