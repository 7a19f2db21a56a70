"""What a channel costs in macros: the columns that its weights take, by the macro count of CIM-aware adaption."""

from collections.abc import Mapping
from dataclasses import dataclass

from cimemu.adapt.morph.channels import products
from cimemu.arch.macro import Macro
from cimemu.fitting.channels import Channels, Lane
from cimemu.fitting.paper import row_blocks
from cimemu.layer.conv import Conv
from cimemu.workload.network import Network


@dataclass(frozen=True)
class _Product:
    kernel_area: int
    inputs: int  # where they are fixed
    lane: Lane | None
    width: int  # number of the width it makes
    grouped: bool


class Prices:
    """Columns of a network's products as its widths change; reconstructed after arXiv 2510.14379 (stage 1, step 1).

    A product of `Cin` input and `Cout` output channels takes `G Cout S` columns, `n = floor(rows / K^2)`,
    `G = ceil(Cin / n)`, S columns an output (see `cimemu.fitting.paper`).
    """

    def __init__(self, network: Network, channels: Channels, macro: Macro) -> None:
        self.channels, self.macro = channels, macro
        self.products = []
        for layer in products(network):
            if layer.name not in channels.made:
                continue
            weight = network.constants[layer.inputs[1]]
            conv = isinstance(layer, Conv)
            area = layer.kernel_shape[0] * layer.kernel_shape[1] if isinstance(layer, Conv) else 1
            grouped = isinstance(layer, Conv) and layer.groups > 1
            inputs = weight.shape[1] if conv else network.types[layer.inputs[0]].shape[-1]
            self.products.append(
                _Product(area, inputs, channels.read.get(layer.name), channels.made[layer.name], grouped)
            )

    def columns(self, widths: Mapping[int, int]) -> int:
        """Of the whole network, where roots have `widths`."""
        return sum(
            self._blocks(p, widths) * self.channels.size(p.width, dict(widths)) * self.macro.output_width
            for p in self.products
        )

    def parameters(self, widths: Mapping[int, int]) -> int:
        """Weights of all products."""
        return sum(
            self._inputs(p, widths) * p.kernel_area * self.channels.size(p.width, dict(widths)) for p in self.products
        )

    def price(self, root: int, widths: Mapping[int, int]) -> float:
        """Columns of one more channel of `root`: those that it makes, and its share of those that read it."""
        columns = 0.0
        for p in self.products:
            if self.channels.root(p.width) == root:
                columns += self._blocks(p, widths)
            if p.lane is not None and not p.grouped:
                times = p.lane.repeat * sum(self.channels.root(part) == root for part in p.lane.parts)
                columns += (
                    times * self.channels.size(p.width, dict(widths)) * p.kernel_area / self.macro.rows if times else 0
                )
        return columns * self.macro.output_width

    def kernel_areas(self, root: int) -> float:
        """K^2 of every product that makes or reads a channel of `root`."""
        areas = 0.0
        for p in self.products:
            areas += p.kernel_area * (self.channels.root(p.width) == root)
            if p.lane is not None and not p.grouped:
                areas += p.kernel_area * p.lane.repeat * sum(self.channels.root(part) == root for part in p.lane.parts)
        return areas

    def _inputs(self, product: _Product, widths: Mapping[int, int]) -> int:
        if product.lane is None or product.grouped:
            return product.inputs
        return self.channels.width(product.lane, dict(widths))

    def _blocks(self, product: _Product, widths: Mapping[int, int]) -> int:
        return row_blocks(self._inputs(product, widths), product.kernel_area, self.macro.rows)
