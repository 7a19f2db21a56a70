"""`cimemu faults --site codes` and other sites outside cells: what the command prints of such a campaign."""

from pathlib import Path
from typing import Any

from cimemu.cli.bare import print_notes
from cimemu.terminal import ProgressBars, make_console, print_json, print_table

WORST_SHOWN = 10
SHARES = ("masked", "harmful", "low", "high")


def tell_upsets(
    arch: Any,
    work: Any,
    network: Any,
    given: tuple[Any, Any],
    campaign: Any,
    out: Path | None,
    shown: tuple[bool, bool],
) -> None:
    """Run a campaign on `given` images and labels and print it; `shown` = (as JSON, files may be overwritten)."""
    from cimemu.faults.upset_report import upset_rows, upset_summary, worst_upsets, write_upsets
    from cimemu.faults.upsets import upsets

    as_json, force = shown
    with ProgressBars(not as_json) as progress:
        result = upsets(arch, network, *given, campaign, progress=progress.update)
    if out is not None:
        write_upsets(out, result, overwrite=force)
    told, layers, bits = upset_summary(result), upset_rows(result, "layer"), upset_rows(result, "bit")
    worst = worst_upsets(result, WORST_SHOWN)
    files = [] if out is None else [str(out)]
    if as_json:
        print_json({**told, "layers": layers, "bits": bits, "worst": worst, "files": files})
        return
    print_notes(work, network)
    how = "stuck bits" if result.permanent else "bits that flip once"
    title = f"{work.name} on {arch.name}: {told['faults']:,} of {told['of']:,} {how} of {result.kind}, {told['images']} images"
    print_table(layers, title, shares=SHARES)
    print_table(bits, "by bit, 0 the lowest", shares=SHARES)
    print_table(worst, "the most harmful faults; images of each kind", shares=())
    console = make_console()
    console.print(
        f"{100 * told['harmful']:.2f} % [{100 * told['low']:.2f}, {100 * told['high']:.2f}] of the faults change a prediction, "
        f"{100 * told['masked']:.2f} % change nothing where they are, and {100 * told['absorbed']:.2f} % are lost in the layers "
        f"behind them; {told['faults_per_second']:,.0f} faults/s",
        soft_wrap=True,
    )
    if told["accuracy"] is not None:
        console.print(
            f"accuracy {100 * told['accuracy']:.2f} %; a fault costs {100 * told['mean_drop']:.4f} points in the mean, "
            f"{100 * told['largest_drop']:.2f} at most",
            soft_wrap=True,
        )
    for path in files:
        console.print(f"wrote {path}", soft_wrap=True)
