"""Wrong command lines: one line on the error stream, status 2, no traceback, nothing left behind, no waiting.

Every subcommand with every path option pointed at what is no such file, and every number option at what is no such number.
The lines run in this process: a wrong one ends before any work.
"""

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import traceback
import typing
from pathlib import Path

import pytest
import typer

import cimemu
from cimemu.cli import app, main
from cimemu.cli.training import settings_function

LIMIT_S = 20
NUMBERS = ("0", "-1", "nan", "inf", "1e99", str(2**70), "text", "1.5")
# A right beginning of each subcommand; options are given twice where it has them already: the last one counts.
RIGHT = {
    "run": ["--images", "1", "--no-trace"],
    "check": ["rram_128", "digits", "--images", "1"],
    "report": ["{trace}"],
    "export": ["{trace}", "--format", "csv"],
    "generate": ["rram_128", "digits", "--prompt", "image=1"],
    "faults": ["rram_128", "digits", "--cells", "2", "--images", "1"],
    "golden": ["rram_128", "digits", "--out", "g"],
    "yield": [
        "rram_128",
        "digits",
        "--vary",
        "stuck_at:sa0=0.01",
        "--accuracy",
        "0.9",
        "--trials",
        "1",
        "--images",
        "1",
    ],
    "chip": ["rram_128", "digits", "--vary", "lognormal:sigma=0.1"],
    "rtl": ["rram_128", "--out", "r"],
    "stress": ["rram_128", "digits", "--vary", "lognormal:sigma=0", "--trials", "1"],
    "sweep": ["rram_128", "digits", "--vary", "macro.adc.bits=5"],
    "compare": ["--images", "1"],
    "quantize": ["digits", "--out", "q.onnx"],
    "shape": ["resnet18", "--out", "x.onnx"],
    "fit": ["rram_128", "digits", "--no-propose"],
    "search": ["rram_128", "digits", "--vary", "macro.adc.bits=5", "--trials", "1", "--images", "1"],
    "size": ["rram_128", "digits", "--images-per-second", "1000"],
    "adapt": ["rram_128", "digits"],
    "cost": [],
    "claims": ["converter-area"],
    "diff": ["{trace}", "{trace}"],
    "validate": ["isaac"],
    "list": [],
    "docs": [],
    "init": ["workload", "net.onnx"],
    "schema": ["arch"],
    "warm": [],
}
ZERO_IS_RIGHT = {
    "--accuracy",
    "--discordant",
    "--spread",
    "--random",
    "--seed",
    "--trial",
    "--events",
    "--start",
    "--rate",
    "--scale-rate",
    "--weight-decay",
    "--image",
}
WRITTEN = {
    "--out",
    "--csv",
    "--plot",
    "--html",
    "--resized",
    "--metrics",
    "--storage",
}  # the rest of the paths are read
FOLDERS = {"--checkpoints", "--tensorboard", "--cache", "--plots"}


def commands():
    """(name, its function) of every subcommand."""
    return {made.name or made.callback.__name__: made.callback for made in app.registered_commands}


def name_of(record):
    """The long name; Typer keeps the first one beside the others."""
    return next(text for text in (record.default, *record.param_decls) if str(text).startswith("--"))


def options(*kinds):
    """(subcommand, option, its record) of every option whose values are of one of these types."""
    for name, function in sorted(commands().items()):
        hints = list(typing.get_type_hints(function, include_extras=True).values())
        if name == "adapt":  # most of its options are made from the fields of its settings
            hints += typing.get_type_hints(settings_function(), include_extras=True).values()
        for hint in hints:
            kind, *records = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
            parts = {kind, *typing.get_args(kind)}
            parts |= {inner for part in parts for inner in typing.get_args(part)}
            for record in records:
                if isinstance(record, typer.models.OptionInfo) and parts & set(kinds):
                    yield (
                        name,
                        name_of(record),
                        record,
                    )


def number_lines():
    for name, option, _ in options(int, float):
        for value in NUMBERS:
            right = {"0": option in ZERO_IS_RIGHT or (name, option) == ("shape", "--images"), "-1": option == "--image"}
            real = option in (
                "--memory-gib",
                "--spread",
                "--on-ohm",
                "--images-per-second",
                "--goal",
                "--width",
                "--percentile",
                "--rate",
                "--scale-rate",
                "--weight-decay",
            )
            right["1.5"] = real and option not in ("--goal", "--width", "--percentile")
            if not right.get(value, False):
                yield [name, *RIGHT[name], option, value]


def path_lines(folder):
    """Every path option and argument with what is no such file."""
    made = wrong_paths(folder)
    for name, option, _ in options(Path):
        if option in FOLDERS:
            continue
        for kind, path in made.items():
            if option in WRITTEN and kind in ("missing", "link", "huge"):
                continue  # a new file is right; one that is there is another test's
            if (option, kind) == ("--out", "folder") and name in ("golden", "rtl"):
                continue  # which take an empty folder
            end = {"--plot": ".png", "--out": ".onnx" if name == "shape" else ""}.get(option, "")
            given = path if not end or kind not in ("long", "no folder") else path + end
            dropped = [part for part in RIGHT[name] if part != "--no-trace"]
            yield [name, *dropped, option, given]
    arguments = {
        "report": 1,
        "export": 1,
        "diff": 2,
        "run": 2,
        "check": 2,
        "stress": 2,
        "sweep": 2,
        "fit": 2,
        "search": 2,
        "size": 2,
        "compare": 2,
    }
    for name, count in arguments.items():
        rest = [part for part in RIGHT[name] if part not in ("rram_128", "digits", "{trace}")]
        for place in range(count):
            for path in made.values():
                names = ["{trace}"] * count if name in ("report", "export", "diff") else ["rram_128", "digits"]
                yield [name, *names[:place], path, *names[place + 1 :], *rest]


def wrong_paths(folder):
    """Names of things that are no file to be read or written, by what they are."""
    os.makedirs(folder / "there", exist_ok=True)
    for name in ("pipe", "pipe.onnx", "pipe.yaml"):
        if not (folder / name).exists():
            os.mkfifo(folder / name)
    if not (folder / "loop").is_symlink():
        (folder / "loop").symlink_to("loop")
    with open(folder / "huge.yaml", "wb") as file:
        file.truncate(1 << 40)
    (folder / "noise").write_bytes(random.Random(1).randbytes(3000))
    found = {
        "missing": "no_such_file",
        "folder": "there",
        "pipe": "pipe",
        "pipe.onnx": "pipe.onnx",
        "pipe.yaml": "pipe.yaml",
    }
    found |= {"loop": "loop", "huge": "huge.yaml", "noise": "noise", "long": "a" * 300, "no folder": "no/such/x"}
    return found | {"device": "/dev/full" if os.path.exists("/dev/full") else "/dev/null", "half": "caf\udce9/x"}


HAND = [
    *(["run", "--no-trace", "--images", "1", "--set", text] for text in (
        "clock_ns=inf", "clock_ns=nan", "clock_ns=0", "clock_ns=1e308", "clock_ns=1e-300",
        "macro.timing.wordline_cycles=1000000000000",
        "macro.timing.shift_add_cycles=9223372036854775807", "macro.adc.bits=0", "macro.adc.bits=99", "macro.rows=0",
        "chip.tiles=0", "chip.tiles=99999999", "chip.tiles=65536", "nosuch=1", "=", "x", "macro", "macro.rows=", "macro.rows=[",
        "macro.adc.lsb=1e300", "programming.endurance_writes=inf", "costs.cell.energy_pj=1e29", "chip.global_buffer.size_kib=1e300",
        "macro.columns_per_adc=100000", "macro.rows=" + "9" * 5000, "macro.rows=0x", "name=[1,2]",
    )),
    *(["run", "--images", "1", *rest] for rest in (
        ["--vary", "nosuch"], ["--vary", "lognormal:sigma=-1"], ["--vary", "lognormal:sigma=nan"], ["--vary", ""],
        ["--vary", "a:b"],
        ["--detail", "nosuch"], ["--path", "nosuch"], ["--calibrate-adc", "nosuch"], ["--out", "x.h5", "--no-trace"], ["--nosuch"],
    )),
    ["nosuch"],
    ["stress", "rram_128", "digits", "--vary", "lognormal:sigma=0", "--trials", "1", "--plot", "x.nosuch"],
    ["stress", "rram_128", "digits", "--vary", "lognormal:sigma=0", "--trials", "1", "--csv", "no/such/x.csv"],
    ["stress", "rram_128", "digits", "--vary", "lognormal:sigma=0", "--trials", "1", "--out", "x", "--csv", "x"],
    ["stress", "rram_128", "digits", "--vary", "nosuch:x=1", "--trials", "1"],
    ["stress", "rram_128", "digits", "--trials", "1"],
    ["sweep", "rram_128", "digits", "--vary", "nosuch=1,2"],
    ["sweep", "rram_128", "digits", "--vary", "macro.adc.bits=99"],
    ["sweep", "rram_128", "digits", "--vary", "macro.adc.bits=5", "--vary", "macro.adc.bits=6"],
    ["sweep", "rram_128", "digits", "--vary", "macro.adc.bits="],
    ["sweep", "rram_128", "digits", "--vary", "macro.adc.bits=5", "--with", "macro.rows=64,128"],
    ["sweep", "rram_128", "digits", "--vary", "macro.adc.bits=5", "--with", "macro.adc.bits=6"],
    ["run", "--images", "1", "--set", "chip.tiles=Auto"],
    ["search", "rram_128", "digits", "--vary", "macro.adc.bits=5", "--goal", "nosuch"],
    ["search", "rram_128", "digits", "--vary", "macro.adc.bits=5", "--where", "area_mm2<20"],
    ["search", "rram_128", "digits", "--vary", "macro.adc.bits=99"],
    ["export", "{trace}", "--format", "nosuch"],
    ["export", "{trace}", "--format", "csv", "--start", "9", "--end", "3"],
    ["compare", "--scheme", "nosuch"],
    ["compare", "--vary", "nosuch=1"],
    ["quantize", "digits", "--out", "q.onnx", "--scheme", "nosuch"],
    ["quantize", "digits", "--out", "q.onnx", "--calibration", "nosuch.npy"],
    ["shape", "nosuch", "--out", "x.onnx"],
    ["shape", "resnet18", "--out", "x.nosuch"],
    ["claims", "nosuch"],
    ["claims", "converter-area", "--set", "macro.rows=0"],
    ["validate", "nosuch"],
    ["docs", "nosuch"],
    ["cost", "import"],
    ["cost", "nosuch"],
    ["golden", "rram_128"],
    ["golden", "rram_128", "digits"],
    ["rtl", "rram_128"],
    ["rtl", "--out", "r"],
]  # fmt: skip


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with a trace in it, and what is wrong in every way."""
    folder = tmp_path_factory.mktemp("room")
    import nets
    import numpy as np

    cimemu.run(
        cimemu.load_arch("rram_128"), nets.residual_network(), np.zeros((1, 3, 5, 4), np.uint8), trace=folder / "t.h5"
    )
    wrong_paths(folder)
    return folder


class TooLong(BaseException):
    """No exception that anything catches."""


def answered(line, room):
    """What is wrong with the answer to a wrong command line; [] for a right answer."""

    def late(*_):
        raise TooLong

    before = set(os.listdir(room))
    out, error = io.StringIO(), io.StringIO()
    faults = []
    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_S)
    try:
        with contextlib.chdir(room), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            status = main([part.replace("{trace}", "t.h5") for part in line])
        if status != 2:
            faults.append(f"status {status}")
    except TooLong:
        faults.append("hangs")
    except BaseException as escaped:
        last = traceback.extract_tb(escaped.__traceback__)[-1]
        faults.append(f"{type(escaped).__name__}: {escaped} at {last.filename}:{last.lineno}"[:200])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    lines = error.getvalue().strip().splitlines()
    if len(lines) != 1 and not faults:
        faults.append(f"{len(lines)} lines: {lines[:3]}")
    left = sorted(set(os.listdir(room)) - before)
    faults += [f"leaves {left}"] * bool(left)
    for name in left:
        with contextlib.suppress(OSError):
            (room / name).unlink()
    return faults


def wrongly_answered(lines, room):
    found = [(" ".join(line)[:150], faults) for line in lines if (faults := answered(line, room))]
    return found


def thinned(lines, count, seed=3):
    lines = list(lines)
    return random.Random(seed).sample(lines, min(count, len(lines)))


def test_every_subcommand_has_a_right_beginning():
    assert sorted(RIGHT) == sorted(commands())


def test_every_number_option_has_bounds():
    """No number goes in unasked: each option refuses 2^70 and -1e99 before anything is done."""
    found = list(options(int, float))
    assert len(found) > 40
    assert [(name, option) for name, option, record in found if record.callback is None] == []


def test_wrong_command_lines_by_hand(room):
    assert len(HAND) >= 60
    assert wrongly_answered(HAND, room) == []


def test_wrong_numbers_of_every_option(room):
    assert wrongly_answered(thinned(number_lines(), 60), room) == []


def test_wrong_paths_of_every_option(room):
    assert wrongly_answered(thinned(path_lines(room), 60), room) == []


@pytest.mark.slow
def test_all_wrong_numbers_of_every_option(room):
    lines = list(number_lines())
    assert len(lines) > 200
    assert wrongly_answered(lines, room) == []


@pytest.mark.slow
def test_all_wrong_paths_of_every_option(room):
    lines = list(path_lines(room))
    assert len(lines) > 200
    assert wrongly_answered(lines, room) == []


def program(code, cwd, **options):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        capture_output="stdout" not in options,
        timeout=120,
        check=False,
        **options,
    )


MAIN = "import sys; from cimemu.__main__ import main; sys.argv = ['cimemu', *{words!r}]; main()"


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_output_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        done = program(MAIN.format(words=["list"]), tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"cannot be written" in done.stderr


@pytest.mark.slow
def test_a_closed_pipe_is_silent_and_no_success(tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = program(MAIN.format(words=["list"]), tmp_path, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_closed_output_is_one_line(tmp_path):
    words = ["sh", "-c", f"{sys.executable} -m cimemu list >&- 2>err; echo $?"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=120, check=False, env=own_environment())
    assert done.stdout.strip() == b"2"
    assert (tmp_path / "err").read_text() == "cimemu: the output stream is closed, send it to a file or to /dev/null\n"


@pytest.mark.slow
def test_a_folder_that_is_gone_is_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    code = f"import os, sys; import cimemu.cli; os.rmdir({str(tmp_path / 'gone')!r}); "
    code += "sys.exit(cimemu.cli.main(['run', '--images', '1']))"
    done = program(code, tmp_path / "gone", env=own_environment())
    assert done.returncode == 2
    assert done.stderr == b"cimemu: the working folder has been removed, change into one that exists\n"


@pytest.mark.slow
def test_a_locale_without_letters_prints_escapes(tmp_path):
    code = MAIN.format(words=["run", "NAME", "--no-trace"]).replace("NAME", "caf\\u00e9")
    environment = own_environment() | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = program(code, tmp_path, env=environment)
    assert done.returncode == 2
    assert b"caf\\xe9" in done.stderr


def test_ctrl_c_while_modules_are_read_is_130(tmp_path):
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Late:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'cimemu.cli.sweep': import os; os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Late())\n"
    )
    done = program(code + MAIN.format(words=["list"]), tmp_path, env=own_environment())
    assert done.returncode == 130
    assert done.stderr == b"cimemu: interrupted\n"


def own_environment():
    root = str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": root}
