"""Clouds of points, larger images, made images: PointNet, ESPCN, SRResNet, DCGAN."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class TNet(nn.Module):
    """The small PointNet that gives a matrix to turn the points with."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.conv1, self.conv2 = nn.Conv1d(k, 16, 1), nn.Conv1d(16, 32, 1)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm1d(16), nn.BatchNorm1d(32), nn.BatchNorm1d(16)
        self.fc1, self.fc2 = nn.Linear(32, 16), nn.Linear(16, k * k)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = torch.max(x, 2, keepdim=True)[0].view(-1, 32)
        x = self.fc2(F.relu(self.bn3(self.fc1(x))))
        return (x + torch.eye(self.k).flatten().view(1, -1)).view(-1, self.k, self.k)


class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.turn, self.turn2 = TNet(3), TNet(16)
        self.conv1, self.bn1 = nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16)
        self.conv2, self.bn2 = nn.Conv1d(16, 48, 1), nn.BatchNorm1d(48)
        self.fc1, self.bn3, self.fc2 = nn.Linear(48, 24), nn.BatchNorm1d(24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.bmm(x.transpose(2, 1), self.turn(x)).transpose(2, 1)
        x = F.relu(self.bn1(self.conv1(x)))
        matrix = self.turn2(x)
        x = torch.bmm(x.transpose(2, 1), matrix).transpose(2, 1)
        x = torch.max(self.bn2(self.conv2(x)), 2)[0]
        return F.log_softmax(self.fc2(F.relu(self.bn3(self.fc1(x)))), dim=1), matrix


class Espcn(nn.Module):
    def __init__(self, factor: int = 3) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 16, 3, padding=1)
        self.conv3, self.shuffle = nn.Conv2d(16, factor**2, 3, padding=1), nn.PixelShuffle(factor)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.conv2(torch.tanh(self.conv1(x))))
        return torch.clamp_(self.shuffle(self.conv3(x)), 0.0, 1.0)


class SrBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.PReLU(), nn.Conv2d(width, width, 3, 1, 1),
            nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class SrResNet(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 9, 1, 4), nn.PReLU())
        self.blocks = nn.Sequential(*(SrBlock(width) for _ in range(3)))
        self.middle = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.InstanceNorm2d(width, affine=True))
        self.up = nn.Sequential(nn.Conv2d(width, 4 * width, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU())
        self.last = nn.Conv2d(width, 3, 9, 1, 4, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return torch.tanh(self.last(self.up(x + self.middle(self.blocks(x)))))


class Generator(nn.Module):
    def __init__(self, w: int = 8) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for cin, cout, stride, padding in ((16, 4 * w, 1, 0), (4 * w, 2 * w, 2, 1), (2 * w, w, 2, 1)):
            layers += [
                nn.ConvTranspose2d(cin, cout, 4, stride, padding, bias=False), nn.BatchNorm2d(cout),
                nn.LeakyReLU(0.2) if cout == w else nn.ReLU(True),
            ]  # fmt: skip
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(w, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)
