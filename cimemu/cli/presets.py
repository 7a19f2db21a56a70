"""`cimemu list`: what is there by name."""

from typing import Annotated, Any

import typer

from cimemu.cli.app import DEFAULT_ARCH, DEFAULT_WORKLOAD, JsonOption, app
from cimemu.cli.outside import listed
from cimemu.errors import CimemuError
from cimemu.terminal import make_console, print_json


@app.command(name="list")
def list_all(
    group: Annotated[str | None, typer.Argument(help="one group alone: archs, devices ...", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Presets, workloads, network shapes, variation models, devices, formats, and plug-ins with where they are from."""
    from cimemu.arch.load import list_archs
    from cimemu.importer import FORMATS
    from cimemu.loading.load import list_workloads
    from cimemu.shapes import SHAPES
    from cimemu.variation import MODELS
    from cimemu.variation.devices import DEVICES
    from cimemu.variation.parse import described

    groups: dict[str, Any] = {
        "archs": dict(list_archs()),
        "workloads": dict(list_workloads()),
        "shapes": {name: shape.title for name, shape in SHAPES.items()},
        "variations": {name: described(kind) for name, kind in MODELS.items()},
        "devices": {name: f"{device.title} ({device.source})" for name, device in DEVICES.items()},
        "network formats": dict.fromkeys(FORMATS, ""),
        **listed(),
    }
    if group is not None:
        if group not in groups:
            raise CimemuError(f"list {group}: no such group, choose from {', '.join(groups)}")
        groups = {group: groups[group]}
    if as_json:
        print_json(groups)
        return
    console = make_console()
    for group, members in groups.items():
        console.print(group, style="bold")
        for name, title in members.items():
            default = " (default)" if name in (DEFAULT_ARCH, DEFAULT_WORKLOAD) and "default" not in title else ""
            console.print(f"  {name:20} {title}{default}", highlight=False)
