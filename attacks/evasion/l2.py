"""The probe evasion.l2: robust accuracy when an input may move by a small Euclidean distance."""

from dataclasses import dataclass
from typing import ClassVar

from auditor.balls import NormName
from auditor.probe import ThreatModel

from .ball import BLIND_SPOTS, Ball, threat


@dataclass(frozen=True, kw_only=True)
class L2(Ball):
    """How many rows are still classified rightly when an adversary may move them by a small Euclidean distance?

    Robust accuracy at `epsilon` is the share of rows (misclassified clean rows count as broken) that no attack broke
    inside the L2 ball of that radius and inside the domain, in coordinates where each feature's range is 1. An upper
    bound. The default of 0.5 is usual for images of 3 x 32 x 32. A change of the same root mean square a feature
    scales with the square root of the number of features D: 0.5 * sqrt(D / 3072), which is 0.25 for 28 x 28 grey
    images (where 1.5 to 2 is usual too, on MNIST) and 0.05 for 30 columns; the whole range is sqrt(D).

    The attacks are those of evasion.linf in this ball: APGD with steps along the normalised gradient (Croce and Hein
    2020), projected onto ball and box together, class by class, then Square for L2 (Andriushchenko et al. 2020). With
    labels only, RayS along straight ways: weaker than in Linf. `goal` and `save` are as there. Raises ConfigError for
    an epsilon that is not above 0, or a goal that is no class.
    """

    id: ClassVar[str] = "evasion.l2"
    title: ClassVar[str] = "Evasion, L2"
    norm: ClassVar[NormName] = "l2"
    threat: ClassVar[ThreatModel | None] = threat(
        "move an input by at most epsilon in Euclidean distance, each feature's range being 1, inside the domain"
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Other norms, patches, rotations and changes a person would not notice but that are large in L2.",
        "A feature counts by its range, though a full change of one may be more noticeable than of another.",
        *BLIND_SPOTS,
    )

    epsilons: tuple[float | str, ...] = (0.5,)
