"""Integer TensorFlow Lite operators that move, choose or reduce elements, as layers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from cimemu.importer.tflite_checks import check_activation
from cimemu.importer.tflite_elementwise import table
from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.importer.tflite_rows import (
    Row,
    Tensors,
    given,
    integers,
    one,
    option,
    parameters,
    row,
    same_type,
    shapes,
)
from cimemu.layer.base import Layer
from cimemu.layer.rounding import quantize_multiplier
from cimemu.layer.tfl_blocks import TflBatchToSpace, TflDepthToSpace, TflSpaceToBatch, TflSpaceToDepth
from cimemu.layer.tfl_moves import (
    TflConcatenation,
    TflGather,
    TflGatherComputed,
    TflPack,
    TflPad,
    TflReshape,
    TflSlice,
    TflSplit,
    TflTile,
    TflTranspose,
    TflUnpack,
)
from cimemu.layer.tfl_reduce import TflArgument, TflExtreme, TflProduct, TflSumOrMean
from cimemu.layer.tfl_resize import Resize, TflResizeBilinear, TflResizeNearest
from cimemu.layer.tfl_roots import TflL2Normalization
from cimemu.layer.tfl_tables import concatenated

Cut = tuple[int | None, int | None, int]


def _common(op: TflOperator, x: TflTensor, target: TflTensor) -> dict[str, Any]:
    return {"name": target.name, "inputs": (x.name,), "outputs": (target.name,), "shapes": (x.shape,)}


def _pairs(op: TflOperator, inputs: Tensors, number: int, what: str) -> tuple[tuple[int, int], ...]:
    """Constant pairs (before, after), one a row."""
    value = integers(op, inputs, number, what)
    if value.ndim != 2 or value.shape[1] != 2:
        raise op.error(f"{what} of shape {list(value.shape)}, must be [axes, 2]: convert it again")
    return tuple((int(before), int(after)) for before, after in value)


def _reshape(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    return TflReshape(**_common(op, given(op, inputs, 0), target), target=target.shape)


def _transpose(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    perm = tuple(int(axis) for axis in integers(op, inputs, 1, "the order").reshape(-1))
    return TflTranspose(**_common(op, given(op, inputs, 0), target), perm=perm)


def repeats_of(op: TflOperator, inputs: Tensors) -> tuple[int, ...]:
    """How often a TILE or BROADCAST_TO repeats each axis of its result."""
    shape, given_numbers = given(op, inputs, 0).shape, integers(op, inputs, 1, "the numbers").reshape(-1).tolist()
    if op.op == "TILE":
        return tuple(given_numbers)
    front = len(given_numbers) - len(shape)
    pairs = list(zip(given_numbers, (1,) * front + shape))
    if front < 0 or not all(size in (1, wanted) for wanted, size in pairs):
        raise op.error(f"of {list(shape)} to {given_numbers}, must broadcast: convert it again")
    return tuple(1 if size == wanted else wanted for wanted, size in pairs)


def _tile(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    return TflTile(**_common(op, given(op, inputs, 0), target), repeats=repeats_of(op, inputs))


def _slice(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x = given(op, inputs, 0)
    begin, size = (integers(op, inputs, i, what).reshape(-1) for i, what in ((1, "the begin"), (2, "the size")))
    if not len(begin) == len(size) == len(x.shape):
        raise op.error(f"begins at {begin.tolist()} with size {size.tolist()} in {list(x.shape)}: convert it again")
    cuts = []
    for start, count, whole in zip(begin.tolist(), size.tolist(), x.shape):
        stop = whole if count == -1 else start + count
        if not 0 <= start < stop <= whole:
            raise op.error(f"cuts {start} .. {stop - 1} of an axis of {whole}: convert it again")
        cuts.append((start, stop, 1))
    return TflSlice(**_common(op, x, target), cuts=tuple(cuts))


def strided_cuts(op: TflOperator, inputs: Tensors, shape: Sequence[int]) -> tuple[tuple[Cut, ...], tuple[int, ...]]:
    """(Python's start, stop, step of every axis, axes dropped) of a STRIDED_SLICE of a tensor of `shape`."""
    names = ("the begin", "the end", "the strides")
    begin, end, strides = (integers(op, inputs, i + 1, what).reshape(-1).tolist() for i, what in enumerate(names))
    for mask in ("EllipsisMask", "NewAxisMask"):
        if option(op, mask, 0):
            raise op.error(f"{mask} = {option(op, mask, 0)}, must be 0: write the slice with every axis")
    if not len(begin) == len(end) == len(strides) <= len(shape) or 0 in strides:
        raise op.error(f"begin {begin}, end {end}, strides {strides} of {list(shape)}: convert it again")
    cuts: list[Cut] = []
    dropped: list[int] = []
    for axis, (start, stop, step) in enumerate(zip(begin, end, strides)):
        if option(op, "ShrinkAxisMask", 0) >> axis & 1:
            first = start + shape[axis] if start < 0 else start
            cuts.append((first, first + 1, 1))
            dropped.append(axis)
            continue
        far = start + stop if option(op, "Offset", False) else stop
        left = None if option(op, "BeginMask", 0) >> axis & 1 else start
        right = None if option(op, "EndMask", 0) >> axis & 1 else far
        if step < 0 and right is not None and right < -shape[axis]:
            right = None  # beyond the first element, which Python writes as None
        cuts.append((left, right, step))
    return (*cuts, *(((None, None, 1),) * (len(shape) - len(cuts)))), tuple(dropped)


def _strided_slice(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x = given(op, inputs, 0)
    cuts, dropped = strided_cuts(op, inputs, x.shape)
    return TflSlice(**_common(op, x, target), cuts=cuts, dropped=dropped)


def _pieces(
    op: TflOperator, x: TflTensor, targets: Sequence[TflTensor], axis: int, sizes: Sequence[int]
) -> Sequence[Layer]:
    same_type(op, (x, *targets), wide=True)
    names = tuple(target.name for target in targets)
    return [TflSplit(names[0], (x.name,), names, (x.shape,), axis, tuple(sizes))]


def _split(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    axis, x = int(integers(op, inputs, 0, "the axis").reshape(-1)[0]), given(op, inputs, 1)
    if not -len(x.shape) <= axis < len(x.shape):
        raise op.error(f"axis {axis} of {list(x.shape)}: convert it again")
    size, left = divmod(x.shape[axis], len(targets))
    if left:
        raise op.error(f"{len(targets)} pieces of {x.shape[axis]}, must divide it: convert it again")
    return _pieces(op, x, targets, axis, [size] * len(targets))


def _split_v(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    x, sizes = given(op, inputs, 0), integers(op, inputs, 1, "the sizes").reshape(-1).tolist()
    axis = int(integers(op, inputs, 2, "the axis").reshape(-1)[0])
    if not -len(x.shape) <= axis < len(x.shape):
        raise op.error(f"axis {axis} of {list(x.shape)}: convert it again")
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(sizes) - 1
    return _pieces(op, x, targets, axis, sizes)


def _joined(
    op: TflOperator, inputs: Tensors, target: TflTensor
) -> tuple[list[Layer], tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """(requantising layers, names, shapes) of the inputs of a CONCATENATION or PACK, all in the output's scale."""
    made: list[Layer] = []
    names: list[str] = []
    for number in range(len(inputs)):
        x = given(op, inputs, number)
        same_type(op, (x, target), wide=True)
        if op.op != "CONCATENATION" or parameters(x) == parameters(target):
            names.append(x.name)
            continue
        if target.dtype != "uint8" or x.value is not None:
            raise op.error(
                f"input {x.name} has scale {x.scale[0]:.7g}, zero point {x.zero_point[0]}, the output {target.scale[0]:.7g}, "
                f"{target.zero_point[0]}: must be equal: convert it again"
            )
        layer = table(op, x, target, concatenated)
        names.append(f"{target.name}:input{number}")
        made.append(type(layer)(names[-1], (x.name,), (names[-1],), layer.table, layer.lowest, "requantise"))
    return made, tuple(names), shapes(inputs)


def _concatenation(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    target = one(op, targets)
    if option(op, "FusedActivationFunction", 0):
        raise op.error(f"fused activation {op.options.FusedActivationFunction()}, must be none: convert it again")
    made, names, forms = _joined(op, inputs, target)
    return [*made, TflConcatenation(target.name, names, (target.name,), forms, int(option(op, "Axis", 0)))]


def _pack(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    target = one(op, targets)
    _, names, forms = _joined(op, inputs, target)
    return [TflPack(target.name, names, (target.name,), forms, int(option(op, "Axis", 0)))]


def _unpack(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    x = given(op, inputs, 0)
    same_type(op, (x, *targets), wide=True)
    names = tuple(target.name for target in targets)
    return [TflUnpack(names[0], (x.name,), names, (x.shape,), int(option(op, "Axis", 0)))]


def _gather(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x, index = given(op, inputs, 0), given(op, inputs, 1)
    axis, apart = int(option(op, "Axis", 0)), int(option(op, "BatchDims", 0))
    if index.value is not None and not apart:
        return TflGather(**_common(op, x, target), axis=axis, indices=integers(op, inputs, 1, "the index"))
    if index.dtype not in ("int16", "int32", "int64"):
        raise op.error(f"its index {index.name} is {index.dtype}, must be int16, int32 or int64: convert it again")
    return TflGatherComputed(
        target.name,
        (x.name, index.name),
        (target.name,),
        (x.shape, index.shape),
        axis=axis,
        apart=apart,
        stored=x.value is not None,
    )


def _reverse(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x, turned = given(op, inputs, 0), integers(op, inputs, 1, "the axes").reshape(-1).tolist()
    rank = len(x.shape)
    if not all(-rank <= axis < rank for axis in turned):
        raise op.error(f"axes {turned} of {list(x.shape)}, must be in -{rank} .. {rank - 1}: convert it again")
    places = {axis % rank for axis in turned}
    cuts = tuple((None, None, -1 if axis in places else 1) for axis in range(rank))
    return TflSlice(**_common(op, x, target), cuts=cuts)


def _pad(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x, pads, value = given(op, inputs, 0), _pairs(op, inputs, 1, "the padding"), int(target.zero_point[0])
    if op.op == "PADV2":
        constant = integers(op, inputs, 2, "the padding's value").reshape(-1)
        same_type(op, (x, given(op, inputs, 2)))
        value = int(constant[0])
    return TflPad(**_common(op, x, target), pads=pads, value=value)


def _mirror_pad(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    mode = {0: "reflect", 1: "symmetric"}.get(int(option(op, "Mode", 0)))
    if mode is None:
        raise op.error(f"mode {op.options.Mode()}, must be 0 (reflect) or 1 (symmetric): convert it again")
    return TflPad(**_common(op, given(op, inputs, 0), target), pads=_pairs(op, inputs, 1, "the padding"), mode=mode)


def _depth(kind: type[TflSpaceToDepth | TflDepthToSpace], op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    return kind(**_common(op, given(op, inputs, 0), target), block=int(option(op, "BlockSize", 1)))


def _space_to_batch(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    block = tuple(int(size) for size in integers(op, inputs, 1, "the block").reshape(-1))
    pads, value = _pairs(op, inputs, 2, "the padding"), int(target.zero_point[0])
    return TflSpaceToBatch(**_common(op, given(op, inputs, 0), target), block=block, pads=pads, value=value)


def _batch_to_space(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    block = tuple(int(size) for size in integers(op, inputs, 1, "the block").reshape(-1))
    return TflBatchToSpace(
        **_common(op, given(op, inputs, 0), target), block=block, crops=_pairs(op, inputs, 2, "the crops")
    )


def _resize(kind: type[Resize], op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    size = integers(op, inputs, 1, "the size").reshape(-1).tolist()
    if len(size) != 2:
        raise op.error(f"size {size}, must be two numbers: convert it again")
    return kind(
        **_common(op, given(op, inputs, 0), target),
        size=(size[0], size[1]),
        align_corners=bool(option(op, "AlignCorners", False)),
        half_pixel=bool(option(op, "HalfPixelCenters", False)),
    )


def _axes(op: TflOperator, inputs: Tensors) -> dict[str, Any]:
    axes = tuple(int(axis) for axis in integers(op, inputs, 1, "the axes").reshape(-1))
    return {"axes": axes, "keepdims": bool(option(op, "KeepDims", False))}


def _sum_or_mean(mean: bool, op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x = given(op, inputs, 0)
    real = float(x.scale[0]) / float(target.scale[0])
    if (
        not np.isfinite(real)
        or not real * (1 << 8 * np.dtype(x.dtype).itemsize) * int(np.prod(x.shape, dtype=np.int64)) < 2.0**30
    ):
        raise op.error(f"its scales' ratio is {real:.4g}, its scaled sums must stay within 32 bits: convert it again")
    return TflSumOrMean(
        **_common(op, x, target),
        **_axes(op, inputs),
        zero_x=int(x.zero_point[0]),
        zero_y=int(target.zero_point[0]),
        scale=quantize_multiplier(real),
        mean=mean,
    )


def _extreme(largest: bool, op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x = given(op, inputs, 0)
    if parameters(x) != parameters(target):
        raise op.error("its input and output have different scales, it keeps codes: convert it again")
    return TflExtreme(**_common(op, x, target), **_axes(op, inputs), largest=largest)


def _truth(every: bool, op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    """REDUCE_ALL and REDUCE_ANY: the smallest and the largest of truth values."""
    x = given(op, inputs, 0)
    if x.dtype != "bool":
        raise op.error(f"tensor {x.name} is {x.dtype}, must be bool: convert it again")
    return TflExtreme(**_common(op, x, target), **_axes(op, inputs), largest=not every)


def _product(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x, axes = given(op, inputs, 0), _axes(op, inputs)
    if x.dtype == "uint8":
        raise op.error("is uint8, must be int8 or int16: convert the network with full int8 quantisation")
    made = TflProduct(
        **_common(op, x, target), **axes, zero_x=int(x.zero_point[0]), zero_y=int(target.zero_point[0]), scale=(0, 0)
    )
    # One root of the output's scale goes into every product, so that none leaves its range.
    real = float(x.scale[0]) / float(target.scale[0]) ** (1.0 / made.count)
    if not 2.0**-32 < real < 2.0**7:
        raise op.error(f"its multiplier is {real:.4g}, must be within 2^-32 .. 2^7: convert it again")
    return replace(made, scale=quantize_multiplier(real))


def _argument(largest: bool, op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    x, target = given(op, inputs, 0), one(op, targets)
    check_activation(op, x)
    if target.dtype not in ("int32", "int64"):
        raise op.error(f"tensor {target.name} is {target.dtype}, must be int32 or int64: convert it again")
    axes = _axes(op, inputs)
    if len(axes["axes"]) != 1:
        raise op.error(f"axes {list(axes['axes'])}, must be one: convert it again")
    return [TflArgument(**{**_common(op, x, target), **axes, "keepdims": False}, largest=largest, dtype=target.dtype)]


def _l2_normalization(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    x, middle = given(op, inputs, 0), {"int8": 0, "uint8": 128}[target.dtype]
    if option(op, "FusedActivationFunction", 0):
        raise op.error(f"fused activation {op.options.FusedActivationFunction()}, must be none: convert it again")
    if parameters(target) != (1 / 128, middle):
        raise op.error(
            f"output scale {target.scale[0]:.7g}, zero point {target.zero_point[0]}: must be 1/128 and {middle}: "
            "convert it again"
        )
    return TflL2Normalization(target.name, (x.name,), (target.name,), int(x.zero_point[0]), middle, target.dtype)


# Builders that look at shapes alone: float files have them too.
SHAPE_MOVES: dict[str, Callable[[TflOperator, Tensors, TflTensor], Layer]] = {
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "DEPTH_TO_SPACE": partial(_depth, TflDepthToSpace),
    "GATHER": _gather,
    "MIRROR_PAD": _mirror_pad,
    "REDUCE_ALL": partial(_truth, True),
    "REDUCE_ANY": partial(_truth, False),
    "REVERSE_V2": _reverse,
    "SPACE_TO_DEPTH": partial(_depth, TflSpaceToDepth),
}
MOVE_OPS: dict[str, Row] = {
    "ARG_MAX": partial(_argument, True),
    "ARG_MIN": partial(_argument, False),
    "BATCH_TO_SPACE_ND": row(_batch_to_space),
    "BROADCAST_TO": row(_tile, wide=True),
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": row(partial(_depth, TflDepthToSpace)),
    "EXPAND_DIMS": row(_reshape, wide=True),
    "GATHER": row(_gather, wide=True),
    "L2_NORMALIZATION": row(_l2_normalization),
    "MEAN": row(partial(_sum_or_mean, True), wide=True),
    "MIRROR_PAD": row(_mirror_pad, wide=True),
    "PACK": _pack,
    "PAD": row(_pad, wide=True),
    "PADV2": row(_pad, wide=True),
    "REDUCE_MAX": row(partial(_extreme, True), wide=True),
    "REDUCE_MIN": row(partial(_extreme, False), wide=True),
    "REDUCE_PROD": row(_product, wide=True),
    "REVERSE_V2": row(_reverse, wide=True),
    "RESIZE_BILINEAR": row(partial(_resize, TflResizeBilinear), wide=True),
    "RESIZE_NEAREST_NEIGHBOR": row(partial(_resize, TflResizeNearest), wide=True),
    "SLICE": row(_slice, wide=True),
    "SPACE_TO_BATCH_ND": row(_space_to_batch),
    "SPACE_TO_DEPTH": row(partial(_depth, TflSpaceToDepth)),
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQUEEZE": row(_reshape, wide=True),
    "STRIDED_SLICE": row(_strided_slice, wide=True),
    "SUM": row(partial(_sum_or_mean, False)),
    "TILE": row(_tile, wide=True),
    "TRANSPOSE": row(_transpose, wide=True),
    "UNPACK": _unpack,
}
