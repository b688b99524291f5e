"""Settings and their sources, in order of precedence: arguments, RUNBASE_* variables, `runbase.toml` or
`[tool.runbase]` in `pyproject.toml` (nearest parent), the user's own file, defaults.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from runbase.capture.secrets import mask_text
from runbase.errors import UsageError, suggestion
from runbase.filesystems import on_network
from runbase.storage.address import without_password

HOME_NAME = ".runbase"
DATABASE_NAME = "runbase.db"
DESCRIPTIONS = {
    "home": "folder with run folders and, by default, the database",
    "store": "database URL, address of a server (https://...), or none: runs write files only",
    "read_store": "URL of a streaming replica of the PostgreSQL store, for lists, curves and SQL",
    "experiment": "experiment of runs that name none",
    "run_name": "name of the next run",
    "run_id": "id of the run that the next start_run resumes or creates",
    "tags": "tags of every run, separated by commas",
    "notes": "notes of every run",
    "capture": "what to capture: true, false, or parts separated by commas",
    "system_metrics": "log CPU, memory, GPU, disk and network use of the machine every 15 seconds: true or false",
    "join_ranks": "let all processes of a distributed job log into one run: true or false",
    "artifacts": "place that artifacts are uploaded to: a path or URL, such as s3://bucket/runs",
    "artifacts_part": "MiB of a part of an upload to S3: larger files are sent in parts, which an interrupted upload keeps",
    "mode": "online, offline (files only) or disabled (nothing is kept)",
    "quiet": "print nothing at the start and the end of a run",
    "finish_timeout": "seconds that finish() waits for the database",
    "pack_after": "days after its end until a run's journals are packed; 0: never",
    "public_url": "address of the server for people, for links in alerts",
    "smtp_host": "SMTP server that alerts are mailed by",
    "smtp_port": "its port",
    "smtp_user": "user at it; the password is the variable RUNBASE_SMTP_PASSWORD",
    "smtp_from": "address that alerts are mailed from",
    "smtp_security": "starttls, tls (from the first byte) or none",
    "log": "what runbase reports of itself on standard error: debug, info, warning or error",
}


_DEFAULTS: dict[str, Any] = {
    "artifacts_part": 64,
    "mode": "online",
    "finish_timeout": 10,
    "pack_after": 7,
    "smtp_port": 587,
    "smtp_security": "starttls",
    "system_metrics": True,
    "join_ranks": True,
}


class Setting(msgspec.Struct, frozen=True):
    """A setting's value and where it came from."""

    value: Any
    source: str

    def __repr__(self) -> str:
        return f"Setting({mask_text(repr(self.value))}, from {self.source})"


class Settings(msgspec.Struct, frozen=True):
    """All settings, resolved."""

    home: Path
    store: str
    values: dict[str, Setting]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.shown(name)!r}" for name in self.values)
        return f"Settings({shown})"

    def number(self, name: str) -> float:
        """A setting as a number of at least 0. Raises UsageError."""
        value = self.text(name) or "0"
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number < 1e9:
            source = self.values[name].source
            raise UsageError(f"{name} is {value!r} (from {source}); give a number of at least 0")
        return number

    def text(self, name: str) -> str | None:
        """A setting as text; None where it is not set."""
        value = self.values[name].value
        return None if value is None else str(value)

    def shown(self, name: str) -> str | None:
        """A setting as text that may be printed: a database's URL without its password."""
        text = self.text(name)
        return (
            without_password(text)
            if name in ("store", "read_store", "artifacts") and text
            else text
        )

    def flag(self, name: str) -> bool:
        """A setting as yes or no."""
        return str(self.values[name].value).lower() in ("1", "true", "yes", "on")


def load(
    *, home: str | os.PathLike[str] | None = None, store: str | None = None, **arguments: Any
) -> Settings:
    """Resolve every setting; `arguments` that are None count as not given."""
    given = {"home": home, "store": store, **arguments}
    layers = [
        ("argument", {k: v for k, v in given.items() if v is not None}),
        ("environment", _environment()),
        *_files(),
    ]
    values = {name: _first(name, layers) for name in DESCRIPTIONS}
    if values["log"].value:
        _report_to_stderr(str(values["log"].value))
    found = values["home"].value
    place = Path(found).expanduser().absolute() if found else find_home()
    if not found:
        values["home"] = Setting(str(place), values["home"].source)
    url = values["store"].value
    if not url:
        url = f"sqlite:///{database(place)}"
        values["store"] = Setting(url, values["store"].source)
    return Settings(place, str(url), values)


def _report_to_stderr(level: str) -> None:
    """Send runbase's log to standard error, from a level on; the program's own logging stays as it is."""
    import logging  # most programs do not ask for it

    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise UsageError(f"the setting log is {level!r}; use debug, info, warning or error")
    logger = logging.getLogger("runbase")
    logger.setLevel(number)
    if not any(handler.get_name() == "runbase" for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.set_name("runbase")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)


def find_home(start: Path | None = None) -> Path:
    """The nearest `.runbase` at or above `start` (the working folder), else the one to be made there."""
    start = start or Path.cwd()
    for folder in (start, *start.parents):
        if (folder / HOME_NAME).is_dir():
            return folder / HOME_NAME
    return start / HOME_NAME


def database(home: Path) -> Path:
    """A home's own database: in it, or in the user's cache where the home is on a network."""
    if not on_network(home):
        return home / DATABASE_NAME
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return cache_folder() / f"{digest}.db"


def cache_folder() -> Path:
    """The user's cache, ours of it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runbase"


def user_file() -> Path:
    """The user's own settings file."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "runbase" / "runbase.toml"


def _first(name: str, layers: list[tuple[str, dict[str, Any]]]) -> Setting:
    for source, values in layers:
        if values.get(name) not in (None, ""):
            return Setting(values[name], source)
    return Setting(_DEFAULTS.get(name), "default")


def _environment() -> dict[str, Any]:
    return {name: os.environ.get(f"RUNBASE_{name.upper()}") for name in DESCRIPTIONS}


def _files() -> Iterator[tuple[str, dict[str, Any]]]:
    for folder in (Path.cwd(), *Path.cwd().parents):
        own, project = folder / "runbase.toml", folder / "pyproject.toml"
        if own.is_file():
            yield str(own), _checked(own, _toml(own))
            break
        if project.is_file():
            tools = cast("dict[str, Any]", _toml(project).get("tool", {}))
            if "runbase" in tools:
                yield f"{project} [tool.runbase]", _checked(project, tools["runbase"])
                break
    if user_file().is_file():
        yield str(user_file()), _checked(user_file(), _toml(user_file()))


def _toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        if path.name == "pyproject.toml":  # not ours to complain about
            print(f"runbase: cannot read {path}: {error}", file=sys.stderr)
            return {}
        raise UsageError(f"cannot read the settings in {path}: {error}") from error


def _checked(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    for name in values:
        if name not in DESCRIPTIONS:
            raise UsageError(f"{path} has no setting {name!r}{suggestion(name, DESCRIPTIONS)}")
    found = {
        k: ",".join(map(str, cast("list[Any]", v))) if isinstance(v, list) else v
        for k, v in values.items()
    }
    if "home" in found:
        found["home"] = str(path.parent / Path(str(found["home"])).expanduser())
    return found
