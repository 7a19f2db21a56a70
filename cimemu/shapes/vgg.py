"""VGG of Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015."""

from cimemu.shapes.builder import Builder
from cimemu.workload.network import Network

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions


def vgg16(side: int = 224, seed: int = 0) -> Network:
    """Table 1, column D: 13 3x3 convolutions with biases, layers of 4096, 4096 and 1000 outputs.

    At a smaller side the first of those has fewer inputs, hence fewer weights.
    """
    b = Builder("vgg16", side, seed, 32)
    source = "x"
    for stage, (width, count) in enumerate(STAGES):
        for number in range(count):
            source = b.relu(b.conv(f"s{stage}c{number}", source, width, 3, bias=True))
        source = b.max_pool(f"max{stage}", source, 2, 2)
    source = b.flat(source)
    for number in range(2):
        source = b.relu(b.linear(f"fc{number}", source, 4096))
    return b.network(b.linear("fc2", source, 1000))
