"""Classes, labels and distributions over classes, learned in scikit-learn's manner.

Needs the extra ``ermin[sklearn]``. Parameters, attributes and behaviour are those of
``sklearn.neural_network.MLPClassifier``; docs/coming-from-scikit-learn.md says what is more and what differs.
"""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ermin._arrays import check_number
from ermin.distributions import evaluate
from ermin.perceptron import Perceptron, is_stochastic

# Last, so that a missing scikit-learn is told of by ermin.perceptron.
from sklearn.base import ClassifierMixin  # isort: skip
from sklearn.utils import column_or_1d  # isort: skip
from sklearn.utils._param_validation import Interval, StrOptions  # isort: skip
from sklearn.utils.metaestimators import available_if  # isort: skip
from sklearn.utils.multiclass import (  # isort: skip
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import check_is_fitted, validate_data  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ermin.history import EpochState
    from ermin.samples import Sample

__all__ = ["MLPClassifier"]

_MARGIN_LOSSES = ("hinge", "perceptron")


def _gives_probabilities(estimator: MLPClassifier) -> bool:
    if estimator.loss in _MARGIN_LOSSES:
        raise AttributeError(f"probabilities are not available for loss={estimator.loss!r}")
    return True


def _labels(y: NDArray[Any]) -> NDArray[Any]:
    """The classes in y, in order, or scikit-learn's words about what are none."""
    if y.dtype.kind in "biuSU":
        labels = np.unique(y)
        if 2 * len(labels) < len(y):  # discrete beyond doubt
            return labels
    check_classification_targets(y)
    classes: NDArray[Any] = unique_labels(y)
    return classes


class MLPClassifier(ClassifierMixin, Perceptron):  # type: ignore[misc]  # scikit-learn has no types
    """A multi-layer perceptron for classes, labels and distributions over classes.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        The widths of the hidden layers; () makes a logistic regression.
    activation : str, default "relu"
        After each hidden layer: identity, logistic (or sigmoid), tanh, relu, leaky_relu, elu, selu, gelu, silu, mish or
        softplus.
    solver : {"lbfgs", "sgd", "adam"}, default "adam"
        L-BFGS (by SciPy, all rows at once), stochastic gradient descent, or Adam. L-BFGS knows no epochs: dropout,
        label_smoothing, mixup_alpha, weight_decay and callbacks are refused with it, and early_stopping does nothing,
        as in scikit-learn.
    alpha : float, default 1e-4
        Adds ½·alpha·Σ w²/Σ(weights of the batch) to the loss.
    batch_size : int or "auto", default "auto"
        Rows a step; "auto" is 200, or all where there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        For sgd. "invscaling" is learning_rate_init/(t + 1)^power_t after t rows; "adaptive" falls to a fifth whenever
        the run would stop for want of progress, until it is 1e-6.
    learning_rate_init : float, default 1e-3
    power_t : float, default 0.5
    max_iter : int, default 200
        The most epochs, or iterations of L-BFGS.
    shuffle : bool, default True
        Visit the rows in a new order every epoch.
    random_state : int, RandomState or None, default None
        The same int gives the same bits on every machine. None takes the system's entropy, never NumPy's global state.
    tol : float, default 1e-4
        What counts as progress.
    verbose : bool or int, default False
    warm_start : bool, default False
        `fit` continues from the parameters there are.
    momentum : float, default 0.9
        For sgd.
    nesterovs_momentum : bool, default True
        For sgd.
    early_stopping : bool, default False
        Hold back rows (or use X_val), stop when `scoring` makes no progress, keep the best epoch's parameters.
    validation_fraction : float, default 0.1
        Of the rows, drawn by class.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999 and 1e-8
        For adam; epsilon is added after the bias correction, as in the paper.
    n_iter_no_change : int or numpy.inf, default 10
        The run stops when more epochs than this in a row made no progress.
    max_fun : int, default 15000
        The most evaluations of L-BFGS.
    loss : {"log_loss", "kl", "squared_error", "hinge", "perceptron"}, default "log_loss"
        "kl" is the divergence KL(q ‖ p), which for classes is the log-loss and for distributions less by their entropy;
        "squared_error" is the Brier score's half; with "hinge" and "perceptron" there are no probabilities.
    class_weight : dict, "balanced" or None, default None
        Factors of the rows' weights by class; "balanced" is n_rows/(n_classes·rows of the class).
    scoring : "loss", str, callable or None, default "loss"
        What the best epoch is the best in: the validation loss, a scorer of scikit-learn's, or for None the accuracy.
        Of equal ones the earlier epoch.
    refit : bool, default False
        After validation, `fit` trains again on all rows for the best number of epochs.
    weight_decay : float, default 0
        Decoupled: weights shrink by learning rate × weight_decay of themselves a step.
    dropout : float, default 0
        The share of each hidden layer's outputs that a training step leaves out.
    label_smoothing : float, default 0
        ε, from 0 to 1: a target q over k classes becomes (1 − ε)·q + ε/k, a label y becomes (1 − ε)·y + ε/2.
    mixup_alpha : float, default 0
        Greater than 0: rows of a batch are mixed with others of it, λ to 1 − λ, with λ from Beta(alpha, alpha).
    callbacks : sequence of callable, default None
        Each is called after every epoch with an `EpochState`; one that returns "stop" ends the run.
    dtype : {"auto", "float32", "float64"}, default "auto"
        Of parameters and computation; "auto" is that of X if it is one of these, else float64. float32 is about twice
        as fast.
    n_jobs : int, default None
        Threads: None for as many as this process may use, where it pays, but one inside workers of joblib and
        multiprocessing; −1 for all. No bit depends on it.

    Attributes
    ----------
    classes_ : numpy.ndarray of shape (n_classes,)
    coefs_, intercepts_ : list of numpy.ndarray
        Of shapes (inputs, outputs) and (outputs,), by layer.
    loss_ : float
        The latest training loss, with its penalty.
    loss_curve_ : list of float
        The training loss by epoch, with its penalty.
    best_loss_ : float or None
        The least of them; None with early_stopping.
    validation_loss_curve_ : list of float or None
        The loss on unseen rows by epoch; None without validation.
    validation_scores_ : list of float or None
        Minus the validation loss, or what `scoring` says.
    best_validation_score_ : float or None
    best_epoch_ : int
        From 1: whose parameters these are, with validation; the epoch of the least training loss without.
    history_ : History
    converged_ : bool
        After `partial_fit`: whether `fit` would have stopped here. The best epoch's parameters are then put back.
    n_iter_, t_ : int
        Epochs of the latest call, and rows seen in all.
    n_layers_, n_outputs_ : int
        Layers with the input's, and outputs: one for two classes.
    out_activation_ : {"logistic", "softmax", "identity"}
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray of str
        Where X had names.

    Notes
    -----
    y may hold classes of any type (n_rows,), 0 and 1 for several labels (n_rows, n_labels), or a distribution over
    classes in each row (n_rows, n_classes). A matrix of nothing but 0 and 1 means labels, unless loss is "kl".

    Examples
    --------
    One import changed:

    >>> import numpy as np
    >>> from ermin import MLPClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "opposite")
    >>> clf = MLPClassifier((16,), learning_rate_init=0.02, random_state=0, early_stopping=True).fit(X, y)
    >>> clf.predict([[1.0, 1.0], [1.0, -1.0]])
    array(['same', 'opposite'], dtype='<U8')

    The epoch that did best on rows not trained on, by their loss, is kept:

    >>> clf.best_epoch_ == 1 + np.argmin(clf.validation_loss_curve_)
    np.True_

    or by any scorer; ``refit=True`` then trains again on all rows:

    >>> clf = MLPClassifier((16,), scoring="accuracy", refit=True, random_state=0, early_stopping=True).fit(X, y)

    A validation set of one's own:

    >>> clf = MLPClassifier((16,), learning_rate_init=0.02, random_state=0, early_stopping=True, max_iter=900)
    >>> clf = clf.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])

    Class weights, and logits:

    >>> rare = MLPClassifier((16,), class_weight="balanced", max_iter=9000, random_state=0).fit(X, X[:, 0] > 1.5)
    >>> rare.decision_function(X).shape
    (300,)

    Dropout, label smoothing and mixup:

    >>> regular = {"dropout": 0.1, "label_smoothing": 0.05, "mixup_alpha": 0.2, "max_iter": 900}
    >>> clf = MLPClassifier((16,), **regular, random_state=0).fit(X, y)

    Other activations and losses, decoupled weight decay:

    >>> svm = MLPClassifier((16,), "gelu", loss="hinge", weight_decay=0.01, max_iter=9000, random_state=0).fit(X, y)

    Distributions as targets:

    >>> Q = np.stack([0.9 - 0.8 * (y == "same"), 0.1 + 0.8 * (y == "same")], axis=1)
    >>> soft = MLPClassifier((16,), max_iter=9000, random_state=0).fit(X, Q)
    >>> soft.classes_
    array([0, 1])

    The log of probabilities is finite wherever the logits are:

    >>> bool(np.isfinite(clf.predict_log_proba(1e6 * X)).all())
    True

    Callbacks:

    >>> def enough(state):
    ...     return "stop" if state.loss < 0.5 else None
    >>> clf = MLPClassifier((16,), learning_rate_init=0.02, callbacks=[enough], random_state=0).fit(X, y)
    >>> bool(clf.history_.loss[-1] < 0.5), clf.history_.stop_reason
    (True, 'callback')

    Streams, with early stopping:

    >>> clf = MLPClassifier((16,), learning_rate_init=0.02, early_stopping=True, n_iter_no_change=5, random_state=0)
    >>> for _ in range(300):
    ...     clf = clf.partial_fit(X, y, classes=["opposite", "same"])
    ...     if clf.converged_:
    ...         break
    >>> clf.best_epoch_ == 1 + np.argmax(clf.validation_scores_)
    np.True_
    """

    _file_kind = "classifier"
    _parameter_constraints = {  # noqa: RUF012  # scikit-learn's name and form
        **Perceptron._parameter_constraints,
        "loss": [StrOptions({"log_loss", "kl", "squared_error", *_MARGIN_LOSSES})],
        "label_smoothing": [Interval(numbers.Real, 0, 1, closed="both")],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
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
        loss: str = "log_loss",
        class_weight: Any = None,
        scoring: str | Callable[..., float] | None = "loss",
        refit: bool = False,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        mixup_alpha: float = 0.0,
        callbacks: Sequence[Callable[[EpochState], object]] | None = None,
        dtype: str = "auto",
        n_jobs: int | None = None,
    ) -> None:
        self._keep(locals())

    # ---------------------------------------------------------------------------------------------------- fitting

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
        y : array-like of shape (n_rows,), (n_rows, n_labels) or (n_rows, n_classes)
        sample_weight : array-like of shape (n_rows,), optional
            At least 0, not all 0.
        X_val, y_val, sample_weight_val : optional
            Rows to validate on instead of a part of X: the best epoch's parameters are kept. They stop the run only
            with `early_stopping`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, shape or value is wrong, or the loss was finite in no epoch.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` ended the run.
        RuntimeWarning
            If the loss stopped being finite: the best epoch's parameters are restored.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @available_if(is_stochastic)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
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
        classes : array-like of shape (n_classes,), optional
            All classes there will be: needed in the first call only.

        Returns
        -------
        self
        """
        if _check_partial_fit_first_call(self, classes):
            kind = type_of_target(y)
            self._targets, self._sparse_targets = "labels", hasattr(y, "toarray")
            if kind == "multilabel-indicator" and self.loss != "kl":
                self._targets = "multilabel"
            elif np.ndim(y) == 2 and (kind == "continuous-multioutput" or self.loss == "kl"):
                self._targets = "distribution"
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=True)

    def _check(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _kind(self, y: Any) -> str:
        """What y holds: labels (n_rows,), multilabel or distribution (n_rows, n)."""
        if y.ndim == 1:
            return "labels"
        kind = type_of_target(y)
        if kind == "multilabel-indicator" and self.loss != "kl":
            return "multilabel"
        if kind == "continuous-multioutput" or self.loss == "kl":
            return "distribution"
        raise ValueError("Multioutput target data is not supported with label binarization")

    def _learn(self, y: Any, *, first: bool, incremental: bool) -> None:
        kind = self._kind(y)
        labels = _labels(y) if kind == "labels" else np.arange(y.shape[1])
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self.classes_, self._targets = labels, kind
            self._sparse_targets = hasattr(y, "toarray")
        elif kind != self._targets and not (kind == "multilabel" and self._targets == "distribution"):
            raise ValueError(f"y holds {kind}, but the estimator has learned {self._targets}")
        elif self.warm_start:
            if set(labels) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {labels}"
                )
        elif len(np.setdiff1d(labels, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {labels}."
            )
        if self._targets == "distribution" and self.loss in _MARGIN_LOSSES:
            raise ValueError(f"loss is {self.loss!r}, but y holds distributions, which need probabilities")
        if first:
            self.n_outputs_ = self._n_units()
            self.n_layers_ = 2 + np.size(self.hidden_layer_sizes)
            classes_apart = self._targets == "distribution" or (
                self._targets == "labels" and self.n_outputs_ > 1
            )
            output = "softmax" if classes_apart else "logistic"
            self.out_activation_ = "identity" if self.loss in _MARGIN_LOSSES else output

    def _n_units(self) -> int:
        n_classes = len(self.classes_)
        return 1 if self._targets == "labels" and n_classes <= 2 else n_classes

    def _encode(self, y: Any, dtype: Any) -> NDArray[Any]:
        if self._targets != "labels":
            values = np.ascontiguousarray(y.toarray() if hasattr(y, "toarray") else y, dtype=dtype)
            if values.shape[1] != self.n_outputs_:
                raise ValueError(
                    f"y has {values.shape[1]} columns, but the network has {self.n_outputs_} outputs"
                )
            return np.where(values > 0, values, -1) if self.loss in _MARGIN_LOSSES else values
        codes: NDArray[np.intp] = np.searchsorted(self.classes_, y)
        if not (self.classes_[np.minimum(codes, len(self.classes_) - 1)] == y).all():
            raise ValueError(f"y_val has classes that y has not: {np.setdiff1d(y, self.classes_)}")
        if self.n_outputs_ > 1:
            return codes.astype(np.uint32)
        sides: NDArray[Any] = np.where(codes == 1, 1, -1 if self.loss in _MARGIN_LOSSES else 0)
        return sides.astype(dtype).reshape(-1, 1)

    def _loss(self) -> tuple[str, float]:
        if self.loss not in ("log_loss", "kl"):
            return self.loss, 0.0
        if self.out_activation_ == "logistic":
            return "binary_cross_entropy", 0.0
        return ("kl" if self.loss == "kl" else "cross_entropy"), 0.0

    def _weights(self, y: Any, sample_weight: NDArray[Any] | None, of_classes: Any) -> NDArray[Any] | None:
        if of_classes is None:
            return sample_weight
        weights: NDArray[Any]
        if self._targets == "multilabel":
            from sklearn.utils.class_weight import compute_sample_weight

            weights = compute_sample_weight(self.class_weight, y)
        elif self._targets == "distribution":
            weights = (y * of_classes).sum(axis=1)
        else:
            weights = of_classes[np.searchsorted(self.classes_, y)]
        return weights if sample_weight is None else weights * sample_weight

    def _class_weights(self, y: Any, *, incremental: bool) -> NDArray[np.float64] | None:
        if self.class_weight is None:
            return None
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                'class_weight="balanced" is not for partial_fit, which does not know how many rows of each class will '
                "come; pass a dict"
            )
        n_classes = len(self.classes_)
        of_classes = np.ones(n_classes)
        if self._targets == "multilabel":
            return of_classes  # by column, as scikit-learn does: in `_weights`
        if isinstance(self.class_weight, list):
            raise ValueError(
                "class_weight is a list, which is for several labels; it must be a dict or 'balanced'"
            )
        if isinstance(self.class_weight, dict):
            for label, weight in self.class_weight.items():
                if label not in self.classes_:
                    raise ValueError(
                        f"class_weight has {label!r}, which is none of the classes {self.classes_}"
                    )
                name = f"class_weight[{label!r}]"
                of_classes[self.classes_ == label] = check_number(name, weight, 0, math.inf, "at least 0")
        else:
            labels = self._targets == "labels"
            rows = np.bincount(np.searchsorted(self.classes_, y)) if labels else y.sum(axis=0)
            of_classes = rows.sum() / (n_classes * np.where(rows > 0, rows, 1))
        return of_classes

    def _strata(self, targets: NDArray[Any]) -> NDArray[np.uint32] | None:
        if self._targets != "labels":
            return None
        return targets if targets.ndim == 1 else (targets[:, 0] > 0).astype(np.uint32)

    def _default_score(self, sample: Sample) -> float:
        from sklearn.metrics import accuracy_score

        truth = self.classes_[sample.y.argmax(axis=1)] if self._targets == "distribution" else sample.y
        predicted = self._of_logits(self._outputs_of(sample.checked, logits=True))
        return float(accuracy_score(truth, predicted, sample_weight=sample.weights))

    # ------------------------------------------------------------------------------------------------- predicting

    def _of_logits(self, logits: NDArray[Any]) -> Any:
        if self._targets == "multilabel":
            labels = (logits > 0).astype(np.int64)
            if self._sparse_targets:
                from scipy.sparse import csr_array

                return csr_array(labels)
            return labels
        if logits.shape[1] > 1:
            return self.classes_[logits.argmax(axis=1)]
        return self.classes_[np.where(logits[:, 0] > 0, len(self.classes_) - 1, 0)]

    def predict(self, X: ArrayLike) -> Any:
        """The likeliest class of each row, or the labels that are likelier than not.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        numpy.ndarray of shape (n_rows,) or (n_rows, n_labels)
        """
        return self._of_logits(self._outputs(X, logits=True))

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """The logits: for two classes that of the second, whose sigmoid is its probability.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        numpy.ndarray of shape (n_rows,) or (n_rows, n_classes)
        """
        logits = self._outputs(X, logits=True)
        return logits[:, 0] if self._targets == "labels" and logits.shape[1] == 1 else logits

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """The probability of each class, or of each label.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        numpy.ndarray of shape (n_rows, n_classes)
            In the dtype of the parameters, columns in the order of `classes_`.
        """
        if self._is_binary():
            logits = self._outputs(X, logits=True)
            return evaluate("sigmoid", np.concatenate([-logits, logits], axis=1))
        return self._outputs(X, logits=False)

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def predict_log_proba(self, X: ArrayLike) -> Any:
        """The logarithm of each probability, finite wherever the logits are.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)

        Returns
        -------
        numpy.ndarray of shape (n_rows, n_classes)
            z − ln Σ eᶻ over the classes, or −softplus(−z), of the logits z.
        """
        logits: NDArray[np.floating[Any]] = self._outputs(X, logits=True)
        if self._is_binary():
            logits = np.concatenate([-logits, logits], axis=1)
        if self.out_activation_ == "logistic":
            return -evaluate("softplus", -logits)
        behind = logits - logits.max(axis=1, keepdims=True)
        return behind - evaluate("ln", evaluate("exp", behind).sum(axis=1, keepdims=True))

    def _is_binary(self) -> bool:
        check_is_fitted(self)
        return self._targets == "labels" and self.n_outputs_ == 1

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
