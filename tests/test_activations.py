"""Products of two activations on macros, from a file to the report: draws, phases, charges and what is refused."""

import attention
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.cli import main
from cimemu.compute.forward import Emulator
from cimemu.events import Counter, Kind
from cimemu.fitting.mapped import map_network
from cimemu.golden.vectors import layer_vectors
from cimemu.layer.activation import Clip
from cimemu.lower import lower
from cimemu.mapping.place import make_plan
from cimemu.stress.trial import Point, StressTask
from cimemu.variation.parse import make_variation

VERIFIED = ["write_verify:sigma=0.3,tolerance=0.2,iterations=9"]
SRAM = {"macro.adc": {"model": "ideal"}, "mapping.activations": "macros"}


def sram(**more):
    return cimemu.load_arch("sram_128", {**SRAM, **more})


def codes(network, images=3, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 256, (images, *network.types[name].shape)).astype(network.types[name].dtype)
        for name in network.inputs
    }


def outputs(network, arch, arrays, **more):
    return cimemu.run(arch, network, arrays, **more).outputs


def test_every_image_is_a_writing_of_its_own():
    network = attention.attention_network(4, 2, 3, own=False)
    one = codes(network, 1)
    twice = {name: np.concatenate([array, array]) for name, array in one.items()}
    arch = sram()
    same = outputs(network, arch, twice, vary=["lognormal:sigma=0.3"])
    assert np.array_equal(same[0], same[1])  # spread of the device: both images find the same cells
    other = outputs(network, arch, twice, vary=["lognormal:sigma=0.3,per=write"])
    assert not np.array_equal(other[0], other[1])  # of the writing: each image is written anew


@pytest.mark.parametrize("vary", ["lognormal:sigma=0.3,per=write", "telegraph:amplitude=0.3", VERIFIED[0]])
def test_draws_do_not_depend_on_batches_and_threads(vary):
    network = attention.attention_network(4, 2, 3)
    arrays, arch = codes(network, 5), sram()
    whole = cimemu.run(arch, network, arrays, vary=[vary], seed=3)
    cut = cimemu.run(arch, network, arrays, vary=[vary], seed=3, batch=2, threads=2)
    assert np.array_equal(whole.outputs, cut.outputs)
    assert np.array_equal(whole.counts, cut.counts)
    assert (whole.cycles, whole.energy_uj) == (cut.cycles, cut.energy_uj)


def test_write_pulses_of_an_image_are_its_time_and_its_energy():
    network, arch = attention.attention_network(4, 2, 3, own=False), sram()
    arrays = codes(network, 3)
    plain = cimemu.run(arch, network, arrays)
    verified = cimemu.run(arch, network, arrays, vary=VERIFIED, detail="cycles")
    fast = cimemu.run(arch, network, arrays, vary=VERIFIED)
    writes = verified.counts[:, :, Counter.CELL_WRITES].sum(axis=1)
    assert (writes > plain.counts[:, :, Counter.CELL_WRITES].sum(axis=1)).all()
    assert len(set(writes.tolist())) > 1
    assert plain.cycles < fast.cycles == verified.cycles
    assert verified.tally.energy_pj[:, verified.tally.components.index("programming")].sum() >= 0


def test_a_product_is_what_one_macro_gives_draw_for_draw():
    """One head, one macro: image i is `mvm` with codes of i as weights, the first as the first writing of macro 0."""
    network = attention.attention_network(4, 1, 3, own=False)
    arch = sram(**{"macro.adc": {"model": "linear", "bits": 4, "lsb": 1.5}})
    arrays, vary = codes(network, 2), ["lognormal:sigma=0.2,per=write"]
    emulator = Emulator(network, arch.macro, plan=make_plan(network, arch))
    emulator.program(make_plan(network, arch), vary, 5)
    run = emulator.run([arrays[name] for name in network.inputs], keep=frozenset(["s"]))
    q, k = arrays["q"][0, 0].astype(int), arrays["k"][0, 0].astype(int)
    y = cimemu.mvm(q, k.T - 128, arch.macro, vary=vary, seed=5).y  # stored as uint8 weights are: w - 128
    zero = 128  # of both
    acc = y + (128 - zero) * q.sum(axis=1)[:, None] - zero * (k.T - 128).sum(axis=0) + 3 * zero * (zero - 128)
    wanted = network.layers[0].stage.apply(acc)
    assert np.array_equal(run.tensors["s"][0, 0], wanted)


def test_a_network_that_does_not_fit_is_written_in_phases(tmp_path):
    network = attention.attention_network(9, 3, 8)
    arrays = codes(network, 3)
    wide = sram()
    small = sram(**{"chip.tiles": 1, "tile.macros": 2})
    plan = make_plan(network, small)
    assert plan.phases > 1
    run = cimemu.run(small, network, arrays, trace=tmp_path / "x.h5")
    assert np.array_equal(run.outputs, outputs(network, wide, arrays))
    assert cimemu.open_trace(tmp_path / "x.h5").table("check")["holds"].all()
    vary = ["lognormal:sigma=0.1,per=write"]
    assert np.array_equal(
        outputs(network, small, arrays, vary=vary), outputs(network, small, arrays, vary=vary, batch=1)
    )


def test_macros_of_activations_hold_nothing_else():
    network, arch = (
        attention.attention_network(4, 2, 3),
        sram(**{"mapping.packing": "tight", "mapping.max_replicas": 4}),
    )
    plan = make_plan(network, arch)
    of = {}
    for p in plan.placed:
        of.setdefault(p.macro, set()).add(p.layer)
    written = {layer.index for layer in plan.layers if layer.written}
    assert len(written) == 2
    assert all(len(layers) == 1 for layers in of.values() if layers & written)
    assert all(plan.layers[index].replicas == 1 for index in written)


def test_macs_are_those_of_the_network_however_operands_are_cut():
    network = attention.attention_network(4, 2, 3)
    for bits, parts in ((8, 1), (4, 4)):
        arch = sram(**{"macro.weight.bits": bits, "macro.input.bits": bits})
        plan = make_plan(network, arch)
        assert [layer.parts for layer in plan.layers if layer.written] == [parts] * 2
        assert sum(layer.macs for layer in plan.layers if layer.written) == 2 * 2 * 4 * 4 * 3


def test_non_volatile_cells_need_leave_to_be_written_again():
    network = attention.attention_network(4, 2, 3)
    arch = cimemu.load_arch("rram_128", SRAM)
    with pytest.raises(
        cimemu.MappingError, match=r"layer scores: .* non-volatile; use .* or allow_reprogram = true"
    ) as error:
        cimemu.run(arch, network, codes(network))
    assert "\n" not in str(error.value)
    allowed = cimemu.load_arch("rram_128", {**SRAM, "allow_reprogram": True})
    assert cimemu.run(allowed, network, codes(network)).cycles > 0


def test_a_network_is_run_where_it_was_made_for():
    network = attention.attention_network(4, 2, 3)
    with pytest.raises(
        cimemu.MappingError, match=r"was made for mapping.activations = macros, the chip sram_128 has digital"
    ):
        cimemu.run("sram_128", network, codes(network))
    digital = attention.product_network("quantised", (3, 4), (4, 5))
    with pytest.raises(
        cimemu.MappingError, match=r"made for mapping.activations = digital, .* quantise it for this chip"
    ):
        make_plan(_with_weights(digital), sram())
    with pytest.raises(cimemu.WorkloadError, match=r"made for mapping.activations = macros, digital is asked for"):
        lower(network)


def _with_weights(network):
    """The network, so that it counts as one of integers."""
    import nets

    layer = nets.matrix_layer("fc", "a", "z", 3, 4, 2, stage=nets.requantize())
    return attention.of_layers(
        [*network.layers, layer], {n: network.types[n] for n in network.inputs}, ["y", "z"], dict(network.constants)
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"macro.weight": {"bits": 1, "encoding": "binary"}},
            "weight.encoding = binary at weight.bits = 1, which holds no two",
        ),
        ({"macro.weight": {"bits": 9}, "macro.input.bits": 9}, None),
    ],
)
def test_what_cells_cannot_hold_is_refused_in_one_line(keys, said):
    network = attention.attention_network(4, 2, 3, own=False)
    if said is None:
        assert make_plan(network, sram(**keys)).macros_used
        return
    with pytest.raises(cimemu.MappingError, match=said) as error:
        make_plan(network, sram(**keys))
    assert "\n" not in str(error.value)


def test_sums_that_leave_32_bits_are_refused():
    network = attention.product_network("tfl8", (1, 1 << 17), (1 << 17, 1))
    with pytest.raises(cimemu.MappingError, match=r"sums of 131072 products of up to 255 x 128, must be < 2\^31"):
        make_plan(lower(network, "macros"), sram())


def test_golden_vectors_are_of_stored_weights():
    network, arch = attention.attention_network(4, 2, 3), sram()
    with pytest.raises(cimemu.WorkloadError, match=r"layer scores: mapping.activations = macros writes its cells"):
        layer_vectors(network, arch.macro, codes(network), "scores", 1)
    assert layer_vectors(network, arch.macro, codes(network), "out", 1).macros
    bare = attention.attention_network(4, 2, 3, own=False)
    with pytest.raises(cimemu.WorkloadError, match=r"no layer has weights in macros"):
        layer_vectors(bare, arch.macro, codes(bare), None, 1)


def test_explain_says_that_each_image_has_its_own_cells():
    network = attention.attention_network(4, 2, 3)
    told = {layer.layer: str(layer) for layer in cimemu.explain(sram(), network)}
    assert told["scores"] == "scores: macros, an engine chosen for every image: its right operand is written into cells"
    assert "to_q" in told


def test_stress_draws_the_cells_of_every_image():
    network = attention.attention_network(4, 2, 3)
    x, model = codes(network, 4)["x"], make_variation("lognormal:sigma=0.3")
    point = Point(0, ("lognormal:sigma=0.3",), (model,))
    task = StressTask(sram(), (network,), (Point(0, (), ()), point), x, None, 0, 4)
    ideal, varied = task.run(0), task.run(1)
    place = task.layers.index("scores")
    assert ideal["own_error"][place] == 0 < varied["own_error"][place]


def test_a_narrow_operand_is_as_wide_as_its_clip():
    network = attention.product_network("quantised", (3, 4), (4, 5), ("uint8", "uint8"), (3, 5))
    layers = [Clip("c", ("b",), ("b4",), low=0, high=15), *network.layers]
    layers[2] = type(layers[2])("db", ("b4", "sb", "zb"), ("rb",))
    made = attention.of_layers(layers, {n: network.types[n] for n in network.inputs}, ["y"], dict(network.constants))
    product = next(layer for layer in lower(made, "macros").layers if layer.on_macros)
    assert (product.b.low, product.b.high) == (0, 15)
    assert make_plan(lower(made, "macros"), sram(**{"macro.weight.bits": 4})).layers[1].parts == 1


def test_fit_gives_a_product_a_row_and_no_parameters():
    network = attention.attention_network(4, 2, 3)
    found = map_network(network, sram())
    rows = {row["layer"]: row for row in found.rows}
    assert (rows["scores"]["groups"], rows["scores"]["rows"], rows["scores"]["outputs"]) == (2, 3, 8)
    assert rows["scores"]["load_cycles"] == 0 < rows["to_q"]["load_cycles"]
    assert found.parameters == 3 * 6 * 6 + 6 * 3
    assert found.macs == sum(layer.macs for layer in found.plan.layers)


def test_training_of_attention_on_macros_is_refused():
    pytest.importorskip("torch")
    from cimemu.adapt.convert import _check

    network = attention.product_network("float", (3, 4), (4, 5))
    with pytest.raises(cimemu.WorkloadError, match=r"node 'p' \(MatMul\): .* not trained for macros") as error:
        _check(network, sram(), {})
    assert "\n" not in str(error.value)


def test_a_file_runs_on_macros_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "net.onnx"
    path.write_bytes(products_file().SerializeToString())
    line = ["run", "sram_128", str(path), "--set", "macro.adc={model: ideal}", "--images", "3"]
    assert main([*line, "--out", str(tmp_path / "digital.h5")]) == 0
    capsys.readouterr()
    assert main([*line, "--set", "mapping.activations=macros", "--out", str(tmp_path / "x.h5"), "--explain"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "activations written into macros, 3 writes a cell; cells last 3.333e+15 runs" in told
    assert "product: macros, an engine chosen for every image" in told
    trace, digital = (cimemu.open_trace(tmp_path / f"{name}.h5") for name in ("x", "digital"))
    for name in "yz":
        assert np.array_equal(trace.table("outputs")[name], digital.table("outputs")[name])
    kinds = list(trace.events["kind"][trace.events["image"] >= 0])
    assert kinds.count(Kind.PROGRAM) == 3
    layers = dict(zip(trace.layers["name"], trace.layers["macs"]))
    assert layers["product"] == 3 * 4 * 8 * 6
    assert main([*line, "--set", "mapping.activations=elsewhere"]) == 2
    assert "mapping.activations" in capsys.readouterr().err


def products_file():
    """MatMulInteger of two activations that are quantised as they come, and of one with a weight."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [name], [f"{name}q", f"{name}s", f"{name}z"], name=f"q{name}")
        for name in "ab"
    ]
    nodes += [
        helper.make_node("MatMulInteger", ["aq", "bq", "az", "bz"], ["y"], name="product"),
        helper.make_node("MatMulInteger", ["aq", "w", "az"], ["z"], name="weighted"),
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, *s]) for n, s in (("a", (4, 8)), ("b", (8, 6)))],
        [helper.make_tensor_value_info(n, TensorProto.INT32, [1, 4, c]) for n, c in (("y", 6), ("z", 5))],
        [numpy_helper.from_array(np.arange(40, dtype=np.int8).reshape(8, 5), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made


@pytest.mark.parametrize(
    "vary", [[], pytest.param(["lognormal:sigma=0.2,per=write", "telegraph:amplitude=0.3"], marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("encoding", ["offset", "differential"])
def test_every_path_gives_the_same_bytes(encoding, vary):
    network = attention.attention_network(4, 2, 3)
    keys = {"macro.weight.encoding": encoding, "macro.rows": 16, "macro.columns": 64, "tile.macros": 64}
    arch = sram(**keys, **{"macro.adc": {"model": "linear", "bits": 3, "lsb": 1.5, "zero": 0.25}})
    arrays = codes(network, 2)
    naive = cimemu.run(arch, network, arrays, vary=vary, path="naive")
    for path in ("auto", "serial", "steps"):
        other = cimemu.run(arch, network, arrays, vary=vary, path=path)
        assert np.array_equal(other.outputs, naive.outputs)
        assert np.array_equal(other.counts, naive.counts)
        assert (other.cycles, other.energy_uj) == (naive.cycles, naive.energy_uj)
