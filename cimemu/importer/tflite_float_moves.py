"""Float TensorFlow Lite operators along axes: moves, cuts, joins and reductions.

Where the file's first axis is that of the images and stays so, a layer has the images' axis there; where an operator touches
it (a transposition of a whole sequence, a tensor without it), the layer has all axes of the file behind the images' own.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cimemu.importer.tflite_file import TflOperator
from cimemu.importer.tflite_float import TO_CHANNELS_FIRST, FloatGraph, FloatRow
from cimemu.importer.tflite_float_digital import operands, put, source
from cimemu.importer.tflite_moves import SHAPE_MOVES, repeats_of, strided_cuts
from cimemu.importer.tflite_rows import integers, option
from cimemu.layer.arrange import DepthToSpace, SpaceToDepth, Tile
from cimemu.layer.base import Layer
from cimemu.layer.reduce import Reduce, ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum
from cimemu.layer.shape import Concat, Gather, Pad, Reshape, Slice, Split, Transpose
from cimemu.layer.tfl_whole import image_shape

FIRST_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}  # where an axis of [images, rows, columns, channels] is, channels first
Shape = tuple[int, ...]


def _inputs(graph: FloatGraph, op: TflOperator) -> list[Any]:
    return [None if i < 0 else graph.file.tensors[i] for i in op.inputs]


def _shape(graph: FloatGraph, op: TflOperator, number: int = 0) -> Shape:
    return graph.file.tensors[op.inputs[number]].shape


def _axes(op: TflOperator, axes: Sequence[int], rank: int) -> list[int]:
    """Axes of the file, 0 .. rank-1. WorkloadError for others."""
    if not all(-rank <= axis < rank for axis in axes):
        raise op.error(f"axes {list(axes)} of {rank}, must be in -{rank} .. {rank - 1}: convert it again")
    return [axis % rank for axis in axes]


def _apart(graph: FloatGraph, op: TflOperator, axes: Sequence[int], number: int = 0) -> bool:
    """Whether operand `number` begins with the images' axis and `axes` are others, in and out."""
    shapes = [_shape(graph, op, number), *(graph.file.tensors[i].shape for i in op.outputs)]
    return 0 not in axes and all(shape[:1] == (1,) for shape in shapes)


def _concatenation(graph: FloatGraph, op: TflOperator) -> None:
    rank = len(_shape(graph, op))
    (axis,) = _axes(op, [int(option(op, "Axis", 0))], rank)
    images, whole, names = operands(graph, op)
    if whole or axis == 0:
        _joined(graph, op, axis, [()] * len(op.inputs))
        return
    put(graph, op, Concat, names, images, axis=FIRST_AXIS[axis] if images else axis)


def _joined(graph: FloatGraph, op: TflOperator, axis: int, shapes: Sequence[Shape]) -> None:
    """Operands with every axis of the file (or in `shapes` of theirs) joined along `axis`."""
    target = graph.file.tensors[op.outputs[0]].name
    names = []
    for place, (number, shape) in enumerate(zip(op.inputs, shapes)):
        tensor = graph.file.tensors[number]
        name = f"{target}:part{place}"
        if tensor.value is not None:
            value = graph.constant(op, tensor)
            graph.constants[name] = np.ascontiguousarray(value.reshape(1, *(shape or value.shape)))
        elif shape:
            plain = graph.plain(number)
            graph.layers.append(Reshape(name=name, inputs=(plain,), outputs=(name,), shape=shape))
        else:
            name = graph.whole(number)
        names.append(name)
    put(graph, op, Concat, names, False, whole=True, axis=axis + 1)


def _pack(graph: FloatGraph, op: TflOperator) -> None:
    shape = _shape(graph, op)
    (axis,) = _axes(op, [int(option(op, "Axis", 0))], len(shape) + 1)
    _joined(graph, op, axis, [(*shape[:axis], 1, *shape[axis:])] * len(op.inputs))


def _pieces(graph: FloatGraph, op: TflOperator, number: int, axis: int, sizes: Sequence[int]) -> None:
    """A tensor cut along an axis, the pieces in their outputs' shapes."""
    targets = [graph.file.tensors[i] for i in op.outputs]
    shape = _shape(graph, op, number)
    apart = _apart(graph, op, [axis], number) and len(shape) == len(targets[0].shape)
    given = graph.plain(op.inputs[number]) if apart else graph.whole(op.inputs[number])
    names = [target.name if apart else f"{target.name}:piece" for target in targets]
    place = axis if apart else axis + 1
    cut = Split(name=targets[0].name, inputs=(given,), outputs=tuple(names), axis=place, sizes=tuple(sizes))
    graph.layers.append(cut)
    if not apart:
        for name, target in zip(names, targets):
            own = image_shape(target.shape)
            graph.layers.append(Reshape(name=f"{target.name}:image", inputs=(name,), outputs=(target.name,), shape=own))


def _unpack(graph: FloatGraph, op: TflOperator) -> None:
    (axis,) = _axes(op, [int(option(op, "Axis", 0))], len(_shape(graph, op)))
    _pieces(graph, op, 0, axis, [1] * len(op.outputs))


def _split(graph: FloatGraph, op: TflOperator) -> None:
    data, where = (1, 0) if op.op == "SPLIT" else (0, 2)
    inputs, shape = _inputs(graph, op), _shape(graph, op, data)
    (axis,) = _axes(op, [int(integers(op, inputs, where, "the axis").reshape(-1)[0])], len(shape))
    sizes = [shape[axis] // len(op.outputs)] * len(op.outputs)
    if op.op == "SPLIT_V":
        sizes = integers(op, inputs, 1, "the sizes").reshape(-1).tolist()
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = shape[axis] - sum(sizes) - 1
    _pieces(graph, op, data, axis, sizes)


def _pad(graph: FloatGraph, op: TflOperator) -> None:
    pads = [(int(a), int(b)) for a, b in integers(op, _inputs(graph, op), 1, "the padding").reshape(-1, 2)]
    fields: dict[str, Any] = {}
    if op.op == "PADV2":
        fields["value"] = float(graph.constant(op, graph.file.tensors[op.inputs[2]]).reshape(-1)[0])
    if op.op == "MIRROR_PAD":
        if int(option(op, "Mode", 0)) != 0:
            _moved(graph, op)
            return
        fields["mode"] = "reflect"
    moved = [axis for axis, pad in enumerate(pads) if pad != (0, 0)]
    if not _apart(graph, op, moved):
        put(graph, op, Pad, [graph.whole(op.inputs[0])], False, whole=True, pads=tuple(pads), **fields)
        return
    images, name = source(graph, op.inputs[0])
    order = [pads[axis] for axis in TO_CHANNELS_FIRST] if images else pads
    put(graph, op, Pad, [name], images, pads=tuple(order[1:]), **fields)


def _reduce(kind: type[Reduce], graph: FloatGraph, op: TflOperator) -> None:
    given = integers(op, _inputs(graph, op), 1, "the axes").reshape(-1).tolist()
    axes, keep = sorted(set(_axes(op, given, len(_shape(graph, op))))), bool(option(op, "KeepDims", False))
    if not _apart(graph, op, axes):
        places = tuple(axis + 1 for axis in axes)
        put(graph, op, kind, [graph.whole(op.inputs[0])], False, whole=True, axes=places, keepdims=keep)
        return
    images, name = source(graph, op.inputs[0])
    if images and not keep and axes != [1, 2]:
        images, name = False, graph.plain(op.inputs[0])
    places = tuple(sorted(FIRST_AXIS[axis] if images else axis for axis in axes))
    put(graph, op, kind, [name], images and keep, axes=places, keepdims=keep)


def _transpose(graph: FloatGraph, op: TflOperator) -> None:
    perm = tuple(integers(op, _inputs(graph, op), 1, "the order").reshape(-1).tolist())
    perm = tuple(_axes(op, perm, len(_shape(graph, op))))
    if perm[:1] == (0,) and _shape(graph, op)[:1] == (1,):
        put(graph, op, Transpose, [graph.plain(op.inputs[0])], False, perm=perm)
        return
    places = (0, *(axis + 1 for axis in perm))
    put(graph, op, Transpose, [graph.whole(op.inputs[0])], False, whole=True, perm=places)


def _reshape(graph: FloatGraph, op: TflOperator) -> None:
    target = graph.file.tensors[op.outputs[0]]
    put(graph, op, Reshape, [graph.plain(op.inputs[0])], False, shape=image_shape(target.shape))


def _slice(graph: FloatGraph, op: TflOperator) -> None:
    shape, inputs, target = _shape(graph, op), _inputs(graph, op), graph.file.tensors[op.outputs[0]]
    if op.op == "SLICE":
        begin, size = (integers(op, inputs, i, "the cut").reshape(-1).tolist() for i in (1, 2))
        cuts: Sequence[Any] = [(b, whole if s == -1 else b + s, 1) for b, s, whole in zip(begin, size, shape)]
    else:
        cuts, _ = strided_cuts(op, inputs, shape)
    apart = shape[:1] == (1,) and len(range(*slice(*cuts[0]).indices(1))) == 1
    kept = cuts[1:] if apart else cuts
    columns = [tuple(column) for column in zip(*((s or 0 if t > 0 else s, e, t) for s, e, t in kept))]
    starts, ends, steps = columns if columns else ((), (), ())
    name = f"{target.name}:cut"
    given = graph.plain(op.inputs[0]) if apart else graph.whole(op.inputs[0])
    axes = tuple(range(1, len(kept) + 1))
    graph.layers.append(
        Slice(name=name, inputs=(given,), outputs=(name,), axes=axes, starts=starts, ends=ends, steps=steps)
    )
    put(graph, op, Reshape, [name], False, shape=image_shape(target.shape))


def _gather(graph: FloatGraph, op: TflOperator) -> None:
    if option(op, "BatchDims", 0) or graph.file.tensors[op.inputs[1]].value is None:
        graph.plain(op.inputs[1])
        _moved(graph, op)
        return
    (axis,) = _axes(op, [int(option(op, "Axis", 0))], len(_shape(graph, op)))
    name = f"{graph.file.tensors[op.outputs[0]].name}:index"
    graph.constants[name] = integers(op, _inputs(graph, op), 1, "the index")
    apart = _apart(graph, op, [axis])
    data = graph.plain(op.inputs[0]) if apart else graph.whole(op.inputs[0])
    put(graph, op, Gather, [data, name], False, whole=not apart, axis=axis if apart else axis + 1)


def _tile(graph: FloatGraph, op: TflOperator) -> None:
    repeats = repeats_of(op, _inputs(graph, op))
    name = graph.whole(op.inputs[0], len(repeats))
    put(graph, op, Tile, [name], False, whole=True, repeats=repeats)


def _blocks(kind: type[DepthToSpace | SpaceToDepth], graph: FloatGraph, op: TflOperator) -> None:
    if len(_shape(graph, op)) != 4 or not _apart(graph, op, []):
        _moved(graph, op)
        return
    put(graph, op, kind, [graph.image(op.inputs[0])], True, block=int(option(op, "BlockSize", 1)), mode="DCR")


def _moved(graph: FloatGraph, op: TflOperator) -> None:
    """As the integer operator moves it."""
    graph.plain(op.inputs[0])
    graph.layers.append(SHAPE_MOVES[op.op](op, _inputs(graph, op), graph.file.tensors[op.outputs[0]]))


REDUCTIONS: dict[str, Callable[..., Layer]] = {
    "MEAN": ReduceMean,
    "REDUCE_MAX": ReduceMax,
    "REDUCE_MIN": ReduceMin,
    "REDUCE_PROD": ReduceProd,
    "SUM": ReduceSum,
}
FLOAT_MOVE_OPS: dict[str, FloatRow] = {
    **{name: partial(_reduce, kind) for name, kind in REDUCTIONS.items()},  # type: ignore[arg-type]
    "BATCH_TO_SPACE_ND": _moved,
    "BROADCAST_TO": _tile,
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": partial(_blocks, DepthToSpace),
    "EXPAND_DIMS": _reshape,
    "GATHER": _gather,
    "MIRROR_PAD": _pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "REDUCE_ALL": _moved,
    "REDUCE_ANY": _moved,
    "REVERSE_V2": _moved,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": partial(_blocks, SpaceToDepth),
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
