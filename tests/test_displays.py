"""Displays: what they keep and show, asked of Matplotlib's objects."""

from types import SimpleNamespace

import numpy as np
import pytest

import ermin
from ermin.cross_validation import EpochRisk
from ermin.displays import CoinDisplay, LearningCurveDisplay, ReliabilityDisplay
from ermin.plots import plot_learning_curve

RNG = np.random.default_rng(0)


def lines(ax):
    return {line.get_label(): line.get_xydata().tolist() for line in ax.lines}


@pytest.fixture(scope="module")
def history():
    X = RNG.normal(size=(60, 2))
    net = ermin.MLP([2, 4, 2], output="softmax", rng=0)
    return ermin.fit(net, X, (X[:, 0] > 0).astype(int), validation=0.25, epochs=8, rng=0)


def test_learning_curves_of_a_run(history):
    display = LearningCurveDisplay.from_history(history)
    drawn = lines(display.ax_)
    assert [y for _, y in drawn["training"]] == history.loss.tolist()
    assert [y for _, y in drawn["validation"]] == history.validation_loss.tolist()
    assert display.figure_ is display.ax_.figure
    assert display.history is history
    ax = plot_learning_curve(history)
    assert LearningCurveDisplay(history).plot(ax).ax_ is ax


def test_learning_curves_of_an_estimator_or_a_pipeline(history):
    model = SimpleNamespace(history_=history)
    for fitted in (model, SimpleNamespace(steps=[("scale", None), ("model", model)])):
        assert "validation" in lines(LearningCurveDisplay.from_estimator(fitted).ax_)
    with pytest.raises(ValueError, match="must have been fitted epoch by epoch"):
        LearningCurveDisplay.from_estimator(SimpleNamespace())


def test_learning_curves_of_a_cross_validation():
    risk = EpochRisk(
        np.array([[3.0, 1.0, 2.0], [4.0, 2.0, 2.5]]), np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 0.5]])
    )
    display = LearningCurveDisplay.from_cross_validation(risk)
    drawn = lines(display.ax_)
    assert [y for _, y in drawn["validation"]] == [3.5, 1.5, 2.25]
    assert [y for _, y in drawn["training"]] == [3.0, 1.5, 0.75]
    assert drawn["best epoch: 2, loss 1.5"] == [[2, 1.5]]
    (band,) = display.ax_.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert {4.0, 3.0} <= set(heights)  # 3.5 ± 0.5
    assert risk.plot().standard_error.tolist() == risk.standard_error.tolist()
    one = LearningCurveDisplay.from_cross_validation(EpochRisk(risk.risk[:1], risk.training_risk[:1]))
    assert not one.ax_.collections


def test_reliability_of_predictions():
    y, p = [0, 1, 1, 1], [0.2, 0.3, 0.8, 1.0]
    display = ReliabilityDisplay.from_predictions(y, p, n_bins=2)
    assert display.curve.confidence.tolist() == [0.25, 0.9]
    assert display.expected_calibration_error == pytest.approx(0.175)
    assert display.ax_.collections[-1].get_offsets().tolist() == [[0.25, 0.5], [0.9, 1.0]]
    assert display.plot(display.ax_).ax_ is display.ax_


def test_reliability_of_a_classifier():
    class Classifier:
        def __init__(self, *classes):
            self.classes_ = np.array(classes)

        def predict_proba(self, X):
            return np.asarray(X)

    P = [[0.8, 0.2], [0.7, 0.3], [0.2, 0.8]]
    display = ReliabilityDisplay.from_estimator(Classifier("no", "yes"), P, ["no", "yes", "yes"], n_bins=2)
    assert display.curve.confidence.tolist() == [0.25, 0.8]
    assert display.curve.frequency.tolist() == [0.5, 1.0]
    assert display.ax_.get_xlabel() == "promised probability of class 1"
    several = ReliabilityDisplay.from_estimator(
        Classifier(1, 2, 3), [[0.8, 0.1, 0.1], [0.2, 0.2, 0.6]], [1, 2], n_bins=1
    )
    assert several.curve.frequency.tolist() == [0.5]
    assert several.ax_.get_xlabel() == "promised probability of the likeliest class"
    with pytest.raises(ValueError, match="y holds 'maybe', which is none of the estimator's classes_"):
        ReliabilityDisplay.from_estimator(Classifier("no", "yes"), P, ["no", "yes", "maybe"])


def test_a_coin_shows_its_tosses_and_its_error():
    tosses = [0, 1, 1, 0, 1, 0, 0, 0]
    display = CoinDisplay.from_tosses(0.5, tosses)
    assert display.n_tosses == [1, 2, 4]
    means = [np.array(tosses).reshape(-1, n).mean(axis=1) for n in (1, 2, 4)]
    np.testing.assert_allclose(display.errors, [np.sqrt(((m - 0.5) ** 2).mean()) for m in means])
    left, right = display.axes_
    assert lines(left)["P~(heads) so far"][-1] == [8, 3 / 8]
    assert lines(right)["P~ − P, root mean square"] == [
        [n, e] for n, e in zip([1, 2, 4], display.errors, strict=True)
    ]
    assert CoinDisplay.from_tosses(0.5, [1]).n_tosses == [1]
    with pytest.raises(ValueError, match=r"\bp\b"):
        CoinDisplay.from_tosses(1.5, tosses)


def test_a_coin_can_be_tossed_for_the_picture():
    display = CoinDisplay.from_coin(0.3, 200, seed=1)
    assert len(display.tosses) == 200
    assert display.n_tosses == [10, 100, 1_000, 10_000, 100_000]
    np.testing.assert_allclose(display.errors, np.sqrt(0.3 * 0.7 / np.array(display.n_tosses)), rtol=0.2)
    assert (CoinDisplay.from_coin(0.3, 200, seed=1).tosses == display.tosses).all()
