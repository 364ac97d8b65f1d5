"""The streams of rust/random against their definition in plain Python, published vectors, and chance."""

import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import randomness
from ermin import _arrays, _core

DATA = Path(__file__).parent / "data"
LEVELS = _core.simd_levels()
MASK = (1 << 64) - 1
BLOCK = 4096
NUMBERS = {"seed": 0, "bernoulli": 1, "categorical": 2, "initial": 3, "shuffle": 4, "split": 5}


@pytest.fixture(autouse=True)
def level_restored():
    before = _core.simd_level()
    yield
    _core.set_simd_level(before)


def table(name):
    """The rows of a file of tests/data."""
    lines = (DATA / name).read_text().splitlines()
    return [line.split(",") for line in lines if not line.startswith("#")]


def words(seed, purpose="bernoulli", member=0, index=0, start=0, n=8):
    out = np.empty(n, np.uint64)
    _core.stream_words(seed, purpose, member, index, start, out)
    return out


def threefry(key, counter):
    """Threefry-4x64-20 (Salmon et al. 2011, section 4.3)."""
    rotations = [(14, 16), (52, 57), (23, 40), (5, 37), (25, 33), (46, 12), (58, 22), (32, 32)]
    key = [*key, 0x1BD11BDAA9FC1A22 ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
    x = [(c + k) & MASK for c, k in zip(counter, key, strict=False)]
    for round_number in range(20):
        for pair, rotation in zip((0, 2), rotations[round_number % 8], strict=True):
            x[pair] = (x[pair] + x[pair + 1]) & MASK
            x[pair + 1] = (x[pair + 1] << rotation | x[pair + 1] >> 64 - rotation) & MASK ^ x[pair]
        x[1], x[3] = x[3], x[1]
        if round_number % 4 == 3:
            n = round_number // 4 + 1
            x = [(x[i] + key[(n + i) % 5] + (n if i == 3 else 0)) & MASK for i in range(4)]
    return x


def key_of(seed):
    """The 128-bit key of a seed: 16 bytes are the key itself, a number is hashed word by word."""
    if isinstance(seed, bytes):
        return [int.from_bytes(seed[:8], "little"), int.from_bytes(seed[8:], "little")]
    seed = (seed,) if isinstance(seed, int) else seed
    key = [int.from_bytes(b"ermin\0\0\0", "big"), len(seed), 0, 0]
    for i, word in enumerate(seed):
        key = threefry(key, [word, i, NUMBERS["seed"], 0])
    return key[:2]


def block_of(seed, purpose, member, index, block):
    """A block of a stream: eight of NumPy's SFC64, word by word in turn, each keyed by Threefry."""
    lanes = []
    for lane in range(8):
        a, b, c, _ = threefry([*key_of(seed), NUMBERS[purpose] << 32 | member, index], [block, lane, 0, 0])
        generator = np.random.SFC64()
        state = generator.state
        state["state"]["state"] = np.array([a, b, c, 1], np.uint64)
        generator.state = state
        lanes.append(generator.random_raw(12 + BLOCK // 8)[12:])
    return np.stack(lanes, axis=1).ravel()


def test_the_reference_gives_the_published_vectors():
    rows = table("threefry4x64-20.csv")
    assert len(rows) == 3
    for row in rows:
        numbers = [int(word, 16) for word in row]
        assert threefry(numbers[4:8], numbers[:4]) == numbers[8:]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1, (1, 2, 3), bytes(range(16))])
@pytest.mark.parametrize(
    ("purpose", "member", "index", "block"), [("bernoulli", 0, 0, 0), ("split", 3, 2**40, 12345)]
)
def test_words_are_those_of_the_definition(level, seed, purpose, member, index, block):
    _core.set_simd_level(level)
    expected = block_of(seed, purpose, member, index, block)
    np.testing.assert_array_equal(words(seed, purpose, member, index, block * BLOCK, BLOCK), expected)


@pytest.mark.parametrize("level", LEVELS)
def test_pinned_words(level):
    """A change here breaks everybody's results: see the changelog's heading for that."""
    _core.set_simd_level(level)
    rows = table("streams.csv")
    assert {row[1] for row in rows} == set(NUMBERS)
    for seed, purpose, member, index, start, *expected in rows:
        out = words(int(seed), purpose, int(member), int(index), int(start), len(expected))
        assert out.tolist() == [int(word, 16) for word in expected]


def test_words_do_not_depend_on_the_cut_the_level_or_the_thread():
    whole = words(5, n=5 * BLOCK)
    rng = np.random.default_rng(0)
    for level in LEVELS:
        _core.set_simd_level(level)
        for start, n in [
            (0, 1),
            (1, 7),
            (BLOCK - 1, 2),
            (3, 2 * BLOCK),
            *rng.integers(1, 2 * BLOCK, (50, 2)),
        ]:
            np.testing.assert_array_equal(words(5, start=int(start), n=int(n)), whole[start : start + n])
    out = np.empty(5 * BLOCK, np.uint64)
    threads = [
        threading.Thread(target=_core.stream_words, args=(5, "bernoulli", 0, 0, i, out[i : i + 1001]))
        for i in range(0, len(out), 1001)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(out, whole)
    last = words(5, start=2**64 - 20, n=20)
    np.testing.assert_array_equal(words(5, start=2**64 - 3, n=3), last[-3:])
    assert len(words(5, n=0)) == 0


def test_every_part_of_the_name_matters():
    names = [(seed, "bernoulli", 0, 0) for seed in (0, 1, 2**63, (0,), (0, 0), (1, 0), (0, 1), bytes(16))]
    names += [(0, purpose, 0, 0) for purpose in NUMBERS if purpose != "bernoulli"]
    names += [
        (0, "bernoulli", member, index) for member, index in ((1, 0), (0, 1), (2**32 - 1, 0), (0, 2**64 - 1))
    ]
    streams = {words(*name).tobytes() for name in names}
    # A number and the tuple of its one word are the same seed.
    assert len(streams) == len(names) - 1
    assert (words(0) == words((0,))).all()


def test_seeds_of_every_kind_reach_the_core():
    sequence = np.random.SeedSequence(3)
    seeds = [0, np.int64(5), 2**100, sequence, np.random.default_rng(1), np.random.default_rng(1), None, None]
    streams = [words(_arrays.seed(seed)) for seed in seeds]
    again = [
        words(_arrays.seed(seed))
        for seed in (0, 5, 2**100, np.random.SeedSequence(3), np.random.default_rng(1))
    ]
    np.testing.assert_array_equal(streams[:5], again)
    np.testing.assert_array_equal(streams[4], streams[5])
    assert (streams[6] != streams[7]).all()


def test_bad_input():
    with pytest.raises(ValueError, match='purpose is "dice", which random lacks'):
        words(0, "dice")
    frozen = np.zeros(8, np.uint64)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        _core.stream_words(0, "split", 0, 0, 0, frozen)
    with pytest.raises(TypeError):
        _core.stream_words(0, "split", 0, 0, 0, np.zeros(8))


def test_rows_held_back_are_any_rows():
    """The first quarter of a permutation: how often each of 20 rows is in it, and each pair, in 20,000 of them."""
    n, times, held = 20, 20_000, 5
    out = np.empty(n, bool)
    together = np.zeros((n, n))
    for seed in range(times):
        _core.hold_back(seed, held / n, None, out)
        assert out.sum() == held
        together += np.outer(out, out)
    share = held / n
    # The counts of rows sum to 5·20,000: n − 1 degrees of freedom.
    deviations = together.diagonal() - times * share
    statistic = (deviations**2).sum() / (times * share * (1 - share)) * (n - 1) / n
    p = scipy.stats.chi2.cdf(statistic, n - 1)
    assert randomness.LIMIT < p < 1 - randomness.LIMIT
    share = held * (held - 1) / (n * (n - 1))
    pairs = together[np.triu_indices(n, 1)]
    assert abs(pairs - times * share).max() <= 5 * np.sqrt(times * share * (1 - share))


@pytest.mark.parametrize("name", randomness.SEQUENCES)
def test_the_battery(name):
    """2²⁰ words of each sequence; each of 33 p-values farther than 1e-6 from 0 and 1 (about 4.75 σ)."""
    for test, p in randomness.battery(randomness.SEQUENCES[name], range(16)).items():
        assert ((p > randomness.LIMIT) & (p < 1 - randomness.LIMIT)).all(), (test, p)


@pytest.mark.parametrize(
    ("flaw", "found"),
    [
        (lambda words: words & ~np.uint64(1 << 20), "monobit"),
        (lambda words: words & ~np.uint64(1) | words >> np.uint64(1) & np.uint64(1), "runs"),
        (lambda words: words & ~np.uint64(0xFF) | words >> np.uint64(8) & np.uint64(0xFF), "serial pairs"),
        (lambda words: np.repeat(words[::2], 2), "correlation"),
        (lambda words: np.tile(words[:BLOCK], len(words) // BLOCK), "correlation"),
        (lambda words: np.stack([words[::2], ~words[::2]], axis=1).ravel(), "weights"),
        (lambda words: words | np.uint64(8), "gap"),
        (lambda words: np.arange(len(words), dtype=np.uint64) * np.uint64(MASK // 3), "birthday spacings"),
        (lambda words: words & ~np.uint64(1 << 40), "collisions"),
        (lambda words: np.sort(words.reshape(-1, 2), axis=1).ravel(), "orders"),
    ],
)
def test_the_battery_finds_flaws(flaw, found):
    p = randomness.battery(lambda chunk: flaw(randomness.one_stream(chunk)), range(4))[found]
    assert not ((p > randomness.LIMIT) & (p < 1 - randomness.LIMIT)).all(), p
