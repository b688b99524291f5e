"""Pack the journals of runs that ended some days ago, a few at a time, beside the work of the process.

A packed journal takes about a third of its bytes (28 to 37 % were measured), and is read like a plain one. The thread runs at a low priority, packs a
bounded number of bytes a process, and can be interrupted at any time.
"""

import logging
import os
import threading
import time
from contextlib import closing
from pathlib import Path

from runbase.errors import RunbaseError
from runbase.ingest.cleanup import pack_folders
from runbase.ingest.sync import packable
from runbase.storage.open import open_storage
from runbase.storage.protocol import Storage

DAY = 86400.0
MOST_FOLDERS = 200
"""Folders that one process packs."""
FEW = 50
"""Run folders of a home that are looked at though the database remembers none of them."""
_NICENESS = 19
_LOG = logging.getLogger(__name__)
_packed: set[Path] = set()
"""Homes that this process packs, or has packed."""
_guard = threading.Lock()


def start(
    storage: Storage, store: str, home: Path, days: float, *, folders: int
) -> threading.Thread | None:
    """Pack journals of a home in a thread, once a process.

    Args:
        storage: the database.
        store: its URL: the thread opens it for itself.
        home: the home directory.
        days: how long ago a run must have ended; 0: nothing is packed.
        folders: how many run folders the home has.

    Returns:
        The thread; None if nothing is to be done.
    """
    with _guard:
        if days <= 0 or home in _packed:
            return None
        _packed.add(home)
    chosen = packable(storage, home, days, most=MOST_FOLDERS, few=folders <= FEW)
    if not chosen:
        return None
    thread = threading.Thread(
        target=_work, args=(store, chosen, days * DAY), name="runbase-pack", daemon=True
    )
    thread.start()
    return thread


def _work(store: str, folders: list[Path], older_than: float) -> None:
    began = time.monotonic()
    try:
        if hasattr(os, "setpriority"):  # on Linux, of this thread alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        with closing(open_storage(store, create=False)) as storage:
            report = pack_folders(storage, folders, older_than=older_than)
    except (OSError, RunbaseError) as error:  # packing can wait
        _LOG.debug("journals were not packed: %s", error)
        return
    took = time.monotonic() - began
    _LOG.info("packed %d journals in %.1f s, %d bytes less", report.journals, took, report.saved)
