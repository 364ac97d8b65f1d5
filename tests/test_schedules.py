"""Schedules: the rates a run sees are the formulas', and pieces of a run see what the whole does."""

import math
import pickle

import numpy as np
import pytest

import ermin

X = np.random.default_rng(0).normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


def fall(u):
    return 0.5 * (1 + math.cos(math.pi * u))


def rise_and_fall(t):
    return 1 - 0.96 * fall(t / 0.3) if t < 0.3 else 1e-4 + (1 - 1e-4) * fall((t - 0.3) / 0.7)


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        (ermin.Constant(0.1), lambda t, step: 1),
        (ermin.Cosine(0.1, end=0.2), lambda t, step: 0.2 + 0.8 * fall(t)),
        (ermin.OneCycle(0.1), lambda t, step: rise_and_fall(t)),
        (ermin.InverseScaling(0.1, power=0.3), lambda t, step: (step + 1) ** -0.3),
        (ermin.Exponential(0.1, end=0.05), lambda t, step: 0.05**t),
        (ermin.CosineLog(0.1), lambda t, step: 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * t)))),
        (ermin.FlatCosine(0.1, hold=0.4), lambda t, step: 1 if t < 0.4 else fall((t - 0.4) / 0.6)),
        (ermin.Cosine(0.1, warmup=0.25), lambda t, step: fall(t) * min(1, (step + 1) / 50)),
    ],
)
def test_the_rates_of_a_run_are_the_formulas(schedule, factor):
    # 4 batches an epoch, 50 epochs: 200 steps; the history holds the first step's rate of each epoch.
    net = ermin.MLP([3, 2], output="softmax", rng=0)
    history = ermin.fit(net, X, Y, optimizer=ermin.SGD(schedule), epochs=50, batch_size=10, rng=0)
    expected = [0.1 * factor(4 * epoch / 200, 4 * epoch) for epoch in range(50)]
    np.testing.assert_allclose(history.learning_rate, expected, rtol=1e-13, atol=1e-17)


def test_a_step_moves_by_the_scheduled_rate():
    rate = ermin.InverseScaling(0.5, power=1.0)
    scheduled, by_hand = (ermin.MLP([3, 1], dtype="float64", rng=0) for _ in range(2))
    trainer = ermin.Trainer(scheduled, optimizer=ermin.SGD(rate))
    for step in range(5):
        trainer.step(X, X[:, 0])
        _, weights, biases = by_hand.gradient(X, X[:, 0])
        by_hand.weights = [w - 0.5 / (step + 1) * g for w, g in zip(by_hand.weights, weights, strict=True)]
        by_hand.biases = [b - 0.5 / (step + 1) * g for b, g in zip(by_hand.biases, biases, strict=True)]
    np.testing.assert_allclose(scheduled.weights[0], by_hand.weights[0], rtol=1e-12)


def test_weight_decay_follows_a_schedule_too():
    # Inputs and targets of 0 have no gradient: nothing but the decay moves the weights.
    net = ermin.MLP([3, 1], dtype="float64", rng=0)
    start = net.weights[0]
    trainer = ermin.Trainer(net, optimizer=ermin.SGD(0.1, weight_decay=ermin.Cosine(1.0)), total_steps=4)
    for _ in range(4):
        trainer.step(np.zeros((1, 3)), [0.0])
    shrink = math.prod(1 - 0.1 * fall(step / 4) for step in range(4))
    np.testing.assert_allclose(net.weights[0], shrink * start, rtol=1e-14)


def test_adaptive_divides_when_the_training_loss_stands_still():
    net = ermin.MLP([3, 2], output="softmax", initializer="zeros")
    optimizer = ermin.SGD(ermin.Adaptive(1e-9, patience=3, factor=10))
    history = ermin.fit(net, X, Y, optimizer=optimizer, epochs=8, rng=0)
    # The first epoch is better than nothing; then three, and three more, are not better by 1e-4.
    np.testing.assert_allclose(history.learning_rate, [1e-9] * 4 + [1e-10] * 3 + [1e-11], rtol=1e-12)


def test_a_scheduled_run_is_its_epochs_also_when_saved_in_between():
    optimizer = ermin.AdamW(ermin.OneCycle(0.05, warmup=0.1), weight_decay=ermin.FlatCosine(0.1))
    whole, pieces = (ermin.MLP([3, 8, 2], output="softmax", rng=0) for _ in range(2))
    ermin.fit(whole, X, Y, optimizer=optimizer, epochs=6, batch_size=10, rng=1)
    trainer = ermin.Trainer(pieces, optimizer=optimizer, batch_size=10, total_steps=24, rng=1)
    for _ in range(6):
        trainer.epoch(X, Y)
        trainer = pickle.loads(pickle.dumps(trainer))
    for left, right in zip(whole.weights, trainer.net.weights, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: ermin.Constant(-1), ValueError, "value is -1, but must be at least 0"),
        (lambda: ermin.Constant("a"), TypeError, "value is 'a'"),
        (lambda: ermin.Cosine(0.1, warmup=2), ValueError, "warmup is 2"),
        (lambda: ermin.Cosine(0.1, end=-1), ValueError, "end is -1"),
        (lambda: ermin.OneCycle(0.1, peak=1.0), ValueError, "peak is 1.0"),
        (lambda: ermin.Exponential(0.1, end=0), ValueError, "end is 0"),
        (lambda: ermin.InverseScaling(0.1, power=-1), ValueError, "power is -1"),
        (lambda: ermin.Adaptive(0.1, factor=0.5), ValueError, "factor is 0.5"),
        (lambda: ermin.Adaptive(0.1, patience=1.5), TypeError, "patience is 1.5, but must be an integer"),
        (
            lambda: ermin.Adaptive(0.1, patience=2**33),
            ValueError,
            r"patience is 8589934592, but must be from 1 to",
        ),
        (lambda: ermin.Huber("a"), TypeError, "delta is 'a', but must be a number"),
        (lambda: ermin.Quantile(1.0), ValueError, "q is 1.0, but must be between 0 and 1"),
        (lambda: ermin.CosineLog(0.1, bumps=0), ValueError, "bumps is 0"),
        (lambda: ermin.FlatCosine(0.1, hold=1), ValueError, "hold is 1"),
        (
            lambda: ermin.SGD(ermin.Constant(0.0)),
            ValueError,
            "learning_rate is 0.0, but must be greater than 0",
        ),
        (lambda: ermin.SGD(0.1, weight_decay=ermin.Adaptive(0.1)), TypeError, "learning rates only"),
        (
            lambda: ermin.Trainer(ermin.MLP([1, 1]), optimizer=ermin.SGD(ermin.Cosine(0.1))),
            ValueError,
            "total_steps is None",
        ),
    ],
)
def test_wrong_schedules_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()
