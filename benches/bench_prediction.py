"""`predict_proba` of 14-64-32-2, for one row and for 100,000, against peers with the same weights.

Run by ``make bench``. Every peer's probabilities are first shown to be ours.
"""

import numpy as np
import pytest

import ermin

SIZES = [14, 64, 32, 2]
FLOP = 2 * sum(a * b for a, b in zip(SIZES[:-1], SIZES[1:], strict=True))


def softmax(z, axis=1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def ermin_(net, X):
    return lambda: net.predict_proba(X)


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
    parameters = [(jax.numpy.asarray(w), jax.numpy.asarray(b)) for w, b in zip(net.weights, net.biases, strict=True)]

    @jax.jit
    def predict(x):
        for w, b in parameters[:-1]:
            x = jax.nn.relu(x @ w + b)
        return jax.nn.softmax(x @ parameters[-1][0] + parameters[-1][1])

    return lambda: np.asarray(predict(X))


def scikit_learn(net, X):
    neural_network = pytest.importorskip("sklearn.neural_network")
    model = neural_network.MLPClassifier(hidden_layer_sizes=SIZES[1:-1], max_iter=1, solver="sgd")
    model.fit(np.vstack([X[:1]] * 3), [0, 1, 2])
    model.coefs_, model.intercepts_ = list(net.weights), list(net.biases)
    model.n_outputs_, model.classes_ = 2, np.arange(2)
    model._label_binarizer.fit([0, 1])
    return lambda: model.predict_proba(X)


def onnx_runtime(net, X):
    runtime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    constants, nodes, name = [], [], "x"
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        constants += [onnx.numpy_helper.from_array(w.copy(), f"w{i}"), onnx.numpy_helper.from_array(b.copy(), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"z{i}"]))
        last = i == len(net.weights) - 1
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"z{i}"], [f"h{i}"]))
        name = f"h{i}"
    value = lambda name, width: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, width])  # noqa: E731
    graph = helper.make_graph(nodes, "mlp", [value("x", SIZES[0])], [value(name, SIZES[-1])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run([name], {"x": X})[0]


PEERS = {"ermin": ermin_, "NumPy": numpy, "JAX": jax, "scikit-learn": scikit_learn, "ONNX Runtime": onnx_runtime}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("n", [1, 100_000])
def bench_predict_proba(benchmark, compare, n, peer):
    benchmark.group = f"predict_proba of {n} rows"
    net = ermin.MLP(SIZES, output="softmax", rng=0)
    X = np.random.default_rng(0).normal(size=(n, SIZES[0])).astype(np.float32)
    run = PEERS[peer](net, X)
    np.testing.assert_allclose(run(), net.predict_proba(X), rtol=1e-3, atol=1e-5)
    benchmark(run)
    compare(f"predict_proba, {n:,} rows of 14-64-32-2", peer, benchmark.stats.stats.min, n * FLOP)
