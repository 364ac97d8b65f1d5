"""Small neural networks with honest probabilities, trained at hardware speed."""

from ermin._core import __version__
from ermin.files import load
from ermin.network import MLP
from ermin.optimizers import SGD, Adam, AdamW
from ermin.training import EpochState, History, Trainer, fit

__all__ = ["MLP", "SGD", "Adam", "AdamW", "EpochState", "History", "Trainer", "__version__", "fit", "load"]
