"""Small neural networks with honest probabilities, trained at hardware speed.

Every public name is imported from its module when it is first used, so that `import ermin` costs little more than
`import numpy`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ermin._core import __version__

if TYPE_CHECKING:
    from ermin.bernoulli import Bernoulli
    from ermin.categorical import Categorical
    from ermin.classifier import MLPClassifier
    from ermin.cross_validation import EpochRisk, cross_validate_epochs
    from ermin.displays import CoinDisplay, LearningCurveDisplay, ReliabilityDisplay
    from ermin.divergences import cross_entropy, empirical_risk, entropy, kl_divergence
    from ermin.estimates import Estimate, monte_carlo
    from ermin.files import load
    from ermin.history import EpochState, History
    from ermin.layers import (
        Activation,
        CategoryEmbedding,
        Columns,
        Dense,
        Dropout,
        PeriodicEmbedding,
        Scale,
    )
    from ermin.losses import Huber, Quantile
    from ermin.metrics import (
        ReliabilityCurve,
        brier_score,
        expected_calibration_error,
        log_loss,
        reliability_curve,
    )
    from ermin.network import MLP
    from ermin.optimizers import SGD, Adam, AdamW
    from ermin.regressor import MLPRegressor
    from ermin.schedules import (
        Adaptive,
        Constant,
        Cosine,
        CosineLog,
        Exponential,
        FlatCosine,
        InverseScaling,
        OneCycle,
    )
    from ermin.training import Trainer, fit

__all__ = [
    "MLP",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Adaptive",
    "Bernoulli",
    "Categorical",
    "CategoryEmbedding",
    "CoinDisplay",
    "Columns",
    "Constant",
    "Cosine",
    "CosineLog",
    "Dense",
    "Dropout",
    "EpochRisk",
    "EpochState",
    "Estimate",
    "Exponential",
    "FlatCosine",
    "History",
    "Huber",
    "InverseScaling",
    "LearningCurveDisplay",
    "MLPClassifier",
    "MLPRegressor",
    "OneCycle",
    "PeriodicEmbedding",
    "Quantile",
    "ReliabilityCurve",
    "ReliabilityDisplay",
    "Scale",
    "Trainer",
    "__version__",
    "brier_score",
    "cross_entropy",
    "cross_validate_epochs",
    "empirical_risk",
    "entropy",
    "expected_calibration_error",
    "fit",
    "kl_divergence",
    "load",
    "log_loss",
    "monte_carlo",
    "reliability_curve",
]

_HOMES = {
    "classifier": ("MLPClassifier",),
    "cross_validation": ("EpochRisk", "cross_validate_epochs"),
    "displays": ("CoinDisplay", "LearningCurveDisplay", "ReliabilityDisplay"),
    "bernoulli": ("Bernoulli",),
    "categorical": ("Categorical",),
    "estimates": ("Estimate", "monte_carlo"),
    "divergences": ("cross_entropy", "empirical_risk", "entropy", "kl_divergence"),
    "files": ("load",),
    "history": ("EpochState", "History"),
    "layers": (
        "Activation",
        "CategoryEmbedding",
        "Columns",
        "Dense",
        "Dropout",
        "PeriodicEmbedding",
        "Scale",
    ),
    "losses": ("Huber", "Quantile"),
    "metrics": (
        "ReliabilityCurve",
        "brier_score",
        "expected_calibration_error",
        "log_loss",
        "reliability_curve",
    ),
    "network": ("MLP",),
    "optimizers": ("SGD", "Adam", "AdamW"),
    "regressor": ("MLPRegressor",),
    "schedules": (
        "Adaptive",
        "Constant",
        "Cosine",
        "CosineLog",
        "Exponential",
        "FlatCosine",
        "InverseScaling",
        "OneCycle",
    ),
    "training": ("Trainer", "fit"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ermin' has no attribute {name!r}")
    value = getattr(import_module(f"ermin.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
