"""Residual networks: ResNet v1 and v2, ResNeXt, squeeze and excitation, RegNet."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Excite(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class LinearExcite(nn.Module):
    """The first form: fully connected layers and `view`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 4, bias=False), nn.ReLU(), nn.Linear(channels // 4, channels, bias=False),
            nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        y = F.adaptive_avg_pool2d(x, 1).view(b, c)
        return x * self.fc(y).view(b, c, 1, 1).expand_as(x)


class Basic(nn.Module):
    expansion = 1

    def __init__(self, cin: int, width: int, stride: int, excite: bool = False, groups: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.excite = LinearExcite(width) if excite else nn.Identity()
        self.down = None
        if stride != 1 or cin != width:
            self.down = nn.Sequential(nn.Conv2d(cin, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.excite(self.bn2(self.conv2(out)))
        out += x if self.down is None else self.down(x)
        return F.relu(out)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, cin: int, width: int, stride: int, excite: bool = False, groups: int = 1) -> None:
        super().__init__()
        inner = width * (2 if groups > 1 else 1)
        self.conv1, self.bn1 = nn.Conv2d(cin, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.down = None
        if stride != 1 or cin != 4 * width:
            self.down = nn.Sequential(nn.Conv2d(cin, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.down is None else self.down(x)))


class ResNet(nn.Module):
    def __init__(self, block, counts, width: int = 8, excite: bool = False, groups: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        layers: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(counts):
            for number in range(count):
                stride = 2 if stage and not number else 1
                layers.append(block(channels, width << stage, stride, excite, groups))
                channels = (width << stage) * block.expansion
        self.layers = nn.Sequential(*layers)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layers(x)), 1))


def resnet18() -> nn.Module:
    return ResNet(Basic, (2, 2, 2, 2))


def resnet50() -> nn.Module:
    return ResNet(Bottleneck, (3, 4, 6, 3), 4)


def resnext50() -> nn.Module:
    return ResNet(Bottleneck, (3, 4, 6, 3), 4, groups=4)


def se_resnet() -> nn.Module:
    return ResNet(Basic, (2, 2, 2, 2), excite=True)


class PreActResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        shapes = [(8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1)]
        self.bn1 = nn.ModuleList(nn.BatchNorm2d(i) for i, _, _ in shapes)
        self.conv1 = nn.ModuleList(nn.Conv2d(i, o, 3, s, 1, bias=False) for i, o, s in shapes)
        self.bn2 = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _ in shapes)
        self.conv2 = nn.ModuleList(nn.Conv2d(o, o, 3, 1, 1, bias=False) for _, o, _ in shapes)
        self.norm, self.fc = nn.BatchNorm2d(32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for bn1, conv1, bn2, conv2 in zip(self.bn1, self.conv1, self.bn2, self.conv2):
            y = F.relu(bn1(x))
            skip = x
            if conv1.stride != (1, 1):  # option A: every second pixel, zeros for the new channels
                skip = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, y.size(1) // 2, y.size(1) // 2))
            x = conv2(F.relu(bn2(conv1(y)))) + skip
        return self.fc(F.avg_pool2d(F.relu(self.norm(x)), 8).squeeze(-1).squeeze(-1))


class RegNetBlock(nn.Module):
    def __init__(self, cin: int, width: int, stride: int, group: int) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(cin, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.b = nn.Sequential(
            nn.Conv2d(width, width, 3, stride, 1, groups=width // group, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.excite = Excite(width, cin // 4)
        self.c = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
        self.skip = nn.Identity()
        if stride != 1 or cin != width:
            self.skip = nn.Sequential(nn.Conv2d(cin, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.c(self.excite(self.b(self.a(x)))) + self.skip(x))


class RegNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        plan = [(16, 24, 2), (24, 32, 2), (32, 32, 1), (32, 48, 2), (48, 48, 1), (48, 64, 2)]
        self.blocks = nn.Sequential(*(RegNetBlock(*shape, 8) for shape in plan))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean(dim=(-2, -1)))
