"""Other simulators that a package index has, beside cimemu and two yardsticks of the same run: `pytest tests/bench -k peers`.

One layer, 4,096 vectors of 128 8-bit inputs by 64 outputs of 8-bit weights, one thread; a rate is multiply-accumulates of the
layer a second. What each makes of them differs: cimemu makes 64 conversions of every output, one for each of 8 one-bit input
slices and 8 one-bit cells, and counts events; the others convert a whole output once. So rates say how long a layer takes, not
which is faster at the same work. A peer that is not installed is skipped with the reason.
"""

import grid
import numpy as np
import pytest
import test_yardsticks

import cimemu
from cimemu.engines.programmed import program

pytestmark = pytest.mark.bench
ROWS, OUTPUTS, VECTORS = 128, 64, 4096
MACS = ROWS * OUTPUTS * VECTORS
ADC_BITS = 6
test_peers_int8_product_of_onnx_runtime = test_yardsticks.test_int8_product


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    return rng.integers(-128, 128, (ROWS, OUTPUTS)), rng.integers(0, 256, (VECTORS, ROWS)).astype(np.uint8)


@pytest.mark.parametrize("name", ["clamp", "step 2.5"])
def test_peers_cimemu(benchmark, rate, given, name):
    w, x = given
    changes = {"macro.rows": ROWS, "macro.active_rows": ROWS, "macro.adc.bits": ADC_BITS, **grid.converters(ROWS)[name]}
    run = grid.run_of(program(w, cimemu.load_arch("rram_128", changes).macro), x)
    run()
    benchmark(run)
    rate(f"cimemu, bit-serial, {name}, 64 conversions an output", MACS, "MAC/s")


def test_peers_adders_alone(benchmark, rate, given):
    w, _ = given
    run = grid.adders(program(w, cimemu.load_arch("rram_128").macro).matrix.levels, VECTORS)
    run()
    benchmark(run)
    rate("the rows of every column added as bit planes, nothing converted", MACS, "MAC/s")


def test_peers_float32_product(benchmark, rate, given):
    torch = pytest.importorskip("torch")
    w, x = (torch.tensor(array, dtype=torch.float32) for array in given)
    torch.set_num_threads(1)
    benchmark(lambda: x @ w)
    rate("float32 product of PyTorch, no converter", MACS, "MAC/s")


def test_peers_aihwkit_lightning(benchmark, rate, given):
    reason = "aihwkit-lightning is not installed: pip install --no-deps aihwkit-lightning"
    modules = pytest.importorskip("aihwkit_lightning.nn", reason=reason)
    from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig

    config = TorchInferenceRPUConfig()
    config.mapping.max_input_size = ROWS
    config.pre_post.input_range.enable = True
    config.forward.inp_res, config.forward.out_res = 2**8 - 2, 2**ADC_BITS - 2
    config.forward.out_bound, config.forward.out_noise = 12.0, 0.0
    _layer(benchmark, modules.AnalogLinear(ROWS, OUTPUTS, bias=False, rpu_config=config), given)
    rate("aihwkit-lightning, 8-bit inputs, 6-bit outputs, one conversion an output", MACS, "MAC/s")


def test_peers_aihwkit(benchmark, rate, given):
    modules = pytest.importorskip("aihwkit.nn", reason="aihwkit is not installed: its source needs CMake and OpenBLAS")
    from aihwkit.simulator.configs import InferenceRPUConfig

    config = InferenceRPUConfig()
    config.mapping.max_input_size = ROWS
    config.forward.inp_res, config.forward.out_res = 1 / (2**8 - 2), 1 / (2**ADC_BITS - 2)
    config.forward.out_noise = 0.0
    _layer(benchmark, modules.AnalogLinear(ROWS, OUTPUTS, bias=False, rpu_config=config), given)
    rate("aihwkit, 8-bit inputs, 6-bit outputs, one conversion an output", MACS, "MAC/s")


def test_peers_crosssim():
    pytest.skip("CrossSim, MICSim and NeuroSim are on no package index: they are measured by hand")


def _layer(benchmark, layer, given):
    """Time a layer of PyTorch modules on the inputs as shares of their range."""
    import torch

    torch.set_num_threads(1)
    x = torch.tensor(given[1], dtype=torch.float32) / 255
    layer.eval()
    with torch.no_grad():
        layer(x)
        benchmark(lambda: layer(x))
