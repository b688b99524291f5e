"""Writes the pages of docs/reference that follow the code: `python tools/reference.py`.

A test fails while they are behind.
"""

import re
import textwrap
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click

from runbase.cli.app import build
from runbase.settings import DESCRIPTIONS
from runbase.storage.sql.comments import Described, described
from runbase.storage.sql.migrate import migrations

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def cli() -> str:
    """Every command with its arguments and options."""
    command: Any = typer.main.get_command(build())
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="runbase")
    text = text.replace("# `runbase`", "# Command line", 1)
    for name, each in command.commands.items():  # typer shortens the summaries
        summary = str(each.help).strip().splitlines()[0]
        text = re.sub(rf"^\* `{name}`: .*$", f"* `{name}`: {summary}", text, flags=re.MULTILINE)
    text = text.replace("```console\n$ ", "```text\n")
    text = re.sub(r"^Example: (.+)$", r"Example:\n\n    \1", text, flags=re.MULTILINE)
    text = re.sub(r"^Examples?:\n\n((?: {4}.+\n?)+)", _fenced, text, flags=re.MULTILINE)
    return (
        text.strip()
        + "\n\nEvery listing takes `--json`. Exit codes: 0 done, 1 failed, 2 wrong usage.\n"
    )


def _fenced(examples: re.Match[str]) -> str:
    body = textwrap.dedent(examples[1]).strip()
    return f"{examples[0].splitlines()[0]}\n\n```bash\n{body}\n```\n"


def settings() -> str:
    """Every setting, and where it may stand."""
    rows = "\n".join(f"| `{n}` | `RUNBASE_{n.upper()}` | {d} |" for n, d in DESCRIPTIONS.items())
    return f"""# Settings

The first of these that is set counts: arguments; environment variables; the nearest `runbase.toml`, or `[tool.runbase]` in
`pyproject.toml`, in the working folder or above; the user's own `~/.config/runbase/runbase.toml`;
defaults. `runbase doctor` prints each setting and where it came from.

| setting | variable | what it is |
|---|---|---|
{rows}

`RUNBASE_CAPTURE_ENV` names further environment variables to record, with commas. `RUNBASE_TOKEN` is the token of a
[server](../how-to/server.md), if the store is one; `runbase login` keeps it in a file instead.

```toml
# runbase.toml
home = "/data/runs"
experiment = "mnist"
tags = ["laptop"]
```
"""


def schema() -> str:
    """Every table and view, column by column, with both dialects' types."""
    here, there = _described("sqlite"), _described("postgres")
    parts = [
        "# Schema\n\n`runbase schema` prints this as SQL, as it stands in your database, with what you added. "
        "Each type is\nSQLite's, and PostgreSQL's where that is another. Times are `timestamptz`, or ISO-8601 text in "
        "UTC; in points\nthey are seconds since the epoch. Documents are `jsonb`, or JSON text; arrays are arrays, or "
        "JSON text.\n"
    ]
    for item in here:
        if item.column:
            continue
        kind = " (view)" if item.kind == "view" else ""
        parts.append(f"## {item.name}{kind}\n\n{item.comment}".rstrip() + "\n")
        if item.kind == "view":
            parts.append(f"```sql\ncreate view {item.name}{item.body};\n```\n")
            continue
        parts.append("| column | type | what it is |\n|---|---|---|")
        for column in here:
            if column.name == item.name and column.column:
                other = next(o for o in there if (o.name, o.column) == (column.name, column.column))
                types = (
                    column.type if other.type == column.type else f"{column.type} / {other.type}"
                )
                parts.append(f"| `{column.column}` | {types} | {column.comment} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _described(dialect: str) -> list[Described]:
    text = "\n".join(step.text for step in migrations(dialect))
    return [item for item in described(text) if item.name != "migrations" or item.column]


PAGES = {"cli.md": cli, "settings.md": settings, "schema.md": schema}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), "utf-8")
        print(f"wrote {REFERENCE / name}")


if __name__ == "__main__":
    main()
