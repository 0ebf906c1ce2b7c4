"""Built-in networks fit any shape, and a user's own are called and checked."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from auditor.errors import ConfigError, ModelError, UnknownNameError
from auditor.recipe import Recipe
from auditor.record import DatasetRecord
from auditor.training.architectures import Normalised, build, mlp, strided_cnn


def facts(shape, classes=3):
    names = tuple(map(str, range(classes)))
    rows = {"train": 1, "test": 1}
    return DatasetRecord(id="d", sha256="", rows=rows, shape=shape, classes=names, range=(0, 1), licence="")


def recipe(architecture, **kwargs):
    return Recipe(architecture=architecture, optimizer="sgd", learning_rate=0.1, epochs=1, kwargs=kwargs)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 224, 224), (2, 5, 40), (1, 1, 1)])
def test_the_cnn_answers_images_of_any_size(shape):
    out = strided_cnn(shape, 7, width=4)(torch.rand(2, *shape))
    assert out.shape == (2, 7)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("shape", [(1,), (30,), (1, 8, 8)])
def test_the_mlp_answers_any_shape(shape):
    assert mlp(shape, 4, hidden=(8, 5))(torch.rand(2, *shape)).shape == (2, 4)


def test_the_mlp_has_the_parameters_its_sizes_say():
    assert sum(p.numel() for p in mlp((64,), 10, hidden=(128,)).parameters()) == 64 * 128 + 128 + 128 * 10 + 10


def test_the_cnn_has_no_running_statistics():
    assert list(strided_cnn((1, 8, 8), 3).buffers()) == []


def test_the_cnn_refuses_tables_with_what_to_do():
    with pytest.raises(ConfigError, match=r"needs images.*\(30,\): use mlp"):
        build(recipe("strided-cnn"), facts((30,)))


def test_normalised_rows_have_mean_zero_and_deviation_one():
    x = np.random.default_rng(0).uniform(5, 9, (50, 2, 3, 3)).astype(np.float32)
    module = Normalised(nn.Identity(), (2, 3, 3))
    module.measure(x)
    out = module(torch.tensor(x)).numpy()
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((0, 2, 3)), 1, rtol=1e-5)


def test_normalisation_of_many_rows_agrees_with_numpy():
    x = np.random.default_rng(0).normal(3, 2, (9000, 4)).astype(np.float32)
    module = Normalised(nn.Identity(), (4,))
    module.measure(x)
    np.testing.assert_allclose(module.mean.numpy(), x.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(module.deviation.numpy(), x.astype(np.float64).std(0), rtol=1e-6)


def test_a_constant_feature_is_not_divided_by_zero_nor_by_rounding():
    module = Normalised(nn.Identity(), (1,))
    module.measure(np.full((999, 1), 0.1, np.float32))
    assert module.deviation.tolist() == [1.0]


def test_a_constant_feature_stays_near_zero_beside_others():
    module = Normalised(nn.Identity(), (2,))
    module.measure(np.array([[4.0, 1.0], [4.0, 3.0]], np.float32))
    np.testing.assert_array_equal(module(torch.tensor([[4.0, 3.0]])).numpy(), [[0.0, 1.0]])


def test_weights_depend_on_the_seed_alone_and_the_global_state_is_kept():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a, b, c = (build(recipe("mlp"), facts((4,)), seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a["net.1.weight"], b["net.1.weight"])
    assert not torch.equal(a["net.1.weight"], c["net.1.weight"])


def test_an_unknown_architecture_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown architecture 'strided-cn'; did you mean 'strided-cnn'"):
        build(recipe("strided-cn"), facts((4,)))


def test_a_keyword_nobody_takes_is_named():
    with pytest.raises(ModelError, match=r"'mlp' cannot be called as.*widht=3.*unexpected keyword argument 'widht'"):
        build(recipe("mlp", widht=3), facts((4,)))


def test_a_users_factory_must_return_a_module(tmp_path, monkeypatch):
    (tmp_path / "own_networks.py").write_text("def numbers(shape, classes): return [1, 2]\nsize = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"returned a list; it must return a torch.nn.Module"):
        build(recipe("own_networks:numbers"), facts((4,)))
    with pytest.raises(ModelError, match="is a int, not something that can be called"):
        build(recipe("own_networks:size"), facts((4,)))


class Seen(nn.Module):
    """A convolution that keeps what it was given."""

    def __init__(self, shape, classes):
        super().__init__()
        self.first, self.last = nn.Conv2d(shape[0], 4, 3), nn.Linear(4, classes)

    def forward(self, x):
        self.given = x
        return self.last(self.first(x).mean(dim=(2, 3)))


def test_channels_last_changes_where_images_lie_and_nothing_of_what_is_answered_or_saved(monkeypatch):
    monkeypatch.setitem(sys.modules, "seen_nets", SimpleNamespace(seen=Seen))
    first = build(recipe("seen_nets:seen"), facts((3, 8, 8)))
    last = build(recipe("seen_nets:seen").model_copy(update={"layout": "channels-last"}), facts((3, 8, 8)))
    x = torch.rand(5, 3, 8, 8)
    torch.testing.assert_close(last(x), first(x), atol=1e-6, rtol=0)
    assert first.net.given.is_contiguous()
    assert last.net.given.is_contiguous(memory_format=torch.channels_last)
    assert last.net.given.shape == x.shape
    kept, other = first.state_dict(), last.state_dict()
    assert kept.keys() == other.keys()
    assert all(torch.equal(kept[k], other[k]) and other[k].is_contiguous() for k in kept)
