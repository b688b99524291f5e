"""Files and models that MLflow's client logs are artifacts of the runs, and come back as they were."""

import http.client
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import runbase
from tests.integration.server.conftest import Http

mlflow: Any = pytest.importorskip("mlflow")
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


def raw(url: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send a request without any change of its path."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request(method, path, body)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_files(client: Any, store: runbase.Store, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "a b%.txt").write_text("one")
    (folder / "below" / "data.bin").write_bytes(bytes(range(256)) * 20_000)
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), "files")
        mlflow.log_text("deep", "checkpoint-6/artifacts/checkpoint-6/deep.txt")
        mlflow.log_text("said", "said.txt")
        mlflow.log_dict({"a": 1}, "conf/x.json")
    key = run.info.run_id
    found = {artifact.path: artifact for artifact in store.artifacts(key)}
    deep = "checkpoint-6/artifacts/checkpoint-6/deep.txt"
    assert set(found) == {"files/a b%.txt", "files/below/data.bin", "said.txt", "conf/x.json", deep}
    assert mlflow.artifacts.load_text(f"runs:/{key}/{deep}") == "deep"
    assert found["files/below/data.bin"].size == 5_120_000
    assert store.download(found["said.txt"]).read_text() == "said"
    assert store.problems() == []

    listed = [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(key)]
    assert listed == [
        ("checkpoint-6", True, None),
        ("conf", True, None),
        ("files", True, None),
        ("said.txt", False, 4),
    ]
    assert [f.path for f in client.list_artifacts(key, "files")] == [
        "files/a b%.txt",
        "files/below",
    ]
    assert client.list_artifacts(key, "nothing") == []
    got = Path(client.download_artifacts(key, "files", str(tmp_path)))
    assert (got / "below" / "data.bin").read_bytes() == (folder / "below" / "data.bin").read_bytes()
    assert (got / "a b%.txt").read_text() == "one"
    assert mlflow.artifacts.load_dict(f"runs:/{key}/conf/x.json") == {"a": 1}
    with mlflow.start_run(key):
        mlflow.log_text("again", "said.txt")
    assert mlflow.artifacts.load_text(f"runs:/{key}/said.txt") == "again"
    with pytest.raises(Exception, match="nothing"):
        client.download_artifacts(key, "nothing.txt")
    store.sync()
    assert store.run(key).name


def test_files_over_http(client: Any, http: Http, url: str, store: runbase.Store) -> None:
    key = client.create_run("0").info.run_id
    root = f"{PROXY}/0/{key}/artifacts"
    assert http.json("PUT", f"{root}/page.html", b"<script>") == {}
    answer = http.send("GET", f"{root}/page.html")
    assert answer.data == b"<script>"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "page.html" in answer.headers["Content-Disposition"]
    assert answer.headers["Content-Type"].startswith("text/plain")
    http.json("PUT", f"{root}/d/e/f.txt", b"")
    assert http.json("GET", f"{PROXY}?path=0/{key}/artifacts/d") == {
        "files": [{"path": "e", "is_dir": True}]
    }
    listed = http.json("GET", f"/api/2.0/mlflow/artifacts/list?run_id={key}&path=d/e")
    assert listed["files"] == [{"path": "d/e/f.txt", "is_dir": False, "file_size": 0}]
    assert http.send("GET", f"/get-artifact?run_id={key}&path=page.html").data == b"<script>"
    http.json("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={key}&path=up.txt", b"up")
    assert http.send("GET", f"{root}/up.txt").data == b"up"
    big = bytes(70 * 2**20)
    http.json("PUT", f"{root}/big", big)
    assert http.send("GET", f"{root}/big").data == big
    http.json("DELETE", f"{root}/d")
    http.json("DELETE", f"{root}/big")
    assert (
        http.json("GET", f"{root}/d/e/f.txt", status=404)["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    )
    names = [f["path"] for f in http.json("GET", f"{PROXY}?path=0/{key}/artifacts")["files"]]
    assert names == ["page.html", "up.txt"]
    assert not list((store.home or Path()).rglob("*.part"))
    assert http.json("GET", f"{PROXY}?path=0/{'0' * 32}/artifacts") == {"files": []}


def test_paths_stay_inside(client: Any, url: str, tmp_path: Path) -> None:
    key = client.create_run("0").info.run_id
    (tmp_path / "secret.txt").write_text("secret")
    root = f"{PROXY}/0/{key}/artifacts"
    bad = [
        "../../secret.txt", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.txt", "a/..%2f..%2fsecret.txt", "%252e%252e/x",
        "%25252e%25252e%25252fx", "a%5Cb", "..%5c..%5cx", "a%23b", "file:%2f%2f%2fetc/passwd",
    ]  # fmt: skip
    for path in bad:
        for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None)):
            status, text = raw(url, method, f"{root}/{path}", body)
            assert status in {400, 404}, (method, path, text)
            assert b"secret" not in text or b"message" in text
    assert raw(url, "PUT", f"{root}/%2e%2e/%2e%2e/x", b"x")[0] == 400
    assert b"Invalid path" in raw(url, "GET", f"{root}/%252e%252e/x")[1]
    assert raw(url, "GET", f"{PROXY}?path=0/{key}/artifacts/..%2f..")[0] == 400
    assert raw(url, "PUT", f"{PROXY}/elsewhere/file.txt", b"x")[0] == 400
    assert raw(url, "PUT", f"{root}/ok.txt", b"x")[0] == 200
    assert raw(url, "PUT", f"{root}/ok.txt/below", b"x")[0] == 400
    assert (tmp_path / "secret.txt").read_text() == "secret"
    inside = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*") if p.is_file()}
    assert inside <= {".runbase", "secret.txt"}


def test_datasets(client: Any, store: runbase.Store) -> None:
    pandas: Any = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1, 2], "y": [3, 4]})
    data = mlflow.data.from_pandas(frame, name="digits", source="s3://b/x.csv")
    with mlflow.start_run() as run:
        mlflow.log_input(data, context="training", tags={"part": "a"})
        mlflow.log_metric("acc", 0.5, dataset=data)
    with mlflow.start_run():
        pass
    used = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert [(use.dataset.name, use.dataset.digest) for use in used] == [("digits", data.digest)]
    assert {tag.key: tag.value for tag in used[0].tags} == {
        "mlflow.data.context": "training",
        "part": "a",
    }
    for text, number in {
        "dataset.name = 'digits'": 1,
        f"datasets.digest = '{data.digest}' AND dataset.context LIKE 'train%'": 1,
        "dataset.context != 'training'": 0,
        "dataset.name IN ('digits', 'x')": 1,
        "dataset.name ILIKE 'DIG%' and metrics.acc > 0.4": 1,
    }.items():
        assert len(client.search_runs(["0"], text)) == number, text
    attributes = store.run(run.info.run_id).attributes["mlflow"]
    assert [v["dataset"]["name"] for v in attributes.values() if isinstance(v, dict)] == ["digits"]


def test_a_logged_model(client: Any, store: runbase.Store) -> None:
    ensemble: Any = pytest.importorskip("sklearn.linear_model")
    model = ensemble.LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    with mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(model, name="line", pip_requirements=[])
        mlflow.log_metric("mse", 0.25, model_id=logged.model_id)
    key = run.info.run_id
    again = mlflow.sklearn.load_model(logged.model_uri)
    assert again.predict([[2.0]])[0] == pytest.approx(4.0)
    assert mlflow.pyfunc.load_model(f"runs:/{key}/line").predict([[3.0]])[0] == pytest.approx(6.0)
    found = mlflow.get_logged_model(logged.model_id)
    assert (found.name, found.status.name, found.source_run_id) == ("line", "READY", key)
    assert [(m.key, m.value) for m in found.metrics] == [("mse", 0.25)]
    outputs = client.get_run(key).outputs.model_outputs
    assert [output.model_id for output in outputs] == [logged.model_id]
    paths = [artifact.path for artifact in store.artifacts(key)]
    assert f"models/{logged.model_id}/MLmodel" in paths
    assert {artifact.kind for artifact in store.artifacts(key)} == {"model"}
    assert "line/MLmodel" in [f.path for f in client.list_artifacts(key, "line")]
    assert "models" not in [f.path for f in client.list_artifacts(key)]
    assert store.problems() == []

    with mlflow.start_run():
        other = mlflow.initialize_logged_model("other", params={"depth": "3"}, tags={"a": "b"})
    mlflow.set_logged_model_tags(other.model_id, {"c": "d"})
    mlflow.delete_logged_model_tag(other.model_id, "a")
    mlflow.finalize_logged_model(other.model_id, "FAILED")
    tags = mlflow.get_logged_model(other.model_id).tags
    assert tags["c"] == "d"
    assert "a" not in tags

    def search(text: str, **options: Any) -> list[str]:
        found = mlflow.search_logged_models(
            ["0"], filter_string=text, output_format="list", **options
        )
        return [model.name for model in found]

    assert search("name = 'line'") == ["line"]
    assert search("metrics.mse < 0.3") == ["line"]
    assert search("params.depth = '3' and tags.c = 'd'") == ["other"]
    assert search("", order_by=[{"field_name": "name", "ascending": False}]) == ["other", "line"]
    client.delete_logged_model(other.model_id)
    assert search("") == ["line"]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_autolog(url: str, client: Any, store: runbase.Store) -> None:
    linear: Any = pytest.importorskip("sklearn.linear_model")
    mlflow.sklearn.autolog(log_models=False, silent=True)
    try:
        with mlflow.start_run(run_name="auto") as run:
            linear.LogisticRegression(C=0.5).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    finally:
        mlflow.sklearn.autolog(disable=True)
    native = store.run(run.info.run_id)
    assert native.params["C"] == 0.5
    assert native.metrics["training_accuracy_score"].last == 1.0
    assert native.tags["estimator_name"] == "LogisticRegression"
    assert client.get_run(native.id).info.status == "FINISHED"
