"""A table that comes in pieces: dask-ml hands them to `partial_fit` one after the other.

Needs ``pip install "ermin[sklearn]" dask-ml``.
"""

import dask.array as da
import numpy as np
from dask_ml.wrappers import Incremental

import ermin

rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 5))
y = (X[:, 0] * X[:, 1] > 0).astype(int)
pieces, classes = da.from_array(X, chunks=(500, 5)), da.from_array(y, chunks=500)

model = Incremental(ermin.MLPClassifier((32,), learning_rate_init=0.02, random_state=0), shuffle_blocks=False)
for epoch in range(1, 9):
    model.partial_fit(pieces, classes, classes=[0, 1])
    print(
        f"after {epoch} passes: {model.estimator_.score(X, y):.3f} right, loss {model.estimator_.loss_:.3f}"
    )
