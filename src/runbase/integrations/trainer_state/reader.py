"""Read output folders of transformers' Trainer: trainer_state.json of the folder or of its newest checkpoint.

The state is written with each checkpoint. A training that reached its last step, or that was told to stop, is COMPLETED;
another one whose files have not changed for three minutes is too, and is resumed when a newer checkpoint is there.
"""

import json
import re
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runbase.events import Ended, Params, Points, Started
from runbase.ids import derived_id
from runbase.ingest.folders import STILL, Folder, Keep, Reached, Unreadable, opening
from runbase.integrations.held import numbers
from runbase.integrations.trainer_state.names import spelt
from runbase.status import Status
from runbase.storage.types import Delivery
from runbase.typing import JsonObject

NAME = "transformers"
NESTED = True
"""An output folder can be one with other runs in it, such as that of a project."""
_STATE, _CONFIG, _EVENTS = "trainer_state.json", "config.json", "runs"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)/")
_PARAMS = (
    "max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps", "save_steps",
)  # fmt: skip


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the states of the folder and of its newest checkpoint, and the configuration of the model.

    None if TensorBoard's event files, which have the same figures and are written more often, are in the folder `runs`.
    """
    steps = {int(found[1]): found[0] for name in names if (found := _CHECKPOINT.fullmatch(name))}
    where = ["", *([steps[max(steps)]] if steps else [])]
    found = [f"{place}{_STATE}" for place in where if _is_there(folder, names, f"{place}{_STATE}")]
    if not found or _is_checkpoint(folder) or (f"{_EVENTS}/" in names and _has_events(folder)):
        return []
    configs = [f"{place}{_CONFIG}" for place in where]
    return found + [name for name in configs if _is_there(folder, names, name)][:1]


def skips(name: str) -> bool:
    """Return whether a subfolder is part of the run."""
    return name == _EVENTS or _CHECKPOINT.fullmatch(f"{name}/") is not None


def _is_there(folder: str, names: set[str], name: str) -> bool:
    return (Path(folder) / name).is_file() if "/" in name else name in names


def _is_checkpoint(folder: str) -> bool:
    """Return whether a folder is a checkpoint of the folder around it, when the scan begins in it."""
    return _CHECKPOINT.fullmatch(f"{Path(folder).name}/") is not None


def _has_events(folder: str) -> bool:
    return next((Path(folder) / _EVENTS).glob("*/*tfevents.*"), None) is not None


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read the newest state, and the entries of its history that are new."""
    del keep
    run = derived_id(NAME, str(folder))
    states = [name for name in names if name.endswith(_STATE)]
    state, changed = max(
        (_state(folder / name) for name in states), key=lambda found: _step(found[0])
    )
    history = [cast("JsonObject", row) for row in state["log_history"] if isinstance(row, dict)]
    began = min((folder / name).stat().st_mtime for name in names)
    first, journal = opening(run, _STATE, folder.parent.name or NAME, folder.name or NAME, began)
    known = reached(
        journal
    )  # twice the position in the history; odd if the run was considered ended
    new = _new(history, known // 2)
    ended = _is_done(state) or time.time() - changed > STILL
    position = _position(history) if new else known // 2
    offset = 2 * position + (1 if ended else 0)
    events: list[Any] = []
    if known == 0:
        events = [first, Started(time=began)]
        params = _params(folder, names, state)
        if params:
            events.append(Params(time=began, values=params))
        offset = max(offset, 2)
    elif new and known % 2:
        events.append(Started(time=changed, resumed=True))
    events += _points(new, state, changed)
    if ended and (new or not known % 2):
        events.append(Ended(time=changed, status=Status.COMPLETED))
    delivery = Delivery(
        run=run, events=events, journal=journal, start=known, offset=offset, file=_STATE
    )
    return Folder(run=run, deliveries=[delivery] if events else [], live=not ended)


def _state(path: Path) -> tuple[JsonObject, float]:
    """Return a state, and when it was written."""
    changed = path.stat().st_mtime
    try:
        state: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as wrong:
        raise Unreadable(f"{path.name} is damaged or incomplete: {wrong}") from None
    if not isinstance(state, dict) or not isinstance(
        cast("JsonObject", state).get("log_history"), list
    ):
        raise Unreadable(f"{path.name} has no log_history")
    return cast("JsonObject", state), changed


def _step(state: Mapping[str, Any]) -> int:
    step = state.get("global_step")
    return step if isinstance(step, int) else 0


def _is_done(state: Mapping[str, Any]) -> bool:
    """Return whether a training has reached its last step, or was told to stop, as by early stopping."""
    last = state.get("max_steps")
    if isinstance(last, int) and 0 < last <= _step(state):
        return True
    try:
        return state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"] is True
    except (KeyError, TypeError):
        return False


def _new(history: Sequence[JsonObject], known: int) -> Sequence[JsonObject]:
    """Return the entries that are not stored: all if an entry that is stored is another one now."""
    count, mark = divmod(known, 2**32)
    if count > len(history):
        return []  # a training that began again has fewer entries; it is read once it has as many
    kept = count == 0 or _mark(history[:count]) == mark
    return history[count if kept else 0 :]


def _position(history: Sequence[JsonObject]) -> int:
    return len(history) * 2**32 + _mark(history)


def _mark(rows: Sequence[JsonObject]) -> int:
    """Return a checksum of 32 bits of entries."""
    return zlib.crc32(json.dumps(rows, sort_keys=True).encode())


def _params(folder: Path, names: Sequence[str], state: JsonObject) -> JsonObject:
    """Return the parameters that the state has, those of a search, and the configuration of the model."""
    params: JsonObject = {}
    for name in names:
        if name.endswith(_CONFIG) and not name.endswith(_STATE):
            try:
                config: Any = json.loads((folder / name).read_bytes())
            except (OSError, ValueError, RecursionError):
                continue
            params |= cast("JsonObject", config) if isinstance(config, dict) else {}
    params |= {key: state[key] for key in _PARAMS if state.get(key) is not None}
    searched: Any = state.get("trial_params")
    return params | (cast("JsonObject", searched) if isinstance(searched, dict) else {})


def _points(rows: Sequence[JsonObject], state: JsonObject, changed: float) -> list[Points]:
    """Return the figures of the history at their steps; the file has no times."""
    points: list[Points] = []
    for row in rows:
        figures = numbers(spelt({key: value for key, value in row.items() if key != "step"}))
        if not figures:
            continue
        keys = tuple(figures)
        if not points or points[-1].keys != keys:
            points.append(Points(keys=keys, steps=[], times=[], columns=[[] for _ in keys]))
        step = row.get("step")
        points[-1].steps.append(step if isinstance(step, int) else _step(state))
        points[-1].times.append(changed)
        for column, value in zip(points[-1].columns, figures.values(), strict=True):
            column.append(value)
    return points
