"""The queue of trials and its results over HTTP, as a runner in another language uses them."""

from typing import Any

from runbase.space import Float
from runbase.store.store import Store

from .conftest import Http, on_both

PATH = "/api/experiments/tuning"


@on_both
def test_a_runner_that_speaks_only_http(http: Http, store: Store) -> None:
    http.json(
        "POST", "/api/experiments", {"name": "tuning", "objectives": {"loss": "min"}}, status=201
    )
    params = [{"lr": number / 20, "kind": "ab"[number % 2]} for number in range(20)]
    ids = http.json("POST", f"{PATH}/trials", {"params": params, "retries": 0}, status=201)["ids"]
    assert len(ids) == 20
    claimed: list[Any] = []
    while (found := http.json("POST", f"{PATH}/claim", {"runner": "curl"}))["run"] is not None:
        claimed.append(found["run"]["id"])
        path, attempt = f"/api/trials/{found['run']['id']}", found["attempt"]
        assert http.json("POST", f"{path}/renew", {"attempt": attempt}) == {"count": 1}
        loss = (found["run"]["params"]["lr"] - 0.5) ** 2
        end = {"attempt": attempt, "metrics": {"loss": loss}}
        if len(claimed) < 20:
            http.json("POST", f"{path}/finish", end)
            again = http.json("POST", f"{path}/finish", end, status=409)
            assert "the claim" in again["detail"]
    assert sorted(claimed) == sorted(ids)
    states = http.json("GET", f"{PATH}/trials")
    assert states["progress"] == {"COMPLETED": 19, "RUNNING": 1}
    assert states["runners"] == {"curl": 1}
    assert http.json("POST", f"/api/trials/{claimed[-1]}/cancel") == {"count": 1}
    assert http.json("POST", f"/api/trials/{claimed[-1]}/cancel") == {"count": 0}
    assert http.json("POST", f"/api/trials/{claimed[-1]}/requeue") == {"count": 1}
    results = http.json("GET", f"{PATH}/results")
    assert [trial["number"] for trial in results["trials"]] == list(range(1, 20))
    assert results["best"][-1][1] == 0
    assert results["front"] == [claimed[10]]
    assert results["importance"]["loss"]["lr"] > results["importance"]["loss"]["kind"]
    assert len(results["timeline"]) == 20
    assert http.json("GET", f"{PATH}/trials")["waiting"][0]["id"] == claimed[-1]


@on_both
def test_suggested_forked_and_merged(http: Http, store: Store) -> None:
    store.create_experiment("tuning", objectives={"loss": "min"}, space={"lr": Float(0.0, 1.0)})
    ids = http.json("POST", f"{PATH}/suggest", {"count": 3}, status=201)["ids"]
    assert [0 <= store.run(run).params["lr"] <= 1 for run in ids] == [True] * 3
    fork = http.json("POST", f"{PATH}/fork", {"name": "second"}, status=201)
    assert fork["parent_id"] == store.experiment("tuning").id
    merged = http.json("POST", f"{PATH}/merge", {"others": ["second"]})
    assert [experiment["name"] for experiment in merged] == ["second"]
    refused = http.json("POST", f"{PATH}/merge", {"others": ["missing"]}, status=404)
    assert "missing" in refused["detail"]


@on_both
def test_an_experiment_without_objectives_has_a_timeline(http: Http) -> None:
    results = http.json("GET", "/api/experiments/digits/results")
    assert (results["trials"], len(results["timeline"])) == ([], 3)
    more = http.json("GET", "/api/experiments/digits/results?metric=acc")
    assert list(more["importance"]) == ["acc"]


def test_numbers_that_no_database_stores_are_refused(http: Http) -> None:
    for body in ({"attempt": 2**70}, {"attempt": -1}):
        http.json("POST", "/api/trials/run-0/renew", body, status=400)
        http.json("POST", "/api/trials/run-0/finish", body, status=400)
    http.json(
        "POST", "/api/experiments/digits/trials", {"params": [{}], "priority": 2**40}, status=400
    )
