"""The command line: a file a subcommand (imported here, so that it is listed); heavy imports happen inside each."""

import errno
import os
import sys
import traceback
from contextlib import suppress
from functools import lru_cache
from typing import Any

import typer

from cimemu.cli import (  # noqa: F401  (an import lists the subcommand)
    adapt,
    check,
    chip,
    claims,
    compare,
    cost,
    diff,
    docs,
    export,
    faults,
    fit,
    generate,
    golden,
    init,
    outside,
    presets,
    quantize,
    report,
    rtl,
    run,
    schema,
    search,
    shape,
    size,
    stress,
    sweep,
    validate,
    warm,
    yields,
)
from cimemu.cli.app import app
from cimemu.cli.help import with_examples
from cimemu.errors import CimemuError
from cimemu.shown import printable
from cimemu.terminal import spoken

INTERRUPTED = 130
UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
PIPE_CLOSED = 141  # as of a program that SIGPIPE ends: whoever read the output has gone


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status. A user's mistake is one line and 2, Ctrl-C is 130.

    This is the one place where what the operating system refuses becomes a line: no command catches it by itself.
    """
    if sys.stderr is None:  # closed by the caller: there is nobody to tell
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (for as long as the process)
    if sys.stdout is None:
        return _complain("the output stream is closed, send it to a file or to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a letter that the locale lacks is written as its escape
            stream.reconfigure(errors="backslashreplace")
    level = 0
    try:
        arguments, level = outside.loudness_of(sys.argv[1:] if arguments is None else arguments)
        with spoken(level):
            status = _answer(arguments)
        sys.stdout.flush()
        return status
    except (typer.Abort, KeyboardInterrupt):
        return _interrupted()
    except BrokenPipeError:
        _silence()
        return PIPE_CLOSED
    except Exception as error:
        message = _message_of(error)
        if message is None:  # a fault of this program, which is to be seen whole
            raise
        if level > 0:
            with suppress(OSError, ValueError):
                traceback.print_exception(error, file=sys.stderr)
        return _complain(message)


def commands() -> dict[str, Any]:
    """Every subcommand by its name, as Click's commands: what they take can be read from them."""
    return dict(_group(tuple(app.registered_commands)).commands)


@lru_cache(maxsize=2)
def _group(registered: tuple[Any, ...]) -> Any:
    """Click's group of the commands that are `registered`: a process that runs many command lines makes it once."""
    return with_examples(typer.main.get_command(app))


def _answer(arguments: list[str]) -> int:
    """The exit status of a command line; raises whatever went wrong."""
    try:
        arguments = outside.without_plugins(arguments)
        with outside.outside_commands(arguments):
            status = _group(tuple(app.registered_commands))(args=arguments or ["--help"], standalone_mode=False)
    except typer.Exit as error:
        return int(error.exit_code)
    except SystemExit as error:  # Click's answer to a closed pipe
        if isinstance(error.__context__, OSError) and error.__context__.errno == errno.EPIPE:
            raise BrokenPipeError from None
        raise
    if status == INTERRUPTED:  # newer Typers catch Ctrl-C themselves
        raise KeyboardInterrupt
    return status if isinstance(status, int) else 0


def _message_of(error: Exception) -> str | None:
    """The line for a mistake or for what the machine refuses; None for anything else."""
    # Click's base error, whether Typer brings its own Click or uses the installed one.
    usage_error: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    if isinstance(error, usage_error):
        return str(error.format_message())
    if isinstance(error, CimemuError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory: ask for fewer --images or a smaller --batch"
    if isinstance(error, RecursionError):
        return "a file or value is nested too deeply, make it flatter"
    if isinstance(error, OverflowError):
        return f"a number is too large ({error}), give a smaller one"
    if isinstance(error, UnicodeError):
        return f"a text cannot be read or written ({error.reason if hasattr(error, 'reason') else error}), use UTF-8"
    if isinstance(error, OSError):
        return _refused(error)
    return None


def _refused(error: OSError) -> str:
    """What the operating system refused, of which file."""
    reason = error.strerror or str(error) or type(error).__name__
    if not os.path.isdir(os.curdir) or _folder_is_gone():
        return "the working folder has been removed, change into one that exists"
    if error.filename is not None:
        return f"{error.filename}: {reason}; name a file that can be read, or a folder that can be written"
    if error.errno in UNWRITTEN:  # files are written by name, so this is the output stream
        _silence()
        return f"the output cannot be written ({reason}), free some space or send it elsewhere"
    return f"the system refused: {reason}"


def _folder_is_gone() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _interrupted() -> int:
    _print_error("cimemu: interrupted, nothing is left under the output's name")
    return INTERRUPTED


def _complain(message: str) -> int:
    _print_error("cimemu: " + printable(" ".join(message.split())))
    return 2


def _print_error(line: str) -> None:
    with suppress(OSError, ValueError):  # the error stream is closed or full: the status has to do
        print(line, file=sys.stderr, flush=True)


def _silence() -> None:
    """Send what is left in the output's buffer nowhere, so that the interpreter does not fail on it at its end."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
