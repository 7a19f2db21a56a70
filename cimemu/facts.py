"""How the objects that users hold show themselves: two lines in a shell, a small table in a notebook."""

from html import escape

from cimemu.shown import printable

NO_PRICES = "not known: the arch has no prices; give it `costs` (cimemu cost rram_128 shows a chip's)"
Facts = tuple[str, list[tuple[str, str]]]


class Shown:
    """A class says in `_facts` what it is: a title, and what is worth knowing by name. The rest follows."""

    def _facts(self) -> Facts:
        raise TypeError(f"{type(self).__name__} does not say what it is")

    def __repr__(self) -> str:
        title, facts = self._facts()
        told = "; ".join(f"{name} {text}" if name else text for name, text in facts)
        return f"{printable(title)}\n  {printable(told)}"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        title, facts = self._facts()
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(printable(name))}</th>"
            f"<td style='text-align:left'>{escape(printable(text))}</td></tr>"
            for name, text in facts
        )
        return f"<table><caption style='text-align:left'><b>{escape(printable(title))}</b></caption>{rows}</table>"


def energy_text(energy_uj: float, images: int, ends: tuple[float, float] | None = None) -> str:
    """An energy in words with its 90 % interval; a chip without prices has none."""
    if not energy_uj:
        return NO_PRICES
    each = None if ends is None else (ends[0] / images, ends[1] / images)
    return f"{energy_uj:,.4g} uJ{ends_text(ends)}, {energy_uj / images:,.4g} an image{ends_text(each)}"


def ends_text(ends: tuple[float | None, float | None] | None) -> str:
    """An interval behind its figure: ` [310, 690]`; nothing where there is none."""
    if ends is None or ends[0] is None or ends[1] is None:
        return ""
    low, high = (f"{end:,.0f}" if abs(end) >= 1000 else f"{end:.3g}" for end in ends if end is not None)
    return f" [{low}, {high}]"
