"""The operators of ONNX that slide a window over an image, in torch: convolution, pooling and padding."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from auditor.subjects.onnx.operators import Answer, Attributes, Operator, UnsupportedError

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
LARGEST = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
PADDINGS = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def _convolution(attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Answer:
    dims = _dimensions(x)
    strides, dilations = _each(attributes, "strides", dims), _each(attributes, "dilations", dims)
    pads = _pads(attributes, x, list(weight.shape[2:]), strides, dilations)
    return CONVOLUTIONS[dims](
        functional.pad(x, _torch_order(pads)), weight, bias, strides, 0, dilations, int(attributes.get("group", 1))
    )


def _max_pool(attributes: Attributes, x: Tensor) -> Answer:
    dims = _dimensions(x)
    kernel = list(attributes["kernel_shape"])
    strides, dilations = _each(attributes, "strides", dims), _each(attributes, "dilations", dims)
    pads = _pads(attributes, x, kernel, strides, dilations)
    if attributes["outputs"] > 1 or attributes.get("storage_order"):
        raise UnsupportedError("MaxPool with indices")
    padded = functional.pad(x, _torch_order(pads), value=-math.inf)
    answer: Tensor = LARGEST[dims](padded, kernel, strides, 0, dilations, bool(attributes.get("ceil_mode")))
    return answer


def _average_pool(attributes: Attributes, x: Tensor) -> Answer:
    """Averages of windows; under `count_include_pad` the padding counts as zeros, else not at all."""
    dims = _dimensions(x)
    kernel = list(attributes["kernel_shape"])
    strides, dilations = _each(attributes, "strides", dims), _each(attributes, "dilations", dims)
    if attributes.get("ceil_mode") or any(d != 1 for d in dilations):
        raise UnsupportedError("AveragePool with ceil_mode or dilations")
    pads = _torch_order(_pads(attributes, x, kernel, strides, dilations))
    weight = x.new_full((x.shape[1], 1, *kernel), 1 / math.prod(kernel))
    mean = CONVOLUTIONS[dims](functional.pad(x, pads), weight, None, strides, 0, 1, x.shape[1])
    if attributes.get("count_include_pad") or not any(pads):
        return mean
    inside = functional.pad(torch.ones_like(x[:1]), pads)
    return mean / CONVOLUTIONS[dims](inside, weight, None, strides, 0, 1, x.shape[1])


def _pad(attributes: Attributes, x: Tensor, *given: Tensor | None) -> Answer:
    pads = [int(v) for v in given[0].tolist()] if given and given[0] is not None else list(attributes["pads"])
    mode = attributes.get("mode", "constant")
    if mode not in PADDINGS or (len(given) > 2 and given[2] is not None):
        raise UnsupportedError(f"Pad {mode}")
    if mode != "constant":
        spatial = len(pads) // 2 - 2
        return functional.pad(x, _torch_order(pads[2 : 2 + spatial] + pads[4 + spatial :]), PADDINGS[mode])
    value = float(given[1]) if len(given) > 1 and given[1] is not None else float(attributes.get("value", 0.0))
    return functional.pad(x, _torch_order(pads), value=value)


def _global_average(_: Attributes, x: Tensor) -> Answer:
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


def _global_max(_: Attributes, x: Tensor) -> Answer:
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


def _dimensions(x: Tensor) -> int:
    dims = x.dim() - 2
    if dims not in CONVOLUTIONS:
        raise UnsupportedError(f"a window over {dims} dimensions")
    return dims


def _each(attributes: Attributes, name: str, dims: int) -> list[int]:
    return list(attributes.get(name, [1] * dims))


def _pads(attributes: Attributes, x: Tensor, kernel: list[int], strides: list[int], dilations: list[int]) -> list[int]:
    """Padding as ONNX lists it: before each dimension, then after each."""
    mode = attributes.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * 2 * len(kernel)
    if mode == "NOTSET":
        return list(attributes.get("pads", [0] * 2 * len(kernel)))
    before, after = [], []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        before.append(small if mode == "SAME_UPPER" else large)
        after.append(large if mode == "SAME_UPPER" else small)
    return before + after


def _torch_order(pads: list[int]) -> list[int]:
    """Padding as torch lists it: the last dimension first, before and after together."""
    half = len(pads) // 2
    return [pads[i + side] for i in reversed(range(half)) for side in (0, half)]


WINDOWS: Mapping[str, Operator] = {
    "AveragePool": _average_pool,
    "Conv": _convolution,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "MaxPool": _max_pool,
    "Pad": _pad,
}
