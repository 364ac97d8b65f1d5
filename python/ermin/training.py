"""Empirical risk minimisation: fit a network to data, and keep what does best on data it did not see."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ermin import _arrays, _core, losses, schedules
from ermin.history import EpochState, History
from ermin.optimizers import SGD, Adam, needs_length

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ermin.network import MLP, Table

__all__ = ["Trainer", "fit"]

_MOST = 2**31 - 1
"""Epochs, rows of a batch, and so on; the number of steps then has room in 64 bits."""
_MOST_ROWS_BY_DEFAULT = 200
"""Rows in a batch where nothing else is said: scikit-learn's number."""


def fit(
    net: MLP,
    X: Any,
    y: ArrayLike,
    *,
    validation: float | Sequence[Any] | None = None,
    loss: losses.Loss = "auto",
    optimizer: SGD | Adam | None = None,
    epochs: int = 100,
    batch_size: int | str = "auto",
    patience: int | None = None,
    min_delta: float = 0.0,
    selection: str | Callable[[MLP], float] = "loss",
    restore_best: bool = True,
    shuffle: bool = True,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    label_smoothing: float = 0.0,
    mixup_alpha: float = 0.0,
    gradient_clip: float | None = None,
    record_gradient_norm: bool = False,
    callbacks: Sequence[Callable[[EpochState], object]] = (),
    progress: bool | Callable[[EpochState], object] = False,
    rng: _arrays.RngLike = None,
    n_threads: int | None = None,
) -> History:
    """Train a network in place by stochastic gradient descent on the empirical risk.

    Parameters
    ----------
    net : MLP
        Trained in place.
    X : array-like or sparse matrix of shape (n_rows, n_inputs)
        Any numbers in any memory layout, memory-mapped files and SciPy's sparse matrices too; rows are gathered and
        converted batch by batch. (CSR is read as it is, other sparse formats are converted to it once.)
    y : array-like
        As for `MLP.loss`: class indices, distributions, labels or values.
    validation : None, float, (X, y) or (X, y, sample_weight), optional
        Data to judge by: a fraction of the rows (drawn by `rng`, by class for class indices), or data of one's own.
    loss : str, Huber or Quantile, default "auto"
        As for `MLP.loss`.
    optimizer : SGD, Adam or AdamW, default ``Adam(1e-3)``
    epochs : int, default 100
        The most passes over the data.
    batch_size : int or "auto"
        Rows a step; "auto" is 200. More than there are rows means all of them; the last batch may be smaller.
    patience : int, optional
        Stop after so many epochs in a row that were not better by more than `min_delta`: in validation loss, or without
        validation in training loss.
    min_delta : float, default 0
    selection : {"loss", "error"} or callable, default "loss"
        What the best epoch is the best in: validation loss, validation error (the share of wrong classes or labels), or
        a function of the network that returns a number, larger being better. Of equal ones the earlier epoch.
    restore_best : bool, default True
        Give the network the best epoch's parameters (with validation, or a callable `selection`) rather than the last.
    shuffle : bool, default True
        Visit the rows in a new order every epoch.
    sample_weight : array-like of shape (n_rows,), optional
        At least 0. A batch's gradient is divided by the sum of its weights.
    l2 : float, default 0
        Adds ½·l2·Σ w²/Σ(weights of the batch) to the loss, over the weights, not the biases: scikit-learn's alpha.
    label_smoothing : float, default 0
        ε, from 0 to 1: a target q over k classes becomes (1 − ε)·q + ε/k, a label's y becomes (1 − ε)·y + ε/2. For
        softmax and sigmoid outputs, in training only.
    mixup_alpha : float, default 0
        Greater than 0: the rows of a batch are mixed with those of the same batch in another order, inputs, targets and
        weights, λ to 1 − λ, with λ drawn from Beta(alpha, alpha) once a batch (Zhang et al. 2018). In training only.
    gradient_clip : float, optional
        The greatest norm of a step's gradient over all parameters but frozen ones; a longer one is shortened to it.
    record_gradient_norm : bool, default False
        Record the norm of each layer's gradient in `History.gradient_norm`.
    callbacks : sequence of callable
        Each is called after every epoch with an `EpochState`; one that returns "stop" ends the run.
    progress : bool or callable, default False
        Show a bar with both losses (needs tqdm, the extra ``ermin[cli]``), or call a function of one's own with an
        `EpochState` after every epoch; what it returns does not matter.
    rng : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Where the order of rows, the choice of validation rows, dropout and mixup come from. The same int gives the same
        bits on every machine, with any number of threads.
    n_threads : int, optional
        The most threads; by default what this process may use, where it pays, and one in a worker process of
        `multiprocessing` or joblib.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        If a value or shape is wrong, or if the loss was not finite in any epoch. The network then keeps its
        parameters.

    Warns
    -----
    RuntimeWarning
        If the loss stops being finite: the run ends and the best parameters so far are restored.

    Notes
    -----
    An interrupt (Ctrl-C) or an exception from a callback comes out unchanged. The network then has the parameters of a
    regular end: the best so far where there is validation or a score, the latest otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> import ermin
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = ermin.MLP([2, 16, 2], output="softmax", rng=0)
    >>> history = ermin.fit(net, X, y, validation=0.2, optimizer=ermin.Adam(0.01), epochs=200, patience=20, rng=0)
    >>> bool((net.predict(X) == y).mean() > 0.9)
    True
    """
    _check_network(net)
    seed = _arrays.seed(rng)
    chosen = losses.native(loss)
    table = net._table(X, y, sample_weight, chosen[0], ("X", "y", "sample_weight"))
    table, held_back = _hold_back(net, table, validation, chosen[0], seed)
    criterion = "score" if callable(selection) else selection
    if criterion not in ("loss", "error", "score"):
        raise ValueError(
            f"selection is {selection!r}, but must be 'loss', 'error' or a function of the network"
        )
    if criterion == "error" and (held_back is None or net.output not in ("softmax", "sigmoid")):
        raise ValueError("selection is 'error', but that needs validation and a softmax or sigmoid output")
    epochs = _at_least_one("epochs", epochs)
    patience = None if patience is None else _at_least_one("patience", patience)
    min_delta = _arrays.check_number("min_delta", min_delta, 0, math.inf, "at least 0")
    listeners = _listeners(callbacks)
    n_rows = len(table[0]) if table[3] is None else len(table[3])
    batch_size = _batch_size(batch_size, n_rows)
    total_steps = epochs * -(-n_rows // batch_size)
    settings = _settings(
        net,
        chosen,
        optimizer,
        batch_size,
        shuffle,
        l2,
        label_smoothing,
        mixup_alpha,
        gradient_clip,
        record_gradient_norm,
        total_steps,
        seed,
        n_threads,
    )
    plan = (epochs, patience, min_delta, criterion, bool(restore_best))

    before, awaited_rows = net._vector, net._awaits_rows
    vector, _ = net._first_vector(settings, table)
    bar = _ProgressBar(epochs) if progress and not callable(progress) else None
    if bar:
        listeners = (*listeners, bar)
    elif callable(progress):
        listeners = (*listeners, _without_answer(progress))
    observe = _observer(net, listeners, selection if callable(selection) else None)
    try:
        curves, best_epoch, reason, error = _core.fit(
            net._shape, settings, vector, table, held_back, plan, observe
        )
    except BaseException:
        net._set_vector(before, awaits_rows=awaited_rows)
        raise
    finally:
        if bar:
            bar.close()
    net._set_vector(vector)
    if error is not None:
        raise error
    training, validating, rates, seconds, norms = curves
    by_layer = norms.reshape(len(training), -1) if record_gradient_norm else None
    history = History(training, validating, rates, seconds, best_epoch, reason, by_layer)
    if criterion == "score" and not best_epoch and reason == "epochs":
        warnings.warn(
            "selection returned NaN after every epoch; the network keeps the last parameters",
            RuntimeWarning,
            stacklevel=2,
        )
    if reason == "diverged":
        warnings.warn(
            f"the loss was not finite in epoch {history.stopped_epoch}; the parameters of epoch {best_epoch} "
            "are restored. A smaller learning_rate or scaled inputs usually help",
            RuntimeWarning,
            stacklevel=2,
        )
    return history


def _observer(
    net: MLP, listeners: Sequence[Callable[[EpochState], object]], score: Callable[[MLP], float] | None
) -> Callable[..., tuple[bool, float]] | None:
    """What the native loop calls after each epoch, or None: without listeners it never leaves native code."""
    if not listeners and score is None:
        return None

    def observe(
        epoch: int,
        loss: float,
        validation_loss: float,
        learning_rate: float,
        seconds: float,
        vector: NDArray[Any],
    ) -> tuple[bool, float]:
        net._set_vector(vector)
        state = EpochState(epoch, loss, validation_loss, learning_rate, seconds, net)
        # Every listener hears of every epoch, also after one has said "stop".
        answers = [listener(state) for listener in listeners]
        stop = any(isinstance(answer, str) and answer == "stop" for answer in answers)
        return stop, math.nan if score is None else _number(score(net))

    return observe


def _listeners(
    callbacks: Sequence[Callable[[EpochState], object]],
) -> tuple[Callable[[EpochState], object], ...]:
    try:
        listeners = tuple(callbacks)
    except TypeError:
        raise TypeError(f"callbacks is {callbacks!r}, but must be a sequence of functions") from None
    for i, listener in enumerate(listeners):
        if not callable(listener):
            raise TypeError(f"callbacks[{i}] is {listener!r}, but must be a function")
    return listeners


def _number(score: Any) -> float:
    try:
        return float(score)
    except (TypeError, ValueError):
        raise TypeError(f"selection returned {score!r}, but must return a number") from None


def _without_answer(listener: Callable[[EpochState], object]) -> Callable[[EpochState], object]:
    """A listener that cannot stop the run."""

    def listen(state: EpochState) -> None:
        listener(state)

    return listen


class _ProgressBar:
    """A listener that draws a bar with both losses."""

    def __init__(self, epochs: int) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError('progress=True needs tqdm: pip install "ermin[cli]"') from None
        self._bar = tqdm(total=epochs, unit="epoch")

    def __call__(self, state: EpochState) -> None:
        losses = {"loss": f"{state.loss:.4g}"}
        if not math.isnan(state.validation_loss):
            losses["validation"] = f"{state.validation_loss:.4g}"
        self._bar.set_postfix(losses, refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


def _at_least_one(name: str, value: int) -> int:
    number = _arrays.whole(value, name)
    if number < 1:
        raise ValueError(f"{name} is {number}, but must be at least 1")
    if number > _MOST:
        raise ValueError(f"{name} is {number}, but must be at most {_MOST}")
    return number


def _batch_size(batch_size: int | str, n_rows: int) -> int:
    if isinstance(batch_size, str):
        if batch_size != "auto":
            raise ValueError(f"batch_size is {batch_size!r}, but must be 'auto' or a whole number")
        return min(_MOST_ROWS_BY_DEFAULT, n_rows)
    return min(_at_least_one("batch_size", batch_size), n_rows)


def _check_optimizer(optimizer: object) -> None:
    if not isinstance(optimizer, (SGD, Adam)):
        raise TypeError(f"optimizer is {optimizer!r}, but must be an SGD, Adam or AdamW")


def _check_network(net: object) -> None:
    if not hasattr(net, "_first_vector"):
        raise TypeError(f"net is of type {type(net).__name__}, but must be an MLP")


def _settings(
    net: MLP,
    loss: tuple[str, float],
    optimizer: SGD | Adam | None,
    batch_size: int,
    shuffle: bool,
    l2: float,
    label_smoothing: float,
    mixup_alpha: float,
    gradient_clip: float | None,
    record_gradient_norm: bool,
    total_steps: int,
    seed: _arrays.Seed,
    n_threads: int | None,
) -> _core.Settings:
    optimizer = Adam() if optimizer is None else optimizer
    _check_optimizer(optimizer)
    check = _arrays.check_number
    smoothing = check("label_smoothing", label_smoothing, 0, 1, "from 0 to 1")
    if smoothing and net.output not in ("softmax", "sigmoid"):
        raise ValueError(
            f"label_smoothing is {smoothing}, but the network's output is {net.output!r}: only probabilities "
            "(softmax, sigmoid) can be smoothed"
        )
    mixup_alpha = check("mixup_alpha", mixup_alpha, 0, math.inf, "at least 0")
    if mixup_alpha and any(array.name.startswith("embeddings.") for array in net._arrays):
        raise ValueError(
            f"mixup_alpha is {mixup_alpha}, but the network embeds categories, which cannot be mixed"
        )
    if gradient_clip is not None:
        gradient_clip = check("gradient_clip", gradient_clip, 0, math.inf, "greater than 0", open_low=True)
    return _core.Settings(
        net._shape,
        loss,
        optimizer._native(),
        batch_size,
        bool(shuffle),
        check("l2", l2, 0, math.inf, "at least 0"),
        gradient_clip,
        bool(record_gradient_norm),
        (
            [schedules.native(dropout) for dropout in net._dropouts],
            smoothing,
            mixup_alpha,
        ),
        total_steps,
        seed,
        _arrays.thread_count(n_threads),
    )


def _hold_back(
    net: MLP, table: Table, validation: float | Sequence[Any] | None, loss: str, seed: _arrays.Seed
) -> tuple[Table, Table | None]:
    """The table to train on and the one to validate on. Rows are chosen by number: nothing is copied."""
    if validation is None:
        return table, None
    if isinstance(validation, (tuple, list)):
        if len(validation) not in (2, 3):
            raise ValueError(
                f"validation has {len(validation)} parts, but must be (X, y) or (X, y, sample_weight)"
            )
        X, y, *rest = validation
        weights = rest[0] if rest else None
        return table, net._table(X, y, weights, loss, ("validation[0]", "validation[1]", "validation[2]"))
    try:
        fraction = float(validation)  # type: ignore[arg-type]  # anything else is refused on the next lines
    except (TypeError, ValueError):
        kind = type(validation).__name__
        raise TypeError(f"validation is of type {kind}, but must be None, a fraction or (X, y)") from None
    if not 0 < fraction < 1:
        raise ValueError(f"validation is {fraction}, but must be between 0 and 1")
    X, y, weights, _ = table
    held = choose_rows(len(X), fraction, y if y.ndim == 1 else None, seed)
    n_held = int(np.count_nonzero(held))
    if n_held in (0, len(X)):
        raise ValueError(
            f"validation is {fraction}, but of {len(X)} rows some must be held back and some be left"
        )
    numbers = np.arange(len(X), dtype=np.uint32)
    return (X, y, weights, numbers[~held]), (X, y, weights, numbers[held])


def choose_rows(
    n_rows: int, fraction: float, classes: NDArray[np.uint32] | None, seed: _arrays.Seed
) -> NDArray[np.bool_]:
    """Which rows are held back: `fraction` of all, rounded to the nearest, and by class as near to it as can be."""
    held = np.empty(n_rows, dtype=bool)
    _core.hold_back(seed, fraction, classes, held)
    return held


class Trainer:
    """The pieces `fit` is made of: single steps and single epochs.

    ``fit(net, X, y, epochs=n, rng=seed)`` equals n calls of ``epoch`` of a `Trainer` with the same settings and seed,
    bit for bit. Moments, counters and seed are kept and can be pickled.

    Parameters
    ----------
    net : MLP
        Its parameters change with every call; they may be assigned in between.
    loss, optimizer, batch_size, shuffle, l2, label_smoothing, mixup_alpha, gradient_clip, rng, n_threads
        As for `fit`.
    total_steps : int, optional
        How many steps the run will have: what schedules need to know.

    Raises
    ------
    ValueError
        If a schedule needs `total_steps` and there is none, or an option is outside its range.

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP([1, 1], initializer="zeros")
    >>> trainer = ermin.Trainer(net, optimizer=ermin.SGD(0.5))
    >>> [round(trainer.step([[1.0]], [1.0]), 4) for _ in range(3)]  # ½·(p − y)² before each step
    [0.5, 0.0, 0.0]
    """

    def __init__(
        self,
        net: MLP,
        *,
        loss: losses.Loss = "auto",
        optimizer: SGD | Adam | None = None,
        batch_size: int | str = "auto",
        shuffle: bool = True,
        l2: float = 0.0,
        label_smoothing: float = 0.0,
        mixup_alpha: float = 0.0,
        gradient_clip: float | None = None,
        total_steps: int | None = None,
        rng: _arrays.RngLike = None,
        n_threads: int | None = None,
    ) -> None:
        _check_network(net)
        if optimizer is not None:
            _check_optimizer(optimizer)
        if total_steps is None:
            if optimizer is not None and needs_length(optimizer):
                raise ValueError("total_steps is None, but the optimizer's schedule depends on it")
            if any(map(schedules.needs_length, net._dropouts)):
                raise ValueError("total_steps is None, but the network's dropout depends on it")
        total_steps = 1 if total_steps is None else _at_least_one("total_steps", total_steps)
        self._net = net
        self._loss, self._optimizer, self._batch_size = losses.native(loss), optimizer, batch_size
        clip = (gradient_clip, False)
        self._options = (
            shuffle,
            l2,
            label_smoothing,
            mixup_alpha,
            *clip,
            total_steps,
            _arrays.seed(rng),
            n_threads,
        )
        self._natives: dict[int, _core.Settings] = {}
        self._state = _core.TrainerState.fresh(net._shape, self._native(1), net._vector)

    @property
    def net(self) -> MLP:
        """The network that is trained; the moments are its own, so that another one needs a trainer of its own."""
        return self._net

    def _native(self, n_rows: int) -> _core.Settings:
        """The settings for that many rows; the latest are kept, because steps in a loop have the same number."""
        batch_size = _batch_size(self._batch_size, n_rows)
        if batch_size not in self._natives:
            self._natives = {
                batch_size: _settings(self.net, self._loss, self._optimizer, batch_size, *self._options)
            }
        return self._natives[batch_size]

    def step(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """One step of the optimiser on all these rows as one batch.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        float
            The weighted mean loss before the step; NaN for a batch whose weights are all 0, which changes nothing.
        """
        return self._advance(X, y, sample_weight, epoch=False)

    def epoch(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """One pass over the rows in batches.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        float
            The weighted mean loss over the rows, each before its step.
        """
        return self._advance(X, y, sample_weight, epoch=True)

    def _advance(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None, *, epoch: bool) -> float:
        table = self.net._table(X, y, sample_weight, self._loss[0], ("X", "y", "sample_weight"))
        settings = self._native(len(table[0]))
        vector, awaits_rows = self.net._first_vector(settings, table)
        value, _ = self._state.advance(self.net._shape, settings, vector, table, epoch, True)
        self.net._set_vector(vector, awaits_rows=awaits_rows)
        return value

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_natives": {}, "_state": self._state.parts()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._state = _core.TrainerState.from_parts(*state["_state"])
