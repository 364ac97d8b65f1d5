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
_Layer = tuple[str, int, int, tuple[int, int], float, str, float, float]
_Argument = tuple[_Array, int, bool, float, str]
_Named = tuple[str, str, list[int], bytes]

def simd_level() -> str: ...
def simd_levels() -> list[str]: ...
def set_simd_level(name: str) -> None: ...
def evaluate(function: str, x: _Array, out: _Array) -> None: ...
def normal_quantile(p: float) -> float: ...
def beta_quantile(p: float, a: float, b: float) -> float: ...
def stream_words(
    seed: Seed, purpose: str, member: int, index: int, start: int, out: NDArray[np.uint64]
) -> None: ...
def multiply_adds(rounds: int) -> int: ...
def hold_back(
    seed: Seed, fraction: float, classes: NDArray[np.uint32] | None, out: NDArray[np.bool_]
) -> None: ...
def save(path: str, description: str, tensors: Sequence[_Named]) -> None: ...
def load(path: str) -> tuple[str, list[_Named]]: ...
def divergence(
    quantity: str,
    truth: _Argument | NDArray[np.int64],
    model: _Argument | None,
    front: Sequence[int],
    plan: tuple[str, float, str, float],
    out: _Array | None,
    terms: bool,
    weights: NDArray[np.float64] | None,
    single: bool,
    n_threads: int | None,
) -> float: ...
def divergence_of_rows(
    quantity: str, p: NDArray[Any], q: NDArray[Any] | None, plan: tuple[str, float, str, float]
) -> float | None: ...
def fit(
    shape: Shape,
    settings: Settings,
    vector: _Array,
    table: _Table,
    validation: _Table | None,
    plan: tuple[int, int | None, float, str, bool],
    observe: Callable[..., tuple[bool, float]] | None,
) -> tuple[list[NDArray[np.float64]], int, str, BaseException | None]: ...
def bernoulli_check(values: _Array, logits: bool) -> None: ...
def bernoulli_sample(
    values: float | _Array,
    each: int,
    logits: bool,
    seed: Seed,
    start: int,
    out: _Array,
    n_threads: int | None,
) -> None: ...
def bernoulli_sample_packed(
    values: float | _Array,
    each: int,
    logits: bool,
    seed: Seed,
    start: int,
    n: int,
    out: _Array,
    n_threads: int | None,
) -> None: ...
def bernoulli_counts(
    x: _Array, sample_weight: NDArray[np.float64] | None, n_threads: int | None
) -> list[float]: ...
def bernoulli_log_prob(
    values: _Array, each: int, logits: bool, x: _Array, out: _Array, n_threads: int | None
) -> None: ...
def bernoulli_log_likelihood(
    values: float | _Array,
    each: int,
    logits: bool,
    x: _Array,
    sample_weight: NDArray[np.float64] | None,
    n_threads: int | None,
) -> float: ...
def categorical_check(values: _Array, n_classes: int, logits: bool, tolerance: float) -> None: ...
def categorical_sample(
    values: _Array,
    n_classes: int,
    logits: bool,
    each: int,
    seed: Seed,
    start: int,
    out: _Array,
    n_threads: int | None,
) -> None: ...
def categorical_log_prob(
    values: _Array,
    n_classes: int,
    logits: bool,
    each: int,
    x: NDArray[np.uint32],
    out: _Array,
    n_threads: int | None,
) -> None: ...
def categorical_log_likelihood(
    values: _Array,
    n_classes: int,
    logits: bool,
    each: int,
    x: NDArray[np.uint32],
    sample_weight: NDArray[np.float64] | None,
    n_threads: int | None,
) -> float: ...

@final
class Shape:
    def __new__(
        cls,
        layers: Sequence[_Layer],
        columns: tuple[int, Sequence[tuple[Sequence[int], _Layer | None]]] | None,
        output: str,
    ) -> Shape: ...
    @property
    def n_parameters(self) -> int: ...
    def initialize(self, initializer: str, seed: Seed, vector: _Array) -> None: ...
    def check_loss(self, loss: tuple[str, float]) -> None: ...
    def fit_to_rows(self, settings: Settings, vector: _Array, table: _Table) -> None: ...
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
        regularization: tuple[Sequence[_Schedule], float, float],
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
