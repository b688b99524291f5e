"""runbase: an experiment tracker that stores runs, trials and metrics in your own SQL database.

    import runbase

    with runbase.start_run("mnist", params={"lr": 1e-3}) as run:
        run.log({"train/loss": 0.5}, step=0)

    store = runbase.open()
    store.runs("params.lr < 0.01")

Names are loaded on first use, to keep `import runbase` fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbase.errors import (
        Ambiguous,
        FilterError,
        HomeError,
        InvalidValue,
        NotFound,
        QueryError,
        QueryTimeout,
        RunbaseError,
        RunFinished,
        StoreBusy,
        StoreCorrupt,
        StoreError,
        StoreTooNew,
        StoreUnavailable,
        UsageError,
    )
    from runbase.model import Objective
    from runbase.run.fluent import (
        current_run,
        finish,
        init,
        log,
        log_artifact,
        log_dict,
        log_figure,
        log_histogram,
        log_image,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        log_table,
        log_telemetry,
        log_text,
        note,
        tag,
    )
    from runbase.run.run import Run
    from runbase.run.start import start_run, track
    from runbase.server.notebook import show
    from runbase.status import Phase, Status
    from runbase.store.run_registry import open_registry
    from runbase.store.store import Experiments, Runs, Store, open

__version__ = "0.1.0.dev0"

_HOMES = {
    "store.store": "Experiments Runs Store open",
    "run.fluent": "current_run finish init log log_artifact log_dict log_figure log_histogram log_image log_metric "
    "log_metrics log_param log_params log_table log_telemetry log_text note tag",
    "errors": "Ambiguous FilterError HomeError InvalidValue NotFound QueryError QueryTimeout "
    "RunFinished RunbaseError StoreBusy StoreCorrupt StoreError StoreTooNew StoreUnavailable "
    "UsageError",
    "store.run_registry": "open_registry",
    "model": "Objective",
    "run.run": "Run",
    "server.notebook": "show",
    "run.start": "start_run track",
    "status": "Phase Status",
}
_PLACES = {name: module for module, names in _HOMES.items() for name in names.split()}

_HINTS = {
    "end_run": "runbase.finish()",
    "search_runs": "runbase.open().runs(where, order_by=…, limit=…)",
    "Api": "runbase.open()",
    "set_experiment": "runbase.start_run('experiment')",
    "set_tag": "runbase.tag({name: value})",
    "set_tags": "runbase.tag({name: value})",
    "set_tracking_uri": "runbase.start_run(…, store=url), or RUNBASE_STORE",
    "active_run": "runbase.current_run()",
    "get_run": "runbase.open().run(id)",
    "config": "run.params",
    "summary": "runbase.open().run(id).metrics",
    "define_metric": "run.log alone: last, min, max, mean and their steps are always recorded",
    "save": "runbase.log_artifact(path)",
    "connect": "runbase.open()",
}

__all__ = [
    "Ambiguous",
    "Experiments",
    "FilterError",
    "HomeError",
    "InvalidValue",
    "NotFound",
    "Objective",
    "Phase",
    "QueryError",
    "QueryTimeout",
    "Run",
    "RunFinished",
    "RunbaseError",
    "Runs",
    "Status",
    "Store",
    "StoreBusy",
    "StoreCorrupt",
    "StoreError",
    "StoreTooNew",
    "StoreUnavailable",
    "UsageError",
    "current_run",
    "finish",
    "init",
    "log",
    "log_artifact",
    "log_dict",
    "log_figure",
    "log_histogram",
    "log_image",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_table",
    "log_telemetry",
    "log_text",
    "note",
    "open",
    "open_registry",
    "show",
    "start_run",
    "tag",
    "track",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        value = getattr(import_module(f"runbase.{_PLACES[name]}"), name)
        globals()[name] = value
        return value
    if name in _HINTS:
        raise AttributeError(f"runbase has no {name!r}; use {_HINTS[name]}")
    raise AttributeError(f"module 'runbase' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
