"""Object stores by obstore: S3, Google Cloud Storage and Azure. Large files are sent in parts."""

import logging
import os
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from runbase.errors import StoreError, UsageError

SCHEMES = {"s3": "S3", "s3a": "S3", "gs": "GCS", "az": "Azure", "abfs": "Azure", "abfss": "Azure"}
PART = 8 * 2**20
"""Bytes of a part of an upload; a part that fails is sent again by itself."""
PIECE = 2**20
"""Bytes that are written at once while an object is read."""
_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)

_LOG = logging.getLogger(__name__)


class Objects:
    """A bucket, and the methods that artifacts need.

    Args:
        store: obstore's store.
    """

    def __init__(self, store: Any) -> None:
        self._store, self._api = store, import_module("obstore")

    def put(self, path: Path, key: str) -> None:
        """Store a file under a key; the object is there when it is whole."""
        try:
            self._api.put(self._store, key, path, chunk_size=PART)
            size = int(self._api.head(self._store, key)["size"])
        except Exception as error:
            raise StoreError(f"{key} could not be stored: {_first_line(error)}") from error
        if size != path.stat().st_size:
            raise StoreError(f"{key} has {size} bytes instead of {path.stat().st_size}")

    def get(self, key: str, path: Path) -> None:
        """Append to a file what it lacks of the object of a key; a connection that breaks is opened again."""
        try:
            head = self._api.head(self._store, key)
            with path.open("ab") as file:
                if file.tell() > head["size"]:
                    file.seek(0)
                    file.truncate()
                while file.tell() < head["size"]:
                    self._append(key, head, file)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise StoreError(f"{key} could not be read: {_first_line(error)}") from error

    def _append(self, key: str, head: Any, file: BinaryIO) -> None:
        """Append the rest of an object to a file; raise the error of a connection that brought nothing."""
        begin = file.tell()
        options: dict[str, Any] = {"range": {"offset": begin}}
        if head["e_tag"]:  # all of the file is of one version of the object
            options["if_match"] = head["e_tag"]
        try:
            for piece in self._api.get(self._store, key, options=options).stream(
                min_chunk_size=PIECE
            ):
                file.write(piece)
        except Exception as error:
            if file.tell() == begin:
                raise
            _LOG.debug("%s broke off at byte %d: %s", key, file.tell(), _first_line(error))

    def sign(self, key: str, seconds: int) -> str | None:
        """Return a URL by which anybody can read the object for some seconds; None if the credentials cannot sign."""
        try:
            signed = self._api.sign(self._store, "GET", key, timedelta(seconds=seconds))
        except Exception as error:
            _LOG.debug("%s cannot be signed: %s", key, _first_line(error))
            return None
        return str(signed)

    def remove(self, key: str) -> None:
        """Delete the object of a key; one that does not exist is ignored."""
        try:
            self._api.delete(self._store, key)
        except FileNotFoundError:
            return
        except Exception as error:
            raise StoreError(f"{key} could not be deleted: {_first_line(error)}") from error


def bucket_of(url: str) -> tuple[Objects, str] | None:
    """Return the bucket of a URL and the key in it; None if obstore is not installed, or not able to reach it.

    Credentials are those of the environment; for S3 also those that boto3 finds, such as profiles, if it is installed.
    Otherwise fsspec serves the URL.

    Raises:
        UsageError: the environment does not name the account, or names credentials that do not exist.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")  # no parser of URLs: a key may contain "?" and "#"
    if scheme not in SCHEMES or not bucket or ("@" in bucket and not scheme.startswith("abfs")):
        return None
    try:
        stores = import_module("obstore.store")
        options = _options(scheme)
    except ImportError:
        return None
    try:
        made = getattr(stores, f"{SCHEMES[scheme]}Store").from_url(
            f"{scheme}://{bucket}",
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=60)},
            **options,
        )
    except Exception as error:
        raise UsageError(f"{scheme}://{bucket} cannot be used: {_first_line(error)}") from error
    return Objects(made), key


def _options(scheme: str) -> dict[str, Any]:
    """Return the options of a store that obstore does not find in the environment itself."""
    environment = os.environ
    if scheme.startswith("s3"):
        options = _allow_http(
            environment.get("AWS_ENDPOINT_URL") or environment.get("AWS_ENDPOINT")
        )
        if not any(name in environment for name in _KEYS):
            auth = import_module("obstore.auth.boto3")
            options["credential_provider"] = auth.Boto3CredentialProvider()
        return options
    if scheme == "gs":
        return {}
    options = azure_account(environment.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    endpoint = options.get("endpoint") or environment.get("AZURE_STORAGE_ENDPOINT")
    return {**options, **_allow_http(endpoint)}


def azure_account(text: str) -> dict[str, Any]:
    """Return obstore's options for a connection string of Azure: `AccountName=…;AccountKey=…;…`."""
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    names = {
        "AccountName": "account_name",
        "AccountKey": "account_key",
        "SharedAccessSignature": "sas_key",
        "BlobEndpoint": "endpoint",
    }
    return {names[name]: value for name, value in parts.items() if name in names}


def _allow_http(endpoint: str | None) -> dict[str, Any]:
    plain = endpoint is not None and endpoint.startswith("http://")
    return {"client_options": {"allow_http": True}} if plain else {}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
