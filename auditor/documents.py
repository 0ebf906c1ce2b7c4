"""YAML files read with their line numbers, so that an error can say where it is and what was meant."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from auditor.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Loc = tuple[str | int, ...]
# What Pydantic calls kinds of values, in YAML's words.
KINDS = {"tuple_type": "a list", "list_type": "a list", "dict_type": "a map", "model_type": "a map"}


@dataclass(frozen=True)
class Place:
    """A file and a line in it, from 1; 0 for what stands in no file."""

    source: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True)
class Document:
    """Plain values with the place of every key and item."""

    source: str
    values: dict[str, Any] = field(default_factory=dict)  # any YAML value
    places: Mapping[Loc, Place] = field(default_factory=dict)

    def over(self, lower: "Document") -> "Document":
        """This document laid over a lower one: maps merge per key, lists and other values replace."""
        values, places = dict(lower.values), dict(lower.places)
        _merge(values, self.values, places, self.places, ())
        return Document(self.source, values, places)

    def place(self, loc: Loc) -> str:
        """Where the innermost known part of a path stands."""
        for end in range(len(loc), 0, -1):
            if loc[:end] in self.places:
                return str(self.places[loc[:end]])
        return self.source


def _merge(
    low: dict[str, Any], high: Mapping[str, Any], places: dict[Loc, Place], new: Mapping[Loc, Place], at: Loc
) -> None:
    for key, value in high.items():
        loc = (*at, key)
        if isinstance(value, dict) and isinstance(low.get(key), dict):
            low[key] = dict(low[key])
            _merge(low[key], value, places, new, loc)
        else:
            for stale in [p for p in places if p[: len(loc)] == loc]:
                del places[stale]
            low[key] = value
            places.update({p: v for p, v in new.items() if p[: len(loc)] == loc})
        if loc in new:
            places[loc] = new[loc]


def read(path: Path) -> Document:
    """A YAML file whose top is a map. Raises ConfigError with the place."""
    return loads(text_of(path), source=str(path))


def text_of(path: Path) -> str:
    """The text of a file. Raises ConfigError where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as text: {error}") from None


def loads(text: str, *, source: str) -> Document:
    """YAML text whose top is a map. Raises ConfigError with the place."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        node = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{source}{line}: {' '.join(str(error.problem or error.context).split())}") from None
    except YAMLError as error:
        raise ConfigError(f"{source}: {' '.join(str(error).split())}") from None
    if not isinstance(node, dict):
        raise ConfigError(
            f"{source}: expected a map of keys, found {'nothing' if node is None else type(node).__name__}"
        )
    places: dict[Loc, Place] = {}
    values = _plain(node, (), source, places)
    assert isinstance(values, dict)
    return Document(source, values, places)


def _plain(node: Any, loc: Loc, source: str, places: dict[Loc, Place]) -> Any:  # ruamel nodes in, plain values out
    if isinstance(node, dict):
        for key in node:
            places[(*loc, str(key))] = Place(source, _line(node, key))
        return {str(k): _plain(v, (*loc, str(k)), source, places) for k, v in node.items()}
    if isinstance(node, list):
        for index in range(len(node)):
            places[(*loc, index)] = Place(source, _line(node, index))
        return [_plain(v, (*loc, i), source, places) for i, v in enumerate(node)]
    if hasattr(node, "tag"):
        raise ConfigError(f"{source}: {'.'.join(map(str, loc))} has the tag {node.tag.value}; write a plain value")
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _line(node: Any, key: object) -> int:  # a ruamel map or list
    """The line of a key or item; that of the whole for what came by a merge key or stands behind a tag."""
    known = node.lc.data or {}
    return int(known[key][0] if key in known else node.lc.line or 0) + 1


def parse(text: str, model: type[Model], *, source: str) -> Model:
    """YAML text as a model. Raises ConfigError with file, line and, for an unknown key, the nearest known one."""
    return validated(loads(text, source=source), model)


def validated(document: Document, model: type[Model]) -> Model:
    """A document as a model. Raises ConfigError for the first thing that does not fit."""
    try:
        return model.model_validate(document.values)
    except ValidationError as error:
        problems = sorted(_causes(error.errors()), key=lambda e: e["type"] == "missing")
        raise ConfigError("\n".join(_message(p, document, model) for p in problems[:5])) from None


def _causes(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that are too short only because an item is wrong, and kinds of value that were not meant."""
    return [p for p in problems if not _beside_the_point(p, problems)]


def _beside_the_point(problem: ErrorDetails, others: list[ErrorDetails]) -> bool:
    loc, is_word = problem["loc"], isinstance(problem["input"], str)
    if problem["type"] == "too_short":
        return any(_inside(p["loc"], loc) for p in others)
    if problem["type"] == "string_type" and loc[-1] == "str" and isinstance(problem["input"], dict):
        return any(_inside(p["loc"], loc[:-1]) for p in others if p is not problem)
    words = [p["loc"][:-1] for p in others if p["type"] == "literal_error" and str(p["loc"][-1]).startswith("literal[")]
    if problem["type"] == "literal_error":
        return loc[:-1] in words and not is_word
    return problem["type"] == "model_type" and is_word and loc[:-1] in words


def _inside(loc: Loc, outer: Loc) -> bool:
    return len(loc) > len(outer) and loc[: len(outer)] == outer


def _message(problem: ErrorDetails, document: Document, model: type[BaseModel]) -> str:
    loc: Loc = tuple(p for p in problem["loc"] if not _is_tag(p, document))
    path = ".".join(str(p) for p in loc)
    where = document.place(loc)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, problem["loc"][:-1])
        near = get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(sorted(known))
        return f"{where}: unknown key {path!r}; {hint}"
    if problem["type"] == "missing":
        return f"{where}: {path} is missing"
    if problem["type"] == "too_short":
        least = problem["ctx"]["min_length"]
        return f"{where}: {path} needs at least {least} {'entry' if least == 1 else 'entries'}"
    found = problem["input"]
    known = re.findall(r"'([^']*)'", problem["ctx"]["expected"]) if problem["type"] == "literal_error" else []
    if near := get_close_matches(str(found), known, n=1, cutoff=0.5):
        return f"{where}: {path}: unknown value {found!r}; did you mean {near[0]!r}?"
    if problem["type"] in KINDS:
        return f"{where}: {path}: must be {KINDS[problem['type']]}{_shown(found)}"
    allowed = "; take letters, digits, '.', '-' and single '_'" if problem["type"] == "string_pattern_mismatch" else ""
    said = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {path + ': ' if path else ''}{said}{_shown(found)}{allowed}"


def _shown(found: Any) -> str:  # any YAML value
    plain = isinstance(found, str | int | float | bool) or found is None
    return f" (found {found!r})" if plain else ""


def _is_tag(part: str | int, document: Document) -> bool:
    """Pydantic puts the names of union members into a path; they are not keys of the document."""
    return (
        isinstance(part, str)
        and (part[:1].isupper() or part.endswith("]") or part in {"str", "int", "bool"})
        and all(part not in known for known in document.places)
    )


def _known_keys(model: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    current: Any = model  # a type annotation, walked down
    for part in loc:
        current = _child(current, part)
    return sorted({f.alias or name for m in _models(current) for name, f in m.model_fields.items()})


def _child(annotation: Any, part: str | int) -> Any:  # type annotations have no common type
    for model in _models(annotation):
        for name, info in model.model_fields.items():
            if part in (name, info.alias):
                return info.annotation
    return annotation


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models(arg)]
