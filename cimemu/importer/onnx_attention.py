"""Builders of the ONNX operators of transformers that are one node: attention and rotary embedding."""

from cimemu.importer.onnx_node import Node
from cimemu.importer.onnx_ops import Builder
from cimemu.layer import attention, rotary
from cimemu.layer.base import Layer

PRECISIONS = {None: "", 1: "float32", 10: "float16", 11: "float64"}


def _attention(node: Node) -> Layer:
    given = [place for place in range(len(node.inputs)) if node.has(place)]
    if given[:3] != [0, 1, 2]:
        raise node.error("query, key or value is left out, must be given")
    flat = len(node.shape()) == 2
    heads = [int(node.attribute(f"{side}_num_heads", 0)) for side in ("q", "kv")]
    if flat != all(heads) or (any(heads) and not flat):
        raise node.error(
            f"{heads[0]} and {heads[1]} heads for images of shape {node.shape()}, must be given for two axes"
        )
    windows = [int(node.attribute(f"{side}_window_size", -1)) for side in ("left", "right")]
    scale, code = node.attribute("scale"), node.attribute("softmax_precision")
    if code not in PRECISIONS:
        raise node.error(f"softmax_precision = {code}, must be 1 (float32), 10 (float16) or 11 (float64)")
    used = max([1, *(place for place, name in enumerate(node.outputs, 1) if name)])
    return attention.Attention(
        node.name,
        tuple(node.inputs[place] for place in given),
        node.results(used),
        tuple(attention.ROLES[place] for place in given),
        attention.Heads(*heads),
        attention.Visible(bool(node.attribute("is_causal", 0)), *windows),
        None if scale is None else float(scale),
        float(node.attribute("softcap", 0.0)),
        int(node.attribute("qk_matmul_output_mode", 0)),
        PRECISIONS[code],
    )


def _rotary(node: Node) -> Layer:
    heads = int(node.attribute("num_heads", 0))
    heads = heads if len(node.shape()) == 2 else 0  # with an axis of heads the attribute says nothing new
    width, interleaved = int(node.attribute("rotary_embedding_dim", 0)), bool(node.attribute("interleaved", 0))
    return rotary.RotaryEmbedding(node.name, node.data(4), node.outputs, heads, width, interleaved)


ATTENTION: dict[str, Builder] = {
    "Attention": _attention,
    "RotaryEmbedding": _rotary,
}
