"""What a training run is, as frozen records: rates, augmentation, budget, and where images come from.

A field that names an `option` is one of `cimemu adapt`, which takes its bounds and its help from here (see
`cimemu.cli.training`).
"""

from typing import Literal

from pydantic import Field

from cimemu.bounds import MOST_IMAGES, MOST_SEED, MOST_THREADS
from cimemu.record import Record
from cimemu.workload.manifest import DataSource, Preprocess


class Rates(Record):
    """Learning rates of the parameter groups at their highest."""

    weights: float = Field(
        0.01,
        gt=0,
        le=1e6,
        description="learning rate of weights, biases and normalisation",
        json_schema_extra={"option": "--rate"},
    )
    scales: float = Field(
        0.001, ge=0, le=1e6, description="learning rate of step sizes", json_schema_extra={"option": "--scale-rate"}
    )


class Augment(Record):
    """What is done to a training image at random."""

    crop_pad: int | None = Field(
        None,
        ge=0,
        le=16,
        description="black pixels around it, then a crop of the first size; 0: none; null: 4 for colour images of at least "
        "24 x 24, else none",
    )
    flip: bool | None = Field(
        None, description="mirrored left to right, every second one; null: colour images of at least 24 x 24 are"
    )


class HoldBack(Record):
    """Training images that are not trained on. The epoch that does best on them is kept, the start (epoch 0) too."""

    share: float = Field(0.1, ge=0, le=0.5, description="of the training images; 0: none, the last epoch is kept")
    largest: int = Field(1000, ge=1, description="at most so many")
    seed: int = Field(0, ge=0, description="which they are")
    chips: int = Field(1, ge=1, description="with vary: chips they are measured on, drawn as no chip of training is")


class TrainSettings(Record):
    """Stochastic gradient descent with momentum, and its budget."""

    epochs: int = Field(8, ge=1, le=10**6, description="epochs", json_schema_extra={"option": "--epochs"})
    images_per_epoch: int | None = Field(
        None,
        ge=1,
        le=MOST_IMAGES,
        description="images an epoch; the next ones of a shuffled order; null: all",
        json_schema_extra={"option": "--images", "short": "-n"},
    )
    batch: int = Field(128, ge=1, le=10**6, description="images a step", json_schema_extra={"option": "--batch"})
    rates: Rates = Field(default_factory=Rates, description="learning rates")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="cosine falls to 0 with the last step")
    warmup_epochs: float = Field(0.0, ge=0, description="epochs in which rates rise from 0")
    momentum: float = Field(0.9, ge=0, lt=1, description="of the gradient")
    nesterov: bool = Field(False, description="Nesterov's form of momentum")
    weight_decay: float = Field(
        1e-4,
        ge=0,
        le=1e6,
        description="decay of weights; scales, biases and normalisation have none",
        json_schema_extra={"option": "--weight-decay"},
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the label spread over all classes")
    gradient_clip: float | None = Field(None, gt=0, description="largest norm of all gradients together; null: any")
    gradient_type: Literal["float32", "bfloat16"] = Field(
        "float32", description="what gradients of partial sums are multiplied as; bfloat16 where the processor has it"
    )
    step_change: float | None = Field(
        0.05,
        gt=0,
        description="largest relative change of a learned step by one gradient, momentum included; null: any",
    )
    hold_back: HoldBack = Field(default_factory=HoldBack, description="images that choose the epoch that is kept")
    augment: Augment = Field(default_factory=Augment, description="what is done to training images")
    seed: int = Field(
        0,
        ge=0,
        le=MOST_SEED,
        description="root of order, augmentation, first weights and noise",
        json_schema_extra={"option": "--seed"},
    )
    device: str = Field(
        "cpu",
        pattern=r"^(cpu|cuda(:\d+)?)$",
        description="cpu, cuda or cuda:N",
        json_schema_extra={"option": "--device", "metavar": "cpu|cuda"},
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=MOST_THREADS,
        description="threads of the CPU; null: PyTorch's choice",
        json_schema_extra={"option": "--threads"},
    )
    evaluate_every: int = Field(
        1, ge=0, description="epochs between measurements of accuracy; 0: after the last one only"
    )
    evaluate_first: bool = Field(
        True, description="accuracy is measured before training too, with the first step sizes"
    )
    checkpoint_minutes: float = Field(5.0, gt=0, description="a checkpoint at least so often; and after every epoch")


class DataSettings(Record):
    """Images for training and for measuring."""

    train: DataSource = Field(description="images and labels that are trained on")
    test: dict[str, DataSource] = Field(
        default_factory=dict, description="by name: images that accuracy is measured on"
    )
    preprocess: Preprocess = Field(default_factory=Preprocess, description="from stored images to the network's input")
