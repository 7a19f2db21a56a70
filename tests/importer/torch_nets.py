"""Modules for the PyTorch importer's tests, written here; parameter names are those of the weight files."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a shortcut; where the shape changes, the shortcut is
    a strided 1x1 convolution ("conv") or takes every second pixel and pads channels with zeros ("pad")."""

    def __init__(self, before: int, after: int, stride: int, shortcut: str):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        self.padded = (after - before) // 2 if stride > 1 else 0
        if stride > 1 and shortcut == "conv":
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.padded:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padded, self.padded))
        return torch.relu(x + y)


class ResNet(nn.Module):
    """ResNet for CIFAR-10 images, He et al. 2015 section 4.2: three stages of `blocks` blocks of `width` channels."""

    def __init__(self, blocks: int = 3, width: int = 16, shortcut: str = "pad"):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages = []
        before = width
        for stage in range(3):
            after = width << stage
            made = []
            for block in range(blocks):
                made.append(Block(before, after, 2 if stage and not block else 1, shortcut))
                before = after
            stages.append(nn.Sequential(*made))
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(before, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(functional.avg_pool2d(x, x.shape[3]).flatten(1))


def resnet20():
    return ResNet()


def tiny():
    return ResNet(blocks=1, width=4, shortcut="conv")


def needs_an_argument(width):
    return ResNet(width=width)


NOT_A_MODULE = 3
