"""Biases of QDQ products: of any type, scale and zero point, against ONNX Runtime and against exact arithmetic."""

from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx_build import model, node, save

import cimemu
from cimemu.check.ort_session import make_session
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.requantize import Fp32HalfEven, RealBias

pytest.importorskip("onnxruntime")
ARCH = cimemu.load_arch("rram_128", {"macro.adc": "ideal", "macro.columns": 1024})
K, N, IMAGES = 7, 200, 30
OPS = ("Conv", "Gemm", "MatMul")
TYPES = (("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8"))
# Kinds of bias: (stored type or None for float, scale: "product", "own" or "close", a scale an output?, zero point)
KINDS = {
    "int32": ("int32", "product", False, 0),
    "int32 by channel": ("int32", "product", True, 0),
    "int32, own scale": ("int32", "own", False, 0),
    "int32, own scales": ("int32", "own", True, 0),
    "int32, nearly the products' scale": ("int32", "close", False, 0),
    "int32, zero point": ("int32", "product", False, 11),
    "int8": ("int8", "own", False, 0),
    "int8 by channel": ("int8", "own", True, 0),
    "int8, zero point": ("int8", "own", False, -3),
    "uint8, zero point": ("uint8", "own", False, 128),
    "float": (None, "", False, 0),
}
INTEGER = ("int32", "int32 by channel", "float")  # added to the accumulator as they are


def powers(rng, size, low, high):
    """Powers of two, with which float32 sums are exact."""
    return np.float32(2.0) ** rng.integers(low, high, size).astype(np.float32)


def network(folder, op, types, by_channel, kind, *, exact, seed=0, behind="quantize"):
    """(path, inputs, what exact arithmetic needs): a product of K inputs and N outputs with a bias of `kind`."""
    rng = np.random.default_rng(seed)
    x_type, w_type = types
    weight = rng.integers(np.iinfo(w_type).min, np.iinfo(w_type).max + 1, (N, K)).astype(w_type)
    scales = (lambda size, low, high: powers(rng, size, low, high)) if exact else (
        lambda size, low, high: (2.0 ** rng.uniform(low, high, size)).astype(np.float32))  # fmt: skip
    xs, ws, ys = scales((), -6, -3), scales(N if by_channel else (), -8, -4), scales((), -4, -1)
    w_zero = np.zeros(ws.shape, w_type) if w_type == "int8" else np.full(ws.shape, 121, w_type)
    constants = {
        "xs": xs, "xz": np.array(3, x_type), "w": weight, "ws": ws, "wz": w_zero, "ys": ys, "yz": np.array(7, x_type),
    }  # fmt: skip
    stored, scale_kind, many, zero = KINDS[kind]
    product = (xs * ws).astype(np.float32)
    nodes = [node("QuantizeLinear", "x xs xz", "xq"), node("DequantizeLinear", "xq xs xz", "xd")]
    if stored is None:
        constants["bias"] = (rng.integers(-(2**12), 2**12, N) * 2.0**-11 if exact else rng.normal(0, 2, N)).astype(
            np.float32
        )
        real = constants["bias"]
    else:
        own = scales(N if many else (), -9, -6)
        bs = {"product": np.broadcast_to(product, (N,)) if many or by_channel else product, "own": own}.get(scale_kind)
        bs = np.asarray((product.reshape(-1)[:1] * np.float32(1 + 2**-8)).reshape(()) if bs is None else bs, np.float32)
        limit = min(np.iinfo(stored).max, 20_000)
        b = rng.integers(max(-limit, np.iinfo(stored).min), limit + 1, N).astype(stored)
        constants |= {"b": b, "bs": bs, "bz": np.full(bs.shape, zero, stored)}
        nodes.append(node("DequantizeLinear", "b bs bz", "bias", axis=0))
        real = (b.astype(np.int32) - np.int32(zero)).astype(np.float32) * bs
    if op == "Conv":
        constants["w"] = weight.reshape(N, K, 1, 1)
        core = [node("Conv", "xd wd bias", "r")]
    elif op == "Gemm":
        core = [node("Gemm", "xd wd bias", "r", transB=1)]
    else:
        constants["w"] = np.ascontiguousarray(weight.T)
        core = [node("MatMul", "xd wd", "m"), node("Add", "m bias", "r")]
    nodes.append(node("DequantizeLinear", "w ws wz", "wd", axis=1 if op == "MatMul" else 0))
    tail = [node("QuantizeLinear", "r ys yz", "yq"), node("DequantizeLinear", "yq ys yz", "y")]
    if behind == "clip":
        constants |= {"low": np.float32(-0.37), "high": np.float32(1.11)}
        tail = [node("Clip", "r low high", "c"), node("QuantizeLinear", "c ys yz", "yq"), tail[1]]
    shape = (K, 1, 1) if op == "Conv" else (K,)
    path = save(folder, model([*nodes, *core, *tail], {"x": shape}, ["y"], constants))
    x = (rng.integers(-100, 100, (IMAGES, *shape)) * xs).astype(np.float32)
    return path, x, (constants, weight, real)


def session(path, *, fused):
    """ONNX Runtime's outputs, as shipped or without fusions."""
    return make_session(path.read_bytes(), rewrites=fused)


def emulated(path, x):
    quantized = cimemu.quantize(cimemu.load_network(path), ARCH)
    layer = next(layer for layer in quantized.layers if isinstance(layer, MacroLayer))
    return layer, cimemu.run(ARCH, quantized, x, detail=None).outputs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", OPS)
def test_a_bias_is_what_onnx_runtime_makes_of_it(tmp_path, op, kind):
    differing = elements = 0
    for types in TYPES:
        for by_channel in (False, True):
            if kind == "int32, nearly the products' scale" and by_channel:
                continue
            path, x, _ = network(tmp_path, op, types, by_channel, kind, exact=True, seed=len(kind))
            # A fused operator that drops the bias's own parameters is no reference: the file is right.
            theirs = session(path, fused=kind in INTEGER).run(None, {"x": x})[0]
            layer, ours = emulated(path, x)
            assert isinstance(layer.stage, Fp32HalfEven if kind in INTEGER else RealBias)
            assert kind in INTEGER or layer.stage.dropped == kind.startswith("int32")
            differing += int((ours != theirs).sum())
            elements += ours.size
    print(f"{op}, {kind}: {elements} elements, {differing} differ")
    assert differing == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", OPS)
def test_a_bias_under_any_scales_is_rounded_once(tmp_path, op, kind):
    """Where ONNX Runtime fuses, its values; where it runs in float32, the exact value's or, within 1e-4 of a tie, its
    neighbour's."""
    for seed, types in enumerate(TYPES):
        by_channel = seed == 1 and "nearly" not in kind
        path, x, parts = network(tmp_path, op, types, by_channel, kind, exact=False, seed=seed)
        theirs = session(path, fused=kind in INTEGER).run(None, {"x": x})[0]
        _, ours = emulated(path, x)
        if kind in INTEGER:
            assert (ours == theirs).all()
            continue
        gap = np.abs(exact_steps(parts, x, types[0]).reshape(ours.shape) % 1 - 0.5)  # from the next tie
        step = parts[0]["ys"]
        same = np.abs(ours - theirs) < step / 2
        assert same[gap > 1e-4].all()
        assert np.abs(ours - theirs).max() < 1.5 * step


def exact_steps(parts, x, x_type):
    """(sum of products + bias) / output scale from integers, in float64, whose error is far below 1e-4 here."""
    constants, weight, real = parts
    limits = np.iinfo(x_type)
    xq = np.clip(np.rint(x.reshape(len(x), K) / constants["xs"]) + 3, limits.min, limits.max) - 3
    centred = weight.astype(np.float64) - constants["wz"].reshape(-1, 1)
    scale = float(constants["xs"]) * np.broadcast_to(constants["ws"].astype(np.float64), (N,))
    return (xq @ centred.T * scale + np.broadcast_to(real, (N,))) / float(constants["ys"])


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("kind", ["int32", "int32, own scale", "float"])
def test_a_clip_between_the_bias_and_the_quantisation_bounds_the_sum(tmp_path, op, kind):
    path, x, _ = network(tmp_path, op, TYPES[0], True, kind, exact=True, behind="clip")
    _, ours = emulated(path, x)
    assert (ours == session(path, fused=True).run(None, {"x": x})[0]).all()


def test_a_real_bias_is_the_exact_sum_rounded():
    stage = RealBias(
        np.array([0.1], np.float64), np.array([0.3], np.float32), np.float32(0.07), 5, -128, 127, "int8", False
    )
    acc = np.arange(-80, 80).reshape(-1, 1)
    exact = [Fraction(0.1) * int(a) + Fraction(float(np.float32(0.3))) for a in acc[:, 0]]
    real = np.array([float(value) for value in exact]).astype(np.float32)
    assert stage.apply(acc)[:, 0].tolist() == [int(np.clip(np.rint(r / np.float32(0.07)) + 5, -128, 127)) for r in real]


def test_a_bias_beyond_32_bits_is_refused_with_its_place(tmp_path):
    path, _, _ = network(tmp_path, "Gemm", TYPES[0], False, "float", exact=True)
    loaded = onnx.load(path)
    bias = next(t for t in loaded.graph.initializer if t.name == "bias")
    values = onnx.numpy_helper.to_array(bias).copy()
    values[4] = 1e8
    bias.CopyFrom(onnx.numpy_helper.from_array(values, "bias"))
    onnx.save(loaded, path)
    with pytest.raises(cimemu.WorkloadError, match=r"bias\[4\] = 1e\+08 is .* must be within 32 bits"):
        emulated(path, np.zeros((1, K), np.float32))
