"""Generated layers of the embedded network: every value and every unit's cycles are the emulator's; what breaks is found."""

import random
import subprocess
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import rtl_tools

import cimemu
from cimemu.cli import main
from cimemu.layer.base import TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import FixedPoint, Fp32HalfEven, Fp64HalfAway
from cimemu.rtl.network import write_network_rtl
from cimemu.rtl.requantise import scalings
from cimemu.workload.network import Network

FEW_CYCLES = {"macro.cell.bits": 4, "macro.input.dac_bits": 4, "macro.columns": 32, "macro.adc.bits": 8}
CHIPS = {
    "plain": {},
    "overlap, zeros skipped, groups of rows": {
        "macro.timing.overlap": True,
        "macro.timing.skip_zero_slices": True,
        "macro.active_rows": 8,
    },
    "reference columns, wrapping": {
        "macro.weight.correction": "reference_column",
        "macro.accumulator_bits": 14,
        "macro.accumulator_overflow": "wrap",
    },
    "flipped columns": {"macro.weight.column_flipping": True},
    "saturating": {"macro.accumulator_bits": 13, "macro.accumulator_overflow": "saturate"},
    "signed inputs, differential": {
        "macro.input.dac_bits": 1,
        "macro.input.signed": True,
        "macro.weight.encoding": "differential",
        "macro.cell.bits": 1,
        "macro.columns": 64,
    },
    "ideal converter, slow additions": {"macro.adc": "ideal", "tile.adder_lanes": 1},
    "coarse converter": {"macro.adc.bits": 4, "macro.adc.lsb": 16},
}


def embedded(settings):
    arch = cimemu.load_arch("rram_128", settings)
    work = cimemu.load_workload("digits")
    return arch, cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration()), work


def generated(folder, settings, layers, images=1):
    arch, network, work = embedded(settings)
    write_network_rtl(folder / "rtl", arch, network, work.inputs(images)[0], layers)
    return folder / "rtl"


def make(folder, *words, timeout=900):
    return subprocess.run(
        ["make", "-s", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=timeout
    )


def check(folder, *words):
    ran = make(folder, *words)
    assert ran.returncode == 0, (ran.stdout[-2000:], ran.stderr[-2000:])
    assert "equal: " in ran.stdout


def mark(*programs):
    """A decorator: skipped where a program is missing."""

    def marked(test):
        for one in rtl_tools.needs("make", *programs):
            test = one(test)
        return test

    return marked


@pytest.mark.parametrize("seed", range(4))
def test_a_scaling_gives_what_the_output_stage_gives_for_every_accumulator(seed):
    rng = np.random.default_rng(seed)
    multiplier = np.exp(rng.uniform(np.log(1e-4), np.log(0.9), 5)).astype(np.float32)
    multiplier[0] = 0.5  # ties at every other sum
    low, high = (-128, 127) if seed % 2 else (0, 255)
    zero = int(rng.integers(low, high))
    q31 = np.round(multiplier.astype(np.float64) * 2**31).astype(np.int64)
    rest = (zero, low, high, "int8" if seed % 2 else "uint8")
    stages = [
        Fp32HalfEven(multiplier, *rest), Fp64HalfAway(multiplier.astype(np.float64), *rest),
        FixedPoint(q31, np.zeros(5, np.int64), *rest),
    ]  # fmt: skip
    span = (-70_000, 60_000)
    sums = np.arange(span[0], span[1] + 1)
    for stage in stages:
        found = scalings(stage, [span] * 5, (low, high), "one")
        want = stage.apply(np.broadcast_to(sums[:, None], (len(sums), 5))).astype(np.int64)
        for channel, s in enumerate(found):
            made = np.clip(s.unlimited(sums), low, high)
            for at, value in s.exceptions:
                made[at - span[0]] = value
            assert np.array_equal(made, want[:, channel]), (type(stage).__name__, channel, s)


@mark("iverilog")
@pytest.mark.parametrize("name", CHIPS)
def test_a_layer_gives_the_emulators_values_in_the_emulators_cycles(tmp_path, name):
    check(generated(tmp_path, FEW_CYCLES | CHIPS[name], ["scores"], images=3))


def drawn_chain(seed):
    """An arch of small macros and a network of two convolutions: shapes, strides, pads, dtypes and zero points are drawn."""
    r = random.Random(seed)
    dtypes = [r.choice(["uint8", "int8"]) for _ in range(3)]
    shape, layers, types, rng = (r.randint(1, 3), r.randint(3, 5), r.randint(3, 5)), [], {}, np.random.default_rng(seed)
    types["t0"] = TensorType(shape, dtypes[0])
    for n in range(2):
        source, target = dtypes[n], dtypes[n + 1]
        (channels, height, width), kernel, dilation = shape, (r.randint(1, 3), r.randint(1, 3)), r.randint(1, 2)
        pads, stride, outputs = [r.randint(0, 1) for _ in range(4)], (r.randint(1, 2), r.randint(1, 2)), r.randint(1, 5)
        kernel = tuple(min(k, 1 + (size - 1) // dilation) for k, size in zip(kernel, (height, width), strict=True))
        out = [
            (size + pads[i] + pads[i + 2] - dilation * (kernel[i] - 1) - 1) // stride[i] + 1
            for i, size in enumerate((height, width))
        ]
        low, high = (-128, 127) if target == "int8" else (0, 255)
        scale = np.exp(rng.uniform(-9, -5, outputs))
        rest = (r.randint(low, high), low, high, target)
        stage = r.choice([Fp32HalfEven(scale.astype(np.float32), *rest), Fp64HalfAway(scale, *rest)])
        layers.append(
            MacroLayer(
                name=f"conv{n}", inputs=(f"t{n}",), outputs=(f"t{n + 1}",),
                geometry=Geometry(channels, height, width, outputs, *out, *kernel, *stride, *pads, dilation, dilation),
                weight=rng.integers(-8, 8, (outputs, channels, *kernel)).astype(np.int16),
                weight_zero_point=np.zeros(outputs, np.int64),
                input_zero_point=r.randint(-20, 20) if source == "int8" else r.randint(0, 255), input_dtype=source,
                bias=rng.integers(-500, 500, outputs), stage=stage, output_type=TensorType((outputs, *out), target),
            )
        )  # fmt: skip
        shape = (outputs, *out)
        types[f"t{n + 1}"] = layers[-1].output_type
    settings = {
        "macro.rows": r.choice([4, 9, 16]), "macro.columns": 16, "macro.columns_per_adc": r.choice([1, 3, 8]),
        "macro.weight.bits": 4, "macro.adc": r.choice(["ideal", {"model": "linear", "bits": 4}]),
        "macro.active_rows": r.choice([None, 3]), "macro.timing.overlap": r.random() < 0.5,
        "macro.timing.skip_zero_slices": r.random() < 0.5, "tile.macros": 256, "tile.adder_lanes": r.choice([1, 64]),
        "chip.digital.startup_cycles": r.choice([0, 2]), "chip.digital.lanes": r.choice([1, 5, 64]),
        "mapping.share_macros": False,
    }  # fmt: skip
    network = Network(name="two", layers=tuple(layers), constants={}, inputs=("t0",), outputs=("t2",), types=types)
    limits = np.iinfo(dtypes[0])
    images = rng.integers(limits.min, limits.max + 1, (2, *types["t0"].shape)).astype(dtypes[0])
    return cimemu.load_arch("rram_128", settings), network, images


def check_chain(folder, seed):
    arch, network, images = drawn_chain(seed)
    write_network_rtl(folder, arch, network, images, ["conv0", "conv1"])
    check(folder)


@mark("iverilog")
@pytest.mark.parametrize("seed", range(4))
def test_two_drawn_convolutions_give_the_emulators_values_in_the_emulators_cycles(tmp_path, seed):
    check_chain(tmp_path / "rtl", seed)


@pytest.mark.slow
@mark("iverilog")
@pytest.mark.parametrize("seed", range(10, 40))
def test_many_drawn_convolutions_do_too(tmp_path, seed):
    check_chain(tmp_path / "rtl", seed)


@pytest.mark.slow
@mark("iverilog")
@pytest.mark.parametrize("name", ["overlap, zeros skipped, groups of rows", "ideal converter, slow additions"])
def test_a_convolution_of_two_row_and_two_column_blocks_does_too(tmp_path, name):
    folder = generated(tmp_path, FEW_CYCLES | CHIPS[name] | {"tile.macros": 64}, ["down"])
    assert "macro_3 (" in (folder / "cim_network_layer_0.sv").read_text()
    check(folder)


@pytest.mark.slow
@mark("iverilog")
def test_the_first_three_layers_give_the_emulators_values_in_the_emulators_cycles(tmp_path):
    folder = generated(tmp_path, FEW_CYCLES, ["stem", "conv1", "conv2"])
    check(folder)
    works = defaultdict(list)
    for line in (folder / "build/cycles.txt").read_text().splitlines():
        _, layer, unit, _, first, last = line.split()
        works[layer, int(unit)].append((int(first), int(last)))
    for layer, macros in (("stem", 1), ("conv1", 2), ("conv2", 2)):
        assert len(works[layer, 0]) == 64
        for unit in range(1, macros + 1):  # macros never wait: one operation begins where the one before ends
            mine = works[layer, unit]
            assert all(after[0] == before[1] for before, after in pairwise(mine))


@pytest.mark.slow
@pytest.mark.long
@mark("verilator")
def test_the_first_three_layers_on_the_default_chip_on_verilator(tmp_path):
    check(generated(tmp_path, {}, ["stem", "conv1", "conv2"]), "SIM=verilator")


@mark("verilator")
@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({}, ["scores"]),
        (FEW_CYCLES, ["stem", "conv1"]),
        (FEW_CYCLES | CHIPS["signed inputs, differential"], ["scores"]),
    ],
)
def test_generated_layers_pass_lint_without_a_warning(tmp_path, settings, layers):
    linted = make(generated(tmp_path, settings, layers), "lint")
    assert linted.returncode == 0, linted.stderr[:2000]


BROKEN = {
    "a bias is one less": (
        "assign total[3*ACC_BITS+:ACC_BITS] = ",
        "assign total[3*ACC_BITS+:ACC_BITS] = -1000 + ",
        "channel 3",
    ),
    "a row is requantised a cycle late": (
        "row_ends = in_row && row_count == ",
        "row_ends = in_row && row_count == 1 + ",
        "unit 3",
    ),
    "limits are missing": ("if (scaled > ", "if (scaled < 0 && scaled > ", "expected 255"),
}


@mark("iverilog")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_layer_is_found_and_decoded(tmp_path, name):
    old, new, text = BROKEN[name]
    folder = generated(tmp_path, FEW_CYCLES, ["scores"], images=2)
    path = folder / "cim_network_layer_0.sv"
    before = path.read_text()
    assert before.count(old) == 1
    path.write_text(before.replace(old, new))
    if name == "limits are missing":  # the outputs of this layer never meet them: expect more than they allow
        path = folder / "vectors/layer_0_outputs.hex"
        path.write_text("ff\n" + path.read_text().split("\n", 1)[1])
    ran = make(folder)
    assert ran.returncode != 0
    assert "layer scores, image " in ran.stdout
    assert text in ran.stdout


def test_what_is_not_generated_is_refused_in_one_line(tmp_path, capsys):
    right = ["rtl", "rram_128", "--out", str(tmp_path / "a")]
    net = [*right, "--network", "digits"]
    lines = [
        ([*net, "--layers", "conv2,down"], "its input is not the output of conv2"),
        ([*net, "--layers", "none"], "no such layer on macros"),
        ([*net, "--groups", "2"], "leave them out with --network"),
        ([*right, "--layers", "stem"], "name it by --network"),
        ([*right, "--images", "2"], "name it by --network"),
        (["rtl", "bench", "a", "b", "--network", "digits"], "leave it out with bench"),
        ([*net, "--set", "macro.timing.skip_zero_slices=true", "--set", "macro.timing.skip_cycles=0"], "must be >= 1"),
        ([*net, "--set", "macro.adc.lsb=1.5"], "its levels are no integers"),
        ([*net, "--layers", "conv1", "--set", "tile.macros=1"], "lies on 2 tiles"),
    ]
    for words, text in lines:
        assert main(words) == 2, words
        said = capsys.readouterr().err
        assert text in said, said
        assert said.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_the_command_writes_what_the_function_writes(tmp_path, capsys):
    words = [
        "rtl",
        "rram_128",
        "--out",
        str(tmp_path / "a"),
        "--network",
        "digits",
        "--layers",
        "scores",
        "--name",
        "mine",
    ]
    assert main([*words, "--images", "2"]) == 0
    assert "module mine of digits" in capsys.readouterr().out
    arch, network, work = embedded({})
    names = write_network_rtl(tmp_path / "b", arch, network, work.inputs(2)[0], ["scores"], name="mine")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
