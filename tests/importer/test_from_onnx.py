"""What the importer makes of ONNX graphs: folding, batch, names, quantised constants, errors."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_build import compare, feeds_for, model, node, reference, save

from cimemu.errors import WorkloadError
from cimemu.importer import load_network
from cimemu.importer.from_onnx import load_onnx
from cimemu.layer.execute import infer_types, input_types, run_float
from cimemu.layer.quant import DequantizeLinear

RNG = np.random.default_rng(2)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


def needs_onnxruntime():
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")


def norm(channels, prefix=""):
    names = [prefix + n for n in ("s", "b", "m", "v")]
    return dict(zip(names, (f32(channels), f32(channels), f32(channels), np.abs(f32(channels)))))


# --- folding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_after_a_convolution_goes_into_its_weights(tmp_path, bias):
    needs_onnxruntime()
    constants = {"w": f32(5, 3, 3, 3), **({"c": f32(5)} if bias else {}), **norm(5)}
    nodes = [node("Conv", "x w c" if bias else "x w", "t"), node("BatchNormalization", "t s b m v", "y")]
    network = compare(save(tmp_path, model(nodes, {"x": (3, 6, 6)}, ["y"], constants)))
    assert [layer.op for layer in network.layers] == ["Conv"]
    assert network.layers[0].outputs == ("y",)
    assert set(network.types) == {"x", "y"}


@pytest.mark.parametrize("trans", [0, 1])
def test_batch_norm_after_gemm_goes_into_its_weights(tmp_path, trans):
    needs_onnxruntime()
    constants = {"w": f32(5, 6) if trans else f32(6, 5), "c": f32(5), **norm(5)}
    nodes = [
        node("Gemm", "x w c", "t", transB=trans, alpha=0.5, beta=3.0),
        node("BatchNormalization", "t s b m v", "y"),
    ]
    network = compare(save(tmp_path, model(nodes, {"x": (6,)}, ["y"], constants)))
    assert [layer.op for layer in network.layers] == ["Gemm"]


def test_a_weight_that_two_convolutions_share_is_folded_apart(tmp_path):
    needs_onnxruntime()
    nodes = [
        node("Conv", "x w", "t"),
        node("BatchNormalization", "t s b m v", "u"),
        node("Conv", "x w", "z"),
        node("Add", "u z", "y"),
    ]
    network = compare(save(tmp_path, model(nodes, {"x": (3, 6, 6)}, ["y"], {"w": f32(5, 3, 1, 1), **norm(5)})))
    assert [layer.op for layer in network.layers] == ["Conv", "Conv", "Add"]


def test_batch_norm_stays_where_the_convolution_has_another_reader(tmp_path):
    needs_onnxruntime()
    nodes = [node("Conv", "x w", "t"), node("BatchNormalization", "t s b m v", "u"), node("Add", "u t", "y")]
    network = compare(save(tmp_path, model(nodes, {"x": (3, 6, 6)}, ["y"], {"w": f32(5, 3, 1, 1), **norm(5)})))
    assert [layer.op for layer in network.layers] == ["Conv", "BatchNormalization", "Add"]


def test_identities_vanish_and_their_readers_keep_their_names(tmp_path):
    nodes = [
        node("Identity", "x", "a"),
        node("Dropout", "a", "b"),
        node("Cast", "b", "c", to=1),
        node("Relu", "c", "d"),
        node("Identity", "d", "y"),
    ]
    network = load_onnx(save(tmp_path, model(nodes, {"x": (3,)}, ["y"])))
    assert [(layer.op, layer.inputs, layer.outputs) for layer in network.layers] == [
        ("Relu", ("x",), ("d",)),
        ("Identity", ("d",), ("y",)),
    ]


def test_half_precision_weights_behind_a_cast_become_float32_constants(tmp_path):
    needs_onnxruntime()
    nodes = [node("Cast", "h", "w", to=1), node("MatMul", "x w", "y")]
    network = compare(save(tmp_path, model(nodes, {"x": (6,)}, ["y"], {"h": f32(6, 5).astype(np.float16)})))
    assert network.constants["w"].dtype == np.float32
    assert set(network.constants) == {"w"}


def test_layers_that_no_output_needs_are_left_out(tmp_path):
    nodes = [node("Relu", "x", "y"), node("Exp", "x", "unused")]
    assert [layer.op for layer in load_onnx(save(tmp_path, model(nodes, {"x": (3,)}, ["y"]))).layers] == ["Relu"]


def test_names_are_unique_even_where_the_file_has_none(tmp_path):
    nodes = [
        node("Relu", "x", "a"),
        node("Relu", "a", "b", name="Relu_0"),
        node("Relu", "b", "y", name="Relu_0"),
    ]
    network = load_onnx(save(tmp_path, model(nodes, {"x": (3,)}, ["y"])))
    assert [layer.name for layer in network.layers] == ["Relu_0", "Relu_0_2", "Relu_0_3"]


# --- batch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 4, "N", None])
def test_a_literal_batch_runs_any_number_of_images(tmp_path, batch):
    first = batch if isinstance(batch, int) else -1
    nodes = [node("Reshape", "x s", "t"), node("MatMul", "t w", "y")]
    made = model(nodes, {"x": (2, 3)}, ["y"], {"s": i64(first, 6), "w": f32(6, 2)}, batch=batch)
    network = load_onnx(save(tmp_path, made))
    assert network.types["y"].shape == (2,)
    assert run_float(network, f32(5, 2, 3))["y"].shape == (5, 2)


@pytest.mark.parametrize("target", [(1, -1), (-1,), (-1, 3)])
def test_a_reshape_that_joins_images_gives_each_its_own_elements(tmp_path, target):
    path = save(tmp_path, model([node("Reshape", "x s", "y")], {"x": (2, 3)}, ["y"], {"s": i64(*target)}))
    x, network = f32(4, 2, 3), load_onnx(path)
    assert network.whole is not None
    assert run_float(network, x)["y"].reshape(4, -1).tolist() == x.reshape(4, -1).tolist()


def test_the_number_of_images_as_a_value_is_refused(tmp_path):
    nodes = [
        node("Shape", "x", "h"),
        node("Gather", "h i", "n"),
        node("Cast", "n", "f", to=1),
        node("Div", "x f", "y", name="mean"),
    ]
    path = save(tmp_path, model(nodes, {"x": (2, 3)}, ["y"], {"i": np.array(0)}))
    with pytest.raises(WorkloadError, match=r"'mean' \(Div\): input 'f' depends on the number of images"):
        load_onnx(path)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Concat", "x x", "y", axis=0)],
        [node("Softmax", "x", "y", axis=0)],
        [node("ReduceSum", "x", "y")],
        [node("Squeeze", "x zero", "y")],
        [node("Gather", "x zero", "y", axis=0)],
        [node("Slice", "x zero one zero", "y")],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_no_operator_may_mix_images(tmp_path, nodes):
    path = save(tmp_path, model(nodes, {"x": (2, 3)}, ["y"], {"zero": i64(0), "one": i64(1)}))
    with pytest.raises(WorkloadError, match=nodes[0].op_type):
        load_onnx(path)


def test_an_open_axis_other_than_the_batch_names_the_input(tmp_path):
    made = model([node("Relu", "x", "y")], {"x": (3, "width")}, ["y"])
    with pytest.raises(WorkloadError, match=r"input 'x' has size width on axis 2"):
        load_onnx(save(tmp_path, made))


def test_a_run_in_parts_gives_the_bits_of_a_run_at_once(tmp_path, monkeypatch):
    nodes = [node("Conv", "x w", "t"), node("Flatten", "t", "f"), node("Gemm", "f g", "y")]
    made = model(nodes, {"x": (3, 6, 6)}, ["y"], {"w": f32(5, 3, 3, 3), "g": f32(80, 7)})
    network = load_onnx(save(tmp_path, made))
    x = f32(7, 3, 6, 6)
    whole = run_float(network, x, keep=["t"])
    monkeypatch.setattr("cimemu.layer.execute.MEMORY_BYTES", 1)
    parts = run_float(network, x, keep=["t"])
    assert all(np.array_equal(whole[name], parts[name]) for name in ("y", "t"))


# --- quantised graphs -----------------------------------------------------------------------------


def qdq_model(transpose=False):
    weight = RNG.integers(-127, 128, (5, 6)).astype(np.int8)
    constants = {
        "sx": np.float32(0.05),
        "zx": np.uint8(120),
        "w": weight,
        "sw": RNG.uniform(0.01, 0.02, 5).astype(np.float32),
        "zw": np.zeros(5, np.int8),
        "b": RNG.integers(-999, 999, 5).astype(np.int32),
        "sb": RNG.uniform(0.0005, 0.001, 5).astype(np.float32),
        "sy": np.float32(0.1),
    }
    nodes = [
        node("QuantizeLinear", "x sx zx", "xq"),
        node("DequantizeLinear", "xq sx zx", "xd"),
        node("DequantizeLinear", "w sw zw", "wd", axis=0),
        node("DequantizeLinear", "b sb", "bd", axis=0),
        *(
            [node("Transpose", "wd", "wt"), node("MatMul", "xd wt", "p"), node("Add", "p bd", "t")]
            if transpose
            else [node("Gemm", "xd wd bd", "t", transB=1)]
        ),
        node("QuantizeLinear", "t sy zx", "tq"),
        node("DequantizeLinear", "tq sy zx", "y"),
    ]
    return model(nodes, {"x": (6,)}, ["y"], constants)


@pytest.mark.parametrize("transpose", [False, True])
def test_a_quantised_weight_stays_integers_behind_its_dequantiser(tmp_path, transpose):
    needs_onnxruntime()
    path = save(tmp_path, qdq_model(transpose))
    network = load_onnx(path)
    product = next(layer for layer in network.layers if layer.op in ("Gemm", "MatMul"))
    source = next(layer for layer in network.layers if layer.outputs == (product.inputs[1],))
    assert isinstance(source, DequantizeLinear)
    assert network.constants[source.inputs[0]].dtype == np.int8
    assert source.axis == int(transpose)
    assert network.is_quantized
    values = network.constants[product.inputs[1]]
    np.testing.assert_array_equal(values, source.forward([network.constants[n] for n in source.inputs])[0])
    feeds = feeds_for(network, 20)
    step = np.abs(run_float(network, feeds)["y"] - reference(path, feeds, ["y"])[0]).max()
    assert step <= 0.1001  # one step of the output, where the float sum lies on a tie


def test_four_bit_weights_are_read(tmp_path):
    weight = helper.make_tensor("w", TensorProto.INT4, (2, 3), [-8, 7, 1, -1, 0, 3])
    made = model(
        [node("DequantizeLinear", "w s", "d"), node("MatMul", "x d", "y")],
        {"x": (2,)},
        ["y"],
        {"s": np.float32(0.5)},
        opset=21,
    )
    made.graph.initializer.append(weight)
    network = load_onnx(save(tmp_path, made))
    assert network.constants["w"].tolist() == [[-8, 7, 1], [-1, 0, 3]]
    assert network.constants["d"].tolist() == [[-4, 3.5, 0.5], [-0.5, 0, 1.5]]


def test_types_of_all_runtime_tensors_can_be_inferred_again(tmp_path):
    network = load_onnx(save(tmp_path, qdq_model()))
    inputs = {name: network.types[name] for name in network.inputs}
    assert infer_types(network.layers, network.constants, inputs) == network.types
    gemm = next(layer for layer in network.layers if layer.op == "Gemm")
    assert [t.shape for t in input_types(gemm, network)] == [(6,), (5, 6), (5,)]
    out = [network.types["t"]]
    assert gemm.digital_ops(input_types(gemm, network), out) == 2 * 6 * 5


# --- errors ---------------------------------------------------------------------------------------


def one_line(path):
    """The error of a file that cannot be loaded: one line that starts with its name."""
    with pytest.raises(WorkloadError) as caught:
        load_network(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text.removeprefix(str(path))


def test_an_unsupported_operator_names_node_operator_and_remedy(tmp_path):
    path = save(tmp_path, model([node("NonZero", "x", "y", name="act")], {"x": (3,)}, ["y"]))
    text = one_line(path)
    assert text.startswith(
        ": node 'act' (NonZero): operator NonZero (once) is not supported; it has no products with weights: export it"
    )
    assert "AveragePool" in text


def test_all_unsupported_operators_are_told_with_the_share_of_the_work_that_could_run(tmp_path):
    nodes = [
        node("Conv", "x w", "c", name="conv"),
        node("NonZero", "c", "n", name="first"),
        node("NonZero", "n", "m"),
        node("Unique", "m", "u"),
        node("DeformConv", "x d o", "h"),
        node("Flatten", "c", "f"),
        node("MatMul", "f v", "y"),
    ]
    constants = {"w": f32(3, 2, 3, 3), "v": f32(12, 5), "d": f32(5, 2, 3, 3), "o": f32(1, 18, 2, 2)}
    made = model(nodes, {"x": (2, 4, 4)}, ["y", "u", "h"], constants, opset=19)
    text = one_line(save(tmp_path, made))
    macs = {"conv": 2 * 2 * 3 * 2 * 9, "matmul": 12 * 5, "deform": 2 * 2 * 5 * 2 * 9}
    share = 100 * (macs["conv"] + macs["matmul"]) / sum(macs.values())
    assert text.startswith(
        ": node 'first' (NonZero): operators DeformConv (once), NonZero (2 times) and Unique (once) are not supported; "
        f"{share:.1f} % of its {sum(macs.values()):,} MACs could run: export them"
    )


def test_a_share_of_the_work_that_is_not_known_is_not_told(tmp_path):
    """The product's rows come behind an operator of which ONNX tells no sizes."""
    nodes = [node("Relu", "x", "r"), node("MatMul", "r w", "y", name="product")]
    made = model(nodes, {"x": (4,)}, ["y"], {"w": f32(4, 5)})
    made.graph.node[0].domain = "com.example"
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    del made.graph.value_info[:]
    assert "what share of its MACs could run is not known, as the file leaves sizes open" in one_line(
        save(tmp_path, made)
    )


@pytest.mark.parametrize(("shape", "axis"), [((1, 7), 1), ((2, 7), -1), ((3, 2), 0), ((2, 40), 1)])
def test_constant_elements_are_gathered_by_a_shorter_index(tmp_path, shape, axis):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 9, (2, 40))
    index = rng.integers(-data.shape[axis], data.shape[axis], shape)
    constants = {"d": data, "i": index, "t": f32(9, *shape)}
    nodes = [node("GatherElements", "d i", "g", axis=axis), node("Cast", "g", "f", to=1), node("Add", "x f", "y")]
    path = save(tmp_path, model(nodes, {"x": (1, *shape)}, ["y"], constants))
    wanted = np.array([data[i, index[i, j]] if axis else data[index[i, j], j] for i, j in np.ndindex(shape)])
    x = np.zeros((2, 1, *shape), np.float32)
    assert run_float(load_onnx(path), x)["y"].reshape(2, *shape).tolist() == [wanted.reshape(shape).tolist()] * 2


def test_constant_elements_beyond_the_data_are_refused(tmp_path):
    for index, told in ((np.array([[7]]), "along an axis of 7"), (np.zeros((3, 1), np.int64), "are longer than data")):
        nodes = [node("GatherElements", "d i", "g", axis=1), node("Cast", "g", "f", to=1), node("Add", "x f", "y")]
        path = save(tmp_path, model(nodes, {"x": (1, 1)}, ["y"], {"d": np.zeros((2, 7), np.int64), "i": index}))
        assert told in one_line(path)


def test_an_operator_of_another_domain_is_named_with_it(tmp_path):
    made = model([node("Relu", "x", "y")], {"x": (3,)}, ["y"])
    made.graph.node[0].domain = "com.example"
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    assert "operator com.example:Relu (once) is not supported" in one_line(save(tmp_path, made))


def test_an_attribute_nobody_knows_is_refused(tmp_path):
    made = model([node("Relu", "x", "y")], {"x": (3,)}, ["y"])
    made.graph.node[0].domain = ""
    made.graph.node[0].attribute.append(helper.make_attribute("slope", 0.5))
    text = one_line(save(tmp_path, made))
    assert "slope" in text


def test_a_loop_of_more_turns_than_layers_can_be_is_refused(tmp_path):
    body = helper.make_graph(
        [node("Identity", "go", "again"), node("Identity", "state", "next")],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("again", "next")],
    )
    loop = helper.make_node("Loop", ["many", "yes", "yes"], ["end"], name="spin", body=body)
    made = model([node("Relu", "x", "y")], {"x": (3,)}, ["y"], {"many": np.array(2**62), "yes": np.array(True)})
    made.graph.node.insert(0, loop)
    assert "'spin' (Loop): 4611686018427387904 turns, at most 4096" in one_line(save(tmp_path, made))


@pytest.mark.parametrize("faulty", [np.nan, np.inf])
@pytest.mark.parametrize("op", ["Conv", "Gemm"])
def test_weights_that_are_not_finite_are_refused(tmp_path, faulty, op):
    weight = f32(5, 3, 1, 1) if op == "Conv" else f32(3, 5)
    weight.reshape(-1)[4] = faulty
    shape = (3, 4, 4) if op == "Conv" else (3,)
    text = one_line(save(tmp_path, model([node(op, "x w", "y", name="n")], {"x": shape}, ["y"], {"w": weight})))
    assert f"node 'n' ({op}): constant 'w' holds {faulty} at [" in text


def test_infinity_is_a_limit_like_any_other(tmp_path):
    constants = {"l": np.float32(0), "h": np.float32(np.inf)}
    network = load_onnx(save(tmp_path, model([node("Clip", "x l h", "y")], {"x": (2,)}, ["y"], constants)))
    assert run_float(network, np.array([[-1, 1e30]], np.float32))["y"].tolist() == [[0, np.float32(1e30)]]


def test_files_that_are_missing_cut_or_something_else(tmp_path):
    whole = save(tmp_path, qdq_model()).read_bytes()
    assert one_line(tmp_path / "none.onnx") == ": no such file, name a network file"
    for name, content in {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "cut_late": whole[:-3],
        "text": b"this is no network\n" * 50,
        "noise": np.random.default_rng(0).bytes(5000),
    }.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        assert "ONNX" in one_line(path)
    folder = tmp_path / "folder.onnx"
    folder.mkdir()
    assert "is a folder, name a network file" in one_line(folder)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    assert "known are .onnx" in one_line(tmp_path / "net.pb")


@pytest.mark.parametrize("cut", range(0, 1000, 37))
def test_a_file_cut_anywhere_is_an_error_not_a_crash(tmp_path, cut):
    whole = qdq_model().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    one_line(path)


def external(tmp_path, location):
    made = model([node("MatMul", "x w", "y")], {"x": (4,)}, ["y"], {"w": f32(4, 4)})
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return save(tmp_path, made)


def test_external_data_beside_the_network_is_read(tmp_path):
    weight = f32(4, 4)
    (tmp_path / "w.bin").write_bytes(weight.tobytes())
    np.testing.assert_array_equal(load_onnx(external(tmp_path, "w.bin")).constants["w"], weight)


def test_external_data_elsewhere_missing_or_short_is_refused(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(f32(4, 4).tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "short").write_bytes(b"1234")
    for location in ("../secret", str(tmp_path / "secret"), "link", ""):
        assert "external data must be in the folder" in one_line(external(folder, location))
    assert "missing" in one_line(external(folder, "nowhere"))
    one_line(external(folder, "short"))


def test_sizes_meant_to_exhaust_memory_are_refused(tmp_path):
    relu = [node("Relu", "x", "y")]
    assert "at most" in one_line(save(tmp_path, model(relu, {"x": (1 << 20, 1 << 20)}, ["y"])))
    made = model([node("MatMul", "x w", "y")], {"x": (4,)}, ["y"], {"w": f32(4, 4)})
    made.graph.initializer[0].dims[:] = [1 << 40, 1 << 40]
    assert "at most" in one_line(save(tmp_path, made))
    fill = [node("ConstantOfShape", "s", "c"), node("Add", "x c", "y")]
    assert "constant" in one_line(save(tmp_path, model(fill, {"x": (4,)}, ["y"], {"s": i64(1 << 20, 1 << 20)})))
    outer = [node("MatMul", "u v", "c"), node("Add", "x c", "y")]
    vectors = {"u": np.zeros((1 << 16, 1), np.float32), "v": np.zeros((1, 1 << 16), np.float32)}
    assert "folded" in one_line(save(tmp_path, model(outer, {"x": (4,)}, ["y"], vectors)))
    pad = [node("Pad", "x p", "y")]
    assert "must be <=" in one_line(save(tmp_path, model(pad, {"x": (4,)}, ["y"], {"p": i64(0, 0, 0, 1 << 40)})))


@pytest.mark.parametrize(
    ("nodes", "shape", "constants", "words"),
    [
        ([node("Conv", "x w", "y", name="n")], (3, 4, 4), {"w": f32(5, 4, 1, 1)}, "input channels"),
        ([node("Conv", "x w", "y", name="n")], (3, 4, 4), {"w": f32(5, 3, 9, 9)}, "smaller than the kernel"),
        ([node("Conv", "x w", "y", name="n")], (3, 4, 4, 4), {"w": f32(5, 2, 1, 1, 1)}, "input channels"),
        ([node("Conv", "x w b", "y", name="n")], (3, 4, 4), {"w": f32(5, 3, 1, 1), "b": f32(4)}, "bias"),
        ([node("Gemm", "x w", "y", name="n", transA=1)], (3,), {"w": f32(3, 5)}, "transA"),
        ([node("Gemm", "x w", "y", name="n")], (4,), {"w": f32(3, 5)}, "takes 3"),
        ([node("MatMul", "x w", "y", name="n")], (4,), {"w": f32(3, 5)}, "inner size"),
        ([node("Add", "x w", "y", name="n")], (4,), {"w": f32(3)}, "broadcast"),
        ([node("Add", "x w", "y", name="n")], (4,), {"w": f32(3, 4)}, "mixes the images"),
        ([node("Add", "x w", "y", name="n")], (4,), {"w": i64(1)}, "insert a Cast"),
        ([node("QuantizeLinear", "x w", "y", name="n")], (4,), {"w": np.float32(-1)}, "positive finite"),
        ([node("QuantizeLinear", "x w", "y", name="n")], (4,), {"w": np.abs(f32(3))}, "one per index"),
        ([node("MaxPool", "x", "y", name="n", kernel_shape=[9, 9])], (3, 4, 4), {}, "smaller than the window"),
        ([node("Gather", "x w", "y", name="n", axis=1)], (4,), {"w": i64(4)}, "along an axis of 4"),
        ([node("Cast", "x", "y", name="n", to=16)], (4,), {}, "bfloat16"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_one_line(tmp_path, nodes, shape, constants, words):
    helper_model = onnx.helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    text = one_line(save(tmp_path, helper_model))
    assert text.startswith(": node 'n' (")
    assert words in text


def test_wrong_inputs_to_a_run_are_named(tmp_path):
    network = load_onnx(save(tmp_path, model([node("Relu", "x", "y")], {"x": (3,)}, ["y"])))
    for given, words in (
        (f32(2, 4), r"input 'x' has shape \(2, 4\), must be"),
        (np.zeros((2, 3)), "input 'x' is float64, must be float32"),
        ({"z": f32(2, 3)}, "input 'x' is missing"),
    ):
        with pytest.raises(WorkloadError, match=words):
            run_float(network, given)
    with pytest.raises(WorkloadError, match="tensor 'nothing' is not in the network"):
        run_float(network, f32(2, 3), keep=["nothing"])
