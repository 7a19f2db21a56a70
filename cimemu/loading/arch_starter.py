"""The text of an architecture file to begin with: a preset under another name, its comments kept."""

import json
import re
from pathlib import Path

from cimemu.arch.load import load_arch, preset_folder
from cimemu.errors import ArchError
from cimemu.given_file import read_text

SCHEMA = "# yaml-language-server: $schema="


def arch_starter(preset: str, target: Path) -> str:
    """The file of `preset`, to be written to `target` and named after it. ArchError where there is no such preset.

    Its first line names the schema of the installed cimemu, by which an editor completes and checks keys.
    """
    source = preset_folder() / f"{preset}.yaml"
    if not source.is_file():
        names = ", ".join(sorted(path.stem for path in preset_folder().glob("*.yaml")))
        raise ArchError(f"init arch {preset}: no such preset to begin with, there are: {names}")
    load_arch(preset)
    text = read_text(source, ArchError, "an architecture file")
    body = text.partition("\n")[2] if text.startswith(SCHEMA) else text
    named = re.sub(r"^name: .*$", f"name: {json.dumps(target.stem)}", body, count=1, flags=re.M)
    return f"{SCHEMA}{(preset_folder() / 'arch.schema.json').resolve()}\n{named}"
