"""Attributes stored with a new trial: settings for its runner, and notes of the sampler."""

from collections.abc import Mapping

import msgspec

from runbase.errors import UsageError
from runbase.trials.sampling import Suggestion
from runbase.typing import JsonObject


def scopes(
    params: Mapping[str, object], config: Mapping[str, object]
) -> dict[str, Mapping[str, object]]:
    """Return the attributes stored with the parameters: settings for the runner, notes of the sampler."""
    notes = params.notes if isinstance(params, Suggestion) else {}
    scopes: dict[str, Mapping[str, object]] = {"config": config, "system": notes}
    return {scope: values for scope, values in scopes.items() if values}


def plain(config: Mapping[str, object]) -> JsonObject:
    """Return settings for the runner of a trial, if they are plain data; raise UsageError otherwise."""
    for key, value in config.items():
        try:
            msgspec.json.encode(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"config {key!r} is a {type(value).__name__}; pass plain data that JSON can represent"
            ) from None
    return dict(config)
