"""Label flips: the right number of lies, a trainer that swallows them, one that does not, and exact cases."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from auditor.attacks.poisoning.flips import choose, flip_labels
from auditor.attacks.poisoning.label_flips import LabelFlips
from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError
from auditor.probe import Case, Setting
from auditor.recipe import Change, Recipe
from auditor.seeds import Seeds
from auditor.subjects import wrap
from auditor.training.changes import ChangeContext
from auditor.training.loop import fit, parts

RECIPE = Recipe(architecture="mlp", optimizer="adamw", learning_rate=0.01, epochs=30)
SEEDS = Seeds(3)


def blobs(rows: int = 200, classes: int = 2, spread: float = 0.05, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    y = np.arange(2 * rows) % classes
    centres = np.stack([np.eye(classes)[k] for k in range(classes)]) * 0.6 + 0.2
    x = np.clip(centres[y] + rng.normal(0, spread, (2 * rows, classes)), 0, 1).astype(np.float32)
    return Dataset(
        id="blobs",
        x_train=x[:rows],
        y_train=y[:rows],
        x_test=x[rows:],
        y_test=y[rows:],
        classes=tuple("abcdefgh"[:classes]),
        domain=Domain.unit((classes,)),
    )


def audited(probe, data, estimator):
    """The probe on an estimator, retrained by scikit-learn on what the change leaves of the training rows."""
    fits = probe.fits(Setting(data.facts(), RECIPE))

    def trained(name=None):
        rows = parts(fits[name], data, SEEDS) if name else None
        x, y = (rows.x, rows.y) if rows else (data.x_train, data.y_train)
        return wrap(estimator().fit(x.reshape(len(x), -1), y), data)

    return probe.run(Case(probe, "s", trained(), data, SEEDS, RECIPE, trained))


def values(outcome, metric):
    return [m.value for m in outcome.measurements if m.metric == metric]


def test_exactly_the_declared_number_of_labels_becomes_wrong():
    y = np.arange(1000) % 7
    for rate, count in ((0.05, 50), (0.0012, 1), (0.4, 400)):
        flips = choose(y, rate, 7, np.random.default_rng(1))
        assert len(flips.rows) == len(set(flips.rows.tolist())) == count
        assert (flips.labels != y[flips.rows]).all()
        assert flips.labels.min() >= 0
        assert flips.labels.max() <= 6


def test_a_smaller_dose_is_part_of_a_larger_one():
    y = np.arange(500) % 10
    small, large = (choose(y, rate, 10, np.random.default_rng(5)) for rate in (0.05, 0.2))
    told = dict(zip(large.rows.tolist(), large.labels.tolist(), strict=True))
    assert [told[row] for row in small.rows.tolist()] == small.labels.tolist()


def test_every_wrong_class_is_equally_likely():
    y = np.full(30_000, 2)
    labels = choose(y, 0.9, 4, np.random.default_rng(0)).labels
    counts = np.bincount(labels, minlength=4)
    assert counts[2] == 0
    assert abs(counts[[0, 1, 3]] - 9000).max() < 4 * np.sqrt(27_000 * 2 / 9)


def test_the_change_leaves_inputs_and_the_given_labels_alone():
    data = blobs()
    context = ChangeContext(np.random.default_rng(0), data.domain, 2, data.shape)
    x, y = flip_labels(data.x_train, data.y_train, context, rate=0.1)
    assert x is data.x_train
    assert (y != data.y_train).sum() == 20
    assert np.bincount(data.y_train).tolist() == [100, 100]


def test_one_fit_a_dose_with_a_clean_one_and_none_without_a_recipe():
    facts = blobs().facts()
    fits = LabelFlips(rates=(0.1, 0.3)).fits(Setting(facts, RECIPE))
    flip = "auditor.attacks.poisoning.flips:flip_labels"
    changes = [None, *(Change(function=flip, parameters={"rate": r}) for r in (0.1, 0.3))]
    assert [f.change for f in fits.values()] == changes
    assert [f.recipe for f in fits.values()] == [RECIPE, RECIPE, RECIPE]
    assert LabelFlips().fits(Setting(facts, None)) == {}


def test_a_nearest_neighbour_loses_exactly_the_dose_and_repeats_every_lie():
    """Tested on its own training rows, one neighbour answers what it was told: accuracy is 1 - rate."""
    data = blobs()
    same = Dataset(
        id="same",
        x_train=data.x_train,
        y_train=data.y_train,
        x_test=data.x_train.copy(),
        y_test=data.y_train.copy(),
        classes=data.classes,
        domain=data.domain,
    )
    outcome = audited(LabelFlips(), same, lambda: KNeighborsClassifier(1))
    assert values(outcome, "accuracy") == [0.95, 0.9, 0.8]
    assert values(outcome, "accuracy_drop") == pytest.approx([0.05, 0.1, 0.2], abs=1e-12)
    assert values(outcome, "memorised") == [1.0, 1.0, 1.0]
    assert [m.n for m in outcome.measurements if m.metric == "memorised"] == [10, 20, 40]
    assert all(m.low > 0 for m in outcome.measurements if m.metric == "accuracy_drop")


def test_class_centres_are_not_accused():
    outcome = audited(LabelFlips(), blobs(), NearestCentroid)
    assert values(outcome, "accuracy") == [1.0, 1.0, 1.0]
    assert values(outcome, "accuracy_drop") == [0.0, 0.0, 0.0]
    assert values(outcome, "memorised") == [0.0, 0.0, 0.0]
    assert outcome.caveats == ()
    # 200 of 200 right: the exact lower bound is 0.025 ** (1 / 200).
    assert outcome.measurements[0].low == pytest.approx(0.025 ** (1 / 200), abs=1e-9)


def test_the_mean_of_each_column_is_its_value():
    outcome = audited(LabelFlips(), blobs(classes=4, spread=0.2), lambda: KNeighborsClassifier(1))
    for m in outcome.measurements:
        if m.column is not None:
            array, index = m.column.split(":")
            column = outcome.samples.columns[array][:, int(index)].astype(float)
            assert np.nanmean(column) == pytest.approx(m.value, abs=1e-12)
    assert values(outcome, "accuracy_drop")[2] > 0.05


def test_the_lies_drawn_again_are_those_the_fit_was_trained_on():
    """A wide net trained long repeats the planted labels; other rows than the planted ones it would not."""
    data = blobs(rows=60, classes=3, spread=0.1)
    recipe = RECIPE.model_copy(update={"seed": 4, "epochs": 250, "kwargs": {"hidden": (256,)}})
    seeds = Seeds(3, 4)
    probe = LabelFlips(rates=(0.2,))
    fits = probe.fits(Setting(data.facts(), recipe))
    models = {name: wrap(fit(f, data, seeds=seeds, learning_rate=0.01).trained, data) for name, f in fits.items()}
    outcome = probe.run(Case(probe, "s", models["clean"], data, seeds, recipe, models.__getitem__))
    assert values(outcome, "memorised")[0] > 0.7
    assert values(outcome, "accuracy_drop")[0] > 0.05


def test_a_dose_that_changes_no_label_is_invalid():
    outcome = audited(LabelFlips(rates=(0.001, 0.1)), blobs(), NearestCentroid)
    assert [(c.flag, c.severity) for c in outcome.caveats] == [("dose_without_effect", "invalid")]
    assert [m.at["rate"] for m in outcome.measurements if m.metric == "memorised"] == [0.1]


def test_a_training_that_names_one_class_is_suspicious():
    outcome = audited(LabelFlips(rates=(0.1,)), blobs(), lambda: DummyClassifier(strategy="most_frequent"))
    assert [(c.flag, c.severity) for c in outcome.caveats] == [("training_at_chance", "suspicious")]


@pytest.mark.parametrize("rates", [(), (0.2, 0.1), (0.1, 0.1), (0.0, 0.1), (0.5, 1.0)])
def test_rates_that_are_no_doses_are_refused(rates):
    with pytest.raises(ConfigError, match=r"poisoning\.label_flips: rates .* between 0 and 1"):
        LabelFlips(rates=rates)
