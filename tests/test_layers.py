"""Networks of layers that are spelled out: against NumPy, against differences, the same bits everywhere."""

import copy
import hashlib
import pickle

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.svm import SVC

import ermin
from ermin import _core, layers
from reference import ACTIVATIONS

LEVELS = _core.simd_levels()


@pytest.fixture(autouse=True)
def level_restored():
    before = _core.simd_level()
    yield
    _core.set_simd_level(before)


def act(name, **options):
    return ermin.Activation(name, **options)


def columns(**options):
    return ermin.Columns(
        [
            ([0, 2], ermin.PeriodicEmbedding(2, n_frequencies=3, n_outputs=2, scale=0.5, **options)),
            ([1], ermin.CategoryEmbedding(5, 3, **options)),
            ([4, 3], None),
            ([3, 0], ermin.Scale(2, **options)),
            ([0, 2, 4], ermin.Dense(3, 2, **options)),
            ([2], ermin.Dense(1, 2, parametrization="ntk", **options)),
            ([2, 3], act("mish", parametric=True, **options)),
            ([4], act("relu")),
            ([1], ermin.CategoryEmbedding(5, 1, **options)),
        ]
    )


WIDE = 6 + 3 + 2 + 2 + 2 + 2 + 2 + 1 + 1

# Every layer first, in the middle and last; every way an activation or dropout can be joined to what stands before it.
NETWORKS = {
    "dense": [ermin.Dense(5, 7), act("tanh"), ermin.Dense(7, 2)],
    "ntk": [
        ermin.Dense(5, 7, parametrization="ntk"),
        act("relu"),
        ermin.Dense(7, 9, parametrization="ntk"),
        act("gelu"),
        ermin.Dense(9, 2, parametrization="ntk"),
    ],
    "scale": [
        ermin.Scale(5),
        ermin.Dense(5, 7),
        act("tanh"),
        ermin.Scale(7),
        ermin.Dense(7, 2),
        ermin.Scale(2),
    ],
    "relu before scale": [ermin.Dense(5, 7), act("relu"), ermin.Scale(7), act("relu"), ermin.Dense(7, 2)],
    "parametric": [
        ermin.Dense(5, 7),
        act("silu", parametric=True),
        ermin.Dense(7, 4),
        act("selu", parametric=True),
        act("tanh", parametric=True),
        ermin.Dense(4, 2),
    ],
    "activations at both ends": [act("tanh"), act("softplus"), ermin.Dense(5, 2), act("tanh"), act("elu")],
    "periodic": [ermin.PeriodicEmbedding(5, n_frequencies=6, scale=0.4), ermin.Dense(25, 2)],
    "periodic without input": [
        ermin.Dense(5, 3),
        act("tanh"),
        ermin.PeriodicEmbedding(3, n_frequencies=5, n_outputs=3, scale=0.7, keep_input=False),
        act("relu"),
        ermin.Dense(9, 2),
    ],
    "columns": [columns(), ermin.Dense(WIDE, 6), act("silu"), ermin.Dense(6, 2)],
    "periodic last": [
        ermin.Dense(5, 1),
        act("relu"),
        ermin.PeriodicEmbedding(1, n_frequencies=2, n_outputs=1),
    ],
}
NETWORKS["category"] = [ermin.CategoryEmbedding(5, 4), act("tanh"), ermin.Dense(4, 2)]


def table(n, seed=0):
    """Five columns, the second of which holds categories 0 to 4."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    X[:, 1] = rng.integers(0, 5, n)
    return X


def inputs(name, n, seed=0):
    X = table(n, seed)
    return X[:, 1:2] if name == "category" else X


def network(name, dtype="float64", **options):
    """With parameters away from where they begin."""
    net = ermin.MLP(layers=NETWORKS[name], output="softmax", dtype=dtype, rng=1, **options)
    rng = np.random.default_rng(2)
    net.parameters = {
        key: value + rng.normal(scale=0.2, size=value.shape) for key, value in net.parameters.items()
    }
    return net


class Oracle:
    """The same layers in NumPy; takes arrays by name in the order of the layers."""

    def __init__(self, net):
        self.parameters = {k: v.astype(float) for k, v in net.parameters.items()}
        self.counts = {}

    def take(self, kind):
        i = self.counts.get(kind, 0)
        self.counts[kind] = i + 1
        return self.parameters[f"{kind}.{i}"]

    def layer(self, layer, x):
        if isinstance(layer, ermin.Columns):
            parts = [x[:, i] if p is None else self.layer(p, x[:, i]) for i, p in layer.parts]
            return np.concatenate(parts, axis=1)
        if isinstance(layer, ermin.Dense):
            W, b = self.take("weights"), self.take("biases")
            return x @ W / (np.sqrt(len(W)) if layer.parametrization == "ntk" else 1) + b
        if isinstance(layer, ermin.Scale):
            return x * self.take("scales")
        if isinstance(layer, ermin.Activation):
            f = ACTIVATIONS[layer.name][0](x)
            return x + self.take("alphas") * (f - x) if layer.parametric else f
        if isinstance(layer, ermin.CategoryEmbedding):
            return self.take("embeddings")[x[:, 0].astype(int)]
        c, W, b = (self.take(kind) for kind in ("frequencies", "periodic_weights", "periodic_biases"))
        angle = 2 * np.pi * x[:, :, None] * c
        v = np.concatenate([np.sin(angle), np.cos(angle)], axis=2)
        out = np.einsum("nik,iko->nio", v, W) + b
        if layer.keep_input:
            out = np.concatenate([out, x[:, :, None]], axis=2)
        return out.reshape(len(x), -1)

    def logits(self, net, X):
        for layer in net.layers:
            X = self.layer(layer, X)
        return X


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n", [1, 3, 40, 300])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_the_definition(name, n, level):
    _core.set_simd_level(level)
    net, X = network(name), inputs(name, n)
    exact = Oracle(net).logits(net, X)
    np.testing.assert_allclose(net.logits(X), exact, rtol=1e-12, atol=1e-12)
    single = network(name, "float32")
    np.testing.assert_allclose(single.logits(X), Oracle(single).logits(single, X), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("n", [2, 37, 300])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_the_differences_of_losses(name, n):
    net, X = network(name), inputs(name, n, seed=3)
    rng = np.random.default_rng(4)
    y, weight = rng.integers(0, 2, n), rng.uniform(0.5, 2, n)
    loss, gradients = net.gradient(X, y, sample_weight=weight, by_name=True)
    assert loss == pytest.approx(net.loss(X, y, sample_weight=weight), rel=1e-13)
    assert set(gradients) == set(net.parameters)
    before = net.parameters
    for key, gradient in gradients.items():
        assert gradient.shape == before[key].shape
        for index in list(np.ndindex(gradient.shape))[::3]:
            losses = []
            for step in (-1e-5, 1e-5):
                moved = {**before, key: before[key].copy()}
                moved[key][index] += step
                net.parameters = moved
                losses.append(net.loss(X, y, sample_weight=weight))
            assert gradient[index] == pytest.approx((losses[1] - losses[0]) / 2e-5, rel=1e-7, abs=1e-8), (
                key,
                index,
            )
    single = network(name, "float32")
    close = single.gradient(X, y, sample_weight=weight, by_name=True)[1]
    for key, gradient in gradients.items():
        np.testing.assert_allclose(close[key], gradient, atol=5e-5)


@pytest.mark.parametrize("name", ["dense", "columns"])
def test_gradient_gives_dense_layers_unless_all_are_asked_for(name):
    net, X = network(name), inputs(name, 20)
    y = np.arange(20) % 2
    loss, weights, biases = net.gradient(X, y)
    same, named = net.gradient(X, y, by_name=True)
    assert loss == same
    for kind, arrays in (("weights", weights), ("biases", biases)):
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(array, named[f"{kind}.{i}"])
        assert f"{kind}.{len(arrays)}" not in named


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes_are_the_short_form_bit_for_bit(dtype):
    X, y = table(700), np.arange(700) % 3
    short = ermin.MLP(
        [5, 9, 8, 3], activation=["gelu", "relu"], output="softmax", dropout=0.2, dtype=dtype, rng=5
    )
    spelled = ermin.MLP(
        layers=[
            ermin.Dense(5, 9),
            act("gelu"),
            ermin.Dropout(0.2),
            ermin.Dense(9, 8),
            act("relu"),
            ermin.Dropout(0.2),
            ermin.Dense(8, 3),
        ],
        output="softmax",
        dtype=dtype,
        rng=5,
    )
    options = {"epochs": 3, "rng": 6, "validation": 0.2, "optimizer": ermin.AdamW(0.01), "l2": 0.1}
    curves = [ermin.fit(net, X, y, record_gradient_norm=True, **options) for net in (short, spelled)]
    assert short.layers[:2] == spelled.layers[:2]
    np.testing.assert_array_equal(short._vector, spelled._vector)
    for curve in ("loss", "validation_loss", "gradient_norm"):
        np.testing.assert_array_equal(getattr(curves[0], curve), getattr(curves[1], curve))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_at_every_level_with_any_number_of_threads(name, dtype):
    n = 3000
    X, y = inputs(name, n), np.arange(n) % 2
    seen = set()
    for level in LEVELS:
        _core.set_simd_level(level)
        for n_threads in (1, 2, 8):
            net = ermin.MLP(
                layers=[*NETWORKS[name][:-1], ermin.Dropout(0.1), NETWORKS[name][-1]],
                output="softmax",
                dtype=dtype,
                rng=1,
            )
            options = {"n_threads": n_threads, "rng": 3, "gradient_clip": 0.5}
            ermin.fit(net, X, y, batch_size=1500, epochs=2, optimizer=ermin.AdamW(0.01), **options)
            trainer = ermin.Trainer(net, optimizer=ermin.SGD(0.1, momentum=0.9), batch_size=33, **options)
            trainer.epoch(X[:100], y[:100])
            trainer.step(X[:3], y[:3])
            seen.add(b"".join([net._vector.tobytes(), net.predict_proba(X[:300]).tobytes()]))
    assert len(seen) == 1


def test_bits_are_pinned():
    """After a change of bits that is meant, this test names the new digest."""
    X = (np.arange(3500).reshape(700, 5) * 7919 % 1009) / 256 - 2
    X[:, 1] = np.arange(700) % 5
    digest = hashlib.sha256()
    for dtype in ("float32", "float64"):
        for name in NETWORKS:
            net = ermin.MLP(
                layers=[*NETWORKS[name], ermin.Dropout(0.1)], output="softmax", dtype=dtype, rng=1
            )
            rows = X[:, 1:2] if name == "category" else X
            ermin.fit(
                net, rows, np.arange(700) % 2, batch_size=300, epochs=2, optimizer=ermin.AdamW(0.01), rng=2
            )
            digest.update(net._vector.tobytes())
    assert digest.hexdigest() == "8cb83385c41b684843c87897daa7d986ddfbe3c3ebd5b021de170d7f96aaf59c"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_does_not_depend_on_its_batch(name):
    net, X = network(name, "float32"), inputs(name, 300)
    whole = net.logits(X)
    for rows in (slice(0, 1), slice(7, 10), slice(100, 180)):
        np.testing.assert_array_equal(net.logits(X[rows]), whole[rows])


def frozen(layer):
    return type(layer)(**{**vars(layer), "learning_rate_factor": 0.0})


@pytest.mark.parametrize("optimizer", [ermin.SGD(0.1, momentum=0.9, weight_decay=0.1), ermin.AdamW(0.1)])
def test_a_factor_of_0_freezes_a_layer(optimizer):
    X, y = table(300), np.arange(300) % 2
    net = ermin.MLP(
        layers=[
            columns(learning_rate_factor=0.0),
            ermin.Dense(WIDE, 6, learning_rate_factor=0.0),
            act("silu", parametric=True),
            frozen(ermin.Scale(6)),
            ermin.Dense(6, 2),
        ],
        output="softmax",
        rng=1,
    )
    before = copy.deepcopy(net.parameters)
    ermin.fit(net, X, y, epochs=3, optimizer=optimizer, l2=0.1, gradient_clip=1.0, rng=0)
    after = net.parameters
    # the second mixture, the last dense layer
    moving = {"alphas.1", "weights.3", "biases.3"}
    for key in before:
        assert (before[key] != after[key]).any() == (key in moving), key


def test_learning_rate_and_decay_by_layer():
    X, y = table(64), np.arange(64) % 2
    stack = [
        ermin.Scale(5, learning_rate_factor=3.0, weight_decay_factor=0.5),
        ermin.Dense(5, 4, learning_rate_factor=0.5, weight_decay_factor=2.0),
        act("tanh", parametric=True),
        ermin.Dense(4, 2),
    ]
    factors = {  # learning rate, decay
        "scales.0": (3.0, 0.5),
        "weights.0": (0.5, 2.0),
        "biases.0": (0.5, 0.0),
        "alphas.0": (1.0, 0.0),
        "weights.1": (1.0, 1.0),
        "biases.1": (1.0, 0.0),
    }
    for decay, l2 in ((0.1, 0.0), (0.0, 3.0), (0.1, 3.0)):
        net = ermin.MLP(layers=stack, output="softmax", dtype="float64", rng=1)
        before, gradients = net.parameters, net.gradient(X, y, by_name=True)[1]
        ermin.Trainer(net, optimizer=ermin.SGD(0.2, weight_decay=decay), l2=l2).step(X, y)
        assert set(factors) == set(before)
        for key, (rate, share) in factors.items():
            p, g = before[key], gradients[key] + l2 * share / 64 * before[key]
            expected = p * (1 - 0.2 * rate * decay * share) - 0.2 * rate * g
            np.testing.assert_allclose(net.parameters[key], expected, rtol=1e-12, atol=1e-15, err_msg=key)


def test_clipping_looks_at_what_moves_and_norms_at_every_layer():
    X, y = table(64), np.arange(64) % 2
    stack = [ermin.Dense(5, 4, learning_rate_factor=0.0), act("tanh"), ermin.Scale(4), ermin.Dense(4, 2)]
    net = ermin.MLP(layers=stack, output="softmax", dtype="float64", rng=1)
    gradients, before = net.gradient(X, y, by_name=True)[1], net.parameters
    moving = [gradients[key] for key in ("scales.0", "weights.1", "biases.1")]
    norm = np.sqrt(sum((g**2).sum() for g in moving))
    history = ermin.fit(
        net,
        X,
        y,
        epochs=1,
        batch_size=64,
        shuffle=False,
        optimizer=ermin.SGD(1.0),
        gradient_clip=norm / 4,
        record_gradient_norm=True,
    )
    np.testing.assert_allclose(before["scales.0"] - net.parameters["scales.0"], moving[0] / 4, rtol=1e-9)
    groups = (("weights.0", "biases.0"), ("scales.0",), ("weights.1", "biases.1"))
    expected = [np.sqrt(sum((gradients[key] ** 2).sum() for key in group)) for group in groups]
    np.testing.assert_allclose(history.gradient_norm, [expected], rtol=1e-12)


@pytest.mark.parametrize("first", [[], [ermin.Scale(5)], [act("tanh")], [ermin.Dropout(0.5)]])
def test_dropout_anywhere_drops_its_share_and_nothing_in_predictions(first):
    net = ermin.MLP(
        layers=[*first, ermin.Dropout(0.25), ermin.Dense(5, 1)], initializer="zeros", dtype="float64"
    )
    X = np.ones((4000, 5))
    ermin.Trainer(net, optimizer=ermin.SGD(1.0), rng=0).step(X, np.ones(4000))
    # From 0 the step is the mean of the inputs as the last layer sees them.
    (weights,) = net.weights
    mean = np.tanh(1) if first and isinstance(first[0], ermin.Activation) else 1
    variance = (1 / 0.75 - 1) if not (first and isinstance(first[0], ermin.Dropout)) else 2 / 0.75 - 1
    np.testing.assert_allclose(weights, mean, atol=5 * np.sqrt(variance / 4000))
    assert np.ptp(weights) > 0
    np.testing.assert_array_equal(net.logits(X), net.logits(X)[:1].repeat(4000, axis=0))


def test_dropout_at_the_end_is_in_the_gradient_too():
    # What is dropped of the logits learns nothing: with p near 1 hardly any bias of a row's own output moves.
    net = ermin.MLP(layers=[ermin.Dense(1, 40), ermin.Dropout(0.5)], initializer="zeros", dtype="float64")
    ermin.Trainer(net, optimizer=ermin.SGD(1.0), rng=0).step([[1.0]], np.ones((1, 40)))
    steps = net.biases[0]
    assert set(np.round(steps, 12)) == {0.0, 2.0}
    assert 8 <= np.count_nonzero(steps) <= 32


def test_dropout_follows_a_schedule():
    stack = [ermin.Dense(5, 4), ermin.Dropout(ermin.Cosine(0.3)), ermin.Dense(4, 1)]
    net = ermin.MLP(layers=stack, rng=0)
    with pytest.raises(ValueError, match="total_steps is None"):
        ermin.Trainer(net)
    ermin.fit(net, table(30), np.ones(30), epochs=2, rng=0)
    assert pickle.loads(pickle.dumps(net)).layers == net.layers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_files_pickles_and_copies(name, dtype, tmp_path):
    stack = [*NETWORKS[name], ermin.Dropout(0.1)]
    net = ermin.MLP(layers=stack, output="softmax", dtype=dtype, rng=1)
    X, y = inputs(name, 50), np.arange(50) % 2
    ermin.fit(net, X, y, epochs=1, rng=0)
    net.save(tmp_path / "net.safetensors")
    for same in (
        ermin.load(tmp_path / "net.safetensors"),
        pickle.loads(pickle.dumps(net)),
        copy.deepcopy(net),
    ):
        assert same.layers == net.layers == tuple(stack)
        assert repr(same) == repr(net)
        assert same.sizes == net.sizes
        np.testing.assert_array_equal(same.logits(X), net.logits(X))
        for key, value in net.parameters.items():
            np.testing.assert_array_equal(same.parameters[key], value)
            assert not same.parameters[key].flags.writeable


def test_a_trainer_resumes_from_its_pickle():
    X, y = table(100), np.arange(100) % 2
    nets = [
        ermin.MLP(layers=[*NETWORKS["columns"], ermin.Dropout(0.2)], output="softmax", rng=1) for _ in "ab"
    ]
    through, broken = (ermin.Trainer(net, batch_size=10, rng=0) for net in nets)
    for _ in range(4):
        through.epoch(X, y)
    for _ in range(2):
        broken.epoch(X, y)
    resumed = pickle.loads(pickle.dumps(broken))
    for _ in range(2):
        resumed.epoch(X, y)
    np.testing.assert_array_equal(resumed.net._vector, nets[0]._vector)


def test_how_layers_begin():
    net = ermin.MLP(
        layers=[
            ermin.PeriodicEmbedding(40, n_frequencies=25, n_outputs=20, scale=0.3),
            ermin.Scale(840),
            ermin.Dense(840, 30, parametrization="ntk"),
            act("relu", parametric=True),
            ermin.Dense(30, 2),
        ],
        rng=0,
    )
    p = net.parameters
    for key in ("scales.0", "alphas.0"):
        assert (p[key] == 1).all()
    for key in ("periodic_biases.0", "biases.0", "biases.1"):
        assert (p[key] == 0).all()
    deviations = {"frequencies.0": 0.3, "periodic_weights.0": 0.2, "weights.0": np.sqrt(2)}
    for key, deviation in deviations.items():  # five standard errors of a standard deviation
        assert p[key].std() == pytest.approx(deviation, rel=5 / np.sqrt(2 * p[key].size)), key
        assert abs(p[key].mean()) < 5 * deviation / np.sqrt(p[key].size)
    table = ermin.MLP(layers=[ermin.CategoryEmbedding(500, 16)], rng=0).parameters["embeddings.0"]
    assert table.std() == pytest.approx(0.25, rel=5 / np.sqrt(16_000))
    twins = [
        ermin.MLP(
            layers=[ermin.Dense(90, 70, parametrization=form)], initializer="ntk", dtype="float64", rng=0
        )
        for form in ("standard", "ntk")
    ]
    np.testing.assert_allclose(twins[1].weights[0], twins[0].weights[0] * np.sqrt(90), rtol=1e-14)
    np.testing.assert_array_equal(twins[1].biases[0], twins[0].biases[0])
    assert twins[1].weights[0].std() == pytest.approx(1, rel=5 / np.sqrt(2 * 6300))
    assert twins[1].biases[0].std() == pytest.approx(0.1, rel=5 / np.sqrt(140))
    drawn = ermin.MLP(layers=NETWORKS["columns"], rng=0).parameters
    firsts = [value.ravel()[0] for key, value in drawn.items() if key.startswith(("weights", "emb", "freq"))]
    assert len(set(firsts)) == len(firsts)  # each from a stream of its own


SCALE = ermin.Scale(2)
CATEGORY = ermin.CategoryEmbedding(3, 2)
BAD = [
    (lambda: ermin.MLP(), TypeError, "needs sizes or layers"),
    (lambda: ermin.MLP([2, 1], layers=[SCALE]), TypeError, "sizes or layers, but got both"),
    (lambda: ermin.MLP(layers=[SCALE], dropout=0.1), ValueError, "activation and dropout go with sizes"),
    (lambda: ermin.MLP(layers=[]), ValueError, "layers is empty"),
    (lambda: ermin.MLP(layers=[act("relu")]), ValueError, "no layer with a size"),
    (lambda: ermin.MLP(layers=[SCALE, 3]), TypeError, r"layers\[1\] is 3"),
    (
        lambda: ermin.MLP(layers=[SCALE, ermin.Dense(3, 1)]),
        ValueError,
        r"layers\[1\] is .* 3 inputs, but there are 2",
    ),
    (lambda: ermin.MLP(layers=[SCALE, CATEGORY]), ValueError, "must be the first layer"),
    (lambda: ermin.MLP(layers=[SCALE, act("none")]), ValueError, "activation is"),
    (lambda: ermin.MLP(layers=[ermin.Dense(2, 1)], output="softmax"), ValueError, "at least 2 classes"),
    (lambda: ermin.Dense(0, 1), ValueError, "Dense: n_in is 0"),
    (lambda: ermin.Dense(1, 1.5), TypeError, "Dense: n_out is 1.5, but must be an integer"),
    (lambda: ermin.Dense(1, 1, parametrization="mup"), ValueError, "parametrization is 'mup'"),
    (lambda: ermin.Dense(1, 1, learning_rate_factor=-1), ValueError, "Dense: learning_rate_factor is -1"),
    (lambda: ermin.Scale(1, weight_decay_factor=np.nan), ValueError, "Scale: weight_decay_factor is nan"),
    (lambda: ermin.Dropout(1.0), ValueError, "Dropout: p is 1.0"),
    (lambda: ermin.Dropout(ermin.Adaptive(0.1)), ValueError, "Dropout: p is an Adaptive"),
    (lambda: ermin.PeriodicEmbedding(1, scale=0), ValueError, "scale is 0"),
    (lambda: ermin.PeriodicEmbedding(1, n_outputs=0), ValueError, "n_outputs is 0"),
    (lambda: ermin.CategoryEmbedding(2**24 + 1, 1), ValueError, "n_levels is 16777217"),
    (lambda: ermin.Columns([]), ValueError, "no parts"),
    (lambda: ermin.Columns([([], None)]), ValueError, r"indices are \[\]"),
    (lambda: ermin.Columns([([-1], None)]), ValueError, r"indices are \[-1\]"),
    (lambda: ermin.Columns([([3], None)], n_columns=3), ValueError, "must be below n_columns, 3"),
    (lambda: ermin.Columns([([0], SCALE)]), ValueError, "2 inputs, but there are 1 indices"),
    (lambda: ermin.Columns([([0, 1], CATEGORY)]), ValueError, "1 inputs, but there are 2 indices"),
    (
        lambda: ermin.Columns([([0], ermin.Dropout(0.1))]),
        TypeError,
        "must be None or one that can stand here",
    ),
    (lambda: ermin.Columns([([0], ermin.Columns([([0], None)]))]), TypeError, "one that can stand here"),
    (lambda: ermin.MLP(layers=[ermin.Dense(2**40, 2**40)]), MemoryError, "more parameters than memory"),
]


@pytest.mark.parametrize(("make", "error", "match"), BAD)
def test_bad_layers_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize("value", [5, -1, 2.5])
def test_a_number_that_is_no_category_is_named(value):
    net = ermin.MLP(layers=[columns(), ermin.Dense(WIDE, 2)], output="softmax")
    X, y = table(30), np.arange(30) % 2
    X[17, 1] = value
    before = net._vector.copy()
    for call in (
        lambda: net.predict_proba(X),
        lambda: net.loss(X, y),
        lambda: net.gradient(X, y),
        lambda: ermin.fit(net, X, y),
        lambda: ermin.Trainer(net).step(X, y),
    ):
        with pytest.raises(ValueError, match=rf"X\[17, 1\] is {value}.* number of a category, .* 0 to 4$"):
            call()
    with pytest.raises(ValueError, match=r"validation\[0\]\[17, 1\]"):
        ermin.fit(net, table(30), y, validation=(X, y))
    with pytest.raises(ValueError, match=r"mixup_alpha is 0\.5, but the network embeds categories"):
        ermin.fit(net, table(30), y, mixup_alpha=0.5)
    np.testing.assert_array_equal(net._vector, before)


def test_parameters_are_assigned_whole():
    net = network("columns")
    values = net.parameters
    for wrong, match in (
        ({}, r"parameters has \[\]"),
        ({**values, "more": 1}, "but must have"),
        ({**values, "scales.0": np.ones(3)}, r"parameters\['scales.0'\] has shape \(3,\)"),
        ({**values, "scales.0": [1, np.nan]}, r"parameters\['scales.0'\] holds NaN"),
    ):
        with pytest.raises(ValueError, match=match):
            net.parameters = wrong
    net.parameters = {key: np.full(value.shape, 2) for key, value in values.items()}
    assert all((value == 2).all() for value in net.parameters.values())


def test_a_file_with_other_layers_is_refused():
    plain = layers.to_plain(ermin.Dense(2, 1))
    for wrong in ({**plain, "more": 1}, {"kind": "Dense"}):
        with pytest.raises(ValueError, match="a Dense is described by"):
            layers.from_plain(wrong)


# --------------------------------------------------------------------------------------------------- kernel machines


def hinge(scores, y):
    return np.maximum(0, 1 - np.where(y == 1, 1, -1) * scores).mean()


def random_features(k, rng_scale, **options):
    """cos and sin of random directions: a random linear map, then frequencies of 1 for each direction."""
    directions = ermin.Dense(2, k, learning_rate_factor=0.0)
    waves = ermin.PeriodicEmbedding(
        k, n_frequencies=1, n_outputs=2, keep_input=False, learning_rate_factor=0.0
    )
    net = ermin.MLP(layers=[directions, waves, ermin.Dense(2 * k, 1)], initializer="zeros", rng=0, **options)
    p = dict(net.parameters)
    p["weights.0"] = np.random.default_rng(1).normal(scale=rng_scale, size=(2, k))
    p["frequencies.0"] = np.full((k, 1), 1 / (2 * np.pi))
    p["periodic_weights.0"] = np.tile(np.eye(2), (k, 1, 1)) / np.sqrt(k)
    net.parameters = p
    return net


def test_random_features_approach_a_kernel_machine():
    # Rahimi and Recht 2007: Σ cos(wᵀ(x − y))/k over normal w approaches exp(−γ‖x − y‖²), w of variance 2γ. With k
    # frozen waves under hinge loss and l2 the network minimises what the machine does: ½‖w‖² + C·Σ hinge.
    X, y = make_moons(300, noise=0.2, random_state=0)
    gamma, C = 1.0, 1.0
    machine = SVC(C=C, gamma=gamma).fit(X, y)
    exact = machine.decision_function(X)
    gaps = []
    for k in (8, 32, 256):
        net = random_features(k, np.sqrt(2 * gamma), dtype="float64")
        features = {name: value.copy() for name, value in net.parameters.items()}
        options = {"batch_size": 300, "l2": 1 / C, "loss": "hinge"}
        ermin.fit(net, X, y, epochs=1500, optimizer=ermin.Adam(ermin.Cosine(0.1)), rng=0, **options)
        for name in ("weights.0", "frequencies.0", "periodic_weights.0"):
            np.testing.assert_array_equal(net.parameters[name], features[name])
        gaps.append(np.abs(net.logits(X)[:, 0] - exact).mean() / np.abs(exact).mean())
    assert gaps[2] < gaps[1] < gaps[0]
    assert gaps[2] < 0.1, gaps
    assert abs(hinge(net.logits(X)[:, 0], y) - hinge(exact, y)) < 0.02


def test_learned_features_beat_random_ones_where_features_matter():
    # The class is the sign of a fast wave in one of six columns: random frequencies are spread over all of them.
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(1500, 6))
    y = (np.sin(2 * np.pi * 1.7 * X[:, 2]) * np.sign(X[:, 4]) > 0).astype(int)
    errors = []
    for factor in (0.0, 1.0):
        embedding = ermin.PeriodicEmbedding(6, n_frequencies=4, scale=0.5, learning_rate_factor=factor)
        net = ermin.MLP(layers=[embedding, ermin.Dense(30, 24), act("relu"), ermin.Dense(24, 1)], rng=0)
        ermin.fit(net, X[:1000], y[:1000], loss="hinge", epochs=150, optimizer=ermin.Adam(0.01), rng=0)
        errors.append(((net.logits(X[1000:])[:, 0] > 0) != y[1000:]).mean())
    machine = SVC(C=10.0).fit(X[:1000], y[:1000])
    errors.append((machine.predict(X[1000:]) != y[1000:]).mean())
    random, learned, kernel = errors
    assert learned < 0.75 * min(random, kernel), errors


# What ends one of these on the way back may stand where the inputs were: the next epoch needs them again.
FIRST_LAYERS = {
    "dense": ([ermin.Dense(3, 4)], 4),
    "ntk": ([ermin.Dense(3, 4, parametrization="ntk")], 4),
    "scale": ([ermin.Scale(3)], 3),
    "activation": ([ermin.Activation("tanh")], 3),
    "parametric activation": ([ermin.Activation("mish", parametric=True)], 3),
    "periodic": ([ermin.PeriodicEmbedding(3, n_outputs=2)], 9),
    "columns": ([ermin.Columns([([0, 2], None), ([1], ermin.Scale(1))])], 3),
    "category": ([ermin.Columns([([0, 1], None), ([2], ermin.CategoryEmbedding(5, 2))])], 4),
}


@pytest.mark.parametrize("name", FIRST_LAYERS)
@pytest.mark.parametrize("batch_size", [7, 40, 700])
def test_epochs_in_the_same_order_are_the_steps_one_by_one(name, batch_size):
    first, width = FIRST_LAYERS[name]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 3)).astype(np.float32)
    X[:, 2] = rng.integers(0, 5, 700)
    y = (X[:, 0] > 0).astype(int)
    whole, stepwise = (
        ermin.MLP(layers=[*first, ermin.Dense(width, 2)], output="softmax", rng=0) for _ in range(2)
    )
    options = {"optimizer": ermin.SGD(0.1, momentum=0.9), "batch_size": batch_size}
    history = ermin.fit(whole, X, y, epochs=3, shuffle=False, **options)
    trainer = ermin.Trainer(stepwise, shuffle=False, **options)
    for epoch in range(3):
        parts = [slice(i, i + batch_size) for i in range(0, 700, batch_size)]
        losses = [len(y[part]) * trainer.step(X[part], y[part]) for part in parts]
        assert sum(losses) / 700 == pytest.approx(history.loss[epoch], rel=1e-12)
    np.testing.assert_array_equal(whole._vector, stepwise._vector)
