"""The accuracy probe against hand computations and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from auditor.checks.accuracy import balanced_contributions, f1_contributions


def values(outcome, metric):
    return {m.at.get("class", ""): m for m in outcome.measurements if m.metric == metric}


def flags(outcome):
    return {c.flag: c.severity for c in outcome.caveats}


def random_answers(rows=400, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.choice(classes, rows, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    answers = rng.normal(size=(rows, classes)) + 2 * np.eye(classes)[label]
    return answers, label


def test_every_average_equals_that_of_scikit_learn(accuracy):
    answers, label = random_answers()
    predicted = answers.argmax(1)
    found = accuracy(answers, label)
    assert values(found, "accuracy")[""].value == pytest.approx(accuracy_score(label, predicted), abs=1e-12)
    balanced = balanced_accuracy_score(label, predicted)
    assert values(found, "balanced_accuracy")[""].value == pytest.approx(balanced, abs=1e-12)
    macro = f1_score(label, predicted, average="macro")
    assert values(found, "macro_f1")[""].value == pytest.approx(macro, abs=1e-12)
    for k in range(5):
        one = values(found, "class_accuracy")[f"class {k}"]
        assert one.value == pytest.approx((predicted == label)[label == k].mean(), abs=1e-12)
        assert one.n == (label == k).sum()


def test_every_value_is_the_mean_of_its_column(accuracy):
    answers, label = random_answers(seed=1)
    found = accuracy(answers, label)
    for measured in found.measurements:
        array, index = measured.column.split(":")
        column = found.samples.columns[array][:, int(index)].astype(float)
        assert np.nanmean(column) == pytest.approx(measured.value, abs=1e-12)
        assert (~np.isnan(column)).sum() == measured.n


def test_nine_right_of_ten_has_the_exact_interval_of_clopper_and_pearson(accuracy):
    label = np.arange(10) % 2
    answers = np.eye(2)[label]
    answers[3] = answers[3][::-1]
    found = values(accuracy(answers, label), "accuracy")[""]
    assert found.value == 0.9
    assert (found.low, found.high) == (pytest.approx(0.554984, abs=1e-6), pytest.approx(0.997471, abs=1e-6))


@pytest.mark.parametrize("contributions", ["balanced", "f1"])
def test_the_spread_of_the_contributions_is_the_standard_error_that_resampling_gives(contributions):
    answers, label = random_answers(rows=600, seed=2)
    predicted, rng = answers.argmax(1), np.random.default_rng(0)
    if contributions == "balanced":
        parts = balanced_contributions(label, predicted == label)

        def score(rows):
            return balanced_accuracy_score(label[rows], predicted[rows])
    else:
        parts = f1_contributions(label, predicted, 5)

        def score(rows):
            return f1_score(label[rows], predicted[rows], average="macro")

    resampled = [score(rng.integers(0, 600, 600)) for _ in range(400)]
    assert parts.std(ddof=1) / np.sqrt(600) == pytest.approx(np.std(resampled), rel=0.15)


def test_a_class_never_present_and_never_predicted_is_left_out_as_in_scikit_learn(accuracy):
    label = np.array([0, 0, 1, 1, 1, 0])
    answers = np.eye(4)[[0, 1, 1, 1, 2, 0]]
    found = accuracy(answers, label)
    macro = f1_score(label, answers.argmax(1), average="macro", zero_division=0)
    assert values(found, "macro_f1")[""].value == pytest.approx(macro, abs=1e-12)
    assert set(values(found, "class_accuracy")) == {"class 0", "class 1"}
    assert "class 2, class 3" in next(c.evidence for c in found.caveats if c.flag == "missing_class")


def test_a_subject_that_always_answers_the_largest_class_is_at_chance(accuracy):
    label = np.array([0] * 70 + [1] * 30)
    found = accuracy(np.tile([1.0, 0.0], (100, 1)), label)
    assert values(found, "accuracy")[""].value == 0.7
    assert values(found, "balanced_accuracy")[""].value == 0.5
    assert flags(found) == {"chance_level": "suspicious"}


def test_a_good_subject_is_not_doubted(accuracy):
    assert flags(accuracy(*random_answers())) == {}


def test_answers_that_are_not_numbers_are_wrong_and_said_to_be(accuracy):
    answers, label = np.eye(2)[np.arange(40) % 2], np.arange(40) % 2
    answers[:10] = np.nan
    found = accuracy(answers, label)
    assert values(found, "accuracy")[""].value == 0.75
    assert (found.samples.prediction[:10] == -1).all()
    assert flags(found) == {"non_finite": "suspicious"}


def test_the_confusion_matrix_is_in_the_samples(accuracy):
    answers, label = random_answers(seed=3)
    samples = accuracy(answers, label).samples
    matrix = np.zeros((5, 5), int)
    np.add.at(matrix, (samples.label, samples.prediction), 1)
    expected = [[int(((label == a) & (answers.argmax(1) == b)).sum()) for b in range(5)] for a in range(5)]
    assert matrix.tolist() == expected


def test_the_interval_of_an_average_of_shares_stays_within_them(accuracy):
    label = np.arange(60) % 3
    answers = np.eye(3)[label]
    answers[0] = answers[0][::-1]
    found = accuracy(answers, label)
    for metric in ("balanced_accuracy", "macro_f1"):
        one = values(found, metric)[""]
        assert 0.9 < one.low < one.value < one.high == 1.0
