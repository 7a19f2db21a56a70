"""Writes cimemu/kernels/normal_quantiles.npy: run by hand (needs mpmath); tests hold the file to its checksum."""

from pathlib import Path

import mpmath
import numpy as np

import cimemu.kernels

COUNT, BITS = 1 << 16, 24


def upper_half() -> list[int]:
    """round(2^24 * quantile((i + 1/2) / 2^16)) for i = 2^15 .. 2^16 - 1, with 40 decimal digits."""
    mpmath.mp.dps = 40
    half = mpmath.mpf(1) / 2
    root = mpmath.sqrt(2)
    made = []
    for i in range(COUNT // 2, COUNT):
        p = (i + half) / COUNT
        made.append(int(mpmath.nint(root * mpmath.erfinv(2 * p - 1) * 2**BITS)))
    return made


if __name__ == "__main__":
    np.save(Path(cimemu.kernels.__path__[0]) / "normal_quantiles.npy", np.array(upper_half(), dtype=np.int32))
