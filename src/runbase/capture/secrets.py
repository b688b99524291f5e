"""What looks like a secret, and how it is kept out of everything that is recorded.

Names decide first (`--api-key`, `DB_PASSWORD`), then forms of values: URLs with credentials, libpq
connection strings, JSON, HTTP headers, and tokens whose issuers publish their form (the same list
that secret scanners such as detect-secrets and GitHub's go by). `tests/unit/test_secrets.py` has the
corpus of what must go and of what must stay.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HIDDEN = "********"
ALLOWED = re.compile(
    r"(CUDA|NCCL|OMP|MKL|OPENBLAS|TORCH|PYTORCH|XLA|JAX|KERAS|TOKENIZERS|TRANSFORMERS|ACCELERATE"
    r"|SLURM|PBS|LSB|SGE|RUNBASE|HYDRA|RAY|OMPI|PMI|CONDA|VIRTUAL)_.*"
    # TensorFlow's; Terraform's begin with TF_ as well.
    r"|TF_(CPP|GPU|XLA|CUDNN|CUDA|ENABLE|DISABLE|FORCE|DETERMINISTIC|NUM|USE|MLIR|CONFIG|AUTOTUNE"
    r"|KERAS|LEGACY|ONEDNN|FUSED|PROFILER|JIT)(_.*)?"
    r"|RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT|NODE_RANK|GROUP_RANK"
    r"|PYTHONHASHSEED|LANG|TZ|NVIDIA_VISIBLE_DEVICES"
)
"""Names of environment variables that are recorded; RUNBASE_CAPTURE_ENV adds more, with commas."""

_NAME = re.compile(
    r"(?i)secret|passw|passphrase|(?:^|[._-])pass(?:$|[._-])|pwd|credential|cookie|jwt|bearer"
    r"|(?:^|[._-])dsn(?:$|[._-])|conn(?:ection)?[._-]?str|private|session|auth(?!or)"
    r"|(?:api|access|secret|private|ssh|license|encryption|signing|account|shared|storage|client"
    r"|master|service|address|wandb|neptune|comet|hf|openai|anthropic|aws|azure|gcp|mlflow)[._-]?key"
)
_TOKEN = re.compile(r"(?i)token")
_NO_TOKEN = re.compile(
    r"(?i)tokeni[sz]|tokens|detoken|token[._-]?(?:dim|len|size|id|count|num|type|level|embed)"
    r"|(?:eos|bos|pad|unk|sep|cls|mask|special|image|video|audio|per|max|min|num|n|first|last|end"
    r"|start|stop|extra|added|new|context|next|prev|class|dist|register|word|sub)[._-]?token"
)
"""Names of language models' parameters."""
_KEY = re.compile(r"(?i)(?:^|[._-])keys?$")

_TOKENS = re.compile(
    r"""(?x)
    (?<![A-Za-z0-9])(?:
      (?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{12,}           # AWS
    | gh[pousr]_[A-Za-z0-9]{8,} | github_pat_\w{8,}       # GitHub
    | glpat-[\w-]{8,}                                     # GitLab
    | xox[abeoprs]-[\w-]{8,}                              # Slack
    | sk[-_](?!learn)[A-Za-z0-9_-]{10,}                   # OpenAI, Anthropic, Stripe
    | hf_[A-Za-z0-9]{8,}                                  # Hugging Face
    | npm_[A-Za-z0-9]{30,} | pypi-[\w-]{30,}
    | AIza[\w-]{30,} | ya29\.[\w-]{10,}                   # Google
    | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*                     # JSON Web Token
    | SG\.[\w-]{16,}\.[\w-]{16,}                          # SendGrid
    | \d{8,10}:AA[\w-]{30,}                               # Telegram
    )"""
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:.{0,20000}?-----END [A-Z ]{0,40}PRIVATE KEY-----|.*)",
    re.DOTALL,
)
# A password may hold what a URL does not allow, also @; a port before a slash is none.
_URL = re.compile(r"(//[^/\s:@'\"]{0,200}:)(?!\d+(?:[/\s'\"]|$))([^\s'\"]{1,2000})(?=@)")
_URL_TOKEN = re.compile(r"(?<=//)[A-Za-z0-9_.~-]{20,}(?=@)")
_BEARER = re.compile(
    r"(?i)(\bbearer\s{1,20}|(?:proxy-)?authorization\\?[\"']?\s{0,20}[:=]\s{0,20}\\?[\"']?"
    r"(?:(?:bearer|basic|token|digest|apikey|negotiate)\s{1,20})?)([^\s\"',;\\]{6,})"
)
_PAIR = re.compile(
    r"""(?x)
    (?<![\w.-])
    (\\?["']?)([\w.-]{1,80})(\\?["']?\s{0,20}[:=]\s{0,20})      # a name, perhaps quoted
    (\\"(?:[^"\\]|\\[^"])*\\" | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | [^\s,;&"'}\])]+)"""
)
_QUOTED_PAIR = re.compile(
    r"""(?x)
    (?<![\w.-])
    (\\?["']?)([\w.-]{1,80})(\\?["']?\]?\s{0,20}[:=]\s{0,20}[rbuf]?)
    ("(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')"""
)
_TRIGGER = re.compile(
    rb"(?i)//|bearer|authorization|secret|passw|passphrase|pwd|credential|cookie|jwt|token|key|auth"
    rb"|private|session|dsn|conn|AKIA|ASIA|gh[pousr]_|glpat|xox|sk[-_]|hf_|npm_|pypi-|AIza|eyJ|SG\."
)
"""What a text has that holds a secret; most of a training's output has nothing of it."""
_CHUNK = 2**20
_CODE = (".py", ".ipynb", ".c", ".cc", ".cpp", ".h", ".hpp", ".rs", ".go", ".java", ".js", ".ts")


def is_secret(name: str, value: str | None = None) -> bool:
    """Whether a name, of an option, a variable or a key, says that its value is a secret."""
    if _NAME.search(name):
        return True
    if _TOKEN.search(name) and not _NO_TOKEN.search(name):
        return value is None or not _is_number(value)
    return bool(_KEY.search(name)) and value is not None and _is_random(value)


def mask_text(text: str, *, same_length: bool = False) -> str:
    """Text in which what looks like a secret is replaced by stars: messages, tracebacks, arguments.

    With `same_length`, by as many stars as the secret has characters.
    """
    stars = _as_long if same_length else _hidden
    return _mask_pairs(_mask_forms(text, stars), _PAIR, stars)


def mask_diff(diff: str) -> str:
    """A diff in which secrets are replaced; of source code only texts in quotes, so that it still applies."""
    parts = re.split(r"(?m)^(?=diff --git )", diff)
    return "".join(
        _mask_pairs(_mask_forms(part, _hidden), _QUOTED_PAIR if _is_code(part) else _PAIR, _hidden)
        for part in parts
    )


def mask_file(path: Path) -> None:
    """Replace secrets in a text file where it lies, byte by byte: another process may append to it.

    Raises OSError.
    """
    with path.open("r+b") as file:
        while lines := file.readlines(_CHUNK):
            data = b"".join(lines)
            if not _TRIGGER.search(data):
                continue
            # One byte a character, so that lengths stay the same.
            masked = mask_text(data.decode("latin-1"), same_length=True).encode("latin-1")
            if masked != data:
                place = file.tell()
                file.seek(place - len(data))
                file.write(masked)
                file.seek(place)


def mask_argv(argv: Sequence[str]) -> list[str]:
    """A command line with the values of secret-looking options, and what looks like a secret, replaced."""
    shown: list[str] = []
    before = ""
    """The option before, while its value may follow."""
    for argument in argv:
        name, equals, value = argument.partition("=")
        if before and not argument.startswith("-"):
            hidden = is_secret(before.lstrip("-"), argument)
            user, colon, _ = argument.partition(":")
            if before in ("-u", "--user") and colon:
                shown.append(f"{user}:{HIDDEN}")
            else:
                shown.append(HIDDEN if hidden else mask_text(argument))
        elif equals and is_secret(name.lstrip("-"), value):
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(mask_text(argument))
        before = argument if argument.startswith("-") and not equals else ""
    return shown


def allowed(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment variables of the allow-list, less those that look like secrets."""
    environ = os.environ if environ is None else environ
    more = {name.strip() for name in environ.get("RUNBASE_CAPTURE_ENV", "").split(",")}
    return drop_secrets({k: v for k, v in environ.items() if ALLOWED.fullmatch(k) or k in more})


def drop_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables less those whose name says that they are secret; secrets in others replaced."""
    return {
        name: mask_text(value)
        for name, value in sorted(environ.items())
        if not (is_secret(name, value) or _KEY.search(name))
    }


Stars = Callable[[str], str]


def as_environment(environ: Mapping[str, str] | str) -> dict[str, str]:
    """Return environment variables without those that look like a secret; for "auto", those of the allow-list."""
    return allowed() if isinstance(environ, str) else drop_secrets(environ)


def _hidden(secret: str) -> str:
    del secret
    return HIDDEN


def _as_long(secret: str) -> str:
    return "*" * len(secret)


def _mask_forms(text: str, stars: Stars) -> str:
    """Replace what is known by its form."""
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE_KEY.sub(lambda found: stars(found[0]), text)
    if "//" in text:
        text = _URL.sub(lambda found: found[1] + stars(found[2]), text)
        text = _URL_TOKEN.sub(lambda found: stars(found[0]), text)
    text = _BEARER.sub(lambda found: found[1] + stars(found[2]), text)
    return _TOKENS.sub(lambda found: stars(found[0]), text)


def _mask_pairs(text: str, pattern: "re.Pattern[str]", stars: Stars) -> str:
    def masked(found: "re.Match[str]") -> str:
        quote, name, sign, value = found.groups()
        around = re.match(r"\\?[\"']", value)
        mark = around[0] if around else ""
        inner = value[len(mark) : len(value) - len(mark)]
        if not inner or inner.strip("*") == "" or not is_secret(name, inner):
            return found[0]
        return f"{quote}{name}{sign}{mark}{stars(inner)}{mark}"

    return pattern.sub(masked, text)


def _is_code(part: str) -> bool:
    first = part.partition("\n")[0].strip()
    return first.startswith("diff --git") and first.endswith(_CODE)


def _is_number(value: str) -> bool:
    """Whether it is a number such as a count, and none that is long enough to be a secret."""
    return bool(re.fullmatch(r"[+-]?\d{1,9}(\.\d+)?", value))


def _is_random(value: str) -> bool:
    """Whether a value looks like a generated key: long, with letters and digits, without spaces or paths."""
    plain = re.fullmatch(r"[A-Za-z0-9_+=.~-]{16,}", value)
    return bool(plain and re.search(r"\d", value) and re.search(r"[A-Za-z]", value))
