"""Networks for small devices: MobileNet, EfficientNet, ShuffleNet, GhostNet, and ConvNeXt, which learned from them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def conv(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = nn.ReLU6):
    """Convolution that keeps sizes, batch norm, activation."""
    layers = [
        nn.Conv2d(cin, cout, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False), nn.BatchNorm2d(cout),
    ]  # fmt: skip
    return nn.Sequential(*layers, *([] if act is None else [act()]))


class Squeeze(nn.Module):
    def __init__(self, channels: int, squeezed: int, act: type[nn.Module], gate: type[nn.Module]) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.fc2(self.act(self.fc1(self.avgpool(x))))) * x


class Inverted(nn.Module):
    """The inverted residual of MobileNet v2, v3 and EfficientNet."""

    def __init__(self, cin, cout, expand, kernel=3, stride=1, act=nn.ReLU6, squeeze=None, gate=nn.Sigmoid) -> None:
        super().__init__()
        inner = cin * expand
        layers = [] if expand == 1 else [conv(cin, inner, 1, act=act)]
        layers.append(conv(inner, inner, kernel, stride, inner, act))
        if squeeze:
            layers.append(Squeeze(inner, squeeze, nn.SiLU if act is nn.SiLU else nn.ReLU, gate))
        layers.append(conv(inner, cout, 1, act=None))
        self.block, self.skip = nn.Sequential(*layers), stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.skip else self.block(x)


class MobileNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        plan = [(8, 8, 1, 3, 1), (8, 12, 6, 3, 2), (12, 12, 6, 3, 1), (12, 16, 6, 3, 2), (16, 16, 6, 3, 1),
                (16, 24, 6, 3, 2), (24, 24, 6, 3, 1), (24, 32, 6, 3, 1)]  # fmt: skip
        self.features = nn.Sequential(conv(3, 8, 3, 2), *(Inverted(*p) for p in plan), conv(32, 64, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class MobileNetV3(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        relu, swish = nn.ReLU, nn.Hardswish
        plan = [(8, 8, 1, 3, 2, relu, 8), (8, 12, 4, 3, 2, relu, None), (12, 12, 4, 3, 1, relu, None),
                (12, 16, 4, 5, 2, swish, 16), (16, 16, 6, 5, 1, swish, 24), (16, 24, 6, 5, 2, swish, 24)]  # fmt: skip
        blocks = (Inverted(*p, gate=nn.Hardsigmoid) for p in plan)
        self.features = nn.Sequential(conv(3, 8, 3, 2, act=swish), *blocks, conv(24, 96, 1, act=swish))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Linear(96, 64), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class EfficientNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        plan = [(8, 8, 1, 3, 1, 2), (8, 12, 6, 3, 2, 2), (12, 12, 6, 3, 1, 3), (12, 16, 6, 5, 2, 3),
                (16, 16, 6, 5, 1, 4), (16, 24, 6, 3, 2, 4), (24, 24, 6, 3, 1, 6), (24, 32, 6, 5, 2, 6)]  # fmt: skip
        blocks = (Inverted(i, o, e, k, s, nn.SiLU, q) for i, o, e, k, s, q in plan)
        self.features = nn.Sequential(conv(3, 8, 3, 2, act=nn.SiLU), *blocks, conv(32, 96, 1, act=nn.SiLU))
        self.pool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Channels of all groups take turns."""
    b, c, h, w = x.size()
    x = x.view(b, groups, c // groups, h, w)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(b, c, h, w)


class ShuffleUnit(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        half = cout // 2
        self.stride = stride
        if stride > 1:
            self.branch1 = nn.Sequential(conv(cin, cin, 3, stride, cin, None), conv(cin, half, 1, act=nn.ReLU))
        self.branch2 = nn.Sequential(
            conv(cin if stride > 1 else half, half, 1, act=nn.ReLU), conv(half, half, 3, stride, half, None),
            conv(half, half, 1, act=nn.ReLU),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            x1, x2 = x.chunk(2, dim=1)
            return shuffle(torch.cat((x1, self.branch2(x2)), dim=1), 2)
        return shuffle(torch.cat((self.branch1(x), self.branch2(x)), dim=1), 2)


class ShuffleNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        plan = [(8, 16, 2), (16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.stem = nn.Sequential(conv(3, 8, 3, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.Sequential(*(ShuffleUnit(*p) for p in plan))
        self.last, self.fc = conv(64, 96, 1, act=nn.ReLU), nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.last(self.stages(self.stem(x))).mean([2, 3]))


class Ghost(nn.Module):
    def __init__(self, cin: int, cout: int, relu: bool) -> None:
        super().__init__()
        self.cout, half = cout, (cout + 1) // 2
        self.primary = conv(cin, half, 1, act=nn.ReLU if relu else None)
        self.cheap = conv(half, half, 3, 1, half, nn.ReLU if relu else None)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.primary(x)
        return torch.cat([x1, self.cheap(x1)], dim=1)[:, : self.cout, :, :]


class GhostBottleneck(nn.Module):
    def __init__(self, cin: int, inner: int, cout: int, stride: int) -> None:
        super().__init__()
        self.ghost1, self.ghost2 = Ghost(cin, inner, True), Ghost(inner, cout, False)
        self.down = conv(inner, inner, 3, stride, inner, None) if stride > 1 else nn.Identity()
        self.squeeze = Squeeze(inner, inner // 4, nn.ReLU, nn.Hardsigmoid)
        self.skip = nn.Identity()
        if stride > 1 or cin != cout:
            self.skip = nn.Sequential(conv(cin, cin, 3, stride, cin, None), conv(cin, cout, 1, act=None))

    def forward(self, x: Tensor) -> Tensor:
        return self.ghost2(self.squeeze(self.down(self.ghost1(x)))) + self.skip(x)


class GhostNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        plan = [(8, 8, 8, 1), (8, 24, 12, 2), (12, 36, 13, 1), (13, 40, 20, 2), (20, 60, 20, 1), (20, 64, 32, 2)]
        self.stem = conv(3, 8, 3, 2, act=nn.ReLU)
        self.blocks = nn.Sequential(*(GhostBottleneck(*p) for p in plan))
        self.head, self.fc = nn.Conv2d(32, 64, 1), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1)
        return self.fc(F.relu(self.head(x)).view(x.size(0), -1))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(dim, dim, 7, padding=3, groups=dim), nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1, self.act, self.pwconv2 = nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.rand(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x).permute(0, 2, 3, 1)
        y = self.gamma * self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, dims: tuple[int, ...] = (12, 24, 48, 64), depths: tuple[int, ...] = (2, 2, 3, 2)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, dims[0], 4, 4), LayerNorm2d(dims[0], eps=1e-6)]
        for stage, (dim, depth) in enumerate(zip(dims, depths)):
            if stage:
                layers += [LayerNorm2d(dims[stage - 1], eps=1e-6), nn.Conv2d(dims[stage - 1], dim, 2, 2)]
            layers += [ConvNeXtBlock(dim) for _ in range(depth)]
        self.features, self.norm, self.head = nn.Sequential(*layers), nn.LayerNorm(dims[-1]), nn.Linear(dims[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x).mean([-2, -1])))
