"""How many epochs? The risk on unseen rows by epoch, over the folds of a cross-validation.

Needs the extra ``ermin[sklearn]``. Folds are fitted through joblib, so whatever serves joblib as a backend serves here:
processes, or a Dask cluster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["EpochRisk", "cross_validate_epochs"]


@dataclass(frozen=True, eq=False)
class EpochRisk:
    """The risk by epoch, fold by fold.

    Attributes
    ----------
    risk : numpy.ndarray of shape (n_folds, n_epochs)
        The mean loss on a fold's own rows, after training on the others; infinite after a fold has diverged.
    training_risk : numpy.ndarray of shape (n_folds, n_epochs)
        The mean training loss, without the penalty.
    mean, standard_error : numpy.ndarray of shape (n_epochs,)
        Of the risk over the folds; the error is NaN for one fold.
    best_epoch : int
        From 1: the least mean; of equal ones the first. 0 if every epoch diverged somewhere.

    Examples
    --------
    >>> import numpy as np
    >>> from ermin.cross_validation import EpochRisk
    >>> EpochRisk(np.array([[3.0, 1.0, 2.0], [3.0, 2.0, 2.5]]), np.ones((2, 3))).best_epoch
    2
    """

    risk: NDArray[np.float64]
    training_risk: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean risk over the folds, by epoch."""
        mean: NDArray[np.float64] = self.risk.sum(axis=0) / len(self.risk)
        return mean

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """The standard error of the mean, by epoch."""
        n = len(self.risk)
        finite = np.asarray(np.isfinite(self.risk).all(axis=0))
        if n < 2:
            return np.full(len(finite), math.nan)
        distance = np.where(finite, self.risk, 0.0) - np.where(finite, self.mean, 0.0)
        with np.errstate(over="ignore"):  # a fold on its way to divergence
            error: NDArray[np.float64] = np.sqrt((distance * distance).sum(axis=0) / (n - 1) / n)
        return np.where(finite, error, math.inf)

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, with the least mean risk."""
        best = int(self.mean.argmin())
        return best + 1 if math.isfinite(self.mean[best]) else 0

    def plot(self, ax: Any = None) -> Any:
        """Draw the mean risk by epoch with its band (needs the extra ``ermin[plot]``).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        LearningCurveDisplay
        """
        from ermin.displays import LearningCurveDisplay

        return LearningCurveDisplay.from_cross_validation(self, ax=ax)


def cross_validate_epochs(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    cv: Any = None,
    *,
    groups: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> EpochRisk:
    """Train on each fold's other rows for `max_iter` epochs, and judge every epoch on the fold's own.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or a Pipeline that ends in one
        Cloned for each fold. Nothing stops its runs: tol, n_iter_no_change, early_stopping, scoring and refit don't
        count.
    X : array-like or sparse matrix of shape (n_rows, n_features)
    y : array-like
        As for the estimator's `fit`.
    cv : int, splitter, iterable of (rows, rows) or None, default None
        As in scikit-learn: None is 5 folds, by class for a classifier.
    groups : array-like of shape (n_rows,), optional
        For splitters that need them.
    sample_weight : array-like of shape (n_rows,), optional
        In training and in the risk.
    n_jobs : int, default None
        Folds at a time, through joblib: None is 1, or what the active ``joblib.parallel_config`` says. With
        ``parallel_config("dask")`` a Dask cluster does the work. No bit depends on it.

    Returns
    -------
    EpochRisk

    Raises
    ------
    ValueError
        If the estimator's solver is lbfgs, which has no epochs, or as its `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> import ermin
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = (X[:, 0] * X[:, 1] + 0.5 * rng.normal(size=200) > 0).astype(int)
    >>> model = ermin.MLPClassifier((32,), learning_rate_init=0.02, max_iter=60, random_state=0)
    >>> risk = ermin.cross_validate_epochs(model, X, y, cv=5)
    >>> risk.risk.shape, 1 < risk.best_epoch < 60
    ((5, 60), True)
    >>> model = model.set_params(max_iter=risk.best_epoch, n_iter_no_change=np.inf)  # then fit it to all rows
    """
    try:
        from sklearn.base import is_classifier
        from sklearn.model_selection import check_cv
        from sklearn.utils import indexable
        from sklearn.utils.parallel import Parallel, delayed
    except ImportError:
        raise ImportError('cross_validate_epochs needs scikit-learn: pip install "ermin[sklearn]"') from None
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    if getattr(last, "solver", "sgd") == "lbfgs":
        raise ValueError("estimator has the solver 'lbfgs', which has no epochs; it must be 'sgd' or 'adam'")
    X, y, groups, sample_weight = indexable(X, y, groups, sample_weight)
    folds = check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups)
    curves = Parallel(n_jobs=n_jobs)(
        delayed(_curves)(estimator, X, y, sample_weight, training, held_back) for training, held_back in folds
    )
    n_epochs = max(len(loss) for _, loss in curves)

    def table(part: int) -> NDArray[np.float64]:
        rows = np.full((len(curves), n_epochs), math.inf)
        for row, curve in zip(rows, curves, strict=True):
            row[: len(curve[part])] = np.where(np.isfinite(curve[part]), curve[part], math.inf)
        return rows

    return EpochRisk(risk=table(1), training_risk=table(0))


def _curves(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    training: NDArray[np.intp],
    held_back: NDArray[np.intp],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One fold: training loss and risk by epoch."""
    import warnings

    from sklearn.base import clone
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import _safe_indexing

    X_train, X_val = (_safe_indexing(X, rows) for rows in (training, held_back))
    y_train, y_val = (_safe_indexing(y, rows) for rows in (training, held_back))
    weights: dict[str, Any] = {}
    if sample_weight is not None:
        weights["sample_weight"] = _safe_indexing(sample_weight, training)
        weights["sample_weight_val"] = _safe_indexing(sample_weight, held_back)
    model = clone(estimator)
    if hasattr(model, "steps"):
        head, model = model[:-1], model.steps[-1][1]
        X_train = head.fit_transform(X_train, y_train)
        X_val = head.transform(X_val)
    model.set_params(early_stopping=False, scoring="loss", refit=False, tol=0.0, n_iter_no_change=math.inf)
    with warnings.catch_warnings():
        # Every run ends at max_iter, or diverges, which the risk shows.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        history = model.fit(X_train, y_train, X_val=X_val, y_val=y_val, **weights).history_
    return history.loss, history.validation_loss
