"""Pictures: learning curves, reliability diagrams, predictions of a number, and the coin.

Needs the extra ``ermin[plot]``. Only Matplotlib's figure objects are used, never `pyplot`: no global state is changed
and nothing is shown. A function that is given no axes draws on a figure of its own, ``ax.figure``, which
``ax.figure.savefig(path)`` writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ermin.metrics import expected_calibration_error, reliability_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from ermin.history import History

__all__ = ["plot_coin", "plot_fit", "plot_learning_curve", "plot_predictions", "plot_reliability"]

# Blue and orange are told apart by nearly everybody, and in grey (Okabe and Ito 2008, "Color universal design").
_BLUE, _ORANGE, _GREEN, _INK, _GREY = "#0072b2", "#d55e00", "#009e73", "#333333", "#9a9a9a"
_MANY_POINTS = 2000
"""Of more points than this a scatter shows so many, evenly spaced."""


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "ermin[plot]"') from None
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _dress(ax: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """The same quiet frame for every picture."""
    ax.set_title(title, loc="left", color=_INK, fontsize=11, pad=10)
    ax.set_xlabel(xlabel, color=_INK)
    ax.set_ylabel(ylabel, color=_INK)
    ax.tick_params(colors=_INK, labelsize=9)
    ax.grid(color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(facecolor="white", framealpha=0.9, edgecolor="none", labelcolor=_INK, fontsize=9)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(_GREY)


def plot_learning_curve(
    history: History, ax: Axes | None = None, standard_error: NDArray[np.float64] | None = None
) -> Axes:
    """Both losses by epoch, with the best epoch marked.

    Parameters
    ----------
    history : History
        What `ermin.fit` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.
    standard_error : numpy.ndarray of shape (n_epochs,), optional
        Of the validation loss: a band around it.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import ermin
    >>> from ermin.plots import plot_learning_curve
    >>> net = ermin.MLP([1, 1], rng=0)
    >>> history = ermin.fit(net, [[0.0], [1.0]], [0.0, 1.0], epochs=3, rng=0)
    >>> plot_learning_curve(history).get_xlabel()
    'epoch'
    """
    ax = _figure(6, 4).subplots() if ax is None else ax
    epochs = np.arange(1, len(history.loss) + 1)
    curves = [("training", history.loss, _BLUE)]
    judged = history.loss
    if np.isfinite(history.validation_loss).any():
        curves.append(("validation", history.validation_loss, _ORANGE))
        judged = history.validation_loss
    marker = "o" if len(epochs) == 1 else None
    for name, curve, colour in curves:
        ax.plot(epochs, curve, color=colour, linewidth=1.8, label=name, marker=marker)
    if standard_error is not None and np.isfinite(standard_error).any():
        low, high = judged - standard_error, judged + standard_error
        ax.fill_between(
            epochs, low, high, color=_ORANGE, alpha=0.18, linewidth=0, label="± one standard error", zorder=1
        )
    if history.best_epoch:
        least = judged[history.best_epoch - 1]
        ax.axvline(history.best_epoch, color=_GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        ax.plot(
            [history.best_epoch], [least], "o", color=curves[-1][2], markeredgecolor="white", markersize=8, zorder=4,
            label=f"best epoch: {history.best_epoch}, loss {least:.4g}",
        )  # fmt: skip
    finite = np.concatenate([curve[np.isfinite(curve)] for _, curve, _ in curves])
    if len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min():
        ax.set_yscale("log")
    _dress(ax, "Learning curves", "epoch", "loss")
    ax.margins(x=0.02)
    return ax


def plot_reliability(
    y_true: ArrayLike,
    proba: ArrayLike,
    ax: Axes | None = None,
    *,
    n_bins: int = 10,
    strategy: str = "uniform",
) -> Axes:
    """How often the events of each promised probability came true; honest ones lie on the diagonal.

    The number beside a dot says how many rows it stands for; the grey bar is two standard errors around the promise.

    Parameters
    ----------
    y_true, proba, n_bins, strategy
        As for `ermin.reliability_curve`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from ermin.plots import plot_reliability
    >>> plot_reliability([0, 1, 1, 1], [0.2, 0.3, 0.8, 1.0]).get_ylabel()
    'how often class 1 came'
    """
    ax = _figure(4.6, 4.4).subplots() if ax is None else ax
    curve = reliability_curve(y_true, proba, n_bins=n_bins, strategy=strategy)
    error = expected_calibration_error(y_true, proba, n_bins=n_bins, strategy=strategy)
    ax.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=(0, (4, 3)), label="promise kept", zorder=1)
    deviation = np.sqrt(curve.confidence * (1 - curve.confidence) / curve.weight)
    low = np.clip(curve.confidence - 2 * deviation, 0, 1)
    high = np.clip(curve.confidence + 2 * deviation, 0, 1)
    ax.vlines(
        curve.confidence,
        low,
        high,
        color="#d9d9d9",
        linewidth=5,
        zorder=1,
        label="where chance would put it (95 %)",
    )
    ax.plot(curve.confidence, curve.frequency, color=_BLUE, linewidth=1.2, alpha=0.5, zorder=2)
    area = 25 + 250 * curve.weight / curve.weight.sum()
    ax.scatter(
        curve.confidence, curve.frequency, s=area, color=_BLUE, edgecolor="white", linewidth=1, zorder=3
    )
    for x, y, weight, size in zip(*curve, np.sqrt(area), strict=True):
        ax.annotate(
            f"{weight:,.0f}", (x, y), xytext=(0.35 * size + 2, -0.35 * size - 2), textcoords="offset points", va="top",
            fontsize=8, color=_INK,
        )  # fmt: skip
    class_one = np.ndim(proba) == 1
    _dress(
        ax,
        f"Reliability (calibration error {error:.3f})",
        "promised probability" + (" of class 1" if class_one else " of the likeliest class"),
        "how often class 1 came" if class_one else "how often it was right",
    )
    ax.set_xlim(-0.05, 1.13)
    ax.set_ylim(-0.05, 1.05)
    return ax


def plot_predictions(y_true: ArrayLike, predictions: ArrayLike, ax: Axes | None = None) -> Axes:
    """Predicted numbers against true ones.

    Parameters
    ----------
    y_true, predictions : array-like of shape (n_rows,)
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from ermin.plots import plot_predictions
    >>> plot_predictions([1.0, 2.0, 3.0], [1.1, 1.9, 3.2]).get_ylabel()
    'true'
    """
    ax = _figure(4.6, 4.4).subplots() if ax is None else ax
    truth, predicted = np.asarray(y_true, dtype=float), np.asarray(predictions, dtype=float)
    shown = slice(None, None, max(1, len(truth) // _MANY_POINTS))
    ax.scatter(predicted[shown], truth[shown], s=12, color=_BLUE, alpha=0.35, linewidth=0, zorder=2)
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    ax.plot(ends, ends, color=_GREY, linewidth=1, linestyle=(0, (4, 3)), label="exact", zorder=3)
    error = np.sqrt(np.mean((truth - predicted) ** 2))
    _dress(ax, f"Predictions (RMSE {error:.4g})", "predicted", "true")
    return ax


def plot_fit(history: History, y_true: ArrayLike, predicted: ArrayLike, *, part: str = "test rows") -> Figure:
    """Learning curves beside the reliability diagram of probabilities, or the scatter of predicted numbers.

    Parameters
    ----------
    history : History
    y_true : array-like of shape (n_rows,)
        Class indices, or numbers.
    predicted : array-like
        Probabilities of shape (n_rows, n_classes), or numbers of shape (n_rows,).
    part : str
        Which rows they are, for the title.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import ermin
    >>> from ermin.plots import plot_fit
    >>> net = ermin.MLP([1, 1], rng=0)
    >>> history = ermin.fit(net, [[0.0], [1.0]], [0.0, 1.0], epochs=3, rng=0)
    >>> len(plot_fit(history, [0.0, 1.0], net.predict([[0.0], [1.0]])[:, 0]).axes)
    2
    """
    figure = _figure(10.5, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    plot_learning_curve(history, left)
    draw = plot_reliability if np.ndim(predicted) == 2 else plot_predictions
    draw(y_true, predicted, right)
    title = right.get_title(loc="left").replace(" (", f" on the {part} (", 1)
    right.set_title(title, loc="left", color=_INK, fontsize=11, pad=10)
    return figure


def plot_coin(
    p: float, tosses: ArrayLike, interval: tuple[float, float], n_tosses: Sequence[int], errors: NDArray[Any]
) -> Figure:
    """A coin's P~ as the tosses come in, and how its error falls with their number.

    Parameters
    ----------
    p : float
        The coin's probability of heads.
    tosses : array-like of shape (n,)
        0 and 1.
    interval : (float, float)
        Around the last P~.
    n_tosses, errors : sequence of int and array of float, of shape (n_sizes,)
        Numbers of tosses, and the root mean square of P~ − P over many repetitions of each.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from ermin.plots import plot_coin
    >>> len(plot_coin(0.5, [0, 1, 1, 0], (0.15, 0.85), [1, 4, 16], [0.5, 0.25, 0.125]).axes)
    2
    """
    figure = _figure(10.5, 4.4)
    left, right = figure.subplots(1, 2)
    x = np.asarray(tosses, dtype=float)
    n = np.arange(1, len(x) + 1)
    estimate = np.cumsum(x) / n
    width = 1.96 * np.sqrt(p * (1 - p) / n)
    left.fill_between(
        n, np.clip(p - width, 0, 1), np.clip(p + width, 0, 1), color=_ORANGE, alpha=0.12, linewidth=0,
        label="where 95 % of P~ fall",
    )  # fmt: skip
    left.axhline(p, color=_ORANGE, linewidth=1.5, label=f"P(heads) = {p:g}")
    left.plot(
        n, estimate, color=_BLUE, linewidth=1.8, label="P~(heads) so far", marker="o" if len(n) == 1 else None
    )
    middle = [[estimate[-1] - interval[0]], [interval[1] - estimate[-1]]]
    left.errorbar(
        [n[-1]], [estimate[-1]], yerr=np.clip(middle, 0, 1), color=_BLUE, marker="o", markeredgecolor="white",
        markersize=8, capsize=4, linewidth=1.5, zorder=4, label=f"P~(heads) = {estimate[-1]:.4g} and its 95 % interval",
    )  # fmt: skip
    if len(n) > 1:
        left.set_xscale("log")
    left.set_ylim(-0.02, 1.02)
    _dress(left, "P~ as the tosses come in", "tosses", "probability of heads")

    sizes = np.asarray(n_tosses, dtype=float)
    right.plot(sizes, np.sqrt(p * (1 - p) / sizes), color=_ORANGE, linewidth=1.5, label="√(p(1 − p)/n)")
    right.plot(
        sizes,
        errors,
        "o",
        color=_BLUE,
        markeredgecolor="white",
        markersize=8,
        label="P~ − P, root mean square",
    )
    right.set_xscale("log")
    if 0 < p < 1:
        right.set_yscale("log")
    _dress(right, "P~ approaches P as 1/√n", "tosses n", "error of P~(heads)")
    return figure
