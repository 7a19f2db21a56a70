"""Schemes: from a float network to integers, converters and one file, with the emulator's laws."""

from dataclasses import replace

import float_nets
import numpy as np
import pytest
from amounts import drawn
from hypothesis import strategies as st

import cimemu
from cimemu.adc.base import LIMIT
from cimemu.compare import dequantization
from cimemu.compute.forward import Emulator
from cimemu.compute.psum_samples import lossless_emulator, psum_samples
from cimemu.errors import WorkloadError
from cimemu.layer.requantize import FixedPoint, Fp64HalfAway
from cimemu.macro.references import make_references
from cimemu.ptq.apply import apply_scheme, calibration_samples, macro_of, quantized_weights, with_converters
from cimemu.ptq.binary import binarize
from cimemu.ptq.cut import make_cut
from cimemu.ptq.levels import squared_error
from cimemu.ptq.output_fit import output_error
from cimemu.ptq.placed import placed
from cimemu.ptq.psum_fit import fit_linear, fit_table, histograms
from cimemu.ptq.scheme import LinearConverter, NonlinearConverter, scheme_of

CHIP = {"macro.rows": 20, "macro.columns": 48}
GRANULARITIES = ("layer", "array", "column")


def images(count=8, seed=0):
    return np.random.default_rng(seed).random((count, 3, 5, 4), dtype=np.float32)


def made(scheme, changes=None, chip=None, groups=1):
    arch = cimemu.load_arch("rram_128", {**CHIP, **(chip or {})})
    fitted = apply_scheme(float_nets.residual(groups=groups), arch, images(), scheme_of(scheme, changes))
    return arch, fitted.network


SCHEMES = [
    ("plain", {}, {}),
    ("layer", {"weights.bits": 4, "converter.bits": 4}, {}),
    ("array", {"weights.bits": 4, "converter.bits": 3, "rows": "whole_kernels"}, {"macro.cell.bits": 2}),
    ("column", {"weights.bits": 3, "converter.bits": 1.5}, {}),
    ("column", {"weights.bits": 4, "converter.bits": 1, "digits": "differential"}, {"macro.cell.bits": 2}),
    (
        "column",
        {"weights.bits": 4, "digits": "twos_complement", "weights.method": "output", "converter.method": "output"},
        {},
    ),
    ("columnquant", {}, {"macro.cell.bits": 2}),
    ("array", {"weights.bits": 4, "converter.bits": 3, "rows": "grouped"}, {"macro.cell.bits": 2}),
    ("column", {"weights.bits": 1, "weights.method": "mse", "converter.bits": 1}, {}),
    ("array", {"weights.bits": 1, "weights.method": "output", "converter.bits": 1.5}, {"macro.cell.bits": 4}),
    ("bwma", {}, {}),
    (
        "bwma",
        {"weights.granularity": "column", "weights.method": "exact"},
        {"macro.weight.correction": "reference_column"},
    ),
    ("xnor", {"activations.bits": 1}, {}),
    ("bs_kmq", {"converter.ramp.mismatch": 0.05}, {}),
    ("bs_kmq", {"converter.method": "kmeans_exact", "converter.granularity": "column", "converter.bits": 3}, {}),
]
NESTED_LEVELS = ("linear_mse", "kmeans_exact")  # the other methods stay in local optima: no such law for them


# Every other scheme by default, on layers of one group or three in turn; all in both ways with -m slow.
@pytest.mark.parametrize(
    ("scheme", "changes", "chip", "groups"),
    [
        pytest.param(*scheme, groups, marks=pytest.mark.slow if number % 4 != groups - 1 else ())
        for number, scheme in enumerate(SCHEMES)
        for groups in (1, 3)
    ],
)
def test_every_scheme_gives_the_same_bytes_on_every_path_and_from_its_file(scheme, changes, chip, groups, tmp_path):
    arch, network = made(scheme, changes, chip, groups)
    first = cimemu.run(arch, network, images(2, seed=9), detail="ops")
    slow = cimemu.run(arch, network, images(2, seed=9), path="naive", detail=None)
    threads = cimemu.run(arch, network, images(2, seed=9), path="serial", threads=2, batch=1, detail=None)
    file = cimemu.save_onnx(network, tmp_path / "q.onnx")
    again = cimemu.quantize(cimemu.load_network(file), arch)
    read = cimemu.run(arch, again, images(2, seed=9), detail="ops")
    for other in (slow, threads, read):
        assert first.outputs.tobytes() == other.outputs.tobytes()
    assert (read.cycles, read.energy_uj, read.conversions) == (first.cycles, first.energy_uj, first.conversions)


@pytest.mark.parametrize(("scheme", "changes", "chip"), [s for s in SCHEMES if s[0] != "plain"])
def test_a_lossless_converter_computes_the_real_weights_of_every_scheme(scheme, changes, chip, monkeypatch):
    """acc = sum over row blocks of scale * integers * inputs, to float64's rounding."""
    arch = cimemu.load_arch("rram_128", {**CHIP, **chip})
    weighted, _ = quantized_weights(float_nets.residual(), arch, images(), scheme_of(scheme, changes))
    macro = macro_of(arch, scheme_of(scheme, changes)).model_copy(
        update={"adc": cimemu.Macro.model_fields["adc"].default_factory()}
    )
    emulator = Emulator(weighted, macro, path="serial", adcs={})
    for matrix in emulator.matrices.values():
        layer = matrix.layer
        cut = make_cut(1, layer.geometry.rows_per_group, layer.geometry.channels_out, layer.geometry.kernel_area, macro)
        rng = np.random.default_rng(1)
        shape = (2, *weighted.types[layer.inputs[0]].shape)
        q = rng.integers(0, 2**macro.input.bits, shape).astype(np.uint8)
        strips = []
        monkeypatch.setattr(type(matrix.writer), "write", lambda self, acc, *_, kept=strips: kept.append(acc.copy()))
        matrix.run(q, path="serial", threads=None, budget_bytes=1 << 30)
        outputs = layer.geometry.channels_out
        got = np.concatenate([acc.reshape(2, outputs, -1).transpose(0, 2, 1).reshape(-1, outputs) for acc in strips])
        x = next(matrix.vectors(q)).astype(np.float64) - layer.input_zero_point
        w = layer.weight.reshape(layer.geometry.channels_out, -1).astype(np.float64)
        scale = layer.column_scale
        if scale is not None and scale.slices:
            continue  # digits have factors of their own: test_slices_... below
        if scale is not None:
            factor = scale.scale[:, :: macro.conversions_per_output].T
            w = w * np.take_along_axis(factor, cut.block, axis=1)
            if scale.offset is not None:
                w = w + np.take_along_axis(scale.offset.T, cut.block, axis=1)
        want = x @ w.T + layer.bias
        np.testing.assert_allclose(got, want, atol=1e-9 * max(1.0, np.abs(want).max()))


@pytest.mark.slow
def test_slices_of_their_own_scale_never_make_weights_worse():
    arch = cimemu.load_arch("rram_128", {**CHIP, "macro.cell.bits": 2})
    net = float_nets.residual()
    for granularity in ("layer", "channel", "array", "column"):
        shared = {"weights.granularity": granularity, "weights.slice_scales": False}
        _, without = quantized_weights(net, arch, images(), scheme_of("columnquant", shared))
        made, _ = quantized_weights(net, arch, images(), scheme_of("columnquant", {"weights.granularity": granularity}))
        emulator = Emulator(made, arch.macro, adcs={})
        for name, matrix in emulator.matrices.items():
            real = real_weights(matrix)
            w = float_nets.weights(net)[name]
            base = base_scale(made, matrix.layer)
            error = ((real * base[:, None] - w) ** 2).sum() / (w**2).sum()
            assert error <= without[name] * (1 + 1e-6)


def real_weights(matrix):
    """[N, K] what the cells, scales and corrections of one unit give for an input of one on each row."""
    written = matrix.programmed[0].matrix
    rows = written.layout.rows
    y = matrix.programmed[0].run(np.eye(rows, dtype=np.uint8), path="naive").y
    return y.T


def base_scale(network, layer):
    stage = layer.stage
    q = network.qdq
    x_scale = next(
        q.constants[m.inputs[1]] for m in q.layers if m.op == "DequantizeLinear" and m.inputs[0] == layer.inputs[0]
    )
    if hasattr(stage, "scale"):
        product = stage.scale
    else:
        y_scale = next(
            q.constants[m.inputs[1]]
            for m in q.layers
            if m.op == "QuantizeLinear" and layer.outputs[0].startswith(m.outputs[0].split("_Quant")[0])
        )
        product = stage.multiplier * y_scale
    return np.broadcast_to(product / x_scale, (layer.geometry.channels_out,)).astype(np.float64)


@pytest.mark.parametrize("weights", GRANULARITIES)
@pytest.mark.parametrize("psums", GRANULARITIES)
@pytest.mark.parametrize("own", [False, True])
def test_dequantization_multiplications_are_those_of_the_formula(weights, psums, own):
    changes = {
        "weights.granularity": weights,
        "weights.bits": 4,
        "weights.slice_scales": own,
        "converter.granularity": psums,
        "converter.bits": 3,
    }
    arch, network = made("column", changes, {"macro.cell.bits": 2})
    slices = 2
    counts = cimemu.run(arch, network, images(2), detail=None).counts
    for name, (count, positions) in dequantization(network, arch).items():
        index = next(i for i, layer in enumerate(network.layers) if layer.name == name)
        layer = network.layers[index]
        blocks = -(-layer.geometry.rows_per_group // 20)
        outputs = layer.geometry.channels_out
        if (weights, psums) == ("layer", "layer"):
            want = outputs * (slices if own else 1)
        elif psums == "column" or own:
            want = slices * blocks * outputs
        else:
            want = blocks * outputs
        assert count == want
        counted = counts[:, index, cimemu.events.Counter.SCALE_MULTIPLICATIONS]
        assert (counted == (positions * want if want > outputs else 0)).all()


@pytest.mark.parametrize("bits", [1, 1.5, 3])
def test_a_finer_converter_never_has_a_larger_fitted_error(bits):
    arch = cimemu.load_arch("rram_128", CHIP)
    network, _ = quantized_weights(float_nets.residual(), arch, images(), scheme_of("array", {"weights.bits": 4}))
    for samples in psum_samples(network, arch.macro, images()):
        squared, output = [], []
        for granularity in GRANULARITIES:
            spec = LinearConverter(bits=bits, granularity=granularity)
            lsb, zero = fit_linear(samples, spec)
            squared.append(single_error(samples, lsb, zero, spec.levels))
            output.append(
                output_error(samples, *fit_linear(samples, spec.model_copy(update={"method": "output"})), spec.levels)
            )
        for errors in (squared, output):
            assert errors[0] >= errors[1] * (1 - 1e-9)
            assert errors[1] >= errors[2] * (1 - 1e-9)


def single_error(samples, lsb, zero, count):
    found = histograms(samples, "column")
    codes = np.clip(np.floor((found.values - zero.reshape(-1, 1)) / lsb.reshape(-1, 1) + 0.5), 0, count - 1)
    values = zero.reshape(-1, 1) + codes * lsb.reshape(-1, 1)
    return float((found.weights * (values - found.values) ** 2).sum())


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("method", NESTED_LEVELS)
def test_finer_levels_never_have_a_larger_fitted_error(method, bits):
    arch = cimemu.load_arch("rram_128", CHIP)
    network, _ = quantized_weights(float_nets.residual(), arch, images(), scheme_of("array", {"weights.bits": 4}))
    for samples in psum_samples(network, arch.macro, images()):
        found = histograms(samples, "column")
        errors = []
        for granularity in GRANULARITIES:
            levels = fit_table(samples, NonlinearConverter(bits=bits, granularity=granularity, method=method))
            errors.append(squared_error(found.values, found.weights, levels.reshape(-1, 2**bits)).sum())
        assert errors[0] >= errors[1] * (1 - 1e-9)
        assert errors[1] >= errors[2] * (1 - 1e-9)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("method", ["mse", "output"])
def test_a_finer_weight_scale_never_has_a_larger_fitted_error(method, bits):
    from cimemu.ptq.weight_scales import codes, fit_scales, output_error, real

    rng = np.random.default_rng(3)
    w, x = rng.normal(size=(9, 50)) * rng.uniform(0.2, 3, (9, 1)), rng.normal(size=(200, 50)) ** 2
    macro = cimemu.load_arch("rram_128", {"macro.rows": 20, "macro.columns": 32}).macro
    cut = make_cut(1, 50, 9, 1, macro)
    moments = (x.T @ x / len(x))[None]
    errors = {}
    for granularity in ("layer", "channel", "array", "column"):
        scales = fit_scales(w, cut, bits, granularity, method, moments=moments)
        delta = real(codes(w, scales, cut, bits), scales, cut) - w
        errors[granularity] = (delta**2).sum() if method == "mse" else output_error(delta, moments).sum()
        # one scale a group
        groups = cut.groups(granularity)
        assert all(len(np.unique(scales[groups == g])) == 1 for g in np.unique(groups))
    for fine, coarse in (("array", "layer"), ("channel", "layer"), ("column", "array"), ("column", "channel")):
        assert errors[fine] <= errors[coarse] * (1 + 1e-12)


@pytest.mark.parametrize("method", ["exact", "xnor"])
def test_finer_groups_of_two_levels_never_have_a_larger_error(method):
    """Both are the least squares levels of their group (`xnor` of fixed signs); the closed form's signs move with the mean."""
    rng = np.random.default_rng(4)
    w = rng.normal(0.1, 1, size=(9, 50)) * rng.uniform(0.2, 3, (9, 1))
    cut = make_cut(1, 50, 9, 1, cimemu.load_arch("rram_128", {"macro.rows": 20, "macro.columns": 32}).macro)
    errors = {}
    for granularity in ("layer", "channel", "array", "column"):
        signs, alpha, beta = binarize(w, cut, granularity, method)
        real = signs * np.take_along_axis(alpha, cut.block, 1) + np.take_along_axis(beta, cut.block, 1)
        errors[granularity] = ((real - w) ** 2).sum()
    for fine, coarse in (("array", "layer"), ("channel", "layer"), ("column", "array"), ("column", "channel")):
        assert errors[fine] <= errors[coarse] * (1 + 1e-9)


def test_uniform_weights_of_one_bit_are_xnor_s_where_their_error_is_least():
    """Two levels +-scale in one cell: method `mse` gives the mean magnitude, so the network is the `xnor` scheme's."""
    changes = {"activations.bits": 4, "converter.bits": 4}
    arch, one = made("layer", {"weights.bits": 1, "weights.method": "mse", **changes}, {"macro.cell.bits": 4})
    _, xnor = made("xnor", {"activations.method": "minmax", **changes})
    assert one.overrides["macro.weight"]["encoding"] == "binary"
    x = images(3, 1)
    assert cimemu.run(arch, one, x).outputs.tobytes() == cimemu.run(arch, xnor, x).outputs.tobytes()
    _, wide = made("layer", {"weights.bits": 1, "weights.method": "minmax", **changes})
    assert cimemu.run(arch, wide, x).outputs.tobytes() != cimemu.run(arch, one, x).outputs.tobytes()


@pytest.mark.parametrize(("bits", "count"), [(1, 2), (1.5, 3)])
def test_psums_of_one_bit_and_three_levels_are_neighbours_one_step_apart(bits, count):
    """ColumnQuant's {C, C + 1} and {C - 1, C, C + 1} steps, in every column; the fourth code of three is never reached."""
    scheme = scheme_of("column", {"weights.bits": 4, "converter.bits": bits})
    arch, network = made(scheme)
    emulator = Emulator(network, macro_of(arch, scheme))
    for name, matrix in emulator.matrices.items():
        for unit in matrix.programmed:
            adc = network.converters[name]
            for ramp in make_references(adc, unit.matrix.layout, 4, 0):
                levels, thresholds = ramp.levels[:, :count], ramp.thresholds[:, : count - 1]
                step = np.diff(levels, axis=1)
                assert (step > 0).all()
                np.testing.assert_allclose(step, np.broadcast_to(step[:, :1], step.shape), rtol=1e-9)
                assert (thresholds == np.ceil((levels[:, 1:] + levels[:, :-1]) / 2)).all()
                assert (ramp.thresholds[:, count - 1 :] > LIMIT / 2).all()


@drawn(st.integers(0, 2**31), st.sampled_from(range(len(SCHEMES))), few=8, many=40)
def test_results_depend_on_nothing_but_images_and_network(seed, number):
    arch, network = made(*SCHEMES[number])
    x = images(3, seed)
    whole = cimemu.run(arch, network, x, detail=None).outputs
    parts = [cimemu.run(arch, network, x[i : i + 1], detail=None, threads=2).outputs for i in range(3)]
    assert whole.tobytes() == np.concatenate(parts).tobytes()


@pytest.mark.parametrize(
    "converter",
    [
        pytest.param({"kind": "linear", "bits": 8}, marks=pytest.mark.slow),
        pytest.param({"kind": "nonlinear", "method": "kmeans", "bits": 8}, marks=pytest.mark.slow),
    ],
)
def test_converters_alone_are_fitted_to_a_quantised_network(converter):
    """`weights.kind` given: the integers stay, the fitted converters come near what a lossless one gives."""
    arch = cimemu.load_arch("rram_128", CHIP)
    plain = cimemu.quantize(float_nets.residual(), arch, images())
    scheme = scheme_of({"weights": {"kind": "given"}, "converter": {**converter, "granularity": "column"}})
    fitted = apply_scheme(plain, arch, images(), scheme)
    for before, after in zip(plain.layers, fitted.network.layers):
        if hasattr(before, "weight"):
            assert np.array_equal(before.weight, after.weight)
    assert set(fitted.network.converters) == {"conv1", "conv2", "fc"}
    assert all(layer.weight_error is None and layer.psum_error < 1e-3 for layer in fitted.layers)
    x = images(4, 3)
    exact = cimemu.run(arch, plain, x, detail=None).outputs
    ran = cimemu.run(arch, fitted.network, x, detail=None).outputs
    assert np.abs(ran - exact).max() < 0.1 * np.ptp(exact)
    slow = cimemu.run(arch, fitted.network, x, detail=None, path="naive").outputs
    assert np.array_equal(slow, ran)
    with pytest.raises(cimemu.WorkloadError, match=r"is float, weights.kind = given needs a quantised one"):
        apply_scheme(float_nets.residual(), arch, images(), scheme)
    with pytest.raises(cimemu.WorkloadError, match="leave activations out"):
        scheme_of({"weights": {"kind": "given"}, "activations": {"bits": 4}})


def test_mistakes_in_a_scheme_are_one_line():
    with pytest.raises(cimemu.WorkloadError, match="no such scheme or file; schemes: plain"):
        scheme_of("colum")
    with pytest.raises(cimemu.WorkloadError, match=r"bits = 9, must be 1, 1.5 or 2 .. 8"):
        scheme_of("column", {"converter.bits": 9})
    with pytest.raises(cimemu.WorkloadError, match="must have kind: one of"):
        scheme_of("column", {"weights.kind": "ternary"})
    with pytest.raises(cimemu.WorkloadError, match="leave digits out"):
        scheme_of("bwma", {"digits": "offset"})
    with pytest.raises(cimemu.WorkloadError, match="digits = differential with weights of one bit"):
        scheme_of("column", {"weights.bits": 1, "digits": "differential"})
    with pytest.raises(cimemu.WorkloadError, match=r"bits = 0, must be >= 1"):
        scheme_of("column", {"weights.bits": 0})
    arch = cimemu.load_arch("rram_128", {"macro.cell.bits": 4})
    with pytest.raises(cimemu.WorkloadError, match="slice_scales"):
        apply_scheme(float_nets.residual(), arch, images(), scheme_of("columnquant"))
    with pytest.raises(cimemu.WorkloadError, match="is quantised already"):
        apply_scheme(made("column")[1], arch, images(), scheme_of("column"))


def fixed_point(stage):
    """The same multiplier as a whole number of 31 bits and a shift."""
    fraction, exponent = np.frexp(stage.multiplier.astype(np.float64))
    q31 = np.rint(fraction * 2.0**31).astype(np.int64)
    rest = {name: getattr(stage, name) for name in ("zero_point", "low", "high", "dtype")}
    return FixedPoint(q31=np.atleast_1d(q31), shift=np.atleast_1d(exponent.astype(np.int64)), **rest)


def double(stage):
    rest = {name: getattr(stage, name) for name in ("zero_point", "low", "high", "dtype")}
    return Fp64HalfAway(multiplier=np.atleast_1d(stage.multiplier.astype(np.float64)), **rest)


def test_a_ramp_that_applies_the_activation_sees_only_where_it_lives():
    """One conversion an output: thresholds and levels stay between the psums of the activation's clamp."""
    analog = {"bits": 8, "encoding": "differential", "subtract": "analog", "combine": "analog"}
    chip = {
        "macro.rows": 64,
        "macro.columns": 48,
        "macro.weight": analog,
        "macro.cell.bits": 4,
        "macro.input": {"bits": 8, "dac_bits": 8, "dac": "pulse"},
    }
    arch = cimemu.load_arch("rram_128", chip)
    scheme = scheme_of("bs_kmq", {"converter.source": "activations", "converter.bits": 5, "converter.ramp": None})
    fitted = apply_scheme(float_nets.residual(), arch, images(), scheme)
    assert [layer.folded for layer in fitted.layers] == [True, True, True]
    adc = fitted.network.converters["conv1"]
    emulator = Emulator(fitted.network, arch.macro)
    layer = emulator.matrices["conv1"].layer
    zero = layer.input_zero_point * layer.weight.reshape(6, -1).sum(axis=1) - layer.bias
    multiplier = np.broadcast_to(layer.stage.multiplier, 6)
    lowest = (layer.stage.low - layer.stage.zero_point) / multiplier + zero
    highest = (layer.stage.high - layer.stage.zero_point) / multiplier + zero
    levels = np.array(adc.levels)[0]
    np.testing.assert_allclose(levels[:, 0], lowest, rtol=1e-6)  # pinned: the value 0 behind ReLU
    assert (levels[:, -1] <= highest * (1 + 1e-6)).all()  # the largest activation that was seen
    # a ReLU's 0 is exact: wherever the exact layer gives its zero point, the ramp gives it too
    exact = lossless_emulator(fitted.network, arch.macro)
    x = images(4, 7)
    q = cimemu.run(arch, fitted.network, x, detail=None)
    slow = cimemu.run(arch, fitted.network, x, detail=None, path="naive")
    assert q.outputs.tobytes() == slow.outputs.tobytes()
    a = exact.run([x], keep=frozenset([layer.outputs[0]])).tensors[layer.outputs[0]]
    b = emulator.run([x], keep=frozenset([layer.outputs[0]])).tensors[layer.outputs[0]]
    assert (a == layer.stage.low).any()
    assert (b[a == layer.stage.low] == layer.stage.low).all()
    # so it is behind the output stages of integer files, which multiply by a fixed-point number or by a double
    for stage in (fixed_point(layer.stage), double(layer.stage)):
        network = replace(
            fitted.network,
            converters={},
            layers=tuple(replace(one, stage=stage) if one.name == "conv1" else one for one in fitted.network.layers),
        )
        again = with_converters(
            network, arch, placed(scheme, network), *calibration_samples(network, arch, scheme, images()), {}
        )
        assert [one.folded for one in again.layers] == [True, True, True]
        np.testing.assert_allclose(again.network.converters["conv1"].thresholds, adc.thresholds, rtol=1e-6, atol=1e-6)
    # with several conversions an output a psum is no activation: nothing is folded there, and the fit says so
    small = cimemu.load_arch("rram_128", {**chip, "macro.rows": 20})
    layers = apply_scheme(float_nets.residual(), small, images(), scheme).layers
    assert [layer.folded for layer in layers] == [False, False, True]


@pytest.mark.parametrize("changes", [{"weights.kind": "binary"}, {"weights.bits": 1}])
def test_weights_of_one_bit_are_refused_on_columns_that_are_stored_inverted(changes):
    arch = cimemu.load_arch("isaac", {"macro.weight.column_flipping": True})
    scheme = scheme_of("layer", changes)
    with pytest.raises(
        WorkloadError, match=r"^scheme layer: weights of one bit on macro\.weight\.column_flipping = true[^\n]*$"
    ):
        scheme.overrides(arch.macro)
    plain = cimemu.load_arch("isaac").macro
    assert scheme.overrides(plain)["macro.weight"]["encoding"] == "binary"
