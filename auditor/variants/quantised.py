"""Fake quantisation: a network that answers in float32 what its integer version would answer, with gradients."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .layers import layers_of, output_axis, set_weight, weight_of


@dataclass(frozen=True)
class Span:
    """The least and the greatest value that a layer was given."""

    low: float
    high: float


def quantised_weight(weight: torch.Tensor, bits: int, axis: int) -> torch.Tensor:
    """Weights as b-bit integers would hold them, an own scale s for each output: s round(w / s).

    s = max|w| / (2^(b-1) - 1).

    Symmetric around zero and rounded to the nearest, ties to even; a channel of zeros stays. Jacob et al., CVPR 2018;
    per channel as Krishnamoorthi, arXiv 1806.08342.
    """
    most = 2 ** (bits - 1) - 1
    others = [d for d in range(weight.dim()) if d != axis]
    scale = weight.abs().amax(dim=others, keepdim=True) / most
    safe = torch.where(scale > 0, scale, torch.ones_like(scale))
    return torch.where(scale > 0, (weight / safe).round().clamp(-most, most) * safe, weight)


class InputQuantiser(nn.Module):
    """Rounds a layer's input to 2^bits levels between the least and the greatest value that calibration saw.

    One scale for the whole tensor and a zero that is a level: s = (high - low) / (2^bits - 1), z = round(-low / s). The
    gradient is that of the identity within the range and zero outside (the straight-through estimator of Bengio,
    Léonard & Courville 2013), so that attacks see a slope, and none where the deployed model truly clips.
    """

    scale: torch.Tensor
    zero: torch.Tensor

    def __init__(self, span: Span, bits: int, like: torch.Tensor) -> None:
        super().__init__()
        low, high = min(span.low, 0.0), max(span.high, 0.0)
        self.top = 2**bits - 1
        scale = (high - low) / self.top or 1.0
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32, device=like.device))
        self.register_buffer("zero", torch.tensor(round(-low / scale), dtype=torch.int32, device=like.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The nearest level for each value of x (any shape)."""
        levels: torch.Tensor = torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, self.top)
        return levels


def quantise(module: nn.Module, bits: int, activation_bits: int | None, batches: Iterable[torch.Tensor]) -> None:
    """Quantise the layers of a module in place; where inputs are quantised too, their ranges come from these batches.

    Calibration runs on the float network. A layer that does not run keeps its input as it is.

    Raises:
        ModelError: there is no layer to quantise.
    """
    layers = layers_of(module)
    spans = {} if activation_bits is None else _calibrated(module, layers, batches)
    for index, layer in enumerate(layers):
        weight = weight_of(layer)
        set_weight(layer, quantised_weight(weight, bits, output_axis(layer)))
        if activation_bits is not None and index in spans:
            layer.add_module("input_quantiser", InputQuantiser(spans[index], activation_bits, weight))
            layer.register_forward_pre_hook(_quantise_input)


def _quantise_input(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:  # a layer's positional arguments
    quantiser = layer.get_submodule("input_quantiser")
    return (quantiser(inputs[0]), *inputs[1:])


def _calibrated(module: nn.Module, layers: list[nn.Module], batches: Iterable[torch.Tensor]) -> dict[int, Span]:
    """The span of the inputs of each layer that ran."""
    seen: dict[int, list[torch.Tensor]] = {}

    def watch(index: int) -> Any:  # a hook of torch's
        return lambda _, inputs: seen.setdefault(index, []).append(torch.stack(inputs[0].aminmax())) if inputs else None

    hooks = [layer.register_forward_pre_hook(watch(index)) for index, layer in enumerate(layers)]
    try:
        with torch.no_grad():
            for batch in batches:
                module(batch)
    finally:
        for hook in hooks:
            hook.remove()
    ends = {index: torch.stack(found).cpu() for index, found in seen.items()}
    return {index: Span(float(e[:, 0].min()), float(e[:, 1].max())) for index, e in ends.items()}
