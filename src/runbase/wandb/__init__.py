"""W&B's interface on runbase: scripts written for W&B record their runs in the store of runbase.

    import runbase.wandb as wandb

    run = wandb.init(project="digits", config={"lr": 0.1})
    for step in range(100):
        run.log({"train/loss": 1 / (step + 1)})
    run.finish()

`substitute` does the same for tools that import `wandb` themselves, and `python -m runbase.wandb script.py` for a script
without a change. Media, charts, artifacts, sweeps and `Api` have W&B's names. What runbase cannot do raises an
`UnsupportedError` or warns once; neither stops training.
"""

import sys
from typing import Any

from runbase.wandb import env, plot, submodules, util
from runbase.wandb.api import Api
from runbase.wandb.artifacts import Artifact
from runbase.wandb.configuration import Config
from runbase.wandb.data_types import (
    Audio,
    Bokeh,
    Classes,
    Graph,
    Histogram,
    Html,
    Image,
    Molecule,
    Object3D,
    Plotly,
    Video,
    box3d,
)
from runbase.wandb.errors import (
    AuthenticationError,
    CommError,
    ConfigError,
    Error,
    UnsupportedError,
    UsageError,
)
from runbase.wandb.fluent import (
    AlertLevel,
    BeforeInit,
    alert,
    controller,
    define_metric,
    ensure_configured,
    finish,
    link_model,
    log,
    log_artifact,
    log_model,
    login,
    mark_preempting,
    pin_config_keys,
    require,
    restore,
    save,
    setup,
    teardown,
    unwatch,
    use_artifact,
    use_model,
    watch,
)
from runbase.wandb.options import Settings
from runbase.wandb.plot import plot_table, visualize
from runbase.wandb.runs import Run
from runbase.wandb.start import attach, init
from runbase.wandb.state import state
from runbase.wandb.substitution import VERSION, substitute
from runbase.wandb.summaries import Summary
from runbase.wandb.sweeps import agent, sweep
from runbase.wandb.table import JoinedTable, Table
from runbase.wandb.terms import termerror, termlog, termsetup, termwarn

__version__ = VERSION
join = finish
_attach = attach
_teardown = teardown
_ABSENT = {
    "integration": "use the loggers of the frameworks, or log in their callbacks",
    "keras": "log in a callback of Keras: wandb.log(logs)",
    "xgboost": "log in a callback of XGBoost: wandb.log({name: value})",
    "lightgbm": "log in a callback of LightGBM: wandb.log({name: value})",
    "catboost": "log in a callback of CatBoost: wandb.log({name: value})",
    "sklearn": "use wandb.plot",
    "tensorboard": "`runbase scan LOGDIR` reads event files",
    "tensorflow": "`runbase scan LOGDIR` reads event files",
    "gym": "log videos with wandb.Video",
    "launch": "`runbase worker` runs programs on a queue",
}
"""Parts of W&B that are not here → what to do."""

state.init, state.attach, state.api = init, attach, lambda home: Api(home=home)

__all__ = [
    "AlertLevel",
    "Api",
    "Artifact",
    "Audio",
    "AuthenticationError",
    "Bokeh",
    "Classes",
    "CommError",
    "Config",
    "ConfigError",
    "Error",
    "Graph",
    "Histogram",
    "Html",
    "Image",
    "JoinedTable",
    "Molecule",
    "Object3D",
    "Plotly",
    "Run",
    "Settings",
    "Summary",
    "Table",
    "UnsupportedError",
    "UsageError",
    "Video",
    "agent",
    "alert",
    "attach",
    "box3d",
    "controller",
    "define_metric",
    "ensure_configured",
    "env",
    "finish",
    "init",
    "join",
    "link_model",
    "log",
    "log_artifact",
    "log_model",
    "login",
    "mark_preempting",
    "pin_config_keys",
    "plot",
    "plot_table",
    "require",
    "restore",
    "save",
    "setup",
    "substitute",
    "sweep",
    "teardown",
    "termerror",
    "termlog",
    "termsetup",
    "termwarn",
    "unwatch",
    "use_artifact",
    "use_model",
    "util",
    "visualize",
    "watch",
]


def __getattr__(name: str) -> Any:
    """Return the current run, its config or its summary."""
    if name == "run":
        return state.run
    if name in ("config", "summary"):
        run = state.run
        return BeforeInit(f"wandb.{name}") if run is None else getattr(run, name)
    if name in _ABSENT:
        raise AttributeError(f"runbase.wandb has no {name!r}: {_ABSENT[name]}")
    raise AttributeError(f"module 'runbase.wandb' has no attribute {name!r}")


submodules.add_to(sys.modules[__name__])
