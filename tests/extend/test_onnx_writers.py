"""Operators from outside in files that cimemu writes: the node that was read, nodes that a class brings, or one line."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pages import ROOT, blocks

import cimemu
from cimemu import plugins
from cimemu.cli import main
from cimemu.errors import WorkloadError

PAGE = ROOT / "cimemu/docs/extend/operator.md"
CODE, WRITER = (
    next(b.body for b in blocks(PAGE) if b.label == "python" and mark in b.body)
    for mark in ("class SoftShrink", "def onnx_nodes")
)
METHOD = "".join(f"    {line}\n" for line in WRITER.partition("\n\n")[2].strip().splitlines())
OWN_READER = """
    @classmethod
    def from_node(cls, node):
        return cls(node.name, node.data(), node.outputs, bound=float(node.attribute("bound", 0.5)))
"""


@pytest.fixture
def plug_in(tmp_path):
    """A function that loads the page's class with more methods."""
    path = tmp_path / "soft_shrink.py"

    def load(more="", head=""):
        path.write_text(f"{head}{CODE}\n{more}")
        cimemu.load_plugin(path)
        return path

    yield load
    plugins.forget(path)


@pytest.fixture
def net(tmp_path):
    """A file with the operator between two products, and inputs."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("SoftShrink", ["a"], ["b"], name="shrink", domain="my.domain", bound=0.25),
        helper.make_node("Gemm", ["b", "v"], ["y"]),
    ]
    constants = {"w": rng.normal(size=(8, 6)), "v": rng.normal(size=(6, 3))}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), tmp_path / "net.onnx")
    return tmp_path / "net.onnx", rng.normal(size=(16, 8)).astype(np.float32)


def quantised(net):
    path, images = net
    arch = cimemu.load_arch("rram_128")
    return arch, cimemu.quantize(cimemu.load_network(path), arch, calibration=images), images


def test_the_node_that_was_read_is_written_and_read_again(plug_in, net, tmp_path):
    plug_in()
    arch, network, images = quantised(net)
    for saved in (cimemu.load_network(net[0]), network):
        again = cimemu.load_network(cimemu.save_onnx(saved, tmp_path / "again.onnx", overwrite=True))
        (node,) = (n for n in onnx.load(tmp_path / "again.onnx").graph.node if n.domain)
        assert (node.domain, node.op_type, node.attribute[0].name, node.attribute[0].f) == (
            "my.domain", "SoftShrink", "bound", 0.25,
        )  # fmt: skip
    assert again.is_quantized
    made, wanted = (cimemu.run(arch, n, images).outputs for n in (tmp_path / "again.onnx", network))
    assert made.tobytes() == wanted.tobytes()


def test_a_class_writes_nodes_that_other_programs_run(plug_in, net, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    plug_in(METHOD, "from onnx import helper\n")
    _, network, images = quantised(net)
    path = cimemu.save_onnx(network, tmp_path / "plain.onnx")
    assert [(s.domain, s.version) for s in onnx.load(path).opset_import] == [("", 17)]
    options = ort.SessionOptions()  # products that its optimisation makes may saturate at 16 bits, see the manual
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    (found,) = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, {"x": images})
    assert np.allclose(found, cimemu.run("rram_128", network, images).outputs, atol=1e-5)


def test_cimemu_quantize_writes_it(plug_in, net, tmp_path, monkeypatch, capsys):
    path = plug_in()
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", net[1])
    words = ["quantize", "net.onnx", "--calibration", "images.npy", "--out", "q.onnx", "--plugin", str(path)]
    assert main(words) == 0, capsys.readouterr().err
    assert cimemu.load_network("q.onnx").is_quantized


REFUSED = {
    "no writer": (OWN_READER, "reads nodes with a from_node of its own and has no onnx_nodes; define it"),
    "one that fails": ("    def onnx_nodes(self, opset):\n        return 1 / 0\n", "onnx_nodes: ZeroDivisionError"),
    "no nodes": ("    def onnx_nodes(self, opset):\n        return ['Shrink']\n", "no onnx.NodeProto"),
    "nothing": ("    def onnx_nodes(self, opset):\n        return 3\n", "onnx_nodes: TypeError"),
    "no output": ("    def onnx_nodes(self, opset):\n        return []\n", "no node gives the output 'b'"),
    "an unknown input": (
        METHOD.replace("self.inputs", "['q']"), "Shrink reads 'q', which no input or earlier node gives",
    ),
    "an unknown operator": (METHOD.replace('"Shrink"', '"Shrunk"'), "onnx_nodes: No Op registered for Shrunk"),
    "an unknown attribute": (METHOD.replace("lambd=", "lambda_="), "onnx_nodes: Unrecognized attribute: lambda_"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_class_that_cannot_be_written_is_one_line(case, plug_in, net, tmp_path):
    more, said = REFUSED[case]
    plug_in(more, "from onnx import helper\n")
    network = cimemu.load_network(net[0])
    with pytest.raises(WorkloadError, match=rf"^node 'shrink' \(my\.domain:SoftShrink\): [^\n]*{said}[^\n]*$"):
        cimemu.save_onnx(network, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()
