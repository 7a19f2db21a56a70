"""The 256 x 128 macro with an in-memory converter, arXiv 2605.30814: the figures of its abstract."""

from collections.abc import Iterator

from cimemu.arch.load import load_arch
from cimemu.validate.measure import VECTORS, measure, random_integers
from cimemu.validate.row import Row

NAME = "cityu_imadc_2026"
PARTS = ("adc", "wordline", "cell", "cell_level")


def rows() -> Iterator[Row]:
    """Efficiency at both ends of its precision."""
    seven = measure(
        load_arch(NAME, {"chip.tiles": 1}),
        random_integers(-7, 7, (256, 42), 3),
        random_integers(0, 127, (VECTORS, 256), 4),
    )
    yield Row(NAME, "efficiency, 7/4/7 bits", "", "TOPS/W", 8.4, seven.tops_per_w(*PARTS), "calibrated")
    one = load_arch(
        NAME,
        {
            "chip.tiles": 1,
            "macro.weight.bits": 2,
            "macro.input": {"bits": 1, "dac_bits": 1},
            "macro.adc.bits": 1,
            "macro.adc.lsb": 1,
            "macro.adc.zero": 0,
            # one pulse in the place of seven
            "costs.wordline.energy_scale": 1.0,
            "costs.cell_level.estimator.ff": 0.3,
        },
    )
    found = measure(one, random_integers(-1, 1, (256, 128), 5), random_integers(0, 1, (VECTORS, 256), 6))
    note = "array capacitances are assumed; at 1 bit they decide, at 7 bits the 127 comparisons do"
    yield Row(NAME, "efficiency, 1/2/1 bits", "", "TOPS/W", 1023.2, found.tops_per_w(*PARTS), "held out", None, note)
    share = 100 * seven.area("adc") / seven.area(*PARTS)
    note = "comparator, cell and driver areas are assumed"
    yield Row(NAME, "converters' share of the macro", "", "%", 3.0, share, "held out", None, note)
