"""Sizes that a TensorFlow Lite file leaves open in its inputs, and the user gives."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cimemu.errors import WorkloadError
from cimemu.importer.tflite_file import TflFile, TflTensor


def with_shapes(file: TflFile, shapes: Mapping[str, Sequence[int]]) -> tuple[TflFile, set[int]]:
    """(the file with the inputs' sizes, numbers of the inputs whose stored shape is another).

    `shapes` as in `load_tflite`. WorkloadError for a name that is no input, a size that the file fixes, or one left open.
    """
    names = [file.tensors[i].name for i in file.inputs]
    given = {names[0] if not name and len(names) == 1 else name: tuple(shape) for name, shape in shapes.items()}
    unknown = [name for name in given if name not in names]
    if unknown:
        raise WorkloadError(f"no input '{unknown[0]}' to give a shape, inputs are {', '.join(names)}")
    tensors, changed = list(file.tensors), set[int]()
    for i in file.inputs:
        shape = _shape(tensors[i], given.get(tensors[i].name))
        if shape != tensors[i].shape:
            tensors[i] = replace(tensors[i], shape=shape)
            changed.add(i)
    return replace(file, tensors=tuple(tensors)), changed


def _shape(tensor: TflTensor, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of an input. A size that the file does not know is stored as 1."""
    signature = tensor.signature if len(tensor.signature) == len(tensor.shape) else tensor.shape
    if given is None:
        left = [axis for axis in range(1, len(signature)) if signature[axis] == -1 and tensor.shape[axis] == 1]
        if left:
            raise WorkloadError(
                f"input '{tensor.name}' leaves its size on axis {left[0]} open: give it, --input-shape NAME=1,224,224,3, or fix "
                "it in the conversion"
            )
        return tensor.shape
    fixed = [size if size != -1 or axis == 0 else None for axis, size in enumerate(signature)]
    fits = len(given) == len(fixed) and all(g >= 1 and f in (None, g, -1) for g, f in zip(given, fixed))
    if not fits or given[:1] != (1,):
        sizes = ", ".join("open" if size in (None, -1) else str(size) for size in fixed)
        raise WorkloadError(
            f"input '{tensor.name}' has the shape [{sizes}], {list(given)} was given: must fit, one image"
        )
    return given
