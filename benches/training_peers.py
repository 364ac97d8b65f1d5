"""The peers of bench_training.py, each at its best on one core, from the same weights, in the same order of rows.

A peer is a function of (task, epochs) that prepares everything (also its compilation) and returns a function without
arguments that trains from the beginning and returns the loss of each epoch.
"""

import numpy as np
import pytest


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


def batches(task):
    return [
        (task.X[i : i + task.batch], task.y[i : i + task.batch]) for i in range(0, len(task.X), task.batch)
    ]


def numpy(task, epochs):
    parts = batches(task)

    def run():
        network = NumPyNetwork(
            task.net(), task.batch, task.learning_rate, np.float32(task.momentum) if task.momentum else None
        )
        return [np.mean([network.step(x, y) for x, y in parts]) for _ in range(epochs)]

    return run


def jax(task, epochs):
    """One compiled scan over the whole fit."""
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    net = task.net()
    steps = len(task.X) // task.batch
    X = jnp.asarray(task.X.reshape(steps, task.batch, -1))
    y = jnp.asarray(task.y.reshape(steps, task.batch, *task.y.shape[1:]))
    start = [(jnp.asarray(w), jnp.asarray(b)) for w, b in zip(net.weights, net.biases, strict=True)]
    hidden = jnp.tanh if task.activation == "tanh" else jax.nn.relu
    rate, momentum = task.learning_rate, task.momentum

    def loss(parameters, x, y):
        for w, b in parameters[:-1]:
            x = hidden(x @ w + b)
        z = x @ parameters[-1][0] + parameters[-1][1]
        if task.output == "softmax":
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))
        return 0.5 * jnp.mean(jnp.sum((z - y) ** 2, axis=1))

    def step(state, part):
        parameters, first, second, t = state
        value, g = jax.value_and_grad(loss)(parameters, *part)
        tree = jax.tree.map
        if momentum:
            first = tree(lambda v, g: momentum * v - rate * g, first, g)
            return (tree(jnp.add, parameters, first), first, second, t), value
        t = t + 1
        first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, g)
        second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, second, g)
        a, b = rate / (1 - 0.9**t), 1 / (1 - 0.999**t)
        update = lambda p, m, v: p - a * m / (jnp.sqrt(b * v) + 1e-8)  # noqa: E731 - a formula
        return (tree(update, parameters, first, second), first, second, t), value

    @jax.jit
    def fit(parameters):
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        state = (parameters, zeros, zeros, jnp.float32(0))

        def epoch(state, _):
            state, values = jax.lax.scan(step, state, (X, y))
            return state, values.mean()

        return jax.lax.scan(epoch, state, None, length=epochs)[1]

    fit(start).block_until_ready()
    return lambda: np.asarray(fit(start))


def scikit_learn(task, epochs):
    neural_network = pytest.importorskip("sklearn.neural_network")
    import warnings

    kind = neural_network.MLPClassifier if task.output == "softmax" else neural_network.MLPRegressor
    net = task.net()
    model = kind(
        hidden_layer_sizes=task.sizes[1:-1],
        activation=task.activation,
        solver="sgd" if task.momentum else "adam",
        alpha=0,
        batch_size=task.batch,
        learning_rate_init=task.learning_rate,
        max_iter=1,
        shuffle=False,
        warm_start=True,
        tol=0,
        n_iter_no_change=10**9,
        momentum=task.momentum or 0.9,
        nesterovs_momentum=False,
    )
    y = task.y[:, 0] if task.y.ndim == 2 and task.y.shape[1] == 1 else task.y

    def run():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.coefs_ = [w.copy() for w in net.weights]
            model.intercepts_ = [b.copy() for b in net.biases]
            model.loss_curve_, model.n_iter_, model.t_ = [], 0, 0
            model.max_iter = epochs
            model.fit(task.X, y)
        # Its squared error is the mean over the outputs.
        return np.array(model.loss_curve_) * (1 if task.output == "softmax" else task.sizes[-1])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(task.X, y)
    if task.output == "softmax" and task.sizes[-1] == 2:
        pytest.skip("scikit-learn has one logistic output for two classes: another network")
    return run


def pytorch(task, epochs):
    """Eager, with the fused optimiser."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    net = task.net()
    parts = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches(task)]

    def run():
        layers = []
        for w, b in zip(net.weights, net.biases, strict=True):
            linear = torch.nn.Linear(*w.shape)
            linear.weight.data = torch.from_numpy(w.T.copy())
            linear.bias.data = torch.from_numpy(b.copy())
            layers += [linear, torch.nn.Tanh() if task.activation == "tanh" else torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        if task.momentum:
            optimizer = torch.optim.SGD(
                model.parameters(), lr=task.learning_rate, momentum=task.momentum, fused=True
            )
        else:
            optimizer = torch.optim.Adam(model.parameters(), lr=task.learning_rate, fused=True)
        losses = []
        for _ in range(epochs):
            total = 0.0
            for x, y in parts:
                z = model(x)
                if task.output == "softmax":
                    loss = torch.nn.functional.cross_entropy(z, y)
                else:
                    loss = 0.5 * ((z - y) ** 2).sum(dim=1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
            losses.append(total / len(parts))
        return np.array(losses)

    return run


def numba(task, epochs):
    """Loops over one hidden layer of tanh, one output, Adam, compiled: for the smallest task only."""
    if len(task.sizes) != 3 or task.sizes[-1] != 1 or len(task.X) != task.batch:
        pytest.skip("written for one hidden layer, one output and full batches")
    njit = pytest.importorskip("numba").njit

    @njit(fastmath=True)
    def fit(x, y, w, b, u, c, rate, epochs):
        n, inputs = x.shape
        hidden = len(b)
        size = inputs * hidden + 2 * hidden + 1
        p, g = np.empty(size, np.float32), np.empty(size, np.float32)
        m, v = np.zeros(size, np.float32), np.zeros(size, np.float32)
        p[: inputs * hidden] = w.ravel()
        p[inputs * hidden : -hidden - 1] = b
        p[-hidden - 1 : -1] = u
        p[-1] = c
        h = np.empty(hidden, np.float32)
        losses = np.empty(epochs)
        first, second = np.float32(1), np.float32(1)
        for epoch in range(epochs):
            g[:] = 0
            total = np.float32(0)
            for s in range(n):
                z = p[-1]
                for j in range(hidden):
                    sum_ = p[inputs * hidden + j]
                    for i in range(inputs):
                        sum_ += x[s, i] * p[i * hidden + j]
                    h[j] = np.tanh(sum_)
                    z += h[j] * p[size - hidden - 1 + j]
                d = z - y[s]
                total += np.float32(0.5) * d * d
                d /= np.float32(n)
                g[-1] += d
                for j in range(hidden):
                    g[size - hidden - 1 + j] += d * h[j]
                    e = d * p[size - hidden - 1 + j] * (np.float32(1) - h[j] * h[j])
                    g[inputs * hidden + j] += e
                    for i in range(inputs):
                        g[i * hidden + j] += e * x[s, i]
            losses[epoch] = total / n
            first *= np.float32(0.9)
            second *= np.float32(0.999)
            a, r = rate / (np.float32(1) - first), np.float32(1) / (np.float32(1) - second)
            for k in range(size):
                m[k] = np.float32(0.9) * m[k] + np.float32(0.1) * g[k]
                v[k] = np.float32(0.999) * v[k] + np.float32(0.001) * g[k] * g[k]
                p[k] -= a * m[k] / (np.sqrt(v[k] * r) + np.float32(1e-8))
        return losses

    net = task.net()
    (w, u), (b, c) = net.weights, net.biases
    arguments = (task.X, task.y[:, 0], w, b, u[:, 0], c[0], np.float32(task.learning_rate), epochs)
    fit(*arguments)
    return lambda: fit(*arguments)
