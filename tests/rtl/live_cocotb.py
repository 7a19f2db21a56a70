"""A cocotb bench and a pyuvm one that run a generated macro beside the live model: operations are made as they go."""

import os
import random

import cocotb
import pyuvm
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from pyuvm import ConfigDB, uvm_env, uvm_scoreboard, uvm_test

import cimemu
from cimemu.cosim import MacroModel, Scoreboard

ROWS, OUTPUTS, OPERATIONS = 8, 2, 12


def arch():
    """8 rows, 2 outputs of 4 bits, a converter of 2 bits that clips."""
    changes = {
        "rows": ROWS,
        "columns": 8,
        "weight": {"bits": 4},
        "input": {"bits": 3},
        "adc": {"model": "linear", "bits": 2},
    }
    return cimemu.load_arch("rram_128", {f"macro.{key}": value for key, value in changes.items()})


def weights():
    made = random.Random(1)
    return [[made.randint(-8, 7) for _ in range(OUTPUTS)] for _ in range(ROWS)]


def signed(signal, number, count):
    """One of the numbers on a bus."""
    bits = len(signal) // count
    value = (int(signal.value) >> (number * bits)) & ((1 << bits) - 1)
    return value - (1 << bits) if value >> (bits - 1) else value


async def program(dut, model):
    Clock(dut.clk, 10, unit="ns").start()
    dut.start.value = 0
    dut.last_output.value = OUTPUTS - 1  # all are in use
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    dut.cell_write.value = 1
    for row, levels in enumerate(model.cells.tolist()):
        dut.cell_row.value = row
        dut.cell_levels.value = sum(level << column for column, level in enumerate(levels))
        await FallingEdge(dut.clk)
    dut.cell_write.value = 0


async def operate(dut, inputs, see_codes):
    """Run one operation; (cycles, outputs). `see_codes(step, round, codes)` is called for every conversion round."""
    dut.inputs.value = sum(value << (3 * row) for row, value in enumerate(inputs))
    dut.start.value = 1
    await FallingEdge(dut.clk)
    dut.start.value = 0
    cycles = 0
    while not int(dut.done.value):
        await FallingEdge(dut.clk)
        cycles += 1
        if int(dut.code_valid.value):
            see_codes(int(dut.code_step.value), int(dut.code_round.value), int(dut.codes.value))
    return cycles, [signed(dut.outputs, n, OUTPUTS) for n in range(OUTPUTS)]


@cocotb.test()
async def scoreboard_beside_the_macro(dut):
    model, drawn = MacroModel(arch(), weights()), random.Random(int(os.environ["LIVE_SEED"]))
    board = Scoreboard(model)
    await program(dut, model)
    for _ in range(OPERATIONS):
        inputs = [drawn.randrange(8) for _ in range(ROWS)]
        board.drive(inputs)
        cycles, outputs = await operate(
            dut, inputs, lambda step, column, code: board.codes(step, code, first_column=column)
        )
        board.cycles(cycles)
        board.outputs(outputs)
    board.close()


class MacroScoreboard(uvm_scoreboard):
    """A UVM scoreboard around the same model."""

    def build_phase(self):
        self.board = Scoreboard(ConfigDB().get(self, "", "MODEL"))

    def check_phase(self):
        self.board.close()


class MacroEnv(uvm_env):
    """The environment: the scoreboard alone."""

    def build_phase(self):
        self.scoreboard = MacroScoreboard("scoreboard", self)


@pyuvm.test()
class UvmTest(uvm_test):
    """The same operations from a UVM test."""

    def build_phase(self):
        self.model = MacroModel(arch(), weights())
        ConfigDB().set(None, "*", "MODEL", self.model)
        self.env = MacroEnv("env", self)

    async def run_phase(self):
        self.raise_objection()
        dut, drawn = cocotb.top, random.Random(int(os.environ["LIVE_SEED"]) + 1)
        board = self.env.scoreboard.board
        await program(dut, self.model)
        for _ in range(OPERATIONS):
            inputs = [drawn.randrange(8) for _ in range(ROWS)]
            board.drive(inputs)
            cycles, outputs = await operate(dut, inputs, lambda *seen: None)
            board.cycles(cycles)
            board.outputs(outputs)
        self.drop_objection()
