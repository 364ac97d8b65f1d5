"""Draws of one class out of many, their likelihood, maximum likelihood."""

import hashlib
import math
import pickle
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import ermin
from ermin import _core


def dirichlet(*shape, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])


def test_draws_are_pinned(level):
    """Published with the package: a change of these is a change of streams, for the changelog."""
    digests = [
        hashlib.sha256(draws.astype("<i8").tobytes()).hexdigest()[:16]
        for draws in (
            ermin.Categorical([0.1, 0.2, 0.7]).sample(100_000, rng=0),
            ermin.Categorical(np.arange(1, 101) / 5050).sample(100_000, rng=1),
            ermin.Categorical(np.tile([0.25, 0.5, 0.25], (1000, 1))).sample(rng=2),
            ermin.Categorical(logits=np.linspace(-3, 3, 50)).sample(1000, rng=3),
        )
    ]
    assert digests == PINNED
    assert ermin.Categorical([0.1, 0.2, 0.7]).sample(20, rng=0).tolist() == TWENTY


PINNED = [
    "4dbae8c0024fd1fc",
    "f92d2cac27778a52",
    "9b7ca9f5dcd39e5d",
    "1ab82275ff35ea07",
]
TWENTY = [2, 2, 2, 2, 2, 1, 0, 2, 0, 1, 2, 2, 2, 2, 1, 1, 2, 1, 1, 2]


def slowly(p, word):
    """The first class whose cumulative probability exceeds the word's share, in fractions."""
    p = [Fraction(float(x)) for x in p]
    share, cumulative = Fraction(word, 2**64) * sum(p), Fraction(0)
    for i, x in enumerate(p):
        cumulative += x
        if cumulative > share:
            return i
    raise AssertionError("the shares exceed their sum")


@pytest.mark.parametrize("k", [1, 2, 3, 10, 1000])
def test_draws_are_the_definitions(k):
    """The words behind them are those of the stream: what rows of one draw each take, a table takes too."""
    p = dirichlet(k, seed=k)
    many = ermin.Categorical(p).sample(500, rng=7)
    rows = ermin.Categorical(np.tile(p, (500, 1))).sample(rng=7)
    few = np.concatenate([ermin.Categorical(p).sample(20, rng=7, start=20 * i) for i in range(25)])
    assert (many == rows).all()
    assert (many == few).all()
    words = np.empty(500, np.uint64)
    _core.stream_words(7, "categorical", 0, 0, 0, words)
    assert [slowly(p, int(word)) for word in words[:200]] == many[:200].tolist()


@pytest.mark.parametrize("k", [2, 7, 300, 10**6])
def test_classes_come_as_often_as_they_should(k):
    p = dirichlet(k, seed=1)
    p[:: max(2, k // 5)] = 0
    p /= p.sum()
    n = 2_000_000
    counts = np.bincount(ermin.Categorical(p).sample(n, rng=1), minlength=k)
    assert (counts[p == 0] == 0).all()
    few = min(k, 300)
    groups = np.arange(k) * few // k  # a group of classes each, so that the expected counts are large
    expected, found = np.bincount(groups, n * p), np.bincount(groups, counts)
    used = expected > 0
    _, chance = scipy.stats.chisquare(found[used], expected[used] * (n / expected.sum()))
    assert 1e-6 < chance < 1 - 1e-6 or k == 2


def test_rows_have_their_own_distributions():
    p = np.eye(5)[[3, 1, 4, 0]]
    assert ermin.Categorical(p).sample(rng=0).tolist() == [3, 1, 4, 0]
    assert (ermin.Categorical(p).sample((100, 4), rng=0) == [3, 1, 4, 0]).all()
    assert (ermin.Categorical(p[:, None]).sample((4, 100), rng=0) == [[3], [1], [4], [0]]).all()
    assert (ermin.Categorical(p[:2, None, None]).sample((2, 3, 4), rng=0) == [[[3]], [[1]]]).all()
    odd = ermin.Categorical(p.reshape(2, 1, 2, 5)).sample((2, 3, 2), rng=0)
    assert (odd == p.argmax(1).reshape(2, 1, 2)).all()


@given(st.integers(1, 40), st.integers(0, 5000), st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_a_draw_depends_on_its_position_alone(k, start, n):
    cat = ermin.Categorical(dirichlet(k, seed=k))
    whole = cat.sample(start + n, rng=3)
    assert (cat.sample(n, rng=3, start=start) == whole[start:]).all()
    assert (cat.sample(start + n, rng=3, n_threads=8) == whole).all()


@pytest.mark.parametrize("dtype", ["i1", "u1", ">i4", "i8", "f2", "f4", "f8", np.longdouble], ids=str)
def test_every_type_has_the_same_draws(dtype):
    cat = ermin.Categorical(dirichlet(100))
    expected = cat.sample(1000, rng=1)
    draws = cat.sample(1000, rng=1, dtype=dtype)
    assert draws.dtype == np.dtype(dtype)
    assert (draws == expected).all()
    out = np.empty((1000, 2), dtype)[:, 1]
    assert cat.sample(out=out, rng=1) is out
    assert (out == expected).all()


def test_logits_are_shifted_logarithms():
    p = dirichlet(4, 6)
    p[0, 2] = 0
    p /= p.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        logits = np.log(p) + np.array([[500.0], [-700.0], [0.0], [3.0]])
    a, b = ermin.Categorical(p), ermin.Categorical(logits=logits)
    np.testing.assert_allclose(b.p, p, rtol=1e-12)
    assert (a.sample((1000, 4), rng=0) == b.sample((1000, 4), rng=0)).mean() > 0.999
    x = a.sample((1000, 4), rng=0)
    np.testing.assert_allclose(b.log_prob(x), a.log_prob(x), rtol=1e-12, atol=1e-12)
    assert b.log_likelihood(x) == pytest.approx(a.log_likelihood(x), rel=1e-12)
    assert b.log_prob([2, 0, 0, 0])[0] == -math.inf


def test_likelihoods_against_mpmath(level):
    p = dirichlet(30, 8)
    rng = np.random.default_rng(0)
    x, weight = rng.integers(0, 8, (20, 30)), rng.random((20, 30))
    cat = ermin.Categorical(p)
    with mpmath.workdps(40):
        logs = [[mpmath.log(p[j, x[i, j]]) for j in range(30)] for i in range(20)]
        total = mpmath.fsum(mpmath.fsum(row) for row in logs)
        weighted = mpmath.fsum(weight[i, j] * logs[i][j] for i in range(20) for j in range(30))
    np.testing.assert_array_max_ulp(cat.log_prob(x), np.array(logs, dtype=float), 1)
    assert abs(cat.log_likelihood(x) - total) <= 8 * 2.0**-53 * abs(total)
    assert abs(cat.log_likelihood(x, sample_weight=weight) - weighted) <= 8 * 2.0**-53 * abs(weighted)
    alone = ermin.Categorical(p[0])
    y = x.ravel()
    with mpmath.workdps(40):
        total = mpmath.fsum(mpmath.log(p[0, i]) for i in y)
    assert abs(alone.log_likelihood(y) - total) <= 8 * 2.0**-53 * abs(total)
    assert alone.log_likelihood(y[:3]) == pytest.approx(float(alone.log_prob(y[:3]).sum()), rel=1e-15)
    assert alone.log_likelihood(y, sample_weight=weight.ravel()) == pytest.approx(
        float(alone.log_prob(y) @ weight.ravel()), rel=1e-13
    )


def test_the_impossible_and_the_empty():
    cat = ermin.Categorical([0.0, 1.0])
    assert cat.log_likelihood([1, 1]) == 0
    assert cat.log_likelihood([1, 0]) == -math.inf
    assert cat.log_likelihood([1, 0], sample_weight=[1, 0]) == 0
    assert cat.log_likelihood(np.empty(0, int)) == 0
    assert ermin.Categorical(np.empty((0, 3))).sample(rng=0).shape == (0,)
    assert ermin.Categorical([1.0]).sample(5, rng=0).tolist() == [0] * 5


def test_bits_do_not_depend_on_level_or_threads(level):
    x = np.random.default_rng(0).integers(0, 5, 50_000)
    values = set()
    for threads in (1, 2, 8):
        for cat in (
            ermin.Categorical(dirichlet(50_000, 5)),
            ermin.Categorical(logits=np.log(dirichlet(50_000, 5))),
        ):
            values.add((cat._logits, cat.log_likelihood(x, n_threads=threads)))
    assert sorted(values) == SUMS or not SUMS
    SUMS[:] = sorted(values)
    assert len(SUMS) == 2


SUMS: list = []


def test_maximum_likelihood_is_the_shares():
    x = np.array([[0, 2, 2, 1], [1, 1, 1, 1]])
    estimate = ermin.Categorical.fit(x, n_classes=4)
    np.testing.assert_allclose(estimate.value, [1 / 8, 5 / 8, 2 / 8, 0])
    assert estimate.n == 8
    assert estimate.log_likelihood == pytest.approx(estimate.distribution.log_likelihood(x), rel=1e-15)
    rows = ermin.Categorical.fit(x, axis=1)
    np.testing.assert_allclose(rows.value, [[1 / 4, 1 / 4, 1 / 2], [0, 1, 0]])
    assert rows.n.tolist() == [4, 4]
    columns = ermin.Categorical.fit(x, axis=0, sample_weight=[[1.0], [3.0]])
    np.testing.assert_allclose(columns.value[0], [1 / 4, 3 / 4, 0])
    np.testing.assert_allclose(ermin.Categorical.fit([0, 0], n_classes=2, prior=2).value, [3 / 4, 1 / 4])
    np.testing.assert_allclose(ermin.Categorical.fit([0, 0], prior=[2, 3], n_classes=2).value, [3 / 5, 2 / 5])
    np.testing.assert_allclose(
        estimate.standard_error, np.sqrt(np.asarray(estimate.value) * (1 - np.asarray(estimate.value)) / 8)
    )
    for method in ("wilson", "clopper-pearson", "jeffreys", "wald"):
        low, high = estimate.interval(0.9, method)
        for c, heads in enumerate([1, 5, 2, 0]):
            alone = ermin.Bernoulli.fit([1] * heads + [0] * (8 - heads)).interval(0.9, method)
            assert (low[c], high[c]) == pytest.approx(alone, abs=1e-14)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", ">u2", "u4", "i8", "u8"])
def test_classes_of_any_type_are_counted(dtype):
    x = np.array([0, 1, 1], dtype)
    assert ermin.Categorical.fit(x).value.tolist() == [1 / 3, 2 / 3]
    assert ermin.Categorical.fit(x[:1]).value.tolist() == [1.0]


def test_nothing_observed_of_nothing_is_nothing():
    assert ermin.Categorical.fit(np.zeros((0, 3), int), n_classes=2, axis=1).value.shape == (0, 2)
    assert ermin.Categorical.fit(np.zeros((3, 0), int), n_classes=2, axis=0).value.shape == (0, 2)
    assert ermin.Categorical([0.5, 0.5]).log_likelihood([]) == 0.0


@pytest.mark.parametrize("value", [0.0, math.nan, -1.0, 1e300, math.inf])
@pytest.mark.parametrize("n", [3, 1000])
def test_probabilities_changed_after_the_check_draw_some_class(value, n):
    p = np.array([0.5, 0.5])
    cat = ermin.Categorical(p)
    p[:] = value  # the array is shared, not copied
    assert set(cat.sample(n, rng=0)) <= {0, 1}


def test_extreme_float32_logits_have_probabilities_without_a_warning():
    assert ermin.Categorical(logits=np.float32([3e38, -3e38])).p.tolist() == [1, 0]


def test_columns_of_one_table_do_not_overlap():
    table = np.ones((5, 2), np.int64)
    out = table.view(np.float64)[:, 1]
    assert ermin.Categorical([0.5, 0.5]).log_prob(table[:, 0], out=out) is out
    assert (table[:, 0] == 1).all()
    table[...] = 1
    with pytest.raises(ValueError, match="out overlaps an input"):
        ermin.Categorical([0.5, 0.5]).log_prob(table[:, 1], out=out)


def test_more_data_come_nearer_to_the_truth():
    p = dirichlet(6)
    errors = []
    for n in (1_000, 100_000):
        found = ermin.Categorical.fit(ermin.Categorical(p).sample((200, n), rng=n), axis=1, n_classes=6)
        errors.append(np.sqrt(((found.value - p) ** 2).mean(axis=0)))
        np.testing.assert_allclose(errors[-1], np.sqrt(p * (1 - p) / n), rtol=5 / math.sqrt(400))
    assert (errors[1] < errors[0] / 5).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ermin.Categorical([0.5, 0.4]), ValueError, "p: row 0 sums to 0.9"),
        (lambda: ermin.Categorical([[0.5, 0.5], [0.9, 0.2]]), ValueError, "p: row 1 sums to 1.1"),
        (lambda: ermin.Categorical([[0.5, 0.5], [1.5, -0.5]]), ValueError, r"p\[1, 0\] is 1.5"),
        (lambda: ermin.Categorical([math.nan, 1.0]), ValueError, r"p\[0, 0\] is NaN"),
        (lambda: ermin.Categorical(0.5), ValueError, "must have classes on its last axis"),
        (lambda: ermin.Categorical(np.empty((3, 0))), ValueError, "must have classes on its last axis"),
        (lambda: ermin.Categorical(logits=[math.nan, 1.0]), ValueError, r"logits\[0, 0\] is NaN"),
        (lambda: ermin.Categorical(logits=[-math.inf, -math.inf]), ValueError, "leave one class"),
        (lambda: ermin.Categorical(logits=[math.inf, 0.0]), ValueError, "below infinity"),
        (lambda: ermin.Categorical(), TypeError, "exactly one of p and logits"),
        (lambda: ermin.Categorical([1j, 0]), TypeError, "p has dtype complex128"),
        (
            lambda: ermin.Categorical(np.full(300, 1 / 300)).sample(3, dtype="i1"),
            ValueError,
            "cannot hold 300 classes",
        ),
        (lambda: ermin.Categorical([0.5, 0.5]).sample(3, dtype=bool), ValueError, "cannot hold 2 classes"),
        (lambda: ermin.Categorical([0.5, 0.5]).sample(3, dtype="S1"), TypeError, "dtype is"),
        (lambda: ermin.Categorical(np.full((2, 2), 0.5)).sample(3), ValueError, "cannot be broadcast"),
        (lambda: ermin.Categorical([0.5, 0.5]).log_prob([0, 2]), ValueError, r"x\[1\] is 2"),
        (lambda: ermin.Categorical([0.5, 0.5]).log_prob(-1), ValueError, "x is -1"),
        (lambda: ermin.Categorical([0.5, 0.5]).log_prob([0.0]), TypeError, "x has dtype float64"),
        (
            lambda: ermin.Categorical([0.5, 0.5]).log_likelihood([0], sample_weight=[math.inf]),
            ValueError,
            "finite",
        ),
        (lambda: ermin.Categorical.fit(np.empty(0, int)), ValueError, "n_classes is 0"),
        (lambda: ermin.Categorical.fit(np.empty(0, int), n_classes=2), ValueError, "at least one draw"),
        (lambda: ermin.Categorical.fit([0, 3], n_classes=2), ValueError, r"x\[1\] is 3"),
        (lambda: ermin.Categorical.fit([0, 1], prior=0.5), ValueError, "prior is 0.5"),
        (lambda: ermin.Categorical.fit([0.0, 1.0]), TypeError, "x has dtype float64"),
        (lambda: ermin.Categorical.fit([]), ValueError, "n_classes is 0"),
        (lambda: ermin.Categorical.fit([-1]), ValueError, r"x\[0\] is -1"),
        (lambda: ermin.Categorical.fit([2**63 + 1]), ValueError, "n_classes is 9223372036854775810"),
        (lambda: ermin.Categorical.fit([1], n_classes=1.5), TypeError, "n_classes is 1.5"),
        (lambda: ermin.Categorical.fit([[1, 0]], axis=2), ValueError, "axis 2 is out of bounds"),
        (lambda: ermin.Categorical.fit([[1, 0]], axis=-3), ValueError, "axis -3 is out of bounds"),
        (lambda: ermin.Categorical.fit([[1, 0]], axis=1.5), TypeError, "float"),
    ],
)
def test_bad_input_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_attributes_copies_and_pickles():
    cat = ermin.Categorical(dirichlet(3, 4))
    assert (cat.shape, cat.n_classes) == ((3,), 4)
    np.testing.assert_allclose(np.exp(cat.logits), cat.p)
    assert (pickle.loads(pickle.dumps(cat)).sample((9, 3), rng=0) == cat.sample((9, 3), rng=0)).all()
    assert repr(ermin.Categorical([0.5, 0.5])) == "Categorical([0.5, 0.5])"
    with pytest.raises(ValueError, match="read-only"):
        cat.p[0, 0] = 1
    mean = ermin.monte_carlo(lambda x: x == 2, ermin.Categorical([0.2, 0.3, 0.5]), 100_000, rng=0)
    assert abs(mean.value - 0.5) < 5 * mean.standard_error
