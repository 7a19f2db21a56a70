"""Processors without AVX-512, or without AVX2, run other kernels: the same bytes from all, and which of them ran."""

import macros
import numpy as np
import pytest
from amounts import drawn
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import cimemu
from cimemu.engines.lookup import prepare as lookup
from cimemu.engines.planes import clipped as bit_planes
from cimemu.engines.programmed import program
from cimemu.lanes import broad

common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@drawn(st.integers(0, 2**32 - 1), few=20, many=60)
def test_kernels_of_every_processor_give_the_same_bytes(seed):
    x, w, macro = macros.draw(seed)
    with_tables = cimemu.mvm(x, w, macro, path="serial")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broad, "HAS_BROAD", False)
        narrow = cimemu.mvm(x, w, macro, path="serial")
        assert with_tables.y.tobytes() == narrow.y.tobytes()
        for module in (lookup, bit_planes):
            patch.setattr(module, "AVAILABLE", False)
        without = cimemu.mvm(x, w, macro, path="serial")
        assert program(w, macro).choose("serial").engine.name in ("packed", "steps")
    assert with_tables.y.tobytes() == without.y.tobytes()


@pytest.mark.skipif(not lookup.AVAILABLE, reason="the processor has no AVX2")
@pytest.mark.skipif(not broad.HAS_BROAD, reason="the processor has no AVX-512 with VBMI, VNNI and GFNI")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"macro.adc.lsb": 2.5},
        {"macro.adc.lsb": 2, "macro.adc.zero": 3},
        {"macro.adc.bits": 8},
        {"macro.weight.column_flipping": True},
        {"macro.weight.encoding": "differential"},
        {"macro.weight.encoding": "offset", "macro.weight.correction": "reference_column"},
        {"macro.timing.skip_zero_slices": True},
        {
            "macro.adc": {
                "model": "nonlinear",
                "circuit": "sar",
                "bits": 3,
                "thresholds": [1, 2, 5, 9, 20, 40, 60],
                "levels": [0, 1, 3, 7, 15, 30, 50, 64],
            }
        },
        {
            "macro.adc": {
                "model": "nonlinear",
                "circuit": "sar",
                "bits": 2,
                "thresholds": [1, 20, 40],
                "levels": [0.5, 10.25, 30.75, 50.5],
            }
        },
    ],
)
@pytest.mark.parametrize("rows", [64, 128, 256, 300, 600])
def test_any_converter_of_one_bit_cells_runs_on_bit_planes(changes, rows):
    macro = cimemu.load_arch(
        "rram_128", {"macro.rows": rows, "macro.active_rows": rows, "macro.adc.bits": 6, **changes}
    ).macro
    rng = np.random.default_rng(rows)
    w, x = rng.integers(-127, 128, (rows + 50, 5)), rng.integers(0, 256, (400, rows + 50))
    x[:80] = 0
    x[80:160] = 255
    programmed = program(w, macro)
    made = programmed.run(x, path="planes")
    twin = program(w, macro).run(x[::27], path="naive")
    assert made.y[::27].tobytes() == twin.y.tobytes()
    assert made.y.dtype == twin.y.dtype
    assert programmed.run(x, path="planes", threads=2).y.tobytes() == made.y.tobytes()


@pytest.mark.skipif(not lookup.AVAILABLE, reason="the processor has no AVX2")
@pytest.mark.parametrize(
    "changes",
    [
        {"macro.adc.bits": 6},
        {"macro.adc.bits": 6, "macro.adc.lsb": 2.5},
        {"macro.adc.bits": 8, "macro.cell.bits": 2},
        {"macro.adc.bits": 8, "macro.input.dac_bits": 2},
        {"macro.adc.bits": 6, "macro.input.bits": 9},
    ],
)
def test_the_usual_converters_are_looked_up(changes):
    macro = cimemu.load_arch("rram_128", changes).macro
    assert program([[1] * 4] * 128, macro).choose("fixed").engine.name == "lookup"


@drawn(
    st.integers(0, 2**32 - 1),
    st.integers(1, 8),
    st.sampled_from([1, 8, 20, 33, 64]),
    st.integers(1, 300),
    few=20,
    many=60,
)
def test_bit_planes_and_table_look_up_give_the_same_bytes(seed, bits, outputs, rows):
    rng = np.random.default_rng(seed)
    changes = {
        "macro.adc.bits": bits,
        "macro.weight.encoding": str(rng.choice(["offset", "twos_complement", "differential"])),
    }
    changes |= {"macro.active_rows": int(rng.choice([128, 20])), "macro.input.bits": int(rng.integers(1, 9))}
    changes["macro.input.signed"] = bool(rng.integers(0, 2))
    changes["macro.weight.correction"] = "reference_column" if rng.integers(0, 2) else "digital"
    changes["macro.timing.skip_zero_slices"] = bool(rng.integers(0, 2))
    if changes["macro.weight.encoding"] != "offset":
        del changes["macro.weight.correction"]
    macro = cimemu.load_arch("rram_128", changes).macro
    w = rng.integers(-127, 128, (rows, outputs))
    half = 2 ** (macro.input.bits - 1) if macro.input.signed else 0
    x = (rng.integers(0, 2**macro.input.bits, (37, rows)) - half) * (rng.random((37, rows)) < rng.random())
    with pytest.MonkeyPatch.context() as patch:
        planes = program(w, macro)
        widest = planes.run(x, path="serial").y
        patch.setattr(broad, "HAS_BROAD", False)
        planes = program(w, macro)
        most = min(2**bits - 1, rows, macro.raised_rows) * (2**macro.input.bits - 1)  # an input's sum of codes
        assert (planes.choose("serial").engine.name == "planes") == (lookup.AVAILABLE and most <= 32767)
        fast = planes.run(x, path="serial").y
        assert fast.tobytes() == widest.tobytes()
        many = np.tile(x, (40, 1))
        assert planes.run(many, path="serial", threads=2).y.tobytes() == np.tile(fast, (40, 1)).tobytes()
        patch.setattr(bit_planes, "AVAILABLE", False)
        assert program(w, macro).choose("serial").engine.name != "planes"
        assert fast.tobytes() == program(w, macro).run(x, path="serial").y.tobytes()
