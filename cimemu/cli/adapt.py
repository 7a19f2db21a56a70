"""`cimemu adapt`: train a network with the macro in its forward pass."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu.bounds import MOST_IMAGES
from cimemu.cli.adapt_runs import (
    ImagesNamed,
    Job,
    Trained,
    from_scratch_run,
    macro_aware_run,
    study_run,
    two_stage_run,
)
from cimemu.cli.app import ForceOption, JsonOption, ModuleOption, app, refuse_outputs, whole
from cimemu.cli.training import SettingsCommand, changes, given, setting_options
from cimemu.errors import CimemuError, WorkloadError
from cimemu.terminal import EpochLines, make_console, print_compared, print_json, print_table

if TYPE_CHECKING:
    from cimemu.adapt.exact import Compared


UNTOLD = ("total_seconds", "held_back_loss")  # columns of --metrics that the printed table leaves out


@app.command(cls=SettingsCommand)
def adapt(
    context: typer.Context,
    arch: Annotated[
        str | None, typer.Argument(metavar="ARCH", help="architecture: a preset's name or a YAML file")
    ] = None,
    network: Annotated[
        str | None, typer.Argument(metavar="NETWORK", help="a float network file, or a workload that names one")
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
        typer.Option(
            "--from-scratch", metavar="resnet20|vgg8", help="train a float network from its first weights instead"
        ),
    ] = None,
    study: Annotated[
        Path | None, typer.Option("--study", metavar="FILE", help="make all runs of a YAML file below the folder --out")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="RUN", help="of a study: this run alone; again for more")
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", metavar="DIR", help="keep checkpoint.pt and metrics.csv there")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in --checkpoints")] = False,
    metrics: Annotated[Path | None, typer.Option("--metrics", metavar="FILE.csv", help="a row an epoch")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", metavar="DIR", help="events for TensorBoard")
    ] = None,
    verify: Annotated[
        int | None,
        typer.Option(
            "--verify",
            metavar="N",
            callback=whole(1, MOST_IMAGES),
            help="compare psums, codes and outputs of N images with the emulator",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="where decoded JPEGs are kept; default: the user's cache folder"),
    ] = None,
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

    torch_of()  # its absence is told before anything is read
    options, by_key = given(context), dict(parse_override(text) for text in keys or ())
    if study is not None:
        others = {
            "ARCH": arch, "--data": data, "--workload": workload, "--config": config, "--from-scratch": from_scratch,
            "--checkpoints": checkpoints, "--metrics": metrics, "--tensorboard": tensorboard, "--module": module,
            "--verify": verify,
        }  # fmt: skip
        study_run(study, _of_study(options, others) | by_key, out, only, resume, cache, as_json)
        return
    if only:
        raise WorkloadError("--only without --study: it names runs of a study")
    refuse_outputs(out, force=force)
    refuse_outputs(metrics, force=True)
    if resume and checkpoints is None:
        raise WorkloadError("--resume: needs --checkpoints DIR, the folder of the run to go on with")
    settings = read_config(config, _over(changes(options), by_key))
    device_of(settings.train.device)
    if tensorboard is not None:
        board_of()
    job = Job(
        settings=settings,
        images=ImagesNamed(workload, data, None if config is None else config.parent, cache),
        out=out,
        keep=Keep(checkpoints, resume, tensorboard),
        force=force,
        lines=EpochLines(settings.train.epochs, not as_json),
        arch=arch or "",
        network=network or "",
        module=module,
    )
    if from_scratch is not None:
        if "scheme" in options or arch is not None:
            raise WorkloadError("--from-scratch trains a float network: leave ARCH, NETWORK and --scheme out")
        trained = _from_scratch(from_scratch, job, verify)
    elif arch is None or network is None:
        raise CimemuError("adapt: give ARCH and NETWORK, or --from-scratch, or --study; see cimemu adapt --help")
    else:
        trained = _for_macros(job, verify)
    if metrics is not None:
        from cimemu.adapt.metrics_log import write_rows

        write_rows(metrics, trained.rows)
    module_trained = trained.module
    compared, count = (None, 0) if verify is None or module_trained is None else module_trained.verified(verify)
    if as_json:
        told = {} if compared is None else {"verified": [vars(row) for row in compared]}
        shown = {"epochs": trained.rows, "out": None if out is None else str(out)}
        print_json({**shown, **trained.ended.told, **told})
    else:
        _print_rows(trained.rows)
        for written in (out, metrics, checkpoints):
            if written is not None:
                make_console().print(f"wrote {written}")
        if out is not None and from_scratch is None:
            sets = "".join(f" --set {text}" for text in options.get("set", ()))
            make_console().print(
                f"run it: cimemu run {arch} {workload or network} --network {out}{sets}", soft_wrap=True
            )
        if trained.ended.kept is not None:
            make_console().print(trained.ended.line)
        if compared is not None:
            print_compared(compared, count)
    _fail_if_different(compared)
    trained.ended.fail()


def _of_study(options: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """The budget and the device of all runs, which the command line may change; the rest stands in the study's file."""
    names = {option.key: option.names[0] for option in setting_options()}
    refused = [name for name, value in others.items() if value is not None]
    refused += [names[key] for key in options if not key.startswith("train.") or key == "train.seed"]
    if refused:
        raise WorkloadError(f"{refused[0]} with --study: the study's file says it, change it there or with --key")
    return changes(options)


def _over(options: Mapping[str, Any], by_key: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of the config: --key goes over the options of training, and those of the method over --key."""
    training = {key: value for key, value in options.items() if key.startswith("train.")}
    return {**training, **by_key, **{key: value for key, value in options.items() if key not in training}}


def _from_scratch(shape: str, job: Job, verify: int | None) -> Trained:
    """A float network from its first weights."""
    if job.out is None:
        raise WorkloadError("--from-scratch: give --out FILE.onnx, where the trained network goes")
    _refuse_verify(verify, "--from-scratch trains a float network, which no chip computes")
    return from_scratch_run(shape, job, job.out)


def _for_macros(job: Job, verify: int | None) -> Trained:
    """A float network for macros, in one stage or two."""
    morph = job.settings.morph
    if morph is not None:
        if isinstance(morph.macros, tuple) or not morph.stage2:
            _refuse_verify(
                verify, "stage 1 gives float networks, which no chip computes: one --macros, morph.stage2=true"
            )
        return two_stage_run(job)
    if job.settings.code_parity:
        _refuse_verify(verify, "code_parity is in the way, no chip holds it: train without it")
    return macro_aware_run(job)


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A row an epoch, or a stage."""
    shares = [name for row in rows[:1] for name in row if name in ("utilization", "compression")]
    shown = [{k: v for k, v in row.items() if k not in UNTOLD and not k.startswith("standard_error")} for row in rows]
    print_table(shown, shares=shares)


def _refuse_verify(verify: int | None, reason: str) -> None:
    if verify is not None:
        raise WorkloadError(f"--verify {verify}: {reason}")


def _fail_if_different(compared: "Sequence[Compared] | None") -> None:
    if compared is not None and any(row.differ for row in compared):
        raise typer.Exit(1)
