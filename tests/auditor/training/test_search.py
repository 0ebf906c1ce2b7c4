"""The maths of a search: which rates are tried, how many go on, and when the grid is too narrow."""

import pytest
from pydantic import ValidationError

from auditor.train_section import TrainConfig, TuneConfig
from auditor.training.search import Trial, further, going_on, outward, pooled, ranked, short_epochs, spaced


def trials(losses: dict[float, float | None], epochs: int = 8) -> list[Trial]:
    return [Trial(rate, epochs, loss, None if loss is not None else 3, 1) for rate, loss in losses.items()]


@pytest.mark.parametrize(("rates", "kept"), [(2, 2), (4, 2), (6, 2), (7, 3), (9, 3), (10, 4)])
def test_the_best_third_goes_on_and_at_least_two(rates: int, kept: int) -> None:
    assert going_on(rates) == kept


def test_a_first_rung_is_a_quarter_of_the_epochs_where_that_spares_enough() -> None:
    assert short_epochs("auto", 4, 30) is None
    assert short_epochs("auto", 5, 7) is None
    assert short_epochs("auto", 5, 30) == 8
    assert short_epochs("halving", 3, 6) == 2
    assert short_epochs("halving", 2, 30) is None
    assert short_epochs("grid", 9, 30) is None


def test_rates_are_spread_in_equal_ratios_between_the_ends_of_a_grid() -> None:
    assert spaced((0.01, 0.04, 0.16, 0.64), 4) == (0.01, 0.04, 0.16, 0.64)
    assert spaced((0.001, 1.0), 4) == (0.001, 0.01, 0.1, 1.0)
    assert spaced((0.01, 0.1, 1.0), 2) == (0.01, 1.0)
    assert spaced((1.0,), 4) == (0.25, 1.0, 4.0, 16.0)


def test_the_least_loss_is_first_and_what_diverged_or_was_trained_shorter_is_not_among_them() -> None:
    short = [Trial(0.9, 2, 0.01, None, 1)]
    assert ranked([*trials({0.1: 0.5, 0.2: 0.3, 0.4: None, 0.05: 0.3}), *short], 8) == [0.05, 0.2, 0.1]


def test_a_search_goes_outward_from_the_edge_in_the_ratio_of_the_grid() -> None:
    assert outward(trials({0.1: 0.5, 0.2: 0.3, 0.8: 0.2}), 8) == 3.2
    assert outward(trials({0.1: 0.1, 0.2: 0.3, 0.8: 0.2}), 8) == 0.05
    assert outward(trials({0.1: 0.5, 0.2: 0.3, 0.8: 0.4}), 8) is None
    assert outward(trials({0.1: 0.5}), 8) is None


def test_a_neighbour_that_diverged_is_no_edge_in_full_or_for_a_short_time() -> None:
    assert outward(trials({0.1: 0.5, 0.2: 0.3, 0.8: None}), 8) is None
    diverged = trials({0.1: 0.5, 0.2: 0.3, 0.8: None}, 2)
    assert outward([*diverged, *trials({0.1: 0.4, 0.2: 0.2})], 8) is None


def test_rates_beside_the_best_that_were_left_behind_are_tried_in_full_the_smaller_first() -> None:
    short = trials({0.1: 0.5, 0.2: 0.3, 0.4: 0.2, 0.8: 0.9, 1.6: 0.1}, 2)
    assert outward([*short, *trials({0.4: 0.2, 1.6: 0.3})], 8) == 0.2
    assert outward([*short, *trials({0.2: 0.25, 0.4: 0.2, 1.6: 0.3})], 8) == 0.8
    assert outward([*short, *trials({0.2: 0.25, 0.4: 0.2, 0.8: 0.4, 1.6: 0.3})], 8) is None
    assert outward([*short, *trials({0.2: 0.15, 0.4: 0.2, 0.8: 0.4, 1.6: 0.3})], 8) == 0.1


def test_at_an_edge_the_rate_beside_it_comes_before_the_one_beyond() -> None:
    short = trials({0.1: 0.5, 0.2: 0.3, 0.4: 0.2}, 2)
    assert outward([*short, *trials({0.1: 0.3, 0.4: 0.2})], 8) == 0.2
    assert outward([*short, *trials({0.1: 0.3, 0.2: 0.4, 0.4: 0.2})], 8) == 0.8


def test_where_all_in_full_diverged_the_next_smaller_rate_that_was_left_behind_is_tried() -> None:
    short = trials({0.1: 0.5, 0.2: 0.4, 0.4: 0.3, 0.8: 0.2}, 2)
    assert outward([*short, *trials({0.4: None, 0.8: None})], 8) == 0.2
    assert outward([*short, *trials({0.1: None, 0.2: None, 0.4: None, 0.8: None})], 8) == 0.05


def test_a_search_that_halves_may_try_two_more_than_its_extension() -> None:
    assert further(None, 2) == 2
    assert further(5, 2) == 4
    assert further(5, 0) == 2


def test_where_all_diverged_smaller_rates_are_tried() -> None:
    assert outward(trials({1.0: None, 4.0: None}), 8) == 0.25


def test_a_trial_of_several_seeds_is_their_mean_and_fails_where_one_does() -> None:
    good = {"holdout_loss": 0.2, "diverged_at": None, "flops": 10}
    assert pooled(0.1, 8, [good, good | {"holdout_loss": 0.4}]) == Trial(0.1, 8, pytest.approx(0.3), None, 20)
    assert pooled(0.1, 8, [good, good | {"holdout_loss": None, "diverged_at": 7}]) == Trial(0.1, 8, None, 7, 20)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"grid": [0.1, 0.2], "trials": 4}, "remove tune.trials"),
        ({"grid": [0.1, 0.1]}, "names a rate twice"),
        ({"grid": [0.1, -0.2]}, "greater than 0"),
        ({"seeds": 4}, "less than or equal to 3"),
        ({"trials": 1}, "greater than or equal to 2"),
    ],
)
def test_a_search_that_cannot_be_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TuneConfig.model_validate(given)


def test_a_target_is_one_number_and_not_for_a_training_of_ones_own() -> None:
    with pytest.raises(ValidationError, match="an accuracy or a loss, not both"):
        TrainConfig.model_validate({"target": {"accuracy": 0.9, "loss": 0.1}})
    with pytest.raises(ValidationError, match="target belongs to the built-in training loop"):
        TrainConfig.model_validate({"function": "train:fit", "target": "auto"})
    assert TrainConfig.model_validate({"target": "auto"}).looked is not None
