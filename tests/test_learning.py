"""What networks can and cannot learn, against theory and against solvers that share nothing with the package."""

import numpy as np
import pytest
from scipy import optimize
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

import ermin

X_GATE = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
XOR = np.array([0, 1, 1, 0])
AND = np.array([0, 0, 0, 1])


def standardized(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


# --------------------------------------------------------------------------------------------------- Boolean gates


def right_by_epoch(y, **options):
    """How many of the four rows a perceptron has right after each epoch."""
    net = ermin.MLP([2, 1], initializer="zeros")
    right = []

    def count(state):
        right.append(int(((state.net.predict(X_GATE)[:, 0] > 0) == y).sum()))

    ermin.fit(
        net, X_GATE, y, loss="perceptron", batch_size=1, epochs=200, callbacks=[count], rng=0, **options
    )
    return right


def test_a_perceptron_learns_and_but_never_xor():
    # Rosenblatt's rule ends in finitely many steps where a line tells the classes apart, and never where none does.
    assert right_by_epoch(AND, optimizer=ermin.SGD(1.0))[-1] == 4
    assert max(right_by_epoch(XOR, optimizer=ermin.SGD(1.0))) == 3


def test_a_maximum_entropy_model_of_xor_says_one_half():
    net = ermin.MLP([2, 2], output="softmax", rng=0, dtype="float64")
    ermin.fit(net, X_GATE, XOR, epochs=2000, optimizer=ermin.SGD(0.5, momentum=0.9), rng=0)
    np.testing.assert_allclose(net.predict_proba(X_GATE), 0.5, atol=1e-9)
    assert net.loss(X_GATE, XOR) == pytest.approx(np.log(2), abs=1e-12)


@pytest.mark.parametrize(("sizes", "seed"), [([2, 2, 1], 0), ([2, 8, 1], 0)])
def test_a_hidden_layer_learns_xor(sizes, seed):
    net = ermin.MLP(sizes, activation="tanh", output="sigmoid", rng=seed)
    ermin.fit(net, X_GATE, XOR[:, None], epochs=2000, optimizer=ermin.Adam(0.05), rng=0)
    np.testing.assert_array_equal(net.predict(X_GATE)[:, 0], XOR)
    assert net.loss(X_GATE, XOR[:, None]) < 0.02


# -------------------------------------------------------------------------------------------------- deep gradients


def norms_by_layer(**options):
    """The gradient's norm by layer, in the first epoch of a network with 20 layers."""
    X, y = load_breast_cancer(return_X_y=True)
    net = ermin.MLP([30, *[32] * 19, 2], output="softmax", rng=0, **options)
    options = {"epochs": 1, "optimizer": ermin.SGD(1e-6), "record_gradient_norm": True, "rng": 0}
    return ermin.fit(net, standardized(X), y, **options).gradient_norm[0]


def test_the_gradient_of_a_deep_sigmoid_network_vanishes_and_that_of_relu_does_not():
    sigmoid = norms_by_layer(activation="sigmoid", initializer="glorot")
    assert len(sigmoid) == 20
    # At most ¼ of it passes a sigmoid: 4¹⁹ ≈ 10¹¹.
    assert sigmoid[0] < 1e-8 * sigmoid[-1]
    assert (np.diff(np.log(sigmoid[1:])) > 0.5).all()
    relu = norms_by_layer(activation="relu", initializer="he")
    assert relu.max() < 30 * relu.min()


# --------------------------------------------------------------------------------- linear models and their solvers


def descend(net, X, y, epochs, optimizer, **options):
    """Full batches, so that the gradient is the gradient."""
    return ermin.fit(net, X, y, batch_size=len(X), epochs=epochs, optimizer=optimizer, rng=0, **options)


def test_hinge_loss_without_hidden_layers_agrees_with_a_linear_svm():
    X, y = load_breast_cancer(return_X_y=True)
    X = standardized(X)
    n, penalty = len(X), 10.0
    svm = SVC(kernel="linear", C=1 / penalty, tol=1e-6).fit(X, y)

    def risk(w, b):
        margin = np.maximum(0, 1 - (2 * y - 1) * (X @ w + b))
        return margin.mean() + 0.5 * penalty * (w @ w) / n

    least = risk(svm.coef_[0], svm.intercept_[0])
    net = ermin.MLP([30, 1], initializer="zeros", dtype="float64")
    descend(net, X, y, 4000, ermin.SGD(ermin.InverseScaling(0.5)), loss="hinge", l2=penalty)
    got = risk(net.weights[0][:, 0], net.biases[0][0])
    assert least - 1e-6 < got < least + 1e-3
    agreement = (net.predict(X)[:, 0] > 0) == svm.predict(X)
    assert agreement.mean() > 0.99


def test_kl_without_hidden_layers_agrees_with_multinomial_logistic_regression():
    X, y = load_iris(return_X_y=True)
    X = standardized(X)
    penalty = 1.0
    peer = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(X, y)
    net = ermin.MLP([4, 3], output="softmax", initializer="zeros", dtype="float64")
    descend(net, X, y, 6000, ermin.SGD(0.5, momentum=0.9, nesterov=True), l2=penalty)
    W = net.weights[0]
    np.testing.assert_allclose(W, peer.coef_.T, atol=1e-6)
    np.testing.assert_allclose(net.predict_proba(X), peer.predict_proba(X), atol=1e-6)
    expected = -np.log(peer.predict_proba(X)[np.arange(len(y)), y]).mean()
    assert net.loss(X, y) == pytest.approx(expected, abs=1e-6)


def test_gaussian_nll_without_hidden_layers_agrees_with_ordinary_least_squares():
    # Where the squared residuals are the same for every x, the best log-variance is the same for every x, and the
    # best mean that of least squares. So each x comes four times, with residuals that sum to 0.
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3))
    residuals = np.array([-1.3, 0.2, 0.4, 0.7])
    X = np.repeat(points, 4, axis=0)
    y = X @ [1.0, -2.0, 0.5] + 3 + np.tile(residuals, 50)
    design = np.column_stack([X, np.ones(200)])
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    variance = ((y - design @ coefficients) ** 2).mean()
    net = ermin.MLP([3, 2], initializer="zeros", dtype="float64")
    descend(net, X, y, 6000, ermin.SGD(0.05, momentum=0.9), loss="gaussian_nll")
    expected = 0.5 * (np.log(2 * np.pi * variance) + 1)
    assert net.loss(X, y, loss="gaussian_nll") == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(net.weights[0][:, 0], coefficients[:3], atol=1e-6)
    np.testing.assert_allclose(net.weights[0][:, 1], 0, atol=1e-6)
    assert net.biases[0] == pytest.approx([coefficients[3], np.log(variance)], abs=1e-6)


def test_gaussian_nll_finds_the_maximum_of_a_likelihood_whose_variance_changes():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 2))
    y = X @ [1.0, -1.0] + np.exp(0.5 * (X[:, 0] - 1)) * rng.normal(size=300)
    design = np.column_stack([X, np.ones(300)])

    def risk(w):
        mean, v = design @ w[:3], design @ w[3:]
        return 0.5 * (v + (y - mean) ** 2 * np.exp(-v) + np.log(2 * np.pi)).mean()

    least = optimize.minimize(risk, np.zeros(6), tol=1e-12).fun
    net = ermin.MLP([2, 2], initializer="zeros", dtype="float64")
    descend(net, X, y, 5000, ermin.SGD(0.05, momentum=0.9), loss="gaussian_nll")
    assert net.loss(X, y, loss="gaussian_nll") == pytest.approx(least, abs=1e-8)


def test_quantile_poisson_and_huber_without_hidden_layers_find_their_known_minima():
    rng = np.random.default_rng(2)
    X, counts = np.zeros((1001, 1)), rng.poisson(3.0, size=1001)
    net = ermin.MLP([1, 1], output="exp", initializer="zeros", dtype="float64")
    descend(net, X, counts, 500, ermin.SGD(0.2))
    assert np.exp(net.biases[0][0]) == pytest.approx(counts.mean(), abs=1e-9)
    values = rng.standard_cauchy(1001)
    net = ermin.MLP([1, 1], initializer="zeros", dtype="float64")
    descend(net, X, values, 4000, ermin.SGD(ermin.Exponential(1.0, end=1e-5)), loss=ermin.Quantile(0.8))
    assert net.biases[0][0] == pytest.approx(np.quantile(values, 0.8), abs=2e-3)
    net = ermin.MLP([1, 1], initializer="zeros", dtype="float64")
    descend(net, X, values, 500, ermin.SGD(0.5), loss="huber")
    pull = np.clip(net.biases[0][0] - values, -1, 1)
    assert pull.mean() == pytest.approx(0, abs=1e-9)
