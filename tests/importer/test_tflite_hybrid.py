"""Float activations times int8 weights ("dynamic range" files): every float as LiteRT's reference kernels make it."""

import dataclasses

import numpy as np
import pytest
from tflite_build import TflBuilder, litert

import cimemu
from cimemu.check.network import check_network
from cimemu.compute.forward import Emulator
from cimemu.layer.hybrid import HybridQuantize

ARCH = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
STEPS = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "padding": 0}
IMAGES = ("normal", "positive", "negative", "ties", "zeros", "nearly a half", "wide")


def image(rng, kind, shape):
    """Activations: of both signs, of one, on ties of the codes, with rows of zeros, with the float32 below a half."""
    x = (rng.normal(size=shape) * 10 ** rng.uniform(-3, 3)).astype(np.float32)
    if kind in ("positive", "negative"):
        x = np.abs(x) * np.float32({"positive": 1, "negative": -1}[kind])
    if kind == "ties":
        x = (rng.integers(-255, 256, shape) / 2).astype(np.float32)
    if kind == "zeros":
        x[..., :2] = 0
        x[:, : max(1, shape[1] // 2)] = 0
    if kind == "nearly a half":
        near = np.nextafter(np.float32(0.5), np.float32(0))
        x = rng.choice(np.array([127, -128, near, -near, 0.5, 1 + near, 0], np.float32), shape)
    if kind == "wide":
        x = (rng.normal(size=shape) * 10 ** rng.uniform(-6, 6, shape)).astype(np.float32)
    return x


def weighted(b, rng, shape, axis, outputs, channels):
    """(weight, bias) numbers."""
    scale = rng.uniform(0.001, 0.02, outputs if channels else 1)
    w = b.tensor("w", shape, "int8", scale, 0, rng.integers(-127, 128, shape), axis=axis)
    return w, b.tensor("b", [outputs], "float32", data=rng.normal(size=outputs))


def fully_connected(rng, kind):
    rows, width, outputs = (int(n) for n in rng.integers(1, [5, 40, 12]))
    front = [1, rows] if rng.integers(2) else [rows]
    b = TflBuilder()
    x, y = b.tensor("x", [1, rows, width], "float32"), b.tensor("y", [*front, outputs], "float32")
    w, bias = weighted(b, rng, (outputs, width), 0, outputs, rng.integers(2))
    given = [x, w, bias] if rng.integers(2) else [x, w]
    asymmetric, activation = bool(rng.integers(2)), int(rng.integers(0, 4))
    keep = len(front) == 2
    b.op(
        "FULLY_CONNECTED",
        given,
        [y],
        asymmetricQuantizeInputs=asymmetric,
        fusedActivationFunction=activation,
        keepNumDims=keep,
    )
    return b.content([x], [y]), image(rng, kind, (1, rows, width))


def convolution(rng, kind, depthwise=False):
    height, width, channels = (int(n) for n in rng.integers([4, 4, 1], [8, 8, 4]))
    kh, kw, stride, dilation = (int(n) for n in rng.integers(1, [4, 4, 3, 3]))
    groups = 1 if depthwise else int(rng.integers(1, 3))
    channels, outputs = channels * groups, channels * 2 if depthwise else groups * int(rng.integers(1, 4))
    shape = (1, kh, kw, outputs) if depthwise else (outputs, kh, kw, channels // groups)
    options = {**STEPS, "padding": int(rng.integers(2))}
    if stride == 1 or dilation == 1:
        options |= dict.fromkeys(("strideH", "strideW"), stride)
        options |= dict.fromkeys(("dilationHFactor", "dilationWFactor"), dilation)
    reach = [(k - 1) * options["dilationHFactor"] + 1 for k in (kh, kw)]
    if options["padding"] and (reach[0] > height or reach[1] > width):
        options["padding"] = 0
    step = options["strideH"]
    out = [-(-(n - (r - 1 if options["padding"] else 0)) // step) for n, r in zip((height, width), reach)]
    b = TflBuilder()
    x, y = b.tensor("x", [1, height, width, channels], "float32"), b.tensor("y", [1, *out, outputs], "float32")
    by_channel = depthwise or groups > 1 or rng.integers(2)
    w, bias = weighted(b, rng, shape, 3 if depthwise else 0, outputs, by_channel)
    options |= {"depthMultiplier": 2} if depthwise else {}
    op = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    b.op(op, [x, w, bias], [y], fusedActivationFunction=int(rng.integers(0, 4)), **options)
    return b.content([x], [y]), image(rng, kind, (1, height, width, channels))


def batch_matmul(rng, kind):
    rows, width, outputs = (int(n) for n in rng.integers(1, [5, 40, 12]))
    turned, front = bool(rng.integers(2)), [1] if rng.integers(2) else []
    b = TflBuilder()
    x, y = b.tensor("x", [1, rows, width], "float32"), b.tensor("y", [1, rows, outputs], "float32")
    shape = (*front, outputs, width) if turned else (*front, width, outputs)
    w = b.tensor("w", shape, "int8", [0.01], 0, rng.integers(-127, 128, shape))
    b.op("BATCH_MATMUL", [x, w], [y], adjY=turned, asymmetricQuantizeInputs=bool(rng.integers(2)))
    return b.content([x], [y]), image(rng, kind, (1, rows, width))


def depthwise(rng, kind):
    return convolution(rng, kind, True)


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("build", [fully_connected, convolution, depthwise, batch_matmul])
def test_every_product_equals_litert(build, kind, tmp_path):
    compared = 0
    for seed in range(12):
        rng = np.random.default_rng([seed, IMAGES.index(kind)])
        content, x = build(rng, kind)
        (theirs,) = litert(content, x)
        path = tmp_path / f"{seed}.tflite"
        path.write_bytes(content)
        network = cimemu.quantize(cimemu.load_network(path), ARCH)
        assert sum(layer.on_macros for layer in network.layers) == 1
        tensors = Emulator(network, ARCH.macro).run([x]).tensors
        ours = tensors[network.outputs[0]].reshape(theirs.shape)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs), (seed, np.abs(ours - theirs).max())
        compared += ours.size
    assert compared > 50


def network(path, float_layer=False):
    """A convolution, a depthwise one, a pool and two products; `float_layer`: with a small convolution of floats."""
    rng = np.random.default_rng(4)
    b = TflBuilder()
    x = last = b.tensor("x", [1, 12, 12, 3], "float32")
    if float_layer:
        w = b.tensor("s_w", (3, 1, 1, 3), "float32", data=rng.normal(size=(3, 1, 1, 3)))
        bias, y = b.tensor("s_b", [3], "float32", data=rng.normal(size=3)), b.tensor("s", [1, 12, 12, 3], "float32")
        b.op("CONV_2D", [last, w, bias], [y], **STEPS)
        last = y
    for name, op, shape, outputs in (
        ("c", "CONV_2D", (8, 3, 3, 3), 8),
        ("d", "DEPTHWISE_CONV_2D", (1, 3, 3, 8), 8),
        ("e", "CONV_2D", (6, 1, 1, 8), 6),
    ):
        scale = [0.01] if name == "e" else rng.uniform(0.005, 0.02, outputs)
        w = b.tensor(f"{name}_w", shape, "int8", scale, 0, rng.integers(-127, 128, shape), axis=3 if name == "d" else 0)
        bias, y = (
            b.tensor(f"{name}_b", [outputs], "float32", data=rng.normal(size=outputs)),
            b.tensor(name, [1, 12, 12, outputs], "float32"),
        )
        b.op(
            op,
            [last, w, bias],
            [y],
            fusedActivationFunction=1,
            **STEPS,
            **({"depthMultiplier": 1} if name == "d" else {}),
        )
        last = y
    m, f, y = b.tensor("m", [1, 6], "float32"), b.tensor("f", [1, 5], "float32"), b.tensor("y", [1, 5], "float32")
    b.op("MEAN", [last, b.tensor("axes", [2], "int32", data=[1, 2])], [m])
    w = b.tensor("f_w", (5, 6), "int8", rng.uniform(0.01, 0.02, 5), 0, rng.integers(-127, 128, (5, 6)))
    b.op(
        "FULLY_CONNECTED",
        [m, w, b.tensor("f_b", [5], "float32", data=rng.normal(size=5))],
        [f],
        asymmetricQuantizeInputs=True,
    )
    b.op("SOFTMAX", [f], [y], beta=1.0)
    return b.save(path, [x], [y])


@pytest.mark.parametrize("float_layer", [False, True])
def test_a_network_runs_and_every_tensor_equals_the_reference_kernels(float_layer, tmp_path):
    path = network(tmp_path / "n.tflite", float_layer)
    made = cimemu.quantize(cimemu.load_network(path), ARCH)
    images = np.random.default_rng(1).normal(size=(4, 12, 12, 3)).astype(np.float32)
    found = check_network(made, ARCH.macro, images)
    assert found.against.startswith("LiteRT reference kernels")
    assert (found.differing, found.shortcut_layers, found.bit_serial_layers) == (0, 0, 4)
    assert found.floats.elements > 4 * 12 * 12 * 20
    worst = {diff.name: diff.largest for diff in found.tensors}
    if not float_layer:
        assert all(worst[name] == 0 for name in "cdef"), worst
    result = cimemu.run(ARCH, made, images)
    assert result.cycles > 0
    assert sum(layer.on_macros for layer in made.layers) == 4


def test_a_wrong_sum_is_seen(tmp_path):
    """A weight that is one step off is no rounding."""
    made = cimemu.load_network(network(tmp_path / "n.tflite"))
    layers = list(made.layers)
    place = next(i for i, layer in enumerate(layers) if layer.name == "f:real.sums")
    weight = layers[place].weight.copy()
    weight[0, 0] += 1 if weight[0, 0] < 127 else -1
    layers[place] = dataclasses.replace(layers[place], weight=weight)
    images = np.random.default_rng(1).normal(size=(2, 12, 12, 3)).astype(np.float32)
    assert check_network(dataclasses.replace(made, layers=tuple(layers)), ARCH.macro, images).failed


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "said"),
    [
        ("uint8", [0.01], 128, "is uint8 beside float activations, must be int8"),
        ("int8", [0.01], 3, "has zero point 3, must be 0"),
        ("int8", [0.01, 0.02], 0, "has 2 scales on axis 0, must have 1, or 3 on axis 0"),
    ],
)
def test_weights_that_the_runtime_reads_otherwise_are_refused_in_one_line(dtype, scale, zero, said, tmp_path):
    b = TflBuilder()
    x, y = b.tensor("x", [1, 4], "float32"), b.tensor("y", [1, 3], "float32")
    b.op("FULLY_CONNECTED", [x, b.tensor("w", (3, 4), dtype, scale, zero, np.ones((3, 4)))], [y])
    with pytest.raises(cimemu.WorkloadError, match=said) as caught:
        cimemu.load_network(b.save(tmp_path / "n.tflite", [x], [y]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_a_row_of_zeros_has_a_scale_of_one(asymmetric):
    x = np.zeros((2, 3, 5), np.float32)
    x[1, 2, 3] = -2.0
    codes, scale, zero = HybridQuantize("q", ("x",), ("c", "s", "z"), rows=3, asymmetric=asymmetric).forward([x])
    assert (codes[0].any(), codes[1, :2].any()) == (False, False)
    assert (scale[0] == 1).all()
    assert scale[1, 2, 0] == np.float32(2) / np.float32(255 if asymmetric else 127)
    assert codes[1, 2, 3] == (-128 if asymmetric else -127)
    assert zero[1, 2, 0] == (127 if asymmetric else 0)


def between(path, hybrid):
    """A product of floats between two of integers, with int8 or float weights."""
    rng = np.random.default_rng(0)
    b = TflBuilder()
    x, c = b.tensor("x", [1, 8, 8, 3], "int8", 0.05, -3), b.tensor("c", [1, 8, 8, 4], "int8", 0.1, 4)
    f, g = b.tensor("f", [1, 8, 8, 4], "float32"), b.tensor("g", [1, 8, 8, 5], "float32")
    q, h, y = (
        b.tensor("q", [1, 8, 8, 5], "int8", 0.2, 1),
        b.tensor("h", [1, 320], "int8", 0.2, 1),
        b.tensor("y", [1, 6], "int8", 0.3),
    )
    scale = rng.uniform(0.01, 0.02, 4).astype(np.float32)
    w = b.tensor("cw", (4, 3, 3, 3), "int8", scale, 0, rng.integers(-99, 99, (4, 3, 3, 3)))
    b.op(
        "CONV_2D",
        [x, w, b.tensor("cb", [4], "int32", np.float32(0.05) * scale, 0, rng.integers(-99, 99, 4))],
        [c],
        **STEPS,
    )
    b.op("DEQUANTIZE", [c], [f])
    shape = (5, 3, 3, 4)
    codes, steps = rng.integers(-99, 99, shape), rng.uniform(0.01, 0.02, 5)
    w = b.tensor("gw", shape, "int8", steps, 0, codes) if hybrid else b.tensor("gw", shape, "float32", data=codes / 99)
    bias = b.tensor("gb", [5], "float32", data=rng.normal(size=5))
    b.op("CONV_2D", [f, w, bias], [g], fusedActivationFunction=1, **STEPS)
    b.op("QUANTIZE", [g], [q])
    b.op("RESHAPE", [q, b.tensor("shape", [2], "int32", data=[1, 320])], [h])
    w = b.tensor("yw", (6, 320), "int8", [0.01], 0, rng.integers(-99, 99, (6, 320)))
    steps = [np.float32(0.2) * np.float32(0.01)]
    b.op("FULLY_CONNECTED", [h, w, b.tensor("yb", [6], "int32", steps, 0, rng.integers(-99, 99, 6))], [y])
    return b.save(path, [x], [y])


@pytest.mark.parametrize(
    ("hybrid", "float_layers", "on_macros"), [(True, "digital", 3), (False, "digital", 2), (False, "quantize", 3)]
)
def test_products_of_floats_stand_between_products_of_integers(hybrid, float_layers, on_macros, tmp_path):
    network = cimemu.load_network(between(tmp_path / "n.tflite", hybrid))
    images = np.random.default_rng(1).integers(-128, 128, (3, 8, 8, 3)).astype(np.int8)
    made = cimemu.quantize(network, ARCH, images, float_layers=float_layers)
    assert sum(layer.on_macros for layer in made.layers) == on_macros
    assert cimemu.run(ARCH, made, images).cycles > 0
    if float_layers == "quantize":  # of other integers than the file's: near its floats
        ours, theirs = (
            Emulator(one, ARCH.macro).run([images], frozenset(["g"])).tensors["g"]
            for one in (made, cimemu.quantize(network, ARCH))
        )
        assert 0 < np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()
        return
    found = check_network(made, ARCH.macro, images)
    assert (found.status, found.differing) == ("agrees", 0)
    assert found.codes.elements + found.integers.elements == 3 * (8 * 8 * 4 + 8 * 8 * 5 + 320 + 6)
