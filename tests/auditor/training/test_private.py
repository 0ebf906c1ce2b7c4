"""Differential privacy: the accountant against published and exact numbers, the gradient against a loop by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats
from torch import nn
from torch.nn.functional import cross_entropy

from auditor.config import TrainConfig
from auditor.dataset import Dataset, Domain
from auditor.datasets import load
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError, ModelError
from auditor.recipe import Dp, Fit, Recipe, Standard
from auditor.seeds import Seeds
from auditor.statistics import auc
from auditor.training import private
from auditor.training.accountant import ORDERS, epsilon_spent, noise_for, renyi
from auditor.training.loop import fit
from auditor.training.private import Private, clipped_sum, guarantee

OPTIMIZERS = {
    "sgd": 0.04,
    "adam": 0.004,
    "adamw": 0.004,
    "rmsprop": 0.001,
    "nadam": 0.004,
    "radam": 0.016,
    "adagrad": 0.02,
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load(DataConfig(source="digits"), tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (np.eye(3)[y] + 0.05 * rng.normal(size=(90, 3))).clip(0, 1).astype(np.float32)
    return Dataset("blobs", x[:60], y[:60], x[60:], y[60:], ("a", "b", "c"), Domain.unit((3,)))


def trained(data, objective, *, rate=0.1, seed=0, **changes):
    given = {"architecture": "mlp", "optimizer": "sgd", "epochs": 3, "batch_size": 16, **changes}
    return fit(Fit(recipe=Recipe(objective=objective, **given)), data, seeds=Seeds(7, seed), learning_rate=rate)


def by_moments(noise, rate, steps, delta):
    """The conversion that was used before 2020, by which the published numbers were found."""
    return min(steps * renyi(noise, rate, a) + math.log(1 / delta) / (a - 1) for a in ORDERS)


def test_the_moments_of_abadi_et_al_give_their_epsilon():
    assert by_moments(4, 0.01, 10_000, 1e-5) == pytest.approx(1.26, abs=0.005)  # section 3.2 of the paper
    assert 0.9 < epsilon_spent(4, 0.01, 10_000, 1e-5) < 1.26


def test_the_tutorial_of_tensorflow_privacy_gives_its_epsilon():
    assert by_moments(1.1, 256 / 60_000, 60 * 60_000 // 256, 1e-5) == pytest.approx(3.01, abs=0.005)


def test_the_documented_example_of_opacus_gives_its_epsilon():
    found = 300 * renyi(1, 0.01, 5) + math.log1p(-1 / 5) - math.log(1e-5 * 5) / 4  # it says that order 5 is the best
    assert found == pytest.approx(2.39, abs=0.005)
    assert epsilon_spent(1, 0.01, 300, 1e-5) <= found


@pytest.mark.parametrize(("noise", "rate", "order"), [(1, 0.01, 2), (1, 0.2, 7), (4, 0.01, 32), (0.7, 0.5, 3)])
def test_the_divergence_equals_an_integral_over_the_densities(noise, rate, order):
    def density(z):
        ratio = (1 - rate) + rate * np.exp((2 * z - 1) / (2 * noise**2))
        return ratio**order * stats.norm.pdf(z, scale=noise)

    moment, _ = integrate.quad(density, -20 * noise, 20 * noise + order, epsabs=0, epsrel=1e-11, limit=500)
    assert renyi(noise, rate, order) == pytest.approx(math.log(moment) / (order - 1), rel=1e-6)


@pytest.mark.parametrize("noise", [1e3, 1e6, 1e9])
def test_next_to_no_divergence_is_not_lost_to_rounding(noise):
    assert renyi(noise, 0.01, 2) == pytest.approx(0.01**2 / noise**2, rel=1e-5)  # log(1 + q^2 (exp(1 / z^2) - 1))


def test_a_tiny_rate_is_not_lost_to_rounding():
    leading = 1e-14 * math.expm1(1 / 16)  # of order 2: log(1 + q^2 (exp(1 / z^2) - 1))
    assert renyi(4, 1e-7, 2) == pytest.approx(leading, rel=1e-9)


@pytest.mark.parametrize("noise", [0.8, 2.0, 10.0])
def test_epsilon_without_sampling_is_a_little_above_the_exact_one_of_the_gaussian_mechanism(noise):
    def excess(epsilon):  # Balle and Wang, ICML 2018, theorem 8
        half = 1 / (2 * noise)
        spent = stats.norm.cdf(half - epsilon * noise) - math.exp(epsilon) * stats.norm.cdf(-half - epsilon * noise)
        return spent - 1e-5

    exact = optimize.brentq(excess, 1e-3, 50)
    assert exact < epsilon_spent(noise, 1.0, 1, 1e-5) < 1.15 * exact


def test_the_noise_for_an_epsilon_spends_it_and_hardly_less():
    noise = noise_for(2.0, 0.05, 600, 1e-5)
    assert 1.9999 < epsilon_spent(noise, 0.05, 600, 1e-5) <= 2.0


@pytest.mark.parametrize(
    ("epsilon", "said"), [(1e-6, "no noise is enough for epsilon 1e-06"), (1e9, "promises nothing")]
)
def test_an_epsilon_that_cannot_be_had_is_refused(epsilon, said):
    with pytest.raises(ConfigError, match=said):
        noise_for(epsilon, 0.05, 600, 1e-5)


@pytest.mark.parametrize(
    "wrong", [(0, 0.1, 1, 1e-5), (1, 0, 1, 1e-5), (1, 1.1, 1, 1e-5), (1, 0.1, 0, 0.1), (1, 1, 1, 1)]
)
def test_arguments_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="noise must be above 0, the rate of rows in"):
        epsilon_spent(*wrong)


def network(shape=(3,), classes=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, classes)
    )


@pytest.mark.parametrize("at_once", [1 << 28, 4 * 83 * 7])  # bytes: all rows together, and seven at a time
def test_the_clipped_sum_equals_a_loop_over_rows_by_hand(blobs, monkeypatch, at_once):
    monkeypatch.setattr(private, "CHUNK_BYTES", at_once)
    net, x, y = network(), torch.tensor(blobs.x_train[:20]), torch.tensor(blobs.y_train[:20])
    expected = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    lengths = []
    for row, label in zip(x, y, strict=True):
        net.zero_grad()
        cross_entropy(net(row[None]), label[None]).backward()
        lengths.append(math.sqrt(sum(float(p.grad.square().sum()) for p in net.parameters())))
        for name, p in net.named_parameters():
            expected[name] += p.grad * min(1, 2.2 / lengths[-1])
    assert min(lengths) < 2.2 < max(lengths)  # some are clipped, some are not
    found = clipped_sum(net, x, y, 2.2)
    for name, gradient in found.gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5)
    assert float(found.loss) == pytest.approx(float(cross_entropy(net(x), y, reduction="sum").detach()), rel=1e-5)


def test_no_row_moves_the_sum_by_more_than_the_clipping_norm(blobs):
    net, x, y = network(), torch.tensor(blobs.x_train), torch.tensor(blobs.y_train)
    whole = clipped_sum(net, x, y, 0.01).gradients
    for left_out in range(5):
        kept = torch.arange(len(y)) != left_out
        rest = clipped_sum(net, x[kept], y[kept], 0.01).gradients
        assert math.sqrt(sum(float((whole[k] - rest[k]).square().sum()) for k in whole)) <= 0.01 * (1 + 1e-4)


def steps_of(dp, rows=400, batches=10):
    generators = (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
    return Private(guarantee(dp, rows, batches, 1), rows, batches, *generators)


def test_rows_are_drawn_each_by_itself_at_the_stated_rate():
    steps = steps_of(Dp(noise_multiplier=1))
    sizes = [len(rows) for _ in range(100) for rows in steps.epoch()]
    assert np.mean(sizes) == pytest.approx(40, abs=4 * math.sqrt(36 / 1000))
    assert np.var(sizes) == pytest.approx(36, rel=0.2)  # binomial: 400 * 0.1 * 0.9


def test_a_step_without_rows_is_noise_of_the_stated_size_alone():
    steps = steps_of(Dp(noise_multiplier=2.0, max_grad_norm=3.0))
    net = nn.Linear(200, 100)
    loss = steps.backward(net, torch.zeros(0, 200), torch.zeros(0, dtype=torch.int64))
    assert float(loss) == 0
    assert float(net.weight.grad.std()) * 40 == pytest.approx(6, rel=0.02)
    assert float(net.weight.grad.mean()) * 40 == pytest.approx(0, abs=4 * 6 / math.sqrt(20_000))


def test_all_rows_next_to_no_noise_and_a_wide_norm_are_gradient_descent_by_hand(blobs):
    dp = Dp(noise_multiplier=1e-7, max_grad_norm=1e3)
    found = trained(blobs, dp, epochs=3, batch_size=60, schedule="constant", kwargs={"hidden": []})
    torch.manual_seed(Seeds(7, 0).integer("init"))
    net = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(net((torch.tensor(blobs.x_train) - 0.5) / 0.5), torch.tensor(blobs.y_train)).backward()
        optimizer.step()
    torch.testing.assert_close(found.state["net.1.weight"], net.weight.detach(), rtol=1e-3, atol=1e-4)


def test_normalisation_comes_from_the_domain_and_not_from_the_rows(blobs):
    low, high = np.array([-2, 0, 1], np.float32), np.array([2, 1, 1], np.float32)
    x = np.clip(blobs.x_train, low, high)
    data = Dataset("wide", x, blobs.y_train, x, blobs.y_train, ("a", "b", "c"), Domain(low, high))
    state = trained(data, Dp(noise_multiplier=1)).state
    assert state["mean"].tolist() == [0, 0.5, 1]
    assert state["deviation"].tolist() == [2, 0.5, 1]


def test_what_was_spent_is_said_and_does_not_depend_on_the_optimizer(blobs):
    found = trained(blobs, Dp(noise_multiplier=1.3, max_grad_norm=0.5))
    assert found.privacy == {
        "epsilon": epsilon_spent(1.3, 1 / 4, 12, 1 / 600),
        "delta": 1 / 600,
        "noise_multiplier": 1.3,
        "max_grad_norm": 0.5,
        "sampling_rate": 1 / 4,
    }
    assert trained(blobs, Dp(noise_multiplier=1.3, max_grad_norm=0.5), optimizer="adamw").privacy == found.privacy
    assert trained(blobs, Standard()).privacy is None
    asked = trained(blobs, Dp(epsilon=3, delta=1e-4)).privacy
    assert asked["delta"] == 1e-4
    assert 2.999 < asked["epsilon"] <= 3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_privately(digits, optimizer):
    found = trained(digits, Dp(epsilon=8), optimizer=optimizer, rate=OPTIMIZERS[optimizer], epochs=10, batch_size=128)
    with torch.no_grad():
        right = found.trained(torch.tensor(digits.x_test)).argmax(1).numpy() == digits.y_test
    assert right.mean() > 0.75


def test_a_small_epsilon_takes_away_what_membership_inference_finds():
    rng = np.random.default_rng(0)
    x, y = rng.random((600, 20), np.float32), rng.integers(0, 2, 600)  # nothing to learn: what fits is memorised
    data = Dataset("noise", x[:300], y[:300], x[300:], y[300:], ("a", "b"), Domain.unit((20,)))

    def leak(objective):
        net = trained(data, objective, optimizer="adamw", rate=0.01, epochs=40, batch_size=100).trained
        with torch.no_grad():
            losses = [
                cross_entropy(net(torch.tensor(a)), torch.tensor(b), reduction="none").double().numpy()
                for a, b in ((data.x_train, data.y_train), (data.x_test, data.y_test))
            ]
        return auc(-losses[0], -losses[1])

    assert leak(Standard()).low > 0.7
    private_leak = leak(Dp(epsilon=1))
    assert private_leak.low < 0.5 < private_leak.high
    assert private_leak.value < 0.57


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_private_nets.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def normed(shape, classes): return nn.Sequential(nn.BatchNorm1d(shape[0]), nn.Linear(shape[0], classes))\n"
        "def dropping(shape, classes): return nn.Sequential(nn.Linear(shape[0], 16), nn.Dropout(), "
        "nn.Linear(16, classes))\n"
        "class Remembering(nn.Linear):\n"
        "    def __init__(self, *sizes):\n"
        "        super().__init__(*sizes)\n"
        "        self.register_buffer('mean', torch.zeros(sizes[0]))\n"
        "    def forward(self, x):\n"
        "        self.mean.mul_(0.9).add_(x.detach().mean(0))\n"
        "        return super().forward(x)\n"
        "def remembering(shape, classes): return Remembering(shape[0], classes)\n"
        "def frozen(shape, classes):\n"
        "    first = nn.Linear(shape[0], 8)\n"
        "    first.requires_grad_(False)\n"
        "    return nn.Sequential(first, nn.Linear(8, classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "own_private_nets"


@pytest.mark.parametrize(
    ("name", "said"),
    [("normed", r"dp: net.0 is a BatchNorm1d.*use GroupNorm"), ("remembering", "dp: no gradient of a row alone")],
)
def test_a_network_that_mixes_rows_is_refused(blobs, own_module, name, said):
    with pytest.raises(ModelError, match=said):
        trained(blobs, Dp(noise_multiplier=1), architecture=f"{own_module}:{name}")


def test_dropout_repeats_itself_and_frozen_layers_stay(blobs, own_module):
    first, again = (trained(blobs, Dp(noise_multiplier=1), architecture=f"{own_module}:dropping").state for _ in "ab")
    assert all(torch.equal(first[k], again[k]) for k in first)
    one, three = (
        trained(blobs, Dp(noise_multiplier=1), architecture=f"{own_module}:frozen", epochs=e).state for e in (1, 3)
    )
    assert torch.equal(one["net.0.weight"], three["net.0.weight"])
    assert not torch.equal(one["net.1.weight"], three["net.1.weight"])


@pytest.mark.parametrize("tune", ["auto", {"validation": 0.3}])
def test_a_search_for_the_rate_is_refused_with_dp(tune):
    with pytest.raises(ValueError, match="a search for the learning rate spends privacy"):
        TrainConfig(objective={"name": "dp", "epsilon": 8}, tune=tune)
    assert TrainConfig(objective={"name": "dp", "epsilon": 8}, tune="off").tune == "off"
    assert TrainConfig(objective={"name": "dp", "epsilon": 8}, optimizers=[{"name": "sgd", "learning_rate": 0.1}])
