"""Parse database URLs, and show them without passwords."""

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from runbase.capture.secrets import mask_text
from runbase.errors import UsageError

SECRETS = ("password", "sslpassword", "passfile")


class Address(Struct, frozen=True):
    """A PostgreSQL database: parameters for libpq, the search path, and the URL without its password."""

    libpq: str
    schema: tuple[str, ...]
    shown: str


def postgres_address(url: str) -> Address:
    """Parse `postgresql://user:password@host/db?schema=lab&sslmode=require`.

    `postgres://` and `postgresql+psycopg2://`, which other tools write, mean the same. `schema` may be a list with commas:
    tables are created in the first schema.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:  # for example an IPv6 address without a closing bracket
        raise UsageError(f"{mask_text(url)!r} is not a database URL: {error}") from None
    options = parse_qsl(parts.query, keep_blank_values=True)
    schema = [unquote(value) for name, value in options if name == "schema"]
    path = tuple(name.strip() for value in schema for name in value.split(",") if name.strip())
    kept = [(name, value) for name, value in options if name != "schema"]
    libpq = urlunsplit(
        ("postgresql", parts.netloc, parts.path, urlencode(kept, quote_via=quote), "")
    )
    # urlunsplit omits the // of an empty host, which libpq needs.
    if not libpq.startswith("postgresql://"):
        libpq = "postgresql://" + libpq.removeprefix("postgresql:").lstrip("/").join(("/", ""))
    return Address(libpq, path, without_password(url))


def without_password(url: str) -> str:
    """Return a URL that can be printed, stored and logged."""
    if "://" not in url:
        return mask_text(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        return mask_text(url)
    netloc = parts.netloc
    user, at, host = netloc.rpartition("@")
    if at:
        netloc = f"{user.partition(':')[0]}@{host}"
    options = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in options if name.lower() not in SECRETS]
    scheme = parts.scheme.split("+")[0]
    scheme = "postgresql" if scheme == "postgres" else scheme
    query = urlencode(kept, quote_via=quote, safe="/,:")
    return f"{scheme}://{netloc}{parts.path}" + (f"?{query}" if query else "")


def is_server(url: str) -> bool:
    """Return whether a URL is one of a runbase server, or of a place on it."""
    return url.startswith(("http://", "https://"))


def server_of(url: str) -> str:
    """Return the address of a server: without user, password, query and trailing slash.

    Raises:
        UsageError: the URL has no host.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise UsageError(
            f"{mask_text(url)!r} names no host; a server's URL is like https://runbase.lab.example"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if parts.port is None else f"{host}:{parts.port}"
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
