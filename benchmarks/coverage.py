"""How often do the intervals of groups and contrasts hold the truth? A simulation, beside two peers.

Outcomes of yes and no follow a probit model with random seeds and random rows: the same rows are asked of
every seed, and the share is that of other seeds and other rows. Peers: t over the seeds' means, and the
percentile bootstrap of seeds. `p` is the binomial test of the coverage against nominal 0.95: "below" alone,
as too much coverage costs only width. Run: python benchmarks/coverage.py [replications]
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditor.distributions import beta_share, normal_quantile, t_quantile
from auditor.statistics import crossed_difference, crossed_mean

Floats = npt.NDArray[np.float64]
NOMINAL = 0.95
RESAMPLES = 500


@dataclass(frozen=True)
class World:
    """Two groups' true shares, how far seeds spread around them, and how alike the seeds find the rows."""

    share_a: float
    share_b: float
    seed_sd: float
    row_sd: float = 2.0  # of the latent variable, beside 1.0 of chance: 80 % of it is the rows' own
    seeds: int = 5
    rows: int = 360
    paired: float = 0.8  # correlation between the two groups of what rows and seeds do


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth, its mean width, and how likely so few hits would be at 0.95."""

    share: float
    width: float
    p_below: float


def simulate(world: World, replications: int, rng: np.random.Generator) -> Iterator[tuple[Floats, Floats]]:
    """Tables (seeds, rows) of both groups, one pair a replication."""
    for _ in range(replications):
        rows, seeds = rng.normal(size=(3, 1, world.rows)), rng.normal(size=(3, world.seeds, 1))
        yield tuple(  # type: ignore[misc]  # two of them
            _table(share, world, _mix(rows, side, world.paired), _mix(seeds, side, world.paired), rng)
            for side, share in ((1, world.share_a), (2, world.share_b))
        )


def _mix(noise: Floats, side: int, correlation: float) -> Floats:
    return np.asarray(math.sqrt(correlation) * noise[0] + math.sqrt(1.0 - correlation) * noise[side])


def _table(share: float, world: World, row: Floats, seed: Floats, rng: np.random.Generator) -> Floats:
    z = normal_quantile(share)
    slope = math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi * (1.0 + world.row_sd**2))
    latent_sd = world.seed_sd / slope  # a spread of shares, as one of the latent variable
    centre = z * math.sqrt(1.0 + world.row_sd**2 + latent_sd**2)
    chance = rng.normal(size=(world.seeds, world.rows))
    return np.asarray(centre + world.row_sd * row + latent_sd * seed + chance > 0.0, np.float64)


def coverage(hits: int, widths: list[float]) -> Coverage:
    """The share of hits, and the chance of as few or fewer were coverage nominal."""
    n = len(widths)
    p_below = 1.0 if hits == n else beta_share(n - hits, hits + 1.0, 1.0 - NOMINAL)
    return Coverage(hits / n, float(np.mean(widths)), p_below)


def over_seeds_t(table: Floats) -> tuple[float, float]:
    """Peer: t interval of the seeds' means."""
    means = table.mean(axis=1)
    half = t_quantile(0.975, len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means))
    return float(means.mean()) - half, float(means.mean()) + half


def over_seeds_bootstrap(table: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Peer: percentile bootstrap of the seeds' means."""
    means = table.mean(axis=1)
    drawn = means[rng.integers(0, len(means), (RESAMPLES, len(means)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def of_shares(world: World, replications: int, rng: np.random.Generator) -> dict[str, Coverage]:
    """Coverage of group b's share."""
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "t over seeds": [], "bootstrap": []}
    for _, table in simulate(world, replications, rng):
        ours = crossed_mean(table, NOMINAL, bounds=(0.0, 1.0))
        found["ours"].append((ours.low, ours.high))
        found["t over seeds"].append(over_seeds_t(table))
        found["bootstrap"].append(over_seeds_bootstrap(table, rng))
    return _judged(found, world.share_b)


def of_differences(world: World, replications: int, rng: np.random.Generator) -> dict[str, Coverage]:
    """Coverage of the difference b minus a."""
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "t over seeds": [], "bootstrap": []}
    for a, b in simulate(world, replications, rng):
        ours = crossed_difference(a, b, NOMINAL, bounds=(0.0, 1.0))
        found["ours"].append((ours.low, ours.high))
        found["t over seeds"].append(over_seeds_t(b - a))
        found["bootstrap"].append(over_seeds_bootstrap(b - a, rng))
    return _judged(found, world.share_b - world.share_a)


def _judged(found: dict[str, list[tuple[float, float]]], truth: float) -> dict[str, Coverage]:
    return {
        name: coverage(sum(low <= truth <= high for low, high in ends), [high - low for low, high in ends])
        for name, ends in found.items()
    }


SHARES = (
    World(0.5, 0.1, 0.025),
    World(0.5, 0.5, 0.025),
    World(0.5, 0.5, 0.025, row_sd=0.5),
    World(0.5, 0.97, 0.01),
    World(0.5, 0.97, 0.025),
    World(0.5, 0.999, 0.0),
    World(0.5, 0.5, 0.025, seeds=3),
)
DIFFERENCES = (
    World(0.5, 0.5, 0.025),
    World(0.545, 0.32, 0.025),
    World(0.97, 0.96, 0.005),
    World(0.97, 0.97, 0.0),
    World(0.999, 0.99, 0.0),
    World(0.5, 0.5, 0.025, seeds=3),
)


def main(replications: int) -> None:
    """Print the coverage of every world."""
    start, rng = time.perf_counter(), np.random.default_rng(20261122)
    for title, worlds, judge in (("share", SHARES, of_shares), ("difference", DIFFERENCES, of_differences)):
        for world in worlds:
            truth = world.share_b if title == "share" else world.share_b - world.share_a
            print(
                f"{title} {truth:+.3f}, seed sd {100 * world.seed_sd:.1f} pp, row sd {world.row_sd:g}, "
                f"{world.seeds} seeds x {world.rows} rows, {replications} replications"
            )
            for name, c in judge(world, replications, rng).items():
                found = f"coverage {c.share:.3f}  p(below {NOMINAL}) {c.p_below:.2g}"
                print(f"    {name:<13} {found}  mean width {100 * c.width:.2f} pp")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
