"""Errors as MLflow's clients expect them: a code, a message and an HTTP status."""

import json
from typing import Any

from runbase.errors import (
    Conflict,
    NotAllowed,
    NotFound,
    QueryError,
    QueryTimeout,
    RunbaseError,
    StoreBusy,
    StoreOffline,
    UsageError,
)

STATUSES = {
    "INVALID_PARAMETER_VALUE": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "BAD_REQUEST": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_CONFLICT": 409,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "INTERNAL_ERROR": 500,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
}
"""Code → HTTP status. Clients repeat requests that are answered with 429 and 5xx, except 501."""
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (NotFound, "RESOURCE_DOES_NOT_EXIST"),
    (NotAllowed, "PERMISSION_DENIED"),
    (Conflict, "RESOURCE_CONFLICT"),
    (QueryTimeout, "TEMPORARILY_UNAVAILABLE"),
    (StoreBusy, "TEMPORARILY_UNAVAILABLE"),
    (StoreOffline, "TEMPORARILY_UNAVAILABLE"),
    (QueryError, "INVALID_PARAMETER_VALUE"),
    (UsageError, "INVALID_PARAMETER_VALUE"),
    (ValueError, "INVALID_PARAMETER_VALUE"),
)
"""The code of each error of runbase; the first that matches counts."""


class MlflowError(Exception):
    """An error that is sent to the client.

    Attributes:
        code: one of `STATUSES`.
        message: what is wrong.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUSES[self.code]


def code_of(error: RunbaseError) -> str:
    """Return the code for an error of runbase."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), "INTERNAL_ERROR")


def invalid(message: str) -> MlflowError:
    """Return the error for a request that is not valid."""
    return MlflowError("INVALID_PARAMETER_VALUE", message)


def absent(name: str) -> MlflowError:
    """Return the error for a parameter that is required and missing."""
    return invalid(f"Missing value for required parameter '{name}'.")


def bad_value(value: Any, name: str, more: str = "") -> MlflowError:
    """Return the error for a parameter with a value that is not valid; `more` says why."""
    shown = json.dumps(value, default=str)
    return invalid(f"Invalid value {shown} for parameter '{name}' supplied{more or '.'}")


def not_found(message: str) -> MlflowError:
    """Return the error for something that does not exist."""
    return MlflowError("RESOURCE_DOES_NOT_EXIST", message)
