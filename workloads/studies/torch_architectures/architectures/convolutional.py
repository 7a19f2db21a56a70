"""Plain and branching convolutional networks: LeNet, AlexNet, VGG, SqueezeNet, Inception, DenseNet, Xception."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def conv_bn(cin: int, cout: int, kernel: int | tuple[int, int], **options) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, bias=False, **options), nn.BatchNorm2d(cout), nn.ReLU(inplace=True)
    )


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(torch.tanh(self.conv1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        return F.log_softmax(self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(x))))), dim=1)


class AlexNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, stride=2), nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(inplace=True), nn.LocalResponseNorm(5),
            nn.MaxPool2d(3, stride=2), nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(48, 32, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(inplace=True),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(32, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Vgg11(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for step in (8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"):
            if step == "M":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += conv_bn(channels, int(step), 3, padding=1)
                channels = int(step)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(64, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Fire(nn.Module):
    def __init__(self, cin: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze, self.one = nn.Conv2d(cin, squeeze, 1), nn.Conv2d(squeeze, expand, 1)
        self.three = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)


class SqueezeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        pool = {"kernel_size": 3, "stride": 2, "ceil_mode": True}
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.MaxPool2d(**pool), Fire(16, 4, 16), Fire(32, 4, 16),
            nn.MaxPool2d(**pool), Fire(32, 8, 32), Fire(64, 8, 32), nn.MaxPool2d(**pool), Fire(64, 12, 48),
            Fire(96, 12, 48), Fire(96, 16, 64), Fire(128, 16, 64),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(128, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


class Inception(nn.Module):
    def __init__(self, cin: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int) -> None:
        super().__init__()
        self.one = conv_bn(cin, one, 1)
        self.three = nn.Sequential(conv_bn(cin, three[0], 1), conv_bn(*three, 3, padding=1))
        self.five = nn.Sequential(conv_bn(cin, five[0], 1), conv_bn(*five, 5, padding=2))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), conv_bn(cin, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class GoogLeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn(3, 16, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, ceil_mode=True), conv_bn(16, 16, 1),
            conv_bn(16, 24, 3, padding=1), nn.MaxPool2d(3, 2, ceil_mode=True),
        )  # fmt: skip
        self.blocks = nn.Sequential(
            Inception(24, 8, (12, 16), (4, 8), 4), Inception(36, 16, (16, 24), (4, 8), 8),
            nn.MaxPool2d(3, 2, ceil_mode=True), Inception(56, 16, (12, 24), (4, 8), 8),
            Inception(56, 16, (16, 24), (4, 8), 8), nn.MaxPool2d(2, 2, ceil_mode=True),
            Inception(56, 24, (16, 32), (4, 8), 8),
        )  # fmt: skip
        self.fc = nn.Linear(72, 10)

    def forward(self, x: Tensor) -> Tensor:
        # torchvision's `transform_input`: channel by channel to another normalisation
        x = torch.cat([(x[:, c : c + 1] * (0.229 / 0.5)) + (0.485 - 0.5) / 0.5 for c in range(3)], 1)
        x = F.adaptive_avg_pool2d(self.blocks(self.stem(x)), (1, 1))
        return self.fc(torch.flatten(x, 1))


class Factorised(nn.Module):
    """Inception-C of v3: 7 x 7 as 1 x 7 and 7 x 1, and an average pool."""

    def __init__(self, cin: int, width: int) -> None:
        super().__init__()
        self.one = conv_bn(cin, width, 1)
        self.seven = nn.Sequential(
            conv_bn(cin, width, 1), conv_bn(width, width, (1, 7), padding=(0, 3)),
            conv_bn(width, width, (7, 1), padding=(3, 0)),
        )  # fmt: skip
        self.pool = conv_bn(cin, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        return torch.cat([self.one(x), self.seven(x), self.pool(pooled)], 1)


class Expanded(nn.Module):
    """Inception-E of v3: branches that split again."""

    def __init__(self, cin: int, width: int) -> None:
        super().__init__()
        self.one, self.three = conv_bn(cin, width, 1), conv_bn(cin, width, 1)
        self.wide, self.high = (
            conv_bn(width, width, (1, 3), padding=(0, 1)), conv_bn(width, width, (3, 1), padding=(1, 0)),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        three = self.three(x)
        return torch.cat([self.one(x), torch.cat([self.wide(three), self.high(three)], 1)], 1)


class InceptionV3(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn(3, 12, 3, stride=2), conv_bn(12, 12, 3), conv_bn(12, 16, 3, padding=1), nn.MaxPool2d(3, stride=2)
        )
        self.reduce = conv_bn(16, 24, 3, stride=2)
        self.c1, self.c2, self.e = Factorised(40, 12), Factorised(36, 12), Expanded(36, 16)
        self.fc = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([self.reduce(x), F.max_pool2d(x, kernel_size=3, stride=2)], 1)
        x = F.adaptive_avg_pool2d(self.e(self.c2(self.c1(x))), 1)
        return self.fc(F.dropout(x, training=self.training).flatten(1))


class DenseLayer(nn.Module):
    def __init__(self, cin: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(cin), nn.Conv2d(cin, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, parts: list[Tensor]) -> Tensor:
        x = self.conv1(F.relu(self.norm1(torch.cat(parts, 1))))
        return self.conv2(F.relu(self.norm2(x)))


class DenseNet(nn.Module):
    def __init__(self, growth: int = 8, blocks: tuple[int, ...] = (3, 4, 3)) -> None:
        super().__init__()
        channels = 2 * growth
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for number, count in enumerate(blocks):
            self.blocks.append(nn.ModuleList(DenseLayer(channels + i * growth, growth) for i in range(count)))
            channels += count * growth
            if number < len(blocks) - 1:
                self.transitions.append(
                    nn.Sequential(
                        nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False),
                        nn.AvgPool2d(2, 2),
                    )
                )  # fmt: skip
                channels //= 2
        self.norm, self.classifier = nn.BatchNorm2d(channels), nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for number, block in enumerate(self.blocks):
            parts = [x]
            for layer in block:
                parts.append(layer(parts))
            x = torch.cat(parts, 1)
            if number < len(self.transitions):
                x = self.transitions[number](x)
        x = F.adaptive_avg_pool2d(F.relu(self.norm(x)), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class Separable(nn.Sequential):
    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(
            nn.ReLU(), nn.Conv2d(cin, cin, 3, padding=1, groups=cin, bias=False), nn.Conv2d(cin, cout, 1, bias=False),
            nn.BatchNorm2d(cout),
        )  # fmt: skip


class Xception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 16, 3, stride=2, padding=1), conv_bn(16, 24, 3, padding=1))
        self.entry = nn.Sequential(Separable(24, 32), Separable(32, 32), nn.MaxPool2d(3, 2, padding=1))
        self.skip = nn.Sequential(nn.Conv2d(24, 32, 1, stride=2, bias=False), nn.BatchNorm2d(32))
        self.middle = nn.ModuleList(nn.Sequential(*(Separable(32, 32) for _ in range(3))) for _ in range(3))
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.entry(x) + self.skip(x)
        for block in self.middle:
            x = block(x) + x
        return self.fc(F.relu(x).mean([2, 3]))
