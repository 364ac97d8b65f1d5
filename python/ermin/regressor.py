"""Numbers, their spread and their quantiles, learned in scikit-learn's manner.

Needs the extra ``ermin[sklearn]``. Parameters, attributes and behaviour are those of
``sklearn.neural_network.MLPRegressor``; docs/coming-from-scikit-learn.md says what is more and what differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ermin import losses
from ermin.distributions import evaluate
from ermin.losses import Huber, Quantile
from ermin.perceptron import Perceptron, is_stochastic
from ermin.solvers import Judged

# Last, so that a missing scikit-learn is told of by ermin.perceptron.
from sklearn.base import RegressorMixin  # isort: skip
from sklearn.utils import column_or_1d  # isort: skip
from sklearn.utils._param_validation import StrOptions  # isort: skip
from sklearn.utils.metaestimators import available_if  # isort: skip
from sklearn.utils.validation import validate_data  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ermin.history import EpochState
    from ermin.network import Table
    from ermin.samples import Sample

__all__ = ["MLPRegressor"]


class MLPRegressor(RegressorMixin, Perceptron):  # type: ignore[misc]  # scikit-learn has no types
    """A multi-layer perceptron for numbers.

    Parameters
    ----------
    loss : str, Huber or Quantile, default "squared_error"
        "squared_error" is ½·(p − y)²; "poisson", half the deviance, makes predictions positive; "huber" and "quantile"
        as in `Huber` and `Quantile`; "gaussian_nll" learns a mean and a variance for each target.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter
        As for `MLPClassifier`.
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction
        As for `MLPClassifier`.
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun, refit, weight_decay, dropout, mixup_alpha, callbacks
        As for `MLPClassifier`.
    dtype, n_jobs
        As for `MLPClassifier`.
    scoring : "loss", str, callable or None, default "loss"
        As for `MLPClassifier`; None is R².

    Attributes
    ----------
    coefs_, intercepts_, loss_, loss_curve_, best_loss_, validation_loss_curve_, validation_scores_
        As for `MLPClassifier`; squared error is divided by the number of targets in what is reported.
    best_validation_score_, best_epoch_, history_, converged_, n_iter_, t_, n_layers_, n_features_in_
        As for `MLPClassifier`.
    n_outputs_ : int
        Targets.
    out_activation_ : {"identity", "exp"}

    Examples
    --------
    >>> import numpy as np
    >>> import ermin
    >>> from ermin import MLPRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-3, 3, size=(400, 1))
    >>> y = np.sin(X[:, 0]) + rng.normal(scale=0.1 + 0.1 * (X[:, 0] > 0), size=400)
    >>> fast = {"learning_rate_init": 0.02, "early_stopping": True, "n_iter_no_change": 30, "random_state": 0}
    >>> model = MLPRegressor(activation="tanh", **fast).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True

    An interval that holds nine of ten targets, from two quantiles:

    >>> low, high = (
    ...     MLPRegressor(ermin.Quantile(q), (32,), "tanh", **fast).fit(X, y).predict(X) for q in (0.05, 0.95)
    ... )
    >>> bool(0.8 < ((low < y) & (y < high)).mean() < 0.97)
    True

    A standard deviation that depends on x:

    >>> model = MLPRegressor("gaussian_nll", (32,), "tanh", **fast).fit(X, y)
    >>> mean, deviation = model.predict([[-2.0], [2.0]], return_std=True)
    >>> bool(deviation[0] < deviation[1])
    True

    Outliers that pull with a bounded force:

    >>> model = MLPRegressor(ermin.Huber(delta=0.3), **fast).fit(X, y)
    """

    _file_kind = "regressor"
    _parameter_constraints = {  # noqa: RUF012  # scikit-learn's name and form
        **Perceptron._parameter_constraints,
        "loss": [
            StrOptions({"squared_error", "poisson", "huber", "quantile", "gaussian_nll"}),
            Huber,
            Quantile,
        ],
    }

    def __init__(
        self,
        loss: losses.Loss = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        scoring: str | Callable[..., float] | None = "loss",
        refit: bool = False,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        mixup_alpha: float = 0.0,
        callbacks: Sequence[Callable[[EpochState], object]] | None = None,
        dtype: str = "auto",
        n_jobs: int | None = None,
    ) -> None:
        self._keep(locals())

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train on X and y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
        sample_weight, X_val, y_val, sample_weight_val : optional
            As for `MLPClassifier.fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `MLPClassifier.fit`, or if a target of "poisson" is negative.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(is_stochastic)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch. k calls with the same rows equal ``fit`` with ``max_iter=k``, bit for bit.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As for `fit`. With `early_stopping` and without X_val a part of X is held back.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=True)

    def _check(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _learn(self, y: Any, *, first: bool, incremental: bool) -> None:
        n_targets = 1 if y.ndim == 1 else y.shape[1]
        if not first and n_targets != self.n_outputs_:
            raise ValueError(f"y has {n_targets} columns, but the network has learned {self.n_outputs_}")
        if first:
            self.n_outputs_ = n_targets
            self.n_layers_ = 2 + np.size(self.hidden_layer_sizes)
            self.out_activation_ = "exp" if self.loss == "poisson" else "identity"

    def _n_units(self) -> int:
        return 2 * self.n_outputs_ if self.loss == "gaussian_nll" else self.n_outputs_

    def _encode(self, y: Any, dtype: Any) -> NDArray[Any]:
        return np.ascontiguousarray(y.reshape(len(y), -1), dtype=dtype)

    def _loss(self) -> tuple[str, float]:
        return losses.native(self.loss)

    def _judged(self, table: Table) -> Judged:
        """Squared error is a mean over the targets; poisson is half the deviance: y·ln y − y is added."""
        _, targets, weights, numbers = table
        if self.loss == "squared_error":
            return Judged(table, 1.0 / self.n_outputs_)
        if self.loss != "poisson":
            return Judged(table)
        y = (targets if numbers is None else targets[numbers]).astype(np.float64)
        weights = np.ones(len(targets)) if weights is None else weights
        weights = weights if numbers is None else weights[numbers]
        terms = np.where(y > 0, y * evaluate("ln", np.where(y > 0, y, 1.0)) - y, 0.0)
        return Judged(table, constant=float((weights * terms.sum(axis=1)).sum() / weights.sum()))

    def _default_score(self, sample: Sample) -> float:
        from sklearn.metrics import r2_score

        predicted = self._of_outputs(self._outputs_of(sample.checked, logits=False))
        return float(r2_score(sample.y, predicted, sample_weight=sample.weights))

    def _of_outputs(self, outputs: NDArray[Any]) -> NDArray[Any]:
        values = outputs[:, : self.n_outputs_]
        return np.ascontiguousarray(values[:, 0] if self.n_outputs_ == 1 else values)

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """The number, or the mean, for each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)
        return_std : bool, default False
            With loss "gaussian_nll" also the standard deviation.

        Returns
        -------
        numpy.ndarray of shape (n_rows,) or (n_rows, n_targets), or two of them

        Raises
        ------
        ValueError
            If a standard deviation is wanted of another loss.
        """
        outputs = self._outputs(X, logits=False)
        if not return_std:
            return self._of_outputs(outputs)
        if self.loss != "gaussian_nll":
            raise ValueError(f"return_std=True needs loss 'gaussian_nll', but loss is {self.loss!r}")
        deviation = evaluate("exp", outputs[:, self.n_outputs_ :] * outputs.dtype.type(0.5))
        return self._of_outputs(outputs), self._of_outputs(deviation)
