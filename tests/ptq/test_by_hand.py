"""Scales, ranges, cuts and levels of small cases, worked out by hand."""

import numpy as np
import pytest

import cimemu
from cimemu.compute.psum_samples import PsumSamples, Step
from cimemu.ptq.converter import _candidates
from cimemu.ptq.cut import make_cut
from cimemu.ptq.levels import DP_BINS, EDGE, _optimal, clipping_ranges, interior
from cimemu.ptq.output_fit import SHIFTS, STEPS, SWEEPS, least_output, output_error
from cimemu.ptq.psum_fit import fit_linear
from cimemu.ptq.ranges import Observer
from cimemu.ptq.scheme import LinearConverter, scheme_of


def float_product(weight, bias=None):
    """A float network of one product, as a file of ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    rows, outputs = weight.shape
    constants = [numpy_helper.from_array(weight.astype(np.float32), "w")]
    names = ["x", "w"]
    if bias is not None:
        constants.append(numpy_helper.from_array(np.asarray(bias, dtype=np.float32), "b"))
        names.append("b")
    node = helper.make_node("Gemm", names, ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def quantized(tmp_path, weight, x, changes=None, bias=None, **options):
    import onnx

    onnx.save(float_product(weight, bias), tmp_path / "n.onnx")
    arch = cimemu.load_arch("rram_128", changes or {})
    return cimemu.quantize(cimemu.load_network(tmp_path / "n.onnx"), arch, calibration=x, **options)


WEIGHT = np.array([[0.5, -1.27], [0.25, 0.3], [-0.5, 0.01]])
X = np.array([[-2.0, 0.0, 1.0], [0.0, 3.1, -1.0]], dtype=np.float32)


def test_unsigned_activations_take_the_whole_range_and_zero_is_exact(tmp_path):
    network = quantized(tmp_path, WEIGHT, X)
    scale = next(float(v) for k, v in network.constants.items() if k.startswith("x") and k.endswith("scale"))
    zero = next(int(v) for k, v in network.constants.items() if k.startswith("x") and k.endswith("zero_point"))
    assert scale == np.float32(5.1 / 255)
    assert zero == 100  # 0 - (-2 / 0.02)


def test_signed_activations_are_symmetric(tmp_path):
    network = quantized(tmp_path, WEIGHT, X, {"macro.input.signed": True})
    scale = next(float(v) for k, v in network.constants.items() if k.startswith("x") and k.endswith("scale"))
    zero = next(v for k, v in network.constants.items() if k.startswith("x") and k.endswith("zero_point"))
    top = 2 ** (cimemu.load_arch("rram_128").macro.input.bits - 1) - 1
    assert scale == np.float32(np.float32(3.1) / top)
    assert (int(zero), zero.dtype) == (0, np.int8)


def test_a_bias_larger_than_the_weights_widens_their_scale(tmp_path):
    """Weights of 1e-9 beside a bias of 1: a scale of weights alone would ask for a bias of some 1e13 steps."""
    weight = np.array([[1e-9, 0.5], [1e-9, 0.5]])
    x = np.array([[0.0, 2.55], [2.55, 0.0]], dtype=np.float32)
    network = quantized(tmp_path, weight, x, bias=[1.0, 1.0])
    run = cimemu.run(cimemu.load_arch("rram_128"), network, x)
    assert np.allclose(run.outputs[:, 1], 1 + 0.5 * 2.55, atol=0.02)
    assert np.allclose(run.outputs[:, 0], 1.0, atol=0.02)


def test_every_allowed_number_of_levels_is_taken_and_others_are_not():
    for bits in (1, 1.5, 2, 3, 4, 5, 6, 7, 8):
        spec = scheme_of({"converter": {"kind": "linear", "bits": bits}}).converter
        assert spec.levels == (3 if bits == 1.5 else 2**bits)
    for bits in (0, 0.5, 2.5, 9):
        with pytest.raises(cimemu.CimemuError, match=rf"bits = {bits:g}, must be 1, 1.5 or 2 .. 8"):
            scheme_of({"converter": {"kind": "linear", "bits": bits}})


def test_a_part_without_a_kind_is_the_plain_one_and_one_with_a_kind_is_kept():
    assert scheme_of({"weights": {"bits": 4}}).weights.kind == "uniform"
    assert scheme_of({"converter": {"bits": 4}}).converter.kind == "linear"
    assert scheme_of({"weights": {"kind": "binary"}}).weights.kind == "binary"
    assert scheme_of({"converter": {"kind": "nonlinear", "bits": 3}}).converter.kind == "nonlinear"
    with pytest.raises(cimemu.CimemuError, match="weights"):
        scheme_of({"weights": 4})


def samples(psums, blocks=1, arrays=None):
    """Partial sums [vectors, columns] of one step, one row block, one conversion an output."""
    psums = np.asarray(psums)
    columns = psums.shape[1]
    step = Step(block=0, place=1, first=0, psums=psums.astype(np.int32))
    return PsumSamples(
        layer="l",
        steps=(step,),
        blocks=blocks,
        arrays=arrays or ((0, columns),),
        conversions=1,
        place=np.ones(columns),
        scale=np.ones((blocks, columns)),
        zero=np.zeros(columns),
    )


def test_steps_of_the_whole_range_reach_from_the_least_to_the_largest_sum():
    psums = np.array([[0, 10], [7, 12], [14, 40], [3, 11]])
    for bits in (2, 3):
        spec = LinearConverter(bits=bits, method="minmax", granularity="column")
        lsb, zero = fit_linear(samples(psums), spec)
        assert zero.ravel().tolist() == [0, 10]
        assert lsb.ravel() == pytest.approx([14 / (2**bits - 1), 30 / (2**bits - 1)])
    spec = LinearConverter(bits=3, method="minmax", granularity="layer")
    lsb, zero = fit_linear(samples(psums), spec)
    assert set(zero.ravel().tolist()) == {0}
    assert lsb.ravel() == pytest.approx([40 / 7, 40 / 7])


def test_weights_of_groups_that_share_an_array_lie_in_the_row_blocks_of_their_unit():
    """Four groups of 40 rows and 2 outputs on arrays of 128 rows: three groups in the first unit, one in the second; each
    lies in one row block. Groups of 200 rows take two blocks each."""
    macro = cimemu.load_arch("rram_128").macro
    cut = make_cut(4, 40, 2, 1, macro)
    assert cut.block.shape == (8, 40)
    assert (cut.block == 0).all()
    assert cut.array.tolist() == [0] * 6 + [1] * 2
    wide = make_cut(3, 200, 2, 1, macro)
    assert wide.row_starts == (0, 128)
    assert (wide.block[:, :128] == 0).all()
    assert (wide.block[:, 128:] == 1).all()
    assert wide.array.tolist() == [0, 0, 1, 1, 2, 2]


def test_channels_of_several_units_lie_from_the_first_row_of_their_unit_on():
    """Depthwise 3 x 3: 14 channels an array, of 9 rows each, so 32 channels are three units of one row block."""
    cut = make_cut(32, 9, 1, 9, cimemu.load_arch("rram_128").macro)
    assert (cut.block == 0).all()
    assert cut.array.tolist() == [0] * 14 + [1] * 14 + [2] * 4
    assert cut.row_starts == (0,)


def seen(values):
    observer = Observer()
    observer.add(np.asarray(values, dtype=np.float32))
    return observer


def test_a_percentile_leaves_out_the_tails_and_keeps_zero():
    values = np.concatenate([np.linspace(-1, 3, 9801), [-50.0] * 99, [100.0] * 100])
    low, high = seen(values).range("percentile", 98.0, 256, False)
    width = 150 / 1024  # bins grow by whole bins: not more than this
    assert low == pytest.approx(-1, abs=8 * width)
    assert high == pytest.approx(3, abs=8 * width)
    assert low < 0 < high
    assert seen(values).range("minmax", 98.0, 256, False) == (-50, 100)
    assert seen(values).range("minmax", 98.0, 256, True) == (-100, 100)
    only_positive = seen(np.linspace(5, 9, 1001)).range("percentile", 99.9, 256, False)
    assert only_positive[0] == 0.0
    assert only_positive[1] == pytest.approx(9, abs=0.02)


def test_clippings_go_from_the_whole_range_inwards_to_the_median():
    values = np.arange(-4.0, 13.0)
    total = np.zeros(17)
    total[[2, 8, 14]] = [1, 5, 1]  # seen: -2, 4 and 10
    bottoms, tops = clipping_ranges(values, total)
    assert (bottoms < tops).all()
    assert bottoms.min() == -2
    assert bottoms.max() <= 4
    assert tops.min() >= 4
    assert tops.max() == 10
    alone = np.zeros(17)
    alone[5] = 3
    assert [r.tolist() for r in clipping_ranges(values, alone)] == [[1.0], [2.0]]


def test_steps_tried_for_a_converter_cover_what_was_seen():
    total = np.zeros(30)
    total[[3, 9, 21]] = [2, 9, 2]  # psums 13, 19 and 31
    lsbs, zeros = _candidates(total, 10, 3)
    assert zeros.min() == 13
    assert zeros.max() <= 31
    tops = zeros + lsbs * 7
    assert tops.max() == pytest.approx(max(31, tops.max()))
    assert np.isclose(tops, 31).any()
    assert ((zeros == 13) & np.isclose(tops, 31)).any()


def test_edges_themselves_are_suppressed_and_their_neighbours_are_not():
    """A share `EDGE` of the range is left out at each end, a value just on its border included."""
    steps = 4
    values = np.arange(round(steps / EDGE) + 1, dtype=np.float64)
    assert values[-1] * EDGE == steps
    kept = values[interior(values, np.ones((1, len(values))))[0] > 0]
    assert kept.min() == steps + 1
    assert kept.max() == values[-1] - steps - 1


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_best_levels_of_many_values_are_means_of_runs(count):
    """More values than the programme keeps apart: the levels are means of neighbouring bins, and as good as by hand."""
    rng = np.random.default_rng(count)
    centres = 100.0 * np.arange(1, count + 1) ** 2
    v = np.sort(np.concatenate([c + rng.uniform(-1, 1, 2000) for c in centres]))
    levels = _optimal(v, np.ones(len(v)), count)
    assert levels == pytest.approx(centres, abs=5)  # a bin may hold the border of two runs


@pytest.mark.parametrize("seed", range(6))
def test_the_descent_takes_the_best_of_all_steps_and_shifts_tried(seed):
    """One column, so one output: twice in turn, the best of all (step, shift) around the present one."""
    rng = np.random.default_rng(seed)
    psums = rng.integers(-20, 60, (50, 1))
    count, lsb, zero = 8, 11.0, -7.0
    plain = samples(psums)

    def error(step, base):
        codes = np.clip(np.floor((psums - base) / step + 0.5), 0, count - 1)
        return float(((base + codes * step - psums) ** 2).sum())

    found = least_output(plain, [(np.array([[lsb]]), np.array([[zero]]))], np.zeros((1, 1), dtype=np.int64), count)
    for _ in range(SWEEPS):
        tried = [(error(lsb * s, zero + t * lsb), k, lsb * s, zero + t * lsb)
                 for k, (s, t) in enumerate((s, t) for s in (1.0, *STEPS) for t in (0.0, *SHIFTS))]  # fmt: skip
        _, _, lsb, zero = min(tried)
    assert (found[0].item(), found[1].item()) == (lsb, zero)
    assert output_error(plain, *found, count) == pytest.approx(error(lsb, zero))


def test_values_beyond_the_last_bin_belong_to_it():
    """1,024 values of one weight in 512 bins of equal shares: the last bin has the three last values."""
    assert DP_BINS == 512
    levels = _optimal(np.arange(1024.0), np.ones(1024), 512)
    assert levels[-1] == 1022
    assert levels[0] == 0


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (0.0, None), (None, 6.0), (None, None)])
def test_a_clip_that_the_range_of_codes_does_goes(tmp_path, low, high):
    """What a product gives lies in the clip's own range already, so that its codes saturate as the clip does."""
    import onnx
    from onnx import helper, numpy_helper

    model = float_product(WEIGHT)
    ends = []
    for name, value in (("low", low), ("high", high)):
        if value is not None:
            model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
        ends.append(name if value is not None else "")
    model.graph.node[0].output[0] = "h"
    model.graph.node.append(helper.make_node("Clip", ["h", *ends], ["y"]))
    onnx.save(model, tmp_path / "n.onnx")
    network = cimemu.quantize(
        cimemu.load_network(tmp_path / "n.onnx"), cimemu.load_arch("rram_128"), calibration=20 * X
    )
    assert [layer.op for layer in network.layers if "Clip" in layer.op] == []
    y = cimemu.run(cimemu.load_arch("rram_128"), network, 20 * X).outputs
    assert y.max() <= (6.0 if high is not None else np.inf)
    assert y.min() >= (0.0 if low is not None else -np.inf)
