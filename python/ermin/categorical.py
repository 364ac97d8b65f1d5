"""The categorical distribution: draws of one class out of many, their likelihood, maximum likelihood."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ermin import _arrays, _core, distributions
from ermin.distributions import Distribution, plain
from ermin.estimates import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from ermin.distributions import Size

__all__ = ["Categorical"]

_MOST_CLASSES = 2**32
"""Classes are counted in 32 bits."""


class Categorical(Distribution):
    """One class out of several, with given probabilities; or an array of such distributions.

    Parameters
    ----------
    p : array-like of shape (..., n_classes)
        Rows of probabilities that sum to 1, up to the square root of the type's precision; draws come by them divided
        by their sum. float32 stays float32; an array that is right already is not copied.
    logits : array-like of shape (..., n_classes), keyword only
        Logarithms of probabilities up to a constant a row, instead of p; −∞ for what never happens.

    Attributes
    ----------
    p, logits : numpy.ndarray
        Of logits, p are the softmax; of p, the logits are ln p.
    shape : tuple of int
        The shape of one draw.
    n_classes : int

    Raises
    ------
    ValueError
        If a probability is not from 0 to 1 or a row does not sum to 1, a logit is NaN or +∞, or there is no class.
    TypeError
        If both or neither are given, or they are not real numbers.

    Examples
    --------
    >>> import ermin
    >>> die = ermin.Categorical([0.1, 0.2, 0.7])
    >>> die.sample(8, rng=0)
    array([2, 2, 2, 2, 2, 1, 0, 2])
    >>> die.log_prob([0, 2])
    array([-2.30258509, -0.35667494])
    """

    def __init__(self, p: ArrayLike | None = None, *, logits: ArrayLike | None = None) -> None:
        self._logits = distributions.either(p, logits)
        name = "logits" if self._logits else "p"
        chosen: Any = logits if self._logits else p
        given = _arrays.floats(chosen, name)
        if given.ndim == 0 or not 1 <= given.shape[-1] < _MOST_CLASSES:
            raise ValueError(f"{name} has shape {given.shape}, but must have classes on its last axis")
        tolerance = float(np.finfo(given.dtype).eps) ** 0.5
        _core.categorical_check(given, given.shape[-1], self._logits, tolerance)
        self._given = given

    def __repr__(self) -> str:
        return f"Categorical({'logits=' if self._logits else ''}{distributions.shown(self._given)})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one draw."""
        return self._given.shape[:-1]

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(self._given.shape[-1])

    @property
    def p(self) -> NDArray[Any]:
        """The probabilities of the classes."""
        if not self._logits:
            return plain(self._given)  # type: ignore[no-any-return]  # an array, for it has an axis
        with np.errstate(over="ignore"):  # a difference beyond the type's range is −∞, and e^−∞ is 0
            shifted = self._given - self._given.max(axis=-1, keepdims=True)
        exponentials = distributions.evaluate("exp", shifted)
        return plain(exponentials / exponentials.sum(axis=-1, keepdims=True))  # type: ignore[no-any-return]  # as above

    @property
    def logits(self) -> NDArray[Any]:
        """Ln p, or the logits as given."""
        return plain(self._given if self._logits else distributions.evaluate("ln", self._given))  # type: ignore[no-any-return]  # as above

    def _event_arrays(self) -> tuple[Literal["p", "logits"], NDArray[Any]]:
        """Events on the last axis: ("p", probabilities), or ("logits", logits)."""
        return "logits" if self._logits else "p", self._given

    def _rows(self, shape: tuple[int, ...]) -> tuple[NDArray[Any], int]:
        """The rows for draws of that shape, and how many neighbours share one."""
        shared = _arrays.each(self.shape, shape)
        if shared is None:
            return np.ascontiguousarray(np.broadcast_to(self._given, (*shape, self.n_classes))), 1
        return self._given, shared

    def sample(
        self,
        size: Size = None,
        *,
        rng: _arrays.RngLike = None,
        dtype: DTypeLike = np.int64,
        out: NDArray[Any] | None = None,
        start: int = 0,
        n_threads: int | None = None,
    ) -> Any:
        """Draws of class indices.

        Each class comes with its probability to within 2⁻⁵³, a class of probability 0 never. A draw's value depends on
        its distribution, its position and the seed alone.

        Parameters
        ----------
        size : int or tuple of int, optional
            The shape of the result, to which `shape` is broadcast; by default `shape` itself.
        rng : None, int, numpy.random.SeedSequence or numpy.random.Generator
            None is the system's entropy. The same int gives the same draws on every machine.
        dtype : dtype, default numpy.int64
            Any integer or floating-point type that holds every class; by default that of `out` if given.
        out : numpy.ndarray, optional
            Filled and returned.
        start : int, default 0
            The position of the first draw in its stream, so that pieces make up the whole.
        n_threads : int, optional
            At most so many threads; by default what this process may use, where it pays.

        Returns
        -------
        numpy.ndarray, or an integer for a single draw

        Raises
        ------
        ValueError
            If shapes don't fit, out is read-only or overlaps p, start is negative, or dtype can't hold the classes.
        TypeError
            If size, dtype, out or rng is of another type.

        Examples
        --------
        >>> import ermin
        >>> ermin.Categorical([[1.0, 0.0], [0.0, 1.0]]).sample((3, 2), rng=0)
        array([[0, 1],
               [0, 1],
               [0, 1]])
        """
        seed = _arrays.seed(rng)
        kind = np.dtype(dtype if out is None or dtype is not np.int64 else getattr(out, "dtype", dtype))
        digits = np.finfo(kind).nmant + 1 if kind.kind == "f" else 8 * kind.itemsize - (kind.kind == "i")
        if kind.kind == "b" or (kind.kind in "iuf" and self.n_classes - 1 >= 2**digits):
            raise ValueError(f"dtype is {kind}, which cannot hold {self.n_classes} classes")

        def fill(room: NDArray[Any], start: int) -> None:
            half = room.dtype == np.float16
            target = np.empty(room.shape, np.float32) if half else room
            values, shared = self._rows(room.shape)
            threads = distributions.threads(n_threads, room.size)
            _core.categorical_sample(
                values, self.n_classes, self._logits, shared, seed, start, target, threads
            )
            if half:
                room[...] = target

        return self._draw(size, dtype, np.int64, out, _arrays.whole(start, "start"), fill)

    def _classes(self, x: ArrayLike) -> tuple[NDArray[np.uint32], tuple[int, ...]]:
        """Class indices as the native module takes them, and the shape they are broadcast to."""
        array = _indices(x)
        wrong = (array < 0) | (array >= self.n_classes)
        if wrong.any():
            place = [int(i) for i in np.argwhere(wrong)[0]]
            raise ValueError(
                f"x{place or ''} is {array[tuple(place)]}, but must be a class index from 0 to {self.n_classes - 1}"
            )
        shape = _arrays.common_shape(self.shape, array.shape, "x")
        return np.ascontiguousarray(np.broadcast_to(array, shape), dtype=np.uint32), shape

    def log_prob(self, x: ArrayLike, *, out: NDArray[Any] | None = None, n_threads: int | None = None) -> Any:
        """Ln P(x).

        Parameters
        ----------
        x : array-like of int
            Class indices, broadcast with `shape`.
        out : numpy.ndarray, optional
            Of the result's shape and type.
        n_threads : int, optional
            As for `sample`.

        Returns
        -------
        float or numpy.ndarray
            float32 where p is, else float64; −∞ where the impossible happened.

        Raises
        ------
        ValueError
            If an x is not a class index, or shapes don't fit.
        TypeError
            If x does not hold whole numbers.

        Examples
        --------
        >>> import ermin
        >>> ermin.Categorical([[0.5, 0.5], [1.0, 0.0]]).log_prob([0, 1])
        array([-0.69314718,        -inf])
        """
        classes, shape = self._classes(x)

        def fill(room: NDArray[Any], threads: int | None) -> None:
            values, shared = self._rows(shape)
            _core.categorical_log_prob(values, self.n_classes, self._logits, shared, classes, room, threads)

        return self._logs(shape, out, [x], n_threads, fill)

    def log_likelihood(
        self, x: ArrayLike, *, sample_weight: ArrayLike | None = None, n_threads: int | None = None
    ) -> float:
        """Σ ln P(x), or with weights Σ weight·ln P(x).

        Parameters
        ----------
        x : array-like of int
            Class indices, broadcast with `shape`.
        sample_weight : array-like, optional
            Finite, at least 0; broadcast to the draws. A draw of weight 0 does not count, however impossible.
        n_threads : int, optional
            As for `sample`.

        Returns
        -------
        float
            0.0 for no draws.

        Raises
        ------
        ValueError
            If an x is not a class index, a weight is negative or not finite, or shapes don't fit.
        TypeError
            If x does not hold whole numbers.

        Examples
        --------
        >>> import ermin
        >>> ermin.Categorical([0.25, 0.75]).log_likelihood([0, 1, 1])
        -1.9616585060234524
        """
        classes, shape = self._classes(x)
        weights = distributions.weights(sample_weight, shape)
        if not classes.size:
            return 0.0
        values, shared = self._rows(shape)
        threads = distributions.threads(n_threads, classes.size)
        return _core.categorical_log_likelihood(
            values, self.n_classes, self._logits, shared, classes, weights, threads
        )

    def entropy(self, base: float | None = None) -> Any:
        """−Σ p·ln p: the mean surprise of a draw.

        Parameters
        ----------
        base : float, optional
            Of the logarithm: 2 for bits; by default e, for nats.

        Returns
        -------
        float or numpy.ndarray of shape `shape`

        Raises
        ------
        ValueError
            If base is not a finite number greater than 1.

        Examples
        --------
        >>> import ermin
        >>> float(ermin.Categorical([0.25, 0.25, 0.25, 0.25]).entropy(base=2))
        2.0
        """
        from ermin import divergences

        return divergences.entropy(self, base=base)

    @classmethod
    def fit(
        cls,
        x: ArrayLike,
        *,
        n_classes: int | None = None,
        sample_weight: ArrayLike | None = None,
        axis: int | tuple[int, ...] | None = None,
        prior: float | ArrayLike | None = None,
    ) -> Estimate:
        """Maximum likelihood: P~ are the shares of the classes.

        Parameters
        ----------
        x : array-like of int
            Class indices.
        n_classes : int, optional
            By default one more than the largest index.
        sample_weight : array-like, optional
            Finite, at least 0, broadcast to x.
        axis : int or tuple of int, optional
            The axes of observations; by default all.
        prior : float or array-like of shape (n_classes,), optional
            Each at least 1, adds prior − 1 draws of each class: the mode under a Dirichlet prior.

        Returns
        -------
        Estimate
            Its `value` has the classes on the last axis.

        Raises
        ------
        ValueError
            If there are no draws, an x is not a class index, a weight is negative, or the prior is below 1.
        TypeError
            If x does not hold whole numbers.

        Examples
        --------
        >>> import ermin
        >>> ermin.Categorical.fit([0, 2, 2, 1], n_classes=4).value
        array([0.25, 0.25, 0.5 , 0.  ])
        """
        array = _indices(x)
        if n_classes is not None:
            k = _arrays.whole(n_classes, "n_classes")
        else:
            k = max(1, int(array.max()) + 1) if array.size else 0
        if not 1 <= k < _MOST_CLASSES:
            need = f"at least 1 and below {_MOST_CLASSES}, and x must hold at least one draw"
            raise ValueError(f"n_classes is {k}, but must be {need}")
        classes, shape = cls(np.full(k, 1 / k))._classes(array)
        weights = distributions.weights(sample_weight, shape)
        given: Any = range(len(shape)) if axis is None else axis
        axes = list(np.lib.array_utils.normalize_axis_tuple(given, len(shape), "axis"))
        kept = tuple(length for i, length in enumerate(shape) if i not in axes)
        counts = _count(classes, weights, axes, kept, k)
        more = np.zeros(k) if prior is None else _arrays.floats(prior, "prior", np.float64) - 1
        if not ((more >= 0) & (more < np.inf)).all() or more.shape not in ((), (k,)):
            raise ValueError(f"prior is {prior!r}, but must be finite and at least 1, one number or {k}")
        n, raised = counts.sum(axis=-1), counts + more
        total = raised.sum(axis=-1, keepdims=True)
        if total.size and not total.min() > 0:
            raise ValueError("x must hold at least one draw of positive weight, unless a prior is given")
        value = raised / total
        model = cls(value)
        logs = distributions.evaluate("ln", value)
        likelihood = np.where(counts > 0, counts, 0) * np.where(counts > 0, logs, 0)
        error = np.sqrt(value * (1 - value) / total)
        if weights is None:
            n = n.astype(np.int64)
        value.flags.writeable = False
        return Estimate(value, model, plain(n), error, plain(likelihood.sum(axis=-1)), total)


def _indices(x: ArrayLike) -> NDArray[Any]:
    """Class indices in an array as it comes; an empty one may be of any type, as that of an empty list is."""
    array = np.asarray(x)
    if array.dtype.kind not in "iub" and (array.size or array.dtype.kind != "f"):
        raise TypeError(f"x has dtype {array.dtype}, but must hold class indices (whole numbers)")
    return array


def _count(
    classes: NDArray[np.uint32],
    weights: NDArray[np.float64] | None,
    axes: list[int],
    kept: tuple[int, ...],
    k: int,
) -> NDArray[np.float64]:
    """The weight of each class over the axes of observations, shape (*kept, k)."""

    def by_row(array: NDArray[Any]) -> NDArray[Any]:
        moved = np.moveaxis(array, axes, range(-len(axes), 0)) if axes else array
        n = math.prod(kept)
        return moved.reshape(n, array.size // max(1, n))

    rows = by_row(classes)
    places = (np.arange(len(rows))[:, None] * k + rows).ravel()
    heavy = None if weights is None else by_row(weights).ravel()
    return np.bincount(places, heavy, len(rows) * k).astype(np.float64).reshape(*kept, k)
