"""How the estimators' networks are trained: epoch by epoch (sgd, adam) or by SciPy's L-BFGS.

The loops decide what scikit-learn's do: when to stop, which learning rate comes next, what is recorded. An epoch is
native, and so are loss and gradient.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ermin import _core, schedules
from ermin.history import EpochState

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ermin.network import MLP, Table
    from ermin.perceptron import Perceptron

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    "preprocessed."
)
_LEAST_ADAPTIVE_RATE = 1e-6
"""Below it an adaptive learning rate stops the run: scikit-learn's number."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows as the native module takes them, and what turns its mean loss into the reported one."""

    table: Table
    factor: float = 1.0
    constant: float = 0.0

    def reported(self, loss: float) -> float:
        """The loss as scikit-learn counts it."""
        return self.factor * loss + self.constant


@dataclass(frozen=True, eq=False)
class Problem:
    """A network and what it is to learn."""

    net: MLP
    loss: tuple[str, float]
    training: Judged
    validation: Judged | None
    score: Callable[[], float] | None
    """Of the estimator as it stands; None where minus the validation loss is the score."""
    seed: int | bytes | tuple[int, ...]
    n_threads: int | None

    @property
    def n_rows(self) -> int:
        """How many rows are trained on."""
        rows, _, _, numbers = self.training.table
        return len(rows if numbers is None else numbers)


class Steps:
    """An optimiser on its way: the native moments and counters, and the learning rate of the next epoch."""

    def __init__(self, estimator: Perceptron, problem: Problem) -> None:
        self.learning_rate = float(estimator.learning_rate_init)
        settings = settings_of(estimator, problem, 1, self.learning_rate)
        net = problem.net
        self.state = _core.TrainerState.fresh(net._shape, settings, net._vector)
        # Moments are of one rule and of one network: others begin anew.
        self.key = (estimator.solver, bool(estimator.momentum), net.sizes, net.dtype.name)

    def after_epoch(self, estimator: Perceptron) -> None:
        """Inverse scaling: learning_rate_init/(t + 1)^power_t, t being the rows seen."""
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            power = np.array([estimator.t_ + 1.0])
            _core.evaluate("ln", power, power_of := np.empty(1))
            _core.evaluate("exp", power_of * float(estimator.power_t), power)
            self.learning_rate = float(estimator.learning_rate_init / power[0])

    def give_up(self, estimator: Perceptron) -> bool:
        """Whether a run without progress ends; an adaptive learning rate falls to a fifth first."""
        message = (
            f"{'Validation score' if estimator.early_stopping else 'Training loss'} did not improve more than "
            f"tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive epochs."
        )
        adaptive = estimator.solver == "sgd" and estimator.learning_rate == "adaptive"
        if adaptive and self.learning_rate > _LEAST_ADAPTIVE_RATE:
            self.learning_rate /= 5.0
            message += f" Setting learning rate to {self.learning_rate:f}"
        else:
            adaptive = False
            message += " Stopping."
        if estimator.verbose:
            print(message)
        return not adaptive

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": self.state.parts()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.state = _core.TrainerState.from_parts(*state["state"])


def settings_of(
    estimator: Perceptron, problem: Problem, batch_size: int, learning_rate: float
) -> _core.Settings:
    """An estimator's parameters as the native module takes them."""
    if estimator.solver == "sgd":
        numbers = (float(estimator.momentum), 0.0, 0.0, bool(estimator.nesterovs_momentum))
    else:
        numbers = (float(estimator.beta_1), float(estimator.beta_2), float(estimator.epsilon), False)
    return _core.Settings(
        problem.net._shape,
        problem.loss,
        (
            "sgd" if estimator.solver == "sgd" else "adam",
            schedules.native(learning_rate),
            schedules.native(float(estimator.weight_decay)),
            *numbers,
        ),
        batch_size,
        bool(estimator.shuffle),
        float(estimator.alpha),
        None,
        False,
        (
            [schedules.native(dropout) for dropout in problem.net._dropouts],
            float(getattr(estimator, "label_smoothing", 0.0)),
            float(estimator.mixup_alpha),
        ),
        1,
        problem.seed,
        problem.n_threads,
    )


def run_epochs(
    estimator: Perceptron, problem: Problem, vector: NDArray[Any], batch_size: int, *, incremental: bool
) -> str:
    """Train `vector` in place for up to `max_iter` epochs (`incremental`: for one); why the run ended.

    The estimator's attributes follow every epoch, as callbacks and scorers look at them. With validation the best
    epoch's parameters are put back when the run ends.
    """
    steps: Steps = estimator._optimizer
    shape, (training, validation) = problem.net._shape, (problem.training, problem.validation)
    first = vector.copy()
    began = time.perf_counter() - (estimator._records[-1][3] if estimator._records else 0.0)
    settings, rate, unseen = None, math.nan, True
    estimator.n_iter_ = 0
    reason = "epochs"
    try:
        for _ in range(1 if incremental else estimator.max_iter):
            if settings is None or rate != steps.learning_rate:
                rate = steps.learning_rate
                settings = settings_of(estimator, problem, batch_size, rate)
            loss, penalty = steps.state.advance(shape, settings, vector, training.table, True, unseen)
            unseen = False
            finite = math.isfinite(loss) and bool(np.isfinite(vector).all())
            validation_loss = math.nan
            if validation is not None and finite:
                validation_loss = validation.reported(shape.loss(vector, validation.table, settings))
                finite = math.isfinite(validation_loss)
            loss = training.reported(loss)
            estimator._records.append((loss, validation_loss, rate, time.perf_counter() - began))
            _note(estimator, loss + penalty, problem.n_rows)
            stop = bool(estimator.callbacks) and _tell(estimator, problem, vector)
            if validation is not None:
                score = math.nan
                if finite:
                    score = -validation_loss if problem.score is None else problem.score()
                _note_validation(estimator, validation_loss, score)
            if not finite:
                reason = "diverged"
                break
            _judge(estimator, vector)
            steps.after_epoch(estimator)
            if stop:
                reason = "callback"
                break
            if estimator._no_improvement_count > estimator.n_iter_no_change:
                if steps.give_up(estimator):
                    reason = "patience"
                    break
                estimator._no_improvement_count = 0
    except BaseException:
        _put_back(estimator, vector, first)
        raise
    if reason == "diverged":
        if not estimator.best_epoch_:
            vector[...] = first
            raise ValueError(NOT_FINITE)
        _put_back(estimator, vector, first)
        warnings.warn(
            f"the loss was not finite in epoch {len(estimator.loss_curve_)}; the parameters of epoch "
            f"{estimator.best_epoch_} are restored. A smaller learning_rate_init or scaled inputs usually help",
            RuntimeWarning,
            stacklevel=5,
        )
    elif validation is not None and (reason != "epochs" or not incremental):
        _put_back(estimator, vector, first)
    if reason == "epochs" and not incremental:
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization hasn't "
            "converged yet.",
            ConvergenceWarning,
            stacklevel=5,
        )
    return reason


def run_again(
    estimator: Perceptron, problem: Problem, vector: NDArray[Any], batch_size: int, rates: list[float]
) -> None:
    """Train for as many epochs as there are learning rates, with an optimiser of its own; nothing is recorded."""
    steps = Steps(estimator, problem)
    for rate in rates:  # the values have been judged by the run before
        settings = settings_of(estimator, problem, batch_size, rate)
        steps.state.advance(problem.net._shape, settings, vector, problem.training.table, True, False)
    if not np.isfinite(vector).all():
        raise ValueError(NOT_FINITE)


def _note(estimator: Perceptron, loss: float, n_rows: int) -> None:
    """Take note of an epoch's training loss, with its penalty."""
    estimator.n_iter_ += 1
    estimator.t_ += n_rows
    estimator.loss_ = loss
    estimator.loss_curve_.append(loss)
    if estimator.verbose:
        print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")


def _note_validation(estimator: Perceptron, loss: float, score: float) -> None:
    """Take note of an epoch's validation."""
    estimator.validation_loss_curve_.append(loss)
    estimator.validation_scores_.append(float(score))
    if estimator.verbose:
        print(f"Validation score: {score:f}")


def _judge(estimator: Perceptron, vector: NDArray[Any]) -> None:
    """Whether the epoch made progress by more than `tol`, and whether it is the best; of equal ones the earlier stays.

    Progress is scikit-learn's: against the best so far, which moves with every gain, however small.
    """
    loss, validated = estimator.loss_curve_[-1], estimator.validation_scores_ is not None
    if estimator.early_stopping:
        stuck = estimator.validation_scores_[-1] < estimator.best_validation_score_ + estimator.tol
    else:
        stuck = loss > estimator.best_loss_ - estimator.tol
    estimator._no_improvement_count = estimator._no_improvement_count + 1 if stuck else 0
    if validated:
        better = estimator.validation_scores_[-1] > estimator.best_validation_score_
        if better:
            estimator.best_validation_score_ = estimator.validation_scores_[-1]
    else:
        better = loss < estimator.best_loss_
    if not estimator.early_stopping:
        estimator.best_loss_ = min(loss, estimator.best_loss_)
    if better:
        estimator.best_epoch_ = len(estimator.loss_curve_)
        estimator._best_vector = vector.copy()


def _put_back(estimator: Perceptron, vector: NDArray[Any], first: NDArray[Any]) -> None:
    """Give `vector` the best epoch's parameters, or those at the beginning where no epoch was finished."""
    vector[...] = first if estimator._best_vector is None else estimator._best_vector


def _tell(estimator: Perceptron, problem: Problem, vector: NDArray[Any]) -> bool:
    """Tell the callbacks of an epoch; whether one said "stop". Every one hears of every epoch."""
    loss, validation_loss, rate, seconds = estimator._records[-1]
    problem.net._set_vector(vector.copy())
    state = EpochState(len(estimator.loss_curve_), loss, validation_loss, rate, seconds, problem.net)
    answers = [callback(state) for callback in estimator.callbacks]
    return any(isinstance(answer, str) and answer == "stop" for answer in answers)


def run_lbfgs(estimator: Perceptron, problem: Problem, vector: NDArray[Any]) -> None:
    """Minimise the loss over all rows with SciPy's L-BFGS-B, in the network's dtype; `vector` becomes the minimum.

    Bits depend on SciPy here, unlike everywhere else.
    """
    from scipy.optimize import minimize

    shape, table = problem.net._shape, problem.training.table
    settings = settings_of(estimator, problem, 1, 1.0)
    is_weight = np.concatenate(
        [np.repeat([1.0, 0.0], [w.size, b.size]) for w, b in zip(*problem.net._split(vector), strict=True)]
    )
    weights = table[2]
    decay = float(estimator.alpha) / (problem.n_rows if weights is None else float(weights.sum()))
    point, gradient = vector.copy(), np.empty_like(vector)

    def loss_and_gradient(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point[...] = parameters
        if not np.isfinite(point).all():
            return math.inf, np.zeros_like(parameters)
        loss = shape.gradient(point, table, settings, gradient)
        pull = decay * is_weight * parameters
        return loss + 0.5 * float((pull * parameters).sum()), gradient + pull

    iterations = itertools.count(1)

    def tell(intermediate_result: Any) -> None:
        if estimator.verbose:
            print(f"Iteration {next(iterations)}, loss = {intermediate_result.fun:.8f}")

    result = minimize(
        loss_and_gradient,
        vector.astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=tell,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
    )
    if not np.isfinite(result.x).all():
        raise ValueError(NOT_FINITE)
    vector[...] = result.x
    estimator.n_iter_ = min(int(result.nit), int(estimator.max_iter))
    penalty = 0.5 * decay * float((is_weight * result.x * result.x).sum())
    estimator.loss_ = problem.training.reported(float(result.fun) - penalty) + penalty
    if not result.success:
        warnings.warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}):\n{result.message}\n\n"
            "Increase the number of iterations (max_iter, max_fun) or scale the data.",
            ConvergenceWarning,
            stacklevel=4,
        )
