"""The probe `poisoning.label_flips`: retraining with a share of wrong labels."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from auditor.attacks.retraining import clean_fit, clean_model, likeness
from auditor.blocks import gather
from auditor.probe import Case, Metric, Outcome, Probe, Samples, Setting, ThreatModel
from auditor.recipe import Change, Fit
from auditor.record import Caveat, Measurement
from auditor.seeds import Seeds
from auditor.statistics import paired_drop
from auditor.subject import Access, Subject, predicted_labels

from .doses import doses
from .flips import Flips, choose

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class LabelFlips(Probe):
    """How much accuracy does this training lose when a share of its training labels is wrong?

    The subject's recipe is trained again once a dose, on the same rows, start and order, with round(rate N)
    labels replaced by a wrong class drawn uniformly; a smaller dose is part of every larger one. `accuracy`
    is the poisoned model's on all test rows (exact Clopper-Pearson interval), `accuracy_drop` the clean
    model's minus the poisoned model's on the same rows (Bonett-Price interval), `memorised` the share of flipped
    training rows on which the poisoned model repeats the planted label. Random flips are the weakest
    attacker: accuracy under chosen flips can be lower. After Biggio, Nelson & Laskov 2011, "Support vector
    machines under adversarial label noise".

    Raises:
        ConfigError: rates that are not between 0 and 1 and ascending.
    """

    id: ClassVar[str] = "poisoning.label_flips"
    title: ClassVar[str] = "Label-flip poisoning"
    family: ClassVar[str] = "poisoning"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.LABELS, Access.RECIPE})
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "Accuracy after poisoning", "higher", "upper-bound", at=("rate",)),
        Metric(
            "accuracy_drop",
            "Accuracy lost to poisoning",
            "lower",
            "lower-bound",
            unit="difference",
            at=("rate",),
            headline=True,
        ),
        Metric("memorised", "Planted labels learned by heart", "lower", "estimate", at=("rate",)),
    )
    threat: ClassVar[ThreatModel | None] = ThreatModel(
        goal="availability: a model that is wrong more often",
        knowledge="none of the model or its training",
        capability="change the labels of a share of the training rows, not their inputs",
    )
    blind_spots: ClassVar[tuple[str, ...]] = (
        "Labels chosen by an attacker who knows the model hurt more than random ones.",
        "Inputs are not touched: clean-label and targeted poisoning are not covered.",
        "Of a loaded model it says how its stated recipe fails; whether that made the model, nobody can check.",
        "With a tuned learning rate the rate is tuned on clean labels.",
    )
    references: ClassVar[dict[str, tuple[str, ...]]] = {
        "nist-ai-rmf": ("MEASURE 2.7",),
        "nist-aml": ("NISTAML.013",),
        "atlas": ("AML.T0020", "AML.T0059"),
        "owasp-ml": ("ML02",),
        "eu-ai-act": ("15(5)",),
    }

    rates: tuple[float, ...] = (0.05, 0.1, 0.2)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", doses(self.id, self.rates))

    def fits(self, setting: Setting) -> dict[str, Fit]:
        """One training a dose, and the clean one."""
        if setting.recipe is None:
            return {}
        poisoned = {_fit(rate): Fit(recipe=setting.recipe, change=_change(rate)) for rate in self.rates}
        return {**clean_fit(setting), **poisoned}

    def run(self, case: Case) -> Outcome:
        """Compare every poisoned model with the clean one on the test rows."""
        data = case.data
        before = predicted_labels(clean_model(case).predict(data.x_test))
        clean = before == data.y_test
        models = [case.model(_fit(rate)) for rate in self.rates]
        after = [predicted_labels(model.predict(data.x_test)) for model in models]
        correct = np.stack(after, axis=1) == data.y_test[:, None]
        measured: list[Measurement] = []
        caveats = likeness(case, predicted_labels(case.subject.predict(data.x_test)), before)
        for j, (rate, model) in enumerate(zip(self.rates, models, strict=True)):
            flips = _flips(case, rate)
            measured += _effects(case, rate, j, clean, correct[:, j])
            measured += _memorised(case, model, rate, flips)
            caveats += _caveats(case, rate, flips, correct[:, j])
        columns = {"correct": correct, "contribution": clean[:, None].astype(float) - correct}
        samples = Samples(row=data.test_rows, label=data.y_test, prediction=before, columns=columns)
        return Outcome(tuple(measured), samples=samples, caveats=tuple(caveats))


def _fit(rate: float) -> str:
    return f"flipped-{rate}"


def _change(rate: float) -> Change:
    return Change(function="auditor.attacks.poisoning.flips:flip_labels", parameters={"rate": rate})


def _flips(case: Case, rate: float) -> Flips:
    """The flips of this dose's fit, drawn again: a change depends on nothing but its arguments."""
    assert case.recipe is not None, "the engine runs this probe only where there is a recipe"
    rng = Seeds(case.seeds.root, case.recipe.seed).numpy("craft")
    return choose(case.data.y_train, rate, len(case.data.classes), rng)


def _effects(case: Case, rate: float, j: int, clean: Flags, correct: Flags) -> list[Measurement]:
    drop = paired_drop(clean, correct, case.confidence)
    at = {"rate": rate}
    return [
        case.proportion("accuracy", correct, column=f"correct:{j}", at=at),
        case.number(
            "accuracy_drop", drop.value, drop.low, drop.high, n=len(correct), column=f"contribution:{j}", at=at
        ),
    ]


def _memorised(case: Case, model: Subject, rate: float, flips: Flips) -> list[Measurement]:
    if not len(flips.rows):
        return []
    repeated = predicted_labels(model.predict(gather(case.data.x_train, flips.rows))) == flips.labels
    return [case.proportion("memorised", repeated, column=None, at={"rate": rate})]


def _caveats(case: Case, rate: float, flips: Flips, correct: Flags) -> list[Caveat]:
    found = []
    lies = int((flips.labels != case.data.y_train[flips.rows]).sum())
    if lies == 0 or lies != len(flips.rows):
        evidence = f"a rate of {rate:g} changed {lies} of {len(case.data.y_train)} labels: this dose poisons nothing"
        found.append(Caveat(flag="dose_without_effect", severity="invalid", evidence=evidence))
    majority = np.bincount(case.data.y_test).max() / len(case.data.y_test)
    if rate < 0.5 and correct.mean() <= majority:
        evidence = (
            f"at a rate of {rate:g} accuracy is {correct.mean():.3f}, no better than always naming the "
            f"commonest class ({majority:.3f}): the training may have failed for another reason"
        )
        found.append(Caveat(flag="training_at_chance", severity="suspicious", evidence=evidence))
    return found
