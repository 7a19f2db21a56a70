"""Runs mutants of network files one by one: prints a line when it begins one, when cimemu has run it, and when it is judged.

A process of its own, because runtimes end the process on some files. Arguments: kind (parameters or fuzz), seed, first, step, stop.
"""

import itertools
import json
import resource
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from mutants import fuzz_mutants, parameter_mutants  # noqa: E402

import cimemu  # noqa: E402
from cimemu.check.network import check_network  # noqa: E402

ARCH = cimemu.load_arch("rram_128", {"macro.adc": "ideal", "chip.tiles": 64})
ELEMENTS = 1 << 20  # of an input that is run
MEMORY = 8 << 30


def say(**line):
    print(json.dumps(line), flush=True)


def inputs_of(network, images=3):
    rng, feeds = np.random.default_rng(1), {}
    for name in network.inputs:
        kind = network.types[name]
        shape, dtype = (images, *kind.shape), np.dtype(kind.dtype)
        if kind.elements > ELEMENTS:
            return None
        if dtype.kind == "f":
            feeds[name] = rng.normal(0, 3, shape).astype(dtype)
        elif dtype.kind == "b":
            feeds[name] = rng.random(shape) < 0.5
        else:
            limits = np.iinfo(dtype)
            feeds[name] = rng.integers(limits.min, int(limits.max), shape, dtype=dtype, endpoint=True)
    return feeds


def judge(number, path):
    """(verdict, detail)."""
    network = cimemu.quantize(cimemu.load_network(path), ARCH)
    feeds = inputs_of(network)
    if feeds is None:
        return "too large", ""
    cimemu.run(ARCH, network, feeds if len(feeds) > 1 else next(iter(feeds.values())), detail=None, threads=1)
    say(ran=number)
    try:
        found = check_network(network, ARCH.macro, feeds)
    except cimemu.CimemuError as error:
        return "the runtime refuses it", str(error)[:200]
    if found.failed:
        worst = [d for d in found.tensors if d.differing]
        # Codes next to a tie behind an operator that the runtime leaves in float, in the processor's order: `check` says so.
        if all(d.differing == d.explained for d in worst):
            return "left open by a float operator", ""
        forms = {d.name: found.forms[d.name].text for d in worst if d.name in found.forms}
        return (
            "differs",
            f"{[(d.name, d.elements, d.differing, d.ours, d.theirs, d.largest) for d in worst[:2]]} {forms}",
        )
    return "same", ""


def one(number, suffix, what, make, folder):
    say(begin=number, what=f"{suffix} {what}")
    path = folder / f"net.{suffix}"
    try:
        path.write_bytes(make())
    except (TypeError, ValueError, OverflowError):  # the format has no such value in that field
        say(done=number, verdict="no file", detail="")
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict, detail = judge(number, path)
    except cimemu.CimemuError as error:
        verdict, detail = (
            ("refused", str(error)[:300]) if "\n" not in str(error) else ("several lines", str(error)[:300])
        )
    except MemoryError:
        verdict, detail = "no memory", ""
    except Exception:
        verdict, detail = "exception", traceback.format_exc()[-1500:]
    say(done=number, verdict=verdict, detail=detail)


def main():
    kind, seed, first, step, stop = sys.argv[1], *(int(a) for a in sys.argv[2:6])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    made = parameter_mutants() if kind == "parameters" else fuzz_mutants(seed)
    with tempfile.TemporaryDirectory() as folder:
        for number, (suffix, what, make) in enumerate(itertools.islice(made, stop)):
            if number >= first and (number - seed) % step == 0:
                one(number, suffix, what, make, Path(folder))
    say(end=True)


if __name__ == "__main__":
    main()
