"""What a draw belongs to: the device, and then it stays at each rewrite, or the writing, and then it is drawn anew."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from populations import write_block

import cimemu
from cimemu.kernels.noise import stream_key
from cimemu.variation import MODELS
from cimemu.variation.base import Stream
from cimemu.variation.compose import compose
from cimemu.variation.parse import make_variation, name_of

# Every model, strong enough to be seen in most cells; those with `per` at both values.
TEXTS = [
    "lognormal:sigma=0.2",
    "normal:relative=0.2,absolute=0.1",
    "level_spread:sigma=[0.2,0.2]",
    f"measured:file={Path(__file__).parent / 'measured.csv'}",
    f"measured_drift:seconds=5e3,file={Path(__file__).parent / 'aged.csv'}",
    "write_verify:sigma=0.2",
    "stuck_at:sa0=0.3,sa1=0.3",
    "stuck_wordline:off=0.3,on=0.3",
    "stuck_bitline:off=0.3,on=0.3",
    "on_off:ratio=5",
    "drift:seconds=1e4,nu_sigma=0.1",
    "temperature:celsius=85",
    "ir_drop:segment_ohm=5",
    "driver:gain=0.2",
    "thermal",
    "telegraph:amplitude=0.5,share=0.5,draw=normal",
    "telegraph:amplitude=0.5,share=0.5",
    f"measured_reads:file={Path(__file__).parent / 'reads.csv'}",
    f"measured_converters:file={Path(__file__).parent / 'converters.csv'}",
    "converter:offset=0.5,gain=0.1,inl=0.3,dnl=0.1",
    "calibration",
]
CHOSEN = [
    f"{text},per={per}"
    for text in TEXTS
    for per in (("cell", "write") if MODELS[text.partition(":")[0]].draws_of is None else ())
]
EVERY = [text for text in TEXTS if MODELS[text.partition(":")[0]].draws_of is not None] + CHOSEN


def drawn(text, write=0, repeat=1, **place):
    """All that the last of `repeat` equal models draws for a block of 64 x 32 cells, as one array without its mean."""
    targets = np.ones((64, 32), dtype=int)  # one level, so that only draws tell cells apart
    variations = compose([text] * repeat, 7)
    (model, stream) = variations.at(make_variation(text).stage)[-1]
    if model.stage == "converter":
        thresholds = np.tile(np.arange(1, 64) - 0.5, (32, 1))
        made = model.distorted(thresholds, np.ones(32), place.get("macro", 2), np.arange(32), stream)
        return (made - thresholds).ravel()
    block = write_block(
        [], targets, top=1, macro=place.get("macro", 2), first_column=place.get("first_column", 8), write=write
    )
    model.write(block, stream)
    parts = [block.levels, block.always, *(np.sqrt(v) for _, v in block.reads), *(t.loss for t in block.traps)]
    return np.concatenate([np.ravel(part) - np.mean(part) for part in parts])


def correlated(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def test_every_model_is_here_and_says_what_its_draws_belong_to():
    assert {text.partition(":")[0] for text in TEXTS} == set(MODELS) - {"chip"}  # which needs a file: test_chip_file
    for text in EVERY:
        model = make_variation(text)
        assert model.owner in ("nothing", "device", "writing")
        assert (type(model).draws_of is None) == ("per" in type(model).model_fields)
    owners = {name_of(make_variation(text)): make_variation(text).owner for text in TEXTS}
    assert owners == {
        "lognormal": "device",
        "normal": "device",
        "level_spread": "writing",
        "measured": "writing",
        "measured_drift": "writing",
        "measured_reads": "nothing",
        "measured_converters": "device",
        "write_verify": "writing",
        "stuck_at": "device",
        "stuck_wordline": "device",
        "stuck_bitline": "device",
        "on_off": "nothing",
        "drift": "device",
        "temperature": "nothing",
        "ir_drop": "nothing",
        "driver": "device",
        "thermal": "nothing",
        "telegraph": "device",
        "converter": "device",
        "calibration": "nothing",
    }


@pytest.mark.parametrize("text", EVERY)
def test_a_rewrite_keeps_device_draws_and_makes_writing_draws_anew(text):
    owner = make_variation(text).owner
    first, again, second = drawn(text), drawn(text), drawn(text, write=1)
    assert np.array_equal(first, again)
    if owner == "writing":
        assert first.std() > 0
        assert abs(correlated(first, second)) < 4 / np.sqrt(first.size)
    else:
        assert np.array_equal(first, second)
    assert np.array_equal(first, drawn(text, macro=3)) == (owner == "nothing")


@pytest.mark.parametrize("text", EVERY)
def test_the_same_model_twice_draws_twice(text):
    if make_variation(text).owner == "nothing":
        assert np.array_equal(drawn(text), drawn(text, repeat=2))
        return
    one, two = drawn(text), drawn(text, repeat=2)
    few = text.startswith(
        ("driver", "stuck_wordline", "stuck_bitline", "converter", "measured_converters")
    )  # 32 or 64 independent draws
    assert abs(correlated(one, two)) < 4 / np.sqrt(32 if few else one.size)
    assert np.array_equal(two, drawn(text, repeat=2, write=1)) == (make_variation(text).owner == "device")


CELL_DRAWS = [text for text in EVERY if (m := make_variation(text)).owner == "device" and m.stage in ("cells", "read")]


@pytest.mark.parametrize("text", CELL_DRAWS)
def test_blocks_that_share_a_macro_have_the_draws_of_their_own_columns(text):
    """Whatever block writes a cell, a device's draw is that of (macro, row, column)."""
    whole, part = (
        write_block([text], np.ones((16, n), dtype=int), top=1, macro=5, first_column=c, write=w)
        for n, c, w in ((40, 0, 0), (8, 24, 3))
    )
    assert np.array_equal(part.levels, whole.levels[:, 24:32])
    for a, b in zip(part.traps, whole.traps):
        assert np.array_equal(a.loss, b.loss[:, 24:32])


def test_keys_are_those_of_the_contract():
    """(seed, trial, model name, instance of that model) is the key; (macro, row, column) and the write count the counter."""
    (_, first), (_, second) = compose(["stuck_at:sa0=0.1", "lognormal:sigma=0.1", "stuck_at:sa0=0.1"], 5, 9).at(
        "cells"
    )[::2]
    assert (first, second) == (Stream(5, 9, "stuck_at", 0), Stream(5, 9, "stuck_at", 1))
    assert first.key == stream_key(5, 9, "stuck_at", 0)


def two_layers(path, w):
    """Two equal products of one input, so that a chip of one macro is written twice."""
    nodes = [helper.make_node("MatMulInteger", ["x", name], [out]) for name, out in (("w1", "a"), ("w2", "b"))]
    graph = helper.make_graph(
        nodes,
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", len(w)])],
        [helper.make_tensor_value_info(name, TensorProto.INT32, None) for name in "ab"],
        [numpy_helper.from_array(w, name) for name in ("w1", "w2")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("stuck_at:sa0=0.02,sa1=0.01", True),
        ("lognormal:sigma=0.1", True),
        ("lognormal:sigma=0.1,per=write", False),
        ("write_verify:sigma=0.2", False),
        ("driver:gain=0.1", True),
    ],
)
def test_a_macro_that_is_written_again_in_a_run(tmp_path, text, stays):
    w = np.random.default_rng(1).integers(-128, 128, (128, 16)).astype(np.int8)
    arch = cimemu.load_arch(
        "rram_128",
        {
            "macro.adc": {"model": "ideal"},
            "chip.tiles": 1,
            "tile.macros": 1,
            "allow_reprogram": True,
            "mapping.share_macros": False,
        },
    )
    network = cimemu.quantize(cimemu.load_network(str(two_layers(tmp_path / "twice.onnx", w))), arch)
    out = cimemu.run(arch, network, np.eye(128, dtype=np.uint8), vary=[text], seed=1, detail=None).outputs
    moved = [out[name] != w for name in "ab"]
    assert moved[0].any()
    assert moved[1].any()
    assert np.array_equal(out["a"], out["b"]) == stays


@pytest.mark.parametrize("order", [1, -1])
def test_a_stuck_cell_conducts_what_its_level_does(order):
    vary = ["on_off:ratio=4", "stuck_at:sa0=0.4,sa1=0.4"][::order]
    block = write_block(vary, np.ones((32, 32), dtype=int), top=3)
    assert set(np.unique(block.levels)) == {1.0, 2.0, 4.0}  # off, level 1 and on, with a leakage of 3 / (4 - 1)


def test_a_bitline_stuck_on_carries_the_on_current_of_its_cells():
    block = write_block(["stuck_bitline:on=1", "on_off:ratio=4"], np.zeros((8, 4), dtype=int), top=3, largest_input=2)
    assert np.array_equal(block.always, np.full(4, 8 * 2 * (3 + 1)))


def test_thermal_noise_is_that_of_physical_conductances():
    """`4 k T G / (2 t)` over the squared current of a step `(1 / on_ohm) (1 - 1 / ratio) / top` at V."""
    ratio, on_ohm, volts, seconds = 4, 2e4, 0.1, 5e-9
    vary = [f"thermal:on_ohm={on_ohm},read_volts={volts},read_ns=5", f"on_off:ratio={ratio}"]
    block = write_block(vary, np.array([[3], [0]]), top=3)
    siemens = 1 / on_ohm + 1 / on_ohm / ratio
    step = volts * (1 / on_ohm) * (1 - 1 / ratio) / 3
    assert np.allclose(block.reads[0][1], 2 * 1.380649e-23 * 298.15 * siemens / seconds / step**2)


def test_what_level_0_conducts_is_charged_once():
    """`costs.cell` is the price of an off cell, `costs.cell_level` that of a level above it: leakage is no level."""
    macro = cimemu.load_arch("rram_128", {"macro.adc": "ideal"}).macro
    x, w = np.full((3, 32), 255), np.random.default_rng(0).integers(-128, 128, (32, 4))
    plain = cimemu.mvm(x, w, macro)
    leaky = cimemu.mvm(x, w, macro, vary=["on_off:ratio=5"])
    assert leaky.y.sum() > plain.y.sum()
    assert np.array_equal(leaky.counts, plain.counts)
