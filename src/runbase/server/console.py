"""Which queries a server runs for its clients: none that read its own tables."""

from runbase.errors import NotAllowed

PRIVATE_TABLES = (
    "server_tokens",
    "server_audit",
    "server_alert_rules",
    "server_alert_seen",
    "server_alert_deliveries",
    "server_users",
    "server_grants",
    "server_sessions",
)
_WAYS_AROUND = ("_to_xml", 'u&"')
"""What could name a table without writing its name: PostgreSQL's functions that run text, and escaped identifiers."""


def check(query: str) -> None:
    """Raise NotAllowed if a query could read the server's own tables."""
    lowered = query.lower()
    if any(word in lowered for word in (*PRIVATE_TABLES, *_WAYS_AROUND)):
        raise NotAllowed(
            f"queries of clients do not read {', '.join(PRIVATE_TABLES)}, and do not use {' or '.join(_WAYS_AROUND)}"
        )
