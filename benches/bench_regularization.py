"""What dropout, mixup, smoothing, clipping and recorded norms add to an epoch, beside the masks of a dropout in NumPy.

The network is the 11-64-32-3 of bench_training.py, batch 32: an epoch is 100 steps.
"""

import numpy as np
import pytest

import ermin

OPTIONS = {
    "plain": {},
    "dropout": {"dropout": 0.2},
    "mixup": {"mixup_alpha": 0.3},
    "label smoothing": {"label_smoothing": 0.1},
    "gradient clip": {"gradient_clip": 1.0},
    "recorded norms": {"record_gradient_norm": True},
}
GROUP = "regularization: ten epochs of 100 steps, 11-64-32-3 batch 32"


@pytest.mark.benchmark(group=GROUP)
@pytest.mark.parametrize("name", OPTIONS)
def bench_ermin(benchmark, name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3200, 11)).astype(np.float32)
    y = (X[:, :3] + 0.3 * rng.normal(size=(3200, 3))).argmax(axis=1)
    options = dict(OPTIONS[name])
    net = ermin.MLP([11, 64, 32, 3], output="softmax", dropout=options.pop("dropout", 0.0), rng=0)
    options |= {"batch_size": 32, "optimizer": ermin.SGD(0.01, momentum=0.9), "n_threads": 1, "epochs": 10}
    benchmark(ermin.fit, net, X, y, rng=0, **options)


@pytest.mark.benchmark(group=GROUP)
def bench_numpy_masks_alone(benchmark):
    """The masks of the two hidden layers, and nothing else."""
    rng = np.random.default_rng(0)
    layers = [np.ones((32, width), np.float32) for width in (64, 32)]
    uniform = [np.empty_like(layer) for layer in layers]
    kept = [np.empty(layer.shape, bool) for layer in layers]
    scale = np.float32(1 / 0.8)

    def masks():
        for _ in range(1000):
            for layer, u, k in zip(layers, uniform, kept, strict=True):
                rng.random(out=u, dtype=np.float32)
                np.greater_equal(u, 0.2, out=k)
                np.multiply(layer, k, out=layer)
                np.multiply(layer, scale, out=layer)
                layer.fill(1)

    benchmark(masks)
