"""Which files beside an ONNX model hold its weights: read from the file's own table, without any library."""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

GRAPH, INITIALIZER, EXTERNAL, KEY, VALUE = (
    7,
    5,
    13,
    1,
    2,
)  # field numbers of ModelProto and what lies in it (onnx.proto)
VARINT, EIGHT_BYTES, MEASURED, FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True)
class Field:
    """A field whose length is stated: its number, and where its content begins and ends."""

    number: int
    start: int
    end: int


def files_beside(path: Path) -> tuple[Path, ...]:
    """The files of weights that an ONNX model names, sorted; none where the model is whole in itself or unreadable.

    They decide what the model answers as much as the file itself. Blind spot: weights of constants inside nodes.
    """
    if path.stat().st_size == 0:
        return ()
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        try:
            names = set(_names(content))
        except (ValueError, IndexError, UnicodeDecodeError):  # whoever opens the model says what is wrong with it
            return ()
    return tuple(path.parent / name for name in sorted(names))


def _names(content: mmap) -> Iterator[str]:
    whole = Field(0, 0, len(content))
    for graph in _fields(content, whole, GRAPH):
        for tensor in _fields(content, graph, INITIALIZER):
            for entry in _fields(content, tensor, EXTERNAL):
                key, value = ([content[f.start : f.end] for f in _fields(content, entry, n)] for n in (KEY, VALUE))
                if key == [b"location"] and value:
                    yield value[0].decode()


def _fields(content: mmap, message: Field, number: int) -> Iterator[Field]:
    """The fields of this number in a message. Raises ValueError for what is no protocol buffer."""
    place = message.start
    while place < message.end:
        key, place = _varint(content, place)
        kind = key & 7
        if kind == VARINT:
            _, place = _varint(content, place)
            continue
        size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind)
        if kind == MEASURED:
            size, place = _varint(content, place)
        if size is None or place + size > message.end:
            raise ValueError("no protocol buffer")
        if kind == MEASURED and key >> 3 == number:
            yield Field(number, place, place + size)
        place += size


def _varint(content: mmap, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise ValueError("no protocol buffer")
