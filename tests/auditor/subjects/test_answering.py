"""A black box as a subject: asked in batches, and held to what it declared."""

import numpy as np
import pytest

from auditor.errors import ModelError
from auditor.subject import Access, Bare
from auditor.subjects.answering import Answering, BlackBoxSubject
from auditor.subjects.preparation import Preparation

X = np.float32([[1, 0], [0, 2], [3, 1]])


def subject(answer, outputs="logits", classes=2, preparation=None, **more):
    answering = Answering(answer, outputs, name="the box", **more)
    extra = {} if preparation is None else {"preparation": preparation}
    return BlackBoxSubject(answering, classes=classes, shape=(2,), **extra)


@pytest.mark.parametrize(("fixed", "sizes"), [(False, [2, 1]), (True, [2, 2])])
def test_rows_are_asked_in_batches_and_answers_come_back_in_their_order(fixed, sizes):
    asked = []

    def answer(x):
        asked.append(len(x))
        return (x * [2, 3]).astype(np.float64)

    box = subject(answer, batch_size=2, fixed=fixed)
    np.testing.assert_array_equal(box.predict(X), [[2, 0], [0, 6], [6, 3]])
    assert asked == sizes
    assert box.predict(X[:0]).shape == (0, 2)
    assert box.predict(X).dtype == np.float32


def test_a_box_may_write_into_what_it_is_given():
    def answer(x):
        x += 1
        return x

    x = X.copy()
    x.setflags(write=False)
    np.testing.assert_array_equal(subject(answer).predict(x), X + 1)


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.float32])
@pytest.mark.parametrize("column", [False, True])
def test_labels_become_one_hot(kind, column):
    box = subject(lambda x: x.argmax(1).astype(kind)[:, None] if column else x.argmax(1).astype(kind), "labels")
    np.testing.assert_array_equal(box.predict(X), [[1, 0], [0, 1], [1, 0]])
    assert box.access == {Access.LABELS}


@pytest.mark.parametrize("column", [False, True])
def test_the_probability_of_the_second_class_becomes_two_columns(column):
    second = np.array([0.25, 0.5, 1.0])
    box = subject(lambda x: second[:, None] if column else second, "probabilities")
    np.testing.assert_array_equal(box.predict(X), [[0.75, 0.25], [0.5, 0.5], [0, 1]])
    assert box.bare_labels(X).tolist() == [0, 0, 1]


def test_answers_that_are_no_number_stay_so():
    out = subject(lambda x: np.where(x > 2, np.nan, x)).predict(X)
    assert np.isnan(out[2, 0])
    np.testing.assert_array_equal(out[:2], X[:2])


@pytest.mark.parametrize(
    ("answer", "outputs", "said"),
    [
        (lambda x: x[:, 0], "logits", r"with shape \(3,\); expected \(3, 2\): a single logit z becomes two columns"),
        (lambda x: x[:, :1], "logits", r"with shape \(3, 1\).*is understood as such with outputs: probabilities"),
        (lambda x: np.zeros((3, 5)), "logits", r"with shape \(3, 5\); expected \(3, 2\), one column a class"),
        (lambda x: x[:2], "logits", r"answers 3 inputs with shape \(2, 2\)"),
        (lambda x: 1.0, "logits", r"with shape \(\)"),
        (lambda x: np.array([["a", "b"]] * 3), "logits", r"the box answers <U1; expected numbers"),
        (lambda x: np.array([0, 2, 1]), "labels", r"labels that are not integers from 0 to 1, such as 0"),
        (lambda x: np.array([0.5, 0, 1]), "labels", r"labels that are not integers"),
        (lambda x: np.array([np.nan, 0, 1]), "labels", r"labels that are not integers"),
    ],
)
def test_an_answer_that_was_not_declared_is_named(answer, outputs, said):
    with pytest.raises(ModelError, match=said):
        subject(answer, outputs).predict(X)


def test_three_classes_in_labels_are_told_to_declare_them():
    with pytest.raises(ModelError, match="declare outputs: labels if these are labels"):
        subject(lambda x: x.argmax(1), classes=3).predict(X)


def test_the_owner_is_asked_around_everything_of_ours():
    box = subject(lambda x: x, bare=lambda x: np.array([1, 1, 7])[: len(x)])
    assert isinstance(box, Bare)
    assert box.bare_labels(X).tolist() == [1, 1, -1]
    assert subject(lambda x: x).bare_labels(X).tolist() == [0, 1, 0]
    assert subject(lambda x: x).bare_labels(X[:0]).tolist() == []


def test_inputs_are_prepared_and_answers_ordered():
    prepared = Preparation(np.array([2.0]), np.array([1.0]), order=(1, 0))
    box = subject(lambda x: x, preparation=prepared)
    np.testing.assert_array_equal(box.predict(X), (2 * X + 1)[:, ::-1])
    assert box.bare_labels(X).tolist() == [1, 0, 1]
