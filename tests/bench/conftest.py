"""One table of every rate that was measured: `pytest tests/bench -m bench --benchmark-enable` prints it at the end."""

import pytest

GROWTH = pytest.StashKey[list]()


@pytest.fixture
def rate(benchmark):
    """`rate(what, amount, unit, goal)` after a benchmark: `amount` of `unit` were done in a round; `goal` per second.

    `goal` None marks a yardstick: what the machine can do, not what is asked of cimemu. With `seconds=True` the figure
    is the time of a round and `goal` its limit.
    """

    def note(what, amount, unit, goal=None, *, seconds=False):
        if benchmark.stats is not None:  # --benchmark-disable: the body ran once
            benchmark.extra_info.update(
                {"what": what, "amount": amount, "unit": unit, "goal": goal, "seconds": seconds}
            )

    return note


@pytest.fixture
def growth(request):
    """`growth(what, times, slope, slope of the last two)`: a row of the table of how cost grows."""
    return lambda *cells: request.config.stash.setdefault(GROWTH, []).append(cells)


def shown(value):
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g} "


def row(bench):
    """(what, best, median, goal) of one benchmark as text; None for one without a rate."""
    info, stats = bench.extra_info, bench.stats
    if "rate" in info:  # a module with its own way of saying it
        info = {"what": bench.name, "amount": info["rate"] * stats.median, "seconds": False, **info}
    if "amount" not in info:
        return None
    if info["seconds"]:
        figures = [f"{stats.min:.3g} s", f"{stats.median:.3g} s"]
    else:
        figures = [f"{shown(info['amount'] / t)}{info['unit']}" for t in (stats.min, stats.median)]
    goal = "yardstick" if info["goal"] is None else f"{info['goal']:g} s" if info["seconds"] else shown(info["goal"])
    return info["what"], *figures, goal.strip()


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    rows = [found for bench in getattr(session, "benchmarks", []) if (found := row(bench)) is not None]
    grown = config.stash.get(GROWTH, [])
    if grown:
        terminalreporter.write_line("\n| by | processor time | slope | slope of the last two |\n|---|---|---|---|")
        for cells in grown:
            terminalreporter.write_line(f"| {' | '.join(cells)} |")
    if not rows:
        return
    terminalreporter.write_line("\n| what | best round | median | goal |\n|---|---|---|---|")
    for cells in rows:
        terminalreporter.write_line(f"| {' | '.join(cells)} |")
