"""The networks a recipe can name, each made for the shape of the data and carrying its own normalisation."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from auditor import plugins
from auditor.blocks import Chosen, blocks, extremes, large
from auditor.dataset import Array, Domain
from auditor.errors import ConfigError, ModelError
from auditor.recipe import Recipe
from auditor.record import DatasetRecord

SMALLEST_SIDE = 4  # convolutions stop where an image is no wider than this
ROWS_AT_ONCE = 4096  # rows whose squares are held in float64 together
WIDEST = 8  # channels grow to at most this many times the width


class Normalised(nn.Module):
    """A network behind its own normalisation, so that mean and deviation are saved with the weights.

    The buffers have shape (features,) for tabular data and (channels, 1, 1) for images. With `channels_last` the
    network is given images whose channels lie side by side in memory; their shape, and the weights, are the same.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, net: nn.Module, shape: Sequence[int], *, channels_last: bool = False) -> None:
        super().__init__()
        self.channels_last = channels_last
        size = tuple(shape) if len(shape) == 1 else (shape[0], 1, 1)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.net = net

    def measure(self, x: Array | Chosen) -> None:
        """Take mean and deviation from training rows x (N, *shape), in float64; a constant feature is divided by 1."""
        axes = (0,) if len(x.shape) == 2 else (0, 2, 3)
        mean = _mean(x, axes)
        squares = [((part - mean) ** 2).sum(axis=axes, keepdims=True) for part in _parts(x)]
        deviation = np.sqrt(np.sum(squares, axis=0) / (math.prod(x.shape) / mean.size))
        seen = extremes(x)
        high, low = seen.high[None].max(axis=axes, keepdims=True), seen.low[None].min(axis=axes, keepdims=True)
        self.mean.copy_(torch.from_numpy(mean[0]))
        self.deviation.copy_(torch.from_numpy(np.where(high == low, 1, deviation)[0]))

    def assume(self, domain: Domain) -> None:
        """Bring the range of each feature, or channel, to [-1, 1], unseen any row; a constant is divided by 1."""
        axes = tuple(range(1, domain.low.ndim))
        low, high = domain.low.min(axis=axes, keepdims=True), domain.high.max(axis=axes, keepdims=True)
        self.mean.copy_(torch.from_numpy((low + high) / 2))
        self.deviation.copy_(torch.from_numpy(np.where(high > low, (high - low) / 2, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of inputs (N, *shape)."""
        x = (x - self.mean) / self.deviation
        logits: torch.Tensor = self.net(x.contiguous(memory_format=torch.channels_last) if self.channels_last else x)
        return logits


def _mean(x: Array | Chosen, axes: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """The mean in float64 with its axes kept; large rows are added up part by part."""
    if not isinstance(x, Chosen) and not large(x):
        return np.asarray(x.mean(axis=axes, keepdims=True, dtype=np.float64))
    totals = [part.sum(axis=axes, keepdims=True, dtype=np.float64) for part in _parts(x)]
    total = np.sum(totals, axis=0)
    return np.asarray(total / (math.prod(x.shape) / total.size))


def _parts(x: Array | Chosen) -> Iterator[Array]:
    """The rows in near-equal parts whose squares can be held together."""
    if not isinstance(x, Chosen) and not large(x):
        return iter(np.array_split(x, -(-len(x) // ROWS_AT_ONCE)))
    return blocks(x)


def mlp(shape: Sequence[int], classes: int, *, hidden: Sequence[int] = (128,)) -> nn.Module:
    """Fully connected layers with ReLU between them, for inputs of any shape."""
    if any(size < 1 for size in hidden):
        raise ConfigError(f"mlp: hidden is {list(hidden)}; every layer needs at least one unit")
    sizes = [int(torch.Size(shape).numel()), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))


def strided_cnn(shape: Sequence[int], classes: int, *, width: int = 16, hidden: int = 64) -> nn.Module:
    """Stride-2 convolutions with GroupNorm and ReLU, then one hidden layer, for images of any size.

    Strides instead of pooling are three times faster on a CPU, GroupNorm instead of BatchNorm leaves no running
    statistics that an attack or a small batch could disturb.
    """
    if len(shape) != 3:
        raise ConfigError(
            f"strided-cnn needs images of shape (channels, height, width), this data is {tuple(shape)}: use mlp"
        )
    if width < 1 or hidden < 1:
        raise ConfigError(f"strided-cnn: width {width} and hidden {hidden} must be at least 1")
    (channels, *size), layers, stage = shape, list[nn.Module](), 0
    while stage < 2 or max(size) > SMALLEST_SIDE:
        wider = width * min(2**stage, WIDEST)
        convolution = nn.Conv2d(channels, wider, 3, stride=2, padding=1, bias=False)
        layers += [convolution, nn.GroupNorm(_groups(wider), wider), nn.ReLU()]
        channels, size, stage = wider, [(side + 1) // 2 for side in size], stage + 1
    flat = channels * size[0] * size[1]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def _groups(channels: int) -> int:
    """The most groups, up to four, that leave at least two channels in each."""
    return next((g for g in (4, 3, 2) if channels % g == 0 and channels >= 2 * g), 1)


def build(recipe: Recipe, facts: DatasetRecord, *, seed: int = 0) -> Normalised:
    """The untrained network of a recipe for this data, with weights that depend on the seed alone.

    `architecture` is an installed name or "module:callable", called with (shape, classes, **kwargs); that of an
    estimator is its own, with none of its weights yet. The global random
    state is as it was. Raises UnknownNameError, ConfigError or ModelError, naming the architecture.
    """
    if recipe.estimator is not None:
        from auditor.training.rebuilt import network

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return Normalised(network(recipe.estimator, recipe.kwargs, facts.shape, len(facts.classes)), facts.shape)
    name = recipe.architecture
    if ":" in name:
        factory = plugins.imported(name, what="architecture")
    else:
        factory = plugins.load("auditor.architectures", name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would reach for accelerators too
        net = made(factory, name, facts.shape, len(facts.classes), **recipe.kwargs)
        return Normalised(net, facts.shape, channels_last=recipe.layout == "channels-last")


def made(factory: Callable[..., object], name: str, *args: object, **kwargs: Any) -> nn.Module:  # a user's own keywords
    """What a factory returns, checked to be a module. Raises ModelError where it cannot be called so."""
    if not callable(factory):
        raise ModelError(f"{name!r} is a {type(factory).__name__}, not something that can be called")
    try:
        inspect.signature(factory).bind(*args, **kwargs)
    except TypeError as error:
        called = ", ".join([*(repr(a) for a in args), *(f"{k}={v!r}" for k, v in kwargs.items())])
        raise ModelError(f"{name!r} cannot be called as ({called}): {error}") from None
    module = factory(*args, **kwargs)
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name!r} returned a {type(module).__name__}; it must return a torch.nn.Module")
    return module
