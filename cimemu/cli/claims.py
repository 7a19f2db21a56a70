"""`cimemu claims`: system claims of papers, run on the emulator."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cimemu.bounds import MOST_IMAGES
from cimemu.cli.app import JsonOption, SetOption, app, arch_of, real, whole, workload_of
from cimemu.errors import CimemuError
from cimemu.terminal import make_console, print_json, print_table

CLAIMS = ("utilization", "activation-bits", "nonlinear", "converter-area", "smallest-difference", "paired")
DATA_WORKLOAD = "cifar10_resnet20"
CALIBRATION = 64  # images


@app.command()
def claims(
    claim: Annotated[str, typer.Argument(metavar="|".join(CLAIMS), help="which claim")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[A B]...", help="paired: traces, or answers.csv of a study; first and second of each seed"
        ),
    ] = None,
    workload: Annotated[
        str | None,
        typer.Option("--workload", metavar="WORKLOAD", help=f"trained float network and images, e.g. {DATA_WORKLOAD}"),
    ] = None,
    images: Annotated[
        int,
        typer.Option(
            "--images", "-n", metavar="N", callback=whole(1, MOST_IMAGES), help="images for accuracy and psums"
        ),
    ] = 200,
    macros: Annotated[
        int | None,
        typer.Option(
            "--macros",
            metavar="N",
            callback=whole(1, 10**6),
            help="utilization: macros of the chip; default: as many as now",
        ),
    ] = None,
    side: Annotated[
        int, typer.Option("--side", metavar="N", callback=whole(32, 4096), help="nonlinear: pixels of an image's side")
    ] = 64,
    pairs: Annotated[
        int,
        typer.Option(
            "--pairs", metavar="N", callback=whole(2, 10_000), help="smallest-difference: seeds of each scheme"
        ),
    ] = 3,
    spread: Annotated[
        float,
        typer.Option(
            "--spread",
            metavar="POINTS",
            callback=real(0, 100),
            help="smallest-difference: standard deviation of the difference from seed to seed",
        ),
    ] = 1.0,
    discordant: Annotated[
        float,
        typer.Option(
            "--discordant",
            metavar="SHARE",
            callback=real(0, 1),
            help="smallest-difference: images that one of the two alone gets right",
        ),
    ] = 0.15,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the emulator gives for a paper's system claim.

    utilization: macro-aware widths at 256 word lines (arXiv 2510.14379), with a trained float network. activation-bits:
    binary weights, are 4 bits best? (2508.21524), with accuracies where --workload brings a trained network. nonlinear:
    ResNet-18's shapes with an in-memory nonlinear converter against linear SARs at equal error on the psums of a trained
    network (2603.10540). converter-area: the same converter against earlier ones. smallest-difference: which difference of
    accuracy an experiment with so many seeds and images can see, said before it is run. paired: by how many points network A
    is better than B on the same images, with its interval and what could have been seen.
    """
    if claim not in CLAIMS:
        raise CimemuError(f"claim {claim!r}: not known, choose of {', '.join(CLAIMS)}")
    if overrides and claim != "utilization":
        raise CimemuError(f"--set {overrides[0]}: only the claim utilization takes an architecture, leave it out")
    if files and claim != "paired":
        raise CimemuError(f"{files[0]}: only the claim paired takes files, leave it out")
    makers: dict[str, Callable[[], tuple[Tables, list[str]]]] = {
        "utilization": lambda: _utilization(workload or DATA_WORKLOAD, macros, overrides),
        "activation-bits": lambda: _activation_bits(workload, images),
        "nonlinear": lambda: _nonlinear(workload or DATA_WORKLOAD, min(images, 64), side),
        "converter-area": _converter_area,
        "smallest-difference": lambda: _smallest(pairs, spread, images, discordant),
        "paired": lambda: _paired(files or []),
    }
    tables, notes = makers[claim]()
    if as_json:
        print_json({**tables, "notes": notes})
        return
    for name, rows in tables.items():
        print_table(rows, name)
        make_console().print()
    for note in notes:
        make_console().print(note, soft_wrap=True)


Tables = dict[str, list[dict[str, Any]]]


def _smallest(pairs: int, spread: float, images: int, discordant: float) -> tuple[Tables, list[str]]:
    from cimemu.compare.smallest import Experiment, pairs_needed

    experiment, rows = Experiment(pairs, spread, images, discordant), []
    for points in (0.99, 1.44, 2.69):
        needed = pairs_needed(points, experiment)
        rows.append({"difference of the papers, points": points, "pairs needed": needed or "more images as well"})
    shown = {**asdict(experiment), "standard error": round(experiment.standard_error, 3)}
    return (
        {
            "The experiment": [shown],
            "What it can see": [{"smallest difference, points": round(experiment.smallest, 2)}],
            "What the papers claim": rows,
        },
        [
            "A two-sided t test at 95 % sees that difference in 80 % of such experiments. Seeds are drawn anew for every pair; "
            "the images are the same for all."
        ],
    )


def _paired(files: list[Path]) -> tuple[Tables, list[str]]:
    from cimemu.compare.paired import paired_files

    rows = [
        {
            "images of": found.test,
            "images": found.images,
            "pairs": found.pairs,
            "A, %": found.first,
            "B, %": found.second,
            "A - B, points": found.difference,
            "from": found.low,
            "to": found.high,
            "could be seen": found.smallest,
            "one alone right, %": 100 * found.discordant,
            "spread": found.spread,
            "result": found.seen,
        }
        for found in paired_files(files)
    ]
    notes = [
        "from, to: 95 %. Could be seen: the smallest difference that a test at 95 % finds in 80 % of such experiments."
    ]
    if len(files) == 2:
        notes.append(
            "One pair: the interval is that of the images (paired bootstrap). How other seeds differ is not in it."
        )
    else:
        notes.append(
            "Spread: standard deviation of A - B from pair to pair. The interval has seeds and images in it (Student's t)."
        )
    return {"A against B on the same images": rows}, notes


def _utilization(workload: str, macros: int | None, overrides: list[str] | None) -> tuple[Tables, list[str]]:
    from cimemu.claims.utilization import utilization_rows
    from cimemu.importer import load_network

    arch = arch_of("sram_256", overrides)
    rows = utilization_rows(arch, load_network(workload_of(workload).network), budget=macros)
    before, after = rows
    notes = [
        f"utilization {100 * before.utilization:.1f} % -> {100 * after.utilization:.1f} %; loading in every run "
        f"{before.reload_us:.1f} -> {after.reload_us:.1f} us; {100 * after.compression:.1f} % of the weights gone",
        "widths alone, no training: the paper (up to 90 % utilization, up to 93 % compression) keeps its accuracy by it",
    ]
    return {"utilization": [asdict(row) for row in rows]}, notes


def _activation_bits(workload: str | None, images: int) -> tuple[Tables, list[str]]:
    from cimemu.claims.activation_bits import accuracies_by_bits, best_bits, bits_rows

    tables: Tables = {}
    notes = []
    accuracies = None
    if workload is not None:
        from cimemu.importer import load_network

        work = workload_of(workload)
        given, labels = work.inputs(images)
        if labels is None:
            raise CimemuError(f"--workload {workload}: has no labels, choose one that has")
        accuracies = accuracies_by_bits(load_network(work.network), work.calibration()[:CALIBRATION], given, labels)
    for multibit, name in ((False, "a bit of the input at a time"), (True, "all bits of the input at once")):
        rows = bits_rows(multibit_dac=multibit, accuracies=accuracies)
        tables[name] = [asdict(row) for row in rows]
        best = ", ".join(f"{measure}: {bits}" for measure, bits in best_bits(rows).items())
        notes.append(f"{name}: bits called best by {best}")
    notes.append(
        "energy, latency and area: ResNet-20's shapes with binary weights; none has its optimum at 4 bits by itself"
    )
    if workload is not None:
        notes.append(
            "accuracy: a trained network with activations of so many bits, 8-bit weights, exact sums, no retraining"
        )
    return tables, notes


def _nonlinear(workload: str, images: int, side: int) -> tuple[Tables, list[str]]:
    from cimemu.claims.nonlinear import base_arch, choices, equal_bits, layer_levels, psum_errors, system_rows
    from cimemu.importer import load_network

    work = workload_of(workload)
    network, arch = load_network(work.network), base_arch()
    calibration = work.calibration()[:images]
    errors = psum_errors(network, arch, calibration)
    method = "bs_kmq_drop"
    whole, clipped = equal_bits(errors, method)
    thresholds, levels = layer_levels(network, arch, calibration, method)
    tables: Tables = {"errors on psums (3 bits and linear)": [asdict(row) for row in errors]}
    notes = [f"3-bit {method} errs no more than linear of {whole} bits over the whole range, {clipped} bits clipped"]
    for bits, what in {whole: "linear over the whole range", clipped: "linear clipped"}.items():
        rows = system_rows(choices(thresholds, levels, bits), side=side)
        ours = rows[0]
        tables[f"ResNet-18, {side} x {side}, against {bits}-bit SAR ({what})"] = [
            {
                **asdict(row),
                "speed-up": row.latency_us / ours.latency_us,
                "adc ratio": row.adc_uj / ours.adc_uj,
                "macro ratio": row.macro_uj / ours.macro_uj,
                "chip ratio": row.energy_uj / ours.energy_uj,
            }
            for row in rows
        ]
    notes.append(
        "ratios: of the SAR chip to the nonlinear one; the paper's abstract says up to 4x speed and 24x energy"
    )
    return tables, notes


def _converter_area() -> tuple[Tables, list[str]]:
    from cimemu.claims.converter_area import area_rows

    rows = [
        {**asdict(row), "own / shared": row.own_over_shared, "flash / shared": row.flash_over_shared}
        for row in area_rows()
    ]
    notes = [
        "um2 a column at 65 nm; cell (2.5 um2) and comparator (60 um2) are assumptions of the preset cityu_imadc_2026",
        "papers: 7 times less area than earlier nonlinear converters (2603.10540), 9 times (2605.30814); theirs are not known",
    ]
    return {"converter area": rows}, notes
