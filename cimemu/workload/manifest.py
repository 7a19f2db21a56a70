"""`workload.yaml`: which network, which images, how to prepare and quantise them."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, assert_never

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cimemu.errors import WorkloadError
from cimemu.record import Record
from cimemu.workload.data import moved_labels, read_images, read_tensors, windows_per_clip
from cimemu.workload.metrics import (
    area_under_curve,
    detection_errors,
    of_clips,
    pairs_found,
    perplexity,
    retrieval_top1,
)


class DataSource(Record):
    """Where images (and labels) come from."""

    file: str = Field(description="path beside the workload.yaml; ${NAME} is taken from the environment")
    format: Literal["auto", "npz", "hdf5", "hdf5_jpeg", "cifar10_python", "cifar10_binary"] = Field(
        "auto",
        description="by suffix (.npz, .h5, .bin; CIFAR-10's pickles have none), or named; hdf5_jpeg: JPEG bytes in the key "
        "`images`, cut by the key `offsets`",
    )
    images: str = Field("images", description="key of the images (npz, hdf5)")
    labels: str | None = Field("labels", description="key of the labels (npz, hdf5); null: there are none")
    label_offset: int = Field(0, description="added to every label: 1 where output 0 of the network is background")
    window: int = Field(
        1,
        ge=1,
        description="rows joined to one image, from every row on (spectrogram frames); of every clip where the file has "
        "[clips, rows, bins], with a label a clip",
    )
    tensors: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="networks of several inputs: by input name the key of its values, as stored; of several keys the rows "
        "alternate (queries and their matches)",
    )
    first: int = Field(0, ge=0, description="images left out at the beginning")
    limit: int | None = Field(None, ge=1, description="images taken at most; null: all")


class Preprocess(Record):
    """From stored images to the network's input."""

    stored: Literal["nchw", "nhwc"] = Field("nchw", description="axes of the stored images")
    crop: int | None = Field(None, ge=1, description="rows and columns of the centre that is taken; null: whole images")
    network: Literal["nchw", "nhwc"] = Field("nchw", description="axes that the network takes")
    divide: float = Field(1.0, gt=0, description="stored values are divided by this first")
    mean: tuple[float, ...] = Field((), description="then this is subtracted, a value per channel")
    std: tuple[float, ...] = Field((), description="then divided by this, a value per channel")
    dtype: Literal["float32", "uint8", "int8"] = Field("float32", description="type that the network takes")
    scale: float | None = Field(
        None,
        gt=0,
        description="integer networks: real values become round(value / scale) + zero_point; null: as stored",
    )
    zero_point: int = Field(0, description="integer networks: code of the real value 0")


class QuantizeSettings(Record):
    """Post-training quantisation of a float network, or of what a quantised one leaves in float."""

    activations: Literal["minmax", "percentile", "mse"] = Field("minmax", description="how ranges are calibrated")
    percentile: float = Field(99.99, gt=50, le=100, description="for percentile")
    weights: Literal["channel", "layer"] = Field("channel", description="granularity of weight scales")
    float_layers: Literal["digital", "quantize"] = Field(
        "digital",
        description="products that a quantised file leaves in float: in float32 on the digital unit, or quantised for macros",
    )


class Metric(Record):
    """What is reported beside accuracy."""

    kind: Literal["accuracy", "reconstruction", "detection", "retrieval", "perplexity"] = Field(
        "accuracy",
        description="accuracy of labels, or the mean squared error between real inputs and outputs (anomaly detection), "
        "and the AUC of its mean over each clip where labels are 0 (normal) and 1; or false alarms and misses of one class; "
        "or how often the output nearest (by angle) to that of image 2i, of images 1, 3, 5 ..., is that of image 2i + 1; "
        "or the perplexity of the tokens that are the labels (of each image one, or [images, steps]) by the outputs, logits",
    )
    positive: int = Field(0, ge=0, description="detection: number of the class that is looked for")
    output_scale: float = Field(1.0, gt=0, description="reconstruction: real value of an output code")
    output_zero_point: int = Field(0, description="reconstruction: output code of the real value 0")


class Expect(Record):
    """What was measured elsewhere."""

    float_accuracy: float | None = Field(None, ge=0, le=1, description="of the float network on these images")
    note: str = Field("", description="where the figure comes from")


class Manifest(Record):
    """One workload.yaml."""

    problem: ClassVar = WorkloadError

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="short name, as the folder's")
    title: str = Field("", description="one line for `cimemu list`")
    source: str = Field(description="who made network and data, and their licences")
    network: str = Field(description="network file beside the workload.yaml; ${NAME} is taken from the environment")
    inputs: DataSource = Field(description="images that are run")
    calibration: DataSource | None = Field(None, description="images that ranges are calibrated on")
    train: DataSource | None = Field(None, description="images that cimemu adapt trains on, with labels")
    preprocess: Preprocess = Field(default_factory=Preprocess, description="from stored images to the network's input")
    quantize: QuantizeSettings = Field(default_factory=QuantizeSettings, description="how a float network is quantised")
    metric: Metric = Field(default_factory=Metric, description="what is reported beside accuracy")
    expect: Expect = Field(default_factory=Expect, description="figures to compare with")


@dataclass(frozen=True)
class Workload:
    """A workload; images are read when they are asked for."""

    manifest: Manifest
    path: Path

    @property
    def name(self) -> str:
        """Short name."""
        return self.manifest.name

    @property
    def network(self) -> Path:
        """The network's file. WorkloadError where the environment does not say where it is."""
        return self._resolve(self.manifest.network)

    def inputs(self, limit: int | None = None) -> tuple[Any, NDArray[np.int64] | None]:
        """The first `limit` images as the network takes them, and their labels (None where there are none).

        An array, or where the manifest has `inputs.tensors` a dict of arrays by input name.
        """
        images, labels = self._read(self.manifest.inputs, limit)
        return images, labels

    def metrics(self, outputs: Any, labels: NDArray[np.int64] | None) -> dict[str, float | int | None]:
        """What the workload's metric reports beside accuracy for the first images' `outputs` (an array, or arrays by name), by
        name.

        reconstruction: `mean_squared_error`, `auc`; detection: `false_positives`, `false_negatives`;
        perplexity: `perplexity` (None without labels).
        """
        metric = self.manifest.metric
        match metric.kind:
            case "detection":
                return detection_errors(outputs, labels, metric.positive)
            case "accuracy" | "retrieval":
                return {}
            case "perplexity":
                first = next(iter(outputs.values())) if isinstance(outputs, Mapping) else outputs
                return {"perplexity": perplexity(first, labels)}
            case "reconstruction":
                return self._reconstruction(outputs, labels)
            case other:
                assert_never(other)

    def _reconstruction(self, outputs: NDArray[Any], labels: NDArray[np.int64] | None) -> dict[str, float | int | None]:
        """Mean squared error of what the network makes of its own inputs, and how well it tells the clips apart."""
        metric = self.manifest.metric
        source = self.manifest.inputs
        real = self._read(source, len(outputs), self.manifest.preprocess.model_copy(update={"dtype": "float32"}))[0]
        made = (outputs.astype(np.float64) - metric.output_zero_point) * metric.output_scale
        errors = ((real - made) ** 2).reshape(len(real), -1).mean(axis=1)
        auc = None
        if labels is not None:
            each = windows_per_clip(self._resolve(source.file), source.format, source.images, source.window)
            auc = area_under_curve(*of_clips(errors, labels[: len(errors)], each, source.first))
        return {"mean_squared_error": float(errors.mean()), "auc": auc}

    def score(self, outputs: NDArray[Any]) -> float | None:
        """The share of retrieval's pairs that find each other, which stands for accuracy; None for other metrics."""
        return retrieval_top1(outputs) if self.manifest.metric.kind == "retrieval" else None

    def right(
        self, outputs: NDArray[Any], predictions: NDArray[np.int64] | None, labels: NDArray[np.int64] | None
    ) -> NDArray[np.bool_]:
        """Of every image whether its predicted class is its label; with the metric retrieval, of every pair whether it is found.

        WorkloadError where there is neither.
        """
        if self.manifest.metric.kind == "retrieval":
            return pairs_found(outputs)
        if labels is None or predictions is None:
            raise WorkloadError(f"{self.path}: has no labels, accuracies need them")
        return np.asarray(predictions == np.asarray(labels)[: len(predictions)])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results has to know of the images; a workload.yaml says it itself."""
        return ()

    def calibration(self) -> Any:
        """The calibration images as the network takes them. WorkloadError where the workload has none."""
        if self.manifest.calibration is None:
            raise WorkloadError(
                f"{self.path}: has no calibration images, add the key `calibration` to quantise a float network"
            )
        return self._read(self.manifest.calibration, None)[0]

    def _read(
        self, source: DataSource, limit: int | None, rule: Preprocess | None = None
    ) -> tuple[Any, NDArray[np.int64] | None]:
        if source.tensors:
            file, form = self._resolve(source.file), source.format
            found = read_tensors(file, form, source.tensors, source.first, source.limit, limit)
            if self.manifest.metric.kind != "perplexity" or source.labels is None:
                return found, None
            key = source.labels
            tokens = read_tensors(file, form, {key: (key,)}, source.first, source.limit, limit)[key]
            if tokens.dtype.kind not in "iu" or tokens.ndim > 2:
                raise WorkloadError(
                    f"{file}: {key} is {tokens.dtype} of shape {tokens.shape}, must be integers [images, steps]"
                )
            return found, tokens.astype(np.int64)
        images, labels = read_images(
            self._resolve(source.file),
            source.format,
            source.images,
            source.labels,
            source.first,
            source.limit,
            limit,
            source.window,
        )
        labels = moved_labels(labels, source.label_offset, str(self.path))
        return prepared(images, rule or self.manifest.preprocess, str(self.path)), labels

    def _resolve(self, text: str) -> Path:
        return resolve(text, self.path)


def resolve(text: str, beside: Path) -> Path:
    """A path with environment names filled in, relative to the folder of the file `beside`. WorkloadError."""

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        if not os.environ.get(name):
            raise WorkloadError(
                f"{beside}: {text} needs the environment variable {name}; set it to the folder that has the file, "
                "or copy the workload and write your own path"
            )
        return os.environ[name]

    path = Path(re.sub(r"\$\{(\w+)\}", fill, text)).expanduser()
    return path if path.is_absolute() else beside.parent / path


def prepared(images: NDArray[Any], rule: Preprocess, where: str) -> NDArray[Any]:
    """Stored `images` as the network takes them. WorkloadError where channels or sides do not fit."""
    if rule.crop is not None:
        images = _centre(images, rule.crop, rule.stored, where)
    if images.ndim == 4 and rule.stored != rule.network:
        images = images.transpose({"nhwc": (0, 3, 1, 2), "nchw": (0, 2, 3, 1)}[rule.stored])
    if rule.dtype != "float32" and rule.scale is None:
        limits = np.iinfo(rule.dtype)
        if images.dtype.kind not in "iu" or int(images.min()) < limits.min or int(images.max()) > limits.max:
            raise WorkloadError(
                f"{where}: images are {images.dtype}, must be integers {limits.min} .. {limits.max}; give preprocess.scale"
            )
        return np.ascontiguousarray(images.astype(rule.dtype))
    values = images.astype(np.float32)
    if rule.divide != 1:
        values = values / np.float32(rule.divide)
    axis = {"nchw": 1, "nhwc": values.ndim - 1}[rule.network]
    for name, numbers, sign in (("mean", rule.mean, -1), ("std", rule.std, 1)):
        if not numbers:
            continue
        if values.ndim < 2 or len(numbers) != values.shape[axis]:
            raise WorkloadError(
                f"{where}: preprocess.{name} has {len(numbers)} values, images have {values.shape[axis]} channels"
            )
        shape = [1] * values.ndim
        shape[axis] = len(numbers)
        factors = np.array(numbers, dtype=np.float32).reshape(shape)
        values = values - factors if sign < 0 else values / factors
    if rule.dtype == "float32" or rule.scale is None:
        return np.ascontiguousarray(values, dtype=np.float32)
    limits = np.iinfo(rule.dtype)
    codes = np.floor(values / np.float32(rule.scale) + np.float32(0.5)) + rule.zero_point
    return np.ascontiguousarray(np.clip(codes, limits.min, limits.max).astype(rule.dtype))


def _centre(images: NDArray[Any], side: int, axes: str, where: str) -> NDArray[Any]:
    """The middle `side` rows and columns of images [images, ...] stored as `axes`."""
    if images.ndim != 4:
        raise WorkloadError(
            f"{where}: preprocess.crop = {side}, stored images have {images.ndim - 1} axes, must have 3; leave it out"
        )
    rows, columns = {"nhwc": images.shape[1:3], "nchw": images.shape[2:4]}[axes]
    if side > min(rows, columns):
        raise WorkloadError(
            f"{where}: preprocess.crop = {side}, stored images are {rows} x {columns}, must be at most {min(rows, columns)}"
        )
    top, left = (rows - side) // 2, (columns - side) // 2
    middle = (slice(top, top + side), slice(left, left + side))
    return images[{"nhwc": (slice(None), *middle), "nchw": (slice(None), slice(None), *middle)}[axes]]
