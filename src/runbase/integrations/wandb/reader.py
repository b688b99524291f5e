"""Read W&B's offline runs: the `.wandb` file of each run and the files next to it. wandb need not be installed.

The file is a log of blocks in LevelDB's *log_format* (with zlib's CRC-32 instead of CRC-32C, and a header of seven
bytes) that contains Protocol Buffers messages of `wandb_internal.proto`; those that describe the run are read. A
resumed run has several such files and is imported as one run.
"""

import json
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from runbase.capture.secrets import mask_argv
from runbase.ids import derived_id
from runbase.ingest.foreign import Artifact, ImportedRun, ImportRequest
from runbase.ingest.foreign_databases import path_of
from runbase.ingest.protobuf import fields, signed
from runbase.integrations.wandb.rows import Rows
from runbase.status import SILENCE, Status
from runbase.values import flatten

NAME = "wandb"
_HEAD = b":W&B\xe1\xbe"
_BLOCK = 2**15
_FULL, _FIRST, _LAST = 1, 2, 4
_RUN = 17


class _Part(Struct, frozen=True):
    """One `.wandb` file of a run."""

    path: Path
    run: dict[int, Any]


def recognises(source: str) -> bool:
    """Return whether a source is a `.wandb` file, or a folder with such files."""
    return "://" not in source and bool(_files(source))


def count(source: str) -> int:
    """Return the number of files."""
    return len(_files(source))


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield all runs; what cannot be read is reported in `asked.problems`."""
    parts: dict[tuple[str, ...], list[_Part]] = {}
    for path in _files(asked.source):
        raw = next((message for kind, message in _records(path, []) if kind == _RUN), None)
        if raw is None:
            asked.problems.append(f"{path}: no run record; the file is damaged or incomplete")
            continue
        run = dict(fields(raw))
        key = tuple(_text(run.get(number)) for number in (2, 3, 1))
        parts.setdefault(key, []).append(_Part(path, run))
    for key, files in parts.items():
        yield _run(key, sorted(files, key=lambda part: part.path.parent.name), asked.problems)


def _files(source: str) -> list[Path]:
    path = path_of(source)
    if path.suffix == ".wandb" and path.is_file():
        return [path]
    patterns = ("*.wandb", "*/*.wandb", "wandb/*/*.wandb")
    files = [file for pattern in patterns for file in path.glob(pattern)]
    # `latest-run` is a link to one of the others.
    return sorted({file.resolve() for file in files if path.is_dir()})


class _Contents:
    """The contents of the files of a run; later files override earlier ones."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.facts: dict[int, Any] = {}
        """The fields of the RunRecord."""
        self.environment: dict[int, Any] = {}
        self.argv: list[str] = []
        self.rows = Rows()
        self.samples: list[tuple[float, str, Any]] = []
        self.artifacts: list[Artifact] = []
        self.began: list[float] = []
        self.exit: int | None = None
        self.over = self.preempted = False
        self.latest = 0.0

    def take(self, kind: int, raw: bytes, files: Path) -> None:
        """Add one record; `kind` is its field number in the message Record."""
        match kind:
            case 2:  # history
                self.rows.take(raw, files)
            case 3:  # summary
                self.rows.summarise(raw)
            case 5:  # config
                _configure(self.config, raw)
            case 7:  # stats
                self._sample(raw)
            case 8:  # artifact
                self.artifacts += _manifest(raw)
            case 17:  # run
                self._begin(raw)
            case 18:  # exit
                end = dict(fields(raw))
                self.over, self.exit = True, signed(end.get(1, 0))
                self.latest = max(self.latest, self.began[-1] + end.get(2, 0))
            case 23:  # preempting
                self.preempted = True
            case 26:  # environment
                environment = list(fields(raw))
                self.environment |= dict(environment)
                self.argv += [part.decode() for number, part in environment if number == 5]
            case _:
                pass

    def _begin(self, raw: bytes) -> None:
        self.over, self.exit, self.preempted = False, None, False
        self.facts |= dict(fields(raw))
        self.facts[10] = [part.decode() for number, part in fields(raw) if number == 10]
        if 4 in self.facts:
            _configure(self.config, self.facts[4])
        self.began.append(_moment(self.facts.get(17, b"")))

    def _sample(self, raw: bytes) -> None:
        moment, items = 0.0, list(fields(raw))
        for number, value in items:
            if number == 2:
                moment = _moment(value)
        for number, value in items:
            if number == 3:
                item = dict(fields(value))
                self.samples.append((moment, f"system/{_text(item[1])}", json.loads(item[16])))
        self.latest = max(self.latest, moment)


def _run(key: tuple[str, ...], parts: Sequence[_Part], problems: list[str]) -> ImportedRun:
    entity, project, name = key
    contents = _Contents()
    artifacts: list[Artifact] = []
    for part in parts:
        files = part.path.parent / "files"
        for kind, raw in _records(part.path, problems):
            try:
                contents.take(kind, raw, files)
            except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error) as e:
                problems.append(f"{part.path}: a record of kind {kind} cannot be read: {e}")
        artifacts += _beside(files)
    facts = contents.facts
    tags: dict[str, str | None] = dict.fromkeys(facts[10])
    for word, number in (("group", 6), ("job_type", 7), ("sweep", 12)):
        if facts.get(number):
            tags[word] = _text(facts[number])
    tags |= {"wandb.id": name, **({"wandb.entity": entity} if entity else {})}
    metadata = _metadata(parts[-1].path.parent / "files" / "wandb-metadata.json")
    status, word = _status(contents, parts[-1].path)
    latest = max(contents.latest, contents.rows.latest, contents.began[-1])
    return ImportedRun(
        id=derived_id(NAME, "\0".join(key)),
        name=_text(facts.get(8)) or name,
        experiment=project or "uncategorized",
        status=status,
        source_status=word,
        started=contents.began[0],
        ended=latest if status is not Status.RUNNING else None,
        exit_code=contents.exit,
        user=_text(contents.environment.get(13)) or metadata.get("username"),
        notes=_text(facts.get(9)),
        params=dict(flatten({k: v for k, v in contents.config.items() if k != "_wandb"})),
        tags=tags,
        git=_git(facts.get(21) or contents.environment.get(9), metadata),
        args=_args(contents, metadata),
        system=_system(contents, metadata),
        metrics=contents.rows.points(None if status is Status.RUNNING else latest),
        types=contents.rows.types,
        texts=contents.rows.texts,
        records=contents.rows.records,
        artifacts=[*{file.path: file for file in artifacts + contents.artifacts}.values()],
        samples=contents.samples,
    )


def _status(contents: _Contents, path: Path) -> tuple[Status, str]:
    """Return the status and W&B's name for it. (An interrupted process exits with 255.)"""
    if contents.over:
        if contents.exit == 0:
            return Status.COMPLETED, "finished"
        if contents.preempted:
            return Status.PREEMPTED, "preempted"
        return (Status.CANCELLED, "killed") if contents.exit == 255 else (Status.FAILED, "failed")
    if time.time() - path.stat().st_mtime < SILENCE:
        return Status.RUNNING, "running"
    return Status.NODE_FAIL, "crashed"


def _args(contents: _Contents, metadata: dict[str, Any]) -> dict[str, Any]:
    program = _text(contents.environment.get(6)) or metadata.get("program")
    args = contents.argv or metadata.get("args") or []
    return {"script": program, "argv": mask_argv([program, *args])} if program else {}


def _system(contents: _Contents, metadata: dict[str, Any]) -> dict[str, Any]:
    environment = contents.environment
    system = {
        "hostname": _text(environment.get(12))
        or _text(contents.facts.get(13))
        or metadata.get("host"),
        "platform": _text(environment.get(1)) or metadata.get("os"),
        "python": _text(environment.get(2)) or metadata.get("python"),
        "gpu": _text(environment.get(18)) or metadata.get("gpu"),
    }
    return {name: value for name, value in system.items() if value}


def _git(raw: bytes | None, metadata: dict[str, Any]) -> dict[str, Any]:
    repository = dict(fields(raw or b""))
    older: dict[str, Any] = metadata.get("git") or {}
    git = {
        "remote": _text(repository.get(1)) or older.get("remote"),
        "commit": _text(repository.get(2)) or older.get("commit"),
    }
    return {name: value for name, value in git.items() if value}


def _metadata(path: Path) -> dict[str, Any]:
    """Return what older clients recorded about the machine."""
    try:
        document: Any = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def _beside(files: Path) -> Iterable[Artifact]:
    """Yield the files in the run's folder."""
    for path in sorted(files.rglob("*")):
        if path.is_file():
            name = path.relative_to(files).as_posix()
            kind = "media" if name.startswith("media/") else "file"
            yield Artifact(path=name, uri=str(path.absolute()), size=path.stat().st_size, kind=kind)


def _manifest(raw: bytes) -> Iterable[Artifact]:
    """Yield the files of an artifact that are on this machine."""
    artifact = dict(fields(raw))
    name, kind = _text(artifact.get(5)), _text(artifact.get(4)) or "file"
    for number, part in fields(artifact.get(12, b"")):
        entry = dict(fields(part)) if number == 4 else {}
        local = Path(_text(entry.get(6)) or "/nowhere")
        if local.is_file():
            path = f"{name}/{_text(entry.get(1))}"
            yield Artifact(path=path, uri=str(local), size=local.stat().st_size, kind=kind)


def _configure(config: dict[str, Any], raw: bytes) -> None:
    for number, part in fields(raw):
        if number not in (1, 2):
            continue
        item = list(fields(part))
        path = [_text(v) for n, v in item if n == 2] or [_text(v) for n, v in item if n == 1]
        place = config
        for key in path[:-1]:
            inner = place.setdefault(key, {})
            place = cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
        if number == 2:
            place.pop(path[-1], None)
        else:
            value: Any = json.loads(dict(item)[16])
            # Before 0.12, each value was in a document of its own.
            place[path[-1]] = value["value"] if _is_wrapped(value) else value


def _is_wrapped(value: Any) -> bool:
    return isinstance(value, dict) and set(cast("dict[str, Any]", value)) == {"desc", "value"}


def _moment(raw: bytes) -> float:
    timestamp = dict(fields(raw))
    return signed(timestamp.get(1, 0)) + timestamp.get(2, 0) / 1e9


def _text(raw: Any) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else ""


def _records(path: Path, problems: list[str]) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, message) of each record; damaged records are reported, an incomplete last one is ignored."""
    for raw in _log(path, problems):
        try:
            for number, value in fields(raw):
                if isinstance(value, bytes) and number < 100 and number not in (16, 19):
                    yield number, value
        except (ValueError, IndexError):
            problems.append(f"{path}: a record is damaged")


def _log(path: Path, problems: list[str]) -> Iterator[bytes]:
    raw = path.read_bytes()
    if not raw.startswith(_HEAD):
        problems.append(f"{path}: not a .wandb file")
        return
    place = 7
    whole: bytearray | None = None  # the pieces of the current record
    while place < len(raw):
        left = _BLOCK - place % _BLOCK
        if left < 7:
            place += left
            continue
        if place + 7 > len(raw):
            return
        check, length, kind = struct.unpack_from("<IHB", raw, place)
        data = raw[place + 7 : place + 7 + length]
        if len(data) < length and place + left > len(raw):
            return
        if length > left - 7 or zlib.crc32(data, zlib.crc32(bytes([kind]))) != check:
            problems.append(f"{path}: damaged at byte {place}; the rest of that block is lost")
            place, whole = place + left, None
            continue
        place += 7 + length
        if kind in (_FULL, _FIRST):
            whole = bytearray()
        if whole is not None:
            whole += data
            if kind in (_FULL, _LAST):
                yield bytes(whole)
                whole = None
