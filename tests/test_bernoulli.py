"""Tosses: exact draws, likelihoods against mpmath, maximum likelihood."""

import copy
import hashlib
import math
import pickle

import mpmath
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ermin
import reference

# ------------------------------------------------------------------------------------------------------------ draws


def test_draws_are_pinned(level):
    """Published with the package: a change of these is a change of streams, for the changelog."""
    digests = {
        name: hashlib.sha256(draws.tobytes()).hexdigest()[:16]
        for name, draws in {
            "0.5": ermin.Bernoulli(0.5).sample(100_000, rng=0),
            "0.3": ermin.Bernoulli(0.3).sample(400_000, rng=1),
            "1e-3 in bits": ermin.Bernoulli(1e-3).sample_packed(400_000, rng=2),
            "logits": ermin.Bernoulli(logits=1.5).sample(1000, rng=2**100),
            "each": ermin.Bernoulli(np.arange(100_000) / 100_000).sample(rng=3),
            "each of logits": ermin.Bernoulli(logits=np.linspace(-5, 5, 100_000)).sample(rng=3),
        }.items()
    }
    assert digests == PINNED
    assert ermin.Bernoulli(0.3).sample(20, rng=0).tolist() == TWENTY


PINNED = {
    "0.5": "5d352160be511517",
    "0.3": "825b8e1f12ae0407",
    "1e-3 in bits": "e27ab9d9a07bc132",
    "logits": "3dae5bf7dc71ac42",
    "each": "48ba77ab734eb361",
    "each of logits": "6d2123551954a792",
}
TWENTY = [0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("p", [0.5, 0.3, 1e-3, 1e-5, 0.998, 0.625, 1 - 2**-53, 0.0, 1.0])
def test_a_draw_depends_on_its_position_alone(p):
    coin = ermin.Bernoulli(p)
    whole = coin.sample(300_000, rng=5)
    for start, n in [(0, 1), (1, 511), (7, 70_000), (131_071, 2), (250_001, 49_999)]:
        assert (coin.sample(n, rng=5, start=start) == whole[start : start + n]).all()
        packed = coin.sample_packed(n, rng=5, start=start)
        assert (np.unpackbits(packed, count=n) == whole[start : start + n]).all()
        assert packed.size == -(-n // 8)
    assert (coin.sample((300, 1000), rng=5, n_threads=8).ravel() == whole).all()


DTYPES = [bool, "i1", "u2", ">i4", "i8", "u8", "f2", "f4", ">f8", np.longdouble]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_has_the_same_draws(dtype):
    for coin in (ermin.Bernoulli(0.3), ermin.Bernoulli(np.linspace(0, 1, 5000))):
        expected = coin.sample(5000, rng=1)
        draws = coin.sample(5000, rng=1, dtype=dtype)
        assert draws.dtype == np.dtype(dtype)
        assert (draws == expected).all()
        wide = np.empty((5000, 2), dtype)
        assert coin.sample(out=wide[:, 1], rng=1) is not None
        assert (wide[:, 1] == expected).all()


@pytest.mark.parametrize("logits", [-800.0, -3.0, 0.0, 0.7, 30.0, math.inf, -math.inf])
def test_draws_from_logits(logits):
    """1[l > 0] xor Bernoulli(sigmoid(−|l|))."""
    small = ermin.Bernoulli(1 / (1 + math.exp(min(abs(logits), 700))) if abs(logits) < 700 else 0.0)
    draws = ermin.Bernoulli(logits=logits).sample(200_000, rng=2)
    if logits in (0.0, math.inf, -math.inf):
        assert (draws == (small.sample(200_000, rng=2) ^ (logits > 0))).all()
    p = 1 / (1 + math.exp(-min(max(logits, -700), 700)))
    assert abs(draws.mean() - p) <= 5 * math.sqrt(p * (1 - p) / 200_000) + 1e-12
    each = ermin.Bernoulli(logits=np.full(200_000, logits)).sample(rng=2)
    assert abs(each.mean() - p) <= 5 * math.sqrt(p * (1 - p) / 200_000) + 1e-12


def test_extreme_probabilities_are_kept_to_their_last_bit():
    n = 2_000_000
    assert ermin.Bernoulli(5e-324).sample(n, rng=0).sum() == 0
    assert ermin.Bernoulli(1 - 2**-53).sample(n, rng=0).sum() == n
    assert ermin.Bernoulli(np.full(n, 1 - 2**-53)).sample(rng=0).sum() == n
    assert ermin.Bernoulli(np.full(n, 5e-324)).sample(rng=0).sum() == 0


@pytest.mark.parametrize("p", [0.5, 0.3, 0.01, 0.999])
def test_draws_are_independent_and_come_as_often_as_they_should(p):
    n = 1_000_000
    for coin in (ermin.Bernoulli(p), ermin.Bernoulli(np.full(n, p))):
        draws = coin.sample(n, rng=11).astype(float) - p
        scale = math.sqrt(p * (1 - p))
        assert abs(draws.sum()) <= 5 * scale * math.sqrt(n)
        for lag in (1, 2, 8, 64, 512):  # bytes, words, groups
            assert abs((draws[:-lag] * draws[lag:]).sum()) <= 5 * scale**2 * math.sqrt(n)


shapes = st.one_of(
    st.just(((), (4, 5))),
    hnp.mutually_broadcastable_shapes(num_shapes=1, base_shape=(3, 4, 2)).map(
        lambda found: (found.input_shapes[0], found.result_shape)
    ),
)


@given(shapes)
@settings(max_examples=60, deadline=None)
def test_probabilities_are_broadcast_as_numpy_does(pair):
    shape, whole = pair
    p = np.random.default_rng(0).random(shape).round()  # 0 and 1: draws show which p they had
    draws = ermin.Bernoulli(p).sample(whole, rng=0)
    assert draws.shape == whole
    assert (draws == np.broadcast_to(p, whole)).all()


def test_arrays_of_any_layout_give_the_bits_of_their_copy():
    p = np.random.default_rng(0).random((60, 40))
    expected = ermin.Bernoulli(p).sample(rng=1)
    record = np.zeros((60, 40), dtype=[("a", "i1"), ("p", "f8")])
    record["p"] = p
    wide = np.zeros((60, 80))
    wide[:, ::2] = p
    flipped = p[::-1, ::-1].copy()[::-1, ::-1]
    for same in (np.asfortranarray(p), record["p"], wide[:, ::2], p.astype(">f8"), flipped, p.tolist()):
        assert (ermin.Bernoulli(same).sample(rng=1) == expected).all()
    assert (ermin.Bernoulli(p[:0]).sample(rng=1) == expected[:0]).all()


def test_seeds():
    coin = ermin.Bernoulli(0.5)
    assert (coin.sample(100, rng=3) == coin.sample(100, rng=np.int64(3))).all()
    sequence = np.random.SeedSequence(3)
    assert (coin.sample(100, rng=sequence) == coin.sample(100, rng=np.random.SeedSequence(3))).all()
    generator = np.random.default_rng(3)
    assert (coin.sample(100, rng=generator) != coin.sample(100, rng=generator)).any()
    assert (coin.sample(100) != coin.sample(100)).any()
    before = np.random.get_state()[1].copy()  # noqa: NPY002  # that it is not touched is what is tested
    coin.sample(100)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002  # as above


def test_many_draws_in_bounded_memory():
    coin, room = ermin.Bernoulli(0.3), np.empty(1 << 20, np.uint8)
    total = 0
    for piece in range(50):
        coin.sample(out=room, rng=0, start=piece << 20)
        total += int(room.sum())
    n = 50 << 20
    assert abs(total - 0.3 * n) <= 5 * math.sqrt(0.21 * n)


# ------------------------------------------------------------------------------------------------------ likelihoods


def exactly(p, x):
    with mpmath.workdps(60):
        terms = [
            mpmath.log(float(a)) if toss else mpmath.log1p(-float(a)) for a, toss in zip(p, x, strict=True)
        ]
        return mpmath.fsum(terms), mpmath.fsum(map(abs, terms))


CASES = {
    "ordinary": lambda rng, n: (rng.random(n), rng.integers(0, 2, n)),
    "tails of tiny p": lambda rng, n: (np.full(n, 1e-10) * rng.random(n), np.zeros(n, int)),
    "heads of tiny p": lambda rng, n: (10.0 ** rng.uniform(-300, -1, n), np.ones(n, int)),
    "denormal p": lambda rng, n: (rng.integers(1, 1000, n) * 5e-324, rng.integers(0, 2, n)),
    "near 1": lambda rng, n: (1 - 2.0 ** rng.uniform(-53, -1, n), rng.integers(0, 2, n)),
    "mostly certain": lambda rng, n: (np.where(rng.random(n) < 0.9, 1.0, 0.7), np.ones(n, int)),
}


@pytest.mark.parametrize("n", [1, 2, 129, 5000])
@pytest.mark.parametrize("case", CASES)
def test_log_likelihood_keeps_its_bound(case, n, level):
    p, x = CASES[case](np.random.default_rng(n), n)
    unit = 2.0**-53  # of float32 too: sums are float64's
    for dtype in (np.float64, np.float32):
        narrow = p.astype(dtype)
        if (((narrow == 0) & (x == 1)) | ((narrow == 1) & (x == 0))).any():
            continue
        coin = ermin.Bernoulli(narrow)
        value, size = exactly(narrow, x)
        for tosses in (x.astype(np.uint8), x.astype(bool), x.astype(np.int64), x.astype(np.float32)):
            assert abs(coin.log_likelihood(tosses) - value) <= 8 * unit * size + 5e-324


def test_ten_million_terms_keep_the_bound():
    """The same ten thousand again and again: their exact sum is known."""
    rng = np.random.default_rng(0)
    p, x = np.full(10_000, 1e-10) * rng.random(10_000), np.zeros(10_000, np.uint8)
    p[::7], x[::7] = rng.random(len(p[::7])), 1
    value, size = exactly(p, x)
    coin, tosses = ermin.Bernoulli(np.tile(p, 1000)), np.tile(x, 1000)
    assert abs(coin.log_likelihood(tosses) - 1000 * value) <= 8 * 2.0**-53 * 1000 * size


def test_a_fair_coins_log_likelihood_is_rounded_once():
    for n in (1, 3, 1000, 999_999):
        x = np.random.default_rng(n).integers(0, 2, n).astype(np.uint8)
        with mpmath.workdps(40):
            expected = -n * mpmath.log(2)
        value = ermin.Bernoulli(0.5).log_likelihood(x)
        assert abs(value - expected) <= np.spacing(abs(value))


@pytest.mark.parametrize("logits", [False, True])
def test_log_prob_and_weighted_sums(logits, level):
    rng = np.random.default_rng(0)
    given = rng.normal(size=700) * 20 if logits else rng.random(700)
    coin = ermin.Bernoulli(logits=given) if logits else ermin.Bernoulli(given)
    x, weight = rng.integers(0, 2, 700), rng.random(700)
    with mpmath.workdps(400):
        chance = [1 / (1 + mpmath.exp(-mpmath.mpf(v))) if logits else mpmath.mpf(v) for v in given]
        terms = [mpmath.log(q if toss else 1 - q) for q, toss in zip(chance, x, strict=True)]
        total = mpmath.fsum(mpmath.mpf(w) * term for w, term in zip(weight, terms, strict=True))
    np.testing.assert_array_max_ulp(coin.log_prob(x), np.array([float(t) for t in terms]), 3)
    assert abs(coin.log_likelihood(x, sample_weight=weight) - total) <= 8 * 2.0**-53 * abs(total)
    scalar = ermin.Bernoulli(logits=given[0]) if logits else ermin.Bernoulli(given[0])
    assert scalar.log_likelihood(x, sample_weight=weight) == pytest.approx(
        float(scalar.log_prob(x) @ weight), rel=1e-13
    )


def test_log_likelihood_agrees_with_the_slow_truth():
    rng = np.random.default_rng(4)
    p, x, weight = rng.random((30, 20)), rng.integers(0, 2, (30, 20)), rng.random((30, 20))
    coin = ermin.Bernoulli(p)
    assert coin.log_likelihood(x) == pytest.approx(reference.log_likelihood(p, x), rel=1e-14)
    assert coin.log_likelihood(x, sample_weight=weight) == pytest.approx(
        reference.log_likelihood(p, x, weight), rel=1e-14
    )
    row = ermin.Bernoulli(p[0])
    assert row.log_likelihood(x) == pytest.approx(reference.log_likelihood(p[0], x), rel=1e-14)
    column = ermin.Bernoulli(p[:, :1])
    assert column.log_likelihood(x) == pytest.approx(reference.log_likelihood(p[:, :1], x), rel=1e-14)
    np.testing.assert_allclose(coin.log_prob(1), np.log(p), rtol=1e-15)


def test_the_impossible_and_the_empty():
    assert ermin.Bernoulli(0.0).log_likelihood([0, 0]) == 0
    assert ermin.Bernoulli(0.0).log_likelihood([0, 1]) == -math.inf
    assert ermin.Bernoulli([0.0, 0.5]).log_likelihood([1, 1]) == -math.inf
    assert ermin.Bernoulli([0.0, 0.5]).log_likelihood([1, 1], sample_weight=[0, 1]) == pytest.approx(
        math.log(0.5)
    )
    assert ermin.Bernoulli(0.0).log_likelihood([1, 0], sample_weight=[0, 1]) == 0
    assert ermin.Bernoulli(0.3).log_likelihood([]) == 0
    assert ermin.Bernoulli(np.empty((0, 3))).log_likelihood(np.empty((0, 3))) == 0
    assert ermin.Bernoulli(logits=-math.inf).log_prob([0, 1]).tolist() == [0, -math.inf]


def test_threads_do_not_change_a_bit():
    rng = np.random.default_rng(0)
    p, x = rng.random(1_000_003), rng.integers(0, 2, 1_000_003).astype(np.uint8)
    for coin in (ermin.Bernoulli(p), ermin.Bernoulli(p.astype(np.float32)), ermin.Bernoulli(0.3)):
        assert len({coin.log_likelihood(x, n_threads=n) for n in (1, 2, 8)}) == 1


# ---------------------------------------------------------------------------------------------- maximum likelihood


def test_the_estimate_is_where_the_likelihoods_derivative_vanishes():
    x = ermin.Bernoulli(0.3).sample(1000, rng=0)
    estimate = ermin.Bernoulli.fit(x)
    heads, tails, p = int(x.sum()), 1000 - int(x.sum()), estimate.value
    assert p == heads / 1000
    assert abs(heads / p - tails / (1 - p)) < 1e-9
    assert estimate.n == 1000
    assert estimate.distribution.p == p
    assert estimate.log_likelihood == ermin.Bernoulli(p).log_likelihood(x)
    for other in (p - 0.01, p + 0.01):
        assert ermin.Bernoulli(other).log_likelihood(x) < estimate.log_likelihood


def test_the_standard_error_is_the_spread_of_estimates():
    """√(p(1 − p)/n): over 4,000 repetitions the spread is known to about 1/√8000 of itself."""
    p, n = 0.3, 400
    estimates = ermin.Bernoulli.fit(ermin.Bernoulli(p).sample((4000, n), rng=1), axis=1)
    spread = float(np.std(estimates.value))
    assert spread == pytest.approx(math.sqrt(p * (1 - p) / n), rel=5 / math.sqrt(8000))
    assert estimates.standard_error.mean() == pytest.approx(spread, rel=0.06)
    assert estimates.n.tolist() == [n] * 4000


def test_weights_axes_and_priors():
    x = np.array([[1, 0, 1], [1, 1, 1]])
    weight = np.array([[1.0, 2.0, 3.0], [0.5, 0.5, 0.0]])
    estimate = ermin.Bernoulli.fit(x, sample_weight=weight, axis=1)
    np.testing.assert_allclose(estimate.value, [4 / 6, 1])
    np.testing.assert_allclose(estimate.log_likelihood, [4 * math.log(4 / 6) + 2 * math.log(2 / 6), 0])
    assert ermin.Bernoulli.fit(x, axis=(0, 1)).value == 5 / 6
    assert ermin.Bernoulli.fit([1] * 100).value == 1
    assert ermin.Bernoulli.fit([1] * 100, prior=(2, 2)).value == 101 / 102
    assert ermin.Bernoulli.fit([], prior=(2, 3)).value == 1 / 3


@pytest.mark.parametrize("method", ["wilson", "clopper-pearson", "jeffreys", "wald"])
def test_intervals_are_the_literatures(method):
    for heads, n in [(0, 10), (3, 10), (10, 10), (450, 1000)]:
        x = [1] * heads + [0] * (n - heads)
        low, high = ermin.Bernoulli.fit(x).interval(0.9, method)
        if method == "jeffreys":
            expected = (
                scipy.stats.beta.ppf(0.05, heads + 0.5, n - heads + 0.5) if heads else 0.0,
                scipy.stats.beta.ppf(0.95, heads + 0.5, n - heads + 0.5) if heads < n else 1.0,
            )
        elif method == "wald":
            half = scipy.stats.norm.ppf(0.95) * math.sqrt(heads / n * (1 - heads / n) / n)
            expected = (max(heads / n - half, 0), min(heads / n + half, 1))
        else:
            kind = {"wilson": "wilson", "clopper-pearson": "exact"}[method]
            found = scipy.stats.binomtest(heads, n).proportion_ci(0.9, kind)
            expected = (found.low, found.high)
        assert (low, high) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", ["wilson", "clopper-pearson", "jeffreys", "wald"])
def test_intervals_of_any_level_and_weight_hold_their_value(method):
    for level in (1e-3, 0.5, 1 - 1e-9, 1 - 2**-53):
        for weight in (1e-300, 1e-20, 1e-5, 1e-3, 1.0, 1e9):
            estimate = ermin.Bernoulli.fit([1, 0, 0], sample_weight=[weight, weight, 1])
            low, high = estimate.interval(level, method)
            assert 0 <= low <= high <= 1
            if level >= 0.5 and method != "jeffreys":  # a quantile of the posterior may lie on one side
                assert low <= estimate.value <= high
    # A weight as small as that leaves nothing to be told of.
    assert ermin.Bernoulli.fit([1, 0], sample_weight=[1e-5, 1]).interval(0.95, "clopper-pearson")[0] == 0


def test_wilsons_bounds_keep_their_digits():
    for heads, n in [(1e-9, 1.0), (1e-20, 3.0), (2.0, 1e12)]:
        estimate = ermin.Bernoulli.fit([1, 0], sample_weight=[heads, n - heads])
        low, high = estimate.interval(0.95)
        with mpmath.workdps(60):
            z, p, n = mpmath.mpf("1.959963984540054235524594"), mpmath.mpf(estimate.value), mpmath.mpf(n)
            root = z * mpmath.sqrt(n * p * (1 - p) + z * z / 4)
            middle = n * p + z * z / 2
            assert low == pytest.approx(float((middle - root) / (n + z * z)), rel=1e-13)
            assert high == pytest.approx(float((middle + root) / (n + z * z)), rel=1e-13)


def test_a_single_toss_may_have_a_weight():
    estimate = ermin.Bernoulli.fit(1, sample_weight=3.0)
    assert (estimate.value, estimate.n, estimate.log_likelihood) == (1.0, 3.0, 0.0)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    low, high = ermin.Bernoulli.fit(ermin.Bernoulli(0.2).sample((5000, 200), rng=3), axis=1).interval(0.95)
    share = ((low <= 0.2) & (high >= 0.2)).mean()
    assert abs(share - 0.95) < 0.02  # Wilson's is right on average over p, within a hundredth or two at one


# ------------------------------------------------------------------------------------------------ what can be wrong


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ermin.Bernoulli(1.5), ValueError, "p is 1.5, but must be from 0 to 1"),
        (lambda: ermin.Bernoulli(math.nan), ValueError, "p is NaN"),
        (lambda: ermin.Bernoulli([[0.1, 0.2], [0.3, -1.0]]), ValueError, r"p\[1, 1\] is -1"),
        (lambda: ermin.Bernoulli(logits=math.nan), ValueError, "logits is NaN, but must not be NaN"),
        (lambda: ermin.Bernoulli(), TypeError, "exactly one of p and logits"),
        (lambda: ermin.Bernoulli(0.1, logits=0.2), TypeError, "exactly one of p and logits"),
        (lambda: ermin.Bernoulli(1j), TypeError, "p has dtype complex128"),
        (lambda: ermin.Bernoulli("heads"), TypeError, "p has dtype"),
        (lambda: ermin.Bernoulli([None, "x"]), TypeError, "p has dtype object"),
        (
            lambda: ermin.Bernoulli([0.1, 0.2]).sample(3),
            ValueError,
            r"p has shape \(2,\), which cannot be broadcast",
        ),
        (lambda: ermin.Bernoulli(0.5).sample(-1), ValueError, "size is -1, but must not be negative"),
        (lambda: ermin.Bernoulli(0.5).sample(1.5), TypeError, "size is 1.5"),
        (lambda: ermin.Bernoulli(0.5).sample(3, dtype=complex), TypeError, "dtype is complex128"),
        (lambda: ermin.Bernoulli(0.5).sample(3, dtype="U3"), TypeError, "dtype is"),
        (lambda: ermin.Bernoulli(0.5).sample(3, start=-1), ValueError, "start is -1"),
        (lambda: ermin.Bernoulli(0.5).sample(3, start=2**63), ValueError, "start is"),
        (lambda: ermin.Bernoulli(0.5).sample(3, rng=-1), ValueError, "rng is -1"),
        (lambda: ermin.Bernoulli(0.5).sample(3, rng="seed"), TypeError, "rng is of type str"),
        (lambda: ermin.Bernoulli(0.5).sample(3, n_threads=0), ValueError, "n_threads is 0"),
        (lambda: ermin.Bernoulli(0.5).sample(3, out=np.empty(4)), ValueError, r"out has shape \(4,\)"),
        (lambda: ermin.Bernoulli(0.5).sample(3, out=[0] * 3), TypeError, "out is of type list"),
        (
            lambda: ermin.Bernoulli(0.5).sample(out=np.empty(3), dtype=int),
            TypeError,
            "but out has dtype float64",
        ),
        (lambda: ermin.Bernoulli(0.5).sample(out=frozen(3)), ValueError, "out is read-only"),
        (lambda: ermin.Bernoulli(0.5).sample_packed(-1), ValueError, "n is -1"),
        (
            lambda: ermin.Bernoulli(0.5).sample_packed(9, out=np.empty(1, np.uint8)),
            ValueError,
            "out has shape",
        ),
        (lambda: ermin.Bernoulli(0.5).sample_packed(9, out=np.empty(2)), TypeError, "out has dtype float64"),
        (
            lambda: ermin.Bernoulli(0.5).sample((2**40, 2**40)),
            (ValueError, MemoryError),
            "too big|[Mm]aximum|allocate",
        ),
        (
            lambda: ermin.Bernoulli(0.5).sample(2**60),
            (ValueError, MemoryError),
            "too big|[Mm]aximum|allocate",
        ),
        (lambda: ermin.Bernoulli(0.5).log_prob([0, 2]), ValueError, r"x\[1\] is 2, but must be 0 or 1"),
        (lambda: ermin.Bernoulli(0.5).log_likelihood([[0, 1], [1, 0.5]]), ValueError, r"x\[1, 1\] is 0.5"),
        (lambda: ermin.Bernoulli(0.5).log_likelihood([-1]), ValueError, r"x\[0\] is -1"),
        (lambda: ermin.Bernoulli(0.5).log_likelihood([math.nan]), ValueError, r"x\[0\] is NaN"),
        (lambda: ermin.Bernoulli([0.1, 0.2]).log_prob([1, 1, 1]), ValueError, r"x has shape \(3,\)"),
        (
            lambda: ermin.Bernoulli(0.5).log_prob([1], out=np.empty(1, "f4")),
            TypeError,
            "out has dtype float32",
        ),
        (
            lambda: ermin.Bernoulli(0.5).log_likelihood([1], sample_weight=[-1]),
            ValueError,
            r"sample_weight\[0\] is -1",
        ),
        (
            lambda: ermin.Bernoulli(0.5).log_likelihood([1], sample_weight=[1, 2]),
            ValueError,
            "sample_weight has shape",
        ),
        (lambda: ermin.Bernoulli(0.5).log_likelihood(["a"]), TypeError, "x has dtype"),
        (lambda: ermin.Bernoulli.fit([]), ValueError, "x must hold at least one toss"),
        (lambda: ermin.Bernoulli.fit([1], sample_weight=[0.0]), ValueError, "positive weight"),
        (lambda: ermin.Bernoulli.fit([1], prior=(0.5, 1)), ValueError, "prior is"),
        (lambda: ermin.Bernoulli.fit([1], prior=3), TypeError, "prior is 3"),
        (lambda: ermin.Bernoulli.fit([1]).interval(1.0), ValueError, "level is 1.0"),
        (lambda: ermin.Bernoulli.fit([1]).interval(method="exact"), ValueError, "method is 'exact'"),
        (lambda: ermin.Bernoulli.fit([1]).interval("wide"), TypeError, "level is 'wide'"),
        (
            lambda: ermin.Bernoulli.fit([1, 0], sample_weight=[1e19, 1]).interval(method="jeffreys"),
            ValueError,
            "counts of at most 1e\\+18",
        ),
        # As for 10,000 draws and more, which go another way.
        (lambda: ermin.Bernoulli([[0.5]]).sample(5), ValueError, "cannot be broadcast"),
        (lambda: ermin.Bernoulli(0.5).sample(5, start=0.0), TypeError, "start is 0.0"),
        (lambda: ermin.Bernoulli(0.5).sample(5, rng=b"abc"), TypeError, "rng is of type bytes"),
        (lambda: ermin.Bernoulli(0.5).sample(5, n_threads=1.5), TypeError, "n_threads is 1.5"),
        (lambda: ermin.Bernoulli(0.5).sample_packed(1.5), TypeError, "n is 1.5"),
        (
            lambda: ermin.monte_carlo(lambda x: x * 1j, ermin.Bernoulli(0.5), 9),
            TypeError,
            "f returned has dtype",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_more_threads_than_there_can_be_are_all_there_are():
    coin = ermin.Bernoulli(0.5)
    assert (coin.sample(10, rng=0, n_threads=2**70) == coin.sample(10, rng=0)).all()


def frozen(n):
    array = np.empty(n)
    array.flags.writeable = False
    return array


def test_out_may_not_overlap_p():
    p = np.full(100, 0.5)
    with pytest.raises(ValueError, match="out overlaps"):
        ermin.Bernoulli(p).sample(out=p, rng=0)
    with pytest.raises(ValueError, match="out overlaps"):
        ermin.Bernoulli(p).log_prob(np.ones(100), out=p)


def test_attributes_copies_and_pickles():
    coin = ermin.Bernoulli([0.25, 0.5])
    assert coin.shape == (2,)
    np.testing.assert_allclose(coin.logits, [math.log(1 / 3), 0], atol=1e-15)
    np.testing.assert_allclose(coin.variance, [3 / 16, 1 / 4])
    with pytest.raises(ValueError, match="read-only"):
        coin.p[0] = 1
    odd = ermin.Bernoulli(logits=2.0)
    assert odd.p == pytest.approx(1 / (1 + math.exp(-2)), rel=1e-15)
    assert repr(ermin.Bernoulli(0.5)) == "Bernoulli(0.5)"
    assert repr(odd) == "Bernoulli(logits=2.0)"
    for one in (coin, odd, ermin.Bernoulli(0.5)):
        size = (50, *one.shape)
        for twin in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
            assert (twin.sample(size, rng=0) == one.sample(size, rng=0)).all()
    assert ermin.Bernoulli(np.float32(0.1)).p == float(np.float32(0.1))


def test_what_is_given_by_logits_is_computed_from_logits():
    for logit in (50.0, -50.0, 800.0, 0.0):
        coin = ermin.Bernoulli(logits=logit)
        assert isinstance(coin.p, float)
        assert isinstance(coin.variance, float)
        with mpmath.workdps(40):
            p, q = 1 / (1 + mpmath.exp(-logit)), 1 / (1 + mpmath.exp(logit))
            assert coin.variance == pytest.approx(float(p * q), rel=1e-15)
    assert isinstance(ermin.Bernoulli(0.3).logits, float)
    certain = ermin.Bernoulli(logits=[math.inf, -math.inf, 0.0])
    np.testing.assert_array_equal(certain.entropy(base=2), [0, 0, 1])
    np.testing.assert_array_equal(ermin.kl_divergence(certain, certain), [0, 0, 0])
    assert ermin.kl_divergence(certain, ermin.Bernoulli([0.0, 0.5, 0.5])).tolist()[0] == math.inf


@pytest.mark.parametrize("p", [1e-300, 1e-20, 1e-9, 0.1, 0.5, 1 - 2**-30, 1 - 2**-53])
def test_the_entropy_of_rare_events_keeps_its_digits(p, level):
    for base in (None, 2, 10):
        for dtype in (np.float64, np.float32):
            coin = ermin.Bernoulli(dtype(p))
            given = mpmath.mpf(coin.p)
            with mpmath.workdps(400):
                expected = -(given * mpmath.log(given)) - (
                    (1 - given) * mpmath.log(1 - given) if given < 1 else 0
                )
                expected = float(expected / (mpmath.log(base) if base else 1)) if given else 0.0
            assert float(coin.entropy(base)) == pytest.approx(
                expected, rel=4 * float(np.finfo(dtype).eps), abs=1e-45
            )
            assert coin.entropy(base).dtype == dtype
    assert ermin.Bernoulli([0.0, 1.0]).entropy().tolist() == [0.0, 0.0]


def test_float32_stays_float32():
    swapped = np.array([0.1, 0.2], ">f4" if np.little_endian else "<f4")
    assert ermin.Bernoulli(swapped).p.dtype == np.float32
    assert ermin.Categorical(swapped / swapped.sum()).p.dtype == np.float32
    p = np.float32([0.1, 0.2])
    assert ermin.Bernoulli(p).log_prob([1, 0]).dtype == np.float32
    assert ermin.Bernoulli(p).p.dtype == np.float32
    wide = ermin.Bernoulli(p.astype(float))
    assert (ermin.Bernoulli(p).sample((1000, 2), rng=0) == wide.sample((1000, 2), rng=0)).all()


def test_a_finite_sum_stands_in_for_the_integral():
    coin = ermin.Bernoulli(0.3)
    mean = ermin.monte_carlo(lambda x: 3.0 * x, coin, 3_000_000, rng=1)
    draws = 3.0 * coin.sample(3_000_000, rng=1)
    assert mean.value == pytest.approx(draws.mean(), rel=1e-12)
    assert mean.standard_error == pytest.approx(draws.std(ddof=1) / math.sqrt(3_000_000), rel=1e-9)
    assert abs(mean.value - 0.9) < 5 * mean.standard_error
    low, high = mean.interval(0.95)
    assert high - low == pytest.approx(2 * 1.959963984540054 * mean.standard_error)
    pair = ermin.monte_carlo(lambda x: x, ermin.Bernoulli([0.2, 0.7]), 10_000, rng=0)
    assert pair.value.shape == (2,)
    assert (abs(pair.value - [0.2, 0.7]) < 5 * pair.standard_error).all()
    assert math.isnan(ermin.monte_carlo(lambda x: x, coin, 1, rng=0).standard_error)
    with pytest.raises(ValueError, match="n is 0"):
        ermin.monte_carlo(lambda x: x, coin, 0)
    with pytest.raises(ValueError, match="f returned shape"):
        ermin.monte_carlo(lambda x: x.sum(), coin, 10)


@pytest.mark.parametrize(
    ("p", "q"), [(1e-17, 2e-17), (1e-5, 3e-5), (1e-3, 2e-3), (1e-300, 1e-3), (0.3, 1e-20), (1e-10, 1 - 1e-10)]
)
def test_divergences_of_rare_events_keep_what_p_is(p, q):
    with mpmath.workdps(40):
        terms = [(mpmath.mpf(p), mpmath.mpf(q)), (1 - mpmath.mpf(p), 1 - mpmath.mpf(q))]
        divergence = float(mpmath.fsum(a * mpmath.log(a / b) for a, b in terms))
        cross_entropy = float(-mpmath.fsum(a * mpmath.log(b) for a, b in terms))
    coins = ermin.Bernoulli(p), ermin.Bernoulli(q)
    assert ermin.kl_divergence(*coins) == pytest.approx(divergence, rel=1e-13)
    assert ermin.cross_entropy(*coins) == pytest.approx(cross_entropy, rel=1e-14)


@pytest.mark.parametrize("zero", ["inf", "clip", "smooth"])
@pytest.mark.parametrize("p", [0.0, 1e-5, 0.4, 1.0])
@pytest.mark.parametrize("q", [0.0, 1e-5, 0.4, 1.0])
def test_coins_are_distributions_over_two_events(p, q, zero):
    of_coins = ermin.kl_divergence(ermin.Bernoulli(p), ermin.Bernoulli(q), zero=zero)
    assert of_coins == pytest.approx(
        ermin.kl_divergence([1 - p, p], [1 - q, q], zero=zero), rel=1e-9, abs=1e-16
    )


@pytest.mark.parametrize("length", [1, 2, 3])
def test_pieces_of_an_array_make_up_its_draws(length):
    p = np.random.default_rng(0).uniform(size=60)
    whole = ermin.Bernoulli(p).sample(rng=4)
    pieces = [ermin.Bernoulli(p[i : i + length]).sample(rng=4, start=i) for i in range(0, 60, length)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    bits = [
        ermin.Bernoulli(p[i : i + length]).sample_packed(length, rng=4, start=i) for i in range(0, 60, length)
    ]
    np.testing.assert_array_equal(np.concatenate([np.unpackbits(b)[:length] for b in bits]), whole)
