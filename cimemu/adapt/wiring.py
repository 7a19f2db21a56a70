"""Where the weights and channels of a convolution go in the grouped convolution of its arrays: indices only."""

from typing import Any

import numpy as np
import torch

from cimemu.adapt.one_pixel import met
from cimemu.arch.macro import Macro
from cimemu.layer.macro_layer import Geometry
from cimemu.mapping.layout import make_layout
from cimemu.ptq.cut import Cut, make_cut

LANES = 8  # channels of a group are filled up to a multiple of these: such convolutions take half the time


class Wiring(torch.nn.Module):
    """The physical form: group g of wordlines meets its own channels alone."""

    def __init__(self, geometry: Geometry, macro: Macro) -> None:
        """For an ungrouped convolution on `macro`."""
        super().__init__()
        rows, area = geometry.rows_per_group, geometry.kernel_area
        spans = make_layout(rows, geometry.channels_out, macro, area).group_spans
        self.cut: Cut = make_cut(1, rows, geometry.channels_out, area, macro)
        self.groups = len(spans)
        channels = [np.arange(first // area, -(-last // area)) for _, first, last in spans]
        slots = -(-max(len(mine) for mine in channels) // LANES) * LANES
        self.together = geometry.channels_in <= slots  # one convolution of all channels costs no more, nothing is moved
        if self.together:
            slots = geometry.channels_in
        take = np.full((self.groups, slots, area), rows, dtype=np.int64)  # row `rows` is an empty place
        order = np.zeros((self.groups, slots), dtype=np.int64)
        for g, ((_, first, last), mine) in enumerate(zip(spans, channels)):
            held = np.arange(slots) if self.together else mine
            order[g, : len(held)] = held
            k = held[:, None] * area + np.arange(area)
            take[g, : len(held)] = np.where((k >= first) & (k < last), k, rows)
        self.kernel = (slots, geometry.kernel_h, geometry.kernel_w)
        self._keep("order", torch.from_numpy(order.ravel()))
        self._keep("take", torch.from_numpy(take.ravel()))
        self._keep("block_of", torch.tensor([block for block, _, _ in spans]))
        present = (take < rows).astype(np.float32).reshape(self.groups, *self.kernel)
        self._keep("present", torch.from_numpy(present))
        edges = present.min(axis=(2, 3)), present.max(axis=(2, 3))
        self.whole = bool((edges[0] == edges[1]).all())  # no kernel lies in two groups
        place_of = np.zeros(geometry.channels_in, dtype=np.int64)
        for g, mine in enumerate(channels):
            place_of[mine] = g * slots + np.arange(len(mine))
        self._keep("place_of", torch.from_numpy(place_of))
        member = np.zeros((self.groups, geometry.channels_in, 1, 1), dtype=np.float32)
        for g, mine in enumerate(channels):
            member[g, mine] = 1
        self._own(torch.from_numpy(member))
        self.strides = (geometry.stride_h, geometry.stride_w)  # of padded codes; those of what `met` leaves of them:
        self.window = (met(member, self.kernel[1:], self.strides)[1], 0, (geometry.dilation_h, geometry.dilation_w))

    def _own(self, member: Any) -> None:
        """Channels of every group [groups, channels, 1, 1]."""
        self._keep("member", member)
        self._keep("box", torch.ones(len(member), 1, *self.kernel[1:]))

    def _keep(self, name: str, value: Any) -> None:
        self.register_buffer(name, value, persistent=False)

    def filters(self, seen: Any) -> Any:
        """[groups * columns, slots, *kernel] of what columns see of rows, [columns, K]."""
        flat = torch.nn.functional.pad(seen, (0, 1))
        taken = flat[:, self.take].reshape(len(seen), self.groups, -1)
        return taken.transpose(0, 1).reshape(-1, *self.kernel)

    @property
    def apart(self) -> int:
        """Groups of the convolution."""
        return 1 if self.together else self.groups

    def met(self, u: Any) -> Any:
        """Of padded codes [images, channels, height, width], those that any window has; all methods take these."""
        return met(u, self.kernel[1:], self.strides)[0]

    def arranged(self, u: Any) -> Any:
        """Codes [images, channels, ...] as the convolution takes them."""
        if self.together:
            return u
        return Arranged.apply(u, self.order, self.place_of) if self.whole else u[:, self.order]

    def psums(self, u: Any, filters: Any) -> Any:
        """Partial sums [images, groups * columns, height, width] of codes [images, channels, ...]."""
        return torch.nn.functional.conv2d(self.arranged(u), filters, None, *self.window, self.apart)

    def input_sums(self, u: Any) -> Any:
        """Sums of the codes of every group's wordlines, [images, groups, height, width]."""
        if not self.whole:
            return self.psums(u, self.present)
        by_group = torch.nn.functional.conv2d(u, self.member)  # channels first: a convolution of few channels is left
        return torch.nn.functional.conv2d(by_group, self.box, None, *self.window, self.groups)

    def by_group(self, scale: Any) -> Any:
        """[groups, N] of values [N, row blocks]."""
        return scale[:, self.block_of].T


class Arranged(torch.autograd.Function):
    """Channels `u[:, order]`; those that fill groups up meet empty rows, so the gradient is that at `place_of` each one."""

    @staticmethod
    def forward(ctx: Any, u: Any, order: Any, place_of: Any) -> Any:
        """[images, groups * slots, height, width]."""
        ctx.save_for_backward(place_of)
        return u[:, order]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """[images, channels, height, width]."""
        return grads[0][:, ctx.saved_tensors[0]], None, None


class ParityWiring(Wiring):
    """ColumnQuant's public form: every array has filters of its own for all channels (read in its code; cimemu docs quantisation).

    Filters are [arrays * N, K], one row block each: no crossbar of these rows can hold them.
    """

    def __init__(self, geometry: Geometry, macro: Macro) -> None:
        """For an ungrouped convolution."""
        super().__init__(geometry, macro)
        self.arrays, outputs, rows = self.groups, geometry.channels_out, geometry.rows_per_group
        self.groups, self.together = 1, True
        self.kernel = (geometry.channels_in, geometry.kernel_h, geometry.kernel_w)
        self._keep("take", torch.arange(rows))
        self._keep("present", torch.ones(1, *self.kernel))
        self.whole = True
        self._own(torch.ones(1, geometry.channels_in, 1, 1))
        self.cut = Cut(
            block=np.zeros((self.arrays * outputs, rows), dtype=np.int64),
            array=np.repeat(np.arange(self.arrays), outputs),
            row_starts=(0,),
            conversions=macro.conversions_per_output,
            kernel_area=geometry.kernel_area,
        )

    def input_sums(self, u: Any) -> Any:
        """Every array has all of them."""
        return super().input_sums(u).expand(-1, self.arrays, -1, -1)

    def by_group(self, scale: Any) -> Any:
        """[arrays, N] of values [arrays * N, 1]."""
        return scale.reshape(self.arrays, -1)
