"""Schedules: numbers that change during a run, in place of a fixed learning rate or weight decay.

A schedule is a function of t = step/total steps, from 0 up to 1. Only settings stand here; the values are computed
natively, with the same bits on every machine.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import Any, ClassVar, TypeAlias

from ermin._arrays import check_number, whole

__all__ = [
    "Adaptive",
    "Constant",
    "Cosine",
    "CosineLog",
    "Exponential",
    "FlatCosine",
    "InverseScaling",
    "OneCycle",
]

# What the native module takes: name, value, three parameters, warm-up.
Native: TypeAlias = tuple[str, float, tuple[float, float, float], float]


@dataclass(frozen=True)
class Constant:
    """A number that does not change, but may be warmed up to.

    Parameters
    ----------
    value : float
        At least 0.
    warmup : float, default 0
        The share of the steps, from 0 to 1, over which the number rises from 0 in a straight line.

    Raises
    ------
    ValueError
        If a number is outside its range.

    Examples
    --------
    >>> import ermin
    >>> ermin.SGD(ermin.Constant(0.1, warmup=0.05)).learning_rate.value
    0.1
    """

    value: float
    _: KW_ONLY
    warmup: float = 0.0

    _name: ClassVar[str] = "constant"

    def __post_init__(self) -> None:
        check_number("value", self.value, 0, math.inf, "at least 0")
        check_number("warmup", self.warmup, 0, 1, "from 0 to 1")
        self._check()

    def _check(self) -> None:
        """Check what a schedule has beyond value and warm-up."""

    def _parameters(self) -> tuple[float, float, float]:
        return 0.0, 0.0, 0.0

    def _native(self) -> Native:
        return self._name, float(self.value), self._parameters(), float(self.warmup)


@dataclass(frozen=True)
class Cosine(Constant):
    """Down to `end` times the value along half a cosine.

    value·(end + (1 − end)·½·(1 + cos πt)) (Loshchilov and Hutter 2017, "SGDR", equation 5, one cycle).

    Parameters
    ----------
    value, warmup : float
        As for `Constant`.
    end : float, default 0
        The factor at the end, from 0 to 1.

    Examples
    --------
    >>> import ermin
    >>> ermin.Adam(ermin.Cosine(1e-2, warmup=0.1)).learning_rate.end
    0.0
    """

    _: KW_ONLY
    end: float = 0.0

    _name: ClassVar[str] = "cosine"

    def _check(self) -> None:
        check_number("end", self.end, 0, 1, "from 0 to 1")

    def _parameters(self) -> tuple[float, float, float]:
        return float(self.end), 0.0, 0.0


@dataclass(frozen=True)
class OneCycle(Constant):
    """Up to the value and down again, both along half a cosine.

    From `start` times the value at t = 0 up to it at t = `peak`, then down to `end` times the value (Smith and Topin
    2018, "Super-convergence").

    Parameters
    ----------
    value, warmup : float
        As for `Constant`; the value is the peak's.
    start : float, default 0.04
        The factor at the beginning, from 0 to 1.
    peak : float, default 0.3
        The share of the steps before the peak, between 0 and 1.
    end : float, default 1e-4
        The factor at the end, from 0 to 1.

    Examples
    --------
    >>> import ermin
    >>> ermin.SGD(ermin.OneCycle(0.5, peak=0.25), momentum=0.9).learning_rate.peak
    0.25
    """

    _: KW_ONLY
    start: float = 0.04
    peak: float = 0.3
    end: float = 1e-4

    _name: ClassVar[str] = "one_cycle"

    def _check(self) -> None:
        check_number("start", self.start, 0, 1, "from 0 to 1")
        check_number("end", self.end, 0, 1, "from 0 to 1")
        if not 0 < self.peak < 1:
            raise ValueError(f"peak is {self.peak}, but must be between 0 and 1")

    def _parameters(self) -> tuple[float, float, float]:
        return float(self.start), float(self.peak), float(self.end)


@dataclass(frozen=True)
class InverseScaling(Constant):
    """The value divided by (step + 1)^power, whatever the run's length.

    Parameters
    ----------
    value, warmup : float
        As for `Constant`.
    power : float, default 0.5
        At least 0.

    Examples
    --------
    >>> import ermin
    >>> ermin.SGD(ermin.InverseScaling(0.1)).learning_rate.power
    0.5
    """

    _: KW_ONLY
    power: float = 0.5

    _name: ClassVar[str] = "inverse_scaling"

    def _check(self) -> None:
        check_number("power", self.power, 0, math.inf, "at least 0")

    def _parameters(self) -> tuple[float, float, float]:
        return float(self.power), 0.0, 0.0


@dataclass(frozen=True)
class Exponential(Constant):
    """Down to `end` times the value exponentially: value·endᵗ.

    Parameters
    ----------
    value, warmup : float
        As for `Constant`.
    end : float, default 0.01
        The factor at the end, greater than 0, at most 1.

    Examples
    --------
    >>> import ermin
    >>> ermin.Adam(ermin.Exponential(1e-2)).learning_rate.end
    0.01
    """

    _: KW_ONLY
    end: float = 0.01

    _name: ClassVar[str] = "exponential"

    def _check(self) -> None:
        check_number("end", self.end, 0, 1, "greater than 0, at most 1", open_low=True)

    def _parameters(self) -> tuple[float, float, float]:
        return float(self.end), 0.0, 0.0


@dataclass(frozen=True)
class Adaptive(Constant):
    """Divided whenever training makes no progress: scikit-learn's ``learning_rate="adaptive"``.

    After every `patience` epochs in a row whose training loss was not less than the least before by more than
    `tolerance`, the number is divided by `factor`. For learning rates only.

    Parameters
    ----------
    value, warmup : float
        As for `Constant`.
    factor : float, default 5
        At least 1.
    patience : int, default 2
        At least 1.
    tolerance : float, default 1e-4
        At least 0.

    Examples
    --------
    >>> import ermin
    >>> ermin.SGD(ermin.Adaptive(0.1)).learning_rate.factor
    5.0
    """

    _: KW_ONLY
    factor: float = 5.0
    patience: int = 2
    tolerance: float = 1e-4

    _name: ClassVar[str] = "adaptive"

    def _check(self) -> None:
        check_number("factor", self.factor, 1, math.inf, "at least 1")
        patience = whole(self.patience, "patience")
        check_number("patience", patience, 1, 2**32, "from 1 to 2**32")
        check_number("tolerance", self.tolerance, 0, math.inf, "at least 0")

    def _parameters(self) -> tuple[float, float, float]:
        return float(self.factor), float(int(self.patience)), float(self.tolerance)


@dataclass(frozen=True)
class CosineLog(Constant):
    """Bumps, each longer than the one before it: ½·(1 − cos(2π·log₂(1 + (2ᵇ − 1)·t))) times the value.

    Holzmüller et al. 2024, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data", section 3.

    Parameters
    ----------
    value, warmup : float
        As for `Constant`.
    bumps : int, default 4
        b, at least 1.

    Examples
    --------
    >>> import ermin
    >>> ermin.Adam(ermin.CosineLog(0.04)).learning_rate.bumps
    4
    """

    _: KW_ONLY
    bumps: int = 4

    _name: ClassVar[str] = "cosine_log"

    def _check(self) -> None:
        check_number("bumps", self.bumps, 1, 50, "from 1 to 50")

    def _parameters(self) -> tuple[float, float, float]:
        return float(self.bumps), 0.0, 0.0


@dataclass(frozen=True)
class FlatCosine(Constant):
    """The value until t = `hold`, then down to 0 along half a cosine.

    Holzmüller et al. 2024, "Better by default", section 3 (flat_cos).

    Parameters
    ----------
    value, warmup : float
        As for `Constant`.
    hold : float, default 0.5
        From 0 up to, not including, 1.

    Examples
    --------
    >>> import ermin
    >>> ermin.AdamW(1e-3, weight_decay=ermin.FlatCosine(0.02)).weight_decay.hold
    0.5
    """

    _: KW_ONLY
    hold: float = 0.5

    _name: ClassVar[str] = "flat_cosine"

    def _check(self) -> None:
        if not 0 <= self.hold < 1:
            raise ValueError(f"hold is {self.hold}, but must be from 0 up to, not including, 1")

    def _parameters(self) -> tuple[float, float, float]:
        return float(self.hold), 0.0, 0.0


def native(schedule: float | Constant) -> Native:
    """A number or a schedule as the native module takes it."""
    return schedule._native() if isinstance(schedule, Constant) else Constant(float(schedule))._native()


def needs_length(schedule: float | Constant) -> bool:
    """Whether the schedule depends on how many steps the run has."""
    by_length = (Cosine, OneCycle, Exponential, CosineLog, FlatCosine)
    return isinstance(schedule, Constant) and (schedule.warmup > 0 or isinstance(schedule, by_length))


def describe(schedule: float | Constant) -> float | dict[str, Any]:
    """A number or a schedule as plain JSON."""
    if isinstance(schedule, Constant):
        return {"schedule": type(schedule).__name__, **asdict(schedule)}
    return float(schedule)


def described(plain: object) -> float | Constant:
    """What `describe` described.

    Raises
    ------
    ValueError
        If it is neither a number nor a schedule's description.
    """
    if isinstance(plain, dict):
        kinds = (Constant, Cosine, OneCycle, InverseScaling, Exponential, Adaptive, CosineLog, FlatCosine)
        settings = {name: value for name, value in plain.items() if name != "schedule"}
        for kind in kinds:
            if kind.__name__ == plain.get("schedule") and {field.name for field in fields(kind)} == set(
                settings
            ):
                return kind(**settings)
    elif isinstance(plain, (int, float)):
        return float(plain)
    raise ValueError(f"{plain!r} does not describe a schedule")
