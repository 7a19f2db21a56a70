"""Generated layers of the embedded network: every value and every unit's cycles are the emulator's; what breaks is found."""

import subprocess
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import rtl_tools

import cimemu
from cimemu.cli import main
from cimemu.layer.requantize import FixedPoint, Fp32HalfEven, Fp64HalfAway
from cimemu.rtl.network import write_network_rtl
from cimemu.rtl.requantise import scalings

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
    random = np.random.default_rng(seed)
    multiplier = np.exp(random.uniform(np.log(1e-4), np.log(0.9), 5)).astype(np.float32)
    multiplier[0] = 0.5  # ties at every other sum
    low, high = (-128, 127) if seed % 2 else (0, 255)
    zero = int(random.integers(low, high))
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


@pytest.mark.slow
@mark("iverilog")
@pytest.mark.parametrize("name", ["overlap, zeros skipped, groups of rows", "ideal converter, slow additions"])
def test_a_convolution_of_two_row_and_two_column_blocks_does_too(tmp_path, name):
    folder = generated(tmp_path, FEW_CYCLES | CHIPS[name], ["down"])
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
