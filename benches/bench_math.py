"""Functions of one variable, and random words, against NumPy: one core, arrays in cache, ``out`` preallocated.

Run by ``make bench``. Every pair is first shown to compute the same to within a few units in the last place.
"""

import numpy as np
import pytest

from ermin import _core

N = 4096
FUNCTIONS = {"exp": np.exp, "exp_m1": np.expm1, "ln": np.log, "ln_1p": np.log1p, "tanh": np.tanh}


def operands(name, dtype):
    x = np.random.default_rng(0).uniform(0.1, 4, N).astype(dtype)
    ours, theirs = np.empty_like(x), np.empty_like(x)
    _core.evaluate(name, x, ours)
    FUNCTIONS[name](x, out=theirs)
    np.testing.assert_allclose(ours, theirs, rtol=8 * np.finfo(dtype).eps)
    return x, ours


@pytest.mark.benchmark(group="math: 4096 elements", max_time=0.2)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def bench_function(benchmark, name, dtype):
    x, out = operands(name, dtype)
    benchmark(_core.evaluate, name, x, out)


@pytest.mark.benchmark(group="math: 4096 elements", max_time=0.2)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def bench_function_numpy(benchmark, name, dtype):
    x, out = operands(name, dtype)
    benchmark(FUNCTIONS[name], x, out=out)


# In the cache, and 64 MB.
SIZES = [1 << 13, 1 << 23]


@pytest.mark.benchmark(group="random: words", max_time=0.2)
@pytest.mark.parametrize("n", SIZES)
def bench_words(benchmark, n):
    out = np.empty(n, np.uint64)
    benchmark(_core.stream_words, 0, "bernoulli", 0, 0, 0, out)


@pytest.mark.benchmark(group="random: words", max_time=0.2)
@pytest.mark.parametrize("n", SIZES)
def bench_words_numpy_sfc64(benchmark, n):
    benchmark(np.random.SFC64(0).random_raw, n)


@pytest.mark.benchmark(group="intervals: beta quantile", max_time=0.2)
def bench_beta_quantile(benchmark):
    benchmark(_core.beta_quantile, 0.025, 301, 700)


@pytest.mark.benchmark(group="intervals: beta quantile", max_time=0.2)
def bench_beta_quantile_scipy(benchmark):
    betaincinv = pytest.importorskip("scipy.special").betaincinv
    assert abs(betaincinv(301, 700, 0.025) / _core.beta_quantile(0.025, 301, 700) - 1) < 1e-12
    benchmark(betaincinv, 301, 700, 0.025)
