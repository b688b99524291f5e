"""The command line and the environment, without what looks like a secret."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ALLOWED = re.compile(
    r"(CUDA|NCCL|OMP|MKL|OPENBLAS|TORCH|PYTORCH|TF|XLA|JAX|KERAS|TOKENIZERS|TRANSFORMERS|ACCELERATE"
    r"|SLURM|PBS|LSB|SGE|RUNBASE|HYDRA|RAY|OMPI|PMI|CONDA|VIRTUAL)_.*"
    r"|RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT|NODE_RANK|GROUP_RANK"
    r"|PYTHONHASHSEED|LANG|TZ|NVIDIA_VISIBLE_DEVICES"
)
"""Names of environment variables that are recorded; RUNBASE_CAPTURE_ENV adds more, with commas."""

SECRET = re.compile(
    r"(?i)secret|token|passw|pwd|credential|api[_-]?key|access[_-]?key|private|auth|cookie|session|dsn"
)
_SECRET_VALUE = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@|[?&](ssl)?password=|^(sk|ghp|gho|glpat|hf|xox[bp])[-_]\w{8,}|^AKIA[A-Z0-9]{12,}|-----BEGIN"
)
HIDDEN = "********"


def allowed(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment variables of the allow-list, less those that look like secrets."""
    environ = os.environ if environ is None else environ
    more = {name.strip() for name in environ.get("RUNBASE_CAPTURE_ENV", "").split(",")}
    return harmless({k: v for k, v in environ.items() if ALLOWED.fullmatch(k) or k in more})


def harmless(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables less those that look like secrets, by name."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if not SECRET.search(name) and not _SECRET_VALUE.search(value)
    }


def command(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Script, working folder, command line, and its options parsed; secrets replaced by stars."""
    argv = list(sys.orig_argv if argv is None else argv)
    program = sys.argv if argv == sys.orig_argv else argv
    found: dict[str, Any] = {"argv": hide(argv), "cwd": _working_folder()}
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script:
        found["script"] = str(Path(script).absolute())
    options = parse(hide(program[1:]))
    if options:
        found["options"] = options
    return found


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Options of a command line as key → value: `--a 1`, `--a=1`, `-a`, `a=1`; numbers as numbers."""
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


def hide(argv: Sequence[str]) -> list[str]:
    """A command line with the values of secret-looking options replaced."""
    shown: list[str] = []
    hide_next = False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        if hide_next and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif _SECRET_VALUE.search(argument):
            whole = not equals or "://" in name  # the = is one inside a URL
            shown.append(HIDDEN if whole else f"{name}={HIDDEN}")
        elif equals and SECRET.search(name):
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(argument)
        hide_next = argument.startswith("-") and not equals and bool(SECRET.search(argument))
    return shown


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
    except OSError:  # it was deleted under us
        return None
