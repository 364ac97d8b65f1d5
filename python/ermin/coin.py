"""P, Q and P~, told with a coin: what `ermin coin` prints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ermin.bernoulli import Bernoulli
from ermin.divergences import cross_entropy, kl_divergence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Story", "tell", "toss"]

EPSILON = 1e-12
"""The tiny probability that stands in for 0."""
REPETITIONS = 400
SIZES = (10, 100, 1_000, 10_000, 100_000)
"""How often, and with how many tosses, the experiment is repeated to see P~'s error."""


@dataclass(frozen=True, eq=False)
class Story:
    """A coin, its tosses, and what they let one know.

    Attributes
    ----------
    p : float
        P(heads).
    tosses : numpy.ndarray of shape (n,)
        0 and 1.
    estimate : float
        P~(heads) by maximum likelihood.
    interval : (float, float)
        Wilson's, of 95 %.
    standard_error : float
    n_tosses : tuple of int
    errors : numpy.ndarray of the same length
        Root mean square of P~ − P over repetitions with so many tosses.
    """

    p: float
    tosses: NDArray[Any]
    estimate: float
    interval: tuple[float, float]
    standard_error: float
    n_tosses: tuple[int, ...]
    errors: NDArray[np.float64]


def toss(p: float, n: int, seed: int) -> Story:
    """Toss a coin n times and estimate it; then do so many times over with other numbers of tosses.

    Parameters
    ----------
    p : float
        P(heads), from 0 to 1.
    n : int
        At least 1.
    seed : int

    Returns
    -------
    Story

    Raises
    ------
    ValueError
        If p is outside [0, 1].

    Examples
    --------
    >>> from ermin.coin import toss
    >>> story = toss(0.5, 100, seed=1)
    >>> len(story.tosses), bool(story.interval[0] < story.estimate < story.interval[1])
    (100, True)
    """
    coin = Bernoulli(p)
    tosses = coin.sample(n, rng=seed)
    estimate = Bernoulli.fit(tosses)
    low, high = estimate.interval(0.95)
    errors, start = [], n
    for size in SIZES:  # later and later in the coin's stream
        heads = coin.sample((REPETITIONS, size), rng=seed, start=start).sum(axis=1, dtype=np.int64)
        start += REPETITIONS * size
        error = heads / size - p
        errors.append(math.sqrt((error * error).sum() / REPETITIONS))
    return Story(
        p, tosses, float(estimate.value), (float(low), float(high)), float(estimate.standard_error), SIZES,
        np.array(errors),
    )  # fmt: skip


def tell(story: Story) -> str:
    """The story in words and numbers.

    Parameters
    ----------
    story : Story

    Returns
    -------
    str

    Examples
    --------
    >>> from ermin.coin import tell, toss
    >>> print(tell(toss(0.5, 100, seed=1)).splitlines()[1])
    P   the coin, which nobody sees                 0.500000  0.500000
    """
    n, heads = len(story.tosses), int(story.tosses.sum())
    truth, data, model = ([1 - p, p] for p in (story.p, heads / n, story.estimate))

    def row(name: str, what: str, pair: Sequence[float]) -> str:
        return f"{name:4}{what:42}{pair[0]:>10.6f}{pair[1]:>10.6f}"

    lines = [
        f"{'':46}{'tails':>10}{'heads':>10}",
        row("P", "the coin, which nobody sees", truth),
        row("Q", f"the data: {n:,} tosses, {heads:,} heads", data),
        row("P~", "the model that makes the data likeliest", model),
        "",
        f"P~(heads) is {story.estimate:.4f}, with a standard error √(P~(1 − P~)/n) of {story.standard_error:.4f}",
        f"and a 95 % interval (Wilson's) from {story.interval[0]:.4f} to {story.interval[1]:.4f}.",
        "P~ is as close to Q as a model can be:",
        f"  KL(Q ‖ P~) = {_kl(data, model):.6f} nats; a toss's mean surprise −Σ Q ln P~ is Q's own entropy, "
        f"{float(cross_entropy(data, model)):.6f}",
        "but Q is not P:",
        f"  KL(P ‖ P~) = {_kl(truth, model):.6f} nats",
        *(_bad_luck(story.p, n) if 0 < story.p < 1 else ()),
        "",
        f"More tosses help, slowly: P~ approaches P as 1/√n ({REPETITIONS} repetitions each).",
        f"{'tosses n':>12}{'root mean square of P~ − P':>30}{'√(p(1 − p)/n)':>18}",
    ]
    for size, error in zip(story.n_tosses, story.errors, strict=True):
        lines.append(f"{size:>12,}{error:>30.6f}{math.sqrt(story.p * (1 - story.p) / size):>18.6f}")
    return "\n".join(lines)


def _kl(p: Sequence[float], q: Sequence[float], **keywords: Any) -> float:
    return float(kl_divergence(p, q, **keywords))


def _bad_luck(p: float, n: int) -> list[str]:
    """What maximum likelihood makes of n tosses that all come out on the rarer side, and what helps."""
    side, name = (1, "heads") if p <= 0.5 else (0, "tails")
    unlucky = np.full(n, side, dtype=np.uint8)
    surprise = -float(Bernoulli(p).log_likelihood(unlucky))
    sure = float(Bernoulli.fit(unlucky).value)
    careful = float(Bernoulli.fit(unlucky, prior=(2, 2)).value)
    truth = [1 - p, p]
    cases = [
        ("maximum likelihood: P~(heads) = " + f"{sure:g}", _kl(truth, [1 - sure, sure])),
        (
            f"the same, no probability below {EPSILON:g}",
            _kl(truth, [1 - sure, sure], zero="clip", eps=EPSILON),
        ),
        (f"with a prior of one more head and tail: {careful:.6f}", _kl(truth, [1 - careful, careful])),
    ]
    return [
        "",
        f"Bad luck: {n:,} tosses, all {name}. It can happen: a surprise of {surprise:.4g} nats.",
        f"{'':54}{'KL(P ‖ P~)':>12}",
        *(f"  {what:52}{value:>12.6f}" for what, value in cases),
        f"From all {name} maximum likelihood concludes that nothing else can be. A tiny probability in place of 0",
        "only says so with a number; a prior says that nobody knows yet.",
    ]
