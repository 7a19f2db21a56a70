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
    for name in ("start", "cell_write", "threshold_write", "inputs", "cell_levels", "cell_row"):
        getattr(dut, name).value = 0
    dut.threshold_index.value = 0
    dut.threshold_value.value = 0
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    await program(dut, job)
    groups = -(-p["ROWS_USED"] // p["ACTIVE_ROWS"])
    slices = -(-p["INPUT_BITS"] // p["DAC_BITS"])
    dump = {}
    for inputs in job["inputs"]:
        seen = await operate(dut, p, inputs, groups * slices, (1 << job["accumulator_bits"]) - 1)
        for name, values in seen.items():
            dump.setdefault(name, []).extend(f"{value:x}" for value in values)
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
    for k, threshold in enumerate(job["thresholds"]):
        dut.threshold_write.value = 1
        dut.threshold_index.value = k
        dut.threshold_value.value = threshold
        await FallingEdge(dut.clk)
    dut.threshold_write.value = 0


def flat(steps):
    return [value for step in steps for value in step]


async def operate(dut, p, inputs, steps, mask):
    """What the macro shows in one operation: a list for every file of the dump, in the order of its index."""
    used, per_adc, per_output = p["COLUMNS_USED"], p["COLUMNS_PER_ADC"], p["SLICES"] * p["POLARITIES"]
    outputs = used // per_output
    width = len(dut.outputs) // (p["COLUMNS"] // per_output)
    codes, cycles = ([[0] * used for _ in range(steps)] for _ in range(2))
    sums = [[0] * outputs for _ in range(steps)]
    wordlines, drives = [0] * steps, [None] * steps

    def numbers(signal):
        word = int(signal.value)
        values = [(word >> (n * width)) & ((1 << width) - 1) for n in range(outputs)]
        return [(value - (1 << width) if value >> (width - 1) else value) & mask for value in values]

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
            sums[step] = numbers(dut.sums)  # those of the step's last round stay
            for adc in range(-(-used // per_adc)):
                column = adc * per_adc + conversion
                if column < used and conversion < per_adc:
                    codes[step][column] = (word >> (adc * p["ADC_BITS"])) & ((1 << p["ADC_BITS"]) - 1)
                    cycles[step][column] = cycle
        if int(dut.done.value):
            break
        assert cycle < 100_000, "the macro never says done"
    return {
        "wordlines": wordlines,
        "drive_cycles": drives,
        "codes": flat(codes),
        "code_cycles": flat(cycles),
        "shift_add": flat(sums),
        "outputs": numbers(dut.outputs),
        "op_cycles": [cycle],
    }
