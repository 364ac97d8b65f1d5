"""Coercion at the door: what a caller passes becomes what the native module takes, or an error that names it.

Only the form is settled here (dtype, order, shape, array-likes, seeds); the native code judges the values.
"""

from __future__ import annotations

import math
import operator
import os
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Seed: TypeAlias = int | bytes | tuple[int, ...]
    RngLike: TypeAlias = int | np.random.SeedSequence | np.random.Generator | None

_WORD = 2**64


def seed(rng: RngLike) -> Seed:
    """What the native module makes a 128-bit key of.

    An int is hashed natively; a `SeedSequence` gives the 16 bytes of its ``generate_state(4)``; a `Generator` gives
    two raw words, taken under its lock, so that two calls differ; None gives 16 bytes of the system's entropy.
    """
    if type(rng) is int and 0 <= rng < _WORD:  # first, and fast: the usual case
        return rng
    if rng is None:
        return os.urandom(16)
    if isinstance(rng, bytes) and len(rng) == 16:  # a key made here before
        return rng
    if isinstance(rng, np.random.Generator):
        return np.asarray(rng.bit_generator.random_raw(2), dtype="<u8").tobytes()
    if isinstance(rng, np.random.SeedSequence):
        return rng.generate_state(4).astype("<u4").tobytes()
    if isinstance(rng, (bool, np.bool_)):
        raise TypeError(f"rng is {rng!r}, but must be None, an int, a SeedSequence or a Generator")
    try:
        number = operator.index(rng)
    except TypeError:
        kind = type(rng).__name__
        raise TypeError(
            f"rng is of type {kind}, but must be None, an int, a SeedSequence or a Generator"
        ) from None
    if number < 0:
        raise ValueError(f"rng is {number}, but must be at least 0")
    if number < _WORD:
        return number
    words = []
    while number:
        number, word = divmod(number, _WORD)
        words.append(word)
    return tuple(words)


def thread_count(n_threads: int | None) -> int | None:
    """`n_threads` checked: None leaves the choice to the native module, or is 1 in a worker process.

    Workers are daemonic processes (`multiprocessing.Pool`) and those of loky (joblib): others like them have the
    remaining processors.
    """
    if n_threads is None:
        module = sys.modules.get("multiprocessing.process")
        if module is not None:
            process = module.current_process()
            if process.daemon or "loky" in type(process).__module__:
                return 1
        return None
    number = whole(n_threads, "n_threads")
    if number < 1:
        raise ValueError(f"n_threads is {number}, but must be None or at least 1")
    return min(number, sys.maxsize)


def whole(number: Any, name: str) -> int:
    """`number` as an int, if it is a whole number by its type."""
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{name} is {number!r}, but must be an integer") from None


def check_number(
    name: str,
    value: object,
    low: float,
    high: float,
    need: str,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """`value` as a float inside its range, or an error that names it."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} is {value!r}, but must be a number")
    number = float(value)
    inside = (low < number if open_low else low <= number) and (
        number < high if open_high else number <= high
    )
    if not (math.isfinite(number) and inside):
        raise ValueError(f"{name} is {value}, but must be {need}")
    return number


def floats(x: ArrayLike, name: str, dtype: Any = None) -> NDArray[Any]:
    """`x` as a C-contiguous, aligned, native array of `dtype`, or of float32 or float64 as it comes (else float64).

    No copy is made of what is already right. Complex, text and object arrays of anything but numbers are refused.
    """
    array = np.asarray(x)
    kind = array.dtype.kind
    if kind not in "fiub":
        if kind == "O":
            try:
                array = array.astype(np.float64)
            except (TypeError, ValueError):
                raise TypeError(f"{name} has dtype object, but must hold numbers") from None
        else:
            raise TypeError(f"{name} has dtype {array.dtype}, but must hold real numbers")
    if dtype is None:
        single = array.dtype.kind == "f" and array.dtype.itemsize == 4  # of either byte order
        dtype = np.float32 if single else np.float64
    return np.require(array, dtype=dtype, requirements=["C", "A"])


def tosses(x: ArrayLike, name: str) -> NDArray[Any]:
    """`x` as a C-contiguous, aligned, native array of bool, an integer type, float32 or float64, as it comes."""
    array = np.asarray(x)
    if array.dtype.kind in "biu":
        return np.require(array, dtype=array.dtype.newbyteorder("="), requirements=["C", "A"])
    return floats(array, name)


def each(shape: tuple[int, ...], whole: tuple[int, ...]) -> int | None:
    """How many neighbours of an array of shape `whole` share an element of one of `shape` broadcast to it.

    Element i of the whole then has element ``i // each % size``; None where broadcasting is not of that kind.
    """
    padded = (1,) * (len(whole) - len(shape)) + shape
    pairs = list(zip(padded, whole, strict=True))
    shared = 1
    while pairs and pairs[-1][0] == 1:
        shared *= pairs.pop()[1]
    while pairs and pairs[-1][0] == pairs[-1][1]:
        pairs.pop()
    return shared if all(length == 1 for length, _ in pairs) else None


def broadcast_to(shape: tuple[int, ...], whole: tuple[int, ...], name: str) -> None:
    """Refuses an array of `shape` that cannot be broadcast to `whole`."""
    padded = (1,) * (len(whole) - len(shape)) + shape
    if len(padded) > len(whole) or any(a not in (1, b) for a, b in zip(padded, whole, strict=True)):
        raise ValueError(f"{name} has shape {shape}, which cannot be broadcast to {whole}")


def common_shape(first: tuple[int, ...], second: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The shape that a parameter of shape `first` and an array of shape `second` are broadcast to."""
    if first == second or not first:
        return second
    try:
        return np.broadcast_shapes(first, second)
    except ValueError:
        raise ValueError(
            f"{name} has shape {second}, which does not go with the parameter's shape {first}"
        ) from None


def size(size: int | Sequence[int]) -> tuple[int, ...]:
    """A shape, given as NumPy's `size`."""
    lengths = (size,) if hasattr(size, "__index__") else size
    try:
        shape = tuple(operator.index(length) for length in lengths)
    except TypeError:
        raise TypeError(f"size is {size!r}, but must be None, an int or a tuple of ints") from None
    if any(length < 0 for length in shape):
        raise ValueError(f"size is {size!r}, but must not be negative")
    return shape


def filled(out: Any, shape: tuple[int, ...] | None, inputs: Sequence[Any]) -> NDArray[Any]:
    """`out` checked: an array of that shape (None: any), writeable, and apart from the inputs' memory."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is of type {type(out).__name__}, but must be a NumPy array")
    if shape is not None and out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, but must have shape {shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only, but must be writeable")
    for array in inputs:
        if isinstance(array, np.ndarray) and overlap(out, array):
            raise ValueError("out overlaps an input, but must have memory of its own")
    return out


def overlap(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays share an element's memory, or may: where that is hard to tell, it counts as if they did."""
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]  # NumPy takes any number
    except np.exceptions.TooHardError:
        return True


def is_plain(array: NDArray[Any]) -> bool:
    """Whether the native module can write into it as it is."""
    return bool(array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative)


_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_NATIVE = frozenset(
    np.dtype(code).str for code in ("?", "b", "h", "i", "q", "l", "B", "H", "I", "Q", "L", "f", "d")
)


def native(array: NDArray[Any], name: str) -> NDArray[Any]:
    """`array` as native aligned bool, int, uint, float32 or float64 in any strides: itself, or converted once."""
    dtype = array.dtype
    # (NumPy keeps one object for each of the two; their names take longer to make than a small network's prediction.)
    if (dtype is _FLOAT32 or dtype is _FLOAT64 or dtype.str in _NATIVE) and array.flags.aligned:
        return array
    if array.dtype.kind in "iub":
        return array.astype(array.dtype.newbyteorder("="))
    return floats(
        array, name, np.float32 if array.dtype.itemsize <= 4 and array.dtype.kind == "f" else np.float64
    )


class SparseRows:
    """Compressed sparse rows: those of a `scipy.sparse.csr_array`, whose memory they share."""

    __slots__ = ("data", "indices", "indptr", "n_columns")

    def __init__(self, matrix: Any, name: str) -> None:
        index = np.int32 if matrix.indices.dtype == matrix.indptr.dtype == np.int32 else np.int64
        self.indices = np.require(matrix.indices, index, ["C", "A"])
        self.indptr = np.require(matrix.indptr, index, ["C", "A"])
        self.data = np.ascontiguousarray(native(matrix.data, name))
        self.n_columns = int(matrix.shape[1])
        # SciPy may keep more room than there are elements.
        n = min(int(self.indptr[-1]), len(self.data), len(self.indices))
        self.indices, self.data = self.indices[:n], self.data[:n]

    def __len__(self) -> int:
        return len(self.indptr) - 1


Rows: TypeAlias = "NDArray[Any] | SparseRows"


def table(x: Any, name: str, n_columns: int) -> Rows:
    """`x` as a table of rows with `n_columns`, in a form the native module reads: native numbers, strided or CSR.

    No copy is made of aligned native bool, int, uint, float32 and float64, nor of CSR; other forms are converted once.
    """
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise ValueError(f"{name} has masked elements, but must be known in every place")
    sparse = not isinstance(x, np.ndarray) and hasattr(x, "tocsr")
    array: Any = x if sparse else np.asarray(x)
    shape = array.shape
    if len(shape) != 2:
        raise ValueError(f"{name} has {len(shape)} dimensions, but must have 2: (rows, columns)")
    if shape[1] != n_columns:
        raise ValueError(f"{name} has {shape[1]} columns, but the network has {n_columns} inputs")
    if shape[0] >= 2**32:
        raise ValueError(f"{name} has {shape[0]} rows, but must have fewer than 2**32")
    return SparseRows(array.tocsr(), name) if sparse else native(array, name)


def targets(y: ArrayLike, name: str, n_rows: int, n_outputs: int, output: str, loss: str) -> NDArray[Any]:
    """`y` as what a network with that output learns: class indices as uint32 in one dimension, or a table of numbers.

    For a softmax output, and for hinge and perceptron loss with several outputs, whole numbers in one dimension are
    class indices. Otherwise `y` holds a row of as many numbers as there are outputs (half as many for gaussian_nll),
    which may be one-dimensional where that is one; the native module reads them in any strides.
    """
    array = np.asarray(y)
    kind = array.dtype.kind
    n_targets = n_outputs // 2 if loss == "gaussian_nll" else n_outputs
    margin = loss in ("hinge", "perceptron")
    by_class = output == "softmax" or (margin and n_outputs > 1)
    if kind not in "fiub":
        need = "class indices or rows of numbers" if by_class else "numbers"
        raise ValueError(f"{name} has dtype {array.dtype}, but must hold {need}")
    if array.ndim not in (1, 2) or len(array) != n_rows:
        raise ValueError(f"{name} has shape {array.shape}, but X has {n_rows} rows")
    if by_class and array.ndim == 1:
        if kind == "f":
            raise ValueError(
                f"{name} has dtype {array.dtype} and one dimension, but must hold class indices (whole numbers) "
                f"or {n_outputs} numbers a row"
            )
        if kind != "b" and n_rows and not (array.min() >= 0 and array.max() < n_outputs):
            i = int(np.argmax((array < 0) | (array >= n_outputs)))
            raise ValueError(
                f"{name}[{i}] is {array[i]}, but must be a class index from 0 to {n_outputs - 1}"
            )
        return np.ascontiguousarray(array, dtype=np.uint32)
    if array.shape != (n_rows, n_targets) and not (array.ndim == 1 and n_targets == 1):
        or_classes = f"{(n_rows,)} of class indices or " if by_class else ""
        raise ValueError(
            f"{name} has shape {array.shape}, but must have shape {or_classes}{(n_rows, n_targets)}"
        )
    if margin and kind in "biu" and not (array < 0).any() and (array <= 1).all():
        array = np.where(array == 0, np.int8(-1), np.int8(1))  # labels 0 and 1 are the sides −1 and 1
    return native(array if array.ndim == 2 else array[:, np.newaxis], name)


def row_weights(weights: ArrayLike | None, name: str, n_rows: int) -> NDArray[np.float64] | None:
    """`weights` as one float64 a row, or None."""
    if weights is None:
        return None
    array = floats(weights, name, np.float64)
    if array.shape != (n_rows,):
        raise ValueError(f"{name} has shape {array.shape}, but must have shape {(n_rows,)}")
    return array
