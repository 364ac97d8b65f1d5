"""Reading a table: a CSV or Parquet file, or any dataframe, as columns of numbers, booleans, dates or text.

Needs polars and narwhals (in the extras ``ermin[tables]`` and ``ermin[cli]``), and says so.
"""

from __future__ import annotations

import csv
import importlib.util
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import polars as pl

__all__ = ["as_polars", "date_format", "parse_dates", "read_table"]

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
"""Texts that stand for a missing value in a file; spaces around a text don't count."""

SEPARATORS = ",;\t|"
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d %b %Y")
"""How dates may be written; the first that fits all of a column's values is taken, so 1/2/2020 is in February."""
TIMES = ("", " %H:%M:%S%.f", " %H:%M", "T%H:%M:%S%.f", "T%H:%M", " %H:%M:%S%.f%#z", "T%H:%M:%S%.f%#z")
"""What may follow the date; a time with an offset from UTC is moved to UTC."""
_DATE = r"^(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ]\w{1,3}[-/. ]\d{4})(\D|$)"


def read_table(path: str | os.PathLike[str], *, text: Iterable[str] = ()) -> pl.DataFrame:
    r"""Read a CSV or Parquet file, whatever its separator, and find out what its columns hold.

    Parameters
    ----------
    path : path-like
        Parquet if it ends in ``.parquet``, else text in UTF-8 with a header line and one of ``, ; | tab`` between the
        fields. Numbers may have a decimal comma where the separator is another character.
    text : iterable of str
        Names of columns to leave as text.

    Returns
    -------
    polars.DataFrame
        With columns of whole numbers, numbers, booleans or text; null where a value is missing. A CSV's dates are left
        as text, for `date_format` to judge.

    Raises
    ------
    ValueError
        If there is no such file, it is empty or has only a header, a line has other fields than the header (which is
        named), or two columns have one name.

    Examples
    --------
    >>> import os, tempfile
    >>> from ermin.reading import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "data.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("size;colour;sold\n1,5;red;true\n?;blue;false\n")
    ...     frame = read_table(path)
    >>> frame["size"].to_list(), frame["colour"].to_list(), frame["sold"].to_list()
    ([1.5, None], ['red', 'blue'], [True, False])
    """
    _need_extra()
    import polars as pl

    path = os.fspath(path)
    if not os.path.exists(path):
        raise ValueError(f"{path} does not exist")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a file")
    if path.lower().endswith((".parquet", ".pq")):
        try:
            frame = pl.read_parquet(path, glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ValueError(f"{path} cannot be read as Parquet: {error}") from None
        if not frame.height or not frame.width:
            raise ValueError(f"{path} has no rows")
        return frame
    separator, names, blank, n_records = _check_csv(path)
    frame = _read_texts(path, separator, names, n_records)
    if blank:
        keep = np.ones(frame.height, dtype=bool)
        keep[blank] = False
        frame = frame.filter(pl.Series(keep))
    left = set(text)
    return frame.select(_typed(frame[name], separator, name in left) for name in names)


def _check_csv(path: str) -> tuple[str, list[str], list[int], int]:
    """The separator, the columns' names, the numbers of blank records, and how many records there are, all checked."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            start = file.read(1 << 16)
            if not start.strip():
                raise ValueError(f"{path} is empty")
            if "\0" in start:
                raise ValueError(f"{path} is not text: it holds a zero byte")
            separator = _sniff(start)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator)
            blank = []
            n_records = 0
            names = _names(path, next(reader))
            for record in reader:
                n_records += 1
                if not record:
                    blank.append(n_records - 1)
                elif len(record) != len(names):
                    raise ValueError(
                        f"{path} is ragged: line {reader.line_num} has {len(record)} fields, "
                        f"but the header has {len(names)} (separated by {separator!r})"
                    )
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if n_records == len(blank):
        raise ValueError(f"{path} has a header but no rows")
    return separator, names, blank, n_records


def _sniff(start: str) -> str:
    """The separator that cuts the first lines into equally many fields; of several such the one that makes most."""
    lines = start.splitlines()[:100]
    lines = lines[:-1] if len(lines) > 2 else lines

    def fit(separator: str) -> tuple[bool, int]:
        widths = [len(record) for record in csv.reader(lines, delimiter=separator) if record] or [0]
        return widths[0] > 1 and len(set(widths)) == 1, widths[0]

    return max(SEPARATORS, key=fit)


def _names(path: str, record: Sequence[str]) -> list[str]:
    """The header's names; a nameless column is called by its number."""
    if not "".join(record).strip():
        raise ValueError(f"{path} has no header in its first line")
    names = [name.strip() or f"column_{i + 1}" for i, name in enumerate(record)]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{path} has {times} columns named {name!r}, but names must differ")
    return names


def _read_texts(path: str, separator: str, names: list[str], n_records: int) -> pl.DataFrame:
    """All fields as text. Where polars and Python disagree on a quote in mid-field, Python is right, if slow."""
    import polars as pl

    try:
        frame = pl.read_csv(path, separator=separator, infer_schema=False, glob=False)
    except pl.exceptions.PolarsError:
        frame = pl.DataFrame()
    if frame.shape == (n_records, len(names)):
        frame.columns = names
    else:
        with open(path, newline="", encoding="utf-8-sig") as file:
            _, *records = csv.reader(file, delimiter=separator)
        empty = [""] * len(names)
        columns = zip(*(record or empty for record in records), strict=True)
        frame = pl.DataFrame(dict(zip(names, columns, strict=True)), schema=dict.fromkeys(names, pl.String))
    return frame


def _typed(texts: pl.Series, separator: str, leave: bool) -> pl.Series:
    """A column of texts as what all of its present values can be read as."""
    import polars as pl

    texts = texts.str.strip_chars()
    texts = texts.set(texts.is_in(MISSING), None)
    n_missing = texts.null_count()
    if leave or n_missing == len(texts):
        return texts
    for dtype in (pl.Int64, pl.Float64):
        numbers = texts.cast(dtype, strict=False)
        if numbers.null_count() == n_missing:
            return numbers
    if separator != ",":
        numbers = texts.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        if numbers.null_count() == n_missing:
            return numbers
    lower = texts.str.to_lowercase()
    return lower == "true" if lower.drop_nulls().is_in(["true", "false"]).all() else texts


def date_format(texts: pl.Series) -> str:
    """How a column's texts are written if all of them are dates, else ""."""
    present = texts.drop_nulls().unique()
    if not present.str.contains(_DATE).all():
        return ""
    for date in DATES:
        for time in TIMES:
            if not parse_dates(present, date + time).null_count():
                return date + time
    return ""


def parse_dates(texts: pl.Series, written: str) -> pl.Series:
    """Texts as dates with time, null where a text is not written so."""
    import polars as pl

    dates = texts.str.to_datetime(written, strict=False, time_unit="us")
    return dates.cast(pl.Datetime("us"))


def as_polars(data: Any) -> pl.DataFrame:
    """Any dataframe as polars' own, a column at a time, with null where a value is missing."""
    _need_extra()
    import narwhals as nw
    import polars as pl

    if isinstance(data, pl.DataFrame):
        return data
    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError:
        raise TypeError(
            f"a table is needed (of polars, pandas or the like), not {type(data).__name__}"
        ) from None
    columns = []
    for series in frame.iter_columns():
        if series.dtype.is_numeric() or series.dtype.is_temporal():
            columns.append(pl.Series(str(series.name), series.to_numpy()))
        else:
            missing = series.is_null().to_list()
            values = [None if gone else value for value, gone in zip(series.to_list(), missing, strict=True)]
            columns.append(pl.Series(str(series.name), values, strict=False))
    return pl.DataFrame(columns)


def _need_extra() -> None:
    for name in ("polars", "narwhals"):
        if importlib.util.find_spec(name) is None:
            raise ImportError(f'tables need {name}: pip install "ermin[cli]"')
