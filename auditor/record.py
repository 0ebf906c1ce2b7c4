"""What one audit saw, as it crosses files: measurements, caveats, results, contrasts and the record of them all.

The record is canonical JSON without times, machines or paths, so that the same audit gives the same digest.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from auditor.blocks import blocks

Better = Literal["higher", "lower", "neither"]
Unit = Literal["share", "difference", "number"]  # a share lies in [0, 1]; a difference is one of two shares
RANGES: Mapping[Unit | None, tuple[float, float]] = {"share": (0.0, 1.0), "difference": (-1.0, 1.0)}
Kind = Literal["exact", "upper-bound", "lower-bound", "estimate"]
OutcomeName = Literal["completed", "skipped", "errored"]
Reliability = Literal["reliable", "suspicious", "invalid"]
Severity = Literal["info", "suspicious", "invalid"]
Coordinate = float | str


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a number that is not finite cannot stand in a record: say skipped or errored instead")
    return value


Number = Annotated[float, AfterValidator(_finite)]


class Frozen(BaseModel):
    """A value that crosses a file: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Measurement(Frozen):
    """One observed number with its interval, its coordinates and what kind of number it is.

    `column` names the per-sample contributions in the result's samples file, as `<array>:<column index>`; their mean
    over the rows where they are not NaN is `value`. Groups, contrasts and regressions are computed from them.
    """

    of: str
    probe: str
    metric: str
    at: dict[str, Coordinate] = Field(default_factory=dict)
    value: Number
    low: Number | None = None
    high: Number | None = None
    confidence: float = 0.95
    n: int
    seeds: int | None = None
    better: Better
    kind: Kind
    column: str | None = None


class Caveat(Frozen):
    """Why a number may flatter or mislead, with the evidence."""

    flag: str
    severity: Severity
    evidence: str


def reliability(caveats: tuple[Caveat, ...]) -> Reliability:
    """The worst that the caveats of a result say."""
    worst = {c.severity for c in caveats}
    return "invalid" if "invalid" in worst else "suspicious" if "suspicious" in worst else "reliable"


class Result(Frozen):
    """What one probe found on one subject, or why it found nothing."""

    probe: str
    version: int
    subject: str
    outcome: OutcomeName
    reason: str | None = None
    reliability: Reliability = "reliable"
    parameters: dict[str, Any] = Field(default_factory=dict)  # a probe's fields, of any JSON type
    caveats: tuple[Caveat, ...] = ()
    samples: str | None = None
    gallery: str | None = None
    counts: dict[str, int] = Field(default_factory=dict)


class Training(Frozen):
    """How a subject was trained: deterministic facts only, no times. What only a user's own function knows is null.

    `privacy` says what a differentially private training spent: epsilon, delta, noise_multiplier, max_grad_norm.
    `clipped` is the share of gradients that were shortened to the recipe's `clip`; `optimizer_state_bytes` is what the
    optimizer remembers between steps. `steps_to_target` is null where there is no target, or where `target` says that
    it was not reached. `said` holds what an estimator of scikit-learn warned of, such as that it did not converge.
    """

    learning_rate: float | None
    epochs: int
    steps: int | None
    flops: int | None
    steps_to_target: int | None = None
    target: dict[str, Any] | None = None  # metric, value, automatic, reached, samples, flops, of_steps
    curve: tuple[dict[str, float], ...] = ()
    recipe: dict[str, Any] = Field(default_factory=dict)  # the recipe's fields, of any JSON type
    tuning: dict[str, Any] | None = None  # trials with their learning rate and validation loss
    privacy: dict[str, float] | None = None
    clipped: float | None = None
    optimizer_state_bytes: int | None = None
    said: tuple[str, ...] = ()


class SubjectRecord(Frozen):
    """One model under audit.

    `weights_sha256` is the digest of its weights alone, or else of its file: equal where two seeds gave one model.
    """

    id: str
    group: str
    config: str
    optimizer: str | None = None
    seed: int | None = None
    variant: str = "float32"
    access: tuple[str, ...]
    sha256: str | None = None
    weights_sha256: str | None = None
    training: Training | None = None
    loaded: dict[str, Any] | None = None  # format and options of a loaded model
    error: str | None = None

    @property
    def family(self) -> str | None:
        """What trains it along with others, for which it is compared with them; None for a loaded model."""
        return self.config if self.loaded is None else None


class DatasetRecord(Frozen):
    """The data of the audit."""

    id: str
    sha256: str
    rows: dict[str, int]
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    range: tuple[float, float]
    licence: str
    ood: tuple[str, ...] = ()
    class_counts: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    description: str = ""
    stored_range: tuple[float, float] | None = None  # what `range` was before the data was scaled
    origin: str | None = None
    collection: str | None = None
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # names of the groups by attribute
    missing: dict[str, int] = Field(default_factory=dict)  # empty cells as stored, by column
    constraints: tuple[str, ...] = ()  # what holds between and for the features, a sentence each


class AuditRecord(Frozen):
    """Which audit this is; `complete` is false when it was interrupted."""

    name: str
    seed: int
    profile: str
    plan_sha256: str
    complete: bool


class Matched(Frozen):
    """The same difference where accuracy is made equal, for groups whose accuracies are not.

    `by` says how: `subset` keeps the pairs of seeds whose accuracies on rows held back from training match, where these
    pairs are shown to be equally accurate on the test rows; `regression` takes off what goes with accuracy from run to
    run within the groups, by `slope`, and has neither p-value nor verdict.
    """

    by: Literal["subset", "regression"]
    difference: Number
    low: Number
    high: Number
    pairs: int
    p_value: Number | None = None
    adjusted_p: Number | None = None
    slope: Number | None = None


class Contrast(Frozen):
    """A paired difference of one metric, b minus a, between two groups of subjects.

    `minimum_detectable` is the true difference that so many pairs find four times in five at the strictest step of
    Holm's adjustment over all pairs of the audit that answer the same sort of question, which the first find has to
    pass; `auditor plan` says the same beforehand. One pair are two models, of which the rows alone vary.
    """

    metric: str
    at: dict[str, Coordinate] = Field(default_factory=dict)
    a: str
    b: str
    difference: Number
    low: Number
    high: Number
    confidence: float = 0.95
    pairs: int
    p_value: Number | None = None
    adjusted_p: Number | None = None
    minimum_detectable: Number | None = None
    accuracy_equivalent: bool | None = None
    matched: Matched | None = None
    better: Better = "higher"
    delta: float | None = None


class Explained(Frozen):
    """What share of the gap between two groups goes when the ablation takes something away from one of them, `of`.

    (of - ablation) / (of - other): 1 where it alone makes `of` like `other`. `doubt` says why it cannot be relied on: a
    result of one of the three that is not reliable, or a search too narrow for its rate.
    """

    metric: str
    at: dict[str, Coordinate] = Field(default_factory=dict)
    of: str
    ablation: str
    other: str
    share: Number
    low: Number
    high: Number
    confidence: float = 0.95
    pairs: int
    doubt: str | None = None


class Record(Frozen):
    """Everything one audit saw."""

    schema_: Literal["auditor/record/1"] = Field("auditor/record/1", alias="schema")
    audit: AuditRecord
    dataset: DatasetRecord
    subjects: tuple[SubjectRecord, ...]
    results: tuple[Result, ...]
    measurements: tuple[Measurement, ...]
    contrasts: tuple[Contrast, ...] = ()
    explained: tuple[Explained, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def result(self, probe: str, subject: str) -> Result | None:
        """The result of this probe on this subject."""
        return next((r for r in self.results if r.probe == probe and r.subject == subject), None)

    @property
    def sha256(self) -> str:
        """Digest of the canonical JSON: "the same record" means equal digests."""
        return digest(self)


def canonical_json(value: Any) -> bytes:  # any JSON value
    """Canonical JSON: sorted keys, no spaces, shortest floats, UTF-8; numbers that are not finite are refused."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", by_alias=True)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(value: Any) -> str:  # any JSON value
    """sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def array_digest(*arrays: np.ndarray) -> str:
    """sha256 over shape, dtype and bytes of arrays."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.shape}{array.dtype.str}".encode())
        for block in blocks(array) if array.ndim else (array,):
            sha.update(np.ascontiguousarray(block).tobytes())
    return sha.hexdigest()
