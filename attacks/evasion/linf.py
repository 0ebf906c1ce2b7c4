"""The probe evasion.linf: robust accuracy when each feature may move by a small share of its range."""

from dataclasses import dataclass
from typing import ClassVar

from auditor.balls import NormName
from auditor.probe import ThreatModel

from .ball import BLIND_SPOTS, Ball, threat


@dataclass(frozen=True, kw_only=True)
class Linf(Ball):
    """How many rows are still classified rightly when an adversary may move every feature a little?

    Robust accuracy at `epsilon` is the share of rows (misclassified clean rows count as broken) that no
    attack found a way to break inside the Linf ball of that radius, in units of each feature's range, and
    inside the domain. It is an upper bound: a stronger attack can only lower it. Ties and outputs that are
    not numbers count as broken, and what breaks at a small epsilon stays broken at a larger one. With a
    `goal`, the name of a class, only rows of other classes are attacked, only that class is a success, and
    the share that withstood is called targeted_robust_accuracy. With `reject`, the class by which a subject refuses an
    input, robust_accuracy counts a refused change as broken, and robust_accuracy_with_reject counts it as caught.

    With gradients: APGD on cross-entropy (Croce and Hein 2020), then on the difference-of-logits ratio of each of the
    `targets` nearest classes (by the rule of Melamed et al. 2024; below four classes on the plain margin), then a
    Square random search (Andriushchenko et al. 2020). With scores only: the random search, `blind_queries` long. With
    labels only: RayS (Chen and Gu 2020) on `label_rows` rows. Self-tests look for masked gradients: a result
    they doubt is `suspicious`, one they refute is `invalid`. With `save`, the samples file keeps every input that
    broke a row. Raises ConfigError for an epsilon that is no number between 0 and 1, or a goal that is no class.
    """

    id: ClassVar[str] = "evasion.linf"
    title: ClassVar[str] = "Evasion, Linf"
    norm: ClassVar[NormName] = "linf"
    largest: ClassVar[float] = 1.0
    threat: ClassVar[ThreatModel | None] = threat(
        "move every feature of an input by at most epsilon of its range, inside the domain"
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Other norms, patches, rotations and changes a person would not notice but that are large in Linf.",
        *BLIND_SPOTS,
    )

    epsilons: tuple[float | str, ...] = ("8/255",)


radius = Linf.radius
