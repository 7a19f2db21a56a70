"""The adapted network: a QDQ graph in torch whose products are fake macros; in evaluation mode it is the chip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cimemu.adapt.cell_draws import CellDraws
from cimemu.adapt.chip import Chip
from cimemu.adapt.codes import codes_of, smooth_codes
from cimemu.adapt.fake_digital import FakeDigital
from cimemu.adapt.fake_macro import FakeMacro
from cimemu.adapt.integers import TrainedParts, integer_network
from cimemu.adapt.module import TWINS, twin
from cimemu.adapt.reads import Reads
from cimemu.adapt.rounding import SMALLEST_SHARE, bounded, limit_gradient, slowed, within
from cimemu.arch.schema import Arch
from cimemu.errors import WorkloadError
from cimemu.layer.activation import Clip
from cimemu.layer.base import Layer
from cimemu.layer.execute import run_float
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear
from cimemu.ptq.apply import macro_of
from cimemu.ptq.qdq import Step
from cimemu.ptq.scheme import Scheme
from cimemu.ptq.widths import MOVES
from cimemu.workload.network import Network

TRAINED_CHIPS = 1 << 30  # first trial of the chips that are trained on: no other trial meets one of them
SHARPNESS = (1.0, 10.0)  # of smooth activations, from the first step to the last, geometrically
LEAST_SPREAD = np.float32(1e-3)  # of a channel that the float network leaves constant


@dataclass(frozen=True)
class Products:
    """What multiplies, by layer name: macros, and what a scheme leaves on the digital unit."""

    macros: Mapping[str, FakeMacro]
    digital: Mapping[str, FakeDigital]


class ActivationStep(torch.nn.Module):
    """Real values to codes `clamp(rint(x / step) + zero, low, high)` of a learned step (LSQ)."""

    def __init__(self, scale: float, zero: int, low: int, high: int, largest: float | None, *, smooth: bool) -> None:
        """`largest`: the step's bound, where an activation's clamp is this saturation."""
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(float(scale)))
        self.smallest = float(scale) * SMALLEST_SHARE
        self.zero, self.low, self.high, self.largest = zero, low, high, largest
        self.smooth, self.sharpness = smooth and zero == low, SHARPNESS[0]

    def step(self, elements: int = 1) -> Any:
        """The step; `elements` of an image share it (LSQ's gradient share)."""
        share = float((max(1, elements) * (self.high - self.low)) ** -0.5)
        return bounded(slowed(self.scale, share), self.smallest, self.largest)

    def forward(self, x: Any, step: Any) -> Any:
        """Codes."""
        if self.smooth:
            return smooth_codes(x, step, self.high - self.low, self.sharpness) + self.low
        return codes_of(x, step, self.zero, self.low, self.high)


class AdaptedModule(torch.nn.Module):
    """`forward(x)`: the network's first output of float images `x`.

    Training mode: differentiable, converters in the forward, batch statistics in the normalisations behind macros.
    Evaluation mode: the integers of the exported network on the chip (`cimemu.adapt.chip`), without gradients.
    """

    def __init__(
        self,
        source: Network,
        fitted: Network,
        arch: Arch,
        scheme: Scheme,
        products: Products,
        *,
        smooth: bool,
    ) -> None:
        """`source` float with biases, `fitted` its integer network with first steps."""
        super().__init__()
        assert fitted.qdq is not None
        self.source, self.arch, self.scheme, self.graph = source, arch, scheme, fitted.qdq
        self.first_converters = dict(fitted.converters)
        self.chosen = macro_of(arch, scheme)
        self.macro_names, self.digital_names = list(products.macros), list(products.digital)
        self.macros = torch.nn.ModuleList(list(products.macros.values()))
        self.digital = torch.nn.ModuleList(list(products.digital.values()))
        self.activations = torch.nn.ModuleList()
        self.tensors: dict[str, int] = {}  # tensor -> its activation step
        for layer in self.graph.layers:
            if isinstance(layer, QuantizeLinear):
                self._own_step(layer, smooth)
        self.draws: list[CellDraws] = []
        self._chip: Chip | None = None

    def _own_step(self, layer: QuantizeLinear, smooth: bool) -> None:
        """One step a tensor; what only moves values shares the step of what it moves."""
        graph = self.graph
        name = layer.inputs[1].removesuffix("_scale")
        scale, zero = float(graph.constants[layer.inputs[1]]), int(graph.constants[layer.inputs[2]])
        low, high = layer.limits
        for after in graph.layers:
            if isinstance(after, Clip) and after.inputs[0] == layer.outputs[0]:
                low, high = int(after.low or low), int(after.high or high)
        maker = next((p for p in graph.layers if layer.inputs[0] in p.outputs), None)
        if maker is not None and maker.op in MOVES:
            before = self.tensors.get(_tensor_of(maker.inputs[0]))
            if before is not None:
                other: Any = self.activations[before]
                if other.zero == zero and float(other.scale.detach()) == np.float32(scale):
                    self.tensors[name] = before
                    return
        self.tensors[name] = len(self.activations)
        largest = self._bound(name, zero, high)
        self.activations.append(ActivationStep(scale, zero, low, high, largest, smooth=smooth))

    def _bound(self, name: str, zero: int, high: int) -> float | None:
        """The largest step for which the codes' saturation is the Clip that alone reads the tensor."""
        readers = [layer for layer in self.source.layers if name in layer.inputs]
        only = readers[0] if len(readers) == 1 else None
        if isinstance(only, Clip) and only.high is not None and high > zero:
            return float(only.high) / (high - zero)
        return None

    def forward(self, x: Any) -> Any:
        """[images, ...] of float images [images, ...]."""
        if not self.training:
            return torch.from_numpy(self.chip().run(x.detach().cpu().contiguous().numpy())).to(x.device)
        return self.traced(x)

    def traced(self, x: Any) -> Any:
        """The training forward."""
        known: dict[str, Any] = {self.graph.inputs[0]: x}
        codes: dict[str, tuple[Any, Any, int]] = {}  # (codes, step, zero point) of quantised tensors
        for layer in self.graph.layers:
            out = layer.outputs[0]
            if isinstance(layer, QuantizeLinear):
                activation: Any = self.activations[self.tensors[layer.inputs[1].removesuffix("_scale")]]
                real = _reals(layer.inputs[0], known, codes)
                step = activation.step(real[0].numel())
                codes[out] = activation(real, step), step, activation.zero
            elif layer.inputs[0] in codes and isinstance(layer, Clip):
                codes[out] = codes[layer.inputs[0]]
            elif isinstance(layer, DequantizeLinear):
                if layer.inputs[0] in codes:
                    codes[out] = codes[layer.inputs[0]]
            elif layer.name in self.macro_names:
                known[out] = self._product(layer, *codes[layer.inputs[0]])
            elif layer.name in self.digital_names:
                made: Any = self.digital[self.digital_names.index(layer.name)]
                known[out] = made(_reals(layer.inputs[0], known, codes))
            else:
                for name in layer.inputs:
                    _reals(name, known, codes)
                known[out] = self._other(layer, known)
        return _reals(self.graph.outputs[0], known, codes)

    def _product(self, layer: Layer, codes: Any, step: Any, zero: int) -> Any:
        macro: Any = self.macros[self.macro_names.index(layer.name)]
        g = macro.geometry
        u = codes + macro.drive_offset if macro.drive_offset else codes
        if u.ndim == 4 and u.shape[1:] == (g.channels_in, g.height_in, g.width_in):
            return macro(u, step, float(zero + macro.drive_offset))
        rows = u.reshape(len(u), g.height_in, g.width_in, g.channels_in).permute(0, 3, 1, 2)
        y = macro(rows, step, float(zero + macro.drive_offset)).permute(0, 2, 3, 1)
        return y.reshape(len(u), *self.graph.types[layer.outputs[0]].shape)

    def _other(self, layer: Layer, known: Mapping[str, Any]) -> Any:
        if not isinstance(layer, tuple(TWINS)):
            raise layer.error("cannot be trained")
        device = self.activations[0].scale.device  # type: ignore[union-attr]
        operands = [
            known[name] if name in known else torch.as_tensor(np.asarray(self.graph.constants[name]), device=device)
            for name in layer.inputs
        ]
        return twin(layer)(torch, self, layer, operands)

    def set_norms(self, images: Any) -> None:
        """First normalisations behind macros, from `images` [images, ...].

        With uniform weights they change nothing: mean and variance of what macros give. Two levels a weight give outputs far
        from those of the float network, which grow from block to block: then outputs get the float network's mean and
        variance (without that, closed-form weights ended at chance).
        """
        products = self._products()
        biases = {p.name: self.source.constants[p.inputs[2]] for p in self.source.layers if p.name in products}
        moments = self._float_moments(images) if self.scheme.one_bit else {}
        hooks = []
        self.train()
        for name, macro in products.items():
            bias = torch.from_numpy(np.array(biases[name], dtype=np.float32).reshape(-1))
            if macro.norm is None:
                macro.bias.data = bias
                continue
            macro.norm.reset_running_stats()
            macro.norm.momentum = None  # the mean of all batches
            macro.norm.bias.data = bias
            if name in moments:
                macro.norm.bias.data, macro.norm.weight.data = moments[name]
            else:  # meanwhile what goes in comes out, with the bias
                hooks.append(macro.norm.register_forward_hook(_plain(bias)))
        with torch.no_grad():
            for first in range(0, len(images), 64):
                self.traced(torch.from_numpy(np.asarray(images[first : first + 64], dtype=np.float32)))
        for hook in hooks:
            hook.remove()
        for name, macro in products.items():
            if macro.norm is not None:
                norm: Any = macro.norm
                norm.momentum = 0.1
                if name not in moments:
                    norm.weight.data = (norm.running_var + norm.eps).sqrt()
                    norm.bias.data = norm.bias.data + norm.running_mean
        self.eval()

    def _products(self) -> dict[str, Any]:
        """What multiplies, by layer name."""
        return {**dict(zip(self.macro_names, self.macros)), **dict(zip(self.digital_names, self.digital))}

    def _float_moments(self, images: Any) -> dict[str, tuple[Any, Any]]:
        """(mean, standard deviation) [N] of the float network's convolutions, by layer."""
        macros: dict[str, Any] = dict(zip(self.macro_names, self.macros))
        outputs = {
            p.name: p.outputs[0] for p in self.source.layers if p.name in macros and macros[p.name].norm is not None
        }
        real = run_float(self.source, np.asarray(images, dtype=np.float32), list(outputs.values()))
        found = {}
        for name, tensor in outputs.items():
            mean, spread = real[tensor].mean(axis=(0, 2, 3)), real[tensor].std(axis=(0, 2, 3))
            found[name] = torch.from_numpy(mean), torch.from_numpy(np.maximum(spread, LEAST_SPREAD))
        return found

    def train(self, mode: bool = True) -> "AdaptedModule":
        """Training mode forgets the chip of the weights so far."""
        self._chip = None
        super().train(mode)
        return self

    def chip(self) -> Chip:
        """The chip of the present weights."""
        if self._chip is None:
            self._chip = Chip(integer_network(self.parts()), self.arch.macro)
        return self._chip

    def parts(self) -> TrainedParts:
        """The present weights and steps, and what the module was made of."""
        steps: dict[str, Step] = {}
        for name, number in self.tensors.items():
            activation: Any = self.activations[number]
            steps[name] = np.float32(activation.step().detach().cpu().numpy()), activation.zero
        macros: dict[str, Any] = dict(zip(self.macro_names, self.macros))
        digital: dict[str, Any] = dict(zip(self.digital_names, self.digital))
        return TrainedParts(
            self.source, self.arch, self.scheme, self.chosen, macros, digital, steps, self.first_converters
        )

    def vary(self, models: Sequence[str], seed: int) -> None:
        """Varied cells in the training forward, a chip a step, drawn as `stress` draws them. Raises Cimemu's errors."""
        if any(macro.parity for macro in self.macros):
            raise WorkloadError("vary with code_parity: no chip holds its cells, train with one of them")
        self.draws, first = [], 0
        for macro in self.macros:
            self.draws.append(CellDraws(models, self.chosen, seed=seed, first_macro=first))
            cut: Any = macro.wiring.cut
            first += cut.blocks * (int(cut.array.max()) + 1)

    def limit_gradients(self, most: float) -> None:
        """Gradients of learned steps within `most` times the step, before the optimizer takes them.

        LSQ's shares weigh the errors of a step's own rounding. Converters behind it that are much coarser, of few bits for
        wide codes, have errors that its gradient has too, and one of them can be many times the step.
        """
        for activation in self.activations:
            limit_gradient(activation.scale, activation.scale.detach().clamp(min=activation.smallest), most)
        for macro in self.macros:
            macro.limit_gradients(most)

    def begin_step(self, step: int, share: float) -> None:
        """Before every step of training; `share` 0 .. 1 of all steps is done."""
        for activation in self.activations:
            activation.sharpness = SHARPNESS[0] * (SHARPNESS[1] / SHARPNESS[0]) ** share
            activation.scale.data = within(activation.scale.data, activation.smallest, activation.largest)
        for product in self._products().values():
            product.keep_in_bounds()
        for macro, draws in zip(self.macros, self.draws):
            g = macro.geometry
            integers = macro.written().integers.detach().round().to(torch.int64).cpu().numpy()
            more, spread = draws.drawn(np.ascontiguousarray(integers.T), g.kernel_area, TRAINED_CHIPS + step)
            macro.reads = (
                None if spread is None else Reads(torch.from_numpy(spread), (draws.seed, draws.first_macro, step))
            )
            macro.deviation = (
                torch.from_numpy(more).T.reshape(g.channels_out, macro.conversions, -1).to(macro.weight.device)
            )


def _tensor_of(name: str) -> str:
    """The tensor behind a DequantizeLinear's output."""
    return name.removesuffix("_DequantizeLinear_Output")


def _reals(name: str, known: dict[str, Any], codes: Mapping[str, tuple[Any, Any, int]]) -> Any:
    """A tensor's real values, made of its codes where something else than a macro reads them."""
    if name not in known and name in codes:
        values, step, zero = codes[name]
        known[name] = (values - zero if zero else values) * step
    return known.get(name)


def _plain(bias: Any) -> Any:
    """A hook: what went in, with the bias, in the place of what a normalisation makes of it."""
    return lambda module, inputs, output: inputs[0] + bias[:, None, None]
