"""A data set is checked when it is made, read-only afterwards, and identified by its content."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from auditor.dataset import Dataset, Domain, row_ids
from auditor.errors import DataError


def made(**changes: Any) -> Dataset:
    parts: dict[str, Any] = {
        "id": "d",
        "x_train": np.linspace(0, 1, 12, dtype=np.float32).reshape(6, 2),
        "y_train": np.arange(6) % 2,
        "x_test": np.full((4, 2), 0.5, np.float32),
        "y_test": np.array([0, 0, 1, 1]),
        "classes": ("no", "yes"),
        "domain": Domain.unit((2,)),
    }
    return Dataset(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("only",)}, "1 class named; a classifier needs at least two"),
        ({"x_test": np.zeros((0, 2), np.float32), "y_test": np.zeros(0, np.int64)}, "x_test is empty"),
        ({"x_train": np.zeros((6, 2, 2), np.float32)}, r"x_train has shape \(6, 2, 2\); expected \(N, features\)"),
        ({"y_train": np.zeros(5, np.int64)}, r"y_train has shape \(5,\); expected \(6,\), one label a row of x_train"),
        ({"y_test": np.array([0, 1, 2, 0])}, r"y_test\[2\] is 2, outside the 2 classes 0 to 1"),
        ({"y_test": np.array([0, -1, 1, 0])}, r"y_test\[1\] is -1"),
        ({"y_train": np.array([1, 2, 1, 2, 1, 2])}, r"labels that start at 1\? subtract 1"),
        ({"x_train": np.full((6, 2), np.nan, np.float32)}, r"12 values that are not finite, the first at \(0, 0\)"),
        (
            {"x_test": np.array([[0, 0], [0, np.inf], [0, 0], [0, 0]], np.float32)},
            r"1 values that are not finite, the first at \(1, 1\)",
        ),
        ({"x_test": np.full((4, 2), 1.5, np.float32)}, "values from 1.5 to 1.5, outside its range 0 to 1"),
        (
            {"x_train": np.zeros((6, 3), np.float32), "domain": Domain.unit(())},
            r"x_train has rows of shape \(3,\), x_test of \(2,\)",
        ),
        (
            {"ood": {"far": np.zeros((3, 5), np.float32)}},
            r"x_ood_far has rows of shape \(5,\); the test rows have \(2,\)",
        ),
        ({"ood": {"far": np.full((3, 2), np.nan, np.float32)}}, "x_ood_far has 6 values that are not finite"),
    ],
)
def test_data_that_cannot_be_audited_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        made(**changes)


def test_arrays_cannot_be_written_to() -> None:
    data = made(ood={"far": np.zeros((3, 2), np.float32)}, groups={"site": np.zeros(4, np.int64)})
    for array in (data.x_train, data.y_train, data.x_test, data.y_test, data.ood["far"], data.groups["site"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_digest_is_of_the_content_not_of_the_name() -> None:
    data = made()
    assert replace(data, id="other", licence="MIT", description="x").sha256 == data.sha256
    for changes in (
        {"classes": ("no", "Yes")},
        {"y_test": np.array([0, 0, 1, 0])},
        {"domain": Domain(np.zeros(2, np.float32), np.full(2, 2, np.float32))},
        {"ood": {"far": np.zeros((1, 2), np.float32)}},
        {"groups": {"site": np.zeros(4, np.int64)}},
    ):
        assert replace(data, **changes).sha256 != data.sha256  # type: ignore[arg-type]


def test_equal_rows_are_told_apart_by_their_occurrence() -> None:
    x = np.array([[1, 2], [3, 4], [1, 2], [1, 2]], np.float32)
    y = np.array([0, 0, 0, 1])
    first = hashlib.sha256(x[0].tobytes() + bytes(8)).hexdigest()[:16]
    ids = row_ids(x, y)
    assert ids[0] == first
    assert ids[2] == f"{first}.1"
    assert len(set(ids)) == 4
    assert row_ids(x, y, prefix="m:")[0] == f"m:{first}"


def test_row_identities_do_not_depend_on_the_order_of_other_rows() -> None:
    x, y = np.random.default_rng(0).random((5, 3)).astype(np.float32), np.arange(5)
    assert row_ids(x[::-1], y[::-1]).tolist() == row_ids(x, y).tolist()[::-1]


def test_facts_count_rows_and_classes() -> None:
    facts = made().facts()
    assert facts.rows == {"train": 6, "test": 4}
    assert facts.class_counts == {"train": (3, 3), "test": (2, 2)}
    assert (facts.shape, facts.range) == ((2,), (0.0, 1.0))


def test_a_domain_measures_in_units_of_each_features_range() -> None:
    domain = Domain(np.array([0, 10, 5], np.float32), np.array([1, 30, 5], np.float32))
    assert domain.span.tolist() == [1, 20, 1]
    assert domain.to_unit(np.array([[0.5, 20, 5]], np.float32)).tolist() == [[0.5, 0.5, 0]]
    assert domain.clip(np.array([[-1, 40, 7]], np.float32)).tolist() == [[0, 30, 5]]
