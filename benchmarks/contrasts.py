"""Are contrasts of really trained models right? An optimizer against itself, and against a planted drop of 5 points.

A/A: comparisons of an optimizer with itself on disjoint seeds, every one of models of its own. A verdict of improved or
regressed is a false alarm, an interval without zero a miss; both are counted as if equal accuracy were shown, which is
the stricter count, and beside it as an audit says it. Planted: the same models dealt anew into groups of eight; in one
of them 5 % of the answers of each seed turn from right to wrong at random. Worse: the same eight seeds trained too
shortly, at a rate found on other seeds for a drop of 5 points in accuracy. `p` are binomial tests: of so many false
alarms at 5 %, so few intervals that hold zero at 95 %, so few finds at 90 %. Nothing is kept between runs.

Run: OMP_NUM_THREADS=1 python benchmarks/contrasts.py [--quick]
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from auditor.attacks.evasion.linf import Linf
from auditor.attacks.privacy.membership import Membership
from auditor.checks.accuracy import Accuracy
from auditor.contrast import Member, contrast, finish, shown_equivalent, verdict
from auditor.dataset import Dataset
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.distributions import beta_share
from auditor.groups import column
from auditor.inputs import torch_subject
from auditor.probe import Case, Probe
from auditor.recipe import Fit, Recipe
from auditor.record import Contrast
from auditor.seeds import Seeds
from auditor.training import conditions, loop

RATES = {"sgd": 0.1, "adamw": 0.01, "rmsprop": 0.003, "muon": 0.01}
EPOCHS, SHORT = 8, 2
ALPHA, DELTA, CONFIDENCE = 0.05, 0.02, 0.95
DROP, PAIRS = 0.05, 8
ROOT = 20261122
CALIBRATION = 1_000_000  # the first seed that only says how short a training must be
PROBES: tuple[Probe, ...] = (
    Accuracy(),
    Linf(epsilons=(0.1,), samples=240, cull_steps=5, targets=1, target_steps=10, queries=0, self_test=False),
    Membership(),
)
ACCURACY, ROBUST, LEAK = "accuracy.accuracy", "evasion.linf.robust_accuracy", "privacy.membership.auc"
WANTED = {ACCURACY, ROBUST, LEAK}

Run = dict[str, Member]  # what one model said, by metric


@dataclass
class Count:
    """How often something happened."""

    hits: int = 0
    of: int = 0

    def add(self, hit: bool) -> None:
        """One more case."""
        self.hits, self.of = self.hits + hit, self.of + 1

    @property
    def share(self) -> float:
        """Of all cases."""
        return self.hits / max(1, self.of)

    def at_least(self, rate: float) -> float:
        """The chance of as many or more at this rate."""
        return 1.0 if self.hits == 0 else beta_share(self.hits, self.of - self.hits + 1.0, rate)

    def at_most(self, rate: float) -> float:
        """The chance of as few or fewer at this rate."""
        return Count(self.of - self.hits, self.of).at_least(1.0 - rate)


def trained(optimizer: str, seed: int, data: Dataset, epochs: int, rate: float, probes: Sequence[Probe]) -> Run:
    """One model, asked these probes."""
    recipe = Recipe(architecture="mlp", optimizer=optimizer, epochs=epochs)
    seeds = Seeds(ROOT, seed)
    module = loop.fit(Fit(recipe=recipe), data, seeds=seeds, learning_rate=rate).trained
    subject, run = torch_subject(module, data), {}
    for probe in probes:
        with conditions.repeatable():
            outcome = probe.run(Case(probe, optimizer, subject, data, seeds))
        arrays = {"row": outcome.samples.row, **outcome.samples.columns}
        for m in outcome.measurements:
            if (name := f"{m.probe}.{m.metric}") in WANTED:
                run[name] = Member(f"{optimizer}/{seed}", optimizer, seed, *column(arrays, m.column), m)
    return run


def group(name: str, runs: Sequence[Run], metric: str) -> list[Member]:
    """Runs as a group of its own, its seeds counted from zero, so that disjoint seeds make pairs."""
    return [replace(run[metric], group=name, seed=i, subject=f"{name}/{i}") for i, run in enumerate(runs)]


def compared(metric: str, a: list[Member], b: list[Member]) -> Contrast:
    better = "lower" if metric == LEAK else "higher"
    (found,) = finish([contrast(metric, {}, a, b, alpha=ALPHA, delta=DELTA, better=better, confidence=CONFIDENCE)], {})
    return found


def said(one: Contrast, *, equal: bool | None) -> str:
    return verdict(one.model_copy(update={"accuracy_equivalent": equal}), DELTA, ALPHA).verdict


def against_itself(pool: dict[str, list[Run]], seeds: int, comparisons: int) -> bool:
    """A/A: false alarms and coverage of every metric. Whether both keep to their rates."""
    alarms, audited, covers = ({m: Count() for m in sorted(WANTED)} for _ in range(3))
    for a_runs, b_runs in dealt(pool, seeds, comparisons):
        equal = shown_equivalent(group("a", a_runs, ACCURACY), group("b", b_runs, ACCURACY), delta=DELTA, alpha=ALPHA)
        for metric in sorted(WANTED):
            one = compared(metric, group("a", a_runs, metric), group("b", b_runs, metric))
            alarms[metric].add(said(one, equal=True) in ("improved", "regressed"))
            audited[metric].add(said(one, equal=equal) in ("improved", "regressed"))
            covers[metric].add(one.low <= 0.0 <= one.high)
    kept = True
    for m in sorted(WANTED):
        p_alarm, p_cover = alarms[m].at_least(ALPHA), covers[m].at_most(CONFIDENCE)
        kept = kept and p_alarm > 0.01 and p_cover > 0.01
        print(
            f"A/A {m}: {alarms[m].of} comparisons at {seeds} seeds, improved or regressed {alarms[m].share:.3f} "
            f"(p {p_alarm:.2g}; {audited[m].share:.3f} with the gate), coverage {covers[m].share:.3f} (p {p_cover:.2g})"
        )
    return kept


def dealt(pool: dict[str, list[Run]], seeds: int, comparisons: int) -> Iterator[tuple[list[Run], list[Run]]]:
    """Disjoint groups of the pool, optimizer by optimizer in turn: no model is in two comparisons."""
    each = {name: (len(runs) // (2 * seeds)) for name, runs in pool.items()}
    turns = ((name, i) for i in range(max(each.values())) for name in pool if i < each[name])
    for name, i in itertools.islice(turns, comparisons):
        runs = pool[name][2 * seeds * i : 2 * seeds * (i + 1)]
        yield runs[:seeds], runs[seeds:]


def flipped(member: Member, rng: np.random.Generator) -> Member:
    """The same answers, 5 % of all of them turned from right to wrong at random."""
    values = member.values.copy()
    values[rng.choice(np.flatnonzero(values == 1.0), round(DROP * len(values)), replace=False)] = 0.0
    return replace(member, values=values)


def planted(pool: dict[str, list[Run]], comparisons: int) -> bool:
    """How often a drop of 5 points is found in groups of eight disjoint seeds."""
    rng, kept = np.random.default_rng(ROOT), True
    for metric in (ACCURACY, ROBUST):
        found = Count()
        for a_runs, b_runs in dealt(pool, PAIRS, comparisons):
            worse = [flipped(m, rng) for m in group("b", b_runs, metric)]
            found.add(said(compared(metric, group("a", a_runs, metric), worse), equal=True) == "regressed")
        kept = told(f"planted {metric}: 5 % of the answers flipped, {PAIRS} disjoint seeds", found) and kept
    return kept


def told(what: str, found: Count) -> bool:
    p = found.at_most(0.9)
    print(f"{what}: found in {found.share:.3f} of {found.of} (p of so few at 0.9: {p:.2g})")
    return p > 0.01 and found.share >= 0.9


def short_rate(optimizer: str, data: Dataset, seeds: int) -> float:
    """The learning rate at which a short training loses 5 points, by bisection of its logarithm on seeds of its own."""

    def mean(epochs: int, rate: float) -> float:
        runs = (trained(optimizer, CALIBRATION + s, data, epochs, rate, PROBES[:1]) for s in range(seeds))
        return float(np.mean([run[ACCURACY].values.mean() for run in runs]))

    goal = mean(EPOCHS, RATES[optimizer]) - DROP
    low, high = RATES[optimizer] / 300.0, RATES[optimizer]
    for _ in range(8):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if mean(SHORT, middle) > goal else (middle, high)
    return float((low * high) ** 0.5)


def worse(pool: dict[str, list[Run]], comparisons: int, data: Dataset, calibration: int) -> bool:
    """How often a really worse training of the same eight seeds is found by its accuracy."""
    rates = {name: short_rate(name, data, calibration) for name in pool}
    found, drops = Count(), []
    for runs, _ in dealt(pool, PAIRS, comparisons):
        name = runs[0][ACCURACY].group
        short = [trained(name, r[ACCURACY].seed, data, SHORT, rates[name], PROBES[:1]) for r in runs]
        one = compared(ACCURACY, group("a", runs, ACCURACY), group("b", short, ACCURACY))
        found.add(said(one, equal=None) == "regressed")
        drops.append(-one.difference)
    spread = f"drop {100 * np.mean(drops):.1f} points on average, {100 * min(drops):.1f} to {100 * max(drops):.1f}"
    return told(f"worse {ACCURACY}: {SHORT} epochs in place of {EPOCHS}, {PAIRS} paired seeds, {spread}", found)


def timed(start: float, what: str, do: Callable[[], bool]) -> bool:
    kept = do()
    print(f"    {what}: {'holds' if kept else 'MISSED'}, {time.process_time() - start:.0f} CPU s so far", flush=True)
    return kept


def main(comparisons: int, seeds: int, planted_comparisons: int, calibration: int) -> int:
    """Train the pool, then ask; 1 where a number is missed."""
    start, data = time.process_time(), load(DataConfig(source="digits"), Path())
    each = -(-max(comparisons * 2 * seeds, planted_comparisons * 2 * PAIRS) // len(RATES))
    pool = {
        name: [trained(name, first * each + i, data, EPOCHS, rate, PROBES) for i in range(each)]
        for first, (name, rate) in enumerate(RATES.items())
    }
    print(f"{each * len(RATES)} models of {', '.join(RATES)}: {time.process_time() - start:.0f} CPU s", flush=True)
    kept = [
        timed(start, "A/A", lambda: against_itself(pool, seeds, comparisons)),
        timed(start, "planted", lambda: planted(pool, planted_comparisons)),
        timed(start, "worse", lambda: worse(pool, planted_comparisons, data, calibration)),
    ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 comparisons: to see that it runs")
    quick = parser.parse_args().quick
    sys.exit(main(8, 5, 4, 4) if quick else main(200, 5, 124, 20))
