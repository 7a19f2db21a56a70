"""Small residual networks with option-A shortcuts, batch normalisations kept."""

from cimemu.shapes.builder import Builder
from cimemu.workload.network import Network


def tiny_resnet(widths=(4, 6), blocks=2, classes=3, seed=0) -> Network:
    """8x8 images; a stem, `blocks` residual blocks a stage, every stage but the first behind an option-A shortcut."""
    b = Builder("tiny_resnet", 8, seed, 4)
    x = b.relu(b.norm("stem_bn", b.conv("stem", "x", widths[0], 3)))
    before = widths[0]
    for stage, width in enumerate(widths):
        for number in range(blocks):
            name = f"s{stage}b{number}"
            new = stage > 0 and number == 0
            y = b.relu(b.norm(f"{name}_bn1", b.conv(f"{name}_conv1", x, width, 3, stride=2 if new else 1)))
            y = b.norm(f"{name}_bn2", b.conv(f"{name}_conv2", y, width, 3))
            x = b.relu(b.add(f"{name}_add", y, b.every_other(name, x, width - before) if new else x))
        before = width
    return b.network(b.linear("linear", b.flat(b.global_mean(x)), classes))
