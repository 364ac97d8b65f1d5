"""Statistical tests of random 64-bit words: a small battery for test_random.py, a large one for ``make randomness``.

A test is a pair of functions: ``count`` makes an array of counts from a chunk of words, which add up over chunks;
``judge`` makes p-values of the total. Words come from five sequences: one stream; the beginnings of its blocks, which
the counter-based function keys; the streams of neighbouring seeds, of neighbouring indices and of all purposes,
interleaved word by word. With ``--programs``, PractRand's ``RNG_test`` and ``dieharder`` get them, too.
"""

import argparse
import datetime
import shutil
import subprocess
import sys
import time

import numpy as np
import scipy.stats

from ermin import _core

BLOCK = 4096  # words in a block of a stream
CHUNK = 1 << 16
PURPOSES = ("bernoulli", "categorical", "initial", "shuffle")
# Of a p-value, and of 1 − p: fifty of them stay inside with a probability of 0.9999.
LIMIT = 1e-6


# ------------------------------------------------------------------------------------------------------- sequences
def stream(seed, purpose, index, start, n):
    out = np.empty(n, np.uint64)
    _core.stream_words(seed, purpose, 0, index, start, out)
    return out


def interleaved(streams):
    return np.stack(list(streams), axis=1).ravel()


def one_stream(chunk):
    return stream(1, "bernoulli", 0, chunk * CHUNK, CHUNK)


def block_starts(chunk):
    """The first 64 words of each block."""
    n = CHUNK // 64
    return np.concatenate([stream(2, "categorical", 0, (chunk * n + i) * BLOCK, 64) for i in range(n)])


def neighbouring_seeds(chunk):
    n = CHUNK // 64
    return interleaved(stream(seed, "initial", 0, chunk * n, n) for seed in range(64))


def neighbouring_indices(chunk):
    """The beginnings of short streams: such as that of the order of rows in each epoch."""
    return interleaved(stream(3, "shuffle", 256 * chunk + i, 0, CHUNK // 256) for i in range(256))


def purposes(chunk):
    n = CHUNK // len(PURPOSES)
    return interleaved(stream(4, purpose, 0, chunk * n, n) for purpose in PURPOSES)


SEQUENCES = {
    f.__name__: f for f in (one_stream, block_starts, neighbouring_seeds, neighbouring_indices, purposes)
}


# ----------------------------------------------------------------------------------------------------------- tests
def two_sided(z):
    """The p-value of a standard normal number: near 0 where it is too low, near 1 where it is too high."""
    return scipy.stats.norm.cdf(z)


def chi_squared(counts, probabilities=None):
    """The p-value of Pearson's statistic: near 0 where counts fit too well, near 1 where they do not fit."""
    n = counts.sum()
    expected = n / len(counts) if probabilities is None else n * probabilities
    return scipy.stats.chi2.cdf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1)


def fair(ones, n):
    """The p-value of a number of ones among n fair bits."""
    return two_sided((2.0 * ones - n) / np.sqrt(n))


def ones(words):
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def count_monobit(words):
    """Ones, by place modulo 8 as well: [n bits, ones, ones in each eighth]."""
    eighths = [ones(words & np.uint64(0x0101010101010101 << place)) for place in range(8)]
    return np.array([64 * len(words), sum(eighths), *eighths])


def judge_monobit(total):
    n, all_ones, *eighths = total
    return [fair(all_ones, n), *(fair(x, n / 8) for x in eighths)]


def count_runs(words):
    """Places where a bit differs from the next one."""
    within = ones((words ^ (words >> np.uint64(1))) & np.uint64((1 << 63) - 1))
    across = ones((words[:-1] ^ (words[1:] >> np.uint64(63))) & np.uint64(1))
    return np.array([64 * len(words) - 1, within + across])


def judge_runs(total):
    return [fair(total[1], total[0])]


def count_serial(words):
    """Pairs of neighbouring bytes; of the high bytes of neighbouring words."""
    high = (words >> np.uint64(56)).astype(np.uint16)
    pairs = high[:-1] * np.uint16(256) + high[1:]
    return np.stack([np.bincount(x, minlength=1 << 16) for x in (words.view(np.uint16), pairs)])


def judge_serial(total):
    return [chi_squared(counts) for counts in total]


LAGS = (1, 2, 3, 4, 7, 8, 9, 16, 64, 256, 512, BLOCK - 1, BLOCK, BLOCK + 1)


def count_correlation(words):
    """Bits that differ from those some words before: neighbours, lanes, blocks, interleaved streams."""
    return np.array([[64 * (len(words) - lag), ones(words[lag:] ^ words[:-lag])] for lag in LAGS])


def judge_correlation(total):
    return [fair(different, n) for n, different in total]


def count_weights(words):
    """The numbers of ones of neighbouring words, in three classes each."""
    weights = np.searchsorted([30, 34], np.bitwise_count(words), side="left")
    return np.bincount(3 * weights[:-1] + weights[1:], minlength=9)


def judge_weights(total):
    low, high = scipy.stats.binom.cdf([30, 34], 64, 0.5)
    classes = np.diff([0, low, high, 1])
    return [chi_squared(total, np.outer(classes, classes).ravel())]


GAPS = 256


def count_gap(words):
    """Distances between bytes below 8 (Knuth, The Art of Computer Programming 2, 3.3.2 D)."""
    places = np.flatnonzero(words.view(np.uint8) < 8)
    return np.bincount(np.minimum(np.diff(places), GAPS), minlength=GAPS + 1)[1:]


def judge_gap(total):
    probabilities = 1 / 32 * (31 / 32) ** np.arange(GAPS)
    probabilities[-1] = (31 / 32) ** (GAPS - 1)
    return [chi_squared(total, probabilities)]


def count_birthdays(words):
    """Equal spacings of 4096 birthdays in a year of 2³² days (Knuth 3.3.2 J), for the high and the low halves."""
    groups = words.view(np.uint32).reshape(-1, 4096, 2)
    equal = (np.diff(np.sort(np.diff(np.sort(groups, axis=1), axis=1), axis=1), axis=1) == 0).sum(axis=(0, 1))
    return np.array([len(groups), *equal])


def judge_birthdays(total):
    groups, *equal = total
    return [scipy.stats.poisson.cdf(x, 4.0 * groups) for x in equal]


def count_collisions(words):
    """16,384 balls thrown into 2²⁴ urns (Knuth 3.3.2 I), by the high bits and by the low ones."""
    groups = words.reshape(-1, 1 << 14)
    urns = np.stack([groups >> np.uint64(40), groups & np.uint64((1 << 24) - 1)])
    collisions = (np.diff(np.sort(urns.astype(np.uint32), axis=2), axis=2) == 0).sum(axis=(1, 2))
    return np.array([len(groups), *collisions])


def judge_collisions(total):
    groups, *collisions = total
    balls, urns = 1 << 14, 1 << 24
    mean = balls + urns * np.expm1(balls * np.log1p(-1 / urns))
    return [two_sided((x - groups * mean) / np.sqrt(groups * mean)) for x in collisions]


def count_orders(words):
    """The orders of four successive words (Knuth 3.3.2 F)."""
    order = np.argsort(words.reshape(-1, 4), axis=1)
    return np.bincount(order @ [64, 16, 4, 1], minlength=256)


def judge_orders(total):
    return [chi_squared(total[total > 0]) if (total > 0).sum() == 24 else 1.0]


TESTS = {
    "monobit": (count_monobit, judge_monobit),
    "runs": (count_runs, judge_runs),
    "serial pairs": (count_serial, judge_serial),
    "correlation": (count_correlation, judge_correlation),
    "weights": (count_weights, judge_weights),
    "gap": (count_gap, judge_gap),
    "birthday spacings": (count_birthdays, judge_birthdays),
    "collisions": (count_collisions, judge_collisions),
    "orders": (count_orders, judge_orders),
}


def battery(sequence, chunks):
    """The p-values of every test of that many chunks of words."""
    totals = dict.fromkeys(TESTS, 0)
    for chunk in chunks:
        words = sequence(chunk)
        for name, (count, _) in TESTS.items():
            totals[name] = totals[name] + count(words)
    return {name: np.asarray(judge(totals[name]), float) for name, (_, judge) in TESTS.items()}


# ------------------------------------------------------------------------------------------------------ the program
PROGRAMS = {
    "RNG_test": ["stdin64", "-tlmin", "1GB", "-tlmax", "16GB"],
    "dieharder": ["-a", "-g", "200", "-k", "2", "-Y", "1"],
}


def write(sequence, n_bytes):
    """The sequence on the standard output, until the reader has had enough."""
    try:
        for chunk in range(-(-n_bytes // (8 * CHUNK))):
            sys.stdout.buffer.write(sequence(chunk).tobytes())
    except BrokenPipeError:
        sys.stderr.close()  # Python would complain there at its end


def external(name, command):
    """Whether a test program has nothing against the sequence; its output is shown."""
    source = subprocess.Popen([sys.executable, __file__, "--raw", name], stdout=subprocess.PIPE)
    run = subprocess.run(command, stdin=source.stdout, capture_output=True, text=True)
    source.stdout.close()
    source.kill()
    source.wait()
    print(run.stdout)
    return run.returncode == 0 and "FAIL" not in run.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw", choices=SEQUENCES, help="write this sequence to the standard output")
    parser.add_argument("--words", type=float, default=2e9, help="64-bit words of each sequence (2e9)")
    parser.add_argument("--only", choices=SEQUENCES, help="one sequence instead of all")
    parser.add_argument(
        "--programs", action="store_true", help="run RNG_test and dieharder, too, if installed"
    )
    arguments = parser.parse_args()
    if arguments.raw:
        write(SEQUENCES[arguments.raw], 1 << 50)
        return 0
    passed = True
    n = max(1, round(arguments.words / CHUNK))
    for name in [arguments.only] if arguments.only else SEQUENCES:
        start = time.perf_counter()
        results = battery(SEQUENCES[name], range(n))
        print(f"{name}: {n * CHUNK:.3g} words, {time.perf_counter() - start:.0f} s, {datetime.date.today()}")
        for test, p in results.items():
            good = bool(np.all((p > LIMIT) & (p < 1 - LIMIT)))
            passed &= good
            print(
                f"  {test:18} {'passed' if good else 'FAILED'}  p = {' '.join(f'{x:.3g}' for x in p)}",
                flush=True,
            )
        for program, options in PROGRAMS.items() if arguments.programs else ():
            if shutil.which(program):
                passed &= external(name, [program, *options])
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
