"""Where alerts are delivered to: `webhook:URL`, `slack:URL`, `mailto:ADDRESS`, `desktop`."""

import ipaddress
import re
from email.utils import parseaddr
from urllib.parse import urlsplit

from runbase.errors import UsageError

KINDS = ("webhook", "slack")
DESKTOP = "desktop"
_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


def split(target: str) -> tuple[str, str]:
    """Return the kind of a target (webhook, slack, mailto, desktop) and its URL or address."""
    if target == DESKTOP:
        return DESKTOP, ""
    kind, _, place = target.partition(":")
    return kind, place


def check(target: str, *, private: bool = True) -> str:
    """Return a target if alerts can be delivered to it.

    Args:
        target: the target.
        private: whether addresses of this machine and its link are allowed. Names are looked up at each delivery.

    Raises:
        UsageError: it is not a target, or its address is not allowed.
    """
    kind, place = split(target)
    if kind == DESKTOP and not place:
        return target
    if kind == "mailto" and _ADDRESS.fullmatch(place) and parseaddr(place)[1] == place:
        return target
    if kind not in KINDS:
        raise UsageError(
            f"{target!r} is not a target; use webhook:https://…, slack:https://…, mailto:ada@lab.example or desktop"
        )
    try:
        parts = urlsplit(place)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"the target {redacted(target)} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host or _CONTROL.search(place):
        raise UsageError(f"the target {redacted(target)} is not a URL of http or https")
    if not private and not is_allowed(host):
        raise UsageError(
            f"the target {redacted(target)} is an address of the server itself; --alert-private-targets allows it"
        )
    return target


def is_allowed(host: str) -> bool:
    """Return whether a shared server may connect to a host: not to itself, and not to addresses of its link.

    Args:
        host: a name or an IP address; of names, only `localhost` is known here.
    """
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return False
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = address if inner is None else inner
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
    )


def redacted(target: str) -> str:
    """Return a target without what may be secret in its URL: user, password, path and query."""
    kind, place = split(target)
    if kind not in KINDS:
        return target
    try:
        parts = urlsplit(place)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{kind}:…"
    shown = f"[{host}]" if ":" in host else host
    shown += f":{port}" if port else ""
    rest = "/…" if parts.path.strip("/") or parts.query or parts.fragment else parts.path
    return f"{kind}:{parts.scheme}://{shown}{rest}"
