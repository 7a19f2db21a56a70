"""cocotb bench of cim_macro.v: programs cells and thresholds, runs operations, dumps what `cimemu golden verify` reads."""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


@cocotb.test()
async def run_operations(dut):
    job = json.loads(Path(os.environ["CIM_JOB"]).read_text())
    p = job["parameters"]
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    for name in ("start", "cell_write", "threshold_write", "level_write", "inputs", "cell_levels", "cell_row"):
        getattr(dut, name).value = 0
    for name in ("table_column", "table_index", "table_value"):
        getattr(dut, name).value = 0
    dut.flipped.value = sum(bit << column for column, bit in enumerate(job["flipped"]))
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    await program(dut, job)
    groups = -(-p["ROWS_USED"] // p["ACTIVE_ROWS"])
    slices = -(-p["INPUT_BITS"] // p["DAC_BITS"])
    dump = {}
    masks = {"shift_add": (1 << job["sum_bits"]) - 1, "outputs": (1 << job["output_bits"]) - 1}
    for inputs in job["inputs"]:
        seen = await operate(dut, p, inputs, groups * slices)
        for name, values in seen.items():
            mask = masks.get(name, -1)
            dump.setdefault(name, []).extend("x" if value is None else f"{value & mask:x}" for value in values)
    if not p["REFERENCE"]:
        del dump["reference_codes"]
    folder = Path(job["dump"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in dump.items():
        (folder / f"{name}.hex").write_text("\n".join(lines) + "\n")


async def program(dut, job):
    p = job["parameters"]
    for row, levels in enumerate(job["cells"]):
        dut.cell_write.value = 1
        dut.cell_row.value = row
        dut.cell_levels.value = sum(level << (c * p["CELL_BITS"]) for c, level in enumerate(levels))
        await FallingEdge(dut.clk)
    dut.cell_write.value = 0
    for write, table in ((dut.threshold_write, job["thresholds"]), (dut.level_write, job["levels"])):
        write.value = 1
        for column in range(p["COLUMNS_USED"]):
            for index, value in enumerate(table[column % len(table)]):
                dut.table_column.value, dut.table_index.value = column, index
                dut.table_value.value = value
                await FallingEdge(dut.clk)
        write.value = 0


def flat(steps):
    return [value for step in steps for value in step]


async def operate(dut, p, inputs, steps):
    """What the macro shows in one operation: a list for every file of the dump, in the order of its index; None: skipped."""
    used, per_adc, outputs = p["COLUMNS_USED"], p["COLUMNS_PER_ADC"], p["COLUMNS"] // (p["SLICES"] * p["POLARITIES"])
    codes, cycles = ([[None] * used for _ in range(steps)] for _ in range(2))
    references, sums = [None] * steps, [None] * steps
    wordlines, drives = [0] * steps, [None] * steps

    def numbers(signal):
        word, width = int(signal.value), len(signal) // outputs
        values = [(word >> (n * width)) & ((1 << width) - 1) for n in range(outputs)]
        return [value - (1 << width) if value >> (width - 1) else value for value in values]

    low = (1 << p["INPUT_BITS"]) - 1
    dut.inputs.value = sum((value & low) << (r * p["INPUT_BITS"]) for r, value in enumerate(inputs))
    dut.start.value = 1
    await FallingEdge(dut.clk)  # the edge that takes the operation: cycle 0
    dut.start.value = 0
    cycle = 0
    while True:
        if int(dut.wordlines_valid.value):
            step = int(dut.wordlines_step.value)
            if drives[step] is None:
                wordlines[step], drives[step] = int(dut.wordlines.value), cycle
        await FallingEdge(dut.clk)
        cycle += 1
        if int(dut.code_valid.value):
            step, conversion, word = (int(s.value) for s in (dut.code_step, dut.code_round, dut.codes))
            if conversion == min(per_adc, used) - 1:  # the step's last round
                sums[step] = numbers(dut.sums)
                references[step] = int(dut.reference_code.value) if p["REFERENCE"] else 0
            for adc in range(-(-used // per_adc)):
                column = adc * per_adc + conversion
                if column < used and conversion < per_adc:
                    codes[step][column] = (word >> (adc * p["ADC_BITS"])) & ((1 << p["ADC_BITS"]) - 1)
                    cycles[step][column] = cycle
        if int(dut.done.value):
            break
        assert cycle < 100_000, "the macro never says done"
    before = [0] * outputs
    for step, held in enumerate(sums):  # a skipped step leaves the running sums as they are
        sums[step] = before = before if held is None else held
    return {
        "wordlines": wordlines,
        "drive_cycles": drives,
        "codes": flat(codes),
        "reference_codes": references,
        "code_cycles": flat(cycles),
        "shift_add": flat(sums),
        "outputs": numbers(dut.outputs),
        "op_cycles": [cycle],
        "overflow": [int(dut.overflow.value)],
    }
