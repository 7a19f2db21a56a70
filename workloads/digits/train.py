"""Trains the embedded network on the UCI handwritten digits and writes digits.onnx and digits.npz.

    pip install torch scikit-learn onnx
    python workloads/digits/train.py

A residual CNN of 5 convolutions (BatchNormalization folded before export), about 18 thousand parameters. The split is
stratified and fixed: 360 test images that training never sees, the rest for training; calibration images are 128 of
the training images.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED, EPOCHS, BATCH, CHANNELS = 2026, 60, 64, (16, 24)
HERE = Path(__file__).parent


class Digits(nn.Module):
    """stem - (conv, conv + skip) - strided conv - (conv + skip) - average - linear."""

    def __init__(self) -> None:
        super().__init__()
        a, b = CHANNELS
        self.stem = block(1, a)
        self.conv1, self.conv2 = block(a, a), block(a, a)
        self.down = block(a, b, stride=2)
        self.conv3 = block(b, b)
        self.head = nn.Linear(b, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        x = (self.conv2(self.conv1(x).relu()) + x).relu()
        x = self.down(x).relu()
        x = (self.conv3(x) + x).relu()
        return self.head(x.mean(dim=(2, 3)))


def block(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out))


def augmented(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every image moved by up to one pixel, and scaled in brightness by up to a tenth."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    shifts = torch.randint(0, 3, (len(images), 2), generator=generator)
    moved = torch.stack([padded[i, :, r : r + 8, c : c + 8] for i, (r, c) in enumerate(shifts.tolist())])
    gain = 0.9 + 0.2 * torch.rand((len(images), 1, 1, 1), generator=generator)
    return (moved * gain).clamp(0, 1)


def folded(part: nn.Sequential) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution with its BatchNorm."""
    conv, norm = part
    gain = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().double()
    weight = conv.weight.detach().double() * gain[:, None, None, None]
    bias = norm.bias.detach().double() - norm.running_mean.double() * gain
    return weight.float().numpy(), bias.float().numpy()


def to_onnx(model: Digits) -> onnx.ModelProto:
    """The network with its BatchNorms folded, batch axis free."""
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(op: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(name: str, part: nn.Sequential, x: str) -> str:
        weight, bias = folded(part)
        stride = part[0].stride[0]
        names = [x, constant(f"{name}.weight", weight), constant(f"{name}.bias", bias)]
        return node("Conv", names, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[stride, stride])

    x = node("Relu", [conv("stem", model.stem, "image")], "stem_relu")
    y = node("Relu", [conv("conv1", model.conv1, x)], "conv1_relu")
    x = node("Relu", [node("Add", [conv("conv2", model.conv2, y), x], "add1")], "add1_relu")
    x = node("Relu", [conv("down", model.down, x)], "down_relu")
    x = node("Relu", [node("Add", [conv("conv3", model.conv3, x), x], "add2")], "add2_relu")
    x = node("Flatten", [node("GlobalAveragePool", [x], "average")], "flat", axis=1)
    weight = constant("head.weight", model.head.weight.detach().numpy())
    bias = constant("head.bias", model.head.bias.detach().numpy())
    node("Gemm", [x, weight, bias], "scores", transB=1)
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])],
        constants,
    )
    opset = [helper.make_opsetid("", 13)]
    made = helper.make_model(graph, opset_imports=opset, producer_name="cimemu workloads/digits/train.py", ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def split() -> list[np.ndarray]:
    """Images to train on and to test on, then their labels."""
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)[:, None]
    labels = data.target.astype(np.int64)
    return train_test_split(images, labels, test_size=360, stratify=labels, random_state=SEED)


def main() -> None:
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    x, x_test, y, y_test = split()
    x_train, y_train = torch.from_numpy(x), torch.from_numpy(y)
    model = Digits()
    steps = EPOCHS * -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    for epoch in range(EPOCHS):
        model.train()
        order = torch.randperm(len(x), generator=generator)
        for part in order.split(BATCH):
            loss = nn.functional.cross_entropy(
                model(augmented(x_train[part], generator)), y_train[part], label_smoothing=0.05
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        accuracy = float((model(torch.from_numpy(x_test)).argmax(1).numpy() == y_test).mean())
    print(f"test accuracy {100 * accuracy:.2f} % of {len(x_test)} images")
    onnx.save(to_onnx(model), HERE / "digits.onnx")
    np.savez_compressed(HERE / "digits.npz", calibration=x[:128], images=x_test, labels=y_test)


if __name__ == "__main__":
    main()
