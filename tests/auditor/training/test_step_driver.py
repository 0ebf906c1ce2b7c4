"""The step driver: any optimizer alike, with its several gradients, modes, rates and clipping."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError
from auditor.recipe import Dp, Fit, Pgd, Recipe
from auditor.seeds import Seeds
from auditor.training.loop import fit
from auditor.training.optimizers import resolve
from auditor.training.optimizers.driver import StepDriver, routed


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (np.eye(3)[y] + 0.05 * rng.normal(size=(90, 3))).clip(0, 1).astype(np.float32)
    return Dataset("blobs", x[:60], y[:60], x[60:], y[60:], ("a", "b", "c"), Domain.unit((3,)))


def trained(data, optimizer, *, seed=0, rate=None, **changes):
    given = {"architecture": "mlp", "kwargs": {"hidden": [8]}, "epochs": 6, "batch_size": 16, **changes}
    rate = rate or resolve(optimizer).default
    return fit(Fit(recipe=Recipe(optimizer=optimizer, **given)), data, seeds=Seeds(7, seed), learning_rate=rate)


def network(*, norm=False):
    torch.default_generator.manual_seed(0)
    layers = [nn.Linear(3, 5), *([nn.BatchNorm1d(5)] if norm else []), nn.ReLU(), nn.Linear(5, 2)]
    return nn.Sequential(*layers)


def rows(seed=0):
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(32, 3, generator=stream), torch.randint(2, (32,), generator=stream)


def driven(name, module, x, y, steps=1, **keywords):
    spec = resolve(name)
    driver = StepDriver(spec, module, keywords.pop("rate", spec.default), spec.settings, **keywords)

    def closure():
        loss = cross_entropy(module(x), y)
        loss.backward()
        return loss.detach()

    losses = [float(driver.step(closure)) for _ in range(steps)]
    return driver, losses


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("name", ["sgd", "sam", "lbfgs", "muon", "lion", "asgd", "schedule-free-sgd", "rprop"])
def test_the_loop_learns_by_any_of_them(blobs, name):
    fitted = trained(blobs, name, epochs=15, rate=0.03 if name == "lion" else None)
    with torch.no_grad():
        right = fitted.trained(torch.tensor(blobs.x_test)).argmax(1).numpy() == blobs.y_test
    assert right.mean() > 0.95


def test_the_loss_of_a_step_is_that_where_its_weights_were():
    x, y = rows()
    for name in ("sgd", "sam", "lbfgs"):
        module = network()
        with torch.no_grad():
            before = float(cross_entropy(module(x), y))
        assert driven(name, module, x, y)[1] == [pytest.approx(before, rel=1e-6)]


def test_sam_with_no_radius_is_sgd_to_rounding():
    x, y = rows()
    plain, sharp = network(), network()
    driven("sgd", plain, x, y, steps=5)
    spec = resolve("sam")
    driver = StepDriver(spec, sharp, spec.default, {**spec.settings, "rho": 0.0})

    def closure():
        loss = cross_entropy(sharp(x), y)
        loss.backward()
        return loss.detach()

    for _ in range(5):
        driver.step(closure)
    torch.testing.assert_close(weights(sharp), weights(plain), rtol=1e-6, atol=1e-7)
    assert driver.passes == 10


def test_running_statistics_are_those_of_the_first_pass():
    x, y = rows()
    once, sharp = network(norm=True), network(norm=True)
    once.train()(x)
    driven("sam", sharp, x, y)
    assert torch.equal(sharp[1].running_mean, once[1].running_mean)
    assert torch.equal(sharp[1].running_var, once[1].running_var)
    assert int(sharp[1].num_batches_tracked) == 1


@pytest.mark.parametrize("name", ["sam", "lbfgs"])
def test_all_gradients_of_a_step_see_the_same_draws(name):
    module, (x, y) = network(), rows()
    stream, drawn = torch.Generator().manual_seed(5), []

    def closure():
        noise = torch.randn(32, 3, generator=stream)
        drawn.append(float(noise[0, 0]))
        loss = cross_entropy(module(x + 0.01 * noise), y)
        loss.backward()
        return loss.detach()

    spec = resolve(name)
    driver = StepDriver(spec, module, spec.default, spec.settings, streams=(stream,))
    driver.step(closure)
    first = driver.passes
    driver.step(closure)
    assert first >= 2
    assert len(set(drawn[:first])) == 1
    assert len(set(drawn)) == 2
    other = torch.Generator().manual_seed(5)
    for _ in range(2):
        torch.randn(32, 3, generator=other)
    assert torch.equal(stream.get_state(), other.get_state())  # as if each step had drawn once


def test_pairs_stay_pairs_under_sam(blobs):
    fits = [trained(blobs, name, objective=Pgd(steps=2), epochs=1, batch_size=60) for name in ("sgd", "sam")]
    assert fits[0].curve[0]["loss"] == fits[1].curve[0]["loss"]  # one step: the same rows, moved alike


def test_every_gradient_is_counted(blobs):
    plain, sharp = trained(blobs, "sgd"), trained(blobs, "sam")
    assert sharp.flops == 2 * plain.flops
    assert sharp.steps == plain.steps


@pytest.mark.parametrize("name", ["lbfgs", "rprop"])
def test_a_full_batch_optimizer_sees_all_rows_whatever_the_batch_size(blobs, name):
    small, large = trained(blobs, name, batch_size=7), trained(blobs, name, batch_size=60)
    assert small.steps == large.steps == 6
    assert all(torch.equal(small.state[k], large.state[k]) for k in small.state)


def test_what_lbfgs_counts_is_what_it_looked_at(blobs):
    fitted = trained(blobs, "lbfgs", epochs=2)
    one = trained(blobs, "rprop", epochs=2)
    assert fitted.flops % (one.flops // 2) == 0
    assert fitted.flops > 2 * one.flops


@pytest.mark.parametrize("name", ["asgd", "schedule-free-sgd", "schedule-free-adamw"])
def test_evaluating_changes_nothing_in_what_is_trained(name):
    x, y = rows()
    seen, unseen = network(norm=True), network(norm=True)
    driver, _ = driven(name, seen, x, y, steps=3)
    plain, _ = driven(name, unseen, x, y, steps=3)
    before = weights(seen), seen[1].running_mean.clone()
    driver.eval(lambda: [x[:16], x[16:]], seen)
    evaluated = weights(seen)
    driver.train()
    assert torch.equal(weights(seen), before[0])
    assert torch.equal(seen[1].running_mean, before[1])
    assert torch.equal(weights(seen), weights(unseen))
    plain.eval()
    assert torch.equal(evaluated, weights(unseen))


def test_batchnorm_is_measured_anew_for_the_weights_that_are_evaluated():
    x, y = rows()
    module = network(norm=True)
    driver, _ = driven("schedule-free-sgd", module, x, y, steps=5)
    driver.eval(lambda: [x], module)
    with torch.no_grad():
        inside = module[0](x)
    torch.testing.assert_close(module[1].running_mean, inside.mean(0))
    torch.testing.assert_close(module[1].running_var, inside.var(0))
    assert module[1].momentum == 0.1
    assert module.training


def test_asgd_is_evaluated_at_its_average():
    x, y = rows()
    module = network()
    spec = resolve("asgd")
    driver = StepDriver(spec, module, 0.2, {**spec.settings, "t0": 0.0, "lambd": 0.0})
    path = []

    def closure():
        loss = cross_entropy(module(x), y)
        loss.backward()
        return loss.detach()

    for _ in range(4):
        driver.step(closure)
        path.append(weights(module))
    driver.eval()
    # torch takes the average of the step before: 1, 1, 1/2, 1/3
    expected = torch.stack([path[1], path[2], path[3]]).mean(0)
    torch.testing.assert_close(weights(module), expected, rtol=1e-5, atol=1e-6)


def test_a_rate_is_a_factor_of_the_first_one():
    module = network()
    driver, _ = driven("muon", module, *rows(), rate=0.02)
    driver.rate(0.5)
    assert [group["lr"] for group in driver.optimizer.param_groups] == [0.01, 0.01]
    driver.rate(0.25)
    assert [group["lr"] for group in driver.optimizer.param_groups] == [0.005, 0.005]


def test_a_schedule_of_its_own_is_left_alone(blobs):
    cosine, constant = (trained(blobs, "schedule-free-sgd", schedule=s) for s in ("cosine", "constant"))
    assert all(torch.equal(cosine.state[k], constant.state[k]) for k in cosine.state)


def test_a_clipped_gradient_is_as_long_as_allowed_and_is_counted():
    x, y = rows()
    module = network()
    start = weights(module)
    driver, _ = driven("sgd-plain", module, x, y, rate=1.0, clip=0.01)
    assert float((weights(module) - start).norm()) == pytest.approx(0.01, rel=1e-3)
    assert int(driver.clipped) == 1
    assert int(driven("sgd-plain", network(), x, y, clip=1e3)[0].clipped) == 0


def test_clipping_is_refused_where_it_would_mislead_a_search():
    with pytest.raises(ConfigError, match="lbfgs searches along a line, which a clipped gradient misleads"):
        driven("lbfgs", network(), *rows(), clip=1.0)


@pytest.mark.parametrize("name", ["sam", "lbfgs"])
def test_dp_is_refused_where_a_step_takes_several_gradients(blobs, name):
    with pytest.raises(ConfigError, match=f"dp: {name} takes the gradient at about"):
        trained(blobs, name, objective=Dp(noise_multiplier=1))


def test_dp_goes_with_a_full_batch_by_counting_it_as_one(blobs):
    fitted = trained(blobs, "rprop", objective=Dp(noise_multiplier=5))
    assert fitted.privacy["sampling_rate"] == 1


def test_state_is_counted_where_it_is_nested():
    driver, _ = driven("lbfgs", network(), *rows(), steps=3)
    size = 4 * len(weights(network()))
    assert driver.state_bytes > 4 * size  # pairs of its history lie in lists


class Texts(nn.Module):
    """A table, a hidden layer, a kernel and a head."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.kernel = nn.Conv1d(4, 4, 3)
        self.hidden = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)


def test_only_hidden_matrices_and_kernels_are_routed_to_the_update_of_matrices():
    module = Texts()
    matrices, rest = routed(module)
    assert [p.shape for p in matrices["params"]] == [module.kernel.weight.shape, module.hidden.weight.shape]
    assert {id(p) for p in rest["params"]} == {
        id(p) for p in (module.table.weight, module.kernel.bias, module.hidden.bias, *module.norm.parameters())
    } | {id(p) for p in module.head.parameters()}
    assert len(routed(nn.Linear(3, 2))) == 1
