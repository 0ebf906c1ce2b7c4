"""Rebuilds the graph of an ONNX model as a torch module, so that it can be differentiated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auditor.extras import imported
from auditor.subjects.onnx.operators import OPERATORS, Operator, UnsupportedError
from auditor.subjects.onnx.session import Layout
from auditor.subjects.onnx.windows import WINDOWS

KNOWN: Mapping[str, Operator] = {**OPERATORS, **WINDOWS}


@dataclass(frozen=True, eq=False)
class Step:
    """One node of the graph: what it computes, from and to which names; an empty name is an input left out."""

    operator: Operator
    attributes: Mapping[str, Any]  # numbers, texts, lists of them, tensors
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Rebuilt(nn.Module):
    """The graph of an ONNX model between one input and one output, run node by node by torch.

    Weights are parameters that are not trained. Products with a matrix of weights are nn.Linear, so that penultimate
    features can be read as from any other module.
    """

    def __init__(
        self,
        steps: list[Step],
        constants: Mapping[str, Tensor],
        linears: Mapping[str, nn.Linear],
        ends: tuple[str, str],
        how: Layout,
    ) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linears.values())
        self._linear = {name: i for i, name in enumerate(linears)}
        self._steps = steps
        self._constant = {name: f"constant_{i}" for i, name in enumerate(constants)}
        for name, value in constants.items():
            self.register_buffer(self._constant[name], value)
        self._input, self._output = ends
        self._layout = how

    def forward(self, x: Tensor) -> Tensor:
        """The model's output for its input."""
        values: dict[str, Tensor | None] = {name: getattr(self, held) for name, held in self._constant.items()}
        values |= {"": None, self._input: self._laid_out(x)}
        for step in self._steps:
            inputs = [values[name] for name in step.inputs]
            number = self._linear.get(step.outputs[0])
            answer = step.operator(step.attributes, *inputs) if number is None else self.linears[number](inputs[0])
            answers = (answer,) if isinstance(answer, Tensor) else answer
            values.update(zip(step.outputs, answers, strict=False))
        out = values[self._output]
        assert out is not None, "the graph has this output"
        return out

    def _laid_out(self, x: Tensor) -> Tensor:
        if self._layout == "rows":
            return x.flatten(1)
        return x.movedim(1, -1) if self._layout == "channels-last" else x


def rebuilt(path: Path, ends: tuple[str, str], how: Layout) -> Rebuilt:
    """The graph of a file between two tensors, its inputs laid out so. Raises UnsupportedError for what is unknown."""
    model = imported("onnx", "onnx", "the graph of an ONNX model").load(path)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    constants = {tensor.name: _tensor(tensor) for tensor in model.graph.initializer}
    steps, linears = [], {}
    for node in _needed(model.graph, ends[1]):
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant(node)
            continue
        step = _step(node, opset)
        if (linear := _linear(node.op_type, step, constants)) is not None:
            linears[step.outputs[0]] = linear
            step = replace(step, inputs=step.inputs[:1])
        steps.append(step)
    used = {name for step in steps for name in step.inputs} | {ends[1]}
    return Rebuilt(steps, {n: v for n, v in constants.items() if n in used}, linears, ends, how).eval()


def _needed(graph: Any, output: str) -> list[Any]:  # onnx.GraphProto and its nodes, in the graph's order
    """The nodes that this output depends on."""
    wanted, kept = {output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _step(node: Any, opset: int) -> Step:  # an onnx.NodeProto
    if node.domain not in ("", "ai.onnx") or node.op_type not in KNOWN:
        raise UnsupportedError(f"{node.domain + ':' if node.domain else ''}{node.op_type}")
    attributes = dict(_attributes(node)) | {"opset": opset, "outputs": len(node.output)}
    return Step(KNOWN[node.op_type], attributes, tuple(node.input), tuple(node.output))


def _attributes(node: Any) -> Iterator[tuple[str, Any]]:  # an onnx.NodeProto; numbers, texts, lists, tensors
    from onnx import TensorProto, helper

    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        yield attribute.name, _tensor(value) if isinstance(value, TensorProto) else value


def _constant(node: Any) -> Tensor:  # an onnx.NodeProto
    ((name, value),) = _attributes(node)
    if isinstance(value, Tensor):
        return value
    if name in ("value_float", "value_floats"):
        return torch.tensor(value, dtype=torch.float32)
    if name in ("value_int", "value_ints"):
        return torch.tensor(value, dtype=torch.int64)
    raise UnsupportedError(f"Constant {name}")


def _tensor(value: Any) -> Tensor:  # an onnx.TensorProto
    from onnx import numpy_helper

    try:
        return torch.from_numpy(numpy_helper.to_array(value).copy())
    except TypeError:  # a number type that torch and numpy do not share
        raise UnsupportedError(f"the number type of {value.name}") from None


def _linear(kind: str, step: Step, constants: Mapping[str, Tensor]) -> nn.Linear | None:
    """A product with constant weights as a layer; None for any other node."""
    if kind not in ("Gemm", "MatMul") or not all(name in constants for name in step.inputs[1:]):
        return None
    if step.attributes.get("transA") or constants[step.inputs[1]].dim() != 2:
        return None
    given = [constants[name] for name in step.inputs[1:]]
    bias = given[1] if len(given) > 1 else None
    weight = given[0]
    if kind == "Gemm":
        if step.attributes.get("transB"):
            weight = weight.t()
        weight = weight * step.attributes.get("alpha", 1.0)
        bias = None if bias is None else bias * step.attributes.get("beta", 1.0)
    layer = nn.Linear(weight.shape[0], weight.shape[1], bias=bias is not None, device="meta", dtype=weight.dtype)
    layer.weight = nn.Parameter(weight.t().contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.expand(weight.shape[1]).contiguous().clone(), requires_grad=False)
    return layer
