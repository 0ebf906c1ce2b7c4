"""Weights in files that torch or safetensors wrote, put into the module that a factory makes."""

import inspect
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditor.errors import AuditorError, ModelError
from auditor.record import DatasetRecord
from auditor.subject import Access
from auditor.subjects import beside, weights
from auditor.subjects.preparation import preparation
from auditor.subjects.sniffing import ModelKind, kind_of
from auditor.subjects.spec import Load
from auditor.subjects.torch_subject import TorchSubject
from auditor.training.architectures import made

SHOWN = 5  # names an error lists
ANSI = re.compile(r"\x1b\[[0-9;]*m")  # torch colours its messages
UNKNOWN = re.compile(r"GLOBAL (\S+)")  # what a pickle names that torch does not know to be harmless
ADVICE = " This is an internal miniz error"  # and what torch says after that helps nobody
TORCH_STARTS = (b"PK", b"\x80\x02")  # a zip, or the pickle of torch before 1.6
State = Mapping[str, torch.Tensor]


def open_state_dict(spec: Load, path: Path, facts: DatasetRecord, directory: Path) -> TorchSubject:
    """The factory's module with the file's weights in it, in the number type in which they are stored.

    Raises ModelError, naming them, for weights that the module lacks or does not have, of other shapes, or not finite.
    """
    assert spec.factory is not None, "the spec asks for a factory"
    state = read_state(path)
    factory = beside.find(spec.factory, directory, what="load.factory")
    with torch.random.fork_rng(devices=[]):
        module = _called(factory, spec.factory, spec.kwargs)
    _check_names(module, state, path, spec.factory)
    types = {t.dtype for t in state.values() if t.is_floating_point()}
    if len(types) == 1:
        module.to(types.pop())  # with the buffers that no file holds
    module.load_state_dict(dict(state), assign=True)
    return subject_of(module.eval(), spec, path, facts)


def subject_of(module: nn.Module, spec: Load, path: Path, facts: DatasetRecord) -> TorchSubject:
    """A module from a file as the subject that an audit asked for. Raises ModelError for weights that are not finite.

    Infinite buffers are let pass: attention masks are such.
    """
    infinite = [name for name, t in module.named_parameters() if t.is_floating_point() and not t.isfinite().all()]
    unset = [name for name, t in module.named_buffers() if t.is_floating_point() and t.isnan().any()]
    if infinite or unset:
        raise ModelError(
            f"{path}: {shown(infinite + unset)} {'is' if len(infinite + unset) == 1 else 'are'} not finite; the "
            "training diverged, or the file is damaged: save it again"
        )
    return TorchSubject(
        module,
        classes=len(facts.classes),
        shape=facts.shape,
        outputs=spec.outputs,
        extra_access=frozenset({Access.FILE}),
        preparation=preparation(spec, facts),
    )


def read_state(path: Path) -> State:
    """Weights by name, from a safetensors file or from a torch file read weights-only, on the CPU.

    The name's ending does not matter. Of a checkpoint that holds more, such as {"epoch": 3, "model": {...}}, the one
    mapping of names to tensors is taken. Raises ModelError where there is none or more than one.
    """
    if kind_of(path) is ModelKind.SAFETENSORS:
        return weights.load_state(path).state
    with path.open("rb") as file:
        start = file.read(2)
    if start not in TORCH_STARTS:
        raise ModelError(
            f"{path} is no whole safetensors or torch file: it starts with {start.hex(' ')}; save or fetch it again"
        )
    try:
        return _weights_of(torch.load(path, map_location="cpu", weights_only=True), path)
    except pickle.UnpicklingError as error:
        named = UNKNOWN.search(str(error))
        told = f" ({named[1]})" if named else ""
        raise ModelError(
            f"{path} holds more than weights{told}, and reading the rest would run code: save module.state_dict() alone"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(f"{path} is no whole torch file: {first_line(error)}; save or fetch it again") from None


def _weights_of(content: Any, path: Path) -> State:  # whatever the file holds
    if _is_state(content):
        state: State = content
        return state
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}; save module.state_dict()")
    inner = {str(name): value for name, value in content.items() if _is_state(value)}
    loose = [name for name, value in content.items() if isinstance(value, torch.Tensor)]
    if len(inner) == 1 and not loose:
        return next(iter(inner.values()))
    held = f"has the keys {shown([str(name) for name in content])}, " if content else "is empty, "
    which = f"weights are in {shown(sorted(inner))}" if inner else "and none of them holds weights by name"
    raise ModelError(f"{path} {held}{which}: save module.state_dict() alone")


def _is_state(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in value.items())
    )


def _called(factory: object, name: str, kwargs: Mapping[str, Any]) -> nn.Module:  # a user's own keywords
    """The module that a factory makes. Raises ModelError where it cannot be called, raises, or makes something else."""
    if not callable(factory):
        raise ModelError(f"load.factory: {name} is of type {type(factory).__name__}, not something that can be called")
    if lacking := _lacking(factory, kwargs):
        raise ModelError(
            f"{name} needs {' and '.join(lacking)}: put {'it' if len(lacking) == 1 else 'them'} under load.kwargs"
        )
    try:
        return made(factory, name, **kwargs)
    except AuditorError:
        raise
    except Exception as error:  # a user's factory may raise anything, and this is where it is said
        raise ModelError(
            f"load.factory: {name} raised {type(error).__name__}: {first_line(error)}; are load.kwargs those of the "
            "training?"
        ) from error


def _lacking(factory: Callable[..., object], kwargs: Mapping[str, Any]) -> list[str]:  # a user's own keywords
    """The arguments that a factory cannot do without and is not given."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # it does not tell
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional and p.name not in kwargs]


def _check_names(module: nn.Module, state: State, path: Path, factory: str) -> None:
    wanted = module.state_dict()
    missing, extra = [n for n in wanted if n not in state], [n for n in state if n not in wanted]
    if missing or extra:
        parts = [f"{word} {shown(names)}" for word, names in (("lacks", missing), ("has also", extra)) if names]
        raise ModelError(
            f"{path} does not fit what {factory} makes: it {' and '.join(parts)}{_prefix_hint(set(state), set(wanted))}"
        )
    wrong = [
        f"{name} {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if state[name].shape != tensor.shape
    ]
    if wrong:
        raise ModelError(
            f"{path} does not fit what {factory} makes: {shown(wrong)}; are load.kwargs those of the training?"
        )


def _prefix_hint(stored: set[str], wanted: set[str]) -> str:
    """What to do where all stored names would fit without their first part, as those of a wrapper do."""
    first = {name.partition(".")[0] for name in stored}
    if len(first) == 1 and {name.partition(".")[2] for name in stored} == wanted:
        return f"; all fit without {first.pop() + '.'!r}: save the wrapped module's state, not the wrapper's"
    return ""


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (ANSI.sub("", str(error)).partition(ADVICE)[0].splitlines() or [""])[0][:200].rstrip(".")


def shown(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
