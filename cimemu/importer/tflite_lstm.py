"""UNIDIRECTIONAL_SEQUENCE_LSTM of integer and float TensorFlow Lite files, unrolled.

One product of all steps' inputs, then a product and a cell a step; the steps share one matrix in the cells of the macros.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cimemu.importer.dynamic_products import RowCodes
from cimemu.importer.recurrent_cells import Function, Gates
from cimemu.importer.tflite_checks import check_activation, check_alike, check_bias, check_reach
from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.importer.tflite_float import FloatGraph
from cimemu.importer.tflite_integer import reach
from cimemu.importer.tflite_rows import Row, Tensors, given, one, option, same_type
from cimemu.importer.unroll import MOST_STEPS, Sequences, Unroller, Weights
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import FixedPoint
from cimemu.layer.rounding import quantize_multiplier
from cimemu.layer.shape import Concat, Reshape, Split
from cimemu.layer.tfl_lstm import LARGEST, TflLstmCell
from cimemu.layer.tfl_moves import TflReshape
from cimemu.layer.tfl_whole import image_shape

INPUT_WEIGHTS, STATE_WEIGHTS, BIASES, STATES = (1, 5), (5, 9), (12, 16), (18, 19)
PEEPHOLES, PROJECTION, NORMS = range(9, 12), (16, 17), range(20, 24)
TANH = 4
HIDDEN = 4  # which of the intermediate tensors has the hidden state's scale
PLAIN = "write the network with plain LSTM layers"


def _placed(op: TflOperator, inputs: Tensors, target: TflTensor) -> tuple[TflTensor, int, bool]:
    """(input, steps, whether the input and forget gates are coupled) of a checked operator."""
    x, coupled = given(op, inputs, 0), len(inputs) < 2 or inputs[1] is None
    for what, places in (("peepholes", PEEPHOLES), ("a projection", PROJECTION), ("layer normalisation", NORMS)):
        if any(place < len(inputs) and inputs[place] is not None for place in places):
            raise op.error(f"has {what}, which is not supported: {PLAIN}")
    activation = option(op, "FusedActivationFunction", TANH)
    if activation != TANH:
        raise op.error(f"activation {activation}, must be {TANH} (tanh): {PLAIN}")
    if option(op, "DiagonalRecurrentTensors", False):
        raise op.error(f"has a diagonal state matrix, which is not supported: {PLAIN}")
    if len(x.shape) != 3:
        raise op.error(f"input of shape {list(x.shape)}, must be [1, steps, inputs]")
    steps, batch = x.shape[:2] if option(op, "TimeMajor", False) else x.shape[1::-1]
    if batch != 1 or not 1 <= steps <= MOST_STEPS:
        raise op.error(f"{batch} sequences of {steps} steps, must be one of 1..{MOST_STEPS}: fix the batch to 1")
    hidden = given(op, inputs, 8).shape[0]
    for place in (*range(1 + coupled, 5), *range(5 + coupled, 9), *range(12 + coupled, 16)):
        wanted = ((hidden, x.shape[2]), (hidden, hidden), (hidden,))[0 if place < 5 else 1 if place < 9 else 2]
        tensor = given(op, inputs, place)
        if tensor.value is None or tensor.shape != wanted:
            kind = "computed" if tensor.value is None else list(tensor.shape)
            raise op.error(f"tensor {tensor.name} is {kind}, must be a constant of {list(wanted)}: convert it again")
    if coupled and any(place < len(inputs) and inputs[place] is not None for place in (5, 12)):
        raise op.error("has no input gate, but weights or a bias of it: convert it again")
    if int(np.prod(target.shape, dtype=np.int64)) != steps * hidden:
        raise op.error(f"output of shape {list(target.shape)}, must have {steps} x {hidden} elements: convert it again")
    for place in STATES:
        state = given(op, inputs, place)
        if state.shape != (1, hidden) or not state.variable:
            raise op.error(f"state {state.name} of shape {list(state.shape)}, must be a variable of {[1, hidden]}")
    return x, steps, coupled


def _integer(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    target = one(op, targets)
    x, steps, coupled = _placed(op, inputs, target)
    state, cell = (given(op, inputs, place) for place in STATES)
    same_type(op, (x, target, state))
    check_activation(op, cell, wide=True)
    bits = 15 + int(np.round(np.log2(float(cell.scale[0]))))
    if (
        target.dtype != "int8"
        or cell.dtype != "int16"
        or float(cell.scale[0]) != 2.0 ** (bits - 15)
        or not 0 <= bits <= 6
    ):
        raise op.error(
            f"is {target.dtype} with a cell state of {cell.dtype} in steps of {cell.scale[0]:.7g}, must be int8, int16 and a "
            "power of two from 2^-15 to 2^-9: convert the network with full int8 quantisation"
        )
    shown = op.intermediates[HIDDEN] if len(op.intermediates) == HIDDEN + 1 else None
    if shown is None or len(shown.scale) != 1:
        raise op.error("its intermediate tensors are missing, they hold the hidden state's scale: convert it again")
    hidden = state.shape[1]
    with np.errstate(over="ignore"):
        scale = quantize_multiplier(float(np.float32(2.0**-30 / float(shown.scale[0]))))
    clip = option(op, "CellClip", 0.0)
    common = {
        "hidden": hidden,
        "coupled": coupled,
        "cell_bits": bits,
        "clip": int(min(np.float32(clip) / cell.scale[0], LARGEST)) if clip > 0 else 0,
        "scale": scale,
        "zero_point": int(shown.zero_point[0]),
    }
    name = target.name
    products = _product(op, inputs, x, INPUT_WEIGHTS, f"{name}:inputs", (x.name, steps, "int16"))
    layers: list[Layer] = [products]
    pieces: tuple[str, ...] = products.outputs
    if steps > 1:
        pieces = tuple(f"{name}:inputs.{t}" for t in range(steps))
        layers.append(Split(f"{name}:steps", products.outputs, pieces, 1, (1,) * steps))
    turn = _product(op, inputs, state, STATE_WEIGHTS, f"{name}:state", (state.name, 1, "int32"))
    turn = replace(turn, shares=f"{name}:state")
    start = turn.stage.apply(turn.bias[None]).astype(np.int64)
    for t in range(steps):
        outputs = (f"{name}:hidden.{t}", f"{name}:cell.{t}")
        read: tuple[str, ...] = (pieces[t],)
        if t:
            layers.append(
                replace(turn, name=f"{name}:state.{t}", inputs=(layers[-1].outputs[0],), outputs=(f"{name}:state.{t}",))
            )
            read = (pieces[t], f"{name}:state.{t}", f"{name}:cell.{t - 1}")
        layers.append(TflLstmCell(f"{name}:step.{t}", read, outputs, **common, start=None if t else start))  # type: ignore[arg-type]
    together = f"{name}:hidden.0"
    if steps > 1:
        together = f"{name}:together"
        layers.append(Concat(together, tuple(f"{name}:hidden.{t}" for t in range(steps)), (together,), 1))
    return [*layers, TflReshape(name, (together,), (name,), ((1, steps, hidden),), target=target.shape)]


def _product(
    op: TflOperator, inputs: Tensors, x: TflTensor, places: tuple[int, int], name: str, form: tuple[str, int, str]
) -> MacroLayer:
    """All gates' products with the inputs or with the state, in steps of 2^-12; `form` is (source, rows, type)."""
    source, rows, dtype = form
    present = [place for place in range(*places) if place < len(inputs) and inputs[place] is not None]
    matrices, biases, scales = [], [], []
    for place in present:
        w = given(op, inputs, place)
        check_alike(op, (x, w))
        if (
            w.value is None
            or len(w.scale) != 1
            or w.zero_point.any()
            or not (np.isfinite(w.scale[0]) and w.scale[0] > 0)
        ):
            raise op.error(f"weight {w.name} must have one positive scale and the zero point 0: convert it again")
        bias = None
        if places == INPUT_WEIGHTS:
            tensor = given(op, inputs, place - INPUT_WEIGHTS[0] + BIASES[0])
            check_bias(op, x, w, tensor, replace(x, scale=np.array([2.0**-12], np.float32)))
            assert tensor.value is not None
            bias = tensor.value.astype(np.int64)
        with np.errstate(over="ignore"):
            real = float(w.scale[0] * x.scale[0] / np.float32(2.0**-12))
        check_reach(op, reach(x, w, w.value.astype(np.int16), bias), np.array([real]))
        matrices.append(w.value.astype(np.int16))
        biases.append(np.zeros(len(w.value), np.int64) if bias is None else bias)
        scales += [quantize_multiplier(real)] * len(w.value)
    weight = np.concatenate(matrices)
    kind = np.iinfo(dtype)
    return MacroLayer(
        name=name,
        inputs=(source,),
        outputs=(name,),
        geometry=Geometry(weight.shape[1], rows, 1, len(weight), rows, 1),
        weight=np.ascontiguousarray(weight[:, :, None, None]),
        weight_zero_point=np.zeros(len(weight), np.int64),
        input_zero_point=int(x.zero_point[0]),
        input_dtype="int8",
        bias=np.concatenate(biases),
        stage=FixedPoint(
            np.array([q31 for q31, _ in scales], dtype=np.int64),
            np.array([shift for _, shift in scales], dtype=np.int64),
            0,
            int(kind.min),
            int(kind.max),
            dtype,
        ),
        output_type=TensorType((rows, len(weight)), dtype),
        layout="rows",
    )


def _row_codes(op: TflOperator, inputs: Tensors, coupled: bool, bias: Array) -> tuple[RowCodes, RowCodes] | None:
    """Matrices of int8 weights beside float activations, each gate with a scale of its own; None where weights are floats."""
    weights = [given(op, inputs, place) for place in range(1 + coupled, 9) if place != 5 or not coupled]
    if all(tensor.value is not None and tensor.value.dtype.kind == "f" for tensor in weights):
        return None
    for tensor in weights:
        if tensor.dtype != "int8" or len(tensor.scale) != 1 or tensor.zero_point.any():
            raise op.error(
                f"weight {tensor.name} is {tensor.dtype} of {len(tensor.scale)} scales, must be int8 of one scale around 0 "
                "as others are beside float activations: convert it again"
            )
    made = []
    for first, added in ((INPUT_WEIGHTS[0], bias), (STATE_WEIGHTS[0], np.zeros_like(bias))):
        order = (1, 3, 1, 2) if coupled else (0, 3, 1, 2)
        parts = [given(op, inputs, first + place) for place in order]
        values = [np.asarray(part.value, np.int16) for part in parts]
        values[0] = -values[0] if coupled else values[0]
        scale = np.repeat([part.scale[0] for part in parts], len(values[0])).astype(np.float32)
        asymmetric = bool(option(op, "AsymmetricQuantizeInputs", False))
        made.append(RowCodes(np.concatenate(values).T, scale, added, asymmetric))
    return made[0], made[1]


def float_lstm(graph: FloatGraph, op: TflOperator) -> None:
    """The same of floats; the gates stand in ONNX's order."""
    inputs = tuple(None if i < 0 else graph.file.tensors[i] for i in op.inputs)
    target = graph.file.tensors[op.outputs[0]]
    x, steps, coupled = _placed(op, inputs, target)
    name, hidden = target.name, given(op, inputs, 8).shape[0]

    def joined(first: int) -> Array:
        """Input, output, forget and cell gates of weights or biases; an input gate that is the rest of the forget gate is
        its logistic function of minus the sum."""
        order = (1, 3, 1, 2) if coupled else (0, 3, 1, 2)
        parts = [graph.constant(op, given(op, inputs, first + place)) for place in order]
        return np.concatenate([-parts[0] if coupled else parts[0], *parts[1:]])

    def keep(what: str, value: Array) -> str:
        graph.constants[f"{name}:{what}"] = value
        return f"{name}:{what}"

    bias, clip = joined(BIASES[0]).reshape(-1), float(option(op, "CellClip", 0.0))
    codes = _row_codes(op, inputs, coupled, bias)
    bias = bias if codes is None else np.zeros_like(bias)  # the first product adds it then
    functions = (Function("Sigmoid"), Function("Tanh"), Function("Tanh"))
    gates = Gates(
        "LSTM", hidden, functions, keep("bias", bias) if bias.any() else "", cell_clip=clip or None, coupled=coupled
    )
    made = Unroller(name, keep, graph.constants)
    rows = made.add(Reshape(f"{name}:rows", (graph.plain(op.inputs[0]),), (f"{name}:rows",), (steps, x.shape[2])))
    weights = [np.ascontiguousarray(joined(place).T) for place in (INPUT_WEIGHTS[0], STATE_WEIGHTS[0])]
    result = made.direction(
        "forward", gates, Weights(weights[0], weights[1], False, codes=codes), Sequences(rows, steps, 1, "float32")
    )
    together = made.joined(f"{name}:together", result.steps)
    made.add(Reshape(f"{name}:shaped", (together,), (name,), image_shape(target.shape)))
    graph.layers.extend(made.layers)


LSTM_OPS: dict[str, Row] = {"UNIDIRECTIONAL_SEQUENCE_LSTM": _integer}
