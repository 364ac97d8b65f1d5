"""The functions of rust/math against mpmath, SciPy and float64, at every SIMD level."""

import itertools

import mpmath
import numpy as np
import pytest
import scipy.special

from ermin import _core


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
    before = _core.simd_level()
    results = []
    for level in _core.simd_levels():
        _core.set_simd_level(level)
        parameters = itertools.product(BETA_LEVELS, BETA_PARAMETERS, BETA_PARAMETERS)
        results.append([_core.beta_quantile(*arguments) for arguments in parameters])
    _core.set_simd_level(before)
    assert all(result == results[0] for result in results)
