"""Errors with W&B's names."""

from runbase.errors import RunbaseError


class Error(RunbaseError):
    """The base class of the errors of this module."""

    def __init__(self, message: str = "", context: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.context = context


class CommError(Error):
    """A run, a sweep or an artifact cannot be read."""


class AuthenticationError(CommError):
    """The server refused the caller."""


class UsageError(Error):
    """A call that makes no sense."""


class UnsupportedError(UsageError):
    """W&B can do this and runbase cannot; the message says what to do."""


class ConfigError(Error):
    """A config value would change without `allow_val_change`."""
