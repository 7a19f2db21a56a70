"""Dilated convolutions that a TensorFlow Lite file writes as SPACE_TO_BATCH_ND, a convolution and BATCH_TO_SPACE_ND.

TensorFlow writes them so, and its converter turns them into a dilation only where it knows the number of images. The three
add the same products for the same outputs as one dilated convolution, which is what stands in their place.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from cimemu.importer.tflite_file import TflFile, TflOperator, TflTensor
from cimemu.importer.tflite_integer import window

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def dilated(file: TflFile) -> TflFile:
    """The file with such triples as one operator each."""
    makers = {number: op for op in file.operators for number in op.outputs}
    readers = Counter(number for op in file.operators for number in op.inputs)
    readers.update(file.outputs)
    made: dict[int, TflOperator] = {}
    dropped: set[int] = set()
    for last in file.operators:
        triple = _triple(last, makers, readers)
        if triple is None:
            continue
        one = _one(triple[0], triple[1], last, file.tensors)
        if one is not None:
            made[last.index] = one
            dropped |= {triple[0].index, triple[1].index}
    kept = [made.get(op.index, op) for op in file.operators if op.index not in dropped]
    return replace(file, operators=tuple(kept)) if made else file


def _triple(
    last: TflOperator, makers: dict[int, TflOperator], readers: Counter[int]
) -> tuple[TflOperator, TflOperator] | None:
    """(SPACE_TO_BATCH_ND, convolution) in front of a BATCH_TO_SPACE_ND, if nothing else reads what is between them."""
    conv = makers.get(last.inputs[0]) if last.op == "BATCH_TO_SPACE_ND" else None
    first = makers.get(conv.inputs[0]) if conv is not None and conv.op in CONVOLUTIONS else None
    if conv is None or first is None or first.op != "SPACE_TO_BATCH_ND":
        return None
    return (first, conv) if readers[last.inputs[0]] == readers[conv.inputs[0]] == 1 else None


def _alike(a: TflTensor, b: TflTensor) -> bool:
    return a.dtype == b.dtype and np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)


def _one(first: TflOperator, conv: TflOperator, last: TflOperator, tensors: Sequence[TflTensor]) -> TflOperator | None:
    """The dilated convolution, or None where the three are not one."""
    operands = [tensors[i].value for i in (*first.inputs[1:3], *last.inputs[1:3])]
    if any(value is None for value in operands) or conv.options is None:
        return None
    block, pads, back, crops = (np.asarray(value).astype(np.int64) for value in operands)
    old, source, target = conv.options, tensors[first.inputs[0]], tensors[last.outputs[0]]
    strides = (old.StrideH(), old.StrideW(), old.DilationHFactor(), old.DilationWFactor())
    alike = _alike(source, tensors[conv.inputs[0]]) and _alike(tensors[conv.outputs[0]], target)
    if block.shape != (2,) or not np.array_equal(block, back) or strides != (1, 1, 1, 1) or not alike:
        return None
    padding = 0 if pads.any() else old.Padding()
    options = SimpleNamespace(
        Padding=lambda: padding,
        StrideH=lambda: 1,
        StrideW=lambda: 1,
        DilationHFactor=lambda: int(block[0]),
        DilationWFactor=lambda: int(block[1]),
        FusedActivationFunction=old.FusedActivationFunction,
    )
    op = replace(conv, options=options, inputs=(first.inputs[0], *conv.inputs[1:]), outputs=last.outputs)
    out, before, _ = window(op, source.shape[1:3], tensors[conv.inputs[1]].shape[1:3])
    places = np.reshape(pads, (2, 2))[:, 0] - np.reshape(crops, (2, 2))[:, 0]
    return op if tuple(out) == target.shape[1:3] and before == places.tolist() else None
