"""A fitted estimator as a safetensors file: parameters, what was learned, and the curves, but no code and no pickle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ermin.losses import Huber, Quantile
from ermin.network import MLP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ermin.perceptron import Perceptron

    Estimator = TypeVar("Estimator", bound=Perceptron)

_LEARNED = (
    "classes_", "feature_names_in_", "n_features_in_", "n_layers_", "n_outputs_", "out_activation_", "n_iter_", "t_",
    "loss_", "loss_curve_", "best_loss_", "validation_loss_curve_", "validation_scores_", "best_validation_score_",
    "best_epoch_", "converged_", "_targets", "_sparse_targets", "_seed", "_records", "_stop_reason",
    "_no_improvement_count",
)  # fmt: skip
"""The attributes that a file holds beside the network. The optimiser's moments are not among them."""


def described(estimator: Perceptron) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What `ermin.files.save` takes: a description that JSON can hold, and the network's arrays."""
    network, tensors = estimator._net()._to_file()
    parameters = {name: _plain(name, value) for name, value in estimator.get_params(deep=False).items()}
    learned = {name: _plain(name, vars(estimator)[name]) for name in _LEARNED if name in vars(estimator)}
    return {"network": network, "parameters": parameters, "learned": learned}, tensors


def restored(
    cls: type[Estimator], description: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> Estimator:
    """The estimator that `described` described."""
    known = cls._get_param_names()
    try:
        parameters = {name: _value(value) for name, value in description["parameters"].items()}
        learned = {name: _value(value) for name, value in description["learned"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("the file does not describe an estimator") from error
    foreign = sorted((set(parameters) - set(known)) | (set(learned) - set(_LEARNED)))
    if foreign:
        raise ValueError(f"the file has {foreign[0]!r}, which this version of ermin does not know")
    estimator = cls(**parameters)
    estimator.__dict__.update(learned)
    net = MLP._from_file(description["network"], tensors)
    estimator._best_vector = None
    estimator._adopt(net, net._vector.copy())
    return estimator


def _plain(name: str, value: Any) -> Any:
    """A value as JSON holds it; what it cannot hold as it is goes into a dict that names its kind."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, (list, tuple)):
        items = [_plain(name, item) for item in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {"dict": [[_plain(name, key), _plain(name, item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return {"array": [_plain(name, item) for item in value.tolist()], "dtype": value.dtype.str}
    if isinstance(value, Huber):
        return {"huber": value.delta}
    if isinstance(value, Quantile):
        return {"quantile": value.q}
    raise TypeError(f"the estimator cannot be saved: {name} is {value!r}, which a file cannot hold")


def _value(plain: Any) -> Any:
    """The value that `_plain` made plain."""
    if isinstance(plain, list):
        return [_value(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    kinds: dict[str, Callable[[Any], Any]] = {
        "float": float,
        "tuple": lambda items: tuple(_value(item) for item in items),
        "dict": lambda items: {_value(key): _value(item) for key, item in items},
        "array": lambda items: np.array([_value(item) for item in items], dtype=np.dtype(plain["dtype"])),
        "huber": Huber,
        "quantile": Quantile,
    }
    ((kind, value),) = [item for item in plain.items() if item[0] != "dtype"]
    return kinds[kind](value)
