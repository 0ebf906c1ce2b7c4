"""The one door for model files: nothing in a file is run unless the audit says that it trusts pickle."""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.record import DatasetRecord
from auditor.subject import Access, Subject
from auditor.subjects import answers, beside, weights
from auditor.subjects.sklearn_subject import SklearnSubject
from auditor.subjects.spec import Load
from auditor.subjects.torch_subject import TorchSubject
from auditor.training.architectures import made

SAFETENSORS, TORCH = (".safetensors",), (".pt", ".pth", ".bin", ".ckpt")
SKOPS, PICKLE = (".skops",), (".pkl", ".pickle", ".joblib")
LFS_POINTER = b"version https://git-lfs"
SHOWN = 5  # names an error lists
TRIED_ROWS = 8
ANSI = re.compile(r"\x1b\[[0-9;]*m")  # torch colours its messages
FILE = frozenset({Access.FILE})
TORCH_STARTS = (b"PK", b"\x80\x02")  # a zip, or the pickle of torch before 1.6


def load(spec: Load, facts: DatasetRecord, directory: Path) -> Subject:
    """The subject in a file; `directory` is the audit file's. Raises ModelError with the file and what to do."""
    path = _existing(directory / spec.path)
    classes = len(facts.classes)
    subject: Subject
    match spec.format:
        case "state-dict":
            module = _module(spec, path, directory)
            subject = TorchSubject(module, classes=classes, shape=facts.shape, outputs=spec.outputs, extra_access=FILE)
        case "sklearn":
            estimator = _estimator(spec, path)
            subject = SklearnSubject(
                estimator, classes=classes, shape=facts.shape, names=facts.classes, extra_access=FILE
            )
        case "object":
            raise ModelError(
                f"load.format object is what the Python API uses; {path} is a file: say state-dict or sklearn"
            )
        case _:
            assert_never(spec.format)
    rng = np.random.Generator(np.random.PCG64(0))
    answers.check(subject, rng.uniform(*facts.range, (TRIED_ROWS, *facts.shape)).astype(np.float32))
    return subject


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ModelError(
            f"load.path: {path} {'is a folder' if path.is_dir() else 'does not exist'}; name the model's file"
        )
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if not start:
        raise ModelError(f"{path} is empty; save or fetch it again")
    if start == LFS_POINTER:
        raise ModelError(f"{path} is a git-LFS pointer, not the model; run `git lfs pull`")
    return path


def _module(spec: Load, path: Path, directory: Path) -> nn.Module:
    """The factory's module with the file's weights in it."""
    assert spec.factory is not None, "the spec asks for a factory"
    state = read_state(path)
    factory = beside.find(spec.factory, directory, what="load.factory")
    with torch.random.fork_rng(devices=[]):
        module = made(factory, spec.factory, **spec.kwargs)
    _check_state(module, state, path, spec.factory)
    module.load_state_dict(dict(state))
    return module.eval()


def read_state(path: Path) -> Mapping[str, torch.Tensor]:
    """Weights by name, from a safetensors file or from a torch file read weights-only."""
    if path.suffix in SAFETENSORS:
        return weights.load_state(path).state
    if path.suffix not in TORCH:
        raise ModelError(
            f"{path}: a state dict is a file of {_listed(SAFETENSORS + TORCH)}; save it with "
            "safetensors.torch.save_file"
        )
    with path.open("rb") as file:
        start = file.read(2)
    if start not in TORCH_STARTS:
        raise ModelError(f"{path} is no whole torch file: it starts with {start.hex(' ')}; save or fetch it again")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than weights, and reading the rest would run code: save module.state_dict() alone "
            f"({_first(error)})"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(f"{path} is no whole torch file: {_first(error)}; save or fetch it again") from None
    if not isinstance(state, Mapping):
        raise ModelError(f"{path} holds a {type(state).__name__}; save module.state_dict()")
    other = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if other:
        raise ModelError(f"{path} holds {_shown(other)} beside weights; save module.state_dict() alone")
    return state


def _check_state(module: nn.Module, state: Mapping[str, torch.Tensor], path: Path, factory: str) -> None:
    wanted = module.state_dict()
    missing, extra = [n for n in wanted if n not in state], [n for n in state if n not in wanted]
    if missing or extra:
        parts = [f"{word} {_shown(names)}" for word, names in (("lacks", missing), ("has also", extra)) if names]
        wrapped = all(name.startswith("module.") for name in state)
        hint = "; save the wrapped module's state, not the wrapper's" if wrapped else ""
        raise ModelError(f"{path} does not fit what {factory} makes: it {' and '.join(parts)}{hint}")
    wrong = [
        f"{name} {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if state[name].shape != tensor.shape
    ]
    if wrong:
        raise ModelError(
            f"{path} does not fit what {factory} makes: {_shown(wrong)}; are load.kwargs those of the training?"
        )


def _estimator(spec: Load, path: Path) -> Any:  # whatever the file holds
    if path.suffix in SKOPS:
        return _from_skops(path)
    if path.suffix not in PICKLE:
        raise ModelError(
            f"{path}: a scikit-learn model is a file of {_listed(SKOPS + PICKLE)}; save it with skops.io.dump"
        )
    if spec.trust != "pickle":
        raise ModelError(
            f"{path} is a pickle, which runs code on loading: save the model with skops.io.dump, or set load.trust: "
            "pickle "
            "if you made the file yourself"
        )
    return _from_pickle(path)


def _from_skops(path: Path) -> Any:  # whatever the file holds
    from skops.io import get_untrusted_types
    from skops.io import load as read

    try:
        untrusted = get_untrusted_types(file=path)
        if not untrusted:
            return read(path, trusted=[])
    except Exception as error:  # noqa: BLE001  # skops lets escape whatever a broken file provokes
        raise ModelError(
            f"{path} is no whole skops file: {type(error).__name__}: {_first(error)}; save it again"
        ) from None
    raise ModelError(
        f"{path} holds types that are not known to be safe: {_shown(untrusted)}; an audit loads none of them"
    )


def _from_pickle(path: Path) -> Any:  # whatever the file holds
    import joblib  # type: ignore[import-untyped]  # scikit-learn brings it; it reads plain pickles too

    try:
        return joblib.load(path)
    except Exception as error:  # unpickling runs the file's own code, which may raise anything
        raise ModelError(f"{path} cannot be unpickled: {type(error).__name__}: {_first(error)}") from error


def _first(error: BaseException) -> str:
    """The first line of what an error says."""
    return (ANSI.sub("", str(error)).splitlines() or [""])[0][:200]


def _listed(suffixes: tuple[str, ...]) -> str:
    return ", ".join(suffixes)


def _shown(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
