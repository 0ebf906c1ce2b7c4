"""Tables from csv and parquet: what the columns become, and a clear word for every way a file can be wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_wine

from auditor.dataset import Dataset
from auditor.datasets import content_files, load
from auditor.datasets.spec import DataConfig
from auditor.errors import ConfigError, DataError, UnknownNameError

PEOPLE = """\
age,income,job,sex,owner,visits,paid
31,100.5,nurse,f,yes,0,no
42,200,clerk,m,no,1,yes
28,150.25,farmer,f,yes,4,yes
65,90,clerk,m,no,2,no
51,310,nurse,f,no,3,yes
37,120,farmer,m,yes,0,no
44,99,clerk,f,yes,5,yes
29,101,nurse,m,no,1,no
"""


def read(folder: Path, text: str | bytes = PEOPLE, *, data: dict[str, Any] | None = None, **table: Any) -> Dataset:
    path = folder / "people.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    section = {"source": "csv", "path": "people.csv", "test_share": 0.5, **(data or {})}
    return load(DataConfig(**section, table={"target": "paid", **table}), folder)


def column(data: Dataset, name: str) -> np.ndarray:
    """A feature of all rows, train then test."""
    return np.concatenate([data.x_train, data.x_test])[:, data.domain.feature_names.index(name)]


def sorted_column(data: Dataset, name: str) -> list[float]:
    return np.sort(column(data, name)).tolist()


def test_columns_become_features_by_what_they_hold(tmp_path: Path) -> None:
    data = read(tmp_path)
    names = ("age", "income", "job=clerk", "job=farmer", "job=nurse", "sex=m", "owner", "visits")
    assert data.domain.feature_names == names
    assert sorted_column(data, "age") == [28, 29, 31, 37, 42, 44, 51, 65]
    assert sorted_column(data, "income") == [90, 99, 100.5, 101, 120, 150.25, 200, 310]
    assert data.domain.low.tolist() == [28, 90, 0, 0, 0, 0, 0, 0]
    assert data.domain.high.tolist() == [65, 310, 1, 1, 1, 1, 1, 5]
    old = column(data, "age").argsort()
    assert column(data, "job=nurse")[old].tolist() == [0, 1, 1, 0, 0, 0, 1, 0]
    assert column(data, "sex=m")[old].tolist() == [0, 1, 0, 1, 1, 0, 0, 1]
    assert column(data, "owner")[old].tolist() == [1, 0, 1, 1, 0, 1, 0, 0]
    rules = data.domain.constraints
    assert (rules.integer, rules.one_hot, rules.immutable) == ((0, 5, 6, 7), ((2, 3, 4),), ())


def test_text_labels_are_sorted_and_the_split_is_stratified(tmp_path: Path) -> None:
    data = read(tmp_path)
    assert data.classes == ("no", "yes")
    assert np.bincount(data.y_train).tolist() == np.bincount(data.y_test).tolist() == [2, 2]
    old = column(data, "age").argsort()
    assert np.concatenate([data.y_train, data.y_test])[old].tolist() == [1, 0, 0, 0, 1, 1, 1, 0]
    assert read(tmp_path, data={"classes": ["yes", "no"]}).classes == ("yes", "no")
    assert read(tmp_path).sha256 == data.sha256


def test_a_schema_says_types_ranges_values_groups_and_what_cannot_change(tmp_path: Path) -> None:
    data = read(
        tmp_path,
        groups=("sex", "job"),
        drop=("job",),
        columns={
            "age": {"type": "number", "range": [18, 100], "immutable": True},
            "visits": {"type": "category", "values": [0, 1, 2, 3, 4, 5, 9]},
            "sex": {"type": "boolean", "values": ["m", "f"], "immutable": True},
            "owner": {"type": "category"},
        },
        relations=("income >= 2 `sex=f`", "age + 1000 >= income"),
    )
    visits = tuple(f"visits={v}" for v in (0, 1, 2, 3, 4, 5, 9))
    assert data.domain.feature_names == ("age", "income", "sex=f", "owner=no", "owner=yes", *visits)
    assert (data.domain.low[0], data.domain.high[0]) == (18, 100)
    assert (data.domain.low[-1], data.domain.high[-1]) == (0, 1)  # nobody visited nine times, and somebody may
    assert data.domain.constraints.immutable == (0, 2)
    assert data.group_names == {"sex": ("f", "m"), "job": ("clerk", "farmer", "nurse")}
    assert data.groups["sex"].tolist() == (1 - data.x_test[:, 2]).astype(int).tolist()
    assert data.facts().constraints == (
        "nobody can change age, sex=f",
        "whole numbers: sex=f",
        "exactly one is 1: owner=no, owner=yes",
        "exactly one is 1: " + ", ".join(visits),
        "income >= 2 `sex=f`",
        "age + 1000 >= income",
    )


def test_one_hot_columns_that_are_there_already_are_declared_a_group(tmp_path: Path) -> None:
    text = "a,b,c,z,paid\n" + "1,0,0,5.5,0\n0,1,0,2.5,1\n0,0,1,2.5,0\n1,0,0,2.5,1\n"
    data = read(tmp_path, text, one_hot={"plan": ["a", "b", "c"]})
    assert (data.domain.constraints.one_hot, data.domain.constraints.integer) == (((0, 1, 2),), ())
    with pytest.raises(
        DataError, match=r"people.csv, row 2 does not fit 'exactly one is 1: a, b', nor do 1 other rows"
    ):
        read(tmp_path, text.replace("0,1,0,2.5", "1,1,0,2.5"), one_hot={"plan": ["a", "b"]})
    with pytest.raises(UnknownNameError, match=r"data.table.one_hot.plan: unknown column 'aa'; did you mean 'a'"):
        read(tmp_path, text, one_hot={"plan": ["aa", "b"]})
    with pytest.raises(ConfigError, match="'b' is in two groups"):
        read(tmp_path, text, one_hot={"p": ["a", "b"], "q": ["b", "c"]})


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_delimiters_a_byte_order_mark_and_quotes_are_understood(tmp_path: Path, separator: str) -> None:
    text = PEOPLE.replace("clerk", '"cl,e;rk"').replace(",", separator).replace(f"cl{separator}e", "cl,e")
    data = read(tmp_path, b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert data.domain.feature_names[:3] == ("age", "income", "job=cl,e;rk")
    np.testing.assert_array_equal(data.x_test, read(tmp_path).x_test)


def test_breast_cancer_is_the_same_from_csv_from_parquet_and_from_scikit_learn(tmp_path: Path) -> None:
    stored = load_breast_cancer(as_frame=True)
    frame = stored.frame.assign(diagnosis=stored.target_names[stored.target]).drop(columns="target")
    frame.to_csv(tmp_path / "cells.csv", index=False)
    frame.to_parquet(tmp_path / "cells.parquet")
    table = {"target": "diagnosis", "relations": ["`mean radius` <= `worst radius`"]}
    read = {
        kind: load(DataConfig(source=kind, path=f"cells.{kind}", table=table), tmp_path) for kind in ("csv", "parquet")
    }
    assert read["csv"].sha256 == read["parquet"].sha256
    data = read["csv"]
    assert (len(data.x_train), len(data.x_test), data.classes) == (427, 142, ("benign", "malignant"))
    assert data.domain.feature_names == tuple(stored.feature_names)
    np.testing.assert_allclose(np.sort(column(data, "mean area")), np.sort(stored.data["mean area"]), rtol=1e-6)
    assert (data.y_train == 1).sum() + (data.y_test == 1).sum() == 212  # malignant tumours, says its documentation
    assert not data.domain.constraints.integer


def test_parquet_keeps_types_and_gaps(tmp_path: Path) -> None:
    wine = load_wine(as_frame=True).frame
    wine["region"] = pd.Categorical.from_codes(np.arange(len(wine)) % 3, ["hill", "plain", "coast"])
    wine["organic"] = np.arange(len(wine)) % 2 == 0
    wine["vintage"] = pd.array([1990 + i % 7 for i in range(len(wine))], dtype="Int64")
    wine.loc[3, "vintage"] = pd.NA
    wine.loc[4, "alcohol"] = np.nan
    wine.to_parquet(tmp_path / "wine.parquet")
    config = {"source": "parquet", "path": "wine.parquet", "table": {"target": "target", "missing": "drop-rows"}}
    data = load(DataConfig(**config), tmp_path)
    assert len(data.x_train) + len(data.x_test) == 176
    assert data.missing == {"alcohol": 1, "vintage": 1}
    assert data.facts().missing == {"alcohol": 1, "vintage": 1}
    names = data.domain.feature_names[13:]
    assert names == ("region=coast", "region=hill", "region=plain", "organic", "vintage")
    whole = [data.domain.feature_names[i] for i in data.domain.constraints.integer]
    assert whole == ["magnesium", "proline", "organic", "vintage"]
    assert (data.domain.low[-1], data.domain.high[-1]) == (1990, 1996)


def test_gaps_are_refused_dropped_or_filled(tmp_path: Path) -> None:
    text = PEOPLE.replace("42,200,clerk", "42,NA,clerk").replace("31,100.5,nurse,f", "31,100.5,?,f")
    with pytest.raises(DataError, match=r"people.csv, row 2: column 'income' is empty, as in 1 rows, and 1 other col"):
        read(tmp_path, text)
    dropped = read(tmp_path, text, missing="drop-rows")
    assert sorted_column(dropped, "age") == [28, 29, 37, 44, 51, 65]
    filled = read(tmp_path, text, missing="fill")
    assert dict(filled.missing) == dict(dropped.missing) == {"income": 1, "job": 1}
    row = column(filled, "age").tolist().index(42)
    train = filled.x_train[:, 1][filled.x_train[:, 0] != 42]
    assert column(filled, "income")[row] == pytest.approx(np.median(train))
    with pytest.raises(DataError, match=r"column 'paid' is empty.*data.table.missing: drop-rows$"):
        read(tmp_path, PEOPLE.replace("1,no\n", "1,\n"), missing="fill")
    with pytest.raises(DataError, match="every row has an empty cell"):
        read(tmp_path, "a,b,paid\n1,,0\n,2,1\n", missing="drop-rows")


def test_test_rows_come_from_a_second_file(tmp_path: Path) -> None:
    (tmp_path / "later.csv").write_text("paid,age,income,job,sex,owner,visits\nno,70,10,nurse,f,no,0\n")
    data = read(tmp_path, data={"test_share": None}, test="later.csv")
    assert (len(data.x_train), data.x_test.tolist()) == (8, [[70, 10, 0, 0, 1, 0, 0, 0]])
    assert (data.domain.low[1], data.domain.high[0]) == (10, 70)
    config = DataConfig(source="csv", path="people.csv", table={"target": "paid", "test": "later.csv"})
    assert content_files(config, tmp_path) == [tmp_path / "later.csv", tmp_path / "people.csv"]


def test_a_second_file_that_does_not_fit_the_first_is_refused(tmp_path: Path) -> None:
    def later(text: str, **more: Any) -> Dataset:
        (tmp_path / "later.csv").write_text(text)
        return read(tmp_path, data={"test_share": None}, test="later.csv", **more)

    head = "age,income,job,sex,owner,visits,paid\n"
    with pytest.raises(DataError, match=r"later.csv: column 'job' has values that people.csv has not: baker, cook"):
        later(head + "70,10,cook,f,no,0,no\n70,10,baker,f,no,0,no\n")
    values = {"job": {"values": ["baker", "clerk", "cook", "farmer", "nurse"]}}
    assert later(head + "70,10,cook,f,no,0,no\n", columns=values).x_test[0, 2:7].tolist() == [0, 0, 1, 0, 0]
    with pytest.raises(DataError, match=r"later.csv, row 1, column 'job': 'actor' is not among data.table.columns.job"):
        later(head + "70,10,actor,f,no,0,no\n", columns=values)
    with pytest.raises(DataError, match=r"later.csv lacks the column 'visits' of people.csv"):
        later("age,income,job,sex,owner,paid\n70,10,nurse,f,no,no\n")
    with pytest.raises(DataError, match=r"later.csv has the column 'town', which people.csv lacks"):
        later(head.strip() + ",town\n70,10,nurse,f,no,0,no,Ulm\n")
    with pytest.raises(DataError, match=r"data.table.test: .*gone.csv does not exist"):
        read(tmp_path, data={"test_share": None}, test="gone.csv")
    with pytest.raises(ConfigError, match=r"the test rows are those of data.table.test; remove one"):
        read(tmp_path, test="later.csv")


@pytest.mark.parametrize(
    ("values", "classes", "codes", "names"),
    [
        ("0 1 2 0", None, [0, 1, 2, 0], ("0", "1", "2")),
        ("0 1 0 1", ["bad", "good"], [0, 1, 0, 1], ("bad", "good")),
        ("1 2 1 2", ["1", "2"], [0, 1, 0, 1], ("1", "2")),
        ("1.0 0.0 1.0 0.0", None, [1, 0, 1, 0], ("0", "1")),
        ("True False True False", None, [1, 0, 1, 0], ("false", "true")),
        ("b a c a", ["c", "b", "a"], [1, 2, 0, 2], ("c", "b", "a")),
        ("b a b a", ["c", "b", "a"], [1, 2, 1, 2], ("c", "b", "a")),
    ],
)
def test_labels_are_names_or_numbers_from_0(
    tmp_path: Path, values: str, classes: list[str] | None, codes: list[int], names: tuple[str, ...]
) -> None:
    text = "x,paid\n" + "".join(f"{i}.5,{v}\n" for i, v in enumerate(values.split()))
    data = read(tmp_path, text, data={"classes": classes})
    order = column(data, "x").argsort()
    assert np.concatenate([data.y_train, data.y_test])[order].tolist() == codes
    assert data.classes == names


@pytest.mark.parametrize(
    ("values", "classes", "said"),
    [
        (
            "1 2 3 1",
            None,
            r'has the labels 1, 2, 3; labels count from 0: map them with data.classes: \["1", "2", "3"\]',
        ),
        ("0 2 2 0", None, "has the labels 0, 2; labels count from 0"),
        ("1 1 1 1", None, "target 'paid' is '1' in every row; a classifier needs at least two classes"),
        ("0.5 1.5 0.5 2.25", None, "has 3 values such as 0.5, 1.5, 2.25; is it the column of classes"),
        ("godd bad good bad", ["good", "bad"], "data.classes: unknown class 'godd'; did you mean 'good'"),
        ("1 2 1 2", ["good", "bad"], "labels 1, 2; they are neither names in data.classes nor their places, 0 to 1"),
        ("0 1 2 1", ["1", "2", "3"], "data.classes: unknown class '0'; known: 1, 2, 3"),
    ],
)
def test_labels_that_cannot_be_read_are_answered_with_advice(
    tmp_path: Path, values: str, classes: list[str] | None, said: str
) -> None:
    text = "x,paid\n" + "".join(f"{i}.5,{v}\n" for i, v in enumerate(values.split()))
    with pytest.raises((DataError, UnknownNameError), match=said):
        read(tmp_path, text, data={"classes": classes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"people.csv is empty"),
        ("age,paid\n", "people.csv has a header and no rows"),
        ("age\n1\n2\n", "its first line has one column, 'age'; columns are split by"),
        ("age,age,paid\n1,2,0\n3,4,1\n", "two columns are called 'age'; rename one"),
        ("5.1,3.5,0\n4.9,3.0,1\n", "its first line holds numbers, 5.1, 3.5, 0; a header with names is needed"),
        (
            ",age,paid\n0,5,0\n1,6,1\n",
            r'column \'Unnamed: 0\' has no name; if it numbers the rows: drop: \["Unnamed: 0"\]',
        ),
        ("age,paid\n1,0\n2,1,9\n", "cannot be read as csv with 2 columns"),
        ("age,paid\n1,0,9\n2,1,9\n", "cannot be read as csv with 2 columns"),
        ("age,paid\n1\n2,1\n", r"people.csv, row 1: column 'paid' is empty"),
        (b"age,town,paid\n1,K\xf6ln,0\n2,Ulm,1\n", "is not UTF-8 .*; save it as UTF-8"),
        ("age,paid\n1,0\n2,1\n".encode("utf-16"), "is no plain text; save it as csv in UTF-8"),
        (b"PK\x03\x04abc", "neither packed nor as a spreadsheet"),
        (b"PAR1abc", "is a parquet file; write `source: parquet`"),
        ("version https://git-lfs.github.com/spec/v1\noid x\n", "is a git-LFS pointer"),
        ("age,paid\n1,0\ninf,1\n", r"row 2, column 'age': 'inf' is infinite or too large for float32"),
        ("age,gap,paid\n1,,0\n2,,1\n", r"column 'gap' is empty, as in 2 rows"),
        ("x,paid\n" + "".join(f"w{i},{i % 2}\n" for i in range(300)), "has 300 different texts, .*belongs in .*drop"),
        ("x;paid\n3;0\n0,5;1\n", "row 2, column 'x': '0,5' is a number with a comma: write it with digits and a"),
        ("x;paid\n1,000.5;0\n20;1\n", "row 1, column 'x': '1,000.5' is a number with a comma"),
        ("x,paid\n10%,0\n20 %,1\n", "'10%' is a share: write the number alone"),
        ("x,paid\n2024-01-31,0\n2024-02-01,1\n", "is a date: store a number of days, .*columns.x.type: category"),
        ("x,paid\n16777216,0\n16777239,1\n", "'16777239' is kept to the nearest 2 in float32, .* lie within 23"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("table", "error", "said"),
    [
        (
            {"target": "payd"},
            UnknownNameError,
            "people.csv, data.table.target: unknown column 'payd'; did you mean 'paid'",
        ),
        ({"groups": ["sexx"]}, UnknownNameError, "data.table.groups: unknown column 'sexx'; did you mean 'sex'"),
        ({"columns": {"agee": {}}}, UnknownNameError, "data.table.columns: unknown column 'agee'; did you mean 'age'"),
        (
            {"relations": ["income <= agee"]},
            UnknownNameError,
            "'income <= agee': unknown column 'agee'; did you mean 'age'",
        ),
        (
            {"relations": ["income <= 300"]},
            DataError,
            r"people.csv, row 5 does not fit 'income <= 300', nor do 0 other",
        ),
        ({"columns": {"paid": {}}}, ConfigError, "data.table.columns: 'paid' is the target"),
        ({"columns": {"age": {}}, "drop": ["age"]}, ConfigError, "'age' is dropped by data.table.drop"),
        (
            {"columns": {"income": {"type": "integer"}}},
            DataError,
            r"row 1, column 'income': '100.5' is no whole number",
        ),
        (
            {"columns": {"job": {"type": "number"}}},
            DataError,
            r"column 'job': 'nurse' is no number.*\(8 cells in all\)",
        ),
        (
            {"columns": {"age": {"range": [0, 50]}}},
            DataError,
            r"row 4, column 'age': '65' is outside the range \[0, 50\]",
        ),
        (
            {"columns": {"job": {"type": "boolean"}}},
            DataError,
            "column 'job' is boolean and has 3 values, clerk, farmer",
        ),
        ({"columns": {"job": {"type": "category", "range": [0, 1]}}}, ConfigError, "a category has no range"),
        ({"columns": {"age": {"type": "number", "values": ["1", "2"]}}}, ConfigError, "a number has no list of values"),
        ({"columns": {"sex": {"values": ["f", "x"]}}}, DataError, r"row 2, column 'sex': 'm' is not among"),
        ({"drop": ["age", "income", "job", "sex", "owner", "visits"]}, DataError, "no column is left as a feature"),
        ({"one_hot": {"plan": ["age", "visits"]}}, DataError, "column 'age' is boolean and has 8 values"),
    ],
)
def test_a_schema_that_does_not_fit_is_answered_by_name(
    tmp_path: Path, table: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        read(tmp_path, **table)


def test_a_table_needs_its_section_and_takes_no_range(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(PEOPLE)
    with pytest.raises(ConfigError, match=r"data.table is missing: .*target: paid"):
        load(DataConfig(source="csv", path="people.csv"), tmp_path)
    with pytest.raises(ConfigError, match="columns of a table have ranges of their own"):
        read(tmp_path, data={"range": [0, 1]})
    with pytest.raises(DataError, match="is no parquet file; is it csv"):
        load(DataConfig(source="parquet", path="people.csv", table={"target": "paid"}), tmp_path)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + bytes(40))
    with pytest.raises(DataError, match=r"cut.parquet cannot be read: .*; save or fetch it again"):
        load(DataConfig(source="parquet", path="cut.parquet", table={"target": "paid"}), tmp_path)


def test_dates_are_refused_by_column(tmp_path: Path) -> None:
    pd.DataFrame({"day": pd.to_datetime(["2026-01-01", "2026-01-02"]), "paid": [0, 1]}).to_parquet(
        tmp_path / "d.parquet"
    )
    with pytest.raises(DataError, match=r"d.parquet: column 'day' holds dates; store a number of days"):
        load(DataConfig(source="parquet", path="d.parquet", table={"target": "paid"}), tmp_path)


def test_a_column_that_only_numbers_the_rows_is_remarked_in_the_description(tmp_path: Path) -> None:
    text = "id,x,paid\n" + "".join(f"{i + 100},{i % 7}.5,{i % 2}\n" for i in range(60))
    assert "Column id has another whole number in every row" in read(tmp_path, text).description
    assert read(tmp_path, text, drop=["id"]).description == ""


def test_groups_of_many_values_are_refused(tmp_path: Path) -> None:
    text = "id,x,paid\n" + "".join(f"{i},{i % 7}.5,{i % 2}\n" for i in range(60))
    with pytest.raises(DataError, match=r"'id' in data.table.groups has 60 values"):
        read(tmp_path, text, groups=["id"])


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    text = "zip,x,y,paid\n" + "01067,1 ,true,01\n1067, 2,,02\n01067,3,false,01\n1067,4,true,02\n"
    with pytest.raises(DataError, match=r'labels count from 0: map them with data.classes: \["01", "02"\]'):
        read(tmp_path, text, columns={"zip": {"type": "category"}}, missing="fill")
    classes = {"classes": ["01", "02"]}
    data = read(tmp_path, text, data=classes, columns={"zip": {"type": "category"}}, missing="fill")
    assert data.domain.feature_names == ("zip=01067", "zip=1067", "x", "y")
    assert sorted_column(data, "zip=01067") == sorted(np.concatenate([data.y_train, data.y_test]).tolist())
    assert sorted_column(data, "x") == [1, 2, 3, 4]


def test_a_date_that_is_said_to_be_a_category_is_one(tmp_path: Path) -> None:
    text = "x,paid\n" + "2024-01-31,0\n2024-02-01,1\n" * 4
    data = read(tmp_path, text, columns={"x": {"type": "category"}})
    assert data.domain.feature_names == ("x=2024-01-31", "x=2024-02-01")


def test_a_class_of_the_test_file_alone_is_refused_unless_it_is_listed(tmp_path: Path) -> None:
    (tmp_path / "later.csv").write_text("x,paid\n5,no\n6,maybe\n")
    text = "x,paid\n1,no\n2,yes\n"
    with pytest.raises(DataError, match=r"later.csv: column 'paid' .*has not: maybe; correct .*under data.classes"):
        read(tmp_path, text, data={"test_share": None}, test="later.csv")
    listed = read(tmp_path, text, data={"test_share": None, "classes": ["yes", "no", "maybe"]}, test="later.csv")
    assert (listed.y_train.tolist(), listed.y_test.tolist()) == ([1, 0], [1, 2])


def test_delimiters_inside_a_quoted_name_are_not_counted(tmp_path: Path) -> None:
    data = read(tmp_path, '"a, b, c, d";x;paid\n' + "1;2;0\n3;4;1\n" * 4)
    assert data.domain.feature_names == ("a, b, c, d", "x")
