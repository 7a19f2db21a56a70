"""Networks on series: LSTM and GRU keyword spotters, a temporal convolutional network, M5 on waveforms."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class LstmSpotter(nn.Module):
    """Two layers on a spectrogram [1, frames, bands]; the last frame decides."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(16, 24, num_layers=2, batch_first=True), nn.Linear(24, 12)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(x.squeeze(1))
        return self.fc(out[:, -1])


class GruSpotter(nn.Module):
    """A convolution in front, a GRU in both directions, the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d((1, 2)))
        self.gru, self.fc = nn.GRU(32, 16, batch_first=True, bidirectional=True), nn.Linear(32, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        b, c, t, f = x.shape
        out, _ = self.gru(x.permute(0, 2, 1, 3).reshape(b, t, c * f))
        return F.log_softmax(self.fc(out.mean(1)), dim=-1)


class TemporalBlock(nn.Module):
    def __init__(self, cin: int, cout: int, dilation: int, kernel: int = 3) -> None:
        super().__init__()
        self.cut = (kernel - 1) * dilation
        weight_norm = torch.nn.utils.parametrizations.weight_norm
        self.conv1 = weight_norm(nn.Conv1d(cin, cout, kernel, padding=self.cut, dilation=dilation))
        self.conv2 = weight_norm(nn.Conv1d(cout, cout, kernel, padding=self.cut, dilation=dilation))
        self.down = nn.Conv1d(cin, cout, 1) if cin != cout else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv1(x)[:, :, : -self.cut].contiguous())
        y = F.relu(self.conv2(y)[:, :, : -self.cut].contiguous())
        return F.relu(y + (x if self.down is None else self.down(x)))


class Tcn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(TemporalBlock(4 if not i else 16, 16, 2**i) for i in range(4)))
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.blocks(x)[:, :, -1])


class M5(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        shapes = [(1, width, 80, 4), (width, width, 3, 1), (width, 2 * width, 3, 1)]
        self.convs = nn.ModuleList(nn.Conv1d(i, o, k, s) for i, o, k, s in shapes)
        self.norms = nn.ModuleList(nn.BatchNorm1d(o) for _, o, _, _ in shapes)
        self.pool, self.fc = nn.MaxPool1d(4), nn.Linear(2 * width, 12)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms):
            x = self.pool(F.relu(norm(conv(x))))
        x = F.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return F.log_softmax(self.fc(x), dim=2)
