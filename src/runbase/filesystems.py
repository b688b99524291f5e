"""Which file system a path is on: on network file systems, SQLite's locks do not hold."""

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
