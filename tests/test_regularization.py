"""Dropout, mixup, label smoothing, clipping and recorded gradients against NumPy, with what chance decided read out."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import ermin
import reference

BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])


def vector(net):
    return np.concatenate([p.ravel() for p in net.parameters.values()])


def step(net, X, y, *, rng=0, steps=1, **options):
    """The gradient of the last of so many steps, as plain descent at rate 1 shows it, by layer."""
    trainer = ermin.Trainer(net, optimizer=ermin.SGD(1.0), rng=rng, **options)
    for _ in range(steps):
        before = copy.copy(net)
        trainer.step(X, y)
    moved = zip(before.parameters.values(), net.parameters.values(), strict=True)
    return [old.astype(float) - new for old, new in moved]


def mask(p, n, width, *, dtype="float64", rng=0, steps=1, n_threads=None):
    """What a step multiplies the numbers of the one hidden layer with, row by row of the batch.

    Every hidden number is 1, every output 0, and only output s is wrong in row s, by n: so the gradient of the last
    weights is the factor.
    """
    net = ermin.MLP([1, width, n], activation="identity", dropout=p, initializer="zeros", dtype=dtype)
    trainer = ermin.Trainer(net, optimizer=ermin.SGD(1.0), rng=rng, n_threads=n_threads)
    for _ in range(steps):
        net.weights = [np.zeros((1, width)), np.zeros((width, n))]
        net.biases = [np.ones(width), np.zeros(n)]
        trainer.step(np.zeros((n, 1)), -n * np.eye(n))
    return -net.weights[1].T.astype(float)


# --------------------------------------------------------------------------------------------------------- dropout


@BOTH
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_a_share_and_scales_the_rest(p, dtype, level):
    factors = mask(p, 300, 101, dtype=dtype)
    share = round(p * 65536) / 65536
    kept = factors != 0
    np.testing.assert_allclose(factors[kept], 1 / (1 - share), rtol=1e-6 if dtype == "float32" else 1e-14)
    # Five standard errors, of the whole, of each row and of each column.
    error = np.sqrt(share * (1 - share))
    assert abs((~kept).mean() - share) < 5 * error / np.sqrt(kept.size)
    assert (np.abs((~kept).mean(axis=0) - share) < 5 * error / np.sqrt(300)).all()
    assert (np.abs((~kept).mean(axis=1) - share) < 5 * error / np.sqrt(101)).all()


def test_what_is_dropped_is_named_by_seed_step_row_and_number(level):
    first = mask(0.5, 600, 7)
    np.testing.assert_array_equal(first != 0, mask(0.5, 600, 7, dtype="float32") != 0)
    for n_threads in (1, 2, 8):
        np.testing.assert_array_equal(first, mask(0.5, 600, 7, n_threads=n_threads))
    np.testing.assert_array_equal(first[:31], mask(0.5, 31, 7))
    for other in (mask(0.5, 600, 7, rng=1), mask(0.5, 600, 7, steps=2)):
        # 4,200 coins agree by half, ± 0.5/√4200 · 5.
        assert abs(((first != 0) == (other != 0)).mean() - 0.5) < 0.04


def test_layers_drop_apart_from_each_other():
    net = ermin.MLP([1, 64, 64, 1], activation="identity", dropout=0.5, initializer="zeros", dtype="float64")
    net.weights = [np.zeros((1, 64)), np.zeros((64, 64)), np.ones((64, 1))]
    net.biases = [np.ones(64), np.ones(64), [0]]
    gradient = step(net, [[0.0]], [-1e6])[2]  # (first factor) ⊗ (second factor) · (p + 1e6)
    first, second = (gradient != 0).any(axis=1), (gradient != 0).any(axis=0)
    np.testing.assert_array_equal(gradient != 0, np.outer(first, second))
    assert 15 < first.sum() < 49
    assert 12 < (first != second).sum() < 52


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_the_gradient_through_dropout_is_that_of_the_thinned_network(activation, level):
    rng = np.random.default_rng(0)
    X, y, weight = rng.normal(size=(20, 4)), rng.normal(size=(20, 3)), rng.random(20)
    net = ermin.MLP([4, 9, 3], activation=activation, dropout=0.4, dtype="float64", rng=1)
    W, b, factors = net.weights, net.biases, mask(0.4, 20, 9)
    trainer = ermin.Trainer(net, optimizer=ermin.SGD(1.0), rng=0)
    loss = trainer.step(X, y, weight)
    f, df = reference.ACTIVATIONS[activation]
    z = X @ W[0] + b[0]
    hidden = f(z) * factors
    error = hidden @ W[1] + b[1] - y
    w = weight / weight.sum()
    assert loss == pytest.approx((0.5 * error**2).sum(axis=1) @ w, rel=1e-12)
    delta = error * w[:, None]
    inner = (delta @ W[1].T) * factors * df(z)
    np.testing.assert_allclose(W[1] - net.weights[1], hidden.T @ delta, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(W[0] - net.weights[0], X.T @ inner, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(b[0] - net.biases[0], inner.sum(axis=0), rtol=1e-9, atol=1e-13)


def test_a_schedule_changes_dropout_during_the_run():
    net = ermin.MLP([1, 4096, 1], activation="identity", dropout=ermin.Cosine(0.8), initializer="zeros")
    trainer = ermin.Trainer(net, optimizer=ermin.SGD(1.0), total_steps=4, rng=0)
    shares = []
    for _ in range(4):
        net.weights, net.biases = [np.zeros((1, 4096)), np.zeros((4096, 1))], [np.ones(4096), [0]]
        trainer.step([[0.0]], [-1.0])
        shares.append((net.weights[1] == 0).mean())
    expected = 0.8 * 0.5 * (1 + np.cos(np.pi * np.arange(4) / 4))
    np.testing.assert_allclose(shares, expected, atol=5 * 0.5 / 64)


def test_predictions_validation_and_losses_know_no_dropout():
    X = np.random.default_rng(0).normal(size=(50, 3))
    y = (X[:, 0] > 0).astype(int)
    options = {"activation": "tanh", "output": "softmax", "rng": 0}
    plain, net = ermin.MLP([3, 8, 2], **options), ermin.MLP([3, 8, 2], dropout=0.5, **options)
    np.testing.assert_array_equal(net.predict_proba(X), plain.predict_proba(X))
    assert net.loss(X, y) == plain.loss(X, y)
    assert net.gradient(X, y)[0] == plain.loss(X, y)
    history = ermin.fit(net, X, y, validation=(X, y), epochs=3, restore_best=False, rng=0)
    assert history.validation_loss[-1] == net.loss(X, y)
    assert (history.loss != ermin.fit(plain, X, y, epochs=3, rng=0).loss).all()


@pytest.mark.parametrize("dropout", [0.25, ermin.OneCycle(0.5, peak=0.2)])
def test_dropout_is_kept_in_files_pickles_and_copies(dropout, tmp_path):
    net = ermin.MLP([3, 8, 2], output="softmax", dropout=dropout, rng=0)
    net.save(tmp_path / "net.safetensors")
    for other in (ermin.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net)), copy.copy(net)):
        assert other.dropout == dropout
        assert repr(other) == repr(net)
    assert f"dropout={dropout}" in repr(net)


# ----------------------------------------------------------------------------------------------------------- mixup


def mixed_step(net, X, y, weight, share, partner):
    """The loss and gradient of one mixed batch, as the paper says it, for squared error."""
    mixed_weight = share * weight + (1 - share) * weight[partner]
    own = np.divide(share * weight, mixed_weight, out=np.full(len(X), share), where=mixed_weight > 0)[:, None]
    mixed = own * X + (1 - own) * X[partner], own * y + (1 - own) * y[partner]
    slow = reference.Network(net.weights, net.biases, net.activation, net.output)
    return slow.loss_and_gradient(*mixed, "squared_error", mixed_weight)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_mixup_mixes_a_batch_with_a_permutation_of_itself(alpha, weighted, level):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    weight = rng.random(4) if weighted else np.ones(4)
    # Rows and targets 1 apart show λ: with n = 4 unit rows the gradient of a linear model's weights is −MᵀM, where
    # M = λ + (1 − λ)·P, with λ² + (1 − λ)² in the diagonal where P moves a row.
    shown = ermin.MLP([4, 4], initializer="zeros", dtype="float64")
    diagonal = -step(shown, np.eye(4), 4 * np.eye(4), mixup_alpha=alpha)[0].diagonal()
    root = np.sqrt(max(2 * diagonal[~np.isclose(diagonal, 1)].min() - 1, 0))
    net = ermin.MLP([3, 5, 2], activation="tanh", dtype="float64", rng=3)
    before = copy.copy(net)
    trainer = ermin.Trainer(net, optimizer=ermin.SGD(1.0), mixup_alpha=alpha, rng=0)
    loss = trainer.step(X, y, weight if weighted else None)
    fits = []
    for partner in itertools.permutations(range(4)):
        for share in (0.5 + root / 2, 0.5 - root / 2):
            value, dW, db = mixed_step(before, X, y, weight, share, np.array(partner))
            new = zip(before.weights, dW, net.weights, strict=True)
            same = all(np.allclose(W - g, V, rtol=0, atol=1e-10) for W, g, V in new)
            same &= np.isclose(value, loss, rtol=1e-10)
            fits.append(same & np.allclose(before.biases[0] - db[0], net.biases[0], rtol=0, atol=1e-10))
    assert sum(fits) == 2  # (λ, P) and (1 − λ, P⁻¹) make the same rows in another order


def test_lambda_follows_the_beta_distribution():
    """Kolmogorov's distance to SciPy's Beta(α, α), λ read out of the loss of a linear model."""
    from scipy import stats

    # Rows (0, 1), targets 0: the mixed rows are (1 − λ, λ) or themselves, the losses' mean ½·(λ² + (1 − λ)²)/2 or ¼.
    for alpha in (0.3, 1.0, 2.5):
        net = ermin.MLP([1, 1], initializer="zeros", dtype="float64")
        net.weights = [[[1.0]]]
        trainer = ermin.Trainer(net, optimizer=ermin.SGD(1e-300), mixup_alpha=alpha, rng=0)
        losses = np.array([trainer.step([[0.0], [1.0]], [0.0, 0.0]) for _ in range(4000)])
        swapped = losses[np.abs(losses - 0.25) > 1e-12]
        assert abs(len(swapped) / 4000 - 0.5) < 5 * 0.5 / np.sqrt(4000)
        distance = np.sqrt(np.maximum(8 * swapped - 1, 0))  # |2λ − 1|
        law = stats.beta(alpha, alpha)
        test = stats.kstest(distance, lambda d: law.cdf((1 + d) / 2) - law.cdf((1 - d) / 2))  # noqa: B023 - used at once
        assert test.pvalue > 1e-4


@BOTH
def test_mixup_reads_nothing_of_a_row_of_weight_0(dtype):
    rng = np.random.default_rng(0)
    X, y, weight = rng.normal(size=(300, 4)), rng.integers(3, size=300), rng.random(300)
    weight[::3] = 0
    seen = []
    for changed in (X, np.where(weight[:, None] == 0, 1e3, X)):
        net = ermin.MLP([4, 6, 3], output="softmax", dtype=dtype, rng=0)
        ermin.fit(net, changed, y, sample_weight=weight, mixup_alpha=0.5, batch_size=290, epochs=3, rng=0)
        seen.append(vector(net))
    np.testing.assert_array_equal(*seen)


# ------------------------------------------------------------------------------------------------- label smoothing


@pytest.mark.parametrize(
    ("output", "loss"), [("softmax", "kl"), ("softmax", "cross_entropy"), ("sigmoid", "auto")]
)
def test_smoothed_labels_are_the_distributions_they_become(output, loss, level):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    if output == "softmax":
        y = rng.integers(4, size=60)
        smooth = 0.5 * np.eye(4)[y] + 0.125
    else:
        y = rng.integers(2, size=(60, 4))
        smooth = 0.5 * y + 0.25
    nets = [ermin.MLP([3, 5, 4], output=output, rng=0) for _ in range(2)]
    options = {"loss": loss, "epochs": 3, "batch_size": 25, "rng": 0}
    by_option = ermin.fit(
        nets[0], X, y, label_smoothing=0.5, validation=(X, y), restore_best=False, **options
    )
    by_hand = ermin.fit(nets[1], X, smooth, **options)
    np.testing.assert_array_equal(by_option.loss, by_hand.loss)
    np.testing.assert_array_equal(vector(nets[0]), vector(nets[1]))
    assert by_option.validation_loss[-1] == nets[0].loss(X, y, loss=loss)  # of the labels themselves


# --------------------------------------------------------------------------------------- clipping, recorded norms


@BOTH
@pytest.mark.parametrize("n", [50, 700])
def test_a_gradient_is_clipped_by_the_norm_of_the_whole(n, dtype, level):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 3)) * 10, rng.normal(size=(n, 2)) * 10
    for l2, limit in ((0.0, 0.3), (90.0, 0.3), (0.0, 1e9), (90.0, 1e9)):
        net = ermin.MLP([3, 4, 2], dtype=dtype, rng=0)
        before = copy.copy(net)
        _, dW, db = net.gradient(X, y)
        dW = [g + l2 / n * W for g, W in zip(dW, net.weights, strict=True)]
        norm = np.sqrt(sum((g.astype(float) ** 2).sum() for g in (*dW, *db)))
        assert 0.3 < norm < 1e9
        ermin.Trainer(net, optimizer=ermin.SGD(1e-3), gradient_clip=limit, l2=l2).step(X, y)
        factor = min(1, limit / norm)
        for W, g, V in zip(
            (*before.weights, *before.biases), (*dW, *db), (*net.weights, *net.biases), strict=True
        ):
            np.testing.assert_allclose(
                V, W - 1e-3 * factor * g, rtol=1e-6, atol=1e-6 if dtype == "float32" else 1e-14
            )


@BOTH
def test_a_limit_that_is_not_reached_changes_no_bit(dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(700, 3)), rng.integers(2, size=700)
    seen = []
    for options in ({}, {"gradient_clip": 1e30}, {"record_gradient_norm": True}):
        net = ermin.MLP([3, 4, 2], output="softmax", dtype=dtype, rng=0)
        ermin.fit(net, X, y, epochs=3, batch_size=300, rng=0, **options)
        seen.append(vector(net))
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])


@pytest.mark.parametrize("batch_size", [40, 300])
def test_recorded_norms_are_root_mean_squares_over_the_steps(batch_size, level):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(700, 3)), rng.integers(2, size=700)
    net = ermin.MLP([3, 4, 5, 2], activation="tanh", output="softmax", dtype="float64", rng=0)
    by_step = copy.copy(net)
    options = {"batch_size": batch_size, "shuffle": False, "optimizer": ermin.SGD(0.5), "gradient_clip": 1e-3}
    history = ermin.fit(net, X, y, epochs=2, record_gradient_norm=True, **options)
    trainer = ermin.Trainer(by_step, **options)
    for epoch in range(2):
        squares = []
        for i in range(0, 700, batch_size):
            _, dW, db = by_step.gradient(X[i : i + batch_size], y[i : i + batch_size])
            squares.append([(g**2).sum() + (h**2).sum() for g, h in zip(dW, db, strict=True)])
            trainer.step(X[i : i + batch_size], y[i : i + batch_size])
        np.testing.assert_allclose(history.gradient_norm[epoch], np.sqrt(np.mean(squares, axis=0)), rtol=1e-9)
    assert history.gradient_norm.shape == (2, 3)
    assert history.to_dict()["gradient_norm"] == history.gradient_norm.tolist()


def test_norms_are_not_recorded_unless_asked_for():
    history = ermin.fit(ermin.MLP([1, 1], rng=0), [[0.0], [1.0]], [0.0, 1.0], epochs=2)
    assert history.gradient_norm is None
    assert "gradient_norm" not in history.to_dict()


# --------------------------------------------------------------------------------------------------------- together


@BOTH
def test_fit_equals_epochs_of_a_trainer_saved_in_the_middle_with_everything_on(dtype):
    rng = np.random.default_rng(0)
    X, y, weight = rng.normal(size=(130, 5)), rng.integers(3, size=130), rng.random(130)
    options = {
        "optimizer": ermin.AdamW(ermin.OneCycle(0.02), weight_decay=ermin.Cosine(0.1)),
        "batch_size": 32,
        "l2": 0.1,
        "label_smoothing": 0.1,
        "mixup_alpha": 0.4,
        "gradient_clip": 0.5,
        "rng": 5,
    }
    whole, pieces = (
        ermin.MLP([5, 7, 6, 3], output="softmax", dropout=ermin.FlatCosine(0.3), dtype=dtype, rng=0)
        for _ in "ab"
    )
    history = ermin.fit(whole, X, y, sample_weight=weight, epochs=6, **options)
    trainer = ermin.Trainer(pieces, total_steps=6 * 5, **options)
    losses = [trainer.epoch(X, y, weight)]
    for _ in range(5):
        trainer = pickle.loads(pickle.dumps(trainer))
        losses.append(trainer.epoch(X, y, weight))
    np.testing.assert_array_equal(history.loss, losses)
    np.testing.assert_array_equal(vector(whole), vector(trainer.net))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing is 1.5, but must be from 0 to 1"),
        ({"label_smoothing": -0.1}, ValueError, "label_smoothing is -0.1"),
        ({"mixup_alpha": -1}, ValueError, "mixup_alpha is -1, but must be at least 0"),
        ({"mixup_alpha": np.inf}, ValueError, "mixup_alpha is inf"),
        ({"mixup_alpha": "some"}, TypeError, "mixup_alpha is 'some', but must be a number"),
        ({"gradient_clip": 0}, ValueError, "gradient_clip is 0, but must be greater than 0"),
        ({"gradient_clip": np.nan}, ValueError, "gradient_clip is nan"),
    ],
)
def test_options_out_of_range_are_refused(options, error, match):
    net = ermin.MLP([1, 2], output="softmax", rng=0)
    before = vector(net)
    for run in (
        lambda: ermin.fit(net, [[0.0], [1.0]], [0, 1], **options),
        lambda: ermin.Trainer(net, **options),
    ):
        with pytest.raises(error, match=match):
            run()
    np.testing.assert_array_equal(vector(net), before)


def test_only_probabilities_are_smoothed():
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.1, but the network's output is 'identity'"):
        ermin.fit(ermin.MLP([1, 1], rng=0), [[0.0]], [0.0], label_smoothing=0.1)


@pytest.mark.parametrize("dropout", [1.0, -0.1, 1.5, np.nan, ermin.Constant(1.0), ermin.Adaptive(0.1)])
def test_dropout_out_of_range_is_refused(dropout):
    with pytest.raises(ValueError, match="dropout is"):
        ermin.MLP([1, 2, 1], dropout=dropout)


def test_a_schedule_of_dropout_needs_the_length_of_the_run():
    with pytest.raises(ValueError, match="total_steps is None, but the network's dropout depends on it"):
        ermin.Trainer(ermin.MLP([1, 2, 1], dropout=ermin.Cosine(0.5), rng=0))
