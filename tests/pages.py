"""The pages of the documentation: their fenced blocks, and whether a command line is one that the CLI takes."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import typer

from cimemu.cli import commands
from cimemu.cli.outside import OPTION

ROOT = Path(__file__).parent.parent
FENCE = re.compile(
    r"(?:<!-- (?P<kind>not run|slow|torch|status \d): (?P<reason>[^\n]*?) -->\n)?^```(?P<label>\w*)\n(?P<body>.*?)^```$",
    re.S | re.M,
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page, the `kind` of the comment before it, and why in `reason`.

    None: it runs; "slow": with the long tests; "torch": where PyTorch is; "status N": its last command ends with N.
    """

    label: str
    body: str
    kind: str | None
    reason: str | None


def every_page():
    """All Markdown of the repository that readers meet."""
    folders = ("arch", "workloads", "traces", "tests", "cimemu/docs")
    return [ROOT / "README.md", *(path for folder in folders for path in sorted((ROOT / folder).rglob("*.md")))]


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page):
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(found["label"], found["body"], found["kind"], found["reason"]) for found in FENCE.finditer(text)]


def command_lines(text):
    """The commands in the text of a block: continued lines joined, comments, prompts and settings of variables left out.

    A block that begins with a prompt shows a session: its other lines are output.
    """
    text = re.sub(r"\\\n\s*", "", text)
    session = text.startswith("$ ")
    for line in text.splitlines():
        if session and not line.startswith("$ "):
            continue
        words = shlex.split(re.split(r"(?:^|\s)#", line.removeprefix("$ "))[0])
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            del words[0]
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            yield words[:end]
            words = words[end + 1 :]


def complaint(words):
    """What is wrong with a command, parsed but not run; None if nothing is."""
    program, *arguments = words
    if program == "cimemu":
        return _cimemu_complaint(arguments)
    if program in ("python", "pytest"):
        named = [word.partition("::")[0] for word in arguments if word.startswith(("tests/", "workloads/"))]
        return next((f"{name} is not there" for name in named if not list(ROOT.glob(name))), None)
    known = ("pip", "ruff", "mypy", "git", "bash", "export", "cd", "mkdir", "make", ".ci/run")
    return None if program in known else f"{program} is no program that a page should name"


def _cimemu_complaint(arguments):
    if not arguments or arguments == ["--help"]:
        return None
    while OPTION in arguments:  # stands anywhere
        place = arguments.index(OPTION)
        arguments = arguments[:place] + arguments[place + 2 :]
    name, *rest = arguments
    if f'name = "{name}"' in (ROOT / "cimemu/docs/extend/command.md").read_text(encoding="utf-8"):
        return None  # the subcommand of a plug-in that the page makes
    if name not in commands():
        return f"there is no cimemu {name}"
    try:
        commands()[name].make_context(name, list(rest)).close()
    except typer.Exit:  # --help
        return None
    except Exception as error:
        return f"cimemu {shlex.join(arguments)}: {error}"
    return None
