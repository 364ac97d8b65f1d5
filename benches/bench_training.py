"""A step and an epoch of small networks, against NumPy at its best: float32, preallocated, in place.

Run by ``make bench``. Every pair is first shown to compute the same: the losses of a short run agree to float32's
precision. Figures are per step or per epoch.
"""

import numpy as np
import pytest

import ermin


class NumPyNetwork:
    """relu or tanh hidden layers; softmax and cross-entropy, or squared error; every array allocated once."""

    def __init__(self, net, batch, learning_rate, momentum=None):
        self.W = [w.copy() for w in net.weights]
        self.b = [b.copy() for b in net.biases]
        self.tanh = "tanh" in net.activation
        self.softmax = net.output == "softmax"
        self.learning_rate, self.momentum, self.t = np.float32(learning_rate), momentum, 0
        self.h = [np.empty((batch, n), np.float32) for n in net.sizes[1:]]
        self.d = [np.empty((batch, n), np.float32) for n in net.sizes[1:]]
        self.mask = [np.empty((batch, n), bool) for n in net.sizes[1:]]
        self.parameters = [p for pair in zip(self.W, self.b, strict=True) for p in pair]
        self.gradients = [np.empty_like(p) for p in self.parameters]
        self.first = [np.zeros_like(p) for p in self.parameters]
        self.second = [np.zeros_like(p) for p in self.parameters]
        self.scratch = [np.empty_like(p) for p in self.parameters]
        self.rows = np.arange(batch)
        self.column = np.empty((batch, 1), np.float32)

    def step(self, x, y):
        h, d, last = self.h, self.d, len(self.W) - 1
        a = x
        for layer, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            np.matmul(a, W, out=h[layer])
            h[layer] += b
            if layer < last:
                np.tanh(h[layer], out=h[layer]) if self.tanh else np.maximum(h[layer], 0, out=h[layer])
            a = h[layer]
        n = len(x)
        if self.softmax:
            np.max(a, axis=1, keepdims=True, out=self.column)
            np.subtract(a, self.column, out=d[last])
            picked = d[last][self.rows, y]
            np.exp(d[last], out=d[last])
            np.sum(d[last], axis=1, keepdims=True, out=self.column)
            d[last] /= self.column
            loss = float((np.log(self.column[:, 0]) - picked).mean())
            d[last][self.rows, y] -= 1
        else:
            np.subtract(a, y, out=d[last])
            loss = float(0.5 * np.vdot(d[last], d[last]) / n)
        d[last] *= np.float32(1 / n)
        for layer in range(last, -1, -1):
            np.matmul((h[layer - 1] if layer else x).T, d[layer], out=self.gradients[2 * layer])
            np.sum(d[layer], axis=0, out=self.gradients[2 * layer + 1])
            if layer:
                np.matmul(d[layer], self.W[layer].T, out=d[layer - 1])
                below = h[layer - 1]
                if self.tanh:
                    np.multiply(below, below, out=below)
                    np.subtract(1, below, out=below)
                    d[layer - 1] *= below
                else:
                    np.greater(below, 0, out=self.mask[layer - 1])
                    d[layer - 1] *= self.mask[layer - 1]
        self.momentum_update() if self.momentum is not None else self.adam_update()
        return loss

    def momentum_update(self):
        for p, g, v in zip(self.parameters, self.gradients, self.first, strict=True):
            v *= self.momentum
            g *= self.learning_rate
            v -= g
            p += v

    def adam_update(self):
        self.t += 1
        rate = self.learning_rate / np.float32(1 - 0.9**self.t)
        root = np.float32(1 / (1 - 0.999**self.t))
        for p, g, m, v, s in zip(
            self.parameters, self.gradients, self.first, self.second, self.scratch, strict=True
        ):
            m *= np.float32(0.9)
            np.multiply(g, np.float32(0.1), out=s)
            m += s
            v *= np.float32(0.999)
            np.multiply(g, g, out=g)
            g *= np.float32(0.001)
            v += g
            np.multiply(v, root, out=s)
            np.sqrt(s, out=s)
            s += np.float32(1e-8)
            np.divide(m, s, out=s)
            s *= rate
            p -= s


def task(name):
    """(network, X, y, batch, optimiser of ours, arguments of NumPy's) of a task of DESIGN's table."""
    rng = np.random.default_rng(0)
    if name == "11-64-32-3":
        X = rng.normal(size=(3200, 11)).astype(np.float32)
        y = (X[:, :3] + 0.3 * rng.normal(size=(3200, 3))).argmax(axis=1)
        net = ermin.MLP([11, 64, 32, 3], output="softmax", rng=0)
        return (
            net,
            X,
            y,
            32,
            ermin.SGD(0.01, momentum=0.9),
            {"learning_rate": 0.01, "momentum": np.float32(0.9)},
        )
    X = rng.normal(size=(10_000, 4)).astype(np.float32)
    y = np.sin(X + X[:, ::-1]).astype(np.float32)
    net = ermin.MLP([4, 32, 16, 4], activation="tanh", rng=0)
    return net, X, y, 10_000, ermin.Adam(1e-3), {"learning_rate": 1e-3}


def numpy_epoch(model, X, y, batch):
    return sum(model.step(X[i : i + batch], y[i : i + batch]) for i in range(0, len(X), batch)) / (
        len(X) // batch
    )


@pytest.fixture(
    params=["11-64-32-3", "4-32-16-4"], ids=["11-64-32-3 batch 32 SGD", "4-32-16-4 full batch Adam"]
)
def pair(request):
    """An epoch of ours and of NumPy's on the same task, after showing that five of them agree."""
    net, X, y, batch, optimizer, arguments = task(request.param)
    theirs = NumPyNetwork(net, batch, **arguments)
    options = {"batch_size": batch, "shuffle": False, "optimizer": optimizer, "n_threads": 1}
    losses = ermin.fit(net, X, y, epochs=5, **options).loss
    np.testing.assert_allclose(losses, [numpy_epoch(theirs, X, y, batch) for _ in range(5)], rtol=1e-4)
    return net, theirs, X, y, batch, options


EPOCHS = 10


@pytest.mark.benchmark(group="training: ten epochs")
def bench_ermin(benchmark, pair):
    net, _, X, y, _, options = pair
    benchmark(ermin.fit, net, X, y, epochs=EPOCHS, **options)


@pytest.mark.benchmark(group="training: ten epochs")
def bench_numpy(benchmark, pair):
    _, theirs, X, y, batch, _ = pair
    benchmark(lambda: [numpy_epoch(theirs, X, y, batch) for _ in range(EPOCHS)])


# The steps from Python repeat one batch. So small a learning rate keeps it from being learned by heart: gradients would
# become denormal numbers, and the processor's handling of those would be what is measured.
SLOWLY = 1e-6


@pytest.mark.benchmark(group="training: one step from Python, 11-64-32-3 batch 32")
def bench_trainer_step(benchmark):
    net, X, y, batch, _, _ = task("11-64-32-3")
    trainer = ermin.Trainer(net, optimizer=ermin.SGD(SLOWLY, momentum=0.9))
    benchmark(trainer.step, X[:batch], y[:batch])


@pytest.mark.benchmark(group="training: one step from Python, 11-64-32-3 batch 32")
def bench_numpy_step(benchmark):
    net, X, y, batch, _, _ = task("11-64-32-3")
    theirs = NumPyNetwork(net, batch, learning_rate=SLOWLY, momentum=np.float32(0.9))
    benchmark(theirs.step, X[:batch], y[:batch])
