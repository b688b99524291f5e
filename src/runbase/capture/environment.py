"""The command line and the environment, with secrets removed."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runbase.capture.secrets import mask_argv


def command(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Return script, working folder, command line and its parsed options; secrets are replaced by stars."""
    argv = list(sys.orig_argv if argv is None else argv)
    program = sys.argv if argv == sys.orig_argv else argv
    facts: dict[str, Any] = {"argv": mask_argv(argv), "cwd": _working_folder()}
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script:
        facts["script"] = str(Path(script).absolute())
    options = parse(mask_argv(program[1:]))
    if options:
        facts["options"] = options
    return facts


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse the options of a command line to key → value: `--a 1`, `--a=1`, `-a`, `a=1`; numbers become numbers."""
    options: dict[str, Any] = {}
    rest: list[str] = []
    waiting: str | None = None
    for argument in arguments:
        flag = re.fullmatch(r"--?([A-Za-z][\w.\-]*)(?:=(.*))?", argument, re.DOTALL)
        pair = re.fullmatch(r"([A-Za-z_][\w./]*)=(.*)", argument, re.DOTALL)
        if flag:
            waiting = None if flag[2] is not None else flag[1]
            options[flag[1]] = True if flag[2] is None else _typed(flag[2])
        elif waiting is not None:
            options[waiting] = _typed(argument)
            waiting = None
        elif pair:
            options[pair[1]] = _typed(pair[2])
        else:
            rest.append(argument)
    return options | ({"": rest} if rest else {})


def _typed(text: str) -> Any:
    for convert in (int, float, complex):
        try:
            value = convert(text)
        except ValueError:
            continue
        return str(value) if isinstance(value, complex) else value
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # the working folder was deleted
        return None
