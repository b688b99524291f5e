"""Every recipe of the SQL page, on both databases, against answers worked out by hand."""

import datetime as dt
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.events import ArtifactLogged, Ended, Params, Started
from runbase.status import Status
from runbase.testing.contract import Journal, points

PAGE = Path(__file__).parents[2] / "docs/how-to/query-with-sql.md"
MONDAY = dt.datetime(2026, 11, 16, 9, tzinfo=dt.UTC).timestamp()
DAY = 86400.0
NAN = math.nan
# Experiment, name, day after that Monday, parameters, accuracies, losses, end, bytes of its model.
RUNS: list[tuple[str, str, float, dict[str, Any], list[float], list[float], Status, int]] = [
    ("digits", "a1", 0, {"optimizer": "adam", "lr": 0.1}, [0.5, 0.8], [0.5, 0.09], Status.COMPLETED, 10),
    ("digits", "s1", 1, {"optimizer": "sgd", "lr": 0.1}, [0.4, 0.6], [0.9, 0.2], Status.COMPLETED, 20),
    ("digits", "a2", 6, {"optimizer": "adam", "lr": 0.2}, [0.9, 0.7], [0.05, NAN], Status.COMPLETED, 0),
    ("digits", "s2", 7, {"optimizer": "sgd", "lr": 0.2}, [0.3, 0.5], [0.7, NAN], Status.FAILED, 0),
    ("words", "w1", 7, {"lr": 0.2}, [0.1, 0.2], [9.0, 8.0, 0.01], Status.COMPLETED, 500),
    ("words", "w2", -1, {"lr": 0.3}, [0.15], [9.0], Status.FAILED, 0),
]  # fmt: skip


def recipes() -> dict[str, list[str]]:
    """The queries below each heading."""
    found: dict[str, list[str]] = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        found[part.splitlines()[0]] = re.findall(r"```sql\n(.*?)```", part, re.DOTALL)
    return found


def fill(store: runbase.Store) -> runbase.Store:
    for experiment, name, day, params, accuracy, loss, status, size in RUNS:
        at = MONDAY + day * DAY
        journal = Journal(store.storage, experiment=experiment, name=name, time=at)
        times = [at + 10 * (n + 1) for n in range(3)]
        model = ArtifactLogged(time=at, path="m", kind="model", uri="files/m", size=size)
        error = {"type": "ValueError"} if status is Status.FAILED else None
        journal.write(
            Started(time=at),
            Params(time=at, values=params),
            points(accuracy, key="val/accuracy", times=times[: len(accuracy)]),
            points(loss, key="train/loss", times=times[: len(loss)]),
            points([params["lr"]], key="val/loss", times=times[:1]),
            *([model] if size else []),
            Ended(time=at + 1800, status=status, error=error),
        )
    return store


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[runbase.Store]:
    if request.param == "sqlite":
        with runbase.open(tmp_path_factory.mktemp("recipes") / "r.db", sync=False) as opened:
            yield fill(opened)
        return
    import psycopg

    server: str = request.getfixturevalue("postgres_server")
    separator = "&" if "?" in server else "?"
    with runbase.open(f"{server}{separator}schema=recipes", sync=False) as opened:
        yield fill(opened)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("drop schema recipes cascade")


WEEKS = [("2026-11-23", 2, 1, 1.0), ("2026-11-16", 3, 0, 1.5), ("2026-11-09", 1, 1, 0.5)]
ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    "The best run of each experiment": [("digits", "a2", 0.9), ("words", "w1", 0.2)],
    "The learning curves of the top five": [
        ("a2", 0, 0.9),
        ("a2", 1, 0.7),
        ("a1", 0, 0.5),
        ("a1", 1, 0.8),
        ("s1", 0, 0.4),
        ("s1", 1, 0.6),
        ("s2", 0, 0.3),
        ("s2", 1, 0.5),
        ("w1", 0, 0.1),
        ("w1", 1, 0.2),
    ],
    "Time to reach a target": [("a2", 0, 0.0), ("a1", 1, 10.0), ("w1", 2, 20.0)],
    "Runs with NaN": [("digits", "a2", "train/loss", 1, 2), ("digits", "s2", "train/loss", 1, 2)],
    "Disk by experiment": [("words", 2, 500, 9), ("digits", 4, 30, 20)],
    "Why runs fail": [("ValueError", 2, "w2")],
}


def plain(rows: Any) -> list[tuple[Any, ...]]:
    """Rows with numbers as floats and dates as text, whatever the database's types."""
    return [
        tuple(
            str(v) if isinstance(v, dt.date) else v if isinstance(v, str) else float(v) for v in row
        )
        for row in rows
    ]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_recipe_answers(store: runbase.Store, name: str) -> None:
    (query,) = recipes()[name]
    answer = plain(store.sql(query))
    if name == "Runs with NaN":
        answer.sort()
    assert answer == plain(ANSWERS[name])


def test_what_a_parameter_is_worth(store: runbase.Store) -> None:
    values, pairs = recipes()["What a parameter is worth"]
    ((adam, n, mean, best), (sgd, *rest)) = plain(store.sql(values))
    assert (adam, n, best) == ("adam", 2, 0.9)
    assert mean == pytest.approx(0.85)
    assert sgd == "sgd"
    assert rest == [2, pytest.approx(0.55), 0.6]
    (gain, loss) = plain(store.sql(pairs))
    assert gain == ("adam", "sgd", 2, pytest.approx((0.2 + 0.4) / 2))
    assert loss == ("sgd", "adam", 2, pytest.approx(-0.3))


def test_activity_by_week(store: runbase.Store) -> None:
    for query in recipes()["Activity by week"]:
        if ("-- SQLite" in query) == store.url.startswith("sqlite"):
            assert plain(store.sql(query)) == plain(WEEKS)


def test_parameters_beside_results(store: runbase.Store) -> None:
    (query,) = recipes()["Parameters beside results"]
    rows = [tuple(map(str, row)) for row in store.sql(query)]
    assert len(rows) == 6
    assert rows[0][1:] == ("0.1", "0.1")


def test_every_recipe_is_tested() -> None:
    others = {"What a parameter is worth", "Activity by week", "Parameters beside results"}
    assert set(recipes()) == {*ANSWERS, *others}
