"""The command line: a file a subcommand (imported here, so that it is listed); heavy imports happen inside each."""

import sys
from typing import Any

import typer

from cimemu.cli import (  # noqa: F401  (an import lists the subcommand)
    adapt,
    check,
    claims,
    compare,
    cost,
    diff,
    export,
    fit,
    golden,
    presets,
    quantize,
    report,
    run,
    shape,
    stress,
    sweep,
    validate,
)
from cimemu.cli.app import app
from cimemu.errors import CimemuError

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status. A user's mistake is one line and 2, Ctrl-C is 130."""
    # Click's base error, whether Typer brings its own Click or uses the installed one.
    usage_error: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(args=given or ["--help"], standalone_mode=False)
        if status == INTERRUPTED:  # newer Typers catch Ctrl-C themselves
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        print("cimemu: interrupted, nothing is left under the output's name", file=sys.stderr)
        return INTERRUPTED
    except typer.Exit as error:
        return int(error.exit_code)
    except CimemuError as error:
        return _complain(str(error))
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except MemoryError:
        return _complain("out of memory: ask for fewer --images or a smaller --batch")
    except usage_error as error:
        return _complain(error.format_message())


def _complain(message: str) -> int:
    print("cimemu: " + " ".join(message.split()), file=sys.stderr)
    return 2
