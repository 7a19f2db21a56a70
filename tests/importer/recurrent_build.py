"""LSTM, GRU and RNN nodes with drawn attributes, as ONNX files, and what ONNX Runtime makes of them."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
ACTIVATIONS += ("Softsign", "Softplus")


@dataclass
class Case:
    """Sizes, attributes and which optional inputs are given; `stored` ones are constants of the file."""

    kind: str
    steps: int = 4
    batch: int = 1
    inputs: int = 3
    hidden: int = 5
    direction: str = "forward"
    bias: bool = True
    lengths: str = ""  # "", stored or fed
    initial: str = ""
    peepholes: bool = False
    attributes: dict = field(default_factory=dict)
    seed: int = 0

    @property
    def directions(self):
        return 2 if self.direction == "bidirectional" else 1


def build(case, outputs=("Y", "Y_h", "Y_c")):
    """(model, feeds) with the layout of ONNX's default."""
    rng = np.random.default_rng(case.seed)
    d, gates, h = case.directions, GATES[case.kind], case.hidden
    draw = lambda *shape: (rng.standard_normal(shape) * 0.5).astype(np.float32)  # noqa: E731
    feeds = {"X": draw(case.steps, case.batch, case.inputs)}
    constants = {"W": draw(d, gates * h, case.inputs), "R": draw(d, gates * h, h)}
    names = ["X", "W", "R", "", "", "", "", ""]

    def give(place, name, value, how):
        names[place] = name
        (feeds if how == "fed" else constants)[name] = value

    if case.bias:
        give(3, "B", draw(d, 2 * gates * h), "stored")
    if case.lengths:
        give(4, "lengths", rng.integers(1, case.steps + 1, case.batch).astype(np.int32), case.lengths)
    if case.initial:
        give(5, "h0", draw(d, case.batch, h), case.initial)
        if case.kind == "LSTM":
            give(6, "c0", draw(d, case.batch, h), case.initial)
    if case.peepholes:
        give(7, "P", draw(d, 3 * h), "stored")
    while not names[-1]:
        names.pop()
    outputs = [name for name in outputs if name != "Y_c" or case.kind == "LSTM"]
    node = helper.make_node(
        case.kind, names, outputs, name="cell", hidden_size=h, direction=case.direction, **case.attributes
    )
    types = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int32): TensorProto.INT32}
    graph = helper.make_graph(
        [node],
        "recurrent",
        [helper.make_tensor_value_info(n, types[v.dtype], v.shape) for n, v in feeds.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * (4 if n == "Y" else 3)) for n in outputs if n],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model, feeds
