"""The Bernoulli distribution: exact tosses, their likelihood, maximum likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ermin import _arrays, _core, distributions
from ermin.distributions import Distribution, plain
from ermin.estimates import Estimate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from ermin.distributions import Size

__all__ = ["Bernoulli"]

_RARE = 2.0**-10
"""Divergences of coins with a p below this are computed from logarithms."""


class Bernoulli(Distribution):
    """A coin, or an array of coins: 1 with probability p, else 0.

    Parameters
    ----------
    p : float or array-like
        P(1), from 0 to 1. float32 stays float32; an array that is right already is not copied.
    logits : float or array-like, keyword only
        ln(p/(1 − p)) instead of p; ±∞ stand for certainty. What is given by logits is computed from logits.

    Attributes
    ----------
    p, logits : float or numpy.ndarray
    shape : tuple of int
    mean, variance : float or numpy.ndarray
        p and p·(1 − p).

    Raises
    ------
    ValueError
        If a probability is not from 0 to 1, or a logit is NaN.
    TypeError
        If both or neither are given, or they are not real numbers.

    Examples
    --------
    >>> import ermin
    >>> coin = ermin.Bernoulli(0.5)
    >>> coin.sample(10, rng=0)
    array([0, 1, 0, 0, 0, 1, 0, 0, 0, 0], dtype=uint8)
    >>> coin.log_likelihood([1, 1, 0, 1])  # four times ln ½
    -2.772588722239781
    """

    _scalar: float | None
    _is_number = True
    """Whether p is a number, not an array of one."""

    def __init__(self, p: ArrayLike | None = None, *, logits: ArrayLike | None = None) -> None:
        if type(p) is float and logits is None and 0.0 <= p <= 1.0:  # first, and fast: the usual case
            self._logits, self._scalar = False, p
            return
        self._logits = distributions.either(p, logits)
        name = "logits" if self._logits else "p"
        chosen: Any = logits if self._logits else p
        given = _arrays.floats(chosen, name)
        _core.bernoulli_check(given, self._logits)
        self._given = given
        self._scalar = float(given.item()) if given.size == 1 else None
        self._is_number = not given.ndim

    def __getattr__(self, name: str) -> Any:
        if name != "_given":
            raise AttributeError(f"'Bernoulli' object has no attribute {name!r}")
        self._given = np.asarray(self._scalar)
        return self._given

    def __repr__(self) -> str:
        return f"Bernoulli({'logits=' if self._logits else ''}{distributions.shown(self._given)})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one draw."""
        return self._given.shape

    @property
    def p(self) -> Any:
        """P(1)."""
        return plain(distributions.evaluate("sigmoid", self._given) if self._logits else self._given)

    @property
    def logits(self) -> Any:
        """ln(p/(1 − p))."""
        if self._logits:
            return plain(self._given)
        return plain(
            distributions.evaluate("ln", self._given) - distributions.evaluate("ln_1p", -self._given)
        )

    @property
    def mean(self) -> Any:
        """The expectation, p."""
        return self.p

    @property
    def variance(self) -> Any:
        """p·(1 − p)."""
        # 1 − p of logits is not made of p, which may be 1.
        rest = distributions.evaluate("sigmoid", -self._given) if self._logits else 1 - self._given
        return plain(self.p * rest)

    def _event_arrays(self) -> tuple[Literal["p", "logits"], NDArray[Any]]:
        """Events 0 and 1 on a last axis: ("p", probabilities), or ("logits", logarithms up to a constant)."""
        given = self._given
        if self._logits:
            return "logits", np.stack([np.minimum(-given, 0), np.minimum(given, 0)], axis=-1)
        if given.size and given.min() < _RARE:
            # 1 − p would have lost what p is; its logarithm has not.
            rest, own = distributions.evaluate("ln_1p", -given), distributions.evaluate("ln", given)
            return "logits", np.stack([rest, own], axis=-1)
        return "p", np.stack([1 - given, given], axis=-1)

    def _parameter(self, shape: tuple[int, ...]) -> tuple[Any, int]:
        """The parameter for elements of that shape, and how many neighbours share one."""
        # An array of one element, as it is, is drawn like the arrays that it may be a piece of.
        if self._scalar is not None and (self._is_number or shape != self._given.shape):
            return self._scalar, 1
        return self._array(shape)

    def _array(self, shape: tuple[int, ...]) -> tuple[NDArray[Any], int]:
        shared = _arrays.each(self._given.shape, shape)
        if shared is None:
            return np.ascontiguousarray(np.broadcast_to(self._given, shape)), 1
        return self._given, shared

    def sample(
        self,
        size: Size = None,
        *,
        rng: _arrays.RngLike = None,
        dtype: DTypeLike = np.uint8,
        out: NDArray[Any] | None = None,
        start: int = 0,
        n_threads: int | None = None,
    ) -> Any:
        """Draws, exact to the last bit of p.

        A draw's value depends on its p, its position and the seed alone: not on the type, the number of threads or
        how the stream is cut into calls. An array of several probabilities draws from the stream in another way than
        one probability for all.

        Parameters
        ----------
        size : int or tuple of int, optional
            The shape of the result, to which p is broadcast; by default p's own.
        rng : None, int, numpy.random.SeedSequence or numpy.random.Generator
            None is the system's entropy. The same int gives the same draws on every machine.
        dtype : dtype, default numpy.uint8
            bool, any integer or floating-point type; by default that of `out` if given.
        out : numpy.ndarray, optional
            Filled and returned.
        start : int, default 0
            The position of the first draw in its stream, so that pieces make up the whole.
        n_threads : int, optional
            At most so many threads; by default what this process may use, where it pays.

        Returns
        -------
        numpy.ndarray, or a number for size () or None with a single p

        Raises
        ------
        ValueError
            If p cannot be broadcast to size, out has another shape, is read-only or overlaps p, or start is negative.
        TypeError
            If size, dtype, out or rng is of another type.

        Examples
        --------
        >>> import ermin
        >>> ermin.Bernoulli([0.0, 0.5, 1.0]).sample((2, 3), rng=0, dtype=bool)
        array([[False, False,  True],
               [False,  True,  True]])
        """
        scalar = self._scalar
        if (
            scalar is not None
            and type(size) is int
            and 0 <= size < distributions.SMALL
            and dtype is np.uint8
            and out is None
            and type(start) is int
            and start == 0
            and self._is_number
            and n_threads is None
        ):
            draws = np.empty(size, np.uint8)
            _core.bernoulli_sample(scalar, 1, self._logits, _arrays.seed(rng), 0, draws, 1)
            return draws
        seed = _arrays.seed(rng)

        def fill(room: NDArray[Any], start: int) -> None:
            parameter, shared = self._parameter(room.shape)
            threads = distributions.threads(n_threads, room.size)
            _core.bernoulli_sample(parameter, shared, self._logits, seed, start, room, threads)

        return self._draw(size, dtype, np.uint8, out, _arrays.whole(start, "start"), fill)

    def sample_packed(
        self,
        n: int,
        *,
        rng: _arrays.RngLike = None,
        out: NDArray[np.uint8] | None = None,
        start: int = 0,
        n_threads: int | None = None,
    ) -> NDArray[np.uint8]:
        """The draws of ``sample(n)`` as bits, in the order of ``numpy.packbits``.

        Parameters
        ----------
        n : int
            At least 0.
        rng, start, n_threads
            As for `sample`.
        out : numpy.ndarray of uint8 and shape (⌈n/8⌉,), optional

        Returns
        -------
        numpy.ndarray of uint8, shape (⌈n/8⌉,)
            Eight draws a byte, the first in the highest bit; the last byte is filled up with zeros.

        Raises
        ------
        ValueError, TypeError
            As `sample`.

        Examples
        --------
        >>> import numpy as np
        >>> import ermin
        >>> coin = ermin.Bernoulli(0.3)
        >>> bits = coin.sample_packed(100, rng=0)
        >>> bool((np.unpackbits(bits)[:100] == coin.sample(100, rng=0)).all())
        True
        """
        n, start = _arrays.whole(n, "n"), _arrays.whole(start, "start")
        if n < 0:
            raise ValueError(f"n is {n}, but must be at least 0")
        _arrays.broadcast_to(self.shape, (n,), "logits" if self._logits else "p")
        seed = _arrays.seed(rng)
        distributions.check_positions(start, n)
        length = -(-n // 8)
        if out is not None:
            _arrays.filled(out, (length,), [self._given])
            if out.dtype != np.uint8:
                raise TypeError(f"out has dtype {out.dtype}, but must have dtype uint8")
        plain = out is not None and _arrays.is_plain(out)
        room = out if out is not None and plain else np.empty(length, np.uint8)
        if n:
            parameter, shared = self._parameter((n,))
            threads = distributions.threads(n_threads, n)
            _core.bernoulli_sample_packed(parameter, shared, self._logits, seed, start, n, room, threads)
        if out is not None and not plain:
            out[...] = room
            return out
        return room

    def log_prob(self, x: ArrayLike, *, out: NDArray[Any] | None = None, n_threads: int | None = None) -> Any:
        """Ln P(x): ln p where x is 1, ln(1 − p) where it is 0.

        Parameters
        ----------
        x : array-like
            0 and 1 of any real type; broadcast with p.
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
            If an x is neither 0 nor 1, or shapes don't fit.

        Examples
        --------
        >>> import ermin
        >>> ermin.Bernoulli([0.5, 0.0]).log_prob([1, 1])
        array([-0.69314718,        -inf])
        """
        tosses = _arrays.tosses(x, "x")
        shape = _arrays.common_shape(self.shape, tosses.shape, "x")

        def fill(room: NDArray[Any], threads: int | None) -> None:
            given = np.ascontiguousarray(np.broadcast_to(tosses, shape))
            values, shared = self._array(shape)
            _core.bernoulli_log_prob(values, shared, self._logits, given, room, threads)

        return self._logs(shape, out, [tosses], n_threads, fill)

    def log_likelihood(
        self, x: ArrayLike, *, sample_weight: ArrayLike | None = None, n_threads: int | None = None
    ) -> float:
        """Σ ln P(x), or with weights Σ weight·ln P(x).

        Rounded as one number: the error is at most 8 units in the last place of Σ|terms|, for ten million tosses as
        for two.

        Parameters
        ----------
        x : array-like
            0 and 1 of any real type; broadcast with p.
        sample_weight : array-like, optional
            Finite, at least 0; broadcast to the tosses. A toss of weight 0 does not count, however impossible.
        n_threads : int, optional
            As for `sample`.

        Returns
        -------
        float
            0.0 for no tosses.

        Raises
        ------
        ValueError
            If an x is neither 0 nor 1, a weight is negative or not finite, or shapes don't fit.

        Examples
        --------
        >>> import ermin
        >>> ermin.Bernoulli([0.5, 0.25]).log_likelihood([1, 0])  # ln ½ + ln ¾
        -0.9808292530117262
        """
        tosses = _arrays.tosses(x, "x")
        shape = _arrays.common_shape(self.shape, tosses.shape, "x")
        weights = distributions.weights(sample_weight, shape)
        if tosses.shape != shape:
            tosses = np.ascontiguousarray(np.broadcast_to(tosses, shape))
        if not tosses.size:
            return 0.0
        values, shared = self._parameter(shape)
        threads = distributions.threads(n_threads, tosses.size)
        return _core.bernoulli_log_likelihood(values, shared, self._logits, tosses, weights, threads)

    def entropy(self, base: float | None = None) -> Any:
        """−p·ln p − (1 − p)·ln(1 − p): the mean surprise of a toss.

        Parameters
        ----------
        base : float, optional
            Of the logarithm: 2 for bits; by default e, for nats.

        Returns
        -------
        float or numpy.ndarray

        Raises
        ------
        ValueError
            If base is not a finite number greater than 1.

        Examples
        --------
        >>> import ermin
        >>> float(ermin.Bernoulli(0.5).entropy(base=2))
        1.0
        """
        from ermin import divergences

        if self._logits:
            return divergences.entropy(self, base=base)
        # 1 − p as an event's own probability would have lost what a small p is: here it is the argument of ln_1p.
        p = self._given.astype(np.float64)
        heads = p * distributions.evaluate("ln", np.where(p > 0, p, 1))
        tails = (1 - p) * distributions.evaluate("ln_1p", np.where(p < 1, -p, 0))
        entropy = 0 - (heads + tails)
        if base is not None:
            entropy /= divergences.logarithm_of_base(base)
        return entropy.astype(self._given.dtype)[()]

    @classmethod
    def fit(
        cls,
        x: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        axis: int | tuple[int, ...] | None = None,
        prior: tuple[float, float] | None = None,
    ) -> Estimate:
        """Maximum likelihood: P~ is the share of ones.

        The derivative of the likelihood, heads/p − tails/(1 − p), vanishes there.

        Parameters
        ----------
        x : array-like
            0 and 1 of any real type.
        sample_weight : array-like, optional
            Finite, at least 0, broadcast to x.
        axis : int or tuple of int, optional
            The axes of observations; by default all.
        prior : (float, float), optional
            (a, b), each at least 1, adds a − 1 heads and b − 1 tails: the mode under a Beta(a, b) prior. What helps
            against bad luck.

        Returns
        -------
        Estimate

        Raises
        ------
        ValueError
            If there are no tosses, an x is neither 0 nor 1, a weight is negative, or the prior is below 1.

        Examples
        --------
        >>> import ermin
        >>> ermin.Bernoulli.fit([1] * 100).value  # an unlucky hundred heads
        1.0
        >>> round(ermin.Bernoulli.fit([1] * 100, prior=(2, 2)).value, 4)
        0.9902
        """
        tosses = _arrays.tosses(x, "x")
        weights = distributions.weights(sample_weight, tosses.shape)
        a, b = _prior(prior)
        heads: Any
        tails: Any
        heads, tails = _core.bernoulli_counts(tosses, weights, None)  # looks at every toss
        if axis is not None:
            ones = tosses.astype(np.float64)
            each = np.ones(tosses.shape) if weights is None else weights
            heads = (ones * each).sum(axis=axis)
            tails = ((1 - ones) * each).sum(axis=axis)
        n, total = heads + tails, heads + tails + a + b
        if np.size(n) and not np.min(total) > 0:
            raise ValueError("x must hold at least one toss of positive weight, unless a prior is given")
        value = (heads + a) / total
        model = cls(value)
        error = np.sqrt(value * (1 - value) / total)
        if axis is None:
            likelihood: Any = model.log_likelihood(tosses, sample_weight=weights)
        else:
            logs = np.stack(
                [model.log_prob(np.ones(np.shape(value))), model.log_prob(np.zeros(np.shape(value)))]
            )
            counts = np.stack([heads, tails])
            likelihood = np.where(counts > 0, counts, 0) * np.where(counts > 0, logs, 0)
            likelihood = likelihood.sum(axis=0)
        if weights is None:
            n = int(n) if np.ndim(n) == 0 else n.astype(np.int64)
        return Estimate(plain(value), model, plain(n), plain(error), plain(likelihood), total)


def _prior(prior: Any) -> tuple[float, float]:
    """(a − 1, b − 1) of a beta prior's (a, b)."""
    if prior is None:
        return 0.0, 0.0
    try:
        a, b = (float(x) for x in prior)
    except (TypeError, ValueError):
        raise TypeError(f"prior is {prior!r}, but must be None or two numbers (a, b)") from None
    if not (1 <= a < np.inf and 1 <= b < np.inf):
        raise ValueError(f"prior is {prior!r}, but both must be finite and at least 1")
    return a - 1, b - 1
