"""How far P~ is from Q: entropy, cross-entropy, Kullback-Leibler divergence, empirical risk.

What happens where an event occurs to which the model gives probability 0 is not hidden: ``zero`` names it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from ermin import _arrays, _core, distributions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Distribution: TypeAlias = ArrayLike | "_HasEvents"
    Zero: TypeAlias = Literal["inf", "clip", "smooth", "raise"]
    Validate: TypeAlias = bool | Literal["normalize"]

__all__ = ["cross_entropy", "empirical_risk", "entropy", "kl_divergence"]


class _HasEvents(Protocol):
    """What `Bernoulli` and `Categorical` show of themselves here."""

    def _event_arrays(self) -> tuple[Literal["p", "logits"], NDArray[Any]]:
        """Probabilities or logits, events on the last axis; a Bernoulli's are 1 − p and p, or the logits 0 and l."""


_FLOAT64 = np.dtype(np.float64)
_FLOAT32 = np.dtype(np.float32)
_INT64 = np.dtype(np.int64)
_UINT64 = np.dtype(np.uint64)
_ZEROS = ("inf", "clip", "smooth", "raise")
_VALIDATIONS = {True: "sums", False: "nothing", "normalize": "normalize"}


def entropy(
    p: Distribution,
    *,
    axis: int = -1,
    base: float | None = None,
    terms: bool = False,
    validate: Validate = True,
    out: NDArray[Any] | None = None,
    n_threads: int | None = None,
) -> Any:
    """H(p) = −Σ p·ln p over the events: the mean surprise of what p itself brings forth. 0·ln 0 is 0.

    Parameters
    ----------
    p : array-like of shape (..., n_events, ...), or a distribution
        Probabilities. float32 stays float32; anything else becomes float64. A distribution given by logits is used in
        log space.
    axis : int, default=-1
        The axis of events. A one-dimensional array is one distribution.
    base : float greater than 1, optional
        Of the logarithm: None for nats, 2 for bits.
    terms : bool, default=False
        Give −p·ln p event by event, not their sum.
    validate : bool or "normalize", default=True
        True: rows must be finite, at least 0, and sum to 1 within √eps of their dtype. "normalize" divides them by
        their sum. False: nothing is looked at; what is no finite number ≥ 0 gives NaN.
    out : numpy.ndarray, optional
        Where the result goes, of its shape and dtype. After an error its content is undefined.
    n_threads : int, optional
        None: as many as pay and as this process may use. The bits don't depend on it.

    Returns
    -------
    numpy scalar, or numpy.ndarray of the shape of `p` without `axis` (or with it, for `terms`)

    Raises
    ------
    ValueError
        If a probability is negative or not finite, or a row doesn't sum to 1; if an argument is out of range; if `out`
        doesn't fit, is read-only or overlaps `p`.
    TypeError
        If `p` doesn't hold real numbers.

    Notes
    -----
    The sum is accumulated in float64, in an order that depends on the number of events alone; its error is at most
    8·u·Σ|terms|, u = 2⁻⁵³ (float32: 2⁻²⁴).

    Examples
    --------
    >>> import ermin
    >>> float(ermin.entropy([0.5, 0.5], base=2))  # a fair coin: one bit
    1.0
    """
    row = _of_rows("entropy", p, None, axis, "inf", None, base, terms, validate, out, n_threads)
    if row is not None:
        return row
    first = _operand(p, "p", axis)
    return _compute("entropy", first, None, axis, "inf", None, base, terms, validate, out, n_threads)


def cross_entropy(
    p: Distribution,
    q: Distribution,
    *,
    axis: int = -1,
    zero: Zero = "inf",
    eps: float | None = None,
    base: float | None = None,
    terms: bool = False,
    validate: Validate = True,
    out: NDArray[Any] | None = None,
    n_threads: int | None = None,
) -> Any:
    """H(p, q) = −Σ p·ln q over the events: the mean surprise of someone who believes q, while p is the case.

    Parameters
    ----------
    p, q, axis, zero, eps, base, terms, validate, out, n_threads
        As for `kl_divergence`.

    Returns
    -------
    numpy scalar, or numpy.ndarray

    Raises
    ------
    ValueError, TypeError
        As `kl_divergence`.

    Examples
    --------
    >>> import ermin
    >>> p, q = [0.5, 0.5], [0.25, 0.75]
    >>> float(ermin.cross_entropy(p, q) - ermin.entropy(p) - ermin.kl_divergence(p, q)) < 1e-15
    True
    """
    row = _of_rows("cross_entropy", p, q, axis, zero, eps, base, terms, validate, out, n_threads)
    if row is not None:
        return row
    first, second = _operand(p, "p", axis), _operand(q, "q", axis)
    return _compute("cross_entropy", first, second, axis, zero, eps, base, terms, validate, out, n_threads)


def kl_divergence(
    p: Distribution,
    q: Distribution,
    *,
    axis: int = -1,
    zero: Zero = "inf",
    eps: float | None = None,
    base: float | None = None,
    terms: bool = False,
    validate: Validate = True,
    out: NDArray[Any] | None = None,
    n_threads: int | None = None,
) -> Any:
    """KL(p ‖ q) = Σ p·ln(p/q) over the events: the surprise that believing q costs beyond what p itself brings.

    Parameters
    ----------
    p, q : array-like of shape (..., n_events, ...), or distributions
        Probabilities; the axes beside the events' broadcast. Two float32 arrays stay float32; anything else becomes
        float64. A distribution given by logits is used in log space, where nothing underflows.
    axis : int, default=-1
        The axis of events, in each array. A one-dimensional array is one distribution.
    zero : {"inf", "clip", "smooth", "raise"}, default="inf"
        What happens where p > 0 and q = 0. "inf": the mathematics, +∞. "clip": q is at least `eps`, a tiny value
        in place of 0. "smooth": q becomes (q + eps)/(1 + n_events·eps). "raise": a ValueError names the first such
        event. Where p = 0 a term is 0, whatever q.
    eps : float greater than 0, optional
        For "clip" (at most 1; default ``finfo(dtype).tiny``) and "smooth" (default 1e-12).
    base : float greater than 1, optional
        Of the logarithm: None for nats, 2 for bits.
    terms : bool, default=False
        Give p·ln p − p·ln q event by event, not their sum.
    validate : bool or "normalize", default=True
        True: rows must be finite, at least 0, and sum to 1 within √eps of their dtype. "normalize" divides them by
        their sum. False: nothing is looked at; an event where p or q is no finite number ≥ 0 gives NaN.
    out : numpy.ndarray, optional
        Where the result goes, of its shape and dtype. After an error its content is undefined.
    n_threads : int, optional
        None: as many as pay and as this process may use. The bits don't depend on it.

    Returns
    -------
    numpy scalar, or numpy.ndarray of the broadcast shape without `axis` (or with it, for `terms`)
        With validation at least 0: where rounding, a row's sum beside 1 or clipping makes the sum of the terms
        negative, 0 takes its place. KL(p ‖ p) is exactly 0.

    Raises
    ------
    ValueError
        If a probability is negative or not finite, or a row doesn't sum to 1; if shapes don't match or an argument is
        out of range; if `out` doesn't fit, is read-only or overlaps an input; with ``zero="raise"`` at q = 0 < p.
    TypeError
        If `p` or `q` doesn't hold real numbers.

    Notes
    -----
    A term is p times one logarithm of the ratio, ln(p/q) = k·ln 2 + 2·atanh((p − q′)/(p + q′)), q′ = 2ᵏ·q near p: its
    relative error stays a few u where p is near q. The sum is accumulated in float64, in an order that depends on the
    number of events alone; its error is at most 8·u·Σ|terms|, u = 2⁻⁵³ (float32: 2⁻²⁴). Kullback and Leibler (1951),
    "On Information and Sufficiency".

    Examples
    --------
    >>> import ermin
    >>> fair, unlucky = [0.5, 0.5], [1.0, 0.0]
    >>> float(ermin.kl_divergence(fair, unlucky))
    inf
    >>> round(float(ermin.kl_divergence(fair, unlucky, zero="clip", eps=1e-12)), 6)
    13.122363
    """
    row = _of_rows("kl_divergence", p, q, axis, zero, eps, base, terms, validate, out, n_threads)
    if row is not None:
        return row
    first, second = _operand(p, "p", axis), _operand(q, "q", axis)
    return _compute("kl_divergence", first, second, axis, zero, eps, base, terms, validate, out, n_threads)


def empirical_risk(
    q: Distribution,
    p_model: Distribution,
    *,
    sample_weight: ArrayLike | None = None,
    axis: int = -1,
    zero: Zero = "inf",
    eps: float | None = None,
    base: float | None = None,
    terms: bool = False,
    validate: Validate = True,
    out: NDArray[Any] | None = None,
    n_threads: int | None = None,
) -> Any:
    """The mean over rows of KL(qᵢ ‖ p̃ᵢ): what training minimises.

    Parameters
    ----------
    q : array-like of int of shape (...,), or as `p` of `kl_divergence`
        Whole numbers (or bools) are class indices, the event that happened: a row's divergence is −ln p̃ of it.
    p_model : as `q` of `kl_divergence`
    sample_weight : array-like of the shape of the rows, optional
        At least 0, not all 0. A row of weight 0 doesn't count, whatever its divergence.
    terms : bool, default=False
        Give the terms of every row and event instead, without weights.
    axis, zero, eps, base, validate, out, n_threads
        As for `kl_divergence`.

    Returns
    -------
    numpy scalar; or numpy.ndarray, for `terms`
        0.0 for no rows.

    Raises
    ------
    ValueError, TypeError
        As `kl_divergence`; if a class index is not that of an event, or weights are negative, not finite, all 0 or of
        another shape.

    Examples
    --------
    >>> import ermin
    >>> model = [[0.5, 0.5], [0.25, 0.75]]
    >>> round(float(ermin.empirical_risk([0, 1], model)), 6)  # (ln 2 + ln 4/3) / 2
    0.490415
    >>> float(ermin.empirical_risk(model, model))
    0.0
    """
    second = _operand(p_model, "p_model", axis)
    if not hasattr(q, "_event_arrays"):
        array = np.asarray(q)
        if array.dtype.kind in "iub":
            return _class_risk(
                array, second, sample_weight, axis, zero, eps, base, terms, validate, out, n_threads
            )
        q = array
    first = _operand(q, "q", axis)
    if terms:
        _weights(sample_weight, _broadcast(first, second)[0])
        return _compute("kl_divergence", first, second, axis, zero, eps, base, True, validate, out, n_threads)
    front, _ = _broadcast(first, second)
    single = first.single and second.single
    plan = _plan(zero, eps, base, validate, single)
    weights = _weights(sample_weight, front)
    out = _out(out, (), single, (first, second), weights)
    mean = _core.divergence(
        "kl_divergence", first.core, second.core, front, plan, None, False, weights, single,
        _arrays.thread_count(n_threads),
    )  # fmt: skip
    return _scalar(mean, single, out)


def _class_risk(
    classes: NDArray[Any],
    model: _Operand,
    sample_weight: ArrayLike | None,
    axis: int,
    zero: Zero,
    eps: float | None,
    base: float | None,
    terms: bool,
    validate: Validate,
    out: NDArray[Any] | None,
    n_threads: int | None,
) -> Any:
    """The empirical risk where the events that happened are known: class indices."""
    *own, n_events = model.array.shape
    if own and classes.ndim > len(own):
        raise ValueError(
            f"q has dtype {classes.dtype} and shape {classes.shape}: whole numbers are class indices, one for each "
            f"row of p_model, whose rows have shape {tuple(own)}; probabilities must be floats"
        )
    if list(classes.shape) == own:
        front, indices = classes.shape, classes
    else:
        try:
            front = np.broadcast_shapes(classes.shape, tuple(own))
        except ValueError:
            raise ValueError(
                f"q has shape {classes.shape} and holds class indices, but p_model has rows of shape {tuple(own)}"
            ) from None
        indices = np.broadcast_to(classes, front)
    if classes.dtype == _UINT64 and classes.size and int(classes.max()) >= n_events:
        raise ValueError(f"q holds {int(classes.max())}, but must hold indices of {n_events} events")
    indices = np.require(indices, _INT64, ["C", "A"])
    single = model.single
    plan = _plan(zero, eps, base, validate, single)
    weights = _weights(sample_weight, front)
    threads = _arrays.thread_count(n_threads)
    if not terms:
        out = _out(out, (), single, (model,), classes, weights)
        mean = _core.divergence(
            "kl_divergence", indices, model.core, front, plan, None, False, weights, single, threads
        )
        return _scalar(mean, single, out)
    place = _place(axis, len(front) + 1)
    shape = (*front[:place], n_events, *front[place:])
    out = _out(out, shape, single, (model,), classes, weights)
    rows = np.empty((*front, 1), _FLOAT32 if single else _FLOAT64)
    _core.divergence("kl_divergence", indices, model.core, front, plan, rows, False, None, single, threads)
    if out is None:
        out = np.empty(shape, rows.dtype)
    out[...] = 0
    if n_events:
        np.put_along_axis(np.moveaxis(out, place, -1), indices[..., None], rows, axis=-1)
    return out


_DEFAULT = ("inf", 0.0, "sums", 0.0)
"""What `_plan` makes of default options."""


def _of_rows(
    quantity: str,
    p: Distribution,
    q: Distribution | None,
    axis: int,
    zero: Zero,
    eps: float | None,
    base: float | None,
    terms: bool,
    validate: Validate,
    out: NDArray[Any] | None,
    n_threads: int | None,
) -> Any:
    """The shortest way, for one-dimensional arrays: a call costs about a microsecond. None if it leads nowhere."""
    if (
        type(p) is not np.ndarray
        or (q is not None and type(q) is not np.ndarray)
        or axis not in (-1, 0)
        or terms is not False
        or out is not None
        or n_threads is not None
    ):
        return None
    dtype = p.dtype
    if dtype is not _FLOAT64 and dtype is not _FLOAT32:
        return None
    single = dtype is _FLOAT32
    plan = _plan(zero, eps, base, validate, single)
    row = _core.divergence_of_rows(quantity, p, q, plan)
    return None if row is None else _scalar(row, single, None)


class _Operand(NamedTuple):
    """An argument at the door: events on the last axis, native numbers in any strides."""

    array: NDArray[Any]
    axis: int
    """Where the events' axis was."""
    logits: bool
    single: bool
    """float32"""
    tolerance: float
    name: str

    @property
    def core(self) -> tuple[NDArray[Any], int, bool, float, str]:
        """What the native module takes."""
        return self.array, self.axis, self.logits, self.tolerance, self.name


_TOLERANCES = {np.dtype(t).itemsize: math.sqrt(np.finfo(t).eps) for t in (np.float16, np.float32, np.float64)}
"""How far a row's sum may be from 1, by the bytes of a float."""
_TINY = {single: float(np.finfo(np.float32 if single else np.float64).tiny) for single in (True, False)}
_NATIVE = frozenset(np.dtype(code) for code in "?bhilqBHILQfd")


def _operand(x: Distribution, name: str, axis: int) -> _Operand:
    if type(x) is np.ndarray and axis == -1 and x.ndim and x.flags.aligned:
        if x.dtype is _FLOAT64:
            return _Operand(x, x.ndim - 1, False, False, _TOLERANCES[8], name)
        if x.dtype is _FLOAT32:
            return _Operand(x, x.ndim - 1, False, True, _TOLERANCES[4], name)
    axis = _arrays.whole(axis, "axis")
    logits = False
    if hasattr(x, "_event_arrays"):
        kind, array = x._event_arrays()
        logits, axis = kind == "logits", -1
    else:
        array = np.asarray(x)
    dtype = array.dtype
    single = dtype.kind == "f" and dtype.itemsize == 4
    if dtype not in _NATIVE or not array.flags.aligned:
        array = _arrays.floats(array, name, _FLOAT32 if single else _FLOAT64)
    if array.ndim == 0:
        raise ValueError(f"{name} has no dimensions, but must have an axis of events")
    place = 0 if array.ndim == 1 and axis >= 0 else axis
    if not -array.ndim <= place < array.ndim:
        if array.ndim > 1:
            raise np.exceptions.AxisError(axis, array.ndim)
        place = 0
    place %= array.ndim
    if place != array.ndim - 1:
        array = np.moveaxis(array, place, -1)
    tolerance = _TOLERANCES.get(dtype.itemsize, _TOLERANCES[8]) if dtype.kind == "f" else _TOLERANCES[8]
    return _Operand(array, place, logits, single, tolerance, name)


def _broadcast(first: _Operand, second: _Operand | None) -> tuple[tuple[int, ...], int]:
    """(lengths of the axes in front, number of events)."""
    shape = first.array.shape
    if second is None or shape == second.array.shape:
        return shape[:-1], shape[-1]
    *front, n_events = shape
    *other, n_others = second.array.shape
    if n_events != n_others:
        raise ValueError(
            f"{second.name} has {n_others} events (shape {second.array.shape}, events last), "
            f"but {first.name} has {n_events}"
        )
    if front == other:
        return tuple(front), n_events
    try:
        return np.broadcast_shapes(tuple(front), tuple(other)), n_events
    except ValueError:
        raise ValueError(
            f"{first.name} and {second.name} have shapes {first.array.shape} and {second.array.shape} (events last), "
            "which don't broadcast"
        ) from None


def _place(axis: int, ndim: int) -> int:
    """The events' axis in an array of results with that many axes."""
    axis = _arrays.whole(axis, "axis")
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def _compute(
    quantity: str,
    first: _Operand,
    second: _Operand | None,
    axis: int,
    zero: Zero,
    eps: float | None,
    base: float | None,
    terms: bool,
    validate: Validate,
    out: NDArray[Any] | None,
    n_threads: int | None,
) -> Any:
    front, n_events = _broadcast(first, second)
    place = _place(axis, len(front) + 1)
    single = first.single and (second is None or second.single)
    plan = _plan(zero, eps, base, validate, single)
    shape = (*front[:place], n_events, *front[place:]) if terms else front
    given = _out(out, shape, single, (first,) if second is None else (first, second))
    result = np.empty(shape, _FLOAT32 if single else _FLOAT64) if given is None else given
    target = np.moveaxis(result, place, -1) if terms else result[..., None]
    _core.divergence(
        quantity, first.core, None if second is None else second.core, front, plan, target, bool(terms), None,
        single, _arrays.thread_count(n_threads),
    )  # fmt: skip
    return result[()] if given is None else given


def _plan(
    zero: Zero, eps: float | None, base: float | None, validate: Validate, single: bool
) -> tuple[str, float, str, float]:
    """The options as the native module takes them, judged."""
    if type(zero) is str and zero == "inf" and eps is None and base is None and validate is True:
        return _DEFAULT
    if not (isinstance(zero, str) and zero in _ZEROS):
        raise ValueError(f"zero is {zero!r}, but must be one of {', '.join(map(repr, _ZEROS))}")
    known = isinstance(validate, (bool, np.bool_, str)) and validate in _VALIDATIONS
    if not known:
        raise ValueError(f'validate is {validate!r}, but must be True, False or "normalize"')
    if eps is None:
        eps = 1e-12 if zero == "smooth" else _TINY[single]
    elif zero not in ("clip", "smooth"):
        raise ValueError(
            f'eps is {eps!r}, but zero={zero!r} has no use for it: it goes with "clip" and "smooth"'
        )
    eps = _number(eps, "eps")
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.float32(eps) if single else eps
    if not 0 < rounded < math.inf or (zero == "clip" and eps > 1):
        need = "positive and at most 1" if zero == "clip" else "positive and finite"
        raise ValueError(f"eps is {eps}, but must be {need}" + (" in float32" if 0 < eps < 1e-38 else ""))
    return zero, eps, _VALIDATIONS[validate], 0.0 if base is None else _base(base)


def _base(base: Any) -> float:
    number = _number(base, "base")
    if not 1 < number < math.inf:
        raise ValueError(f"base is {number}, but must be None or a finite number greater than 1")
    return number


def logarithm_of_base(base: float) -> Any:
    """Ln of a base, judged: what nats are divided by."""
    return distributions.evaluate("ln", np.asarray(_base(base)))


def _number(x: Any, name: str) -> float:
    try:
        return float(x)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {x!r}, but must be a number") from None


def _weights(weights: ArrayLike | None, front: tuple[int, ...]) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    array = _arrays.floats(weights, "sample_weight", np.float64)
    if array.shape != front:
        raise ValueError(f"sample_weight has shape {array.shape}, but must have shape {front}")
    return array


def _out(
    out: NDArray[Any] | None,
    shape: tuple[int, ...],
    single: bool,
    operands: tuple[_Operand, ...],
    *others: NDArray[Any] | None,
) -> NDArray[Any] | None:
    """`out`, if it can take the result."""
    if out is None:
        return None
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is of type {type(out).__name__}, but must be a NumPy array")
    dtype = _FLOAT32 if single else _FLOAT64
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, but must have shape {shape}")
    if out.dtype != dtype:
        raise ValueError(f"out has dtype {out.dtype}, but must have dtype {dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only, but must be writeable")
    if not out.flags.aligned:
        raise ValueError("out is not aligned, but must be")
    named = [(operand.array, operand.name) for operand in operands]
    for array, name in named + [(other, "an input") for other in others if other is not None]:
        if _arrays.overlap(out, array):
            raise ValueError(f"out overlaps {name} in memory, but must have memory of its own")
    return out


def _scalar(value: float, single: bool, out: NDArray[Any] | None) -> Any:
    result = np.float32(value) if single else np.float64(value)
    if out is None:
        return result
    out[...] = result
    return out
