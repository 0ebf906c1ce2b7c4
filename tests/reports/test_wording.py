"""How numbers read: rounding never turns something into nothing or everything."""

import pytest

from auditor.record import Unit
from auditor.reports import wording

THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.4123, "share", f"41.2{THIN}%"),
        (1.0, "share", f"100.0{THIN}%"),
        (0.99996, "share", f"99.996{THIN}%"),
        (0.0004, "share", f"0.04{THIN}%"),
        (0.0, "share", f"0.0{THIN}%"),
        (-0.031, "difference", f"−3.1{THIN}pp"),
        (0.95317, "number", "0.953"),
        (0.99996, "number", "0.99996"),
        (1234.56, "number", f"1{THIN}234.6"),
        (2.5e7, "number", "2.5e+07"),
    ],
)
def test_an_amount_keeps_its_unit_and_never_rounds_to_an_end_it_does_not_reach(
    value: float, unit: Unit, text: str
) -> None:
    assert wording.amount(value, unit) == text


def test_an_interval_that_is_not_known_is_said_to_be_missing() -> None:
    assert wording.interval(None, 0.5, "share") == "no interval"
    assert wording.interval(0.31, 0.42, "share") == f"31.0–42.0{THIN}%"
    assert wording.interval(-0.01, 0.02, "difference") == f"−1.0 to 2.0{THIN}pp"


def test_a_difference_carries_its_sign() -> None:
    assert wording.difference(0.032, "share") == f"+3.2{THIN}pp"
    assert wording.difference(-0.032, "number") == "−0.032"
    assert wording.signed_interval(-0.01, 0.02, "share") == f"−1.0 to +2.0{THIN}pp"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("epsilon", 8 / 255, "8/255"),
        ("epsilon", 0.1, "0.1"),
        ("rate", 0.05, f"5{THIN}%"),
        ("fpr", 0.001, f"0.1{THIN}%"),
        ("score", "msp", "msp"),
    ],
)
def test_a_coordinate_reads_as_it_was_written(name: str, value: float | str, text: str) -> None:
    assert wording.coordinate(name, value) == text


def test_a_place_names_its_coordinates_in_one_order() -> None:
    assert wording.place({"set": "noise", "score": "msp"}) == "score msp, set noise"
    assert wording.place({"epsilon": 0.1}) == "ε 0.1"


def test_a_p_value_is_never_zero_and_never_made_up() -> None:
    assert [wording.p_value(p) for p in (None, 0.0, 0.00099, 0.0456)] == ["–", "< 0.001", "< 0.001", "0.046"]


def test_counted_things_have_the_right_number() -> None:
    assert [wording.count(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
    assert wording.count(12345, "row") == f"12{THIN}345 rows"
    assert wording.listed([]) == ""
    assert wording.listed("abcd", most=2) == "a, b and 2 more"


def test_durations_and_large_counts_take_the_unit_that_reads_best() -> None:
    assert [wording.seconds(s) for s in (0.2254, 3.21, 600)] == [f"225{THIN}ms", f"3.2{THIN}s", f"10.0{THIN}min"]
    assert [wording.scaled(n) for n in (570, 1_453_701_120)] == ["570", f"1.45{THIN}G"]


def test_what_rounding_left_of_equal_means_is_no_difference() -> None:
    assert wording.difference(2.8e-17, "share") == f"0.0{THIN}pp"
    assert wording.difference(-2.8e-17, "number") == "0.000"
    assert wording.difference(0.0004, "share") == f"+0.04{THIN}pp"
