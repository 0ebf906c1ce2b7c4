"""The one door for model files: nothing in a file is run unless the audit says that it trusts pickle."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auditor import plugins
from auditor.errors import ModelError
from auditor.record import DatasetRecord
from auditor.subject import Access, Subject
from auditor.subjects import answers
from auditor.subjects.answering import Answering, BlackBoxSubject
from auditor.subjects.preparation import preparation
from auditor.subjects.sniffing import ModelKind, formats_of, kind_of
from auditor.subjects.spec import Format, Load

if TYPE_CHECKING:
    import torch

# Who opens a format: a function of (spec, path, facts) that gives a subject, or an Answering to be made one.
OPENERS: Mapping[Format, str] = {
    "state-dict": "auditor.subjects.torch_files:open_state_dict",  # the only one to be told the folder, for a factory
    "exported": "auditor.subjects.torch_programs:open_exported",
    "torchscript": "auditor.subjects.torch_programs:open_torchscript",
    "onnx": "auditor.subjects.onnx.opening:open_onnx",
    "sklearn": "auditor.subjects.sklearn_files:open_sklearn",
    "xgboost": "auditor.subjects.boosters:open_xgboost",
    "lightgbm": "auditor.subjects.boosters:open_lightgbm",
    "endpoint": "auditor.subjects.endpoint.opening:open_endpoint",
}
TRIED_ROWS = 8


def load(spec: Load, facts: DatasetRecord, directory: Path) -> Subject:
    """The subject in a file or behind an address; `directory` is the audit file's.

    What the spec says of inputs, normalisation and classes stands between the data and the model. Raises ModelError
    with the file and what to do; ConfigError and UnknownNameError for a factory that is not there.
    """
    if spec.format not in OPENERS:
        raise ModelError(
            f"load.format {spec.format} is what the Python API uses; {spec.place} is a file: say its format"
        )
    path = None if spec.address else checked_file(directory / spec.place, spec.format)
    opener = plugins.imported(OPENERS[spec.format], what="load.format")
    more = {"directory": directory} if spec.format == "state-dict" else {}
    opened: Subject | Answering = opener(spec, path, facts, **more)
    subject = _black_box(opened, spec, facts) if isinstance(opened, Answering) else opened
    rng = np.random.Generator(np.random.PCG64(0))
    answers.check(subject, rng.uniform(*facts.range, (TRIED_ROWS, *facts.shape)).astype(np.float32))
    return subject


def read_weights(path: Path) -> "Mapping[str, torch.Tensor]":
    """Weights by name, of a safetensors file or of a torch file read weights-only: no code of it runs.

    Raises ModelError for a file that is neither, or holds more than weights.
    """
    from auditor.subjects.torch_files import read_state

    return read_state(checked_file(path, "state-dict"))


def _black_box(opened: Answering, spec: Load, facts: DatasetRecord) -> Subject:
    """What was opened, behind its preparation: a white box where it came with the same model as a torch module."""
    file = frozenset[Access]() if spec.address else frozenset({Access.FILE})
    answering = replace(opened, access=opened.access | file)
    prepared, classes = preparation(spec, facts), len(facts.classes)
    black_box = BlackBoxSubject(answering, classes=classes, shape=facts.shape, preparation=prepared)
    if answering.module is None:
        return black_box
    from auditor.subjects.torch_subject import TorchSubject

    return TorchSubject(
        answering.module,
        classes=classes,
        shape=facts.shape,
        outputs=answering.outputs,
        extra_access=answering.access,
        preparation=prepared,
        bare=black_box.bare_labels,
    )


def checked_file(path: Path, declared: Format) -> Path:
    """A file that is there and is not obviously something else. Raises ModelError saying what it is and what to do."""
    if not path.is_file():
        raise ModelError(
            f"load.path: {path} {'is a folder' if path.is_dir() else 'does not exist'}; name the model's file"
        )
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty; save or fetch it again")
    kind = kind_of(path)
    if kind is None or declared in formats_of(kind):
        return path
    if kind is ModelKind.LFS_POINTER:
        raise ModelError(f"{path} is {kind}, not the model; run `git lfs pull`")
    if kind is ModelKind.HTML:
        raise ModelError(f"{path} is {kind}, not the model: what was fetched is an error or a login; fetch it again")
    if not formats_of(kind):
        raise ModelError(f"{path} holds {kind}, which is no model of format {declared}; name the model's file")
    raise ModelError(
        f"{path} holds {kind}, not a model of format {declared}: declare load.format: {formats_of(kind)[0]}"
    )
