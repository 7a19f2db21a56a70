"""`cimemu warm`: compile the kernels before they are needed, for images of containers and nodes of a cluster."""

from collections.abc import Iterator

import typer

from cimemu.cli.app import app

NETWORK = "digits"  # ships with cimemu
FEW = ["--images", "2"]
VARIATIONS = (
    "lognormal:sigma=0.1",
    "normal:absolute=0.1",
    "stuck_at:sa0=0.01,sa1=0.01",
    "write_verify:sigma=0.1,iterations=2,tolerance=0.1",
    "ir_drop:segment_ohm=1",
    "thermal:amplifier=0.5",
    "telegraph:amplitude=0.1",
    "converter:offset=0.5,noise=0.3",
)


def tasks() -> Iterator[tuple[str, list[str]]]:
    """(what for, a command line) of everything that is compiled, the most used first."""
    from importlib.util import find_spec

    from cimemu.arch.load import list_archs

    run = ["run", "rram_128", NETWORK, *FEW]
    yield "run", [*run, "--out", "warm.h5"]
    yield "report", ["report", "warm.h5", "--html", "warm.html"]
    yield "run --detail cycles", [*run, "--detail", "cycles", "--no-trace"]
    for path in ("serial", "lookup", "steps"):
        yield f"run --path {path}", [*run, "--path", path, "--no-trace"]
    for name, bits, lsb in (("a clamp", 5, 1), ("a step", 5, 2.5), ("wide codes", 12, 1)):
        changes = ["--set", f"macro.adc.bits={bits}", "--set", f"macro.adc.lsb={lsb}"]
        yield f"run with {name}", [*run, *changes, "--no-trace"]
    for arch, _ in list_archs():
        yield f"run on {arch}", ["run", arch, NETWORK, *FEW, "--no-trace"]
    for model in VARIATIONS:
        yield f"run --vary {model.partition(':')[0]}", [*run, "--vary", model, "--no-trace"]
    if find_spec("onnxruntime") is not None:
        yield "check", ["check", "rram_128", NETWORK, "--images", "1"]
    yield "golden", ["golden", "rram_128", NETWORK, "--layer", "conv1", "--ops", "1", "--out", "vectors"]
    yield (
        "stress",
        ["stress", "rram_128", NETWORK, *FEW, "--trials", "1", "--vary", VARIATIONS[0], "--out", "stress.h5"],
    )
    yield "sweep", ["sweep", "rram_128", NETWORK, *FEW, "--vary", "macro.adc.bits=6", "--out", "sweep.h5"]
    yield "fit", ["fit", "sram_256", NETWORK, "--no-propose"]
    for scheme in ("column", "bs_kmq"):
        yield (
            f"compare --scheme {scheme}",
            ["compare", "rram_128", NETWORK, "--scheme", scheme, *FEW, "-o", f"{scheme}.csv"],
        )


@app.command()
def warm(context: typer.Context) -> None:
    """Compile the kernels of all common commands, so that no later one waits: for containers and clusters."""
    import time
    from contextlib import chdir, redirect_stderr, redirect_stdout
    from io import StringIO
    from tempfile import TemporaryDirectory

    from cimemu.errors import CimemuError
    from cimemu.lanes.small import SPENT
    from cimemu.terminal import make_console

    SPENT.at_once = True
    console, group = make_console(), context.find_root().command
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        for what, words in tasks():
            started = time.monotonic()
            try:
                with chdir(folder), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                    group.main(words, standalone_mode=False)
            except CimemuError as error:
                raise CimemuError(f"warm: cimemu {' '.join(words)}: {error}") from None
            console.print(f"{time.monotonic() - started:6.1f} s  {what}")
    console.print(f"{time.monotonic() - begun:6.1f} s  in all; kernels stay compiled for this processor and version")
