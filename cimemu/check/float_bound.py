"""How far the float tensors of two runs of one integer network can be apart, element by element.

Operators of the integer network are exact: of equal integers every implementation makes the same. Between DequantizeLinear
and QuantizeLinear values are float32, where each runtime sums in its own order and has its own exponential; there the bound
grows operator by operator (`cimemu.check.float_rules`), beginning at 0. Where both runs' values are at hand, their real
distance takes the bound's place, and behind integers that were compared it is 0 again: integers decide. Floats whose codes
are equal are at most one step of the codes apart, which keeps bounds finite over many layers of floats, if not small.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cimemu.check.float_rules import Floats, U, gamma, largest, moved, rounded
from cimemu.check.float_rules_more import laid_out
from cimemu.check.forms import Form
from cimemu.check.result_apart import ALL_RULES, cell_apart, result_apart
from cimemu.layer.base import Array, Layer
from cimemu.layer.digital_product import DigitalProduct
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear
from cimemu.layer.recurrent import RecurrentCell
from cimemu.layer.wide import WideSum
from cimemu.layer.written_product import WrittenProduct
from cimemu.workload.network import Network

# Operators that move, choose or negate elements: of exact operands their results are exact.
MOVES = frozenset(
    [
        *(op for op, rule in ALL_RULES.items() if rule in (moved, laid_out, largest)),
        "Split",
        "Where",
        "Relu",
        "Clip",
        "Neg",
        "Abs",
    ]
)
Integers = MacroLayer | DigitalProduct | WrittenProduct  # products of integers
INTEGER_KERNELS = ("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm", "QLinearConv", "QLinearMatMul")


class FloatBounds:
    """Bounds of a network's float tensors, and of codes that are made of floats; `needed` are the tensors it looks at."""

    def __init__(
        self, network: Network, compared: Collection[str], forms: Mapping[str, Form], *, float_runtime: bool = False
    ) -> None:
        """Find the layers whose results are not exact; `float_runtime`: the reference multiplies floats unless its form of
        a product says otherwise."""
        self.network, self.forms, self.float_runtime = network, forms, float_runtime
        self.compared = frozenset(compared)
        self.in_float = frozenset(
            layer.name for layer in network.layers if isinstance(layer, Integers) and self._ran_in_float(layer)
        )
        self.of_float_products = {
            name for layer in network.layers if layer.name in self.in_float for name in layer.outputs
        }
        open_tensors: set[str] = set()
        self.layers: list[Layer] = []
        for layer in network.layers:
            exact = isinstance(layer, DequantizeLinear | QuantizeLinear) or not _rounds(layer, network)
            if layer.name not in self.in_float and exact and not any(name in open_tensors for name in layer.inputs):
                continue
            self.layers.append(layer)
            open_tensors |= {name for name in layer.outputs if not self._decided(name)}
        self.codes = frozenset(  # integers that are made of floats which are not exact
            name
            for layer in self.layers
            for name in layer.outputs
            if self._decided(name) and name not in self.of_float_products
        )
        self.fed = self.codes | (open_tensors & self.compared)  # what the emulator is given as the reference has it
        names = {name for layer in self.layers for name in (*layer.inputs, *layer.outputs)}
        names |= {self._codes(layer) for layer in self.layers if isinstance(layer, WideSum)}
        self.needed = frozenset(name for name in names if name in network.types)

    def feed(self, theirs: Mapping[str, Array]) -> dict[str, Array]:
        """Of what the reference gave, the tensors behind float operators, which the emulator's layers read instead of its own.

        What float operators leave open is then judged where it arises, and never a second time behind it.
        """
        types = self.network.types
        return {
            name: array
            for name in self.fed
            if (array := theirs.get(name)) is not None
            and array.dtype == types[name].dtype
            and array.shape[1:] == types[name].shape
        }

    def of(
        self, ours: Mapping[str, Array], theirs: Mapping[str, Array], feed: Mapping[str, Array] | None = None
    ) -> dict[str, Floats]:
        """Bounds of one batch by tensor; what is not among them is exact. `feed` holds what both sides' layers were given."""
        apart: dict[str, Floats] = {}
        bounds: dict[str, Floats] = {}
        feed = feed or {}
        values, given = {**self.network.constants, **ours}, {**self.network.constants, **ours, **feed}
        for layer in self.layers:
            made = self._apart(layer, given, values, apart)
            if isinstance(layer, QuantizeLinear):
                self._narrow(layer, values, theirs, apart)
            for name, distance in zip(layer.outputs, made):
                bounds[name] = distance
                if self._decided(name) or name in feed:
                    continue
                other = theirs.get(name)
                if other is not None and other.shape == distance.shape and other.dtype.kind in "iufb":
                    with np.errstate(invalid="ignore"):
                        real = np.abs(values[name].astype(np.float64) - other.astype(np.float64))
                    distance = np.where(np.isnan(real), distance, np.minimum(real, distance))
                apart[name] = distance
        return bounds

    def _narrow(
        self, layer: QuantizeLinear, values: Mapping[str, Array], theirs: Mapping[str, Array], apart: dict[str, Floats]
    ) -> None:
        """Floats that both sides turned into one code, not the first or the last, are at most a step apart."""
        name, code = layer.inputs[0], layer.outputs[0]
        other = theirs.get(code)
        if name not in apart or other is None or other.shape != values[code].shape:
            return
        low, high = layer.limits
        inside = (values[code] == other) & (values[code] > low) & (values[code] < high)
        scale = values[layer.inputs[1]].astype(np.float64)
        along = scale.reshape(
            [-1 if axis == layer.axis else 1 for axis in range(inside.ndim)] if scale.size > 1 else ()
        )
        step = np.where(inside, along, np.inf) * (1 + 512 * U)
        apart[name] = np.minimum(np.broadcast_to(apart[name], inside.shape), step)

    def split(self, name: str, distance: Floats | float) -> tuple[Floats | float, Floats | float]:
        """(bound, slack) of a tensor: codes behind a float operator must be equal all the same, those of a product that the
        reference ran in float need not."""
        excused = np.dtype(self.network.types[name].dtype).kind == "f" or name in self.of_float_products
        return (distance, 0.0) if excused else (0.0, distance)

    def _decided(self, name: str) -> bool:
        """Whether a tensor is of integers that were compared: what is behind it is judged as if they were equal."""
        return name in self.compared and np.dtype(self.network.types[name].dtype).kind != "f"

    def _ran_in_float(self, layer: Integers) -> bool:
        """Whether the reference made a product of floats: a QuantizeLinear of its own behind it, or a float operator."""
        operator = self.forms[layer.outputs[0]].operator if layer.outputs[0] in self.forms else ""
        if _makes_float(layer):
            return self.float_runtime and operator not in INTEGER_KERNELS
        return operator in ("QuantizeLinear", "Clip") and self.network.qdq is not None

    def _apart(
        self, layer: Layer, values: Mapping[str, Array], made: Mapping[str, Array], apart: Mapping[str, Floats]
    ) -> Sequence[Floats]:
        """How far the results of a layer are apart; `values` holds its operands, `made` what it computed."""
        operands = [values[name] for name in layer.inputs if name]
        distances = [apart.get(name, np.zeros(())) for name in layer.inputs if name]
        results = [made[name] for name in layer.outputs]
        if any(np.any(d) for d in distances) and isinstance(layer, Integers):
            return [np.full(results[0].shape, np.inf)]
        if isinstance(layer, Integers | WideSum):
            return [self._product(layer, values, results[0])]
        if isinstance(layer, RecurrentCell):
            return cell_apart(layer, operands, distances)
        if layer.op == "DynamicQuantizeLinear":
            return _dynamic(operands[0], np.broadcast_to(distances[0], operands[0].shape), results)
        if layer.op == "HybridQuantize":
            return [np.full(result.shape, np.inf if np.any(distances[0]) else 0.0) for result in results]
        if layer.op == "Split":
            wide = np.asarray(np.broadcast_to(distances[0], operands[0].shape), dtype=np.float64)
            return list(layer.forward([wide]))
        x = [np.asarray(v, dtype=np.float64) for v in operands]
        first = result_apart(layer, x, distances, np.asarray(results[0], dtype=np.float64))
        return [first, *(np.full(result.shape, np.inf) for result in results[1:])]

    def _codes(self, layer: WideSum) -> str:
        """The 16-bit input of a product that is made of parts."""
        assert self.network.qdq is not None
        makers = {name: one for one in self.network.qdq.layers for name in one.outputs}
        return makers[makers[layer.outputs[0]].inputs[0]].inputs[0]

    def _product(self, layer: Integers | WideSum, values: Mapping[str, Array], y: Array) -> Floats:
        """Of equal codes: three roundings of an exact sum, or a float sum where the reference ran one."""
        result = np.asarray(y, dtype=np.float64)
        if isinstance(layer, Integers) and layer.name not in self.in_float:
            return rounded(result, 3) if _makes_float(layer) else np.zeros(result.shape)
        qdq = self.network.qdq
        assert qdq is not None
        makers = {name: one for one in qdq.layers for name in one.outputs}
        wide = isinstance(layer, WideSum)
        source = makers[layer.outputs[0]] if wide else next(one for one in qdq.layers if one.name == layer.name)
        if isinstance(layer, WrittenProduct):
            x, rest = (
                (values[layer.inputs[0]] - float(layer.a.zero_point)) * layer.scale,
                [values[layer.inputs[1]] - float(layer.b.zero_point)],
            )
        else:
            x = _real(makers[source.inputs[0]], values, qdq)
            rest = [np.asarray(qdq.constants[name], dtype=np.float64) for name in source.inputs[1:] if name]
        real = np.asarray(source.forward([x, *rest])[0], dtype=np.float64)
        size = np.asarray(source.forward([np.abs(x), *(np.abs(r) for r in rest)])[0], dtype=np.float64)
        chain = _chain(source, layer.outputs[0], makers)
        low, high = -np.inf, np.inf
        for behind in chain:
            if behind.op == "Add":
                bias = next(qdq.constants[name] for name in behind.inputs if name in qdq.constants)
                real, size = real + bias, size + np.abs(bias)
            else:
                least = 0.0 if behind.op == "Relu" else getattr(behind, "low", None)
                most = getattr(behind, "high", None)
                low = low if least is None else max(low, least)
                high = high if most is None else min(high, most)
        reach = gamma(_terms(layer, rest[0]) + 5) * size * (1 + 1e-5)
        end = makers[layer.outputs[0]]
        if not isinstance(end, QuantizeLinear):
            return np.asarray(reach + rounded(result, 3))
        parameters = [qdq.constants[name] for name in end.inputs[1:] if name]
        ends = [np.clip(real + sign * (reach + 4 * U * np.abs(real)), low, high) for sign in (1, -1)]
        up, down = (np.asarray(end.forward([value, *parameters])[0], dtype=np.float64) for value in ends)
        return np.asarray(np.maximum(np.abs(up - result), np.abs(result - down)))


def _chain(source: Layer, name: str, makers: Mapping[str, Layer]) -> list[Layer]:
    """What lies between a product and the tensor `name`, its QuantizeLinear left out, in order."""
    layers: list[Layer] = []
    while makers[name] is not source:
        layer = makers[name]
        name = next(one for one in layer.inputs if one in makers and not isinstance(makers[one], DequantizeLinear))
        if not isinstance(layer, QuantizeLinear):
            layers.append(layer)
    return layers[::-1]


def _real(dequantize: Layer, values: Mapping[str, Array], qdq: Network) -> Floats:
    """What a DequantizeLinear gives."""
    operands = [values.get(name, qdq.constants.get(name)) for name in dequantize.inputs]
    return np.asarray(dequantize.forward([a for a in operands if a is not None])[0], dtype=np.float64)


def _terms(layer: Integers | WideSum, weight: Floats) -> float:
    """Products that a sum adds."""
    if isinstance(layer, WrittenProduct):
        return float(layer.depth)
    return weight.size / (len(layer.scale) if isinstance(layer, WideSum) else layer.geometry.channels_out)


def _makes_float(layer: Integers) -> bool:
    """Whether a product's result is left in float."""
    return layer.output_type.dtype == "float32"


def _rounds(layer: Layer, network: Network) -> bool:
    """Whether a layer makes floats of its own (and does not only move or choose them)."""
    if isinstance(layer, Integers):
        return _makes_float(layer)
    return layer.op not in MOVES and any(
        name in network.types and network.types[name].dtype == "float32" for name in layer.outputs
    )


def _dynamic(x: Array, distance: NDArray[np.float64], results: Sequence[Array]) -> list[Floats]:
    """DynamicQuantizeLinear of operands that are apart: (codes, scale, zero point)."""
    codes, scale, zero = (np.asarray(r, dtype=np.float64) for r in results)
    most = distance.reshape(len(x), -1).max(axis=1)
    if not most.any():
        return [np.zeros(codes.shape), np.zeros(scale.shape), np.zeros(zero.shape)]
    wide = x.astype(np.float64)
    ends = [(wide + sign * distance).reshape(len(x), -1) for sign in (-1, 0, 1)]
    lows, highs = ([np.minimum(e.min(axis=1), 0.0) for e in ends], [np.maximum(e.max(axis=1), 0.0) for e in ends])
    low = lows[1]
    low_apart = np.maximum(lows[2] - low, low - lows[0])
    high_apart = np.maximum(highs[2] - highs[1], highs[1] - highs[0])
    scale_apart = np.where(most > 0, (low_apart + high_apart) / 255 + rounded(scale, 2), 0.0)
    shape = (len(x),) + (1,) * (x.ndim - 1)

    def steps(value: Floats, own: Floats, s: Floats, s_apart: Floats) -> Floats:
        ratio = value / s
        reach = np.where(s_apart > 0, (own + np.abs(ratio) * s_apart) / s + 4 * U * np.abs(ratio), 0.0)
        made: Floats = np.maximum(np.rint(ratio + reach) - np.rint(ratio), np.rint(ratio) - np.rint(ratio - reach))
        return made

    zero_apart = steps(-low, low_apart, scale, scale_apart)
    codes_apart = steps(wide, distance, scale.reshape(shape), scale_apart.reshape(shape)) + zero_apart.reshape(shape)
    return [codes_apart, scale_apart, zero_apart]
