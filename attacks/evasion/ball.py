"""What the probes of the three norms share: parameters, metrics, threat model and how they run."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isfinite
from typing import ClassVar

from auditor.balls import NormName
from auditor.errors import ConfigError
from auditor.probe import Case, Metric, Outcome, Probe, Setting, ThreatModel
from auditor.recipe import Fit

ANY = "any"
OFF = "off"
CROSS_CHECKS: Mapping[str, tuple[NormName, ...]] = {
    "hop-skip-jump": ("linf", "l2"), "boundary": ("l2",), "sign-opt": ("l2",),
}  # fmt: skip
TRANSFER = (OFF, "blind", "always")
METRICS = (
    Metric("clean_accuracy", "Accuracy on the attacked rows, before the attack", "higher"),
    Metric("robust_accuracy", "Robust accuracy", "higher", kind="upper-bound", at=("epsilon",), headline=True),
    Metric(
        "targeted_robust_accuracy",
        "Share of rows of other classes that are not made into the goal class",
        "higher",
        kind="upper-bound",
        at=("epsilon",),
    ),
    Metric(
        "robust_accuracy_with_reject",
        "Robust accuracy where what is refused counts as caught",
        "higher",
        kind="upper-bound",
        at=("epsilon",),
    ),
    Metric("median_distance", "Median distance at which rows break", "higher", kind="upper-bound", unit="number"),
)
GOAL = "make the classifier give any wrong answer for an input it classified rightly, or the one that `goal` names"
UNCAUGHT = "; with `reject` also: any wrong answer but that of refusing the input"
KNOWLEDGE = "everything the subject gives access to: gradients, else scores, else labels"
BLIND_SPOTS = (
    "Adaptive attacks written against one defence.",
    "Constraints that nobody stated; stated ones are respected, but the attack does not plan for relations.",
    "Without gradients the random search is far from the best attack, with labels alone further still.",
)
REFERENCES: Mapping[str, tuple[str, ...]] = {
    "nist-ai-rmf": ("MEASURE 2.7", "MEASURE 2.5"),
    "nist-aml": ("NISTAML.022",),
    "atlas": ("AML.T0015", "AML.T0043.000"),
    "owasp-ml": ("ML01",),
    "eu-ai-act": ("15(4)", "15(5)"),
}
_AT_LEAST_ONE = (
    "samples", "cull_steps", "blind_queries", "label_rows", "label_queries", "check_rows", "check_iterations",
    "minimum_norm_rows", "batch_size",
)  # fmt: skip
_NOT_NEGATIVE = (
    "margin_steps", "scout_steps", "targets", "target_steps", "extra_targets", "extra_steps", "restarts", "queries",
    "weak_queries", "more_queries", "planted", "minimum_norm",
)  # fmt: skip
_OTHERS = 2  # with so few classes one is the right answer, and the other refuses


@dataclass(frozen=True, kw_only=True)
class Ball(Probe):
    """How many rows stay right when an adversary may move them within a ball? Its norm is the child's."""

    norm: ClassVar[NormName]
    largest: ClassVar[float] = inf  # epsilon
    family: ClassVar[str] = "evasion"
    version: ClassVar[int] = 2
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    references: ClassVar[Mapping[str, tuple[str, ...]]] = REFERENCES

    epsilons: tuple[float | str, ...]
    goal: str = ANY
    reject: str = OFF
    samples: int = 256
    cull_steps: int = 10
    margin_steps: int = 0
    scout_steps: int = 0
    targets: int = 3
    target_steps: int = 20
    extra_targets: int = 0
    extra_steps: int = 100
    restarts: int = 0
    queries: int = 100
    weak_queries: int = 0
    more_queries: int = 0
    blind_queries: int = 500
    label_rows: int = 100
    label_queries: int = 500
    transfer: str = OFF
    cross_check: str | tuple[str, ...] = OFF
    check_rows: int = 32
    check_iterations: int = 10
    self_test: bool = True
    planted: int = 0
    minimum_norm: int = 0
    minimum_norm_rows: int = 256
    save: bool = False
    batch_size: int = 512

    def __post_init__(self) -> None:
        given: object = self.epsilons
        if not isinstance(given, tuple | list):
            raise ConfigError(f"{self.id}: epsilons is {given!r}; write a list, such as [{given}]")
        object.__setattr__(self, "epsilons", tuple(self.epsilons))
        object.__setattr__(self, "goal", str(self.goal))  # classes may be named by numbers
        object.__setattr__(self, "reject", _named(self.reject))
        if self.rejects and not self.untargeted:
            raise ConfigError(f"{self.id}: reject {self.reject!r} is for any wrong answer; leave goal at {ANY}")
        if not self.epsilons:
            raise ConfigError(f"{self.id}: epsilons is empty; name at least one, such as {self._example}")
        for text in self.epsilons:
            self.radius(text)
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{self.id}: {name} is {getattr(self, name)}; it must be at least 1")
        self._check_the_check()
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigError(f"{self.id}: {name} is {getattr(self, name)}; it must not be negative")

    @property
    def radii(self) -> tuple[float, ...]:
        """The epsilons as numbers, ascending, each once."""
        return tuple(sorted({self.radius(text) for text in self.epsilons}))

    @classmethod
    def radius(cls, text: float | str) -> float:
        """An epsilon as a number: 0.1, "0.1" or "8/255". Raises ConfigError for what is none, or none of this norm."""
        try:
            if isinstance(text, bool):
                raise TypeError
            value = float(Fraction(text)) if isinstance(text, str) else float(text)
        except (ValueError, TypeError, ZeroDivisionError, OverflowError):
            raise ConfigError(f"{cls.id}: epsilon {text!r} is no number; write 0.1 or 8/255") from None
        if not (isfinite(value) and 0 < value <= cls.largest):
            raise ConfigError(f"{cls.id}: epsilon {text!r} {cls._outside(value)}")
        return value

    @classmethod
    def _outside(cls, value: float) -> str:
        if cls.largest == 1:
            grey = f"; write {value:g}/255 for {value:g} grey levels" if 1 < value <= 255 else ""
            return f"is outside (0, 1]: a share of each feature's range{grey}"
        return "must be above 0, and finite: a distance where each feature's range is 1"

    def aim(self, classes: tuple[str, ...]) -> int | None:
        """The index of the goal among these classes; None where any wrong answer will do. Raises ConfigError."""
        return goal_index(self.id, self.goal, classes)

    @property
    def untargeted(self) -> bool:
        """Whether any wrong answer will do."""
        return self.goal == ANY

    def fits(self, setting: Setting) -> dict[str, Fit]:
        """No trainings. Raises ConfigError where these data have no such goal, before anything runs."""
        goal, counts = self.aim(setting.data.classes), setting.data.class_counts.get("test")
        reject = self.refusal(setting.data.classes)
        if goal is not None and counts:
            self.some(sum(counts) - counts[goal])
        if reject is not None and counts:
            self.never_right(counts[reject])
        return {}

    @property
    def rejects(self) -> bool:
        """Whether a class stands for refusing an input."""
        return self.reject != OFF

    def refusal(self, classes: tuple[str, ...]) -> int | None:
        """The index of the class that stands for refusing among these; None where none does. Raises ConfigError."""
        if not self.rejects:
            return None
        if self.reject not in classes:
            told = f"is no class; write {OFF}, or one of {', '.join(classes)}"
            raise ConfigError(f"{self.id}: reject {self.reject!r} {told}")
        if len(classes) <= _OTHERS:
            told = "leaves no other class that a row could be made into; there must be two besides it"
            raise ConfigError(f"{self.id}: reject {self.reject!r} {told}")
        return classes.index(self.reject)

    def never_right(self, rows: int) -> None:
        """Raises ConfigError where so many test rows, if any, are of the class that stands for refusing."""
        if rows:
            told = f"{rows} test rows are of that class, so it is an answer like any other; reject names the class by "
            told += f"which the model says that it refuses, which is right for no row: write reject: {OFF}"
            raise ConfigError(f"{self.id}: reject {self.reject!r}: {told}")

    def some(self, rows: int) -> None:
        """Raises ConfigError where no rows are left to attack."""
        if not rows:
            raise ConfigError(f"{self.id}: goal {self.goal!r}: every row that could be attacked is of that class")

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of the cross-checks asked for."""
        return () if self.cross_check == OFF else tuple(self.cross_check)

    def _check_the_check(self) -> None:
        """Raises ConfigError for a transfer or a cross-check that there is not, or not of this norm or goal."""
        object.__setattr__(self, "transfer", self.transfer or OFF)  # YAML reads a bare `off` as false
        if self.transfer not in TRANSFER:
            raise ConfigError(f"{self.id}: transfer {self.transfer!r} is none; write one of {', '.join(TRANSFER)}")
        wanted = (self.cross_check,) if isinstance(self.cross_check, str) else tuple(self.cross_check or ())
        names = tuple(name for name in wanted if name != OFF)
        object.__setattr__(self, "cross_check", names or OFF)
        mine = [name for name, norms in CROSS_CHECKS.items() if self.norm in norms]
        for name in names:
            if name not in mine:
                raise ConfigError(f"{self.id}: cross_check {name!r} is none; write {', '.join((OFF, *mine))}")
        if names and not self.untargeted:
            raise ConfigError(f"{self.id}: {names[0]} knows no goal; write cross_check: {OFF}")

    @property
    def _example(self) -> str:
        return "8/255" if self.norm == "linf" else "0.5"

    def run(self, case: Case) -> Outcome:
        """Attack the subject, judge every success again, and doubt the result where it deserves doubt."""
        from .protocol import investigate

        return investigate(case, self)


def _named(value: object) -> str:
    """A class's name, which may be a number; YAML reads a bare `off` as false."""
    return OFF if value is None or value is False else str(value)


def goal_index(probe: str, goal: str, classes: tuple[str, ...]) -> int | None:
    """The index of a probe's goal among these classes; None where any wrong answer will do. Raises ConfigError."""
    if goal == ANY:
        return None
    if goal not in classes:
        raise ConfigError(f"{probe}: goal {goal!r} is no class; write {ANY}, or one of {', '.join(classes)}")
    return classes.index(goal)


def threat(capability: str) -> ThreatModel:
    """The threat model of an attack that may change inputs so far."""
    return ThreatModel(goal=GOAL + UNCAUGHT, knowledge=KNOWLEDGE, capability=capability)
