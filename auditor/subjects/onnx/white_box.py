"""An ONNX model as a white box: its graph in torch, trusted only where it answers what onnxruntime answers."""

from pathlib import Path
from typing import Any

import numpy as np

from auditor.errors import ModelError
from auditor.subjects.answering import BlackBoxSubject
from auditor.subjects.onnx.operators import UnsupportedError
from auditor.subjects.onnx.rebuilding import Rebuilt, rebuilt
from auditor.subjects.onnx.session import Layout
from auditor.subjects.torch_subject import TorchSubject

PARITY = 1e-4  # largest difference of two answers that count as the same, relative to the largest answer above 1
TRIED = 8


def white_box(
    path: Path,
    ends: tuple[str, str],
    how: Layout,
    number: np.dtype[Any],
    box: BlackBoxSubject,
    span: tuple[float, float],
) -> Rebuilt | None:
    """The model that `box` asks, rebuilt in torch between two tensors, if it can be differentiated and is the same.

    It is the same where random inputs of the span, and its two ends, get the answers of `box` within 1e-4, one by one
    and together. None for what cannot be rebuilt, and for what is not the same. Raises ModelError where `box` does.
    """
    rng = np.random.Generator(np.random.PCG64(0))
    x = rng.uniform(*span, (TRIED, *box.shape)).astype(np.float32)
    x[:2] = np.reshape(span, (2, *(1 for _ in box.shape)))
    expected = box.predict(x)
    try:
        module = rebuilt(path, ends, how)
        subject = TorchSubject(
            module, classes=box.classes, shape=box.shape, outputs=box.outputs, preparation=box.preparation
        )
        if not subject.differentiable() or str(subject.dtype) != f"torch.{number}":
            return None
        found = (subject.predict(x), np.concatenate([subject.predict(row[None]) for row in x]))
    except (UnsupportedError, ModelError, RuntimeError, ValueError, TypeError, IndexError, KeyError):
        return None  # whatever torch says of an operator that is used as these are not written for
    slack = PARITY * max(1.0, float(np.abs(expected).max()))
    return module if all(np.allclose(f, expected, rtol=0, atol=slack, equal_nan=True) for f in found) else None
