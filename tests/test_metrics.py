"""Judging probabilities, against sums written out row by row."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ermin
from ermin.metrics import brier_score, expected_calibration_error, log_loss, reliability_curve


def some_rows(n=200, k=4, seed=0):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(k), size=n)
    return rng.integers(0, k, n), proba, rng.random(n)


def naive_events(y, proba):
    """Promised probability and whether it came, row by row."""
    if np.ndim(proba) == 1:
        return [(p, c == 1) for c, p in zip(y, proba, strict=True)]
    return [(max(row), c == list(row).index(max(row))) for c, row in zip(y, proba, strict=True)]


def naive_bins(y, proba, weights, n_bins):
    """(weight, mean promise, frequency) of each bin that is not empty."""
    bins = {}
    for (p, came), w in zip(naive_events(y, proba), weights, strict=True):
        bins.setdefault(next(b for b in range(n_bins) if p <= (b + 1) / n_bins), []).append((w, p, came))
    out = []
    for _, rows in sorted(bins.items()):
        total = math.fsum(w for w, _, _ in rows)
        out.append(
            (total, sum(w * p for w, p, _ in rows) / total, sum(w for w, _, came in rows if came) / total)
        )
    return out


@pytest.mark.parametrize("weighted", [False, True])
def test_log_loss_is_the_mean_surprise(weighted):
    y, proba, weights = some_rows()
    weights = weights if weighted else np.ones(len(y))
    surprise = math.fsum(-w * math.log(row[c]) for c, row, w in zip(y, proba, weights, strict=True))
    got = log_loss(y, proba, sample_weight=weights if weighted else None)
    assert got == pytest.approx(surprise / math.fsum(weights), rel=1e-13)
    assert got == ermin.empirical_risk(y, proba, sample_weight=weights if weighted else None)


def test_log_loss_at_the_ends():
    assert log_loss([0, 1], [[1.0, 0.0], [0.0, 1.0]]) == 0
    assert log_loss([0, 1], [[1.0, 0.0], [1.0, 0.0]]) == math.inf
    assert log_loss([True, False], [0.25, 0.25]) == pytest.approx(
        (math.log(4) + math.log(4 / 3)) / 2, rel=1e-15
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [2, 4])
def test_brier_score_is_the_mean_squared_distance(weighted, k):
    y, proba, weights = some_rows(k=k)
    weights = weights if weighted else np.ones(len(y))
    total = math.fsum(
        w * (p - (c == j)) ** 2
        for c, row, w in zip(y, proba, weights, strict=True)
        for j, p in enumerate(row)
    )
    expected = total / math.fsum(weights) / (2 if k == 2 else 1)
    assert brier_score(y, proba, sample_weight=weights if weighted else None) == pytest.approx(
        expected, rel=1e-13
    )
    if k == 2:
        one = brier_score(y, proba[:, 1], sample_weight=weights if weighted else None)
        assert one == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_bins", [1, 2, 7, 10])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("binary", [False, True])
def test_calibration_against_bins_by_hand(n_bins, weighted, binary):
    y, proba, weights = some_rows(k=2 if binary else 4)
    proba = proba[:, 1] if binary else proba
    weights = weights if weighted else np.ones(len(y))
    bins = naive_bins(y, proba, weights, n_bins)
    keywords = {"n_bins": n_bins, "sample_weight": weights if weighted else None}
    curve = reliability_curve(y, proba, **keywords)
    got = list(zip(curve.weight, curve.confidence, curve.frequency, strict=True))
    np.testing.assert_allclose(got, bins, rtol=1e-12)
    error = math.fsum(w * abs(p - f) for w, p, f in bins) / math.fsum(w for w, _, _ in bins)
    assert expected_calibration_error(y, proba, **keywords) == pytest.approx(error, rel=1e-12)


def test_bins_of_equally_many_rows():
    proba = np.random.default_rng(0).random(1000) ** 3
    curve = reliability_curve(np.zeros(1000, int), proba, n_bins=8, strategy="quantile")
    assert curve.weight.tolist() == [125] * 8
    np.testing.assert_allclose(curve.confidence, np.sort(proba).reshape(8, 125).mean(axis=1), rtol=1e-12)


def test_the_ends_of_bins():
    curve = reliability_curve([0, 1, 1, 0], [0.0, 0.5, 1.0, 0.5], n_bins=2)
    assert curve.weight.tolist() == [3, 1]
    assert curve.confidence.tolist() == [1 / 3, 1]


def test_kept_promises_have_no_error():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    y = (rng.random(200_000) < p).astype(int)
    # A bin of about 20,000 rows has a standard deviation of at most 0.0035.
    assert expected_calibration_error(y, p) < 4 * 0.0035
    assert expected_calibration_error(y, p**2) > 0.1


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), min_size=1, max_size=30))
def test_a_weight_is_so_many_copies(rows):
    y = np.array([c for c, _ in rows])
    times = np.array([w for _, w in rows])
    proba = np.random.default_rng(len(rows)).dirichlet(np.ones(3), size=len(rows))
    for judge in (log_loss, brier_score, expected_calibration_error):
        copies = judge(np.repeat(y, times), np.repeat(proba, times, axis=0))
        assert judge(y, proba, sample_weight=times) == pytest.approx(copies, rel=1e-12, abs=1e-15)


def test_float32_probabilities_are_taken_as_they_are():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(1000), size=50).astype(np.float32)
    y = rng.integers(0, 1000, 50)
    expected = -np.log(proba[np.arange(50), y].astype(float)).mean()
    assert log_loss(y, proba) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("judge", [log_loss, brier_score, expected_calibration_error, reliability_curve])
@pytest.mark.parametrize(
    ("y", "proba", "keywords", "message"),
    [
        ([0, 1], [[0.5, 0.5], [0.5, 0.6]], {}, r"row 1 of proba sums to 1.1, but must sum to 1"),
        ([0, 1], [[0.5, 0.5], [-0.5, 1.5]], {}, r"proba\[1, 0\] is -0.5, but must be from 0 to 1"),
        ([0, 1], [0.5, 1.5], {}, r"proba\[1\] is 1.5, but must be from 0 to 1"),
        ([0, 1], [0.5, math.nan], {}, r"proba\[1\] is nan, but must be from 0 to 1"),
        ([0, 1, 1], [0.5, 0.5], {}, r"y_true has shape \(3,\), but proba has 2 rows"),
        ([0, 2], [0.5, 0.5], {}, r"y_true\[1\] is 2, but must be a class index from 0 to 1"),
        ([0, -1], [0.5, 0.5], {}, r"y_true\[1\] is -1"),
        ([0.0, 1.0], [0.5, 0.5], {}, "y_true has dtype float64, but must hold class indices"),
        (["a", "b"], [0.5, 0.5], {}, "must hold class indices"),
        (np.zeros(0, int), np.zeros((0, 2)), {}, "proba has no rows"),
        ([0], [[[1.0]]], {}, "proba has 3 dimensions"),
        ([0, 1], [0.5, 0.5], {"sample_weight": [1.0]}, r"sample_weight has shape \(1,\)"),
        ([0, 1], [0.5, 0.5], {"sample_weight": [0.0, 0.0]}, "not 0 everywhere"),
        ([0, 1], [0.5, 0.5], {"sample_weight": [1.0, -1.0]}, "at least 0"),
        ([0, 1], [0.5, 0.5], {"sample_weight": [1.0, math.nan]}, "must be finite"),
    ],
)
def test_what_cannot_be_judged(judge, y, proba, keywords, message):
    with pytest.raises(ValueError, match=message):
        judge(y, proba, **keywords)


def test_bins_that_cannot_be():
    with pytest.raises(ValueError, match="n_bins is 0"):
        reliability_curve([0], [0.5], n_bins=0)
    with pytest.raises(ValueError, match="strategy is 'other'"):
        expected_calibration_error([0], [0.5], strategy="other")
