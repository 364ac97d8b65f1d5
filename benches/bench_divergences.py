"""Divergences against NumPy at its best (preallocated, in place) and SciPy, and against the speed of memory.

Run by ``make bench``, or as a script, which interleaves the peers in one run and prints ratios. Results are first
shown to be the same.
"""

import time

import numpy as np
import pytest
from scipy import special, stats

import ermin

EPS = 1e-12
SHAPES = [(10_000, 1000), (1_000_000, 2)]


def rows(shape, dtype):
    rng = np.random.default_rng(0)
    pair = rng.random((2, *shape))
    pair /= pair.sum(axis=-1, keepdims=True)
    return pair.astype(dtype)


class NumPyKL:
    """Σ p·ln(p/max(q, ε)), every array allocated once."""

    def __init__(self, p):
        self.ratio, self.out = np.empty_like(p), np.empty(p.shape[0], p.dtype)

    def __call__(self, p, q):
        np.maximum(q, p.dtype.type(EPS), out=self.ratio)
        np.divide(p, self.ratio, out=self.ratio)
        np.log(self.ratio, out=self.ratio)
        np.multiply(p, self.ratio, out=self.ratio)
        return np.sum(self.ratio, axis=1, out=self.out)


def scipy_entropy(p, q):
    return stats.entropy(p, np.maximum(q, EPS), axis=1)


def scipy_rel_entr(p, q):
    return special.rel_entr(p, np.maximum(q, EPS)).sum(axis=1)


def ours(p, q, validate=True):
    return ermin.kl_divergence(p, q, zero="clip", eps=EPS, validate=validate, n_threads=1)


def ours_unchecked(p, q):
    return ours(p, q, validate=False)


def read(p, q):
    """What memory allows: both arrays read once, by NumPy's fastest pass (the maximum of their bits)."""
    word = np.uint64 if p.dtype.itemsize == 8 else np.uint32
    return p.view(word).max(), q.view(word).max()


class NumPySoftmax:
    """Mean of ln Σ exp z − z[y], every array allocated once."""

    def __init__(self, z):
        self.shifted, self.column, self.rows = (
            np.empty_like(z),
            np.empty((len(z), 1), z.dtype),
            np.arange(len(z)),
        )

    def __call__(self, z, y):
        np.max(z, axis=1, keepdims=True, out=self.column)
        np.subtract(z, self.column, out=self.shifted)
        picked = self.shifted[self.rows, y]
        np.exp(self.shifted, out=self.shifted)
        np.sum(self.shifted, axis=1, keepdims=True, out=self.column)
        return float((np.log(self.column[:, 0]) - picked).mean())


def peers(shape, dtype):
    p, q = rows(shape, dtype)
    functions = {
        "ermin": ours,
        "ermin, validate=False": ours_unchecked,
        "NumPy": NumPyKL(p),
        "SciPy stats.entropy": scipy_entropy,
        "SciPy rel_entr": scipy_rel_entr,
        "memory": read,
    }
    expected = functions["SciPy rel_entr"](p.astype(float), q.astype(float))
    tolerance = 1e-9 if dtype == np.float64 else 1e-5
    for name, function in functions.items():
        if name != "memory":
            np.testing.assert_allclose(function(p, q), expected, rtol=tolerance, atol=tolerance)
    return functions, p, q


CASES = [(shape, dtype) for dtype in (np.float64, np.float32) for shape in SHAPES]
IDS = [f"{shape[0]} x {shape[1]} {np.dtype(dtype).name}" for shape, dtype in CASES]


@pytest.fixture(params=CASES, ids=IDS, scope="module")
def case(request):
    return peers(*request.param)


NAMES = ["ermin", "ermin, validate=False", "NumPy", "SciPy stats.entropy", "SciPy rel_entr", "memory"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.benchmark(group="KL with epsilon", max_time=0.5, min_rounds=3)
def bench_kl(benchmark, case, name):
    functions, p, q = case
    benchmark(functions[name], p, q)


@pytest.mark.benchmark(group="KL of two rows of 10")
def bench_kl_of_ten(benchmark):
    p, q = rows((10,), np.float64)
    benchmark(ermin.kl_divergence, p, q)


@pytest.mark.benchmark(group="KL of two rows of 10")
def bench_scipy_kl_of_ten(benchmark):
    p, q = rows((10,), np.float64)
    benchmark(stats.entropy, p, q)


class Logits:
    """Logits as a distribution shows them to the divergences: to make one is not what is measured."""

    def __init__(self, z):
        self.z = z

    def _event_arrays(self):
        return "logits", self.z


def softmax_peers(shape):
    """The mean of −ln softmax(z)[y]: float32 logits and class indices."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=shape).astype(np.float32), rng.integers(0, shape[1], shape[0])
    functions = {
        "ermin": lambda z, y: ermin.empirical_risk(y, Logits(z), n_threads=1),
        "ermin, validate=False": lambda z, y: ermin.empirical_risk(y, Logits(z), validate=False, n_threads=1),
        "NumPy": NumPySoftmax(z),
        "memory": lambda z, y: z.view(np.uint32).max(),
    }
    expected = NumPySoftmax(z.astype(float))(z.astype(float), y)
    for name in list(functions)[:2]:
        np.testing.assert_allclose(functions[name](z, y), expected, rtol=1e-5)
    return functions, z, y


SOFTMAX_SHAPES = [(10_000, 1000), (1_000_000, 10)]


@pytest.mark.parametrize("name", ["ermin", "ermin, validate=False", "NumPy", "memory"])
@pytest.mark.parametrize("shape", SOFTMAX_SHAPES, ids=str)
@pytest.mark.benchmark(group="softmax cross-entropy of classes, float32", max_time=0.5, min_rounds=3)
def bench_softmax_cross_entropy(benchmark, shape, name):
    functions, z, y = softmax_peers(shape)
    benchmark(functions[name], z, y)


def gradient_peers(shape):
    """Mean −ln softmax(s·z)[y] and its derivative in the scales s: a network's last step, without its products."""
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=shape).astype(np.float32), rng.integers(0, shape[1], shape[0])
    net = ermin.MLP(layers=[ermin.Scale(shape[1])], output="softmax")

    @jax.jit
    @jax.value_and_grad
    def loss(s, z, y):
        log_p = jax.nn.log_softmax(s * z)
        return -jax.numpy.mean(jax.numpy.take_along_axis(log_p, y[:, None], axis=1))

    ones, given = jax.numpy.ones(shape[1]), (jax.numpy.asarray(z), jax.numpy.asarray(y, dtype="int32"))
    functions = {
        "ermin": lambda z, y: net.gradient(z, y, by_name=True),
        "JAX": lambda z, y: jax.block_until_ready(loss(ones, *given)),
    }
    (ours, gradients), (theirs, expected) = functions["ermin"](z, y), functions["JAX"](z, y)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(next(iter(gradients.values())), expected, rtol=1e-3, atol=1e-5)
    return functions, z, y


@pytest.mark.parametrize("name", ["ermin", "JAX"])
@pytest.mark.benchmark(
    group="softmax cross-entropy and gradient, 10 classes, float32", max_time=0.5, min_rounds=3
)
def bench_softmax_gradient(benchmark, name):
    functions, z, y = gradient_peers((10_000, 10))
    benchmark(functions[name], z, y)


def interleaved(functions, arguments, rounds):
    """The least time of each, in nanoseconds an element; the peers take turns."""
    best = dict.fromkeys(functions, np.inf)
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function(*arguments)
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: seconds / arguments[0].size * 1e9 for name, seconds in best.items()}


def report(title, functions, arguments, rounds=15):
    best = interleaved(functions, arguments, rounds)
    print(title)
    for peer, value in best.items():
        ratios = [value / best.get(name, best["ermin"]) for name in ("ermin, validate=False", "ermin")]
        print(f"  {peer:24}{value:8.3f}{ratios[0]:8.2f} x ours unchecked{ratios[1]:8.2f} x ours")


def main():
    print("ns an element, one thread, level", ermin._core.simd_level())
    for (shape, dtype), name in zip(CASES, IDS, strict=True):
        functions, p, q = peers(shape, dtype)
        report(f"KL with epsilon, {name}", functions, (p, q))
    for shape in SOFTMAX_SHAPES:
        functions, z, y = softmax_peers(shape)
        report(f"softmax cross-entropy of classes, float32 {shape}", functions, (z, y))
    functions, z, y = gradient_peers((10_000, 10))
    report("softmax cross-entropy and gradient, 10 classes, float32", functions, (z, y), 200)


if __name__ == "__main__":
    main()
