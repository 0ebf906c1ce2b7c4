"""The probe `ood.scores`: whether a subject's own outputs and features tell foreign inputs apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from auditor.dataset import row_ids
from auditor.errors import ConfigError
from auditor.probe import Case, Metric, Outcome, Probe, Samples
from auditor.record import Caveat, Coordinate, Measurement
from auditor.seeds import Seeds
from auditor.statistics import auc

from .comparison import Average, Comparison, Layout, average, compare
from .scoring import score
from .sets import foreign_sets

Floats = npt.NDArray[np.float64]
SELF_TEST_CONFIDENCE = 0.999
FEWEST_ROWS = 8


@dataclass(frozen=True, kw_only=True)
class Scores(Probe):
    """Can one tell from this model's own outputs that an input is none of what it was trained on?

    Test rows are compared with uniform noise, with inverted test rows and with every far set of the data.
    Scores, higher being more foreign: `msp`, one minus the largest softmax probability (Hendrycks & Gimpel
    2017); `energy`, -logsumexp of the logits (Liu et al. 2020); `knn`, distance to the k-th nearest training
    row among length-normalised penultimate features (Sun et al. 2022). `auroc` is the chance that a foreign
    row scores above a test row (DeLong interval), `fpr95` the share of foreign rows accepted by the threshold
    that keeps 95 % of test rows (exact interval given that threshold), `mean_auroc` the mean over the sets,
    its interval the mean of theirs: right if their errors move together, and otherwise too wide. A score that
    the subject's access does not allow is left out and named.

    Raises:
        ConfigError: a count below 1.
    """

    id: ClassVar[str] = "ood.scores"
    title: ClassVar[str] = "Out-of-distribution detection"
    family: ClassVar[str] = "ood"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mean_auroc", "AUROC, mean over the foreign sets", "higher", at=("score",), headline=True),
        Metric("auroc", "AUROC of foreign against test rows", "higher", at=("score", "set")),
        Metric("fpr95", "Foreign rows accepted when 95 % of test rows are", "lower", at=("score", "set")),
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Noise, inverted and far sets are easy; inputs close to the classes are harder to tell.",
        "Nobody adapts the inputs to the score: it is no attack, and robustness to one does not follow.",
        "The interval of fpr95 takes the threshold as given; the thresholds of few test rows vary.",
        "No score is best everywhere: read the row of scores, not the best of them.",
    )
    references: ClassVar[dict[str, tuple[str, ...]]] = {
        "nist-ai-rmf": ("MEASURE 2.5", "MEASURE 2.6"),
        "owasp-ml": ("ML08",),
        "eu-ai-act": ("15(4)",),
    }

    samples: int = 1000
    neighbours: int = 50
    bank: int = 2000

    def __post_init__(self) -> None:
        for name in ("samples", "neighbours", "bank"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{self.id}: {name} is {getattr(self, name)}; give at least 1")

    def run(self, case: Case) -> Outcome:
        """Score test rows and foreign rows, and compare them score by score and set by set."""
        rows = case.rows(self.samples)
        familiar = case.data.x_test[rows]
        sets = foreign_sets(case.data, familiar, self.samples, Seeds(case.seeds.root), self.id)
        layout = Layout.of(len(familiar), sets)
        scored = score(case, np.concatenate([familiar, *sets.values()]), self.neighbours, self.bank)
        usable = {name: values for name, values in scored.scores.items() if not _fault(values)}
        compared = {name: compare(name, values, layout, case.confidence) for name, values in usable.items()}
        averages = [average(found, layout) for found in compared.values()]
        pairs = [pair for found in compared.values() for pair in found]
        caveats = (
            *scored.caveats,
            *_degenerate(scored.scores),
            *_below_chance(pairs),
            *_self_test(usable, scored.position[: layout.familiar]),
        )
        samples = Samples(
            row=np.concatenate([case.data.test_rows[rows], *(row_ids(x, prefix=f"{n}:") for n, x in sets.items())]),
            label=np.concatenate([case.data.y_test[rows], np.full(layout.total - len(rows), -1)]),
            prediction=scored.prediction,
            columns=_columns(usable, pairs, averages),
        )
        measured = (*_averages(case, averages), *_pairs(case, pairs))
        return Outcome(measured, samples=samples, caveats=caveats)


def _columns(
    scores: Mapping[str, Floats], pairs: Sequence[Comparison], averages: Sequence[Average]
) -> dict[str, npt.NDArray[np.floating]]:
    if not scores:
        return {}
    return {
        "score": np.stack(list(scores.values()), axis=1),
        "contribution": np.stack([pair.contribution for pair in pairs], axis=1),
        "acceptance": np.stack([pair.acceptance for pair in pairs], axis=1).astype(np.float32),
        "average": np.stack([one.contribution for one in averages], axis=1),
    }


def _averages(case: Case, averages: Sequence[Average]) -> list[Measurement]:
    return [
        case.number(
            "mean_auroc",
            one.value,
            one.low,
            one.high,
            n=len(one.contribution),
            column=f"average:{j}",
            at={"score": one.score},
        )
        for j, one in enumerate(averages)
    ]


def _pairs(case: Case, pairs: Sequence[Comparison]) -> list[Measurement]:
    measured = []
    for j, pair in enumerate(pairs):
        at: dict[str, Coordinate] = {"score": pair.score, "set": pair.set}
        n = len(pair.auc.positive) + len(pair.auc.negative)
        measured.append(
            case.number("auroc", pair.auc.value, pair.auc.low, pair.auc.high, n=n, column=f"contribution:{j}", at=at)
        )
        measured.append(case.proportion("fpr95", pair.accepted, column=f"acceptance:{j}", at=at))
    return measured


def _fault(values: Floats) -> str:
    """Why a score cannot be used; empty when it can."""
    if not np.isfinite(values).all():
        return f"is not a number on {int((~np.isfinite(values)).sum())} of {len(values)} rows"
    return f"is {values[0]:g} on every row" if values.min() == values.max() else ""


def _degenerate(scores: Mapping[str, Floats]) -> list[Caveat]:
    return [
        Caveat(flag="degenerate_score", severity="invalid", evidence=f"{name} {fault}: left out")
        for name, values in scores.items()
        if (fault := _fault(values))
    ]


def _below_chance(pairs: Sequence[Comparison]) -> list[Caveat]:
    """Sets that a score takes for more familiar than the test rows: true of the model, read as a bug."""
    return [
        Caveat(
            flag="below_chance",
            severity="info",
            evidence=f"{pair.score} finds {pair.set} more familiar than tests: AUROC {pair.auc.value:.3f}",
        )
        for pair in pairs
        if pair.auc.high < 0.5
    ]


def _self_test(scores: Mapping[str, Floats], position: npt.NDArray[np.int64]) -> list[Caveat]:
    """Test rows shown early against those shown late: a coin toss, unless answers depend on the order."""
    if len(position) < FEWEST_ROWS:
        return []
    late = position > np.median(position)
    found = []
    for name, values in scores.items():
        familiar = values[: len(position)]
        same = auc(familiar[late], familiar[~late], SELF_TEST_CONFIDENCE)
        if not same.low <= 0.5 <= same.high:
            evidence = f"{name} tells test rows from test rows: AUROC {same.value:.3f}, expected 0.5"
            found.append(Caveat(flag="familiar_against_itself", severity="suspicious", evidence=evidence))
    return found
