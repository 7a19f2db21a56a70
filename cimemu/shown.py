"""Text that came from a file or a command line, made safe for where it is shown: terminals, tables, spreadsheets."""

import re

# C0 and C1 controls, DEL, half characters (bytes that were no UTF-8), line separators, and marks that turn the
# direction of what follows: each moves a terminal's cursor or makes a line read as another.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for the beginning of a formula


def printable(text: str) -> str:
    """`text` with every control character as its escape: an ESC becomes the four letters \\x1b."""
    return _UNSAFE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """The same for text of several lines, whose ends and tabs stay."""
    return _UNSAFE.sub(lambda found: found.group() if found.group() in "\n\t" else _escape(found), text)


def csv_cell(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would compute gets an apostrophe in front, numbers stay."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return "'" + text if value.startswith(_FORMULA) and not _is_number(value) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
