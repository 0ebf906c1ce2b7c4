"""What an exported program (.pt2) would run on loading: torch reads pickles, code and libraries from one unasked.

torch.export.load unpickles what its configuration calls a pickle, evaluates the expressions of symbolic sizes, calls
whatever function of torch a node names, writes names into source text that it runs, imports modules for the types of
arguments, and opens shared libraries. So an archive is read here first, and only what is known to be harmless goes on.
"""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from auditor.errors import ModelError
from auditor.subjects import archives

ENTRIES = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|\.format_version|\.storage_alignment"
    r"|models/model\.json|data/(weights|constants)/model_(weights|constants)_config\.json"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+|data/sample_inputs/model\.pt|extra/.+"
)
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
PROGRAM, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
CALLED = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!from_file\b|save\b|load\b|_print\b)\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_|not_)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_(int|float|max|min|not|ite|sqrt)"
)
KNOWN = re.compile(  # words in expressions of sizes
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Mod|PythonMod|Max|Min|FloorDiv|CeilDiv|CleanDiv|ModularIndexing|ToFloat"
    r"|TruncToInt|TruncToFloat|IntTrueDiv|FloatTrueDiv|RoundToInt|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Where|Equality|Unequality"
    r"|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|Identity|oo|int_oo|True|False|true|false|positive"
    r"|nonnegative|integer|real|nonzero|[suz]u?f?\d+"
)
WORD = re.compile(r"[A-Za-z_]\w*")
SIGNS = re.compile(r"[\w\s+\-*/%(),='<>!&|]*")  # and a dot between digits
NAME = re.compile(r"[\w.+-]*", re.ASCII)  # a name, which torch may write into source text
UNSAID = {"metadata": dict, "guards_code": list}  # what a program does not need: where it came from, code that checks
CONTAINERS = {"builtins.tuple", "builtins.list", "builtins.dict", None}


def opened(path: Path) -> BinaryIO:
    """An archive that is safe to be loaded, for the CPU wherever it was exported.

    Raises ModelError, naming what is the matter, for one that could run code, or is older than torch 2.8. Blind spots:
    faults in the operators of torch itself, and in its readers of tensors.
    """
    content = _checked(path)
    if any(device != "cpu" for device in _devices(json.loads(content[PROGRAM]))):
        content = {name: _moved(name, entry) for name, entry in content.items()}
    return archives.rebuilt(content)


def _checked(path: Path) -> dict[str, bytes]:
    """The entries of an archive, in which nothing could run code; what a model does not need is left out."""
    try:
        content = archives.entries(path)
        unknown = [name for name in content if not ENTRIES.fullmatch(name)]
        if unknown or PROGRAM not in content:
            raise ModelError(
                f"{path} holds {unknown[0] if unknown else f'no {PROGRAM}'}, which is not known to be safe, or was "
                "exported by torch before 2.8: save it again with torch.export.save"
            )
        for config in CONFIGS:
            _check_config(path, json.loads(content[config]))
        if SAMPLES in content:
            content[SAMPLES] = _samples(path, content[SAMPLES])
        program = _spare(json.loads(content[PROGRAM]))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ModelError(f"{path} is no whole exported program: {error}; save or fetch it again") from None
    for key, value in _texts(program):
        _check_text(path, key, value)
    return content | {PROGRAM: json.dumps(program).encode()}


def _spare(value: Any) -> Any:  # any JSON value
    """A program without what it does not need."""
    if isinstance(value, dict):
        return {name: UNSAID[name]() if name in UNSAID else _spare(inner) for name, inner in value.items()}
    return [_spare(inner) for inner in value] if isinstance(value, list) else value


def _check_text(path: Path, key: str, value: str) -> None:
    """Raise ModelError for a text that torch could run."""
    if key in ("target", "as_operator"):
        if not CALLED.fullmatch(value):
            raise _refused(path, f"calls {value[:80]}")
    elif key == "expr_str":
        if not _is_arithmetic(value):
            raise _refused(path, f"computes a size by {value[:80]}")
    elif key in ("in_spec", "out_spec"):
        if not _is_plain(json.loads(value)[1]):
            raise _refused(path, f"takes or answers {value[:80]}")
    elif key not in ("as_string", "as_strings") and not NAME.fullmatch(value):  # those are arguments, and quoted
        raise _refused(path, f"names something {value[:80]}")


def _is_plain(spec: Any) -> bool:  # any JSON value
    """Whether what a program takes or answers is nested of tuples, lists and dicts with names as keys."""
    context = json.loads(spec["context"] or "null")
    keys = context if isinstance(context, list) else [] if context is None else [None]
    named = all(isinstance(key, str) and NAME.fullmatch(key) for key in keys)
    return spec["type"] in CONTAINERS and named and all(map(_is_plain, spec["children_spec"]))


def _refused(path: Path, what: str) -> ModelError:
    return ModelError(
        f"{path} {what}, which is not known to be safe, and loading it could run code: export the model alone, or "
        "declare its weights as a state-dict"
    )


def _check_config(path: Path, config: Any) -> None:  # any JSON value
    for name, entry in config["config"].items():
        if entry["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise _refused(path, f"holds {name} as a pickle")


def _samples(path: Path, content: bytes) -> bytes:
    """Sample inputs on the CPU, written anew: torch would unpickle them in full where weights alone cannot be read."""
    samples = io.BytesIO()
    try:
        torch.save(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), samples)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        raise _refused(path, "holds sample inputs that are no tensors") from None
    return samples.getvalue()


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:  # any JSON value
    """Every text in a JSON value with the key it stands under, and the keys themselves, under none."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield "", name
            yield from _texts(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)


def _is_arithmetic(text: str) -> bool:
    """Whether an expression of sizes is made of known functions, symbols and numbers alone."""
    plain = re.sub(r"(?<=\d)\.(?=\d)", "", text)
    return SIGNS.fullmatch(plain) is not None and all(KNOWN.fullmatch(word) for word in WORD.findall(plain))


def _devices(value: Any) -> Iterator[str]:  # any JSON value
    """The kind of every device that a JSON value names."""
    if isinstance(value, dict):
        if value.keys() == {"type", "index"}:
            yield value["type"]
        for inner in value.values():
            yield from _devices(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _devices(inner)


def _moved(name: str, entry: bytes) -> bytes:
    """An entry that names no device but the CPU: torch would ask for the one that the model was made on."""
    return json.dumps(_on_cpu(json.loads(entry))).encode() if name.endswith(".json") else entry


def _on_cpu(value: Any) -> Any:  # any JSON value
    if isinstance(value, dict):
        if value.keys() == {"type", "index"}:
            return {"type": "cpu", "index": None}
        return {name: _on_cpu(inner) for name, inner in value.items()}
    return [_on_cpu(inner) for inner in value] if isinstance(value, list) else value
