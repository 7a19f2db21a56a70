"""Options of `cimemu adapt` that are numbers, with their bounds."""

from typing import Annotated

import typer

from cimemu.bounds import MOST_IMAGES, MOST_SEED, MOST_THREADS
from cimemu.cli.app import real, whole

EpochsOption = Annotated[int | None, typer.Option("--epochs", metavar="N", callback=whole(1, 10**6), help="epochs")]
EpochImagesOption = Annotated[
    int | None, typer.Option("--images", "-n", metavar="N", callback=whole(1, MOST_IMAGES), help="images an epoch")
]
StepImagesOption = Annotated[
    int | None, typer.Option("--batch", metavar="N", callback=whole(1, 10**6), help="images a step")
]
RateOption = Annotated[float | None, typer.Option("--rate", callback=real(0, 1e6), help="learning rate of weights")]
ScaleRateOption = Annotated[
    float | None, typer.Option("--scale-rate", callback=real(0, 1e6), help="learning rate of step sizes")
]
WeightDecayOption = Annotated[float | None, typer.Option("--weight-decay", callback=real(0, 1e6), help="of weights")]
TrainSeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="N", callback=whole(0, MOST_SEED), help="root of every random draw")
]
TrainThreadsOption = Annotated[
    int | None, typer.Option("--threads", metavar="N", callback=whole(1, MOST_THREADS), help="threads of the CPU")
]
MorphOption = Annotated[
    list[int] | None,
    typer.Option(
        "--macros",
        metavar="N",
        callback=whole(1, 10**6),
        help="first morph the network to fill N macros; again: a curve instead",
    ),
]
VerifyOption = Annotated[
    int | None,
    typer.Option(
        "--verify",
        metavar="N",
        callback=whole(1, MOST_IMAGES),
        help="compare psums, codes and outputs of N images with the emulator",
    ),
]
