"""Addresses and credentials of object stores."""

import pytest

from runbase.artifacts.objects import Objects, azure_account, bucket_of
from runbase.errors import UsageError

KEY = "bm90IGEga2V5IQ"


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ENDPOINT",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
    ):
        monkeypatch.delenv(name, raising=False)


def config(found: tuple[Objects, str] | None) -> tuple[dict[str, str], str]:
    assert found is not None
    return found[0]._store.config, found[1]


def test_google(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config(bucket_of("gs://lab/runs/a #1?.bin")) == ({"bucket": "lab"}, "runs/a #1?.bin")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(UsageError, match=r"gs://lab cannot be used: .*/nowhere/key\.json"):
        bucket_of("gs://lab/a")


def test_azure_by_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"az://lab cannot be used: .*Account must be specified"):
        bucket_of("az://lab/a")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "ada")
    found, key = config(bucket_of("az://lab/runs/a.bin"))
    assert (found["container_name"], key) == ("lab", "runs/a.bin")


def test_azure_by_the_name_of_a_file_system() -> None:
    found, key = config(bucket_of("abfss://lab@ada.dfs.core.windows.net/runs/a.bin"))
    assert (found["container_name"], found["account_name"], key) == ("lab", "ada", "runs/a.bin")


def test_azure_by_a_connection_string(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        f"DefaultEndpointsProtocol=http;AccountName=ada;AccountKey={KEY}==;"
        "BlobEndpoint=http://127.0.0.1:10000/ada;"
    )
    assert azure_account(text) == {
        "account_name": "ada",
        "account_key": f"{KEY}==",
        "endpoint": "http://127.0.0.1:10000/ada",
    }
    assert azure_account("") == {}
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    found, _ = config(bucket_of("az://lab/a"))
    assert (found["account_name"], found["endpoint"]) == ("ada", "http://127.0.0.1:10000/ada")


@pytest.mark.parametrize("url", ["sftp://host/a", "file:///a", "gs://", "gs://user@lab/a", "/a"])
def test_what_obstore_does_not_serve(url: str) -> None:
    assert bucket_of(url) is None
