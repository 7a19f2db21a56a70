"""The fake-macro layer: a convolution (or product) whose training forward meets arrays, slices and converters.

The arrays' filters lie side by side in one grouped convolution, and its outputs are the partial sums that converters
get: no loop over arrays or slices. Inference does not run here: `cimemu.adapt.chip` computes the chip's integers.
"""

from typing import Any

import torch

from cimemu.adapt.digits import seen_by_converters
from cimemu.adapt.psums import Shape, converted, looked_up
from cimemu.adapt.rounding import slowed
from cimemu.adapt.weights import Groups, Written, binary, uniform
from cimemu.adapt.wiring import ParityWiring, Wiring
from cimemu.arch.macro import Macro
from cimemu.compute.encode import columns_of, input_slice_weights
from cimemu.layer.macro_layer import Geometry
from cimemu.ptq.scheme import BinaryWeights, Scheme

SMALLEST_STEP = 2.0**-20
SMALLEST_FACTOR = 0.05


class FakeMacro(torch.nn.Module):
    """`forward(u, step, zero)`: real outputs [images, N, height, width] of wordline codes `u` [images, channels, ...].

    `step` is what one code stands for, `zero` the code of 0. Parameters: latent `weight` [N, K], learned steps, and a
    normalisation (convolutions) or bias behind the macro.
    """

    def __init__(
        self, geometry: Geometry, macro: Macro, scheme: Scheme, weight: Any, *, gradient: str, parity: bool, norm: bool
    ) -> None:
        """Latent `weight` [N, K]; `cimemu.adapt.convert` sets first steps and the converter."""
        super().__init__()
        self.geometry, self.macro, self.scheme = geometry, macro, scheme
        self.gradient, self.parity, self.outputs = gradient, parity, geometry.channels_out
        self.conversions = macro.conversions_per_output
        self.wiring = (ParityWiring if parity else Wiring)(geometry, macro)
        self.copies = len(self.wiring.cut.array) // self.outputs
        self.weight = torch.nn.Parameter(weight.detach().clone().repeat(self.copies, 1) / self.copies)
        self.groups = Groups(self.wiring.cut, scheme.weight_rule.granularity)
        self.norm = torch.nn.BatchNorm2d(self.outputs) if norm else None
        if norm:
            self.register_parameter("bias", None)
        else:
            self.bias = torch.nn.Parameter(torch.zeros(self.outputs))
        self.register_parameter("weight_scale", None)
        self.register_parameter("slice_scale", None)
        rule = scheme.weight_rule
        if not isinstance(rule, BinaryWeights):
            self.weight_scale = torch.nn.Parameter(torch.ones(self.groups.count))
            if rule.slice_scales:
                self.slice_scale = torch.nn.Parameter(torch.ones(self.groups.count, self.conversions))
        self.converter = "none"
        self.top = 0
        self.drive_offset = 0  # what is added to codes on their way to the wordlines
        self.deviation: Any = None  # [N, conversions, K] that varied cells add
        place = torch.tensor(columns_of(macro).weight, dtype=torch.float32)
        self.register_buffer("place", place, persistent=False)
        self.input_places = [float(v) for v in input_slice_weights(macro)]

    def learn_steps(self, lsb: Any, zero: Any, number: Any, top: int, unit: float) -> None:
        """A linear converter of learned steps [groups]; `number` [row blocks, columns] says which, `unit` what a psum is."""
        self.converter, self.top = "learned", top
        self.register_buffer("psum_group", number, persistent=False)
        self.psum_unit = unit
        self.psum_scale = torch.nn.Parameter(lsb.to(torch.float32))
        self.psum_zero_step = torch.nn.Parameter(zero.to(torch.float32))

    def fix_steps(self, lsb: Any, zero: Any, top: int) -> None:
        """A linear converter that stays: lsb, zero [row blocks, columns]."""
        self.converter, self.top = "fixed", top
        self.register_buffer("fixed_lsb", lsb.to(torch.float32), persistent=False)
        self.register_buffer("fixed_zero", zero.to(torch.float32), persistent=False)

    def fix_table(self, thresholds: Any, levels: Any) -> None:
        """Any converter that stays: [row blocks, columns, T] and [row blocks, columns, T + 1]."""
        self.converter = "table"
        self.register_buffer("thresholds", thresholds.to(torch.float32), persistent=False)
        self.register_buffer("levels", levels.to(torch.float32), persistent=False)

    def written(self) -> Written:
        """Integers and scales of the latent weights."""
        rule = self.scheme.weight_rule
        if isinstance(rule, BinaryWeights):
            return binary(self.weight, self.groups, rule)
        return uniform(self.weight, self.weight_scale, self.groups, rule)

    def forward(self, u: Any, step: Any, zero: float) -> Any:
        """Training forward; gradients reach weights and steps."""
        g = self.geometry
        pads = (g.pad_left, g.pad_right, g.pad_top, g.pad_bottom)
        if any(pads):
            u = torch.nn.functional.pad(u, pads, value=zero)
        made = self.written()
        if self.converter == "none":
            y = self._ideal(u, made)
        else:
            y = self._through(u, made)
            if made.offset is not None:
                y = y + self._weighed(self.wiring.input_sums(u), made.offset)
        if zero:
            y = y - zero * self._real(made).reshape(self.copies, self.outputs, -1).sum(dim=(0, 2))[:, None, None]
        y = y * step
        return y + self.bias[:, None, None] if self.norm is None else self.norm(y)

    def learned_steps(self, psums: int = 1) -> tuple[Any, Any]:
        """(lsb, zero) [row blocks, columns] in psums; a group has `psums` of them an image (LSQ's gradient share).

        They move as steps in units of real activations would: a step of `unit` psums divides its gradient by `unit^2`.
        """
        share = float((max(1, psums) * self.top) ** -0.5) / self.psum_unit**2
        lsb = slowed(self.psum_scale, share)
        zero = slowed(self.psum_zero_step, share)
        return lsb.clamp(min=SMALLEST_STEP)[self.psum_group], zero[self.psum_group]

    def slice_factors(self) -> Any:
        """Factors [groups, conversions] of weight slices."""
        return slowed(self.slice_scale, float(self.weight.numel() ** -0.5)).clamp(min=SMALLEST_FACTOR)

    def _real(self, made: Written) -> Any:
        """Weights [copies * N, K] that the integers stand for."""
        block = torch.as_tensor(self.wiring.cut.block, device=made.scale.device)
        real = made.integers * made.scale.gather(1, block)
        return real if made.offset is None else real + made.offset.gather(1, block)

    def _ideal(self, u: Any, made: Written) -> Any:
        """One convolution: converters lose nothing."""
        g = self.geometry
        kernel = self._real(made).reshape(self.copies, self.outputs, g.channels_in, g.kernel_h, g.kernel_w).sum(dim=0)
        return torch.nn.functional.conv2d(u, kernel, None, *self.wiring.window)

    def _weighed(self, sums: Any, scale: Any) -> Any:
        """sum over groups of sums [images, groups, ...] times scale [copies * N, row blocks]."""
        return torch.einsum("bghw,gn->bnhw", sums, self.wiring.by_group(scale))

    def _through(self, u: Any, made: Written) -> Any:
        """Codes through input slices, arrays, converters and shift-add."""
        seen = seen_by_converters(made.integers, self.macro, self.gradient)
        if self.deviation is not None:
            seen = seen + self.deviation
        filters = self.wiring.filters(seen.flatten(0, 1))
        scale = self.wiring.by_group(made.scale)  # [groups, N]
        factor = scale[:, :, None] * self.place
        top = scale
        if self.slice_scale is not None:
            numbers = self.wiring.by_group(self.groups.by_block.to(scale.device))
            shares = self.slice_factors()[numbers]
            factor, top = factor * shares, scale * shares[:, :, -1]
        total: Any = 0.0
        for place, part in zip(self.input_places, self._input_slices(u)):
            psums = self.wiring.psums(part, filters)
            y = self._converted(psums.flatten(2), factor.reshape(-1))
            total = total + place * y.unflatten(2, psums.shape[2:])
        weight = self.macro.weight
        if weight.encoding in ("offset", "binary"):
            sums = torch.einsum("bghw,gn->bnhw", self.wiring.input_sums(u), top)
            total = 2 * total - sums if weight.encoding == "binary" else total - 2 ** (weight.bits - 1) * sums
        return total

    def _input_slices(self, u: Any) -> list[Any]:
        """The codes of every input slice; each passes its share of the gradient."""
        if len(self.input_places) == 1:
            return [u]
        given = self.macro.input
        whole = u.detach().to(torch.int64) & (2**given.bits - 1)
        parts = []
        for i, place in enumerate(self.input_places):
            digit = ((whole >> (i * given.dac_bits)) & (2**given.dac_bits - 1)).to(u.dtype)
            parts.append(digit + (u - u.detach()) / (place * len(self.input_places)))
        return parts

    def _converted(self, psums: Any, factor: Any) -> Any:
        shape, block_of = Shape(self.outputs, self.conversions), self.wiring.block_of
        if self.converter == "table":
            tables = (self.thresholds[block_of].flatten(0, 1), self.levels[block_of].flatten(0, 1))
            return looked_up(psums, *tables, factor, shape)
        if self.converter == "fixed":
            lsb, zero = self.fixed_lsb, self.fixed_zero
        else:
            lsb, zero = self.learned_steps(psums.shape[1] * psums.shape[2] // len(self.psum_scale))
        return converted(psums, lsb[block_of].flatten(), zero[block_of].flatten(), factor, self.top, shape)
