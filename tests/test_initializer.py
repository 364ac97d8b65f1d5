"""Parameters that begin with the data: ``initializer="data"``."""

import hashlib
import pickle

import numpy as np
import pytest

import ermin

STILL = ermin.SGD(1e-30)  # so short a step that no weight moves, and a bias of 0 by less than this:
NOTHING = 1e-20
PINNED = "daeec53ec266bfc7"


def begun(net, X, y, **options):
    ermin.fit(net, X, y, epochs=1, optimizer=STILL, rng=5, **options)
    return net


def table(n=400, k=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(3, [0.01, 1, 100, 1, 2, 5][:k], (n, k))
    return X, rng.integers(0, 3, n)


def sums(net, X):
    """The sums of each layer of a relu network, by the definition."""
    x = np.asarray(X, dtype=net.dtype)
    for w, b in zip(net.weights, net.biases, strict=True):
        z = x.astype(np.float64) @ w.astype(np.float64) + b
        yield z
        x = np.maximum(z, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_sums_have_deviation_one_and_relus_bend_among_the_rows(dtype, level):
    X, y = table()
    net = ermin.MLP([6, 40, 30, 3], output="softmax", initializer="data", dtype=dtype, rng=1)
    before = net.weights
    assert not any(b.any() for b in net.biases)
    begun(net, X, y)
    for layer, z in enumerate(sums(net, X)):
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-3 if dtype == "float32" else 1e-10)
        if layer < 2:
            assert (z.min(axis=0) < 0).all()
            assert (z.max(axis=0) > 0).all()
        ratio = net.weights[layer] / before[layer]
        assert (ratio > 0).all()
        np.testing.assert_allclose(ratio, ratio[:1].repeat(len(ratio), 0), rtol=1e-5)
    # The last sums pass no activation: nothing bends.
    assert np.abs(net.biases[2]).max() < NOTHING


def test_mixtures_are_of_five_rows():
    # Half the rows are 0, half 1: a mixture is the sum of the shares of those that are 1.
    X = np.repeat([[0.0], [1.0]], 500, axis=0)
    net = begun(ermin.MLP([1, 20_000, 1], initializer="data", rng=0), X, X[:, 0])
    # z = w·(x − m) with deviation 1, so |w| = 2 and the mixture m = −b/w.
    m = -net.biases[0] / net.weights[0][0]
    np.testing.assert_allclose(np.abs(net.weights[0]), 2, rtol=1e-5)
    # Σ λᵢ² of five uniform shares has the mean 2/6, so m has the variance (1/4)·(1/3).
    assert m.mean() == pytest.approx(1 / 2, abs=5 * np.sqrt(1 / 12 / 20_000))
    assert m.var() == pytest.approx(1 / 12, rel=0.05)
    assert m.min() >= -1e-6
    assert m.max() <= 1 + 1e-6


def test_bits_are_the_same_at_every_level_and_for_trainer_and_fit(level):
    X = np.random.default_rng(0).integers(-5, 50, (3000, 6))
    y = X.sum(axis=1) % 3
    whole, stepwise = (
        ermin.MLP([6, 9, 3], output="softmax", activation="tanh", initializer="data", rng=1) for _ in range(2)
    )
    ermin.fit(whole, X, y, epochs=2, rng=8)
    trainer = ermin.Trainer(stepwise, rng=8)
    for _ in range(2):
        trainer.epoch(X, y)
    np.testing.assert_array_equal(stepwise._vector, whole._vector)
    assert hashlib.sha256(whole._vector.tobytes()).hexdigest()[:16] == PINNED


def test_large_tables_are_judged_by_a_sample():
    X, y = table(50_000)
    net = begun(ermin.MLP([6, 50, 3], output="softmax", initializer="data", rng=1), X, y)
    deviations = next(sums(net, X)).std(axis=0)
    np.testing.assert_allclose(deviations, 1, rtol=0.15)
    assert not np.allclose(deviations, 1, rtol=1e-3)


@pytest.mark.parametrize("n", [300, 3000])
def test_rows_without_weight_and_rows_held_back_are_not_looked_at(n):
    X, y = table(n)
    poisoned, weights = X.copy(), np.ones(n)
    weights[::3] = 0
    poisoned[::3] = 1e6
    net = begun(
        ermin.MLP([6, 8, 3], output="softmax", initializer="data", rng=1), poisoned, y, sample_weight=weights
    )
    np.testing.assert_allclose(next(sums(net, X[weights > 0])).std(axis=0), 1, rtol=0.15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x", [3.0, 0.1, 1e-30])
def test_an_output_that_is_the_same_for_all_rows_keeps_its_weights(dtype, x):
    net = ermin.MLP([2, 4, 1], initializer="data", dtype=dtype, rng=0)
    before = net._vector.copy()
    begun(net, np.full((10, 2), x), np.zeros(10))
    np.testing.assert_allclose(net._vector, before, rtol=0, atol=NOTHING)


def test_rounding_is_no_deviation():
    # Sums that differ by rounding alone: 0.3 one way and another.
    X = np.array([[0.1, 0.2], [0.3, 0.0]] * 5)
    net = ermin.MLP([2, 1], initializer="data", dtype="float64", rng=0)
    net._vector.flags.writeable = True
    net._vector[:2] = 1.0
    begun(net, X, np.zeros(10))
    np.testing.assert_allclose(net._vector, [1, 1, 0], rtol=0, atol=NOTHING)


def test_a_step_without_weight_leaves_the_network_waiting():
    X, y = table()
    net, other = (ermin.MLP([6, 8, 3], output="softmax", initializer="data", rng=1) for _ in range(2))
    before = net._vector.copy()
    assert np.isnan(ermin.Trainer(net, rng=5).step(X, y, np.zeros(400)))
    np.testing.assert_array_equal(net._vector, before)
    np.testing.assert_array_equal(begun(net, X, y)._vector, begun(other, X, y)._vector)


def test_sparse_rows_count_as_dense_ones():
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.random_array((200, 30), density=0.2, rng=np.random.default_rng(0)).tocsr()
    y = np.arange(200) % 2
    nets = [
        begun(ermin.MLP([30, 7, 2], output="softmax", initializer="data", rng=0), table, y)
        for table in (X, X.toarray())
    ]
    np.testing.assert_array_equal(nets[0]._vector, nets[1]._vector)


def test_only_the_first_run_sets_them():
    X, y = table()
    net = begun(ermin.MLP([6, 8, 3], output="softmax", initializer="data", rng=1), X, y)
    first = net._vector.copy()
    begun(net, 100 * X, y)
    np.testing.assert_allclose(net._vector, first, rtol=0, atol=NOTHING)


def test_assigned_parameters_are_kept():
    X, y = table()
    net = ermin.MLP([6, 8, 3], output="softmax", initializer="data", rng=1)
    net.weights = [np.full((6, 8), 0.5), np.full((8, 3), 0.25)]
    assigned = net._vector.copy()
    begun(net, X, y)
    np.testing.assert_allclose(net._vector, assigned, rtol=0, atol=NOTHING)


def test_files_and_pickles_still_wait_for_rows(tmp_path):
    X, y = table()
    net = ermin.MLP([6, 8, 3], output="softmax", initializer="data", rng=1)
    net.save(tmp_path / "net.safetensors")
    copies = [pickle.loads(pickle.dumps(net)), ermin.load(tmp_path / "net.safetensors")]
    begun(net, X, y)
    for copy in copies:
        np.testing.assert_array_equal(begun(copy, X, y)._vector, net._vector)
    net.save(tmp_path / "net.safetensors")
    again = begun(ermin.load(tmp_path / "net.safetensors"), 10 * X, y)
    np.testing.assert_allclose(again._vector, net._vector, rtol=0, atol=NOTHING)


def test_a_run_that_is_refused_leaves_the_network_waiting():
    X, y = table()
    net, other = (ermin.MLP([6, 8, 3], output="softmax", initializer="data", rng=1) for _ in range(2))
    with pytest.raises(ValueError, match="X\\[7, 2\\] is NaN"):
        ermin.fit(net, np.where(np.arange(400 * 6).reshape(400, 6) == 7 * 6 + 2, np.nan, X), y)
    with pytest.raises(ValueError, match="learning_rate"):
        ermin.fit(net, X, y, optimizer=ermin.SGD(-1))
    np.testing.assert_array_equal(begun(net, X, y)._vector, begun(other, X, y)._vector)


def test_layers_that_are_spelled_out():
    X, y = table()
    layers = [
        ermin.PeriodicEmbedding(6, n_outputs=3, keep_input=False),
        ermin.Dense(18, 20, parametrization="ntk"),
        ermin.Activation("relu"),
        ermin.Dense(20, 3),
    ]
    net = ermin.MLP(layers=layers, output="softmax", initializer="data", dtype="float64", rng=1)
    waves = net.parameters["periodic_weights.0"].copy()
    begun(net, X, y)
    np.testing.assert_array_equal(net.parameters["periodic_weights.0"], waves)
    np.testing.assert_allclose(net.logits(X).std(axis=0), 1, rtol=1e-10)
    assert net.biases[0].all()
    assert np.abs(net.biases[1]).max() < NOTHING
