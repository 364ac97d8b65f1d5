"""Losses that have a parameter; the others go by their names. Only settings stand here; the formulas are native."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from ermin._arrays import check_number

__all__ = ["Huber", "Quantile"]


@dataclass(frozen=True)
class Huber:
    """Squared error near the target, absolute error beyond: outliers pull with a bounded force.

    With r the distance of p from y it is ½·r² up to delta and delta·(r − ½·delta) beyond (Huber 1964, "Robust
    estimation of a location parameter").

    Parameters
    ----------
    delta : float, default 1.0
        Greater than 0.

    Raises
    ------
    ValueError
        If delta is not a positive number.

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP([1, 1], initializer="zeros")
    >>> net.loss([[1.0], [1.0]], [0.5, 10.0], loss=ermin.Huber(delta=1.0))  # (0.125 + 9.5) / 2
    4.8125
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        check_number("delta", self.delta, 0, math.inf, "greater than 0", open_low=True)

    def _native(self) -> tuple[str, float]:
        return "huber", float(self.delta)


@dataclass(frozen=True)
class Quantile:
    """The pinball loss, whose least value is at a quantile: two networks give a prediction interval.

    max(q·(y − p), (q − 1)·(y − p)) (Koenker and Bassett 1978, "Regression quantiles").

    Parameters
    ----------
    q : float, default 0.5
        Between 0 and 1, both excluded; 0.5 is half the absolute error, whose least value is at the median.

    Raises
    ------
    ValueError
        If q is outside its range.

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP([1, 1], initializer="zeros")
    >>> net.loss([[1.0], [1.0]], [10.0, -10.0], loss=ermin.Quantile(q=0.75))  # (7.5 + 2.5) / 2
    5.0
    """

    q: float = 0.5

    def __post_init__(self) -> None:
        check_number("q", self.q, 0, 1, "between 0 and 1", open_low=True, open_high=True)

    def _native(self) -> tuple[str, float]:
        return "quantile", float(self.q)


Loss: TypeAlias = str | Huber | Quantile

_DEFAULTS: dict[str, Huber | Quantile] = {"huber": Huber(), "quantile": Quantile()}


def native(loss: Loss) -> tuple[str, float]:
    """A loss as the native module takes it: its name and its parameter, 0 where it has none."""
    if isinstance(loss, str):
        return _DEFAULTS[loss]._native() if loss in _DEFAULTS else (loss, 0.0)
    if not isinstance(loss, (Huber, Quantile)):
        raise TypeError(f"loss is {loss!r}, but must be a name, Huber or Quantile")
    return loss._native()
