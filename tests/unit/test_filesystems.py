"""Files that are complete or absent, and the type of a path's file system."""

from pathlib import Path

import pytest

from runbase.filesystems import atomic_write, file_system, on_network


def test_a_file_appears_complete_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with atomic_write(path, sync=True) as partial:
        partial.write_text("half")
        assert not path.exists()
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="broken"), atomic_write(path) as partial:
        partial.write_text("half")
        raise RuntimeError("broken")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_first_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "file.txt") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of mounts in the place of this machine's."""
    table = (
        "/dev/sda1 / ext4 rw 0 0\n"
        "/dev/sdb1 /home/local xfs rw 0 0\n"
        "server:/home /home nfs4 rw 0 0\n"
        "server:/data /mnt/my\\040data lustre rw 0 0\n"
    )
    real = Path.read_text

    def read_text(path: Path, *args: str) -> str:
        return table if str(path) == "/proc/self/mounts" else real(path, *args)

    monkeypatch.setattr(Path, "read_text", read_text)


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/tmp/x", "ext4", False),
        ("/home", "nfs4", True),
        ("/home/ada/runs", "nfs4", True),
        ("/homework", "ext4", False),
        ("/home/local/x", "xfs", False),
        ("/mnt/my data/x", "lustre", True),
    ],
)
def test_the_innermost_mount_tells_the_file_system(
    mounts: None, path: str, kind: str, network: bool
) -> None:
    assert file_system(Path(path)) == kind
    assert on_network(Path(path)) is network


def test_without_a_table_of_mounts_the_file_system_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_text(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", read_text)
    assert file_system(Path("/tmp")) is None
    assert not on_network(Path("/tmp"))
