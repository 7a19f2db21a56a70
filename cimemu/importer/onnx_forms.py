"""A network that takes one image at a time: where the images' axis is not the file's axis 0, tensors are held whole.

A tensor of the file has up to two forms here: that of an image, without its axis 0 of size 1 (as in a network for many images),
and the whole one, [images, all axes of the file]. A node is read with images where that can be, else with whole tensors.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace

import onnx

from cimemu.errors import WorkloadError
from cimemu.importer.onnx_constants import Constants
from cimemu.importer.onnx_image_axis import Place, place_of
from cimemu.importer.onnx_whole import WholeNode
from cimemu.importer.onnx_whole_more import ALL_RULES, many_images
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shape import Reshape

WHOLE = ":whole"


class Forms:
    """Forms of the tensors read so far. `read` reads a node for many images, and adds its layers and types."""

    def __init__(
        self,
        constants: Constants,
        types: MutableMapping[str, TensorType],
        layers: list[Layer],
        read: Callable[[onnx.NodeProto], None],
        batch: str | None,
    ) -> None:
        """`batch` is the name of the open number of images ("" for one without a name), None where it is 1."""
        self.batch = batch
        self.places: dict[str, Place] = {}  # where the images of an open batch lie in whole tensors
        self.constants, self.types, self.layers, self._read = constants, types, layers, read
        self.without: set[str] = (
            set()
        )  # inputs without axes, and what is made of them alone: no axis of it holds images
        self.only_whole: set[str] = set()  # tensors whose axis 0 in the file is no single image

    def input(self, name: str, shape: onnx.TensorShapeProto, sizes: Sequence[int], dtype: str) -> None:
        """An input of the file's `shape`, for one image `sizes`."""
        if not shape.dim:
            self.without.add(name)
        elif self.batch is not None:
            free = [axis for axis, dim in enumerate(shape.dim) if not dim.dim_value]
            if not free:
                raise WorkloadError(
                    f"input '{name}' has no axis of images and another has an open one: export them alike"
                )
            self.places[name] = (free[0], 1)
        if sizes and sizes[0] == 1:
            self.types[name] = TensorType(tuple(sizes[1:]), dtype)
        else:
            self.types[name] = TensorType(tuple(sizes), dtype)
            self.only_whole.add(name)

    def set_shape(self, proto: onnx.NodeProto) -> None:
        """The output of Shape or Size."""
        (name,) = proto.input
        place = -1 if self.batch is None else self.places.get(name, (0, 1))[0]
        self.constants.set_shape(proto, self.shape(name), place)

    def shape(self, name: str) -> tuple[int, ...]:
        """The file's shape of a tensor."""
        if name in self.constants.values:
            return tuple(self.constants.values[name].shape)
        shape = self.types[name].shape
        return shape if name in self.only_whole else (1, *shape)

    def add(self, proto: onnx.NodeProto) -> None:
        """Read a node."""
        refused = None
        at_front = all(self.places.get(name, (0, 1)) == (0, 1) for name in proto.input)
        if self.only_whole.isdisjoint(proto.input) and at_front:
            before = len(self.layers)
            try:
                self._read(proto)
            except WorkloadError as error:
                refused = error
                del self.layers[before:]
            else:
                return
        node = WholeNode(
            proto,
            tuple(self._whole(name) for name in proto.input),
            tuple(self.shape(name) for name in proto.input),
            self.constants.values,
            self.constants.varying,
            self._keep,
        )
        if refused is not None and node.op not in ALL_RULES:
            raise refused
        for made in many_images(node):
            for i, name in enumerate(made.output):
                made.output[i] = f"{name}{WHOLE}" if name in proto.output and name else name
            self._read(made)
        for name in proto.output:
            if name:
                self._made(name)
                self._follow(node, name)

    def _follow(self, node: WholeNode, name: str) -> None:
        """Where the images of an open batch lie in an output."""
        if self.batch is None or name in self.constants.values:
            return
        known = self.without | self.constants.values.keys()
        runtime = [source and source not in known for source in node.proto.input]
        if not any(runtime):
            self.without.add(name)
            return
        places = [
            self.places.get(source, (0, 1)) if there else None for source, there in zip(node.proto.input, runtime)
        ]
        place = place_of(node, places, self.shape(name))
        if place != (0, 1):
            self.places[name] = place

    def _keep(self, name: str, value: Array) -> str:
        self.constants.values[name] = value
        return name

    def _whole(self, name: str) -> str:
        """The whole form of a tensor, made where there is none."""
        if not name or name in self.constants.values or name in self.only_whole:
            return name
        made = f"{name}{WHOLE}"
        if made not in self.types:
            self._reshape(name, made, self.shape(name))
        return made

    def _made(self, name: str) -> None:
        """A new tensor, whole so far: its image's form too, or the file's own name where it has no such form."""
        whole = f"{name}{WHOLE}"
        if whole in self.constants.values:
            self.constants.values[name] = self.constants.values[whole]
            return
        kind = self.types[whole]
        if kind.shape and kind.shape[0] == 1:
            self._reshape(whole, name, kind.shape[1:])
            return
        at = next(i for i, layer in enumerate(self.layers) if whole in layer.outputs)
        layer = self.layers[at]
        self.layers[at] = replace(layer, outputs=tuple(name if out == whole else out for out in layer.outputs))
        self.types[name] = self.types.pop(whole)
        self.only_whole.add(name)

    def _reshape(self, source: str, target: str, shape: tuple[int, ...]) -> None:
        layer = Reshape(target, (source,), (target,), shape)
        self.layers.append(layer)
        self.types[target] = TensorType(shape, self.types[source].dtype)


def merge_reshapes(layers: Sequence[Layer], types: Mapping[str, TensorType], outputs: Sequence[str]) -> list[Layer]:
    """Reshapes of reshapes read the first one's input, and those that change no shape vanish; outputs keep their makers."""
    source: dict[str, str] = {}  # of a reshaped tensor: what it is a reshape of
    same: dict[str, str] = {}  # of a tensor that is another, unchanged
    kept: list[Layer] = []
    for layer in layers:
        layer = replace(layer, inputs=tuple(same.get(name, name) for name in layer.inputs))
        if isinstance(layer, Reshape):
            origin = source.get(layer.inputs[0], layer.inputs[0])
            if origin in types:
                layer = replace(layer, inputs=(origin, *layer.inputs[1:]))
                (target,) = layer.outputs
                source[target] = origin
                if types[origin] == types[target] and target not in outputs:
                    same[target] = origin
                    continue
        kept.append(layer)
    return kept


def open_batch(inputs: Sequence[onnx.ValueInfoProto]) -> str | None:
    """The name of the open number of images of a network with these inputs ("" for one without a name); None: it is 1."""
    firsts = [value.type.tensor_type.shape.dim[0] for value in inputs if value.type.tensor_type.shape.dim]
    if any(dim.dim_value == 1 for dim in firsts):
        return None
    return next((dim.dim_param for dim in firsts if not dim.dim_value), None)


def literal(shape: onnx.TensorShapeProto, batch: str | None) -> list[int] | None:
    """Sizes of an input for one image: axes of the open size `batch` are 1 (without a name: axis 0); None for other open sizes."""
    sizes = []
    for axis, dim in enumerate(shape.dim):
        if dim.dim_value >= 1:
            sizes.append(int(dim.dim_value))
        elif batch is not None and dim.dim_param == batch and (batch or axis == 0):
            sizes.append(1)
        else:
            return None
    return sizes
