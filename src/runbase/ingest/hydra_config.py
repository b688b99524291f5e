"""The configuration that Hydra writes for a job, as parameters of the runs of other tools in its folder."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from runbase.events import Opened, Params, Problem
from runbase.ids import derived_id
from runbase.ingest.folders import Reached
from runbase.ingest.untrusted import load_yaml
from runbase.storage.types import Delivery
from runbase.typing import JsonObject
from runbase.values import flatten

FOLDER, CONFIG = ".hydra", "config.yaml"


def with_config(
    deliveries: Iterable[Delivery], config: Path, reached: Reached
) -> Iterator[Delivery]:
    """Yield the deliveries of a folder; before the one that begins the run, Hydra's configuration as parameters.

    Values that refer to others, such as ``${lr}``, are kept as they are written.

    Args:
        deliveries: what is new in the folder.
        config: the file of the configuration.
        reached: returns how far a file has been read.
    """
    done = False
    for delivery in deliveries:
        first = delivery.events[0] if delivery.events else None
        if not done and isinstance(first, Opened):
            done = True
            yield from _parameters(first, config, reached)
        yield delivery


def _parameters(opened: Opened, config: Path, reached: Reached) -> Iterator[Delivery]:
    file = f"{FOLDER}/{CONFIG}"
    journal = derived_id(opened.run, file)
    if reached(journal):
        return
    problems: list[Problem] = []
    values: JsonObject = {}
    try:
        document = load_yaml(config)
        if isinstance(document, dict):
            values = dict(flatten(cast("JsonObject", document)))
    except ImportError:
        return  # PyYAML is not installed
    except (OSError, ValueError) as wrong:
        problems.append(Problem(str(config), None, f"not a valid configuration: {wrong}"))
    first = Opened(
        time=opened.time,
        version=opened.version,
        journal=journal,
        run=opened.run,
        experiment=opened.experiment,
        name=opened.name,
        process=opened.process,
    )
    yield Delivery(
        run=opened.run,
        events=[first, *([Params(time=opened.time, values=values)] if values else [])],
        journal=journal,
        start=0,
        offset=1,
        file=file,
        problems=problems,
    )
