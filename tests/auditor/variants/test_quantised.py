"""Fake quantisation against closed forms, an independent numpy version, and gradients on paper."""

import numpy as np
import pytest
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.variants.layers import layers_of, weight_of
from auditor.variants.quantised import InputQuantiser, Span, quantise, quantised_weight


def test_a_weight_is_the_nearest_multiple_of_its_channels_scale() -> None:
    weight = torch.tensor([[0.7, -0.32, 0.1, 0.04], [7.0, 1.4, -2.6, 0.0]])
    # 4 bits: 15 levels, -7..7; the scales are 0.7 / 7 and 7 / 7
    assert torch.allclose(quantised_weight(weight, 4, 0), torch.tensor([[0.7, -0.3, 0.1, 0.0], [7.0, 1.0, -3.0, 0.0]]))


def test_ties_go_to_the_even_level() -> None:
    assert quantised_weight(torch.tensor([[7.0, 0.5, 1.5, 2.5]]), 4, 0).tolist() == [[7.0, 0.0, 2.0, 2.0]]


def test_a_channel_of_zeros_stays() -> None:
    assert quantised_weight(torch.zeros(2, 3), 8, 0).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(("bits", "levels"), [(8, 255), (4, 15), (2, 3)])
def test_so_many_bits_allow_so_many_levels(bits: int, levels: int) -> None:
    weight = torch.linspace(-1, 1, 10_001)[None]
    assert len(quantised_weight(weight, bits, 0).unique()) == levels


def test_a_transposed_convolution_has_its_outputs_on_axis_one() -> None:
    layer = nn.ConvTranspose2d(2, 3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[[1.0]], [[10.0]], [[100.0]]], [[[0.5]], [[0.04]], [[0.2]]]]))
    quantise(nn.Sequential(layer), 8, None, [])
    kept = layer.weight[1, :, 0, 0].tolist()  # 0.5 of 1, 0.04 of 10, 0.2 of 100: in steps of 1, 10 and 100 / 127
    assert kept == pytest.approx([64 / 127, 10 / 127, 0.0], abs=1e-6)


def numpy_levels(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """The published affine formula, written anew."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255)
    zero = np.round(-low / scale)
    return (np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.8, 2.3), (0.5, 4.0), (-3.0, -1.0)])
def test_inputs_are_rounded_as_the_affine_formula_says(low: float, high: float) -> None:
    x = np.random.default_rng(0).uniform(-5, 5, 999).astype(np.float32)
    found = InputQuantiser(Span(low, high), 8, torch.zeros(1))(torch.tensor(x)).numpy()
    assert found == pytest.approx(numpy_levels(x, low, high), abs=1e-6)
    assert float(InputQuantiser(Span(low, high), 8, torch.zeros(1))(torch.zeros(1))) == 0.0  # zero is a level


def test_a_gradient_passes_within_the_range_and_not_beyond() -> None:
    x = torch.tensor([-0.1, 0.0, 0.3, 1.0, 1.1], requires_grad=True)
    InputQuantiser(Span(0.0, 1.0), 8, torch.zeros(1))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_the_gradient_of_a_linear_network_is_its_quantised_weight() -> None:
    net = nn.Sequential(nn.Linear(3, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.27, -0.503, 0.111]]))
    quantise(net, 8, 8, [torch.rand(16, 3, generator=torch.Generator().manual_seed(0))])
    x = torch.full((1, 3), 0.4, requires_grad=True)
    net(x).sum().backward()
    assert x.grad is not None
    assert x.grad[0].tolist() == pytest.approx([1.27, -0.5, 0.11], abs=1e-6)


def test_ranges_are_those_of_the_float_network() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[0].weight.fill_(2.0)
        net[1].weight.fill_(1.0)
    quantise(net, 8, 8, [torch.tensor([[0.0], [0.5]]), torch.tensor([[1.0]])])
    assert float(net[0].get_submodule("input_quantiser").scale) == pytest.approx(1 / 255)
    assert float(net[1].get_submodule("input_quantiser").scale) == pytest.approx(2 / 255)


def test_a_layer_that_does_not_run_keeps_its_input() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    net = Half()
    quantise(net, 8, 8, [torch.rand(4, 2)])
    assert hasattr(net.used, "input_quantiser")
    assert not hasattr(net.idle, "input_quantiser")


def test_shared_weights_are_quantised_once() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert layers_of(net) == [net[0]]


def test_a_normalised_weight_becomes_a_plain_one() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    before = layer.weight.detach().clone()
    (found,) = layers_of(nn.Sequential(layer))
    assert torch.equal(weight_of(found), before)
    assert isinstance(layer.weight, nn.Parameter)


def test_a_network_without_layers_has_nothing_to_quantise() -> None:
    with pytest.raises(ModelError, match="no linear or convolutional layer"):
        quantise(nn.Sequential(nn.Flatten()), 8, None, [])
