"""The bar, written down before the run, and what it says of a record."""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from auditor.record import Coordinate, Frozen

State = Literal["pass", "fail", "inconclusive", "not-assessed", "waived"]
Level = Literal["low", "medium", "high", "critical"]
Verdict = Literal["improved", "regressed", "equivalent", "inconclusive"]
OnNotAssessed = Literal["fail", "report", "ignore"]
Finite = Annotated[float, Field(allow_inf_nan=False)]  # every number keeps or breaks an infinite bar
LEVELS: tuple[Level, ...] = ("low", "medium", "high", "critical")


class Regression(Frozen):
    """A paired comparison with the baseline: the metric may be worse by at most `max_drop`."""

    max_drop: Finite = Field(ge=0)


class Where(Frozen):
    """Which subjects a rule speaks of; each entry is a glob."""

    subject: str | None = None
    optimizer: str | None = None
    variant: str | None = None
    group: str | None = None


class Rule(Frozen):
    """One metric held against one threshold; `at` may name fractions such as 8/255."""

    id: str
    metric: str
    at: dict[str, Coordinate] = Field(default_factory=dict)
    where: Where = Where()
    at_least: Finite | None = None
    at_most: Finite | None = None
    regression: Regression | None = None
    severity: Level
    on_not_assessed: OnNotAssessed = "report"
    supports: tuple[str, ...] = ()
    title: str = ""

    @model_validator(mode="after")
    def _one_bar(self) -> Self:
        if sum(bar is not None for bar in (self.at_least, self.at_most, self.regression)) != 1:
            raise ValueError(f"rule {self.id!r} needs exactly one of at_least, at_most, regression")
        return self


class Policy(Frozen):
    """The rules of one release bar; findings below `fail_on` are shown and do not fail."""

    schema_: Literal["auditor/policy/1"] = Field(alias="schema")
    id: str
    confidence: float = Field(0.95, gt=0, lt=1)
    fail_on: Level = "high"
    subjects: str = "all"
    rules: tuple[Rule, ...] = Field(min_length=1)


class Bound(Frozen):
    """The measured value a waiver holds for: past it, the waiver no longer applies."""

    at_least: Finite | None = None
    at_most: Finite | None = None


class Waiver(Frozen):
    """A finding somebody accepts, until a day and within a bound."""

    id: str
    rule: str
    at: dict[str, Coordinate] = Field(default_factory=dict)
    where: Where = Where()
    reason: Literal["accepted-risk", "mitigated-elsewhere", "not-applicable", "false-positive", "pending-fix"]
    statement: str = Field(min_length=10)
    owner: str
    approved_by: str
    created: date
    expires: date
    while_: Bound = Field(alias="while")


class Waivers(Frozen):
    """A file of waivers."""

    schema_: Literal["auditor/waivers/1"] = Field(alias="schema")
    waivers: tuple[Waiver, ...] = ()


class Finding(Frozen):
    """A rule applied to one measurement, or to its absence. `counts` says whether it decides the verdict."""

    rule: str
    title: str = ""
    metric: str
    at: dict[str, Coordinate] = Field(default_factory=dict)
    subject: str | None = None
    state: State
    severity: Level
    counts: bool
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: dict[str, float]
    reason: str
    settle: str | None = None
    waiver: str | None = None
    on_not_assessed: OnNotAssessed = "report"
    references: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    fingerprint: str


class ContrastFinding(Frozen):
    """What a contrast allows to be said."""

    metric: str
    at: dict[str, Coordinate] = Field(default_factory=dict)
    a: str
    b: str
    verdict: Verdict
    reason: str


class Findings(Frozen):
    """The judgement of one record by one policy on one day."""

    schema_: Literal["auditor/findings/1"] = Field("auditor/findings/1", alias="schema")
    as_of: date
    policy: dict[str, Any]  # id, sha256, confidence, fail_on, subjects, as JSON
    facts_sha256: str
    verdict: Literal["pass", "fail", "inconclusive"]
    exit_code: int
    summary: str
    findings: tuple[Finding, ...]
    contrasts: tuple[ContrastFinding, ...] = ()
    notes: tuple[str, ...] = ()  # waivers that expired, are unused or near their end


def load_policy(text: str, source_name: str) -> Policy:
    """Which rules a policy file writes down. Raises ConfigError with file, line and the nearest key."""
    from auditor.documents import parse

    return parse(text, Policy, source=source_name)


def load_waivers(text: str, source_name: str) -> Waivers:
    """Which findings a waiver file accepts. Raises ConfigError with file, line and the nearest key."""
    from auditor.documents import parse

    return parse(text, Waivers, source=source_name)
