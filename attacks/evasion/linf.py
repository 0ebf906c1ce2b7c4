"""The probe evasion.linf: robust accuracy when each feature may move by a small share of its range."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from auditor.errors import ConfigError
from auditor.probe import Case, Metric, Outcome, Probe, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Linf(Probe):
    """How many rows are still classified rightly when an adversary may move every feature a little?

    Robust accuracy at `epsilon` is the share of rows (misclassified clean rows count as broken) that no
    attack found a way to break inside the Linf ball of that radius, in units of each feature's range, and
    inside the domain. It is an upper bound: a stronger attack can only lower it. Ties and outputs that are
    not numbers count as broken, and what breaks at a small epsilon stays broken at a larger one.

    With gradients: APGD on cross-entropy (Croce and Hein 2020), then on the lead of each of the `targets`
    runner-up classes, then a short Square random search (Andriushchenko et al. 2020) as cross-check. With
    scores only: the random search, `blind_queries` long. With labels only: HopSkipJump (Chen et al. 2020) on
    `label_rows` rows. Self-tests look for masked gradients: a result they doubt is `suspicious`, one they
    refute is `invalid`. Raises ConfigError for an epsilon that is no number between 0 and 1.
    """

    id: ClassVar[str] = "evasion.linf"
    title: ClassVar[str] = "Evasion, Linf"
    family: ClassVar[str] = "evasion"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("clean_accuracy", "Accuracy on the attacked rows, before the attack", "higher"),
        Metric("robust_accuracy", "Robust accuracy", "higher", kind="upper-bound", at=("epsilon",), headline=True),
    )
    threat: ClassVar[ThreatModel | None] = ThreatModel(
        goal="make the classifier give any wrong answer for an input it classified rightly",
        knowledge="everything the subject gives access to: gradients, else scores, else labels",
        capability="move every feature of an input by at most epsilon of its range, inside the domain",
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Other norms, patches, rotations and changes a person would not notice but that are large in Linf.",
        "Adaptive attacks written against one defence; randomised subjects are attacked without averaging.",
        "Constraints that nobody stated; stated ones are respected, but the attack does not plan for relations.",
        "Without gradients the random search is far from the best attack, with labels alone further still.",
    )
    references: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "nist-ai-rmf": ("MEASURE 2.7", "MEASURE 2.5"),
        "nist-aml": ("NISTAML.022",),
        "atlas": ("AML.T0015", "AML.T0043.000"),
        "owasp-ml": ("ML01",),
        "eu-ai-act": ("15(4)", "15(5)"),
    }

    epsilons: tuple[float | str, ...] = ("8/255",)
    samples: int = 256
    cull_steps: int = 10
    targets: int = 3
    target_steps: int = 20
    queries: int = 100
    blind_queries: int = 500
    label_rows: int = 32
    label_iterations: int = 10
    self_test: bool = True
    batch_size: int = 512

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilons", tuple(self.epsilons))
        if not self.epsilons:
            raise ConfigError(f"{self.id}: epsilons is empty; name at least one, such as 8/255")
        for text in self.epsilons:
            radius(text)
        for name in ("samples", "cull_steps", "blind_queries", "label_rows", "label_iterations", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{self.id}: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("targets", "target_steps", "queries"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{self.id}: {name} is {getattr(self, name)}; it must not be negative")

    @property
    def radii(self) -> tuple[float, ...]:
        """The epsilons as numbers, ascending, each once."""
        return tuple(sorted({radius(text) for text in self.epsilons}))

    def run(self, case: Case) -> Outcome:
        """Attack the subject, judge every success again, and doubt the result where it deserves doubt."""
        from .protocol import investigate

        return investigate(case, self)


def radius(text: float | str) -> float:
    """An epsilon as a number: 0.1, "0.1" or "8/255". Raises ConfigError for what is no share of the range."""
    try:
        value = float(Fraction(text)) if isinstance(text, str) else float(text)
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"evasion.linf: epsilon {text!r} is no number; write 0.1 or 8/255") from None
    if not 0 < value <= 1:
        raise ConfigError(
            f"evasion.linf: epsilon {text!r} is outside (0, 1]: a share of each feature's range; write 8/255 for 8"
        )
    return value
