"""Pictures: what they show, asked of Matplotlib's objects, and that drawing leaves nothing behind."""

import subprocess
import sys

import numpy as np
import pytest

from ermin.history import History
from ermin.plots import plot_coin, plot_fit, plot_learning_curve, plot_predictions, plot_reliability


def history(loss, validation_loss=None, best=2):
    loss = np.array(loss, dtype=float)
    validation = np.full(len(loss), np.nan) if validation_loss is None else np.array(validation_loss)
    return History(
        loss, validation, np.zeros(len(loss)), np.zeros(len(loss)), best_epoch=best, stop_reason="epochs"
    )


def lines(ax):
    return {line.get_label(): line.get_xydata().tolist() for line in ax.lines}


def test_both_curves_and_the_best_epoch():
    ax = plot_learning_curve(history([3, 2, 1.5], [3.5, 2.5, 2.75]))
    drawn = lines(ax)
    assert drawn["training"] == [[1, 3], [2, 2], [3, 1.5]]
    assert drawn["validation"] == [[1, 3.5], [2, 2.5], [3, 2.75]]
    assert drawn["best epoch: 2, loss 2.5"] == [[2, 2.5]]
    assert ax.get_yscale() == "linear"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        label for label in drawn if not label.startswith("_")
    ]


def test_without_validation_the_training_loss_is_marked():
    drawn = lines(plot_learning_curve(history([3, 2, 2.5])))
    assert "validation" not in drawn
    assert drawn["best epoch: 2, loss 2"] == [[2, 2]]


def test_losses_of_many_sizes_get_a_logarithmic_axis():
    assert plot_learning_curve(history([30, 1, 0.5])).get_yscale() == "log"
    assert plot_learning_curve(history([30, 1, 0.0])).get_yscale() == "linear"
    assert plot_learning_curve(history([30, 1, np.inf])).get_yscale() == "log"


def test_a_run_of_one_epoch_is_seen():
    (line,) = [
        line for line in plot_learning_curve(history([1.0], best=1)).lines if line.get_label() == "training"
    ]
    assert line.get_marker() == "o"


def test_reliability_shows_the_bins():
    y, p = [0, 1, 1, 1], [0.2, 0.3, 0.8, 1.0]
    ax = plot_reliability(y, p, n_bins=2)
    assert ax.collections[-1].get_offsets().tolist() == [[0.25, 0.5], [0.9, 1.0]]
    assert [text.get_text() for text in ax.texts] == ["2", "2"]
    assert ax.get_title(loc="left") == "Reliability (calibration error 0.175)"
    assert ax.get_xlabel() == "promised probability of class 1"
    two = plot_reliability(y, np.stack([1 - np.array(p), p], axis=1), n_bins=2)
    assert two.get_xlabel() == "promised probability of the likeliest class"


def test_predictions_against_the_truth():
    ax = plot_predictions([1.0, 2.0, 4.0], [1.0, 3.0, 3.0])
    assert ax.collections[0].get_offsets().tolist() == [[1, 1], [3, 2], [3, 4]]
    assert ax.get_title(loc="left") == "Predictions (RMSE 0.8165)"
    assert len(plot_predictions(np.arange(1e5), np.arange(1e5)).collections[0].get_offsets()) <= 2001


@pytest.mark.parametrize(
    ("y", "predicted", "title"),
    [
        ([0, 1], [[0.75, 0.25], [0.25, 0.75]], "Reliability on the test rows (calibration error 0.250)"),
        ([0.0, 1.0], [0.0, 1.0], "Predictions on the test rows (RMSE 0)"),
    ],
)
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_fit_in_one_picture(tmp_path, y, predicted, title, kind):
    figure = plot_fit(history([3, 2], [3, 2]), y, predicted)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Learning curves", title]
    path = tmp_path / f"fit.{kind}"
    figure.savefig(path)
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("tosses", [[1], [0, 1, 1, 0]])
def test_the_coin(tmp_path, p, tosses):
    sizes = [10, 1000]
    errors = np.sqrt(p * (1 - p) / np.array(sizes))
    figure = plot_coin(p, tosses, (0.1, 1.0), sizes, errors)
    left, right = figure.axes
    running = (np.cumsum(tosses) / np.arange(1, len(tosses) + 1)).tolist()
    assert [y for _, y in lines(left)["P~(heads) so far"]] == running
    assert lines(right)["P~ − P, root mean square"] == [[n, e] for n, e in zip(sizes, errors, strict=True)]
    assert lines(right)["√(p(1 − p)/n)"] == lines(right)["P~ − P, root mean square"]
    figure.savefig(tmp_path / "coin.png")


def test_a_history_draws_itself_on_axes_of_ones_own():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert history([3, 2, 1]).plot(ax=ax) is ax
    assert "training" in lines(ax)


def test_drawing_changes_no_global_state():
    script = """
import sys
import matplotlib
before = matplotlib.rcParams.copy()
import numpy as np
from ermin.plots import plot_fit
from ermin.history import History
loss = np.array([3.0, 2.0])
figure = plot_fit(History(loss, loss, loss, loss, 2, "epochs"), [0, 1], [[0.75, 0.25], [0.25, 0.75]])
figure.savefig("/dev/null", format="png")
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
