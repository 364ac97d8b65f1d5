"""The wheel outside the source tree, with NumPy alone: it works, and says what is missing for the rest."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import ermin

assert "site-packages" in ermin.__file__, ermin.__file__
assert not any(find_spec(name) for name in ("polars", "matplotlib", "sklearn", "tqdm", "scipy"))

heads = ermin.Bernoulli(0.3).sample(100_000, rng=0)
assert abs(heads.mean() - 0.3) < 5 * (0.3 * 0.7 / 100_000) ** 0.5

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
y = X[:, 0] ^ X[:, 1]
net = ermin.MLP([2, 8, 2], activation="tanh", output="softmax", rng=0)
ermin.fit(net, X, y, epochs=300, optimizer=ermin.Adam(0.05), rng=0)
assert (net.predict(X) == y).all()
net.save("xor.safetensors")
assert (ermin.load("xor.safetensors").predict_proba(X) == net.predict_proba(X)).all()

command = Path(sys.executable).with_name("ermin")
run = subprocess.run([command, "fit", "penguins.csv", "--target", "species"], capture_output=True, text=True)
assert run.returncode == 2, run
assert "ermin[cli]" in run.stderr, run
assert "Traceback" not in run.stderr, run
print("smoke test passed with", ermin.__version__)
