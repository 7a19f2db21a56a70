"""Builders of the ONNX operators that normalise."""

from cimemu.importer.onnx_functions import axis_of
from cimemu.importer.onnx_node import Node
from cimemu.importer.onnx_ops import Builder
from cimemu.layer import channel_norm
from cimemu.layer.base import Layer


def _instance_norm(node: Node) -> Layer:
    epsilon = float(node.attribute("epsilon", 1e-5))
    return channel_norm.InstanceNormalization(node.name, node.data(), node.outputs, epsilon=epsilon)


def _group_norm(node: Node) -> Layer:
    groups, epsilon = int(node.attribute("num_groups", 0)), float(node.attribute("epsilon", 1e-5))
    if node.attribute("stash_type", 1) != 1:
        raise node.error("stash_type is not 1: sums are made in float32 or wider")
    return channel_norm.GroupNormalization(node.name, node.data(), node.outputs, groups, epsilon)


def _rms_norm(node: Node) -> Layer:
    if node.attribute("stash_type", 1) != 1:
        raise node.error("stash_type is not 1: sums are made in float32 or wider")
    epsilon = float(node.attribute("epsilon", 1e-5))
    return channel_norm.RMSNormalization(node.name, node.data(), node.outputs, axis_of(node, -1), epsilon)


def _mean_variance(node: Node) -> Layer:
    rank = len(node.shape()) + 1
    axes = tuple(sorted(node.normal_axis(int(axis), rank) for axis in node.attribute("axes", (0, 2, 3))))
    if len(set(axes)) < len(axes):
        raise node.error(f"axes = {axes} name an axis twice: export the network again")
    return channel_norm.MeanVarianceNormalization(node.name, node.data(), node.outputs, axes)


def _lrn(node: Node) -> Layer:
    defaults = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    parameters = (float(node.attribute(key, value)) for key, value in defaults.items())
    return channel_norm.LRN(node.name, node.data(), node.outputs, int(node.attribute("size", 0)), *parameters)


def _lp_norm(node: Node) -> Layer:
    order = int(node.attribute("p", 2))
    return channel_norm.LpNormalization(node.name, node.data(), node.outputs, axis_of(node, -1), order)


NORMS: dict[str, Builder] = {
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms_norm,
}
