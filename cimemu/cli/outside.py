"""What stands anywhere on the command line (`--plugin FILE.py`, `--quiet`, `--verbose`), and subcommands from outside."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cimemu import plugins
from cimemu.cli.app import app
from cimemu.errors import CimemuError, PluginError

GROUP = "cimemu.command"
OPTION = "--plugin"
LOUDNESS = {"--quiet": -1, "-q": -1, "--verbose": 1, "-v": 1}


def _say_version(asked: bool) -> None:
    if asked:
        from cimemu import __version__

        typer.echo(f"cimemu {__version__}")
        raise typer.Exit


@app.callback()
def plugin_option(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            OPTION, metavar="FILE.py", help="a Python file of plug-ins (cimemu docs extend/adc ...); again for more"
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="no tables, notes and bars: --json, errors and names of default files")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="all tables of a run, the time of every stage, where a mistake lies")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="print the version and end")
    ] = False,
) -> None:
    """Cycle-level, bit-exact emulator of compute-in-memory crossbar hardware.

    These options stand anywhere on the command line.
    """


def loudness_of(arguments: Sequence[str]) -> tuple[list[str], int]:
    """The arguments without `--quiet` and `--verbose`, wherever they stand before `--`, and the level that they ask for."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    asked = {LOUDNESS[word] for word in arguments[:end] if word in LOUDNESS}
    if len(asked) > 1:
        raise CimemuError("--quiet with --verbose: leave one of them out")
    kept = [word for word in arguments[:end] if word not in LOUDNESS]
    return [*kept, *arguments[end:]], asked.pop() if asked else 0


def without_plugins(arguments: Sequence[str]) -> list[str]:
    """The arguments without `--plugin FILE.py`, wherever it stands before `--`; the files are loaded. Raises PluginError."""
    kept: list[str] = []
    coming = iter(arguments)
    for word in coming:
        if word == "--":
            return [*kept, word, *coming]
        if word == OPTION:
            file = next(coming, None)
            if file is None:
                raise PluginError(f"{OPTION}: no file given, name a Python file of plug-ins")
            plugins.load_plugin(file)
        elif word.startswith(f"{OPTION}="):
            plugins.load_plugin(word.partition("=")[2])
        else:
            kept.append(word)
    return kept


@contextmanager
def outside_commands(arguments: Sequence[str]) -> Iterator[None]:
    """While it lasts the application has the subcommand of a plug-in that is asked for; all of them, where help is."""
    before = list(app.registered_commands)
    name = next((word for word in arguments if not word.startswith("-")), None)
    there = {plugin.name: plugin for plugin in plugins.outside(GROUP)}
    try:
        if name is None:
            for plugin in there.values():
                app.command(name=plugin.name, help=f"of the plug-in {plugin.origin}")(_nothing)
        elif name in there:
            kind = plugins.find(GROUP, name)
            app.command(name=name, help=kind.run.__doc__ or kind.__doc__)(kind().run)
        yield
    finally:
        app.registered_commands[:] = before


def _nothing() -> None:
    """What help shows is not run."""


def listed() -> dict[str, dict[str, Any]]:
    """Every plug-in by kind, for `cimemu list`: `NAME` -> what it is and where it is from; a broken one says why."""
    found: dict[str, dict[str, Any]] = {}
    for group, kind in plugins.KINDS.items():
        for plugin in plugins.outside(group):
            found.setdefault(f"plug-ins: {kind.what}", {})[plugin.name] = f"{_shown(plugin)} ({plugin.origin})"
    return found


def _shown(plugin: plugins.Plugin) -> str:
    """The parameters of a plug-in's model, else the first line of its docstring."""
    from cimemu.variation.parse import described

    try:
        kind = plugins.find(plugin.group, plugin.name)
    except PluginError as error:
        return str(error)
    if hasattr(kind, "model_fields"):
        return described(kind)
    return (kind.__doc__ or "").strip().partition("\n")[0]
