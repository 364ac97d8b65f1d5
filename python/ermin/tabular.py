"""A network that takes raw tables: what it predicts, which rows it learns from, and all of it in one file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ermin import _arrays, files, training
from ermin.categorical import Categorical
from ermin.network import MLP
from ermin.preprocessing import Column, Preprocessing, as_floats, as_texts, kind_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

__all__ = ["TableModel", "Target", "split_rows"]

LARGEST = 1e100
"""What a number to be predicted may not exceed, so that its square is finite."""
MOST_CLASSES = 20
"""Whole numbers with at most so many different values (and five rows for each) are classes, by default."""


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
        import polars as pl

        kind, name = kind_of(series), series.name
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
                what = "booleans" if series.dtype == pl.Boolean else "text"
                task, rule = "classification", f"the values are {what}"
            else:
                few, whole = n_values <= min(MOST_CLASSES, len(series) // 5), _are_whole(series)
                task = "classification" if few and whole else "regression"
                rule = f"the values are {'whole ' if whole else ''}numbers, {n_values:,} of them different"
        else:
            rule = "as asked for"
        if task == "regression":
            if kind != "number":
                texts = as_texts(series)
                first = texts.filter(texts.cast(pl.Float64, strict=False).is_null())[0]
                raise ValueError(f"target {name!r} holds {first!r}, but regression needs numbers")
            if np.abs(as_floats(series)).max() > LARGEST:
                raise ValueError(f"target {name!r} holds numbers beyond {LARGEST:g}, too large to learn")
            return cls(name, task, rule)
        if n_values > MOST_CLASSES and 2 * n_values > len(series):
            raise ValueError(
                f"target {name!r} has {n_values} classes in {len(series)} rows, too few rows for each"
            )
        return cls(name, task, rule, tuple(_labels(series).unique().sort().to_list()))

    @property
    def names(self) -> list[str]:
        """The classes as text: what a table's probabilities are called by."""
        return [str(name).lower() if isinstance(name, bool) else str(name) for name in self.classes]

    def encode(self, series: pl.Series) -> NDArray[Any]:
        """The values as the network's targets before scaling: class indices or float64."""
        if self.task == "regression":
            return as_floats(series)
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
    import polars as pl

    if series.dtype == pl.Boolean:
        return series
    if kind_of(series) == "category":
        return as_texts(series)
    return series.cast(pl.Int64) if _are_whole(series) else series.cast(pl.String)


def _are_whole(series: pl.Series) -> bool:
    """Whether numbers are whole, and small enough to be told from their neighbours as float64."""
    values = as_floats(series)
    return bool(((values == np.floor(values)) & (np.abs(values) < 2**53)).all())


def split_rows(
    y: NDArray[Any], task: str, validation: float, test: float, rng: _arrays.RngLike
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
    seed = _arrays.seed(rng)
    pool = np.arange(len(y))
    if task == "classification":
        # A row of each small class stays in training: what is never shown cannot be learned. Elsewhere rounding, by at
        # most one row a part, cannot take the last.
        _, first, counts = np.unique(y, return_index=True, return_counts=True)
        pool = np.delete(pool, first[counts * (1 - validation - test) <= 2])
    parts = []
    for fraction in (test, validation / (1 - test)):
        labels = y[pool].astype(np.uint32) if task == "classification" else None
        # The same order of rows may serve twice: the second choice is among other rows.
        chosen = (
            training.choose_rows(len(pool), fraction, labels, seed) if len(pool) else np.zeros(0, dtype=bool)
        )
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
    >>> from ermin.preprocessing import Preprocessing
    >>> from ermin.tabular import TableModel, Target
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
        classes: NDArray[Any] = np.asarray(self.classes)
        return np.asarray(classes[self.probabilities(X).argmax(axis=1)])

    def probabilities(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """`predict_proba` for inputs already prepared."""
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
            "columns": [column.to_dict() for column in self.preprocessing.columns],
            "target": asdict(self.target),
        }
        files.save(path, "table", description, {f"network.{name}": array for name, array in tensors.items()})

    @classmethod
    def _from_file(cls, description: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:
        try:
            columns = [Column.from_dict(column) for column in description["columns"]]
            target = Target(**{**description["target"], "classes": tuple(description["target"]["classes"])})
            net = MLP._from_file(
                description["network"],
                {name.removeprefix("network."): array for name, array in tensors.items()},
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"the file does not describe a model of a table: {error}") from None
        model = cls(net, Preprocessing(columns), target)
        n_outputs = len(target.classes) or 1
        if net.sizes[0] != len(model.preprocessing.inputs) or net.sizes[-1] != n_outputs:
            raise ValueError("the file's network does not fit its columns and classes")
        return model

    def __repr__(self) -> str:
        return f"TableModel({self.target.task} of {self.target.name!r}, {self.net!r})"
