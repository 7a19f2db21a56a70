"""ResNet-20, -32 ... for small images as torch modules: three stages, shortcuts without weights (option A)."""

from typing import Any

from cimemu.adapt.library import torch_of


def make_resnet(depth: int = 20, *, classes: int = 10, width: int = 16) -> Any:
    """A torch.nn.Module of 6 n + 2 weight layers for 3-channel images: stages of `width`, 2 and 4 times as many channels.

    He et al. 2016 (arXiv 1512.03385), section 4.2: where a stage begins, the shortcut takes every second pixel and has
    zeros for the new channels. Weights are drawn (Kaiming, fan out) from torch's present generator.
    Raises WorkloadError for another depth, or without torch.
    """
    torch = torch_of()
    from cimemu.errors import WorkloadError

    if depth < 8 or (depth - 2) % 6:
        raise WorkloadError(f"resnet depth {depth}: must be 6 n + 2, such as 20, 32 or 44")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, before: int, channels: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.stride, self.new = stride, channels - before

        def forward(self, x: Any) -> Any:
            y = self.bn1(self.conv1(x)).relu()
            y = self.bn2(self.conv2(y))
            if self.new:
                x = x[:, :, :: self.stride, :: self.stride]
                x = nn.functional.pad(x, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))
            return (y + x).relu()

    class ResNet(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            blocks, before = [], width
            for stage in range(3):
                channels = width << stage
                for number in range((depth - 2) // 6):
                    blocks.append(Block(before, channels, 2 if stage and number == 0 else 1))
                    before = channels
            self.blocks = nn.Sequential(*blocks)
            self.linear = nn.Linear(before, classes)
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

        def forward(self, x: Any) -> Any:
            x = self.bn1(self.conv1(x)).relu()
            return self.linear(self.blocks(x).mean(dim=(2, 3)))

    return ResNet()
