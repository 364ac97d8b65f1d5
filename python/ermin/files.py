"""One file for whatever is saved: named arrays and a description, written whole or not at all.

The format is safetensors, whose metadata key ``ermin`` holds the description as canonical JSON and a SHA-256 of the
file. Loading checks the digest and never runs code.
"""

from __future__ import annotations

import importlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ermin import _core

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FORMAT = 1
"""Raised when an older reader could not understand a file any more."""

_CLASSES = {
    "network": ("ermin.network", "MLP"),
    "classifier": ("ermin.classifier", "MLPClassifier"),
    "regressor": ("ermin.regressor", "MLPRegressor"),
    "table": ("ermin.tabular", "TableModel"),
}
_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}


def save(
    path: str | os.PathLike[str],
    kind: str,
    description: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
) -> None:
    """Write an object of a known kind; `description` must be what JSON can hold."""
    header = {"format": FORMAT, "kind": kind, **description}
    try:
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{kind} cannot be saved: {error}") from None
    names = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
    named = []
    for name, tensor in tensors.items():
        array = np.asarray(tensor)
        dtype = names.get(array.dtype.newbyteorder("<"))
        if dtype is None:
            raise TypeError(f"{kind} cannot be saved: {name} has dtype {array.dtype}")
        named.append((name, dtype, list(array.shape), array.astype(_DTYPES[dtype]).tobytes()))
    _core.save(os.fspath(path), text, named)


def load(path: str | os.PathLike[str]) -> Any:
    """Read what was saved: a network, an estimator or the model of ``ermin fit``.

    Parameters
    ----------
    path : path-like
        A file written by a ``save`` method of this package.

    Returns
    -------
    object
        Of the class that was saved, with the same bits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or not a model saved by ermin.

    Examples
    --------
    >>> import os, tempfile
    >>> import ermin
    >>> net = ermin.MLP([2, 3, 1], rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     net.save(path)
    ...     same = ermin.load(path)
    >>> same.sizes
    (2, 3, 1)
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} does not exist")
    try:
        text, named = _core.load(path)
    except OSError as error:
        raise ValueError(str(error)) from None
    header = json.loads(text)
    if header.pop("format") != FORMAT:
        raise ValueError(f"{path} was saved by a later version of ermin")
    kind = header.pop("kind")
    if kind not in _CLASSES:
        raise ValueError(f"{path} holds a {kind}, which this version of ermin does not know")
    tensors = {
        name: np.frombuffer(data, dtype=_DTYPES[dtype])
        .astype(np.dtype(_DTYPES[dtype]).newbyteorder("="))
        .reshape(shape)
        for name, dtype, shape, data in named
    }
    module, name = _CLASSES[kind]
    return getattr(importlib.import_module(module), name)._from_file(header, tensors)
