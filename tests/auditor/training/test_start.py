"""Trainings that start from weights that exist: which go where, and what does not fit is named."""

import numpy as np
import pytest
import torch

from auditor.dataset import Dataset, Domain
from auditor.errors import ConfigError, ModelError
from auditor.recipe import Fit, Recipe, Start
from auditor.seeds import Seeds
from auditor.training.architectures import build
from auditor.training.loop import fit
from auditor.training.start import begin


def data(classes=3):
    rng = np.random.default_rng(0)
    y = np.arange(90) % classes
    x = (np.eye(4)[y] + 0.05 * rng.normal(size=(90, 4))).clip(0, 1).astype(np.float32)
    names = tuple("abcd"[:classes])
    return Dataset("blobs", x[:60], y[:60], x[60:], y[60:], names, Domain.unit((4,)))


def recipe(**changes):
    return Recipe(**{"architecture": "mlp", "kwargs": {"hidden": [5]}, "optimizer": "sgd", "epochs": 2, **changes})


def network(classes=3, seed=0):
    return build(recipe(), data(classes).facts(), seed=seed)


def given(head="kept"):
    return Start(path="pre.safetensors", head=head)


def trained(state, *, rate=0.1, dataset=None, **changes):
    wanted = Fit(recipe=recipe(start=changes.pop("start", given()), **changes))
    return fit(wanted, dataset or data(), seeds=Seeds(7, 0), learning_rate=rate, start=state)


def test_weights_saved_here_come_back_with_the_normalisation_of_their_inputs():
    first, later = network(seed=1), network(seed=2)
    first.mean.fill_(0.25)
    begin(later, given(), first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(later.state_dict().values(), first.state_dict().values(), strict=True))


def test_weights_of_the_bare_network_fit_and_inputs_stay_normalised_as_measured():
    first, later = network(seed=1), network(seed=2)
    later.mean.fill_(0.5)
    begin(later, given(), first.net.state_dict())
    assert torch.equal(later.net[1].weight, first.net[1].weight)
    assert later.mean.tolist() == [0.5] * 4


def test_numbers_of_another_precision_are_converted():
    state = {name: t.to(torch.float64) for name, t in network(seed=1).state_dict().items()}
    later = network(seed=2)
    begin(later, given(), state)
    assert {t.dtype for t in later.state_dict().values()} == {torch.float32}
    assert torch.equal(later.net[1].weight, network(seed=1).net[1].weight)


def test_a_training_starts_there_and_every_seed_from_the_same_weights():
    state = network(seed=1).state_dict()
    still = trained(state, rate=1e-30, optimizer="sgd-plain", epochs=1)
    assert torch.equal(still.state["net.1.weight"], state["net.1.weight"])
    moved = trained(state)
    assert not torch.equal(moved.state["net.1.weight"], state["net.1.weight"])
    again = trained(state)
    assert all(torch.equal(moved.state[k], again.state[k]) for k in moved.state)


def test_a_new_head_replaces_a_last_layer_of_another_shape_alone():
    before = network(classes=4, seed=1).state_dict()
    later, fresh = network(seed=2), network(seed=2)
    begin(later, given("new"), before)
    assert torch.equal(later.net[1].weight, before["net.1.weight"])
    assert torch.equal(later.net[3].weight, fresh.net[3].weight)
    assert torch.equal(later.net[3].bias, fresh.net[3].bias)


def test_a_new_head_keeps_a_last_layer_that_fits():
    before = network(seed=1).state_dict()
    later = network(seed=2)
    begin(later, given("new"), before)
    assert torch.equal(later.net[3].weight, before["net.3.weight"])


def test_a_head_left_out_of_the_file_is_fresh_where_it_may_be():
    before = {n: t for n, t in network(seed=1).net.state_dict().items() if not n.startswith("3.")}
    begin(network(seed=2), given("new"), before)
    with pytest.raises(ModelError, match=r"lacks 3\.weight"):
        begin(network(seed=2), given(), before)


def test_the_first_weight_that_does_not_fit_is_named_with_both_shapes():
    with pytest.raises(ModelError) as caught:
        begin(network(), given(), network(classes=4).state_dict())
    assert "pre.safetensors: 3.weight is (4, 5), the architecture has (3, 5)" in str(caught.value)
    assert "say `head: new`" in str(caught.value)


def test_a_weight_that_nobody_knows_is_named():
    with pytest.raises(ModelError, match=r"has also 9\.weight"):
        begin(network(), given(), {**network().net.state_dict(), "9.weight": torch.zeros(1)})


def test_weights_that_are_not_finite_are_refused_and_nothing_is_changed():
    broken = {**network(seed=1).net.state_dict(), "3.bias": torch.full((3,), torch.nan)}
    later, before = network(seed=2), network(seed=2)
    with pytest.raises(ModelError, match=r"3\.bias is not finite"):
        begin(later, given(), broken)
    assert torch.equal(later.net[1].weight, before.net[1].weight)


def test_a_start_without_its_weights_is_an_error():
    with pytest.raises(ConfigError, match="hand them over"):
        trained(None)
