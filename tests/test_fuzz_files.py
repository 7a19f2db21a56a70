"""Damaged files of every format that cimemu reads itself: each is right still, or a CimemuError; none hangs or escapes.

Seeds decide every mutant. HDF5 files are opened in a child, because a library of C may do worse than raise.
"""

import io
import os
import random
import signal
from pathlib import Path

import h5py
import nets
import numpy as np
import pytest

import cimemu
from cimemu.report import report_data
from cimemu.trace.trials import Field, create_trials, resume_trials
from cimemu.workload.data import read_array, read_images

LIMIT_S = 20
FIELDS = (Field("value", "int64"), Field("row", "int16", (2,)))
IDENTITY = {"seed": 0}


def of_bytes(data, rng):
    """A few bytes changed, taken out, put in, or the end cut off."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        place = rng.randrange(len(made)) if made else 0
        kind = rng.randrange(4)
        if kind == 0 and made:
            made[place] = rng.randrange(256)
        elif kind == 1:
            del made[place : place + rng.randrange(1, 9)]
        elif kind == 2:
            made[place:place] = rng.randbytes(rng.randrange(1, 9))
        elif rng.random() < 0.2:
            del made[place:]
    return bytes(made)


def of_text(data, rng):
    """A value, a key or a line of a YAML text replaced or doubled."""
    lines = data.decode().splitlines()
    values = ("null", "-1", "0", ".nan", ".inf", "1e400", "9" * 30, "[]", "{}", "[[1]]", "!!python/object:os.system x",
              "2001-99-99",
              "'\\0'", '"\\ud800"', "&a [*a]", "? x", "0x", "1:99", "~", "<<: 1", "[" * 2000)  # fmt: skip
    for _ in range(rng.choice((1, 1, 2))):
        number = rng.randrange(len(lines))
        head, colon, _ = lines[number].partition(":")
        lines[number] = f"{head}{colon} {rng.choice(values)}" if colon and rng.random() < 0.8 else rng.choice(values)
        if rng.random() < 0.2:
            lines.insert(number, rng.choice(lines))
    return "\n".join(lines).encode()


def of_members(data, rng):
    """An HDF5 file with a member gone, or in the place of it something else."""
    others = (
        7,
        "text",
        b"\xff",
        np.zeros(0),
        np.zeros((2, 2)),
        h5py.Empty("f"),
        np.array([np.nan]),
        -1,
        np.arange(3),
        1e308,
    )
    image = io.BytesIO(data)
    with h5py.File(image, "r+") as file:
        places = []
        file.visit(places.append)
        places += [("@", name) for name in file.attrs]
        for place in rng.sample(places, 1):
            other = rng.choice(others)
            if isinstance(place, tuple):
                del file.attrs[place[1]]
                if rng.random() < 0.7:
                    file.attrs[place[1]] = other
            elif place in file:
                del file[place]
                kind = rng.randrange(4)
                if kind == 0:
                    file[place] = other
                elif kind == 1:
                    file[place] = h5py.ExternalLink("/dev/zero", "/x")
                elif kind == 2:
                    file[place] = h5py.SoftLink("/" + place)
    return image.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Bytes of a right file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4)).astype(np.uint8)
    cimemu.run(cimemu.load_arch("rram_128"), nets.residual_network(), images, trace=folder / "t.h5")
    store = create_trials(folder / "p.h5", IDENTITY, FIELDS, 2, 2, overwrite=False)
    store.commit(0, 0, {"value": 1, "row": [1, 2]})
    store.fail(1, 0, "why")
    store.close()
    np.savez_compressed(folder / "i.npz", images=images, labels=np.arange(2))
    np.save(folder / "i.npy", images)
    scheme = "name: s\nweights: {kind: uniform, bits: 4}\nconverter:\n  kind: linear\n  bits: 4\n"
    from cimemu.arch.load import preset_folder

    return {
        "arch": (preset_folder() / "rram_128.yaml").read_bytes(),
        "workload": cimemu.load_workload("digits").path.read_bytes(),
        "scheme": scheme.encode(),
        "trace": (folder / "t.h5").read_bytes(),
        "partial": (folder / "p.h5.partial").read_bytes(),
        "npz": (folder / "i.npz").read_bytes(),
        "npy": (folder / "i.npy").read_bytes(),
    }


def read_partial(path):
    resume_trials(path, IDENTITY, FIELDS, (2, 2)).values()


KINDS = {  # suffix, what reads it, how it is changed
    "arch": (".yaml", cimemu.load_arch, (of_bytes, of_text)),
    "workload": (".yaml", cimemu.load_workload, (of_bytes, of_text)),
    "scheme": (".yaml", lambda path: cimemu.read_scheme(str(path)), (of_bytes, of_text)),
    "trace": (".h5", lambda path: report_data(cimemu.open_trace(path)), (of_bytes, of_members)),
    "partial": (".h5.partial", read_partial, (of_bytes, of_members)),
    "npz": (".npz", lambda path: read_images(path, "npz", "images", "labels", 0, None, None), (of_bytes,)),
    "npy": (".npy", read_array, (of_bytes,)),
}


def outcome(read, path):
    """'' for a right answer, else what escaped."""
    try:
        read(path)
    except cimemu.CimemuError as error:
        return "" if str(error) and "\n" not in str(error) else f"{str(error)!r} is no line"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def in_child(read, path):
    """The same from a process of its own, which may die or hang."""
    far, near = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT_S)
        os.write(near, outcome(read, path).encode(errors="replace"))
        os._exit(0)
    os.close(near)
    with os.fdopen(far, "rb") as pipe:
        told = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return told or (f"the process died with {status}" if status else "")


def fuzzed(kind, data, count, folder, seed):
    suffix, read, ways = KINDS[kind]
    rng, found = random.Random(seed), []
    for number in range(count):
        path = Path(folder) / f"m{suffix}"
        path.write_bytes(ways[number % len(ways)](data, rng))
        escaped = (in_child if kind in ("trace", "partial") else outcome)(read, path)
        if escaped:
            found.append((number, escaped))
        path.unlink(missing_ok=True)
    return found


@pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS if kind not in ("trace", "partial")],  # these take long: among the many below
)
def test_damaged_files_are_one_line(whole, kind, tmp_path):
    assert fuzzed(kind, whole[kind], 40, tmp_path, seed=1) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_one_line(whole, kind, tmp_path):
    assert fuzzed(kind, whole[kind], 400, tmp_path, seed=2) == []
