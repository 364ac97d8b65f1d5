"""MLP: predictions, losses and gradients against definitions, at every SIMD level and in both dtypes."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ermin
import reference

ACTIVATIONS = list(reference.ACTIVATIONS)
COMBINATIONS = (
    ("softmax", "kl"),
    ("softmax", "cross_entropy"),
    ("softmax", "squared_error"),
    ("sigmoid", "binary_cross_entropy"),
    ("sigmoid", "squared_error"),
    ("identity", "squared_error"),
    ("exp", "squared_error"),
    ("exp", "poisson"),
    ("identity", "gaussian_nll"),
    ("identity", ermin.Huber(0.7)),
    ("identity", ermin.Quantile(0.3)),
    ("identity", "hinge"),
    ("identity", "perceptron"),
)


def flat(weights, biases):
    return np.concatenate([np.concatenate([w.ravel(), b]) for w, b in zip(weights, biases, strict=True)])


def with_vector(net, vector):
    """A network of the same shape with other parameters."""
    other = copy.copy(net)
    weights, biases = net._split(vector)
    other.weights, other.biases = weights, biases
    return other


def problem(output, n=37, seed=0, loss="auto", n_outputs=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    if output == "exp":
        y = rng.poisson(1.5, size=(n, n_outputs)).astype(float)
    elif output == "identity":
        y = rng.normal(size=(n, n_outputs // 2 if loss == "gaussian_nll" else n_outputs))
        if loss in ("hinge", "perceptron"):
            y = np.sign(y)
    else:
        y = rng.dirichlet(np.ones(n_outputs), size=n)
    return X, y, rng.random(n)


@pytest.mark.parametrize(("output", "loss"), COMBINATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradient_is_the_derivative_of_the_loss(activation, output, loss, level):
    n_outputs = 4 if loss == "gaussian_nll" else 3
    net = ermin.MLP([3, 5, 4, n_outputs], activation=activation, output=output, dtype="float64", rng=1)
    X, y, weight = problem(output, loss=loss, n_outputs=n_outputs)
    # Biases away from 0: no logit of a row without active units stands on a kink.
    net.biases = [np.linspace(-0.3, 0.4, len(b)) for b in net.biases]
    value, weights, biases = net.gradient(X, y, loss=loss, sample_weight=weight)
    assert value == net.loss(X, y, loss=loss, sample_weight=weight)
    at = flat(net.weights, net.biases)
    step = 1e-6
    scale = 1 + value + np.abs(flat(weights, biases)).max()
    for i in range(0, len(at), 1 if level != "portable" else 7):
        ends = []
        for sign in (1, -1):
            moved = at.copy()
            moved[i] += sign * step
            ends.append(with_vector(net, moved).loss(X, y, loss=loss, sample_weight=weight))
        # Central differences err by about step² (kinks are not hit) plus 1e-16/step.
        assert flat(weights, biases)[i] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=3e-9 * scale)


@pytest.mark.parametrize(("output", "loss"), COMBINATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_gradients_are_those_of_float64(activation, output, loss, level):
    n_outputs = 4 if loss == "gaussian_nll" else 3
    single = ermin.MLP([3, 33, 17, n_outputs], activation=activation, output=output, rng=1)
    double = ermin.MLP([3, 33, 17, n_outputs], activation=activation, output=output, dtype="float64", rng=1)
    double.weights, double.biases = single.weights, single.biases
    X, y, weight = problem(output, loss=loss, n_outputs=n_outputs)
    X, y = X.astype(np.float32), y.astype(np.float32)
    if output in ("softmax", "sigmoid"):
        y = np.round(y * 64) / 64
        y[:, 2] = 1 - y[:, 0] - y[:, 1]
    got = single.gradient(X, y, loss=loss, sample_weight=weight)
    expected = double.gradient(X, y, loss=loss, sample_weight=weight)
    assert got[0] == pytest.approx(expected[0], rel=2e-6, abs=2e-7)
    scale = np.abs(flat(*expected[1:])).max()
    assert np.abs(flat(*got[1:]) - flat(*expected[1:])).max() < 3e-6 * max(scale, 0.1)


def test_predictions_are_what_the_outputs_say():
    X = np.random.default_rng(0).normal(size=(9, 3)) * 5
    for output in ("identity", "softmax", "sigmoid", "exp"):
        net = ermin.MLP([3, 4, 3], output=output, dtype="float64", rng=0)
        z = net.logits(X)
        hidden = np.maximum(X @ net.weights[0] + net.biases[0], 0)
        np.testing.assert_allclose(z, hidden @ net.weights[1] + net.biases[1], rtol=1e-13)
        if output in ("identity", "exp"):
            expected = z if output == "identity" else np.exp(z)
            np.testing.assert_allclose(net.predict(X), expected, rtol=1e-15)
            with pytest.raises(TypeError, match="predict_proba needs"):
                net.predict_proba(X)
        elif output == "softmax":
            e = np.exp(z - z.max(axis=1, keepdims=True))
            np.testing.assert_allclose(net.predict_proba(X), e / e.sum(axis=1, keepdims=True), rtol=1e-13)
            np.testing.assert_array_equal(net.predict(X), z.argmax(axis=1))
        else:
            np.testing.assert_allclose(net.predict_proba(X), 1 / (1 + np.exp(-z)), rtol=1e-13)
            np.testing.assert_array_equal(net.predict(X), (z >= 0).astype(int))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_does_not_depend_on_its_batch(dtype, level):
    net = ermin.MLP([5, 33, 3], activation="gelu", output="softmax", dtype=dtype, rng=0)
    X = np.random.default_rng(0).normal(size=(700, 5))
    whole = net.predict_proba(X)
    for rows in (slice(0, 1), slice(255, 258), slice(300, 317), slice(699, 700)):
        np.testing.assert_array_equal(net.predict_proba(X[rows]), whole[rows])


def test_no_rows_give_no_predictions():
    net = ermin.MLP([2, 3], output="softmax", rng=0)
    assert net.predict_proba(np.empty((0, 2))).shape == (0, 3)
    assert net.predict(np.empty((0, 2))).shape == (0,)


@settings(deadline=None, max_examples=60)
@given(
    dtype=st.sampled_from(["?", "i1", "u2", "i4", "i8", "u8", "f4", "f8", ">f8", ">i4", "f2"]),
    layout=st.sampled_from(["C", "F", "reversed", "every other", "offset", "read-only", "broadcast", "list"]),
    n=st.integers(1, 20),
    d=st.integers(1, 6),
)
def test_any_array_gives_the_bits_of_its_contiguous_copy(dtype, layout, n, d):
    plain = (np.arange(4 * n * d).reshape(2 * n, 2 * d) % 97).astype(dtype)
    view = {
        "C": plain[:n, :d].copy(),
        "F": np.asfortranarray(plain[:n, :d]),
        "reversed": plain[::-1, ::-1],
        "every other": plain[::2, ::2],
        "offset": np.frombuffer(b"x" + plain.tobytes(), dtype=plain.dtype, offset=1).reshape(plain.shape),
        "read-only": plain[:n, :d],
        "broadcast": np.broadcast_to(plain[0, :d], (n, d)),
        "list": plain[:n, :d],
    }[layout]
    if layout == "read-only":
        view.flags.writeable = False
    net = ermin.MLP([view.shape[1], 3, 2], rng=0)
    expected = net.predict(np.ascontiguousarray(view, dtype=np.float32))
    np.testing.assert_array_equal(net.predict(view.tolist() if layout == "list" else view), expected)


def test_one_hot_rows_give_the_bits_of_class_indices(level):
    net = ermin.MLP([3, 7, 3], output="softmax", rng=0)
    X, _, _ = problem("softmax")
    y = np.arange(len(X)) % 3
    for loss in ("kl", "cross_entropy"):
        by_index = net.gradient(X, y, loss=loss)
        by_row = net.gradient(X, np.eye(3)[y], loss=loss)
        assert by_index[0] == by_row[0]
        np.testing.assert_array_equal(flat(*by_index[1:]), flat(*by_row[1:]))


def test_kl_and_cross_entropy_differ_by_the_entropy_and_have_one_gradient():
    net = ermin.MLP([3, 5, 3], output="softmax", dtype="float64", rng=0)
    X, q, _ = problem("softmax")
    kl = net.gradient(X, q, loss="kl")
    cross = net.gradient(X, q, loss="cross_entropy")
    np.testing.assert_array_equal(flat(*kl[1:]), flat(*cross[1:]))
    assert cross[0] - kl[0] == pytest.approx(-(q * np.log(q)).sum(axis=1).mean(), rel=1e-12)


def test_the_same_seed_gives_the_same_network_and_others_do_not():
    one, same, other = (ermin.MLP([9, 5, 2], rng=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.weights[0], same.weights[0])
    assert (one.weights[0] != other.weights[0]).all()
    generator = np.random.default_rng(1)
    assert (ermin.MLP([3, 2], rng=generator).weights[0] != ermin.MLP([3, 2], rng=generator).weights[0]).all()


@pytest.mark.parametrize(
    ("initializer", "activation", "deviation"),
    [
        ("he", "tanh", np.sqrt(2 / 400)),
        ("glorot", "relu", np.sqrt(2 / 700)),
        ("lecun", "relu", np.sqrt(1 / 400)),
        ("auto", "relu", np.sqrt(2 / 400)),
        ("auto", "tanh", np.sqrt(2 / 700)),
        ("auto", "selu", np.sqrt(1 / 400)),
        ("zeros", "relu", 0.0),
    ],
)
def test_weights_begin_with_the_stated_spread(initializer, activation, deviation):
    net = ermin.MLP([400, 300, 1], activation=activation, initializer=initializer, rng=0)
    w = net.weights[0]
    # The standard error of the deviation of 120,000 numbers is 0.2 %, of their mean 0.3 % of it: five of each.
    assert w.std() == pytest.approx(deviation, rel=0.01)
    assert abs(w.mean()) <= 0.015 * deviation
    assert not net.biases[0].any()


@pytest.mark.parametrize("name", ["sizes", "layers", "activation", "output", "dropout", "dtype"])
def test_what_a_network_was_made_with_does_not_change(name):
    net = ermin.MLP([2, 3, 1], rng=0)
    with pytest.raises(AttributeError, match=f"{name} is what the network was made with"):
        setattr(net, name, getattr(net, name))


def test_parameters_are_read_only_and_assigned_whole():
    net = ermin.MLP([2, 3, 1], rng=0)
    assert list(net.parameters) == ["weights.0", "biases.0", "weights.1", "biases.1"]
    with pytest.raises(ValueError, match="read-only"):
        net.weights[0][0, 0] = 1
    net.weights = [np.ones((2, 3)), np.full((3, 1), 2.0)]
    net.biases = [[0, 1, 2], [3]]
    np.testing.assert_array_equal(net.predict([[1, 1]]), [[2 * (2 + 3 + 4) + 3]])
    before = net.weights
    for wrong, match in (
        ([np.ones((2, 3))], "weights has 1 arrays, but the network has 2 layers"),
        (
            [np.ones((3, 2)), np.ones((3, 1))],
            r"weights\[0\] has shape \(3, 2\), but must have shape \(2, 3\)",
        ),
        ([np.full((2, 3), np.nan), np.ones((3, 1))], r"weights\[0\] holds NaN"),
    ):
        with pytest.raises(ValueError, match=match):
            net.weights = wrong
    for left, right in zip(before, net.weights, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pickle_and_copy_keep_every_bit(dtype):
    net = ermin.MLP([4, 3, 2], activation=["mish"], output="sigmoid", dtype=dtype, rng=0)
    X = np.ones((1, 4))
    for other in (pickle.loads(pickle.dumps(net)), copy.copy(net), copy.deepcopy(net)):
        np.testing.assert_array_equal(other.predict_proba(X), net.predict_proba(X))
        assert (other.sizes, other.activation, other.output, other.dtype) == (
            (4, 3, 2),
            ("mish",),
            "sigmoid",
            dtype,
        )
        other.biases = [np.ones(3), np.ones(2)]
        assert not net.biases[0].any()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"sizes": [3]}, ValueError, "at least two numbers"),
        ({"sizes": [3, 0, 2]}, ValueError, "each must be at least 1"),
        ({"sizes": [3, 2.5]}, TypeError, "integer"),
        ({"sizes": [3, 1], "output": "softmax"}, ValueError, "at least 2 classes"),
        (
            {"sizes": [3, 2], "output": "logistic"},
            ValueError,
            'output is "logistic", but must be one of identity',
        ),
        ({"sizes": [3, 4, 2], "activation": "rely"}, ValueError, 'activation is "rely", but must be one of'),
        ({"sizes": [3, 4, 2], "activation": ["relu", "relu"]}, ValueError, "activation has 2 names"),
        ({"sizes": [3, 2], "initializer": "best"}, ValueError, 'initializer is "best"'),
        ({"sizes": [3, 2], "dtype": "int32"}, ValueError, "float32 or float64"),
        ({"sizes": [3, 2], "dtype": None}, ValueError, "dtype is None, but must be float32 or float64"),
        ({"sizes": [3, 2], "output": None}, TypeError, "output is None, but must be a name"),
        ({"sizes": [3, 2], "initializer": 3}, TypeError, "initializer is 3, but must be a name"),
        (
            {"sizes": [3, 4, 2], "activation": [None]},
            TypeError,
            r"activation\[0\] is None, but must be a name",
        ),
        ({"sizes": [3, 2], "rng": -1}, ValueError, "rng is -1, but must be at least 0"),
        ({"sizes": [3, 2], "rng": "0"}, TypeError, "rng is of type str"),
        ({"sizes": [3, 2], "rng": True}, TypeError, "rng is True"),
        ({"sizes": [2**40, 2**40]}, MemoryError, "sizes"),
    ],
)
def test_wrong_descriptions_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        ermin.MLP(**arguments)


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        ([1.0, 2.0], ValueError, "X has 1 dimensions, but must have 2"),
        ([[1.0, 2.0, 3.0]], ValueError, "X has 3 columns, but the network has 2 inputs"),
        ([[1.0, np.nan]], ValueError, r"X\[0, 1\] is NaN, but must be finite"),
        ([[1.0, 0.0], [1e39, 0.0]], ValueError, r"X\[1, 0\] is 1e39, but must be finite in float32"),
        ([[1j, 0]], TypeError, "complex128, but must hold real numbers"),
        ([["a", "b"]], TypeError, "must hold real numbers"),
        (np.array([["a", None]], dtype=object), TypeError, "dtype object, but must hold numbers"),
        (np.ma.masked_equal([[1.0, 2.0]], 2.0), ValueError, "X has masked elements"),
    ],
)
def test_wrong_inputs_are_refused(X, error, match):
    with pytest.raises(error, match=match):
        ermin.MLP([2, 2], rng=0).predict(X)


@pytest.mark.parametrize(
    ("output", "y", "match"),
    [
        ("softmax", [0, 3], r"y\[1\] is 3, but must be a class index from 0 to 2"),
        ("softmax", [-1, 0], r"y\[0\] is -1, but must be a class index"),
        ("softmax", [0.0, 1.0], "must hold class indices"),
        ("softmax", [[0], [1]], r"shape \(2, 1\), but must have shape \(2,\) of class indices or \(2, 3\)"),
        ("softmax", [[0.5, 0.5, 0.5], [1, 0, 0]], "row 0 sums to 1.5, but must sum to 1"),
        ("softmax", [[1, 0, 0], [1.5, -0.5, 0]], r"y\[1, 1\] is -0.5, but must be a probability"),
        ("softmax", ["a", "b"], "must hold class indices"),
        ("softmax", [0, 1, 2], r"y has shape \(3,\), but X has 2 rows"),
        ("sigmoid", [[0, 1, 2], [0, 1, 0]], r"y\[0, 2\] is 2, but must be a probability"),
        ("identity", [[0, 1, np.nan], [0, 1, 0]], r"y\[0, 2\] is NaN, but must be finite"),
        ("identity", [0.0, 1.0], r"y has shape \(2,\), but must have shape \(2, 3\)"),
    ],
)
def test_wrong_targets_are_refused(output, y, match):
    net = ermin.MLP([2, 3], output=output, rng=0)
    with pytest.raises(ValueError, match=match):
        net.loss(np.zeros((2, 2)), y)


def test_wrong_weights_and_losses_are_refused():
    net = ermin.MLP([2, 3], output="softmax", rng=0)
    X, y = np.zeros((2, 2)), [0, 1]
    for weight, match in (
        ([1.0], r"sample_weight has shape \(1,\)"),
        ([1.0, -1.0], r"sample_weight\[1\] is -1, but must be finite and at least 0"),
        ([0.0, 0.0], "sample_weight must not be 0 for all rows"),
        ([np.inf, 0.0], r"sample_weight\[0\] is inf"),
    ):
        with pytest.raises(ValueError, match=match):
            net.loss(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match='loss is "nll", but must be one of kl'):
        net.loss(X, y, loss="nll")
    with pytest.raises(
        ValueError, match='which does not go with 3 outputs of kind "softmax"; it must be one of kl'
    ):
        net.loss(X, y, loss="binary_cross_entropy")
    with pytest.raises(ValueError, match="X has no rows"):
        net.loss(np.empty((0, 2)), [])


def test_weighted_rows_count_as_often_as_they_weigh():
    net = ermin.MLP([3, 4, 3], output="softmax", dtype="float64", rng=0)
    X, y, _ = problem("softmax", n=5)
    weight = np.array([1, 2, 0, 3, 1])
    weighted = net.gradient(X, y, sample_weight=weight)
    repeated = net.gradient(np.repeat(X, weight, axis=0), np.repeat(y, weight, axis=0))
    assert weighted[0] == pytest.approx(repeated[0], rel=1e-14)
    np.testing.assert_allclose(flat(*weighted[1:]), flat(*repeated[1:]), rtol=1e-12, atol=1e-15)


def test_a_gradient_over_many_blocks_is_the_mean_of_its_parts():
    net = ermin.MLP([3, 8, 3], output="softmax", dtype="float64", rng=0)
    X, y, _ = problem("softmax", n=1000)
    whole = flat(*net.gradient(X, y)[1:])
    parts = [flat(*net.gradient(X[i : i + 100], y[i : i + 100])[1:]) for i in range(0, 1000, 100)]
    np.testing.assert_allclose(whole, np.mean(parts, axis=0), rtol=1e-12, atol=1e-16)


def test_extreme_logits_stay_finite(level):
    for dtype, output in itertools.product(("float32", "float64"), ("softmax", "sigmoid")):
        net = ermin.MLP([1, 2], output=output, dtype=dtype, initializer="zeros")
        net.weights = [[[1e4, -1e4]]]
        X, y = [[1.0], [-1.0]], [[1.0, 0.0], [1.0, 0.0]]
        np.testing.assert_array_equal(net.predict_proba(X), [[1, 0], [0, 1]])
        loss, weights, biases = net.gradient(X, y)
        assert loss == {"softmax": 1e4, "sigmoid": 1e4}[output]
        assert np.isfinite(flat(weights, biases)).all()
