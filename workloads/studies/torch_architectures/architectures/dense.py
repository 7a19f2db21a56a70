"""Networks with an answer for every pixel or place: U-Net, DeepLab, pyramids, HRNet, hourglass, YOLO, SSD."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def conv_bn(cin: int, cout: int, kernel: int = 3, stride: int = 1, dilation: int = 1, act=nn.ReLU) -> nn.Sequential:
    """Convolution that keeps sizes, batch norm, activation."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, padding, dilation, bias=False), nn.BatchNorm2d(cout), act()
    )


class Double(nn.Sequential):
    def __init__(self, cin: int, cout: int) -> None:
        super().__init__(conv_bn(cin, cout), conv_bn(cout, cout))


class UNet(nn.Module):
    def __init__(self, width: int = 8, bilinear: bool = False) -> None:
        super().__init__()
        w = width
        self.inc, self.pool = Double(3, w), nn.MaxPool2d(2)
        self.down = nn.ModuleList((Double(w, 2 * w), Double(2 * w, 4 * w), Double(4 * w, 8 * w)))
        ups = []
        for c in (8 * w, 4 * w, 2 * w):
            if bilinear:
                up: nn.Module = nn.Sequential(
                    nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(c, c // 2, 1)
                )
            else:
                up = nn.ConvTranspose2d(c, c // 2, kernel_size=2, stride=2)
            ups.append(up)
        self.ups = nn.ModuleList(ups)
        self.convs = nn.ModuleList((Double(8 * w, 4 * w), Double(4 * w, 2 * w), Double(2 * w, w)))
        self.outc = nn.Conv2d(w, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inc(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(self.pool(x))
        for up, conv, skip in zip(self.ups, self.convs, reversed(skips)):
            x = up(x)
            dy, dx = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
            x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            x = conv(torch.cat([skip, x], dim=1))
        return self.outc(x)


def unet_bilinear() -> nn.Module:
    return UNet(bilinear=True)


class DeepLabV3(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            conv_bn(3, 8, 3, 2), conv_bn(8, 16, 3, 2), conv_bn(16, 24, 3, 2), conv_bn(24, 32, 3, 1, 2)
        )
        self.aspp = nn.ModuleList([conv_bn(32, 16, 1), *(conv_bn(32, 16, 3, 1, rate) for rate in (2, 3, 4))])
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn(32, 16, 1))
        self.project = nn.Sequential(conv_bn(80, 24, 1), nn.Dropout(0.5), conv_bn(24, 24))
        self.classifier = nn.Conv2d(24, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        x = self.backbone(x)
        parts = [branch(x) for branch in self.aspp]
        parts.append(F.interpolate(self.pooled(x), size=x.shape[-2:], mode="bilinear", align_corners=False))
        x = self.classifier(self.project(torch.cat(parts, dim=1)))
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class PyramidNetwork(nn.Module):
    """Lateral connections with nearest upsampling; group norms in the heads; four outputs."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 16, 24, 32)
        self.stages = nn.ModuleList(conv_bn(i, o, 3, 2) for i, o in zip((3, *widths), widths))
        self.inner = nn.ModuleList(nn.Conv2d(w, 16, 1) for w in widths)
        self.outer = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in widths)
        self.norm, self.head = nn.GroupNorm(4, 16), nn.Conv2d(16, 6, 3, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        last = self.inner[3](found[3])
        results = [self.outer[3](last)]
        for level in (2, 1, 0):
            lateral = self.inner[level](found[level])
            last = lateral + F.interpolate(last, size=lateral.shape[-2:], mode="nearest")
            results.insert(0, self.outer[level](last))
        return [self.head(F.relu(self.norm(y))) for y in results]


class HRNet(nn.Module):
    """Three resolutions side by side, each fused from all."""

    def __init__(self) -> None:
        super().__init__()
        w = (8, 16, 32)
        self.stem = nn.Sequential(conv_bn(3, 8, 3, 2), conv_bn(8, 8, 3, 2))
        self.starts = nn.ModuleList((conv_bn(8, w[0]), conv_bn(8, w[1], 3, 2), conv_bn(16, w[2], 3, 2)))
        self.branches = nn.ModuleList(nn.Sequential(conv_bn(c, c), conv_bn(c, c)) for c in w)
        self.fuse = nn.ModuleList()
        for i in range(3):
            row = nn.ModuleList()
            for j in range(3):
                if j > i:
                    row.append(
                        nn.Sequential(
                            nn.Conv2d(w[j], w[i], 1, bias=False), nn.BatchNorm2d(w[i]),
                            nn.Upsample(scale_factor=2 ** (j - i), mode="nearest"),
                        )
                    )  # fmt: skip
                elif j == i:
                    row.append(nn.Identity())
                else:
                    steps = [conv_bn(w[j], w[j], 3, 2) for _ in range(i - j - 1)]
                    row.append(nn.Sequential(*steps, nn.Conv2d(w[j], w[i], 3, 2, 1, bias=False), nn.BatchNorm2d(w[i])))
            self.fuse.append(row)
        self.last = nn.Conv2d(sum(w), 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        first = self.starts[0](x)
        second = self.starts[1](x)
        xs = [first, second, self.starts[2](second)]
        xs = [branch(x) for branch, x in zip(self.branches, xs)]
        fused = []
        for row in self.fuse:
            y = row[0](xs[0])
            for step, x in zip(row[1:], xs[1:]):
                y = y + step(x)
            fused.append(F.relu(y))
        size = fused[0].shape[-2:]
        ups = [fused[0], *(F.interpolate(y, size=size, mode="bilinear", align_corners=True) for y in fused[1:])]
        return self.last(torch.cat(ups, 1))


class Hourglass(nn.Module):
    def __init__(self, width: int = 12) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(conv_bn(3, w, 7, 2), nn.MaxPool2d(2, 2))
        self.skips = nn.ModuleList(conv_bn(w, w) for _ in range(6))
        self.downs = nn.ModuleList(conv_bn(w, w) for _ in range(6))
        self.ups = nn.ModuleList(conv_bn(w, w) for _ in range(6))
        self.heads = nn.ModuleList(nn.Conv2d(w, 4, 1) for _ in range(2))
        self.merge, self.back = nn.Conv2d(w, w, 1), nn.Conv2d(4, w, 1)

    def glass(self, x: Tensor, depth: int, first: int) -> Tensor:
        skip = self.skips[first + depth](x)
        y = self.downs[first + depth](F.max_pool2d(x, 2, 2))
        if depth:
            y = self.glass(y, depth - 1, first)
        return skip + F.interpolate(self.ups[first + depth](y), scale_factor=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        y = self.glass(x, 2, 0)
        maps = self.heads[0](y)
        x = x + self.merge(y) + self.back(maps)
        return maps, self.heads[1](self.glass(x, 2, 3))


class C3(nn.Module):
    """YOLO v5's block of bottlenecks beside a shortcut."""

    def __init__(self, cin: int, cout: int, skip: bool = True) -> None:
        super().__init__()
        half = cout // 2
        self.cv1, self.cv2 = conv_bn(cin, half, 1, act=nn.SiLU), conv_bn(cin, half, 1, act=nn.SiLU)
        self.a, self.b = conv_bn(half, half, 1, act=nn.SiLU), conv_bn(half, half, 3, act=nn.SiLU)
        self.cv3, self.skip = conv_bn(2 * half, cout, 1, act=nn.SiLU), skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        z = self.b(self.a(y))
        return self.cv3(torch.cat((y + z if self.skip else z, self.cv2(x)), dim=1))


class Yolo(nn.Module):
    def __init__(self, classes: int = 3, anchors: int = 3) -> None:
        super().__init__()
        self.classes, self.anchors = classes, anchors

        def down(cin: int, cout: int) -> nn.Sequential:
            return nn.Sequential(conv_bn(cin, cout, 3, 2, act=nn.SiLU), C3(cout, cout))

        self.stem, self.d1 = conv_bn(3, 8, 6, 2, act=nn.SiLU), down(8, 16)
        self.stem[0].padding = (2, 2)
        self.d2, self.d3 = down(16, 24), down(24, 32)
        self.cv1, self.cv2 = conv_bn(32, 16, 1, act=nn.SiLU), conv_bn(64, 32, 1, act=nn.SiLU)
        self.pool = nn.MaxPool2d(kernel_size=5, stride=1, padding=2)
        self.lateral, self.up = conv_bn(32, 24, 1, act=nn.SiLU), nn.Upsample(None, 2, "nearest")
        self.top, self.bottom = C3(48, 24, False), conv_bn(24, 24, 3, 2, act=nn.SiLU)
        self.end = C3(48, 32, False)
        self.heads = nn.ModuleList(nn.Conv2d(c, anchors * (classes + 5), 1) for c in (24, 32))
        self.register_buffer("sizes", torch.rand(2, anchors, 2) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        p2 = self.d2(self.d1(self.stem(x)))
        x = self.cv1(self.d3(p2))
        y1 = self.pool(x)
        y2 = self.pool(y1)
        p3 = self.lateral(self.cv2(torch.cat((x, y1, y2, self.pool(y2)), 1)))
        small = self.top(torch.cat((self.up(p3), p2), 1))
        large = self.end(torch.cat((self.bottom(small), p3), 1))
        found = []
        for level, (head, y) in enumerate(zip(self.heads, (small, large))):
            b, _, h, w = (y := head(y)).shape
            y = y.view(b, self.anchors, self.classes + 5, h, w).permute(0, 1, 3, 4, 2).contiguous()
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack((columns, rows), 2).expand(1, self.anchors, h, w, 2).float() - 0.5
            xy, wh, rest = y.sigmoid().split((2, 2, self.classes + 1), 4)
            xy = (xy * 2 + grid) * (64 // h)
            wh = (wh * 2) ** 2 * self.sizes[level].view(1, self.anchors, 1, 1, 2) * (64 // h)
            found.append(torch.cat((xy, wh, rest), 4).view(b, self.anchors * h * w, self.classes + 5))
        return torch.cat(found, 1)


class Ssd(nn.Module):
    def __init__(self, classes: int = 4, boxes: int = 4) -> None:
        super().__init__()
        self.classes = classes
        self.base = nn.Sequential(
            conv_bn(3, 8), nn.MaxPool2d(2, ceil_mode=True), conv_bn(8, 16), nn.MaxPool2d(2), conv_bn(16, 24)
        )
        self.scale = nn.Parameter(torch.full((24,), 20.0))
        self.extra = nn.ModuleList((conv_bn(24, 32, 3, 2), conv_bn(32, 32, 3, 2)))
        self.locations = nn.ModuleList(nn.Conv2d(c, 4 * boxes, 3, padding=1) for c in (24, 32, 32))
        self.scores = nn.ModuleList(nn.Conv2d(c, classes * boxes, 3, padding=1) for c in (24, 32, 32))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.base(x)
        levels = [self.scale.view(1, -1, 1, 1) * F.normalize(x)]
        for step in self.extra:
            x = step(x)
            levels.append(x)
        places, scores = [], []
        for level, location, score in zip(levels, self.locations, self.scores):
            places.append(location(level).permute(0, 2, 3, 1).contiguous().view(x.size(0), -1, 4))
            scores.append(score(level).permute(0, 2, 3, 1).contiguous().view(x.size(0), -1, self.classes))
        return torch.cat(places, 1), F.softmax(torch.cat(scores, 1), dim=-1)
