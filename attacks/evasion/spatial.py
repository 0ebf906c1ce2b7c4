"""The probe evasion.spatial: robust accuracy when an image may be turned and moved a little."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from auditor.errors import ConfigError
from auditor.probe import Case, Metric, Outcome, Probe, Setting, ThreatModel
from auditor.recipe import Fit

from .ball import ANY, GOAL, REFERENCES, goal_index

PADDINGS = ("zeros", "border")


@dataclass(frozen=True, kw_only=True)
class Spatial(Probe):
    """How many images are still classified rightly however they are turned and moved a little?

    Engstrom et al. 2019: each image is turned by up to `rotation` degrees, then moved by up to `translation` of its
    side down and right, at every point of a grid of `angles` by `shifts` by `shifts`, in random order, until it breaks.
    Robust accuracy at `level` is the share of rows (misclassified clean rows count as broken) that withstood the whole
    grid with the limits multiplied by that level; what breaks at a small level stays broken at a larger one. Exact for
    the grid, and so an upper bound of the accuracy over all angles and shifts within the limits. `random_accuracy` is
    the mean over rows of the share of `draws` random changes, even within the limits, that are answered rightly.

    Pixels in between are bilinear; what comes from outside the image is the low end of the range, or with `padding:
    border` the nearest pixel. It needs labels only. Ties and outputs that are not numbers count as broken. With a
    `goal`, the name of a class, only rows of other classes are attacked, only that class is a success, and the share
    that withstood is called targeted_robust_accuracy. Raises ConfigError for limits, levels or counts out of range.
    """

    id: ClassVar[str] = "evasion.spatial"
    title: ClassVar[str] = "Evasion, rotations and translations"
    family: ClassVar[str] = "evasion"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("clean_accuracy", "Accuracy on the attacked rows, before the attack", "higher"),
        Metric("random_accuracy", "Accuracy under random rotations and translations", "higher"),
        Metric(
            "robust_accuracy",
            "Accuracy under the worst rotation and translation",
            "higher",
            kind="upper-bound",
            at=("level",),
            headline=True,
        ),
        Metric(
            "targeted_robust_accuracy",
            "Share of rows of other classes that are not made into the goal class",
            "higher",
            kind="upper-bound",
            at=("level",),
        ),
    )
    threat: ClassVar[ThreatModel | None] = ThreatModel(
        goal=GOAL,
        knowledge="the answers to as many changed images as the grid has points",
        capability="turn an image by at most `rotation` degrees and move it by at most `translation` of its side",
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Angles and shifts between those of the grid.",
        "Scale, shear, perspective, bending, and rotations together with noise.",
        "Images whose class a rotation changes, such as 6 and 9: choose the limits so that a person still agrees.",
        "Interpolation blurs and black corners are part of the change: `padding: border` tells how much these matter.",
    )
    references: ClassVar[Mapping[str, tuple[str, ...]]] = REFERENCES

    rotation: float = 30.0
    translation: float = 0.1
    levels: tuple[float, ...] = (0.5, 1.0)
    angles: int = 31
    shifts: int = 5
    draws: int = 10
    padding: str = "zeros"
    goal: str = ANY
    samples: int = 256
    batch_size: int = 512

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(sorted({float(level) for level in self.levels})))
        object.__setattr__(self, "goal", str(self.goal))  # classes may be named by numbers
        if not self.levels or not all(0 < level <= 1 for level in self.levels):
            raise ConfigError(
                f"{self.id}: levels {list(self.levels)}: give shares of the limits, above 0 and at most 1"
            )
        if not (isfinite(self.rotation) and 0 <= self.rotation <= 180):
            raise ConfigError(f"{self.id}: rotation {self.rotation} is outside [0, 180] degrees")
        if not 0 <= self.translation <= 1:
            raise ConfigError(
                f"{self.id}: translation {self.translation} is outside [0, 1]: a share of the image's side"
            )
        if not (self.rotation or self.translation):
            raise ConfigError(f"{self.id}: rotation and translation are both 0: nothing would change")
        if self.padding not in PADDINGS:
            raise ConfigError(f"{self.id}: padding {self.padding!r} is none; write {' or '.join(PADDINGS)}")
        for name in ("angles", "shifts", "draws", "samples", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{self.id}: {name} is {getattr(self, name)}; it must be at least 1")

    def aim(self, classes: tuple[str, ...]) -> int | None:
        """The index of the goal among these classes; None where any wrong answer will do. Raises ConfigError."""
        return goal_index(self.id, self.goal, classes)

    def fits(self, setting: Setting) -> dict[str, Fit]:
        """No trainings. Raises ConfigError where these data have no such goal, before anything runs."""
        self.aim(setting.data.classes)
        return {}

    def unasked(self, setting: Setting) -> str | None:
        """Rows that are no images cannot be turned."""
        if len(setting.data.shape) == 3:
            return None
        return f"needs images; the rows of this data have the shape {setting.data.shape}"

    def run(self, case: Case) -> Outcome:
        """Turn and move every row until it breaks, and judge it on what the subject then answers."""
        from .spatial_search import investigate

        return investigate(case, self)
