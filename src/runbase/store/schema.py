"""The schema: as it stands, and as users extend it by scripts and views of their own."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runbase.storage.types import Script, Step
from runbase.store.base import StoreBase

ScriptLike = str | os.PathLike[str] | tuple[str, str]


class SchemaMethods(StoreBase):
    """A store's schema."""

    def schema(self) -> str:
        """The schema as SQL, with what each column means."""
        return self.storage.schema()

    def tables(self) -> list[dict[str, Any]]:
        """Each table and view: kind, name, comment, and its columns with type and comment."""
        return self.storage.objects()

    def setup(self, *scripts: ScriptLike, dry_run: bool = False) -> list[Step]:
        """Apply SQL scripts of your own to the schema, each once, in order, in one transaction.

        Scripts are files, folders (their `*.sql` files by name), or (name, code) pairs. They may add
        tables, views, indexes, and columns of `experiments` and `runs`, which then show up in records,
        filters and frames. A script is remembered by its name and content: one that was changed after
        it was applied is refused. A script that begins with ``-- dialect: sqlite`` (or postgres) is
        passed over on the other one. `dry_run` tries everything and takes it back.

        Raises UsageError for a changed or missing script, QueryError (with the script's name) for
        one that fails, in which case none of them is applied.
        """
        return self.storage.setup(read_scripts(scripts, self.storage.dialect), dry_run=dry_run)

    def setup_status(self) -> list[dict[str, Any]]:
        """The ledger: every step of the schema, runbase's own and yours, with checksum and time."""
        return self.storage.ledger()

    def create_view(self, name: str, metrics: Sequence[str]) -> dict[str, str]:
        """A wide view in the database: one row per run and step, one column per metric.

        It stays right as data grows, and any SQL tool can read it. Columns are named after the metrics,
        with `_` for what is no letter or digit; the names are returned: column → metric. Of several
        points at one step the latest is shown.
        """
        return self.storage.create_view(name, list(metrics))

    def views(self) -> dict[str, dict[str, str]]:
        """The wide views there are: name → column → metric."""
        return self.storage.views()

    def drop_view(self, name: str) -> None:
        """Drop a wide view; NotFound where there is none of that name."""
        self.storage.drop_view(name)


def read_scripts(scripts: Sequence[ScriptLike], dialect: str) -> list[Script]:
    """Scripts with their code. A folder with folders `sqlite` and `postgres` has one of them read."""
    from runbase.errors import UsageError

    found: list[Script] = []
    for script in scripts:
        if isinstance(script, tuple):
            found.append(Script(*script))
            continue
        path = Path(script)
        if path.is_dir():
            inner = path / dialect if (path / dialect).is_dir() else path
            files = sorted(inner.glob("*.sql"))
            if not files:
                raise UsageError(f"there is no .sql file in {path}")
            found += [Script(file.name, file.read_text("utf-8")) for file in files]
        elif path.is_file():
            found.append(Script(path.name, path.read_text("utf-8")))
        else:
            raise UsageError(f"there is no script {path}")
    names = [script.name for script in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two scripts are named {name!r}; scripts are remembered by name")
    return found
