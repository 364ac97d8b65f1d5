"""`predict_proba` of 14-64-32-2, for one row and for 100,000, against peers with the same weights.

Run by ``make bench``. Every peer's probabilities are first shown to be ours.
"""

import itertools
import time
import warnings

import numpy as np
import pytest

import ermin

SIZES = [14, 64, 32, 2]
FLOP = 2 * sum(a * b for a, b in itertools.pairwise(SIZES))


def softmax(z, axis=1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def numpy(net, X):
    weights, biases = net.weights, net.biases

    def run():
        a = X
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            a = a @ W
            a += b
            np.maximum(a, 0, out=a)
        return softmax(a @ weights[-1] + biases[-1])

    return run


def jax(net, X):
    jax = pytest.importorskip("jax")
    parameters = [
        (jax.numpy.asarray(w), jax.numpy.asarray(b)) for w, b in zip(net.weights, net.biases, strict=True)
    ]

    @jax.jit
    def predict(x):
        for w, b in parameters[:-1]:
            x = jax.nn.relu(x @ w + b)
        return jax.nn.softmax(x @ parameters[-1][0] + parameters[-1][1])

    return lambda: np.asarray(predict(X))


def scikit_learn(net, X):
    neural_network = pytest.importorskip("sklearn.neural_network")
    model = neural_network.MLPClassifier(
        hidden_layer_sizes=SIZES[1:-1], max_iter=1, solver="sgd", batch_size=2
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(np.vstack([X[:1], X[:1]]), [0, 1])
    # Of two classes it has the difference of the logits.
    *weights, last = net.weights
    *biases, end = net.biases
    model.coefs_ = [*weights, last[:, 1:] - last[:, :1]]
    model.intercepts_ = [*biases, end[1:] - end[:1]]
    return lambda: model.predict_proba(X)


def message(*fields):
    """A protocol buffer: numbers as varints, text and bytes with their length."""

    def varint(n):
        head = [n & 127 | 128] if n > 127 else [n]
        return bytes(head) + (varint(n >> 7) if n > 127 else b"")

    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        else:
            value = value.encode() if isinstance(value, str) else value
            parts.append(varint(number << 3 | 2) + varint(len(value)) + value)
    return b"".join(parts)


def onnx_model(net):
    """The network in ONNX's format (onnx.proto3 numbers the fields), so that the package onnx is not needed."""

    def tensor(name, array):
        dims = [(1, n) for n in array.shape]
        return message(*dims, (2, 1), (8, name), (9, np.ascontiguousarray(array).tobytes()))

    def value(name, width):
        shape = message((1, message((2, "n"))), (1, message((1, width))))
        return message((1, name), (2, message((1, message((1, 1), (2, shape))))))

    graph, x = [], "x"
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        z, h, kind = f"z{i}", f"h{i}", "Softmax" if i == len(net.weights) - 1 else "Relu"
        graph += [(5, tensor(f"w{i}", w)), (5, tensor(f"b{i}", b))]
        graph.append((1, message((1, x), (1, f"w{i}"), (1, f"b{i}"), (2, z), (4, "Gemm"))))
        graph.append((1, message((1, z), (2, h), (4, kind))))
        x = h
    graph += [(2, "network"), (11, value("x", SIZES[0])), (12, value(x, SIZES[-1]))]
    return message((1, 8), (7, message(*graph)), (8, message((1, ""), (2, 13)))), x


def onnx_runtime(net, X):
    runtime = pytest.importorskip("onnxruntime")
    model, output = onnx_model(net)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run([output], {"x": X})[0]


PEERS = {"NumPy": numpy, "JAX": jax, "scikit-learn": scikit_learn, "ONNX Runtime": onnx_runtime}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("n", [1, 100_000])
def bench_predict_proba(benchmark, compare, n, peer):
    benchmark.group = f"predict_proba of {n} rows"
    net = ermin.MLP(SIZES, output="softmax", rng=0)
    X = np.random.default_rng(0).normal(size=(n, SIZES[0])).astype(np.float32)
    run = PEERS[peer](net, X)
    np.testing.assert_allclose(run(), net.predict_proba(X), rtol=1e-3, atol=1e-5)
    times = 500 if n == 1 else 1
    shortest = np.inf

    def in_turn():
        nonlocal shortest
        start = time.perf_counter()
        for _ in range(times):
            net.predict_proba(X)
        shortest = min(shortest, (time.perf_counter() - start) / times)

    benchmark.pedantic(lambda: [run() for _ in range(times)], setup=in_turn, rounds=40, iterations=1)
    compare(f"predict_proba, {n:,} rows of 14-64-32-2", peer, benchmark, times, shortest, n * FLOP)
