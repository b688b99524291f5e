"""The keys of parameters, metrics and tags that runs have."""

from runbase.errors import UsageError
from runbase.storage.points_protocol import KnownKey
from runbase.storage.sql.session import Session

ALL = 2**62
"""More runs than there are."""
_STATEMENTS = {
    "param": "keys_of_params",
    "metric": "keys_of_series",
    "telemetry": "keys_of_series",
    "tag": "keys_of_tags",
}


def read(
    session: Session,
    kind: str,
    experiment: str | None = None,
    text: str = "",
    limit: int = 1000,
    newest: int | None = None,
) -> list[KnownKey]:
    """Return keys of a kind that contain a text, those of most runs first."""
    if kind not in _STATEMENTS:
        raise UsageError(f"no keys of the kind {kind!r}; use {', '.join(_STATEMENTS)}")
    escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    more = {"kind": kind} if _STATEMENTS[kind] == "keys_of_series" else {}
    rows = session.rows(
        _STATEMENTS[kind],
        experiment=experiment or "",
        all=int(experiment is None),
        text=f"%{escaped}%" if text else "",
        limit=limit,
        newest=ALL if newest is None else newest,
        **more,
    )
    return [
        KnownKey(
            key=row["key"],
            runs=row["runs"],
            type=row["type"],
            least=row["least"],
            greatest=row["greatest"],
        )
        for row in rows
    ]
