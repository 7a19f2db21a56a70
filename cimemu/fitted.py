"""Tables as wide as the terminal: headings break, long names are shortened in the middle, figures stay whole."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

GAP = 2  # spaces between columns
LEAST = 8  # characters that stay of a long name; the first column, which names the row, keeps twice as many
PROSE = 24  # a column of sentences is broken between words and is never narrower


@dataclass(frozen=True)
class Column:
    """A column as it is printed: heading in lines, cells, and whether it is text (to the left) or figures (to the right).

    Cells longer than `limit` are broken between words.
    """

    heading: tuple[str, ...]
    cells: tuple[str, ...]
    text: bool
    limit: int | None = None

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        widest = max(map(len, (*self.heading, *self.cells)), default=0)
        return widest if self.limit is None else min(widest, self.limit)

    @property
    def prose(self) -> bool:
        """Whether its cells are sentences, of which nothing may be left out."""
        return self.text and any(cell.count(" ") > 3 for cell in self.cells)

    def narrowed(self, width: int) -> "Column":
        """The column in `width` characters: sentences broken, names shortened, figures as they are."""
        if self.prose:
            return replace(self, limit=width)
        return replace(self, cells=tuple(shortened(cell, width) for cell in self.cells)) if self.text else self


def fitted(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """The columns cut to `width` characters, in one table or, where figures alone are wider, in several.

    Names are shortened before a table is parted; every part begins with the first column. A figure is never cut.
    """
    if not columns:
        return []
    broken = [Column(broken_heading(c.heading), c.cells, c.text) for c in columns] if _sum(columns) > width else columns
    narrow = _narrowed(list(broken), width)
    if _sum(narrow) > width:  # it has to be parted: names may as well keep more of themselves
        kept = (3 * LEAST, 2 * LEAST)
        narrow = [c.narrowed(max(2 * PROSE if c.prose else 0, kept[i > 0])) for i, c in enumerate(broken)]
    parts: list[list[Column]] = [[narrow[0]]]
    for column in narrow[1:]:
        if _sum([*parts[-1], column]) > width and len(parts[-1]) > 1:
            parts.append([narrow[0]])
        parts[-1].append(column)
    return parts


def broken_heading(heading: Sequence[str]) -> tuple[str, ...]:
    """Lines of a heading, broken at its spaces and behind each `/`."""
    return tuple(piece for line in heading for piece in re.findall(r"[^\s/]+/?|/", line))


def shortened(text: str, width: int) -> str:
    """`text` in `width` characters: its beginning and its end, with `..` between them."""
    if len(text) <= width:
        return text
    if width < 5:
        return text[:width]
    end = (width - 2) // 2
    return f"{text[: width - 2 - end]}..{text[-end:]}"


def _sum(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _narrowed(columns: list[Column], width: int) -> list[Column]:
    """Text columns made narrower, the widest first, until all fit or none may lose more."""
    while (over := _sum(columns) - width) > 0:
        room = {i: c.width - _least(i, c) for i, c in enumerate(columns) if c.text and c.width > _least(i, c)}
        if not room:
            return columns
        i = max(room, key=lambda place: columns[place].width)
        others = sorted((columns[k].width for k in room if k != i), reverse=True)
        above = columns[i].width - others[0] + 1 if others else room[i]
        target = columns[i].width - min(over, room[i], max(1, above))
        columns[i] = columns[i].narrowed(target)
    return columns


def _least(place: int, column: Column) -> int:
    return max(PROSE if column.prose else LEAST * (2 if place == 0 else 1), *map(len, column.heading))


def print_columns(columns: Sequence[Column], console: Any, title: str | None = None) -> None:
    """A table as wide as the console: names shortened in the middle, figures whole, parted where it has to be."""
    from rich.table import Table
    from rich.text import Text

    for number, part in enumerate(fitted(columns, console.width)):
        table = Table(title=None if number else title, title_justify="left", box=None, header_style="bold")
        table.padding, table.pad_edge = (0, GAP, 0, 0), False
        for column in part:
            side: Literal["left", "right"] = "left" if column.text else "right"
            table.add_column(
                Text("\n".join(column.heading)), justify=side, no_wrap=not column.prose, width=column.width
            )
        for cells in zip(*(column.cells for column in part)):
            table.add_row(*map(Text, cells))
        if number:
            console.print()
        console.print(table, crop=False)
