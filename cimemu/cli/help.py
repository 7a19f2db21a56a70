"""How `cimemu --help` is laid out: subcommands in groups, and under each one's own help an example."""

from collections.abc import Mapping
from typing import Any

import typer.core

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Run a network on a chip": ("run", "check", "generate"),
    "Beside your own hardware": ("golden", "rtl"),
    "Look at a run": ("report", "diff", "export"),
    "Many runs": ("sweep", "stress", "yield", "faults", "chip", "compare", "fit", "size", "search"),
    "Prepare a network": ("quantize", "adapt", "shape"),
    "Costs, published chips and claims": ("cost", "validate", "claims"),
    "Files and help": ("list", "docs", "init", "schema", "warm"),
}
EXAMPLES: Mapping[str, str] = {
    "run": "cimemu run rram_128 digits --images 20 --set macro.adc.bits=6",
    "check": "cimemu check rram_128 digits --images 5",
    "golden": "cimemu golden rram_128 digits --layer conv1 --ops 8 --out vectors",
    "rtl": "cimemu rtl rram_128 --out rtl",
    "generate": "cimemu generate sram_256 decoder.onnx --prompt 1,5,9 --tokens 32",
    "report": "cimemu report digits_rram_128.h5 --html run.html",
    "diff": "cimemu diff seven.h5 five.h5",
    "export": "cimemu export digits_rram_128.h5 --format perfetto --out run.json",
    "sweep": "cimemu sweep rram_128 digits --vary macro.adc.bits=5,6,7 --images 64",
    "stress": "cimemu stress rram_128 digits --trials 20 --vary lognormal:sigma=0,0.1,0.2",
    "yield": "cimemu yield rram_128 digits --vary stuck_at:sa0=0.02 --accuracy 0.9 --trials 40",
    "faults": "cimemu faults rram_128 digits --cells 500 --images 10 --out faults.csv",
    "chip": "cimemu chip rram_128 digits --vary lognormal:sigma=0.1 --seed 7 --out chip.h5",
    "compare": "cimemu compare rram_128 digits --scheme column --scheme bs_kmq --images 64",
    "fit": "cimemu fit sram_256 digits --no-propose",
    "size": "cimemu size rram_128 digits --images-per-second 100000 --set schedule=pipelined",
    "search": "cimemu search rram_128 digits --vary macro.adc.bits=5,6 --goal energy_uj --trials 9",
    "quantize": "cimemu quantize net.onnx --calibration images.npz --out net_int8.onnx",
    "adapt": "cimemu adapt rram_128 digits --scheme column --out trained.onnx",
    "shape": "cimemu shape resnet18 --out resnet18.onnx",
    "cost": "cimemu cost rram_128",
    "validate": "cimemu validate",
    "claims": "cimemu claims utilization",
    "list": "cimemu list",
    "docs": "cimemu docs first-run",
    "init": "cimemu init arch rram_128 --out mine.yaml",
    "schema": "cimemu schema arch",
    "warm": "cimemu warm",
}
REST = "Of plug-ins"


class SectionedGroup(typer.core.TyperGroup):
    """The application's group: its help lists subcommands by section."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write every section that has a subcommand; what is in none is a plug-in's."""
        placed = {name for names in SECTIONS.values() for name in names}
        rest = tuple(name for name in self.commands if name not in placed)
        width = max(map(len, self.commands))
        for title, names in {**SECTIONS, REST: rest}.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(formatter.width - width - 6))
                for name in names
                if name in self.commands
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def with_examples(group: Any) -> Any:
    """The group, every subcommand of which shows its example below its options."""
    for name, command in group.commands.items():
        if name in EXAMPLES:
            command.epilog = f"\b\nExample:\n  {EXAMPLES[name]}\nMore: cimemu docs command-line"
    return group
