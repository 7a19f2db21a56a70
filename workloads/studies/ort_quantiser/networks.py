"""Small networks of published topologies with random weights, as ONNX files: what ONNX Runtime's quantiser is given."""

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

SIDE = 32  # pixels


def conv(inputs, outputs, kernel, stride=1, groups=1, activation=nn.ReLU):
    """Convolution, batch normalisation, activation."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation()]))


class Fire(nn.Module):
    def __init__(self, inputs, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.left, self.right = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], 1)


def squeezenet():
    """SqueezeNet 1.1: fire modules, joined channels, a convolution as classifier."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(16, 4, 16), Fire(32, 4, 16), nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(32, 8, 24), Fire(48, 8, 24),
        nn.Dropout(), nn.Conv2d(48, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


class Excite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x):
        s = torch.relu(self.down(x.mean((2, 3), keepdim=True)))
        return x * nn.functional.hardsigmoid(self.up(s))


class Inverted(nn.Module):
    def __init__(self, inputs, wide, outputs, kernel, stride, excite, activation):
        super().__init__()
        layers = [conv(inputs, wide, 1, activation=activation)] if wide != inputs else []
        layers.append(conv(wide, wide, kernel, stride, wide, activation))
        layers += [Excite(wide)] if excite else []
        self.layers = nn.Sequential(*layers, conv(wide, outputs, 1, activation=None))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


def mobilenet_v3():
    """MobileNet v3 small: inverted residuals, squeeze and excite, hard swish."""
    swish = nn.Hardswish
    return nn.Sequential(
        conv(3, 8, 3, 2, activation=swish),
        Inverted(8, 8, 8, 3, 2, True, nn.ReLU), Inverted(8, 24, 12, 3, 2, False, nn.ReLU),
        Inverted(12, 32, 12, 3, 1, False, nn.ReLU), Inverted(12, 32, 16, 5, 2, True, swish),
        Inverted(16, 48, 16, 5, 1, True, swish), conv(16, 48, 1, activation=swish),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 32), swish(), nn.Dropout(), nn.Linear(32, 10),
    )  # fmt: skip


class Shuffle(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        half, self.stride = outputs // 2, stride
        entry = inputs if stride > 1 else half
        self.left = (
            nn.Sequential(conv(entry, entry, 3, stride, entry, None), conv(entry, half, 1)) if stride > 1 else None
        )
        self.right = nn.Sequential(conv(entry, half, 1), conv(half, half, 3, stride, half, None), conv(half, half, 1))

    def forward(self, x):
        if self.left is None:
            a, b = x.chunk(2, 1)
            x = torch.cat([a, self.right(b)], 1)
        else:
            x = torch.cat([self.left(x), self.right(x)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet_v2():
    """ShuffleNet v2: channels split, depthwise convolutions, channels shuffled."""
    return nn.Sequential(
        conv(3, 8, 3, 2), nn.MaxPool2d(3, 2, 1), Shuffle(8, 16, 2), Shuffle(16, 16, 1), Shuffle(16, 32, 2), Shuffle(32, 32, 1),
        conv(32, 48, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip


class LastNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(nn.functional.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


def convnext():
    """ConvNeXt: 7 x 7 depthwise convolutions, layer normalisation over channels, GELU, layer scale."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 4, 4), LastNorm(12), NextBlock(12), NextBlock(12),
        LastNorm(12), nn.Conv2d(12, 24, 2, 2), NextBlock(24), NextBlock(24),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(24), nn.Linear(24, 10),
    )  # fmt: skip


def perceptron(width, wide):
    return nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))


class MixerBlock(nn.Module):
    def __init__(self, tokens, width):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens, self.channels = perceptron(tokens, 2 * tokens), perceptron(width, 2 * width)

    def forward(self, x):
        x = x + self.tokens(self.first(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.second(x))


class Mixer(nn.Module):
    def __init__(self, width=24, patch=8):
        super().__init__()
        tokens = (SIDE // patch) ** 2
        self.stem = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.Sequential(MixerBlock(tokens, width), MixerBlock(tokens, width), nn.LayerNorm(width))
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


class BertBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.network = perceptron(width, 4 * width)

    def forward(self, x, mask):
        n, t, c = x.shape
        q, k, v = (f(x).view(n, t, self.heads, c // self.heads).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = q / (c // self.heads) ** 0.5 @ k.transpose(2, 3)
        weights = scores.masked_fill(mask[:, None, None, :] == 0, -3e4).softmax(-1)
        x = self.norms[0](x + self.out((weights @ v).transpose(1, 2).reshape(n, t, c)))
        return self.norms[1](x + self.network(x))


class DistilBert(nn.Module):
    def __init__(self, words=100, length=12, width=32, heads=4):
        super().__init__()
        self.words, self.places, self.norm = (
            nn.Embedding(words, width),
            nn.Embedding(length, width),
            nn.LayerNorm(width),
        )
        self.blocks = nn.ModuleList([BertBlock(width, heads) for _ in range(2)])
        self.before, self.head = nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, ids, mask):
        x = self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1])))
        for block in self.blocks:
            x = block(x, mask)
        return self.head(torch.relu(self.before(x[:, 0])))


class Temporal(nn.Module):
    def __init__(self, inputs, outputs, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.first = nn.Conv1d(inputs, outputs, 3, padding=self.pad, dilation=dilation)
        self.second = nn.Conv1d(outputs, outputs, 3, padding=self.pad, dilation=dilation)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        y = torch.relu(self.first(x)[:, :, : -self.pad])
        y = torch.relu(self.second(y)[:, :, : -self.pad])
        return torch.relu(y + self.skip(x))


class Tcn(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Temporal(4, 12, 1), Temporal(12, 12, 2), Temporal(12, 16, 4))
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.blocks(x)[:, :, -1])


MAKERS = {
    "squeezenet": squeezenet, "mobilenet_v3": mobilenet_v3, "shufflenet_v2": shufflenet_v2, "convnext": convnext,
    "mlp_mixer": Mixer, "distilbert": DistilBert, "tcn": Tcn,
}  # fmt: skip
GIVEN = ("resnet20_cifar10", "crosssim_resnet14_cifar10")  # files of $CIMEMU_DATA/networks
NAMES = (*MAKERS, *GIVEN)


def batches(name, images, seed):
    """What goes in: arrays [images, ...] by input name."""
    rng = np.random.default_rng(seed)
    if name == "distilbert":
        mask = np.arange(12)[None] < rng.integers(4, 13, (images, 1))
        return {"ids": rng.integers(0, 100, (images, 12)), "mask": mask.astype(np.int64)}
    if name == "tcn":
        return {"x": rng.standard_normal((images, 4, 64), dtype=np.float32)}
    return {"input" if name in GIVEN else "x": rng.standard_normal((images, 3, SIDE, SIDE), dtype=np.float32)}


def write(name, folder):
    """The float network `name` as an ONNX file in `folder`; its path."""
    if name in GIVEN:
        return Path(os.environ["CIMEMU_DATA"]) / f"networks/{name}.onnx"
    torch.manual_seed(7)
    module = MAKERS[name]().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    feeds = {key: torch.from_numpy(value) for key, value in batches(name, 2, 0).items()}
    path = Path(folder) / f"{name}.onnx"
    axes = {key: {0: "N"} for key in (*feeds, "y")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(feeds.values()), str(path), input_names=list(feeds), output_names=["y"], dynamic_axes=axes,
            dynamo=False, opset_version=17,
        )  # fmt: skip
    return path
