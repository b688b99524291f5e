"""Registered models, and traces, which the server does not store."""

from typing import Any

import pytest

from tests.integration.server.conftest import Http

mlflow: Any = pytest.importorskip("mlflow")


def test_registered_models(client: Any) -> None:
    client.create_registered_model("digits", tags={"a": "b"}, description="about")
    with pytest.raises(mlflow.MlflowException) as caught:
        client.create_registered_model("digits")
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"
    run = client.create_run("0").info.run_id
    source = f"mlflow-artifacts:/0/{run}/artifacts/m"
    versions = [client.create_model_version("digits", source, run).version for _ in range(2)]
    assert [str(version) for version in versions] == ["1", "2"]
    client.set_registered_model_alias("digits", "champion", "1")
    assert client.get_model_version_by_alias("digits", "champion").version in {1, "1"}
    client.set_model_version_tag("digits", "2", "good", "yes")
    client.update_model_version("digits", "2", "better")
    found = client.search_model_versions("name = 'digits'", order_by=["version_number ASC"])
    assert [str(v.version) for v in found] == ["1", "2"]
    assert [
        v.tags for v in client.search_model_versions(f"run_id = '{run}' and tags.good = 'yes'")
    ] == [{"good": "yes"}]
    client.transition_model_version_stage("digits", "1", "Production")
    assert client.get_model_version_download_uri("digits", "1").endswith("/artifacts/m")
    model = client.get_registered_model("digits")
    assert (model.description, model.tags) == ("about", {"a": "b"})
    assert {str(v) for v in model.aliases.values()} == {"1"}
    assert [m.name for m in client.search_registered_models("name LIKE 'dig%'")] == ["digits"]
    client.delete_registered_model_alias("digits", "champion")
    client.delete_model_version("digits", "1")
    client.rename_registered_model("digits", "numbers")
    assert [str(v.version) for v in client.search_model_versions("name = 'numbers'")] == ["2"]
    client.delete_registered_model("numbers")
    with pytest.raises(mlflow.MlflowException) as caught:
        client.get_registered_model("numbers")
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_model_is_registered_and_loaded(client: Any) -> None:
    linear: Any = pytest.importorskip("sklearn.linear_model")
    model = linear.LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model, name="line", registered_model_name="lines", pip_requirements=[]
        )
    client.set_registered_model_alias("lines", "best", "1")
    for uri in ("models:/lines/1", "models:/lines@best", "models:/lines/latest"):
        assert mlflow.pyfunc.load_model(uri).predict([[2.0]])[0] == pytest.approx(4.0)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_traces_are_not_stored(client: Any, http: Http) -> None:
    @mlflow.trace
    def traced(x: int) -> int:
        return x + 1

    assert traced(1) == 2
    assert list(client.search_traces(locations=["0"])) == []
    answer = http.json("POST", "/api/3.0/mlflow/traces", {}, 404)
    assert answer["error_code"] == "ENDPOINT_NOT_FOUND"
    assert http.json("POST", "/v1/traces", b"x", 404)["error_code"] == "ENDPOINT_NOT_FOUND"
