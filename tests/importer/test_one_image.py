"""Networks that take one image at a time: whatever they do with their axis 0, an image's values are ONNX Runtime's for it."""

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.network import check_network
from cimemu.check.ort_session import make_session
from cimemu.importer.onnx_image_axis import FOLLOWED
from cimemu.importer.onnx_whole_more import ALL_RULES
from cimemu.layer.execute import run_float

IMAGES = 3


def saved(path, nodes, inputs, outputs, constants=(), opset=17):
    kinds = {"f": TensorProto.FLOAT, "i": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, kinds[kind], shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def alone(path, feeds):
    """ONNX Runtime's outputs, image by image: [images, all axes of the file]."""
    session = make_session(onnx.load(path).SerializeToString())
    names = [value.name for value in session.get_outputs()]
    runs = [session.run(names, {name: array[i] for name, array in feeds.items()}) for i in range(IMAGES)]
    return {name: np.stack([run[k] for run in runs]) for k, name in enumerate(names)}


def equal(path, feeds, tolerance=1e-5):
    """That cimemu gives the same; `feeds` are [images, all axes of the file]."""
    network = cimemu.load_network(path)
    given = {name: feeds[name].reshape(IMAGES, *network.types[name].shape) for name in network.inputs}
    made = run_float(network, given)
    for name, wanted in alone(path, feeds).items():
        found = made[name]
        assert found.shape == (IMAGES, *network.types[name].shape)
        assert found.size == wanted.size
        np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=tolerance, atol=tolerance, err_msg=name)
    return network


class Chain:
    """A random chain of operators over one tensor, whose shape in the file is followed."""

    def __init__(self, seed, shape):
        self.r, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.nodes, self.constants, self.name, self.shape = [], {}, "x", tuple(shape)

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def weights(self, *shape):
        return self.constant(self.rng.normal(size=shape).astype(np.float32))

    def step(self, op, inputs, shape, **attributes):
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"n{len(self.nodes)}", **attributes))
        self.name, self.shape = output, tuple(int(s) for s in shape)

    def sized(self, values):
        return self.constant(np.array(values, np.int64))

    def transpose(self):
        perm = self.r.sample(range(len(self.shape)), len(self.shape))
        self.step("Transpose", [self.name], [self.shape[a] for a in perm], perm=perm)

    def reshape(self):
        left, sizes = int(np.prod(self.shape)), []
        while left > 1 and len(sizes) < 4:
            size = self.r.choice([d for d in range(1, left + 1) if left % d == 0])
            sizes.append(size)
            left //= size
        sizes = [*sizes, left] if left > 1 or not sizes else sizes
        if self.r.random() < 0.5 and len(sizes) < 5:
            sizes.insert(self.r.randrange(len(sizes) + 1), 1)
        given = list(sizes)
        if self.r.random() < 0.5:
            given[self.r.randrange(len(given))] = -1
        self.step("Reshape", [self.name, self.sized(given)], sizes)

    def squeeze(self):
        ones = [a for a, s in enumerate(self.shape) if s == 1]
        if ones and len(self.shape) > 2:
            axis = self.r.choice(ones)
            rest = [s for a, s in enumerate(self.shape) if a != axis]
            self.step(
                "Squeeze", [self.name, self.sized([axis - (len(self.shape) if self.r.random() < 0.5 else 0)])], rest
            )

    def unsqueeze(self):
        if len(self.shape) < 5:
            axis = self.r.randint(0, len(self.shape))
            self.step("Unsqueeze", [self.name, self.sized([axis])], [*self.shape[:axis], 1, *self.shape[axis:]])

    def product(self):
        columns = self.r.randint(1, 4)
        if len(self.shape) > 1:
            weight = self.weights(self.shape[-1], columns)
            self.step("MatMul", [self.name, weight], [*self.shape[:-1], columns])

    def gemm(self):
        if len(self.shape) == 2:
            flipped, columns = self.r.random() < 0.5, self.r.randint(1, 4)
            rows, depth = self.shape[::-1] if flipped else self.shape
            across = self.r.random() < 0.5
            weight = self.weights(*((columns, depth) if across else (depth, columns)))
            bias = [self.weights(columns)] if self.r.random() < 0.7 else []
            factors = {"alpha": 0.5, "beta": 2.0} if self.r.random() < 0.5 else {}
            keys = {"transA": int(flipped), "transB": int(across), **factors}
            self.step("Gemm", [self.name, weight, *bias], (rows, columns), **keys)

    def operand(self):
        rank = self.r.randint(1, len(self.shape))
        sizes = [s if self.r.random() < 0.6 else 1 for s in self.shape[-rank:]]
        self.step(self.r.choice(["Add", "Mul", "Sub"]), [self.name, self.weights(*sizes)], self.shape)

    def with_itself(self):
        """A sum with the same elements seen as fewer axes."""
        if len(self.shape) > 1 and self.shape[0] == 1:
            before, shape = self.name, self.shape
            self.step("Reshape", [self.name, self.sized(shape[1:])], shape[1:])
            self.step("Add", [before, self.name], shape)

    def reduce(self):
        axes = sorted(self.r.sample(range(len(self.shape)), self.r.randint(1, len(self.shape))))
        kept = self.r.random() < 0.5 or len(axes) == len(self.shape)
        shape = [1 if a in axes else s for a, s in enumerate(self.shape) if kept or a not in axes]
        self.step("ReduceMean", [self.name], shape, axes=axes, keepdims=int(kept))

    def softmax(self):
        axis = self.r.randrange(len(self.shape))
        self.step("Softmax", [self.name], self.shape, axis=axis - (len(self.shape) if self.r.random() < 0.5 else 0))

    def cut(self):
        axis = self.r.randrange(len(self.shape))
        start = self.r.randrange(self.shape[axis])
        stop = self.r.choice([self.shape[axis], 2**62, start + 1])
        shape = list(self.shape)
        shape[axis] = min(stop, shape[axis]) - start
        self.step("Slice", [self.name, *(self.sized([v]) for v in (start, stop, axis))], shape)

    def gather(self):
        axis, count = self.r.randrange(len(self.shape)), self.r.randint(1, 3)
        picked = [self.r.randrange(self.shape[axis]) for _ in range(count)]
        shape = list(self.shape)
        shape[axis] = count
        self.step("Gather", [self.name, self.sized(picked)], shape, axis=axis)

    def joined(self):
        axis = self.r.randrange(len(self.shape))
        more = list(self.shape)
        more[axis] = self.r.randint(1, 2)
        shape = list(self.shape)
        shape[axis] += more[axis]
        if np.prod(shape) < 300:
            self.step("Concat", [self.name, self.weights(*more)], shape, axis=axis)

    def pad(self):
        pads = [self.r.randint(0, 1) for _ in range(2 * len(self.shape))]
        shape = [s + a + b for s, a, b in zip(self.shape, pads, pads[len(self.shape) :])]
        if np.prod(shape) < 300:
            self.step("Pad", [self.name, self.sized(pads)], shape)

    def expand(self):
        target = [self.r.randint(1, 3) if s == 1 else s for s in self.shape]
        if self.r.random() < 0.3 and len(target) < 5:
            target.insert(0, self.r.randint(1, 2))
        if np.prod(target) < 300:
            self.step("Expand", [self.name, self.sized(target)], target)

    def flatten(self):
        axis = self.r.randint(0, len(self.shape))
        sizes = int(np.prod(self.shape[:axis])), int(np.prod(self.shape[axis:]))
        self.step("Flatten", [self.name], sizes, axis=axis)

    def element(self):
        self.step(self.r.choice(["Relu", "Tanh", "Sigmoid"]), [self.name], self.shape)

    MOVES = (
        transpose, reshape, squeeze, unsqueeze, product, gemm, operand, with_itself, reduce, softmax, cut, gather, joined,
        pad, expand, flatten, element,
    )  # fmt: skip

    def grown(self, steps):
        for _ in range(steps):
            self.r.choice(self.MOVES)(self)
        if not self.nodes:
            self.element()
        return self


@pytest.mark.parametrize("count", [60, pytest.param(900, marks=pytest.mark.slow)])
def test_random_chains_give_each_image_what_onnx_runtime_gives_it(tmp_path, count):
    whole = 0
    for seed in range(count):
        r = random.Random(seed)
        shape = [1, *(r.randint(1, 4) for _ in range(r.randint(1, 3)))]
        chain = Chain(seed, shape).grown(r.randint(2, 9))
        path = saved(tmp_path / "n.onnx", chain.nodes, [("x", "f", shape)], [chain.name], chain.constants)
        feeds = {"x": np.random.default_rng(seed).normal(size=(IMAGES, *shape)).astype(np.float32)}
        try:
            whole += equal(path, feeds).whole is not None
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {[(n.op_type) for n in chain.nodes]}") from error
    assert whole > 20


def attention(path, batch):
    """A block of self-attention of x [batch, words, channels] with the batch in the middle, as torch writes it."""
    rng = np.random.default_rng(0)
    words, channels, heads = 5, 8, 2
    constants = {
        **{f"w{k}": rng.normal(size=(channels, channels)).astype(np.float32) / 3 for k in "qkvo"},
        "heads": np.array([words, batch * heads, channels // heads]),
        "back": np.array([words, batch, channels]),
    }
    nodes = [helper.make_node("Transpose", ["x"], ["s"], perm=[1, 0, 2])]
    for k in "qkv":
        nodes += [
            helper.make_node("MatMul", ["s", f"w{k}"], [f"{k}0"], name=f"product_{k}"),
            helper.make_node("Reshape", [f"{k}0", "heads"], [f"{k}1"]),
            helper.make_node("Transpose", [f"{k}1"], [f"{k}2"], perm=[1, 2, 0] if k == "k" else [1, 0, 2]),
        ]
    nodes += [
        helper.make_node("MatMul", ["q2", "k2"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v2"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["m1"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["m1", "back"], ["m2"]),
        helper.make_node("MatMul", ["m2", "wo"], ["m3"], name="product_o"),
        helper.make_node("Add", ["m3", "s"], ["m4"]),
        helper.make_node("Transpose", ["m4"], ["y"], perm=[1, 0, 2]),
    ]
    return saved(path, nodes, [("x", "f", [batch, words, channels])], ["y"], constants), (batch, words, channels)


def test_attention_with_the_batch_in_the_middle_is_on_macros_and_as_in_onnx_runtime(tmp_path):
    path, shape = attention(tmp_path / "n.onnx", 1)
    x = np.random.default_rng(1).normal(size=(IMAGES, *shape)).astype(np.float32)
    network = equal(path, {"x": x})
    assert network.types["y"].shape == shape[1:]
    arch = cimemu.load_arch("sram_128")
    quantised = cimemu.quantize(network, arch, x[:, 0])
    assert sum(layer.on_macros for layer in quantised.layers) == 4
    report = check_network(quantised, arch.macro, x[:, 0])
    assert not report.failed
    result = cimemu.run(arch, quantised, x[:, 0], trace=tmp_path / "t.h5")
    assert np.abs(result.outputs - alone(path, {"x": x})["y"][:, 0]).max() < 0.3


def test_inputs_without_an_axis_of_images_are_given_for_every_image(tmp_path):
    """An initial state [layers, 1, width]: the batch is its axis 1, here and in the file."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("ReduceSum", ["h", "zero"], ["s"], keepdims=0),
        helper.make_node("Add", ["p", "s"], ["y"]),
        helper.make_node("Mul", ["h", "h"], ["h2"]),
    ]
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(4, 3)).astype(np.float32), "zero": np.array([0])}
    for one in (1, "N"):
        inputs = [("x", "f", [one, 4]), ("h", "f", [2, one, 3])]
        path = saved(tmp_path / "n.onnx", nodes, inputs, ["y", "h2"], constants)
        feeds = {
            "x": rng.normal(size=(IMAGES, 1, 4)).astype(np.float32),
            "h": rng.normal(size=(IMAGES, 2, 1, 3)).astype(np.float32),
        }
        network = equal(path, feeds)
        assert network.whole == frozenset({"h", "h2"})
        assert network.types["h"].shape == (2, 1, 3)


def test_an_integer_file_for_one_image_is_checked_image_by_image(tmp_path):
    path, shape = attention(tmp_path / "n.onnx", 1)
    x = np.random.default_rng(1).normal(size=(40, *shape)).astype(np.float32)
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.images = iter(x)

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {"x": image}

    quantization.quantize_static(path, tmp_path / "q.onnx", Reader())
    network = cimemu.load_network(tmp_path / "q.onnx")
    arch = cimemu.load_arch("sram_128")
    quantised = cimemu.quantize(network, arch)
    assert quantised.whole is not None
    report = check_network(quantised, arch.macro, x[:IMAGES, 0])
    assert not report.failed
    assert any("product" in str(name) for name in report.layers.values())


def test_operators_that_need_images_say_so(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2, 3]),
        helper.make_node("MaxPool", ["t"], ["y"], name="pool", kernel_shape=[2, 2]),
    ]
    path = saved(tmp_path / "n.onnx", nodes, [("x", "f", [1, 3, 4, 4])], ["y"])
    with pytest.raises(cimemu.WorkloadError, match=r"node 'pool' \(MaxPool\): .*axis 0 is no axis of images"):
        cimemu.load_network(path)


def mixes(path, feeds):
    """Whether images of an open batch change each other's outputs in ONNX Runtime; None where it runs one image alone."""
    session = make_session(onnx.load(path).SerializeToString())
    try:
        (together,) = session.run(None, {name: np.concatenate(list(array)) for name, array in feeds.items()})
    except Exception:  # shapes that only fit one image
        return None
    parts = [session.run(None, {name: array[i] for name, array in feeds.items()})[0] for i in range(IMAGES)]
    differing = [a for a, (many, one) in enumerate(zip(together.shape, parts[0].shape)) if many != one]
    if together.ndim != parts[0].ndim or len(differing) != 1 or together.size != IMAGES * parts[0].size:
        return True
    (axis,), shape = differing, parts[0].shape
    for inner in (
        q for q in range(1, shape[axis] + 1) if shape[axis] % q == 0
    ):  # images lie outside, inside or between
        cut = [part.reshape(*shape[:axis], shape[axis] // inner, inner, *shape[axis + 1 :]) for part in parts]
        if np.allclose(together, np.stack(cut, axis + 1).reshape(together.shape), rtol=1e-4, atol=1e-5):
            return False
    return True


@pytest.mark.parametrize("count", [120, pytest.param(2500, marks=pytest.mark.slow)])
def test_images_of_an_open_batch_that_change_each_other_are_never_accepted(tmp_path, count):
    """Chains of an open batch: those that load mix no images; of those that do not mix, most load."""
    loaded, refused, caught = 0, 0, 0
    for seed in range(count):
        r = random.Random(seed)
        inner = [r.randint(2, 4) for _ in range(r.randint(1, 2))]
        chain = Chain(seed, [1, *inner]).grown(r.randint(1, 4))
        path = saved(tmp_path / "n.onnx", chain.nodes, [("x", "f", ["N", *inner])], [chain.name], chain.constants)
        feeds = {"x": np.random.default_rng(seed).normal(size=(IMAGES, 1, *inner)).astype(np.float32)}
        if (mixed := mixes(path, feeds)) is None:
            continue
        try:
            network = cimemu.load_network(path)
        except cimemu.WorkloadError:
            refused, caught = refused + (not mixed), caught + mixed
            continue
        assert not mixed, f"seed {seed}: {[(n.op_type, list(n.input)) for n in chain.nodes]}"
        loaded += network.whole is not None
        equal(path, feeds)
    assert loaded > count // 20
    print(f"{loaded} load, {refused} are refused though they mix nothing, {caught} that mix are refused")
    assert caught > count // 20
    assert refused < loaded


def test_images_are_followed_through_no_operator_that_takes_no_whole_tensors():
    assert set(FOLLOWED) <= set(ALL_RULES)  # the rest is refused for an open batch
