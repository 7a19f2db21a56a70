"""VGG-8 for small images as a torch module."""

from typing import Any

from cimemu.adapt.library import torch_of


def make_vgg(*, classes: int = 10, width: int = 16, side: int = 32) -> Any:
    """A torch.nn.Module of six 3 x 3 convolutions and two linear layers for 3-channel images of `side` x `side` pixels.

    Two convolutions of `width` channels, two of twice and two of four times as many, each pair with a maximum of 2 x 2 pixels
    behind it (in the manner of Simonyan and Zisserman 2015, arXiv 1409.1556, with batch normalisation). Weights are drawn
    (Kaiming, fan out) from torch's present generator. Raises WorkloadError for another side, or without torch.
    """
    torch = torch_of()
    from cimemu.errors import WorkloadError

    if side < 8 or side % 8:
        raise WorkloadError(f"images of {side} x {side} pixels, vgg8 halves them three times: must be a multiple of 8")
    nn = torch.nn
    layers: list[Any] = []
    before = 3
    for channels in (width, 2 * width, 4 * width):
        for _ in range(2):
            layers += [nn.Conv2d(before, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2))
    hidden = 8 * width
    layers += [nn.Flatten(), nn.Linear(before * (side // 8) ** 2, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    model = nn.Sequential(*layers)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
