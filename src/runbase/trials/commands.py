"""The command of a worker: the placeholders in it, and the parameters that take their place."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_PLACE = re.compile(r"\{([^{}]+)\}")
_NAME = re.compile(r"[\w./-]+")
"""Braces of JSON are no placeholders."""


def fill(command: Sequence[str], params: Mapping[str, object], file: Path) -> list[str]:
    """Return a command with its placeholders replaced; an unknown placeholder is left unchanged.

    Args:
        command: the program and its arguments.
        params: the parameters of the trial.
        file: the file with the parameters, for `{file}`.
    """
    filled: list[str] = []
    for argument in command:
        if argument == "{params}":
            filled += [f"--{key}={as_text(value)}" for key, value in params.items()]
            continue

        def replacement(match: re.Match[str]) -> str:
            if match[1] == "file":
                return str(file)
            if match[1] == "params":
                return " ".join(f"--{k}={shlex.quote(as_text(v))}" for k, v in params.items())
            if match[1] in params:
                return as_text(params[match[1]])
            return match[0]

        filled.append(_PLACE.sub(replacement, argument))
    return filled


def warning_of_unknown(command: Sequence[str], params: Iterable[str]) -> str | None:
    """Return a warning of placeholders that are no parameters; None if there are none.

    They are passed on, because a command may contain braces.
    """
    words = {match[1] for argument in command for match in _PLACE.finditer(argument)}
    unknown = sorted(filter(_NAME.fullmatch, words - {"params", "file", *params}))
    if not unknown:
        return None
    return (
        f"the command contains {', '.join(f'{{{word}}}' for word in unknown)}, which is passed on as it is: "
        f"the parameters of the trial are {', '.join(sorted(params)) or 'none'}"
    )


def as_text(value: object) -> str:
    """Return a parameter as an argument: a text as it is, other values as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
