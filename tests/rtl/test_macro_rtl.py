"""The Verilog macro against the emulator: code for code, cycle for cycle, on Icarus Verilog through cocotb."""

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import drawn_macros
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.golden.vectors import MacroVectors, layer_vectors
from cimemu.layer.base import TensorType
from cimemu.macro.accumulator import limits
from cimemu.mapping.cycles import drive_cycles
from cimemu.workload.network import Network

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog (iverilog) is not installed"),
    pytest.mark.filterwarnings("ignore"),
]
cocotb_runner = pytest.importorskip("cocotb_tools.runner", reason="cocotb is not installed")


def parameters(macro, v: MacroVectors) -> dict[str, int]:
    """The Verilog parameters of a macro that holds the block `v`."""
    weight, timing = macro.weight, macro.timing
    held = ("error", "saturate", "wrap").index(macro.accumulator_overflow)
    return {
        "ROWS": v.cells.shape[0],
        "COLUMNS": v.cells.shape[1],
        "ACTIVE_ROWS": macro.raised_rows,
        "ROWS_USED": v.cells.shape[0],
        "COLUMNS_USED": v.codes.shape[2],
        "CELL_BITS": macro.cell.bits,
        "INPUT_BITS": macro.input.bits,
        "SIGNED_INPUT": int(macro.input.signed),
        "DAC_BITS": macro.input.dac_bits,
        "WEIGHT_BITS": weight.bits,
        "SLICES": macro.weight_slices,
        "POLARITIES": 2 if weight.encoding == "differential" else 1,
        "LAST_NEGATIVE": int(weight.encoding == "twos_complement"),
        "COMBINE": int(weight.combine == "analog"),
        "SUBTRACT": int(weight.subtract == "analog"),
        "OFFSET": int(weight.encoding == "offset"),
        "BINARY": int(weight.encoding == "binary"),
        "REFERENCE": int(v.reference_codes is not None),
        "COLUMNS_PER_ADC": macro.columns_per_adc,
        "ADC_BITS": macro.adc.bits,
        "ADC_CYCLES": macro.adc.conversion_cycles(),
        "WORDLINE_CYCLES": drive_cycles(macro) - timing.sample_cycles,
        "SAMPLE_CYCLES": timing.sample_cycles,
        "SHIFT_ADD_CYCLES": timing.shift_add_cycles,
        "OVERLAP": int(timing.overlap),
        "SKIP_ZERO": int(timing.skip_zero_slices),
        "SKIP_CYCLES": timing.skip_cycles,
        "ACC_BITS": v.sum_bits if macro.accumulator_bits is None else macro.accumulator_bits,
        "ON_OVERFLOW": held,
    }


def simulate(tmp_path, macro, v: MacroVectors, source: Path | None = None, **changes: int) -> Path:
    """Run the operations of `v` on the RTL; the folder of its dump: wordlines, codes, sums, outputs and their cycles."""
    work = tmp_path / v.name
    work.mkdir(parents=True, exist_ok=True)
    assert v.thresholds is not None
    assert v.levels is not None
    values = parameters(macro, v) | changes
    job = {
        "parameters": values,
        "cells": v.cells.tolist(),
        "thresholds": v.thresholds.tolist(),
        "levels": v.levels.tolist(),
        "flipped": [] if v.flipped is None else v.flipped[0].tolist(),
        "inputs": v.inputs.tolist(),
        "dump": str(work / "dump" / v.name),
        "sum_bits": v.sum_bits,
        "output_bits": v.output_bits,
    }
    (work / "job.json").write_text(json.dumps(job))
    runner = cocotb_runner.get_runner("icarus")
    runner.build(
        sources=[source or HERE / "cim_macro.v"],
        hdl_toplevel="cim_macro",
        parameters=values,
        build_dir=work / "build",
        build_args=["-g2012"],
        timescale=("1ns", "1ps"),
        always=True,
    )
    runner.test(
        hdl_toplevel="cim_macro",
        test_module="macro_bench",
        build_dir=work / "build",
        test_dir=work,
        extra_env={
            "CIM_JOB": str(work / "job.json"),
            "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        },
        results_xml=str(work / "results.xml"),
    )
    assert cocotb_runner.get_results(work / "results.xml")[1] == 0
    return work / "dump"


def overflows(dump, v: MacroVectors) -> list[int]:
    """The overflow flag at the end of every operation."""
    return [int(word) for word in (dump / v.name / "overflow.hex").read_text().split()]


def one_layer(macro, seed, rows, outputs, ops):
    """A matrix product with random weights and inputs in range, as a network and its input."""
    import macros
    import nets

    from cimemu.layer.macro_layer import Geometry, MacroLayer
    from cimemu.layer.requantize import Accumulator

    rng = np.random.default_rng(seed)
    weight = macros.weights_in_range(rng, macro, (outputs, rows)).astype(np.int16)
    dtype = "int8" if macro.input.signed else "uint8"
    layer = MacroLayer(
        name="fc", inputs=("x",), outputs=("y",), geometry=Geometry(rows, ops, 1, outputs, ops, 1),
        weight=weight[:, :, None, None], weight_zero_point=np.zeros(outputs, np.int64), input_zero_point=0,
        input_dtype=dtype, bias=np.zeros(outputs, np.int64), stage=Accumulator(),
        output_type=TensorType((ops, outputs), "int64"), layout="rows",
    )  # fmt: skip
    network: Network = nets.network("one", [layer], {"x": TensorType((ops, rows), dtype)}, ["y"])
    return network, macros.inputs_in_range(rng, macro, (1, ops, rows)).astype(dtype)


def drawn(seed):
    """A random macro that the RTL can be."""
    r = random.Random(seed)
    encoding = ["offset", "twos_complement", "differential"][seed % 3]
    cell = 1 if encoding == "twos_complement" else 1 + (seed // 3) % 2
    dac = 1 + (seed // 6) % 2
    signed = dac == 1 and r.random() < 0.4
    rows = r.choice([5, 8, 12])
    bits = r.randint(2, 5)
    return cimemu.Macro.model_validate(
        {
            "rows": rows,
            "columns": r.choice([16, 20, 24]),
            "active_rows": r.choice([2, 3, rows]),
            "columns_per_adc": r.choice([1, 2, 4, 8]),
            "cell": {"bits": cell},
            "weight": {"bits": bits, "encoding": encoding},
            "input": {"bits": r.randint(2, 5), "signed": signed, "dac_bits": dac},
            "adc": {"model": "linear", "bits": r.randint(2, 5), "circuit": r.choice(["sar", "flash", "ramp"])},
            "timing": {
                "wordline_cycles": r.randint(0, 2), "sample_cycles": r.randint(1, 2), "shift_add_cycles": r.randint(0, 2),
                "overlap": (seed // 2) % 2 == 1,
            },
        }
    )  # fmt: skip


def verified(tmp_path, arch, made, dump, macros=None):
    """The dump compared with the vectors by `golden verify`: None, or its difference; `macros` were simulated (all)."""
    from cimemu.golden.files import write_vectors
    from cimemu.golden.verify import verify_dump

    macros = made.macros if macros is None else macros
    write_vectors(tmp_path / "vectors", arch, "test", made, force=True)
    found = verify_dump(tmp_path / "vectors", dump)
    assert found.files == sum(7 + (v.reference_codes is not None) for v in macros)
    return found.difference


def arch_with(macro):
    return cimemu.load_arch("rram_128").model_copy(update={"macro": macro})


SEEDS = [seed if seed == 1 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(18)]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rtl_gives_every_code_in_its_cycle(tmp_path, seed):
    macro = drawn(seed)
    rows, outputs = random.Random(seed).randint(1, macro.rows), random.Random(-seed).randint(1, macro.outputs)
    network, x = one_layer(macro, seed, rows, outputs, 6)
    made = layer_vectors(network, macro, x, None, 6)
    (v,) = made.macros
    dump = simulate(tmp_path, macro, v)
    assert verified(tmp_path, arch_with(macro), made, dump) is None
    assert not any(overflows(dump, v))
    lines = (dump / v.name / "op_cycles.hex").read_text().split()
    expected = cimemu.op_cycles(macro, rows, outputs * macro.conversions_per_output)
    assert [int(line, 16) for line in lines] == [expected] * 6


@pytest.mark.long
@pytest.mark.slow
def test_a_whole_convolution_of_the_embedded_network_runs_on_the_rtl(tmp_path):
    arch = cimemu.load_arch("rram_128", {"macro.adc.bits": 5})
    work = cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    images, _ = work.inputs(1)
    made = layer_vectors(network, arch.macro, images, "conv3", 16)  # 4 x 4 positions: all of them
    layer = made.layer
    from cimemu.compute.forward import Emulator

    dump = tmp_path / "dump"
    total = np.zeros((16, layer.geometry.channels_out), dtype=np.int64)
    for v in made.macros:
        shutil.copytree(simulate(tmp_path, arch.macro, v), dump, dirs_exist_ok=True)
        lines = (dump / v.name / "outputs.hex").read_text().split()
        codes = np.array([int(line, 16) for line in lines], dtype=np.int64).reshape(16, -1)
        signed = np.where(codes >> (v.output_bits - 1), codes - (1 << v.output_bits), codes)
        first = v.col_block * arch.macro.outputs
        total[:, first : first + signed.shape[1]] += signed
    assert verified(tmp_path, arch, made, dump) is None
    emulator = Emulator(network, arch.macro, path="serial")
    source = emulator.run([images], keep=frozenset([layer.inputs[0]])).tensors[layer.inputs[0]]
    matrix = emulator.matrices["conv3"]
    product = matrix.programmed[0].run(next(matrix.vectors(source))).y
    assert np.array_equal(total, product)


def test_the_parameter_sets_cover_what_a_macro_can_be():
    sets = [drawn(seed) for seed in range(18)]
    assert {m.weight.encoding for m in sets} == {"offset", "twos_complement", "differential"}
    for encoding in ("offset", "differential"):
        mine = [m for m in sets if m.weight.encoding == encoding]
        assert {(m.cell.bits, m.input.dac_bits) for m in mine} == {(1, 1), (1, 2), (2, 1), (2, 2)}
        assert {m.timing.overlap for m in mine} == {True, False}
    assert {m.columns_per_adc for m in sets} == {1, 2, 4, 8}
    assert {m.raised_rows < m.rows for m in sets} == {True, False}
    assert {m.input.signed for m in sets} == {True, False}


def rtl_architectures(count):
    """The first `count` drawn architectures of the RTL's kind: converters of integer levels, one convolution group."""
    found, draws = 0, drawn_macros.Draws(7)
    for number in range(40 * count):
        drawn = draws.draw(number)
        tree, geometry = drawn.tree, drawn.layer.geometry
        adc, timing = tree["adc"], tree["timing"]
        small = adc["model"] != "ideal" and adc["bits"] <= 5 and tree["input"]["dac_bits"] <= 4
        small = small and geometry.groups == 1 and geometry.rows_per_group <= 24
        held = tree["accumulator_bits"] is not None or tree["weight"]["column_flipping"] or number % 3 == 0
        if not (small and held) or (timing["skip_zero_slices"] and timing["skip_cycles"] < 1):
            continue
        macro = cimemu.Macro.model_validate(tree)
        try:
            made = layer_vectors(drawn.network, macro, drawn.x, None, min(3, 2 * geometry.positions))
        except cimemu.CimemuError:
            continue
        if made.macros[0].shift_add is not None and made.macros[0].codes[0].size <= 6000:
            draws.accepted(drawn)
            found += 1
            yield macro, made
        if found == count:
            return


def check_rtl(tmp_path, chosen):
    """What was met: words for the parts of a macro that the RTL ran with."""
    met = Counter()
    for number, (macro, made) in enumerate(chosen):
        v = made.macros[-1]
        dump = simulate(tmp_path / str(number), macro, v)
        assert verified(tmp_path / str(number), arch_with(macro), made, dump, [v]) is None, macro
        happened = any(overflows(dump, v))
        met[macro.accumulator_overflow if happened else "fits"] += 1
        weight = macro.weight
        met.update([weight.encoding, weight.correction, f"combine {weight.combine}", f"subtract {weight.subtract}"])
        met.update([f"flipping {weight.column_flipping}", f"skipped {not v.driven.all()}", macro.adc.model])
    return met


@pytest.mark.slow
def test_the_rtl_has_the_parts_of_drawn_macros(tmp_path):
    met = check_rtl(tmp_path, rtl_architectures(6))
    assert met["saturate"] + met["wrap"] >= 1


@pytest.mark.long
@pytest.mark.slow
def test_the_rtl_has_the_parts_of_many_drawn_macros(tmp_path):
    met = check_rtl(tmp_path, rtl_architectures(50))
    print(dict(met))
    parts = ["saturate", "wrap", "fits", "offset", "binary", "twos_complement", "differential", "reference_column"]
    parts += ["combine analog", "subtract analog", "flipping True", "skipped True", "linear", "nonlinear"]
    assert all(met[part] >= 3 for part in parts), met


@pytest.mark.slow
def test_the_rtl_flags_an_overflow_and_one_that_wraps_instead_of_saturating_is_caught(tmp_path):
    macro, made = next(
        (m, made)
        for m, made in rtl_architectures(60)
        if m.accumulator_overflow == "saturate" and saturates(m, made.macros[-1])
    )
    v = made.macros[-1]
    assert any(overflows(simulate(tmp_path / "error", macro, v, ON_OVERFLOW=0), v))
    dump = simulate(tmp_path / "wrap", macro, v, ON_OVERFLOW=2)
    found = verified(tmp_path, arch_with(macro), made, dump, [v])
    assert found is not None
    assert found.file == "shift_add.hex"
    assert found.expected in (str(held_at) for held_at in limits(macro.accumulator_bits))


def saturates(macro, v):
    """Whether running sums stand at an end of the accumulator: they have been held there."""
    if macro.accumulator_bits is None:
        return False
    low, high = limits(macro.accumulator_bits)
    return bool(((v.shift_add == low) | (v.shift_add == high)).mean() > 0.3)


# what is broken -> (text of the RTL, its broken form, first file that shows it, index names, how far off it is)
STEP = ("op", "group", "slice", "column")
BROKEN = {
    "one threshold is off by one": (
        "[column*CODES+k] <= psum)", "[column*CODES+k] + (k == 1) <= psum)", "codes.hex", STEP, -1,
    ),
    "every conversion is one cycle late": (
        "(skipping ? SKIP_CYCLES : DRIVE) - 1)", "DRIVE)", "code_cycles.hex", STEP, 1,
    ),
    "a wordline is stuck at 0": (
        "row_slice = row_value", "row_slice = (r == 2) ? 0 : row_value", "wordlines.hex", ("op", "group", "slice", "row"),
        -1,
    ),
    "the first output is shifted one too far": (
        "if (flipped[column]) value = -value", "if (n == 0) value = value <<< 1", "shift_add.hex",
        ("op", "group", "slice", "output"), None,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rtl_is_caught_and_decoded(tmp_path, name, capsys):
    old, new, file, index, off = BROKEN[name]
    text = (HERE / "cim_macro.v").read_text()
    assert text.count(old) == 1
    broken = tmp_path / "broken.v"
    broken.write_text(text.replace(old, new))
    macro = drawn(4)
    network, x = one_layer(macro, 4, macro.rows, macro.outputs, 6)
    made = layer_vectors(network, macro, x, None, 6)
    v = made.macros[0]
    dump = simulate(tmp_path, macro, v, source=broken)
    found = verified(tmp_path, arch_with(macro), made, dump)
    assert found is not None
    assert found.file == file
    assert tuple(found.where) == index
    assert off is None or int(found.got) - int(found.expected) == off
    # the cycle is the one in which the emulator has this number on its wire
    op, step = found.where["op"], found.where["group"] * v.slices + found.where["slice"]
    cycles = {"wordlines.hex": v.schedule.begins[op, step], "shift_add.hex": v.schedule.codes[op, step].max()}
    assert found.cycle == cycles.get(file, v.schedule.codes[op, step, found.where.get("column", 0)])
    assert main(["golden", "verify", str(tmp_path / "vectors"), str(dump)]) == 1
    out = capsys.readouterr().out
    place = ", ".join(f"{key} {value}" for key, value in found.where.items())
    expected = f"expected {found.expected}, got {found.got}"
    assert out.startswith(f"layer fc: {v.name}/{file}: {place}, cycle {found.cycle}: {expected}; ")
    print(name, "->", out, end="")
