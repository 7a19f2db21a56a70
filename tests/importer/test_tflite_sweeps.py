"""Every integer TensorFlow Lite operator on full grids of its operands, under many scales, against LiteRT's reference kernels.

`-s` prints for each operator how many pairs of operands were compared under how many sets of scales and zero points.
"""

import warnings

import numpy as np
import pytest
from tflite_build import TflBuilder, digital, litert
from tflite_grids import GRIDS, INT8_ONLY

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.importer import load_network
from cimemu.importer.tflite_table import INTEGER_OPS
from cimemu.layer.rounding import quantize_multiplier
from cimemu.layer.tfl_reduce import TflSumOrMean

MACRO = cimemu.load_arch("rram_128", {"macro.adc": "ideal"}).macro
DTYPES = ("int8", "uint8")
# How scales are drawn: names and shares. Ratios that are powers of two put results on ties; products of denormals and of huge
# numbers are refused where the runtime's own 32 bits would not hold them.
KINDS = ("random", "powers", "ties", "wide", "denormal", "huge")
SETS = {"thinned": 12, "full": 108}


class Draw:
    """One set of scales, zero points and an activation."""

    def __init__(self, seed, dtype):
        self.rng = np.random.default_rng(seed)
        self.kind, self.dtype, self.limits = KINDS[seed % len(KINDS)], dtype, np.iinfo(dtype)
        self.activation = int(self.rng.integers(0, 4)) if self.kind != "denormal" else 0
        self.base = np.float32(self.rng.uniform(0.001, 0.1))

    def scale(self):
        rng = self.rng
        drawn = {
            "random": lambda: rng.uniform(0.001, 0.1),
            "powers": lambda: 2.0 ** rng.integers(-10, -1),
            "ties": lambda: self.base * 2.0 ** rng.integers(-5, 6),
            "wide": lambda: 2.0 ** rng.uniform(-20, 8),
            "denormal": lambda: 2.0 ** rng.uniform(-149, -126),
            "huge": lambda: 2.0 ** rng.uniform(90, 126),
        }[self.kind]()
        return np.float32(drawn)

    def scales_of_product(self):
        """Input, weight and output scale with a multiplier of at most 2."""
        if self.kind in ("denormal", "huge"):  # one operand at the end of float32, the other at the other end
            x, w = np.float32(self.scale()), np.float32(2.0 ** self.rng.uniform(-3, 0))
            return x, w, np.float32(np.minimum(x * w * 2.0 ** self.rng.integers(0, 12), np.float32(3e38)))
        x, w = self.scale(), self.scale()
        ratio = 2.0 ** (self.rng.integers(0, 14) if self.kind in ("ties", "powers") else self.rng.uniform(-1, 14))
        return x, w, np.float32(np.float64(x) * np.float64(w) * ratio)

    def zero(self):
        return int(self.rng.integers(self.limits.min, self.limits.max + 1))

    def values(self):
        return np.arange(self.limits.min, self.limits.max + 1).astype(self.dtype)

    def bias(self, multiplier, outputs):
        """Sums that put outputs next to ties."""
        near = np.rint((self.rng.integers(-140, 140, outputs) + 0.5) / multiplier) + self.rng.integers(-1, 2, outputs)
        return np.clip(near, -(2**30), 2**30).astype(np.int32)


def pool(op):
    def build(d, path):
        """All pairs in windows of two, then windows of any size under SAME padding."""
        b, scale, zero = TflBuilder(), d.scale(), d.zero()
        pairs = np.stack(np.meshgrid(d.values(), d.values(), indexing="ij")).reshape(1, 1, 2, 65536)
        size = [int(n) for n in d.rng.integers(1, 6, 2)]
        x = b.tensor("x", pairs.shape, d.dtype, scale, zero)
        small = b.tensor("s", [1, 20, 20, 3], d.dtype, scale, zero)
        y = b.tensor("y", [1, 1, 1, 65536], d.dtype, scale, zero)
        z = b.tensor("z", [1, 10, 7, 3], d.dtype, scale, zero)
        common = {"fusedActivationFunction": d.activation}
        b.op(op, [x], [y], filterHeight=1, filterWidth=2, strideH=1, strideW=2, padding=1, **common)
        b.op(op, [small], [z], filterHeight=size[0], filterWidth=size[1], strideH=2, strideW=3, padding=0, **common)
        b.save(path, [x, small], [y, z])
        return pairs, d.rng.choice(d.values(), (1, 20, 20, 3))

    return build


def reshape(d, path):
    b = TflBuilder()
    x = b.tensor("x", [1, 16, 16], d.dtype, d.scale(), d.zero())
    y = b.tensor("y", [1, 256], d.dtype, d.scale(), d.zero())
    b.op("RESHAPE", [x], [y], newShape=[1, 256])
    b.save(path, [x], [y])
    return (d.values().reshape(1, 16, 16),)


def softmax(d, path):
    """All pairs as rows of two, and rows of 2 to 40 values."""
    b, beta = TflBuilder(), float(d.rng.choice([1.0, 0.5, 2.0, 0.1]))
    length = int(d.rng.integers(2, 41))
    scale, zero = d.scale(), d.zero()
    names = []
    for name, shape in (("x", [1, 65536, 2]), ("rows", [1, 500, length])):
        source = b.tensor(name, shape, d.dtype, scale, zero)
        names.append((source, b.tensor(f"{name}_y", shape, d.dtype, 1 / 256, d.limits.min)))
        b.op("SOFTMAX", [source], [names[-1][1]], beta=beta)
    b.save(path, [x for x, _ in names], [y for _, y in names])
    pairs = np.stack(np.meshgrid(d.values(), d.values(), indexing="ij"), axis=-1).reshape(1, 65536, 2)
    return pairs, d.rng.choice(d.values(), (1, 500, length))


def product(op):
    def build(d, path):
        """All inputs times all weights; biases next to ties; a scale a channel for half of the int8 networks."""
        b = TflBuilder()
        xs, ws, ys = d.scales_of_product()
        if d.dtype == "int8" and d.rng.random() < 0.5:
            ws = (ws * 2.0 ** d.rng.uniform(-3, 0, 256)).astype(np.float32)
        multiplier = np.float64(xs) * np.asarray(ws, np.float64) / np.float64(ys)
        weight_zero, depthwise = 0 if d.dtype == "int8" else d.zero(), op == "DEPTHWISE_CONV_2D"
        shapes = {
            "FULLY_CONNECTED": ([1, 256, 1], [256, 1], [1, 256, 256]),
            "CONV_2D": ([1, 1, 256, 1], [256, 1, 1, 1], [1, 1, 256, 256]),
            "DEPTHWISE_CONV_2D": ([1, 1, 256, 256], [1, 1, 1, 256], [1, 1, 256, 256]),
        }[op]
        x = b.tensor("x", shapes[0], d.dtype, xs, d.zero())
        w = b.tensor("w", shapes[1], d.dtype, ws, weight_zero, d.values(), axis=3 if depthwise else 0)
        c = b.tensor("b", [256], "int32", (xs * ws).astype(np.float32), 0, d.bias(multiplier, 256))
        y = b.tensor("y", shapes[2], d.dtype, ys, d.zero())
        fields = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
        if op == "FULLY_CONNECTED":
            fields = {"weightsFormat": 0, "keepNumDims": True}
        elif depthwise:
            fields["depthMultiplier"] = 1
        b.op(op, [x, w, c], [y], fusedActivationFunction=d.activation, **fields)
        b.save(path, [x], [y])
        return (np.broadcast_to(d.values().reshape(-1, 1), (256, 256 if depthwise else 1)).reshape(shapes[0]).copy(),)

    return build


BUILDERS = {
    **GRIDS, "AVERAGE_POOL_2D": pool("AVERAGE_POOL_2D"), "MAX_POOL_2D": pool("MAX_POOL_2D"), "RESHAPE": reshape,
    "SOFTMAX": softmax, **{op: product(op) for op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")},
}  # fmt: skip


ON_MACROS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM")
# The reference kernel of SUM reads int8 codes as uint8 (LiteRT's issue 4079), so that only uint8 is compared.
NOT = {("SUM", "int8"), *((op, "uint8") for op in INT8_ONLY)}
CASES = [(op, dtype) for op in BUILDERS for dtype in DTYPES if (op, dtype) not in NOT]


def on_macros(path, *images):
    network = load_network(path)
    found = Emulator(network, MACRO, threads=1).run(list(images)).tensors
    return [found[name] for name in network.outputs]


def sweep(op, dtype, sets, folder):
    """(sets compared, refused, elements compared, differing), until `sets` have been compared."""
    run = on_macros if op in ON_MACROS else digital
    compared = refused = elements = differing = seed = 0
    path = folder / "n.tflite"
    kinds = set()
    while compared < sets:
        draw = Draw(seed, dtype)
        seed += 1
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            images = BUILDERS[op](draw, path)
        try:
            ours = run(path, *images)
        except cimemu.WorkloadError:
            refused += 1
            assert refused < 2 * sets + 20, "nearly all sets are refused"
            continue
        theirs = litert(path.read_bytes(), *images)
        compared += 1
        kinds.add(draw.kind)
        for mine, their in zip(ours, theirs):
            assert mine.shape in (their.shape, (1, *their.shape))  # a tensor that belongs to one image as a whole
            mine = mine.reshape(their.shape)
            assert mine.dtype == their.dtype
            elements += mine.size
            differing += int((mine != their).sum())
    print(
        f"{op} {dtype}: {elements} pairs under {compared} sets ({', '.join(sorted(kinds))}; {refused} refused), {differing} differ"
    )
    return differing


def test_every_operator_has_a_sweep():
    assert set(BUILDERS) == set(INTEGER_OPS)


@pytest.mark.parametrize(
    ("op", "dtype"),
    [case for case in CASES if case[1] == "int8"],  # the full sweep below has the others
)
def test_an_operator_equals_the_reference_kernel(tmp_path, op, dtype):
    assert sweep(op, dtype, SETS["thinned"], tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dtype"), CASES)
def test_an_operator_equals_the_reference_kernel_under_a_hundred_sets_of_scales(tmp_path, op, dtype):
    assert sweep(op, dtype, SETS["full"], tmp_path) == 0


def test_a_sum_of_int8_is_that_of_uint8_with_codes_128_lower():
    x = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 6)).astype(np.uint8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scale, zeros = quantize_multiplier(float(2.0 ** rng.uniform(-4, 4))), rng.integers(0, 256, 2)
        made = [
            TflSumOrMean(
                "s", ("x",), ("s",), ((1, 3, 5, 6),), (1, 2), False, *(int(z) - off for z in zeros), scale, mean
            )
            for mean in (False, True)
            for off in (0, 128)
        ]
        for first, second in (made[:2], made[2:]):
            lower = second.forward([(x.astype(np.int16) - 128).astype(np.int8)])[0]
            assert np.array_equal(first.forward([x])[0], lower.astype(np.int16) + 128)
