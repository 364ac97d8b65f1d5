"""What each column of a table becomes before a network sees it.

A column becomes inputs of the network by its kind, learned from the training rows alone:

number      (x − median)/spread, then z/√(1 + (z/3)²), which leaves small values as they are and keeps outliers within
            ±3 (Holzmüller, Grinsztajn and Steinwart 2024, "Better by default", section 3). The spread is the distance
            of the quartiles, or where that is 0 the median distance from the median of the values that differ from it.
date        days since 1970, day of the year, day of the week and hour of the day, each treated as a number; a text
            column is one of dates if all of its texts are (`ermin.reading.DATES` lists the ways to write one)
category    (text and booleans) one input of 0 or 1 a level; of more than 64 levels the rarest share one
missing     the median, or no level at all, and one more input that says so if the training rows had any
dropped     columns that are empty or constant, that number the rows, or whose texts (nearly) all differ
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ermin.reading import as_polars, date_format, parse_dates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

__all__ = ["Column", "Preprocessing", "as_floats", "as_texts", "kind_of"]

MOST_LEVELS = 64
"""A category of more levels has its rarest share one input."""
LARGEST = 1e150
"""Numbers beyond are taken for this one, so that differences and quantiles are finite."""
BOUND = 3.0
"""What a scaled number stays within."""


def kind_of(series: pl.Series) -> str:
    """What a column holds: "number", "date", "category" or, where a network has no use for it, "dropped"."""
    import polars as pl

    dtype = series.dtype
    if dtype.is_numeric() or dtype in (pl.Duration, pl.Time):
        return "number"
    if dtype in (pl.Date, pl.Datetime):
        return "date"
    if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean):
        return "category"
    return "dropped"


def as_texts(series: pl.Series) -> pl.Series:
    """A category's levels as text, the same whichever dataframe they come from."""
    import polars as pl

    return series.cast(pl.String).str.strip_chars()


def as_floats(series: pl.Series) -> NDArray[np.float64]:
    """A column as numbers, NaN where missing or infinite."""
    import polars as pl

    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = series.cast(pl.String)
        series = texts.cast(pl.Float64, strict=False)
        wrong = texts.is_not_null() & series.is_null()
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            name, text = series.name, texts[row]
            raise ValueError(f"column {name!r} holds {text!r} in row {row + 1}, but must hold numbers")
    elif series.dtype in (pl.Duration, pl.Time):
        series = series.cast(pl.Int64)
    elif not (series.dtype.is_numeric() or series.dtype in (pl.Null, pl.Boolean)):
        raise ValueError(f"column {series.name!r} is of type {series.dtype}, but must hold numbers")
    values = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def _date_parts(series: pl.Series) -> dict[str, NDArray[np.float64]]:
    """The numbers that dates with time are made into, NaN where missing."""
    import polars as pl

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
    scaling : tuple of (part, centre, scale)
        For numbers and dates: the numbers made of it, and what each has subtracted and is divided by.
    date_format : str
        For dates in a text: how they are written.
    levels, others : tuple of str
        For categories: the levels with an input of their own, commonest first, and those that share one.

    Examples
    --------
    >>> import polars as pl
    >>> from ermin.preprocessing import Column
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
    scaling: tuple[tuple[str, float, float], ...] = ()
    date_format: str = ""
    levels: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @classmethod
    def learn(cls, series: pl.Series, rows: NDArray[np.integer[Any]] | None = None) -> Self:
        """Decide what a column becomes, from the training rows' values; `rows` are their numbers in the file."""
        name, kind, written = series.name, kind_of(series), ""
        if series.dtype.is_float():
            series = series.fill_nan(None)
        n_missing = series.null_count()
        if n_missing == len(series):
            return cls(name, "dropped", "empty")
        if kind == "dropped":
            return cls(name, "dropped", f"of type {series.dtype}: neither number, date nor text")
        if kind == "category":
            texts = as_texts(series)
            written = date_format(texts)
            if not written:
                return cls._category(texts, n_missing)
            kind = "date"
        column = cls(name, kind, date_format=written)
        parts = column._parts(series)
        n_missing = int(np.isnan(next(iter(parts.values()))).sum())
        if n_missing == len(series):
            return cls(name, "dropped", "empty but for infinities")
        scaling = tuple((part, *_centre_and_scale(values)) for part, values in parts.items())
        scaling = tuple(triple for triple in scaling if triple[2] > 0)
        if not scaling and not n_missing:
            return cls(name, "dropped", f"constant: {series[0]}")
        if series.dtype.is_integer() and not n_missing and len(series) > 2:
            offset = series.cast(int).to_numpy() - (np.arange(len(series)) if rows is None else rows)
            if offset[0] in (0, 1) and (offset == offset[0]).all():
                return cls(name, "dropped", "numbers the rows")
        return replace(column, n_missing=n_missing, scaling=scaling)

    @classmethod
    def _category(cls, texts: pl.Series, n_missing: int) -> Self:
        name, n_present = texts.name, len(texts) - n_missing
        counts = texts.drop_nulls().alias("level").value_counts(name="n_rows")
        if counts.height == 1 and not n_missing:
            return cls(name, "dropped", f"constant: {texts[0]}")
        if counts.height == n_present > 2:
            return cls(name, "dropped", "every text is different, as in names")
        if counts.height > MOST_LEVELS and 2 * counts.height > n_present:
            why = f"nearly every text is different, as in names: {counts.height} of {n_present}"
            return cls(name, "dropped", why)
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
        names += [self.name if part == "value" else f"{self.name}: {part}" for part, _, _ in self.scaling]
        if self.n_missing:
            names.append(f"{self.name} missing")
        return names

    def _parts(self, series: pl.Series) -> dict[str, NDArray[np.float64]]:
        """The numbers made of a column of numbers or dates, before scaling."""
        import polars as pl

        if self.kind == "number":
            return {"value": np.clip(as_floats(series), -LARGEST, LARGEST)}
        if series.dtype == pl.String and self.date_format:
            series = parse_dates(as_texts(series), self.date_format)
        elif series.dtype not in (pl.Date, pl.Datetime, pl.Null):
            raise ValueError(f"column {self.name!r} is of type {series.dtype}, but must hold dates")
        return _date_parts(series)

    def to_dict(self) -> dict[str, Any]:
        """What a file holds of it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> Self:
        """The column that `to_dict` described, perhaps by way of JSON, which knows no tuples."""
        tuples = {name: tuple(described[name]) for name in ("levels", "others")}
        scaling = tuple((part, centre, scale) for part, centre, scale in described["scaling"])
        return cls(**{**described, **tuples, "scaling": scaling})

    def fill(self, series: pl.Series, out: NDArray[np.float32]) -> pl.Series:
        """Write a column of a table into its inputs, of shape (n_rows, len(inputs)).

        Returns
        -------
        polars.Series
            The values that are treated as missing because training had none like them: levels of a category never seen,
            dates written otherwise.
        """
        if self.kind == "category":
            return self._fill_levels(series, out)
        parts = self._parts(series)
        for i, (part, centre, scale) in enumerate(self.scaling):
            values = parts[part]
            # The bound keeps the square finite. A square root is rounded exactly, like a division.
            with np.errstate(over="ignore"):
                z = np.clip((np.where(np.isnan(values), centre, values) - centre) / scale, -1e6, 1e6)
            out[:, i] = z / np.sqrt(1 + (z / BOUND) * (z / BOUND))
        missing = np.isnan(next(iter(parts.values())))
        if self.n_missing:
            out[:, -1] = missing
        return series.filter(missing).drop_nulls() if self.kind == "date" else series.clear()

    def _fill_levels(self, series: pl.Series, out: NDArray[np.float32]) -> pl.Series:
        texts = as_texts(series)
        if set(self.levels) <= {"true", "false"}:
            texts = texts.str.to_lowercase()
        for i, level in enumerate(self.levels):
            out[:, i] = (texts == level).fill_null(value=False).to_numpy()
        place = len(self.levels)
        if self.others:
            out[:, place] = texts.is_in(self.others).fill_null(value=False).to_numpy()
            place += 1
        missing = out[:, :place].sum(axis=1) == 0
        if self.n_missing:
            out[:, place] = missing
        return texts.filter(missing).drop_nulls()

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
            written = f" written {self.date_format}" if self.date_format else ""
            text = f"date{written}, as {', '.join(part for part, _, _ in self.scaling)}"
        elif self.scaling:
            _, centre, scale = self.scaling[0]
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
    >>> from ermin.preprocessing import Preprocessing
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
        frame = as_polars(data)
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
        """Names of the network's inputs, in order."""
        return [name for column in self.columns for name in column.inputs]

    @property
    def text_columns(self) -> list[str]:
        """The columns that hold text, which `read_table` is to leave as it is."""
        return [column.name for column in self.columns if column.kind == "category" or column.date_format]

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
            Once, if categories hold levels that were not seen in training (or dates are written otherwise): they are
            treated as missing.
        """
        frame = as_polars(data)
        used = [column for column in self.columns if column.kind != "dropped"]
        there = set(frame.columns)
        absent = [column.name for column in used if column.name not in there]
        if absent:
            raise ValueError(
                f"the table has no column {', '.join(map(repr, absent))}, but the model needs it"
            )
        out = np.empty((frame.height, len(self.inputs)), dtype=np.float32)
        unseen = []
        place = 0
        for column in used:
            end = place + len(column.inputs)
            values = column.fill(frame[column.name], out[:, place:end])
            if len(values):
                unseen.append(f"{len(values)} in {column.name!r} (as {values[0]!r})")
            place = end
        if unseen:
            warnings.warn(
                f"values unlike any in training are treated as missing: {'; '.join(unseen)}", stacklevel=2
            )
        return out
