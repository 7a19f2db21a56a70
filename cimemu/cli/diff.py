"""`cimemu diff`: what changed between two runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cimemu.cli.app import ForceOption, JsonOption, app, refuse_outputs
from cimemu.terminal import make_console, print_json, print_table

TITLES = {
    "arch": "Architecture",
    "summary": "Run",
    "layers": "Layers, an image",
    "components": "Energy of components, nJ an image",
    "stalls": "All units together, cycles an image",
}


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(metavar="TRACE", help="a trace that `cimemu run` wrote")],
    after: Annotated[Path, typer.Argument(metavar="TRACE", help="another one")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write one self-contained page instead of tables")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """What changed between two runs: arch keys, cycles, energy by layer and component, stalls, accuracy, outputs."""
    from cimemu.difference import diff_traces

    refuse_outputs(html, force=force)
    if html is not None:
        from cimemu.views import write_diff_html

        write_diff_html(before, after, html, overwrite=force)
        make_console().print(f"{html}: open it in a browser", soft_wrap=True)
        return
    found = diff_traces(before, after)
    if as_json:
        print_json(found)
        return
    console = make_console()
    console.print(f"before {before}, after {after}", soft_wrap=True)
    shares = ("change", "cycles change", "nJ change")
    for section, title in TITLES.items():
        if found[section]:
            print_table([_plain(row) for row in found[section]], title=title, shares=shares)
            console.print()
    if found["after_takes_less"] is not None and found["components"]:
        share = 100 * found["after_takes_less"]
        console.print(f"an image takes less energy after than before in {share:.0f} % of draws of the prices")
    if not any(found[section] for section in TITLES):
        console.print("nothing in architecture, time and energy differs")
    outputs = found["outputs"]
    if outputs is not None:
        elements = ", ".join(f"{name}: {count:,}" for name, count in outputs["elements_differing"].items())
        console.print(f"outputs of {outputs['images']} images, elements that differ: {elements}", soft_wrap=True)
        if outputs["predictions_differing"] is not None:
            console.print(f"predictions that differ: {outputs['predictions_differing']:,}")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, list | dict) else value for key, value in row.items()}
