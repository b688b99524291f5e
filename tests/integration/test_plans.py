"""The query plan of each named statement: none reads a whole table that grows with the number of runs, but those listed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runbase.storage.open import open_storage
from runbase.storage.sql.statements import bound, statements

GROWING = {
    "alerts",
    "archives",
    "artifact_uses",
    "artifacts",
    "attributes",
    "blocks",
    "changes",
    "configs",
    "experiments",
    "groups",
    "journals",
    "outlines",
    "params",
    "problems",
    "purged",
    "records",
    "run_links",
    "run_tags",
    "runs",
    "samples",
    "scans",
    "series",
    "server_alert_deliveries",
    "server_alert_seen",
    "status_history",
    "synced_folders",
    "unoutlined",
}
ALLOWED = {
    "alert_deliveries": "the newest of all deliveries; limited",
    "archived_files": "for `gc --files`; one row for each archived run",
    "archived_totals": "for `doctor --sizes`",
    "points_to_archive": "for `doctor --sizes`",
    "all_unoutlined": "for `runbase sync` after an upgrade; empty afterwards",
    "experiment_sizes": "for `doctor --sizes`",
    "experiments_of_word": "experiments of any name or id prefix; few",
    "keys_of_params": "the column chooser lists the keys of all runs",
    "keys_of_series": "the column chooser lists the keys of all runs",
    "keys_of_tags": "the column chooser lists the keys of all runs",
    "journal_totals": "for `runbase sync` and `doctor`",
    "names_of_experiments": "suggestions in the message that a name is unknown; limited",
    "names_of_runs": "suggestions in the message that a name is unknown; limited",
    "newest_problems": "the newest of all problems; limited",
    "run_sizes": "for `doctor --sizes`",
    "scans_below": "the folders of a scan, each of which is looked at",
    "series_without_their_blocks": "for `doctor`",
    "synced_folders": "read once an hour and home; see `ingest/sync.py`",
    "totals": "for `runbase sync` and `doctor`",
}


@pytest.fixture(scope="module")
def postgres_connection(postgres_server: str) -> Iterator[Any]:
    url = f"{postgres_server}{'&' if '?' in postgres_server else '?'}schema=plans"
    storage = open_storage(url)
    with storage.driver.connect() as connection:  # type: ignore[attr-defined]
        # A plan that still scans has no index that it could use.
        connection.execute("set enable_seqscan = off")
        yield connection
    storage.close()


@pytest.mark.parametrize("name", sorted(statements("sqlite")))
def test_sqlite_scans_no_growing_table(name: str, tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "plans.db"))
    statement = statements("sqlite")[name]
    with storage.driver.read() as session:  # type: ignore[attr-defined]
        text = f"explain query plan {statement.text}"
        plan = session.query(text, dict.fromkeys(statement.parameters))
        aliases = dict(re.findall(r"(?:from|join)\s+(\w+)\s+(\w+)", statement.text))
    storage.close()
    aliases = {alias: table for table, alias in aliases.items()}
    scanned = {m[1] for row in plan if (m := re.match(r"SCAN (\w+)", row[3]))}
    found = {aliases.get(table, table) for table in scanned} & GROWING
    assert not found or name in ALLOWED, (found, [row[3] for row in plan])


@pytest.mark.parametrize("name", sorted(statements("postgres")))
def test_postgres_scans_no_growing_table(name: str, postgres_connection: Any) -> None:
    statement = statements("postgres")[name]
    names = sorted(statement.parameters)
    text = bound(statement.text, lambda word: f"${names.index(word) + 1}").strip().rstrip(";")
    connection: psycopg.Connection[Any] = postgres_connection
    query = f"explain (generic_plan, costs off, format json) {text}"
    ((plan,),) = connection.execute(query).fetchall()  # type: ignore[arg-type]
    connection.rollback()
    connection.execute("set enable_seqscan = off")
    assert not set(scans(plan[0]["Plan"])) & GROWING or name in ALLOWED, plan


def scans(node: dict[str, Any]) -> Iterator[str]:
    """The tables that a plan reads whole."""
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"]
    for child in node.get("Plans", []):
        yield from scans(child)


def test_each_exception_is_a_statement() -> None:
    assert set(ALLOWED) <= set(statements("sqlite"))
