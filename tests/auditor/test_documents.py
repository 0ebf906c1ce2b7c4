"""YAML with its line numbers: every mistake is named with its place and the nearest right key."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from auditor.documents import Document, loads, parse, read, validated
from auditor.errors import ConfigError
from auditor.record import Frozen


class Inner(Frozen):
    width: int = Field(3, ge=1)


class Outer(Frozen):
    name: str
    inner: Inner = Inner()
    items: tuple[Inner, ...] = Field((Inner(),), min_length=1)
    colour: Literal["red", "green"] | Inner = "red"
    kind: Literal["round", "square"] = "round"


def said(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, Outer, source="a.yaml")
    return str(caught.value)


def test_every_key_and_item_has_its_line() -> None:
    document = loads("a: 1\nb:\n  - 5\n  - c: 2\n    d: 3\n", source="x.yaml")
    assert document.values == {"a": 1, "b": [5, {"c": 2, "d": 3}]}
    assert document.place(("a",)) == "x.yaml:1"
    assert document.place(("b", 0)) == "x.yaml:3"
    assert document.place(("b", 1, "d")) == "x.yaml:5"


def test_an_unknown_place_is_the_innermost_known_one_or_the_file() -> None:
    document = loads("a:\n  b: 1\n", source="x.yaml")
    assert document.place(("a", "b", "c", "d")) == "x.yaml:2"
    assert document.place(("z",)) == "x.yaml"


def test_values_are_plain_python() -> None:
    values = loads("s: text\ni: 3\nf: 0.5\nb: true\nn:\no: off\nm: {k: [1]}\n", source="x").values
    assert [type(v) for v in values.values()] == [str, int, float, bool, type(None), str, dict]
    assert values["o"] == "off"
    assert type(values["m"]["k"]) is list


def test_maps_merge_per_key_and_lists_replace() -> None:
    low = loads("a: {x: 1, y: 2}\nl: [1, 2]\nk: 1\n", source="low")
    high = loads("\na: {y: 3}\nl: [9]\n", source="high")
    merged = high.over(low)
    assert merged.values == {"a": {"x": 1, "y": 3}, "l": [9], "k": 1}
    assert merged.place(("a", "y")) == "high:2"
    assert merged.place(("a", "x")) == "low:1"
    assert merged.place(("l", 0)) == "high:3"
    assert merged.place(("k",)) == "low:3"
    assert (low.values["a"], high.values["a"]) == ({"x": 1, "y": 2}, {"y": 3})


def test_a_map_laid_over_a_word_replaces_it_and_the_other_way_round() -> None:
    assert loads("p: {x: 1}", source="h").over(loads("p: off", source="l")).values == {"p": {"x": 1}}
    merged = loads("p: off", source="h").over(loads("p: {x: 1}", source="l"))
    assert merged.values == {"p": "off"}
    assert ("p", "x") not in merged.places


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_one() -> None:
    assert said("name: a\ninner:\n  widht: 4\n") == "a.yaml:3: unknown key 'inner.widht'; did you mean 'width'?"
    assert said("name: a\nitems:\n  - width: 1\n  - {weight: 4}\n").startswith("a.yaml:4: unknown key 'items.1.weight'")


def test_an_unknown_key_like_no_other_lists_what_is_known() -> None:
    assert said("name: a\nzzz: 4\n") == "a.yaml:2: unknown key 'zzz'; known: colour, inner, items, kind, name"


def test_a_word_that_is_none_of_those_known_gets_the_nearest_or_all() -> None:
    assert said("name: a\nkind: squared\n") == "a.yaml:2: kind: unknown value 'squared'; did you mean 'square'?"
    assert said("name: a\nkind: 3\n") == "a.yaml:2: kind: Input should be 'round' or 'square' (found 3)"


def test_where_a_word_or_a_map_may_stand_only_the_one_that_was_meant_is_spoken_of() -> None:
    assert said("name: a\ncolour: gren\n") == "a.yaml:2: colour: unknown value 'gren'; did you mean 'green'?"
    assert said("name: a\ncolour: {widht: 1}\n") == "a.yaml:2: unknown key 'colour.widht'; did you mean 'width'?"


def test_kinds_of_values_have_the_names_that_yaml_gives_them() -> None:
    assert said("name: a\nitems: 3\n") == "a.yaml:2: items: must be a list (found 3)"
    assert said("name: a\ninner: [1]\n") == "a.yaml:2: inner: must be a map"


def test_a_wrong_value_is_shown_where_it_stands() -> None:
    assert (
        said("name: a\ninner: {width: 0}\n")
        == "a.yaml:2: inner.width: Input should be greater than or equal to 1 (found 0)"
    )


def test_a_missing_key_is_named_with_the_file() -> None:
    assert said("inner: {width: 2}\n") == "a.yaml: name is missing"


def test_a_list_is_not_called_too_short_because_an_item_is_wrong() -> None:
    assert len(said("name: a\nitems: [{width: 0}]\n").splitlines()) == 1
    assert said("name: a\nitems: []\n") == "a.yaml:2: items needs at least 1 entry"


def test_a_key_given_twice_is_an_error_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r'^x:2: found duplicate key "a"'):
        loads("a: 1\na: 2\n", source="x")


@pytest.mark.parametrize("text", ["a: [1, 2\n", "a: b: c\n", "\ta: 1\n", "a: 'x\n", "a: *nowhere\n"])
def test_text_that_is_no_yaml_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^x:\d+: "):
        loads(text, source="x")


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("- 1\n", "CommentedSeq"), ("3\n", "int")])
def test_a_file_whose_top_is_no_map_is_refused(text: str, found: str) -> None:
    with pytest.raises(ConfigError, match=f"x: expected a map of keys, found {found}"):
        loads(text, source="x")


def test_a_tag_that_would_run_code_makes_no_object() -> None:
    with pytest.raises(ConfigError, match="name: Input should be a valid string"):
        parse("name: !!python/object/apply:os.system ['true']\n", Outer, source="x")
    with pytest.raises(ConfigError, match="x: name has the tag !secret; write a plain value"):
        parse("name: !secret key\n", Outer, source="x")


def test_merge_keys_bring_their_values_and_have_the_line_of_their_map() -> None:
    document = loads("a: &a {x: 1, y: 1}\nb:\n  <<: *a\n  y: 2\n", source="f")
    assert document.values["b"] == {"x": 1, "y": 2}
    assert document.place(("b", "y")) == "f:4"
    assert document.place(("b", "x")) == "f:3"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        read(tmp_path / "nowhere.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read(tmp_path)


def test_a_document_becomes_its_model() -> None:
    assert validated(Document("x", {"name": "a", "items": [{"width": 7}]}), Outer).items[0].width == 7
