"""Ideal cells as bits of 64-bit words: a plane a bit of the level, a word for each 64 rows of a group."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack_cells(
    levels: NDArray[np.uint8], starts: NDArray[Any], stops: NDArray[Any], planes: int, words_per_group: int
) -> NDArray[np.uint64]:
    """cell_words[g, a, w, c] bit j is bit a of levels[starts[g] + 64*w + j, c]; done once, when weights are written."""
    columns = levels.shape[1]
    packed = np.zeros((len(starts), planes, words_per_group, columns), dtype=np.uint64)
    for g, (start, stop) in enumerate(zip(starts, stops)):
        block = np.zeros((words_per_group * 64, columns), dtype=np.uint8)
        block[: stop - start] = levels[start:stop]
        for a in range(planes):
            bits = np.packbits((block >> a) & 1, axis=0, bitorder="little")  # [8 * words, columns]
            octets = bits.reshape(words_per_group, 8, columns).astype(np.uint64)
            for octet in range(8):
                packed[g, a] |= octets[:, octet] << np.uint64(8 * octet)
    return packed
