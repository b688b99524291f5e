"""The HTTP API: what it returns, how it pages, and how it refuses."""

import json
from typing import Any

import numpy as np
import pytest

from runbase.store.store import Store

from .conftest import Http, on_both


def test_the_description_of_the_api_is_complete(http: Http) -> None:
    described = http.json("GET", "/api/openapi.json")
    assert described["openapi"] == "3.1.0"
    for path in ("/api/table", "/api/curves", "/api/live", "/api/runs/{run}", "/api/tokens"):
        assert path in described["paths"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), f"{method} {path} has no description"


def test_health_and_who_am_i(http: Http) -> None:
    assert http.send("GET", "/health").data == b"OK"
    about = http.json("GET", "/api/server")
    assert about["permissions"] == ["admin", "log", "read", "write"]
    assert about["totals"]["runs"] == 4
    assert b"runbase_runs 4.0" in http.send("GET", "/metrics").data


@on_both
def test_pages_of_runs(http: Http) -> None:
    names, after = [], ""
    while True:
        page = http.json("GET", f"/api/runs?order_by=name&limit=3{after}")
        names += [run["name"] for run in page["runs"]]
        if page["cursor"] is None:
            break
        after = f"&after={page['cursor']}"
    assert names == ["run-0", "run-1", "run-2", "secret"]


@on_both
def test_a_table_sorts_filters_groups_and_counts(http: Http) -> None:
    body: dict[str, Any] = {
        "where": "params.lr > 0",
        "columns": ["name", "params.lr", 'metrics."val/loss".min'],
        "order_by": "params.lr desc",
        "limit": 1,
        "total": True,
    }
    table = http.json("POST", "/api/table", body)
    assert table["columns"]["name"] == ["run-2"]
    assert table["total"] == 2
    second = http.json("POST", "/api/table", {**body, "after": table["cursor"]})
    assert second["columns"]["params.lr"] == [0.1]
    groups = http.json(
        "POST", "/api/table", {"columns": ["metrics.acc"], "group_by": ["experiment"]}
    )
    assert groups["columns"]["count"] == [1, 3] or groups["columns"]["count"] == [3, 1]


def test_a_filter_that_is_wrong_says_where(http: Http) -> None:
    problem = http.json("GET", "/api/runs?where=statu%20%3D%201", status=400)
    assert problem["error"] == "FilterError"
    assert "did you mean 'status'" in problem["detail"]
    assert (
        http.send("GET", "/api/runs?where=statu%20%3D%201")
        .headers["Content-Type"]
        .startswith("application/problem+json")
    )


MISTAKES: list[tuple[str, str, Any, int]] = [
    ("GET", "/api/nothing", None, 404),
    ("GET", "/api/runs/nobody", None, 404),
    ("GET", "/api/runs?limit=0", None, 400),
    ("GET", "/api/audit?limit=-1807227459277570164391936", None, 400),
    ("GET", "/api/runs?after=rubbish", None, 400),
    ("POST", "/api/table", {"columms": []}, 400),
    ("POST", "/api/table", [1], 400),
    ("POST", "/api/table", b"{", 400),
    ("POST", "/api/curves", {}, 400),
    ("POST", "/api/curves", {"key": "acc", "columns": 10**9}, 400),
    ("POST", "/api/sql", {"query": "select nope"}, 400),
    ("POST", "/api/sql", {"query": "delete from runs"}, 400),
    ("POST", "/api/bulk", {"action": "delete"}, 400),
    ("DELETE", "/api/table", None, 405),
    ("POST", "/api/storage/nonsense", b"", 400),
    ("POST", "/api/storage/close", b"", 400),
    ("POST", "/api/tokens", {"name": "x", "permissions": ["everything"]}, 400),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), MISTAKES)
def test_a_mistake_of_the_caller_is_never_a_5xx(
    http: Http, method: str, path: str, body: Any, status: int
) -> None:
    answer = http.send(method, path, body)
    assert answer.status == status
    problem = json.loads(answer.data)
    assert problem["status"] == status
    assert problem["detail"]


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_no_mistake_is_a_5xx_on_postgres(http: Http) -> None:
    answers = [http.send(method, path, body).status for method, path, body, _ in MISTAKES]
    assert answers == [status for *_, status in MISTAKES]


@on_both
def test_a_run_is_changed_only_by_who_saw_its_state(http: Http, store: Store) -> None:
    run = store.run("run-1")
    seen = http.send("GET", f"/api/runs/{run.id}").headers["ETag"]
    path = f"/api/runs/{run.id}"
    changed = http.json("PATCH", path, {"notes": "good", "tags": {"best": "yes"}}, If_Match=seen)
    assert (changed["notes"], changed["tags"]) == ("good", {"best": "yes"})
    refused = http.json("PATCH", path, {"notes": "bad"}, status=409, If_Match=seen)
    assert refused["error"] == "Conflict"
    assert http.json("PATCH", path, {"tags": {"best": None}})["tags"] == {}
    assert store.run("run-1").notes == "good"


@on_both
def test_many_runs_are_tagged_deleted_and_restored(http: Http, store: Store) -> None:
    where = {"where": "params.lr >= 0", "action": "tag", "tags": {"seen": None}}
    assert http.json("POST", "/api/bulk", {**where, "dry_run": True}) == {"count": 3}
    assert store.count("'seen' in tags") == 0
    assert http.json("POST", "/api/bulk", where) == {"count": 3}
    assert store.count("'seen' in tags") == 3
    assert http.json("POST", "/api/bulk", {"action": "delete", "where": "'seen' in tags"}) == {
        "count": 3
    }
    assert store.count() == 1
    assert http.json("POST", "/api/bulk", {"action": "restore", "where": "params.lr = 0"}) == {
        "count": 1
    }


@on_both
def test_one_request_to_the_database_changes_many_runs(
    http: Http, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [store.create_run("many", name=f"m-{n}").id for n in range(200)]
    asked: list[str] = []
    for name in ("add", "remove", "whole_run", "find_run", "find_experiment", "tag_runs", "delete"):
        method = getattr(type(store.storage), name)

        def counted(self: Any, *args: Any, _name: str = name, _do: Any = method, **kw: Any) -> Any:
            asked.append(_name)
            return _do(self, *args, **kw)

        monkeypatch.setattr(type(store.storage), name, counted)
    change = {"ids": ids, "tags": {"seen": "yes"}}
    assert http.json("POST", "/api/bulk", {**change, "action": "tag"}) == {"count": 200}
    assert store.count("tags.seen = 'yes'") == 200
    assert http.json("POST", "/api/bulk", {**change, "action": "untag"}) == {"count": 200}
    assert store.count("'seen' in tags") == 0
    assert http.json("POST", "/api/bulk", {"ids": ids, "action": "delete"}) == {"count": 200}
    assert asked == ["tag_runs", "tag_runs", "delete"]
    gone = {"ids": [*ids[:1], "run-1"], "action": "tag", "tags": {"x": None}}
    assert http.json("POST", "/api/bulk", gone, status=404)["error"] == "InTrash"


@on_both
def test_keys_with_counts_and_ranges(http: Http) -> None:
    keys = {key["key"]: key for key in http.json("GET", "/api/keys?kind=metric")}
    assert keys["val/loss"]["runs"] == 4
    assert (keys["acc"]["least"], keys["acc"]["type"]) == (2999 / 3000, "float")
    assert [key["key"] for key in http.json("GET", "/api/keys?kind=metric&text=LOSS")] == [
        "val/loss"
    ]
    assert http.json("GET", "/api/keys?kind=param&experiment=other") == []


def curves(body: bytes) -> tuple[dict[str, Any], list[tuple[np.ndarray, np.ndarray]]]:
    assert body[:4] == b"RBC1"
    length = int.from_bytes(body[4:8], "little")
    header = json.loads(body[8 : 8 + length])
    place = (8 + length + 7) // 8 * 8
    arrays = []
    for curve in header["curves"]:
        kind = np.dtype("<f4" if curve["form"] == "grid" else "<f8")
        both = []
        if curve["first"] is not None:
            both.append(curve["first"] + curve["stride"] * np.arange(curve["shown"]))
        while len(both) < 2:
            size = curve["shown"] * kind.itemsize
            both.append(np.frombuffer(body[place : place + size], kind))
            place += (size + 7) // 8 * 8
        arrays.append((both[0], both[1]))
    assert place == len(body)
    return header, arrays


@on_both
def test_curves_are_points_where_there_are_few_and_else_a_grid(http: Http, store: Store) -> None:
    run = store.run("run-1")
    body = {"series": [[run.id, "acc"]], "columns": 100}
    header, ((low, high),) = curves(http.send("POST", "/api/curves", body).data)
    (curve,) = header["curves"]
    assert (curve["form"], curve["count"], header["from"], header["to"]) == ("grid", 3000, 0, 2999)
    assert low[0] == 0
    assert high[-1] == np.float32(2999 / 3000)
    zoom = {**body, "from": 1000, "to": 1099}
    header, ((x, y),) = curves(http.send("POST", "/api/curves", zoom).data)
    assert header["curves"][0]["form"] == "points"
    assert x.tolist() == list(range(1000, 1100))
    np.testing.assert_array_equal(y, np.arange(1000, 1100) / 3000)
    header, found = curves(
        http.send("POST", "/api/curves", {"key": "val/loss", "columns": 50}).data
    )
    assert len(found) == 4


@on_both
def test_documents_have_versions(http: Http) -> None:
    view = {"kind": "view", "name": "mine", "body": {"sort": "name"}}
    made = http.json("POST", "/api/documents", view, status=201)
    path = f"/api/documents/{made['id']}"
    changed = http.json("PUT", path, {**view, "body": {}, "version": 1})
    assert changed["version"] == 2
    refused = http.json("PUT", path, {**view, "version": 1}, status=409)
    assert "has version 2" in refused["detail"]
    assert [d["body"] for d in http.json("GET", "/api/documents?kind=view")] == [{}]
    assert http.json("DELETE", path) == {"count": 1}
    assert http.json("GET", path, status=404)["error"] == "NotFound"


@on_both
def test_a_query_ends_where_the_answer_is_full(http: Http) -> None:
    query = "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
    answer = http.json("POST", "/api/sql", {"query": query})  # the query itself has no end
    assert answer["rows"] == [[i] for i in range(1, 10_001)]
    assert answer["more"] is True


@on_both
def test_sql_reads_and_is_bounded(http: Http) -> None:
    body = {"query": "select name from runs where name = :name", "params": {"name": "secret"}}
    assert http.json("POST", "/api/sql", body) == {
        "columns": ["name"],
        "rows": [["secret"]],
        "more": False,
        "note": None,
    }
    for query in ("select * from server_tokens", "select * from SERVER_AUDIT"):
        assert http.json("POST", "/api/sql", {"query": query}, status=403)["error"] == "NotAllowed"
    assert any(table["name"] == "runs" for table in http.json("GET", "/api/schema"))


@on_both
def test_trials_compare_and_experiments(http: Http, store: Store) -> None:
    assert http.json("GET", "/api/experiments/digits/trials")["progress"] == {"COMPLETED": 3}
    compared = http.json("POST", "/api/compare", {"runs": ["run-0", "run-2"]})
    assert compared["params"] == {"lr": [0.0, 0.2]}
    assert compared["metrics"]["acc"] == [2999 / 3000] * 2
    changed = http.json("PATCH", "/api/experiments/digits", {"objectives": {"acc": "max"}})
    assert changed["objectives"] == [{"metric": "acc", "direction": "max", "weight": 1.0}]
    assert {e["name"] for e in http.json("GET", "/api/experiments")["experiments"]} == {
        "digits",
        "other",
    }
    made = http.json("POST", "/api/experiments", {"name": "new"}, status=201)
    assert http.json("DELETE", f"/api/experiments/{made['id']}")["count"] >= 0
    points = http.json("GET", "/api/runs/run-1/points?key=acc&start=10&end=12")
    assert points["steps"] == [10, 11, 12]


def test_an_error_in_a_filter_says_where(http: Http) -> None:
    refused = http.json("POST", "/api/table", {"where": "seconds > 1 and stauts = 'x'"}, status=400)
    assert refused["where"] == {
        "text": "seconds > 1 and stauts = 'x'",
        "start": 16,
        "end": 22,
        "suggestion": "status",
    }


@on_both
def test_curves_of_runs_leave_out_those_without_the_metric(http: Http, store: Store) -> None:
    ids = [store.run(name).id for name in ("run-2", "secret", "run-0")]
    header, _ = curves(http.send("POST", "/api/curves", {"runs": ids, "key": "acc"}).data)
    assert [curve["run"] for curve in header["curves"]] == [ids[0], ids[2]]
    header, none = curves(http.send("POST", "/api/curves", {"runs": ids, "key": 'a"b'}).data)
    assert none == []
