"""The accumulator is the macro's: one running integer for each (row block, output), held after every (group, slice)."""

import macros
import numpy as np
import pytest
from amounts import drawn
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.engines.programmed import program
from cimemu.macro.accumulator import held, limits

common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**32 - 1)
PATHS = ("auto", "serial", "fixed", "steps", "naive")


def chip(**changes):
    tree = {
        "rows": 2,
        "columns": 8,
        "weight": {"bits": 4, "encoding": "twos_complement"},
        "input": {"bits": 1},
        "adc": {"model": "linear", "bits": 2},
    }
    return cimemu.Macro.model_validate(tree | changes)


@pytest.mark.parametrize(("overflow", "y"), [("saturate", 6), ("wrap", -4)])
def test_every_row_block_has_an_accumulator_of_its_own(overflow, y):
    # 3 bits: -4 .. 3. Two row blocks of two rows with w = 3, 3: each makes 6, held to 3 (or -2), and the digital unit,
    # which is wide enough, adds them to 6 (or -4). One accumulator of all four rows would end at 3 (or at 12 - 16 = -4).
    macro = chip(accumulator_bits=3, accumulator_overflow=overflow)
    for path in PATHS:
        got = cimemu.mvm(np.ones((1, 4), int), np.full((4, 1), 3), macro, path=path)
        assert got.y.tolist() == [[y]]


def test_a_block_that_would_overflow_is_an_error_though_the_sum_would_fit():
    macro = chip(accumulator_bits=3)
    texts = set()
    for path in PATHS:
        with pytest.raises(
            cimemu.WorkloadError, match=r"running sum 6 of row block 0 after group 0, input slice 0"
        ) as caught:
            cimemu.mvm(np.ones((3, 4), int), np.array([[3], [3], [-3], [-3]]), macro, path=path)
        texts.add(str(caught.value))
    assert len(texts) == 1
    assert "image 0, output position 0, output 0" in texts.pop()
    fits = cimemu.mvm(np.ones((1, 4), int), np.array([[3], [-3], [3], [-3]]), macro)
    assert fits.y.tolist() == [[0]]


def test_the_first_input_that_overflows_is_named_on_every_path():
    x = np.zeros((9000, 4), int)
    x[[8000, 4321]] = 1
    for path in ("serial", "fixed", "steps"):
        for threads in (1, 2):
            with pytest.raises(cimemu.WorkloadError, match="output position 4321, output 0"):
                cimemu.mvm(x, np.full((4, 1), 3), chip(accumulator_bits=3), path=path, threads=threads)


@pytest.mark.parametrize("overflow", ["error", "saturate", "wrap"])
@pytest.mark.parametrize(
    "adc", [{"lsb": 1.5}, {"zero": 0.25}, {"model": "nonlinear", "thresholds": [1], "levels": [0, 0.5]}]
)
def test_levels_that_are_no_integers_are_refused_whatever_happens_on_overflow(adc, overflow):
    tree = {"model": "linear", "bits": 1} | adc
    macro = chip(adc=tree, accumulator_bits=20, accumulator_overflow=overflow)
    with pytest.raises(
        cimemu.ArchError, match=r"macro\.accumulator_bits = 20 with converter levels that are not integers"
    ):
        cimemu.mvm(np.ones((1, 4), int), np.full((4, 1), 3), macro)
    ideal = chip(adc={"model": "ideal"}, accumulator_bits=20, accumulator_overflow=overflow)
    with pytest.raises(cimemu.ArchError, match="cells whose levels are no integers"):
        cimemu.mvm(np.ones((1, 4), int), np.full((4, 1), 3), ideal, vary=["lognormal:sigma=0.1"])


def narrow(seed, overflow, bits):
    """(x, w, macro) with integer levels and an accumulator of `bits`."""
    x, w, macro = macros.draw(seed)
    tree = {**macro.model_dump(), "accumulator_bits": bits, "accumulator_overflow": overflow}
    assume(program(w, macro).matrix.integer_result)
    return x, w, cimemu.Macro.model_validate(tree)


def outcome(x, w, macro, **options):
    try:
        return cimemu.mvm(x, w, macro, **options).y.tobytes()
    except cimemu.CimemuError as error:
        return str(error)


VARY = [
    (),
    ("lognormal:sigma=0.3",),
    ("stuck_at:sa0=0.1,sa1=0.1",),
    ("converter:offset=0.7,gain=0.1",),
    ("converter:noise=0.6",),
    ("thermal:celsius=300,on_ohm=1e9", "normal:relative=0.1"),
    ("stuck_wordline:off=0.1,on=0.2", "stuck_bitline:on=0.1"),
    ("telegraph:amplitude=0.4,share=0.5",),
    ("driver:gain=0.1",),
]


@drawn(SEEDS, st.sampled_from(["error", "saturate", "wrap"]), st.integers(2, 14), st.sampled_from(VARY), few=6, many=60)
def test_every_path_and_thread_holds_the_same_sums_of_ideal_and_varied_cells(seed, overflow, bits, vary):
    x, w, macro = narrow(seed, overflow, bits)
    assume(not vary or (macro.adc.model != "ideal" and macro.weight.correction == "digital"))
    slow = outcome(x, w, macro, path="naive", vary=vary, seed=seed % 7)
    assert isinstance(slow, bytes) or ("running sum" in slow and overflow == "error")
    for path in ("auto", "serial", "fixed", "steps"):
        assert outcome(x, w, macro, path=path, vary=vary, seed=seed % 7, threads=2) == slow


@drawn(SEEDS, few=6, many=60)
def test_an_accumulator_that_cannot_overflow_costs_nothing(seed):
    """One bit less and it has to be held; wide enough, every path is the one of no accumulator at all."""
    x, w, macro = narrow(seed, "saturate", 63)
    free = cimemu.Macro.model_validate({**macro.model_dump(), "accumulator_bits": None})
    wide, plain = program(w, macro), program(w, free)
    assert not wide.matrix.holding
    for path in ("auto", "serial", "fixed"):
        assert wide.choose(path).engine == plain.choose(path).engine
        assert wide.choose(path).passed_over == plain.choose(path).passed_over
    assert wide.run(x).y.tobytes() == plain.run(x).y.tobytes()
    enough = next(b for b in range(2, 64) if not program(w, with_bits(macro, b)).matrix.holding)
    assert enough == 2 or program(w, with_bits(macro, enough - 1)).matrix.holding
    held_sums = program(w, with_bits(macro, max(2, enough)))
    assert held_sums.run(x, path="naive").y.tobytes() == plain.run(x).y.tobytes()


def with_bits(macro, bits):
    return cimemu.Macro.model_validate({**macro.model_dump(), "accumulator_bits": bits})


@settings(common, max_examples=40)
@given(SEEDS)
def test_the_proof_of_an_accumulator_is_not_wider_than_inputs_can_make_it(seed):
    """Ideal converter, one group, positive weights: the largest input meets the bound, so one bit less overflows."""
    rng = np.random.default_rng(seed)
    macro = chip(rows=16, weight={"bits": 4, "encoding": "differential"}, columns=16, input={"bits": 3}, adc="ideal")
    w = rng.integers(1, 8, (int(rng.integers(1, 17)), 1))
    enough = next(b for b in range(2, 64) if not program(w, with_bits(macro, b)).matrix.holding)
    largest = np.full((1, len(w)), 7)
    low, high = limits(enough)
    assert limits(enough - 1)[1] < int((largest @ w).item()) <= high
    assert low < 0
    with pytest.raises(cimemu.WorkloadError, match="running sum"):
        cimemu.mvm(largest, w, with_bits(macro, enough - 1))


@given(st.integers(-(2**62), 2**62), st.integers(2, 63))
def test_numbers_are_held_by_their_definition(value, bits):
    low, high = limits(bits)
    one = np.array([value], dtype=np.int64)
    assert held(one, bits, "saturate")[0] == min(max(value, low), high)
    assert held(one, bits, "wrap")[0] == (value - low) % 2**bits + low
    assert held(one, bits, "error")[0] == value


def test_sums_that_would_leave_64_bits_are_refused():
    adc, eight = {"model": "linear", "bits": 14, "lsb": 2.0**40}, {"bits": 8}
    with pytest.raises(cimemu.ArchError, match=r"macro\.adc: levels up to .* must stay below 2\^62"):
        cimemu.mvm(np.ones((1, 4), int), np.full((4, 1), 3), chip(adc=adc, input=eight))


def test_a_run_names_the_layer_whose_sums_leave_the_accumulator():
    import nets

    arch = cimemu.load_arch("rram_128", {"macro.accumulator_bits": 6})
    x = np.full((1, 3, 5, 4), 255, np.uint8)
    with pytest.raises(
        cimemu.WorkloadError, match=r"^layer conv1: image 0, output position 0, output \d+: running sum"
    ):
        cimemu.run(arch, nets.residual_network(), x, detail=None)
