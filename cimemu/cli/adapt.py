"""`cimemu adapt`: train a network with the macro in its forward pass."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu.cli.adapt_runs import (
    ImagesNamed,
    TrainedModule,
    from_scratch_run,
    macro_aware_run,
    study_run,
    two_stage_run,
)
from cimemu.cli.app import ForceOption, JsonOption, ModuleOption, SetOption, app, refuse_outputs
from cimemu.cli.training import (
    EpochImagesOption,
    EpochsOption,
    MorphOption,
    RateOption,
    ScaleRateOption,
    StepImagesOption,
    TrainSeedOption,
    TrainThreadsOption,
    VerifyOption,
    WeightDecayOption,
)
from cimemu.errors import CimemuError, WorkloadError
from cimemu.terminal import EpochLines, make_console, print_compared, print_json, print_table

if TYPE_CHECKING:
    from cimemu.adapt.exact import Compared


UNTOLD = ("total_seconds", "held_back_loss")  # columns of --metrics that the printed table leaves out


@app.command()
def adapt(
    arch: Annotated[
        str | None, typer.Argument(metavar="ARCH", help="architecture: a preset's name or a YAML file")
    ] = None,
    network: Annotated[
        str | None, typer.Argument(metavar="NETWORK", help="a float network file, or a workload that names one")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option("--scheme", metavar="NAME|FILE", help="quantisation scheme, or a YAML file of one")
    ] = None,
    scheme_keys: Annotated[
        list[str] | None,
        typer.Option("--scheme-set", metavar="KEY=VALUE", help="change the scheme, e.g. converter.bits=3"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="images to train on: .npz, .h5 (images or JPEGs), CIFAR-10's own"),
    ] = None,
    workload: Annotated[
        str | None,
        typer.Option("--workload", metavar="WORKLOAD", help="whose images and preprocessing a NETWORK file takes"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="ONNX file to write, for cimemu run --network")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="YAML of all settings; options change its keys")
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY=VALUE", help="change any key of the config, e.g. train.momentum=0.8"),
    ] = None,
    from_scratch: Annotated[
        str | None,
        typer.Option("--from-scratch", metavar="resnet20", help="train a float network from its first weights instead"),
    ] = None,
    study: Annotated[
        Path | None, typer.Option("--study", metavar="FILE", help="make all runs of a YAML file below the folder --out")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="RUN", help="of a study: this run alone; again for more")
    ] = None,
    epochs: EpochsOption = None,
    images: EpochImagesOption = None,
    batch: StepImagesOption = None,
    rate: RateOption = None,
    scale_rate: ScaleRateOption = None,
    weight_decay: WeightDecayOption = None,
    seed: TrainSeedOption = None,
    device: Annotated[str | None, typer.Option("--device", metavar="cpu|cuda", help="where to train")] = None,
    threads: TrainThreadsOption = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", metavar="MODEL:PARAM=VALUE", help="cells drawn anew for every step, as stress does"),
    ] = None,
    gradient: Annotated[
        str | None, typer.Option("--gradient", metavar="proper|public", help="gradient of weight slices")
    ] = None,
    macros: MorphOption = None,
    code_parity: Annotated[
        bool | None, typer.Option("--code-parity", help="ColumnQuant's public form: arrays see all channels")
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", metavar="DIR", help="keep checkpoint.pt and metrics.csv there")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in --checkpoints")] = False,
    metrics: Annotated[Path | None, typer.Option("--metrics", metavar="FILE.csv", help="a row an epoch")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", metavar="DIR", help="events for TensorBoard")
    ] = None,
    verify: VerifyOption = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="where decoded JPEGs are kept; default: the user's cache folder"),
    ] = None,
    overrides: SetOption = None,
    module: ModuleOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network with the macro in the loop, and write what the emulator runs (needs cimemu[torch])."""
    from cimemu.adapt.config import read_config
    from cimemu.adapt.library import device_of, torch_of
    from cimemu.adapt.metrics_log import board_of
    from cimemu.adapt.train import Keep
    from cimemu.arch.load import parse_override

    def pairs(texts: list[str] | None) -> dict[str, Any]:
        return dict(parse_override(text) for text in texts or ())

    torch_of()  # its absence is told before anything is read
    named = {
        "train.epochs": epochs,
        "train.images_per_epoch": images,
        "train.batch": batch,
        "train.rates.weights": rate,
        "train.rates.scales": scale_rate,
        "train.weight_decay": weight_decay,
        "train.seed": seed,
        "train.device": device,
        "train.threads": threads,
    }
    changes = {key: value for key, value in named.items() if value is not None} | pairs(keys)
    if study is not None:
        others = {
            "ARCH": arch, "--scheme": scheme, "--scheme-set": scheme_keys, "--data": data, "--workload": workload,
            "--config": config, "--from-scratch": from_scratch, "--seed": seed, "--vary": vary, "--gradient": gradient,
            "--code-parity": code_parity, "--checkpoints": checkpoints, "--metrics": metrics,
            "--tensorboard": tensorboard, "--set": overrides, "--module": module, "--macros": macros, "--verify": verify,
        }  # fmt: skip
        given = [name for name, value in others.items() if value is not None]
        if given:
            raise WorkloadError(f"{given[0]} with --study: the study's file says it, change it there or with --key")
        study_run(study, changes, out, only, resume, cache, as_json)
        return
    if only:
        raise WorkloadError("--only without --study: it names runs of a study")
    refuse_outputs(out, force=force)
    refuse_outputs(metrics, force=True)
    if resume and checkpoints is None:
        raise WorkloadError("--resume: needs --checkpoints DIR, the folder of the run to go on with")
    method = {"scheme": scheme, "vary": vary or None, "gradient": gradient, "code_parity": code_parity}
    changes |= {key: value for key, value in method.items() if value is not None}
    if scheme_keys:
        changes["scheme_set"] = pairs(scheme_keys)
    if overrides:
        changes["set"] = pairs(overrides)
    if macros:
        changes["morph.macros"] = macros[0] if len(macros) == 1 else macros
    settings = read_config(config, changes)
    folder = None if config is None else config.parent
    named_images = ImagesNamed(workload, data, folder, cache)
    device_of(settings.train.device)
    if tensorboard is not None:
        board_of()
    keep = Keep(checkpoints, resume, tensorboard)
    lines = EpochLines(settings.train.epochs, not as_json)
    trained: TrainedModule | None = None
    if from_scratch is not None:
        if scheme is not None or arch is not None:
            raise WorkloadError("--from-scratch trains a float network: leave ARCH, NETWORK and --scheme out")
        if out is None:
            raise WorkloadError("--from-scratch: give --out FILE.onnx, where the trained network goes")
        _refuse_verify(verify, "--from-scratch trains a float network, which no chip computes")
        rows, ended = from_scratch_run(from_scratch, settings, named_images, out, keep, force, lines)
    elif arch is None or network is None:
        raise CimemuError("adapt: give ARCH and NETWORK, or --from-scratch, or --study; see cimemu adapt --help")
    elif settings.morph is not None:
        if isinstance(settings.morph.macros, tuple) or not settings.morph.stage2:
            _refuse_verify(
                verify, "stage 1 gives float networks, which no chip computes: one --macros, morph.stage2=true"
            )
        rows, trained, ended = two_stage_run(arch, network, settings, named_images, out, keep, force, lines, module)
    else:
        if settings.code_parity:
            _refuse_verify(verify, "code_parity is in the way, no chip holds it: train without it")
        rows, trained, ended = macro_aware_run(arch, network, settings, named_images, out, keep, force, lines, module)
    if metrics is not None:
        from cimemu.adapt.metrics_log import write_rows

        write_rows(metrics, rows)
    compared, count = (None, 0) if verify is None or trained is None else trained.verified(verify)
    if as_json:
        told = {} if compared is None else {"verified": [vars(row) for row in compared]}
        print_json({"epochs": rows, "out": None if out is None else str(out), **ended.told, **told})
        _fail_if_different(compared)
        ended.fail()
        return
    shares = [name for row in rows[:1] for name in row if name in ("utilization", "compression")]
    shown = [{k: v for k, v in row.items() if k not in UNTOLD and not k.startswith("standard_error")} for row in rows]
    print_table(shown, shares=shares)
    for written in (out, metrics, checkpoints):
        if written is not None:
            make_console().print(f"wrote {written}")
    if out is not None and from_scratch is None:
        sets = "".join(f" --set {text}" for text in overrides or ())
        make_console().print(f"run it: cimemu run {arch} {workload or network} --network {out}{sets}", soft_wrap=True)
    if ended.kept is not None:
        make_console().print(ended.line)
    if compared is not None:
        print_compared(compared, count)
    _fail_if_different(compared)
    ended.fail()


def _refuse_verify(verify: int | None, reason: str) -> None:
    if verify is not None:
        raise WorkloadError(f"--verify {verify}: {reason}")


def _fail_if_different(compared: "Sequence[Compared] | None") -> None:
    if compared is not None and any(row.differ for row in compared):
        raise typer.Exit(1)
