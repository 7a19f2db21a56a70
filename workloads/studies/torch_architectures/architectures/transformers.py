"""Vision networks with attention or token mixing: MLP-Mixer, ViT, Swin, MaxViT, MobileViT, DETR."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def mlp(dim: int, inner: int) -> nn.Sequential:
    """Two linear layers around a GELU."""
    return nn.Sequential(nn.Linear(dim, inner), nn.GELU(), nn.Dropout(0.1), nn.Linear(inner, dim))


class MixerBlock(nn.Module):
    def __init__(self, tokens: int, dim: int) -> None:
        super().__init__()
        self.norm1, self.tokens = nn.LayerNorm(dim), mlp(tokens, 2 * tokens)
        self.norm2, self.channels = nn.LayerNorm(dim), mlp(dim, 2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class MlpMixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 8, 8)
        self.blocks = nn.Sequential(*(MixerBlock(16, 32) for _ in range(3)))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x).flatten(2).transpose(1, 2))
        return self.head(self.norm(x).mean(dim=1))


class Attention(nn.Module):
    """timm's: one product for q, k and v, which are permuted and unbound."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, c))


class ViTBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim), mlp(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 8, 8)
        self.cls = nn.Parameter(torch.randn(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, 17, dim))
        self.blocks = nn.Sequential(*(ViTBlock(dim, 4) for _ in range(3)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class WindowAttention(nn.Module):
    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        relative = (place[:, :, None] - place[:, None, :]).permute(1, 2, 0) + window - 1
        self.register_buffer("index", relative[..., 0] * (2 * window - 1) + relative[..., 1])
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        attention = (q * (c // self.heads) ** -0.5) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(n, n, -1).permute(2, 0, 1).contiguous()
        attention = attention + bias.unsqueeze(0)
        if mask is not None:
            windows = mask.shape[0]
            attention = attention.view(b // windows, windows, self.heads, n, n) + mask.unsqueeze(1).unsqueeze(0)
            attention = attention.view(-1, self.heads, n, n)
        y = torch.softmax(attention, dim=-1) @ v
        return self.proj(y.transpose(1, 2).reshape(b, n, c))


def windows_of(x: Tensor, size: int) -> Tensor:
    """[images, h, w, c] -> [windows, size, size, c]."""
    b, h, w, c = x.shape
    x = x.view(b, h // size, size, w // size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size, size, c)


def of_windows(windows: Tensor, size: int, h: int, w: int) -> Tensor:
    """The way back."""
    b = int(windows.shape[0] / (h * w / size / size))
    x = windows.view(b, h // size, w // size, size, size, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(b, h, w, -1)


class SwinBlock(nn.Module):
    def __init__(self, dim: int, heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.side, self.window, self.shift = side, window, shift
        self.norm1, self.attn = nn.LayerNorm(dim), WindowAttention(dim, heads, window)
        self.norm2, self.mlp = nn.LayerNorm(dim), mlp(dim, 4 * dim)
        mask = None
        if shift:
            areas, count = torch.zeros(1, side, side, 1), 0
            cuts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
            for rows in cuts:
                for columns in cuts:
                    areas[:, rows, columns, :] = count
                    count += 1
            parts = windows_of(areas, window).view(-1, window * window)
            mask = parts.unsqueeze(1) - parts.unsqueeze(2)
            mask = mask.masked_fill(mask != 0, -100.0).masked_fill(mask == 0, 0.0)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        h = w = self.side
        b, n, c = x.shape
        y = self.norm1(x).view(b, h, w, c)
        if self.shift:
            y = torch.roll(y, shifts=(-self.shift, -self.shift), dims=(1, 2))
        y = windows_of(y, self.window).view(-1, self.window * self.window, c)
        y = self.attn(y, self.mask).view(-1, self.window, self.window, c)
        y = of_windows(y, self.window, h, w)
        if self.shift:
            y = torch.roll(y, shifts=(self.shift, self.shift), dims=(1, 2))
        x = x + y.view(b, n, c)
        return x + self.mlp(self.norm2(x))


class Merging(nn.Module):
    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.side, self.norm, self.reduce = side, nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, _, c = x.shape
        x = x.view(b, self.side, self.side, c)
        parts = [x[:, 0::2, 0::2, :], x[:, 1::2, 0::2, :], x[:, 0::2, 1::2, :], x[:, 1::2, 1::2, :]]
        return self.reduce(self.norm(torch.cat(parts, -1).view(b, -1, 4 * c)))


class Swin(nn.Module):
    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.patch, self.norm = nn.Conv2d(3, dim, 4, 4), nn.LayerNorm(dim)
        self.layers = nn.Sequential(
            SwinBlock(dim, 2, 8, 4, 0), SwinBlock(dim, 2, 8, 4, 2), Merging(dim, 8),
            SwinBlock(2 * dim, 4, 4, 4, 0), SwinBlock(2 * dim, 4, 4, 4, 0),
        )  # fmt: skip
        self.last, self.head = nn.LayerNorm(2 * dim), nn.Linear(2 * dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.patch(x).flatten(2).transpose(1, 2))
        x = self.last(self.layers(x))
        return self.head(F.adaptive_avg_pool1d(x.transpose(1, 2), 1).flatten(1))


class MBConv(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        inner = 4 * cout
        self.norm = nn.BatchNorm2d(cin)
        self.conv1 = nn.Sequential(nn.Conv2d(cin, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.GELU())
        self.conv2 = nn.Sequential(
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.GELU()
        )
        self.fc1, self.fc2 = nn.Conv2d(inner, cout // 4, 1), nn.Conv2d(cout // 4, inner, 1)
        self.conv3 = nn.Conv2d(inner, cout, 1)
        self.skip = nn.Identity() if stride == 1 and cin == cout else nn.Sequential(
            nn.AvgPool2d(3, stride, 1) if stride > 1 else nn.Identity(), nn.Conv2d(cin, cout, 1)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(self.norm(x)))
        gate = torch.sigmoid(self.fc2(F.silu(self.fc1(y.mean((2, 3), keepdim=True)))))
        return self.conv3(y * gate) + self.skip(x)


class PartitionAttention(nn.Module):
    """MaxViT's attention in windows (`grid` False) or between places of the same phase (True)."""

    def __init__(self, dim: int, heads: int, size: int, grid: bool) -> None:
        super().__init__()
        self.size, self.grid = size, grid
        self.norm1, self.attn = nn.LayerNorm(dim), WindowAttention(dim, heads, size)
        self.norm2, self.mlp = nn.LayerNorm(dim), mlp(dim, 4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        s = self.size
        if self.grid:
            parts = x.view(b, s, h // s, s, w // s, c).permute(0, 2, 4, 1, 3, 5)
        else:
            parts = x.view(b, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5)
        parts = parts.reshape(-1, s * s, c)
        parts = parts + self.attn(self.norm1(parts))
        parts = parts + self.mlp(self.norm2(parts))
        parts = parts.view(b, h // s, w // s, s, s, c)
        order = (0, 3, 1, 4, 2, 5) if self.grid else (0, 1, 3, 2, 4, 5)
        return parts.permute(order).reshape(b, h, w, c)


class MaxViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.GELU(), nn.Conv2d(16, 16, 3, 1, 1))
        self.conv1, self.block1, self.grid1 = (
            MBConv(16, 16, 2), PartitionAttention(16, 2, 4, False), PartitionAttention(16, 2, 4, True),
        )  # fmt: skip
        self.conv2, self.block2, self.grid2 = (
            MBConv(16, 32, 2), PartitionAttention(32, 4, 4, False), PartitionAttention(32, 4, 4, True),
        )  # fmt: skip
        self.norm, self.fc, self.head = nn.LayerNorm(32), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.stem(x))
        x = self.grid1(self.block1(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        x = self.conv2(x)
        x = self.grid2(self.block2(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return self.head(torch.tanh(self.fc(self.norm(x.mean((2, 3))))))


class MobileViT(nn.Module):
    """MobileNet blocks, and attention between the pixels of the same place in every patch."""

    def __init__(self, dim: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 16, 1), nn.SiLU(),
            nn.Conv2d(16, 16, 3, 2, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.SiLU(),
        )  # fmt: skip
        self.local, self.expand = nn.Conv2d(16, 16, 3, 1, 1), nn.Conv2d(16, dim, 1, bias=False)
        self.blocks = nn.Sequential(*(ViTBlock(dim, 2) for _ in range(2)))
        self.norm, self.reduce = nn.LayerNorm(dim), nn.Conv2d(dim, 16, 1)
        self.fuse, self.head = nn.Conv2d(32, 32, 3, 1, 1), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.expand(F.silu(self.local(x)))
        b, c, h, w = y.shape
        p = 2
        y = y.reshape(b * c * (h // p), p, w // p, p).transpose(1, 2)
        y = y.reshape(b, c, (h // p) * (w // p), p * p).transpose(1, 3).reshape(b * p * p, -1, c)
        y = self.norm(self.blocks(y))
        y = y.contiguous().view(b, p * p, -1, c).transpose(1, 3).reshape(b * c * (h // p), w // p, p, p)
        y = y.transpose(1, 2).reshape(b, c, h, w)
        x = F.silu(self.fuse(torch.cat((x, F.silu(self.reduce(y))), dim=1)))
        return self.head(x.mean((2, 3)))


def sine_positions(side: int, dim: int) -> Tensor:
    """DETR's position codes of a square, [places, dim]."""
    steps = torch.arange(1, side + 1) / side * 2 * math.pi
    scale = 10000 ** (2 * torch.div(torch.arange(dim // 2), 2, rounding_mode="floor") / (dim // 2))
    angles = steps[:, None] / scale
    codes = torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1)
    return torch.cat((codes[:, None].expand(side, side, -1), codes[None].expand(side, side, -1)), dim=2).flatten(0, 1)


class Detr(nn.Module):
    """A convolutional backbone, nn.Transformer and learned queries, as in the paper's listing: sequences come first."""

    def __init__(self, dim: int = 32, queries: int = 8) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for cin, cout in ((3, 8), (8, 16), (16, 24), (24, 32)):
            layers += [nn.Conv2d(cin, cout, 3, 2, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]
        self.backbone, self.conv = nn.Sequential(*layers), nn.Conv2d(32, dim, 1)
        self.transformer = nn.Transformer(dim, 4, 1, 1, 64)
        self.queries = nn.Parameter(torch.rand(queries, dim))
        self.register_buffer("positions", sine_positions(4, dim)[:, None])
        self.classes, self.boxes = nn.Linear(dim, 11), nn.Linear(dim, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.conv(self.backbone(x)).flatten(2).permute(2, 0, 1)
        target = self.queries.unsqueeze(1).repeat(1, h.shape[1], 1)
        h = self.transformer(self.positions + h, target).transpose(0, 1)
        return {"logits": self.classes(h), "boxes": self.boxes(h).sigmoid()}
