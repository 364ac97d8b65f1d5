"""What happened during a run: told after every epoch, and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ermin.network import MLP

__all__ = ["EpochState", "History"]


@dataclass(frozen=True)
class EpochState:
    """What a callback is told after an epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        The mean training loss during the epoch.
    validation_loss : float
        The mean validation loss after it; NaN without validation.
    learning_rate : float
    seconds : float
        Since the run began.
    net : MLP
        The network with this epoch's parameters. It is there to be read: what is assigned to it does not reach the run.

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP([1, 1], rng=0)
    >>> seen = []
    >>> history = ermin.fit(net, [[0.0], [1.0]], [0.0, 1.0], epochs=2, callbacks=[lambda s: seen.append(s.epoch)])
    >>> seen
    [1, 2]
    """

    epoch: int
    loss: float
    validation_loss: float
    learning_rate: float
    seconds: float
    net: MLP


@dataclass(frozen=True, eq=False)
class History:
    """What happened during a run, by epoch.

    Attributes
    ----------
    loss : numpy.ndarray of shape (n_epochs,)
        The weighted mean training loss over the epoch's rows, each taken before its step: with dropout, mixup and label
        smoothing where they are in use, without the l2 penalty.
    validation_loss : numpy.ndarray of shape (n_epochs,)
        The mean loss on the validation rows after the epoch; NaN without validation.
    learning_rate, seconds : numpy.ndarray of shape (n_epochs,)
        The learning rate of the epoch's first step, and the time since the run began. Without callbacks and validation,
        epochs that together take some microseconds share a look at the clock.
    gradient_norm : numpy.ndarray of shape (n_epochs, n_layers) or None
        With ``record_gradient_norm=True``: the norm of each layer's gradient (weights and biases, with the l2 penalty,
        before clipping), as the root mean square over the epoch's steps. Where it is tiny in the first layers,
        gradients vanish.
    best_epoch : int
        The epoch, from 1, with the least validation loss (or what `selection` names; without validation the least
        training loss); of equal ones the first. 0 if no epoch was finished.
    stopped_epoch : int
        The last epoch, from 1.
    stop_reason : {"epochs", "patience", "callback", "diverged", "interrupted"}

    Examples
    --------
    >>> import ermin
    >>> net = ermin.MLP([1, 1], rng=0)
    >>> history = ermin.fit(net, [[0.0], [1.0]], [0.0, 1.0], epochs=3)
    >>> history.stop_reason, len(history.loss)
    ('epochs', 3)
    """

    loss: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    learning_rate: NDArray[np.float64]
    seconds: NDArray[np.float64]
    best_epoch: int
    stop_reason: str
    gradient_norm: NDArray[np.float64] | None = None

    @property
    def stopped_epoch(self) -> int:
        """The last epoch, from 1."""
        return len(self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python lists, numbers and text."""
        curves = ("loss", "validation_loss", "learning_rate", "seconds")
        plain = {name: getattr(self, name).tolist() for name in curves}
        norms = {} if self.gradient_norm is None else {"gradient_norm": self.gradient_norm.tolist()}
        return {
            **plain,
            **norms,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "stop_reason": self.stop_reason,
        }

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a row for each epoch, indexed from 1, with ``gradient_norm_0``, … if recorded."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("History.to_pandas needs pandas: pip install pandas") from None
        curves = {
            name: getattr(self, name) for name in ("loss", "validation_loss", "learning_rate", "seconds")
        }
        if self.gradient_norm is not None:
            curves |= {f"gradient_norm_{layer}": norms for layer, norms in enumerate(self.gradient_norm.T)}
        return pd.DataFrame(curves, index=pd.RangeIndex(1, len(self.loss) + 1, name="epoch"))

    def plot(self, ax: Any = None) -> Any:
        """Draw both losses by epoch, with the best epoch marked (needs the extra ``ermin[plot]``).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from ermin import plots

        return plots.plot_learning_curve(self, ax=ax)

    def __repr__(self) -> str:
        return (
            f"History(best_epoch={self.best_epoch}, stopped_epoch={self.stopped_epoch}, {self.stop_reason!r})"
        )
