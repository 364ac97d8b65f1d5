"""The package against the slow truth; and the slow truth against what is known."""

import math

import numpy as np
import pytest

import ermin
import reference

OUTPUTS = [
    ("softmax", "kl"),
    ("softmax", "cross_entropy"),
    ("softmax", "squared_error"),
    ("sigmoid", "binary_cross_entropy"),
    ("sigmoid", "squared_error"),
    ("identity", "squared_error"),
]
# Ours, and the class and arguments of the oracle's.
OPTIMIZERS = [
    (ermin.SGD(0.1), reference.SGD, {}),
    (
        ermin.SGD(0.1, momentum=0.9, weight_decay=0.05),
        reference.SGD,
        {"momentum": 0.9, "weight_decay": 0.05},
    ),
    (ermin.SGD(0.1, momentum=0.9, nesterov=True), reference.SGD, {"momentum": 0.9, "nesterov": True}),
    (
        ermin.Adam(0.02, beta_1=0.8, beta_2=0.95, epsilon=1e-3),
        reference.Adam,
        {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    ),
    (ermin.AdamW(0.02, weight_decay=0.3), reference.Adam, {"weight_decay": 0.3}),
]


def twin(net):
    return reference.Network(net.weights, net.biases, list(net.activation), net.output)


def data(output, n=60, k=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)) * 2
    y = rng.normal(size=(n, k)) if output == "identity" else rng.dirichlet(np.ones(k), size=n)
    return X, y, rng.random(n)


@pytest.mark.parametrize(("name", "pair"), reference.ACTIVATIONS.items())
def test_the_oracles_derivatives_are_derivatives(name, pair):
    f, slope = pair
    z = np.linspace(-6, 6, 50)
    np.testing.assert_allclose((f(z + 1e-6) - f(z - 1e-6)) / 2e-6, slope(z), atol=1e-8)


@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_the_oracles_gradient_is_a_derivative(output, loss):
    rng = np.random.default_rng(0)
    sizes = [(4, 5), (5, 3)]
    net = reference.Network(
        [rng.normal(size=s) for s in sizes], [rng.normal(size=s[1]) for s in sizes], "tanh", output
    )
    X, y, weight = data(output)
    _, dW, db = net.loss_and_gradient(X, y, loss, weight)
    for arrays, derivatives in ((net.weights, dW), (net.biases, db)):
        for array, derivative in zip(arrays, derivatives, strict=True):
            for i in np.ndindex(array.shape):
                ends = []
                for sign in (1, -1):
                    array[i] += sign * 1e-6
                    ends.append(net.loss_and_gradient(X, y, loss, weight)[0])
                    array[i] -= sign * 1e-6
                assert derivative[i] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 3e-5)])
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_predictions_losses_and_gradients(activation, output, loss, dtype, tolerance, level):
    net = ermin.MLP([4, 9, 17, 3], activation=activation, output=output, dtype=dtype, rng=0)
    X, y, weight = data(output)
    if dtype == "float32":
        X, y = X.astype(np.float32), y.astype(np.float32)
    truth = twin(net)
    np.testing.assert_allclose(
        net.predict_proba(X) if output != "identity" else net.predict(X),
        truth.predict(X),
        atol=tolerance,
        rtol=tolerance,
    )
    value, dW, db = net.gradient(X, y, loss=loss, sample_weight=weight)
    expected, expected_dW, expected_db = truth.loss_and_gradient(X, y, loss, weight)
    assert value == pytest.approx(expected, rel=tolerance, abs=tolerance)
    for got, wanted in zip(dW + db, expected_dW + expected_db, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 2e-4)])
@pytest.mark.parametrize(("optimizer", "kind", "arguments"), OPTIMIZERS, ids=lambda value: repr(value)[:40])
def test_whole_training_runs(optimizer, kind, arguments, dtype, tolerance, level):
    net = ermin.MLP([4, 9, 3], activation="tanh", output="softmax", dtype=dtype, rng=0)
    truth = twin(net)
    X, y, weight = data("softmax")
    if dtype == "float32":
        X = X.astype(np.float32)
    validation = (X[::2], y[::2])
    options = {"epochs": 6, "batch_size": 25, "shuffle": False, "l2": 0.3, "sample_weight": weight}
    history = ermin.fit(net, X, y, optimizer=optimizer, restore_best=False, validation=validation, **options)
    batches = [[range(i, min(i + 25, 60)) for i in range(0, 60, 25)]] * 6
    slow = kind(optimizer.learning_rate, **arguments)
    curves = truth.train(X, y, "kl", slow, batches, l2=0.3, weight=weight)
    np.testing.assert_allclose(history.loss, [loss for loss, _ in curves], rtol=tolerance)
    last = truth.loss_and_gradient(*validation, "kl")[0]
    assert history.validation_loss[-1] == pytest.approx(last, rel=tolerance)
    for got, wanted in zip(net.weights + net.biases, truth.weights + truth.biases, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def test_the_best_epoch_is_the_oracles_and_so_are_its_weights():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    y, unseen = rng.integers(0, 2, 40), rng.integers(0, 2, 40)  # noise: soon every step is one too many
    net = ermin.MLP([4, 16, 2], output="softmax", dtype="float64", rng=3)
    truth = twin(net)
    history = ermin.fit(net, X, y, validation=(X, unseen), epochs=30, shuffle=False, optimizer=ermin.SGD(0.3))
    curves = truth.train(X, y, "kl", reference.SGD(0.3), [[range(40)]] * 30, validation=(X, unseen))
    assert 1 <= history.best_epoch < 30
    assert history.best_epoch == 1 + np.argmin([loss for _, loss in curves])
    np.testing.assert_allclose(history.validation_loss, [loss for _, loss in curves], rtol=1e-11)
    for got, wanted in zip(net.weights, truth.weights, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11)


def test_the_oracles_divergences_are_the_articles():
    assert reference.kl_divergence([0.5, 0.5], [1, 0]) == math.inf
    eps = 1e-10
    expected = 0.5 * math.log(0.5) + 0.5 * math.log(0.5 / eps)
    assert reference.kl_divergence([0.5, 0.5], [1, 0], "clip", eps) == pytest.approx(expected, rel=1e-15)
    assert reference.kl_divergence([0.3, 0.7], [0.3, 0.7]) == 0
    assert reference.entropy([0.5, 0.5]) == pytest.approx(math.log(2), rel=1e-15)


def test_the_oracles_comparison_of_bits_is_exact():
    assert reference.below(0.5, [0]) is True
    assert reference.below(0.5, [1]) is False
    assert reference.below(5e-324, [0] * 1074) is True
    assert reference.below(5e-324, [0] * 1073 + [1]) is False
    assert reference.below(1 - 2**-53, [1] * 53) is False
    assert reference.below(1.0, [1]) is True
