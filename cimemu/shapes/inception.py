"""Inception-V3 of Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016.

Widths as in the authors' published model (the paper's table rounds them), without the auxiliary head.
"""

from typing import Any

from cimemu.shapes.builder import Builder
from cimemu.workload.network import Network

Step = tuple[Any, ...]  # kernel, channels[, stride]: padded to keep the size, but without padding where stride is 2
ACROSS, DOWN = (1, 7), (7, 1)


def _conv(b: Builder, name: str, source: str, width: int, kernel: Any, *, stride: int = 1, pad: Any = None) -> str:
    made = b.conv(name, source, width, kernel, stride=stride, pad=pad)
    return b.relu(b.norm(f"{name}_norm", made, epsilon=1e-3))


def _chain(b: Builder, name: str, source: str, *steps: Step) -> str:
    for number, (kernel, width, *stride) in enumerate(steps):
        by = stride[0] if stride else 1
        source = _conv(b, f"{name}{number}", source, width, kernel, stride=by, pad=0 if by == 2 else None)
    return source


def _pooled(b: Builder, name: str, source: str, width: int) -> str:
    return _conv(b, f"{name}p", b.mean_pool(f"{name}mean", source), width, 1)


def _squares(b: Builder, name: str, x: str, pooled: int) -> str:
    """Figure 5: the 5x5 branch (kept as one convolution), two 3x3."""
    return b.concat(
        f"{name}cat",
        [
            _chain(b, f"{name}a", x, (1, 64)),
            _chain(b, f"{name}b", x, (1, 48), (5, 64)),
            _chain(b, f"{name}c", x, (1, 64), (3, 96), (3, 96)),
            _pooled(b, name, x, pooled),
        ],
    )


def _lines(b: Builder, name: str, x: str, width: int) -> str:
    """Figure 6 with n = 7: convolutions of one row and of one column."""
    return b.concat(
        f"{name}cat",
        [
            _chain(b, f"{name}a", x, (1, 192)),
            _chain(b, f"{name}b", x, (1, width), (ACROSS, width), (DOWN, 192)),
            _chain(b, f"{name}c", x, (1, width), (DOWN, width), (ACROSS, width), (DOWN, width), (ACROSS, 192)),
            _pooled(b, name, x, 192),
        ],
    )


def _wide(b: Builder, name: str, x: str) -> str:
    """Figure 7: the last convolution of two branches is a row and a column side by side."""
    first = _chain(b, f"{name}b", x, (1, 384))
    second = _chain(b, f"{name}c", x, (1, 448), (3, 384))
    halves = [
        _conv(b, f"{name}{branch}{way}", source, 384, kernel)
        for branch, source in (("b", first), ("c", second))
        for way, kernel in (("row", (1, 3)), ("column", (3, 1)))
    ]
    return b.concat(f"{name}cat", [_chain(b, f"{name}a", x, (1, 320)), *halves, _pooled(b, name, x, 192)])


def _smaller(b: Builder, name: str, x: str, *branches: tuple[Step, ...]) -> str:
    """Figure 10: half the size, by convolutions and by a pool side by side."""
    made = [_chain(b, f"{name}{letter}", x, *steps) for letter, steps in zip("ab", branches)]
    return b.concat(f"{name}cat", [*made, b.max_pool(f"{name}max", x, 3, 2)])


def inception_v3(side: int = 299, seed: int = 0) -> Network:
    """Table 1: six convolutions, 3 + 4 + 2 inception modules with two reductions between, 1000 classes."""
    b = Builder("inception_v3", side, seed, 75)
    x = _conv(b, "stem0", "x", 32, 3, stride=2, pad=0)
    x = _conv(b, "stem1", x, 32, 3, pad=0)
    x = b.max_pool("max0", _conv(b, "stem2", x, 64, 3), 3, 2)
    x = _conv(b, "stem3", x, 80, 1)
    x = b.max_pool("max1", _conv(b, "stem4", x, 192, 3, pad=0), 3, 2)
    for number, pooled in enumerate((32, 64, 64)):
        x = _squares(b, f"m{number}", x, pooled)
    x = _smaller(b, "r0", x, ((3, 384, 2),), ((1, 64), (3, 96), (3, 96, 2)))
    for number, width in enumerate((128, 160, 160, 192)):
        x = _lines(b, f"m{number + 3}", x, width)
    x = _smaller(b, "r1", x, ((1, 192), (3, 320, 2)), ((1, 192), (ACROSS, 192), (DOWN, 192), (3, 192, 2)))
    for number in range(2):
        x = _wide(b, f"m{number + 7}", x)
    return b.network(b.linear("fc", b.flat(b.global_mean(x)), 1000))
