"""A check for people: the verdict, what it was made of, then a table of tensors (all of them with `--verbose`)."""

from typing import Any

from cimemu.check.compare import TensorDiff
from cimemu.check.report import CODE_SHARE, CODE_STEPS, CheckReport, Verdict
from cimemu.terminal import loudness, make_console, print_table

MANY = 6  # names that one line shows


def print_check(found: CheckReport) -> None:
    """The whole report."""
    console = make_console()
    settings = ", ".join(f"{key} {value}" for key, value in found.settings.items())
    console.print(_verdict(found), style="bold")
    console.print(
        f"against {found.against}{f' ({settings})' if settings else ''}: {found.images} images", soft_wrap=True
    )
    console.print(f"integers: {_integers(found.integers)}")
    if found.codes.tensors:
        console.print(f"codes behind float operators: {_codes(found.codes)}", soft_wrap=True)
    console.print(f"floats: {_floats(found.floats)}")
    if found.uncompared:
        absent = [name for name in found.outputs if name in found.uncompared]
        outputs = f", among them the outputs {_some(absent)}" if absent else ""
        console.print(
            f"not compared, the reference does not give them: {_count(found.uncompared)}{outputs}", soft_wrap=True
        )
    console.print(
        f"layers on macros: {found.bit_serial_layers} bit-serial, {found.shortcut_layers} by a proven shortcut; "
        f"{found.conversions:,} conversions"
    )
    if found.kernels:
        names = ", ".join(f"{count} {name}" for name, count in sorted(found.kernels.items()))
        runtime = found.against.rsplit(" ", 1)[0]
        console.print(f"{runtime} ran: {names}; products left in float: {found.unfused}", soft_wrap=True)
    if found.other_forms:
        console.print(
            f"note: this machine's kernels follow another rule than cimemu reproduces, differences from here on may be "
            f"their own: {_some(found.other_forms)}",
            soft_wrap=True,
        )
    if found.first_layer is not None:
        console.print(f"first layer that differs: {found.first_layer}")
    _print_tensors(found)
    if found.codes.differing:
        console.print(
            "note: each runtime rounds the last bits of floats its own way, so that a code made of them may be one apart; "
            "the layers behind it were given the reference's code",
            soft_wrap=True,
        )
    _print_movement(console, found)


def _integers(total: Verdict) -> str:
    if not total.tensors:
        return "none compared"
    text = f"{total.tensors} tensors, {total.elements:,} elements, {total.differing:,} differ"
    if total.within_bound:
        text += f"; {total.within_bound:,} more are apart by no more than the reference's float product leaves open"
    return text


def _codes(total: Verdict) -> str:
    share = 100 * total.differing / total.elements
    text = f"{total.tensors} tensors, {total.elements:,} elements, {total.differing:,} differ"
    if total.differing:
        text += f" ({share:.3g} %, by at most {total.largest:g}; float rounding explains {total.explained:,} of them)"
    return f"{text}; allowed are {100 * CODE_SHARE:g} %, by {CODE_STEPS}, where float rounding explains them"


def _floats(total: Verdict) -> str:
    if not total.tensors:
        return "none compared"
    return (
        f"{total.tensors} tensors, {total.elements:,} elements, {total.differing:,} differ by more than float32 rounding in any "
        f"order can explain (or where that has no bound), {total.within_bound:,} within that bound (largest difference "
        f"{total.largest:.3g}, largest bound {total.bound:.3g})"
    )


def _verdict(found: CheckReport) -> str:
    """One line: whether the network is right."""
    if found.failed:
        return "Not equal: tensors differ by more than is allowed."
    compared = sum(total.tensors for total in (found.integers, found.codes, found.floats))
    if not compared:
        return "Nothing was compared."
    exact = not (found.codes.differing or found.floats.tensors)
    return f"Equal: {compared} tensors, " + ("every element." if exact else "each within what float rounding allows.")


def _print_tensors(found: CheckReport) -> None:
    """Tensors that differ, the first element first; with `--verbose` all of them."""
    rows = [_row(found, diff) for diff in found.tensors if diff.differing or loudness() > 0]
    equal = sum(not diff.differing for diff in found.tensors)
    if rows:
        print_table(rows)
    if equal and loudness() <= 0:
        make_console().print(f"{equal} tensors are equal; --verbose lists them")


def _row(found: CheckReport, diff: TensorDiff) -> dict[str, Any]:
    return {
        "tensor": diff.name,
        "computed as": "given to both" if diff.kind == "input" else found.form(diff.name).text,
        "differ": diff.differing,
        "of": diff.elements,
        "first at": ",".join(map(str, diff.first or ())) if diff.differing else "",
        "here": diff.ours if diff.differing else None,
        "there": diff.theirs if diff.differing else None,
        "largest": diff.largest if diff.differing else None,
        "within bound": diff.within_bound or None,
        "bound": diff.bound if diff.within_bound else None,
    }


def _print_movement(console: Any, found: CheckReport) -> None:
    """How far the chip's own converter moves what layers on macros, and the network, give."""
    if not found.movement:
        return
    what = "converters and cells move" if found.drawn else "converter moves"
    moved = [row for row in found.movement if row.moved or loudness() > 0]
    if moved:
        rows = [
            {
                "output": row.name,
                "moved": row.moved / row.elements,
                "largest": row.largest,
                "mean": row.mean,
                "rms of the signal's": row.relative,
            }
            for row in moved
        ]
        title = f"What the chip's own {what} outputs by"
        print_table(rows, title, shares=("moved", "rms of the signal's"))
    still = len(found.movement) - len(moved)
    if still:
        console.print(f"the chip's own {what} nothing in {still} outputs of layers on macros and of the network")


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + more


def _count(names: tuple[str, ...]) -> str:
    return f"{len(names)} tensors ({_some(names)})"
