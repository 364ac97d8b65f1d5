"""Tables in any form: dense in any strides, sparse, memory-mapped; the same bits, and no copy of the whole."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse as sp

import ermin
from ermin import _arrays

FORMATS = ["csr", "csc", "coo", "bsr", "lil", "dok"]


def vector(net):
    return np.concatenate([p.ravel() for p in net.parameters.values()])


def sparse_table(n=300, d=7, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * (rng.random((n, d)) < 0.3)
    return X, rng.integers(3, size=n)


def everything(X, y, dtype="float32"):
    """Whatever takes a table, as one tuple of arrays."""
    net = ermin.MLP([X.shape[1], 5, 3], output="softmax", dtype=dtype, rng=0)
    loss, weights, biases = net.gradient(X, y)
    seen = [net.logits(X), net.predict(X), net.predict_proba(X), net.loss(X, y), loss, *weights, *biases]
    history = ermin.fit(net, X, y, validation=0.3, epochs=2, batch_size=64, mixup_alpha=0.3, rng=0)
    seen += [vector(net), history.loss, history.validation_loss]
    history = ermin.fit(net, X, y, validation=(X, y), epochs=1, batch_size=280, rng=0)
    trainer = ermin.Trainer(net, rng=0)
    return [*seen, history.validation_loss, trainer.step(X, y), trainer.epoch(X, y), vector(net)]


# ---------------------------------------------------------------------------------------------------------- sparse


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("name", FORMATS)
def test_sparse_rows_give_the_bits_of_dense_ones(name, kind):
    X, y = sparse_table()
    sparse = getattr(sp, f"{name}_{kind}")(X)
    for got, expected in zip(everything(sparse, y), everything(X, y), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "u8", "f4", "f8", ">f8", "g"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_elements_and_indices_of_any_type(dtype, index):
    X, y = sparse_table()
    X = (10 * np.abs(X)).astype(dtype)
    sparse = sp.csr_array(X.astype(np.dtype(dtype).newbyteorder("=")))
    sparse.data = sparse.data.astype(dtype)
    sparse.indices, sparse.indptr = sparse.indices.astype(index), sparse.indptr.astype(index)
    dense = X.astype(float) if dtype in (">f8", "g") else X
    for network_dtype in ("float32", "float64"):
        pairs = zip(everything(sparse, y, network_dtype), everything(dense, y, network_dtype), strict=True)
        for got, expected in pairs:
            np.testing.assert_array_equal(got, expected)


def test_unsorted_and_repeated_elements_are_added():
    sparse = sp.csr_array((np.array([4.0, 1.0, 2.0, 8.0]), [2, 0, 2, 1], [0, 3, 3, 4]), shape=(3, 3))
    assert not sparse.has_canonical_format
    net = ermin.MLP([3, 3], rng=0)
    net.weights = [np.eye(3)]
    np.testing.assert_array_equal(net.predict(sparse), [[1, 0, 6], [0, 0, 0], [0, 8, 0]])
    np.testing.assert_array_equal(sparse.data, [4, 1, 2, 8])


def test_any_object_with_the_parts_of_csr_will_do():
    class Own:
        ndim, shape = 2, (2, 3)
        data, indices, indptr = np.array([5.0]), np.array([1]), np.array([0, 0, 1])

        def tocsr(self):
            return self

    net = ermin.MLP([3, 3], rng=0)
    net.weights = [np.eye(3)]
    np.testing.assert_array_equal(net.predict(Own()), [[0, 0, 0], [0, 5, 0]])


def test_sparse_rows_share_the_matrix_memory():
    sparse = sp.csr_array(sparse_table()[0])
    rows = _arrays.table(sparse, "X", 7)
    for part in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(rows, part), getattr(sparse, part))


@pytest.mark.parametrize(
    ("data", "indices", "indptr", "match"),
    [
        ([1.0, 2.0], [0, 3], [0, 1, 2], r"X must have column numbers \(indices\) from 0"),
        ([1.0, 2.0], [0, -1], [0, 1, 2], r"X must have column numbers \(indices\) from 0"),
        ([1.0, 2.0], [0, 1], [0, 9, 2], r"X must have row ends \(indptr\) that ascend"),
        ([1.0, 2.0], [0, 1], [1, 1, 2], r"X must have row ends \(indptr\) that ascend"),
        ([1.0, 2.0], [0, 1], [0, 1, 7], r"X must have row ends \(indptr\) that ascend"),
        ([1.0, np.nan], [0, 2], [0, 1, 2], r"X\[1, 2\] is NaN, but must be finite"),
    ],
)
def test_sparse_parts_that_do_not_go_together_are_refused(data, indices, indptr, match):
    sparse = sp.csr_array((2, 3))
    sparse.data, sparse.indices, sparse.indptr = np.array(data), np.array(indices), np.array(indptr)
    net = ermin.MLP([3, 2], output="softmax", rng=0)
    before = vector(net)
    for call in (
        net.predict,
        lambda X: ermin.fit(net, X, [0, 1]),
        lambda X: ermin.Trainer(net).step(X, [0, 1]),
    ):
        with pytest.raises(ValueError, match=match):
            call(sparse)
    np.testing.assert_array_equal(vector(net), before)


def test_sparse_tables_of_another_width_or_of_complex_numbers_are_refused():
    net = ermin.MLP([3, 2], output="softmax", rng=0)
    with pytest.raises(ValueError, match="X has 4 columns, but the network has 3 inputs"):
        net.predict(sp.csr_array((2, 4)))
    with pytest.raises(TypeError, match="X has dtype complex128, but must hold real numbers"):
        net.predict(sp.csr_array(np.full((2, 3), 1j)))


def test_sparse_rows_may_be_none():
    assert ermin.MLP([3, 2], rng=0).predict(sp.csr_array((0, 3))).shape == (0, 2)


# ----------------------------------------------------------------------------------------------------------- dense


@pytest.mark.parametrize(
    "layout", ["F", "reversed", "every other", "memmap", "record", "broadcast", "swapped"]
)
def test_dense_rows_in_any_layout_give_the_bits_of_contiguous_ones(layout, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 4)), rng.dirichlet(np.ones(3), size=300)
    if layout == "memmap":
        X.tofile(tmp_path / "X")
        view = np.memmap(tmp_path / "X", dtype=float, mode="r", shape=X.shape)
        targets = np.asfortranarray(y)
    elif layout == "record":
        table = np.zeros(300, dtype=[("X", float, 4), ("pad", np.int16), ("y", float, 3)])
        table["X"], table["y"] = X, y
        view, targets = table["X"], table["y"]
    elif layout == "broadcast":
        view, targets = np.broadcast_to(X[0], X.shape), np.broadcast_to(y[0], y.shape)
    elif layout == "swapped":
        view, targets = X.astype(">f8"), y.astype(">f8")
    else:
        view, targets = (
            {
                "F": np.asfortranarray(a),
                "reversed": np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
                "every other": np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
            }[layout]
            for a in (X, y)
        )
    plain = np.ascontiguousarray(view, dtype=float), np.ascontiguousarray(targets, dtype=float)
    for got, expected in zip(everything(view, targets), everything(*plain), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i8", "u4", "f2", "f4"])
def test_targets_of_any_type_give_the_bits_of_float64(dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 3)), rng.integers(2, size=(90, 2)).astype(dtype)
    seen = []
    for targets in (y, y.astype(float)):
        net = ermin.MLP([3, 4, 2], output="sigmoid", rng=0)
        history = ermin.fit(net, X, targets, validation=0.2, epochs=2, rng=0)
        seen.append((vector(net), history.loss))
    for got, expected in zip(*seen, strict=True):
        np.testing.assert_array_equal(got, expected)


# ---------------------------------------------------------------------------------------------------------- memory

MEASURE = """
import ctypes, json, sys
import numpy as np
import ermin
import scipy.sparse as sp

n, d, widths, form, batch_size = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
y = rng.integers(2, size=n)
X = np.zeros((d, n)).T  # Fortran order, float64
X[:, 0] = rng.normal(size=n)
if form == "csr":
    X = sp.random_array((n, d), density=0.1, format="csr", rng=rng)
net = ermin.MLP([d, *widths, 2], output="softmax", rng=0)
n_parameters = sum(p.size for p in net.parameters.values())
# A small fit first: what modules take when they are loaded is not the run's.
ermin.fit(ermin.MLP([2, 2, 2], output="softmax", rng=0), np.ones((9, 2)), np.arange(9) % 2, validation=0.3, epochs=1)

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

# What earlier work has freed goes back to the system, or the run would use it unseen.
getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = status("VmRSS")
ermin.fit(net, X, y, validation=0.2, epochs=2, batch_size=batch_size, mixup_alpha=0.2, n_threads=1, rng=0)
peak = status("VmHWM")
net.predict_proba(X[:1000])
print(json.dumps([peak - before, n_parameters]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("n", "d", "widths", "form", "batch_size"),
    [
        (1_000_000, 20, [16], "dense", 256),
        (200_000, 100, [64], "csr", 10_000),
        (3_000, 300, [1500, 1000], "dense", 256),
        (3_000, 300, [1500, 1000], "dense", 1000),
    ],
)
def test_a_run_needs_no_more_memory_than_promised(n, d, widths, form, batch_size):
    """8 × the parameters' bytes + 16 bytes a row + the activations of one batch + 8 MB, beyond the input."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), json.dumps([n, d, widths, form, batch_size])],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    used, n_parameters = json.loads(run.stdout)
    # Each number of a layer has its value and its derivative.
    activations = 2 * 4 * 256 * (2 * d + sum(widths) + 2)
    allowed = 8 * 4 * n_parameters + 16 * n + activations + 8e6
    assert used <= allowed, f"{used:,} bytes of {allowed:,.0f}"
