"""First and later uses of a command: `python tests/bench/cold.py tests/bench/results/cold.csv [checkout before]`.

Processor time (user and system) of a whole process. "first" is with an empty folder for compiled kernels, as after installing;
"later" with that folder as the first use left it. Python's own bytecode is there from the beginning, as an installer writes it.
A figure is the least of several, as other programs make it longer and nothing makes it shorter. With a second checkout both are
measured in turn, round by round.
"""

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 3
MVM = """import numpy as np, cimemu
x = np.arange(64 * 128).reshape(64, 128) % 256
cimemu.mvm(x.astype(np.uint8), (x.T % 251 - 125).astype(np.int8), cimemu.load_arch("rram_128").macro)
"""
STRESS = "stress rram_128 digits --images 8 --trials 2 --force --out t.h5 --vary"
# by name: (arguments of cimemu, or a program in Python; goal of the first use in seconds)
COMMANDS = {
    "`run rram_128 digits`": ("run rram_128 digits --force --out a.h5", 4),
    "`run --set macro.adc.bits=5`": ("run rram_128 digits --set macro.adc.bits=5 --force --out b.h5", None),
    "`check`": ("check rram_128 digits --images 2", None),
    "`report --html`": ("report a.h5 --html a.html --force", None),
    "`golden`": ("golden rram_128 digits --layer conv1 --ops 2 --force --out v", None),
    "`fit`": ("fit rram_128 digits --no-propose", None),
    "`sweep` of 4 points": (
        "sweep rram_128 digits --images 3 --vary macro.adc.bits=5,6,7,8 --force --out s.h5",
        None,
    ),
    "`stress`, lognormal": (f"{STRESS} lognormal:sigma=0.1", 7),
    "`stress`, thermal": (f"{STRESS} thermal:amplifier=0.5", None),
    "one `cimemu.mvm`": (MVM, None),
}


def spent(tree, arguments, folder, kernels):
    """Processor seconds of one command of a checkout."""
    words = ["-c", arguments] if "import" in arguments else ["-m", "cimemu", *arguments.split()]
    given = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "NUMBA_CACHE_DIR": str(kernels),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode" / Path(tree).name),
    }
    given.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen([sys.executable, *words], cwd=folder, env=given, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"cimemu {arguments}: ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def measured(trees, folder, rounds):
    """{(command, tree): (first, later)} in seconds, the least of the rounds."""
    found = {}
    for tree in trees:
        for arguments, _ in COMMANDS.values():  # bytecode is written, files are in the system's cache
            spent(tree, arguments, folder, folder / f"kernels-{Path(tree).name}")
    for _ in range(rounds):
        for name, (arguments, _) in COMMANDS.items():
            for tree in trees:
                with tempfile.TemporaryDirectory() as kernels:
                    now = tuple(spent(tree, arguments, folder, kernels) for _ in range(2))
                found[name, tree] = tuple(map(min, zip(now, found.get((name, tree), now))))
    return found


def main(target, before=None):
    here = Path(__file__).resolve().parents[2]
    trees = [here] if before is None else [Path(before).resolve(), here]
    with tempfile.TemporaryDirectory() as folder:
        found = measured(trees, Path(folder), ROUNDS)
    with open(target, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        when = ["now"] if before is None else ["before", "now"]
        out.writerow(
            ["command", *(f"{use} use, {tree}" for use in ("first", "later") for tree in when), "goal of the first use"]
        )
        for name, (_, goal) in COMMANDS.items():
            cells = [f"{found[name, tree][use]:.1f} s" for use in (0, 1) for tree in trees]
            row = [name, *cells, "" if goal is None else f"{goal} s"]
            out.writerow(row)
            print(" | ".join(row))


if __name__ == "__main__":
    main(*sys.argv[1:])
