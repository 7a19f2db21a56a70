"""Weights quantised in blocks along the inputs of a product (MatMulNBits, DequantizeLinear with block_size): real numbers here.

A column of a macro sums over all inputs under one scale, which blocks along them do not have. The weights become what they
stand for; the product is one that the file leaves in float.
"""

from collections.abc import Sequence

import numpy as np

from cimemu.importer.onnx_node import Node
from cimemu.layer.arithmetic import Add
from cimemu.layer.base import Array, Layer
from cimemu.layer.matmul import MatMul

KEY = "com.microsoft:MatMulNBits"
WIDTHS = (2, 4, 8)


def matmul_nbits(node: Node) -> Sequence[Layer]:
    """MatMulNBits of com.microsoft: inputs (x, packed weight, scales, zero points, group index, bias)."""
    depth, outputs = int(node.attribute("K", 0)), int(node.attribute("N", 0))
    bits, block = int(node.attribute("bits", 4)), int(node.attribute("block_size", 0))
    node.attribute("accuracy_level")  # how roughly a runtime may multiply
    if bits not in WIDTHS or min(depth, outputs, block) < 1:
        raise node.error(
            f"bits = {bits}, block_size = {block}, K = {depth}, N = {outputs}: must be 2, 4 or 8 and positive"
        )
    if node.has(4):
        raise node.error("a group index is given, must be left out: export without reordered inputs")
    blocks = -(-depth // block)
    codes = _unpacked(node.constant(1, "the weight"), bits)
    scales = node.constant(2, "the scales").astype(np.float32)
    if codes.size != outputs * blocks * block or scales.size != outputs * blocks:
        raise node.error(f"{codes.size} codes and {scales.size} scales, must be {outputs} x {blocks} blocks of {block}")
    real = _real(
        codes.reshape(outputs, blocks, block), scales.reshape(outputs, blocks), _zeros(node, bits, outputs, blocks)
    )
    weight, made = node.fresh("weight"), node.outputs[0]
    node.make_constant(weight, np.ascontiguousarray(real.reshape(outputs, -1)[:, :depth].T))
    if not node.has(5):
        return [MatMul(node.name, (node.inputs[0], weight), (made,))]
    product = node.fresh("product")
    return [
        MatMul(node.name, (node.inputs[0], weight), (product,)),
        Add(f"{node.name}:bias", (product, node.inputs[5]), (made,)),
    ]


def _zeros(node: Node, bits: int, outputs: int, blocks: int) -> Array:
    """A zero point a block; the middle of the codes where none are given."""
    if not node.has(3):
        return np.full((outputs, blocks), 2.0 ** (bits - 1), np.float32)
    given = node.constant(3, "the zero points")
    if given.dtype != np.uint8:
        return given.astype(np.float32).reshape(outputs, blocks)
    return _unpacked(given.reshape(outputs, -1), bits)[:, :blocks].astype(np.float32)


def _unpacked(packed: Array, bits: int) -> Array:
    """Codes of `bits` bits out of bytes, the lowest bits first, along the last axis."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (packed[..., None] >> shifts) & np.uint8(2**bits - 1)
    return np.asarray(codes.reshape(*packed.shape[:-1], -1))


def _real(codes: Array, scales: Array, zeros: Array) -> Array:
    """float32 values of codes [outputs, blocks, block]."""
    return np.asarray((codes.astype(np.float32) - zeros[..., None]) * scales[..., None])
