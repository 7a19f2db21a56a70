"""Every integer operator that the importers take has a sweep against the runtime that defines it: one closed table."""

import numpy as np
import pytest
from operator_cases import CASES, FLOAT_FUNCTIONS, Draw

from cimemu.importer.from_onnx import OPERATORS
from cimemu.importer.onnx_integer import INTEGER_OPS
from cimemu.importer.onnx_qoperator import EXPANSIONS
from cimemu.layer.activation import Activation
from cimemu.layer.shape import Pad
from cimemu.lower.digital import MOVES
from cimemu.lower.products import FUSED, PRODUCTS

CODES = ("QuantizeLinear", "DequantizeLinear")
# ONNX Runtime has no kernel of it on processors: cimemu reads it as the group that it stands for, which is swept.
AS_A_GROUP = {"QLinearReduceMean": "ReduceMean"}


def activations(kind=Activation):
    """Every activation of the importer: between codes each is one table."""
    own = [kind.op] if kind.op in OPERATORS else []
    return own + [op for below in kind.__subclasses__() for op in activations(below)]


def integer_operators():
    """What becomes an integer layer: operators on integers, and those that are lowered between codes."""
    of_codes = {layer.op for layer in (*PRODUCTS, *FUSED, *MOVES, Pad)}
    # MatMulNBits has integers in its weights alone: what it computes is a product of floats, block by block.
    of_floats = {"com.microsoft:MatMulNBits"}
    return {*(op for _, op in EXPANSIONS), *INTEGER_OPS, *CODES, *of_codes, *activations()} - of_floats


SWEPT = {  # operator -> its sweeps
    "QLinearConv": ["QLinearConv"],
    "QLinearMatMul": ["QLinearMatMul"],
    "QGemm": ["QGemm", "QGemm to float32"],
    "QLinearReduceMean": ["ReduceMean, QDQ"],
    "QLinearSoftmax": ["QLinearSoftmax", "QLinearSoftmax before 13"],
    "Softmax": ["Softmax, QDQ", "Softmax of an axis, QDQ", "Softmax before 13, QDQ"],
    "Add": ["Add, QDQ", "Add of two types, QDQ", "Add and limits, QDQ"],
    "Mul": ["Mul, QDQ", "Mul and limits, QDQ"],
    "QuantizeLinear": ["QuantizeLinear", "DequantizeLinear, QuantizeLinear"],
    **{
        op: [op]
        for op in (
            "QLinearAdd", "QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu",
            "QLinearSigmoid", "QLinearConcat", "QLinearWhere", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear",
            "DequantizeLinear",
        )
    },
    **{
        op: [f"{op}, QDQ"]
        for op in (
            "Conv", "Gemm", "MatMul", "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Slice", "MaxPool", "Pad",
            "Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Exp", "Erf", "Gelu", "Elu", "Softplus", "HardSigmoid",
            "HardSwish", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh",
            "Selu", "Celu", "Mish", "Swish", "Softsign", "ThresholdedRelu", "Shrink",
        )
    },
}  # fmt: skip


def test_the_table_has_every_integer_operator_and_no_other():
    assert set(SWEPT) == integer_operators()


@pytest.mark.parametrize("operator", SWEPT)
def test_the_sweeps_of_an_operator_hold_it(operator):
    for name in SWEPT[operator]:
        build = {**CASES, **FLOAT_FUNCTIONS}[name]
        for seed in range(len(Draw.KINDS)):
            for dtype in ("int8", "uint8"):
                with np.errstate(all="ignore"):
                    net = build(Draw(seed, dtype))
                assert AS_A_GROUP.get(operator, operator) in {node.op_type for node in net.nodes}, name
