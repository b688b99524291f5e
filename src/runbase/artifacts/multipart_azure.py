"""Block blobs of Azure, by azure-storage-blob.

Azure has no id of an upload: blocks belong to the name of the blob until they are committed. The ids of the blocks begin with an
id of runbase's, so that blocks of another content under the same name are not used.
"""

import base64
from importlib import import_module
from typing import Any

from runbase.artifacts.multipart import Stored, Unfinished, length, variable
from runbase.artifacts.objects import azure_account
from runbase.ids import new_id

PACKAGE = "azure.storage.blob"


class AzureTarget:
    """A block blob.

    Args:
        blob: `azure.storage.blob.BlobClient`.
    """

    unit = 1
    most = 50_000
    concurrent = 2

    def __init__(self, blob: Any) -> None:
        self._blob = blob
        self._errors = import_module("azure.core.exceptions")
        self._numbers = set[int]()

    def begin(self, size: int, sha256: str) -> str:
        """Return a new id."""
        return new_id()

    def stored(self, begun: Unfinished, size: int) -> set[int] | None:
        """List the blocks that are not committed."""
        blocks = self._blocks(begun)
        self._numbers = {n for n, has in blocks.items() if has == length(begun, n, size)}
        return set(self._numbers) if blocks else None

    def send(self, begun: Unfinished, number: int, body: bytes, size: int) -> None:
        """Stage a block, with its MD5."""
        self._blob.stage_block(
            _block_id(begun, number), body, length=len(body), validate_content=True
        )
        self._numbers.add(number)

    def complete(self, begun: Unfinished, sha256: str) -> None:
        """Commit the blocks. Azure drops all others of the name."""
        block = import_module(PACKAGE).BlobBlock
        self._blob.commit_block_list(
            [block(_block_id(begun, number)) for number in sorted(self._numbers)],
            metadata={"sha256": sha256} if sha256 else None,
        )

    def abort(self, begun: Unfinished) -> None:
        """Drop the blocks. Azure has no call for this: an empty blob takes their place, and is deleted.

        Under a name that has a blob, they stay: Azure drops them after a week.
        """
        if self.head() is None and self._blocks(begun):
            self._blob.commit_block_list([])
            self._blob.delete_blob()

    def head(self) -> Stored | None:
        """Return what Azure has under the name."""
        try:
            found = self._blob.get_blob_properties()
        except self._errors.ResourceNotFoundError:
            return None
        metadata: dict[str, str] = found.metadata or {}
        return Stored(found.size, metadata.get("sha256"))

    def _blocks(self, begun: Unfinished) -> dict[int, int]:
        """Return the bytes of each block of an upload that is not committed."""
        try:
            _, blocks = self._blob.get_block_list("uncommitted")
        except self._errors.ResourceNotFoundError:
            return {}
        prefix = f"{begun.upload}-"
        own = [(_decoded(block.id), block.size) for block in blocks]
        return {int(name.removeprefix(prefix)): n for name, n in own if name.startswith(prefix)}


def target(url: str) -> AzureTarget | None:
    """Return the blob of a URL; None if the environment has no credentials that azure-storage-blob can use."""
    place, _, key = url.partition("://")[2].partition("/")
    container, _, host = place.partition("@")
    options = azure_account(variable("AZURE_STORAGE_CONNECTION_STRING") or "")
    account = host.partition(".")[0] or options.get("account_name")
    account = account or variable("AZURE_STORAGE_ACCOUNT_NAME")
    credential = _credential(account, options)
    if account is None or credential is None:
        return None
    endpoint = options.get("endpoint") or variable("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
    if host or endpoint is None:
        endpoint = f"https://{account}.blob.core.windows.net"
    service = import_module(PACKAGE).BlobServiceClient(endpoint, credential)
    return AzureTarget(service.get_blob_client(container, key))


def _credential(account: str | None, options: dict[str, str]) -> Any:
    """Return an account's key, a shared access signature or the identity of the machine, by obstore's variables."""
    key = options.get("account_key") or variable(
        "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY"
    )
    if key is not None:
        return {"account_name": account, "account_key": key}
    shared = options.get("sas_key") or variable("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")
    if shared is not None:
        return import_module("azure.core.credentials").AzureSasCredential(shared.lstrip("?"))
    try:
        return import_module("azure.identity").DefaultAzureCredential()
    except ImportError:
        return None


def _block_id(begun: Unfinished, number: int) -> str:
    """Return the id of a block; those of a blob must be equally long."""
    return base64.b64encode(f"{begun.upload}-{number:05}".encode()).decode()


def _decoded(block: str) -> str:
    try:
        return base64.b64decode(block).decode()
    except ValueError:  # of another program
        return ""
