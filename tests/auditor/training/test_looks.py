"""Looking at a training on the way changes nothing of it, and says when it reaches a target."""

import math

import numpy as np
import pytest
import torch

from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.targets import Target, automatic, first, over_seeds, reached
from auditor.training.looks import watched
from auditor.training.loop import fit

LOOKS = [{"steps": float(s), "samples": 10.0 * s, "loss": 1.0 / s, "accuracy": 0.1 * s} for s in (1, 2, 4, 8)]


def blobs() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    x = (np.eye(3)[y] + 0.05 * rng.normal(size=(150, 3))).clip(0, 1).astype(np.float32)
    return Dataset("blobs", x[:120], y[:120], x[120:], y[120:], ("a", "b", "c"), Domain.unit((3,)))


def wanted(looks: int, **changes: object) -> Fit:
    given = {"architecture": "mlp", "optimizer": "adamw", "epochs": 3, "batch_size": 16, **changes}
    return Fit(recipe=Recipe(**given), holdout=0.2, looks=looks)


@pytest.mark.parametrize("optimizer", ["sgd", "schedulefreeadamw", "sam", "lbfgs"])
def test_a_training_that_is_looked_at_comes_to_the_same_weights_and_curve(optimizer: str) -> None:
    rate = 0.1 if optimizer != "schedulefreeadamw" else 0.01
    at, plain = wanted(4, optimizer=optimizer), wanted(0, optimizer=optimizer)
    seen, looks = watched(at, blobs(), seeds=Seeds(7, 0), learning_rate=rate)
    alone = fit(plain, blobs(), seeds=Seeds(7, 0), learning_rate=rate)
    assert all(torch.equal(seen.state[name], alone.state[name]) for name in alone.state)
    assert seen.curve == alone.curve
    assert looks[-1]["loss"] == alone.holdout_loss
    assert looks[-1]["samples"] == alone.curve[-1]["samples"]


def test_looks_are_at_even_points_of_each_epoch() -> None:
    _, looks = watched(wanted(4), blobs(), seeds=Seeds(7, 0), learning_rate=0.01)
    assert [k["steps"] for k in looks] == [2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
    assert looks[5]["samples"] == 96 + 48
    assert all(0 <= k["accuracy"] <= 1 and round(k["accuracy"] * 24, 6).is_integer() for k in looks)


def test_a_fit_without_looks_or_rows_held_back_is_refused() -> None:
    for bad in (wanted(0), wanted(4).model_copy(update={"holdout": None})):
        with pytest.raises(ConfigError, match="needs looks, and rows held back"):
            watched(bad, blobs(), seeds=Seeds(7, 0), learning_rate=0.1)


def test_the_first_look_that_meets_the_target_counts() -> None:
    assert first(LOOKS, Target("accuracy", 0.2)) == LOOKS[1]
    assert first(LOOKS, Target("loss", 0.3)) == LOOKS[2]
    assert first(LOOKS, Target("accuracy", 0.81)) is None


def test_operations_until_the_target_are_those_of_its_steps_and_what_diverged_never_reached_it() -> None:
    said = {"looks": LOOKS, "steps": 8, "flops": 800, "diverged_at": None}
    told = reached(said, Target("accuracy", 0.4))
    assert (told["reached"], told["steps"], told["samples"], told["flops"]) == (True, 4, 40, 400)
    for missed in (reached(said | {"diverged_at": 8}, Target("accuracy", 0.4)), reached(said, Target("loss", 0.01))):
        assert (missed["reached"], missed["steps"], missed["samples"], missed["flops"]) == (False, None, None, None)


def test_the_automatic_target_is_the_references_median_minus_one_standard_error() -> None:
    assert automatic([0.90, 0.94, 0.92], 100).value == pytest.approx(0.92 - 0.02 / math.sqrt(3))
    assert automatic([0.9], 100).value == pytest.approx(0.9 - 0.03)
    assert automatic([0.9], 100).automatic


def test_never_counts_as_infinity_in_the_median_and_the_share_has_its_exact_interval() -> None:
    found = over_seeds([10, None, 30, 20, None])
    assert found.median == 30
    assert found.share == 0.6
    assert (found.low, found.high) == pytest.approx((0.14663, 0.94726), abs=1e-4)
    assert over_seeds([10, None, None]).median == math.inf
    assert over_seeds([10, None]).median == math.inf
