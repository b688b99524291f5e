"""Variables of the environment, as W&B's module `env` reads and sets them."""

import os
from collections.abc import MutableMapping

ENTITY = "WANDB_ENTITY"
PROJECT = "WANDB_PROJECT"
RUN_ID = "WANDB_RUN_ID"
NAME = "WANDB_NAME"
MODE = "WANDB_MODE"
DIR = "WANDB_DIR"
RESUME = "WANDB_RESUME"
TAGS = "WANDB_TAGS"
NOTES = "WANDB_NOTES"
RUN_GROUP = "WANDB_RUN_GROUP"
JOB_TYPE = "WANDB_JOB_TYPE"
SWEEP_ID = "WANDB_SWEEP_ID"
API_KEY = "WANDB_API_KEY"
BASE_URL = "WANDB_BASE_URL"
SILENT = "WANDB_SILENT"
ERROR_REPORTING = "WANDB_ERROR_REPORTING"
Environment = MutableMapping[str, str]


def get_entity(default: str | None = None, env: Environment | None = None) -> str | None:
    """Return the entity."""
    return _environment(env).get(ENTITY, default)


def get_project(default: str | None = None, env: Environment | None = None) -> str | None:
    """Return the project."""
    return _environment(env).get(PROJECT, default)


def get_run(default: str | None = None, env: Environment | None = None) -> str | None:
    """Return the id of the run."""
    return _environment(env).get(RUN_ID, default)


def get_dir(default: str | None = None, env: Environment | None = None) -> str | None:
    """Return the folder."""
    return _environment(env).get(DIR, default)


def is_offline(env: Environment | None = None) -> bool:
    """Return whether the mode is offline."""
    return _environment(env).get(MODE) in ("offline", "dryrun")


def set_entity(value: str, env: Environment | None = None) -> None:
    """Set the entity of runs that name none."""
    _environment(env)[ENTITY] = value


def set_project(value: str, env: Environment | None = None) -> None:
    """Set the project of runs that name none."""
    _environment(env)[PROJECT] = value or "uncategorized"


def _environment(env: Environment | None) -> Environment:
    return os.environ if env is None else env
