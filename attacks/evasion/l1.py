"""The probe evasion.l1: robust accuracy when the changes of all features may sum to a small amount."""

from dataclasses import dataclass
from typing import ClassVar

from auditor.balls import NormName
from auditor.probe import ThreatModel

from .ball import BLIND_SPOTS, Ball, threat


@dataclass(frozen=True, kw_only=True)
class L1(Ball):
    """How many rows are still classified rightly when an adversary may change few features much, or many a little?

    Robust accuracy at `epsilon` is the share of rows (misclassified clean rows count as broken) that no attack broke
    while the absolute changes of all features, each in units of its range, sum to at most epsilon, inside the domain.
    An upper bound. Epsilon is the number of features that may go from one end of their range to the other. The default
    of 12 is usual for images of 3 x 32 x 32. An equal share scales with the number of features D: 12 * D / 3072, which
    is 3 for 28 x 28 grey images and 0.12 for 30 columns, where 1 already is any one feature; the whole range is D.

    The attacks are those of evasion.linf in this ball: APGD for L1 in balls of 3, 2 and 1 epsilon, with sparse steps
    and the exact projection onto ball and box (Croce and Hein 2021), class by class, then a random search that moves
    change from place to place. With labels only, RayS along straight ways: weaker than in Linf. `goal` and `save` are
    as there. Raises ConfigError for an epsilon that is not above 0, or a goal that is no class.
    """

    id: ClassVar[str] = "evasion.l1"
    title: ClassVar[str] = "Evasion, L1"
    norm: ClassVar[NormName] = "l1"
    threat: ClassVar[ThreatModel | None] = threat(
        "change features of an input by a sum of at most epsilon, each in units of its range, inside the domain"
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Other norms, patches, rotations and changes a person would not notice but that are large in L1.",
        "A feature counts by its range, though a full change of one may be more noticeable than of another.",
        *BLIND_SPOTS,
    )

    epsilons: tuple[float | str, ...] = (12.0,)
