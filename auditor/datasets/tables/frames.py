"""Reads csv and parquet files into pandas frames whose columns have names, or says what is wrong with the file."""

import csv
import re
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from auditor.datasets.places import refuse_pointer
from auditor.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["csv", "parquet"]

DELIMITERS = ",;\t|"
MISSING = {"", "na", "n/a", "nan", "null", "?"}  # in any case; "None" and "-" may be categories
_MISSING = [form(word) for word in MISSING for form in (str.lower, str.upper, str.capitalize)] + ["NaN"]
_START = 4096


def read(path: Path, kind: Kind, texts: Collection[str] = ()) -> "pd.DataFrame":
    """The table in a file; missing cells are what pandas calls missing.

    A csv file is UTF-8 with a header; its delimiter is the one of , ; tab | that the header has most of. Its columns of
    numbers become numbers, but for those in `texts`; parquet keeps its types. Raises DataError naming the file, the
    column or line and what to do, and ConfigError without pandas.
    """
    _look(path, kind)
    frame = _csv(path, texts) if kind == "csv" else _parquet(path)
    if not len(frame):
        raise DataError(f"{path} has a header and no rows")
    return frame


def _look(path: Path, kind: Kind) -> None:
    """Refuse what is no file of this kind, before a parser says so in its own words."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; {kind} reads one file (a second one for test rows: data.table.test)")
    refuse_pointer(path)
    with path.open("rb") as file:
        start = file.read(_START)
    if not start.strip():
        raise DataError(f"{path} is empty")
    if kind == "parquet" and not start.startswith(b"PAR1"):
        raise DataError(f"{path} is no parquet file; is it csv?")
    if kind == "csv" and start.startswith(b"PAR1"):
        raise DataError(f"{path} is a parquet file; write `source: parquet`")
    if kind == "csv" and (start.startswith((b"PK", b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")) or b"\0" in start):
        raise DataError(f"{path} is no plain text; save it as csv in UTF-8, neither packed nor as a spreadsheet")


def _pandas() -> None:
    try:
        import pandas  # noqa: F401  # only whether it is there
        import pyarrow  # noqa: F401
    except ImportError:
        raise ConfigError('csv and parquet need pandas and pyarrow; run `pip install "auditor[tabular]"`') from None


def _csv(path: Path, texts: Collection[str]) -> "pd.DataFrame":
    _pandas()
    import pandas as pd

    header: list[str] = []
    try:
        header, delimiter = _header(path)
        kept = {i: str for i, name in enumerate(header) if name in texts}
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would be cut
            frame = pd.read_csv(
                path, sep=delimiter, header=None, skiprows=1, names=range(len(header)), index_col=False,
                dtype=kept, encoding="utf-8-sig", low_memory=False,
                keep_default_na=False, na_values=_MISSING, skipinitialspace=True,
            )  # fmt: skip
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} has a header and no rows") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise DataError(f"{path} cannot be read as csv with {len(header)} columns: {error}") from None
    frame.columns = pd.Index(header)
    for name in [name for name in header if pd.api.types.is_string_dtype(frame[name])]:
        cells = frame[name].str.strip()
        frame[name] = cells.mask(cells.str.lower().isin(MISSING)).astype(object)
    return frame


def _header(path: Path) -> tuple[list[str], str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
    bare = re.sub(r'"[^"]*"', "", first)  # a quoted name may hold delimiters
    delimiter = max(DELIMITERS, key=bare.count)
    if not bare.count(delimiter):
        raise DataError(
            f"{path}: its first line has one column, {first.strip()[:60]!r}; columns are split by , ; tab |"
        )
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter, skipinitialspace=True))]
    if all(_is_number(name) for name in names):
        raise DataError(f"{path}: its first line holds numbers, {', '.join(names[:4])}; a header with names is needed")
    return _checked(names, path), delimiter


def _parquet(path: Path) -> "pd.DataFrame":
    _pandas()
    import pandas as pd
    import pyarrow

    try:
        frame = pd.read_parquet(path).reset_index(drop=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; save or fetch it again") from None
    frame.columns = pd.Index(_checked([str(name).strip() for name in frame.columns], path))
    for name in frame.columns:
        cells = frame[name]
        if cells.dtype.kind in "mM" or isinstance(cells.dtype, pd.DatetimeTZDtype):
            raise DataError(f"{path}: column {name!r} holds dates; store a number of days instead, or drop it")
    return frame


def _checked(names: Sequence[str], path: Path) -> list[str]:
    """Column names that can be told apart; one without a name gets the name that pandas would give it."""
    named = [name or f"Unnamed: {i}" for i, name in enumerate(names)]
    if doubled := sorted({name for name in named if named.count(name) > 1}):
        raise DataError(f"{path}: two columns are called {doubled[0]!r}; rename one")
    return named


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
