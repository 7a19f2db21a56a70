"""A decoder whose caches grow: a network for every length; tokens are ONNX Runtime's, products exact, and steps are charged."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from growing_decoder import EACH, HEADS, LAYERS, VOCABULARY, continued, decoder
from onnx import TensorProto, helper

import cimemu
from cimemu.check.network import check_network
from cimemu.check.ort_session import make_session
from cimemu.cli import main
from cimemu.growing import lengths_of
from cimemu.importer.onnx_growing import growing_decoder
from cimemu.layer.execute import run_float
from cimemu.mapping.place import make_plan

IDEAL = {"macro.adc": {"model": "ideal"}}
PROMPT = np.array([[3, 1, 4], [1, 5, 9]])
TOKENS = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(file, arch, the networks of all lengths)."""
    path = tmp_path_factory.mktemp("growing") / "decoder.onnx"
    path.write_bytes(decoder().SerializeToString())
    arch = cimemu.load_arch("rram_128", IDEAL)
    return path, arch, lengths_of(cimemu.load_workload(str(path)), arch, {"input_ids": PROMPT}, TOKENS)


def test_every_length_is_the_file_with_that_length(made):
    """In float: the original file in ONNX Runtime, with caches that begin empty."""
    pytest.importorskip("onnxruntime")
    path, _, lengths = made
    session = make_session(path.read_bytes())
    names = [value.name for value in session.get_outputs()]
    theirs, fed = continued(lambda _, feeds: dict(zip(names, session.run(names, feeds))), PROMPT, TOKENS)

    def step(length, feeds):
        network = lengths.decoder.network(length)
        return run_float(network, {name: feeds[name] for name in network.inputs})

    ours, own = continued(step, PROMPT, TOKENS)
    assert np.array_equal(ours, theirs)
    for one, other in zip(own, fed):
        for name, value in other.items():
            assert one[name].shape == value.shape
            np.testing.assert_allclose(one[name], value, rtol=1e-4, atol=1e-5)


def test_tokens_are_those_of_onnx_runtime_on_the_integer_networks(made, tmp_path):
    pytest.importorskip("onnxruntime")
    _, arch, lengths = made

    def step(length, feeds):
        network = lengths.at(length)
        session = make_session(cimemu.save_onnx(network, tmp_path / f"{length}.onnx").read_bytes())
        names = [value.name for value in session.get_outputs()]
        return dict(zip(names, session.run(names, {name: feeds[name] for name in network.inputs})))

    theirs, fed = continued(step, PROMPT, TOKENS)
    ours = cimemu.generate(arch, lengths, {"input_ids": PROMPT}, TOKENS)
    assert ours.tokens.shape == (2, TOKENS)
    assert ours.logits.shape == (2, 3 + TOKENS - 1, VOCABULARY)
    assert np.array_equal(ours.tokens, theirs)
    assert {name: value.shape for name, value in ours.states.items()} == {
        f"past_key_values.{layer}.{part}": (2, HEADS, 3 + TOKENS - 1, EACH)
        for layer in range(LAYERS)
        for part in ("key", "value")
    }
    for length in (0, 1, 6):
        network = lengths.at(length)
        report = check_network(network, arch.macro, {name: fed[length][name] for name in network.inputs})
        assert (report.status, report.differing, report.shortcut_layers) == ("agrees", 0, 0)
        assert sum(layer.on_macros for layer in network.layers) == 6 * LAYERS + 1


def test_a_path_does_the_same_and_every_step_is_a_run(made):
    path, arch, _ = made
    ours = cimemu.generate(arch, path, {"input_ids": PROMPT[:1]}, 3)
    again = lengths_of(cimemu.load_workload(str(path)), arch, {"input_ids": PROMPT[:1]}, 3)
    cycles, energy, macs, state = 0, 0.0, 0, {}
    for length, token in enumerate([*PROMPT[0], *ours.tokens[0, :-1]]):
        network = again.at(length)
        feeds = {
            "input_ids": [[token]],
            "attention_mask": np.ones((1, length + 1), int),
            "position_ids": [[length]],
            **state,
        }
        run = cimemu.run(arch, network, {name: np.asarray(feeds[name]) for name in network.inputs})
        cycles, energy, macs = (
            cycles + run.cycles,
            energy + run.energy_uj,
            macs + sum(layer.macs for layer in run.plan.layers),
        )
        state = {f"past_key_values.{name[8:]}": value for name, value in run.outputs.items() if name != "logits"}
    assert (ours.cycles, ours.macs) == (cycles, macs)
    assert ours.energy_uj == pytest.approx(energy, rel=1e-12)
    assert all(np.array_equal(value, state[name]) for name, value in ours.states.items())


def test_weights_ranges_and_places_are_those_of_every_length(made):
    """One chip: what is in its cells does not depend on the length."""
    _, arch, lengths = made
    networks = [lengths.at(length) for length in (0, 1, 9)]
    for one in networks[1:]:
        pairs = [pair for pair in zip(networks[0].layers, one.layers) if pair[0].on_macros]
        assert all((a.weight == b.weight).all() and a.input_zero_point == b.input_zero_point for a, b in pairs)
        scales = [{n: v for n, v in net.qdq.constants.items() if n.endswith("_scale")} for net in (networks[0], one)]
        assert scales[0].keys() == scales[1].keys()
        assert all((scales[0][name] == scales[1][name]).all() for name in scales[0])
    plans = [make_plan(network, arch) for network in networks]
    placed = [[(plan.layers[one.layer].name, replace(one, layer=0)) for one in plan.placed] for plan in plans]
    assert len(placed[0]) >= 6 * LAYERS + 1
    assert placed[0] == placed[1] == placed[2]


def test_a_chip_that_varies_writes_one_text_for_a_seed(made):
    _, _, lengths = made
    arch = cimemu.load_arch("rram_128")
    first, again, other = (
        cimemu.generate(arch, lengths, {"input_ids": PROMPT}, 4, vary=["lognormal:sigma=0.3"], seed=seed).logits
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_attention_on_macros_grows_too(made):
    path, _, _ = made
    arch = cimemu.load_arch("sram_128", {**IDEAL, "mapping.activations": "macros"})
    lengths = lengths_of(cimemu.load_workload(str(path)), arch, {"input_ids": PROMPT}, 4)
    assert sum(layer.op == "WrittenProduct" for layer in lengths.at(3).layers) == 2 * LAYERS
    ours = cimemu.generate(arch, lengths, {"input_ids": PROMPT}, 4)
    assert ours.tokens.shape == (2, 4)
    longer = cimemu.generate(arch, lengths, {"input_ids": np.tile(PROMPT, 3)}, 1)
    assert longer.cycles / longer.steps > ours.cycles / ours.steps  # more of a cache is written


@pytest.mark.parametrize("names", [("N", "S", "P", "T"), ("b", "s", "past", "past + 1"), ("", "", "", "")])
def test_open_sizes_are_known_by_their_names(names, tmp_path):
    path = tmp_path / "n.onnx"
    path.write_bytes(decoder(names=names).SerializeToString())
    found = growing_decoder(path, ["input_ids"])
    assert found.sizes["attention_mask"] == ((0, 1), (1, 1))
    assert found.sizes["input_ids"] == found.sizes["position_ids"] == ((0, 1), (0, 1))
    assert found.sizes["past_key_values.1.value"] == ((0, 1), (0, HEADS), (1, 0), (0, EACH))


def test_a_cache_with_the_texts_on_another_axis_and_states_of_whole_layers(tmp_path):
    """One cache [layers, texts, length, width], a sum of what was seen: no attention, the same rules."""
    node, info = helper.make_node, helper.make_tensor_value_info
    rng = np.random.default_rng(0)
    table, w = (rng.normal(size=size).astype(np.float32) for size in ((VOCABULARY, 4), (4, VOCABULARY)))
    nodes = [
        node("Gather", ["table", "ids"], ["x"]), node("Unsqueeze", ["x", "zero"], ["n"]),
        node("Concat", ["past", "n"], ["present"], axis=2), node("ReduceMean", ["present"], ["m"], axes=[2], keepdims=1),
        node("Squeeze", ["m", "zero"], ["s"]), node("MatMul", ["s", "w"], ["logits"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g",
        [info("ids", TensorProto.INT64, ["b", "s"]), info("past", TensorProto.FLOAT, [1, "b", "p", 4])],
        [info("logits", TensorProto.FLOAT, None), info("present", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(v, n) for n, v in (("table", table), ("w", w), ("zero", np.array([0])))],
    )  # fmt: skip
    path = tmp_path / "n.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    ours = cimemu.generate(cimemu.load_arch("rram_128", IDEAL), path, {"ids": PROMPT}, 3)
    seen = table[PROMPT]
    assert ours.states["past"].shape == (2, 1, 5, 4)  # of a text: layers, length, width
    np.testing.assert_allclose(ours.states["past"][:, 0, :3], seen, atol=0.02)  # quantised
    mean = np.stack([seen[:, : n + 1].mean(axis=1) for n in range(3)], axis=1)
    np.testing.assert_allclose(ours.logits[:, :3], mean @ w, atol=0.1)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"attention_mask": [[1]]}, "0 of the inputs that are given take tokens"),
        ({"input_ids": [[1]], "past_key_values.0.key": 0}, "a cache that grows begins empty"),
        ({"input_ids": [[1.5]]}, "prompt 'input_ids': float64"),
        ({"input_ids": [[1]], "x": 0}, "input x: not of the network"),
    ],
)
def test_what_is_refused_is_one_line(inputs, said, made):
    path, arch, _ = made
    with pytest.raises(cimemu.WorkloadError, match=said) as error:
        cimemu.generate(arch, path, inputs, 2)
    assert "\n" not in str(error.value)


def test_the_command_line_writes_tokens(made, tmp_path, capsys):
    path, arch, _ = made
    line = [
        "generate",
        "rram_128",
        str(path),
        "--set",
        "macro.adc={model: ideal}",
        "--prompt",
        "input_ids=3,1,4",
        "--json",
    ]
    assert main([*line, "--tokens", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    ours = cimemu.generate(arch, path, {"input_ids": PROMPT[:1]}, 3)
    assert (told["tokens"], told["cycles"], told["steps"]) == (ours.tokens[0].tolist(), ours.cycles, 5)
    assert "ranges of activations are those of the text" in told["notes"][0]
    texts = np.random.default_rng(0).integers(0, VOCABULARY, (4, 9))
    np.savez(tmp_path / "texts.npz", input_ids=texts)
    assert main([*line, "--tokens", "3", "--calibration", str(tmp_path / "texts.npz")]) == 0
    told = json.loads(capsys.readouterr().out)
    lengths = lengths_of(cimemu.load_workload(str(path)), arch, {"input_ids": PROMPT[:1]}, 3, calibration=texts)
    assert told["tokens"] == cimemu.generate(arch, lengths, {"input_ids": PROMPT[:1]}, 3).tokens[0].tolist()
    assert "notes" not in told
    assert main([*line, "--input-shape", "input_ids=1,1"]) == 2
    assert "leave the input shapes out" in capsys.readouterr().err


def test_a_file_of_the_dynamic_quantiser_needs_no_ranges(made, tmp_path):
    """Every step is that of the file itself in ONNX Runtime, one text at a time."""
    pytest.importorskip("onnxruntime")
    quantization = pytest.importorskip("onnxruntime.quantization")
    path, arch, _ = made
    quantization.quantize_dynamic(str(path), str(tmp_path / "q.onnx"), weight_type=quantization.QuantType.QInt8)
    session = make_session((tmp_path / "q.onnx").read_bytes())
    names = [value.name for value in session.get_outputs()]
    theirs, _ = continued(lambda _, feeds: dict(zip(names, session.run(names, feeds))), PROMPT[:1], 4)
    lengths = lengths_of(cimemu.load_workload(str(tmp_path / "q.onnx")), arch, {"input_ids": PROMPT[:1]}, 4)
    assert lengths.observed is None
    ours = cimemu.generate(arch, lengths, {"input_ids": PROMPT[:1]}, 4)
    assert np.array_equal(ours.tokens, theirs)
    assert sum(layer.on_macros for layer in lengths.at(2).layers) == 6 * LAYERS + 1


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True])
def test_a_pytorch_decoder_of_either_exporter_writes_pytorchs_text(dynamo, tmp_path):
    """Rotary positions, a causal mask made of lengths, RMS norms and gated products."""
    torch = pytest.importorskip("torch")
    from torch_decoder import export, written

    path = tmp_path / "n.onnx"
    model = export(path, dynamo)
    arch = cimemu.load_arch("rram_128", IDEAL)
    ours = cimemu.generate(arch, path, {"input_ids": PROMPT}, 6)
    assert torch.__version__
    assert np.array_equal(ours.tokens, written(model, PROMPT, 6))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--prompt", "input_ids=3,99"],
            "an index into a table of 17 is 99, must be -17 .. 16: give other inputs, or fewer",
        ),
        (
            ["--prompt", "input_ids=3", "--tokens", "70"],
            "an index into a table of 64 is 64, must be -64 .. 63: give other",
        ),
        (
            ["--prompt", "input_ids=3", "--feedback", "present.0.key=a", "--feedback", "present.0.key=b"],
            "--feedback present.0.key: given twice, as a and b; leave one out",
        ),
    ],
)
def test_tokens_and_texts_outside_the_tables_are_one_line(given, said, made, capsys):
    assert main(["generate", "rram_128", str(made[0]), *given]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
