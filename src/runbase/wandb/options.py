"""What a run is started with: the arguments of `init`, `Settings` and the variables `WANDB_*`."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from runbase.events import Scalar
from runbase.typing import JsonObject
from runbase.values import to_text

NAMES = {
    "entity": "WANDB_ENTITY",
    "project": "WANDB_PROJECT",
    "run_id": "WANDB_RUN_ID",
    "run_name": "WANDB_NAME",
    "run_notes": "WANDB_NOTES",
    "run_tags": "WANDB_TAGS",
    "run_group": "WANDB_RUN_GROUP",
    "run_job_type": "WANDB_JOB_TYPE",
    "mode": "WANDB_MODE",
    "root_dir": "WANDB_DIR",
    "resume": "WANDB_RESUME",
}
"""Setting → the variable that sets it."""
_TRUE = ("1", "true", "yes", "on", "t", "y")


class Settings:
    """Settings by attribute. Unknown ones are accepted, and have no effect."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None

    def update(self, values: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Set several settings."""
        self.__dict__.update({**(values or {}), **more})

    def __repr__(self) -> str:
        return f"Settings({self.__dict__})"


class Origin(Struct, kw_only=True, frozen=True):
    """How a run began.

    Attributes:
        run_id: its id.
        project: its experiment.
        home: the folder for runs; None for a disabled run.
        step: the first row.
        settings: the settings.
    """

    run_id: str
    project: str
    home: Path | None = None
    step: Scalar = 0
    entity: str | None = None
    name: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] = ()
    group: str | None = None
    job_type: str | None = None
    resumed: bool = False
    sweep_id: str | None = None
    settings: Settings = Settings()


def resolve(settings: "Settings | Mapping[str, Any] | None", **arguments: Any) -> Settings:
    """Return the settings of a run: first the arguments, then `settings`, then the environment.

    Args:
        settings: an object or a mapping.
        arguments: the arguments of `init` by the names of settings; None if it was not passed.
    """
    given: JsonObject = {}
    if isinstance(settings, Mapping):
        given = dict(settings)
    elif settings is not None:
        given = dict(vars(settings))
    values: JsonObject = {k: v for k, v in given.items() if v is not None}
    for name, variable in NAMES.items():
        if values.get(name) in (None, "") and os.environ.get(variable):
            values[name] = os.environ[variable]
    values.update({name: value for name, value in arguments.items() if value is not None})
    values["mode"] = _mode(values.get("mode"))
    values["run_tags"] = _tags(values.get("run_tags"))
    return Settings(**values)


def is_true(value: object) -> bool:
    """Return whether a setting is switched on: True, or a text such as ``true`` or ``1``."""
    return str(value).lower() in _TRUE


def _mode(mode: object) -> str:
    if mode is None and is_true(os.environ.get("WANDB_DISABLED")):
        return "disabled"
    word = str(mode or "online").lower()
    return {"dryrun": "offline", "run": "online", "shared": "online"}.get(word, word)


def _tags(tags: object) -> tuple[str, ...]:
    if tags is None:
        return ()
    if isinstance(tags, str):
        return tuple(part.strip() for part in tags.split(",") if part.strip())
    several = cast("Iterable[object]", tags) if isinstance(tags, Iterable) else [tags]
    return tuple(dict.fromkeys(map(to_text, several)))
