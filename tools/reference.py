"""Writes the pages of docs/reference that follow the code: `python tools/reference.py`.

A test fails while they are behind.
"""

import re
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from runbase.cli.app import app
from runbase.settings import DESCRIPTIONS
from runbase.storage.sql.migrate import migrations

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def cli() -> str:
    """Every command with its arguments and options."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="runbase")
    text = text.replace("# `runbase`", "# Command line", 1)
    return (
        text.strip()
        + "\n\nEvery listing takes `--json`. Exit codes: 0 done, 1 failed, 2 wrong usage.\n"
    )


def settings() -> str:
    """Every setting, and where it may stand."""
    rows = "\n".join(f"| `{n}` | `RUNBASE_{n.upper()}` | {d} |" for n, d in DESCRIPTIONS.items())
    return f"""# Settings

First wins: arguments; environment variables; the nearest `runbase.toml`, or `[tool.runbase]` in
`pyproject.toml`, in the working folder or above; the user's own `~/.config/runbase/runbase.toml`;
defaults. `runbase doctor` prints each setting and where it came from.

| setting | variable | what it is |
|---|---|---|
{rows}

`RUNBASE_CAPTURE_ENV` names further environment variables to record, with commas.

```toml
# runbase.toml
home = "/data/runs"
experiment = "mnist"
tags = ["laptop"]
```
"""


def schema() -> str:
    """Every table and view, column by column."""
    parts = [
        "# Schema\n\n`runbase schema` prints this as SQL, as it stands in your database. Times are ISO-8601 "
        "text in UTC; in\npoints they are seconds since the epoch. Documents are JSON text.\n"
    ]
    text = "\n".join(step.text for step in migrations("sqlite"))
    for match in re.finditer(
        r"((?:^--[^\n]*\n)*)^create (table|view) (\w+)(.*?);$", text, re.MULTILINE | re.DOTALL
    ):
        comment, kind, name, body = match.groups()
        said = " ".join(line.lstrip("- ") for line in comment.splitlines())
        said = "" if "opens-with" in said else said
        parts.append(
            f"## {name}" + (" (view)" if kind == "view" else "") + f"\n\n{said}".rstrip() + "\n"
        )
        if kind == "view":
            parts.append(f"```sql\ncreate view {name}{body};\n```\n")
            continue
        rows = re.findall(
            r'^  "?(\w+)"? +(text|integer|real|numeric)\b(.*?),? +-- (.*)$', body, re.MULTILINE
        )
        parts.append("| column | type | what it is |\n|---|---|---|")
        parts += [f"| `{column}` | {kind} | {what} |" for column, kind, _, what in rows]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


PAGES = {"cli.md": cli, "settings.md": settings, "schema.md": schema}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), "utf-8")
        print(f"wrote {REFERENCE / name}")


if __name__ == "__main__":
    main()
