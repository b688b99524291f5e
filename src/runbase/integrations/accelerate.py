"""`RunbaseTracker` for accelerate; importing this module also makes ``log_with="runbase"`` work.

The interface is that of `accelerate.tracking.GeneralTracker` 1.x.
"""

# pyright: basic, reportMissingImports=false

from typing import Any, Unpack

from accelerate import tracking
from accelerate.tracking import GeneralTracker, on_main_process

from runbase.integrations.held import HeldRun, RunArguments
from runbase.run.run import Run


class RunbaseTracker(GeneralTracker):
    """Logs what an `Accelerator` logs into a run. Only the main process logs.

    ``Accelerator(log_with="runbase")`` and `init_trackers` make it; ``init_kwargs={"runbase": {...}}`` are its further arguments.

    Args:
        experiment: the project of `init_trackers`: the experiment.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    name = "runbase"
    requires_logging_directory = False
    main_process_only = True

    @on_main_process
    def __init__(
        self,
        experiment: str | None = None,
        **options: Unpack[RunArguments],
    ) -> None:
        super().__init__()
        self.held = HeldRun(experiment if options.get("run") is None else None, **options)

    @on_main_process
    def start(self) -> None:
        """Begin the run."""
        _ = self.held.run

    @property
    def tracker(self) -> Run:
        """The open run, for its own methods."""
        return self.held.run

    @on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Set parameters; nested ones are flattened with ``/``."""
        self.held.log_params(values)

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Log numbers and texts at a step."""
        self.held.log(values, step)
        for key, value in values.items():
            if isinstance(value, str):
                self.held.run.log_text(key, value, step)

    @on_main_process
    def log_images(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Log images: one as `key`, several as `key/0`, `key/1`, …"""
        for key, images in values.items():
            for place, image in enumerate(images):
                name = key if len(images) == 1 else f"{key}/{place}"
                self.held.run.log_image(name, image, step)

    @on_main_process
    def log_table(
        self, table_name: str, columns: Any = None, data: Any = None, dataframe: Any = None,
        step: int | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Log a table."""
        rows = data if dataframe is None else dataframe
        self.held.run.log_table(table_name, rows, columns if dataframe is None else None, step)

    @on_main_process
    def finish(self) -> None:
        """End the run."""
        self.held.finish()


if "runbase" not in {str(kind) for kind in tracking.LOGGER_TYPE_TO_CLASS}:
    tracking.register_tracker_class(RunbaseTracker)
