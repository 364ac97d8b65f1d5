"""Raw tables: reading one, what each of its columns becomes, and a network that takes it as it comes.

A column becomes inputs of the network by its kind, learned from the training rows alone:

number      (x − median)/spread, then z/√(1 + (z/3)²), which leaves small values as they are and keeps outliers within
            ±3 (Holzmüller, Grinsztajn and Steinwart 2024, "Better by default", section 3). The spread is the distance
            of the quartiles, or where that is 0 the median distance from the median of the values that differ from it.
date        days since 1970, day of the year, day of the week and hour of the day, each treated as a number
category    (text and booleans) one input of 0 or 1 a level; of more than 64 levels the rarest share one
missing     the median, or no level at all, and one more input that says so if the training rows had any
dropped     columns that are empty or constant, that number the rows, or whose texts (nearly) all differ
"""

from __future__ import annotations

import csv
import os
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ermin import files, training
from ermin.network import MLP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from ermin._arrays import RngLike

__all__ = ["Column", "Preprocessing", "TableModel", "Target", "read_table", "split_rows"]

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
"""Texts that stand for a missing value in a file; spaces around a text don't count."""

SEPARATORS = ",;\t|"
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d %b %Y", "%Y-%m")
"""How dates may be written; the first that fits all of a column's values is taken, so 1/2/2020 is in February."""
TIMES = ("", " %H:%M:%S%.f", " %H:%M", "T%H:%M:%S%.f", "T%H:%M")

MOST_LEVELS = 64
"""A category of more levels has its rarest share one input."""
MOST_CLASSES = 20
"""Whole numbers with at most so many different values (and five rows for each) are classes, by default."""
BOUND = 3.0
"""What a scaled number stays within."""


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise ImportError('tables need polars and narwhals: pip install "ermin[cli]"') from None
    return polars


# ----------------------------------------------------------------------------------------------------------- reading


def read_table(path: str | os.PathLike[str], *, text: Iterable[str] = ()) -> pl.DataFrame:
    """Read a CSV or Parquet file, whatever its separator, and find out what its columns hold.

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
        With columns of whole numbers, numbers, booleans, dates with time, or text; null where a value is missing.

    Raises
    ------
    ValueError
        If there is no such file, it is empty or has only a header, a line has other fields than the header (which is
        named), or two columns have one name.

    Examples
    --------
    >>> import os, tempfile
    >>> from ermin.tabular import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "data.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("size;colour;bought\\n1,5;red;2024-03-01\\n?;blue;2024-03-02\\n")
    ...     frame = read_table(path)
    >>> frame["size"].to_list(), frame["colour"].to_list(), str(frame["bought"][0].date())
    ([1.5, None], ['red', 'blue'], '2024-03-01')
    """
    pl = _polars()
    path = os.fspath(path)
    if not os.path.exists(path):
        raise ValueError(f"{path} does not exist")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a file")
    if path.lower().endswith((".parquet", ".pq")):
        try:
            frame = pl.read_parquet(path)
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
            separator = _sniff(start)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator)
            names: list[str] = []
            blank = []
            n_records = 0
            for n_records, record in enumerate(reader):  # noqa: B007  (its last value is wanted)
                if not names:
                    if not "".join(record).strip():
                        raise ValueError(f"{path} has no header in its first line")
                    names = _names(path, record)
                elif not record:
                    blank.append(n_records - 1)
                elif len(record) != len(names):
                    raise ValueError(
                        f"{path} is ragged: line {reader.line_num} has {len(record)} fields, "
                        f"but the header has {len(names)} (separated by {separator!r})"
                    )
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV: {error} (line {reader.line_num})") from None
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
        widths = [len(record) for record in csv.reader(lines, delimiter=separator) if record]
        return widths[0] > 1 and len(set(widths)) == 1, widths[0]

    return max(SEPARATORS, key=fit)


def _names(path: str, record: Sequence[str]) -> list[str]:
    """The header's names; a nameless column is called by its number."""
    names = [name.strip() or f"column_{i + 1}" for i, name in enumerate(record)]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{path} has {times} columns named {name!r}, but names must differ")
    return names


def _read_texts(path: str, separator: str, names: list[str], n_records: int) -> pl.DataFrame:
    """All fields as text. Where polars and Python disagree on a quote in mid-field, Python is right, if slow."""
    pl = _polars()
    try:
        frame = pl.read_csv(path, separator=separator, infer_schema=False, new_columns=names)
    except pl.exceptions.PolarsError:
        frame = None
    if frame is None or frame.shape != (n_records, len(names)):
        with open(path, newline="", encoding="utf-8-sig") as file:
            _, *records = csv.reader(file, delimiter=separator)
        empty = [""] * len(names)
        columns = zip(*(record or empty for record in records), strict=True)
        frame = pl.DataFrame(dict(zip(names, columns, strict=True)), schema=dict.fromkeys(names, pl.String))
    return frame


def _typed(texts: pl.Series, separator: str, leave: bool) -> pl.Series:
    """A column of texts as what all of its present values can be read as."""
    pl = _polars()
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
    if lower.is_in(["true", "false"]).sum() == len(texts) - n_missing:
        return lower == "true"
    dates = _dates(texts)
    return texts if dates is None else dates


def _dates(texts: pl.Series) -> pl.Series | None:
    """Texts as dates with time, if all of them can be read in one of the known ways."""
    pl = _polars()
    present = texts.drop_nulls()
    if not present.head(20).str.contains(r"^\d{1,4}[-/. ]\w{1,3}([-/. ]\d|$)").all():
        return None
    for date in DATES:
        for time in TIMES:
            # A zone's name or offset is honoured by %#z alone, which needs one; without, the time is taken as it is.
            for zone in ("", "%#z") if "%S" in time else ("",):
                try:
                    read = present.str.to_datetime(date + time + zone, strict=False, time_unit="us")
                except pl.exceptions.PolarsError:
                    continue
                if not read.null_count():
                    read = texts.str.to_datetime(date + time + zone, strict=False, time_unit="us")
                    return read.dt.replace_time_zone(None) if zone else read
    return None


def _frame(data: Any) -> pl.DataFrame:
    """Any dataframe as polars' own, a column at a time, with null where a value is missing."""
    pl = _polars()
    if isinstance(data, pl.DataFrame):
        return data
    import narwhals as nw

    frame = nw.from_native(data, eager_only=True)
    columns = []
    for series in frame.iter_columns():
        if series.dtype.is_numeric() or series.dtype.is_temporal():
            columns.append(pl.Series(str(series.name), series.to_numpy()))
        else:
            missing = series.is_null().to_list()
            values = [None if gone else value for value, gone in zip(series.to_list(), missing, strict=True)]
            columns.append(pl.Series(str(series.name), values, strict=False))
    return pl.DataFrame(columns)


# ----------------------------------------------------------------------------------------------------------- columns


def _kind(series: pl.Series) -> str:
    pl = _polars()
    dtype = series.dtype
    if dtype.is_numeric() or dtype in (pl.Duration, pl.Time):
        return "number"
    if dtype in (pl.Date, pl.Datetime):
        return "date"
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean):
        return "category"
    return "dropped"


def _texts(series: pl.Series) -> pl.Series:
    """A category's levels as text, the same whichever dataframe they come from."""
    pl = _polars()
    return series.cast(pl.String).str.strip_chars()


def _wrong(series: pl.Series, values: pl.Series | None, need: str) -> ValueError:
    """The error for the first text in a column that should hold something else."""
    row = 0 if values is None else int((values.is_null() & series.is_not_null()).arg_max() or 0)
    value = series[row]
    return ValueError(f"column {series.name!r} holds {value!r} in row {row + 1}, but {need} is needed")


def _numbers(series: pl.Series, kind: str) -> dict[str, NDArray[np.float64]]:
    """The numbers that a column of numbers or dates is made into, NaN where missing (or infinite)."""
    pl = _polars()
    if kind == "number":
        if series.dtype in (pl.String, pl.Categorical, pl.Enum):
            texts = series.cast(pl.String)
            series = texts.cast(pl.Float64, strict=False)
            if series.null_count() > texts.null_count():
                raise _wrong(texts, series, "a number")
        elif series.dtype in (pl.Duration, pl.Time):
            series = series.cast(pl.Int64)
        elif not (series.dtype.is_numeric() or series.dtype in (pl.Null, pl.Boolean)):
            raise _wrong(series, None, "a number")
        values = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return {"value": np.where(np.isfinite(values), values, np.nan)}
    if series.dtype == pl.String and series.null_count() < len(series):
        dates = _dates(series)
        if dates is None:
            raise _wrong(series.drop_nulls(), None, "a date")
        series = dates
    if series.dtype not in (pl.Date, pl.Datetime, pl.String, pl.Null):
        raise _wrong(series.drop_nulls(), None, "a date")
    series = series.cast(pl.Datetime("us"))
    seconds = series.dt.epoch("us").cast(pl.Float64) / 1e6
    parts = {
        "days since 1970": seconds / 86400,
        "day of the year": series.dt.ordinal_day(),
        "day of the week": series.dt.weekday(),
        "hour": (seconds % 86400) / 3600,
    }
    return {name: part.cast(pl.Float64).fill_null(float("nan")).to_numpy() for name, part in parts.items()}


def _centre_and_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Median and spread of numbers, NaN apart; a spread of 0 says that they are all equal."""
    values = values[~np.isnan(values)]
    if not len(values):
        return 0.0, 0.0
    low, centre, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    scale = high - low
    if not scale > 0:
        others = values[values != centre]
        scale = float(np.median(np.abs(others - centre))) if len(others) else 0.0
    return centre, scale


@dataclass(frozen=True)
class Column:
    """What one column of a table becomes.

    Attributes
    ----------
    name : str
    kind : {"number", "date", "category", "dropped"}
    why : str
        Why it was dropped.
    n_missing : int
        Training rows without a value; where there were any, an input says so.
    scaling : dict of str to (centre, scale)
        For numbers and dates: the numbers made of it, and what is subtracted and divided by.
    levels, others : tuple of str
        For categories: the levels with an input of their own, commonest first, and those that share one.

    Examples
    --------
    >>> import polars as pl
    >>> from ermin.tabular import Column
    >>> column = Column.learn(pl.Series("size", [1.0, 2.0, 3.0, None, 5.0]))
    >>> column.describe()
    'number, median 2.5, spread 1.75; missing in 1 row'
    >>> column.inputs
    ['size', 'size missing']
    """

    name: str
    kind: str
    why: str = ""
    n_missing: int = 0
    scaling: Mapping[str, tuple[float, float]] | None = None
    levels: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @classmethod
    def learn(cls, series: pl.Series, rows: NDArray[np.integer[Any]] | None = None) -> Self:
        """Decide what a column becomes, from the training rows' values; `rows` are their numbers in the file."""
        name, kind = series.name, _kind(series)
        if series.dtype.is_float():
            series = series.fill_nan(None)
        n_missing = series.null_count()
        if n_missing == len(series):
            return cls(name, "dropped", "empty")
        if kind == "dropped":
            return cls(name, "dropped", f"of type {series.dtype}: neither number, date nor text")
        if kind == "category":
            return cls._category(_texts(series), n_missing)
        parts = _numbers(series, kind)
        gone = int(np.isnan(next(iter(parts.values()))).sum())
        scaling = {part: _centre_and_scale(values) for part, values in parts.items()}
        scaling = {part: pair for part, pair in scaling.items() if pair[1] > 0}
        if not scaling and not gone:
            return cls(name, "dropped", f"constant: {series[0]}")
        if series.dtype.is_integer() and not gone and len(series) > 2:
            offset = series.to_numpy() - (np.arange(len(series)) if rows is None else rows)
            if offset[0] in (0, 1) and (offset == offset[0]).all():
                return cls(name, "dropped", "numbers the rows")
        return cls(name, kind, n_missing=gone, scaling=scaling)

    @classmethod
    def _category(cls, texts: pl.Series, n_missing: int) -> Self:
        name, n_present = texts.name, len(texts) - n_missing
        counts = texts.drop_nulls().alias("level").value_counts(name="n_rows")
        if counts.height == 1 and not n_missing:
            return cls(name, "dropped", f"constant: {texts[0]}")
        if counts.height == n_present > 2:
            return cls(name, "dropped", "every text is different, as in names")
        if counts.height > MOST_LEVELS and 2 * counts.height > n_present:
            return cls(
                name,
                "dropped",
                f"nearly every text is different, as in names: {counts.height} in {n_present}",
            )
        levels = counts.sort(["n_rows", "level"], descending=[True, False])["level"].to_list()
        kept = len(levels) if len(levels) <= MOST_LEVELS else MOST_LEVELS - 1
        return cls(
            name, "category", n_missing=n_missing, levels=tuple(levels[:kept]), others=tuple(levels[kept:])
        )

    @property
    def inputs(self) -> list[str]:
        """Names of the network's inputs that the column fills."""
        if self.kind == "dropped":
            return []
        names = [f"{self.name}={level}" for level in self.levels]
        if self.others:
            names.append(f"{self.name}=(another)")
        for part in self.scaling or ():
            names.append(self.name if part == "value" else f"{self.name}: {part}")
        if self.n_missing:
            names.append(f"{self.name} missing")
        return names

    def fill(self, series: pl.Series, out: NDArray[np.float32]) -> tuple[int, str]:
        """Write a column of a table into its inputs, of shape (n_rows, len(inputs)).

        Returns
        -------
        n_unseen, first
            How many values are of levels never seen in training (treated as missing), and the first of them.
        """
        if self.kind == "category":
            texts = _texts(series)
            known = texts.is_in([*self.levels, *self.others])
            for i, level in enumerate(self.levels):
                out[:, i] = (texts == level).fill_null(False).to_numpy()
            place = len(self.levels)
            if self.others:
                out[:, place] = texts.is_in(list(self.others)).fill_null(False).to_numpy()
                place += 1
            known = known.fill_null(False).to_numpy()
            if self.n_missing:
                out[:, place] = ~known
            unseen = texts.filter(_polars().Series(~known)).drop_nulls()
            return len(unseen), unseen[0] if len(unseen) else ""
        parts = _numbers(series, self.kind)
        for i, (part, (centre, scale)) in enumerate((self.scaling or {}).items()):
            values = parts[part]
            # The bound keeps the square finite. A square root is rounded exactly, like a division.
            z = np.clip((np.where(np.isnan(values), centre, values) - centre) / scale, -1e6, 1e6)
            out[:, i] = z / np.sqrt(1 + (z / BOUND) ** 2)
        if self.n_missing:
            out[:, -1] = np.isnan(next(iter(parts.values())))
        return 0, ""

    def describe(self) -> str:
        """One line for a person: what it is and how it is treated."""
        if self.kind == "dropped":
            return f"dropped, {self.why}"
        if self.kind == "category":
            shown = ", ".join(self.levels[:4]) + (", ..." if len(self.levels) > 4 else "")
            text = f"category, {len(self.levels) + len(self.others)} levels: {shown}"
            if self.others:
                text += f" (the {len(self.others)} rarest share an input)"
        elif self.kind == "date":
            text = f"date, as {', '.join(self.scaling or ())}"
        elif self.scaling:
            centre, scale = self.scaling["value"]
            text = f"number, median {centre:.6g}, spread {scale:.6g}"
        else:
            text = "number, constant where present"
        if self.n_missing:
            text += f"; missing in {self.n_missing} row{'s' if self.n_missing > 1 else ''}"
        return text


class Preprocessing:
    """What every column of a table becomes, learned from training rows.

    Parameters
    ----------
    columns : sequence of Column

    Attributes
    ----------
    columns : tuple of Column
    inputs : list of str
        Names of the network's inputs.

    Examples
    --------
    >>> import polars as pl
    >>> from ermin.tabular import Preprocessing
    >>> frame = pl.DataFrame({"size": [1.0, 2.0, 3.0, 5.0], "colour": ["red", "red", None, "blue"]})
    >>> preprocessing = Preprocessing.learn(frame)
    >>> preprocessing.inputs
    ['size', 'colour=red', 'colour=blue', 'colour missing']
    >>> preprocessing.transform(frame)[2]
    array([0.2844273, 0.       , 0.       , 1.       ], dtype=float32)
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)

    @classmethod
    def learn(cls, data: Any, rows: NDArray[np.integer[Any]] | None = None) -> Self:
        """Learn from some rows of a dataframe, by default all.

        Parameters
        ----------
        data : dataframe
            polars, pandas or any other that narwhals knows; without the target.
        rows : array of int, optional
            Numbers of the training rows.

        Raises
        ------
        ValueError
            If no column can be used.
        """
        frame = _frame(data)
        if rows is not None:
            frame = frame[rows]
        columns = [Column.learn(series, rows) for series in frame.iter_columns()]
        if all(column.kind == "dropped" for column in columns):
            reasons = "; ".join(f"{column.name!r} is {column.why}" for column in columns)
            raise ValueError(
                f"no column can be used to learn from: {reasons or 'there is none but the target'}"
            )
        return cls(columns)

    @property
    def inputs(self) -> list[str]:
        return [name for column in self.columns for name in column.inputs]

    @property
    def text_columns(self) -> list[str]:
        """The columns that hold text, as `read_table` needs to know."""
        return [column.name for column in self.columns if column.kind == "category"]

    def transform(self, data: Any) -> NDArray[np.float32]:
        """A dataframe as the network's inputs.

        Parameters
        ----------
        data : dataframe
            With the columns learned from (but those dropped), in any order, and perhaps others.

        Returns
        -------
        numpy.ndarray of shape (n_rows, n_inputs)
            float32, without NaN.

        Raises
        ------
        ValueError
            If a column lacks, or holds text where a number or a date is needed.

        Warns
        -----
        UserWarning
            Once, if categories hold levels that were not seen in training; they are treated as missing.
        """
        frame = _frame(data)
        used = [column for column in self.columns if column.kind != "dropped"]
        absent = [column.name for column in used if column.name not in frame.columns]
        if absent:
            raise ValueError(
                f"the table has no column {', '.join(map(repr, absent))}, but the model needs it"
            )
        out = np.empty((frame.height, len(self.inputs)), dtype=np.float32)
        unseen = []
        place = 0
        for column in used:
            end = place + len(column.inputs)
            n_unseen, first = column.fill(frame[column.name], out[:, place:end])
            if n_unseen:
                unseen.append(f"{n_unseen} in {column.name!r} (as {first!r})")
            place = end
        if unseen:
            warnings.warn(
                f"categories never seen in training are treated as missing: {'; '.join(unseen)}", stacklevel=2
            )
        return out


# ------------------------------------------------------------------------------------------------------------ target


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Attributes
    ----------
    name : str
    task : {"classification", "regression"}
    rule : str
        Why the task is this one.
    classes : tuple
        Of str, bool or int: sorted, the order of the network's outputs; empty for regression.
    centre, scale : float
        For regression: the network learns (y − centre)/scale.

    Examples
    --------
    >>> import polars as pl
    >>> from ermin.tabular import Target
    >>> target = Target.decide(pl.Series("colour", ["red", "blue", "red"]))
    >>> target.task, target.classes, target.encode(pl.Series("colour", ["blue", "red"]))
    ('classification', ('blue', 'red'), array([0, 1]))
    """

    name: str
    task: str
    rule: str = ""
    classes: tuple[str | bool | int, ...] = ()
    centre: float = 0.0
    scale: float = 1.0

    @classmethod
    def decide(cls, series: pl.Series, task: str = "auto") -> Self:
        """Classes or numbers? Texts and booleans are classes; so are whole numbers with few different values.

        Parameters
        ----------
        series : polars.Series
            Without missing values.
        task : {"auto", "classification", "regression"}

        Raises
        ------
        ValueError
            If there is one value only, or the values are neither classes nor numbers.
        """
        kind, name = _kind(series), series.name
        if not len(series):
            raise ValueError(f"target {name!r} has no values")
        if kind not in ("number", "category"):
            raise ValueError(f"target {name!r} is of type {series.dtype}, but must hold numbers or classes")
        n_values = series.n_unique()
        if n_values < 2:
            raise ValueError(
                f"target {name!r} has one value only ({series[0]}), but at least two are needed to learn"
            )
        if task == "auto":
            if kind == "category":
                task, rule = "classification", "the values are not numbers"
            else:
                few = n_values <= min(MOST_CLASSES, len(series) // 5)
                values = series.cast(_polars().Float64)
                task = "classification" if few and (values == values.floor()).all() else "regression"
                what = "whole numbers, of few different values" if task == "classification" else "numbers"
                rule = f"the values are {what}"
        else:
            rule = "as asked for"
        if task == "regression":
            if kind != "number":
                raise ValueError(f"target {name!r} holds {series[0]!r}, but regression needs numbers")
            return cls(name, task, rule)
        return cls(name, task, rule, tuple(_labels(series).unique().sort().to_list()))

    def encode(self, series: pl.Series) -> NDArray[Any]:
        """The values as the network's targets before scaling: class indices or float64."""
        if self.task == "regression":
            return np.asarray(_numbers(series, "number")["value"])
        indices = _labels(series).replace_strict(self.classes, range(len(self.classes)))
        return indices.to_numpy().astype(np.int64)

    def scaled_by(self, values: NDArray[np.float64]) -> Self:
        """For regression: with the mean and standard deviation of the training rows."""
        centre = float(values.sum() / len(values))
        deviation = values - centre
        scale = float(np.sqrt((deviation * deviation).sum() / len(values)))
        return replace(self, centre=centre, scale=scale if scale > 0 else 1.0)


def _labels(series: pl.Series) -> pl.Series:
    """Classes as booleans, whole numbers where all are whole, or text."""
    pl = _polars()
    if series.dtype == pl.Boolean:
        return series
    if _kind(series) == "category":
        return _texts(series)
    values = series.cast(pl.Float64)
    return series.cast(pl.Int64) if (values == values.floor()).all() else series.cast(pl.String)


def split_rows(
    y: NDArray[Any], task: str, validation: float, test: float, rng: RngLike
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of the training, validation and test rows, in ascending order.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        Class indices, which are divided class by class, or numbers.
    task : {"classification", "regression"}
    validation, test : float
        Fractions of all rows.
    rng : int or other
        As for `ermin.fit`.

    Raises
    ------
    ValueError
        If a fraction is not between 0 and 1, or a part would have no rows.

    Examples
    --------
    >>> import numpy as np
    >>> from ermin.tabular import split_rows
    >>> train, validation, test = split_rows(np.array([0, 1] * 10), "classification", 0.2, 0.2, 0)
    >>> len(train), len(validation), len(test)
    (12, 4, 4)
    """
    for name, fraction in (("validation", validation), ("test", test)):
        if not 0 < fraction < 1:
            raise ValueError(f"{name} is {fraction}, but must be between 0 and 1")
    if not validation + test < 1:
        raise ValueError(f"validation and test are {validation} and {test}, but must leave rows to train on")
    pool = np.arange(len(y))
    if task == "classification":
        # A class of one or two rows stays in training: what is never shown cannot be learned.
        pool = pool[np.bincount(y)[y] > 2]
    parts = []
    for fraction in (test, validation / (1 - test)):
        classes = y[pool].astype(np.uint32) if task == "classification" else None
        # The same order of rows may serve twice: the second choice is among other rows.
        chosen = training._choose(len(pool), fraction, classes, rng) if len(pool) else np.zeros(0, dtype=bool)
        parts.append(pool[chosen])
        pool = pool[~chosen]
    held = np.zeros(len(y), dtype=bool)
    held[np.concatenate(parts)] = True
    train = np.flatnonzero(~held)
    if not (len(train) and len(parts[0]) and len(parts[1])):
        raise ValueError(
            f"{len(y)} rows are too few to hold back {validation:g} for validation and {test:g} for the test"
        )
    return train, parts[1], parts[0]


# ------------------------------------------------------------------------------------------------------------- model


class TableModel:
    """A network with all that it needs to take tables as they come.

    Parameters
    ----------
    net : MLP
        With a softmax output for classification, identity for regression.
    preprocessing : Preprocessing
    target : Target

    Examples
    --------
    >>> import polars as pl
    >>> import ermin
    >>> from ermin.tabular import Preprocessing, TableModel, Target
    >>> frame = pl.DataFrame({"size": [1.0, 2.0, 8.0, 9.0], "kind": ["mouse", "mouse", "cat", "cat"]})
    >>> target = Target.decide(frame["kind"])
    >>> preprocessing = Preprocessing.learn(frame.drop("kind"))
    >>> net = ermin.MLP([1, 8, 2], output="softmax", rng=0)
    >>> X, y = preprocessing.transform(frame), target.encode(frame["kind"])
    >>> history = ermin.fit(net, X, y, epochs=200, optimizer=ermin.Adam(0.01), rng=0)
    >>> TableModel(net, preprocessing, target).predict(pl.DataFrame({"size": [0.5, 10]})).tolist()
    ['mouse', 'cat']
    """

    def __init__(self, net: MLP, preprocessing: Preprocessing, target: Target) -> None:
        self.net = net
        self.preprocessing = preprocessing
        self.target = target

    @property
    def classes(self) -> tuple[str | bool | int, ...]:
        """The classes, in the order of the probabilities' columns; empty for regression."""
        return self.target.classes

    def predict_proba(self, data: Any) -> NDArray[np.float64]:
        """Each class's probability.

        Parameters
        ----------
        data : dataframe

        Returns
        -------
        numpy.ndarray of shape (n_rows, n_classes)
            float64, from the network's logits, so that rows sum to 1 to its precision.

        Raises
        ------
        TypeError
            If the target is a number.
        ValueError
            As `Preprocessing.transform`.
        """
        if self.target.task == "regression":
            raise TypeError(f"predict_proba needs classes, but the target {self.target.name!r} is a number")
        return self.probabilities(self.preprocessing.transform(data))

    def predict(self, data: Any) -> NDArray[Any]:
        """The likeliest class, or the number.

        Parameters
        ----------
        data : dataframe

        Returns
        -------
        numpy.ndarray of shape (n_rows,)
            Classes as they stood in the table (text, booleans or whole numbers), or float64.
        """
        X = self.preprocessing.transform(data)
        if self.target.task == "regression":
            return self.values(X)
        return np.asarray(self.classes)[self.probabilities(X).argmax(axis=1)]

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """`predict_proba` for inputs already prepared."""
        from ermin.distributions import Categorical

        return np.asarray(Categorical(logits=self.net.logits(X).astype(np.float64)).p)

    def values(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """`predict` of a number, for inputs already prepared."""
        return self.net.predict(X)[:, 0].astype(np.float64) * self.target.scale + self.target.centre

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write network, preprocessing and classes to one safetensors file, which `ermin.load` reads.

        Parameters
        ----------
        path : path-like
            An existing file is replaced.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        network, tensors = self.net._to_file()
        description = {
            "network": network,
            "columns": [asdict(column) for column in self.preprocessing.columns],
            "target": asdict(self.target),
        }
        files.save(path, "table", description, {f"network.{name}": array for name, array in tensors.items()})

    @classmethod
    def _from_file(cls, description: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:
        try:
            columns = [
                Column(**{**column, "levels": tuple(column["levels"]), "others": tuple(column["others"])})
                for column in description["columns"]
            ]
            target = Target(**{**description["target"], "classes": tuple(description["target"]["classes"])})
            net = MLP._from_file(
                description["network"],
                {name.removeprefix("network."): array for name, array in tensors.items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the file does not describe a model of a table: {error}") from None
        model = cls(net, Preprocessing(columns), target)
        n_outputs = len(target.classes) or 1
        if net.sizes[0] != len(model.preprocessing.inputs) or net.sizes[-1] != n_outputs:
            raise ValueError("the file's network does not fit its columns and classes")
        return model

    def __repr__(self) -> str:
        return f"TableModel({self.target.task} of {self.target.name!r}, {self.net!r})"
