"""What a model file is by its bytes, whatever its name says: nothing in it is run to find out."""

import bz2
import json
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from auditor.subjects.spec import Format


class ModelKind(StrEnum):
    """A kind of file; its value is what messages call it."""

    SAFETENSORS = "a safetensors file"
    TORCH = "a torch file"
    TORCHSCRIPT = "a TorchScript archive"
    EXPORTED = "an exported program"
    SKOPS = "a skops file"
    PICKLE = "a pickle"
    ONNX = "an ONNX model"
    XGBOOST = "an XGBoost model"
    LIGHTGBM = "a LightGBM model"
    LFS_POINTER = "a git-LFS pointer"
    NPZ = "an npz archive of arrays"
    HDF5 = "an HDF5 file"
    HTML = "a web page"


FORMATS: Mapping[ModelKind, tuple[Format, ...]] = {
    ModelKind.SAFETENSORS: ("state-dict",),
    ModelKind.TORCH: ("state-dict",),
    ModelKind.TORCHSCRIPT: ("torchscript",),
    ModelKind.EXPORTED: ("exported",),
    ModelKind.SKOPS: ("sklearn",),
    ModelKind.PICKLE: ("sklearn",),
    ModelKind.ONNX: ("onnx",),
    ModelKind.XGBOOST: ("xgboost",),
    ModelKind.LIGHTGBM: ("lightgbm",),
}
HEAD = 4096
STARTS = {
    b"version https://git-lfs": ModelKind.LFS_POINTER,
    b"tree\nversion=": ModelKind.LIGHTGBM,
    b"tree\r\nversion=": ModelKind.LIGHTGBM,
    b"\x89HDF\r\n": ModelKind.HDF5,
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19": ModelKind.TORCH,  # torch before 1.6
}
PAGES = (b"<!doctype html", b"<html")
PICKLES = tuple(bytes((0x80, protocol)) for protocol in (2, 3, 4, 5))
COMPRESSED = (b"\x1f\x8b", b"\x78", b"BZh", b"\xfd7zXZ", b"\x5d\x00")  # gzip, zlib, bzip2, xz, lzma: joblib knows all
LONGEST_HEADER = 100_000_000  # of a safetensors file
# Fields of an ONNX ModelProto and how each is coded on the wire: 0 a number, 2 bytes with their length before.
ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
ONNX_GRAPH = 7


def kind_of(path: Path) -> ModelKind | None:
    """Which kind of model is this file? None for what is none of those known, or too short to tell.

    Told from the first bytes, and for archives from the names in them; a file that was cut short is still told where
    its beginning tells. Raises OSError where the file cannot be read. Blind spot: a pickle of protocol 0 or 1 is not
    known.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        if head.startswith(b"PK"):
            return _archive(path)
        for start, kind in STARTS.items():
            if head.startswith(start):
                return kind
        if head.lstrip()[:20].lower().startswith(PAGES):
            return ModelKind.HTML
        if head.startswith(PICKLES) or _inflated(head).startswith(PICKLES):
            return ModelKind.PICKLE
        if _is_safetensors(head):
            return ModelKind.SAFETENSORS
        if _is_xgboost(head, path):
            return ModelKind.XGBOOST
        return ModelKind.ONNX if _is_onnx(file, path.stat().st_size) else None


def formats_of(kind: ModelKind) -> tuple[Format, ...]:
    """The values of `load.format` that open this kind of file; none for what is no model."""
    return FORMATS.get(kind, ())


def _archive(path: Path) -> ModelKind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # its list of names stands at the end
        return None
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return ModelKind.EXPORTED
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return ModelKind.TORCHSCRIPT
    if "data.pkl" in inner:
        return ModelKind.TORCH
    if "schema.json" in names:
        return ModelKind.SKOPS
    return ModelKind.NPZ if names and all(name.endswith(".npy") for name in names) else None


def _inflated(head: bytes) -> bytes:
    """The first bytes of what a compressed beginning holds; none where it holds nothing readable."""
    if not head.startswith(COMPRESSED):
        return b""
    try:
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, 16)
        if head.startswith((b"\xfd7zXZ", b"\x5d\x00")):
            return lzma.LZMADecompressor().decompress(head, 16)
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(head, 16)
    except (zlib.error, lzma.LZMAError, OSError):
        return b""


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of a length, then a JSON object."""
    return len(head) > 9 and int.from_bytes(head[:8], "little") <= LONGEST_HEADER and head[8:10] == b'{"'


def _is_xgboost(head: bytes, path: Path) -> bool:
    """A JSON or UBJSON object with the key `learner`."""
    if head.startswith((b"{L", b"{i", b"{U", b"{I", b"{l")):
        return b"learner" in head[:64]
    if not head.lstrip().startswith(b"{"):
        return False
    if b'"learner"' in head:
        return True
    try:
        return "learner" in json.loads(path.read_bytes())
    except ValueError:
        return False


def _is_onnx(file: BinaryIO, size: int) -> bool:
    """A protobuf message with the fields of an ONNX model, a version first and a graph among them."""
    file.seek(0)
    try:
        seen = list(_fields(file, size))
    except ValueError:
        return False
    return seen[:1] == [1] and ONNX_GRAPH in seen


def _fields(file: BinaryIO, size: int) -> Iterator[int]:
    """Numbers of the fields of a message, over whose contents it jumps. Raises ValueError for one that ONNX has not."""
    while file.tell() < size:
        tag = _number(file)
        field, coding = tag >> 3, tag & 7
        if ONNX_FIELDS.get(field) != coding:
            raise ValueError(f"field {field} is coded as {coding}")
        length = _number(file)
        if coding:
            file.seek(length, 1)
        yield field


def _number(file: BinaryIO) -> int:
    """A number in protobuf's coding: seven bits a byte, the lowest first."""
    value = 0
    for position in range(10):
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends inside a number")
        value |= (byte[0] & 0x7F) << (7 * position)
        if not byte[0] & 0x80:
            return value
    raise ValueError("a number of more than ten bytes")
