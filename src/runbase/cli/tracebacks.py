"""Tracebacks for people: the frames of the user's own code, and one line for those of libraries."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath

from msgspec import Struct

from runbase.errors import counted

_FRAME = re.compile(r'^([ |]*)File "(.+?)", line (\d+)(?:, in (.+))?$')
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]([^/\\]+)")
_STANDARD = re.compile(r"[/\\](?:lib|Lib|lib64)[/\\]python3[^/\\]*[/\\]([^/\\]+)|^<frozen ([^>]+)>")
_WINDOWS = re.compile(r"[/\\]Python3\d+[/\\][Ll]ib[/\\]([^/\\]+)")
_HEADING = "Traceback (most recent call last):"
_MOST_NAMED = 3
"""Libraries that are named in one line."""


class Frame(Struct):
    """A frame: its place, the name of its library (None for the user's code), and its lines of code."""

    file: str
    line: str
    function: str
    library: str | None
    code: list[str]


def folded(text: str, folder: str | None = None) -> list[str]:
    """Return the lines of a traceback with each series of frames in libraries as one line.

    Args:
        text: a traceback as Python prints it.
        folder: the working folder of the process; paths below it are shown relative to it.

    Returns:
        Lines without the exception's own message at the end.
    """
    shown: list[str] = []
    series: list[Frame] = []
    parts = [*_parts(text)]
    own = any(isinstance(part, Frame) and part.library is None for part in parts)
    for place, part in enumerate(parts):
        if part == _HEADING and place == 0:
            continue
        if isinstance(part, str):
            shown += [*_summary(series), part]
            series = []
        elif part.library is None or (not own and _is_last(parts, place)):
            shown += _summary(series)
            series = []
            where = f" in {part.function}" if part.function else ""
            shown += [f"{_relative(part.file, folder)}:{part.line}{where}", *part.code]
        else:
            series.append(part)
    return [*shown, *_summary(series)]


def _parts(text: str) -> Iterator[Frame | str]:
    """Yield the frames and the other lines; the last line, which is the message, is left out."""
    frame: Frame | None = None
    rows = text.rstrip().splitlines()
    last = max((n for n, row in enumerate(rows) if _FRAME.match(row)), default=-1)
    for place, row in enumerate(rows):
        found = _FRAME.match(row)
        if found is not None:
            if frame is not None:
                yield frame
            frame = Frame(found[2], found[3], found[4] or "", library_of(found[2]), [])
        elif frame is not None and row.lstrip("| ").startswith("[Previous line repeated"):
            frame.code.append("    " + row.strip("| "))
        elif frame is not None and _depth(row) >= 4:
            if row.strip("| ^~"):  # not the marks below a line of code
                frame.code.append("    " + row.strip("| "))
        else:
            if frame is not None:
                yield frame
                frame = None
            if place > last:  # the message of the exception
                return
            if row.strip("| "):
                yield row
    if frame is not None:
        yield frame


def library_of(file: str) -> str | None:
    """Return the name of the library that a file belongs to; None for the user's code."""
    found = _INSTALLED.search(file) or _STANDARD.search(file) or _WINDOWS.search(file)
    if found is None:
        return None
    name = next(group for group in found.groups() if group)
    return name.removesuffix(".py").partition(".")[0]


def _depth(row: str) -> int:
    plain = row.replace("|", " ", 1) if row.lstrip().startswith("|") else row
    return len(plain) - len(plain.lstrip())


def _is_last(parts: list[Frame | str], place: int) -> bool:
    return all(isinstance(part, str) for part in parts[place + 1 :])


def _summary(series: list[Frame]) -> list[str]:
    if not series:
        return []
    names = list(dict.fromkeys(frame.library or "" for frame in series))
    more = ", …" if len(names) > _MOST_NAMED else ""
    return [f"… {counted(len(series), 'frame')} in {', '.join(names[:_MOST_NAMED])}{more} …"]


def _relative(file: str, folder: str | None) -> str:
    if not folder:
        return file
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(file)
        if path.is_absolute() and path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return file
