"""A check for people: a verdict on integers, one on floats, then a row per tensor."""

from typing import Any

from cimemu.check.compare import TensorDiff
from cimemu.check.report import CODE_SHARE, CODE_STEPS, CheckReport, Verdict
from cimemu.terminal import make_console

MANY = 6  # names that one line shows


def print_check(found: CheckReport) -> None:
    """The whole report."""
    console = make_console()
    settings = ", ".join(f"{key} {value}" for key, value in found.settings.items())
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
    for diff in found.tensors:
        _print_row(console, found, diff)
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


def _print_row(console: Any, found: CheckReport, diff: TensorDiff) -> None:
    form = "given to both" if diff.kind == "input" else found.form(diff.name).text
    text = f"  {diff.name} ({form}): {diff.differing:,} of {diff.elements:,} differ"
    if diff.differing:
        text += (
            f", first at {list(diff.first or ())}: ours {diff.ours:g}, theirs {diff.theirs:g}; "
            f"largest difference {diff.largest:g}"
        )
    if diff.within_bound:
        text += f", {diff.within_bound:,} within the bound of at most {diff.bound:.3g}"
    console.print(text, soft_wrap=True)


def _print_movement(console: Any, found: CheckReport) -> None:
    if not found.movement:
        return
    console.print("the arch's own converter moves the outputs of layers on macros by")
    for row in found.movement:
        console.print(
            f"  {row.name}: {100 * row.moved / row.elements:.2f} % of elements, largest {row.largest:g}, "
            f"mean {row.mean:.4g}, rms {100 * row.relative:.2f} % of the signal's",
            soft_wrap=True,
        )


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + more


def _count(names: tuple[str, ...]) -> str:
    return f"{len(names)} tensors ({_some(names)})"
