"""Divergences: against the slow truth, mpmath and SciPy; every policy, layout, dtype, level and thread count."""

import contextlib
import math
import threading

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import ermin
import reference
from ermin import _core

DTYPES = [np.float32, np.float64]
UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
LENGTHS = [1, 2, 3, 7, 10, 15, 16, 17, 63, 64, 65, 200, 1023, 1024, 1025, 3000, 16_384, 16_385, 40_000]
FUNCTIONS = ["entropy", "cross_entropy", "kl_divergence"]


def at_every_level(compute):
    """The result, after showing that it has the same bits at every level."""
    before = _core.simd_level()
    results = []
    for name in _core.simd_levels():
        _core.set_simd_level(name)
        results.append(np.asarray(compute()))
    _core.set_simd_level(before)
    for result in results[1:]:
        assert result.dtype == results[0].dtype
        assert result.tobytes() == results[0].tobytes()
    return results[0]


def table(shape, dtype=np.float64, seed=0):
    """Rows of probabilities of wide range, which sum to 1 as well as `dtype` allows."""
    weights = np.random.default_rng(seed).random(shape) ** 4 + 1e-6
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(dtype)


def call(name, p, q, **keywords):
    return (
        getattr(ermin, name)(p, **keywords) if name == "entropy" else getattr(ermin, name)(p, q, **keywords)
    )


def exact_terms(name, p, q):
    """Terms of one row in mpmath, at 40 digits: of the very numbers, not of decimals."""
    with mpmath.workdps(40):
        terms = []
        for a, b in zip(map(float, p), map(float, q), strict=True):
            a, b = mpmath.mpf(a), mpmath.mpf(b)
            first = mpmath.log(a) if name != "cross_entropy" and a > 0 else 0
            second = mpmath.log(b) if name != "entropy" and a > 0 else 0
            sign = -1 if name == "entropy" else 1
            terms.append(sign * a * first - a * second)
        return terms


class Logits:
    """What divergences need of a distribution given by logits."""

    def __init__(self, logits):
        self.logits = np.asarray(logits)

    def _event_arrays(self):
        return "logits", self.logits


class Probabilities(Logits):
    def _event_arrays(self):
        return "p", self.logits


# ---------------------------------------------------------------------------------------------------- the article


def test_the_truths_of_the_article():
    fair, unlucky = [0.5, 0.5], [1.0, 0.0]
    assert ermin.kl_divergence(fair, unlucky) == math.inf
    eps = 1e-12
    expected = 0.5 * math.log(0.5) + 0.5 * math.log(0.5 / eps)
    assert ermin.kl_divergence(fair, unlucky, zero="clip", eps=eps) == pytest.approx(expected, rel=1e-15)
    p, q = table((50, 6)), table((50, 6), seed=1)
    kl, cross, entropy = ermin.kl_divergence(p, q), ermin.cross_entropy(p, q), ermin.entropy(p)
    np.testing.assert_allclose(cross - entropy, kl, rtol=1e-13, atol=1e-15)
    assert (kl > 0).all()
    assert ermin.empirical_risk(p, q) == pytest.approx(kl.mean(), rel=1e-15)


def test_the_same_gradient():
    """KL and cross-entropy differ by what doesn't depend on the model: so does a small step of the model."""
    p, z, step = table((1, 5)), np.linspace(-1, 1, 5)[None], 1e-5

    def slope(function, j):
        moved = [z + sign * step * np.eye(5)[[j]] for sign in (1, -1)]
        return float(function(p, Logits(moved[0]))[0] - function(p, Logits(moved[1]))[0]) / (2 * step)

    softmax = np.exp(z) / np.exp(z).sum()
    for j in range(5):
        expected = pytest.approx(softmax[0, j] - p[0, j], abs=1e-9)
        assert slope(ermin.kl_divergence, j) == expected
        assert slope(ermin.cross_entropy, j) == expected


def test_a_fair_coin_is_one_bit():
    assert ermin.entropy([0.5, 0.5], base=2) == 1
    assert ermin.entropy([0.25] * 4, base=2) == 2
    assert ermin.entropy([1.0, 0.0]) == 0
    assert not np.signbit(ermin.entropy([1.0, 0.0], terms=True)).any()


# ------------------------------------------------------------------------------------------------------- numerics


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_sums_and_terms_against_mpmath(name, dtype):
    for n in [2, 3, 10, 17, 100, 1100]:
        p, q = table((2, n), dtype), table((2, n), dtype, seed=1)
        if n == 10:
            q[0] = np.nextafter(p[0], dtype(1))  # nearly the same: the terms nearly cancel
        sums = at_every_level(lambda p=p, q=q: call(name, p, q))
        terms = at_every_level(lambda p=p, q=q: call(name, p, q, terms=True))
        assert sums.dtype == terms.dtype == dtype
        for i in range(2):
            exact = exact_terms(name, p[i], q[i])
            size = float(mpmath.fsum(map(abs, exact)))
            if name != "kl_divergence" or n != 10 or i:
                assert abs(mpmath.mpf(float(sums[i])) - mpmath.fsum(exact)) <= 8 * UNIT[dtype] * size
            for got, term in zip(terms[i], exact, strict=True):
                assert abs(mpmath.mpf(float(got)) - term) <= 6 * UNIT[dtype] * abs(term)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_every_size_against_mpmath(dtype):
    info = np.finfo(dtype)
    edges = [
        info.smallest_subnormal,
        info.tiny / 2,
        info.tiny,
        info.tiny * 2,
        info.tiny * 3,
        info.eps,
        0.1,
        0.75,
        1,
    ]
    edges += [1 - info.epsneg, 1 + info.eps, 3, info.max / 4, info.max / 2, info.max]
    edges = np.array(edges, dtype)
    p, q = (x.ravel() for x in np.meshgrid(edges, edges))
    for name in FUNCTIONS:
        terms = at_every_level(lambda name=name: call(name, p, q, terms=True, validate=False))
        for got, exact in zip(terms, exact_terms(name, p, q), strict=True):
            if abs(exact) > float(info.max):
                assert got == math.copysign(math.inf, exact)
            else:
                bound = 6 * UNIT[dtype] * abs(exact) + float(info.smallest_subnormal)
                assert abs(mpmath.mpf(float(got)) - exact) <= bound


@pytest.mark.parametrize("dtype", DTYPES)
def test_ten_million_events_are_as_exact_as_two(dtype):
    n = 2**22 if dtype is np.float32 else 10_000_000  # 2⁻²² is a float32
    p = np.full(n, 1 / n, dtype)
    expected = -float(mpmath.mpf(float(p[0])) * mpmath.log(mpmath.mpf(float(p[0]))) * n)
    assert abs(float(ermin.entropy(p)) - expected) <= 8 * UNIT[dtype] * expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_divergence_from_itself_is_zero_and_none_is_negative(dtype):
    rng = np.random.default_rng(0)
    for n in [2, 5, 40, 2000, 20_000]:
        p = table((20, n), dtype)
        assert not ermin.kl_divergence(p, p).any()
        assert not ermin.kl_divergence(p, p, validate="normalize").any()
        q = (p * (1 + 4 * np.finfo(dtype).eps * rng.standard_normal(p.shape))).astype(dtype)
        assert (ermin.kl_divergence(p, q) >= 0).all()
    # Rows that don't quite sum to 1 would give a negative number; nobody learns of it.
    assert ermin.kl_divergence([0.5, 0.5], [0.5 + 1e-9, 0.5 + 1e-9]) == 0
    assert ermin.kl_divergence([0.5, 0.5], [0.5 + 1e-9, 0.5 + 1e-9], validate=False) < 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_every_length_has_the_same_bits_everywhere(n, dtype):
    """At every level, for every number of threads, and whatever stands beside a row."""
    p, q = table((5, n), dtype), table((5, n), dtype, seed=1)
    q[3, 0] = 0 if n > 1 else q[3, 0]
    q /= q.sum(axis=1, keepdims=True)
    want = special.rel_entr(p.astype(float), q.astype(float)).sum(axis=1)
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    for validate in (True, False, "normalize"):
        rows = at_every_level(lambda v=validate: ermin.kl_divergence(p, q, validate=v))
        np.testing.assert_allclose(rows, want, rtol=tolerance, atol=tolerance / 1000)
        for threads in (1, 2, 8):
            again = ermin.kl_divergence(p, q, validate=validate, n_threads=threads)
            np.testing.assert_array_equal(again, rows)
        for i in range(5):
            assert ermin.kl_divergence(p[i], q[i], validate=validate) == rows[i]
    risk = at_every_level(lambda: ermin.empirical_risk(p[:3], q[:3]))
    assert {float(ermin.empirical_risk(p[:3], q[:3], n_threads=threads)) for threads in (1, 2, 8)} == {
        float(risk)
    }
    assert risk == pytest.approx(want[:3].mean(), rel=tolerance, abs=tolerance / 1000)


# -------------------------------------------------------------------------------------------------- zero policies


@pytest.mark.parametrize(
    ("zero", "eps"), [("inf", None), ("clip", 1e-12), ("clip", None), ("smooth", None), ("smooth", 0.5)]
)
def test_policies_against_the_slow_truth(level, zero, eps):
    p = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    q = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
    terms = ermin.kl_divergence(p, q, zero=zero, eps=eps, terms=True)
    sums = ermin.kl_divergence(p, q, zero=zero, eps=eps, validate=False)
    cross = ermin.cross_entropy(p, q, zero=zero, eps=eps)
    for i in range(4):
        np.testing.assert_allclose(
            terms[i], reference.kl_terms(p[i], q[i], zero, eps), rtol=1e-14, atol=1e-15
        )
        assert sums[i] == pytest.approx(reference.kl_divergence(p[i], q[i], zero, eps), rel=1e-13, abs=1e-15)
        assert cross[i] == pytest.approx(reference.cross_entropy(p[i], q[i], zero, eps), rel=1e-13, abs=1e-15)
    by_logits = ermin.kl_divergence(
        p, Logits(np.where(q > 0, np.log(q + (q == 0)), -np.inf)), zero=zero, eps=eps
    )
    np.testing.assert_allclose(by_logits, np.maximum(sums, 0), rtol=1e-13, atol=1e-14)
    classes = [0, 2, 2, 0]
    by_class = ermin.empirical_risk(classes, q, zero=zero, eps=eps)
    one_hot = ermin.empirical_risk(np.eye(3)[classes], q, zero=zero, eps=eps)
    assert by_class == pytest.approx(one_hot, rel=1e-13)


@pytest.mark.parametrize("function", [ermin.kl_divergence, ermin.cross_entropy])
def test_raise_names_the_first_event(level, function):
    p, q = table((2, 3, 4)), table((2, 3, 4), seed=1)
    assert np.array_equal(function(p, q, zero="raise"), function(p, q))
    q[1, 0, 2] = q[1, 2, 3] = 0
    q /= q.sum(axis=-1, keepdims=True)
    with pytest.raises(ValueError, match=r"^q\[1, 0, 2\] is 0, but must be positive where the event happens"):
        function(p, q, zero="raise")
    with pytest.raises(ValueError, match=r"^q\[1, 2, 0\] is 0"):
        function(np.moveaxis(p, -1, 1), np.moveaxis(q, -1, 1), zero="raise", axis=1)
    with pytest.raises(ValueError, match=r"^q\[2\] is 0"):
        function(p, q[1, 0], zero="raise")
    with pytest.raises(ValueError, match=r"^p_model\[1, 0\] is 0"):
        ermin.empirical_risk([0, 0], [[0.5, 0.5], [0.0, 1.0]], zero="raise")
    with pytest.raises(ValueError, match=r"^q\[1\] is 0"):
        function([0.5, 0.5], Logits([0.0, -np.inf]), zero="raise")
    q[p.argmax() > -1] = p
    p[1, 0, 2] = q[1, 0, 2] = 0  # nothing happens there
    function(p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True), zero="raise")


def test_what_is_no_probability_gives_nan_without_validation():
    bad = [np.nan, np.inf, -np.inf, -0.25, -5e-324]
    for name in FUNCTIONS:
        for value in bad:
            terms = at_every_level(
                lambda n=name, v=value: call(n, [v, 0.5, 0.25], [0.5, 0.5, 0.5], terms=True, validate=False)
            )
            assert np.isnan(terms[0])
            assert np.isfinite(terms[1:]).all()
            if name != "entropy":
                for p in (0.5, 0.0):
                    terms = call(name, [p, 0.5], [value, 0.5], terms=True, validate=False)
                    assert np.isnan(terms[0])
                    assert np.isfinite(terms[1])
    assert ermin.kl_divergence([-0.0, 1.0], [-0.0, 1.0]) == 0
    assert np.isnan(ermin.kl_divergence([0.5, 0.5], Logits([np.nan, 0.0]), validate=False))


# --------------------------------------------------------------------------------------------- layouts and dtypes


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_layout_gives_the_bits_of_its_contiguous_copy(data):
    ndim = data.draw(st.integers(1, 4))
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=ndim, max_size=ndim)))
    axis = data.draw(st.integers(-ndim, ndim - 1))
    dtype = data.draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(data.draw(st.integers(0, 5)))

    def layout():
        """Random numbers in a random layout of that shape: permuted axes, steps of any sign, some of them zero."""
        order = rng.permutation(ndim)
        steps = [int(step) for step in rng.choice([1, 2, -1, -2], ndim)]
        base = rng.random(tuple(abs(steps[i]) * shape[i] for i in order)).astype(dtype) + dtype(0.01)
        view = base.transpose(np.argsort(order))[tuple(slice(None, None, step) for step in steps)]
        assert view.shape == shape
        if rng.random() < 0.3 and ndim > 1:
            i = int(rng.integers(ndim))
            view = np.broadcast_to(view.take([0], axis=i), shape)
        return view

    p, q = layout(), layout()
    before = p.copy(), q.copy()
    plain = [np.ascontiguousarray(np.moveaxis(x, axis, -1)) for x in (p, q)]
    for name in FUNCTIONS:
        for validate in (False, "normalize"):
            got = call(name, p, q, axis=axis, validate=validate)
            np.testing.assert_array_equal(got, call(name, *plain, validate=validate))
            got = call(name, p, q, axis=axis, validate=validate, terms=True)
            np.testing.assert_array_equal(
                np.moveaxis(got, axis, -1), call(name, *plain, validate=validate, terms=True)
            )
    out = np.full((*shape, 2), 7, dtype)[..., 0].T.copy().T
    assert ermin.kl_divergence(p, q, axis=axis, validate=False, terms=True, out=out) is out
    np.testing.assert_array_equal(out, ermin.kl_divergence(p, q, axis=axis, validate=False, terms=True))
    np.testing.assert_array_equal(p, before[0])
    np.testing.assert_array_equal(q, before[1])


@pytest.mark.parametrize(
    "shapes", [((4,), (3, 4)), ((3, 1, 4), (5, 4)), ((2, 3, 4), (4,)), ((1, 4), (6, 4)), ((1200,), (3, 1200))]
)
def test_axes_beside_the_events_broadcast(shapes):
    p, q = table(shapes[0]), table(shapes[1], seed=1)
    full = np.broadcast_shapes(*shapes)
    P, Q = (np.ascontiguousarray(np.broadcast_to(x, full)) for x in (p, q))
    np.testing.assert_array_equal(ermin.kl_divergence(p, q), ermin.kl_divergence(P, Q))
    np.testing.assert_array_equal(
        ermin.kl_divergence(p, q, terms=True), ermin.kl_divergence(P, Q, terms=True)
    )
    assert ermin.empirical_risk(p, q) == ermin.empirical_risk(P, Q)


def test_dtypes():
    one_hot = np.eye(4, dtype=int)
    q = table((4, 4))
    want = ermin.kl_divergence(np.eye(4), q)
    for code in "?bhilqBHILQ":
        got = ermin.kl_divergence(one_hot.astype(code), q)
        assert got.dtype == np.float64
        np.testing.assert_array_equal(got, want)
    p32 = table((4, 4), np.float32)
    assert ermin.kl_divergence(p32, q).dtype == np.float64  # NumPy's rule: the wider
    wide = ermin.kl_divergence(p32.astype(float), q, validate=False)
    np.testing.assert_array_equal(ermin.kl_divergence(p32, q, validate=False), wide)
    for other in (q.astype(">f8"), q.astype(np.longdouble), q.astype(object), q.tolist()):
        np.testing.assert_array_equal(ermin.kl_divergence(np.eye(4), other), want)
    assert ermin.entropy(p32.astype(">f4")).dtype == np.float32
    np.testing.assert_array_equal(ermin.entropy(p32.astype(">f4")), ermin.entropy(p32))
    half = table((4, 4), np.float16)
    assert ermin.entropy(half).dtype == np.float64
    misaligned = np.frombuffer(b"x" + q.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(4, 4)
    np.testing.assert_array_equal(ermin.kl_divergence(np.eye(4), misaligned), want)
    record = np.zeros(4, dtype=[("tag", "i1"), ("p", "f8", 4)])
    record["p"] = q
    np.testing.assert_array_equal(ermin.kl_divergence(np.eye(4), record["p"]), want)
    for bad in (q.astype(complex), np.array([["a", "b"]]), np.array([["a", None]], dtype=object)):
        with pytest.raises(TypeError, match=r"^q (has|must)"):
            ermin.kl_divergence(q, bad)


def test_results_are_numpy_scalars_or_arrays():
    assert type(ermin.kl_divergence([0.5, 0.5], [0.5, 0.5])) is np.float64
    assert type(ermin.kl_divergence(*[table((3,))] * 2)) is np.float64
    assert type(ermin.kl_divergence(*[table((3,), np.float32)] * 2)) is np.float32
    assert type(ermin.empirical_risk([0], [[0.5, 0.5]])) is np.float64
    assert type(ermin.empirical_risk([0], table((1, 2), np.float32))) is np.float32
    assert ermin.kl_divergence(table((1, 2)), table((1, 2))).shape == (1,)


def test_nothing_to_sum():
    assert ermin.kl_divergence([], []) == 0
    assert ermin.kl_divergence(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)
    np.testing.assert_array_equal(ermin.entropy(np.empty((3, 0))), np.zeros(3))
    assert ermin.entropy(np.empty((3, 0)), terms=True).shape == (3, 0)
    assert ermin.empirical_risk(np.empty((0, 3)), np.empty((0, 3))) == 0
    assert ermin.empirical_risk(np.empty(0, int), np.empty((0, 3))) == 0


def test_the_bases():
    p, q = table((3, 5)), table((3, 5), seed=1)
    for base in (2, 10, 2.5):
        for name in FUNCTIONS:
            for terms in (False, True):
                nats = call(name, p, q, terms=terms)
                np.testing.assert_allclose(
                    call(name, p, q, terms=terms, base=base), nats / math.log(base), rtol=1e-15
                )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 10, 1500, 20_000])
def test_one_row_is_the_row_of_a_table(n, dtype):
    p, q = table(n, dtype), table(n, dtype, 1)
    options = [
        {},
        {"base": 2},
        {"zero": "clip", "eps": 1e-3},
        {"zero": "smooth"},
        {"zero": "raise"},
        {"validate": False},
        {"validate": "normalize"},
        {"axis": 0},
    ]
    for keywords in options:
        of_table = {**keywords, "axis": -1}
        for name in FUNCTIONS:
            if name == "entropy" and "zero" in keywords:
                continue
            row = call(name, p, q, **keywords)
            assert type(row) is dtype
            assert row == call(name, p[None], q[None], **of_table)[0]
            assert row == call(name, np.repeat(p, 2)[::2], q, **keywords)


# ------------------------------------------------------------------------------------------- logits and classes


def bernoulli(logit):
    return Logits(np.stack([np.zeros_like(logit), logit], axis=-1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 10, 70, 1024, 1500, 20_000])
def test_logits_against_probabilities(n, dtype):
    rng = np.random.default_rng(0)
    z, y = (rng.normal(size=(2, 3, n)) * 3).astype(dtype)
    p, q = (special.softmax(x.astype(float), axis=-1) for x in (z, y))
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    want = special.rel_entr(p, q).sum(axis=-1)
    kl = at_every_level(lambda: ermin.kl_divergence(Logits(z), Logits(y)))
    assert kl.dtype == dtype
    np.testing.assert_allclose(kl, want, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ermin.kl_divergence(p, Logits(y)), want, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ermin.kl_divergence(Logits(z), q), want, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ermin.entropy(Logits(z)), special.entr(p).sum(axis=-1), rtol=tolerance)
    np.testing.assert_allclose(ermin.kl_divergence(Probabilities(p), q), want, rtol=tolerance)
    classes = rng.integers(0, n, 3)
    risk = at_every_level(lambda: ermin.empirical_risk(classes, Logits(z)))
    assert risk == pytest.approx(-np.log(p[np.arange(3), classes]).mean(), rel=tolerance)
    assert ermin.empirical_risk(classes, Logits(z), n_threads=8) == risk


def log_softmax(z):
    """In float64 of any z: an oracle with a relative error of a few units, for sure predictions, too."""
    z = np.asarray(z, float)
    most = z.argmax(axis=-1, keepdims=True)
    behind = z - np.take_along_axis(z, most, -1)
    rest = np.exp(behind)
    np.put_along_axis(rest, most, 0, -1)
    return behind - np.log1p([[math.fsum(row)] for row in rest])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 16, 17, 40, 64, 65, 256, 257, 320, 1000, 1024, 1025, 3000])
def test_classes_from_logits_at_every_width(n, dtype):
    rng = np.random.default_rng(n)
    m = 300 if n < 300 else 7
    z = (rng.normal(size=(m, n)) * 3).astype(dtype)
    classes = rng.integers(0, n, m)
    # A sure row; one whose rest is tiny; ties; an impossible class beside possible ones.
    z[0, 0] = 80
    z[1], z[1, classes[1]] = -60, 0
    z[2] = z[2, 0]
    z[3, : n // 2] = -np.inf
    classes[3] = n - 1
    want = -log_softmax(z)[np.arange(m), classes]
    rows = at_every_level(lambda: ermin.empirical_risk(classes, Logits(z), terms=True)[np.arange(m), classes])
    # A unit of the logits counts where the largest is far above the class's.
    unit = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(rows, want, rtol=4 * unit, atol=0)
    risk = at_every_level(lambda: ermin.empirical_risk(classes, Logits(z)))
    assert risk == pytest.approx(rows.astype(float).mean(), rel=2 * unit)
    assert ermin.empirical_risk(classes, Logits(z), n_threads=3) == risk
    # No row knows its neighbours, and layout doesn't matter.
    for i in range(min(m, 20)):
        assert dtype(ermin.empirical_risk(classes[i : i + 1], Logits(z[i : i + 1]))) == rows[i]
    wide = np.zeros((m, 2 * n + 1), dtype)
    wide[:, 1::2] = z
    for other in (np.asfortranarray(z), wide[:, 1::2]):
        assert ermin.empirical_risk(classes, Logits(other)) == risk


@pytest.mark.parametrize("n", [2, 10, 200, 300, 1500])
def test_bad_logits_of_classes_are_named(level, n):
    z, classes = np.random.default_rng(0).normal(size=(70, n)).astype(np.float32), np.zeros(70, int)
    for value, message in [
        (np.nan, "NaN, but must be a number below"),
        (np.inf, "inf, but must be a number"),
    ]:
        bad = z.copy()
        bad[65, n - 1] = value
        with pytest.raises(ValueError, match=rf"^p_model\[65, {n - 1}\] is {message}"):
            ermin.empirical_risk(classes, Logits(bad))
        unchecked = ermin.empirical_risk(classes, Logits(bad), terms=True, validate=False)[:, 0]
        assert np.flatnonzero(np.isnan(unchecked)).tolist() == [65]
    z[3] = -np.inf
    with pytest.raises(ValueError, match=r"^p_model\[3\] is -inf, but must have a finite largest logit"):
        ermin.empirical_risk(classes, Logits(z))


@pytest.mark.parametrize("n", [1, 2, 10, 40, 1500])
def test_equal_logits_are_the_uniform_distribution(n):
    z = np.full((3, n), 2.5)
    np.testing.assert_allclose(at_every_level(lambda: ermin.entropy(Logits(z))), math.log(n), rtol=1e-14)
    assert ermin.empirical_risk([0, n // 2, n - 1], Logits(z)) == pytest.approx(math.log(n), rel=1e-15)
    z[1, 0] = np.nan
    assert np.isnan(ermin.entropy(Logits(z), validate=False)).tolist() == [False, True, False]
    with pytest.raises(ValueError, match=r"^p\[1, 0\] is NaN, but must be a number below \+inf"):
        ermin.entropy(Logits(z))
    with pytest.raises(ValueError, match=r"^p_model\[1, 0\] is NaN"):
        ermin.empirical_risk([0, 0, 0], Logits(z))


def test_nothing_underflows_in_log_space():
    certain = bernoulli(np.array([800.0, -900.0, 40.0]))
    np.testing.assert_allclose(ermin.empirical_risk([0, 1, 0], certain), (800 + 900 + 40) / 3, rtol=1e-15)
    np.testing.assert_allclose(ermin.cross_entropy([[1.0, 0.0]], certain), [800, 0, 40], atol=1e-300)
    # 1 − p is e⁻⁴⁰: a probability beside 1 would have lost it.
    np.testing.assert_allclose(ermin.entropy(certain)[2], 41 * math.exp(-40), rtol=1e-13)
    assert ermin.entropy(Logits([0.0, -np.inf])) == 0
    assert ermin.kl_divergence([0.5, 0.5], Logits([0.0, -np.inf])) == math.inf
    assert ermin.kl_divergence([1.0, 0.0], Logits([0.0, -np.inf])) == 0


@pytest.mark.parametrize("n", [2, 10, 1500])
@pytest.mark.parametrize("validate", [True, False, "normalize"])
def test_class_indices_are_the_events_that_happened(n, validate):
    q = table((7, n))
    classes = np.random.default_rng(0).integers(0, n, 7)
    weights = np.array([1, 0, 2, 0.5, 3, 1, 1])
    want = -np.log(q[np.arange(7), classes])
    risk = at_every_level(lambda: ermin.empirical_risk(classes, q, validate=validate))
    assert risk == pytest.approx(want.mean(), rel=1e-13)
    got = ermin.empirical_risk(classes, q, sample_weight=weights, validate=validate)
    assert got == pytest.approx(np.average(want, weights=weights), rel=1e-13)
    assert got == pytest.approx(ermin.empirical_risk(np.eye(n)[classes], q, sample_weight=weights), rel=1e-13)
    np.testing.assert_allclose(
        ermin.empirical_risk(classes, q, terms=True),
        ermin.kl_divergence(np.eye(n)[classes], q, terms=True),
        rtol=1e-13,
    )
    for code in "bhiBHQ":
        if n < 128:
            assert ermin.empirical_risk(classes.astype(code), q, validate=validate) == risk
    assert ermin.empirical_risk(classes[:, None], q[:, None], validate=validate) == risk
    np.testing.assert_allclose(
        ermin.empirical_risk(classes, np.moveaxis(q, -1, 0), axis=0, validate=validate), risk, rtol=1e-15
    )
    one = ermin.empirical_risk(classes, q[0], validate=validate)
    assert one == pytest.approx(-np.log(q[0, classes]).mean(), rel=1e-13)


def test_a_row_of_weight_zero_does_not_count():
    model = [[0.5, 0.5], [0.0, 1.0]]
    assert ermin.empirical_risk([0, 0], model) == math.inf
    assert ermin.empirical_risk([0, 0], model, sample_weight=[1, 0]) == pytest.approx(math.log(2))


@pytest.mark.parametrize("n", [1, 63, 300, 20_000])
def test_equal_weights_are_no_weights(n):
    model = table((n, 4))
    classes = np.random.default_rng(0).integers(0, 4, n)
    risk = ermin.empirical_risk(classes, model)
    for weight in (1.0, 4.0):
        assert ermin.empirical_risk(classes, model, sample_weight=np.full(n, weight)) == risk


# ---------------------------------------------------------------------------------------------------- bad input

GOOD = [0.5, 0.5]
REFUSED = [
    ({"p": [0.5, np.nan]}, r"^p\[1\] is NaN, but must be finite and at least 0"),
    ({"p": [1.5, -0.5]}, r"^p\[1\] is -0.5, but must be finite"),
    ({"q": [[0.5, 0.5], [np.inf, 0.5]]}, r"^q\[1, 0\] is inf, but must be finite"),
    ({"q": [[0.5, 0.5], [0.5, 0.6]]}, r"^q: row 1 sums to 1.1, but must sum to 1"),
    ({"p": [0.5, 0.4]}, r"^p: row 0 sums to 0.9, but must sum to 1"),
    ({"p": [0.0, 0.0], "validate": "normalize"}, r"^p is 0, but must have a positive finite sum"),
    ({"q": Logits([0.0, np.inf])}, r"^q\[1\] is inf, but must be a number below \+inf"),
    ({"q": Logits([-np.inf, -np.inf])}, r"^q is -inf, but must have a finite largest logit"),
    ({"q": [0.2, 0.3, 0.5]}, r"^q has 3 events .*, but p has 2"),
    (
        {"p": np.full((2, 2), 0.5), "q": np.full((3, 2), 0.5)},
        r"^p and q have shapes .* which don't broadcast",
    ),
    ({"p": 0.5}, r"^p has no dimensions"),
    ({"zero": "none"}, r"^zero is 'none', but must be one of 'inf', 'clip', 'smooth', 'raise'"),
    ({"validate": "maybe"}, r"^validate is 'maybe', but must be"),
    ({"validate": None}, r"^validate is None, but must be"),
    ({"eps": 1e-9}, r"^eps is 1e-09, but zero='inf' has no use for it"),
    ({"zero": np.array(["inf", "clip"])}, r"^zero is array"),
    ({"zero": "clip", "eps": 0}, r"^eps is 0.0, but must be positive and at most 1"),
    ({"zero": "clip", "eps": 2}, r"^eps is 2.0, but must be positive and at most 1"),
    ({"zero": "smooth", "eps": np.inf}, r"^eps is inf, but must be positive and finite"),
    ({"base": 1}, r"^base is 1.0, but must be None or a finite number greater than 1"),
    ({"base": np.nan}, r"^base is nan"),
    ({"axis": 1}, r"axis 1 is out of bounds"),
    ({"n_threads": 0}, r"^n_threads is 0, but must be None or at least 1"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_bad_input_is_named(level, arguments, message):
    with pytest.raises(ValueError, match=message):
        ermin.kl_divergence(**{"p": GOOD, "q": GOOD, **arguments})


def test_the_first_wrong_row_is_named_whatever_the_threads():
    q = table((3000, 100))
    for i in (2999, 1700, 1701):
        q[i] *= 2
    for threads in (1, 2, 8):
        with pytest.raises(ValueError, match=r"^q: row 1700 sums to 2"):
            ermin.kl_divergence(q[:1].copy(), q, n_threads=threads)


def test_tolerance_is_that_of_the_dtype():
    ermin.entropy(np.array([0.5, 0.5003], np.float32))
    with pytest.raises(ValueError, match=r"sums to 1.0005"):
        ermin.entropy(np.array([0.5, 0.5005], np.float32))
    ermin.entropy([0.5, 0.5 + 1e-8])
    with pytest.raises(ValueError, match="sums to"):
        ermin.entropy([0.5, 0.5 + 2e-8])


def test_weights_whose_sum_overflows_are_refused():
    p = np.full((3, 2), 0.5)
    for truth in (p, [0, 1, 0]):
        with pytest.raises(ValueError, match=r"^sample_weight must have a finite sum"):
            ermin.empirical_risk(truth, p, sample_weight=[1e308] * 3)


def test_an_eps_beyond_float32_is_an_error_and_no_warning():
    p = np.float32([0.5, 0.5])
    for eps in (1e300, 1e-300):
        with pytest.raises(ValueError, match=r"^eps is 1e"):
            ermin.kl_divergence(p, p, zero="smooth", eps=eps)


RISKS = [
    (([2], [GOOD]), {}, r"^q\[0\] is 2, but must be the index of an event"),
    (([-1], [GOOD]), {}, r"^q\[0\] is -1, but must be the index"),
    ((np.array([2**63], np.uint64), [GOOD]), {}, r"^q holds 9223372036854775808"),
    (([0, 1, 1], [GOOD] * 2), {}, r"^q has shape \(3,\) and holds class indices"),
    (([[0, 1], [1, 0]], [GOOD] * 2), {}, r"whole numbers are class indices"),
    (([0], [GOOD]), {"sample_weight": [1, 2]}, r"^sample_weight has shape \(2,\)"),
    (([0], [GOOD]), {"sample_weight": [-1]}, r"^sample_weight\[0\] is -1, but must be finite and at least 0"),
    (([0], [GOOD]), {"sample_weight": [0]}, r"^sample_weight must not be 0 for all rows"),
    (([0], [[0.5, 0.6]]), {}, r"^p_model: row 0 sums to 1.1"),
]


@pytest.mark.parametrize(("arguments", "keywords", "message"), RISKS)
def test_bad_input_of_a_risk_is_named(arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        ermin.empirical_risk(*arguments, **keywords)


def test_out():
    p, q = table((4, 6)), table((4, 6), seed=1)
    want = ermin.kl_divergence(p, q)
    out = np.empty(8)[::2]
    assert ermin.kl_divergence(p, q, out=out) is out
    np.testing.assert_array_equal(out, want)
    scalar = np.empty(())
    assert ermin.empirical_risk(p, q, out=scalar) is scalar
    assert scalar == pytest.approx(want.mean())
    single = ermin.kl_divergence(p[0], q[0], out=np.empty(()))
    assert single == want[0]
    read_only = np.empty(4)
    read_only.flags.writeable = False
    for bad, message in [
        (np.empty(5), r"^out has shape \(5,\), but must have shape \(4,\)"),
        (np.empty(4, np.float32), r"^out has dtype float32, but must have dtype float64"),
        (np.empty(4, ">f8"), r"^out has dtype >f8"),
        (read_only, r"^out is read-only"),
        (q[:, 0], r"^out overlaps q in memory"),
        (np.frombuffer(bytearray(33), np.uint8)[1:].view(np.float64), r"^out is not aligned"),
    ]:
        with pytest.raises(ValueError, match=message):
            ermin.kl_divergence(p, q, out=bad)
    with pytest.raises(ValueError, match=r"^out overlaps p in memory"):
        ermin.kl_divergence(p, q, terms=True, out=p)
    with pytest.raises(TypeError, match=r"^out is of type list"):
        ermin.kl_divergence(p, q, out=[0.0] * 4)


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match=r"^base is 'two', but must be a number"):
        ermin.entropy(GOOD, base="two")
    with pytest.raises(TypeError, match="integer"):
        ermin.entropy(GOOD, axis=0.5)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("n", [3, 300, 1500])
def test_class_indices_changed_during_the_call_do_no_harm(logits, n):
    """Any result or a ValueError: a class that is none any more is no place in memory, and no panic."""
    rows = 300_000 // n
    model = ermin.Categorical(logits=np.zeros((rows, n))) if logits else np.full((rows, n), 1 / n)
    classes = np.zeros(rows, np.int64)
    done = threading.Event()

    def change():
        while not done.is_set():
            classes[...] = -1
            classes[...] = 0

    other = threading.Thread(target=change)
    other.start()
    try:
        for _ in range(60):
            for validate in (True, False):
                with contextlib.suppress(ValueError):
                    ermin.empirical_risk(classes, model, validate=validate, n_threads=1)
    finally:
        done.set()
        other.join()
