"""Which files beside an ONNX model hold its weights: read from the file's own table, without any library."""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

# Field numbers of what may hold weights, from ModelProto down (onnx.proto).
GRAPH, FUNCTION, FUNCTION_NODE, NODE, ATTRIBUTE = 7, 25, 7, 1, 5
INITIALIZER, SPARSE, PARTS_OF_SPARSE = 5, 15, (1, 2)
TENSORS, GRAPHS, SPARSE_TENSORS = (5, 10), (6, 11), (22, 23)  # of an attribute
EXTERNAL, KEY, VALUE = 13, 1, 2
VARINT, EIGHT_BYTES, MEASURED, FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True)
class Field:
    """A field whose length is stated: its number, and where its content begins and ends."""

    number: int
    start: int
    end: int


def files_beside(path: Path) -> dict[str, Path]:
    """The files of weights that an ONNX model names, by the names it gives them; none where it is whole in itself.

    They decide what the model answers as much as the file itself. Files outside the model's folder are left out, as
    onnxruntime reads none of them; and a model that cannot be read names none.
    """
    if path.stat().st_size == 0:
        return {}
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        try:
            names = sorted(set(_names(content)))
        except (ValueError, IndexError, RecursionError):  # whoever opens the model says what is wrong with it
            return {}
    folder = path.parent.resolve()
    return {name: found for name in names if (found := (folder / name).resolve()).is_relative_to(folder)}


def _names(content: mmap) -> Iterator[str]:
    for tensor in _of_model(content):
        for entry in _fields(content, tensor, EXTERNAL):
            key, value = ([content[f.start : f.end] for f in _fields(content, entry, n)] for n in (KEY, VALUE))
            if key == [b"location"] and value:
                yield value[0].decode()


def _of_model(content: mmap) -> Iterator[Field]:
    """The tensors of a model, those of its functions included."""
    whole = Field(0, 0, len(content))
    for graph in _fields(content, whole, GRAPH):
        yield from _of_graph(content, graph)
    for function in _fields(content, whole, FUNCTION):
        for node in _fields(content, function, FUNCTION_NODE):
            yield from _of_node(content, node)


def _of_graph(content: mmap, graph: Field) -> Iterator[Field]:
    yield from _fields(content, graph, INITIALIZER)
    for sparse in _fields(content, graph, SPARSE):
        yield from _each(content, sparse, PARTS_OF_SPARSE)
    for node in _fields(content, graph, NODE):
        yield from _of_node(content, node)


def _of_node(content: mmap, node: Field) -> Iterator[Field]:
    """The tensors in the attributes of a node, such as a constant or the branches of an If."""
    for attribute in _fields(content, node, ATTRIBUTE):
        yield from _each(content, attribute, TENSORS)
        for sparse in _each(content, attribute, SPARSE_TENSORS):
            yield from _each(content, sparse, PARTS_OF_SPARSE)
        for graph in _each(content, attribute, GRAPHS):
            yield from _of_graph(content, graph)


def _each(content: mmap, message: Field, numbers: tuple[int, ...]) -> Iterator[Field]:
    for number in numbers:
        yield from _fields(content, message, number)


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
