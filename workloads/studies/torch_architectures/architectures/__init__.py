"""Small networks of the kinds that people build with PyTorch: real topology and depth patterns, few channels, random weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import convolutional, dense, efficient, language, residual, sequences, transformers, various


@dataclass(frozen=True)
class Architecture:
    """One network: `make` builds it, `inputs` makes its inputs for so many images (a tensor for every argument)."""

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[int], tuple[Tensor, ...]]


def images(channels: int, *size: int) -> Callable[[int], tuple[Tensor, ...]]:
    """Random normal images, or series, of a size."""
    return lambda count: (torch.randn(count, channels, *size),)


def words(length: int, vocabulary: int) -> Callable[[int], tuple[Tensor, ...]]:
    """Random words."""
    return lambda count: (torch.randint(0, vocabulary, (count, length)),)


def words_with_mask(length: int, vocabulary: int) -> Callable[[int], tuple[Tensor, ...]]:
    """Random words, of which a mask leaves the last quarter out."""

    def make(count: int) -> tuple[Tensor, ...]:
        mask = torch.ones(count, length, dtype=torch.int64)
        mask[:, length - length // 4 :] = 0
        return torch.randint(0, vocabulary, (count, length)), mask

    return make


ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture("LeNet-5", convolutional.LeNet, images(1, 28, 28)),
    Architecture("AlexNet", convolutional.AlexNet, images(3, 64, 64)),
    Architecture("VGG-11 with batch norm", convolutional.Vgg11, images(3, 32, 32)),
    Architecture("SqueezeNet 1.1", convolutional.SqueezeNet, images(3, 64, 64)),
    Architecture("GoogLeNet", convolutional.GoogLeNet, images(3, 64, 64)),
    Architecture("Inception v3", convolutional.InceptionV3, images(3, 64, 64)),
    Architecture("DenseNet-BC", convolutional.DenseNet, images(3, 32, 32)),
    Architecture("Xception", convolutional.Xception, images(3, 32, 32)),
    Architecture("ResNet-18", residual.resnet18, images(3, 64, 64)),
    Architecture("ResNet-50", residual.resnet50, images(3, 64, 64)),
    Architecture("ResNeXt-50", residual.resnext50, images(3, 64, 64)),
    Architecture("ResNet v2 (pre-activation)", residual.PreActResNet, images(3, 32, 32)),
    Architecture("SE-ResNet", residual.se_resnet, images(3, 64, 64)),
    Architecture("RegNet-Y", residual.RegNet, images(3, 64, 64)),
    Architecture("MobileNet v2", efficient.MobileNetV2, images(3, 64, 64)),
    Architecture("MobileNet v3", efficient.MobileNetV3, images(3, 64, 64)),
    Architecture("EfficientNet-B0", efficient.EfficientNet, images(3, 64, 64)),
    Architecture("ShuffleNet v2", efficient.ShuffleNetV2, images(3, 64, 64)),
    Architecture("GhostNet", efficient.GhostNet, images(3, 64, 64)),
    Architecture("ConvNeXt", efficient.ConvNeXt, images(3, 64, 64)),
    Architecture("MLP-Mixer", transformers.MlpMixer, images(3, 32, 32)),
    Architecture("ViT", transformers.ViT, images(3, 32, 32)),
    Architecture("Swin", transformers.Swin, images(3, 32, 32)),
    Architecture("MaxViT", transformers.MaxViT, images(3, 64, 64)),
    Architecture("MobileViT", transformers.MobileViT, images(3, 32, 32)),
    Architecture("DETR", transformers.Detr, images(3, 64, 64)),
    Architecture("U-Net, transposed convolutions", dense.UNet, images(3, 32, 32)),
    Architecture("U-Net, bilinear upsampling", dense.unet_bilinear, images(3, 32, 32)),
    Architecture("DeepLab v3", dense.DeepLabV3, images(3, 64, 64)),
    Architecture("Feature pyramid network", dense.PyramidNetwork, images(3, 64, 64)),
    Architecture("HRNet", dense.HRNet, images(3, 64, 64)),
    Architecture("Stacked hourglass", dense.Hourglass, images(3, 64, 64)),
    Architecture("YOLO v5", dense.Yolo, images(3, 64, 64)),
    Architecture("SSD", dense.Ssd, images(3, 64, 64)),
    Architecture("BERT", language.Bert, words_with_mask(16, 100)),
    Architecture("GPT-2", language.Gpt2, words(16, 100)),
    Architecture("Llama", language.Llama, words(16, 100)),
    Architecture("nn.TransformerEncoder", language.Encoder, words(16, 100)),
    Architecture("LSTM keyword spotter", sequences.LstmSpotter, images(1, 20, 16)),
    Architecture("GRU keyword spotter", sequences.GruSpotter, images(1, 20, 16)),
    Architecture("TCN", sequences.Tcn, images(4, 64)),
    Architecture("M5 (waveforms)", sequences.M5, images(1, 512)),
    Architecture("PointNet", various.PointNet, images(3, 64)),
    Architecture("ESPCN", various.Espcn, images(1, 24, 24)),
    Architecture("SRResNet", various.SrResNet, images(3, 16, 16)),
    Architecture("DCGAN generator", various.Generator, images(16, 1, 1)),
)


def build(architecture: Architecture, seed: int = 0) -> nn.Module:
    """The network in eval mode with random weights; batch norms have seen something, so that folding them matters."""
    torch.manual_seed(seed)
    module = architecture.make()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(0.0, 0.2)
            part.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(part.weight, 0.7, 1.3)
            nn.init.normal_(part.bias, 0.0, 0.1)
    return module.eval()
