"""Targets of alerts: what is one, what a shared server refuses, what is shown."""

import pytest

from runbase.errors import UsageError
from runbase.server.alerts import targets


@pytest.mark.parametrize(
    "target",
    [
        "desktop",
        "mailto:ada@lab.example",
        "webhook:https://hooks.example/a?b=c",
        "slack:http://10.0.0.7:8065/hooks/x",
        "webhook:https://[2001:db8::1]/",
    ],
)
def test_targets(target: str) -> None:
    assert targets.check(target, private=False) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "desktop:x",
        "https://hooks.example",
        "webhook:",
        "webhook:ftp://hooks.example",
        "webhook:file:///etc/passwd",
        "webhook:https://",
        "webhook:https://hooks.example:port/",
        "webhook:https://hooks.example/a b",
        "webhook:https://hooks.example/\r\nHost: other",
        "webhook:http://[::1",
        "mailto:",
        "mailto:ada",
        "mailto:ada@lab.example,eve@lab.example",
        "mailto:ada@lab.example\nBcc: eve@lab.example",
        "mailto:Ada <ada@lab.example>",
        "sms:1",
    ],
)
def test_what_is_no_target(target: str) -> None:
    with pytest.raises(UsageError, match="target"):
        targets.check(target)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
    ],
)
def test_a_shared_server_does_not_call_itself(host: str) -> None:
    assert not targets.is_allowed(host)


def test_names_and_addresses_of_the_network_are_allowed() -> None:
    for host in ("hooks.example", "10.1.2.3", "192.168.1.1", "8.8.8.8", "2001:4860::8888"):
        assert targets.is_allowed(host)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("webhook:https://ada:pw@hooks.example/T0?k=1#x", "webhook:https://hooks.example/…"),
        ("slack:http://hooks.example:8065/", "slack:http://hooks.example:8065/"),
        ("webhook:https://hooks.example?key=1", "webhook:https://hooks.example/…"),
        ("webhook:https://[::1]:80/x", "webhook:https://[::1]:80/…"),
        ("webhook:https://[::1", "webhook:…"),
        ("mailto:ada@lab.example", "mailto:ada@lab.example"),
        ("desktop", "desktop"),
    ],
)
def test_secrets_are_not_shown(target: str, shown: str) -> None:
    assert targets.redacted(target) == shown
