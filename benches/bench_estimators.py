"""The estimators against scikit-learn's: the same parameters, float32, one core, an epoch at a time.

Run by ``make bench``. Both start from the same first parameters. Before a pair is timed, both are shown to arrive at
the same test loss within the spread over ten seeds.
"""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn import neural_network as theirs
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import validate_data

import ermin

SEEDS = range(10)


def digits():
    """64-100-10 relu, batch 200, Adam."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y, {"batch_size": 200}, 40


def adult_sized():
    """108-128-128-1 relu, batch 256, Adam, on 32,561 rows: what the adult table is with its categories spread out."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(32_561, 108)).astype(np.float32)
    logit = X[:, 0] + X[:, 1] * X[:, 2] - np.abs(X[:, 3]) + 0.5 * X[:, 4:20].sum(axis=1)
    y = (logit + rng.logistic(size=len(X)) > 0).astype(int)
    return X, y, {"hidden_layer_sizes": (128, 128), "batch_size": 256}, 2


def controller():
    """11-64-32-3 relu, batch 32, SGD with momentum: a small controller."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3200, 11)).astype(np.float32)
    y = (X[:, :3] + 0.3 * rng.normal(size=(3200, 3))).argmax(axis=1)
    return (
        X,
        y,
        {"hidden_layer_sizes": (64, 32), "batch_size": 32, "solver": "sgd", "learning_rate_init": 0.01},
        40,
    )


TASKS = {task.__name__: task for task in (digits, adult_sized, controller)}
KINDS = {"ermin": ermin.MLPClassifier, "scikit-learn": theirs.MLPClassifier}


def fitted(kind, X, y, parameters, epochs, seed=0):
    model = KINDS[kind](**parameters, max_iter=epochs, n_iter_no_change=np.inf, tol=0, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)


def assert_equal_losses(X, y, parameters, epochs):
    """The mean test losses over the seeds differ by less than their spread."""
    test = np.arange(len(X)) % 5 == 0

    def test_loss(kind, seed):
        P = fitted(kind, X[~test], y[~test], parameters, epochs, seed).predict_proba(X[test])
        return -np.log(P[np.arange(len(P)), y[test]].astype(float)).mean()

    losses = {kind: np.array([test_loss(kind, seed) for seed in SEEDS]) for kind in KINDS}
    ours, others = losses["ermin"], losses["scikit-learn"]
    spread = max(ours.std(ddof=1), others.std(ddof=1))
    print(f"test loss {ours.mean():.5f} and {others.mean():.5f}, spread {spread:.5f}")
    assert abs(ours.mean() - others.mean()) < spread


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TASKS)
def bench_fit(benchmark, name, kind):
    X, y, parameters, epochs = TASKS[name]()
    if kind == "ermin":
        assert_equal_losses(X, y, parameters, epochs)
    benchmark.group = f"{name}: {TASKS[name].__doc__.splitlines()[0]} {epochs} epochs"
    rounds = 15 if kind == "ermin" else 5
    benchmark.pedantic(fitted, (kind, X, y, parameters, epochs), rounds=rounds, warmup_rounds=1)


@pytest.mark.parametrize("kind", ["fit", "validation only"])
def bench_overhead(benchmark, kind):
    """One epoch on 100 rows, and what scikit-learn's own checks of X, y and parameters take of it."""
    X, y, _, _ = controller()
    X, y = X[:100], y[:100]
    model = ermin.MLPClassifier((10,), max_iter=1, random_state=0)

    def validate():
        model._validate_params()
        validate_data(model, X, y, multi_output=True, dtype=(np.float64, np.float32))

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)

    benchmark.group = "one epoch on 100 rows"
    benchmark(fit if kind == "fit" else validate)


PROCESS = """
import numpy as np
rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 10)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
"""
PROCESSES = {
    "import sklearn.base only": "import sklearn.base",
    "ermin": "from ermin import MLPClassifier; MLPClassifier(max_iter=20, tol=1, n_iter_no_change=18).fit(X, y)",
    "scikit-learn": (
        "from sklearn.neural_network import MLPClassifier; "
        "MLPClassifier(max_iter=20, tol=1, n_iter_no_change=18).fit(X, y)"
    ),
}


@pytest.mark.parametrize("name", PROCESSES)
def bench_process(benchmark, name):
    """A process from its beginning to its end: imports, a fit of 1,000 rows."""
    command = [sys.executable, "-c", PROCESS + PROCESSES[name]]
    benchmark.group = "a whole process: import, fit 1,000 rows, end"
    benchmark.pedantic(subprocess.run, (command,), {"check": True}, rounds=9, warmup_rounds=1)
