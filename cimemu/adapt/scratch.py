"""A float ResNet or VGG trained from its first weights, as an ONNX file."""

import tempfile
from pathlib import Path
from typing import Any, Unpack

from cimemu.adapt.held_back import Held, Judge, Trained, hold_back
from cimemu.adapt.images import ImageSet
from cimemu.adapt.library import torch_of
from cimemu.adapt.resnet import make_resnet
from cimemu.adapt.settings import TrainSettings
from cimemu.adapt.train import Course, CourseKeywords, train_and_keep
from cimemu.adapt.vgg import make_vgg
from cimemu.adapt.written_file import File
from cimemu.errors import WorkloadError
from cimemu.exporter import save_onnx
from cimemu.importer.from_torch import load_torch
from cimemu.keywords import filled
from cimemu.workload.network import Network


def parse_shape(name: str) -> int | None:
    """The depth in "resnet20", None for "vgg8". WorkloadError for another name."""
    depth = name.removeprefix("resnet")
    if name == "vgg8":
        return None
    if not name.startswith("resnet") or not depth.isdigit():
        raise WorkloadError(
            f"network {name!r}: can be trained from scratch are vgg8, resnet8, resnet14, resnet20, resnet32 ..."
        )
    return int(depth)


def train_from_scratch(
    name: str,
    data: ImageSet,
    settings: TrainSettings,
    out: Path,
    *,
    width: int = 16,
    overwrite: bool = False,
    course: Course = Course(),
    **given: Unpack[CourseKeywords],
) -> Trained:
    """Train "vgg8" or "resnet20" (or 8, 14, 32 ...) on `data` and write it to `out` as ONNX: the epoch that does best on
    held-back images.

    Weights are drawn from the settings' seed. Keywords (tests, keep, hooks, progress) are fields of `course`. Raises
    WorkloadError in one line.
    """
    (course,) = filled("train_from_scratch", given, course)
    File(out, overwrite).refuse_taken()
    if len(data) == 0 or data.images.ndim != 4:
        raise WorkloadError(f"images of shape {list(data.images.shape)}, {name} needs [images, rows, columns, 3]")
    shape = data.inputs(slice(0, 1)).shape[1:]
    if shape[0] != 3:
        raise WorkloadError(f"images of {shape[0]} channels, {name} from scratch takes 3")
    if settings.gradient_type != "float32":
        raise WorkloadError(
            f"train.gradient_type = {settings.gradient_type}: a float network has no partial sums, leave it out or train for macros"
        )
    torch_of().manual_seed(settings.seed)
    depth, classes = parse_shape(name), int(data.labels.max()) + 1
    if depth is None:
        if shape[1] != shape[2]:
            raise WorkloadError(f"images of {shape[1]} x {shape[2]} pixels, {name} takes square ones")
        model = make_vgg(classes=classes, width=width, side=shape[1])
    else:
        model = make_resnet(depth, classes=classes, width=width)
    data, held = hold_back(data, settings.hold_back)
    judged = None if held is None else Held(held, Judge())
    trained = train_and_keep(model, data, settings, held=judged, course=course)
    save_onnx(float_network(model, shape), out, overwrite=overwrite)
    return trained


def float_network(model: Any, shape: tuple[int, ...]) -> Network:
    """The imported network of a torch module for images of `shape`, by PyTorch's own export."""
    torch = torch_of()
    model.cpu()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "network.pt"
        torch.save(model.state_dict(), weights)
        return load_torch(weights, model, shape)
