"""Generated SystemVerilog against the emulator: code for code and cycle for cycle, linted, synthesised; broken, it is caught."""

import re
from collections import Counter

import numpy as np
import pytest
import rtl_tools

import cimemu
from cimemu.cli import main
from cimemu.golden.vectors import layer_vectors
from cimemu.macro.accumulator import limits
from cimemu.rtl.design import make_design
from cimemu.rtl.generate import write_rtl

FEW, SOME, MANY, ON_VERILATOR, SYNTHESISED = 6, 10, 64, 20, 12


def parts_of(design):
    """Words for the parts of a macro that a design has."""
    macro, v = design.macro, design.made.macros[0]
    weight, timing = macro.weight, macro.timing
    reference = "reference column" if any(m.reference_codes is not None for m in design.made.macros) else ""
    skipped = not all(m.driven.all() for m in design.made.macros)
    sums = "shift_add" if v.shift_add is not None else "column_sums" if v.column_sums is not None else "level_sums"
    held = [macro.accumulator_overflow] if any(held_at_an_end(macro, m) for m in design.made.macros) else []
    own = v.thresholds is not None and len(v.thresholds) > 1
    return [
        weight.encoding, f"combine {weight.combine}", f"subtract {weight.subtract}", macro.adc.model, macro.input.dac, sums,
        *held, *([reference] if reference else []), *(["flipping"] if weight.column_flipping else []),
        *(["skipped"] if skipped else []), *(["skipped at once"] if skipped and timing.skip_cycles == 0 else []),
        *(["overlap"] if timing.overlap else []), *(["groups"] if design.groups > 1 else []),
        *(["references of columns"] if own else []), *(["signed"] if macro.input.signed else []),
    ]  # fmt: skip


def held_at_an_end(macro, v):
    if macro.accumulator_bits is None or v.shift_add is None:
        return False
    return bool(np.isin(v.shift_add, limits(macro.accumulator_bits)).any())


def check(design, sim="icarus"):
    found = design.simulate(sim)
    assert found.equal, (design.number, found.difference, found.missing, found.short, design.macro)
    assert found.files >= 6 * len(design.made.macros)


def check_lint(design):
    linted = design.run("lint")
    assert linted.returncode == 0, (design.number, linted.stderr[:2000], design.macro)


def cells_and_flip_flops(design):
    """What Yosys counts."""
    ran = design.run("synth")
    assert ran.returncode == 0, (design.number, ran.stderr[:2000], design.macro)
    cells = int(re.findall(r"Number of cells: +([0-9]+)", ran.stdout)[-1])
    flip_flops = sum(int(count) for count in re.findall(r"\$_S?DFF[A-Z]*_[A-Z0-9]+_ +([0-9]+)", ran.stdout))
    return cells, flip_flops


def marked(*programs):
    """A decorator: skipped where a program is missing."""

    def mark(test):
        for one in rtl_tools.needs("make", *programs):
            test = one(test)
        return test

    return mark


@marked("iverilog")
def test_generated_designs_give_every_code_in_its_cycle(tmp_path):
    for design in rtl_tools.drawn_designs(tmp_path, FEW):
        check(design)


@pytest.mark.slow
@marked("iverilog")
def test_some_generated_designs_give_every_code_in_its_cycle(tmp_path):
    for design in rtl_tools.drawn_designs(tmp_path, SOME, seed=5):
        check(design)


@pytest.mark.slow
@pytest.mark.long
@marked("iverilog")
def test_many_generated_designs_give_every_code_in_its_cycle(tmp_path):
    met = Counter()
    for design in rtl_tools.drawn_designs(tmp_path, MANY):
        check(design)
        met.update(parts_of(design))
    parts = [
        "offset",
        "binary",
        "twos_complement",
        "differential",
        "combine analog",
        "subtract analog",
        "ideal",
        "linear",
    ]
    parts += ["nonlinear", "pulse", "shift_add", "column_sums", "level_sums", "saturate", "wrap", "reference column"]
    parts += ["flipping", "skipped", "skipped at once", "overlap", "groups", "references of columns", "signed"]
    for design in rtl_tools.drawn_designs(tmp_path / "more", 10 * MANY, seed=17):  # what came up too seldom
        short = {part for part in parts if met[part] < 2}
        if not short:
            break
        if short & set(parts_of(design)):
            check(design)
            met.update(parts_of(design))
    print(dict(met))
    assert all(met[part] >= 2 for part in parts), met


@marked("verilator")
def test_generated_designs_pass_lint_without_a_warning(tmp_path):
    for design in rtl_tools.drawn_designs(tmp_path, FEW):
        check_lint(design)


@pytest.mark.slow
@pytest.mark.long
@marked("verilator")
def test_many_generated_designs_pass_lint_without_a_warning(tmp_path):
    for design in rtl_tools.drawn_designs(tmp_path, MANY):
        check_lint(design)


@pytest.mark.slow
@marked("verilator")
def test_generated_designs_give_every_code_in_its_cycle_on_verilator(tmp_path):
    for design in rtl_tools.drawn_designs(tmp_path, 2, seed=8):
        check(design, "verilator")


@pytest.mark.slow
@pytest.mark.long
@marked("verilator")
def test_many_generated_designs_give_every_code_in_its_cycle_on_verilator(tmp_path):
    first = None
    for design in rtl_tools.drawn_designs(tmp_path, ON_VERILATOR, seed=8):
        if first is not None:
            rtl_tools.share_objects(first, design)
        first = first or design
        check(design, "verilator")


@marked("yosys")
def test_a_generated_design_is_synthesised(tmp_path):
    chip = cimemu.load_arch("rram_128", {"macro.rows": 8, "macro.columns": 16, "macro.adc.bits": 3})
    write_rtl(tmp_path / "rtl", chip)
    cells, flip_flops = cells_and_flip_flops(rtl_tools.Generated(0, chip.macro, None, tmp_path, 1))
    assert flip_flops >= 8 * 16 + 8 * 8  # cells and inputs at the least
    assert cells > flip_flops


@pytest.mark.slow
@pytest.mark.long
@marked("yosys")
def test_generated_designs_are_synthesised(tmp_path):
    small = rtl_tools.drawn_designs(tmp_path, SYNTHESISED, seed=9, wanted=lambda m: m.rows * m.columns <= 512)
    for design in small:
        cells, flip_flops = cells_and_flip_flops(design)
        print(
            design.number,
            f"{design.macro.rows} x {design.macro.columns}: {cells} cells, {flip_flops} of them flip-flops",
        )
        assert flip_flops > 0


def convolution(folder, **settings):
    """conv3 of the embedded network, all 16 positions, on a small converter."""
    arch = cimemu.load_arch("rram_128", {"macro.adc.bits": 5} | settings)
    work = cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    images, _ = work.inputs(1)
    return rtl_tools.generated(folder, 0, arch.macro, layer_vectors(network, arch.macro, images, "conv3", 16))


@pytest.mark.slow
@pytest.mark.long
@marked("iverilog")
def test_a_whole_convolution_of_the_embedded_network_runs_on_the_generated_design(tmp_path):
    check(convolution(tmp_path))


# what is broken -> (file, text of the RTL, its broken form, first file that shows it, index names, how far off it is)
STEP = ("op", "group", "slice", "column")
BROKEN = {
    "one threshold is off by one": (
        "converter", "threshold(trial) <= sum", "threshold(trial) + (trial == 1) <= sum", "codes.hex", STEP, -1,
    ),
    "every conversion is one cycle late": (
        "sequencer", "converting && convert_cycle == 3'd4", "converting && convert_cycle == 3'd5", "code_cycles.hex", STEP, 1,
    ),
    "a wordline is stuck at 0": (
        "macro", "wordlines_valid ? selected : '0", "wordlines_valid ? selected & ~24'd256 : '0", "wordlines.hex",
        ("op", "group", "slice", "row"), -1,
    ),
    "the first slice is shifted one too far": (
        "shift_add", "3'd0: placed = 22'(step_sum);", "3'd0: placed = 22'(step_sum) <<< 1;", "shift_add.hex",
        ("op", "group", "slice", "output"), None,
    ),
}  # fmt: skip


@marked("iverilog")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_design_is_caught_and_decoded(tmp_path, name, capsys):
    part, old, new, file, index, off = BROKEN[name]
    chip = cimemu.load_arch("rram_128", {"macro.rows": 24, "macro.columns": 32, "macro.adc.bits": 5})
    work = cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), chip, calibration=work.calibration())
    made = layer_vectors(network, chip.macro, work.inputs(1)[0], None, 4)
    design = rtl_tools.generated(tmp_path, 0, chip.macro, made)
    path = design.rtl / ("cim_macro.sv" if part == "macro" else f"cim_macro_{part}.sv")
    text = path.read_text()
    assert text.count(old) == 1, text
    path.write_text(text.replace(old, new))
    found = design.simulate().difference
    assert found is not None
    assert found.file == file
    assert tuple(found.where) == index
    assert off is None or int(found.got) - int(found.expected) == off
    v = next(m for m in made.macros if m.name == found.macro)
    op, step = found.where["op"], found.where["group"] * v.slices + found.where["slice"]
    cycles = {"wordlines.hex": v.schedule.begins[op, step], "shift_add.hex": v.schedule.codes[op, step].max()}
    assert found.cycle == cycles.get(file, v.schedule.codes[op, step, found.where.get("column", 0)])
    words = ["golden", "verify", str(tmp_path / "vectors"), str(design.rtl / "dump"), "--only", "macros"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"layer {made.layer.name}: {found}")
    assert f"image 0, output position {op}" in out
    print(name, "->", out, end="")


@pytest.mark.slow
@marked("iverilog")
def test_an_accumulator_that_wraps_instead_of_saturating_is_caught(tmp_path):
    def narrow(macro):
        return macro.accumulator_overflow == "saturate" and macro.accumulator_bits is not None

    designs = rtl_tools.drawn_designs(tmp_path, 30, wanted=narrow)
    design = next(d for d in designs if any(held_at_an_end(d.macro, m) for m in d.made.macros))
    path = design.rtl / "cim_macro_shift_add.sv"
    wraps = f"assign held = {design.macro.accumulator_bits}'(unheld);"
    text, count = re.subn(r"assign held = above .*", lambda m: wraps, path.read_text())
    assert count == 1
    path.write_text(text)
    found = design.simulate().difference
    assert found is not None
    assert found.file in ("shift_add.hex", "outputs.hex")
    assert int(found.expected) in limits(design.macro.accumulator_bits)


def test_what_cannot_be_generated_is_refused_in_one_line(tmp_path, capsys):
    lines = [
        (["rtl", "rram_128", "--out", str(tmp_path / "a"), "--set", "macro.rows=65536", "--set", "macro.columns=64"],
         "macro.rows x macro.columns = 4,194,304, must be <= 1,048,576"),
        (["rtl", "rram_128", "--out", str(tmp_path / "a"), "--name", "2x"], "name = '2x', must be letters"),
        (["rtl", "digital_cim", "--out", str(tmp_path / "a"), "--set", "macro.timing.pipeline_stages=2"],
         "macro.timing.pipeline_stages = 2 is not generated, must be 0"),
    ]  # fmt: skip
    for words, text in lines:
        assert main(words) == 2
        said = capsys.readouterr().err
        assert text in said
        assert said.count("\n") == 1
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("")
    assert main(["rtl", "rram_128", "--out", str(tmp_path / "full")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_command_writes_what_the_function_writes(tmp_path):
    assert main(["rtl", "rram_128", "--out", str(tmp_path / "a"), "--name", "mine"]) == 0
    names = write_rtl(tmp_path / "b", cimemu.load_arch("rram_128"), name="mine")
    assert sorted(names) == sorted(path.name for path in (tmp_path / "a").iterdir())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_widths_hold_what_they_say():
    design = make_design(cimemu.load_arch("rram_128").macro)
    assert (design.psum.low, design.psum.high) == (0, 128)
    assert design.output.low == -128 * 128 * 255
    assert (1 << (design.running.bits - 1)) > design.running.high
