"""Judging probabilities: how surprised they leave one, and whether they mean what they say.

Classes are given as indices of the columns of `proba`, and arguments are in scikit-learn's order. Everything is sums
over rows; the one logarithm is that of the empirical risk, in `ermin.divergences`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ermin import _arrays
from ermin.divergences import empirical_risk

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

__all__ = ["ReliabilityCurve", "brier_score", "expected_calibration_error", "log_loss", "reliability_curve"]

_TOLERANCE = 1e-6
"""How far a row's sum may be from 1; float32 probabilities of a thousand classes are within it."""


def log_loss(y_true: ArrayLike, proba: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """The mean of −ln p(class that occurred): the empirical risk of the probabilities, in nats.

    Parameters
    ----------
    y_true : array-like of int or bool, of shape (n_rows,)
        Class indices.
    proba : array-like of shape (n_rows, n_classes), or (n_rows,) for the probability of class 1 of two
    sample_weight : array-like of shape (n_rows,), optional
        At least 0, not all 0.

    Returns
    -------
    float
        At least 0; infinite if a class occurred that was given probability 0.

    Raises
    ------
    ValueError
        If shapes don't match, a probability is NaN or outside [0, 1], a row doesn't sum to 1, or a class is not one of
        the columns.

    Examples
    --------
    >>> import ermin
    >>> round(ermin.log_loss([0, 1], [[0.5, 0.5], [0.5, 0.5]]), 6)  # ln 2: a fair coin's surprise
    0.693147
    """
    classes, table, weights = _check(y_true, proba, sample_weight)
    # Checked above, with a tolerance that float32 probabilities need.
    given = None if sample_weight is None else weights
    return float(empirical_risk(classes, table, sample_weight=given, validate=False))


def brier_score(y_true: ArrayLike, proba: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """The mean squared distance of the probabilities from what occurred.

    For two classes (p − y)² of class 1, from 0 to 1; for more the sum of that over the classes, from 0 to 2
    (Brier 1950, "Verification of forecasts expressed in terms of probability"; scikit-learn's convention).

    Parameters
    ----------
    y_true, proba, sample_weight
        As for `log_loss`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `log_loss`.

    Examples
    --------
    >>> import ermin
    >>> ermin.brier_score([0, 1], [0.5, 0.5])
    0.25
    """
    classes, table, weights = _check(y_true, proba, sample_weight)
    rows = np.arange(len(table))
    distance = table.copy()
    distance[rows, classes] -= 1.0
    score = float((weights * (distance * distance).sum(axis=1)).sum() / weights.sum())
    return score / 2 if table.shape[1] == 2 else score


class ReliabilityCurve(NamedTuple):
    """What was promised and what came, bin by bin of the promised probability; empty bins are left out.

    Attributes
    ----------
    confidence : numpy.ndarray of shape (n_bins,)
        The mean of the probabilities in a bin.
    frequency : numpy.ndarray of shape (n_bins,)
        How often the event came true there.
    weight : numpy.ndarray of shape (n_bins,)
        The rows' weights in it: their number, without sample_weight.

    Examples
    --------
    >>> import ermin
    >>> ermin.reliability_curve([0, 1, 1], [0.1, 0.1, 0.9], n_bins=2).frequency
    array([0.5, 1. ])
    """

    confidence: NDArray[np.float64]
    frequency: NDArray[np.float64]
    weight: NDArray[np.float64]


def reliability_curve(
    y_true: ArrayLike,
    proba: ArrayLike,
    *,
    n_bins: int = 10,
    strategy: str = "uniform",
    sample_weight: ArrayLike | None = None,
) -> ReliabilityCurve:
    """How often events of each promised probability came true.

    With `proba` of one dimension the event is class 1. With a column a class it is the likeliest class (Guo et al.
    2017, "On calibration of modern neural networks", section 2).

    Parameters
    ----------
    y_true, proba, sample_weight
        As for `log_loss`.
    n_bins : int, default 10
    strategy : {"uniform", "quantile"}
        Bins of equal width in [0, 1], which hold their upper end, or of about equally many rows.

    Returns
    -------
    ReliabilityCurve

    Raises
    ------
    ValueError
        As `log_loss`, or if n_bins is below 1 or there is no such strategy.

    Examples
    --------
    >>> import ermin
    >>> curve = ermin.reliability_curve([0, 1, 1, 1], [0.2, 0.3, 0.8, 1.0], n_bins=2)
    >>> curve.confidence, curve.frequency, curve.weight
    (array([0.25, 0.9 ]), array([0.5, 1. ]), array([2., 2.]))
    """
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}, but must be at least 1")
    if strategy not in ("uniform", "quantile"):
        raise ValueError(f"strategy is {strategy!r}, but must be 'uniform' or 'quantile'")
    classes, table, weights = _check(y_true, proba, sample_weight)
    if np.ndim(proba) == 1:
        promised, came = table[:, 1], classes == 1
    else:
        likeliest = table.argmax(axis=1)
        promised, came = table[np.arange(len(table)), likeliest], classes == likeliest
    edges = np.arange(1, n_bins) / n_bins
    if strategy == "quantile":
        edges = np.quantile(promised, edges)
    bins = np.searchsorted(edges, promised, side="left")
    weight = np.bincount(bins, weights, n_bins).astype(np.float64)
    used = weight > 0
    confidence = np.bincount(bins, weights * promised, n_bins)[used] / weight[used]
    frequency = np.bincount(bins, weights * came, n_bins)[used] / weight[used]
    return ReliabilityCurve(confidence, frequency, weight[used])


def expected_calibration_error(
    y_true: ArrayLike,
    proba: ArrayLike,
    *,
    n_bins: int = 10,
    strategy: str = "uniform",
    sample_weight: ArrayLike | None = None,
) -> float:
    """The mean distance of promise and frequency over the bins of `reliability_curve`, by their weight.

    Guo et al. 2017, "On calibration of modern neural networks", equation 3.

    Parameters
    ----------
    y_true, proba, n_bins, strategy, sample_weight
        As for `reliability_curve`.

    Returns
    -------
    float
        From 0 to 1. Few rows make it larger than it is: with 100 rows even a perfect model shows some hundredths.

    Raises
    ------
    ValueError
        As `reliability_curve`.

    Examples
    --------
    >>> import ermin
    >>> round(ermin.expected_calibration_error([0, 1, 1, 1], [0.2, 0.3, 0.8, 1.0], n_bins=2), 6)
    0.175
    """
    curve = reliability_curve(y_true, proba, n_bins=n_bins, strategy=strategy, sample_weight=sample_weight)
    distance = np.abs(curve.confidence - curve.frequency)
    return float((curve.weight * distance).sum() / curve.weight.sum())


def _check(
    y_true: ArrayLike, proba: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Class indices, a distribution a row, and weights, all in order; or an error that names what is not."""
    table: NDArray[Any] = _arrays.floats(proba, "proba", np.float64)
    if table.ndim not in (1, 2):
        raise ValueError(f"proba has {table.ndim} dimensions, but must have 1 or 2")
    wrong = ~((table >= 0) & (table <= 1))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"proba{list(place)} is {table[place]}, but must be from 0 to 1")
    if table.ndim == 1:
        table = np.stack([1 - table, table], axis=1)
    totals = table.sum(axis=1)
    off = np.abs(totals - 1) > _TOLERANCE
    if off.any():
        row = int(off.argmax())
        raise ValueError(f"row {row} of proba sums to {totals[row]:.9g}, but must sum to 1")
    classes = np.asarray(y_true)
    if classes.dtype.kind not in "biu":
        raise ValueError(f"y_true has dtype {classes.dtype}, but must hold class indices (whole numbers)")
    if classes.shape != (len(table),):
        raise ValueError(f"y_true has shape {classes.shape}, but proba has {len(table)} rows")
    if not len(classes):
        raise ValueError("proba has no rows, but must have at least one")
    classes = classes.astype(np.int64)
    outside = (classes < 0) | (classes >= table.shape[1])
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"y_true[{row}] is {classes[row]}, but must be a class index from 0 to {table.shape[1] - 1}"
        )
    weights = _arrays.row_weights(sample_weight, "sample_weight", len(table))
    if weights is None:
        weights = np.ones(len(table))
    elif not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError("sample_weight must be finite and at least 0, and not 0 everywhere")
    return classes, table, weights
