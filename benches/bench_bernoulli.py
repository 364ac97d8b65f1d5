"""Tosses and their likelihood, against NumPy at its best, bitarray and Numba, and against the speed of memory.

Run by ``make bench``, or as a script, which interleaves the peers in one run and prints ratios. Draws differ from
generator to generator; that their shares are right is shown first, and that likelihoods are equal.
"""

import math
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest

import ermin

HAS_BITARRAY = find_spec("bitarray") is not None and sys.version_info >= (3, 12)  # for its random_p
N = 8_000_000
P, RARE = 0.3, 1e-3
generator = np.random.Generator(np.random.SFC64(0))


class Room:
    """Every array that anyone fills, allocated once."""

    tosses = np.empty(N, np.uint8)
    bits = np.empty(N // 8, np.uint8)
    uniform = np.empty(N)


def ours():
    return ermin.Bernoulli(P).sample(out=Room.tosses, rng=1, n_threads=1)


def numpy_words():
    """NumPy's best: raw words as pairs of uint32, compared with p·2³² (inexact by up to 2⁻³²)."""
    words = generator.bit_generator.random_raw(N // 2).view(np.uint32)
    return np.less(words, np.uint32(P * 2**32), out=Room.tosses.view(bool)).view(np.uint8)


def numpy_uniform():
    generator.random(out=Room.uniform)
    return np.less(Room.uniform, P, out=Room.tosses.view(bool)).view(np.uint8)


def ours_packed():
    return ermin.Bernoulli(P).sample_packed(N, out=Room.bits, rng=1, n_threads=1)


def bitarray_packed():
    from bitarray.util import random_p

    return np.frombuffer(random_p(N, P), np.uint8)


def ours_fair():
    return ermin.Bernoulli(0.5).sample_packed(N, out=Room.bits, rng=1, n_threads=1)


def numpy_raw():
    return generator.bit_generator.random_raw(N // 64)


def ours_rare():
    return ermin.Bernoulli(RARE).sample_packed(N, out=Room.bits, rng=1, n_threads=1)


def ours_rare_bytes():
    return ermin.Bernoulli(RARE).sample(out=Room.tosses, rng=1, n_threads=1)


def numpy_places():
    """Rare events in NumPy: their number, then their places (some of them twice)."""
    Room.tosses.fill(0)
    Room.tosses[generator.integers(0, N, generator.binomial(N, RARE))] = 1
    return Room.tosses


def each(dtype):
    return np.random.default_rng(0).random(N).astype(dtype)


def ours_each(coin):
    return coin.sample(out=Room.tosses, rng=1, n_threads=1)


def numpy_each(p):
    generator.random(out=Room.uniform)
    return np.less(Room.uniform, p, out=Room.tosses.view(bool)).view(np.uint8)


def ours_likelihood(coin, x):
    return coin.log_likelihood(x, n_threads=1)


class NumPyLikelihood:
    """Σ ln(x ? p : 1 − p), every array allocated once."""

    def __init__(self, p):
        self.room, self.tails = np.empty_like(p), np.empty(p.shape, bool)

    def __call__(self, p, x):
        np.equal(x, 0, out=self.tails)
        np.subtract(1, p, out=self.room)
        np.copyto(self.room, p, where=x.view(bool))
        np.log(self.room, out=self.room)
        return float(self.room.sum(dtype=np.float64))


def numba_likelihood():
    """The product form in Numba: eight factors, then one logarithm."""
    numba = pytest.importorskip("numba")

    @numba.njit(fastmath=True)
    def run(p, x):
        total = 0.0
        for i in range(0, len(p) // 8 * 8, 8):
            product = 1.0
            for j in range(i, i + 8):
                product *= p[j] if x[j] else 1 - p[j]
            total += math.log(product)
        return total

    return run


def memory(*arrays):
    """Seconds to read these arrays once, by NumPy's fastest pass."""
    word = {1: np.uint8, 4: np.uint32, 8: np.uint64}
    return best([lambda: [array.view(word[array.itemsize]).max() for array in arrays]])[0]


def best(calls, runs=9):
    """Minima of interleaved runs."""
    least = [math.inf] * len(calls)
    for _ in range(runs):
        for i, call in enumerate(calls):
            begin = time.perf_counter()
            call()
            least[i] = min(least[i], time.perf_counter() - begin)
    return least


PEERS = {
    "bytes, p = 0.3": [ours, numpy_words, numpy_uniform],
    "bits, p = 0.3": [ours_packed, bitarray_packed],
    "bits, p = 0.5": [ours_fair, numpy_raw],
    "bits, p = 0.001": [ours_rare],
    "bytes, p = 0.001": [ours_rare_bytes, numpy_places],
}


def check_shares():
    for call, p in ((ours, P), (numpy_words, P), (numpy_uniform, P)):
        assert abs(call().mean() - p) < 5 * math.sqrt(p * (1 - p) / N)
    ones = int(np.bitwise_count(ours_packed()).sum())
    assert ones == int(ours().sum())


@pytest.mark.parametrize(
    ("group", "call"),
    [(group, call) for group, calls in PEERS.items() for call in calls],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def bench_draws(benchmark, group, call):
    if call is bitarray_packed and not HAS_BITARRAY:
        pytest.skip("bitarray's random_p needs Python 3.12")
    check_shares()
    benchmark.group = f"draws: {group}"
    benchmark(call)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("call", [ours_each, numpy_each], ids=["ermin", "numpy"])
def bench_draws_of_their_own_p(benchmark, call, dtype):
    p = each(dtype)
    given = ermin.Bernoulli(p) if call is ours_each else p
    assert abs(call(given).mean() - p.mean(dtype=float)) < 5 * 0.5 / math.sqrt(N)
    benchmark.group = f"draws: a p each, {dtype}"
    benchmark(call, given)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("peer", ["ermin", "numpy", "numba"])
def bench_log_likelihood(benchmark, peer, dtype):
    p = each(dtype)
    coin = ermin.Bernoulli(p)
    x = ours_each(coin).copy()
    call = {"ermin": lambda: ours_likelihood, "numpy": lambda: NumPyLikelihood(p), "numba": numba_likelihood}[
        peer
    ]()
    exact = ours_likelihood(coin, x)
    given = coin if peer == "ermin" else p
    assert abs(call(given, x) - exact) < (1e-9 if dtype == "float64" else 1e-4) * abs(exact)
    benchmark.group = f"log-likelihood: {dtype}"
    benchmark(call, given, x)


@pytest.mark.benchmark(group="draws: ten tosses, with the making of the coin")
@pytest.mark.parametrize("peer", ["ermin", "numpy"])
def bench_overhead(benchmark, peer):
    if peer == "ermin":
        benchmark(lambda: ermin.Bernoulli(0.5).sample(10, rng=0))
    else:
        benchmark(lambda: np.random.default_rng(0).random(10) < 0.5)


def main():
    """One run, interleaved: nanoseconds a draw, and how many times faster than each peer."""
    check_shares()
    calls = dict(PEERS)
    if not HAS_BITARRAY:
        calls["bits, p = 0.3"] = [ours_packed]
    for group, peers in calls.items():
        times = best(peers)
        line = ", ".join(
            f"{call.__name__} {t / N * 1e9:.4f} ns" for call, t in zip(peers, times, strict=True)
        )
        ratios = ", ".join(f"{t / times[0]:.1f}" for t in times[1:])
        print(f"{group}: {line}; times faster: {ratios}")
    for dtype in ("float64", "float32"):
        p = each(dtype)
        coin = ermin.Bernoulli(p)
        x = ours_each(coin).copy()
        making = best([lambda p=p: ermin.Bernoulli(p)])[0]
        print(f"to make a coin of {dtype} and look at every p: {making / N * 1e9:.3f} ns")
        times = best([lambda c=coin: ours_each(c), lambda p=p: numpy_each(p)])
        limit = memory(p) + memory(Room.tosses)
        print(
            f"a p each, {dtype}: {times[0] / N * 1e9:.3f} ns, times faster than NumPy {times[1] / times[0]:.1f}; "
            f"reading p and x takes {limit / N * 1e9:.3f} ns"
        )
        peers = [ours_likelihood, NumPyLikelihood(p)]
        try:
            peers.append(numba_likelihood())
        except pytest.skip.Exception:
            print("without Numba")
        for peer in peers[2:]:
            peer(p, x)
        times = best([lambda f=f, p=coin if f is ours_likelihood else p, x=x: f(p, x) for f in peers])
        limit = memory(p, x)
        print(
            f"log-likelihood, {dtype}: {times[0] / N * 1e9:.3f} ns, times faster than NumPy"
            f"{' and Numba' if len(times) > 2 else ''} "
            f"{', '.join(f'{t / times[0]:.1f}' for t in times[1:])}; reading takes {limit / N * 1e9:.3f} ns"
        )
    few = best([lambda: [ermin.Bernoulli(0.5).sample(10, rng=0) for _ in range(1000)]])[0] / 1000
    print(f"Bernoulli(0.5).sample(10, rng=0): {few * 1e6:.2f} µs")


if __name__ == "__main__":
    main()
