"""The pieces of a network that is spelled out: ``MLP(layers=[...])``."""

from __future__ import annotations

import math
import operator
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from ermin import _arrays, schedules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Native = tuple[str, int, int, tuple[int, int], float, str, float, float]

__all__ = [
    "Activation",
    "CategoryEmbedding",
    "Columns",
    "Dense",
    "Dropout",
    "PeriodicEmbedding",
    "Scale",
]

_MOST_LEVELS = 1 << 24
"""Whole numbers up to it are exact in float32."""


class Array(NamedTuple):
    """A learned array: its name, its shape and its place in the parameter vector.

    From `first` on there are as many rows as the first axis is long, `row` numbers each; those of the array follow
    `skip` others in every row, in C order.
    """

    name: str
    shape: tuple[int, ...]
    first: int
    row: int
    skip: int = 0

    def of(self, vector: NDArray[Any]) -> NDArray[Any]:
        """The array as a view of the vector."""
        rows = vector[self.first : self.first + self.shape[0] * self.row].reshape(self.shape[0], self.row)
        return rows[:, self.skip : self.skip + math.prod(self.shape[1:])].reshape(self.shape)


def _set_size(piece: object, *names: str) -> None:
    for name in names:
        value = _arrays.whole(getattr(piece, name), f"{type(piece).__name__}: {name}")
        if value < 1:
            raise ValueError(f"{type(piece).__name__}: {name} is {value}, but must be at least 1")
        object.__setattr__(piece, name, value)


def _set_factors(piece: object) -> None:
    for name in ("learning_rate_factor", "weight_decay_factor"):
        value = _arrays.check_number(
            f"{type(piece).__name__}: {name}", getattr(piece, name), 0, math.inf, "finite and at least 0"
        )
        object.__setattr__(piece, name, value)


@dataclass(frozen=True)
class Dense:
    """Sums of the inputs, each with a weight, and a bias: xW + b.

    Parameters
    ----------
    n_in, n_out : int
        Numbers in and out.
    parametrization : {"standard", "ntk"}, default "standard"
        "ntk" is xW/√n_in + b (Jacot et al. 2018, "Neural tangent kernel"): weights of the order of 1 at any width,
        that learn at a rate which does not depend on it. The initialisers give the same sums in both.
    learning_rate_factor : float, default 1
        The learning rate is multiplied by it; with 0 the layer stays as it is.
    weight_decay_factor : float, default 1
        Weight decay and the l2 penalty of the weights are multiplied by it. Biases never decay.

    Raises
    ------
    ValueError
        If a size is below 1, a factor is negative or not finite, or the parametrization is neither.

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP(layers=[ermin.Dense(2, 8), ermin.Activation("relu"), ermin.Dense(8, 1)], rng=0)
    >>> same = ermin.MLP([2, 8, 1], activation="relu", rng=0)
    >>> bool((net.logits([[1.0, 2.0]]) == same.logits([[1.0, 2.0]])).all())
    True
    """

    n_in: int
    n_out: int
    parametrization: str = "standard"
    learning_rate_factor: float = 1.0
    weight_decay_factor: float = 1.0

    def __post_init__(self) -> None:
        _set_size(self, "n_in", "n_out")
        _set_factors(self)
        if self.parametrization not in ("standard", "ntk"):
            raise ValueError(
                f"Dense: parametrization is {self.parametrization!r}, but must be 'standard' or 'ntk'"
            )


@dataclass(frozen=True)
class Scale:
    """A learned factor for each input, 1 in the beginning: which inputs matter, learned (Holzmüller et al. 2024).

    Parameters
    ----------
    n : int
        Numbers in, and out.
    learning_rate_factor : float, default 1
        The learning rate is multiplied by it; with 0 the layer stays as it is.
    weight_decay_factor : float, default 0
        Weight decay and the l2 penalty of the factors are multiplied by it.

    Raises
    ------
    ValueError
        If `n` is below 1, or a factor is negative or not finite.

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP(layers=[ermin.Scale(3, learning_rate_factor=6.0), ermin.Dense(3, 2)])
    >>> net.parameters["scales.0"]
    array([1., 1., 1.], dtype=float32)
    """

    n: int
    learning_rate_factor: float = 1.0
    weight_decay_factor: float = 0.0

    def __post_init__(self) -> None:
        _set_size(self, "n")
        _set_factors(self)


@dataclass(frozen=True)
class Activation:
    """A function of every number, f(x), or a learned mixture of it and the number itself.

    Parameters
    ----------
    name : str
        One of those that `MLP` takes as `activation`.
    parametric : bool, default False
        x + α·(f(x) − x), with an α learned for every number, 1 in the beginning (Holzmüller et al. 2024).
    learning_rate_factor : float, default 1
        The learning rate of α is multiplied by it; with 0 it stays as it is.
    weight_decay_factor : float, default 0
        Weight decay and the l2 penalty of α are multiplied by it.

    Raises
    ------
    ValueError
        If a factor is negative or not finite. `MLP` judges the name.

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP(layers=[ermin.Dense(2, 3), ermin.Activation("silu", parametric=True), ermin.Dense(3, 1)])
    >>> net.parameters["alphas.0"]
    array([1., 1., 1.], dtype=float32)
    """

    name: str
    parametric: bool = False
    learning_rate_factor: float = 1.0
    weight_decay_factor: float = 0.0

    def __post_init__(self) -> None:
        _set_factors(self)
        object.__setattr__(self, "parametric", bool(self.parametric))


@dataclass(frozen=True)
class Dropout:
    """During training each number is 0 with probability p, and otherwise divided by 1 − p (Srivastava et al. 2014).

    Parameters
    ----------
    p : float or schedule
        From 0 up to, not including, 1; rounded to a multiple of 2⁻¹⁶.

    Raises
    ------
    ValueError
        If p is outside its range.

    Examples
    --------
    >>> import ermin
    >>> layers = [ermin.Dense(2, 8), ermin.Activation("relu"), ermin.Dropout(0.1), ermin.Dense(8, 1)]
    >>> net = ermin.MLP(layers=layers, rng=0)
    """

    p: float | schedules.Constant

    def __post_init__(self) -> None:
        check_dropout("Dropout: p", self.p)


@dataclass(frozen=True)
class PeriodicEmbedding:
    """Every number becomes several: a linear map of waves of it, with learned frequencies.

    Each input x becomes Wᵀv + b with v = (sin 2πc₁x, …, sin 2πcₖx, cos 2πc₁x, …, cos 2πcₖx), where every input has
    frequencies c, weights W and biases b of its own: "PL" of Gorishniy et al. 2022, "On embeddings for numerical
    features in tabular deep learning", section 3.3. For their "PLR" put ``Activation("relu")`` after it (with
    ``keep_input=False``). The frequencies begin normal with deviation `scale`, W normal with variance 1/k, b at 0.

    Parameters
    ----------
    n : int
        Numbers in.
    n_frequencies : int, default 16
        k
    n_outputs : int, default 4
        Numbers out for each number in.
    scale : float, default 0.1
        Greater than 0: larger for functions that change faster.
    keep_input : bool, default True
        Whether the number itself follows its `n_outputs`.
    learning_rate_factor : float, default 1
        The learning rate is multiplied by it; with 0 these are random features (Rahimi and Recht 2007).
    weight_decay_factor : float, default 0
        Weight decay and the l2 penalty of frequencies and weights are multiplied by it. Biases never decay.

    Raises
    ------
    ValueError
        If a size is below 1, or a number is outside its range.

    Examples
    --------
    >>> import ermin
    >>> embedding = ermin.PeriodicEmbedding(3, n_outputs=4)
    >>> net = ermin.MLP(layers=[embedding, ermin.Dense(3 * 5, 2)], rng=0)
    >>> net.parameters["frequencies.0"].shape
    (3, 16)
    """

    n: int
    n_frequencies: int = 16
    n_outputs: int = 4
    scale: float = 0.1
    keep_input: bool = True
    learning_rate_factor: float = 1.0
    weight_decay_factor: float = 0.0

    def __post_init__(self) -> None:
        _set_size(self, "n", "n_frequencies", "n_outputs")
        _set_factors(self)
        scale = _arrays.check_number(
            "PeriodicEmbedding: scale", self.scale, 0, math.inf, "greater than 0", open_low=True
        )
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "keep_input", bool(self.keep_input))


@dataclass(frozen=True)
class CategoryEmbedding:
    """A category as `size` learned numbers. Its one input holds the category's number, from 0 to n_levels − 1.

    The numbers begin normal with variance 1/size. It stands first, or in `Columns`: any other number in its column is a
    ValueError that names row and column.

    Parameters
    ----------
    n_levels : int
        How many categories there are.
    size : int
        Numbers out.
    learning_rate_factor : float, default 1
        The learning rate is multiplied by it; with 0 the layer stays as it is.
    weight_decay_factor : float, default 0
        Weight decay and the l2 penalty are multiplied by it.

    Raises
    ------
    ValueError
        If a size is below 1, there are more than 2²⁴ levels, or a factor is negative or not finite.

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP(layers=[ermin.CategoryEmbedding(5, 2), ermin.Dense(2, 1)], rng=0)
    >>> net.parameters["embeddings.0"].shape
    (5, 2)
    """

    n_levels: int
    size: int
    learning_rate_factor: float = 1.0
    weight_decay_factor: float = 0.0

    def __post_init__(self) -> None:
        _set_size(self, "n_levels", "size")
        _set_factors(self)
        if self.n_levels > _MOST_LEVELS:
            raise ValueError(f"CategoryEmbedding: n_levels is {self.n_levels}, but must be at most 2**24")


@dataclass(frozen=True)
class Columns:
    """Layers for some of the columns each, their outputs side by side; the first layer, or none.

    Parameters
    ----------
    parts : sequence of (indices, layer or None)
        Column numbers from 0, and the layer they go into; None leaves them as they are. A column may be in several
        parts, or in none. A layer is anything but `Columns` and `Dropout`.
    n_columns : int, optional
        How many columns there are; by default one more than the largest index.

    Raises
    ------
    ValueError
        If there is no part, a part has no indices or a negative one, an index is not below `n_columns`, or a layer has
        another number of inputs than there are indices.
    TypeError
        If a layer is none that can stand here.

    Examples
    --------
    >>> import ermin
    >>> numbers = ([0, 1], ermin.PeriodicEmbedding(2))
    >>> color = ([2], ermin.CategoryEmbedding(5, 3))
    >>> net = ermin.MLP(layers=[ermin.Columns([numbers, color]), ermin.Dense(2 * 5 + 3, 1)], rng=0)
    >>> net.logits([[0.5, 1.5, 4]]).shape
    (1, 1)
    """

    parts: Sequence[tuple[Sequence[int], Layer | None]]
    n_columns: int | None = None

    def __post_init__(self) -> None:
        parts = []
        for indices, layer in self.parts:
            numbers = tuple(operator.index(i) for i in indices)
            if not numbers or min(numbers) < 0:
                raise ValueError(f"Columns: indices are {list(numbers)}, but must be column numbers from 0")
            if layer is not None:
                if not isinstance(layer, _IN_COLUMNS):
                    raise TypeError(
                        f"Columns: a layer is {layer!r}, but must be None or one that can stand here"
                    )
                n_in, _ = widths(layer, len(numbers))
                if n_in != len(numbers):
                    raise ValueError(
                        f"Columns: {layer} has {n_in} inputs, but there are {len(numbers)} indices"
                    )
            parts.append((numbers, layer))
        if not parts:
            raise ValueError("Columns has no parts, but must have at least one")
        largest = max(max(numbers) for numbers, _ in parts)
        n_columns = (
            largest + 1 if self.n_columns is None else _arrays.whole(self.n_columns, "Columns: n_columns")
        )
        if largest >= n_columns:
            raise ValueError(f"Columns: an index is {largest}, but must be below n_columns, {n_columns}")
        object.__setattr__(self, "parts", tuple(parts))
        object.__setattr__(self, "n_columns", n_columns)


Layer = Dense | Scale | Activation | Dropout | PeriodicEmbedding | CategoryEmbedding | Columns

_IN_COLUMNS = (Dense, Scale, Activation, PeriodicEmbedding, CategoryEmbedding)
_KINDS = {kind.__name__: kind for kind in (*_IN_COLUMNS, Dropout, Columns)}


def check_dropout(name: str, p: float | schedules.Constant) -> None:
    """An error that names `p` if it is no probability that dropout can have."""
    if isinstance(p, schedules.Adaptive):
        raise ValueError(f"{name} is an Adaptive schedule, which is for learning rates only")
    share = p.value if isinstance(p, schedules.Constant) else p
    if _arrays.check_number(name, share, 0, 1, "at least 0 and below 1") == 1:
        raise ValueError(f"{name} is {share}, but must be at least 0 and below 1")


def widths(layer: Layer, n_before: int) -> tuple[int, int]:
    """Numbers in and out, of a layer after one that has `n_before` outputs."""
    match layer:
        case Dense():
            return layer.n_in, layer.n_out
        case Scale():
            return layer.n, layer.n
        case PeriodicEmbedding():
            return layer.n, layer.n * (layer.n_outputs + layer.keep_input)
        case CategoryEmbedding():
            return 1, layer.size
        case Columns():
            assert layer.n_columns is not None  # settled when it was made
            outputs = (len(i) if part is None else widths(part, len(i))[1] for i, part in layer.parts)
            return layer.n_columns, sum(outputs)
        case _:
            return n_before, n_before


def checked(layers: Iterable[Layer]) -> tuple[tuple[Layer, ...], int, int]:
    """The layers, if they can follow each other, with the numbers of inputs and outputs."""
    layers = tuple(layers)
    if not layers:
        raise ValueError("layers is empty, but must have at least one layer")
    for i, layer in enumerate(layers):
        if not isinstance(layer, tuple(_KINDS.values())):
            raise TypeError(f"layers[{i}] is {layer!r}, but must be a layer such as Dense")
    sized = next((layer for layer in layers if not isinstance(layer, Activation | Dropout)), None)
    if sized is None:
        raise ValueError("layers has no layer with a size, such as Dense")
    width = n_inputs = widths(sized, 0)[0]
    for i, layer in enumerate(layers):
        if i > 0 and isinstance(layer, Columns | CategoryEmbedding):
            raise ValueError(f"layers[{i}] is {type(layer).__name__}, which must be the first layer")
        n_in, n_out = widths(layer, width)
        if n_in != width:
            raise ValueError(f"layers[{i}] is {layer} with {n_in} inputs, but there are {width}")
        width = n_out
    return layers, n_inputs, width


# ----------------------------------------------------------------------------------- what the native module is told


def _native(layer: Layer, n_in: int, n_out: int) -> Native:
    match layer:
        case Dense():
            kind, own = "dense", (int(layer.parametrization == "ntk"), 0)
        case Scale():
            kind, own = "scale", (0, 0)
        case Activation():
            kind, own = "activation", (int(layer.parametric), 0)
        case PeriodicEmbedding():
            kind, own = "periodic", (layer.n_frequencies, layer.n_outputs)
        case CategoryEmbedding():
            kind, own = "category", (layer.n_levels, 0)
        case _:
            return "pass", n_in, n_out, (0, 0), 0.0, "identity", 1.0, 0.0
    number = layer.scale if isinstance(layer, PeriodicEmbedding) else 0.0
    name = layer.name if isinstance(layer, Activation) else "identity"
    return kind, n_in, n_out, own, number, name, layer.learning_rate_factor, layer.weight_decay_factor


class Description(NamedTuple):
    """Layers as the native module takes them, an activation joined to the dense layer before it, dropout to any."""

    layers: list[Native]
    columns: tuple[int, list[tuple[list[int], Native | None]]] | None
    dropouts: list[float | schedules.Constant]


def describe(layers: Sequence[Layer], n_inputs: int) -> Description:
    """What the native module is told of layers that were `checked`."""
    natives: list[Native] = []
    columns = None
    dropouts: list[float | schedules.Constant] = []
    width, before = n_inputs, None
    for layer in layers:
        n_in, n_out = widths(layer, width)
        width = n_out
        if isinstance(layer, Columns):
            parts = [
                (list(i), None if part is None else _native(part, len(i), widths(part, len(i))[1]))
                for i, part in layer.parts
            ]
            columns = (n_in, parts)
        elif isinstance(layer, Activation) and not layer.parametric and isinstance(before, Dense):
            natives[-1] = (*natives[-1][:5], layer.name, *natives[-1][6:])
        elif not isinstance(layer, Dropout) or before is None or isinstance(before, Dropout):
            natives.append(_native(layer, n_in, n_out))
        if isinstance(layer, Dropout):
            place = len(natives) - 1 + (columns is not None)
            dropouts += [0.0] * (place + 1 - len(dropouts))
            dropouts[place] = layer.p
        before = layer
    return Description(natives, columns, dropouts)


# ------------------------------------------------------------------------------------------------- learned arrays


def _arrays_of(layer: Layer, n_in: int, first: int) -> tuple[list[Array], int]:
    """The arrays of a layer whose parameters begin at `first`, and where they end."""

    def plain(name: str, *shape: int) -> Array:
        return Array(name, shape, first, math.prod(shape[1:]))

    match layer:
        case Dense():
            end = first + layer.n_in * layer.n_out
            biases = Array("biases", (layer.n_out,), end, 1)
            return [plain("weights", layer.n_in, layer.n_out), biases], end + layer.n_out
        case Scale():
            return [plain("scales", layer.n)], first + layer.n
        case Activation(parametric=True):
            return [plain("alphas", n_in)], first + n_in
        case PeriodicEmbedding():
            k, each = layer.n_frequencies, layer.n_outputs
            maps, size = first + layer.n * k, (2 * k + 1) * each
            weights = Array("periodic_weights", (layer.n, 2 * k, each), maps, size)
            biases = Array("periodic_biases", (layer.n, each), maps, size, 2 * k * each)
            return [plain("frequencies", layer.n, k), weights, biases], maps + layer.n * size
        case CategoryEmbedding():
            return [plain("embeddings", layer.n_levels, layer.size)], first + layer.n_levels * layer.size
        case _:
            return [], first


def arrays(layers: Sequence[Layer], n_inputs: int) -> list[Array]:
    """Every learned array with its public name: its kind and which of that kind it is, from 0."""
    found: list[Array] = []
    width, place = n_inputs, 0
    for layer in layers:
        parts = (
            [(part, len(i)) for i, part in layer.parts] if isinstance(layer, Columns) else [(layer, width)]
        )
        for part, n_in in parts:
            if part is not None:
                own, place = _arrays_of(part, n_in, place)
                found += own
        width = widths(layer, width)[1]
    counts: dict[str, int] = {}
    named = []
    for array in found:
        i = counts.get(array.name, 0)
        counts[array.name] = i + 1
        named.append(array._replace(name=f"{array.name}.{i}"))
    return named


# ---------------------------------------------------------------------------------------------------------- files


def to_plain(layer: Layer) -> dict[str, Any]:
    """What a file holds of a layer."""
    if isinstance(layer, Columns):
        parts = [[list(i), None if part is None else to_plain(part)] for i, part in layer.parts]
        return {"kind": "Columns", "parts": parts, "n_columns": layer.n_columns}
    if isinstance(layer, Dropout):
        return {"kind": "Dropout", "p": schedules.describe(layer.p)}
    return {"kind": type(layer).__name__, **asdict(layer)}


def from_plain(plain: Mapping[str, Any]) -> Layer:
    """The layer of which a file holds this."""
    options = dict(plain)
    kind = _KINDS[options.pop("kind")]
    if set(options) != {field.name for field in fields(kind)}:
        raise ValueError(f"a {kind.__name__} is described by {sorted(options)}")
    if kind is Columns:
        options["parts"] = [(i, None if part is None else from_plain(part)) for i, part in options["parts"]]
    if kind is Dropout:
        options["p"] = schedules.described(options["p"])
    layer: Layer = kind(**options)
    return layer
