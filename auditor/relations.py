"""Reads linear relations of columns from texts: "debt <= income", "total = first + 2 second - 3"."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from auditor.constraints import Relation
from auditor.errors import ConfigError, UnknownNameError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|`(?P<quoted>[^`]+)`|(?P<name>[^\W\d][\w.]*)"
    r"|(?P<sign><=|>=|==|[=<>+*-])|(?P<other>\S))"
)
_FORM = 'write it like "debt <= income" or "total = first + 2 second - 3", a name with other characters in `backticks`'


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


@dataclass(frozen=True)
class _Term:
    """A number, or a number of times a column."""

    factor: float
    column: str | None


def parse(text: str, names: Sequence[str], *, where: str) -> Relation:
    """The relation that a text states of the features called `names` (D,).

    Both sides are sums of numbers and columns, each with an optional number before it (`2 x` or `2 * x`); between them
    stands `<=`, `>=`, `=` or `==`. Raises ConfigError that shows the text and the place, and UnknownNameError with the
    nearest name.
    """
    place = f"{where}: {text!r}"
    tokens = list(_tokens(text, place))
    signs = [i for i, t in enumerate(tokens) if t.kind == "sign" and t.text in ("<=", ">=", "=", "==")]
    if len(signs) != 1:
        raise ConfigError(f"{place} has {len(signs)} of <=, >= and =, and needs one; {_FORM}")
    sign = tokens[signs[0]].text
    left, right = (list(_terms(side, place)) for side in (tokens[: signs[0]], tokens[signs[0] + 1 :]))
    terms = _difference(right, left) if sign == ">=" else _difference(left, right)
    weights, constant = _summed(terms, {name: i for i, name in enumerate(names)}, place)
    if not weights:
        raise ConfigError(f"{place} says nothing about any column; {_FORM}")
    return Relation(
        text=text.strip(),
        features=tuple(weights),
        coefficients=tuple(weights.values()),
        constant=constant,
        equal=sign in ("=", "=="),
    )


def _tokens(text: str, place: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text.rstrip()):
        kind = match.lastgroup or "other"
        found = _Token("name" if kind == "quoted" else kind, match[kind])
        if found.kind == "other":
            raise ConfigError(f"{place}: {found.text!r} has no place in a linear relation; {_FORM}")
        if found.text in ("<", ">") and found.kind == "sign":
            raise ConfigError(f"{place}: write {found.text}= for {found.text}; values on the edge are allowed")
        yield found


def _terms(tokens: Sequence[_Token], place: str) -> Iterator[_Term]:
    """The terms of one side. Each is a sign (optional for the first), then a number, a name, or a number and a name."""
    rest, first = list(tokens), True
    if not rest:
        raise ConfigError(f"{place} has an empty side; {_FORM}")
    while rest:
        sign = 1.0
        if rest[0].text in ("+", "-") and rest[0].kind == "sign":
            sign = -1.0 if rest.pop(0).text == "-" else 1.0
        elif not first:
            raise ConfigError(f"{place}: a + or - is missing before {rest[0].text!r}; {_FORM}")
        factor = float(rest.pop(0).text) if rest and rest[0].kind == "number" else None
        if factor is not None and rest and rest[0].text == "*" and len(rest) > 1 and rest[1].kind == "name":
            rest.pop(0)
        column = rest.pop(0).text if rest and rest[0].kind == "name" else None
        if factor is None and column is None:
            found = f"{rest[0].text!r} stands" if rest else "nothing stands"
            raise ConfigError(f"{place}: {found} where a number or a column should; {_FORM}")
        yield _Term(sign * (1.0 if factor is None else factor), column)
        first = False


def _difference(left: Sequence[_Term], right: Sequence[_Term]) -> list[_Term]:
    return [*left, *(_Term(-t.factor, t.column) for t in right)]


def _summed(terms: Sequence[_Term], places: Mapping[str, int], place: str) -> tuple[dict[int, float], float]:
    weights: dict[int, float] = {}
    constant = 0.0
    for term in terms:
        if term.column is None:
            constant += term.factor
        elif term.column not in places:
            raise UnknownNameError("column", term.column, places, where=place)
        else:
            at = places[term.column]
            weights[at] = weights.get(at, 0.0) + term.factor
    return {at: weight for at, weight in weights.items() if weight}, constant
