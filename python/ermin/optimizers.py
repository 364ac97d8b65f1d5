"""Optimisers: how parameters follow their gradients. Only settings stand here; the update is native."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import TypeAlias

from ermin import schedules
from ermin._arrays import check_number
from ermin.schedules import Constant

__all__ = ["SGD", "Adam", "AdamW"]

# What the native module takes: kind, learning rate, weight decay, two factors, epsilon, Nesterov.
_Native: TypeAlias = tuple[str, schedules.Native, schedules.Native, float, float, float, bool]


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with momentum if wanted.

    The velocity follows the gradient, v ← momentum·v − learning_rate·g, and the parameters the velocity, p ← p + v;
    with `nesterov` p ← p + momentum·v − learning_rate·g with the new v (Sutskever et al. 2013, "On the importance of
    initialization and momentum in deep learning").

    Parameters
    ----------
    learning_rate : float or schedule
        Greater than 0.
    momentum : float, default 0
        From 0 up to, not including, 1.
    nesterov : bool, default False
        Look ahead along the velocity.
    weight_decay : float or schedule, default 0
        Weights (not biases) shrink by ``learning_rate * weight_decay`` of themselves a step, apart from the gradient.

    Raises
    ------
    ValueError
        If a number is outside its range.

    Examples
    --------
    >>> import ermin
    >>> ermin.SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)
    """

    learning_rate: float | Constant
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float | Constant = 0.0

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, self.weight_decay)
        _check_share("momentum", self.momentum)

    def _native(self) -> _Native:
        return (
            "sgd",
            schedules.native(self.learning_rate),
            schedules.native(self.weight_decay),
            float(self.momentum),
            0.0,
            0.0,
            bool(self.nesterov),
        )


@dataclass(frozen=True)
class Adam:
    """Adam: steps of about the learning rate, by the moments of the gradient.

    Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1; `epsilon` is added after the bias
    correction.

    Parameters
    ----------
    learning_rate : float or schedule, default 1e-3
        Greater than 0.
    beta_1, beta_2 : float, default 0.9 and 0.999
        What the running means of the gradient and of its square keep a step; from 0 up to, not including, 1.
    epsilon : float, default 1e-8
        Added to the root of the mean square; greater than 0.

    Raises
    ------
    ValueError
        If a number is outside its range.

    Examples
    --------
    >>> import ermin
    >>> ermin.Adam()
    Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-08)
    """

    learning_rate: float | Constant = 1e-3
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_rates(self.learning_rate, self._decay())
        for name in ("beta_1", "beta_2"):
            _check_share(name, getattr(self, name))
        check_number("epsilon", self.epsilon, 0, math.inf, "greater than 0", open_low=True)

    def _decay(self) -> float | Constant:
        return 0.0

    def _native(self) -> _Native:
        return (
            "adam",
            schedules.native(self.learning_rate),
            schedules.native(self._decay()),
            float(self.beta_1),
            float(self.beta_2),
            float(self.epsilon),
            False,
        )


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay.

    Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2: weights (not biases) shrink by
    ``learning_rate * weight_decay`` of themselves a step, apart from the gradient.

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon
        As for `Adam`.
    weight_decay : float or schedule, default 0.01
        At least 0.

    Raises
    ------
    ValueError
        If a number is outside its range.

    Examples
    --------
    >>> import ermin
    >>> ermin.AdamW(1e-3).weight_decay
    0.01
    """

    _: KW_ONLY
    weight_decay: float | Constant = 0.01

    def _decay(self) -> float | Constant:
        return self.weight_decay


def _check_rates(learning_rate: float | Constant, weight_decay: float | Constant) -> None:
    rate = learning_rate.value if isinstance(learning_rate, Constant) else learning_rate
    check_number("learning_rate", rate, 0, math.inf, "greater than 0", open_low=True)
    if isinstance(weight_decay, schedules.Adaptive):
        raise TypeError("weight_decay is an Adaptive schedule, which is for learning rates only")
    if not isinstance(weight_decay, Constant):
        check_number("weight_decay", weight_decay, 0, math.inf, "at least 0")


def _check_share(name: str, value: float) -> None:
    if check_number(name, value, 0, 1, "from 0 up to, not including, 1") == 1:
        raise ValueError(f"{name} is {value}, but must be from 0 up to, not including, 1")


def needs_length(optimizer: SGD | Adam) -> bool:
    """Whether a schedule of the optimiser depends on how many steps the run has."""
    decay = optimizer._decay() if isinstance(optimizer, Adam) else optimizer.weight_decay
    return schedules.needs_length(optimizer.learning_rate) or schedules.needs_length(decay)
