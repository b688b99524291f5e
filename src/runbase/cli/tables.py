"""Tables that fit the width of a terminal: columns are left out, and cells are never broken.

If the output is not a terminal, all columns are printed.
"""

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape as rich_escape
from rich.text import Text

from runbase.errors import counted

GAP = 2
"""Blanks between two columns."""
LONGEST = 28
"""Characters of a text in a cell on a terminal; of a longer one, the middle is left out."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_PLACES = re.compile(r"[^\s/\\]*(?:[/\\]+|\s+|$)")
"""Pieces of a line between which it may be broken."""


class Column(Struct):
    """A column of a table.

    Attributes:
        title: its heading, as plain text.
        cells: Rich markup, one cell a row.
        right: whether its cells are right-aligned.
        rank: columns of a greater rank are left out first; those of rank 0 never are.
    """

    title: str
    cells: list[str]
    right: bool = False
    rank: int = 0

    @property
    def width(self) -> int:
        """The width of the heading or of the widest cell."""
        return max(cell_len(line(self.title)), *map(width_of, self.cells), 0)


def visible(text: str) -> str:
    """Return text with control characters escaped, so that no stored text can control the terminal."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def escape(text: str) -> str:
    """Return text that Rich prints literally, with control characters escaped."""
    return rich_escape(visible(text))


def line(text: str) -> str:
    """Return text on one line: line breaks and tabs as `\\n` and `\\t`."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def cell(text: str, longest: int | None = None) -> str:
    """Return text as the markup of a cell; the middle of a longer text is left out."""
    text = line(text)
    return rich_escape(text if longest is None else shortened(text, longest))


def shortened(text: str, longest: int) -> str:
    """Return text of at most `longest` characters, with … for the middle of a longer one."""
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[len(text) - tail :]}"


def wrapped(text: str, width: int | None) -> list[str]:
    """Return text as lines of at most `width` characters, broken at blanks, or in a path after a slash.

    A word without such a place stays whole. Without a width, only line breaks of the text count.
    """
    found: list[str] = []
    for row in visible(text).expandtabs(4).splitlines() or [""]:
        if width is None or cell_len(row) <= width:
            found.append(row)
            continue
        current = ""
        for part in filter(None, _PLACES.findall(row)):
            if current and cell_len(f"{current}{part}".rstrip()) > width:
                found.append(current.rstrip())
                current = part.lstrip()
            else:
                current += part
        found.append(current.rstrip())
    return found


def cut(text: str, width: int | None) -> str:
    """Return text on one line, with … for the end of what is wider than `width`."""
    text = line(text)
    if width is None or cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, width - 1).rstrip()}…"


def width_of(markup: str) -> int:
    """Return the number of terminal cells that markup takes."""
    return Text.from_markup(markup).cell_len


def terminal_width(out: Console) -> int | None:
    """Return the width of the terminal or page that a console prints to; None if it is a pipe or a file."""
    return out.width if out.record or out.file.isatty() else None


def fit(columns: Sequence[Column], width: int | None) -> list[Column]:
    """Return the columns that fit a width, in their order; all of them if there is no width."""
    if width is None:
        return list(columns)
    kept: set[int] = set()
    used = -GAP
    for place in sorted(range(len(columns)), key=lambda place: columns[place].rank):
        needed = columns[place].width + GAP
        if columns[place].rank == 0 or used + needed <= width:
            kept.add(place)
            used += needed
    return [column for place, column in enumerate(columns) if place in kept]


def lines(columns: Sequence[Column], indent: int = 0) -> list[str]:
    """Return the lines of a table with these columns as markup, the heading first."""
    widths = [column.width for column in columns]
    rows = [[f"[bold]{cell(column.title)}[/]" for column in columns]]
    rows += [list(row) for row in zip(*(column.cells for column in columns), strict=True)]
    found: list[str] = []
    for row in rows:
        parts: list[str] = []
        for column, width, markup in zip(columns, widths, row, strict=True):
            blanks = " " * (width - width_of(markup))
            parts.append(f"{blanks}{markup}" if column.right else f"{markup}{blanks}")
        found.append((" " * indent + (" " * GAP).join(parts)).rstrip())
    return found


def show(out: Console, columns: Sequence[Column], *, indent: int = 0, hint: str = "") -> None:
    """Print a table, with only the columns that fit if the output is a terminal.

    Args:
        out: the console.
        columns: all columns.
        indent: blanks before each line.
        hint: how to see the columns that were left out; printed with their number if there are any.
    """
    width = terminal_width(out)
    kept = fit(columns, None if width is None else width - indent)
    show_lines(out, lines(kept, indent))
    left = len(columns) - len(kept)
    if left and hint:
        out.print(f"[dim]+{counted(left, 'more column')}, {escape(hint)}[/]", soft_wrap=True)


def show_lines(out: Console, markup: Iterable[str]) -> None:
    """Print lines of markup; a line that is wider than the terminal is not broken by words."""
    for each in markup:
        out.print(each, soft_wrap=True)
