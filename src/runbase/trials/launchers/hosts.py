"""Which store the workers on other machines can use, and which machine is this one."""

import ipaddress
import os
import socket
from collections.abc import Collection
from urllib.parse import parse_qsl, unquote, urlsplit

import psutil

from runbase.errors import UsageError
from runbase.storage.address import is_server, without_password


def only_here(address: str) -> str | None:
    """Return why other machines cannot use a store: what it is; None if they can.

    Args:
        address: the URL or the path of the store.
    """
    scheme = address.partition("://")[0].split("+")[0] if "://" in address else "sqlite"
    if is_server(address):
        hosts = [urlsplit(address).hostname or ""]
    elif scheme in ("postgresql", "postgres"):
        hosts = _hosts_of_postgres(address)
    else:
        return "a SQLite file, which is not safe to share between machines"
    if not hosts:
        return "a PostgreSQL server at a socket of this machine"
    if all(_is_loopback(host) for host in hosts):
        return "an address of this machine alone"
    return None


def check_reachable(address: str, where: str, others: Collection[str] | None) -> None:
    """Raise UsageError if workers on other machines cannot use the store.

    Args:
        address: the URL of the store.
        where: where the workers run, as the subject of a sentence.
        others: the names of the other machines; None if they are not known.
    """
    if others is not None and not others:
        return
    reason = only_here(address)
    if reason is None:
        return
    named = (
        f" ({', '.join(sorted(others)[:3])}{', …' if len(others) > 3 else ''})" if others else ""
    )
    raise UsageError(
        f"{where} on other machines{named}, which cannot use the store {without_password(address)}: "
        f"it is {reason}; use PostgreSQL (--store postgresql://user@host/database) or a runbase server "
        "(--store https://…)"
    )


def is_this_machine(name: str) -> bool:
    """Return whether a host name or an IP address is one of this machine."""
    short, own = (text.partition(".")[0].lower() for text in (name, socket.gethostname()))
    if short in (own, "localhost"):
        return True
    addresses = {
        address.address.partition("%")[0]
        for interface in psutil.net_if_addrs().values()
        for address in interface
    }
    return name in addresses


def _hosts_of_postgres(url: str) -> list[str]:
    """Return the hosts in a URL of PostgreSQL, with libpq's variables; none for a socket."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    place = parts.netloc.rpartition("@")[2]
    hosts = [_without_port(host) for host in unquote(place).split(",") if host]
    for name in ("host", "hostaddr"):
        if options.get(name):
            hosts = options[name].split(",")
    if not hosts and ("service" in options or "PGSERVICE" in os.environ):
        return ["service"]  # a file that only libpq reads: taken as reachable
    if not hosts:
        hosts = [host for host in os.environ.get("PGHOST", "").split(",") if host]
    return [host for host in hosts if not host.startswith(("/", "@"))]


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.startswith("/") else host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() in ("localhost", "localhost.localdomain", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


__all__ = ["check_reachable", "is_this_machine", "only_here"]
