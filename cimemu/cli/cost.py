"""`cimemu cost`: the resolved cost table of a chip, and numbers of external estimators."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu.cli.app import DEFAULT_ARCH, ForceOption, JsonOption, SetOption, app, arch_of, real, refuse_outputs, whole
from cimemu.config_file import yaml_text
from cimemu.errors import ArchError
from cimemu.facts import ends_text
from cimemu.shown import printable
from cimemu.terminal import make_console, print_json, print_table
from cimemu.whole_file import refuse_output, whole_file

if TYPE_CHECKING:
    from cimemu.arch.schema import Arch


@app.command()
def cost(
    arch: Annotated[
        str,
        typer.Argument(
            metavar="ARCH|import|suggest", help="architecture: a preset's name or a YAML file; or import, suggest"
        ),
    ] = DEFAULT_ARCH,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    python: Annotated[
        str | None, typer.Option("--python", metavar="PYTHON", help="import: the interpreter that has the estimator")
    ] = None,
    requests: Annotated[
        Path | None, typer.Option("--requests", metavar="FILE.json", help="import: which classes to ask")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="import: the table (JSON); suggest: the costs (YAML)"),
    ] = None,
    node: Annotated[
        float | None, typer.Option("--node", metavar="NM", callback=real(7, 130), help="suggest: technology node in nm")
    ] = None,
    supply: Annotated[
        float | None,
        typer.Option(
            "--supply", metavar="V", callback=real(0.2, 5), help="suggest: supply in V; default: the node's usual one"
        ),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option("--cell", metavar="KIND", help="suggest: sram (default), edram, rram, pcm, mram, fefet, digital"),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", metavar="N", callback=whole(1, 1 << 20), help="suggest: rows of a macro (128)"),
    ] = None,
    columns: Annotated[
        int | None, typer.Option("--columns", metavar="N", callback=whole(1, 1 << 20), help="suggest: columns (128)")
    ] = None,
    cell_bits: Annotated[
        int | None, typer.Option("--cell-bits", metavar="N", callback=whole(1, 8), help="suggest: bits of a cell (1)")
    ] = None,
    converter: Annotated[
        str | None, typer.Option("--converter", metavar="KIND", help="suggest: sar (default), flash, ramp, none")
    ] = None,
    adc_bits: Annotated[
        int | None, typer.Option("--adc-bits", metavar="N", callback=whole(1, 14), help="suggest: of the converter (6)")
    ] = None,
    clock_ns: Annotated[
        float | None,
        typer.Option("--clock-ns", metavar="NS", callback=real(1e-3, 1e6), help="suggest: a cycle in ns (1)"),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Print what every event and instance costs, how sure that is, and where the number comes from.

    `cimemu cost suggest --node 28 --cell rram` prints a whole cost table for an architecture file from the few facts that are
    known. `cimemu cost import --python python3.12 --requests FILE.json --out TABLE.json` runs an external estimator
    (hwcomponents) out of process and writes a table that `estimator: {model: imported, file: TABLE.json, name: ...}`
    reads.
    """
    facts: dict[str, Any] = {
        "node_nm": node,
        "supply_v": supply,
        "cell": cell,
        "rows": rows,
        "columns": columns,
        "cell_bits": cell_bits,
        "converter": converter,
        "adc_bits": adc_bits,
        "clock_ns": clock_ns,
    }
    given: dict[str, dict[str, Any]] = {
        "import": {"--python": python, "--requests": requests, "--out": out},
        "suggest": {"--out": out},
    }
    given["suggest"] |= {OPTION_OF[name]: value for name, value in facts.items()}
    _refuse_others(arch, given)
    if arch == "suggest":
        _suggest({name: value for name, value in facts.items() if value is not None}, out, force, as_json)
        return
    if arch == "import":
        _import(python, requests, out, force, as_json)
        return
    from cimemu.prices import cost_data

    chip = arch_of(arch, overrides)
    data = cost_data(chip)
    data["interval_by"], unknown = _dominating(chip)
    if as_json:
        print_json(data)
        return
    console = make_console()
    where = "" if data["node_nm"] is None else f", {data['node_nm']:g} nm, {data['voltage_v']:g} V"
    console.print(
        f"{data['arch']}{where}: {data['area_mm2']:.4g} mm2{_ends(data, 'area_mm2')}, "
        f"leakage {data['leakage_uw'] / 1000:.4g} mW{_ends(data, 'leakage_uw', 1e-3)}",
        highlight=False,
    )
    print_table([_row(component) for component in data["components"]], figures=("pJ an event", "um2 each", "uW each"))
    console.print(
        "In brackets: 90 % intervals. basis: what the energy rests on, which gives its interval where the file gives none "
        "(marked *); see cimemu docs energy"
    )
    most = ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(data["interval_by"].items())[:5])
    console.print(
        f"What makes the energy of a full, busy macro unsure: {most or unknown}. cimemu report TRACE says it of a run."
    )


MOST_CELLS = 1 << 21  # of a macro that is filled and run within seconds
OPTION_OF = {
    "node_nm": "--node",
    "supply_v": "--supply",
    "cell": "--cell",
    "rows": "--rows",
    "columns": "--columns",
    "cell_bits": "--cell-bits",
    "converter": "--converter",
    "adc_bits": "--adc-bits",
    "clock_ns": "--clock-ns",
}


def _refuse_others(arch: str, given: Mapping[str, Mapping[str, Any]]) -> None:
    """ArchError for an option that belongs to another form of the command."""
    mine = given.get(arch, {})
    for form, options in given.items():
        for name, told in options.items():
            if told is not None and name not in mine:
                raise ArchError(f"{name} {told}: belongs to `cimemu cost {form}`, not to `cimemu cost {arch}`")


def _suggest(facts: dict[str, Any], out: Path | None, force: bool, as_json: bool) -> None:
    """A cost table from facts, as YAML on the output or in a file."""
    from cimemu.cost.suggest import suggest_costs

    if "node_nm" not in facts:
        raise ArchError("cimemu cost suggest: --node is missing, give the technology node in nm")
    costs = suggest_costs(**facts)
    text = yaml_text({"costs": costs})
    if out is not None:
        refuse_outputs(out, force=force)
        with whole_file(out, ArchError, overwrite=force) as made:
            made.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"costs": costs})
    elif out is not None:
        make_console().print(f"wrote {out}: it is the key costs of an architecture file", soft_wrap=True)
    else:
        print(text, end="")


def _dominating(chip: "Arch") -> tuple[dict[str, float], str]:
    """(shares of the variance of a full macro's energy by price, why they are not known)."""
    from cimemu.errors import CimemuError
    from cimemu.validate.measure import full_macro

    if chip.macro.rows * chip.macro.columns > MOST_CELLS:
        return {}, f"not measured for a macro of more than {MOST_CELLS:,} cells"
    try:
        return full_macro(chip).chip_draws().dominating(), "nothing, the chip has no prices"
    except CimemuError as error:
        return {}, f"not known, as a layer that fills it cannot be run ({error})"


def _ends(data: Mapping[str, Any], key: str, scale: float = 1.0) -> str:
    low, high = data[f"{key}_low"] * scale, data[f"{key}_high"] * scale
    return ends_text((low, high)) if high > 0 else ""


def _row(component: Mapping[str, Any]) -> dict[str, Any]:
    """A component as people read it: figures to five digits, and where they come from."""
    scales = "".join(
        f" [{what} x {component[key]:.4g}]"
        for what, key in (("energy", "energy_scale"), ("area", "area_scale"))
        if component[key] != 1
    )
    estimator = f"{component['estimator']}: " if component["estimator"] else ""
    return {
        "component": component["component"],
        "pJ an event": _with_ends(component, "energy", "pj"),
        "instances": component["instances"],
        "um2 each": _with_ends(component, "area", "um2"),
        "uW each": _with_ends(component, "leakage", "uw"),
        "basis": component["basis"] + ("" if component["interval"] == "given" else " *"),
        "source": f"{estimator}{component['source'] or '-'}{scales}",
    }


def _with_ends(component: Mapping[str, Any], quantity: str, unit: str) -> str:
    """A price with its 90 % interval; one that is 0 has none."""
    value = component[f"{quantity}_{unit}"]
    ends = (component[f"{quantity}_low_{unit}"], component[f"{quantity}_high_{unit}"])
    return f"{value:,.4g}{ends_text(ends) if value else ''}"


def _import(python: str | None, requests: Path | None, out: Path | None, force: bool, as_json: bool) -> None:
    for name, value in (("--python", python), ("--requests", requests), ("--out", out)):
        if value is None:
            raise ArchError(f"cimemu cost import: {name} is missing, give it")
    assert python is not None
    assert requests is not None
    assert out is not None
    refuse_output(out, ArchError, overwrite=force)
    from cimemu.cost.external import import_costs

    table = import_costs(python, requests, out)
    if as_json:
        print_json(table)
        return
    made_by = ", ".join(f"{name} {version}" for name, version in sorted(table["packages"].items()))
    print(
        printable(
            f"{out}: {len(table['entries'])} entries by Python {table['python']}{': ' if made_by else ''}{made_by}"
        )
    )
    for name, entry in table["entries"].items():
        energies = ", ".join(f"{action} {value:.5g} pJ" for action, value in entry["energy_pj"].items())
        figures = f"{entry['area_um2']:.5g} um2, {entry['leakage_uw']:.4g} uW"
        print(printable(f"  {name}: {energies or 'no action'}; {figures}"))
