"""A fitted scikit-learn classifier as a subject: its own answers, in the data's columns."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from auditor.datasets import from_arrays
from auditor.errors import ModelError
from auditor.subject import Access, predicted_labels, probabilities
from auditor.subjects import wrap
from auditor.subjects.sklearn_subject import SklearnSubject

RNG = np.random.default_rng(0)
Y = np.arange(90) % 3
X = (np.eye(3)[Y] + 0.3 * RNG.normal(size=(90, 3))).astype(np.float32)
BINARY = (Y > 0).astype(int)


def three(estimator, y=Y):
    return SklearnSubject(estimator.fit(X, y), classes=3, shape=(3,))


def test_probabilities_are_the_estimators_own():
    forest = RandomForestClassifier(5, random_state=0).fit(X, Y)
    subject = SklearnSubject(forest, classes=3, shape=(3,))
    assert subject.outputs == "probabilities"
    assert subject.access == {Access.LABELS, Access.PROBABILITIES}
    np.testing.assert_allclose(subject.predict(X), forest.predict_proba(X), rtol=1e-6)


def test_pipelines_and_images_work():
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    subject = SklearnSubject(model, classes=3, shape=(1, 3, 1))
    np.testing.assert_allclose(subject.predict(X.reshape(-1, 1, 3, 1)), model.predict_proba(X), rtol=1e-5)


def test_a_binary_decision_becomes_logits_whose_softmax_is_its_logistic_function():
    model = LogisticRegression().fit(X, BINARY)
    expected = model.predict_proba(X)
    decision = SklearnSubject(_Decision(model), classes=2, shape=(3,))
    assert decision.outputs == "logits"
    np.testing.assert_allclose(probabilities(decision.predict(X), "logits"), expected, atol=1e-6)


class _Decision:
    """A classifier that shows no probabilities."""

    def __init__(self, model):
        self.classes_ = model.classes_
        self.decision_function = model.decision_function
        self.predict = model.predict


@pytest.mark.parametrize("estimator", [LinearSVC(), SVC(), RidgeClassifier()])
@pytest.mark.parametrize("y", [Y, BINARY])
def test_decisions_name_the_class_that_predict_names(estimator, y):
    subject = SklearnSubject(estimator.fit(X, y), classes=int(y.max()) + 1, shape=(3,))
    assert subject.outputs == "logits"
    np.testing.assert_array_equal(predicted_labels(subject.predict(X)), estimator.predict(X))


def test_an_estimator_with_labels_alone_gives_one_hot_rows():
    voting = VotingClassifier([("near", KNeighborsClassifier(1))], voting="hard")
    subject = three(voting)
    assert subject.outputs == "labels"
    assert subject.access == {Access.LABELS}
    np.testing.assert_array_equal(subject.predict(X), np.eye(3)[Y])


def test_a_class_never_seen_gets_probability_zero():
    partial = np.where(Y == 1, 2, Y)
    subject = three(LogisticRegression(), partial)
    out = subject.predict(X)
    assert out[:, 1].tolist() == [0.0] * 90
    np.testing.assert_allclose(out[:, [0, 2]], subject.estimator.predict_proba(X), rtol=1e-5)


def test_a_class_never_seen_is_far_below_the_other_logits():
    out = three(LinearSVC(), np.where(Y == 1, 2, Y)).predict(X)
    np.testing.assert_allclose(out[:, 1], out[:, [0, 2]].min(axis=1) - 50, rtol=1e-5)


def test_class_names_are_looked_up():
    names = ("ape", "bee", "cat")
    model = LogisticRegression().fit(X, np.array(["cat", "ape", "bee"])[Y])
    subject = SklearnSubject(model, classes=3, shape=(3,), names=names)
    np.testing.assert_allclose(subject.predict(X), model.predict_proba(X), rtol=1e-5)  # both are sorted
    with pytest.raises(ModelError, match="knows the class 'ape', which the data has not; train it on labels 0 to 2"):
        SklearnSubject(model, classes=3, shape=(3,))


def test_no_rows_give_no_answers():
    assert three(LogisticRegression()).predict(X[:0]).shape == (0, 3)


def test_column_names_of_the_training_raise_no_warning():
    model = LogisticRegression().fit(X, Y)
    model.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
    assert SklearnSubject(model, classes=3, shape=(3,)).predict(X).shape == (90, 3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LinearRegression().fit(X, Y), "LinearRegression is no classifier"),
        (lambda: LogisticRegression(), "LogisticRegression is not fitted; call fit"),
        (lambda: make_pipeline(StandardScaler(), LogisticRegression()), "Pipeline is not fitted"),
        (lambda: LogisticRegression().fit(X[:, :2], Y), r"fitted on 2 features; the data has 3 \(rows of"),
        (lambda: LogisticRegression().fit(X, Y + 1), "knows the class 3, which the data has not"),
        (lambda: RandomForestClassifier(2).fit(X, np.stack([Y, Y], 1)), "has no single classes_"),
    ],
)
def test_an_estimator_that_cannot_be_audited_is_named(make, said):
    with pytest.raises(ModelError, match=said):
        SklearnSubject(make(), classes=3, shape=(3,))


def test_pairwise_decisions_are_refused_with_what_to_do():
    y = np.arange(90) % 4
    subject = SklearnSubject(SVC(decision_function_shape="ovo").fit(X, y), classes=4, shape=(3,))
    with pytest.raises(ModelError, match=r"shape \(90, 6\); expected \(90, 4\); set decision_function_shape"):
        subject.predict(X)


def test_wrapping_knows_an_estimator():
    data = from_arrays({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y})
    subject = wrap(LogisticRegression().fit(X, Y), data)
    assert (predicted_labels(subject.predict(data.x_test)) == Y).mean() > 0.9
