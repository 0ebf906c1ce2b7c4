"""The probe `privacy.membership`: the loss attack on training rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from auditor.errors import ConfigError
from auditor.probe import Case, Metric, Outcome, Probe, Samples, ThreatModel
from auditor.seeds import Seeds
from auditor.statistics import auc

from .loss_attack import Threshold, accuracy_gap, threshold_at
from .sanity import caveats_of
from .scored import Scored, score
from .sides import choose_sides, side_rows


@dataclass(frozen=True, kw_only=True)
class Membership(Probe):
    """Can an outsider tell which rows this model was trained on from how well it fits them?

    The loss attack (Yeom et al. 2018): rows with a small loss on their true label are called members. Members
    are training rows, non-members test rows, as many of each in every class, the same for every subject.
    `auc` is the chance that a member looks more like one than a non-member (DeLong interval, ties half),
    `tpr_at_fpr` the share of members found at a threshold that at most that share of non-members passes
    (Carlini et al. 2022; no interpolation; exact interval given the threshold), `gap` accuracy on members
    minus accuracy on non-members (Newcombe interval). An attack's success is a lower bound of what leaks. An
    AUC below one half is no protection: the attacker turns it round. Rates that fewer than three false alarms
    would decide, or that ties cannot resolve, are left out and named.

    Raises:
        ConfigError: rates that are not between 0 and 1, or fewer than two samples.
        DataError: no class has both training and test rows.
        ModelError: outputs that are not numbers.
    """

    id: ClassVar[str] = "privacy.membership"
    title: ClassVar[str] = "Membership inference"
    family: ClassVar[str] = "privacy"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("auc", "Members told from non-members, AUC", "lower", "lower-bound"),
        Metric("tpr_at_fpr", "Members found at a low FPR", "lower", "lower-bound", at=("fpr",), headline=True),
        Metric("gap", "Accuracy on members minus on non-members", "lower", unit="difference"),
    )
    threat: ClassVar[ThreatModel | None] = ThreatModel(
        goal="privacy: learn whether a record was in the training data",
        knowledge="the record, its true label, and non-members to place the threshold with",
        capability="read the outputs for that record, once",
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Attacks with shadow models (LiRA, RMIA) find more: one threshold for all ignores how hard a row is.",
        "An average over rows: outliers and mislabelled rows can leak while the average does not.",
        "Coarse or hidden outputs weaken this attack and not others: masking is not privacy.",
        "The interval of tpr_at_fpr takes the threshold as given, which rests on few non-members.",
        "A loaded model is taken to have been trained on the training rows of the data.",
    )
    references: ClassVar[dict[str, tuple[str, ...]]] = {
        "nist-ai-rmf": ("MEASURE 2.10",),
        "nist-aml": ("NISTAML.033",),
        "atlas": ("AML.T0024.000",),
        "owasp-ml": ("ML04",),
        "eu-ai-act": ("15(5)",),
    }

    fprs: tuple[float, ...] = (0.001, 0.01, 0.05)
    samples: int = 4000

    def __post_init__(self) -> None:
        object.__setattr__(self, "fprs", tuple(self.fprs))
        if not all(0 < fpr < 1 for fpr in self.fprs):
            raise ConfigError(f"{self.id}: fprs {list(self.fprs)}; give shares between 0 and 1")
        if self.samples < 2:
            raise ConfigError(f"{self.id}: samples is {self.samples}; give at least 2")

    def run(self, case: Case) -> Outcome:
        """Score members and non-members, and count how well the scores tell them apart."""
        sides = choose_sides(case.data, self.samples, Seeds(case.seeds.root), self.id)
        scored = score(case, sides)
        n = scored.size
        thresholds = {fpr: threshold_at(scored.others, fpr) for fpr in self.fprs}
        resolved = {fpr: threshold for fpr, threshold in thresholds.items() if threshold.resolved}
        found = _found(scored, resolved.values())
        whole = auc(scored.members, scored.others, case.confidence)
        gap = accuracy_gap(scored.correct[:n], scored.correct[n:], case.confidence)
        measured = [
            case.number("auc", whole.value, whole.low, whole.high, n=2 * n, column="contribution:0"),
            case.number("gap", gap.value, gap.low, gap.high, n=2 * n, column="contribution:1"),
        ]
        measured += [
            case.proportion("tpr_at_fpr", found[:n, j] > 0, column=f"found:{j}", at={"fpr": fpr})
            for j, fpr in enumerate(resolved)
        ]
        contribution = np.stack([np.concatenate([whole.positive, whole.negative]), gap.contribution], axis=1)
        samples = Samples(
            row=side_rows(case.data, sides),
            label=scored.label,
            prediction=scored.prediction,
            columns={"score": scored.scores[:, None], "contribution": contribution, "found": found},
        )
        return Outcome(tuple(measured), samples=samples, caveats=caveats_of(case, sides, scored, thresholds))


def _found(scored: Scored, thresholds: Iterable[Threshold]) -> npt.NDArray[np.float32]:
    """Which members are found at each threshold: (2n, thresholds), NaN for non-members."""
    found = np.full((2 * scored.size, 0), np.nan, np.float32)
    for threshold in thresholds:
        called = np.concatenate([scored.members > threshold.value, np.full(scored.size, np.nan)])
        found = np.column_stack([found, called.astype(np.float32)])
    return found
