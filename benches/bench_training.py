"""Training small networks, against the peers of training_peers.py: the smallest to 784-800-10.

Run by ``make bench``. Before anything is timed, the losses of a short run from the same weights are shown to agree. A
figure is that of a step, or of an epoch where a step is one; the table at the end gives ratios, and operations a second
against what the processor does in registers.
"""

import copy
import itertools
import time
from dataclasses import dataclass

import numpy as np
import pytest
import training_peers

import ermin


@dataclass(frozen=True)
class Task:
    """A network, its table, and how it learns: momentum for SGD, none for Adam."""

    name: str
    sizes: tuple
    rows: int
    batch: int
    learning_rate: float = 1e-3
    momentum: float | None = None
    activation: str = "relu"
    output: str = "softmax"
    epochs: int = 10

    def net(self):
        return ermin.MLP(list(self.sizes), activation=self.activation, output=self.output, rng=0)

    @property
    def X(self):  # noqa: N802 - what scikit-learn calls it
        if self.rows == 4:
            return np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        return np.random.default_rng(0).normal(size=(self.rows, self.sizes[0])).astype(np.float32)

    @property
    def y(self):
        X = self.X
        if self.rows == 4:
            return (X[:, :1] != X[:, 1:]).astype(np.float32)
        if self.output == "softmax":
            return (X[:, : self.sizes[-1]] + 0.3 * X[:, ::-1][:, : self.sizes[-1]]).argmax(axis=1)
        return np.sin(X + X[:, ::-1]).astype(np.float32)

    @property
    def steps(self):
        return self.rows // self.batch * self.epochs

    @property
    def flop(self):
        """Of a step: a multiplication and an addition a weight and row forward, as many for dW and for dX."""
        pairs = list(zip(self.sizes[:-1], self.sizes[1:], strict=True))
        return self.batch * sum(2 * (2 if i == 0 else 3) * a * b for i, (a, b) in enumerate(pairs))


TASKS = [
    Task("2-8-1 tanh, batch 4, Adam", (2, 8, 1), 4, 4, 0.01, None, "tanh", "identity", 5000),
    Task("11-64-32-3, batch 32, SGD with momentum", (11, 64, 32, 3), 3200, 32, 0.01, 0.9, epochs=5),
    Task(
        "4-32-16-4 tanh, batch 10,000, Adam",
        (4, 32, 16, 4),
        10_000,
        10_000,
        1e-3,
        None,
        "tanh",
        "identity",
        100,
    ),
    Task("64-100-10, batch 200, Adam", (64, 100, 10), 1400, 200, epochs=4),
    Task("105-128-128-2, batch 256, Adam", (105, 128, 128, 2), 9984, 256, epochs=2),
    # What a fit costs once (its memory, a look at every number) is 1 ms: an epoch of ten steps would not be a fit.
    Task("784-256-128-10, batch 128, Adam", (784, 256, 128, 10), 1280, 128, epochs=5),
    Task("784-800-10, batch 128, Adam", (784, 800, 10), 1280, 128, epochs=5),
]


def ermin_fit(task, epochs):
    optimizer = (
        ermin.SGD(task.learning_rate, momentum=task.momentum)
        if task.momentum
        else ermin.Adam(task.learning_rate)
    )
    X, y, net = task.X, task.y, task.net()
    options = {"batch_size": task.batch, "shuffle": False, "optimizer": optimizer, "n_threads": 1}

    def run():
        return ermin.fit(copy.copy(net), X, y, epochs=epochs, **options).loss

    return run


PEERS = {
    "NumPy": training_peers.numpy,
    "JAX": training_peers.jax,
    "Numba": training_peers.numba,
    "scikit-learn": training_peers.scikit_learn,
    "PyTorch": training_peers.pytorch,
}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def bench_training(benchmark, compare, task, peer):
    """A peer, and in turn with it ermin: a busy machine slows both."""
    benchmark.group = task.name
    # The slowest peers would take minutes for as many epochs as the fastest needs for a figure.
    slow = peer in ("NumPy", "scikit-learn", "PyTorch")
    epochs = max(task.epochs // 20, 1) if slow else task.epochs
    run, ours = PEERS[peer](task, epochs), ermin_fit(task, task.epochs)
    np.testing.assert_allclose(PEERS[peer](task, 3)(), ermin_fit(task, 3)(), rtol=2e-3)
    shortest = np.inf

    def in_turn():
        nonlocal shortest
        start = time.perf_counter()
        ours()
        shortest = min(shortest, time.perf_counter() - start)

    benchmark.pedantic(run, setup=in_turn, rounds=10 if slow else 60, iterations=1)
    steps = task.rows // task.batch
    compare(
        f"training, a step of {task.name}",
        peer,
        benchmark,
        steps * epochs,
        shortest / task.steps,
        task.flop,
    )


# ---------------------------------------------------------------------------------------------------- a step by itself

# The steps from Python repeat one batch. So small a learning rate keeps it from being learned by heart: gradients would
# become denormal numbers, and the processor's handling of those would be what is measured.
SLOWLY = 1e-6


@pytest.mark.benchmark(group="a step from Python, 11-64-32-3 batch 32")
def bench_trainer_step(benchmark):
    task = TASKS[1]
    trainer = ermin.Trainer(task.net(), optimizer=ermin.SGD(SLOWLY, momentum=0.9))
    benchmark(trainer.step, task.X[: task.batch], task.y[: task.batch])


@pytest.mark.benchmark(group="a step from Python, 11-64-32-3 batch 32")
def bench_numpy_step(benchmark):
    task = TASKS[1]
    theirs = training_peers.NumPyNetwork(task.net(), task.batch, SLOWLY, np.float32(0.9))
    benchmark(theirs.step, task.X[: task.batch], task.y[: task.batch])


# ------------------------------------------------------------------------------------------------------- an odd network


def bench_an_odd_shape(benchmark, compare):
    """7-61-29-3, batch 37, weights, Fortran float64 X, shuffled, validated: against 8-64-32-4, batch 48, and nothing
    of all this. Both count the operations that their shapes ask for, the validation's too."""
    rng = np.random.default_rng(0)

    def prepare(sizes, n, batch, odd):
        X = np.asfortranarray(rng.normal(size=(n, sizes[0])))
        y = X[:, : sizes[-1]].argmax(axis=1)
        net = ermin.MLP(sizes, activation="gelu", output="softmax", rng=0)
        options = {"batch_size": batch, "epochs": 2, "optimizer": ermin.Adam(), "rng": 0, "n_threads": 1}
        if odd:
            weights = rng.uniform(0.5, 1.5, size=n)
            options |= {"sample_weight": weights, "validation": (X[:370], y[:370], weights[:370])}
        else:
            X = np.ascontiguousarray(X, dtype=np.float32)
            options |= {"shuffle": False}
        products = sum(a * b for a, b in itertools.pairwise(sizes))
        flop = 2 * n * (6 * products - 2 * sizes[0] * sizes[1]) + (2 * 370 * 2 * products if odd else 0)
        return (lambda: ermin.fit(net, X, y, **options)), flop

    odd, odd_flop = prepare([7, 61, 29, 3], 37 * 100, 37, odd=True)
    plain, plain_flop = prepare([8, 64, 32, 4], 48 * 100, 48, odd=False)
    shortest = np.inf

    def in_turn():
        nonlocal shortest
        start = time.perf_counter()
        plain()
        shortest = min(shortest, time.perf_counter() - start)

    benchmark.pedantic(odd, setup=in_turn, rounds=60)
    group = "a million operations of a plain network, and of an odd one"
    compare(group, "odd", benchmark, odd_flop / 1e6, 1e6 * shortest / plain_flop, 1e6)
