"""`cimemu diff A B --html`: what changed between two runs as one self-contained page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cimemu.difference import diff_traces
from cimemu.errors import TraceError
from cimemu.version import __version__
from cimemu.views.html import filled
from cimemu.views.names import short_names
from cimemu.whole_file import refuse_output, whole_file


def write_diff_html(before: str | Path, after: str | Path, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write a page of what changed from the trace `before` to the trace `after`: what `diff_traces` gives, as a picture.

    Returns the path. Raises TraceError for a file that is no trace, and for an `out` that is there already, unless
    `overwrite`.

    >>> import cimemu
    >>> workload = cimemu.load_workload("digits")
    >>> for bits in (7, 5):
    ...     chip = cimemu.load_arch("rram_128", {"macro.adc.bits": bits})
    ...     network = cimemu.quantize(cimemu.load_network(workload.network), chip, workload.calibration())
    ...     _ = cimemu.run(chip, network, workload.inputs(1)[0], trace=f"bits{bits}.h5")
    >>> page = cimemu.write_diff_html("bits7.h5", "bits5.h5", "diff.html")
    >>> "macro.adc.bits" in page.read_text()
    True
    """
    refuse_output(Path(out), TraceError, overwrite=overwrite)
    found = diff_traces(before, after)
    names = [row["layer"] for row in found["layers"]]
    data = {
        **found,
        "version": __version__,
        "before": Path(before).name,
        "after": Path(after).name,
        "short": dict(zip(names, short_names(names))),
        "answers": _answers(found),
    }
    with whole_file(Path(out), TraceError, overwrite=overwrite) as partial:
        partial.write_text(filled("diff.html", data, "diff.js"), encoding="utf-8")
    return Path(out)


def _answers(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Time, energy, accuracy and waiting, each with its change and the part that changed most."""
    summary = {row["what"]: row for row in found["summary"]}
    layers, stalls = found["layers"], found["stalls"]

    def largest(rows: Any, name: str, change: Any) -> str:
        rows = [row for row in rows if change(row)]
        if not rows:
            return ""
        most = max(rows, key=lambda row: abs(change(row)))
        return (
            f"{most[name]} changed most: {change(most):+,.0f}"
            if abs(change(most)) >= 1000
            else f"{most[name]} changed most: {change(most):+.4g}"
        )

    return [
        {
            "question": "How much faster is an image?",
            "answer": _changed(summary.get("cycles_per_image"), "cycles an image"),
            "detail": "By its own cycles, which may overlap those of others, "
            + (largest(layers, "layer", lambda row: row["cycles after"] - row["cycles before"]) or "no layer changed")
            + ".",
        },
        {
            "question": "How much energy does it take?",
            "answer": _changed(summary.get("energy_uj_per_image"), "uJ an image"),
            "detail": largest(found["components"], "component", lambda row: row["after"] - row["before"])
            + _sure(found["after_takes_less"] if found["components"] else None),
        },
        {
            "question": "Are its results as good?",
            "answer": _accuracy(summary.get("accuracy")),
            "detail": _outputs(found["outputs"]),
        },
        {
            "question": "What waits more or less?",
            "answer": largest(stalls, "cause", lambda row: row["after"] - row["before"]) or "nothing changed",
            "detail": "Cycles an image, all units together.",
        },
    ]


def _sure(share: float | None) -> str:
    """In how many draws of the prices the second chip takes less."""
    return "" if share is None else f". It takes less in {100 * share:.0f} % of draws of the prices"


def _changed(row: Mapping[str, Any] | None, unit: str) -> str:
    if row is None:
        return "no change"
    if row["change"] is None:
        return f"{row['before']} to {row['after']} {unit}"
    before, after = (f"{v:,.0f}" if v >= 1000 else f"{v:.4g}" for v in (row["before"], row["after"]))
    return f"{100 * row['change']:+.1f} %: {before} to {after} {unit}"


def _accuracy(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "accuracy has not changed"
    before, after = ("no labels" if v is None else f"{100 * v:.2f} %" for v in (row["before"], row["after"]))
    return f"accuracy: {before} to {after}"


def _outputs(outputs: Mapping[str, Any] | None) -> str:
    if outputs is None:
        return "The runs have no outputs of one name and shape."
    differ = sum(outputs["elements_differing"].values())
    predictions = outputs["predictions_differing"]
    said = "" if predictions is None else f"; {predictions:,} predictions differ"
    return f"{differ:,} elements of outputs differ over {outputs['images']:,} images{said}."
