"""The modules of W&B that other packages import by name, such as `wandb.sdk.lib`.

Each is a module object whose attributes are those of this package: the same classes under all names, so that
`isinstance` holds.
"""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from runbase.wandb import (
    api,
    artifacts,
    configuration,
    data_types,
    definitions,
    errors,
    fluent,
    options,
    plot,
    public_run,
    runs,
    start,
    summaries,
    terms,
    util,
)
from runbase.wandb.media import Media
from runbase.wandb.table import Table


class Telemetry:
    """Accepts any attribute; W&B's integrations name the features they use here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Telemetry()

    def __setattr__(self, name: str, value: object) -> None:
        pass


@contextmanager
def telemetry(run: Any = None, obj: Any = None) -> Generator[Telemetry]:
    """Yield an object that accepts any attribute."""
    del run, obj
    yield Telemetry()


_RUNS: Mapping[str, Any] = {"Run": runs.Run}
_LIB: Mapping[str, Any] = {"RunDisabled": runs.RunDisabled, "SummaryDisabled": summaries.Summary}
_CONFIG: Mapping[str, Any] = {"ConfigError": errors.ConfigError}
_SDK: Mapping[str, Any] = {
    "Artifact": artifacts.Artifact,
    "AlertLevel": fluent.AlertLevel,
    "Config": configuration.Config,
    "Settings": options.Settings,
    "Summary": summaries.Summary,
    "finish": fluent.finish,
    "init": start.init,
    "login": fluent.login,
    "setup": fluent.setup,
    "teardown": fluent.teardown,
    "_attach": start.attach,
}
_TYPES: Mapping[str, Any] = {name: getattr(data_types, name) for name in data_types.__all__}
_API: Mapping[str, Any] = {
    "Api": api.Api,
    "Artifact": artifacts.Artifact,
    "File": public_run.File,
    "Project": api.Project,
    "Run": public_run.PublicRun,
    "Runs": api.Runs,
    "Sweep": api.Sweep,
}
_TERM: Mapping[str, Any] = {
    name: getattr(terms, name) for name in ("termlog", "termwarn", "termerror", "termsetup")
}
CONTENTS: Mapping[str, Mapping[str, Any]] = {
    "apis": {},
    "apis.public": _API,
    "errors.errors": {name: getattr(errors, name) for name in vars(errors) if name[0].isupper()},
    "errors.term": _TERM,
    "plot.custom_chart": {"CustomChart": plot.CustomChart, "plot_table": plot.plot_table},
    "plot.viz": {"CustomChart": plot.CustomChart, "Visualize": plot.CustomChart},
    "sdk": _SDK,
    "sdk.artifacts": {"Artifact": artifacts.Artifact},
    "sdk.artifacts.artifact": {"Artifact": artifacts.Artifact},
    "sdk.data_types": _TYPES,
    "sdk.data_types.table": {"Table": Table},
    "sdk.data_types.image": {"Image": data_types.Image},
    "sdk.data_types.video": {"Video": data_types.Video},
    "sdk.data_types.base_types": {},
    "sdk.data_types.base_types.wb_value": {"WBValue": Media},
    "sdk.data_types.base_types.media": {"Media": Media},
    "sdk.lib": _LIB,
    "sdk.lib.config_util": _CONFIG,
    "sdk.lib.disabled": _LIB,
    "sdk.lib.runid": {"generate_id": util.generate_id},
    "sdk.lib.telemetry": {"context": telemetry, "TelemetryRecord": Telemetry},
    "sdk.wandb_alerts": {"AlertLevel": fluent.AlertLevel},
    "sdk.wandb_config": {"Config": configuration.Config},
    "sdk.wandb_init": {"init": start.init},
    "sdk.wandb_login": {"login": fluent.login},
    "sdk.wandb_metric": {"Metric": definitions.Metric},
    "sdk.wandb_run": {**_RUNS, "finish": fluent.finish},
    "sdk.wandb_settings": {"Settings": options.Settings},
    "sdk.wandb_setup": {"setup": fluent.setup, "teardown": fluent.teardown},
    "sdk.wandb_summary": {"Summary": summaries.Summary},
    "sdk.wandb_watch": {"watch": fluent.watch, "unwatch": fluent.unwatch},
    "wandb_run": _RUNS,
}
"""Name of the module → its attributes."""


def add_to(package: ModuleType) -> None:
    """Make the modules importable as parts of a package, and its attributes.

    Args:
        package: `runbase.wandb`.
    """
    for name, contents in CONTENTS.items():
        whole = f"{package.__name__}.{name}"
        module = ModuleType(whole, f"A part of W&B's interface; see `{package.__name__}`.")
        vars(module).update(contents)
        module.__spec__ = ModuleSpec(whole, None, is_package=True)
        module.__path__ = []
        sys.modules[whole] = module
        parent, _, last = whole.rpartition(".")
        setattr(sys.modules[parent], last, module)
