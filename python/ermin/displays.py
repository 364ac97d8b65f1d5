"""Pictures as objects in scikit-learn's manner: made from an estimator or from predictions, drawn by ``plot``.

Needs the extra ``ermin[plot]``. What is drawn stands in `ermin.plots`; a display keeps the numbers beside the picture.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ermin import metrics, plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from ermin.cross_validation import EpochRisk
    from ermin.history import History
    from ermin.metrics import ReliabilityCurve

__all__ = ["CoinDisplay", "LearningCurveDisplay", "ReliabilityDisplay"]


class LearningCurveDisplay:
    """Training and validation loss by epoch, with the best epoch marked.

    Parameters
    ----------
    history : History
        Of one run, or the means over several.
    standard_error : array-like of shape (n_epochs,), optional
        Drawn as a band around the validation loss.

    Attributes
    ----------
    history, standard_error
        As given.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP([1, 1], rng=0)
    >>> history = ermin.fit(net, [[0.0], [1.0]], [0.0, 1.0], epochs=3, rng=0)
    >>> display = ermin.LearningCurveDisplay.from_history(history)
    >>> display.ax_.get_xlabel()
    'epoch'
    """

    ax_: Axes
    figure_: Figure

    def __init__(self, history: History, *, standard_error: ArrayLike | None = None) -> None:
        self.history = history
        self.standard_error = None if standard_error is None else np.asarray(standard_error, dtype=float)

    @classmethod
    def from_history(cls, history: History, *, ax: Axes | None = None) -> Self:
        """The run that `ermin.fit` returned.

        Parameters
        ----------
        history : History
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        LearningCurveDisplay
        """
        return cls(history).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Axes | None = None) -> Self:
        """The run of a fitted estimator, or of the last step of a fitted pipeline.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor, or a Pipeline that ends in one
            Fitted with solver sgd or adam.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        LearningCurveDisplay

        Raises
        ------
        ValueError
            If the estimator is not fitted, or not epoch by epoch.
        """
        last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        if not hasattr(last, "history_"):
            raise ValueError(
                f"estimator is {last}, but must have been fitted epoch by epoch (solver sgd or adam)"
            )
        return cls(last.history_).plot(ax)

    @classmethod
    def from_cross_validation(cls, risk: EpochRisk, *, ax: Axes | None = None) -> Self:
        """The mean risk over the folds, with a band of one standard error.

        Parameters
        ----------
        risk : EpochRisk
            What `cross_validate_epochs` returned.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        LearningCurveDisplay
        """
        from ermin.history import History

        n_epochs = len(risk.mean)
        nothing = np.full(n_epochs, math.nan)
        training = risk.training_risk.sum(axis=0) / len(risk.training_risk)
        history = History(training, risk.mean, nothing, nothing, risk.best_epoch, "epochs")
        return cls(history, standard_error=risk.standard_error).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        LearningCurveDisplay
            Itself.
        """
        self.ax_ = plots.plot_learning_curve(self.history, ax, self.standard_error)
        self.figure_ = self.ax_.figure  # type: ignore[assignment]  # a subfigure will do as well
        return self


class ReliabilityDisplay:
    """How often the events of each promised probability came true; honest ones lie on the diagonal.

    Parameters
    ----------
    y_true : array-like of int or bool, of shape (n_rows,)
        Class indices.
    proba : array-like of shape (n_rows, n_classes), or (n_rows,) for the probability of class 1 of two
    n_bins : int, default 10
    strategy : {"uniform", "quantile"}
        As for `ermin.reliability_curve`.

    Attributes
    ----------
    curve : ReliabilityCurve
    expected_calibration_error : float
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import ermin
    >>> display = ermin.ReliabilityDisplay.from_predictions([0, 1, 1, 1], [0.2, 0.3, 0.8, 1.0], n_bins=2)
    >>> round(display.expected_calibration_error, 6)
    0.175
    """

    curve: ReliabilityCurve
    ax_: Axes
    figure_: Figure

    def __init__(
        self, y_true: ArrayLike, proba: ArrayLike, *, n_bins: int = 10, strategy: str = "uniform"
    ) -> None:
        self.y_true, self.proba, self.n_bins, self.strategy = y_true, proba, n_bins, strategy
        self.curve = metrics.reliability_curve(y_true, proba, n_bins=n_bins, strategy=strategy)
        self.expected_calibration_error = metrics.expected_calibration_error(
            y_true, proba, n_bins=n_bins, strategy=strategy
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        proba: ArrayLike,
        *,
        n_bins: int = 10,
        strategy: str = "uniform",
        ax: Axes | None = None,
    ) -> Self:
        """Of probabilities that are there already.

        Parameters
        ----------
        y_true, proba, n_bins, strategy
            As for the class.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        ReliabilityDisplay
        """
        return cls(y_true, proba, n_bins=n_bins, strategy=strategy).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        n_bins: int = 10,
        strategy: str = "uniform",
        ax: Axes | None = None,
    ) -> Self:
        """Of any fitted classifier's probabilities for rows it has not seen.

        Parameters
        ----------
        estimator : classifier
            With ``predict_proba`` and ``classes_``: ermin's or scikit-learn's.
        X : array-like of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            Classes. Of two classes the second is the event; of several the likeliest.
        n_bins, strategy
            As for the class.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        ReliabilityDisplay

        Raises
        ------
        ValueError
            If y has classes that the estimator has not learned.
        """
        classes = np.asarray(estimator.classes_)
        labels = np.asarray(y)
        places = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        unknown = classes[places] != labels
        if unknown.any():
            raise ValueError(
                f"y holds {str(labels[unknown][0])!r}, which is none of the estimator's classes_ {classes}"
            )
        proba = estimator.predict_proba(X)
        if len(classes) == 2:
            proba = proba[:, 1]
        return cls(places, proba, n_bins=n_bins, strategy=strategy).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        ReliabilityDisplay
            Itself.
        """
        self.ax_ = plots.plot_reliability(
            self.y_true, self.proba, ax, n_bins=self.n_bins, strategy=self.strategy
        )
        self.figure_ = self.ax_.figure  # type: ignore[assignment]  # a subfigure will do as well
        return self


class CoinDisplay:
    """A coin's P~ as the tosses come in, and how its error falls with their number.

    Parameters
    ----------
    p : float
        P(heads).
    tosses : array-like of shape (n,)
        0 and 1.
    interval : (float, float)
        Around the last P~.
    n_tosses, errors : sequence of int and array-like of float, of shape (n_sizes,)
        Numbers of tosses, and the root mean square of P~ − P with so many.

    Attributes
    ----------
    p, tosses, interval, n_tosses, errors
        As given.
    axes_ : tuple of matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> import ermin
    >>> display = ermin.CoinDisplay.from_tosses(0.5, [0, 1, 1, 0, 1, 0, 0, 0])
    >>> display.n_tosses, display.errors.round(3).tolist()
    ([1, 2, 4], [0.5, 0.25, 0.177])
    """

    axes_: tuple[Axes, ...]
    figure_: Figure

    def __init__(
        self,
        p: float,
        tosses: ArrayLike,
        *,
        interval: tuple[float, float],
        n_tosses: list[int],
        errors: NDArray[np.float64],
    ) -> None:
        self.p, self.tosses, self.interval = float(p), np.asarray(tosses), interval
        self.n_tosses, self.errors = n_tosses, errors

    @classmethod
    def from_tosses(cls, p: float, tosses: ArrayLike) -> Self:
        """Of tosses that are there already: pieces of 1, 2, 4, … of them show the error.

        Parameters
        ----------
        p : float
            P(heads), from 0 to 1.
        tosses : array-like of shape (n,)
            At least one; 0 and 1.

        Returns
        -------
        CoinDisplay

        Raises
        ------
        ValueError
            If a number is out of range.
        """
        from ermin import Bernoulli

        seen = np.asarray(tosses)
        Bernoulli(p)  # says so where it is no probability
        low, high = Bernoulli.fit(seen).interval(0.95)
        sizes = [2**i for i in range(max(1, len(seen).bit_length() - 1)) if 2**i <= max(1, len(seen) // 2)]
        errors = []
        for size in sizes:
            whole = len(seen) // size * size
            distance = seen[:whole].reshape(-1, size).sum(axis=1) / size - p
            errors.append(math.sqrt((distance * distance).sum() / len(distance)))
        display = cls(p, seen, interval=(float(low), float(high)), n_tosses=sizes, errors=np.array(errors))
        return display.plot()

    @classmethod
    def from_coin(cls, p: float, n: int = 1000, *, seed: int = 0) -> Self:
        """Of a coin that is tossed n times, and many times over with other numbers of tosses.

        Parameters
        ----------
        p : float
            P(heads), from 0 to 1.
        n : int, default 1000
        seed : int, default 0

        Returns
        -------
        CoinDisplay
        """
        from ermin.coin import toss

        story = toss(p, n, seed)
        display = cls(
            p, story.tosses, interval=story.interval, n_tosses=list(story.n_tosses), errors=story.errors
        )
        return display.plot()

    def plot(self) -> Self:
        """Draw on a new figure.

        Returns
        -------
        CoinDisplay
            Itself.
        """
        self.figure_ = plots.plot_coin(self.p, self.tosses, self.interval, self.n_tosses, self.errors)
        self.axes_ = tuple(self.figure_.axes)
        return self
