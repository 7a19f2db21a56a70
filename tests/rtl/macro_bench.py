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
    dump = {name: [] for name in ("codes", "code_cycles", "outputs", "op_cycles")}
    for inputs in job["inputs"]:
        codes, cycles, outputs, taken = await operate(dut, p, inputs, groups * slices)
        dump["codes"] += [f"{code:x}" for step in codes for code in step]
        dump["code_cycles"] += [f"{cycle:x}" for step in cycles for cycle in step]
        mask = (1 << job["accumulator_bits"]) - 1
        dump["outputs"] += [f"{value & mask:x}" for value in outputs]
        dump["op_cycles"].append(f"{taken:x}")
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


async def operate(dut, p, inputs, steps):
    """(codes [step][column], cycles to each, outputs, cycles of the operation)."""
    used, per_adc = p["COLUMNS_USED"], p["COLUMNS_PER_ADC"]
    codes = [[None] * used for _ in range(steps)]
    cycles = [[None] * used for _ in range(steps)]
    mask = (1 << p["INPUT_BITS"]) - 1
    dut.inputs.value = sum((value & mask) << (r * p["INPUT_BITS"]) for r, value in enumerate(inputs))
    dut.start.value = 1
    await FallingEdge(dut.clk)  # the edge that takes the operation: cycle 0
    dut.start.value = 0
    cycle = 0
    while True:
        await FallingEdge(dut.clk)
        cycle += 1
        if int(dut.code_valid.value):
            step, conversion, word = (int(s.value) for s in (dut.code_step, dut.code_round, dut.codes))
            for adc in range(-(-used // per_adc)):
                column = adc * per_adc + conversion
                if column < used and conversion < per_adc:
                    codes[step][column] = (word >> (adc * p["ADC_BITS"])) & ((1 << p["ADC_BITS"]) - 1)
                    cycles[step][column] = cycle
        if int(dut.done.value):
            break
        assert cycle < 100_000, "the macro never says done"
    per_output = p["SLICES"] * p["POLARITIES"]
    width = len(dut.outputs) // (p["COLUMNS"] // per_output)
    word = int(dut.outputs.value)
    values = [(word >> (n * width)) & ((1 << width) - 1) for n in range(used // per_output)]
    signed = [value - (1 << width) if value >> (width - 1) else value for value in values]
    return codes, cycles, signed, cycle
