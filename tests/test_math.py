"""The functions of rust/math against mpmath, SciPy and float64, at every SIMD level."""

import itertools
import os

import mpmath
import numpy as np
import pytest
import scipy.special

from ermin import _core

LEVELS = _core.simd_levels()
# `make exhaustive` sets it: then every float32 is tried, at the best level.
EXHAUSTIVE = "ERMIN_EXHAUSTIVE" in os.environ


@pytest.fixture(autouse=True)
def level_restored():
    before = _core.simd_level()
    yield
    _core.set_simd_level(before)


def evaluate(name, x):
    out = np.empty_like(x)
    _core.evaluate(name, x, out)
    return out


def logistic(x):
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-abs(x)))


def wave(x, quarter):
    """sin 2π(|x| + quarter/4), whole turns and quarters taken off exactly."""
    part = abs(x) - np.floor(abs(x))
    quarters = np.round(4 * part)
    f, quarters = 2 * np.pi * (part - quarters / 4), (quarters + quarter) % 4
    near = np.where(quarters % 2 == 0, np.sin(f), np.cos(f))
    return np.where(quarters >= 2, -near, near) + 0.0


# name: (of float64 arrays, of mpmath numbers, bound in ULP for float32, for float64): DESIGN's bounds
FUNCTIONS = {
    "exp": (np.exp, mpmath.exp, 1, 1.5),
    "exp_m1": (np.expm1, mpmath.expm1, 1, 1.5),
    "ln": (np.log, mpmath.log, 1, 1.5),
    "ln_1p": (np.log1p, mpmath.log1p, 1, 1.5),
    "tanh": (np.tanh, mpmath.tanh, 5, 5),
    "sigmoid": (logistic, lambda x: 1 / (1 + mpmath.exp(-x)), 3, 3),
    "softplus": (
        lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
        lambda x: max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x))),
        3,
        3,
    ),
    "erf": (scipy.special.erf, mpmath.erf, 3, 3),
    "sin_2pi": (
        lambda x: np.where(np.signbit(x), -wave(x, 0), wave(x, 0)),
        lambda x: mpmath.sinpi(2 * x),
        2,
        2,
    ),
    "cos_2pi": (lambda x: wave(x, 1), lambda x: mpmath.cospi(2 * x), 2, 2),
}


def ulps_of_float32(y, reference):
    """|y − reference| in units of the last place of the reference; an infinity stands for 2¹²⁸."""
    top = 2.0**128
    y, reference = np.clip(y.astype(np.float64), -top, top), np.clip(reference, -top, top)
    binade = (reference.view(np.uint64) & np.uint64(0x7FF << 52)).view(np.float64)
    return np.abs(y - reference) / np.maximum(binade * 2.0**-23, 2.0**-149)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_float32(name):
    function, _, bound, _ = FUNCTIONS[name]
    chunk = 1 << 18
    stride = 1 if EXHAUSTIVE else 4099  # a prime: every exponent, and fractions of every kind
    worst, where = 0.0, None
    with np.errstate(all="ignore"):
        for start in range(0, 1 << 32, chunk * stride):
            bits = np.arange(start, min(start + chunk * stride, 1 << 32), stride, dtype=np.uint64)
            x = bits.astype(np.uint32).view(np.float32)
            y, reference = evaluate(name, x), function(x.astype(np.float64))
            number = ~np.isnan(reference)
            np.testing.assert_array_equal(np.isnan(y), ~number)
            np.testing.assert_array_equal(np.signbit(y[number]), np.signbit(reference[number]))
            errors = np.where(number, ulps_of_float32(y, reference), 0)
            if errors.max() > worst:
                worst, where = errors.max(), x[errors.argmax()]
    print(f"{name}: at most {worst:.3f} ULP, at {where!r}")
    assert worst <= bound, where


def hard_float64(name):
    """Numbers of all exponents and near every threshold of the algorithms."""
    rng = np.random.default_rng(1)
    n = 600
    sign = rng.choice([-1.0, 1.0], n)
    near = 1 + rng.integers(-6, 7, n) * 2.0**-52
    halves = (rng.integers(-1070, 1025, n) + 0.5) * np.log(2) * near  # k changes in exp
    thresholds = rng.choice([0.5, 1.0, 2.0, 6.0, 36.7, 37.4, 708.39, 709.78, 745.13, 2.0**-54, 2.0**-1022], n)
    x = [
        rng.integers(0, 0x7FF << 52, n, dtype=np.uint64).view(np.float64) * sign,
        rng.integers(0, 1 << 52, n, dtype=np.uint64).view(np.float64) * sign,  # denormal
        10 ** rng.uniform(-18, 1, n) * sign,
        rng.uniform(-750, 715, n),
        rng.uniform(-7, 7, n),
        halves,
        thresholds * near * sign,
        1 + 10 ** rng.uniform(-16, -0.3, n) * sign,
        -1 + 10 ** rng.uniform(-16, -0.3, n),
        np.sqrt(2) * 2.0 ** rng.integers(-1020, 1020, n) * near,  # the exponent changes in ln
        rng.integers(-80, 81, n) / 8 * near,  # the quarter changes in sin 2πx
        rng.integers(-(1 << 54), 1 << 54, n) / 8,  # and where there are few bits below 1, or none
        [0.0, -0.0, 5e-324, -5e-324, np.finfo(float).max, -np.finfo(float).max],
    ]
    x = np.concatenate(x)
    if name == "ln":
        x = abs(x[x != 0])
    return x[x > -1] if name == "ln_1p" else x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_against_mpmath(name):
    _, function, _, bound = FUNCTIONS[name]
    arguments = hard_float64(name)
    with mpmath.workprec(200):
        for x, y in zip(arguments.tolist(), evaluate(name, arguments).tolist(), strict=True):
            argument = mpmath.mpf(x)
            if name in (
                "exp",
                "exp_m1",
                "tanh",
                "sigmoid",
                "softplus",
                "erf",
            ):  # constant, or linear, far out
                argument = max(min(argument, 1e4), -1e4) if name != "softplus" else max(argument, -1e4)
            exact = (
                function(argument) if argument != 0 or name not in ("exp_m1", "ln_1p", "tanh", "erf") else 0
            )
            if exact == 0:
                assert y == 0, x
            elif abs(y) == np.inf:
                assert abs(exact) > mpmath.mpf(2) ** 1024 * (1 - mpmath.mpf(2) ** -53), x
                assert (y > 0) == (exact > 0), x
            else:
                last = mpmath.ldexp(1, max(int(mpmath.floor(mpmath.log(abs(exact), 2))) - 52, -1074))
                assert abs(y - exact) <= bound * last, (x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_values(dtype):
    inf, nan = np.inf, np.nan
    x = np.array([0, -0.0, inf, -inf, nan], dtype)
    expected = {
        "exp": [1, 1, inf, 0, nan],
        "exp_m1": [0, -0.0, inf, -1, nan],
        "ln": [-inf, -inf, inf, nan, nan],
        "ln_1p": [0, -0.0, inf, nan, nan],
        "tanh": [0, -0.0, 1, -1, nan],
        "sigmoid": [0.5, 0.5, 1, 0, nan],
        "softplus": [np.log(2), np.log(2), inf, 0, nan],
        "erf": [0, -0.0, 1, -1, nan],
        "sin_2pi": [0, -0.0, nan, nan, nan],
        "cos_2pi": [1, 1, nan, nan, nan],
    }
    assert set(expected) == set(FUNCTIONS)
    for level in LEVELS:
        _core.set_simd_level(level)
        for name, values in expected.items():
            y = evaluate(name, x)
            np.testing.assert_array_equal(y, np.array(values, dtype), err_msg=name)
            numbers = ~np.isnan(y)
            np.testing.assert_array_equal(np.signbit(y[numbers]), np.signbit(values)[numbers], err_msg=name)
        tiny = np.finfo(dtype).smallest_subnormal
        small = np.array([tiny, -tiny, np.finfo(dtype).tiny, -3 * tiny], dtype)
        for name in ("exp_m1", "ln_1p", "tanh"):
            np.testing.assert_array_equal(evaluate(name, small), small, err_msg=name)
        quarters = np.arange(-9, 10) / 4
        signs = np.where(quarters < 0, -1.0, 1.0)
        exact = np.array([0, 1, 0, -1])[(4 * abs(quarters)).astype(int) % 4] * signs
        for name, values in (
            ("sin_2pi", exact),
            ("cos_2pi", np.array([1, 0, -1, 0] * 5)[np.arange(-9, 10) % 4]),
        ):
            y = evaluate(name, quarters.astype(dtype))
            np.testing.assert_array_equal(y, values, err_msg=name)
            np.testing.assert_array_equal(np.signbit(y), np.signbit(values * 1.0), err_msg=name)
        np.testing.assert_array_equal(evaluate("ln", np.ones(1, dtype)), 0)
        np.testing.assert_array_equal(evaluate("ln_1p", -np.ones(1, dtype)), -inf)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_at_every_level_and_place(name, dtype):
    bits = np.uint32 if dtype == np.float32 else np.uint64
    every = np.arange(100_003, dtype=bits) * bits(np.iinfo(bits).max // 100_003)
    x = np.concatenate([every.view(dtype), hard_float64(name).clip(-3e38, 3e38).astype(dtype)])
    results = []
    for level in LEVELS:
        _core.set_simd_level(level)
        y = evaluate(name, x)
        results.append(y[~np.isnan(y)].view(bits))
        short = [evaluate(name, x[i : i + 1 + i % 19]) for i in range(0, 380, 19)]
        np.testing.assert_array_equal(
            np.concatenate(short), np.concatenate([y[i : i + 1 + i % 19] for i in range(0, 380, 19)])
        )
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_an_unknown_function_is_named():
    with pytest.raises(ValueError, match='function is "sinh", which math lacks'):
        evaluate("sinh", np.ones(1))


def test_normal_quantile_against_mpmath():
    rng = np.random.default_rng(2)
    levels = np.concatenate(
        [rng.uniform(0, 1, 1000), 10 ** rng.uniform(-300, 0, 500), 1 - 10 ** rng.uniform(-15, 0, 500)]
    )
    levels = np.append(levels, [0.075, 0.925, 0.5, np.exp(-25), 5e-324, 1 - 2**-53])
    for p in levels.tolist():
        x = _core.normal_quantile(p)
        with mpmath.workprec(150):
            exact = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1) if 0.01 < p < 0.99 else None
            if exact is None:  # one step of Newton's iteration shows the error
                tail = mpmath.erfc(-mpmath.mpf(x) / mpmath.sqrt(2)) / 2
                density = mpmath.exp(-(mpmath.mpf(x) ** 2) / 2) / mpmath.sqrt(2 * mpmath.pi)
                error = (tail - mpmath.mpf(p)) / density
            else:
                error = x - exact
            assert abs(error) <= 5e-16 * abs(mpmath.mpf(x)) or abs(error) < 1e-17, p


def beta_cdf(x, a, b):
    """(P(X ≤ x), its density) by the continued fraction DLMF 8.17.22 in 50 digits, for x up to the mean."""
    with mpmath.workdps(50):
        x, a, b = mpmath.mpf(x), mpmath.mpf(a), mpmath.mpf(b)
        fraction = ratio = mpmath.mpf(1)
        inverse = mpmath.mpf(0)
        for n in itertools.count(1):  # Lentz's algorithm
            m = n // 2
            if n % 2:
                d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
            else:
                d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
            inverse, ratio = 1 / (1 + d * inverse), 1 + d / ratio
            fraction *= inverse * ratio
            if abs(inverse * ratio - 1) < mpmath.mpf(10) ** -30:
                break
        ln_beta = mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)
        power = mpmath.exp(a * mpmath.log(x) + b * mpmath.log1p(-x) - ln_beta)
        return power / a / fraction, power / (x * (1 - x))


def beta_quantile_error(p, a, b):
    """The relative error of the quantile, to first order: the error of P(X ≤ x), over the density and x."""
    with mpmath.workdps(50):
        x, p = mpmath.mpf(_core.beta_quantile(p, a, b)), mpmath.mpf(p)
        assert 0 < x < 1, (p, a, b, x)
        if x <= mpmath.mpf(a) / (mpmath.mpf(a) + b):
            probability, density = beta_cdf(x, a, b)
            return float((probability - p) / density / x)
        probability, density = beta_cdf(1 - x, b, a)
        return float((probability - (1 - p)) / density / x)


BETA_PARAMETERS = (0.5, 0.6, 1, 1.5, 2.25, 10, 37.5, 100, 12345.5, 1e6)
BETA_LEVELS = (
    1e-300,
    1e-100,
    1e-20,
    1e-10,
    1e-5,
    0.005,
    0.025,
    0.3,
    0.5,
    0.7,
    0.975,
    0.995,
    1 - 1e-6,
    1 - 2**-53,
)


@pytest.mark.parametrize("a", BETA_PARAMETERS)
def test_beta_quantile_against_mpmath(a):
    for b, p in itertools.product(BETA_PARAMETERS, BETA_LEVELS):
        # Below this, x = (p·a·B(a, b))^(1/a) is denormal or 0; near 1 it is 1.
        if p ** (1 / a) > 1e-290 and _core.beta_quantile(p, a, b) < 1:
            # logit x has an error in its last place, and moves x by as much.
            bound = max(2e-14, 4e-16 * abs(np.log(_core.beta_quantile(p, a, b))))
            assert abs(beta_quantile_error(p, a, b)) < bound, (a, b, p)


@pytest.mark.parametrize(("a", "b"), [(1e9, 1e9), (3, 1e9), (0.5, 1e9), (1e9, 0.5), (1e6, 1e9), (1e3, 1e9)])
def test_beta_quantile_of_large_parameters(a, b):
    for p in (1e-20, 0.025, 0.7, 0.975):
        assert abs(beta_quantile_error(p, a, b)) < 2e-14, (a, b, p)


def test_beta_quantile_against_scipy():
    rng = np.random.default_rng(0)
    a, b = 10 ** rng.uniform(-0.3, 3, (2, 1000))
    p = rng.uniform(1e-3, 1 - 1e-3, 1000)
    ours = [_core.beta_quantile(*arguments) for arguments in zip(p, a, b, strict=True)]
    # SciPy's error reaches 1e-8 where the quantile is just above the mean; the median shows no such place.
    relative = abs(ours / scipy.special.betaincinv(a, b, p) - 1)
    assert np.median(relative) < 1e-14
    np.testing.assert_allclose(scipy.special.betainc(a, b, ours), p, rtol=1e-12)


def test_beta_quantile_in_closed_form():
    for p in (5e-324, 1e-310, 1e-16, 0.3, 0.5, 1 - 2**-53):
        assert _core.beta_quantile(p, 1, 1) == pytest.approx(p, rel=1e-13)
        assert _core.beta_quantile(p, 2, 1) == pytest.approx(np.sqrt(p), rel=1e-13)
        assert _core.beta_quantile(p, 1, 4) == pytest.approx(-np.expm1(np.log1p(-p) / 4), rel=1e-12)
        # arcsine distribution
        assert _core.beta_quantile(p, 0.5, 0.5) == pytest.approx(np.sin(np.pi * p / 2) ** 2, rel=1e-12)
    assert _core.beta_quantile(0, 2, 3) == 0
    assert _core.beta_quantile(1, 2, 3) == 1
    assert _core.beta_quantile(5e-324, 0.5, 3) == 0
    for a in (1e12, 1e15, 1e18):  # normal, with a standard deviation of 1/√(8a)
        half = 0.5 - 1.959963984540054 / np.sqrt(8 * a)
        assert _core.beta_quantile(0.025, a, a) == pytest.approx(half, rel=1e-13)


@pytest.mark.parametrize(
    "arguments",
    [
        (np.nan, 1, 1),
        (-0.1, 1, 1),
        (1.1, 1, 1),
        (0.5, 0, 1),
        (0.5, 1, -1),
        (0.5, np.inf, 1),
        (0.5, 1, np.nan),
    ],
)
def test_beta_quantile_out_of_range_is_nan(arguments):
    assert np.isnan(_core.beta_quantile(*arguments))


def test_beta_quantile_has_the_same_bits_at_every_level():
    results = []
    for level in LEVELS:
        _core.set_simd_level(level)
        parameters = itertools.product(BETA_LEVELS, BETA_PARAMETERS, BETA_PARAMETERS)
        results.append([_core.beta_quantile(*arguments) for arguments in parameters])
    assert all(result == results[0] for result in results)
