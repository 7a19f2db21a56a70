"""Small TensorFlow Lite files with one operator each, and images that are full grids of its operands.

A builder gets a draw of scales and zero points (`Draw` of `test_tflite_sweeps`), writes a file and gives its images.
"""

import numpy as np
from tflite_build import TflBuilder


def every_pair(d, shape):
    """All pairs of codes: the first operand and the second, of `shape`."""
    first, second = np.meshgrid(d.values(), d.values(), indexing="ij")
    return np.ascontiguousarray(first).reshape(shape), np.ascontiguousarray(second).reshape(shape)


def function(op, y=lambda d: (d.scale(), d.zero()), x=lambda d: (d.scale(), d.zero()), **fields):
    """One operand: all 256 codes."""

    def build(d, path):
        b = TflBuilder()
        made = {name: value(d) if callable(value) else value for name, value in fields.items()}
        source = b.tensor("x", [1, 16, 16], d.dtype, *x(d))
        target = b.tensor("y", [1, 16, 16], d.dtype, *y(d))
        b.op(op, [source], [target], **made)
        b.save(path, [source], [target])
        return (d.values().reshape(1, 16, 16),)

    return build


def pairs(op, *, alike=False, activation=True, product=False):
    """Two operands: all pairs of codes, then a constant that is broadcast."""

    def build(d, path):
        b, shape = TflBuilder(), [1, 256, 256, 1]
        scales = [(d.scale(), d.zero())] * 3 if alike else [(d.scale(), d.zero()) for _ in range(3)]
        if product:
            scales = [(scale, d.zero()) for scale in d.scales_of_product()]
        x, y, z = (b.tensor(name, shape, d.dtype, *one) for name, one in zip("xyz", scales))
        constant = b.tensor("c", [7], d.dtype, *scales[1], d.rng.choice(d.values(), 7))
        small = b.tensor("s", [1, 5, 6, 7], d.dtype, *scales[0])
        out = b.tensor("o", [1, 5, 6, 7], d.dtype, *scales[2])
        fields = {"fusedActivationFunction": d.activation} if activation else {}
        b.op(op, [x, y], [z], **fields)
        b.op(op, [small, constant], [out], **fields)
        b.save(path, [x, y, small], [z, out])
        return (*every_pair(d, shape), d.rng.choice(d.values(), (1, 5, 6, 7)))

    return build


def quantize(d, path):
    """Codes to codes of both 8-bit types, and floats next to ties."""
    b, scale, zero = TflBuilder(), d.scale(), d.zero()
    x = b.tensor("x", [1, 16, 16], d.dtype, scale, zero)
    other = {"int8": "uint8", "uint8": "int8"}[d.dtype]
    same = b.tensor("y", [1, 16, 16], d.dtype, d.scale(), d.zero())
    crossed = b.tensor("z", [1, 16, 16], other, d.scale() if d.rng.random() < 0.5 else scale,
                       zero + {"int8": 128, "uint8": -128}[d.dtype])  # fmt: skip
    f = b.tensor("f", [1, 4096], "float32")
    g = b.tensor("g", [1, 4096], d.dtype, scale, d.zero())
    for source, target in ((x, same), (x, crossed), (f, g)):
        b.op("QUANTIZE", [source], [target])
    b.save(path, [x, f], [same, crossed, g])
    near = np.clip((d.rng.integers(-300, 300, (1, 4096)) + 0.5) * np.float64(scale), -3e38, 3e38).astype(np.float32)
    steps = d.rng.integers(-1, 2, near.shape)
    moved = np.where(steps == 0, near, np.nextafter(near, np.where(steps < 0, -np.inf, np.inf).astype(np.float32)))
    return d.values().reshape(1, 16, 16), moved.astype(np.float32)


def dequantize(d, path):
    b = TflBuilder()
    x = b.tensor("x", [1, 16, 16], d.dtype, d.scale(), d.zero())
    y = b.tensor("y", [1, 16, 16], "float32")
    b.op("DEQUANTIZE", [x], [y])
    b.save(path, [x], [y])
    return (d.values().reshape(1, 16, 16),)


def reduction(op, *, alike=False):
    """Sums of pairs, and of windows of any size."""

    def build(d, path):
        b, first = TflBuilder(), (d.scale(), d.zero())
        second = first if alike else (np.float32(first[0] * 2.0 ** d.rng.integers(-3, 8)), d.zero())
        keep = bool(d.rng.integers(0, 2))
        grid = b.tensor("x", [1, 1, 2, 65536], d.dtype, *first)
        out = b.tensor("y", [1, 1, 1, 65536] if keep else [1, 1, 65536], d.dtype, *second)
        sizes = [int(n) for n in d.rng.integers(1, 12, 2)]
        image = b.tensor("s", [1, *sizes, 300], d.dtype, *first)
        mean = b.tensor("z", [1, 1, 1, 300] if keep else [1, 300], d.dtype, *second)
        axis, axes = b.tensor("axis", [1], "int32", data=[2]), b.tensor("axes", [2], "int32", data=[1, -2])
        b.op(op, [grid, axis], [out], keepDims=keep)
        b.op(op, [image, axes], [mean], keepDims=keep)
        b.save(path, [grid, image], [out, mean])
        one, two = every_pair(d, (1, 1, 1, 65536))
        return np.concatenate([one, two], axis=2), d.rng.choice(d.values(), (1, *sizes, 300))

    return build


def argument(op):
    def build(d, path):
        b = TflBuilder()
        x = b.tensor("x", [1, 65536, 2], d.dtype, d.scale(), d.zero())
        y = b.tensor("y", [1, 65536], "int32")
        axis = b.tensor("axis", [1], "int32", data=[-1])
        b.op(op, [x, axis], [y], outputType=2)
        b.save(path, [x], [y])
        return (np.stack(every_pair(d, (1, 65536)), axis=-1),)

    return build


def moved(op, shape, out, constants=(), outputs=1, data_at=0, inputs=1, **fields):
    """Codes of one scale that only change places; `constants` are int32 inputs behind the data (or in front)."""

    def build(d, path):
        b, scale, zero = TflBuilder(), d.scale(), d.zero()
        xs = [b.tensor(f"x{i}", shape, d.dtype, scale, zero) for i in range(inputs)]
        ys = [b.tensor(f"y{i}", out, d.dtype, scale, zero) for i in range(outputs)]
        extra = []
        for i, value in enumerate(constants):
            if value == "code":
                extra.append(b.tensor(f"k{i}", [1], d.dtype, scale, zero, [d.zero()]))
            else:
                extra.append(b.tensor(f"k{i}", np.shape(value), "int32", data=np.array(value, np.int32)))
        b.op(op, [*extra[:data_at], *xs, *extra[data_at:]], ys, **fields)
        b.save(path, xs, ys)
        return tuple(d.rng.choice(d.values(), shape) for _ in xs)

    return build


def batch_to_space(d, path):
    """Behind SPACE_TO_BATCH_ND, as a file's first axis is the images."""
    b, scale, zero = TflBuilder(), d.scale(), d.zero()
    x = b.tensor("x", [1, 6, 8, 12], d.dtype, scale, zero)
    y = b.tensor("y", [6, 4, 3, 12], d.dtype, scale, zero)
    z = b.tensor("z", [1, 7, 6, 12], d.dtype, scale, zero)
    k, p, c = (b.tensor(n, np.shape(v), "int32", data=v) for n, v in
               (("k", [2, 3]), ("p", [[1, 1], [0, 1]]), ("c", [[0, 1], [2, 1]])))  # fmt: skip
    b.op("SPACE_TO_BATCH_ND", [x, k, p], [y])
    b.op("BATCH_TO_SPACE_ND", [y, k, c], [z])
    b.save(path, [x], [y, z])
    return (d.rng.choice(d.values(), (1, 6, 8, 12)),)


def concatenation(d, path):
    """Inputs of the output's scale; of uint8 also such with scales of their own."""
    b = TflBuilder()
    target = (d.scale(), d.zero())
    forms = [(d.scale(), d.zero()) if d.dtype == "uint8" and d.rng.random() < 0.7 else target for _ in range(3)]
    xs = [b.tensor(f"x{i}", [1, 16, 16], d.dtype, *one) for i, one in enumerate(forms)]
    y = b.tensor("y", [1, 16, 48], d.dtype, *target)
    b.op("CONCATENATION", xs, [y], axis=-1)
    b.save(path, xs, [y])
    return (d.values().reshape(1, 16, 16),) * 3


def resized(op):
    def build(d, path):
        b, scale, zero, rng = TflBuilder(), d.scale(), d.zero(), d.rng
        size, out = ([int(n) for n in rng.integers(1, 14, 2)] for _ in range(2))
        x = b.tensor("x", [1, *size, 40], d.dtype, scale, zero)
        y = b.tensor("y", [1, *out, 40], d.dtype, scale, zero)
        k = b.tensor("k", [2], "int32", data=out)
        align, half = [(False, False), (True, False), (False, True)][int(rng.integers(0, 3))]
        b.op(op, [x, k], [y], alignCorners=align, halfPixelCenters=half)
        b.save(path, [x], [y])
        return (rng.choice(d.values(), (1, *size, 40)),)

    return build


def l2_normalization(d, path):
    """All pairs as vectors of two, and longer vectors."""
    b, middle = TflBuilder(), {"int8": 0, "uint8": 128}[d.dtype]
    length = int(d.rng.integers(1, 90))
    scale, zero, names = d.scale(), d.zero(), []
    for name, shape in (("x", [1, 65536, 2]), ("r", [1, 300, length])):
        x, y = b.tensor(name, shape, d.dtype, scale, zero), b.tensor(f"{name}y", shape, d.dtype, 1 / 128, middle)
        b.op("L2_NORMALIZATION", [x], [y])
        names.append((x, y))
    b.save(path, [x for x, _ in names], [y for _, y in names])
    return np.stack(every_pair(d, (1, 65536)), axis=-1), d.rng.choice(d.values(), (1, 300, length))


def batch_matmul(d, path):
    """All pairs of codes as products of one column with one row, and deeper products with either operand turned."""
    b = TflBuilder()
    one, two, out = ((scale, d.zero()) for scale in d.scales_of_product())
    x, y = b.tensor("x", [1, 256, 1], d.dtype, *one), b.tensor("y", [1, 1, 256], d.dtype, *two)
    z = b.tensor("z", [1, 256, 256], d.dtype, *out)
    turned = [bool(d.rng.integers(0, 2)) for _ in range(2)]
    p = b.tensor("p", [1, 3, *([9, 8] if turned[0] else [8, 9])], d.dtype, *one)
    q = b.tensor("q", [1, 3, *([7, 9] if turned[1] else [9, 7])], d.dtype, *two)
    r = b.tensor("r", [1, 3, 8, 7], d.dtype, *out)
    b.op("BATCH_MATMUL", [x, y], [z])
    b.op("BATCH_MATMUL", [p, q], [r], adjX=turned[0], adjY=turned[1])
    b.save(path, [x, y, p, q], [z, r])
    shapes = [b.graph.tensors[i].shape for i in (p, q)]
    return (
        d.values().reshape(1, 256, 1),
        d.values().reshape(1, 1, 256),
        *(d.rng.choice(d.values(), s) for s in shapes),
    )


def transpose_conv(d, path):
    """All inputs times all weights with biases next to ties, then windows that overlap."""
    b, rng = TflBuilder(), d.rng
    xs, ws, ys = d.scales_of_product()
    if d.dtype == "int8" and rng.random() < 0.5:
        ws = (ws * 2.0 ** rng.uniform(-3, 0, 256)).astype(np.float32)
    multiplier = np.float64(xs) * np.asarray(ws, np.float64) / np.float64(ys)
    weight_zero, zero, out = 0 if d.dtype == "int8" else d.zero(), d.zero(), d.zero()
    x, y = b.tensor("x", [1, 1, 256, 1], d.dtype, xs, zero), b.tensor("y", [1, 1, 256, 256], d.dtype, ys, out)
    w = b.tensor("w", [256, 1, 1, 1], d.dtype, ws, weight_zero, d.values())
    c = b.tensor("b", [256], "int32", (xs * ws).astype(np.float32), 0, d.bias(multiplier, 256))
    k = b.tensor("k", [4], "int32", data=[1, 1, 256, 256])
    b.op("TRANSPOSE_CONV", [k, w, x, c], [y], padding=1, strideH=1, strideW=1)
    kernel, stride, padding = (
        [int(n) for n in rng.integers(1, 5, 2)],
        [int(n) for n in rng.integers(1, 4, 2)],
        rng.integers(0, 2),
    )
    size = [4 * s if padding == 0 else 3 * s + e for s, e in zip(stride, kernel)]
    scale = np.asarray(ws).reshape(-1)[:5] if np.size(ws) > 1 else ws
    s = b.tensor("s", [1, 4, 4, 3], d.dtype, xs, zero)
    v = b.tensor("v", [5, *kernel, 3], d.dtype, scale, weight_zero, rng.choice(d.values(), (5, *kernel, 3)))
    t = b.tensor("t", [1, *size, 5], d.dtype, np.float32(ys * 4), out)
    j = b.tensor("j", [4], "int32", data=[1, *size, 5])
    b.op("TRANSPOSE_CONV", [j, v, s], [t], padding=int(padding), strideH=stride[0], strideW=stride[1])
    b.save(path, [x, s], [y, t])
    return d.values().reshape(1, 1, 256, 1), rng.choice(d.values(), (1, 4, 4, 3))


def lstm(d, path):
    """A sequence through cells whose gates reach both ends of their functions, with every cell state's step."""
    b, rng = TflBuilder(), d.rng
    steps, inputs, hidden = (int(n) for n in (rng.integers(1, 9), rng.integers(1, 30), rng.integers(1, 40)))
    coupled, major = bool(rng.integers(0, 2)), bool(rng.integers(0, 2))
    xs, hs = np.float32(2.0 ** rng.uniform(-9, -3)), np.float32(2.0 ** rng.uniform(-9, -6))
    cell = 2.0 ** -int(rng.integers(9, 16))
    sizes = [steps, 1, inputs] if major else [1, steps, inputs]
    x = b.tensor("x", sizes, "int8", xs, d.zero())
    row = []

    def constant(shape, dtype, scale, low, high):
        row.append(b.tensor(f"k{len(row)}", shape, dtype, scale, 0, rng.integers(low, high, shape)))

    scales = [np.float32(2.0 ** rng.uniform(-9, -5)) for _ in range(8)]
    for place, scale in enumerate(scales):
        if coupled and place in (0, 4):
            row.append(-1)
        else:
            constant([hidden, inputs if place < 4 else hidden], "int8", scale, -127, 128)
    row += [-1, -1, -1]
    for place in range(4):
        if coupled and place == 0:
            row.append(-1)
        else:
            step = np.float32(xs * scales[place])
            constant([hidden], "int32", step, -int(1 / step), int(1 / step) + 1)
    zero = d.zero()
    row += [-1, -1, b.tensor("h", [1, hidden], "int8", hs, zero, variable=True)]
    row += [b.tensor("c", [1, hidden], "int16", cell, 0, variable=True), -1, -1, -1, -1]
    inside = [b.tensor(f"i{i}", [0], "float32") for i in range(4)]
    inside.append(b.tensor("hs", [0], "int8", hs, zero))
    y = b.tensor("y", [*sizes[:2], hidden], "int8", hs, zero)
    clip = float(rng.choice([0.0, 0.3, 10.0]))
    b.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, *row], [y], inside,
         fusedActivationFunction=4, cellClip=clip, timeMajor=major)  # fmt: skip
    if major:  # a network's own input begins with the images
        given = b.tensor("g", [1, steps, inputs], "int8", *(xs, b.graph.tensors[x].quantization.zeroPoint[0]))
        b.op("RESHAPE", [given], [x], newShape=sizes)
        b.graph.operators.reverse()
        x = given
    b.save(path, [x], [y])
    return (rng.choice(d.values(), (1, steps, inputs)),)


def lowest(d):
    return 1 / 256, d.limits.min


def above(d):
    """An input scale and zero point of which no code is negative."""
    return d.scale(), d.limits.min


BLOCK = [1, 6, 8, 12]
GRIDS = {
    "ADD": pairs("ADD"), "SUB": pairs("SUB"), "MUL": pairs("MUL", product=True),
    "SQUARED_DIFFERENCE": pairs("SQUARED_DIFFERENCE", activation=False),
    "PRELU": pairs("PRELU", activation=False),
    "MAXIMUM": pairs("MAXIMUM", alike=True, activation=False), "MINIMUM": pairs("MINIMUM", alike=True, activation=False),
    **{op: function(op) for op in ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "TANH", "HARD_SWISH")},
    "LEAKY_RELU": function("LEAKY_RELU", alpha=lambda d: float(np.float32(d.rng.choice([0.1, 0.3, 0.5, 0.01, 1.5])))),
    "LOGISTIC": function("LOGISTIC", lowest), "RSQRT": function("RSQRT", x=above),
    "QUANTIZE": quantize, "DEQUANTIZE": dequantize, "CONCATENATION": concatenation,
    "MEAN": reduction("MEAN"), "SUM": reduction("SUM"), "REDUCE_MAX": reduction("REDUCE_MAX", alike=True),
    "REDUCE_MIN": reduction("REDUCE_MIN", alike=True), "REDUCE_PROD": reduction("REDUCE_PROD"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lstm,
    "REVERSE_V2": moved("REVERSE_V2", [1, 5, 6, 7], [1, 5, 6, 7], [[-2]]),
    "ARG_MAX": argument("ARG_MAX"), "ARG_MIN": argument("ARG_MIN"),
    "RESIZE_BILINEAR": resized("RESIZE_BILINEAR"), "RESIZE_NEAREST_NEIGHBOR": resized("RESIZE_NEAREST_NEIGHBOR"),
    "L2_NORMALIZATION": l2_normalization, "BATCH_MATMUL": batch_matmul, "TRANSPOSE_CONV": transpose_conv,
    "PAD": moved("PAD", [1, 5, 6, 7], [1, 8, 6, 12], [[[0, 0], [1, 2], [0, 0], [3, 2]]]),
    "PADV2": moved("PADV2", [1, 5, 6, 7], [1, 8, 6, 12], [[[0, 0], [1, 2], [0, 0], [3, 2]], "code"]),
    "MIRROR_PAD": moved("MIRROR_PAD", [1, 5, 6, 7], [1, 8, 6, 12], [[[0, 0], [1, 2], [0, 0], [3, 2]]], mode=0),
    "TRANSPOSE": moved("TRANSPOSE", [1, 5, 6, 7], [6, 1, 7, 5], [[2, 0, 3, 1]]),
    "TILE": moved("TILE", [1, 5, 6, 7], [1, 10, 6, 21], [[1, 2, 1, 3]]),
    "BROADCAST_TO": moved("BROADCAST_TO", [1, 5, 1, 7], [1, 5, 6, 7], [[1, 5, 6, 7]]),
    "SQUEEZE": moved("SQUEEZE", [1, 5, 1, 7], [5, 7]),
    "EXPAND_DIMS": moved("EXPAND_DIMS", [1, 5, 7], [1, 1, 5, 7], [0]),
    "SLICE": moved("SLICE", [1, 5, 6, 7], [1, 3, 6, 2], [[0, 1, 0, 5], [1, 3, -1, 2]]),
    "STRIDED_SLICE": moved("STRIDED_SLICE", [1, 5, 6, 7], [1, 2, 7], [[0, 1, -2, 0], [1, 5, 9, -9], [1, 2, 1, 1]],
                           shrinkAxisMask=4, endMask=8),
    "SPLIT": moved("SPLIT", [1, 5, 6], [1, 5, 2], [-1], outputs=3, data_at=1, numSplits=3),
    "SPLIT_V": moved("SPLIT_V", [1, 5, 6], [1, 5, 2], [[2, -1, 2], 2], outputs=3, numSplits=3),
    "PACK": moved("PACK", [1, 5, 6], [1, 5, 3, 6], inputs=3, axis=2, valuesCount=3),
    "UNPACK": moved("UNPACK", [1, 5, 3, 6], [1, 5, 6], outputs=3, axis=2, num=3),
    "GATHER": moved("GATHER", [1, 5, 6], [1, 2, 2, 6], [[[4, 0], [2, 2]]], axis=1),
    "SPACE_TO_DEPTH": moved("SPACE_TO_DEPTH", BLOCK, [1, 3, 4, 48], blockSize=2),
    "DEPTH_TO_SPACE": moved("DEPTH_TO_SPACE", BLOCK, [1, 12, 16, 3], blockSize=2),
    "SPACE_TO_BATCH_ND": moved("SPACE_TO_BATCH_ND", BLOCK, [6, 4, 3, 12], [[2, 3], [[1, 1], [0, 1]]]),
    "BATCH_TO_SPACE_ND": batch_to_space,
}  # fmt: skip
INT8_ONLY = ("RSQRT", "SQUARED_DIFFERENCE", "BATCH_MATMUL", "REDUCE_PROD", "UNIDIRECTIONAL_SEQUENCE_LSTM")
