"""Stacked trainings: each is, to the bit, what it would have been alone, whoever stands beside it."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError
from auditor.recipe import Fit, Pgd, Recipe
from auditor.seeds import Seeds
from auditor.training import conditions, loop, optimizers
from auditor.training.stacked import Member, Stack, fit_stacked
from auditor.training.stacked_passes import Layers, means

STACKED = sorted(
    s.name for s in optimizers.every() if s.elementwise and not (s.train_eval or s.full_batch or s.provider == "plugin")
)


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.arange(130) % 3
    x = (np.eye(3)[y] @ rng.random((3, 11)) + 0.1 * rng.normal(size=(130, 11))).clip(0, 1).astype(np.float32)
    return Dataset("blobs", x[:100], y[:100], x[100:], y[100:], ("a", "b", "c"), Domain.unit((11,)))


def member(seed=0, rate=0.01, holdout=None, **changes):
    given = {"architecture": "mlp", "optimizer": "sgd", "epochs": 2, "batch_size": 16, "kwargs": {"hidden": [32, 12]}}
    return Member(Fit(recipe=Recipe(**{**given, **changes}), holdout=holdout), Seeds(7, seed), rate)


def alone(member, data):
    return loop.fit(member.fit, data, seeds=member.seeds, learning_rate=member.learning_rate)


def assert_the_same(members, data):
    stacked = fit_stacked(members, data)
    assert all(got.seconds == stacked[0].seconds for got in stacked if got.steps == stacked[0].steps)  # not one by one
    for member, got in zip(members, stacked, strict=True):
        wanted = alone(member, data)
        assert got.state.keys() == wanted.state.keys()
        assert all(torch.equal(got.state[k], wanted.state[k]) for k in wanted.state)
        for name in ("curve", "flops", "steps", "epochs", "holdout_loss", "diverged_at", "learning_rate"):
            assert getattr(got, name) == getattr(wanted, name), name
        assert (got.optimizer_state_bytes, got.peak_bytes) == (wanted.optimizer_state_bytes, wanted.peak_bytes)
        assert (got.clipped, got.privacy) == (None, None)
    return stacked


@pytest.mark.parametrize("optimizer", STACKED)
def test_each_of_a_stack_has_the_weights_curve_and_cost_of_a_training_alone(blobs, optimizer):
    assert_the_same(
        [member(seed, rate, optimizer=optimizer) for seed, rate in ((0, 0.01), (1, 0.01), (2, 0.03))], blobs
    )


def test_who_stands_beside_a_training_changes_no_bit_of_it(blobs):
    stacks = [[member(seed) for seed in range(count)] for count in (1, 2, 5, 33)]
    states = [fit_stacked(stack, blobs)[0].state for stack in stacks]
    assert all(torch.equal(states[0][k], state[k]) for state in states for k in states[0])


def test_optimizers_schedules_and_settings_may_differ_within_a_stack(blobs):
    mixed = [
        member(0),
        member(1, optimizer="adamw", schedule="one-cycle"),
        member(2, settings={"momentum": 0.5}),
        member(3, warmup=0.3, schedule="linear"),
        member(4),
    ]
    assert_the_same(mixed, blobs)


def test_rows_moved_by_pgd_are_those_of_a_training_alone(blobs):
    assert_the_same([member(seed, objective=Pgd(epsilon=0.1, steps=2)) for seed in range(3)], blobs)


def test_each_keeps_its_own_rows_and_their_normalisation_and_held_back_loss(blobs):
    stacked = assert_the_same([member(seed, holdout=0.2) for seed in range(3)] + [member(3), member(4)], blobs)
    assert stacked[0].holdout_loss != stacked[1].holdout_loss
    assert not torch.equal(stacked[0].state["mean"], stacked[1].state["mean"])
    assert stacked[3].holdout_loss is None


def test_one_that_diverges_leaves_the_others_as_they_were(blobs):
    stacked = assert_the_same([member(0), member(1, rate=1e30), member(2)], blobs)
    assert [fitted.diverged_at is None for fitted in stacked] == [True, False, True]
    assert stacked[1].state == {}


def test_their_networks_share_nothing_afterwards(blobs):
    first, second = fit_stacked([member(0), member(1)], blobs)
    before = second.trained.net[1].weight.clone()
    with torch.no_grad():
        first.trained.net[1].weight.fill_(0)
    assert torch.equal(second.trained.net[1].weight, before)
    assert first.trained.net[1].weight.untyped_storage().nbytes() == 4 * 32 * 11


def test_their_seconds_are_those_of_all_in_equal_parts(blobs):
    first, second = fit_stacked([member(0), member(1)], blobs)
    assert first.seconds == second.seconds
    assert first.seconds.cpu > 0


def test_a_gradient_that_is_another_by_one_bit_is_noticed(blobs):
    with conditions.repeatable():
        runs = [
            loop.Run(
                m.fit.recipe, blobs, loop.parts(m.fit, blobs, m.seeds), m.seeds, 0.01, optimizers.resolve("sgd"), None
            )
            for m in (member(0), member(1))
        ]
        stack = Stack(runs)
        assert stack.exact()
        bias = next(runs[1].module.net[1].parameters())
        with torch.no_grad():
            bias[0, 0] = torch.nextafter(bias[0, 0], torch.tensor(9.0))
        assert stack.exact()  # the network looks into the stack
        bias.data = bias.data.clone()
        with torch.no_grad():
            bias[0, 0] += 1e-4
        assert not stack.exact()


@pytest.mark.parametrize("count", [1, 2, 16, 17, 63, 64, 256, 257, 300, 4200])
def test_a_mean_is_added_up_in_the_order_of_torchs_cross_entropy(count):
    torch.manual_seed(count)
    logits, y = 5 * torch.randn(3, count, 4), torch.randint(4, (3, count))
    losses = -torch.log_softmax(logits, 2).gather(2, y.unsqueeze(2)).squeeze(2)
    assert torch.equal(means(losses), torch.stack([cross_entropy(a, b) for a, b in zip(logits, y, strict=True)]))


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize(("count", "classes", "hidden"), [(30, 3, [7]), (16, 20, [9, 5]), (5, 2, [])])
def test_gradients_by_hand_are_those_of_automatic_differentiation(across, count, classes, hidden):
    torch.manual_seed(count)
    sizes = [6, *hidden, classes]
    shapes = [shape for a, b in pairwise(sizes) for shape in ((4, b, a), (4, b))]
    weights = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    layers = Layers(weights, slopes := [torch.full_like(w, 7) for w in weights])
    layers.across = across
    x, y = torch.randn(4, count, 6, dtype=torch.float64), torch.randint(classes, (4, count))
    losses = layers.descend(x, y)
    for number in range(4):
        own = [w[number].clone().requires_grad_() for w in weights]
        rows = x[number]
        for weight, bias in zip(own[:-2:2], own[1:-2:2], strict=True):
            rows = linear(rows, weight, bias).relu()
        logits = linear(rows, *own[-2:])
        torch.testing.assert_close(losses[number], cross_entropy(logits, y[number], reduction="none"))
        wanted = torch.autograd.grad(cross_entropy(logits, y[number]), own)
        torch.testing.assert_close([s[number] for s in slopes], list(wanted))


def test_many_classes_are_trained_to_the_bit_too():
    rng = np.random.default_rng(1)
    x, y = rng.random((90, 24), np.float32), np.arange(90) % 18
    data = Dataset("many", x, y, x[:18], y[:18], tuple("abcdefghijklmnopqr"), Domain.unit((24,)))
    assert_the_same([member(seed, kwargs={"hidden": [32]}) for seed in range(3)], data)


def test_where_batched_products_add_in_another_order_they_are_trained_one_by_one(blobs):
    """As torch's do for fewer than 400 multiplications."""
    tiny = [member(seed, kwargs={"hidden": [3]}) for seed in range(3)]
    for got, one in zip(fit_stacked(tiny, blobs), tiny, strict=True):
        wanted = alone(one, blobs)
        assert all(torch.equal(got.state[k], wanted.state[k]) for k in wanted.state)
        assert got.curve == wanted.curve


def test_what_cannot_be_trained_is_said_as_ever(blobs):
    with pytest.raises(ConfigError, match="the learning rate is -1"):
        fit_stacked([member(0), member(1, rate=-1)], blobs)


def test_a_training_does_not_import_the_compiler_of_torch():
    """It takes three seconds of every process that trains."""
    program = """
import sys, numpy as np
from auditor.dataset import Dataset, Domain
from auditor.recipe import Fit, Recipe
from auditor.seeds import Seeds
from auditor.training import loop
x, y = np.random.default_rng(0).random((20, 3), np.float32), np.arange(20) % 2
data = Dataset("d", x, y, x[:4], y[:4], ("a", "b"), Domain.unit((3,)))
for name in ("sgd", "adamw", "rmsprop", "lion", "muon"):
    recipe = Recipe(architecture="mlp", optimizer=name, epochs=1, kwargs={"hidden": [4]})
    loop.fit(Fit(recipe=recipe), data, seeds=Seeds(0, 0), learning_rate=0.01)
print([m for m in ("torch._dynamo", "torch._inductor") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
