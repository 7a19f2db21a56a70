"""A macro live beside a simulator: the same bytes as the emulator, and a scoreboard that says what differs."""

import doctest

import macros
import numpy as np
import pytest

import cimemu
import cimemu.cosim.model
from cimemu.cosim import MacroModel, Scoreboard

MACRO = {
    "rows": 12, "columns": 40, "active_rows": 5, "columns_per_adc": 3, "weight": {"bits": 4}, "input": {"bits": 3},
    "adc": {"model": "linear", "bits": 2}, "timing": {"skip_zero_slices": True, "overlap": True},
}  # fmt: skip


def made(**changes):
    macro = cimemu.Macro.model_validate(MACRO | changes)
    rng = np.random.default_rng(3)
    w = macros.weights_in_range(rng, macro, (11, 5))
    return macro, w, macros.inputs_in_range(rng, macro, (20, 11))


def test_the_example_holds():
    assert doctest.testmod(cimemu.cosim.model).failed == 0


@pytest.mark.parametrize("path", ["auto", "serial", "naive"])
def test_operations_have_the_bytes_of_every_engine(path):
    macro, w, x = made()
    one, many = MacroModel(macro, w), MacroModel(macro, w)
    single = [one.operate(row) for row in x]
    together = many.operations(x)
    expected = cimemu.mvm(x, w, macro, path=path)
    codes = cimemu.mvm(x, w, macro, codes=True).codes
    for op, (a, b) in enumerate(zip(single, together, strict=True)):
        assert a.number == b.number == op
        assert a.outputs.tobytes() == b.outputs.tobytes() == expected.y[op].tobytes()
        assert a.cycles == b.cycles
        for step, other in zip(a, b, strict=True):
            seen = codes[op, step.group, step.slice]
            assert step.codes is None if seen[0] == 65535 else np.array_equal(step.codes, seen)
            assert (step.codes is None) == (not step.wordlines.any())
            assert step.sums.tobytes() == other.sums.tobytes()


def test_a_drawn_chip_reads_as_in_the_emulator():
    macro, w, x = made()
    vary = ["lognormal:sigma=0.2", "thermal:amplifier=0.5"]
    model = MacroModel(macro, w, vary=vary, seed=4)
    seen = np.stack([model.operate(row).outputs for row in x])
    assert np.array_equal(seen, cimemu.mvm(x, w, macro, vary=vary, seed=4, reads=cimemu_reads()).y)


def cimemu_reads():
    from cimemu.macro.read_noise import Reads

    return Reads(positions=1)


def test_weights_that_fill_more_than_a_macro_are_refused():
    macro, _, _ = made()
    with pytest.raises(cimemu.WorkloadError, match=r"fill 2 macros, must fit one: <= 12 rows and 10 outputs"):
        MacroModel(macro, np.ones((13, 2), int))


def test_a_scoreboard_follows_a_pipeline_and_says_what_differs():
    macro, w, x = made()
    board, twin = Scoreboard(MacroModel(macro, w)), MacroModel(macro, w)
    for row in x[:2]:
        board.drive(row)
    for operation in twin.operations(x[:2]):
        for step in operation:
            if step.codes is not None:
                board.codes(step.number, step.codes[1::3], first_column=1, stride=3)
            board.sums(step.number, step.sums)
        board.cycles(operation.cycles)
        board.outputs(operation.outputs)
    board.close()
    board.drive(x[2])
    board.outputs(twin.operate(x[2]).outputs + np.array([0, 0, 1, 0, 0]))
    assert len(board.differences) == 1
    assert board.differences[0].startswith("operation 2, output 2: expected ")
    with pytest.raises(cimemu.TraceError, match="values differ, first operation 2, output 2"):
        board.close()


def test_a_scoreboard_that_saw_nothing_does_not_say_that_all_is_well():
    macro, w, x = made()
    with pytest.raises(cimemu.TraceError, match="nothing was compared"):
        Scoreboard(MacroModel(macro, w)).close()
    board = Scoreboard(MacroModel(macro, w), strict=True)
    with pytest.raises(cimemu.TraceError, match="call drive first"):
        board.cycles(3)
    right = board.drive(x[0]).cycles
    with pytest.raises(cimemu.TraceError, match="1 operations were driven and never finished"):
        board.close()
    with pytest.raises(cimemu.TraceError, match=f"operation 0, cycles: expected {right}, got {right + 1}"):
        board.cycles(right + 1)
