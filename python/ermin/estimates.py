"""What data let one know: an estimate with its uncertainty, and a finite sum in place of an integral."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ermin import _arrays, _core

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ermin._arrays import RngLike

    class Sampled(Protocol):
        """What can be drawn from."""

        @property
        def shape(self) -> tuple[int, ...]:
            """Of one draw."""

        def sample(
            self, size: Any = None, *, rng: Any = None, dtype: Any = ..., out: Any = None, start: int = 0
        ) -> Any:
            """Draws."""


__all__ = ["Estimate", "monte_carlo"]

_METHODS = ("wilson", "clopper-pearson", "jeffreys", "wald")


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number estimated from data, and how far it may be from the truth.

    Made by ``Bernoulli.fit``, ``Categorical.fit`` and `monte_carlo`.

    Attributes
    ----------
    value : float or numpy.ndarray
        P~: the probability of 1, the probabilities of the classes (last axis), or a mean.
    distribution : Bernoulli, Categorical or None
        The distribution with these probabilities; None for a mean.
    n : float or numpy.ndarray
        How many observations, or their weight.
    standard_error : float or numpy.ndarray
        √(P~·(1 − P~)/n), with what a prior adds counted in n; for a mean s/√n.
    log_likelihood : float or numpy.ndarray or None
        Of the data under `distribution`; None for a mean.

    Examples
    --------
    >>> import ermin
    >>> estimate = ermin.Bernoulli.fit([1, 1, 0, 1])
    >>> estimate.value, estimate.n
    (0.75, 4)
    >>> low, high = estimate.interval(0.95)
    >>> round(low, 4), round(high, 4)
    (0.3006, 0.9544)
    """

    value: Any
    distribution: Any
    n: Any
    standard_error: Any
    log_likelihood: Any
    _total: Any = field(default=None, repr=False)  # observations and what a prior adds to them

    def interval(self, level: float = 0.95, method: str = "wilson") -> tuple[Any, Any]:
        """Bounds between which the truth lies with about that confidence.

        Parameters
        ----------
        level : float, default 0.95
            Between 0 and 1.
        method : {"wilson", "clopper-pearson", "jeffreys", "wald"}
            For probabilities (each class by itself): Wilson's score interval (1927); Clopper and Pearson's (1934), at
            least as sure as it says; Jeffreys', the quantiles of Beta(heads + ½, tails + ½), with bounds 0 and 1 where
            no heads or no tails came (Brown, Cai and DasGupta 2001, "Interval estimation for a binomial proportion");
            Wald's, value ± z·standard error, which few or one-sided data make far too short. A mean always has the
            normal interval value ± z·standard error.

        Returns
        -------
        low, high : float or numpy.ndarray
            Shaped like `value`.

        Raises
        ------
        ValueError
            If level is outside (0, 1) or there is no such method.

        Examples
        --------
        >>> import ermin
        >>> low, high = ermin.Bernoulli.fit([1] * 100).interval(method="clopper-pearson")
        >>> round(low, 4), high  # a hundred heads do not prove that tails are impossible
        (0.9638, 1.0)
        """
        try:
            level = float(level)
        except (TypeError, ValueError):
            raise TypeError(f"level is {level!r}, but must be a number") from None
        if not 0 < level < 1:
            raise ValueError(f"level is {level}, but must be between 0 and 1")
        if method not in _METHODS:
            raise ValueError(f"method is {method!r}, but must be one of {', '.join(_METHODS)}")
        z = -_core.normal_quantile((1 - level) / 2)  # of the lower tail, which keeps its digits
        p, n = np.asarray(self.value, dtype=np.float64), np.asarray(self._total, dtype=np.float64)
        low: NDArray[Any]
        high: NDArray[Any]
        if self.distribution is None:
            low, high = p - z * self.standard_error, p + z * self.standard_error
        elif method == "wald":
            low, high = np.maximum(p - z * self.standard_error, 0), np.minimum(p + z * self.standard_error, 1)
        elif method == "wilson":
            # The roots of (p − P)²·n = z²·P·(1 − P); the lower one from their product, p²·n/(n + z²), lest it be lost.
            root = z * np.sqrt(n * p * (1 - p) + z * z / 4)
            high = np.where(p == 1, 1.0, (n * p + z * z / 2 + root) / (n + z * z))
            low = p * (p * n / (n + z * z) / np.where(p == 0, 1.0, high))
        else:
            low, high = _beta_interval(
                p * n, (1 - p) * n, (1 - level) / 2, 0.5 if method == "jeffreys" else 0
            )
        return _plain(low), _plain(high)


_LEAST, _MOST = 1e-3, 1e18
"""What a beta distribution's parameters may be; of less than the least, every quantile in a tail is below 1e-300."""


def _beta_interval(
    heads: NDArray[np.float64], tails: NDArray[np.float64], tail: float, prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantiles of beta distributions: Jeffreys' with a prior of ½ each, Clopper and Pearson's without."""
    heads, tails = np.broadcast_arrays(heads, tails)
    if heads.size and not max(heads.max(), tails.max()) <= _MOST:
        raise ValueError(f"this method's intervals need counts of at most {_MOST:g}; wald and wilson do not")
    low, high = np.zeros(heads.shape), np.ones(heads.shape)
    for i in np.ndindex(heads.shape):
        a, b = float(heads[i]), float(tails[i])
        if a > 0 and a + prior >= _LEAST:
            low[i] = _core.beta_quantile(tail, a + prior, b + (prior or 1.0))
        if b > 0 and b + prior >= _LEAST:
            # Mirrored, so that a bound near 1 is as exact as one near 0.
            high[i] = 1 - _core.beta_quantile(tail, b + prior, a + (prior or 1.0))
    return low, high


def _plain(x: NDArray[Any]) -> Any:
    """A float for a single number."""
    return float(x) if np.ndim(x) == 0 else x


_CHUNK = 1 << 20
"""Numbers drawn at a time, at most."""


def monte_carlo(f: Callable[[Any], Any], distribution: Sampled, n: int, *, rng: RngLike = None) -> Estimate:
    """The mean of f over n draws, in place of the expectation under the distribution.

    Parameters
    ----------
    f : callable
        Of an array of draws, shape ``(m, *distribution.shape)``; returns as many values, shape ``(m, ...)``.
    distribution : Bernoulli or Categorical
    n : int
        At least 1. Draws are made in pieces, so memory stays bounded.
    rng : None, int, numpy.random.SeedSequence or numpy.random.Generator

    Returns
    -------
    Estimate
        The mean, its standard error s/√n (NaN for one draw) and normal intervals.

    Raises
    ------
    ValueError
        If n is below 1, or f returns another number of values than it got draws.

    Examples
    --------
    >>> import ermin
    >>> mean = ermin.monte_carlo(lambda x: 10.0 * x, ermin.Bernoulli(0.3), 100_000, rng=0)
    >>> abs(mean.value - 3) < 5 * mean.standard_error
    True
    """
    n = _arrays.whole(n, "n")
    if n < 1:
        raise ValueError(f"n is {n}, but must be at least 1")
    key: Any = rng if isinstance(rng, int) else _arrays.seed(rng)
    at_once = max(1, _CHUNK // max(1, math.prod(distribution.shape)))
    done = 0
    mean: Any = None
    squares: Any = None
    while done < n:
        m = min(at_once, n - done)
        draws = distribution.sample(
            (m, *distribution.shape), rng=key, start=done * math.prod(distribution.shape)
        )
        values = _arrays.floats(f(draws), "what f returned", np.float64)
        if values.ndim == 0 or len(values) != m:
            raise ValueError(
                f"f returned shape {values.shape} for {m} draws, but must return a value for each"
            )
        # Chan, Golub and LeVeque 1979: means and sums of squares of parts.
        here = values.sum(axis=0) / m
        deviation = ((values - here) ** 2).sum(axis=0)
        if mean is None:
            mean, squares = here, deviation
        else:
            apart = here - mean
            mean = mean + apart * (m / (done + m))
            squares = squares + deviation + apart * apart * (done * m / (done + m))
        done += m
    error = np.sqrt(squares / (n - 1) / n) if n > 1 else np.full(np.shape(mean), np.nan)
    return Estimate(_plain(np.asarray(mean)), None, n, _plain(error), None)
