"""The probe preflight: whether the subject is the model that is meant, fed and read as its owner does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from auditor.checks import feeding, plausibility, steadiness
from auditor.checks.examination import Asked, Check, Mask
from auditor.checks.steadiness import Steady
from auditor.dataset import Dataset
from auditor.errors import ConfigError
from auditor.probe import Case, Metric, Outcome, Probe, Samples
from auditor.record import Caveat, Measurement
from auditor.subject import Subject
from auditor.subjects.preparation import AS_IT_IS, Preparation

MOST = 10_000  # test rows that are asked for an accuracy to hold against the expected one
FLAGS: Mapping[str, str] = {  # what a problem of this name is called as a caveat
    "output type": "output_type",
    "finite outputs": "non_finite",
    "repeatable": "stochastic",
    "alone as in a batch": "batch_dependent",
    "raw and wrapped agree": "parity",
    "gradient path": "gradient_path",
    "input range": "range_mismatch",
    "outputs change": "constant_outputs",
    "class order": "class_order",
    "labels": "label_mismatch",
    "classes named": "class_never_named",
    "accuracy": "accuracy_unexpected",
}


@dataclass(frozen=True, eq=False)
class Examined:
    """All checks of one subject, and the rows that held (n,); `alone` covers the first of them only."""

    checks: tuple[Check, ...]
    asked: Asked
    repeated: Mask
    alone: Mask
    agreed: Mask | None


@dataclass(frozen=True, kw_only=True)
class Preflight(Probe):
    """Is this the model that is meant, fed and read as its owner does, so that its numbers mean something?

    `repeatable` is the share of rows that get the same outputs twice (to 1e-4 of the outputs' spread),
    `alone_equals_batch` the share that get the same outputs alone as among others (to 0.05 of the spread: arithmetic
    in batches moves less, batch statistics move more), `agreement` the share that the model itself, asked around the
    adapter, names as the adapter does. Caveats say what else is wrong, with what to declare: a range, normalisation or
    order of classes under which far more rows would be right, outputs of another type, infinite outputs, gradients
    that do not arrive, an accuracy other than `load.expected_accuracy` or at chance, classes never named.
    A preflight changes no other number; but where it finds that the model under audit is not the one that is meant,
    every other result of the subject is as doubtful as that.
    """

    id: ClassVar[str] = "preflight"
    title: ClassVar[str] = "Preflight"
    family: ClassVar[str] = "preflight"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("repeatable", "Rows with the same answer twice", "higher", kind="exact"),
        Metric("alone_equals_batch", "Rows with the same answer alone as in a batch", "higher", kind="exact"),
        Metric("agreement", "Rows that the bare model names alike", "higher", kind="exact"),
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Only usual preparations are tried: a model fed wrongly in another way is merely inaccurate here.",
        "A mistake that the labels share with the model, such as two classes swapped in both, is not seen.",
        "Rare randomness: an answer that changes once in a thousand times is seldom caught on so few rows.",
    )
    references: ClassVar[Mapping[str, tuple[str, ...]]] = {"nist-ai-rmf": ("MEASURE 2.3", "MEASURE 2.5")}
    undermines: ClassVar[frozenset[str]] = frozenset(
        {"output_type", "batch_dependent", "parity", "range_mismatch", "class_order", "accuracy_unexpected"}
    )

    samples: int = 256
    alone: int = 16

    def __post_init__(self) -> None:
        for name in ("samples", "alone"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{self.id}: {name} is {getattr(self, name)}; it must be at least 1")

    def run(self, case: Case) -> Outcome:
        """Ask the subject some rows, again, alone, around its adapter and prepared otherwise."""
        rows = case.rows(self.samples)
        found = examine(case.subject, case.data, rows, bare=case.inner, alone=self.alone)
        checks = (*found.checks, judged(found.asked, case.expected_accuracy, case.rows(MOST), case.confidence))
        columns = {
            "held": np.column_stack([found.repeated, _wide(found.alone, len(rows)), _wide(found.agreed, len(rows))])
        }
        samples = Samples(case.data.test_rows[rows], found.asked.y, found.asked.labels, columns)
        caveats = tuple(_caveat(check) for check in checks if check.verdict == "problem")
        return Outcome(tuple(_measured(case, found)), samples, caveats)


def examine(
    subject: Subject, data: Dataset, rows: npt.NDArray[np.int64], *, bare: Subject, alone: int, trained: bool = True
) -> Examined:
    """Every check of a subject on some test rows but that of its accuracy; `bare` is what the adapter itself is.

    A model that is not `trained` answers at chance, so what only a trained one can be asked is left out.
    """
    asked = Asked.of(subject, data, rows)
    repeated = steadiness.repeatable(asked)
    steady = repeated.check.verdict == "ok"
    single, agreed = steadiness.alone(asked, alone, steady=steady), steadiness.agreement(asked, bare, steady=steady)
    checks = [
        steadiness.output_type(asked),
        steadiness.finite(asked),
        *(s.check for s in (repeated, single, agreed)),
        steadiness.gradient(asked),
        *(_learned(asked, bare) if trained else ()),
    ]
    return Examined(tuple(checks), asked, _rows(repeated), _rows(single), agreed.held)


def _learned(asked: Asked, bare: Subject) -> list[Check]:
    """What the answers of a trained model say of how it is fed and read."""
    stated = getattr(bare, "preparation", None)
    declared = stated if isinstance(stated, Preparation) else AS_IT_IS
    found = feeding.best(asked, declared)
    labels, fed = (asked.labels, "as declared") if found is None else (found.labels, found.feeding.told)
    return [
        feeding.feeding(asked, declared, found),
        plausibility.response(asked),
        plausibility.class_order(asked.data, asked.y, labels, declared.order, fed),
        plausibility.numbering(asked.data),
        plausibility.never_named(asked.data, asked.y, labels),
    ]


def judged(asked: Asked, stated: float | None, rows: npt.NDArray[np.int64], confidence: float = 0.95) -> Check:
    """What is to be said of the accuracy: on the rows asked already or, where one is stated, on these rows."""
    if stated is not None:
        asked = Asked.of(asked.subject, asked.data, rows)
    return plausibility.accuracy(asked, stated, confidence)


def _rows(steady: Steady) -> Mask:
    assert steady.held is not None
    return steady.held


def _wide(held: Mask | None, count: int) -> npt.NDArray[np.float64]:
    """Rows that held among all (count,), NaN for those that were not asked."""
    column = np.full(count, np.nan)
    if held is not None:
        column[: len(held)] = held
    return column


def _measured(case: Case, found: Examined) -> list[Measurement]:
    measured = [
        case.proportion("repeatable", found.repeated, column="held:0"),
        case.proportion("alone_equals_batch", found.alone, column="held:1"),
    ]
    if found.agreed is not None:
        measured.append(case.proportion("agreement", found.agreed, column="held:2"))
    return measured


def _caveat(check: Check) -> Caveat:
    return Caveat(flag=FLAGS[check.name], severity=check.severity, evidence=f"{check.found}: {check.advice}")
