"""Plain arrays become a Dataset, or a message with the key and what to do."""

import numpy as np
import pytest

from auditor.datasets import from_arrays
from auditor.errors import DataError, UnknownNameError


def table(**changes):
    given = {
        "x_train": np.array([[0.0, 10.0], [2.0, 30.0], [1.0, 20.0]]),
        "y_train": np.array([0, 1, 0]),
        "x_test": np.array([[4.0, 15.0], [1.0, 5.0]]),
        "y_test": np.array([1, 0]),
    }
    return {key: value for key, value in {**given, **changes}.items() if value is not None}


def images(dtype=np.float32, high=1.0):
    x = (np.arange(6 * 4 * 4).reshape(6, 4, 4) % 5 / 4 * high).astype(dtype)
    return {"x_train": x[:4], "y_train": np.array([0, 1, 0, 1]), "x_test": x[4:], "y_test": np.array([0, 1])}


def test_a_table_stays_as_it_is_and_its_domain_is_each_features_range_over_all_rows():
    data = from_arrays(table())
    np.testing.assert_array_equal(data.x_train, np.float32([[0, 10], [2, 30], [1, 20]]))
    assert data.domain.low.tolist() == [0.0, 5.0]
    assert data.domain.high.tolist() == [4.0, 30.0]
    assert data.classes == ("0", "1")


def test_a_stated_range_is_brought_to_zero_and_one():
    data = from_arrays(table(), range=(0, 40))
    np.testing.assert_allclose(data.x_test, [[0.1, 0.375], [0.025, 0.125]])
    assert data.domain.high.tolist() == [1.0, 1.0]


def test_bytes_are_read_as_0_to_255_and_images_get_a_channel():
    data = from_arrays(images(np.uint8, 255))
    assert data.shape == (1, 4, 4)
    np.testing.assert_allclose(data.x_train[0, 0, 0], np.array([0, 63, 127, 191]) / 255, rtol=1e-6)


def test_images_within_zero_and_one_are_taken_as_they_are():
    np.testing.assert_array_equal(from_arrays(images()).x_test[:, 0], images()["x_test"])


def test_the_callers_arrays_stay_writable_and_unshared():
    given = table(x_test=np.array([[4.0, 15.0], [1.0, 5.0]], np.float32), y_test=np.array([1, 0], np.int64))
    data = from_arrays(given)
    given["x_test"][0, 0] = 99
    assert data.x_test[0, 0] == 4
    assert all(array.flags.writeable for array in given.values())


def test_declared_ood_and_groups_are_kept():
    data = from_arrays(table(x_ood_other=[[3.0, 7.0]], groups_sex=[0, 1]), classes=("no", "yes"), licence="CC0")
    assert data.ood["other"].tolist() == [[3.0, 7.0]]
    assert list(data.ood) == ["other"]
    assert data.groups["sex"].tolist() == [0, 1]
    assert (data.classes, data.licence) == (("no", "yes"), "CC0")


def test_without_ood_a_table_gets_its_features_shuffled_and_images_get_photographs():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.uniform(0, 5, (40, 1)), 3, axis=1)
    y = np.arange(40) % 2
    data = from_arrays({"x_train": x, "y_train": y, "x_test": x, "y_test": y})
    shuffled = data.ood["shuffled"]
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(data.x_test, axis=0))  # marginals are kept
    together = np.corrcoef(shuffled.T)
    assert abs(together[0, 1]) < 0.5  # in the data it is 1
    assert list(from_arrays(images()).ood) == ["photographs"]


def test_float_labels_that_are_whole_are_read():
    assert from_arrays(table(y_train=np.array([0.0, 1.0, 0.0]))).y_train.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y_test": None}, "mine: y_test is missing; the keys are x_train"),
        ({"x_train": np.array([["a", "b"]] * 3)}, "mine: x_train has type <U1; store numbers"),
        ({"x_train": np.array([[1, None]] * 3)}, "mine: x_train has type object"),
        ({"x_train": [[1, 2], [3]]}, "mine: x_train is no array"),
        ({"x_train": np.zeros(3)}, r"mine: x_train has shape \(3,\); expected \(N, features\)"),
        ({"x_train": np.zeros((3, 0))}, r"x_train has shape \(3, 0\); every side of a row must be at least 1"),
        ({"x_test": np.array([[np.nan, 1], [1, 1]])}, r"mine: x_test has 1 values that are not finite.*\(0, 0\)"),
        ({"x_test": np.zeros((0, 2)), "y_test": np.zeros(0, int)}, "mine: x_test is empty"),
        ({"x_test": np.zeros((2, 3))}, r"x_train has rows of shape \(2,\); the test rows have \(3,\)"),
        ({"y_train": np.array([0, 1])}, r"y_train has shape \(2,\); expected \(3,\), one label a row"),
        ({"y_train": np.eye(3)}, r"mine: y_train has shape \(3, 3\); expected \(N,\)"),
        ({"y_train": np.array([0, 0.5, 1])}, r"mine: y_train\[1\] is 0.5; labels are integers"),
        ({"y_train": np.array(["a", "b", "a"])}, "mine: y_train has type <U1; labels are integers from 0"),
        ({"y_train": np.array([1, 2, 1]), "y_test": np.array([2, 1])}, "labels are 1, 2; number them 0 to 1"),
        ({"x_train": np.full((3, 2), 1e300)}, "x_train has 6 values that are not finite"),
        ({"x_train": np.zeros((3, 2), np.uint8)}, "x_train holds bytes and x_test holds float64"),
        ({"x_ood_far": np.zeros((2, 3))}, r"x_ood_far has rows of shape \(3,\); the test rows have \(2,\)"),
        ({"groups_age": [1, 2, 3]}, r"groups_age has shape \(3,\); expected one group a test row, \(2,\)"),
    ],
)
def test_what_cannot_be_audited_is_named_with_its_key(changes, said):
    with pytest.raises(DataError, match=said):
        from_arrays(table(**changes), id="mine")


def test_labels_outside_the_named_classes_are_refused():
    with pytest.raises(DataError, match=r"y_train\[1\] is 2, outside the 2 classes 0 to 1 \(labels that start at 1"):
        from_arrays(table(y_train=np.array([1, 2, 1]), y_test=np.array([2, 1])), classes=("a", "b"))


def test_pixels_outside_zero_and_one_need_a_range():
    with pytest.raises(DataError, match=r"x_train has pixels from 0 to 255; state the range as stored.*\[0, 255\]"):
        from_arrays(images(np.float32, 255))


def test_values_outside_the_stated_range_are_refused():
    with pytest.raises(DataError, match=r"x_train has values from 0 to 30, outside the stated range \[0, 20\]"):
        from_arrays(table(), range=(0, 20))


def test_an_unknown_key_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown key 'x_tran'; did you mean 'x_train'"):
        from_arrays(table(x_tran=np.zeros((3, 2))))


def test_the_range_as_stored_is_kept_beside_the_range_that_a_subject_sees():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (20, 4, 4), dtype=np.uint8), np.arange(20) % 2
    facts = from_arrays({"x_train": x, "y_train": y, "x_test": x, "y_test": y}).facts()
    assert (facts.stored_range, facts.range) == ((0.0, 255.0), (0.0, 1.0))
    table = rng.normal(size=(20, 3))
    facts = from_arrays({"x_train": table, "y_train": y, "x_test": table, "y_test": y}).facts()
    assert facts.stored_range is None


def test_images_with_their_channels_last_are_refused_with_the_way_to_store_them():
    x, y = np.random.default_rng(0).random((20, 8, 8, 3), np.float32), np.arange(20) % 2
    with pytest.raises(DataError, match=r"channels last as it seems; .* x.transpose\(0, 3, 1, 2\)"):
        from_arrays({"x_train": x, "y_train": y, "x_test": x, "y_test": y})
    assert from_arrays(
        {"x_train": x.transpose(0, 3, 1, 2), "y_train": y, "x_test": x.transpose(0, 3, 1, 2), "y_test": y}
    )
