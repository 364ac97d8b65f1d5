"""The native module. Private: what it takes has passed the doors in `_arrays.py` and the classes around it."""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ermin._arrays import Rows, Seed

__version__: str

_Array = NDArray[Any]
_Table = tuple[Rows, _Array, NDArray[np.float64] | None, NDArray[np.uint32] | None]
_Schedule = tuple[str, float, tuple[float, float, float], float]
_Named = tuple[str, str, list[int], bytes]

def simd_level() -> str: ...
def simd_levels() -> list[str]: ...
def set_simd_level(name: str) -> None: ...
def evaluate(function: str, x: _Array, out: _Array) -> None: ...
def normal_quantile(p: float) -> float: ...
def hold_back(
    seed: Seed, fraction: float, classes: NDArray[np.uint32] | None, out: NDArray[np.bool_]
) -> None: ...
def save(path: str, description: str, tensors: Sequence[_Named]) -> None: ...
def load(path: str) -> tuple[str, list[_Named]]: ...
def fit(
    shape: Shape,
    settings: Settings,
    vector: _Array,
    table: _Table,
    validation: _Table | None,
    plan: tuple[int, int | None, float, str, bool],
    observe: Callable[..., tuple[bool, float]] | None,
) -> tuple[list[NDArray[np.float64]], int, str, BaseException | None]: ...

@final
class Shape:
    def __new__(cls, sizes: Sequence[int], activations: Sequence[str], output: str) -> Shape: ...
    @property
    def n_parameters(self) -> int: ...
    def initialize(self, initializer: str, seed: Seed, vector: _Array) -> None: ...
    def predict(self, vector: _Array, x: Rows, logits: bool, n_threads: int | None, out: _Array) -> None: ...
    def loss(self, vector: _Array, table: _Table, settings: Settings) -> float: ...
    def gradient(self, vector: _Array, table: _Table, settings: Settings, out: _Array) -> float: ...

@final
class Settings:
    def __new__(
        cls,
        shape: Shape,
        loss: tuple[str, float],
        optimizer: tuple[str, _Schedule, _Schedule, float, float, float, bool],
        batch_size: int,
        shuffle: bool,
        l2: float,
        gradient_clip: float | None,
        record_gradient_norm: bool,
        regularization: tuple[_Schedule, float, float],
        total_steps: int,
        seed: Seed,
        n_threads: int | None,
    ) -> Settings: ...

@final
class TrainerState:
    @staticmethod
    def fresh(shape: Shape, settings: Settings, vector: _Array) -> TrainerState: ...
    @staticmethod
    def from_parts(
        first: _Array, second: _Array, numbers: Sequence[float], steps: int, epochs: int
    ) -> TrainerState: ...
    def parts(self) -> tuple[_Array, _Array, list[float], int, int]: ...
    def advance(
        self, shape: Shape, settings: Settings, vector: _Array, table: _Table, epoch: bool, check: bool
    ) -> tuple[float, float]: ...
