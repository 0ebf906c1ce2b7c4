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
