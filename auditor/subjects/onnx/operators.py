"""What the operators of ONNX that classifiers are made of compute, in torch, so that gradients flow through them.

Each takes its node's attributes and then its inputs, None for one that is left out. Semantics are those of the operator
set at onnx.ai/onnx/operators; where an input was an attribute in an older set, either is understood.
"""

import math
from collections.abc import Callable, Mapping
from functools import reduce
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Attributes: TypeAlias = Mapping[str, Any]  # numbers, texts and lists of them, as the file has them
Answer: TypeAlias = Tensor | tuple[Tensor, ...]
Operator: TypeAlias = Callable[..., Answer]
TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
}  # by the number that ONNX gives them


class UnsupportedError(Exception):
    """A graph that is not rebuilt: an operator, or a use of one, that is not among these."""


def _plain(function: Callable[..., Tensor]) -> Operator:
    """An operator whose attributes mean nothing to what it computes."""
    return lambda _, *inputs: function(*inputs)


def _over_dimensions(function: Callable[..., Tensor]) -> Operator:
    """A reduction over `axes`, all of them by default."""

    def reduced(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        dims = _ints(axes) if axes is not None else list(attributes.get("axes", []))
        if not dims and attributes.get("noop_with_empty_axes"):
            return x
        return function(x, dims or list(range(x.dim())), bool(attributes.get("keepdims", 1)))

    return reduced


def _ints(values: Tensor) -> list[int]:
    return [int(v) for v in values.reshape(-1).tolist()]


def _axis(attributes: Attributes, default: int) -> int:
    return int(attributes.get("axis", default))


def _softmax(function: Callable[..., Tensor]) -> Operator:
    def normalised(attributes: Attributes, x: Tensor) -> Tensor:
        axis = _axis(attributes, -1 if attributes["opset"] >= 13 else 1)
        if attributes["opset"] >= 13 or axis in (-1, x.dim() - 1):
            return function(x, axis)
        return function(x.flatten(axis), -1).reshape(x.shape)

    return normalised


def _gemm(attributes: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """The product alpha A B + beta C, A and B transposed where the attributes say so."""
    a = a.t() if attributes.get("transA") else a
    b = b.t() if attributes.get("transB") else b
    product = (a @ b) * float(attributes.get("alpha", 1.0))
    return product if c is None else product + c * float(attributes.get("beta", 1.0))


def _divide(_: Attributes, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _clip(attributes: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    low = x.new_tensor(attributes["min"]) if low is None and "min" in attributes else low
    high = x.new_tensor(attributes["max"]) if high is None and "max" in attributes else high
    return x if low is None and high is None else torch.clamp(x, low, high)


def _cast(attributes: Attributes, x: Tensor) -> Tensor:
    if attributes["to"] not in TYPES:
        raise UnsupportedError(f"Cast to type {attributes['to']}")
    return x.to(TYPES[attributes["to"]])


def _flatten(attributes: Attributes, x: Tensor) -> Tensor:
    axis = _axis(attributes, 1) % (x.dim() + 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _reshape(attributes: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    wanted = _ints(shape)
    if not attributes.get("allowzero"):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return x.reshape(wanted)


def _transpose(attributes: Attributes, x: Tensor) -> Tensor:
    return x.permute(attributes.get("perm", list(range(x.dim()))[::-1]))


def _squeeze(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    dims = _ints(axes) if axes is not None else attributes.get("axes")
    return x.squeeze() if dims is None else x.squeeze(tuple(dims))


def _unsqueeze(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    dims = _ints(axes) if axes is not None else list(attributes["axes"])
    rank = x.dim() + len(dims)
    for dim in sorted(d % rank for d in dims):
        x = x.unsqueeze(dim)
    return x


def _shape(attributes: Attributes, x: Tensor) -> Tensor:
    part = list(x.shape)[attributes.get("start", 0) : attributes.get("end", x.dim())]
    return torch.tensor(part, dtype=torch.int64, device=x.device)


def _gather(attributes: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = _axis(attributes, 0) % x.dim()
    flat = x.index_select(axis, indices.reshape(-1) % x.shape[axis])
    return flat.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _slice(attributes: Attributes, x: Tensor, *given: Tensor | None) -> Tensor:
    parts = [None if g is None else _ints(g) for g in given]
    starts, ends, axes, steps = [*parts, None, None][:4] if parts else _old_slice(attributes)
    assert starts is not None
    assert ends is not None
    for i, axis in enumerate(axes or range(len(starts))):
        chosen = range(x.shape[axis])[starts[i] : ends[i] : steps[i] if steps else 1]
        x = x.index_select(axis, torch.tensor(chosen, dtype=torch.int64, device=x.device))
    return x


def _old_slice(attributes: Attributes) -> list[list[int] | None]:
    return [attributes["starts"], attributes["ends"], attributes.get("axes"), None]


def _split(attributes: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = _axis(attributes, 0)
    size = -(-x.shape[axis] // attributes["outputs"])
    lengths = attributes.get("split", [min(size, x.shape[axis] - i) for i in range(0, x.shape[axis], size)])
    ends = np.cumsum(lengths if sizes is None else _ints(sizes)).tolist()
    return tuple(x.narrow(axis, start, end - start) for start, end in pairwise([0, *ends]))


def _expand(_: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(_ints(shape))))


def _constant_of_shape(attributes: Attributes, shape: Tensor) -> Tensor:
    value = attributes.get("value")
    filling = torch.zeros(1) if value is None else value
    return filling.to(shape.device).expand(_ints(shape))


def _batch_norm(
    attributes: Attributes, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    if attributes.get("training_mode"):
        raise UnsupportedError("BatchNormalization in training")
    return functional.batch_norm(x, mean, variance, scale, shift, eps=attributes.get("epsilon", 1e-5))


def _layer_norm(attributes: Attributes, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    sizes = x.shape[_axis(attributes, -1) % x.dim() :]
    bias = None if shift is None else shift.expand(sizes)
    return functional.layer_norm(x, sizes, scale.expand(sizes), bias, attributes.get("epsilon", 1e-5))


def _instance_norm(attributes: Attributes, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    dims = tuple(range(2, x.dim()))
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, unbiased=False, keepdim=True)
    over = (-1, *(1 for _ in x.shape[2:]))
    normal: Tensor = (x - mean) / (variance + attributes.get("epsilon", 1e-5)).sqrt()
    return normal * scale.reshape(over) + shift.reshape(over)


def _prelu(_: Attributes, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _dropout(_: Attributes, x: Tensor, *settings: Tensor | None) -> Tensor:
    if len(settings) > 1 and settings[1] is not None and bool(settings[1].any()):
        raise UnsupportedError("Dropout in training")
    return x


def _hard_sigmoid(attributes: Attributes, x: Tensor) -> Tensor:
    slope, height = float(attributes.get("alpha", 0.2)), float(attributes.get("beta", 0.5))
    return (x * slope + height).clamp(0, 1)


def _gelu(attributes: Attributes, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=attributes.get("approximate", "none"))


def _concat(attributes: Attributes, *parts: Tensor) -> Tensor:
    return torch.cat(parts, int(attributes["axis"]))


def _leaky(attributes: Attributes, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, attributes.get("alpha", 0.01))


def _elu(attributes: Attributes, x: Tensor) -> Tensor:
    return functional.elu(x, attributes.get("alpha", 1.0))


def _sum(_: Attributes, *parts: Tensor) -> Tensor:
    return reduce(torch.add, parts)


PLAIN: Mapping[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Greater": torch.gt,
    "HardSwish": functional.hardswish,
    "Identity": lambda x: x,
    "Less": torch.lt,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Max": lambda *parts: reduce(torch.maximum, parts),
    "Min": lambda *parts: reduce(torch.minimum, parts),
    "Mish": functional.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Selu": torch.selu,
    "Sigmoid": torch.sigmoid,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Where": torch.where,
}
OPERATORS: Mapping[str, Operator] = {
    **{name: _plain(function) for name, function in PLAIN.items()},
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _divide,
    "Dropout": _dropout,
    "Elu": _elu,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "HardSigmoid": _hard_sigmoid,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky,
    "LogSoftmax": _softmax(torch.log_softmax),
    "PRelu": _prelu,
    "ReduceL2": _over_dimensions(lambda x, dims, keep: torch.linalg.vector_norm(x, dim=dims, keepdim=keep)),
    "ReduceMax": _over_dimensions(torch.amax),
    "ReduceMean": _over_dimensions(torch.mean),
    "ReduceMin": _over_dimensions(torch.amin),
    "ReduceSum": _over_dimensions(torch.sum),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _softmax(torch.softmax),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sum": _sum,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
