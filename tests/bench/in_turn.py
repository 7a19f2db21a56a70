"""Two states of the code, every rate round by round in turn: `python tests/bench/in_turn.py BEFORE AFTER TABLE.csv`.

BEFORE and AFTER are two checkouts (`git worktree add BEFORE COMMIT`). Each runs its own benches in a process of its own
that stops before every round and waits to be told: one round of the one, one of the other, in the order A B B A. So
both meet the same clock of the processor and the same neighbours, which runs one after the other do not: there one and
the same code differs by up to 1.6 times on a shared machine. The ratio of a rate is the median over the pairs of
rounds (time before / time after; above 1 is faster), with a 90 % interval of that median by the binomial law.

Further arguments go to pytest: `-k "two_threads or adapt"`. Times are processor times of a round, all threads together.
"""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROUNDS = 40  # pairs a rate: the interval of the median then spans ranks 15 to 26
MOST_SECONDS = 40.0  # a rate whose round takes long gets fewer pairs, but at least
FEWEST = 5
CHILD = "CIMEMU_BENCH_TOLD"


class Told:
    """What stands for pytest-benchmark in a child: runs a round whenever the parent asks, and says how long it took."""

    stats = None  # the tests report nothing where there are none

    def __init__(self, name):
        self.name, self.extra_info = name, {}

    def __call__(self, function, *args, **kwargs):
        asked, answers = (int(fd) for fd in os.environ[CHILD].split(","))
        result = function(*args, **kwargs)  # compiled, and the caches are warm
        os.write(answers, b"ready\n")
        while os.read(asked, 1) == b"r":
            start = time.process_time()
            result = function(*args, **kwargs)
            os.write(answers, f"{time.process_time() - start!r}\n".encode())
        return result

    def pedantic(self, function, args=(), kwargs=None, **_):
        return self(function, *args, **(kwargs or {}))


@pytest.fixture
def benchmark(request):
    """Takes the place of pytest-benchmark's fixture in a child (`-p in_turn`)."""
    return Told(request.node.name)


class Child:
    """One checkout's pytest, told what to do through two pipes."""

    def __init__(self, tree, nodes):
        asked, self.ask = os.pipe()
        heard, answers = os.pipe()
        self.heard = os.fdopen(heard)
        self.process = subprocess.Popen(
            [*PYTEST, "-p", "no:benchmark", "-p", "in_turn", "-x", *nodes],
            cwd=tree,
            env={**environment(tree), CHILD: f"{asked},{answers}"},
            pass_fds=(asked, answers),
            stdout=subprocess.DEVNULL,
        )
        os.close(asked)
        os.close(answers)

    def line(self):
        text = self.heard.readline().strip()
        if not text:
            raise SystemExit(f"the benches of {self.process.args} ended early, status {self.process.wait()}")
        return text

    def round(self):
        os.write(self.ask, b"r")
        return float(self.line())


PYTEST = [sys.executable, "-m", "pytest", "-m", "bench", "-o", "addopts=", "-q", "-p", "no:cacheprovider"]


def environment(tree):
    """What a child finds: its own tree, this file as a plug-in, and nothing of a pytest that runs this one."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return {**given, "PYTHONPATH": os.pathsep.join([str(tree), str(Path(__file__).parent)])}


def nodes_of(tree, options):
    listed = subprocess.run(
        [*PYTEST, "tests/bench", "--collect-only", *options], cwd=tree, env=environment(tree), text=True,
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    return [line for line in listed.splitlines() if "::" in line]


def interval(ratios):
    """The ranks that hold the median of `ratios` in 90 of 100 cases (binomial)."""
    ordered, draws = np.sort(ratios), np.random.default_rng(0)
    medians = np.median(ordered[draws.integers(0, len(ordered), (4000, len(ordered)))], axis=1)
    return np.quantile(medians, [0.05, 0.95])


def compare(before, after, node):
    """(pairs, ratio, low, high, median seconds of each) of one rate; None where it has no round."""
    children = [Child(tree, [node]) for tree in (before, after)]
    for child in children:
        child.line()
    first = [child.round() for child in children]
    pairs = int(np.clip(MOST_SECONDS / max(sum(first), 1e-9), FEWEST, ROUNDS))
    times = np.empty((pairs, 2))
    for number in range(pairs):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            times[number, which] = children[which].round()
    for child in children:
        os.write(child.ask, b"n")
        child.process.wait()
    ratios = times[:, 0] / times[:, 1]
    return pairs, float(np.median(ratios)), *interval(ratios), *np.median(times, axis=0)


def main(before, after, table, *options):
    both = [nodes_of(Path(tree), options) for tree in (before, after)]
    common = [node for node in both[1] if node in set(both[0])]
    print(f"{len(common)} benches of both, {len(both[0]) - len(common)} of the first alone, "
          f"{len(both[1]) - len(common)} of the second alone")  # fmt: skip
    rows = []
    with open(table, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["bench", "pairs", "ratio", "low", "high", "before_s", "after_s"])
        for node in common:
            try:
                row = compare(before, after, node)
            except SystemExit as problem:
                print(f"{node}: left out: {problem}")
                continue
            rows.append(row)
            out.writerow([node, row[0], *(f"{value:.4g}" for value in row[1:])])
            file.flush()
            print(f"{node}: {row[1]:.3f} [{row[2]:.3f}, {row[3]:.3f}] in {row[0]} pairs", flush=True)
    print(f"{len(rows)} rates, geometric mean {np.exp(np.mean([np.log(row[1]) for row in rows])):.3f}, "
          f"least {min(row[1] for row in rows):.3f}")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
