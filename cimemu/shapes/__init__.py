"""Published networks by name, with random weights: for mapping, time, energy and area, not for accuracy."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from cimemu.errors import WorkloadError
from cimemu.importer.fold import fold_batch_norm
from cimemu.shapes.inception import inception_v3
from cimemu.shapes.resnet import resnet18, resnet20_cifar100
from cimemu.shapes.vgg import vgg16
from cimemu.workload.network import Network

__all__ = ["SHAPES", "Shape", "folded", "make_shape", "parameter_count"]


@dataclass(frozen=True)
class Shape:
    """A network that can be made by name; `side` is the published size of its images in pixels."""

    make: Callable[[int, int], Network]
    side: int
    title: str


SHAPES = {
    "resnet18": Shape(resnet18, 224, "ResNet-18, ImageNet (He et al., CVPR 2016)"),
    "vgg16": Shape(vgg16, 224, "VGG-16, ImageNet (Simonyan and Zisserman, ICLR 2015)"),
    "inception_v3": Shape(
        inception_v3, 299, "Inception-V3 without auxiliary head, ImageNet (Szegedy et al., CVPR 2016)"
    ),
    "resnet20_cifar100": Shape(resnet20_cifar100, 32, "ResNet-20 with 100 classes, CIFAR-100 (He et al., CVPR 2016)"),
}


def make_shape(name: str, *, side: int | None = None, seed: int = 0, fold: bool = True) -> Network:
    """The float network `name` (see `SHAPES`) with random weights of `seed`, on images `[3, side, side]`.

    `side` None is the published one. `fold`: batch normalisations are folded into the convolutions before them, as
    loading a file does; without, parameters are those that are published (`parameter_count`).

    Raises WorkloadError for an unknown name, a side that is too small, a negative seed.

    >>> import cimemu
    >>> network = cimemu.make_shape("resnet20_cifar100", side=8)
    >>> [network.types[name].shape for name in (*network.inputs, *network.outputs)]
    [(3, 8, 8), (100,)]
    """
    if name not in SHAPES:
        raise WorkloadError(f"shape {name!r}: no such network, known are {', '.join(SHAPES)}")
    shape = SHAPES[name]
    made = shape.make(shape.side if side is None else side, seed)
    return folded(made) if fold else made


def folded(network: Network) -> Network:
    """The network with its batch normalisations in the convolutions before them."""
    constants = dict(network.constants)
    layers = fold_batch_norm(network.layers, constants, network.outputs)
    read = {name for layer in layers for name in layer.inputs}
    types = {name: kind for name, kind in network.types.items() if name in read or name in network.outputs}
    kept = {name: values for name, values in constants.items() if name in read}
    return replace(network, layers=tuple(layers), constants=kept, types=types)


def parameter_count(network: Network) -> int:
    """Trained parameters: weights, biases, scales and biases of batch normalisations; not their means and variances."""
    statistics = {n for layer in network.layers if layer.op == "BatchNormalization" for n in layer.inputs[3:]}
    return sum(values.size for name, values in network.constants.items() if name not in statistics)
