"""Residual networks of He et al., "Deep Residual Learning for Image Recognition", CVPR 2016."""

from cimemu.shapes.builder import Builder
from cimemu.workload.network import Network


def _conv(b: Builder, name: str, source: str, width: int, kernel: int, stride: int) -> str:
    return b.norm(f"{name}_norm", b.conv(name, source, width, kernel, stride=stride))


def _stages(b: Builder, source: str, widths: tuple[int, ...], blocks: int, *, projection: bool) -> str:
    """Basic blocks; where the shape changes the shortcut is a 1x1 convolution, or without parameters (option A)."""
    for stage, width in enumerate(widths):
        for block in range(blocks):
            name = f"s{stage}b{block}"
            stride = 2 if stage and not block else 1
            inside = b.relu(_conv(b, f"{name}c0", source, width, 3, stride))
            inside = _conv(b, f"{name}c1", inside, width, 3, 1)
            around, had = source, b.types[source].shape[0]
            if b.types[source].shape != b.types[inside].shape:
                short = f"{name}short"
                around = (
                    _conv(b, short, source, width, 1, stride)
                    if projection
                    else b.every_other(short, source, width - had)
                )
            source = b.relu(b.add(f"{name}add", inside, around))
    return source


def resnet18(side: int = 224, seed: int = 0) -> Network:
    """Table 1, 18 layers: 7x7 stem, four stages of two basic blocks (64 .. 512 channels), 1000 classes."""
    b = Builder("resnet18", side, seed, 32)
    stem = b.max_pool("max", b.relu(_conv(b, "stem", "x", 64, 7, 2)), 3, 2, 1)
    body = _stages(b, stem, (64, 128, 256, 512), 2, projection=True)
    return b.network(b.linear("fc", b.flat(b.global_mean(body)), 1000))


def resnet20(side: int = 32, seed: int = 0, *, classes: int = 10, projection: bool = False) -> Network:
    """Section 4.2, n = 3: three stages of three basic blocks (16, 32, 64 channels), for CIFAR."""
    b = Builder(f"resnet20_cifar{classes}", side, seed, 8)
    stem = b.relu(_conv(b, "stem", "x", 16, 3, 1))
    body = _stages(b, stem, (16, 32, 64), 3, projection=projection)
    return b.network(b.linear("fc", b.flat(b.global_mean(body)), classes))


def resnet20_cifar100(side: int = 32, seed: int = 0) -> Network:
    """ResNet-20 with a head of 100 classes."""
    return resnet20(side, seed, classes=100)
