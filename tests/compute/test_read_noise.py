"""Read noise: the same bytes on every path, thread count and split of the batch; its size is what was asked for."""

import macros
import numpy as np
import pytest
from amounts import drawn
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import cimemu
from cimemu.engines.programmed import Programmed, program
from cimemu.events import Counter
from cimemu.lanes.registers import AVAILABLE
from cimemu.macro.read_noise import ReadNoise, Reads, quantised_sigma
from cimemu.macro.sites import own_macros
from cimemu.macro.vary import vary_matrix
from cimemu.variation.compose import compose

SEEDS = st.integers(0, 2**32 - 1)
common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def noisy(seed, sources=1, copies=1, times=1):
    """(x, written matrix with read noise) of a random macro, whose steps are read `times` times."""
    x, w, macro = macros.draw(seed)
    tree = macro.model_dump()
    tree["weight"]["column_flipping"] = False
    if times > 1:
        tree["repair"]["reads"], tree["timing"]["skip_zero_slices"] = times, False
        tree["input"]["driver"] = "returns"
    tree["cell"]["fraction_bits"] = 7 + seed % 8
    macro = cimemu.Macro.model_validate(tree)
    rng = np.random.default_rng(seed)
    ideal = program(w, macro)
    layout = ideal.matrix.layout
    shape = (len(layout.row_blocks), ideal.matrix.seen.shape[1])
    per_output = macro.conversions_per_output
    columns = np.concatenate([np.arange((b - a) * per_output) for a, b in layout.col_blocks])
    macro_of = np.concatenate([np.full((b - a) * per_output, k) for k, (a, b) in enumerate(layout.col_blocks)])
    noise = tuple(
        ReadNoise(
            keys=rng.integers(0, 2**63, (shape[0], len(layout.col_blocks))).astype(np.uint64)[:, macro_of],
            columns=columns,
            sigma=quantised_sigma(rng.uniform(0, 3, shape), macro.cell.fraction_bits),
        )
        for _ in range(sources)
    )
    cells = ideal.matrix.levels * rng.uniform(0.8, 1.2, ideal.matrix.levels.shape)
    return np.concatenate([x] * copies), program(w, macro, cells=cells, noise=noise)


@drawn(SEEDS, st.integers(1, 2), few=6, many=60)
def test_all_paths_draw_the_noise_of_the_naive_twin(seed, sources):
    x, matrix = noisy(seed, sources)
    reads = Reads(first_row=seed % 1000, positions=1 + seed % 7, replicas=1 + seed % 3, replica=seed % (1 + seed % 3))
    slow = matrix.run(x, codes=True, path="naive", reads=reads)
    for path in ("auto", "serial", "fixed", "steps"):
        for codes in (True, False):
            fast = matrix.run(x, codes=codes, path=path, reads=reads)
            assert fast.y.tobytes() == slow.y.tobytes()
            assert not codes or fast.codes is None or np.array_equal(fast.codes, slow.codes)


@drawn(SEEDS, st.sampled_from([3, 5]), few=6, many=60)
def test_majority_reads_are_those_of_the_naive_twin_on_all_paths(seed, times):
    x, matrix = noisy(seed, 1 + seed % 2, times=times)
    reads = Reads(first_row=seed % 1000, positions=1 + seed % 7)
    slow = matrix.run(x, codes=True, path="naive", reads=reads)
    for path in ("auto", "serial", "fixed", "steps"):
        fast = matrix.run(x, codes=True, path=path, reads=reads)
        assert fast.y.tobytes() == slow.y.tobytes()
        assert fast.codes is None or np.array_equal(fast.codes, slow.codes)


def one_column(times, sigma=0.8):
    """Codes of one conversion of psum 32, many inputs."""
    tree = {"rows": 32, "columns": 8, "weight": {"bits": 1, "encoding": "binary"}, "input": {"bits": 1}}
    tree |= {"adc": {"model": "linear", "bits": 6}, "repair": {"reads": times}}
    noise = ReadNoise(np.full((1, 1), 5, np.uint64), np.arange(1), np.full((1, 1), quantised_sigma(sigma, 7)))
    macro = cimemu.Macro.model_validate(tree)
    matrix = program(np.ones((32, 1), np.int64), macro, cells=np.ones((32, 1)), noise=(noise,))
    return matrix.run(np.ones((4000, 32), np.uint8), codes=True, images=4000).codes[:, 0, 0, 0].astype(int)


def test_the_median_of_more_reads_is_nearer_to_the_psum():
    right = [(one_column(times) == 32).mean() for times in (1, 3, 5, 9)]
    assert right == sorted(right)
    # 0.4680 of one read are within half a step of 0.8 sigma; of three, p^2 (3 - 2 p) with p of each tail
    tail = (1 - 0.4680) / 2
    assert abs(right[0] - 0.4680) < 0.03
    assert abs(right[1] - (1 - 2 * tail**2 * (3 - 2 * tail))) < 0.03


def test_without_noise_reads_change_time_and_energy_only():
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 256, (6, 200)), rng.integers(-128, 128, (200, 20))
    one, three = (cimemu.load_arch("rram_128", {"macro.repair.reads": n}).macro for n in (1, 3))
    a, b = cimemu.mvm(x, w, one), cimemu.mvm(x, w, three)
    assert a.y.tobytes() == b.y.tobytes()
    assert b.conversions == 3 * a.conversions
    for counter in (Counter.STEPS, Counter.WORDLINE_PULSES, Counter.CELL_PULSES, Counter.CELL_LEVEL_PULSES):
        assert (b.counts[:, counter] == 3 * a.counts[:, counter]).all()
    assert (b.counts[:, Counter.SHIFT_ADDS] == a.counts[:, Counter.SHIFT_ADDS]).all()
    step = one.timing.shift_add_cycles
    assert cimemu.op_cycles(three, 128, 128) - step == 3 * (cimemu.op_cycles(one, 128, 128) - step)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"macro.repair.reads": 2}, "2 reads have no middle one, must be odd"),
        ({"macro.repair.reads": 3, "macro.timing.skip_zero_slices": True}, "repair.reads = 3 with timing.skip_zero"),
        ({"macro.repair.reads": 3, "macro.cell.kind": "digital", "macro.adc": "ideal"}, "repair.reads = 3 with cell"),
    ],
)
def test_reads_that_have_no_meaning_are_refused(keys, said):
    with pytest.raises(cimemu.ArchError, match=said):
        cimemu.load_arch("rram_128", keys)


@drawn(SEEDS, few=6, many=20)
def test_neither_threads_nor_batch_splits_change_a_draw(seed):
    x, matrix = noisy(seed, copies=1500)
    x = x[: len(x) // 4 * 4]
    whole = matrix.run(x, images=4, threads=1).y
    assert matrix.run(x, images=4, threads=2).y.tobytes() == whole.tobytes()
    positions = len(x) // 4
    for first, last in ((0, 1), (1, 37), (37, len(x))):
        part = matrix.run(x[first:last], reads=Reads(first_row=first, positions=positions)).y
        assert part.tobytes() == whole[first:last].tobytes()


@pytest.mark.parametrize(
    ("vary", "digits"),
    [
        (["lognormal:sigma=0.1"], 2),
        (["lognormal:sigma=0.1", "converter:noise=0.3", "thermal:amplifier=0.5"], 2),
        (["lognormal:sigma=0.1", "thermal"], 3),
        (["thermal", "converter:inl=0.3,dnl=0.2", "telegraph:amplitude=0.1,draw=normal"], 3),
    ],
)
def test_threads_give_the_same_bytes_from_tables(vary, digits):
    macro = cimemu.load_arch("rram_128", {"macro.adc.bits": 6}).macro
    rng = np.random.default_rng(0)
    w, x = rng.integers(-128, 128, (150, 5)), rng.integers(0, 256, (2400, 150))
    ideal = program(w, macro)
    varied = Programmed(vary_matrix(ideal.matrix, own_macros(ideal.matrix.layout), compose(vary, 7, 0)))
    if AVAILABLE:
        tables = varied.choose("lookup").prepared
        digits_made = 1 + sum(len(more) > 0 for more in (tables.high, tables.highest))
        assert digits == (2 if tables.sixes is not None else digits_made)
    one, two = (varied.run(x, images=3, threads=threads).y for threads in (1, 2))
    assert one.tobytes() == two.tobytes()
    for part in (slice(0, 3), slice(1030, 1033)):
        reads = Reads(first_row=part.start, positions=800)
        slow = varied.run(x[part], path="naive", reads=reads).y
        assert slow.tobytes() == two[part].tobytes()


def test_every_place_draws_anew_and_the_spread_is_sigma():
    macro = cimemu.load_arch("rram_128", {"macro.adc": "ideal", "macro.input.bits": 1}).macro
    w = np.full((4, 8), -128)  # all cells at level 0
    columns = np.arange(64)
    noise = ReadNoise(
        keys=np.full((1, 64), 5, dtype=np.uint64), columns=columns, sigma=np.full((1, 64), quantised_sigma(0.5, 7))
    )
    matrix = program(w, macro, cells=np.zeros((4, 64)), noise=(noise,))
    x = np.zeros((4000, 4), dtype=np.uint8)
    psums = matrix.run(x, images=4).y  # sum over slices of 2^s * draw
    assert abs(psums.std() / (0.5 * np.sqrt((4.0 ** np.arange(8)).sum())) - 1) < 0.02
    assert abs(psums.mean()) < 5 * psums.std() / np.sqrt(psums.size)
    assert len(np.unique(psums)) > psums.size // 2


def test_noise_without_fixed_point_cells_is_refused():
    macro = cimemu.load_arch("rram_128").macro
    noise = ReadNoise(
        keys=np.zeros((1, 8), dtype=np.uint64), columns=np.arange(8), sigma=np.ones((1, 8), dtype=np.int64)
    )
    with pytest.raises(cimemu.ArchError, match="give cells"):
        program(np.ones((4, 1), dtype=np.int64), macro, noise=(noise,))
    with pytest.raises(cimemu.ArchError, match=r"\[row blocks, converted columns\] = \[1, 16\]"):
        program(np.ones((4, 2), dtype=np.int64), macro, cells=np.ones((4, 16)), noise=(noise,))
