"""Rows with their targets and weights on the way into a fit, and which of them are held back to validate on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import _safe_indexing

from ermin import _arrays
from ermin.training import choose_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ermin._arrays import Rows, Seed
    from ermin.network import Table


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows with their targets and weights, as they came and as the native module takes them."""

    X: Any
    checked: Any
    rows: Rows
    y: Any
    targets: NDArray[Any]
    weights: NDArray[np.float64] | None

    def table(self, numbers: NDArray[np.uint32] | None) -> Table:
        """What the native module takes, of the numbered rows or of all."""
        return self.rows, self.targets, self.weights, numbers

    def part(self, places: NDArray[np.intp]) -> Sample:
        """The rows at these places."""
        weights = None if self.weights is None else self.weights[places]
        return Sample(
            _safe_indexing(self.X, places),
            checked := self.checked[places],
            _rows(checked),
            self.y[places],
            self.targets[places],
            weights,
        )

    def with_rows_of(self, other: Sample) -> Sample:
        """These rows, then the other ones."""
        weights = None
        if self.weights is not None or other.weights is not None:
            mine, theirs = (np.ones(len(s.rows)) if s.weights is None else s.weights for s in (self, other))
            weights = np.concatenate([mine, theirs])
        targets = np.concatenate([self.targets, other.targets])
        checked = _stacked(self.checked, other.checked)
        return Sample(None, checked, _rows(checked), None, targets, weights)


def _rows(X: Any) -> Rows:
    """Checked rows in a form the native module reads."""
    return _arrays.table(X, "X", X.shape[1])


def _stacked(one: Any, other: Any) -> Any:
    """The rows of both, sparse where one is."""
    if not (hasattr(one, "tocsr") or hasattr(other, "tocsr")):
        return np.concatenate([one, other])
    from scipy.sparse import vstack

    return vstack([one, other], format="csr")


def hold_back(
    sample: Sample, fraction: float, classes: NDArray[np.uint32] | None, seed: Seed
) -> NDArray[np.bool_]:
    """Which rows are held back: ⌈fraction·n⌉ of them, by class. A class of one row stays with the others."""
    n = len(sample.rows)
    wanted = math.ceil(fraction * n)
    if wanted < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    if wanted == n:
        raise ValueError(
            f"With n_samples={n}, test_size={fraction} and train_size=None, the resulting train set will be empty. "
            "Adjust any of the aforementioned parameters."
        )
    candidates = np.arange(n)
    if classes is not None:
        several = (np.bincount(classes) > 1)[classes]
        if several.sum() > wanted:
            candidates, classes = candidates[several], classes[several]
    chosen = np.zeros(n, dtype=bool)
    chosen[candidates[choose_rows(len(candidates), wanted / len(candidates), classes, seed)]] = True
    if sample.weights is not None:
        for rows, purpose in ((chosen, "held back"), (~chosen, "left to train on")):
            if not (sample.weights[rows] > 0).any():
                raise ValueError(
                    f"sample_weight is 0 for all rows that are {purpose}; another random_state or validation_fraction "
                    "draws others"
                )
    return chosen
