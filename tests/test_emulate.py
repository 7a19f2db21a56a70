"""`cimemu.run` from Python: inputs, labels, threads, details, errors."""

import tracemalloc

import nets
import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.compute.matrix import LayerMatrix
from cimemu.errors import CimemuError
from cimemu.layer.base import TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Fp32HalfEven
from cimemu.variation.compose import compose

ARCH = cimemu.load_arch("rram_128")
NETWORK = nets.residual_network()


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 5, 4)).astype(np.uint8)


def test_an_array_a_mapping_and_batches_give_the_same():
    x = images(5)
    whole = cimemu.run(ARCH, NETWORK, x)
    for given in ({"x": x}, [x[:2], x[2:]], iter([{"x": x[:4]}, {"x": x[4:]}])):
        again = cimemu.run(ARCH, NETWORK, given)
        assert np.array_equal(again.outputs, whole.outputs)
        assert again.cycles == whole.cycles
        assert again.energy_uj == whole.energy_uj


def test_batches_threads_and_memory_budget_change_no_byte():
    x = images(7)
    whole = cimemu.run(ARCH, NETWORK, x, path="serial")
    for options in ({"batch": 2}, {"threads": 2}, {"budget_bytes": 5000}, {"path": "fixed"}, {"path": "auto"}):
        again = cimemu.run(ARCH, NETWORK, x, **{"path": "serial", **options})
        assert again.outputs.tobytes() == whole.outputs.tobytes()
        assert np.array_equal(again.counts, whole.counts)


def test_without_timing_there_are_no_cycles():
    result = cimemu.run(ARCH, NETWORK, images(2), detail=None)
    assert result.cycles is None
    assert result.energy_uj is None
    assert result.conversions > 0


def test_accuracy_is_the_share_of_labels_met():
    x = images(4)
    truth = cimemu.run(ARCH, NETWORK, x).predictions
    wrong = truth.copy()
    wrong[0] = (wrong[0] + 1) % 3
    assert cimemu.run(ARCH, NETWORK, x, truth).accuracy == 1
    assert cimemu.run(ARCH, NETWORK, x, wrong).accuracy == 0.75


def test_the_bit_serial_path_is_forced_by_name():
    free = cimemu.run(ARCH, NETWORK, images(1), detail=None)
    forced = cimemu.run(ARCH, NETWORK, images(1), detail=None, path="serial")
    assert {"exact"} == set().union(*free.paths.values())
    assert {"packed"} == set().union(*forced.paths.values())
    assert np.array_equal(free.outputs, forced.outputs)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((2, 3, 5, 5), np.uint8),), {}, "must be \\[images, 3, 5, 4\\]"),
        ((np.zeros((3, 5, 4), np.uint8),), {}, "must be \\[images, 3, 5, 4\\]"),
        ((np.zeros((2, 3, 5, 4), np.float32),), {}, "is float32, must be uint8"),
        ((np.zeros((0, 3, 5, 4), np.uint8),), {}, "no image given"),
        (({"y": images(1)},), {}, "no array for input x"),
        ((7,), {}, "give an array"),
        ((images(2), [0]), {}, "labels: 1 given for 2 images"),
        ((images(2), [0, 3]), {}, r"labels\[1\] = 3, must be 0 .. 2"),
        ((images(2), [0.5, 1.0]), {}, "must be integers"),
        ((images(2),), {"batch": 0}, "batch = 0, must be >= 1"),
        ((images(2),), {"detail": "all"}, "detail = 'all'"),
        ((images(2),), {"detail": None, "trace": "x.h5"}, "a trace needs timing"),
        ((images(2),), {"vary": ["lognormal"]}, "sigma: missing, give a value"),
        ((images(2),), {"path": "magic"}, "path = 'magic'"),
    ],
)
def test_a_mistake_names_the_value_and_the_rule(tmp_path, monkeypatch, arguments, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cimemu.CimemuError, match=message) as caught:
        cimemu.run(ARCH, NETWORK, *arguments, **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_float_network_is_not_run():
    network = cimemu.load_network(cimemu.load_workload("digits").network)
    with pytest.raises(cimemu.WorkloadError, match="quantise it first"):
        cimemu.run(ARCH, network, np.zeros((1, 1, 8, 8), np.float32))


def test_a_value_that_is_no_number_is_refused():
    work = cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), ARCH, calibration=work.calibration())
    x, _ = work.inputs(2)
    x[1, 0, 3, 4] = np.nan
    with pytest.raises(cimemu.WorkloadError, match=r"\[1, 0, 3, 4\] = nan, must be finite"):
        cimemu.run(ARCH, network, x)


def test_weights_too_wide_for_the_macro_name_the_layer():
    arch = cimemu.load_arch("rram_128", {"macro.weight.bits": 2, "macro.weight.encoding": "differential"})
    network = nets.residual_network(weight_limit=7)
    with pytest.raises(cimemu.CimemuError, match="layer conv1"):
        cimemu.run(arch, network, images(1))


def test_low_converter_resolution_moves_outputs_and_counts_the_same():
    coarse = cimemu.load_arch("rram_128", {"macro.adc.bits": 3})
    fine, few = cimemu.run(ARCH, NETWORK, images(3)), cimemu.run(coarse, NETWORK, images(3))
    assert few.conversions == fine.conversions
    assert few.cycles < fine.cycles
    assert few.energy_uj < fine.energy_uj
    assert not np.array_equal(few.outputs, fine.outputs)


def test_a_large_layer_stays_within_its_memory_budget():
    """Rows of one image in strips: 64 channels of 160 x 160 would need 15 MB of windows an image."""
    geometry = Geometry(
        64, 160, 160, 16, 160, 160, kernel_h=3, kernel_w=3, pad_top=1, pad_left=1, pad_bottom=1, pad_right=1
    )
    rng = np.random.default_rng(0)
    layer = MacroLayer(
        name="big",
        inputs=("x",),
        outputs=("y",),
        geometry=geometry,
        weight=rng.integers(-128, 128, (16, 64, 3, 3)).astype(np.int16),
        weight_zero_point=np.zeros(16, np.int64),
        input_zero_point=3,
        input_dtype="uint8",
        bias=np.zeros(16, np.int64),
        stage=Fp32HalfEven(np.float32([1e-4]), 0, 0, 255, "uint8"),
        output_type=TensorType((16, 160, 160), "uint8"),
    )
    x = rng.integers(0, 256, (2, 64, 160, 160)).astype(np.uint8)
    results = []
    for adc in ("ideal", {"model": "linear", "bits": 6}):
        matrix = LayerMatrix(layer, cimemu.load_arch("rram_128", {"macro.adc": adc}).macro)
        matrix.run(x[:1, :, :], path="auto", threads=None, budget_bytes=1 << 22)
        tracemalloc.start()
        result = matrix.run(x, path="auto", threads=None, budget_bytes=8 << 20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < result.output.nbytes + (8 << 20)
        results.append(result.output)
        whole = matrix.run(x[:1], path="auto", threads=2, budget_bytes=1 << 30).output
        assert np.array_equal(whole, result.output[:1])
    assert not np.array_equal(*results)


@pytest.mark.parametrize("model", ["lognormal:sigma=0.1", "stuck_at:sa0=0.1", "thermal:amplifier=0.5"])
def test_a_memory_budget_covers_cells_that_vary_or_says_what_they_take(model):
    network, x = nets.residual_network(), images(4)
    emulator = Emulator(network, ARCH.macro)
    cells = emulator.varied_bytes(compose([model], 0, 0))
    with pytest.raises(
        CimemuError, match=r"cells that vary take .* GiB and .*, --memory-gib \(budget_bytes\) is .*; give more"
    ):
        cimemu.run(ARCH, network, x, vary=[model], budget_bytes=cells)
    tight = cimemu.run(ARCH, network, x, vary=[model], budget_bytes=cells + 5000)
    assert tight.outputs.tobytes() == cimemu.run(ARCH, network, x, vary=[model]).outputs.tobytes()


@pytest.mark.parametrize("bits", [1, 2])
def test_what_cells_that_vary_take_is_what_was_told(bits):
    """The arrays of a written network beside the estimate: cells, and what the engine that looks them up makes of them."""
    arch = cimemu.load_arch("rram_128", {"macro.cell.bits": bits})
    network, variations = nets.residual_network(), compose(["lognormal:sigma=0.1"], 0, 0)
    plan = cimemu.make_plan(network, arch)
    emulator = Emulator(network, arch.macro, path="lookup", plan=plan)
    emulator.program(plan, variations.models)
    emulator.run([images(2)])
    held = 0
    for matrix in emulator.matrices.values():
        for programmed in (one for replica in matrix.replicas for one in replica):
            lookup = programmed.kept["lookup"]
            tables = [lookup.low, lookup.high, lookup.highest, *([lookup.sixes.values] if lookup.sixes else [])]
            held += programmed.matrix.cells.nbytes + sum(table.nbytes for table in tables)
    assert held <= 1.3 * emulator.varied_bytes(variations)  # places are padded to six, columns to two
    assert held >= 0.4 * emulator.varied_bytes(variations)
