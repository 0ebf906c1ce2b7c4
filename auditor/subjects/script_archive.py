"""What a TorchScript archive could do beyond computing: its language can write files, and an audit lets none."""

import re
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from auditor.errors import ModelError
from auditor.subjects import archives

# Words of the language that reach files, or functions by a name that is put together.
REACHING = re.compile(rb"\b(?:save|from_file)\b|\bgetattr\b(?!\(\w+, \"\w+\"\))")
NAMESPACES = re.compile(rb"\bops\b(?!\s*\.\s*(?:aten|prims?|_?quantized|mkldnn|mkldnn_prepacked|sparse)\b)(?:\.\w+)?")
CLASSES = re.compile(rb"\btorch[\s.]+classes\b(?![\s.]+(?:quantized|sparse|mkldnn|xnnpack)\b)(?:\.\w+)?")


def opened(path: Path) -> BinaryIO:
    """An archive whose code computes and does nothing else.

    Raises ModelError for one that could reach files, and for one that is not whole. Blind spots: a method of the
    model's own that is called `save` is refused too; faults in the operators of torch itself.
    """
    try:
        content = archives.entries(path)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, ValueError, EOFError) as error:
        raise ModelError(f"{path} is no whole TorchScript archive: {error}; save or fetch it again") from None
    for name, entry in content.items():
        if name.lower().endswith((".py", ".pkl")):
            _check(path, name, entry)
    return archives.rebuilt(content)


def _check(path: Path, name: str, entry: bytes) -> None:
    """Raise ModelError for code, or an object, that could do more than compute."""
    found = CLASSES.search(entry)
    if name.lower().endswith(".py"):
        found = found or REACHING.search(entry) or NAMESPACES.search(entry)
    if found is not None:
        raise ModelError(
            f"{path} uses {found[0].decode('latin-1')} in {name}, which could reach files when it is asked: export the "
            "model without it, or declare its weights as a state-dict"
        )
