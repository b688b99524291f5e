"""The text of the package is plain English: phrases that were replaced must not come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import runbase

SOURCE = Path(runbase.__file__).parent
PHRASES = [
    r"\btakes? in\b",
    r"\btaken in\b",
    r"\bgoes on with\b",
    r"\blives after all\b",
    r"\bheard of\b",
    r"\bleft no word\b",
    r"\bsign of life\b",
    r"\bwhoever\b",
    r"\banew\b",
    r"\bfor good\b",
    r"\blet go of\b",
    r"\bthe bin\b",
    r"\bone of none\b",
    r"\bno value reaches\b",
    r"\bwhat is no\b",
    r"\bwhich is no\b",
    r"\blost its store\b",
    r"\bsays nothing\b",
    r"\bof which there\b",
    r"\bis to have been\b",
]
"""Regular expressions of what no docstring, comment or message says."""
WRONG = re.compile("|".join(PHRASES), re.IGNORECASE)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a file: docstrings, messages and their parts, by line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def comments(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        _, mark, comment = line.partition("# ")
        if mark:
            yield number, comment


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE))
)
def test_text_is_plain(path: Path) -> None:
    wrong = [
        f"{path.name}:{line}: {found.group()}"
        for line, text in [*strings(path), *comments(path)]
        for found in WRONG.finditer(text)
    ]
    assert wrong == []


def test_docs_are_plain() -> None:
    root = Path(__file__).parents[2]
    pages = [root / "README.md", root / "CHANGELOG.md", *(root / "docs").rglob("*.md")]
    kept = {"decisions.md", "schema.md"}  # a record of the past; generated from released migrations
    wrong = [
        f"{page.name}: {found.group()}"
        for page in pages
        if page.name not in kept
        for found in WRONG.finditer(page.read_text())
    ]
    assert wrong == []
