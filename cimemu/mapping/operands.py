"""How the operands of a product of two activations meet a macro: which integers are driven and stored, in how many digits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import MappingError
from cimemu.layer.macro_layer import Geometry
from cimemu.layer.written_product import Factor, WrittenProduct

Ints = NDArray[np.int64]
MOST_SUM = 2**31  # accumulators of a macro layer have 32 bits


@dataclass(frozen=True)
class Digits:
    """An integer q as digits that a macro takes: `q = offset + sum_i 2^(i * bits) * (digit_i + shift)`, the lowest first."""

    bits: int
    count: int
    shift: int  # what a digit 0 is driven or stored as
    offset: int
    lowest: int  # of what is driven or stored
    largest: int  # magnitude of it

    def of(self, values: Ints) -> Ints:
        """[count, *shape] of values: what is driven or stored."""
        whole = values - self.offset - self.shift * self.weight
        places = np.arange(self.count).reshape(-1, *(1,) * values.ndim) * self.bits
        return np.asarray(((whole >> places) & ((1 << self.bits) - 1)) + self.shift if self.count > 1 else whole[None])

    @property
    def weight(self) -> int:
        """What a 1 in every digit is worth together; 0 where there is one digit, which has no shift."""
        return 0 if self.count == 1 else sum(1 << (i * self.bits) for i in range(self.count))

    @property
    def places(self) -> Ints:
        """What a 1 is worth in each digit."""
        return np.int64(1) << (np.arange(self.count, dtype=np.int64) * self.bits)


@dataclass(frozen=True)
class ProductForm:
    """A product as a macro layer: `left.count` times its positions one behind the other, and in every group `right.count`
    times its outputs."""

    geometry: Geometry
    left: Digits
    right: Digits

    @property
    def parts(self) -> int:
        """Products of digits that make one product."""
        return self.left.count * self.right.count


def product_form(layer: WrittenProduct, macro: Macro) -> ProductForm:
    """How `layer` runs on `macro`. MappingError where its cells cannot hold the right operand, or sums are too large."""
    left = _digits(layer.a, _driven(macro), _half(macro))
    right = _digits(layer.b, _stored(layer, macro), -128)
    if layer.depth * left.largest * right.largest >= MOST_SUM:
        raise MappingError(
            f"layer {layer.name}: sums of {layer.depth} products of up to {left.largest} x {right.largest}, must be < 2^31; "
            "use mapping.activations = digital"
        )
    positions, groups = left.count * layer.positions, layer.groups
    geometry = Geometry(
        channels_in=groups * layer.depth,
        height_in=positions,
        width_in=1,
        channels_out=groups * right.count * layer.columns,
        height_out=positions,
        width_out=1,
        groups=groups,
    )
    return ProductForm(geometry, left, right)


def _driven(macro: Macro) -> tuple[int, int]:
    """Smallest and largest integer that wordlines take."""
    bits = macro.input.bits
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if macro.input.signed else (0, (1 << bits) - 1)


def _half(macro: Macro) -> int:
    """What is added to signed codes where wordlines take no sign (contract, section 2)."""
    return 1 << (min(macro.input.bits, 8) - 1)


def _stored(layer: WrittenProduct, macro: Macro) -> tuple[int, int]:
    """Smallest and largest weight of the chip's encoding, as far as stored weights go. MappingError where it has holes."""
    weight = macro.weight
    values = macro.encoding.values(weight.bits)
    low, high = max(values[0], -128), min(values[-1], 7 if weight.bits == 4 else 127)
    if weight.bits > 8:
        low, high = values[0], values[-1]
    if values.step != 1 or low >= high:
        raise MappingError(
            f"layer {layer.name}: mapping.activations = macros with weight.encoding = {weight.encoding} at weight.bits = "
            f"{weight.bits}, which holds no two neighbouring integers; use another encoding, or mapping.activations = digital"
        )
    return low, high


def _digits(factor: Factor, held: tuple[int, int], usual: int) -> Digits:
    """One digit where the range `held` is wide enough: the code itself, else with the `usual` constant, else moved to the
    lowest; several of as few bits as they need where it is not."""
    low, high = held
    total = (factor.high - factor.low).bit_length()
    for added in (0, usual, low - factor.low):
        first, last = factor.low + added, factor.high + added
        if low <= first and last <= high:
            return Digits(total, 1, 0, -added, first, max(-first, last))
    most = min(8, (high - low + 1).bit_length() - 1)
    count = -(-total // most)
    bits = -(-total // count)
    shift = 0 if (1 << bits) - 1 <= high and low <= 0 else low
    weight = sum(1 << (i * bits) for i in range(count))
    return Digits(bits, count, shift, factor.low - shift * weight, shift, max(-shift, (1 << bits) - 1 + shift))
