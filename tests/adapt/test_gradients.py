"""Gradients of every learned parameter: those of finite differences, and no others for cells that hardly vary."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from morph_nets import tiny_resnet  # noqa: E402
from test_training_forward import CASES, adapted  # noqa: E402

from cimemu.adapt.codes import codes_of  # noqa: E402
from cimemu.adapt.digits import seen_by_converters  # noqa: E402
from cimemu.adapt.rounding import SMALLEST_SHARE, bounded  # noqa: E402
from cimemu.ptq.weight_scales import largest_code  # noqa: E402

HARDLY = {  # every model that training draws, as weak as it can be and still move a cell, or nearly none
    "lognormal": "lognormal:sigma=0.0001",
    "normal": "normal:absolute=0.0001",
    "relative": "normal:relative=0.0001",
    "level_spread": {"model": "level_spread", "sigma": None},
    "write_verify": "write_verify:sigma=0.0001",
    "stuck_at": "stuck_at:sa0=1e-7,sa1=1e-7",
    "on_off": "on_off:ratio=10000",
    "drift": "drift:seconds=20.01,nu_sigma=0.05",
    "temperature": "temperature:celsius=25.05",
    "ir_drop": "ir_drop:segment_ohm=0.001",
    "driver": "driver:gain=0.0001",
}
WIDE = {"plain8": ("column", {}, {}), "plain8_layer": ("layer", {}, {})}  # bit-serial, 8 slices of either kind
MOST = 1000  # relative gradient of a step over that of the weights, which LSQ wants near 1
STEPS = ("weight_scale", "slice_scale", "psum_scale", "psum_zero_step")


@pytest.fixture(scope="module")
def network():
    return tiny_resnet(widths=(6, 8), blocks=1)


def made(network, images, case):
    """A module in training mode, its converters' steps off the grid of integers: no psum lies on a threshold."""
    module = adapted(network, images, case).train()
    draws = torch.Generator().manual_seed(0)
    for macro in module.macros:
        if macro.converter == "learned":
            macro.psum_scale.data *= 1 + 0.1 * torch.rand(macro.psum_scale.shape, generator=draws)
            macro.psum_zero_step.data += 0.3 * torch.rand(macro.psum_scale.shape, generator=draws)
    return module


def thinned(cases, others, few, every=1):
    """Pairs of the two: the few, and as slow tests one of `every` others with each case, in turn."""
    pairs = [(c, o) for i, c in enumerate(cases) for j, o in enumerate(others) if (c, o) in few or (i + j) % every == 0]
    return [pytest.param(*pair, marks=() if pair in few else pytest.mark.slow) for pair in pairs]


@pytest.fixture(scope="module")
def converted(network, tiny_train):
    """The module of a case, made once; each test has a copy."""
    kept = {}

    def of(case, make):
        if (case, make) not in kept:
            kept[case, make] = make(network, tiny_train.inputs(slice(0, 16)), case)
        return copy.deepcopy(kept[case, make])

    return of


class Surrogate:
    """One macro layer in float64 with the error of every rounding held: what gradients straight through are those of."""

    def __init__(self, macro, x, step, low, high):
        self.macro, self.x, self.limits = macro, x.double(), (low, high)
        self.held, self.first = {}, True
        self.start = {
            name: p.detach().double().clone() for name, p in macro.named_parameters() if name in (*STEPS, "weight")
        }
        self.start["step"] = step.detach().double()
        self(self.start)
        self.first = False

    def rounded(self, name, value, low, high, half_up=False):
        """Rounded and clamped; later the error of the first time is added, and what was clamped stays.

        Codes and weights are clamped first (LSQ), psums rounded first.
        """
        if self.first:
            nearest = torch.floor(value + 0.5) if half_up else torch.round(value)
            clamped = (
                nearest if half_up else value.float()
            )  # the largest weight of a column lies on the bound to a float32's bit
            self.held[name] = nearest - value, (clamped >= low) & (clamped <= high), nearest.clamp(low, high)
        error, inside, end = self.held[name]
        return torch.where(inside, value + error, end)

    def __call__(self, given):
        """[images, outputs, height, width]."""
        macro, g = self.macro, self.macro.geometry
        step = given["step"]
        u = self.rounded("codes", self.x / step, *self.limits)
        u = torch.nn.functional.pad(u, (g.pad_left, g.pad_right, g.pad_top, g.pad_bottom))
        top = largest_code(macro.scheme.weight_rule.bits)
        of_weight = given["weight_scale"][macro.groups.by_weight]
        w = self.rounded("weights", given["weight"] / of_weight, -top, top)
        if self.first:
            self.held["digits"] = seen_by_converters(w.float(), macro.macro, "proper"), w
            self.held["parts"] = macro._input_slices(u.float()), u
        seen, w0 = self.held["digits"]
        place = macro.place.double()
        # a weight's conversions share it; with pairs that are converted one by one, those of its own side
        share = seen.slopes
        if share is None:
            mine = torch.where(place[None, :, None] > 0, (w0 >= 0)[:, None], (w0 < 0)[:, None]).double()
            slope = mine / (place[None, :, None] * (len(place) / 2))
        else:
            slope = torch.tensor(share, dtype=torch.float64)[None, :, None]
        digits = seen.digits.detach().double() + slope * (w - w0)[:, None]
        if macro.deviation is not None:
            digits = digits + macro.deviation.double()
        parts, u0 = self.held["parts"]
        scale = given["weight_scale"][macro.groups.by_block] * step  # [N, row blocks]
        factors = torch.ones(macro.groups.count, macro.conversions, dtype=torch.float64)
        if "slice_scale" in given:
            factors = given["slice_scale"]
        lsb, zero = (given[name][macro.psum_group] for name in ("psum_scale", "psum_zero_step"))
        total = 0.0
        for i, input_place in enumerate(macro.input_places):
            part = parts[i].detach().double() + (u - u0) / (input_place * len(parts))
            columns = digits.transpose(0, 1).flatten(0, 1)  # [conversions * N, K]
            psums = macro.wiring.double().psums(part, macro.wiring.filters(columns))
            psums = psums.unflatten(1, (macro.wiring.groups, macro.conversions, macro.outputs))
            macro.wiring.float()
            for group, block in enumerate(macro.wiring.block_of.tolist()):
                for v in range(macro.conversions):
                    column = torch.arange(macro.outputs) * macro.conversions + v
                    mine = lsb[block][column][:, None, None], zero[block][column][:, None, None]
                    there = (psums[:, group, v] - mine[1]) / mine[0]
                    code = self.rounded((i, group, v), there, 0, macro.top, half_up=True)
                    factor = scale[:, block] * factors[macro.groups.by_block[:, block], v] * input_place * place[v]
                    total = total + factor[:, None, None] * (mine[1] + mine[0] * code)
            if macro.macro.weight.encoding == "offset":
                sums = macro.wiring.double().input_sums(part)
                macro.wiring.float()
                for group, block in enumerate(macro.wiring.block_of.tolist()):
                    last = scale[:, block] * factors[macro.groups.by_block[:, block], -1]
                    offset = 2 ** (macro.macro.weight.bits - 1) * input_place
                    total = total - offset * last[:, None, None] * sums[:, group][:, None]
        return total


def shares(macro):
    """LSQ's share of each gradient."""
    numbers = macro.weight.numel() / macro.groups.count
    top = largest_code(macro.scheme.weight_rule.bits)
    found = {"weight": 1.0, "step": 1.0, "weight_scale": (max(1.0, numbers) * top) ** -0.5}
    found |= {"slice_scale": macro.weight.numel() ** -0.5}
    return found | {"psum_scale": macro.psum_share, "psum_zero_step": macro.psum_share}


THIN = {("column", "lognormal:sigma=0.3"), ("slice_scales", "stuck_at:sa0=0.05,sa1=0.05"), ("bit_serial", None)}
VARIED = (None, "lognormal:sigma=0.0001", "lognormal:sigma=0.3", "stuck_at:sa0=0.05,sa1=0.05")
FINITE = (
    "layer",
    "array",
    "column",
    "one_bit_psums",
    "bit_serial",
    "raised_groups",
    "slice_scales",
    "differential",
    "twos_complement",
)


@pytest.mark.parametrize(("case", "vary"), thinned(FINITE, VARIED, THIN))
def test_gradients_are_those_of_finite_differences(case, vary, converted):
    module = converted(case, made)
    if vary is not None:
        module.vary((vary,), seed=1)
        module.begin_step(0, 0.0)
    macro = module.macros[1]
    macro.norm, macro.bias = None, torch.nn.Parameter(torch.zeros(macro.outputs))
    g, draws = macro.geometry, torch.Generator().manual_seed(1)
    high = 2**macro.macro.input.bits - 1
    x = torch.rand(2, g.channels_in, g.height_in, g.width_in, generator=draws)
    step = torch.tensor(0.93 / high, requires_grad=True)
    slope = torch.randn(2, macro.outputs, g.height_out, g.width_out, generator=draws)
    y = macro(codes_of(x, step, 0, 0, high), step, 0.0)
    (y * slope).sum().backward()
    oracle = Surrogate(macro, x, step, 0, high)
    value = oracle(oracle.start)
    assert torch.allclose(y.detach().double(), value, rtol=1e-3, atol=1e-3 * float(value.abs().max()))
    parameters = dict(macro.named_parameters()) | {"step": step}
    for name, start in oracle.start.items():
        found = parameters[name].grad.double() / torch.as_tensor(shares(macro)[name]).double()
        for _ in range(3):
            way = torch.randn(start.shape, generator=draws, dtype=torch.float64) * start.abs().mean().clamp(min=0.1)
            more, less = (oracle(oracle.start | {name: start + sign * 1e-5 * way}) for sign in (1, -1))
            wanted = float(((more - less) * slope).sum() / 2e-5)
            scale = float((found * way).abs().sum()) + abs(wanted)
            assert float((found * way).sum()) == pytest.approx(wanted, abs=2e-3 * scale + 1e-6), name


def layer_gradients(module, vary):
    """Gradients of every layer's parameters by name, for inputs and slopes that are the same for all cells."""
    module.draws = []
    for macro in module.macros:
        macro.deviation = None
    if vary is not None:
        module.vary((vary,), seed=1)
        module.begin_step(0, 0.0)
    module.zero_grad()
    for macro in module.macros:
        g, draws = macro.geometry, torch.Generator().manual_seed(1)
        high = 2**macro.macro.input.bits - 1
        u = torch.randint(0, high + 1, (4, g.channels_in, g.height_in, g.width_in), generator=draws).float()
        u = u * (torch.rand(u.shape, generator=draws) < 0.6)  # as behind a ReLU: many zeros
        step = torch.tensor(1 / high)
        y = macro(u.requires_grad_(), step, 0.0)
        (y * torch.randn(y.shape, generator=draws) / 16).sum().backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def size_of(name, module):
    """What a parameter's gradient is compared with: its size; of a converter's zero, its step's."""
    parameters = dict(module.named_parameters())
    return parameters[name.replace("psum_zero_step", "psum_scale")].detach().norm()


SMALL = {("plain8", "lognormal"), ("plain8_layer", "normal"), ("column", "normal"), ("nonlinear", "normal")}


@pytest.mark.parametrize(("case", "model"), thinned((*WIDE, *CASES), HARDLY, SMALL, every=3))
def test_cells_that_hardly_vary_have_the_gradients_of_ideal_ones(case, model, converted):
    """Also where psums lie on outer levels, as integers do, and any noise moves half of them beyond.

    Psums that lie on a threshold fall to either side of it with any noise, and the steps' own errors with them.
    """
    CASES.update(WIDE)
    grid = case in WIDE  # steps of 1 at 0: all psums on levels, none on a threshold
    module = converted(case, adapted if grid else made).train()
    vary = HARDLY[model]
    if model == "level_spread":
        vary = {"model": model, "sigma": (0.0001,) * 2**module.chosen.cell.bits}
    ideal, varied = layer_gradients(module, None), layer_gradients(module, vary)
    assert ideal.keys() == varied.keys()
    for name, wanted in ideal.items():
        error = float((varied[name] - wanted).norm())
        share = 0.6 if name.endswith(STEPS) else 0.2
        assert error <= share * float(wanted.norm()) + 0.02 * float(size_of(name, module)), name


@pytest.mark.parametrize(
    ("case", "vary"),
    thinned(
        (*WIDE, *CASES),
        VARIED,
        {("plain8", VARIED[1]), ("plain8_layer", VARIED[2]), ("binary_reference_column", VARIED[2])},
        every=2,
    ),
)
def test_gradients_of_steps_are_of_the_size_of_the_steps(case, vary, converted):
    """LSQ's shares make them so: where a share forgets what a psum stands for, a step jumps beyond all psums at once."""
    CASES.update(WIDE)
    module = converted(case, adapted).train()
    gradients, parameters = layer_gradients(module, vary), dict(module.named_parameters())
    for name, found in gradients.items():
        if name.endswith(STEPS):
            weight = name.rpartition(".")[0] + ".weight"
            moved = gradients[weight].norm() / parameters[weight].detach().norm()
            ratio = float(found.norm() / size_of(name, module) / moved)
            assert ratio < MOST, name


def test_a_step_out_of_its_bounds_comes_back():
    x = torch.tensor([0.1, 1.0, 3.0, 0.1, 3.0], requires_grad=True)
    made = bounded(x, 0.5, 2.0)
    assert made.tolist() == [0.5, 1.0, 2.0, 0.5, 2.0]
    made.backward(torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0]))
    assert x.grad.tolist() == [0.0, 1.0, 1.0, -1.0, 0.0]  # descent takes the gradient off


def test_every_learned_step_has_a_bound_and_is_put_on_it(network, tiny_train):
    module = adapted(network, tiny_train.inputs(slice(0, 16)), "slice_scales").train()
    first = {name: p.detach().clone() for name, p in module.named_parameters() if name.endswith("scale")}
    assert {name.rpartition(".")[2] for name in first} == {"scale", "weight_scale", "slice_scale", "psum_scale"}
    for name, parameter in module.named_parameters():
        if name in first:
            parameter.data.fill_(-3.0)
    module.begin_step(0, 0.0)
    for name, parameter in module.named_parameters():
        if name in first:
            assert torch.allclose(parameter.detach(), first[name] * SMALLEST_SHARE), name
            parameter.data = parameter.data * 0 - 3.0  # and without it the gradient is not lost
    module(torch.from_numpy(tiny_train.inputs(slice(0, 8)))).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


def test_no_gradient_moves_a_step_further_than_the_limit(network, tiny_train):
    module = adapted(network, tiny_train.inputs(slice(0, 16)), "slice_scales").train()
    draws = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.grad = 1e6 * torch.randn(parameter.shape, generator=draws)
    module.limit_gradients(0.5)
    for name, parameter in module.named_parameters():
        learned = name.endswith((*STEPS, "scale"))
        top = module.macros[0].top if name.endswith("zero_step") else 1.0
        of = dict(module.named_parameters())[name.replace("psum_zero_step", "psum_scale")].detach()
        assert bool((parameter.grad.abs() <= 0.5 * top * of.abs() * (1 + 1e-6)).all()) == learned, name
