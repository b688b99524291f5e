"""Schema methods of a store: print the schema, and extend it with your own scripts and views."""

import os
from collections.abc import Sequence
from pathlib import Path

from runbase.storage.types import Script, Step
from runbase.store.base import StoreBase
from runbase.typing import JsonObject

ScriptLike = str | os.PathLike[str] | tuple[str, str]


class SchemaMethods(StoreBase):
    """The schema of a store."""

    def schema(self) -> str:
        """Return the schema as SQL, with a comment for each column."""
        return self.reader.schema()

    def tables(self) -> list[JsonObject]:
        """Return all tables and views: kind, name, comment, and columns with type and comment."""
        return self.reader.objects()

    def setup(self, *scripts: ScriptLike, dry_run: bool = False) -> list[Step]:
        """Apply your own SQL scripts to the schema, each once, in order, in one transaction.

        Scripts can add tables, views, indexes, and columns of `experiments` and `runs`. Such columns
        appear in records, filters and data frames. A script is identified by its name and content; a
        script that was changed after it was applied is refused. A script that begins with
        ``-- dialect: sqlite`` (or postgres) is skipped on the other database.

        Args:
            scripts: files, folders (their `*.sql` files, sorted by name), or pairs (name, code).
            dry_run: apply everything, then roll back.

        Returns:
            The steps, and whether each was applied now.

        Raises:
            UsageError: a script does not exist, or was changed after it was applied.
            QueryError: a script failed (the message names it); none of them is applied.
        """
        return self.storage.setup(read_scripts(scripts, self.storage.dialect), dry_run=dry_run)

    def setup_status(self) -> list[JsonObject]:
        """Return all steps applied to the schema, runbase's own and yours, with checksum and time."""
        return self.storage.ledger()

    def create_view(self, name: str, metrics: Sequence[str]) -> dict[str, str]:
        """Create a wide view in the database: one row per run and step, one column per metric.

        The view includes new data automatically, and any SQL tool can read it. If a step has several
        points, the view shows the latest one.

        Args:
            name: the name of the view.
            metrics: the metrics. A column has the name of its metric, with `_` for each character
                that is not a letter or a digit.

        Returns:
            Column → metric.
        """
        return self.storage.create_view(name, list(metrics))

    def views(self) -> dict[str, dict[str, str]]:
        """Return the wide views: name → column → metric."""
        return self.reader.views()

    def drop_view(self, name: str) -> None:
        """Drop a wide view.

        Raises:
            NotFound: no view has this name.
        """
        self.storage.drop_view(name)


def read_scripts(scripts: Sequence[ScriptLike], dialect: str) -> list[Script]:
    """Return scripts with their code.

    If a folder has subfolders `sqlite` and `postgres`, the one of the dialect is read.
    """
    from runbase.errors import UsageError

    loaded: list[Script] = []
    for script in scripts:
        if isinstance(script, tuple):
            loaded.append(Script(*script))
            continue
        path = Path(script)
        if path.is_dir():
            inner = path / dialect if (path / dialect).is_dir() else path
            files = sorted(inner.glob("*.sql"))
            if not files:
                raise UsageError(f"no .sql file in {path}")
            loaded += [Script(file.name, file.read_text("utf-8")) for file in files]
        elif path.is_file():
            loaded.append(Script(path.name, path.read_text("utf-8")))
        else:
            raise UsageError(f"script {path} not found")
    names = [script.name for script in loaded]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two scripts have the name {name!r}; rename one, names must be unique"
            )
    return loaded
