"""Kim et al., ISOCC 2019: the two efficiencies of its abstract, of a fully digital bit-serial array."""

from collections.abc import Iterator

from cimemu.arch.load import load_arch
from cimemu.validate.measure import VECTORS, Measured, measure, random_integers
from cimemu.validate.row import Row

NAME = "kim_isocc_2019"
MACRO = ("wordline", "cell", "cell_level", "shift_add")
SIZE = 128
BINARY = {"macro.weight": {"bits": 1, "encoding": "binary"}, "macro.input.bits": 1}
LONE = {"chip.tiles": 1, "tile.macros": 1}


def _binary() -> Measured:
    weights = 2 * random_integers(0, 1, (SIZE, SIZE), 1) - 1
    return measure(load_arch(NAME, {**LONE, **BINARY}), weights, random_integers(0, 1, (VECTORS, SIZE), 2))


def _bytes() -> Measured:
    weights = random_integers(-128, 127, (SIZE, SIZE // 8), 3)
    return measure(load_arch(NAME, LONE), weights, random_integers(0, 255, (VECTORS, SIZE), 4))


def rows() -> Iterator[Row]:
    """Both figures of the macro."""
    yield Row(NAME, "efficiency, 1 bit", "", "TOPS/W", 117.3, _binary().tops_per_w(*MACRO), "calibrated")
    note = (
        "a quarter of 8 x 8 bits, as inputs of networks have 8; published energy grows 57 times, bit products 256 times: "
        "guard columns and carries from cell to cell, which one bit pays as well, are not modelled; data and supply are not "
        "in the abstract"
    )
    sixteen = _bytes().tops_per_w(*MACRO) / 4
    yield Row(NAME, "efficiency, 16 bits", "random data", "TOPS/W", 2.06, sixteen, "held out", None, note)
