"""Facts about the repository of the code, from the `git` program."""

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from runbase.capture.secrets import mask_diff, mask_text

LARGEST_DIFF = 2**20
"""Largest part of a diff that is kept (1 MiB), in bytes."""

MOST_UNTRACKED = 100
"""Names of untracked files that are kept."""
SHARED = 5.0
"""Seconds for which the facts of a repository are taken to hold."""
_TIMEOUT = 10.0
_CREDENTIALS = re.compile(r"(?<=://)[^/@]+@")


_latest: dict[Path, tuple[float, dict[str, Any] | None]] = {}
"""Folder → when its repository was looked at, and what was found."""


def recent(folder: Path) -> dict[str, Any] | None:
    """Return the facts of `repository`, which are asked for again after five seconds.

    Runs that follow each other within a few seconds, as in a sweep in one process, share the answer: asking `git` costs as
    much as the rest of a short run.
    """
    known = _latest.get(folder)
    if known is None or time.monotonic() - known[0] > SHARED:
        known = _latest[folder] = time.monotonic(), repository(folder)
    return None if known[1] is None else dict(known[1])


def repository(folder: Path) -> dict[str, Any] | None:
    """Return root, commit, branch, remote, dirty flag, diff and untracked files; None outside a repository or without git."""
    head = _git(folder, "rev-parse", "--show-toplevel", "HEAD", "--abbrev-ref", "HEAD")
    if head is None:
        return _empty_repository(folder)
    root, commit, branch = head.splitlines()
    facts: dict[str, Any] = {"root": root, "commit": commit}
    facts["branch"] = None if branch == "HEAD" else branch
    remote = _git(folder, "config", "--get", "remote.origin.url")
    if remote:
        facts["remote"] = mask_text(_CREDENTIALS.sub("", remote.strip()))
    status = _git(Path(root), "status", "--porcelain", "--untracked-files=no")
    facts["dirty"] = bool(status)
    if status:
        diff = _git(Path(root), "diff", "HEAD") or ""
        masked = mask_diff(diff[:LARGEST_DIFF])
        facts["diff"] = masked
        facts["diff_truncated"] = len(diff) > LARGEST_DIFF
        if masked != diff[:LARGEST_DIFF]:
            facts["diff_masked"] = True
    others = _git(Path(root), "ls-files", "--others", "--exclude-standard", "-z")
    names = [name for name in (others or "").split("\0") if name]
    if untracked := [name for name in names if "__pycache__/" not in name]:
        facts["untracked"] = untracked[:MOST_UNTRACKED]
        facts["untracked_files"] = len(untracked)
    return facts


def _empty_repository(folder: Path) -> dict[str, Any] | None:
    root = _git(folder, "rev-parse", "--show-toplevel")
    return {"root": root.strip(), "commit": None, "dirty": True} if root else None


def _git(folder: Path, *arguments: str) -> str | None:
    # No optional locks: a run must not block the user's own git commands in that folder.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=_TIMEOUT,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
