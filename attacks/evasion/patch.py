"""The probe evasion.patch: accuracy when a small square of each image may show anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from auditor.errors import ConfigError
from auditor.probe import Case, Metric, Outcome, Probe, Setting, ThreatModel
from auditor.subject import Access

from .ball import REFERENCES


@dataclass(frozen=True, kw_only=True)
class Patch(Probe):
    """How many images are still classified rightly when a small square of them may show anything?

    `sizes` are sides of the square as shares of the image's shorter side. For each image, the squares over which the
    gradient is largest are tried, `places` of them; the pixels inside become whatever APGD on the margin (Croce and
    Hein 2020) makes of them in `steps` steps, within the range; where a model leaves torch, a random search does. The
    patch is made for the image (Karmon et al. 2018), so it is stronger than one that is printed once and fools many
    (Brown et al. 2017). Patch accuracy at `size` is the share of rows (misclassified clean rows count as broken) that
    stand: an upper bound. What breaks under a small patch stays broken, for a larger one can contain it. Raises
    ConfigError for sizes that are no shares.
    """

    id: ClassVar[str] = "evasion.patch"
    title: ClassVar[str] = "Evasion, visible patch"
    family: ClassVar[str] = "evasion"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.GRADIENTS})
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("clean_accuracy", "Accuracy on the attacked rows, before the attack", "higher"),
        Metric("patch_accuracy", "Accuracy under a patch", "higher", kind="upper-bound", at=("size",), headline=True),
    )
    threat: ClassVar[ThreatModel | None] = ThreatModel(
        goal="make the classifier give any wrong answer for an image it classified rightly",
        knowledge="gradients",
        capability="put anything into one square of an image, of the given share of its side, anywhere",
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Squares that were not tried, other shapes, and several patches at once.",
        "One patch for all images, and whether it survives printing, light and angle.",
        "Whether the patch hides what makes the image of its class: compare with `size` and look at the gallery.",
    )
    references: ClassVar[Mapping[str, tuple[str, ...]]] = REFERENCES

    sizes: tuple[float, ...] = (0.15, 0.3)
    places: int = 3
    steps: int = 40
    self_test: bool = True
    samples: int = 256
    batch_size: int = 512

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(sorted({float(size) for size in self.sizes})))
        if not self.sizes or not all(0 < size <= 1 for size in self.sizes):
            raise ConfigError(f"{self.id}: sizes {list(self.sizes)}: give shares of the side, above 0 and at most 1")
        for name in ("places", "steps", "samples", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{self.id}: {name} is {getattr(self, name)}; it must be at least 1")

    def unasked(self, setting: Setting) -> str | None:
        """A patch needs an image to lie on."""
        if len(setting.data.shape) == 3:
            return None
        return f"needs images; the rows of this data have the shape {setting.data.shape}"

    def run(self, case: Case) -> Outcome:
        """Cover the most telling squares of every row until it breaks, and judge what the subject then answers."""
        from .patch_search import investigate

        return investigate(case, self)
