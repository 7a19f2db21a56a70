"""Constants of an ONNX graph: stored ones, folded ones, and those that depend on the number of images.

The batch is unknown while a network is loaded. Shape arithmetic is therefore computed twice, for two
different stand-in batch sizes: what differs depends on the batch, and where it is the batch is known.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from cimemu.errors import WorkloadError
from cimemu.layer.base import Array

# Two primes far above any real axis: a product or sum with one of them is not mistaken for a size.
BATCHES = (1_000_003, 1_000_033)
ALONE = (1, BATCHES[0])  # for one image at a time: its own sizes, and others to tell what depends on their number
BATCH = -(1 << 40)  # marks "the number of images" in a list of sizes
MAX_FOLDED = 1 << 27  # elements of a folded constant

SMALL = 1 << 10
SHRINKING = {"Compress", "NonZero", "Unique"}  # no larger than their input, whatever it holds

UNFOLDED = {
    "DequantizeLinear",
    "QuantizeLinear",
    "Bernoulli",
    "Multinomial",
    "RandomNormalLike",
    "RandomUniformLike",
}

# These make tensors of a given shape; their content is the same for every image, one image is enough.
FILLERS = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}


class Constants:
    """Arrays by name, for either stand-in batch; `values` is the first, `varying` holds those that differ."""

    def __init__(self, model: onnx.ModelProto, batches: tuple[int, int] = BATCHES) -> None:
        """`batches` are the stand-ins: (1, another) where a network is read for one image at a time."""
        self.batches = batches
        self.values: dict[str, Array] = {"": np.zeros(0, np.float32)}
        self.varying: dict[str, Array] = {}
        self._opsets = [onnx.helper.make_opsetid(o.domain, o.version) for o in model.opset_import]
        self.narrow: dict[str, str] = {}
        self.taken = {
            name for node in model.graph.node for name in (*node.input, *node.output)
        }  # every tensor of the file
        for tensor in model.graph.initializer:
            self.store(tensor.name, tensor)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def store(self, name: str, tensor: onnx.TensorProto) -> None:
        """Keep a stored tensor; four-bit integers become bytes and are noted in `narrow`."""
        self.values[name] = to_array(tensor)
        narrow = {onnx.TensorProto.INT4: "int4", onnx.TensorProto.UINT4: "uint4"}.get(tensor.data_type)
        if narrow:
            self.narrow[name] = narrow

    def set_pair(self, name: str, pair: Sequence[Array]) -> None:
        """Store a constant computed for both stand-in batches."""
        self.values[name] = pair[0]
        if not np.array_equal(pair[0], pair[1], equal_nan=pair[0].dtype.kind == "f"):
            self.varying[name] = pair[1]

    def pair(self, name: str) -> tuple[Array, Array]:
        """The constant for either stand-in batch."""
        return self.values[name], self.varying.get(name, self.values[name])

    def sizes(self, name: str) -> list[int]:
        """A list of sizes with BATCH where the number of images stands; WorkloadError for other mixtures."""
        sizes: list[int] = []
        array = self.values[name]
        if array.ndim > 1 or not np.isfinite(array).all():
            raise WorkloadError(f"tensor '{name}' of shape {array.shape}, must be a list of whole numbers")
        for first, second in zip(*(np.atleast_1d(array).tolist() for array in self.pair(name))):
            if (first, second) == self.batches:
                sizes.append(BATCH)
            elif first == second:
                sizes.append(int(first))
            else:
                raise WorkloadError(
                    f"tensor '{name}' mixes the number of images with other sizes: images must stay apart"
                )
        return sizes

    def set_shape(self, node: onnx.NodeProto, shape: Sequence[int], place: int | None = None) -> None:
        """The output of Shape or Size of a runtime tensor with this per-image shape; or with this whole shape, of which the axis
        `place` holds the images (-1: none does)."""
        whole = [1, *shape] if place is None else list(shape)
        held = 0 if place is None else place
        wholes: list[Array] = [
            np.array([size * batch if axis == held else size for axis, size in enumerate(whole)], np.int64)
            for batch in self.batches
        ]
        if node.op_type == "Size":
            wholes = [np.asarray(np.prod(whole)) for whole in wholes]
        else:
            given = {a.name: a.i for a in node.attribute}
            wholes = [whole[given.get("start", 0) : given.get("end", len(whole))] for whole in wholes]
        self.set_pair(node.output[0], [np.asarray(whole, np.int64) for whole in wholes])

    def fold(self, node: onnx.NodeProto) -> None:
        """Compute a node all of whose inputs are constants."""
        pairs = [self.pair(name) for name in node.input]
        if node.op_type in FILLERS and (at := FILLERS[node.op_type]) < len(pairs):
            sizes = [1 if size == BATCH else size for size in self.sizes(node.input[at])]
            pairs[at] = (np.array(sizes, np.int64),) * 2
        first = self._evaluate(node, [pair[0] for pair in pairs])
        same = all(pair[0] is pair[1] for pair in pairs)
        second = first if same else self._evaluate(node, [pair[1] for pair in pairs])
        for name, one, two in zip(node.output, first, second):
            if name:
                self.set_pair(name, (np.asarray(one), np.asarray(two)))

    def _evaluate(self, node: onnx.NodeProto, arrays: Sequence[Array]) -> list[Any]:
        if node.op_type == "GatherElements":  # the evaluator takes no index that is shorter than its data
            return [_gathered(node, *arrays)]
        if any(attribute.name.startswith("cimemu.") for attribute in node.attribute):
            node = onnx.helper.make_node(node.op_type, node.input, node.output)
        feeds = {name: array for name, array in zip(node.input, arrays) if name}
        from onnx.reference import ReferenceEvaluator  # slow to import, and few networks compute constants

        graph = onnx.helper.make_graph(
            [node],
            "constant",
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in feeds],
            [
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None)
                for name in node.output
                if name
            ],
        )
        model = onnx.helper.make_model(graph, opset_imports=self._opsets)
        self._check_size(model, feeds)
        try:
            with np.errstate(all="ignore"):
                results = iter(ReferenceEvaluator(model).run(None, feeds))
        except Exception as error:  # the evaluator raises whatever NumPy or an operator of it raises
            reason = " ".join(str(error).split())[:160]
            raise WorkloadError(f"its constant inputs cannot be computed: {reason}") from None
        return [next(results) if name else None for name in node.output]

    def _check_size(self, model: onnx.ModelProto, feeds: dict[str, Array]) -> None:
        """WorkloadError if the node would make a tensor too large, or one of unknown size."""
        sketch = onnx.ModelProto()
        sketch.CopyFrom(model)
        del sketch.graph.input[:], sketch.graph.output[:]
        for name, array in feeds.items():
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            sketch.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
            if array.size <= SMALL:  # may be a size or a number of repeats
                sketch.graph.initializer.append(numpy_helper.from_array(array, name))
        inferred = onnx.shape_inference.infer_shapes(sketch, data_prop=True).graph.value_info
        wanted = {name for name in model.graph.node[0].output if name}
        for value in inferred:
            dims = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
                sizes = [dim.dim_value for dim in dims]
                if np.prod(sizes, dtype=np.float64) > MAX_FOLDED:
                    raise WorkloadError(f"a constant of shape {sizes}, at most {MAX_FOLDED} elements are folded")
                wanted.discard(value.name)
        if wanted and model.graph.node[0].op_type not in SHRINKING:
            raise WorkloadError("the size of its constant output cannot be told: simplify the network first")


def _gathered(node: onnx.NodeProto, data: Array, index: Array) -> Array:
    """Elements of `data` at `index` along an axis; the index may be shorter along the others. WorkloadError."""
    axis = next((int(a.i) for a in node.attribute if a.name == "axis"), 0)
    if data.ndim != index.ndim or not -data.ndim <= axis < data.ndim or index.dtype.kind != "i":
        raise WorkloadError(f"axis = {axis}, data of shape {data.shape} and indices of shape {index.shape} do not fit")
    axis, size = axis % data.ndim, data.shape[axis]
    if any(n > m for a, (n, m) in enumerate(zip(index.shape, data.shape)) if a != axis):
        raise WorkloadError(f"indices of shape {index.shape} are longer than data of shape {data.shape}")
    if index.size and (index.min() < -size or index.max() >= size):
        raise WorkloadError(f"indices {index.min()} .. {index.max()} along an axis of {size}")
    part = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(index.shape))
    return np.take_along_axis(data[part], np.where(index < 0, index + size, index), axis)


def foldable(node: onnx.NodeProto) -> bool:
    """Whether a node of constants may be computed: plain, repeatable, and not a border of quantisation."""
    if node.domain not in ("", "ai.onnx") or any(a.HasField("g") or a.graphs for a in node.attribute):
        return False
    return node.op_type not in UNFOLDED


def to_array(tensor: onnx.TensorProto) -> Array:
    """A stored tensor as NumPy has it; four-bit integers become bytes."""
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise WorkloadError(f"tensor '{tensor.name}' does not hold what its shape says: {reason}") from None
    narrow = {"int4": np.int8, "uint4": np.uint8}.get(array.dtype.name)
    return array.astype(narrow) if narrow else array
