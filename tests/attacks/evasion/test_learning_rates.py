"""Sensitivity to the learning rate: which rates are tried, which are good, and what the worst of them comes to."""

import functools
from pathlib import Path

import numpy as np
import pytest

from auditor.attacks.evasion.learning_rates import LearningRates
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError, DivergedError, ModelError
from auditor.probe import Case, Outcome, Setting
from auditor.recipe import Recipe, Tuned
from auditor.seeds import Seeds
from auditor.subject import Access
from auditor.subjects.torch_subject import TorchSubject
from auditor.training.loop import fit
from auditor.variants.applying import applied
from auditor.variants.names import variant_of

DATA = load(DataConfig(source="digits", limit={"train": 300, "test": 150}), Path())
RATES = (0.0001, 0.05, 0.2, 1e37)


def recipe(rate: float | Tuned | None = 0.1, **more: object) -> Recipe:
    return Recipe(architecture="mlp", kwargs={"hidden": [16]}, optimizer="sgd", learning_rate=rate, epochs=6, **more)


def subject(rate: float) -> TorchSubject:
    wanted = LearningRates(rates=(rate,)).fits(Setting(DATA.facts(), recipe()))
    fitted = fit(next(iter(wanted.values())), DATA, seeds=Seeds(3), learning_rate=rate)
    if fitted.diverged_at is not None:
        raise DivergedError("diverged")
    return TorchSubject(fitted.trained, classes=10, shape=DATA.shape, extra_access=frozenset({Access.RECIPE}))


@functools.cache
def asked(rates: tuple[float, ...] = RATES, variant: str | None = None) -> Outcome:
    probe = LearningRates(rates=rates, epsilons=(0.05, 0.1), samples=60, steps=5)
    names = {name: fit.recipe.learning_rate for name, fit in probe.fits(Setting(DATA.facts(), recipe())).items()}

    def made(rate: float) -> TorchSubject:
        return subject(rate) if variant is None else applied(subject(rate), variant_of(variant), DATA, 3)

    of_variant = {"variant": variant, "unchanged": lambda: subject(0.1)} if variant else {}
    case = Case(
        probe=probe, of="net/sgd/0", inner=made(0.1), data=DATA, seeds=Seeds(3), recipe=recipe(),
        fitted=lambda name: made(names[name]), **of_variant,
    )  # fmt: skip
    return probe.run(case)


def value(metric: str, **at: float) -> float:
    return next(m.value for m in asked().measurements if m.metric == metric and m.at == at)


def test_the_rates_are_those_of_the_search_or_five_around_the_one_given() -> None:
    grid = Tuned(grid=(0.01, 0.1), epochs=3)
    assert LearningRates().tried(recipe(grid)) == (0.01, 0.1)
    assert LearningRates().tried(recipe(0.1)) == (0.00625, 0.025, 0.1, 0.4, 1.6)
    assert LearningRates(rates=(0.3, 0.1)).tried(recipe(grid)) == (0.1, 0.3)
    assert LearningRates().tried(Recipe(function="train:fit", optimizer="sgd", epochs=3)) == ()
    made = LearningRates().fits(Setting(DATA.facts(), recipe(grid, seed=4)))
    assert [(f.recipe.learning_rate, f.recipe.seed) for f in made.values()] == [(0.01, 4), (0.1, 4), (grid, 4)]


def test_the_rate_that_the_search_chose_is_tried_even_where_it_lies_beyond_the_grid() -> None:
    probe, wanted = LearningRates(epsilons=(0.05,), samples=30, steps=3), recipe(Tuned(grid=(0.01, 0.1), epochs=3))
    names = {name: fit.recipe.learning_rate for name, fit in probe.fits(Setting(DATA.facts(), wanted)).items()}
    found = {name: 0.3 if isinstance(rate, Tuned) else rate for name, rate in names.items()}
    case = Case(
        probe=probe, of="net/sgd/0", inner=subject(0.3), data=DATA, seeds=Seeds(3), recipe=wanted,
        fitted=lambda name: subject(found[name]), rate=lambda name: found[name],
    )  # fmt: skip
    tried = [m.at["learning_rate"] for m in probe.run(case).measurements if m.metric == "accuracy"]
    assert tried == [0.01, 0.1, 0.3]
    found["rate chosen"] = 0.1
    again = [m.at["learning_rate"] for m in probe.run(case).measurements if m.metric == "accuracy"]
    assert again == [0.01, 0.1]


def test_a_rate_that_does_not_learn_or_diverges_is_not_good() -> None:
    assert value("accuracy", learning_rate=0.0001) < 0.5 < value("accuracy", learning_rate=0.05)
    best = max(value("accuracy", learning_rate=r) for r in RATES[:3])
    good = [r for r in RATES[:3] if value("accuracy", learning_rate=r) >= best - 0.01]
    assert value("good_share") == len(good) / 4
    assert 0.0001 not in good
    assert not [m for m in asked().measurements if m.at.get("learning_rate") == 1e37]


@pytest.mark.parametrize("epsilon", [0.05, 0.1])
def test_the_worst_and_the_spread_are_those_of_the_good_rates(epsilon: float) -> None:
    best = max(value("accuracy", learning_rate=r) for r in RATES[:3])
    good = [r for r in RATES[:3] if value("accuracy", learning_rate=r) >= best - 0.01]
    robust = [value("robust_accuracy", learning_rate=r, epsilon=epsilon) for r in good]
    assert value("worst_robust_accuracy", epsilon=epsilon) == min(robust)
    assert value("spread", epsilon=epsilon) == pytest.approx(max(robust) - min(robust))


def test_every_rate_is_attacked_on_the_same_rows_and_its_answers_are_kept() -> None:
    samples = asked().samples
    assert samples is not None
    assert samples.columns["robust"].shape == (60, 6)
    for m in asked().measurements:
        if m.column is not None:
            name, _, index = m.column.partition(":")
            assert np.mean(samples.columns[name][:, int(index)]) == pytest.approx(m.value)


def test_variants_of_other_rates_are_not_attacked_through_the_original_of_the_subject() -> None:
    flags = {c.flag for c in asked((0.05,), "int8").caveats}
    assert not {f for f in flags if f.startswith("original")}


def test_what_cannot_be_tried_is_said() -> None:
    with pytest.raises(ModelError, match="every training diverged"):
        asked((1e37,))
    with pytest.raises(ConfigError, match="must be a number above 0"):
        LearningRates(rates=(0.0,))
    with pytest.raises(ConfigError, match="margin is 2"):
        LearningRates(margin=2.0)
