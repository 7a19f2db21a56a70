"""Quantised recurrent networks: products on macros, one operation a step, checked against ONNX Runtime and the slow twin."""

import numpy as np
import onnx
import pytest
from recurrent_build import Case, build

import cimemu
from cimemu.check.network import check_network
from cimemu.compute.forward import Emulator
from cimemu.events import Counter
from cimemu.importer.from_onnx import load_onnx
from cimemu.layer.macro_layer import MacroLayer

ort = pytest.importorskip("onnxruntime")
IMAGES = 3


def made(kind, tmp_path, **changes):
    """(integer network, inputs) of a file of one image of 5 steps."""
    model, feeds = build(Case(kind, steps=5, inputs=4, hidden=6, **changes), outputs=("Y", "Y_h"))
    path = tmp_path / "cell.onnx"
    path.write_bytes(model.SerializeToString())
    network = cimemu.load_network(path)
    rng = np.random.default_rng(7)
    inputs = {name: rng.standard_normal((IMAGES, *network.types[name].shape)).astype(np.float32) for name in feeds}
    arch = cimemu.load_arch("rram_128")
    return arch, cimemu.quantize(network, arch, inputs), inputs


@pytest.mark.parametrize("direction", [pytest.param("forward", marks=pytest.mark.slow), "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_codes_are_onnx_runtimes_and_the_slow_twins(kind, direction, tmp_path):
    arch, network, inputs = made(kind, tmp_path, direction=direction, initial="fed")
    report = check_network(network, arch.macro, inputs)
    compared = [row for row in report.tensors if row.kind in ("integer", "code")]
    assert len(compared) >= 5
    assert all(row.differing == 0 for row in compared)
    fast = cimemu.run(arch, network, inputs, detail=None)
    slow = cimemu.run(arch, network, inputs, detail=None, path="naive")
    for name, value in fast.outputs.items():
        assert np.array_equal(value, slow.outputs[name])


def test_states_have_one_scale_and_sums_stay_real(tmp_path):
    _, network, _ = made("LSTM", tmp_path)
    layers = [layer for layer in network.layers if isinstance(layer, MacroLayer)]
    recurrent = [layer for layer in layers if layer.shares]
    assert len(recurrent) == 4  # the first step starts from zeros and has no product
    assert len({id(layer.weight) for layer in recurrent}) == 1
    assert len({layer.stage.scale.tobytes() for layer in recurrent}) == 1
    assert {layer.output_type.dtype for layer in layers} == {"float32"}


def test_a_step_is_an_operation_on_the_cells_of_the_first(tmp_path):
    arch, network, inputs = made("LSTM", tmp_path)
    run = cimemu.run(arch, network, inputs)
    ops = dict(zip([layer.name for layer in run.plan.layers], run.counts.sum(axis=0)[:, Counter.MACRO_OPS]))
    blocks = {layer.name: len(layer.blocks) for layer in run.plan.layers}
    steps = [layer.name for layer in network.layers if isinstance(layer, MacroLayer) and layer.shares]
    assert [ops[name] for name in steps] == [IMAGES * blocks[name] for name in steps]
    inputs_layer = next(layer.name for layer in network.layers if isinstance(layer, MacroLayer) and not layer.shares)
    assert ops[inputs_layer] == IMAGES * 5 * blocks[inputs_layer]
    assert len({(p.layer, p.block) for p in run.plan.placed}) == blocks[steps[0]] + blocks[inputs_layer]
    cells = [layer for layer in run.plan.layers if layer.op == "RecurrentCell"]
    assert len(cells) == 5
    assert all(layer.digital_ops > 0 for layer in cells)


def test_a_written_network_is_read_with_its_shared_cells(tmp_path):
    arch, network, inputs = made("GRU", tmp_path)
    again = cimemu.quantize(load_onnx(cimemu.save_onnx(network, tmp_path / "again.onnx")), arch)
    first, second = (cimemu.run(arch, one, inputs) for one in (network, again))
    for name, value in first.outputs.items():
        assert np.array_equal(value, second.outputs[name])
    assert first.macros == second.macros


def test_converters_are_fitted_to_all_steps(tmp_path):
    arch, network, inputs = made("LSTM", tmp_path)
    fitted = cimemu.calibrate_converters(network, arch, inputs)
    assert len(fitted.converters) == 2  # one for the inputs' matrix, one for the states'
    assert cimemu.run(arch, fitted, inputs).cycles > 0


def dynamic(tmp_path, case, **given):
    """A file as ONNX Runtime's dynamic quantiser makes it, and the values of ONNX Runtime with exact products."""
    quantisation = pytest.importorskip("onnxruntime.quantization")
    model, feeds = build(case)
    onnx.save(model, tmp_path / "float.onnx")
    path = tmp_path / "dynamic.onnx"
    quantisation.quantize_dynamic(tmp_path / "float.onnx", path, op_types_to_quantize=["LSTM"], **given)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return path, feeds, ort.InferenceSession(path, options)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("initial", ["", "fed", "stored"])
def test_a_dynamic_lstm_runs_on_macros(tmp_path, direction, per_channel, initial):
    case = Case("LSTM", steps=5, batch=1, inputs=7, direction=direction, initial=initial)
    path, feeds, session = dynamic(tmp_path, case, per_channel=per_channel)
    network = cimemu.load_network(path)
    arch = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
    given = [feeds[n][None] if n in network.whole else feeds[n] for n in network.inputs]
    ours = Emulator(network, arch.macro).run(given).tensors
    for name, other in zip(network.outputs, session.run(list(network.outputs), feeds)):
        np.testing.assert_allclose(ours[name].reshape(other.shape), other, rtol=1e-5, atol=1e-6)
    turns = [layer.shares for layer in network.layers if layer.on_macros and layer.shares]
    sides = 2 if direction == "bidirectional" else 1
    assert len(turns) == sides * (5 if initial == "fed" else 4)
    assert len(set(turns)) == sides


def test_sequences_that_are_quantised_together_are_one_line(tmp_path):
    path, *_ = dynamic(tmp_path, Case("LSTM", steps=3, batch=2))
    with pytest.raises(cimemu.WorkloadError, match="2 sequences at a time are quantised together, must be one"):
        cimemu.load_network(path)
