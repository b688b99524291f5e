"""What of an environment and of a command line may be kept, and what looks like a secret."""

import os
import re
from collections.abc import Mapping, Sequence

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
SECRET_VALUE = re.compile(
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
        if not SECRET.search(name) and not SECRET_VALUE.search(value)
    }


def hide(argv: Sequence[str]) -> list[str]:
    """A command line with the values of secret-looking options replaced."""
    shown: list[str] = []
    hide_next = False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        if hide_next and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif SECRET_VALUE.search(argument):
            whole = not equals or "://" in name  # the = is one inside a URL
            shown.append(HIDDEN if whole else f"{name}={HIDDEN}")
        elif equals and SECRET.search(name):
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(argument)
        hide_next = argument.startswith("-") and not equals and bool(SECRET.search(argument))
    return shown
