"""The random generator against published vectors, its quantiles against SciPy's, and its independence of everything."""

from hashlib import sha256

import numpy as np
import pytest
from scipy import special, stats

from cimemu.kernels import noise

# Known answers of Random123's philox4x32_10 (counter, key, words).
KNOWN = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_gives_the_published_words(counter, key, words):
    assert tuple(int(w) for w in noise.philox(*(np.uint64(c) for c in counter), np.uint64(key))) == words
    assert noise.philox_naive(*counter, key) == words


def test_the_shipped_quantiles_are_unchanged_and_rounded_to_nearest():
    table = noise.normal_quantiles()
    assert sha256(table[32768:].astype("<i4").tobytes()).hexdigest() == noise.QUANTILES_SHA256
    assert np.array_equal(table, -table[::-1])
    exact = special.ndtri((np.arange(65536) + 0.5) / 65536) * 2**noise.QUANTILE_BITS
    assert np.abs(table - exact).max() <= 0.5 + 1e-6


def test_stream_keys_differ_in_every_part():
    keys = {
        int(noise.stream_key(*parts))
        for parts in [(0, 0, "a", 0), (1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 0), (0, 0, "a", 1), (0, 0, "a", 10)]
    }
    assert len(keys) == 6
    assert int(noise.stream_key(7, 3, "lognormal", 0)) == 0xB7BDC86A6A32C699


def test_a_cells_words_depend_on_its_place_alone():
    key = noise.stream_key(7, 0, "test", 0)
    whole = np.zeros((16, 40), dtype=np.uint64)
    noise.cell_words(key, 5, 0, 0, 0, 0, whole)
    part = np.zeros((3, 7), dtype=np.uint64)
    noise.cell_words(key, 5, 2, 11, 0, 0, part)
    assert np.array_equal(part, whole[2:5, 11:18])
    for macro, write, draw in [(6, 0, 0), (5, 1, 0), (5, 0, 1)]:
        noise.cell_words(key, macro, 2, 11, write, draw, part)
        assert not np.intersect1d(part, whole).size


@pytest.mark.statistical
def test_words_are_uniform_and_columns_uncorrelated():
    words = np.zeros((512, 512), dtype=np.uint64)
    noise.cell_words(noise.stream_key(1, 0, "test", 0), 0, 0, 0, 0, 0, words)
    for shift in (0, 16, 32, 48):
        lane = ((words >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
        assert stats.chisquare(np.bincount(lane.ravel() >> 8, minlength=256)).pvalue > 1e-3
        centred = lane - 32767.5
        for a, b in [(centred[1:], centred[:-1]), (centred[:, 1:], centred[:, :-1])]:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / 512


@pytest.mark.statistical
def test_reads_are_normal_and_independent_of_each_other():
    columns = np.arange(128)
    keys = np.full(128, noise.stream_key(3, 0, "test", 0), dtype=np.uint64)
    drawn = np.zeros((40, 128), dtype=np.int32)
    for position in range(40):
        noise.read_normals(keys, columns, 0, position, 0, 0, noise.normal_quantiles(), drawn[position])
    sample = drawn.ravel() / 2**noise.QUANTILE_BITS
    assert stats.kstest(sample, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]) < 4 / np.sqrt(drawn.size)
