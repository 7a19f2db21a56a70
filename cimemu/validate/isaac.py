"""ISAAC, ISCA 2016: table I by component, and what follows from it. A 16-bit product is two passes of 8-bit halves."""

from collections.abc import Iterator

from cimemu.arch.load import load_arch
from cimemu.validate.measure import VECTORS, Vector, measure, random_integers
from cimemu.validate.row import Row

NAME = "isaac_isca_2016"
IMAS, ARRAYS = 12, 96
IMA_MW = {
    "converters": ("adc", 16.0),
    "input drivers": ("wordline", 4.0),
    "arrays": ("cell_level", 2.4),
    "sample and hold": ("sample_hold", 0.01),
    "shift-and-add": ("shift_add", 0.2),
    "input registers": ("input_register", 1.24),
    "output registers": ("output_register", 0.23),
}
TILE_PARTS = (*(part for part, _ in IMA_MW.values()), "tile_buffer", "interconnect", "digital")


def rows() -> Iterator[Row]:
    """Every figure of a tile of 96 arrays, all busy."""
    arch = load_arch(NAME, {"chip.tiles": 1})
    weights = random_integers(-128, 127, (12 * 128, 8 * 32), 3)
    found = measure(arch, weights, random_integers(0, 255, (VECTORS, 12 * 128), 4))

    def milliwatt(*parts: str) -> Vector:
        return found.energy(*parts) / found.ns  # pJ / ns

    for name, (part, published) in IMA_MW.items():
        yield Row(NAME, f"power of an IMA, {name}", "", "mW", published, milliwatt(part) / IMAS, "calibrated")
    ima = milliwatt(*(part for part, _ in IMA_MW.values()))
    total = milliwatt(*TILE_PARTS)
    note = "a sum of calibrated parts"
    yield Row(NAME, "power of an IMA, sum", "", "mW", 24.08, ima / IMAS, "held out", 0.05, note)
    note = "a sum of calibrated parts and the constant powers of buffers, bus, router and digital unit"
    yield Row(NAME, "power of a tile, sum", "", "mW", 330.0, total, "held out", 0.05, note)
    yield Row(NAME, "converters' share of a tile", "", "%", 58.2, 100 * milliwatt("adc") / total, "held out", 0.05)
    area = (found.area(*TILE_PARTS, "cell", "psum_adder")) / 1e6
    yield Row(NAME, "area of a tile, sum", "", "mm2", 0.372, area, "held out", 0.05)
    # Two passes of 8 input bits; 32 columns of 8-bit halves are 16 outputs of 16 bits.
    conversions = 2 * found.conversions / ARRAYS
    yield Row(NAME, "conversions of an array, 16-bit product", "16 reads x 128", "", 2048, conversions, "held out", 0.0)
    read = found.conversions / ARRAYS / arch.macro.input_slices * arch.clock_ns
    yield Row(NAME, "read cycle", "128 conversions", "ns", 100.0, read, "held out", 0.0)
    cycles = 2 * found.macro_cycles
    note = "a wordline cycle an operation that ISAAC hides in its pipeline; conversions are exact"
    yield Row(NAME, "cycles of an array, 16-bit product", "", "cycles", 2048, cycles, "held out", 0.01, note)
    yield Row(
        NAME, "throughput of an array, 16 bits", "", "GOPS", 2.56, found.tops * 1000 / 4 / ARRAYS, "held out", 0.01
    )
    yield Row(NAME, "throughput of a tile, 16 bits", "", "GOPS", 245.8, found.tops * 1000 / 4, "held out", 0.01)
