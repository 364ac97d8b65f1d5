"""What distributions share: a parameter given as probabilities or as logits, weights, and room for draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ermin import _arrays, _core

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    Size = int | Sequence[int] | None

END = 2**63
"""Positions in a stream are below this."""
SMALL = 10_000
"""So few draws use one thread whatever is asked, and the process's settings need no look."""


class Distribution:
    """A distribution, or an array of them, given by probabilities or by logits."""

    _given: NDArray[Any]
    _logits: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one draw: that of the parameter, without the axis of classes."""
        raise TypeError("only distributions have a shape")

    def _draw(
        self,
        size: Size,
        dtype: DTypeLike,
        default: Any,
        out: Any,
        start: int,
        fill: Callable[[NDArray[Any], int], None],
    ) -> Any:
        """Room for draws of that size and type, or `out`; filled; and given back as it was wanted."""
        shape = self.shape if size is None else _arrays.size(size)
        if out is not None:
            _arrays.filled(out, None if size is None else shape, [self._given])
            shape = out.shape
            if dtype is not default and np.dtype(dtype) != out.dtype:
                raise TypeError(f"dtype is {np.dtype(dtype)}, but out has dtype {out.dtype}")
            dtype = out.dtype
        _arrays.broadcast_to(self.shape, shape, "logits" if self._logits else "p")
        wanted = np.dtype(dtype)
        if wanted.kind not in "biuf":
            raise TypeError(f"dtype is {wanted}, but must be bool, an integer or a floating-point type")
        native = wanted.newbyteorder("=") if wanted.itemsize <= 8 else np.dtype(np.float64)
        as_it_is = out is not None and out.dtype == native and _arrays.is_plain(out)
        room = out if as_it_is else np.empty(shape, native)
        check_positions(start, room.size)
        if room.size:
            fill(room, start)
        if out is None:
            return room.astype(wanted, copy=False)[()]
        if not as_it_is:
            out[...] = room
        return out

    def _logs(
        self,
        shape: tuple[int, ...],
        out: Any,
        inputs: Sequence[Any],
        n_threads: int | None,
        fill: Callable[[NDArray[Any], int | None], None],
    ) -> Any:
        """Room of the parameter's type for logarithms, or `out`; filled; and given back as it was wanted."""
        dtype = self._given.dtype
        if out is not None:
            _arrays.filled(out, shape, [self._given, *inputs])
            if out.dtype != dtype:
                raise TypeError(f"out has dtype {out.dtype}, but must have dtype {dtype}")
        as_it_is = out is not None and _arrays.is_plain(out)
        room = out if as_it_is else np.empty(shape, dtype)
        if room.size:
            fill(room, threads(n_threads, room.size))
        if out is None:
            return room[()]
        if not as_it_is:
            out[...] = room
        return out


def check_positions(start: int, n: int) -> None:
    """Refuses draws outside a stream."""
    if start < 0 or start + n > END:
        raise ValueError(
            f"start is {start}, but must be at least 0, and start + the number of draws at most 2⁶³"
        )


def threads(n_threads: int | None, n: int) -> int | None:
    """How many threads n draws may use; None leaves it to the native module."""
    return 1 if n_threads is None and n < SMALL else _arrays.thread_count(n_threads)


def weights(sample_weight: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Weights of observations: finite, at least 0, broadcast to the observations' shape."""
    if sample_weight is None:
        return None
    given = _arrays.floats(sample_weight, "sample_weight", np.float64)
    _arrays.broadcast_to(given.shape, shape, "sample_weight")
    wrong = ~((given >= 0) & (given < np.inf))
    if wrong.any():
        place = [int(i) for i in np.argwhere(wrong)[0]]
        raise ValueError(
            f"sample_weight{place or ''} is {given[tuple(place)]}, but must be finite and at least 0"
        )
    return np.ascontiguousarray(np.broadcast_to(given, shape)).reshape(shape)  # () stays ()


def either(p: Any, logits: Any) -> bool:
    """Whether logits were given; exactly one of the two must be."""
    if (p is None) == (logits is None):
        raise TypeError("exactly one of p and logits must be given")
    return logits is not None


def evaluate(function: str, x: NDArray[Any]) -> NDArray[Any]:
    """A native function of every element, whose bits are the same everywhere."""
    out = np.empty(x.shape, x.dtype)
    _core.evaluate(function, np.ascontiguousarray(x), out)
    return out


def plain(x: Any) -> Any:
    """A Python number for a single one, a read-only view otherwise."""
    if np.ndim(x) == 0:
        return x.item() if isinstance(x, (np.ndarray, np.generic)) else x
    view = x.view()
    view.flags.writeable = False
    return view


def shown(given: NDArray[Any]) -> str:
    """A parameter in a representation: short."""
    return repr(given.item()) if given.ndim == 0 else np.array2string(given, separator=", ", threshold=10)
