"""The training forward is the differentiable twin of the chip: the same values up to rounding, and known gradients."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from morph_nets import tiny_resnet  # noqa: E402

import cimemu  # noqa: E402
from cimemu.adapt.cell_draws import CellDraws  # noqa: E402
from cimemu.adapt.codes import codes_of, smooth_codes  # noqa: E402
from cimemu.adapt.convert import convert  # noqa: E402
from cimemu.adapt.digits import seen_by_converters  # noqa: E402
from cimemu.adapt.exact import compare_with_emulator  # noqa: E402
from cimemu.adapt.weights import Groups, binary  # noqa: E402
from cimemu.adapt.wiring import ParityWiring, Wiring  # noqa: E402
from cimemu.arch.macro import Macro  # noqa: E402
from cimemu.errors import WorkloadError  # noqa: E402
from cimemu.layer.macro_layer import Geometry  # noqa: E402
from cimemu.macro.encode import columns_of  # noqa: E402
from cimemu.mapping.layout import make_layout  # noqa: E402
from cimemu.ptq.binary import binarize  # noqa: E402
from cimemu.ptq.cut import make_cut  # noqa: E402
from cimemu.ptq.scheme import BinaryWeights, scheme_of  # noqa: E402

CHIP = {"macro.rows": 40, "macro.columns": 32, "macro.cell.bits": 2, "macro.input.dac_bits": 4}
IDEAL = {"macro.adc": {"model": "ideal"}}
REFERENCE = {"macro.weight.correction": "reference_column"}
STEPS = {"macro.adc": {"model": "linear", "bits": 10, "lsb": 3}}
CUTS = [20 * k + 7.5 for k in range(127)]
TABLE = {"macro.adc": {"model": "nonlinear", "bits": 7, "thresholds": CUTS, "levels": [20 * k for k in range(128)]}}


def held(bits, overflow):
    return {"macro.accumulator_bits": bits, "macro.accumulator_overflow": overflow}


W4 = {"weights.bits": 4, "activations.bits": 4}
CASES = {
    "layer": ("layer", W4, {}),
    "array": ("array", W4, {}),
    "column": ("column", {**W4, "converter.bits": 3}, {}),
    "one_bit_psums": ("column", {**W4, "converter.bits": 1}, {}),
    "three_levels": ("column", {**W4, "converter.bits": 1.5}, {}),
    "bit_serial": ("column", W4, {"macro.input.dac_bits": 1}),
    "raised_groups": ("column", W4, {"macro.active_rows": 16}),
    "differential": ("column", {**W4, "digits": "differential"}, {}),
    "twos_complement": ("column", {**W4, "digits": "twos_complement"}, {"macro.cell.bits": 1}),
    "slice_scales": ("columnquant", {}, {}),
    "slice_scales_ideal": ("columnquant", {"converter.kind": "arch"}, IDEAL),
    "ideal": ("column", {**W4, "converter.kind": "arch"}, IDEAL),
    "reference_column": ("layer", {**W4, "converter.bits": 6}, REFERENCE),
    "binary": ("bwma", {}, {}),
    "binary_columns": ("bwma", {"weights.granularity": "column"}, {}),
    "binary_reference_column": ("bwma", {"converter.bits": 4}, {**REFERENCE, "macro.input.dac_bits": 1}),
    "xnor": ("xnor", {}, {}),
    "nonlinear": ("bs_kmq", {**W4, "converter.bits": 3, "converter.granularity": "column"}, {}),
    "saturating": ("layer", {**W4, "converter.kind": "arch"}, {**STEPS, **held(12, "saturate")}),
    "wrapping": ("layer", {**W4, "converter.kind": "arch"}, {**STEPS, **held(12, "wrap")}),
    "wide_accumulator": ("layer", {**W4, "converter.kind": "arch"}, {**STEPS, **held(24, "error")}),
    "saturating_ideal": (
        "layer",
        {**W4, "converter.kind": "arch"},
        {**IDEAL, **held(12, "saturate"), "macro.active_rows": 16},
    ),
    "saturating_table": ("layer", {**W4, "converter.kind": "arch"}, {**TABLE, **held(12, "saturate"), **REFERENCE}),
    "saturating_pairs": (
        "layer",
        {**W4, "digits": "differential", "converter.kind": "arch"},
        {**STEPS, **held(8, "saturate"), "macro.input.dac_bits": 1, "macro.timing.skip_zero_slices": True},
    ),
}
HELD = [name for name, (_, _, chip) in CASES.items() if "macro.accumulator_bits" in chip]


@pytest.fixture(scope="module")
def network():
    return tiny_resnet(widths=(6, 8), blocks=1)


def adapted(network, images, case, **options):
    scheme, changes, chip = CASES[case]
    arch = cimemu.load_arch("rram_128", {**CHIP, **chip})
    return convert(network, arch, scheme_of(scheme, changes), calibration=images, **options)


def frozen(module):
    """Training mode, without batch statistics."""
    module.train()
    for macro in module.macros:
        if macro.norm is not None:
            macro.norm.eval()
    return module


@pytest.mark.parametrize("case", CASES)
def test_training_computes_what_the_chip_does(case, network, tiny_train):
    """Layer by layer on the chip's own codes: real outputs, seen from output codes, are rounded and nothing else.

    The pre-processed images are signed, so that the first layer's zero point is not 0.
    """
    images = tiny_train.inputs(slice(0, 12))
    module = frozen(adapted(network, images, case))
    calls, inside = {}, {}
    hooks = [
        macro.register_forward_hook(lambda m, given, out, name=name: calls.__setitem__(name, given))
        for name, macro in zip(module.macro_names, module.macros)
    ]
    with torch.no_grad():
        module.traced(torch.from_numpy(images))
    for hook in hooks:
        hook.remove()
    module.eval().chip().run(images, lambda name, found: inside.setdefault(name, []).append(found))
    frozen(module)
    assert any(zero != 0 for _, _, zero in calls.values())
    for name, macro in zip(module.macro_names, module.macros):
        u, step, zero = calls[name]
        codes = np.concatenate([found.inputs for found in inside[name]]).astype(np.float32) + macro.drive_offset
        with torch.no_grad():
            real = macro(torch.from_numpy(codes).reshape(u.shape), step, zero).numpy().ravel()
        out = np.concatenate([found.output for found in inside[name]]).astype(np.float64).ravel()
        within = (out > out.min()) & (out < out.max())
        assert within.sum() >= 12, name
        slope, start = np.polyfit(real[within], out[within], 1)
        error = np.abs(slope * real[within] + start - out[within])
        assert slope > 0
        # half a code of rounding; a few psums lie on a threshold, where float32 and the chip's float64 may part
        assert np.quantile(error, 0.97) < 0.75, name  # 0.5 and what the fitted line adds


@pytest.mark.parametrize("case", HELD)
def test_a_chip_with_a_narrow_accumulator_is_trained_as_one(case, network, tiny_train):
    """Inference is the emulator's to the integer, and the accumulator matters: without it both give something else."""
    images = tiny_train.inputs(slice(0, 12))
    scheme, changes, chip = CASES[case]
    module = frozen(adapted(network, images, case))
    free = {key: value for key, value in chip.items() if not key.startswith("macro.accumulator")}
    arch = cimemu.load_arch("rram_128", {**CHIP, **free})
    wide = frozen(convert(network, arch, scheme_of(scheme, changes), calibration=images))
    with torch.no_grad():
        pair = [m.traced(torch.from_numpy(images)) for m in (module, wide)]
    overflows = case != "wide_accumulator"
    assert torch.equal(*pair) != overflows
    assert any(m._holds() for m in module.macros) == overflows
    module.eval()
    assert sum(row.differ for row in compare_with_emulator(module, images)) == 0
    module.train()
    module(torch.from_numpy(images)).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_an_overflow_that_ends_a_run_ends_training(network, tiny_train):
    images = tiny_train.inputs(slice(0, 12))
    chip = {**CHIP, **STEPS, **held(24, "error")}
    module = convert(
        network, cimemu.load_arch("rram_128", chip), scheme_of("layer", CASES["wrapping"][1]), calibration=images
    )
    for macro in module.macros:
        macro.macro = macro.macro.model_copy(update={"accumulator_bits": 5})
    with pytest.raises(
        WorkloadError, match=r"training: a running sum is .*, must be -16 \.\. 15 \(macro\.accumulator_bits = 5\)"
    ):
        module.train()(torch.from_numpy(images))


@pytest.mark.parametrize(
    ("scheme", "changes", "message"),
    [
        ("layer", W4, "converter.kind = linear"),
        ("columnquant", {"converter.kind": "arch"}, "column scales"),
        ("bs_kmq", {**W4, "converter.bits": 3}, "levels that are not integers"),
    ],
)
def test_what_an_accumulator_cannot_hold_is_refused_before_training(network, tiny_train, scheme, changes, message):
    arch = cimemu.load_arch("rram_128", {**CHIP, **STEPS, **held(20, "saturate")})
    with pytest.raises(cimemu.CimemuError, match=message):
        convert(network, arch, scheme_of(scheme, changes), calibration=tiny_train.inputs(slice(0, 12)))


def test_gradients_of_running_sums():
    from cimemu.adapt.held import hold

    macro = Macro.model_validate(
        {
            "rows": 4,
            "columns": 8,
            "weight": {"bits": 2},
            "input": {"bits": 2},
            **{key.removeprefix("macro."): value for key, value in held(4, "saturate").items()},
        }
    )
    sums = torch.tensor([-20.0, -8.0, 3.0, 7.0, 9.0], dtype=torch.float64, requires_grad=True)
    made = hold(sums, macro)
    made.sum().backward()
    assert made.tolist() == [-8, -8, 3, 7, 7]
    assert sums.grad.tolist() == [0, 1, 1, 1, 0]
    sums.grad = None
    made = hold(sums, macro.model_copy(update={"accumulator_overflow": "wrap"}))
    made.sum().backward()
    assert made.tolist() == [-4, -8, 3, 7, -7]
    assert sums.grad.tolist() == [1] * 5


@pytest.mark.parametrize("case", ["ideal", "column", "binary"])
def test_varied_cells_reach_the_forward_of_every_converter(case, network, tiny_train):
    images = tiny_train.inputs(slice(0, 16))
    module = frozen(adapted(network, images, case))
    x = torch.from_numpy(images)
    with torch.no_grad():
        plain = module.traced(x)
        module.vary(("lognormal:sigma=0",), seed=1)
        module.begin_step(0, 0.0)
        same = module.traced(x)
        module.vary(("lognormal:sigma=0.3",), seed=1)
        module.begin_step(0, 0.0)
        first = module.traced(x)
        module.begin_step(1, 0.0)
        second = module.traced(x)
        module.vary(("thermal:amplifier=0.7",), seed=1)
        module.begin_step(0, 0.0)
        noisy, again = module.traced(x), module.traced(x)
        module.begin_step(1, 0.0)
        others = module.traced(x)
    assert torch.equal(plain, same)
    assert not torch.equal(plain, first)
    assert not torch.equal(first, second)
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy, plain)
    assert not torch.equal(noisy, others)


@pytest.mark.parametrize("case", ["ideal", "column", "binary", "reference_column"])
def test_noise_of_reads_has_the_spread_of_stress(case, network, tiny_train):
    """Converters of many levels let noise through: outputs spread as much as the emulator's do on noisy chips."""
    fine = {"ideal": {}, "binary": {"converter.bits": 8}}.get(case, {"converter.bits": 8})
    scheme, changes, chip = CASES[case]
    arch = cimemu.load_arch("rram_128", {**CHIP, **chip})
    made = convert(network, arch, scheme_of(scheme, {**changes, **fine}), calibration=tiny_train.inputs(slice(0, 16)))
    module, macro = frozen(made), made.macros[1]
    macro.norm, macro.bias = None, torch.nn.Parameter(torch.zeros(macro.outputs))
    if macro.converter == "learned":
        macro.psum_scale.data *= 3  # nothing clips
    g, draws = macro.geometry, torch.Generator().manual_seed(0)
    u = torch.randint(
        0, 2**macro.macro.input.bits, (16, g.channels_in, g.height_in, g.width_in), generator=draws
    ).float()
    written = macro.written()
    integers = written.integers.detach().to(torch.int64).numpy().T.copy()
    with torch.no_grad():
        ideal = macro(u, torch.tensor(1.0), 0.0)
        module.vary(("thermal:celsius=-273.15,amplifier=2.5",), seed=1)
        module.begin_step(0, 0.0)
        error = macro(u, torch.tensor(1.0), 0.0) - ideal
    spread = CellDraws(("thermal:celsius=-273.15,amplifier=2.5",), made.chosen, seed=1, first_macro=0).drawn(
        integers, g.kernel_area, 0
    )[1]
    assert spread == pytest.approx(2.5 * np.sqrt(2 if macro.macro.weight.subtract == "analog" else 1), rel=0.01)
    unit = 2.0 if macro.macro.weight.encoding == "binary" else 1.0
    factor = macro.factors(written.scale)[0].detach().numpy()
    places = sum(place**2 for place in macro.input_places)
    wanted = unit * 2.5 * np.sqrt((factor**2).sum(axis=(0, 2)) * places)  # [N]
    if case == "reference_column":  # its own read, 2^(b-1) times, is common to all outputs
        wanted = np.sqrt(
            wanted**2 + (8 * 2.5) ** 2 * places * (macro.factors(written.scale)[1].detach().numpy() ** 2).sum(axis=0)
        )
    assert error.std(dim=(0, 2, 3)).numpy() == pytest.approx(wanted, rel=0.25)


@pytest.mark.parametrize("case", ["ideal", "column", "reference_column", "binary", "saturating_table"])
def test_skipped_steps_read_nothing_and_teach_nothing(case, network, tiny_train):
    """No noise, no level of 0 and no gradient of a step that `timing.skip_zero_slices` leaves out."""
    scheme, changes, chip = CASES[case]
    arch = cimemu.load_arch("rram_128", {**CHIP, **chip, "macro.timing.skip_zero_slices": True})
    module = frozen(convert(network, arch, scheme_of(scheme, changes), calibration=tiny_train.inputs(slice(0, 12))))
    macro = module.macros[1]
    macro.norm, macro.bias = None, torch.nn.Parameter(torch.zeros(macro.outputs))
    if macro.converter == "learned":
        macro.psum_zero_step.data += 3.3  # no level is 0
    if macro.converter == "table":
        macro.levels += 3
    module.vary(("thermal:celsius=-273.15,amplifier=2.5",), seed=1)
    module.begin_step(0, 0.0)
    g = macro.geometry
    u = torch.zeros(3, g.channels_in, g.height_in, g.width_in)
    u[2, :, 2, 2] = 1
    y = macro(u, torch.tensor(1.0), 0.0)
    assert y[:2].abs().max() < 1e-3 * y[2].abs().max()  # float32 takes off what it added
    if macro.converter == "learned":
        y[:2].sum().backward()
        taught = macro.psum_zero_step.grad.abs().max()
        macro.macro = macro.macro.model_copy(
            update={"timing": macro.macro.timing.model_copy(update={"skip_zero_slices": False})}
        )
        macro.psum_zero_step.grad, macro.reads = None, None
        macro(u, torch.tensor(1.0), 0.0)[:2].sum().backward()
        assert taught < 1e-4 * macro.psum_zero_step.grad.abs().max()


def test_gradients_reach_every_parameter(network, tiny_train):
    images = tiny_train.inputs(slice(0, 16))
    for case in ("column", "slice_scales", "reference_column", "binary", "nonlinear"):
        module = adapted(network, images, case).train()
        module.vary(("lognormal:sigma=0.1",), seed=0)
        module.begin_step(0, 0.0)
        module(torch.from_numpy(images)).square().mean().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, (case, name)
            assert torch.isfinite(parameter.grad).all(), (case, name)
        assert all(macro.weight.grad.abs().max() > 0 for macro in module.macros)


GEOMETRY = Geometry(
    channels_in=10,
    height_in=5,
    width_in=4,
    height_out=3,
    width_out=2,
    channels_out=7,
    kernel_h=3,
    kernel_w=3,
    pad_top=0,
    pad_left=0,
    pad_bottom=0,
    pad_right=0,
)


def macro(rows="dense", **changes):
    tree = {"rows": 40, "columns": 16, "mapping": {"rows": rows}, "weight": {"bits": 4}, "input": {"bits": 4}}
    return Macro.model_validate({**tree, "cell": {"bits": 2}, **changes})


@pytest.mark.parametrize("rows", ["dense", "whole_kernels", "grouped"])
@pytest.mark.parametrize("active_rows", [40, 16])
def test_grouped_convolution_is_a_loop_over_arrays(rows, active_rows):
    chip = macro(rows, active_rows=active_rows)
    wiring = Wiring(GEOMETRY, chip).double()
    rng = np.random.default_rng(0)
    seen = torch.from_numpy(rng.integers(-8, 8, (14, 90)).astype(float))
    u = torch.from_numpy(rng.integers(0, 16, (2, 10, 5, 4)).astype(float))
    found = wiring.psums(u, wiring.filters(seen)).unflatten(1, (wiring.groups, 14))
    windows = torch.nn.functional.unfold(u, 3)  # [images, 90, positions]
    spans = make_layout(90, 7, chip, 9).group_spans
    assert len(spans) == wiring.groups > 1
    assert wiring.whole == (rows != "dense" and active_rows == 40)
    sums = wiring.input_sums(u).flatten(2)
    for g, (_, first, last) in enumerate(spans):
        wanted = torch.einsum("ck,bkp->bcp", seen[:, first:last], windows[:, first:last])
        assert torch.equal(found[:, g].flatten(2), wanted)
        assert torch.equal(sums[:, g], windows[:, first:last].sum(dim=1))


def test_any_module_is_converted_and_exact(tiny_train):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 6, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(6, 3),
    )
    images = tiny_train.inputs(slice(0, 8))
    model(torch.from_numpy(images))  # moves the running statistics
    module = adapted(model, images, "column")
    assert model.training
    assert [type(layer).__name__ for layer in module.source.layers if layer.name in module.macro_names][-1] == "Gemm"
    rows = compare_with_emulator(module, images)
    assert len(rows) == 3
    assert sum(row.differ for row in rows) == 0


def test_functions_are_not_hidden_by_modules_of_their_names():
    import cimemu.adapt
    import cimemu.adapt.export

    assert cimemu.adapt.convert is convert
    assert callable(cimemu.adapt.export)


def test_an_array_sees_its_own_channels_and_in_parity_all():
    """What public code does (papers.md, read in the code): one channel moves all arrays; a chip's moves its own."""
    u = torch.ones(1, 10, 5, 4)
    other = u.clone()
    other[:, 9] += 1
    for kind, wanted in ((Wiring, [False, False, True]), (ParityWiring, [True, True, True])):
        wiring = kind(GEOMETRY, macro("whole_kernels"))
        seen = torch.ones(7 * (1 if kind is Wiring else 3), 90)
        filters = wiring.filters(seen)
        moved = (wiring.psums(u, filters) != wiring.psums(other, filters)).reshape(3, -1).any(dim=1)
        assert moved.tolist() == wanted


@pytest.mark.parametrize(
    "weight",
    [
        {"bits": 5},
        {"bits": 5, "encoding": "differential"},
        {"bits": 5, "encoding": "differential", "subtract": "analog"},
        {"bits": 4, "encoding": "twos_complement"},
        {"bits": 5, "combine": "analog"},
        {"bits": 1, "encoding": "binary"},
    ],
)
def test_the_recombined_integer_has_slope_one(weight):
    cell = 1 if weight.get("encoding") in ("twos_complement", "binary") else 2
    chip = macro(weight=weight, cell={"bits": cell}, columns=32)
    top = 2 ** (weight["bits"] - 1) - 1
    values = [-1.0, 1.0] if weight["bits"] == 1 else [float(v) for v in range(-top, top + 1)]
    place = torch.tensor(columns_of(chip).weight, dtype=torch.float32)
    unit = 2.0 if weight["bits"] == 1 else 1.0  # B = 2 t - 1
    for gradient in ("proper", "public"):
        w = torch.tensor([values], requires_grad=True)
        seen = seen_by_converters(w, chip, gradient).digits
        back = unit * torch.einsum("nvk,v->nk", seen, place)
        offset = {"offset": 2 ** (weight["bits"] - 1), "binary": 1}.get(chip.weight.encoding, 0)
        assert torch.equal(back.detach() - offset, w.detach())
        back.sum().backward()
        assert w.grad.flatten().tolist() == pytest.approx([1.0] * len(values))


@pytest.mark.parametrize("method", ["closed_form", "centred", "xnor"])
@pytest.mark.parametrize("granularity", ["layer", "channel", "array", "column"])
def test_binary_weights_are_those_of_the_closed_form(method, granularity):
    rng = np.random.default_rng(3)
    w = rng.normal(0.1, 1, (7, 90)).astype(np.float32)
    cut = make_cut(1, 90, 7, 9, macro(weight={"bits": 1, "encoding": "binary"}, cell={"bits": 1}))
    rule = BinaryWeights(granularity=granularity, method=method)
    signs, alpha, beta = binarize(w.astype(np.float64), cut, granularity, method)
    latent = torch.from_numpy(w).requires_grad_()
    made = binary(latent, Groups(cut, granularity), rule)
    assert (made.integers.detach().numpy() == signs).all()
    assert made.scale.detach().numpy() == pytest.approx(alpha, rel=1e-4)
    offset = np.zeros_like(beta) if made.offset is None else made.offset.detach().numpy()
    assert offset == pytest.approx(beta, rel=1e-3, abs=1e-5)
    (made.integers * made.scale[:, :1]).sum().backward()
    assert (latent.grad != 0).any()


@pytest.mark.parametrize("sharpness", [2.0, 5.0, 10.0])
@pytest.mark.parametrize("top", [1, 3, 15])
def test_smooth_activations_have_the_slope_of_their_tanh_steps(sharpness, top):
    z = torch.linspace(-0.9, top + 0.9, 401, requires_grad=True)
    step = torch.tensor(1.0, requires_grad=True)
    made = smooth_codes(z, step, top, sharpness)
    assert torch.equal(made.detach(), z.detach().round().clamp(0, top))
    made.sum().backward()
    smooth = z.detach().double().requires_grad_()
    sum(0.5 * (1 + torch.tanh(sharpness * (smooth - i + 0.5))) for i in range(1, top + 1)).sum().backward()
    assert z.grad.numpy() == pytest.approx(
        smooth.grad.numpy(), rel=1e-4, abs=1e-6 + 2 * sharpness / np.cosh(2.5 * sharpness) ** 2
    )
    hard = torch.tensor(1.0, requires_grad=True)
    codes_of(z.detach(), hard, 0, 0, top).sum().backward()
    assert float(step.grad) == pytest.approx(float(hard.grad), rel=1e-3)  # the step's is LSQ's


def test_parity_has_weights_of_its_own_in_every_array_and_no_cells(network, tiny_train):
    images = tiny_train.inputs(slice(0, 16))
    module = adapted(network, images, "column", code_parity=True)
    for macro in module.macros:
        assert len(macro.weight) == macro.outputs * len(macro.wiring.block_of)
    with pytest.raises(WorkloadError, match="vary with code_parity"):
        module.vary(("lognormal:sigma=0.1",), 0)
    with pytest.raises(WorkloadError, match=r"code_parity with weight\.correction = reference_column"):
        adapted(network, images, "reference_column", code_parity=True)


@pytest.mark.parametrize("parity", [False, True])
def test_columns_of_arrays_and_slices_meet_their_own_steps(parity, network, tiny_train):
    """The definition, one convolution an array and slice, with steps and weights that all differ."""
    module = adapted(network, tiny_train.inputs(slice(0, 16)), "differential", code_parity=parity)
    macro = max(module.macros, key=lambda m: len(m.wiring.block_of))
    g, draws = macro.geometry, torch.Generator().manual_seed(0)
    arrays = len(macro.wiring.block_of)
    assert arrays > 1
    assert macro.conversions > 1
    for learned in (macro.weight, macro.psum_scale, macro.psum_zero_step):
        learned.data *= 0.5 + torch.rand(learned.shape, generator=draws)
    macro.norm = torch.nn.Identity()
    u = torch.randint(0, 16, (2, g.channels_in, g.height_in, g.width_in), generator=draws).float()
    with torch.no_grad():
        made = macro.train()(u, torch.tensor(1.0), 0.0)
        written = macro.written()
        seen = seen_by_converters(written.integers, macro.macro, "proper").digits
        lsb, zero = macro.learned_steps()
        block = torch.as_tensor(macro.wiring.cut.block)
        padded = torch.nn.functional.pad(u, (g.pad_left, g.pad_right, g.pad_top, g.pad_bottom))
        wanted = torch.zeros_like(made)
        for a, row_block in enumerate(macro.wiring.block_of.tolist()):
            rows = slice(a * macro.outputs, (a + 1) * macro.outputs) if parity else slice(None)
            mine = 1.0 if parity else (block == row_block).float()[rows]
            for v, place in enumerate(macro.place.tolist()):
                kernel = (seen[rows, v] * mine).reshape(-1, g.channels_in, g.kernel_h, g.kernel_w)
                psums = torch.nn.functional.conv2d(padded, kernel, None, *macro.wiring.window)
                column = torch.arange(macro.outputs) * macro.conversions + v
                step, base = (t[row_block][column][:, None, None] for t in (lsb, zero))
                code = torch.floor((psums - base) * (1 / step) + 0.5).clamp(0, macro.top)
                scale = written.scale[rows, 0 if parity else row_block][:, None, None]
                wanted += place * scale * (base + step * code)
    assert torch.allclose(made, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def test_a_step_that_one_gradient_drives_below_zero_comes_back():
    from cimemu.adapt.adapted import ActivationStep

    activation = ActivationStep(0.2, 0, 0, 15, None, smooth=False)
    activation.scale.data.fill_(-3.0)
    assert float(activation.step().detach()) == pytest.approx(0.2 / 16)
    activation.scale.data.clamp_(min=activation.smallest)  # as every step of training begins
    step = activation.step()
    activation(torch.full((4,), 1.0), step).sum().mul(step).backward()
    assert float(activation.scale.grad) > 0
