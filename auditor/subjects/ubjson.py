"""Whether a UBJSON document is whole: its places are followed and nothing is read out of it."""

FIXED = {b"Z": 0, b"N": 0, b"T": 0, b"F": 0, b"i": 1, b"U": 1, b"C": 1, b"I": 2, b"l": 4, b"d": 4, b"L": 8, b"D": 8}
INTEGERS = b"iUIlL"
DEEPEST = 100  # levels; a model has fewer than ten


def is_whole(content: bytes) -> bool:
    """Is there one UBJSON object (ubjson.org, draft 12), all of it, and nothing behind it?

    Libraries that read such files trust their lengths, and end the process where one leads outside.
    """
    try:
        return content[:1] == b"{" and _after(content, 0, 0) == len(content)
    except (ValueError, IndexError):
        return False


def _after(content: bytes, place: int, depth: int) -> int:
    """The place behind the value at this place. Raises ValueError for what is no UBJSON."""
    kind = content[place : place + 1]
    if kind in (b"S", b"H"):
        return _within(content, *_counted(content, place + 1))
    if kind in (b"{", b"["):
        if depth == DEEPEST:
            raise ValueError("nested too deep")
        return _after_container(content, place + 1, depth + 1, named=kind == b"{")
    if kind not in FIXED:
        raise ValueError(f"no marker: {kind!r}")
    return _within(content, place + 1, FIXED[kind])


def _after_container(content: bytes, place: int, depth: int, *, named: bool) -> int:
    """The place behind an object (`named`) or an array whose opening marker stands before this place."""
    kind = b""
    if content[place : place + 1] == b"$":
        kind, place = content[place + 1 : place + 2], place + 2
    if content[place : place + 1] != b"#":
        if kind:
            raise ValueError("a type without a count")
        while content[place : place + 1] not in (b"}", b"]"):
            place = _after_member(content, place, depth, named)
        return place + 1
    place, count = _counted(content, place + 1)
    if kind in FIXED and not named:
        return _within(content, place, count * FIXED[kind])
    if kind:
        raise ValueError("a typed container of no numbers")
    for _ in range(count):
        place = _after_member(content, place, depth, named)
    return place


def _after_member(content: bytes, place: int, depth: int, named: bool) -> int:
    if named:
        place = _within(content, *_counted(content, place))
    return _after(content, place, depth)


def _counted(content: bytes, place: int) -> tuple[int, int]:
    """The place behind an integer and the integer, which is not negative."""
    kind = content[place : place + 1]
    if not kind or kind not in INTEGERS:
        raise ValueError("no integer")
    end = _within(content, place + 1, FIXED[kind])
    value = int.from_bytes(content[place + 1 : end], "big", signed=kind != b"U")
    if value < 0:
        raise ValueError("a negative length")
    return end, value


def _within(content: bytes, place: int, size: int) -> int:
    """The place behind `size` bytes, which are all there."""
    if place + size > len(content):
        raise ValueError("it ends early")
    return place + size
