"""How many threads a call uses: capped, one in worker processes, none between calls."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import ermin
from ermin import _arrays

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")


def helpers(n_threads):
    """How many more threads there are during a fit of many blocks a batch than before it, and after it."""
    tasks = lambda: len(os.listdir("/proc/self/task"))  # noqa: E731 - a word for a call
    X = np.random.default_rng(0).normal(size=(32 * 256, 3))
    net = ermin.MLP([3, 4, 1], rng=0)
    before, during = tasks(), []
    ermin.fit(
        net,
        X,
        X[:, 0],
        epochs=2,
        batch_size=len(X),
        n_threads=n_threads,
        callbacks=[lambda state: during.append(tasks() - before)],
    )
    return max(during), tasks() - before


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_n_threads_caps_and_no_thread_is_left(n_threads):
    assert helpers(n_threads) == (n_threads - 1, 0)


WORKERS = """
import json, multiprocessing, os, sys
import joblib
import numpy as np
import ermin
from ermin import _arrays

def count(n_threads):
    import numpy as np
    import ermin
    from ermin import _arrays
    tasks = lambda: len(os.listdir("/proc/self/task"))
    X = np.random.default_rng(0).normal(size=(100_000, 20))
    y = X[:, 0]
    net = ermin.MLP([20, 64, 1], rng=0)
    before, during = tasks(), []
    options = dict(epochs=1, batch_size=4096, rng=0, n_threads=n_threads)
    ermin.fit(net, X, y, callbacks=[lambda state: during.append(tasks() - before)], **options)
    return _arrays.thread_count(n_threads), max(during), net.weights[0].tobytes().hex()

if __name__ == "__main__":
    os.environ.pop("ERMIN_NUM_THREADS", None)
    seen = []
    for backend in ("loky", "multiprocessing"):
        pool = joblib.Parallel(n_jobs=2, backend=backend)
        seen += pool(joblib.delayed(count)(n) for n in (None, 2))
    seen += joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(count)(n) for n in (1, 1))
    print(json.dumps(seen))
"""


def test_a_worker_process_uses_one_thread_unless_asked(tmp_path):
    script = tmp_path / "workers.py"
    script.write_text(textwrap.dedent(WORKERS))
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    loky, asked, pool, asked_pool, *_ = [(threads, helpers) for threads, helpers, _ in seen]
    assert loky == pool == (1, 0)
    assert asked == asked_pool == (2, 1)
    assert len({bits for *_, bits in seen}) == 1


def test_the_main_process_leaves_the_choice_to_the_native_module():
    assert _arrays.thread_count(None) is None
    assert _arrays.thread_count(np.int64(3)) == 3
    with pytest.raises(ValueError, match="n_threads is 0, but must be None or at least 1"):
        _arrays.thread_count(0)
    with pytest.raises(TypeError):
        _arrays.thread_count(1.5)


@pytest.mark.parametrize("name", ["ERMIN_NUM_THREADS", "OMP_NUM_THREADS"])
def test_the_environment_caps(name):
    script = """
    import os, numpy as np, ermin
    tasks = lambda: len(os.listdir("/proc/self/task"))
    X = np.random.default_rng(0).normal(size=(100_000, 20))
    net = ermin.MLP([20, 64, 1], rng=0)
    before, during = tasks(), []
    ermin.fit(net, X, X[:, 0], epochs=1, batch_size=4096, callbacks=[lambda s: during.append(tasks() - before)])
    print(max(during))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, name: "1"},
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "0", run.stderr


@pytest.mark.parametrize("call", ["trainer.step(X[:1], y[:1])", "pickle.dumps(trainer)"])
def test_threads_that_share_a_trainer_wait_for_each_other(call):
    # The main thread asks Python for signals during its steps: who waits for the trainer must let it.
    program = f"""
        import pickle, threading
        import numpy as np
        import ermin

        X = np.random.default_rng(0).normal(size=(500_000, 20)).astype(np.float32)
        y = X[:, :1].copy()
        trainer = ermin.Trainer(ermin.MLP([20, 50, 1], rng=0))
        done = threading.Event()

        def other():
            while not done.wait(0.001):
                {call}

        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        for _ in range(5):
            trainer.step(X, y)
        done.set()
        thread.join()
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=100, check=False)
    assert run.returncode == 0
