"""What both estimators share: parameters and their constraints, the network behind `coefs_`, and the way of a fit."""

from __future__ import annotations

import math
import numbers
import operator
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np

try:
    from sklearn.base import BaseEstimator
except ImportError:
    raise ImportError('the estimators need scikit-learn: pip install "ermin[sklearn]"') from None
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ermin import _arrays, estimator_files, files, solvers
from ermin.history import History
from ermin.network import MLP
from ermin.samples import Sample, hold_back
from ermin.solvers import Judged, Problem, Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from ermin.network import Table

ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "sigmoid",
)  # fmt: skip
_OUTPUTS = {"identity": "identity", "softmax": "softmax", "logistic": "sigmoid", "exp": "exp"}
"""The output functions by scikit-learn's names."""
_BY_EPOCHS = ("dropout", "label_smoothing", "mixup_alpha", "weight_decay", "callbacks")
"""What L-BFGS knows nothing of."""
_ROWS_BY_DEFAULT = 200
"""Rows in a batch where nothing else is said."""


def is_stochastic(estimator: Perceptron) -> bool:
    """Whether there is a `partial_fit`; if not, an AttributeError with the reason."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


class Perceptron(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The base of `MLPClassifier` and `MLPRegressor`."""

    _file_kind: str
    coefs_: list[NDArray[Any]]
    intercepts_: list[NDArray[Any]]
    classes_: NDArray[Any]
    n_outputs_: int
    out_activation_: str
    loss_curve_: list[float]
    validation_loss_curve_: Any  # a list of float; None without validation
    validation_scores_: Any  # as above
    best_loss_: Any  # a float; None with early_stopping
    best_epoch_: int
    t_: int
    n_iter_: int
    converged_: bool
    _seed: int
    _optimizer: Steps
    _records: list[tuple[float, float, float, float]]
    _stop_reason: str

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012  # scikit-learn's name and form
        "hidden_layer_sizes": ["array-like", Interval(numbers.Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(numbers.Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(numbers.Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(numbers.Real, 0, None, closed="neither")],
        "power_t": [Interval(numbers.Real, 0, None, closed="left")],
        "max_iter": [Interval(numbers.Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(numbers.Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(numbers.Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(numbers.Real, 0, 1, closed="left")],
        "beta_1": [Interval(numbers.Real, 0, 1, closed="left")],
        "beta_2": [Interval(numbers.Real, 0, 1, closed="left")],
        "epsilon": [Interval(numbers.Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(numbers.Integral, 1, None, closed="left"),
            Options(numbers.Real, {math.inf}),
        ],
        "max_fun": [Interval(numbers.Integral, 1, None, closed="left")],
        "scoring": [str, callable, None],
        "refit": ["boolean"],
        "dropout": [Interval(numbers.Real, 0, 1, closed="left")],
        "mixup_alpha": [Interval(numbers.Real, 0, None, closed="left")],
        "weight_decay": [Interval(numbers.Real, 0, None, closed="left")],
        "callbacks": [None, list, tuple],
        "dtype": [StrOptions({"auto", "float32", "float64"})],
        "n_jobs": [None, numbers.Integral],
    }

    def _keep(self, parameters: dict[str, Any]) -> None:
        """Keep a constructor's arguments as they came."""
        self.__dict__.update({name: value for name, value in parameters.items() if name != "self"})

    # ---------------------------------------------------------------------------- the network behind the attributes

    def _adopt(self, net: MLP, vector: NDArray[Any]) -> None:
        """Show `vector` as `coefs_` and `intercepts_`, which can be written to, and remember whose views they are."""
        weights, biases = net._split(vector)
        self.coefs_, self.intercepts_ = list(weights), list(biases)
        net._set_vector(vector.view())
        self._network = (net, weights + biases)

    def _net(self) -> MLP:
        """The network whose parameters `coefs_` and `intercepts_` are, or a new one where they were replaced."""
        arrays = [*self.coefs_, *self.intercepts_]
        activation = "sigmoid" if self.activation == "logistic" else self.activation
        if hasattr(self, "_network"):
            net, views = self._network
            same = len(views) == len(arrays) and all(map(operator.is_, views, arrays))
            if same and all(name == activation for name in net.activation):
                return net
        sizes = [len(self.coefs_[0]), *(len(b) for b in self.intercepts_)]
        dtype = "float32" if all(a.dtype == np.float32 for a in arrays) else "float64"
        net = self._shaped(sizes, dtype)
        net.weights, net.biases = self.coefs_, self.intercepts_
        self._network = (net, tuple(arrays))
        return net

    def _shaped(self, sizes: list[int], dtype: Any) -> MLP:
        activation = "sigmoid" if self.activation == "logistic" else self.activation
        output = _OUTPUTS[self.out_activation_]
        return MLP(
            sizes,
            activation=activation,
            output=output,
            initializer="zeros",
            dropout=self.dropout,
            dtype=dtype,
            rng=0,
        )

    def _drawn(self, sizes: list[int], dtype: Any, random: np.random.RandomState) -> MLP:
        """A network with scikit-learn's first parameters, to the last bit.

        Weights and biases are uniform on ±√(6/(inputs + outputs)), ±√(2/(inputs + outputs)) with logistic activations
        (Glorot and Bengio 2010, equation 16), drawn layer by layer.
        """
        net = self._shaped(sizes, dtype)
        vector = np.empty_like(net._vector)
        factor = 2.0 if self.activation == "logistic" else 6.0
        for pair in zip(*net._split(vector), strict=True):
            bound = math.sqrt(factor / sum(pair[0].shape))
            for values in pair:
                # As `uniform`, in operations that no compiler may fuse.
                values[...] = -bound + 2 * bound * random.random_sample(values.shape)
        net._set_vector(vector)
        return net

    def _outputs(self, X: ArrayLike, *, logits: bool) -> NDArray[Any]:
        """What the network says of every row, or the logits of it."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return self._outputs_of(X, logits=logits)

    def _outputs_of(self, X: Any, *, logits: bool) -> NDArray[Any]:
        net = self._net()
        rows = _arrays.table(X, "X", net.sizes[0])
        out = np.empty((len(rows), net.sizes[-1]), dtype=net.dtype)
        net._shape.predict(net._vector, rows, logits, self._n_threads(), out)
        return out

    def _n_threads(self) -> int | None:
        """`n_jobs` as a number of threads: None for as many as this process may use, where it pays."""
        if self.n_jobs is None:
            joblib = sys.modules.get("joblib.parallel")
            if joblib is not None and joblib.get_active_backend()[0].nesting_level:
                return 1  # a thread of joblib's, beside others
            return _arrays.thread_count(None)
        if self.n_jobs == 0:
            raise ValueError("n_jobs is 0, but must be None or another whole number")
        if self.n_jobs > 0:
            return _arrays.thread_count(self.n_jobs)
        affinity = getattr(os, "sched_getaffinity", None)
        available = len(affinity(0)) if affinity else os.cpu_count() or 1
        return max(1, available + 1 + int(self.n_jobs))

    @property
    def history_(self) -> History:
        """Losses, learning rates and seconds by epoch, the best epoch, and why the run ended."""
        loss, validation_loss, rate, seconds = (
            np.array(self._records, dtype=np.float64).reshape(-1, 4).T.copy()
        )
        return History(loss, validation_loss, rate, seconds, self.best_epoch_, self._stop_reason)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one safetensors file, whole or not at all; `ermin.load` reads it.

        The file holds parameters, the network and the curves. Pickles hold the optimiser's moments too, with which
        `partial_fit` goes on as if nothing had happened.

        Parameters
        ----------
        path : path-like
            An existing file is replaced.

        Raises
        ------
        NotFittedError
            If nothing has been learned yet.
        TypeError
            If a parameter is a function or a `RandomState`, which a file cannot hold.
        OSError
            If the file cannot be written.
        """
        check_is_fitted(self)
        files.save(path, self._file_kind, *estimator_files.described(self))

    @classmethod
    def _from_file(cls, description: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Self:
        return estimator_files.restored(cls, description, tensors)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_network"}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coefs_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ------------------------------------------------------------------------------------------------ what differs

    def _check(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any]:
        """Both in scikit-learn's form, or its errors."""
        raise NotImplementedError

    def _learn(self, y: Any, *, first: bool, incremental: bool) -> None:
        """Take note of what the targets are, or refuse other ones than before."""
        raise NotImplementedError

    def _n_units(self) -> int:
        """How wide the last layer is."""
        raise NotImplementedError

    def _encode(self, y: Any, dtype: Any) -> NDArray[Any]:
        """Targets as the native module takes them."""
        raise NotImplementedError

    def _loss(self) -> tuple[str, float]:
        """The native loss and its parameter."""
        raise NotImplementedError

    def _judged(self, table: Table) -> Judged:
        """A table with what makes its native loss scikit-learn's."""
        return Judged(table)

    def _class_weights(self, y: Any, *, incremental: bool) -> NDArray[np.float64] | None:
        """The weight of each class, by the rows to train on."""
        return None

    def _weights(self, y: Any, sample_weight: NDArray[Any] | None, of_classes: Any) -> NDArray[Any] | None:
        """The rows' weights, with those of their classes."""
        return sample_weight

    def _strata(self, targets: NDArray[Any]) -> NDArray[np.uint32] | None:
        """The classes by which validation rows are drawn."""
        return None

    def _default_score(self, sample: Sample) -> float:
        """What `score` computes."""
        raise NotImplementedError

    # --------------------------------------------------------------------------------------------------------- fit

    def _fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        own: tuple[ArrayLike | None, ArrayLike | None, ArrayLike | None],
        *,
        incremental: bool = False,
    ) -> Self:
        """Check everything, then train: the one way into training, of `fit` and `partial_fit`."""
        self._validate_params()
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if any(size <= 0 for size in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        if self.solver == "lbfgs" and own[0] is not None:
            raise ValueError("X_val is for the solvers 'sgd' and 'adam', but solver is 'lbfgs'")
        for name in _BY_EPOCHS if self.solver == "lbfgs" else ():
            if value := getattr(self, name, None):
                raise ValueError(
                    f"{name} is {value!r}, but is for the solvers 'sgd' and 'adam'; solver is 'lbfgs'"
                )
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        checked, y = self._check(X, y, reset=first)
        self._learn(y, first=first, incremental=incremental)
        random = _random_state(self.random_state)
        if first:
            dtype = checked.dtype if self.dtype == "auto" else self.dtype
            net = self._drawn([checked.shape[1], *hidden, self._n_units()], dtype, random)
        else:
            net = self._net()
        if first or not incremental or not hasattr(self, "_seed"):
            self._seed = int.from_bytes(random.bytes(16), "little")
        of_classes = self._class_weights(y, incremental=incremental)
        sample = self._sample(X, checked, y, sample_weight, net, of_classes)
        own_sample = self._own_validation(own, net, of_classes)
        vector = net._vector.copy()
        try:
            self._adopt(net, vector)
            if self.solver == "lbfgs":
                for name in _nothing_recorded():
                    self.__dict__.pop(name, None)
                self.t_ = 0
                solvers.run_lbfgs(self, self._problem(net, sample, None, None), vector)
            else:
                self._fit_stochastic(net, vector, sample, own_sample, first=first, incremental=incremental)
        except ValueError:
            if first:  # nothing has been learned
                self.__dict__.pop("coefs_", None)
                self.__dict__.pop("intercepts_", None)
            raise
        finally:
            net._set_vector(vector.view())
        return self

    def _sample(
        self, X: ArrayLike, checked: Any, y: Any, sample_weight: ArrayLike | None, net: MLP, of_classes: Any
    ) -> Sample:
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, checked, dtype=np.float64)
        weights = self._weights(y, weights, of_classes)
        if weights is not None and not (weights > 0).any():
            raise ValueError("sample_weight must be greater than 0 for at least one row")
        return Sample(
            X, checked, _arrays.table(checked, "X", net.sizes[0]), y, self._encode(y, net.dtype), weights
        )

    def _own_validation(
        self, own: tuple[ArrayLike | None, ArrayLike | None, ArrayLike | None], net: MLP, of_classes: Any
    ) -> Sample | None:
        """The validation set that the caller gave."""
        X, y, sample_weight = own
        if X is None:
            if y is not None or sample_weight is not None:
                raise ValueError("X_val is None, but y_val or sample_weight_val is given")
            return None
        if y is None:
            raise ValueError("y_val is None, but X_val is given")
        checked, y = self._check(X, y, reset=False)
        return self._sample(X, checked, y, sample_weight, net, of_classes)

    def _problem(
        self, net: MLP, sample: Sample, numbers: NDArray[np.uint32] | None, validation: Sample | None
    ) -> Problem:
        """What is to be learned from the numbered rows."""
        score = None
        if validation is not None and self.scoring != "loss":
            score = self._scorer(validation)
        return Problem(
            net,
            self._loss(),
            self._judged(sample.table(numbers)),
            None if validation is None else self._judged(validation.table(None)),
            score,
            _arrays.seed(self._seed),
            self._n_threads(),
        )

    def _fit_stochastic(
        self,
        net: MLP,
        vector: NDArray[Any],
        sample: Sample,
        validation: Sample | None,
        *,
        first: bool,
        incremental: bool,
    ) -> None:
        numbers, everything = None, sample
        if validation is not None:
            everything = sample.with_rows_of(validation) if self.refit else sample
        elif self.early_stopping:
            chosen = hold_back(
                sample, self.validation_fraction, self._strata(sample.targets), _arrays.seed(self._seed)
            )
            numbers = np.flatnonzero(~chosen).astype(np.uint32)
            validation = sample.part(np.flatnonzero(chosen))
        problem = self._problem(net, sample, numbers, validation)
        self._begin(first=first, validated=validation is not None)
        epochs_before, start = len(self.loss_curve_), vector.copy()
        batch_size = self._batch_size(problem.n_rows)
        steps = Steps(self, problem)
        if not incremental or not hasattr(self, "_optimizer") or self._optimizer.key != steps.key:
            self._optimizer = steps
        self._stop_reason = "interrupted"
        self._stop_reason = solvers.run_epochs(self, problem, vector, batch_size, incremental=incremental)
        if incremental:
            self.converged_ = self._stop_reason in ("patience", "callback", "diverged")
        elif self.refit and validation is not None:
            whole = self._problem(net, everything, None, None)
            rates = [record[2] for record in self._records[epochs_before : self.best_epoch_]]
            vector[...] = start
            solvers.run_again(self, whole, vector, self._batch_size(whole.n_rows), rates)

    def _begin(self, *, first: bool, validated: bool) -> None:
        """Set what is recorded and remembered, as scikit-learn does: kept by `partial_fit` and with `warm_start`."""
        for name, value in _nothing_recorded().items():
            if first or not hasattr(self, name):
                setattr(self, name, value)
        if validated and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
            self.best_validation_score_ = -math.inf
        if self.early_stopping:
            self.best_loss_ = None
        elif self.best_loss_ is None:
            self.best_loss_ = math.inf

    def _batch_size(self, n_rows: int) -> int:
        if self.batch_size == "auto":
            return min(_ROWS_BY_DEFAULT, n_rows)
        if self.batch_size > n_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=5,
            )
        return min(int(self.batch_size), n_rows)

    def _scorer(self, sample: Sample) -> Callable[[], float]:
        """A function that scores the estimator as it stands on a sample."""
        if self.scoring is None:
            return lambda: self._default_score(sample)
        from sklearn.metrics import check_scoring

        scorer = check_scoring(self, scoring=self.scoring)
        weights = {} if sample.weights is None else {"sample_weight": sample.weights}
        return lambda: float(scorer(self, sample.X, sample.y, **weights))


def _nothing_recorded() -> dict[str, Any]:
    """What a run of epochs records and remembers, at its beginning."""
    return {
        "t_": 0,
        "loss_curve_": [],
        "best_loss_": math.inf,
        "validation_scores_": None,
        "validation_loss_curve_": None,
        "best_validation_score_": None,
        "best_epoch_": 0,
        "_best_vector": None,
        "_no_improvement_count": 0,
        "_records": [],
    }


def _random_state(random_state: Any) -> np.random.RandomState:
    """Where an estimator's numbers come from: of the system's entropy for None, never NumPy's global state."""
    if random_state is None:
        return np.random.RandomState(np.frombuffer(os.urandom(16), dtype=np.uint32))
    if isinstance(random_state, np.random.RandomState):
        return random_state
    return np.random.RandomState(random_state)
