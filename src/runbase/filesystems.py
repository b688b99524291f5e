"""Files that are complete or absent, and which file system a path is on.

On network file systems, SQLite's locks do not hold.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

NETWORK_FILE_SYSTEMS = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "glusterfs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "fuse.s3fs",
        "orangefs",
        "pvfs2",
        "panfs",
        "9p",
        "wekafs",
        "vboxsf",
    ]
)


@contextmanager
def atomic_write(path: Path, *, sync: bool = False) -> Generator[Path]:
    """Write a file that others see complete or not at all.

    Args:
        path: the file; its folder is created.
        sync: whether its bytes are on the disk before it gets its name.

    Yields:
        A path beside it to write to. It becomes `path` at the end, and is removed where an exception is raised.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        if sync:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def on_network(path: Path) -> bool:
    """Whether a path lies on a network file system, where SQLite's locks do not hold."""
    return file_system(path) in NETWORK_FILE_SYSTEMS


def file_system(path: Path) -> str | None:
    """The type of the file system that a path is on (or would be); None where it cannot be told."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    except OSError:
        return None
    place = str(path.absolute())
    best, kind = "", None
    for line in mounts:
        _, point, name, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, name
    return kind
