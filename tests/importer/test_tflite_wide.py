"""16x8 TensorFlow Lite operators (16-bit activations, 8-bit weights) against LiteRT's reference kernels, under many scales."""

import numpy as np
import pytest
from test_tflite_sweeps import Draw, on_macros
from tflite_build import TflBuilder, digital, litert

import cimemu

DILATED = ("CONV_2D", "DEPTHWISE_CONV_2D")


class Wide(Draw):
    """A draw of 16-bit scales: zero points are 0."""

    def zero(self):
        return 0

    def codes(self, shape):
        """Codes of all sizes, the ends of the range among them."""
        size = 2.0 ** self.rng.uniform(0, 15.1, shape) * self.rng.choice([-1, 1], shape)
        return np.clip(np.rint(size), -32768, 32767).astype(np.int16)


def product(op):
    def build(d, path):
        b, rng = TflBuilder(), d.rng
        outputs = 12
        xs, ws, ys = d.scales_of_product()
        ys = np.float32(ys * 2.0 ** rng.integers(-4, 1))
        if rng.random() < 0.5:
            ws = (ws * 2.0 ** rng.uniform(-3, 0, outputs)).astype(np.float32)
        kernel, size = [int(n) for n in rng.integers(1, 4, 2)], [int(n) for n in rng.integers(4, 12, 2)]
        stride, padding = [int(n) for n in rng.integers(1, 4, 2)], int(rng.integers(0, 2))
        out = [-(-s // t) if padding == 0 else -(-(s - k + 1) // t) for s, k, t in zip(size, kernel, stride)]
        shapes = {
            "CONV_2D": ([1, *size, 5], [outputs, *kernel, 5], [1, *out, outputs]),
            "DEPTHWISE_CONV_2D": ([1, *size, 6], [1, *kernel, outputs], [1, *out, outputs]),
            "FULLY_CONNECTED": ([1, 30, 40], [outputs, 40], [1, 30, outputs]),
        }[op]
        x = b.tensor("x", shapes[0], "int16", xs, 0)
        axis = 3 if op == "DEPTHWISE_CONV_2D" else 0
        w = b.tensor("w", shapes[1], "int8", ws, 0, rng.integers(-127, 128, shapes[1]), axis=axis)
        steps = (xs * ws).astype(np.float32)
        c = b.tensor("b", [outputs], "int64", steps, 0, rng.integers(-(2**22), 2**22, outputs))
        y = b.tensor("y", shapes[2], "int16", ys, 0)
        fields = {"padding": padding, "strideH": stride[0], "strideW": stride[1]}
        fields |= {"dilationHFactor": 1, "dilationWFactor": 1} if op in DILATED else {}
        fields |= {"depthMultiplier": 2} if op == "DEPTHWISE_CONV_2D" else {}
        if op == "FULLY_CONNECTED":
            fields = {"weightsFormat": 0, "keepNumDims": True}
        b.op(op, [x, w, c], [y], fusedActivationFunction=d.activation, **fields)
        b.save(path, [x], [y])
        return (d.codes(shapes[0]),)

    return build


def pair(op, *, alike=False, **fields):
    def build(d, path):
        b, shape = TflBuilder(), [1, 40, 50, 3]
        scales = [d.scale()] * 3 if alike else [d.scale() for _ in range(3)]
        if op == "MUL":
            scales = list(d.scales_of_product())
            scales[2] = np.float32(scales[2] * 2.0 ** d.rng.integers(2, 12))
        x, y, z = (b.tensor(name, shape, "int16", scale, 0) for name, scale in zip("xyz", scales))
        activation = {} if alike else {"fusedActivationFunction": d.activation}
        b.op(op, [x, y], [z], **activation, **fields)
        b.save(path, [x, y], [z])
        return d.codes(shape), d.codes(shape)

    return build


def pool(op):
    def build(d, path):
        b, scale = TflBuilder(), d.scale()
        x, y = b.tensor("x", [1, 20, 21, 5], "int16", scale, 0), b.tensor("y", [1, 10, 7, 5], "int16", scale, 0)
        kernel = {"filterHeight": int(d.rng.integers(1, 6)), "filterWidth": int(d.rng.integers(1, 6))}
        b.op(op, [x], [y], strideH=2, strideW=3, padding=0, fusedActivationFunction=d.activation, **kernel)
        b.save(path, [x], [y])
        return (d.codes((1, 20, 21, 5)),)

    return build


def mean(d, path):
    b, scale = TflBuilder(), d.scale()
    x = b.tensor("x", [1, 7, 9, 50], "int16", scale, 0)
    y = b.tensor("y", [1, 50], "int16", np.float32(scale * 2.0 ** d.rng.uniform(-3, 3)), 0)
    b.op("MEAN", [x, b.tensor("axes", [2], "int32", data=[1, 2])], [y], keepDims=False)
    b.save(path, [x], [y])
    return (d.codes((1, 7, 9, 50)),)


def ends(d, path):
    """Floats next to ties to 16 bits, 16 bits to 8 and back, and to floats."""
    b, scale = TflBuilder(), d.scale()
    f, x = b.tensor("f", [1, 4096], "float32"), b.tensor("x", [1, 4096], "int16", scale, 0)
    narrow, wide = b.tensor("n", [1, 4096], "int8", d.scale(), 5), b.tensor("w", [1, 4096], "int16", d.scale(), 0)
    g = b.tensor("g", [1, 4096], "float32")
    for op, source, target in (
        ("QUANTIZE", f, x),
        ("QUANTIZE", x, narrow),
        ("QUANTIZE", narrow, wide),
        ("DEQUANTIZE", x, g),
    ):
        b.op(op, [source], [target])
    b.save(path, [f], [x, narrow, wide, g])
    near = (d.codes((1, 4096)) + 0.5) * np.float64(scale)
    return (near.astype(np.float32),)


def softmax(d, path):
    b, shape = TflBuilder(), [1, 400, int(d.rng.integers(1, 60))]
    x = b.tensor("x", shape, "int16", 2.0 ** d.rng.uniform(-16, -7), 0)
    y = b.tensor("y", shape, "int16", 1 / 32768, 0)
    b.op("SOFTMAX", [x], [y], beta=float(d.rng.choice([1.0, 0.5, 2.0])))
    b.save(path, [x], [y])
    return (d.codes(shape),)


def moves(d, path):
    b, scale = TflBuilder(), d.scale()
    shapes = ([1, 5, 6, 7], [1, 8, 6, 7], [1, 8, 42], [1, 42, 8], [1, 42, 16])
    x, p, r, t, c = (b.tensor(f"t{i}", shape, "int16", scale, 0) for i, shape in enumerate(shapes))
    b.op("PAD", [x, b.tensor("k", [4, 2], "int32", data=[[0, 0], [1, 2], [0, 0], [0, 0]])], [p])
    b.op("RESHAPE", [p], [r], newShape=[1, 8, 42])
    b.op("TRANSPOSE", [r, b.tensor("o", [3], "int32", data=[0, 2, 1])], [t])
    b.op("CONCATENATION", [t, t], [c], axis=2)
    b.save(path, [x], [c])
    return (d.codes(shapes[0]),)


def of_a_code(op, *, scale=None, **fields):
    """A function of all 16-bit codes; `scale` is the output's where the kernel fixes it."""

    def build(d, path):
        b, shape = TflBuilder(), [1, 65536]
        own = np.float32(
            2.0 ** int(d.rng.integers(-16, -10)) if d.kind in ("powers", "ties") else d.rng.uniform(1e-5, 3e-3)
        )
        x = b.tensor("x", shape, "int16", own, 0)
        y = b.tensor("y", shape, "int16", scale or np.float32(own * 2.0 ** d.rng.uniform(-2, 2)), 0)
        b.op(op, [x], [y], **fields)
        b.save(path, [x], [y])
        return (np.arange(-32768, 32768).astype(np.int16).reshape(shape),)

    return build


def transposed(d, path):
    b, rng, outputs = TflBuilder(), d.rng, 4
    xs, ws, ys = d.scales_of_product()
    if rng.random() < 0.5:
        ws = (ws * 2.0 ** rng.uniform(-3, 0, outputs)).astype(np.float32)
    kernel, stride = [int(n) for n in rng.integers(1, 4, 2)], [int(n) for n in rng.integers(1, 4, 2)]
    size, padding = [5, 4], int(rng.integers(0, 2))
    out = [s * t if padding == 0 else (s - 1) * t + max(k, t) for s, t, k in zip(size, stride, kernel)]
    x, y = b.tensor("x", [1, *size, 5], "int16", xs, 0), b.tensor("y", [1, *out, outputs], "int16", ys, 0)
    w = b.tensor("w", [outputs, *kernel, 5], "int8", ws, 0, rng.integers(-127, 128, (outputs, *kernel, 5)))
    c = b.tensor("b", [outputs], "int64", (xs * ws).astype(np.float32), 0, rng.integers(-(2**22), 2**22, outputs))
    shape = b.tensor("s", [4], "int32", data=[1, *out, outputs])
    b.op("TRANSPOSE_CONV", [shape, w, x, c], [y], padding=padding, strideH=stride[0], strideW=stride[1])
    b.save(path, [x], [y])
    return (d.codes((1, *size, 5)),)


def matmul(d, path):
    b, depth = TflBuilder(), int(d.rng.integers(1, 90))
    xs, zs, ys = d.scales_of_product()
    ys = np.float32(min(ys * 2.0 ** d.rng.integers(4, 14), 3e38))
    a, c = b.tensor("a", [1, 2, 7, depth], "int16", xs, 0), b.tensor("c", [1, 2, 9, depth], "int16", zs, 0)
    y = b.tensor("y", [1, 2, 7, 9], "int16", ys, 0)
    b.op("BATCH_MATMUL", [a, c], [y], adjX=False, adjY=True)
    b.save(path, [a, c], [y])
    return d.codes((1, 2, 7, depth)), d.codes((1, 2, 9, depth))


def resized(op):
    def build(d, path):
        b, scale = TflBuilder(), d.scale()
        size, out = [int(n) for n in d.rng.integers(1, 12, 2)], [int(n) for n in d.rng.integers(1, 30, 2)]
        corners = bool(d.rng.integers(0, 2))
        x, y = (b.tensor(name, [1, *s, 3], "int16", scale, 0) for name, s in (("x", size), ("y", out)))
        fields = {"alignCorners": corners, "halfPixelCenters": not corners and bool(d.rng.integers(0, 2))}
        b.op(op, [x, b.tensor("s", [2], "int32", data=out)], [y], **fields)
        b.save(path, [x], [y])
        return (d.codes((1, *size, 3)),)

    return build


def extreme(op, *, alike=True):
    def build(d, path):
        b, scale = TflBuilder(), d.scale()
        out = scale if alike else np.float32(scale * 2.0 ** d.rng.uniform(-2, 12))
        x, y = b.tensor("x", [1, 7, 9, 50], "int16", scale, 0), b.tensor("y", [1, 7, 50], "int16", out, 0)
        b.op(op, [x, b.tensor("axes", [1], "int32", data=[2])], [y], keepDims=False)
        b.save(path, [x], [y])
        return (d.codes((1, 7, 9, 50)),)

    return build


BUILDERS = {
    **{op: of_a_code(op, scale=1 / 32768) for op in ("LOGISTIC", "TANH")},
    **{op: of_a_code(op) for op in ("RELU", "RELU6")}, "LEAKY_RELU": of_a_code("LEAKY_RELU", alpha=0.3),
    "TRANSPOSE_CONV": transposed, "BATCH_MATMUL": matmul,
    **{op: resized(op) for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")},
    **{op: extreme(op) for op in ("REDUCE_MAX", "REDUCE_MIN")}, "REDUCE_PROD": extreme("REDUCE_PROD", alike=False),
    **{op: product(op) for op in (*DILATED, "FULLY_CONNECTED")},
    "ADD": pair("ADD", potScaleInt16=False), "SUB": pair("SUB", potScaleInt16=False), "MUL": pair("MUL"),
    "MAXIMUM": pair("MAXIMUM", alike=True), "MINIMUM": pair("MINIMUM", alike=True),
    "AVERAGE_POOL_2D": pool("AVERAGE_POOL_2D"), "MAX_POOL_2D": pool("MAX_POOL_2D"), "MEAN": mean, "SOFTMAX": softmax,
    "ends": ends, "moves": moves,
}  # fmt: skip


def sweep(op, sets, folder):
    """(elements compared, differing) under `sets` draws that are not refused."""
    path, seed, compared, elements, differing = folder / "n.tflite", 0, 0, 0, 0
    while compared < sets:
        draw = Wide(seed, "int16")
        seed += 1
        assert seed < 4 * sets + 20, "nearly all sets are refused"
        if draw.kind in ("denormal", "huge"):
            continue
        images = BUILDERS[op](draw, path)
        try:
            ours = (on_macros if op in (*DILATED, "FULLY_CONNECTED", "TRANSPOSE_CONV") else digital)(path, *images)
        except cimemu.WorkloadError:
            continue
        compared += 1
        for mine, their in zip(ours, litert(path.read_bytes(), *images)):
            assert (mine.shape, mine.dtype) == (their.shape, their.dtype)
            elements += mine.size
            differing += int((mine != their).sum())
    print(f"{op} 16x8: {elements} elements under {compared} sets, {differing} differ")
    return differing


@pytest.mark.parametrize("op", BUILDERS)
def test_a_16x8_operator_equals_the_reference_kernel(tmp_path, op):
    assert sweep(op, 10, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("op", BUILDERS)
def test_a_16x8_operator_equals_the_reference_kernel_under_a_hundred_sets_of_scales(tmp_path, op):
    assert sweep(op, 100, tmp_path) == 0
