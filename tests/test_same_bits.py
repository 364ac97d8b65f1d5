"""The same seed gives the same bits: on every SIMD level, with any number of threads, whatever the process has set.

After a change of bits that is meant, the failing test of the pinned digest names the new one.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

import ermin
from ermin import _core

PINNED_DIGEST = "9a5ecd41f4092199cac882cba7ca0236588837a5af5909ca27d9fafb1243cd9d"

# Real data, and all that draws, rounds or branches: both dtypes, several blocks a batch, shuffling, dropout, mixup,
# smoothing, clipping, schedules, weights, a validation split. The first column holds denormals, and the weights that
# meet it begin at 0, so that whoever flushes denormals is found out.
SCRIPT = """
import hashlib, sys
import numpy as np
import ermin

data = np.load(sys.argv[1])
digest = hashlib.sha256()
for dtype in ("float32", "float64"):
    X, y = data[dtype], data["y"]
    net = ermin.MLP([64, 40, 24, 10], activation=["gelu", "tanh"], output="softmax", dropout=0.2, dtype=dtype, rng=1)
    W = [w.copy() for w in net.weights]
    W[0][0] = 0
    net.weights = W
    optimizer = ermin.AdamW(ermin.OneCycle(1e-2), weight_decay=ermin.Cosine(0.01))
    options = dict(batch_size=300, mixup_alpha=0.3, label_smoothing=0.05, gradient_clip=1.0, record_gradient_norm=True)
    weight = 1 + np.arange(len(X)) % 3
    history = ermin.fit(
        net, X, y, validation=0.2, epochs=4, optimizer=optimizer, l2=1e-3, sample_weight=weight, rng=2, **options
    )
    assert any(net.weights[0][0].tobytes())
    arrays = [*net.parameters.values(), history.loss, history.validation_loss, history.gradient_norm]
    for array in (*arrays, net.predict_proba(X)):
        digest.update(np.ascontiguousarray(array).tobytes())
print(digest.hexdigest())
"""

# Loads the argument's four bytes into the control register that says what becomes of denormals: on x86-64
# `ldmxcsr [rdi]; ret`, on AArch64 `ldr w0, [x0]; msr fpcr, x0; ret`.
FLUSH_TO_ZERO = """
import ctypes, mmap, platform
code, word = {
    "x86_64": (b"\\x0f\\xae\\x17\\xc3", 0x9FC0),
    "aarch64": (b"\\x00\\x00\\x40\\xb9\\x00\\x44\\x1b\\xd5\\xc0\\x03\\x5f\\xd6", 1 << 24),
}[platform.machine()]
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
switch = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))(address)
smallest = float.fromhex("0x1p-1074")
assert smallest * 1.0 > 0
import ermin.training, ermin.network
switch(ctypes.c_uint32(word))
assert smallest * 1.0 == 0, "denormals are not flushed"
"""

ENVIRONMENTS = {
    "plain": {},
    "portable": {"ERMIN_SIMD": "portable"},
    "one thread": {"ERMIN_NUM_THREADS": "1"},
    "glibc without CPU features": {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-AVX2_Usable,-ERMS"
    },
    "NumPy without CPU features": {"NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD X86_V4 X86_V3 AVX2 FMA3"},
    "another OpenBLAS": {"OPENBLAS_CORETYPE": "Prescott", "OMP_NUM_THREADS": "1"},
    "flush to zero": {},
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    X, y = load_digits(return_X_y=True)
    single, double = X.copy(), X.copy()
    single[:, 0], double[:, 0] = 1e-41 * (1 + y), 1e-316 * (1 + y)
    np.savez(path, float32=single, float64=double, y=y)
    return path


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_bits_are_the_pinned_ones(name, digits):
    script = FLUSH_TO_ZERO + SCRIPT if name == "flush to zero" else SCRIPT
    # NumPy warns of features that it was not built with.
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(digits)],
        env={**os.environ, **ENVIRONMENTS[name]},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    digest = run.stdout.strip()
    assert digest == PINNED_DIGEST, f"{name}: the digest of the final weights is {digest}"


@pytest.fixture
def restore_level():
    before = _core.simd_level()
    yield
    _core.set_simd_level(before)


@pytest.mark.parametrize("activation", ["relu", "gelu", "mish", "tanh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_for_every_level_and_number_of_threads(dtype, activation, restore_level):
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    X, y = np.tile(X, (12, 1)), np.tile(y, 12)  # enough for several groups of blocks in a batch
    seen = []
    for level in _core.simd_levels():
        _core.set_simd_level(level)
        for n_threads in (1, 2, 8, 8):
            options = {
                "activation": activation,
                "output": "softmax",
                "dropout": 0.1,
                "dtype": dtype,
                "rng": 0,
            }
            net = ermin.MLP([30, 19, 3, 2], **options)
            options = {
                "validation": 0.1,
                "batch_size": 5000,
                "epochs": 2,
                "sample_weight": np.linspace(0, 1, len(X)),
                "mixup_alpha": 0.5,
                "n_threads": n_threads,
            }
            history = ermin.fit(net, X, y, rng=0, **options)
            trainer = ermin.Trainer(net, batch_size=280, mixup_alpha=0.5, n_threads=n_threads, rng=0)
            losses = [trainer.epoch(X[:900], y[:900]), trainer.step(X, y)]
            arrays = [
                *net.parameters.values(),
                history.loss,
                history.validation_loss,
                losses,
                net.predict_proba(X),
            ]
            seen.append(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
    assert len(set(seen)) == 1


def test_other_seeds_give_other_bits():
    X, y = load_digits(return_X_y=True)
    seen = set()
    for seed in (0, 1, 2**64, 2**64 + 1):
        net = ermin.MLP([64, 5, 10], output="softmax", dropout=0.1, initializer="zeros")
        history = ermin.fit(net, X, y, epochs=1, rng=seed)
        seen.add(history.loss[0])
    assert len(seen) == 4
