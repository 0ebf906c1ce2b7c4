"""Global magnitude pruning: the smallest weights of a whole network set to zero."""

import torch
from torch import nn

from .layers import layers_of, set_weight, weight_of


def prune(module: nn.Module, share: float) -> None:
    """Set round(share n) of the n weights of all layers to zero, in place: those smallest in magnitude.

    Biases and normalisation stay. One ranking for the whole network, so that a layer may lose more than another; of
    equal weights the earlier goes first. Han et al., NeurIPS 2015, without training afterwards.

    Raises:
        ModelError: there is no layer to prune.
    """
    layers = layers_of(module)
    size = torch.cat([weight_of(layer).detach().abs().flatten() for layer in layers])
    kept = torch.ones_like(size, dtype=torch.bool)
    kept[size.argsort(stable=True)[: round(share * size.numel())]] = False
    parts = torch.split(kept, [weight_of(layer).numel() for layer in layers])
    for layer, part in zip(layers, parts, strict=True):
        weight = weight_of(layer)
        set_weight(layer, torch.where(part.view_as(weight), weight, torch.zeros_like(weight)))
