"""The probe evasion.learning_rates: what robust accuracy comes to under the other rates that could have been taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from auditor.errors import ConfigError
from auditor.probe import Case, Metric, Outcome, Probe, Setting, ThreatModel
from auditor.recipe import Fit, Recipe, Tuned
from auditor.subject import Access
from auditor.training.search import spaced

from .linf import Linf

AROUND = 5  # rates, where the recipe names one and no grid
CHOSEN = "rate chosen"  # the training at the rate that the search found


@dataclass(frozen=True, kw_only=True)
class LearningRates(Probe):
    """How sturdy would the model be if another learning rate had been chosen that is as accurate?

    One training a rate, with the subject's seed: those of its search, with the one that it chose, which may lie beyond
    the grid; or five around a rate that is given; or `rates`.
    A rate is good where its accuracy on the test rows is within `margin` of the best. `good_share` is the share of
    good rates, `spread` the range of robust accuracy over them, and `worst_robust_accuracy` the least: what one may
    get by tuning on accuracy alone. Robust accuracy is that of `evasion.linf` on the same rows, an upper bound; what
    its self-tests doubt at a rate that is not good does not count against the result. A rate that diverges is not
    good. The interval of `good_share` is that of rates drawn at random from those that could be tried. A wide spread
    means that a comparison of optimizers at one rate each says little. After the sensitivity curves of Schneider et
    al., DeepOBS, ICLR 2019.
    """

    id: ClassVar[str] = "evasion.learning_rates"
    title: ClassVar[str] = "Sensitivity to the learning rate"
    family: ClassVar[str] = "evasion"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.RECIPE})
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "Accuracy by learning rate", "higher", at=("learning_rate",)),
        Metric(
            "robust_accuracy",
            "Robust accuracy by learning rate",
            "higher",
            kind="upper-bound",
            at=("learning_rate", "epsilon"),
        ),
        Metric(
            "worst_robust_accuracy",
            "Least robust accuracy among rates of good accuracy",
            "higher",
            kind="upper-bound",
            at=("epsilon",),
            headline=True,
        ),
        Metric("spread", "Range of robust accuracy among them", "lower", unit="difference", at=("epsilon",)),
        Metric("good_share", "Share of the rates tried with good accuracy", "higher"),
    )
    threat: ClassVar[ThreatModel | None] = ThreatModel(
        goal="make the classifier give any wrong answer for an input it classified rightly",
        knowledge="everything that the model trained at each rate gives access to",
        capability="move every feature of an input by at most epsilon of its range, inside the domain",
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Rates between and beyond those tried; another grid gives another share and another spread.",
        "Everything that `evasion.linf` does not see either.",
        "The least of several numbers is pulled down by their noise: few rows make the spread look wide.",
    )
    references: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "nist-ai-rmf": ("MEASURE 2.7", "MEASURE 2.5"),
        "nist-aml": ("NISTAML.022",),
    }

    rates: tuple[float, ...] = ()
    epsilons: tuple[float | str, ...] = ("8/255",)
    samples: int = 256
    margin: float = 0.01
    steps: int = 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(self.rates))
        object.__setattr__(self, "epsilons", tuple(self.epsilons))
        if bad := [rate for rate in self.rates if not 0 < rate < float("inf")]:
            raise ConfigError(f"{self.id}: the rate {bad[0]} must be a number above 0")
        if not 0 <= self.margin < 1:
            raise ConfigError(f"{self.id}: margin is {self.margin}; it is a share of accuracy, from 0 to below 1")
        if self.steps < 1:
            raise ConfigError(f"{self.id}: steps is {self.steps}; it must be at least 1")
        _ = self.attack

    @property
    def attack(self) -> Linf:
        """The attack on the model of each rate."""
        return Linf(
            epsilons=self.epsilons,
            samples=self.samples,
            cull_steps=self.steps,
            targets=1,
            target_steps=self.steps,
            queries=0,
            blind_queries=10 * self.steps,
        )

    def tried(self, recipe: Recipe | None) -> tuple[float, ...]:
        """The rates; none for a user's own training, which chooses its own, and for a solver that has none."""
        if recipe is None or recipe.function is not None or (recipe.estimator and recipe.learning_rate is None):
            return ()
        if self.rates:
            return tuple(sorted(set(self.rates)))
        rate = recipe.learning_rate
        if isinstance(rate, Tuned):
            return rate.grid
        return spaced((rate,), AROUND) if isinstance(rate, float) else ()

    def unasked(self, setting: Setting) -> str | None:
        """A training has no other rates where it has none, or chooses its own."""
        tried = setting.recipe is None or self.tried(setting.recipe)
        return None if tried else "this training has no learning rate, or chooses its own, so no other can be tried"

    def fits(self, setting: Setting) -> dict[str, Fit]:
        """One training a rate."""
        recipe = setting.recipe
        made = {_fit(r): recipe.model_copy(update={"learning_rate": r}) for r in self.tried(recipe) if recipe}
        if recipe is not None and made and self._searched(recipe):
            made[CHOSEN] = recipe
        return {name: Fit(recipe=recipe) for name, recipe in made.items()}

    def _searched(self, recipe: Recipe) -> bool:
        """Whether the rates are those of a search, which may have gone beyond its grid."""
        return not self.rates and isinstance(recipe.learning_rate, Tuned)

    def run(self, case: Case) -> Outcome:
        """Attack the model of every rate on the same rows."""
        from .sensitivity import compare

        fits = {rate: _fit(rate) for rate in self.tried(case.recipe)}
        if case.recipe is not None and case.rate is not None and self._searched(case.recipe):
            chosen = case.rate(CHOSEN)
            fits = {chosen: CHOSEN, **fits} if chosen is not None else fits
        return compare(case, self, dict(sorted(fits.items())))


def _fit(rate: float) -> str:
    return f"rate {rate:.6g}"
