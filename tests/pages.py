"""Runs the fenced blocks of a page of the documentation in their order, as a reader would.

- ``bash``: run by bash, in the reader's folder; what it exports counts for the blocks after it.
- ``python``: run in one namespace for the whole page.
- any block with ``title="NAME"``: written to that file instead.
- ``sql``: a query of the reader's store. ``toml`` and ``json``: parsed. ``text``: output, which is not run.

A comment before a block says what a test cannot know, and why:

    <!-- not run: needs a Slurm cluster -->
    <!-- runs until stopped -->
    <!-- fails: the database is damaged -->
    <!-- needs: torch -->
"""

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from msgspec import Struct

import runbase
from runbase.cli.app import build

OUTPUT = ("text",)
"""Blocks that nobody runs."""
MARKS = ("not run", "runs until stopped", "fails", "needs")
EXPECTED = {"runs until stopped": (0, 130, -signal.SIGINT), "fails": range(1, 256)}
"""Exit codes, by the mark of a block."""
SLOWEST_START = 8.0
"""Seconds after which a command that has printed nothing is taken to have begun."""
LONGEST = 180.0
"""Seconds after which a block is taken to hang."""


class Block(Struct, frozen=True, kw_only=True):
    """A fenced block; `mark` and `reason` are those of the comment before it."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str
    mark: str | None
    reason: str

    def __repr__(self) -> str:
        return f"{self.page.name}:{self.line}"


class PageError(Exception):
    """A block does not do what the page says."""


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page; raise PageError if a fence or a mark cannot be understood."""
    return [*_blocks(page)]


def _blocks(page: Path) -> Iterator[Block]:
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    mark, reason = None, ""
    for number, line in lines:
        found = re.fullmatch(r"\s*<!-- ([\w ]+?)(?:: (.+))? -->", line)
        if found is not None:
            mark, reason = found[1], found[2] or ""
            if mark not in MARKS or (mark != "runs until stopped" and not reason):
                raise PageError(f"{page.name}:{number}: the mark {line.strip()!r} needs a reason")
            continue
        fence = re.fullmatch(r"(\s*)```(\w*)(?: title=\"(.+)\")?", line)
        if fence is None and line.lstrip().startswith("```"):
            raise PageError(f"{page.name}:{number}: cannot understand {line.strip()!r}")
        if fence is not None:
            body: list[str] = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                body.append(inner.removeprefix(fence[1]))
            yield Block(
                page=page,
                line=number,
                language=fence[2],
                title=fence[3],
                text="\n".join(body) + "\n",
                mark=mark,
                reason=reason,
            )
        if line.strip():
            mark, reason = None, ""


class Reader:
    """Somebody who follows a page, in a folder of their own.

    Args:
        folder: the working folder, which is also the home directory.
        names: what the page's Python code is given.
        replacements: addresses of servers in the text → those of the test.
    """

    def __init__(
        self,
        folder: Path,
        names: dict[str, Any] | None = None,
        replacements: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "page", **(names or {})}
        self._replacements = replacements or {}
        self._exported = folder.parent / f"{folder.name}.exported"

    def follow(self, blocks: Iterable[Block]) -> None:
        """Do what each block says; raise PageError for the first that fails."""
        for block in blocks:
            self._do(block)

    def _do(self, block: Block) -> None:
        text = block.text
        for old, new in self._replacements.items():
            text = text.replace(old, new)
        if block.language == "bash":
            check_commands(block)
        if block.mark == "not run" or block.language in OUTPUT:
            return
        if block.mark == "needs" and any(find_spec(m) is None for m in block.reason.split(", ")):
            return
        if block.title is not None:
            (self.folder / block.title).write_text(text)
        elif block.language == "bash":
            self._shell(block, text)
        elif block.language == "python":
            exec(compile(text, repr(block), "exec"), self.names)  # our own page
        elif block.language == "sql":
            with runbase.open() as store:
                store.sql(text)
        elif block.language == "json":
            json.loads(text)
        elif block.language == "toml":
            tomllib.loads(text)
        else:
            raise PageError(f"{block} is {block.language or 'of no language'}, which nothing runs")

    def _shell(self, block: Block, text: str) -> None:
        self._exported.touch()
        script = f"source {self._exported}\ntrap 'export -p | grep RUNBASE_ > {self._exported}' EXIT\n{text}"
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "120", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
            if block.mark == "runs until stopped":
                _stop_once_begun(process, output.fileno())
            try:
                code = process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
            output.seek(0)
            said = output.read()
        if code not in EXPECTED.get(block.mark or "", (0,)) or "Traceback" in said:
            raise PageError(f"{block} ended with {code}:\n{said}")


def _stop_once_begun(process: "subprocess.Popen[bytes]", output: int) -> None:
    """Interrupt a process, as Ctrl-C does, a moment after it has printed something."""
    deadline = time.monotonic() + SLOWEST_START
    while time.monotonic() < deadline and not os.fstat(output).st_size and process.poll() is None:
        time.sleep(0.1)
    time.sleep(1)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    else:
        raise PageError(
            f"a command that runs until it is stopped ended by itself, with {process.returncode}"
        )


def path_with_programs() -> str:
    """Return a PATH that begins with the programs of this Python's environment."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def check_commands(block: Block) -> None:
    """Raise PageError if a command of runbase in a block does not exist, or has no such option."""
    for words in _commands(block):
        command = [*itertools.dropwhile(lambda word: re.fullmatch(r"[A-Z_]+=.*", word), words)]
        if command[:1] == ["$"]:
            raise PageError(f"{block} has a prompt, which a reader would copy: {command}")
        if command[:1] == ["runbase"]:
            _check(block, command[1:])


def _commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a block, in words. A quoted text may have several lines."""
    text = ""
    for line in block.text.replace("\\\n", " ").splitlines():
        text += f"{line}\n"
        words = shlex.shlex(text, posix=True, punctuation_chars="|&;")
        words.whitespace_split = True
        try:
            found = [*words]
        except ValueError:
            continue  # within quotes
        text = ""
        command: list[str] = []
        for word in found:
            if set(word) <= {"|", "&", ";"}:
                yield command
                command = []
            else:
                command.append(word)
        yield command


def _check(block: Block, arguments: list[str]) -> None:
    command: Any = typer.main.get_command(build())
    shown = shlex.join(["runbase", *arguments])
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    while hasattr(command, "commands") and own and not own[0].startswith("-"):
        name, *own = own
        if name not in command.commands:
            raise PageError(f"{block}: {shown}: no command {name!r}")
        command = command.commands[name]
    parameters = command.params
    options = {name for known in parameters for name in (*known.opts, *known.secondary_opts)}
    options.add("--help")
    for word in own:
        if re.match(r"-{1,2}[a-zA-Z]", word) and word.partition("=")[0] not in options:
            raise PageError(f"{block}: {shown}: no option {word!r}")
