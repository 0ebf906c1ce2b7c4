"""Learning-rate schedules against their formulas."""

import math

import pytest

from auditor.training.schedules import factors


def test_constant_stays_at_one():
    assert factors("constant", 3) == [1.0, 1.0, 1.0]


def test_cosine_passes_its_known_points():
    assert factors("cosine", 4) == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])


def test_one_cycle_rises_for_three_tenths_and_falls_to_nearly_nothing():
    found = factors("one-cycle", 10)
    assert found[:3] == pytest.approx([0.04, 0.36, 0.68])
    assert found[3] == 1.0
    assert found[4:] == pytest.approx([(1 + math.cos(math.pi * k / 7)) / 2 for k in range(1, 7)])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_short_schedule_has_a_factor_for_every_step(schedule, steps):
    found = factors(schedule, steps)
    assert len(found) == steps
    assert all(0 < f <= 1 for f in found)


def test_linear_falls_by_the_same_at_every_step():
    assert factors("linear", 4) == [1.0, 0.75, 0.5, 0.25]


def test_step_divides_by_ten_after_a_half_and_after_three_quarters():
    assert factors("step", 8) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_warm_up_rises_in_equal_steps_to_the_full_rate_and_the_schedule_goes_over_the_rest():
    found = factors("linear", 20, warmup=0.2)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[4:] == factors("linear", 16)


def test_a_warm_up_replaces_the_share_in_which_one_cycle_rises():
    assert factors("one-cycle", 10, warmup=0.3) == factors("one-cycle", 10)
    assert factors("one-cycle", 10, warmup=0.5)[4:6] == pytest.approx([0.04 + 0.96 * 4 / 5, 1.0])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle", "linear", "step"])
def test_a_warm_up_longer_than_a_short_training_still_has_a_factor_for_every_step(schedule):
    for steps in (1, 2, 3):
        assert len(factors(schedule, steps, warmup=0.9)) == steps
