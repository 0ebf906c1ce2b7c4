"""Real int8 by torch.ao, where this torch has it: only to see whether the fake one answers like it."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from auditor.dataset import Array, Dataset, Labels
from auditor.subject import predicted_labels
from auditor.subjects.torch_subject import TorchSubject

from .applying import calibration_rows

NEWLINE = "\n"
REFUSALS = (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError, KeyError, IndexError)


@dataclass(frozen=True, eq=False)
class Native:
    """Which classes (N,) the integer network names, and how it was made; none where it could not be, and why."""

    labels: Labels | None
    how: str


def native_int8(network: TorchSubject, x: Array, data: Dataset, root: int) -> Native:
    """What a real integer version of a network names for inputs x (N, *shape).

    Static quantisation of the traced graph, weights and inputs, by the calibration rows of the fake one; where the
    module cannot be traced, dynamic quantisation of its linear layers. Neither carries a gradient to an input.
    torch calls the tool deprecated: where it is gone or refuses the module, there is nothing to compare with.
    """
    with _quiet():
        try:
            from torch.ao import quantization
        except ImportError:
            return Native(None, "this torch has no torch.ao.quantization")
        reasons = []
        for name, make in (("static", _static), ("dynamic", _dynamic)):
            try:
                module = make(quantization, network, calibration_rows(data, root))
                return Native(_labels(module, network, x), f"torch.ao {name} int8 ({torch.backends.quantized.engine})")
            except REFUSALS as error:  # whatever tracing or converting a foreign module provokes
                reasons.append(f"{name}: {type(error).__name__}: {str(error).partition(NEWLINE)[0][:120]}")
    return Native(None, f"torch.ao refuses the network ({'; '.join(reasons)})")


def _static(tool: Any, network: TorchSubject, rows: Array) -> nn.Module:  # a module of torch's without types
    from torch.ao.quantization import quantize_fx

    original = copy.deepcopy(network.module).eval().cpu()
    inputs = torch.tensor(network.preparation.inputs(rows))
    mapping = tool.get_default_qconfig_mapping(torch.backends.quantized.engine)
    prepared: Any = quantize_fx.prepare_fx(original, mapping, (inputs[:1],))
    with torch.no_grad():
        prepared(inputs)
    return cast("nn.Module", quantize_fx.convert_fx(prepared))


def _dynamic(tool: Any, network: TorchSubject, rows: Array) -> nn.Module:  # noqa: ARG001  # one signature for both
    original = copy.deepcopy(network.module).eval().cpu()
    return cast("nn.Module", tool.quantize_dynamic(original, {nn.Linear}, dtype=torch.qint8))


def _labels(module: nn.Module, network: TorchSubject, x: Array) -> Labels:
    made = TorchSubject(
        module, classes=network.classes, shape=network.shape, outputs=network.outputs,
        preparation=network.preparation, dtype=torch.float32,
    )  # fmt: skip
    return predicted_labels(made.predict(x))


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, the tool does not say that it is deprecated, and draws from a random state that is put back."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield
