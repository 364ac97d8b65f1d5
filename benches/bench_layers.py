"""Layers other than plain dense ones, against JAX: one compiled scan over the whole fit, from the same parameters.

Run by ``make bench``. The losses of three epochs are shown to agree before anything is timed. Operations are those of
the dense layers alone, so that the table shows what the other layers cost beside them.
"""

import copy
import time

import numpy as np
import pytest

import ermin

BATCH, ROWS = 256, 2560
LEVELS = (50, 12)


def dense_mish(n_in, n_out):
    """A block of a network for tables as Holzmüller et al. (2024) build it."""
    return [ermin.Dense(n_in, n_out, parametrization="ntk"), ermin.Activation("mish", parametric=True)]


NETWORKS = {
    "PeriodicEmbedding(8), 40-64-3": [
        ermin.PeriodicEmbedding(8),
        ermin.Dense(40, 64),
        ermin.Activation("relu"),
        ermin.Dense(64, 3),
    ],
    "6 numbers, CategoryEmbedding(50, 8) and (12, 4), 18-64-3": [
        ermin.Columns(
            [
                (list(range(6)), None),
                ([6], ermin.CategoryEmbedding(LEVELS[0], 8)),
                ([7], ermin.CategoryEmbedding(LEVELS[1], 4)),
            ]
        ),
        ermin.Dense(18, 64),
        ermin.Activation("relu"),
        ermin.Dense(64, 3),
    ],
    "Scale(8), ntk, parametric mish, 8-256-256-3": [
        ermin.Scale(8),
        *dense_mish(8, 256),
        *dense_mish(256, 256),
        ermin.Dense(256, 3, parametrization="ntk"),
    ],
}


def forward(jnp, layers, parameters, x):
    """The logits, by the parameters' names."""
    counts = {}

    def next_of(kind):
        counts[kind] = counts.get(kind, -1) + 1
        return parameters[f"{kind}.{counts[kind]}"]

    for layer in layers:
        match layer:
            case ermin.Columns():
                numbers, first, second = x[:, :6], x[:, 6].astype(int), x[:, 7].astype(int)
                tables = next_of("embeddings"), next_of("embeddings")
                x = jnp.concatenate([numbers, tables[0][first], tables[1][second]], axis=1)
            case ermin.PeriodicEmbedding():
                angles = 2 * np.pi * x[:, :, None] * next_of("frequencies")
                waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=2)
                out = jnp.einsum("nif,ifo->nio", waves, next_of("periodic_weights"))
                out = out + next_of("periodic_biases")
                x = jnp.concatenate([out, x[:, :, None]], axis=2).reshape(len(x), -1)
            case ermin.Scale():
                x = x * next_of("scales")
            case ermin.Dense():
                unit = layer.n_in**-0.5 if layer.parametrization == "ntk" else 1.0
                x = x @ next_of("weights") * unit + next_of("biases")
            case ermin.Activation(parametric=True):
                mish = x * jnp.tanh(jnp.logaddexp(x, 0))
                x = x + next_of("alphas") * (mish - x)
            case ermin.Activation():
                x = jnp.maximum(x, 0)
    return x


def jax_fit(net, X, y, epochs):
    jax = pytest.importorskip("jax")
    jnp, tree = jax.numpy, jax.tree.map
    X, y = (jnp.asarray(a.reshape(ROWS // BATCH, BATCH, *a.shape[1:])) for a in (X, y))
    start = {name: jnp.asarray(array) for name, array in net.parameters.items()}

    def loss(parameters, x, y):
        z = forward(jnp, net.layers, parameters, x)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))

    def step(state, part):
        parameters, first, second, t = state
        value, g = jax.value_and_grad(loss)(parameters, *part)
        t = t + 1
        first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, g)
        second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, second, g)
        a, b = 1e-3 / (1 - 0.9**t), 1 / (1 - 0.999**t)
        update = lambda p, m, v: p - a * m / (jnp.sqrt(b * v) + 1e-8)  # noqa: E731 - a formula
        return (tree(update, parameters, first, second), first, second, t), value

    @jax.jit
    def fit(parameters):
        zeros = tree(jnp.zeros_like, parameters)

        def epoch(state, _):
            state, values = jax.lax.scan(step, state, (X, y))
            return state, values.mean()

        return jax.lax.scan(epoch, (parameters, zeros, zeros, jnp.float32(0)), None, length=epochs)[1]

    return lambda: np.asarray(fit(start))


def ermin_fit(net, X, y, epochs):
    options = {"batch_size": BATCH, "shuffle": False, "n_threads": 1}
    return lambda: ermin.fit(copy.copy(net), X, y, epochs=epochs, optimizer=ermin.Adam(1e-3), **options).loss


@pytest.mark.parametrize("name", NETWORKS)
def bench_layers(benchmark, compare, name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 8)).astype(np.float32)
    y = X[:, :3].argmax(axis=1)
    if "Category" in name:
        X[:, 6:] = rng.integers(0, LEVELS, size=(ROWS, 2))
    net = ermin.MLP(layers=NETWORKS[name], output="softmax", rng=0)
    np.testing.assert_allclose(jax_fit(net, X, y, 3)(), ermin_fit(net, X, y, 3)(), rtol=2e-3)
    epochs = 2
    theirs, ours = jax_fit(net, X, y, epochs), ermin_fit(net, X, y, epochs)
    theirs()
    shortest = np.inf

    def in_turn():
        nonlocal shortest
        start = time.perf_counter()
        ours()
        shortest = min(shortest, time.perf_counter() - start)

    benchmark.pedantic(theirs, setup=in_turn, rounds=60)
    flop = BATCH * sum(6 * w.size for w in net.weights)
    steps = ROWS // BATCH * epochs
    compare(f"training, a step of {name}, batch {BATCH}", "JAX", benchmark, steps, shortest / steps, flop)
