"""MLflow's client, unmodified, works against a server of runbase; the store has the same records as for native runs."""

import math
import time
from typing import Any

import pytest

import runbase
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from runbase.status import Status
from tests.integration.server.conftest import Http

mlflow: Any = pytest.importorskip("mlflow")
entities: Any = pytest.importorskip("mlflow.entities")
API = "/api/2.0/mlflow"


def names(runs: Any) -> list[str]:
    return [run.info.run_name for run in runs]


def test_a_script(url: str, store: runbase.Store) -> None:
    """The fluent functions; then the records of the store."""
    mlflow.set_experiment("digits")
    with mlflow.start_run(run_name="first", description="a note", tags={"team": "vision"}) as run:
        mlflow.log_params(
            {"lr": 0.1, "opt": "adam", "deep/er": 3, "zip": "007", "flag": True, "no": None}
        )
        mlflow.log_metrics({"loss": 1.0, "a/b": 2.0}, step=0)
        for step in range(1, 50):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metric("nan", float("nan"))
        mlflow.log_metric("inf", float("-inf"))
        mlflow.set_tags({"quotes": "50%_'\"", "stage": "test"})
        mlflow.delete_tag("stage")
        with mlflow.start_run(run_name="child", nested=True) as child:
            mlflow.log_metric("loss", 0.5)
    with pytest.raises(ValueError, match="no"), mlflow.start_run(run_name="broken"):
        raise ValueError("no")

    native = store.run(run.info.run_id)
    assert (native.name, native.experiment, native.status) == ("first", "digits", Status.COMPLETED)
    assert native.params == {
        "lr": 0.1, "opt": "adam", "deep/er": 3, "zip": "007", "flag": True, "no": None,
    }  # fmt: skip
    assert native.notes == "a note"
    assert native.tags["team"] == "vision"
    assert native.tags["quotes"] == "50%_'\""
    assert "stage" not in native.tags
    assert native.user
    assert native.args["script"]
    assert native.metrics["loss"].count == 50
    assert native.metrics["loss"].last == 1 / 50
    assert native.metrics["nan"].nans == 1
    assert native.metrics["inf"].last == -math.inf
    assert store.run(child.info.run_id).parent_id == run.info.run_id
    assert [run.name for run in store.runs("status = 'FAILED'")] == ["broken"]
    assert store.problems() == []

    again = mlflow.get_run(run.info.run_id)
    assert again.data.params == {
        "lr": "0.1", "opt": "adam", "deep/er": "3", "zip": "007", "flag": "True", "no": "None",
    }  # fmt: skip
    assert again.data.metrics["loss"] == 1 / 50
    assert math.isnan(again.data.metrics["nan"])
    assert again.data.metrics["inf"] == -math.inf
    assert again.data.tags["mlflow.runName"] == "first"
    assert again.data.tags["mlflow.note.content"] == "a note"
    assert again.data.tags["mlflow.source.name"]
    assert again.data.tags["mlflow.source.type"] == "LOCAL"
    assert again.info.status == "FINISHED"
    assert again.info.end_time >= again.info.start_time
    assert mlflow.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run.info.run_id
    assert mlflow.get_parent_run(child.info.run_id).info.run_id == run.info.run_id
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(p.step, p.value) for p in points] == [(n, 1 / (n + 1)) for n in range(50)]
    frame = mlflow.search_runs(experiment_names=["digits"], order_by=["metrics.loss ASC"])
    assert list(frame["tags.mlflow.runName"]) == ["first", "child", "broken"]


def test_experiments(client: Any, store: runbase.Store) -> None:
    assert client.get_experiment("0").name == "Default"
    first = client.create_experiment("first", tags={"a": "1", "mlflow.note.content": "about"})
    second = client.create_experiment("second", artifact_location="/tmp/elsewhere")
    assert int(first) > 0
    assert int(second) > 0
    assert store.experiment("first").description == "about"
    with pytest.raises(mlflow.MlflowException) as caught:
        client.create_experiment("first")
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"
    assert client.get_experiment_by_name("nothing") is None
    assert client.get_experiment(second).artifact_location == "/tmp/elsewhere"
    assert client.get_experiment(first).artifact_location == f"mlflow-artifacts:/{first}"
    client.set_experiment_tag(first, "b", "2")
    client.delete_experiment_tag(first, "a")
    assert client.get_experiment(first).tags == {"b": "2", "mlflow.note.content": "about"}
    client.rename_experiment(first, "renamed")
    assert client.get_experiment_by_name("renamed").experiment_id == first
    run = client.create_run(first)
    client.delete_experiment(first)
    assert client.get_experiment(first).lifecycle_stage == "deleted"
    assert client.get_experiment_by_name("renamed").lifecycle_stage == "deleted"
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(mlflow.MlflowException):
        client.create_run(first)
    client.restore_experiment(first)
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "active"

    runbase_made = store.create_experiment("native", tags={"b": "x"})

    def found(text: str, **options: Any) -> list[str]:
        return [e.name for e in client.search_experiments(filter_string=text, **options)]

    assert found("") == ["native", "second", "renamed", "Default"]
    assert found("name LIKE 're%'") == ["renamed"]
    assert found("name ILIKE 'RE%' AND tags.b = '2'") == ["renamed"]
    assert found("tags.b != '2'") == ["native"]
    assert found("", order_by=["name ASC"]) == ["Default", "native", "renamed", "second"]
    assert found("creation_time > 0", order_by=["last_update_time DESC"])[0] in {
        "native",
        "renamed",
    }
    client.delete_experiment(second)
    assert found("", view_type=entities.ViewType.DELETED_ONLY) == ["second"]
    assert len(found("", view_type=entities.ViewType.ALL)) == 4
    page = client.search_experiments(max_results=2)
    rest = client.search_experiments(max_results=2, page_token=page.token)
    assert [e.name for e in [*page, *rest]] == ["native", "renamed", "Default"]
    assert not rest.token
    number = client.get_experiment_by_name("native").experiment_id
    assert client.get_experiment(runbase_made.id).experiment_id == number
    with pytest.raises(mlflow.MlflowException, match="OR"):
        found("name = 'a' OR name = 'b'")


def test_runs(client: Any, store: runbase.Store) -> None:
    run = client.create_run("0", start_time=1_700_000_000_123, run_name="old", tags={"x": "y"})
    key = run.info.run_id
    assert (run.info.status, run.info.start_time) == ("RUNNING", 1_700_000_000_123)
    assert run.info.artifact_uri == f"mlflow-artifacts:/0/{key}/artifacts"
    client.set_terminated(key, "KILLED", end_time=1_700_000_009_456)
    again = client.get_run(key)
    assert (again.info.status, again.info.end_time) == ("KILLED", 1_700_000_009_456)
    assert store.run(key).status is Status.CANCELLED
    assert store.run(key).seconds == pytest.approx(9.333)
    client.update_run(key, status="RUNNING", name="new")
    assert client.get_run(key).info.run_name == "new"
    assert store.run(key).status is Status.RUNNING
    client.set_tag(key, "mlflow.runName", "newer")
    client.set_tag(key, "mlflow.note.content", "said")
    client.set_tag(key, "mlflow.loggedArtifacts", "[]")
    assert store.run(key).name == "newer"
    assert store.run(key).notes == "said"
    assert client.get_run(key).data.tags["mlflow.loggedArtifacts"] == "[]"
    client.delete_tag(key, "mlflow.note.content")
    assert "mlflow.note.content" not in client.get_run(key).data.tags
    with pytest.raises(mlflow.MlflowException) as caught:
        client.delete_tag(key, "not there")
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.set_terminated(key)
    client.delete_run(key)
    assert store.runs() == []
    with pytest.raises(mlflow.MlflowException, match="must be in the 'active' state"):
        client.log_metric(key, "loss", 1.0)
    client.restore_run(key)
    assert [run.id for run in store.runs()] == [key]
    with pytest.raises(mlflow.MlflowException) as caught:
        client.get_run("0" * 32)
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert caught.value.get_http_status_code() == 404


def test_params_do_not_change(client: Any) -> None:
    key = client.create_run("0").info.run_id
    client.log_param(key, "p", "1")
    client.log_param(key, "p", "1")
    with pytest.raises(mlflow.MlflowException, match="Changing param values is not allowed"):
        client.log_param(key, "p", "2")
    params = [entities.Param("p", "3"), entities.Param("q", "1")]
    metrics = [entities.Metric("loss", 1.0, 0, 0)]
    with pytest.raises(mlflow.MlflowException, match=r"\[\{'key': 'p', 'old_value': '1'"):
        client.log_batch(key, metrics=metrics, params=params)
    assert client.get_run(key).data.params == {"p": "1"}
    assert client.get_run(key).data.metrics == {}


def test_points_are_a_set(client: Any, store: runbase.Store) -> None:
    """A request that is repeated changes nothing; equal steps with other times or values are further points."""
    key = client.create_run("0").info.run_id
    batch = [
        entities.Metric("loss", 0.5, 1000, 1),
        entities.Metric("loss", 0.4, 2000, 2),
        entities.Metric("acc", 0.1, 1000, 1),
        entities.Metric("loss", 0.5, 1000, 1),
        entities.Metric("loss", float("nan"), 3000, 2),
    ]
    for _ in range(3):
        client.log_batch(key, metrics=batch)
    client.log_batch(key, metrics=[entities.Metric("loss", 0.9, 1000, 1), *batch])
    points = [(m.timestamp, m.step, m.value) for m in client.get_metric_history(key, "loss")]
    assert points[:3] == [(1000, 1, 0.5), (1000, 1, 0.9), (2000, 2, 0.4)]
    assert points[3][:2] == (3000, 2)
    assert len(points) == 4
    assert store.run(key).metrics["acc"].count == 1


def test_log_batch_limits(client: Any, http: Http) -> None:
    key = client.create_run("0").info.run_id

    def refused(body: dict[str, Any], status: int = 400) -> str:
        answer = http.json("POST", f"{API}/runs/log-batch", {"run_id": key, **body}, status)
        assert answer["error_code"] == "INVALID_PARAMETER_VALUE"
        return answer["message"]

    metric = {"key": "m", "value": 1, "timestamp": 0, "step": 0}
    assert "at most 1000 metrics. Got 1001 metrics." in refused({"metrics": [metric] * 1001})
    params = [{"key": f"p{n}", "value": "1"} for n in range(101)]
    assert "at most 100 params" in refused({"params": params})
    assert "in total" in refused({"metrics": [metric] * 950, "params": params[:100]})
    twice = [{"key": "p", "value": "1"}, {"key": "p", "value": "2"}]
    assert "Duplicate parameter keys" in refused({"params": twice})
    assert "metrics[0].name" in refused({"metrics": [{"value": 1, "timestamp": 0}]})
    assert "params[1].key" in refused(
        {"params": [{"key": "a", "value": "1"}, {"key": 7, "value": "1"}]}
    )
    assert "may only contain" in refused({"metrics": [{**metric, "key": "a;b"}]})
    assert "treated as files" in refused({"tags": [{"key": "../x", "value": ""}]})
    assert "maximum length of 250" in refused({"params": [{"key": "k" * 251, "value": ""}]})
    assert "Invalid value" in refused({"metrics": [{**metric, "value": "abc"}]})
    assert "Missing value" in http.json("POST", f"{API}/runs/log-batch", {}, 400)["message"]
    assert "JSON" in http.json("POST", f"{API}/runs/log-batch", b"{", 400)["message"]
    long = {
        "params": [{"key": "long", "value": "x" * 7000}],
        "tags": [{"key": "t", "value": "y" * 9000}],
    }
    http.json("POST", f"{API}/runs/log-batch", {"run_id": key, **long})
    data = client.get_run(key).data
    assert len(data.params["long"]) == 6000
    assert len(data.tags["t"]) == 8000


@pytest.fixture
def searched(client: Any) -> list[str]:
    """Four runs with different values; returns their ids."""
    ids: list[str] = []
    for n, loss in enumerate([0.3, 0.1, float("nan"), None]):
        run = client.create_run("0", start_time=1_700_000_000_000 + n, run_name=f"run-{n}")
        key = run.info.run_id
        client.log_param(key, "lr", str(n / 10))
        client.log_param(key, "a b", "Adam" if n % 2 else "sgd")
        client.set_tag(key, "mlflow.user", f"user{n}")
        client.set_tag(key, "My.Tag", f"it's {n}%")
        if n == 0:
            client.log_param(key, "flag", "True")
            client.set_tag(key, "only", "x")
        if n == 1:
            client.log_param(key, "flag", "None")
            client.set_terminated(key, end_time=1_700_000_001_000)
        if loss is not None:
            client.log_metric(key, "val/loss", loss)
        ids.append(key)
    return ids


FILTERS = {
    'metrics."val/loss" > 0.2': [0],
    "metrics.`val/loss` >= 0.1": [0, 1],
    "metric.val/loss = 0.3": [0],
    "metrics.val/loss != 0.3": [1],
    "metrics.val/loss < 1e-1 ": [],
    "metrics.val/loss <= 0.1 and params.lr = '0.1'": [1],
    "params.lr != '0.1'": [0, 2, 3],
    "parameters.`a b` LIKE 'A%'": [1, 3],
    "params.`a b` like 'a%'": [],
    "param.\"a b\" ILIKE 'a_am'": [1, 3],
    "params.flag = 'True'": [0],
    "params.flag = 'None'": [1],
    "params.flag != 'True'": [1],
    "params.flag IS NULL": [2, 3],
    "params.flag IS NOT NULL": [0, 1],
    "tags.only IS NULL": [1, 2, 3],
    "tag.only IS NOT NULL": [0],
    "tags.only != 'y'": [0],
    "tags.only != 'x'": [],
    "tags.My.Tag = 'it''s 2%'": [2],
    "tags.`My.Tag` LIKE '%s 3%'": [3],
    'tags."My.Tag" = "it\'s 1%"': [1],
    "tags.mlflow.user = 'user1'": [1],
    "tags.mlflow.runName = 'run-3'": [3],
    "attributes.status = 'FINISHED'": [1],
    "attr.status != 'FINISHED'": [0, 2, 3],
    "status LIKE 'RUN%'": [0, 2, 3],
    "run_name = 'run-2'": [2],
    "attributes.`Run name` ILIKE 'RUN-_'": [0, 1, 2, 3],
    "'bad": None,
    "user_id = 'user3'": [3],
    "start_time > 1700000000001": [2, 3],
    "attributes.start_time >= 1700000000001 AND start_time < 1700000000003": [1, 2],
    "start_time = 1700000000002": [2],
    "start_time != 1700000000002": [0, 1, 3],
    "created <= 1700000000000": [0],
    "end_time >= 1700000001000": [1],
    "end_time < 1700000001000": [],
    "artifact_uri LIKE 'mlflow-artifacts:/0/%'": [0, 1, 2, 3],
    "params.lr = 0.1": None,
    "metrics.loss > '1'": None,
    "params.lr > '0.1'": None,
    "attributes.nothing = 'x'": None,
    "params.lr = '0.1' OR params.lr = '0.2'": None,
    "(params.lr = '0.1')": None,
    "params.lr": None,
    "tags.x = 'a' AND": None,
    "": [0, 1, 2, 3],
}  # fmt: skip


def test_search_filters(client: Any, searched: list[str]) -> None:
    for text, expected in FILTERS.items():
        if expected is None:
            with pytest.raises(mlflow.MlflowException) as caught:
                client.search_runs(["0"], text)
            assert caught.value.error_code == "INVALID_PARAMETER_VALUE", text
        else:
            for view in (entities.ViewType.ACTIVE_ONLY, entities.ViewType.ALL):
                found = client.search_runs(["0"], text, view)
                assert [searched.index(r.info.run_id) for r in reversed(found)] == expected, text
    one, two = searched[:2]
    assert names(client.search_runs(["0"], f"run_id IN ('{one}', '{two}')")) == ["run-1", "run-0"]
    assert names(client.search_runs(["0"], f"attributes.run_id NOT IN ('{one}','{two}')")) == [
        "run-3", "run-2",
    ]  # fmt: skip
    assert names(client.search_runs(["0"], f"run_id = '{two}'")) == ["run-1"]


def test_search_order_and_pages(client: Any, searched: list[str]) -> None:
    def ordered(*keys: str, **options: Any) -> list[str]:
        return [
            name[-1] for name in names(client.search_runs(["0"], order_by=list(keys), **options))
        ]

    for view in (entities.ViewType.ACTIVE_ONLY, entities.ViewType.ALL):
        options = {"run_view_type": view}
        assert ordered("metrics.`val/loss` ASC", **options) == ["1", "0", "2", "3"]
        assert ordered("metrics.`val/loss` DESC", **options) == ["0", "1", "2", "3"]
        assert ordered("params.lr desc", **options) == ["3", "2", "1", "0"]
        assert ordered("tags.only", "start_time ASC", **options) == ["0", "1", "2", "3"]
        assert ordered("attributes.end_time DESC", **options)[0] == "1"
        assert ordered("params.`a b`", "run_name DESC", **options) == ["3", "1", "2", "0"]
        assert ordered(**options) == ["3", "2", "1", "0"]
        found: list[str] = []
        token = None
        while True:
            page = client.search_runs(
                ["0"],
                order_by=["metrics.`val/loss` DESC"],
                max_results=1,
                page_token=token,
                **options,
            )
            found += names(page)
            token = page.token
            if not token:
                break
        assert found == ["run-0", "run-1", "run-2", "run-3"]
    with pytest.raises(mlflow.MlflowException):
        ordered("metrics.a", "metrics.a DESC")
    with pytest.raises(mlflow.MlflowException):
        client.search_runs(["0"], page_token="nonsense")
    with pytest.raises(mlflow.MlflowException):
        client.search_runs(["0"], max_results=50_001)
    client.delete_run(searched[1])
    assert names(client.search_runs(["0"], "params.lr != 'x'")) == ["run-3", "run-2", "run-0"]
    deleted = entities.ViewType.DELETED_ONLY
    assert names(client.search_runs(["0"], "", deleted)) == ["run-1"]
    assert len(client.search_runs(["0"], "", entities.ViewType.ALL)) == 4


def test_native_runs_are_runs_of_mlflow(client: Any, store: runbase.Store) -> None:
    with runbase.start_run(
        "native", home=store.home, store=store.address, params={"lr": 0.1}
    ) as run:
        for step in range(100):
            run.log({"loss": 1 / (step + 1)}, step)
    store.sync()
    number = client.get_experiment_by_name("native").experiment_id
    found = client.search_runs([number], "metrics.loss < 0.1 and params.lr = '0.1'")
    assert [r.info.run_id for r in found] == [run.id]
    assert len(client.get_metric_history(run.id, "loss")) == 100
    client.log_metric(run.id, "later", 1.0, step=3)
    client.set_tag(run.id, "good", "yes")
    native = store.run(run.id)
    assert native.metrics["later"].last == 1.0
    assert native.tags["good"] == "yes"
    assert native.status is Status.COMPLETED


def test_bulk_history(client: Any, http: Http) -> None:
    keys = [client.create_run("0").info.run_id for _ in range(2)]
    for key in keys:
        client.log_batch(key, [entities.Metric("loss", n / 7, 1000 + n, n) for n in range(1000)])
    query = "&".join(f"run_ids={key}" for key in keys)
    path = f"{API}/metrics/get-history-bulk-interval?{query}&metric_key=loss"
    found = http.json("GET", f"{path}&max_results=10")["metrics"]
    assert len(found) == 20
    assert {found[0]["step"], found[9]["step"]} == {0, 999}
    found = http.json("GET", f"{path}&start_step=5&end_step=7")["metrics"]
    assert [(p["run_id"], p["step"]) for p in found] == [(k, n) for k in keys for n in (5, 6, 7)]
    http.json("GET", f"{path}&start_step=5", status=400)
    query = "&".join(f"run_id={key}" for key in keys)
    path = f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{query}&metric_key=loss"
    assert len(http.json("GET", path)["metrics"]) == 2000
    history = f"{API}/metrics/get-history?run_id={keys[0]}&metric_key=loss&max_results=600"
    first = http.json("GET", history)
    rest = http.json("GET", f"{history}&page_token={first['next_page_token']}")
    assert len(first["metrics"]) + len(rest["metrics"]) == 1000
    assert "next_page_token" not in rest


def test_many_clients_at_once(client: Any, store: runbase.Store) -> None:
    """Requests of two servers for one run: each is stored once."""
    from concurrent.futures import ThreadPoolExecutor

    key = client.create_run("0").info.run_id
    with serving(store, ServerOptions(port=0, ingest=False)) as other:
        clients = [client, mlflow.MlflowClient(other)]

        def send(n: int) -> None:
            clients[n % 2].log_batch(key, [entities.Metric("loss", n, n, n)])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, [*range(60), *range(60)]))
    assert [m.step for m in client.get_metric_history(key, "loss")] == list(range(60))
    assert store.run(key).metrics["loss"].count == 60
    assert store.problems() == []


def test_a_quiet_run_is_not_lost(client: Any, store: runbase.Store) -> None:
    long_ago = int(1000 * (time.time() - 3600))
    key = client.create_run("0", start_time=long_ago).info.run_id
    client.log_batch(key, [entities.Metric("loss", 1.0, long_ago, 0)])
    store.sync()
    assert store.run(key).status is Status.RUNNING
    assert client.get_run(key).info.status == "RUNNING"


def test_about_the_server(http: Http) -> None:
    assert http.send("GET", "/health").data == b"OK"
    assert http.send("GET", "/version").status == 200
    assert http.json("GET", "/api/3.0/mlflow/server-info")["store_type"] == "SqlStore"
    for method, path in (
        ("GET", f"{API}/nothing/here"),
        ("POST", "/api/3.0/mlflow/scorers/register"),
    ):
        assert http.json(method, path, status=404)["error_code"] == "ENDPOINT_NOT_FOUND"


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_tokens(store: runbase.Store) -> None:
    from runbase.server.routes.tokens import NewToken, make

    open_to_all = store.create_experiment("open")
    secret = store.create_experiment("secret")
    token = make(
        store, NewToken(name="t", permissions=["read", "log"], experiments=[open_to_all.id])
    ).token
    with serving(store, ServerOptions(port=0, auth="tokens", ingest=False)) as url:
        denied = Http(url).json("POST", f"{API}/runs/search", {}, 401)
        assert denied["error_code"] == "UNAUTHENTICATED"
        address = url.replace("http://", f"http://anyone:{token}@")
        client = mlflow.MlflowClient(address)
        number = client.get_experiment_by_name("open").experiment_id
        run = client.create_run(number)
        client.log_metric(run.info.run_id, "loss", 1.0)
        assert client.get_experiment_by_name("secret") is None
        assert [e.name for e in client.search_experiments()] == ["open"]
        guarded = Http(url, token)
        body = {"experiment_id": secret.id}
        answer = guarded.json("POST", f"{API}/runs/create", body, 403)
        assert answer["error_code"] == "PERMISSION_DENIED"
        guarded.json("POST", f"{API}/runs/delete", {"run_id": run.info.run_id}, 403)
    with serving(store, ServerOptions(port=0, mlflow=False, ingest=False)) as url:
        assert Http(url).send("GET", f"{API}/experiments/get?experiment_id=0").status == 404
