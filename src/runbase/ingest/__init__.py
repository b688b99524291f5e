"""From journals into a store: reading on where the store stands, and telling the dead from the living."""

from runbase.ingest.home import run_folders, sync
from runbase.ingest.liveness import check_liveness
from runbase.ingest.pipeline import Report, ingest_folder, ingest_journal

__all__ = [
    "Report",
    "check_liveness",
    "ingest_folder",
    "ingest_journal",
    "run_folders",
    "sync",
]
