"""Which layers of a network a variant reaches: its linear and convolutional ones."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from auditor.errors import ModelError

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
REACHED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


def layers_of(module: nn.Module) -> list[nn.Module]:
    """Linear and convolutional layers, each once, in the order of their definition; those that share weights once.

    A weight that is computed from others (weight or spectral normalisation) becomes a plain one, as on deployment.

    Raises:
        ModelError: there is none: the network is no torch module, or does not define its layers as such.
    """
    found = {id(_weight(m)): m for m in reversed(list(module.modules())) if isinstance(m, REACHED)}
    if not found:
        raise ModelError(
            f"{type(module).__name__} has no linear or convolutional layer that can be reached, so it has no variants"
        )
    return list(reversed(found.values()))


def output_axis(layer: nn.Module) -> int:
    """Which axis of a layer's weight counts its outputs."""
    return 1 if isinstance(layer, TRANSPOSED) else 0


def weight_of(layer: nn.Module) -> torch.Tensor:
    """The weight of a layer."""
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight


def set_weight(layer: nn.Module, weight: torch.Tensor) -> None:
    """Give a layer another weight, in place, so that whatever shares it has it too."""
    with torch.no_grad():
        weight_of(layer).copy_(weight)


def _weight(layer: nn.Module) -> torch.Tensor:
    if parametrize.is_parametrized(layer, "weight"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return weight_of(layer)
