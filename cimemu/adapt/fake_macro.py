"""The fake-macro layer: a convolution (or product) whose training forward meets arrays, slices and converters.

The arrays' filters lie side by side in one grouped convolution, and its outputs are the partial sums that converters
get: no loop over arrays or slices. Inference does not run here: `cimemu.adapt.chip` computes the chip's integers.
"""

from typing import Any, Literal, assert_never

import numpy as np
import torch

from cimemu.adapt.digits import seen_by_converters
from cimemu.adapt.held import hold, may_overflow
from cimemu.adapt.products import products
from cimemu.adapt.psum_conv import Convolution
from cimemu.adapt.psum_shares import PsumUse, psum_shares
from cimemu.adapt.psums import Converters, Steps, Tables, converted
from cimemu.adapt.reads import Reads
from cimemu.adapt.rounding import SMALLEST_SHARE, bounded, limit_gradient, slowed, within
from cimemu.adapt.skipped import by_columns, left_out, levels_of_zero
from cimemu.adapt.weights import Groups, Written, binary, uniform
from cimemu.adapt.wiring import ParityWiring, Wiring
from cimemu.arch.macro import Macro
from cimemu.encoding import UNCORRECTED
from cimemu.errors import WorkloadError
from cimemu.layer.macro_layer import Geometry
from cimemu.macro.encode import columns_of, input_slice_weights
from cimemu.macro.matrix import has_reference_column
from cimemu.ptq.scheme import BinaryWeights, Scheme

POSITIVE = ("weight_scale", "slice_scale", "psum_scale")  # parameters that are steps: they stay above 0


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
        self.gradient_type = "float32"  # what the gradients of partial sums are multiplied as
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
            self.start_scale("weight_scale", self.weight_scale.data)
            if rule.slice_scales:
                self.slice_scale = torch.nn.Parameter(torch.ones(self.groups.count, self.conversions))
                self.start_scale("slice_scale", self.slice_scale.data)
        self.converter: Literal["none", "learned", "fixed", "table"] = "none"
        self.top = 0
        self.drive_offset = 0  # what is added to codes on their way to the wordlines
        self.deviation: Any = None  # [N, conversions, K] that varied cells add
        self.reads: Reads | None = None  # noise of single reads
        place = torch.tensor(columns_of(macro).weight, dtype=torch.float32)
        self.register_buffer("place", place, persistent=False)
        self.input_places = [float(v) for v in input_slice_weights(macro)]
        self.has_reference = has_reference_column(macro)
        array = torch.from_numpy(self.wiring.cut.array[: self.outputs])
        last = [int((array == a).nonzero().max()) + 1 for a in range(int(array.max()) + 1)]
        # all-ones columns are converted by the references of their array's last column
        self.register_buffer("last_column", torch.tensor(last) * self.conversions - 1, persistent=False)
        by_slice = torch.arange(self.outputs * self.conversions).reshape(-1, self.conversions).T.flatten()
        self.register_buffer("by_slice", by_slice, persistent=False)
        self.register_buffer("of_array", torch.nn.functional.one_hot(array).T.float(), persistent=False)

    def start_scale(self, name: str, first: Any) -> None:
        """A learned step's first values; it never falls below a share of them."""
        getattr(self, name).data = first.to(torch.float32)
        self.register_buffer(f"{name}_least", getattr(self, name).detach() * SMALLEST_SHARE, persistent=False)

    def bounded_scale(self, name: str) -> Any:
        """A learned step as the forward and the chip have it."""
        return within(getattr(self, name).detach(), getattr(self, f"{name}_least"))

    def keep_in_bounds(self) -> None:
        """Parameters that the last step drove out of their bounds are put on them; so are gains, which the chip has >= 0."""
        for name in POSITIVE:
            if getattr(self, name, None) is not None:
                getattr(self, name).data = self.bounded_scale(name)
        if self.norm is not None:
            self.norm.weight.data.clamp_(min=0)

    def limit_gradients(self, most: float) -> None:
        """Gradients of learned steps within `most` times the step, of a converter's zero within that of its range."""
        for name in POSITIVE:
            if getattr(self, name, None) is not None:
                limit_gradient(getattr(self, name), self.bounded_scale(name), most)
        if self.converter == "learned":
            limit_gradient(self.psum_zero_step, self.bounded_scale("psum_scale") * self.top, most)

    def learn_steps(self, lsb: Any, zero: Any, number: Any, top: int, input_step: float) -> None:
        """A linear converter of learned steps [groups]; `number` [row blocks, columns] says which. Weights have theirs already."""
        self.converter, self.top = "learned", top
        self.register_buffer("psum_group", number, persistent=False)
        self.psum_scale = torch.nn.Parameter(lsb.to(torch.float32))
        self.start_scale("psum_scale", lsb)
        self.psum_zero_step = torch.nn.Parameter(zero.to(torch.float32))
        with torch.no_grad():
            factor, correction = self.factors(self.written().scale)
        use = PsumUse(
            factor=factor,
            correction=correction,
            rule=self.macro.correction,
            input_places=self.input_places,
            block_of=self.wiring.block_of,
            last_columns=self.last_column if self.has_reference else None,
            of_array=self.of_array,
            positions=self.geometry.positions,
            top=top,
        )
        self.register_buffer("psum_share", psum_shares(use, number, len(lsb), input_step), persistent=False)

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
        return uniform(self.weight, self.weight_scale, self.weight_scale_least, self.groups, rule)

    def forward(self, u: Any, step: Any, zero: float) -> Any:
        """Training forward; gradients reach weights and steps."""
        g = self.geometry
        pads = (g.pad_left, g.pad_right, g.pad_top, g.pad_bottom)
        if any(pads):
            u = torch.nn.functional.pad(u, pads, value=zero)
        u = self.wiring.met(u)
        made = self.written()
        made = made._replace(scale=made.scale * step, offset=None if made.offset is None else made.offset * step)
        ideal, holds = self.converter == "none", self._holds()
        seen = None
        if not ideal or holds or self.slice_scale is not None:
            seen = seen_by_converters(made.integers, self.macro, self.gradient)
        if holds:
            y = self._held(u, made, seen)
        else:
            y = self._ideal(u, made, seen) if ideal else self._through(u, made, seen)
        if zero:
            real = self._real(made, seen)
            y = y - zero * real.reshape(self.copies, self.outputs, -1).sum(dim=(0, 2))[:, None, None]
        return y + self.bias[:, None, None] if self.norm is None else self.norm(y)

    def learned_steps(self) -> tuple[Any, Any]:
        """(lsb, zero) [row blocks, columns] in psums."""
        lsb = bounded(slowed(self.psum_scale, self.psum_share), self.psum_scale_least)
        return lsb[self.psum_group], slowed(self.psum_zero_step, self.psum_share)[self.psum_group]

    def slice_factors(self) -> Any:
        """Factors [groups, conversions] of weight slices."""
        return bounded(slowed(self.slice_scale, float(self.weight.numel() ** -0.5)), self.slice_scale_least)

    def _by_weight(self, values: Any) -> Any:
        """[copies * N, K] of values [copies * N, row blocks]."""
        return values.gather(1, torch.as_tensor(self.wiring.cut.block, device=values.device))

    def _added(self, columns: Any) -> Any:
        """[N, K]: what columns [N, conversions, K] add up to, by place and slice factor."""
        if self.slice_scale is None:
            return torch.einsum("nvk,v->nk", columns, self.place)
        shares = self.slice_factors()[self.groups.by_weight.to(columns.device)]
        return torch.einsum("nvk,nkv->nk", columns, shares * self.place)

    def _real(self, made: Written, seen: Any) -> Any:
        """Weights [copies * N, K] that the integers stand for; `seen` [copies * N, conversions, K] where slices differ."""
        real = made.integers
        if self.slice_scale is not None:
            real = self._added(seen.digits)
            if self.macro.correction != UNCORRECTED:  # the correction has the top slice's factor
                top = self.slice_factors()[:, -1][self.groups.by_weight.to(real.device)]
                real = self.macro.correction.applied(real, top)
        real = real * self._by_weight(made.scale)
        return real if made.offset is None else real + self._by_weight(made.offset)

    def _ideal(self, u: Any, made: Written, seen: Any) -> Any:
        """One convolution: converters lose nothing."""
        g, real = self.geometry, self._real(made, seen)
        if self.deviation is not None:
            real = real + self.macro.correction.of_y * self._added(self.deviation) * self._by_weight(made.scale)
        kernel = real.reshape(self.copies, self.outputs, g.channels_in, g.kernel_h, g.kernel_w).sum(dim=0)
        y = torch.nn.functional.conv2d(u, kernel, None, *self.wiring.window)
        return y if self.reads is None else y + self._read_errors(u, y, made, self.reads)

    def _read_errors(self, u: Any, y: Any, made: Written, reads: Reads) -> Any:
        """What all reads of an output together add where converters lose nothing."""
        factor = self.factors(made.scale)[0].detach()  # [groups, N, conversions]
        spread = reads.spread.to(factor.device)[self.wiring.block_of].unflatten(1, factor.shape[1:])
        unit = float(self.macro.correction.of_y) ** 2
        by_group = unit * ((factor * spread) ** 2).sum(dim=2)
        variance = by_group.sum(dim=0)[:, None, None] * sum(place**2 for place in self.input_places)
        if self.macro.timing.skip_zero_slices:
            for place, part in zip(self.input_places, self._input_slices(u.detach())):
                skipped = left_out(self.wiring, part, self.macro)
                variance = variance - place**2 * torch.einsum("bghw,gn->bnhw", skipped, by_group)
        return reads.noise(y.shape, variance.clamp(min=0).sqrt(), reads.generator(0))

    def _read_noise(self, part: int, chosen: Any, skipped: Any) -> Any:
        """Draws of the `chosen` columns' reads for input slice `part`, none of skipped steps; None where reads are exact."""
        reads = self.reads
        if reads is None:
            return None
        spread = reads.spread.to(chosen.device)[:, chosen][self.wiring.block_of].flatten()
        generator = reads.generator(part)

        def drawn(shape: Any, images: slice = slice(None)) -> Any:
            noise = reads.noise(shape, spread, generator)
            return noise if skipped is None else noise * (1 - by_columns(skipped[images], len(chosen)).reshape(shape))

        return drawn

    def _through(self, u: Any, made: Written, seen: Any) -> Any:
        """Codes through input slices, arrays, converters, shift-add and corrections."""
        digits, kind = seen.digits, self.gradient_type
        if self.deviation is not None:
            digits = digits + self.deviation
        columns = digits.unflatten(0, (self.copies, self.outputs)).transpose(1, 2).flatten(0, 2)
        filters, integers = self.wiring.filters(columns), self.wiring.filters(made.integers)
        groups = self.wiring.groups * self.copies
        given = self.macro.input
        negative = given.signed and len(self.input_places) == 1
        largest = None if self.deviation is not None or negative else 2**given.dac_bits - 1
        how = Convolution(self.wiring.window, self.wiring.apart, groups, self.conversions, seen.slopes, largest, kind)
        factor, top = self.factors(made.scale)
        parts, steps = self._input_slices(u), self._steps()
        converters = self._converters(steps, factor.transpose(1, 2).reshape(-1), self.by_slice)
        total: Any = 0.0
        for i, (place, part) in enumerate(zip(self.input_places, parts)):
            skipped = left_out(self.wiring, part, self.macro)
            noise = self._read_noise(i, self.by_slice, skipped)
            total = total + place * products(
                self.wiring.arranged(part), filters, integers, how, converters, self.outputs, noise
            )
            if skipped is not None:
                nothing = levels_of_zero(converters, groups, self.outputs)
                total = total - place * torch.einsum("bghw,gn->bnhw", skipped, nothing)
        correction = self.macro.correction
        if correction != UNCORRECTED:
            sums = self._converted_sums(parts, steps, top) if self.has_reference else self._sums(u, top)
            total = correction.applied(total, sums)
        return total if made.offset is None else total + self._sums(u, self.wiring.by_group(made.offset))

    def _holds(self) -> bool:
        """Whether running sums could leave the accumulator, whatever the weights."""
        if self.macro.accumulator_bits is None:
            return False
        largest = None
        match self.converter:
            case "table":
                largest = float(self.levels.abs().max())
            case "fixed":
                ends = torch.maximum(self.fixed_zero.abs(), (self.fixed_zero + self.top * self.fixed_lsb).abs())
                largest = float(ends.max())
            case "none" | "learned":
                pass
            case other:
                assert_never(other)
        rows = int(np.bincount(self.wiring.cut.block[0]).max())
        return may_overflow(self.macro, rows, largest)

    def _held(self, u: Any, made: Written, seen: Any) -> Any:
        """The same step by step: a running integer of each row block and output, held after every group and slice."""
        digits = seen.digits if self.deviation is None else seen.digits + self.deviation
        filters = self.wiring.filters(digits.transpose(0, 1).flatten(0, 1))
        parts, top = self._input_slices(u), self.wiring.by_group(made.scale)
        psums, left = [], []
        for i, part in enumerate(parts):
            all_columns, skipped = self.wiring.psums(part, filters), left_out(self.wiring, part, self.macro)
            noise = self._read_noise(i, self.by_slice, skipped)
            if noise is not None:
                all_columns = all_columns + noise(all_columns.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
            columns = all_columns.unflatten(1, (self.wiring.groups, -1))
            psums.append(columns.permute(1, 0, 3, 4, 2))  # [groups, images, height, width, columns]
            left.append(None if skipped is None else skipped.permute(1, 0, 2, 3)[..., None])
        steps = None if self.converter == "none" else self._steps()
        running: list[Any] = [0.0] * len(self.wiring.cut.row_starts)
        for g, block in enumerate(self.wiring.block_of.tolist()):
            for place, columns, skipped in zip(self.input_places, psums, left):
                value = self._values(columns[g], steps, block).double()
                if skipped is not None:
                    value = value - (value * skipped[g]).detach()
                running[block] = hold(running[block] + place * value, self.macro)
        added = sum(held.float() * made.scale[:, block] for block, held in enumerate(running))
        total: Any = added.permute(0, 3, 1, 2)  # type: ignore[union-attr]
        correction = self.macro.correction
        if correction != UNCORRECTED:
            exact = steps is None or not self.has_reference
            sums = self._sums(u, top) if exact else self._converted_sums(parts, self._steps(), top)
            total = correction.applied(total, sums)
        return total

    def _values(self, columns: Any, steps: tuple[Any, Any] | None, block: int) -> Any:
        """What one group gives each output [images, height, width, N], from its partial sums [..., columns]."""
        places = self.place.repeat_interleave(self.outputs)
        flat = columns.flatten(1, 2)
        if steps is None:
            values = (flat * places).unflatten(2, (-1, self.outputs)).sum(dim=2)
        else:
            a, b = (v[block][self.by_slice] for v in steps)
            values = converted(flat.contiguous(), self._rule(a, b, places), self.outputs)
        return values.unflatten(1, columns.shape[1:3])

    def factors(self, scale: Any) -> tuple[Any, Any]:
        """What converted psums [groups, N, conversions] are multiplied by, and the correction [groups, N]."""
        by_group = self.wiring.by_group(scale)
        factor = by_group[:, :, None] * self.place
        if self.slice_scale is None:
            return factor, by_group
        shares = self.slice_factors()[self.wiring.by_group(self.groups.by_block.to(scale.device))]
        return factor * shares, by_group * shares[:, :, -1]

    def _sums(self, u: Any, scale: Any) -> Any:
        """Exact sums of inputs times scale [groups, N], added over groups."""
        return torch.einsum("bghw,gn->bnhw", self.wiring.input_sums(u), scale)

    def _converted_sums(self, parts: list[Any], steps: tuple[Any, Any], scale: Any) -> Any:
        """The same from an all-ones column of every array, which may clip like any other."""
        arrays = len(self.last_column)
        ones = torch.ones(self.wiring.groups * arrays, device=scale.device)
        converters = self._converters(steps, ones, self.last_column)
        total: Any = 0.0
        for i, (place, part) in enumerate(zip(self.input_places, parts)):
            sums = self.wiring.input_sums(part)
            flat = sums.repeat_interleave(arrays, dim=1).permute(0, 2, 3, 1).flatten(1, 2)
            skipped = left_out(self.wiring, part, self.macro)
            noise = self._read_noise(len(parts) + i, self.last_column, skipped)
            flat = flat if noise is None else flat + noise(flat.shape)
            total = total + place * converted(flat, converters, len(ones))
            if skipped is not None:
                nothing = levels_of_zero(converters, 1, len(ones)).flatten()
                total = total - place * by_columns(skipped, arrays).flatten(1, 2) * nothing
        by_array = total.transpose(1, 2).unflatten(2, sums.shape[2:]).unflatten(1, (-1, arrays))
        return torch.einsum("bgahw,gan->bnhw", by_array, scale[:, None] * self.of_array)

    def _input_slices(self, u: Any) -> list[Any]:
        """The codes of every input slice; each passes its share of the gradient."""
        if len(self.input_places) == 1:
            return [u]
        given = self.macro.input
        whole = u.detach().to(torch.int64) & (2**given.bits - 1)
        parts = []
        for place, (lowest, bits) in zip(self.input_places, given.spans):
            digit = ((whole >> lowest) & (2**bits - 1)).to(u.dtype)
            parts.append(digit + (u - u.detach()) / (place * len(self.input_places)))
        return parts

    def _steps(self) -> tuple[Any, Any]:
        """(lsb, zero) or (thresholds, levels) of the converters, [row blocks, columns, ...]."""
        match self.converter:
            case "table":
                return self.thresholds, self.levels
            case "fixed":
                return self.fixed_lsb, self.fixed_zero
            case "learned":
                return self.learned_steps()
            case other:
                raise WorkloadError(f"converter {other} has no steps")

    def _converters(self, steps: tuple[Any, Any], factor: Any, chosen: Any) -> Converters:
        """Converters of the `chosen` columns of every group."""
        a, b = (v[:, chosen][self.wiring.block_of].flatten(0, 1) for v in steps)
        return self._rule(a, b, factor)

    def _rule(self, a: Any, b: Any, factor: Any) -> Converters:
        """Converters of `_steps` [columns, ...], whose values are multiplied by `factor`."""
        match self.converter:
            case "table":
                return Converters(Tables(), (a.T, b.T, factor))
            case "fixed" | "learned":
                return Converters(Steps(self.top), (a, b, factor))
            case other:
                raise WorkloadError(f"converter {other} has no steps")
