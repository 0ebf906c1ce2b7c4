"""The training loop: it learns, repeats itself to the bit, leaves the process alone, and tells what went wrong."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from auditor.dataset import Dataset, Domain
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError, DataError, DivergedError, ModelError
from auditor.recipe import Change, Fit, Recipe
from auditor.seeds import Seeds
from auditor.training.loop import fit, parts


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load(DataConfig(source="digits"), tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (np.eye(3)[y] + 0.05 * rng.normal(size=(90, 3))).clip(0, 1).astype(np.float32)
    return Dataset("blobs", x[:60], y[:60], x[60:], y[60:], ("a", "b", "c"), Domain.unit((3,)))


def recipe(**changes):
    given = {"architecture": "mlp", "optimizer": "sgd", "learning_rate": 0.1, "epochs": 3, "batch_size": 16}
    return Recipe(**{**given, **changes})


def trained(data, *, holdout=None, change=None, seed=0, rate=0.1, **changes):
    return fit(
        Fit(recipe=recipe(**changes), holdout=holdout, change=change), data, seeds=Seeds(7, seed), learning_rate=rate
    )


def accuracy(fitted, data):
    with torch.no_grad():
        return float((fitted.trained(torch.tensor(data.x_test)).argmax(1).numpy() == data.y_test).mean())


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.16), ("adamw", 0.016), ("rmsprop", 0.005)])
def test_a_small_network_reads_digits_within_half_a_second(digits, optimizer, rate):
    fitted = trained(digits, optimizer=optimizer, rate=rate, epochs=15, batch_size=64)
    assert accuracy(fitted, digits) >= 0.965
    assert fitted.seconds.cpu < 0.5


def test_a_strided_cnn_reads_digits(digits):
    assert accuracy(trained(digits, architecture="strided-cnn", optimizer="adamw", rate=0.01, epochs=8), digits) >= 0.95


def test_the_same_fit_gives_the_same_bits(blobs):
    assert same(trained(blobs).state, trained(blobs).state)


def test_another_seed_gives_other_weights(blobs):
    assert not same(trained(blobs).state, trained(blobs, seed=1).state)


def test_threads_random_state_and_strictness_are_as_they_were(blobs):
    torch.manual_seed(5)
    expected = torch.rand(3)
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    torch.set_num_threads(2)
    try:
        trained(blobs)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_the_weights_equal_those_of_a_loop_written_by_hand(blobs):
    fitted = trained(blobs, epochs=2, schedule="constant", batch_size=64, kwargs={"hidden": []})
    mean, deviation = blobs.x_train.astype(np.float64).mean(0), blobs.x_train.astype(np.float64).std(0)
    x = ((torch.tensor(blobs.x_train) - torch.tensor(mean)) / torch.tensor(deviation)).float()
    torch.manual_seed(Seeds(7, 0).integer("init"))
    net = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(2):  # one batch an epoch, so the order does not matter
        optimizer.zero_grad()
        cross_entropy(net(x), torch.tensor(blobs.y_train)).backward()
        optimizer.step()
    torch.testing.assert_close(fitted.state["net.1.weight"], net.weight.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(fitted.state["net.1.bias"], net.bias.detach(), rtol=1e-4, atol=1e-6)


def test_steps_and_operations_are_counted_as_by_hand(blobs):
    fitted = trained(blobs, epochs=3, batch_size=16, kwargs={"hidden": [5]})
    assert fitted.steps == 3 * math.ceil(60 / 16)
    assert fitted.epochs == 3
    # forward 2 N (3*5 + 5*3); backward the same for the weights, and 2 N 5*3 for the hidden layer's input
    assert fitted.flops == 3 * 60 * 2 * (15 + 15 + 15 + 15 + 15)
    assert fitted.optimizer_state_bytes == 4 * (3 * 5 + 5 + 5 * 3 + 3)  # one momentum a weight


def test_no_batch_is_a_sliver(blobs):
    fitted = trained(blobs, epochs=1, batch_size=59)
    assert fitted.steps == 2  # 30 and 30, not 59 and 1


def test_the_curve_has_an_entry_an_epoch_and_the_held_back_loss(blobs):
    fitted = trained(blobs, holdout=0.25, epochs=4)
    assert [point["samples"] for point in fitted.curve] == [45, 90, 135, 180]
    assert fitted.holdout_loss == fitted.curve[-1]["holdout_loss"]
    held = parts(Fit(recipe=recipe(), holdout=0.25), blobs, Seeds(7, 0))
    with torch.no_grad():
        logits = fitted.trained(torch.tensor(held.x_holdout))
    assert fitted.holdout_loss == pytest.approx(float(cross_entropy(logits, torch.tensor(held.y_holdout))), rel=1e-5)


def test_held_back_rows_are_stratified_and_never_trained_on(blobs):
    split = parts(Fit(recipe=recipe(), holdout=0.25), blobs, Seeds(7, 0))
    assert np.bincount(split.y_holdout).tolist() == [5, 5, 5]
    everything = np.sort(np.concatenate([split.x, split.x_holdout]), axis=0)
    np.testing.assert_array_equal(everything, np.sort(blobs.x_train, axis=0))


def test_the_split_does_not_depend_on_the_optimizer(blobs):
    a = parts(Fit(recipe=recipe(optimizer="sgd"), holdout=0.2), blobs, Seeds(7, 0))
    b = parts(Fit(recipe=recipe(optimizer="adamw"), holdout=0.2), blobs, Seeds(7, 0))
    np.testing.assert_array_equal(a.x_holdout, b.x_holdout)


def test_a_rate_far_too_high_is_told_as_divergence_and_never_as_a_model(blobs):
    fitted = trained(blobs, rate=1e30, epochs=5)
    assert fitted.diverged_at is not None
    assert fitted.diverged_at <= fitted.steps
    assert fitted.state == {}
    assert fitted.holdout_loss is None
    with pytest.raises(DivergedError, match=f"stopped being finite at step {fitted.diverged_at} with learning rate 1e"):
        _ = fitted.trained


def test_normalisation_is_taken_from_the_training_rows_and_saved(blobs):
    state = trained(blobs).state
    np.testing.assert_allclose(state["mean"], blobs.x_train.mean(0), rtol=1e-6)
    np.testing.assert_allclose(state["deviation"], blobs.x_train.std(0), rtol=1e-5)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_a_learning_rate_must_be_a_number_above_zero(blobs, wrong):
    with pytest.raises(ConfigError, match="it must be a number above 0"):
        trained(blobs, rate=wrong)


def test_a_hold_out_that_leaves_nothing_is_refused(blobs):
    with pytest.raises(DataError, match=r"hold-out of 0.001 of 60 training rows"):
        trained(blobs, holdout=0.001)


def test_a_refused_combination_of_settings_is_a_clear_error(blobs):
    with pytest.raises(ConfigError, match=r"adabelief refuses its settings.*\[0\.0, 1\.0\)"):
        trained(blobs, optimizer="adabelief", settings={"beta1": 1.5})


def test_without_momentum_there_is_no_looking_ahead(blobs):
    still = trained(blobs, settings={"momentum": 0.0})
    plain = trained(blobs, optimizer="sgd-plain")
    assert same(still.trained.state_dict(), plain.trained.state_dict())


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_training_code.py").write_text(
        "import numpy as np\n"
        "from torch import nn\n"
        "def dropping(shape, classes): return nn.Sequential(nn.Linear(shape[0], 32), nn.Dropout(0.5), nn.Linear(32, "
        "classes))\n"
        "def normed(shape, classes): return nn.Sequential(nn.BatchNorm1d(shape[0]), nn.Linear(shape[0], classes))\n"
        "def narrow(shape, classes): return nn.Linear(shape[0], classes - 1)\n"
        "def empty(shape, classes): return nn.Softmax(1)\n"
        "def first_half(x, y, context): return x[:len(x) // 2], y[:len(y) // 2]\n"
        "def drawn(x, y, context, share):\n"
        "    rows = context.rng.choice(len(y), int(share * len(y)), replace=False)\n"
        "    return x[rows], y[rows]\n"
        "def writing(x, y, context):\n    x[0] = 0\n    return x, y\n"
        "def unlabelled(x, y, context): return x, y + context.classes\n"
        "def outside(x, y, context): return x + 5, y\n"
        "def misshapen(x, y, context): return x[:, :1], y\n"
        "def fractional(x, y, context): return x, y + 0.5\n"
        "def alone(x, y, context): return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "own_training_code"


def test_a_users_network_with_dropout_repeats_itself(blobs, own_module):
    first = trained(blobs, architecture=f"{own_module}:dropping")
    assert same(first.state, trained(blobs, architecture=f"{own_module}:dropping").state)


def test_counting_operations_leaves_running_statistics_alone(blobs, own_module):
    state = trained(blobs, architecture=f"{own_module}:normed", epochs=2, batch_size=30).state
    assert int(state["net.0.num_batches_tracked"]) == 4


def test_a_users_network_with_the_wrong_output_is_named(blobs, own_module):
    with pytest.raises(ModelError, match=r"narrow' answers 2 rows with \(2, 2\); expected \(2, 3\)"):
        trained(blobs, architecture=f"{own_module}:narrow")


def test_a_users_network_without_parameters_is_named(blobs, own_module):
    with pytest.raises(ModelError, match="empty' has no parameters to train"):
        trained(blobs, architecture=f"{own_module}:empty")


def test_a_change_touches_the_training_part_and_not_the_held_back_rows(blobs, own_module):
    plain = parts(Fit(recipe=recipe(), holdout=0.2), blobs, Seeds(7, 0))
    change = Change(function=f"{own_module}:first_half")
    halved = parts(Fit(recipe=recipe(), holdout=0.2, change=change), blobs, Seeds(7, 0))
    np.testing.assert_array_equal(halved.x, plain.x[:24])
    np.testing.assert_array_equal(halved.x_holdout, plain.x_holdout)


def test_a_change_draws_from_the_craft_stream(blobs, own_module):
    change = Change(function=f"{own_module}:drawn", parameters={"share": 0.5})
    found = parts(Fit(recipe=recipe(), change=change), blobs, Seeds(7, 3))
    rows = Seeds(7, 3).numpy("craft").choice(60, 30, replace=False)
    np.testing.assert_array_equal(found.x, blobs.x_train[rows])
    np.testing.assert_array_equal(found.y, blobs.y_train[rows])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unlabelled", "returned labels from 3 to 5, outside 0 to 2"),
        ("outside", "180 values that are not finite or outside the domain"),
        ("misshapen", r"returned x \(60, 1\) and y \(60,\); expected \(M, 3\)"),
        ("fractional", "returned labels of type float64; they must be integers"),
        ("alone", r"returned a ndarray; it must return \(x, y\)"),
    ],
)
def test_a_change_that_returns_nonsense_is_named(blobs, own_module, name, said):
    with pytest.raises(DataError, match=said):
        trained(blobs, change=Change(function=f"{own_module}:{name}"))


def test_a_change_cannot_write_into_the_data(blobs, own_module):
    with pytest.raises(ValueError, match="read-only"):
        trained(blobs, change=Change(function=f"{own_module}:writing"))


@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs", "muon", "sam"])
def test_channels_last_trains_as_well_under_every_kind_of_optimizer(digits, optimizer):
    rate = {"adamw": 0.01, "lbfgs": 1.0, "muon": 0.02, "sam": 0.1}[optimizer]
    settings = {"architecture": "strided-cnn", "optimizer": optimizer, "rate": rate, "epochs": 4}
    first = trained(digits, **settings)
    last, again = (trained(digits, **settings, layout="channels-last") for _ in range(2))
    assert same(last.trained.state_dict(), again.trained.state_dict())
    assert abs(accuracy(last, digits) - accuracy(first, digits)) <= 0.03
    assert accuracy(last, digits) >= 0.8
