"""A table at the end of a run: each peer's time beside ermin's, and both against what the processor could do."""

import time

import numpy as np
import pytest

from ermin import _core

ROWS = []


def best(work, seconds):
    """The shortest time of `work` in some seconds of repeating it."""
    shortest, began = np.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


@pytest.fixture(scope="session")
def fma_peak():
    """float32 operations a second of one core at the SIMD level in force: multiply-adds in registers, nothing else."""
    operations = _core.multiply_adds(0)
    return operations * 2**14 / best(lambda: _core.multiply_adds(2**14), 0.5)


@pytest.fixture(scope="session")
def bandwidth():
    """Bytes a second that one core reads from memory: NumPy's maximum of 256 MB."""
    x = np.ones(2**26, np.float32)
    return x.nbytes / best(lambda: x.max(), 1.0)


@pytest.fixture
def compare(fma_peak, bandwidth):
    """compare(group, name, benchmark, times, ours, flop): a row for the table at the end.

    What the benchmark timed is `times` of what is compared; `ours` was timed in turn with it.
    """

    def note(group, name, benchmark, times, ours, flop):
        if benchmark.stats is not None:  # nothing is timed under --benchmark-disable
            seconds = benchmark.stats.stats.min / times
            ROWS.append((group, name, seconds, ours, flop, fma_peak, bandwidth))

    return note


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    write = terminalreporter.write_line
    peak, bandwidth = ROWS[0][5:]
    write(
        f"\n{_core.simd_level()}, one core: {peak / 1e9:.0f} GFLOP/s float32 in registers, "
        f"{bandwidth / 1e9:.0f} GB/s read from memory"
    )
    for group in dict.fromkeys(row[0] for row in ROWS):
        rows = [row for row in ROWS if row[0] == group]
        ours, flop = min(row[3] for row in rows), rows[0][4]
        write(f"\n{group}")
        write(
            f"  ermin {ours * 1e6:12.3f} µs, {flop / ours / 1e9:.1f} GFLOP/s, {100 * flop / ours / peak:.1f} %"
        )
        for _, name, seconds, ours, *_ in sorted(rows, key=lambda row: row[2]):
            write(f"  {name:14} {seconds * 1e6:12.3f} µs {seconds / ours:8.2f} ×")
