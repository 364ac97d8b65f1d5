"""Few rows: a small network's steps on up to four, one row's prediction, and blocks that every epoch has again.

Each has a way of its own, with the bits of the common one. A clip that no gradient reaches makes a step take the common
way; so does what is asked of many rows at once.
"""

import copy

import numpy as np
import pytest

import ermin
import reference

ACTIVATIONS = list(reference.ACTIVATIONS)
FAR = 1e30


def table(n, sizes, output="identity", seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, sizes[0]))
    if output == "softmax":
        return X, rng.integers(sizes[-1], size=n)
    if output == "identity":
        return X, rng.normal(size=(n, sizes[-1]))
    return X, rng.uniform(size=(n, sizes[-1]))


def trained(net, X, y, **options):
    net = copy.copy(net)
    history = ermin.fit(net, X, y, rng=1, **{"epochs": 3, "optimizer": ermin.Adam(0.01)} | options)
    return np.concatenate([history.loss, *(w.ravel() for w in net.parameters.values())])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_steps_on_few_rows_have_the_bits_of_other_steps(activation, dtype, level):
    for sizes, output in [((2, 8, 1), "identity"), ((3, 5, 6, 3), "softmax"), ((4, 7, 2), "sigmoid")]:
        net = ermin.MLP(list(sizes), activation=activation, output=output, dtype=dtype, rng=0)
        X, y = table(11, sizes, output)
        for batch_size in (1, 2, 3, 4):
            own, common = (
                trained(net, X, y, batch_size=batch_size, gradient_clip=clip) for clip in (None, FAR)
            )
            assert np.array_equal(own, common)


@pytest.mark.parametrize(
    "optimizer",
    [
        ermin.SGD(0.1),
        ermin.SGD(0.1, momentum=0.9, nesterov=True),
        ermin.Adam(ermin.Cosine(0.01)),
        ermin.AdamW(0.01, weight_decay=0.1),
    ],
    ids=["plain", "nesterov", "adam", "adamw"],
)
def test_every_optimizer_updates_a_small_network_as_it_does_others(optimizer, level):
    net = ermin.MLP([3, 9, 2], activation="tanh", rng=0)
    X, y = table(10, (3, 9, 2))
    weights = np.arange(10.0) % 4  # some rows, and whole batches of one, have the weight 0
    for batch_size in (1, 4):
        options = {"optimizer": optimizer, "batch_size": batch_size, "sample_weight": weights}
        own, common = (trained(net, X, y, gradient_clip=clip, **options) for clip in (None, FAR))
        assert np.array_equal(own, common)


def test_the_penalty_of_a_small_network_is_that_of_others(level):
    net = ermin.MLP([3, 9, 2], rng=0)
    X, y = table(10, (3, 9, 2))
    # Added to the gradient before it is clipped, the penalty is rounded once more than in the optimiser.
    own, common = (trained(net, X, y, batch_size=4, l2=0.1, gradient_clip=clip) for clip in (None, FAR))
    np.testing.assert_allclose(own, common, rtol=1e-5, atol=1e-6)


def test_layers_of_their_own_learn_from_few_rows():
    layers = [ermin.Dense(2, 4, learning_rate_factor=0.0), ermin.Activation("tanh"), ermin.Dense(4, 1)]
    net = ermin.MLP(layers=layers, rng=0)
    X, y = table(4, (2, 4, 1))
    own, common = (trained(net, X, y, gradient_clip=clip) for clip in (None, FAR))
    assert np.array_equal(own, common)
    before = net.weights[0]
    ermin.fit(net, X, y, epochs=3, rng=0)
    assert np.array_equal(net.weights[0], before)


def test_a_trainer_learns_from_the_table_it_is_given():
    """The rows of a step before are not taken for those of another table."""
    net = ermin.MLP([2, 3, 1], rng=0)
    first, second = table(4, (2, 3, 1), seed=1), table(4, (2, 3, 1), seed=2)
    by_turns, fresh = copy.copy(net), copy.copy(net)
    trainer = ermin.Trainer(by_turns, optimizer=ermin.SGD(0.1))
    for X, y in (first, second):
        trainer.step(X, y)
        ermin.Trainer(fresh, optimizer=ermin.SGD(0.1)).step(X, y)
    assert np.array_equal(by_turns.weights[0], fresh.weights[0])


def test_a_small_network_that_diverges_gets_its_best_weights_back():
    net = ermin.MLP([1, 2, 1], activation="identity", rng=0)
    X, y = np.full((4, 1), 1e4), np.ones((4, 1))
    with pytest.warns(RuntimeWarning, match="not finite"):
        history = ermin.fit(net, X, y, optimizer=ermin.SGD(10.0), epochs=100, rng=0)
    assert history.stop_reason == "diverged"
    assert np.isfinite(net.weights[0]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_row_is_predicted_as_among_many(activation, dtype, level):
    for sizes, output in [((14, 64, 32, 2), "softmax"), ((1, 37, 3), "sigmoid"), ((5, 1), "exp")]:
        net = ermin.MLP(list(sizes), activation=activation, output=output, dtype=dtype, rng=0)
        X = np.random.default_rng(0).normal(size=(9, sizes[0]))
        predict = net._predict
        for logits in (False, True):
            many = predict(X, logits=logits)
            one = np.vstack([predict(row[None], logits=logits) for row in X])
            assert np.array_equal(one, many)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("batch_size", [7, 37, 300, 1000])
def test_blocks_that_are_gathered_once_are_those_of_every_epoch(batch_size, n_threads):
    for sizes, output in [((4, 32, 16, 4), "identity"), ((5, 30, 3), "softmax")]:
        X, y = table(1000, sizes, output)
        net = ermin.MLP(list(sizes), activation="tanh", output=output, rng=0)
        weights = np.random.default_rng(1).uniform(size=1000)
        options = {"batch_size": batch_size, "shuffle": False, "n_threads": n_threads, "rng": 1}
        whole, by_epoch = copy.copy(net), copy.copy(net)
        losses = ermin.fit(whole, X, y, epochs=3, sample_weight=weights, **options).loss
        trainer = ermin.Trainer(by_epoch, **options)
        assert [trainer.epoch(X, y, weights) for _ in range(3)] == losses.tolist()
        assert np.array_equal(whole.weights[0], by_epoch.weights[0])


def test_seconds_grow_and_end_with_the_run():
    net = ermin.MLP([2, 8, 1], rng=0)
    X, y = table(4, (2, 8, 1))
    seconds = ermin.fit(net, X, y, epochs=2000, rng=0).seconds
    assert (np.diff(seconds) >= 0).all()
    assert seconds[-1] > seconds[0] > 0


def test_copies_share_nothing_that_changes():
    net = ermin.MLP([2, 3, 1], rng=0)
    before = net.weights[0].copy()
    X, y = table(4, (2, 3, 1))
    other = copy.copy(net)
    ermin.fit(other, X, y, epochs=3, rng=0)
    assert np.array_equal(net.weights[0], before)
    assert not np.array_equal(other.weights[0], before)
