"""The training forward is the emulator to the bit on macros drawn over every key of the schema; the others are refused."""

from collections import Counter
from dataclasses import replace

import drawn_macros
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import cimemu  # noqa: E402
from cimemu.adapt.convert import convert  # noqa: E402
from cimemu.adapt.integers import integer_network  # noqa: E402
from cimemu.compute.forward import Emulator  # noqa: E402
from cimemu.layer.base import TensorType  # noqa: E402
from cimemu.layer.conv import Conv  # noqa: E402
from cimemu.layer.execute import infer_types  # noqa: E402
from cimemu.layer.macro_layer import MacroLayer  # noqa: E402
from cimemu.layer.matmul import Gemm  # noqa: E402
from cimemu.layer.requantize import Accumulator  # noqa: E402
from cimemu.ptq.scheme import scheme_of  # noqa: E402
from cimemu.workload.network import Network  # noqa: E402

FEW, MANY = 12, 220  # architectures by default, and in the slow test
IMAGES = 3  # the first of them all zero
KEYS = ("macro.", "adc.")  # what every refusal names one of


def float_network(geometry, rng):
    """One convolution (or product) of the drawn layer's shape without its groups, and inputs of it."""
    g = geometry
    shape = (g.channels_out, g.channels_in, g.kernel_h, g.kernel_w)
    weight, bias = rng.normal(size=shape).astype(np.float32), np.zeros(g.channels_out, np.float32)
    if g.kernel_area == 1 and g.width_in == 1:
        layer = Gemm("fc", ("x", "w", "b"), ("y",), trans_b=True)
        weight, image = weight.reshape(shape[:2]), (g.channels_in,)
    else:
        pads = (g.pad_top, g.pad_left, g.pad_bottom, g.pad_right)
        strides, kernel = (g.stride_h, g.stride_w), (g.kernel_h, g.kernel_w)
        layer = Conv("fc", ("x", "w", "b"), ("y",), kernel_shape=kernel, strides=strides, pads=pads)
        image = (g.channels_in, g.height_in, g.width_in)
    constants = {"w": weight, "b": bias}
    types = infer_types([layer], constants, {"x": TensorType(image, "float32")})
    network = Network(
        name="one", layers=(layer,), constants=constants, inputs=("x",), outputs=("y",), types=types
    )  # fmt: skip
    return network, np.abs(rng.normal(size=(2, *image))).astype(np.float32)


def trained(drawn, rng):
    """(the drawn chip's fake macro, its layer in the network that training made): what `convert` accepts."""
    network, images = float_network(drawn.layer.geometry, rng)
    macro = cimemu.Macro.model_validate(drawn.tree)
    arch = cimemu.load_arch("rram_128", {"chip.tiles": 64}).model_copy(update={"macro": macro})
    changes = {"weights.bits": min(8, macro.weight.bits), "activations.bits": min(8, macro.input.bits)}
    module = convert(network, arch, scheme_of("plain", {**changes, "weights.granularity": "layer"}), calibration=images)
    (layer,) = (layer for layer in integer_network(module.parts()).layers if isinstance(layer, MacroLayer))
    (fake,) = module.macros
    return fake, layer


def pair(drawn):
    """(outputs of the training forward, outputs of the emulator) for integers of the drawn chip's range."""
    rng = np.random.default_rng(drawn.seed)
    fake, layer = trained(drawn, rng)
    macro, g = fake.macro, fake.geometry
    top = max(1, 2 ** (macro.weight.bits - 1) - 1)
    weight = rng.integers(-top, top + 1, (g.channels_out, g.rows_per_group))
    weight = np.where(weight >= 0, 1, -1) if macro.weight.bits == 1 else weight
    bias = rng.integers(-9, 10, g.channels_out)
    signed, bits = macro.input.signed, min(8, macro.input.bits)
    dtype = np.dtype("int8" if signed else "uint8")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    x = rng.integers(low, high, (IMAGES, *image_of(layer)))
    x[rng.random(x.shape) < rng.choice([0, 0.5, 0.9])] = 0
    x[0] = 0
    x = x.astype(dtype)
    zero = int(rng.choice([0, int(x.max())]))
    shape = (g.channels_out, g.height_out, g.width_out) if layer.layout == "nchw" else (g.channels_out,)
    output = TensorType(shape, "int32")
    layer = replace(
        layer, inputs=("x",), outputs=("y",), weight=weight.reshape(layer.weight.shape).astype(np.int16),
        weight_zero_point=np.zeros(g.channels_out, np.int64), input_zero_point=zero, input_dtype=str(dtype),
        bias=bias.astype(np.int64), stage=Accumulator(), output_type=output,
    )  # fmt: skip
    types = {"x": TensorType(x.shape[1:], str(dtype)), "y": output}
    network = Network(name="one", layers=(layer,), constants={}, inputs=("x",), outputs=("y",), types=types)
    ran = outcome(lambda: Emulator(network, macro).run([x]).tensors["y"])
    fake.norm, fake.bias = None, torch.nn.Parameter(torch.from_numpy(bias).float())
    fake.weight.data = torch.from_numpy(weight).float()
    fake.start_scale("weight_scale", torch.ones_like(fake.weight_scale))
    u = torch.from_numpy(x.astype(np.float32)).reshape(IMAGES, g.channels_in, g.height_in, g.width_in)
    made = outcome(lambda: fake(u, torch.tensor(1.0), float(zero)).detach().numpy())
    return made, ran


def image_of(layer):
    g = layer.geometry
    return (g.channels_in, g.height_in, g.width_in) if layer.layout == "nchw" else (g.channels_in,)


def outcome(work):
    """What `work` gives, or the error's text."""
    try:
        return work()
    except cimemu.CimemuError as error:
        return str(error)


def ungrouped(drawn):
    """The drawn architecture with a layer that training has: one group; and a converter that its cells can have."""
    tree = drawn.tree
    if tree["cell"]["kind"] == "digital" and tree["adc"]["model"] != "ideal":
        tree["cell"]["kind"] = drawn.labels["cell.kind"] = "charge"
        tree["weight"]["guard_columns"] = tree["timing"]["pipeline_stages"] = 0  # digital cells alone have them
        drawn.labels["weight.guard_columns"] = drawn.labels["timing.pipeline_stages"] = "0"
    return replace(drawn, layer=replace(drawn.layer, geometry=replace(drawn.layer.geometry, groups=1)))


def whole_levels(tree):
    """Whether everything that the converters give is an integer."""
    adc = tree["adc"]
    values = [adc.get(name, 0) for name in ("lsb", "zero", "levels")]
    return all(float(v) % 1 == 0 for value in values for v in np.ravel(np.array(value, dtype=float)))


def compare(drawn):
    """Whether running sums overflowed, as both say; AssertionError where training computes something else."""
    made, ran = pair(drawn)
    if isinstance(made, str) or isinstance(ran, str):
        assert isinstance(made, str), drawn.tree
        assert isinstance(ran, str), drawn.tree
        assert "macro.accumulator_bits" in made
        return True
    made, ran = made.astype(np.float64).ravel(), ran.astype(np.float64).ravel()
    if whole_levels(drawn.tree):
        assert np.array_equal(made, ran), drawn.tree
    else:  # the emulator's are rounded to integers at the end, these are float32
        assert np.abs(made - ran).max() <= 0.5 + 1e-2 + 1e-6 * np.abs(ran).max(), drawn.tree
    return False


def seldom(counts):
    """Pairs (key, value) that fewer than two accepted architectures had."""
    pairs = {(key, str(value)) for key, values in drawn_macros.VALUES.items() for value in values}
    return {pair for pair in pairs if counts[pair] < 2}


def sweep(count, more=0):
    """(accepted, counts by key and value, refusals, accepted that skip where level 0 is not 0) of `count` architectures.

    Of `more` that follow, those that have what came up too seldom, until nothing is."""
    draws, accepted, refusals, skipping = drawn_macros.Draws(5), 0, Counter(), 0
    for number in range(count + more):
        drawn = ungrouped(draws.draw(number))
        if number >= count:
            short = seldom(draws.counts)
            if not short:
                break
            if not short & set(drawn.labels.items()):
                continue
        try:
            compare(drawn)
        except cimemu.CimemuError as error:
            text = str(error)
            assert "\n" not in text
            assert any(key in text for key in KEYS), text
            refusals[text] += 1
            continue
        accepted += 1
        draws.accepted(drawn)
        skipping += drawn.tree["timing"]["skip_zero_slices"] and drawn.tree["adc"]["model"] != "ideal"
    return accepted, draws.counts, refusals, skipping


def test_training_is_the_emulator_on_macros_of_every_key():
    accepted, _, _, skipping = sweep(FEW)
    assert accepted >= FEW * 2 // 3
    assert skipping >= 3


@pytest.mark.long
@pytest.mark.slow
def test_training_is_the_emulator_on_hundreds_of_macros():
    accepted, counts, refusals, skipping = sweep(MANY, 10 * MANY)
    met = accepted + refusals.total()
    print(f"{accepted} of {met} macros are trained on, {skipping} of them skip with converters that are not ideal")
    for text, number in refusals.most_common():
        print(f"refused, {number}: {text}")
    assert accepted >= 150
    assert skipping >= 20
    assert not seldom(counts)


def test_fixed_converters_of_wide_steps_meet_their_thresholds():
    """Psums that are integers lie half-way between levels: float32 must not send them down (82, 94, 110, 122, ... did)."""
    draws = drawn_macros.Draws(5)
    drawn = ungrouped(next(d for d in map(draws.draw, range(400)) if d.layer.geometry.rows_per_group >= 24))
    drawn.tree.update(rows=128, active_rows=None, accumulator_bits=None)
    drawn.tree["cell"] |= {"kind": "charge", "bits": 4}
    drawn.tree["weight"] |= {"bits": 8, "encoding": "offset", "column_flipping": False, "correction": "digital"}
    drawn.tree["weight"] |= {"subtract": "digital", "combine": "digital", "guard_columns": 0}
    drawn.tree["timing"]["pipeline_stages"] = 0
    drawn.tree["input"] |= {"bits": 8, "signed": False, "dac_bits": 4, "slices": []}
    for lsb in (82, 94, 110, 122):
        drawn.tree["adc"] = {"model": "linear", "bits": 7, "lsb": lsb, "zero": -lsb}
        assert compare(drawn) is False


def test_columns_that_are_stored_inverted_are_refused_in_training_unless_converters_are_ideal():
    draws = drawn_macros.Draws(5)
    flipping = (d for d in map(draws.draw, range(400)) if d.tree["weight"]["column_flipping"])
    drawn = ungrouped(next(d for d in flipping if d.tree["adc"]["model"] == "linear" and d.tree["weight"]["bits"] > 1))
    drawn.tree["adc"] = {"model": "linear", "bits": 4, "lsb": 3}
    with pytest.raises(cimemu.CimemuError, match=r"^macro\.weight\.column_flipping = true .* set it to false[^\n]*$"):
        compare(drawn)
    drawn.tree["adc"] = {"model": "ideal"}
    assert compare(drawn) is False
