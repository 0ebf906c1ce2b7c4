"""Torch models that bring their own graph, and need no factory: exported programs and TorchScript archives."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditor.errors import ModelError
from auditor.record import DatasetRecord
from auditor.subject import Access
from auditor.subjects import exported_archive, script_archive
from auditor.subjects.prepared import Chunked
from auditor.subjects.spec import Load
from auditor.subjects.torch_files import first_line, subject_of
from auditor.subjects.torch_subject import TorchSubject

ANY = 2  # torch calls a free number of rows two or more, and means any
LOGGERS = ("torch.export", "torch.export.pt2_archive._package")
# Where an operator says that it runs in training mode, counted from 0.
TRAINING = {"aten.dropout.default": 2, "aten.batch_norm.default": 5, "aten.native_dropout.default": 2}


@dataclass(frozen=True)
class Rows:
    """How many rows a program takes at once; `most` is None where there is no limit."""

    fewest: int
    most: int | None


def open_exported(spec: Load, path: Path, facts: DatasetRecord) -> TorchSubject:
    """The module in an exported program (.pt2): a white box, with gradients, and without anybody's code.

    A program for a fixed number of rows is asked in batches of that many. Raises ModelError for one that could run
    code, that takes other rows than the data's, or that was exported in training mode.
    """
    try:
        with exported_archive.opened(path) as file, _quiet():
            program: Any = torch.export.load(file)
            module = program.module(check_guards=False)  # the guards are code of the file's
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001  # torch lets escape whatever a broken archive provokes
        raise ModelError(
            f"{path} is no whole exported program: {type(error).__name__}: {first_line(error)}; save it again with "
            f"torch {torch.__version__.partition('+')[0]}"
        ) from None
    if any(_trains(node) for node in program.graph.nodes):
        raise ModelError(f"{path} was exported in training mode, so its answers are random: call eval() before export")
    rows = _rows(program, facts.shape, path)
    if rows != Rows(1, None):
        most = rows.most or max(rows.fewest, 512)
        module = Chunked(module, rows.fewest, most)
    return _honest(subject_of(module, spec, path, facts))


def open_torchscript(spec: Load, path: Path, facts: DatasetRecord) -> TorchSubject:
    """The module in a TorchScript archive: a white box where gradients flow through it.

    What such a file holds runs in torch's own restricted machine and cannot import Python. Raises ModelError for a file
    that is not whole, and for one that could reach other files.
    """
    try:
        with warnings.catch_warnings(), script_archive.opened(path) as file:
            warnings.simplefilter("ignore", DeprecationWarning)  # torch would rather see exported programs
            module: nn.Module = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]  # torch's own
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"{path} is no whole TorchScript archive: {first_line(error)}; save or fetch it again"
        ) from None
    return _honest(subject_of(module.eval(), spec, path, facts))


def _honest(subject: TorchSubject) -> TorchSubject:
    """A subject that does not claim gradients where none arrives at an input."""
    if not subject.differentiable():
        subject.access -= {Access.GRADIENTS}
    return subject


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, torch does not log a broken archive's traceback: one message is enough."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.disabled = was


def _trains(node: torch.fx.Node) -> bool:
    place = TRAINING.get(str(node.target), len(node.args))
    return len(node.args) > place and node.args[place] is True


def _rows(program: Any, shape: tuple[int, ...], path: Path) -> Rows:  # an exported program
    """How many rows a program takes. Raises ModelError where it takes something else than the data's rows."""
    names = program.graph_signature.user_inputs
    taken = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    wanted = f"the data has rows of shape {shape}"
    if len(taken) != 1 or not isinstance(taken[0], torch.Tensor):
        raise ModelError(f"{path} takes {len(names)} inputs; export a module that takes one batch of rows: {wanted}")
    size: Any = taken[0].shape  # whole numbers, and symbols for what is free
    if len(size) != len(shape) + 1 or any(isinstance(a, int) and a != b for a, b in zip(size[1:], shape, strict=True)):
        told = ", ".join(str(s) for s in size[1:])
        raise ModelError(f"{path} takes rows of shape ({told}); {wanted}: are model and data those of each other?")
    if not taken[0].is_floating_point():
        raise ModelError(
            f"{path} takes {taken[0].dtype} inputs; export a module that takes float32, so that it can be attacked"
        )
    if isinstance(size[0], int):
        return Rows(size[0], size[0])
    bounds = program.range_constraints.get(size[0].node.expr)
    if bounds is None:
        return Rows(1, None)
    lower, most = int(bounds.lower), None if bounds.upper > 2**31 else int(bounds.upper)
    return Rows(lower if lower > ANY else 1, most)
