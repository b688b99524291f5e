"""`Handler`: keeps the warnings and errors of Python's `logging` as texts of the run."""

import logging

from runbase.errors import RunbaseError
from runbase.run.context import active_run
from runbase.run.run import Run


class Handler(logging.Handler):
    """Logs records as texts under `logging/warning`, `logging/error`, …, at the step of the latest log call.

    For loguru: ``logger.add(Handler(), format="{message}")``.

    Args:
        level: the least level that is kept.
        run: the run. Default: the current run at the time of each record; records without one are left out.
    """

    def __init__(self, level: int | str = logging.WARNING, run: Run | None = None) -> None:
        super().__init__(level)
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record."""
        if record.name.split(".")[0] == "runbase":
            return  # a message about this run would be logged into it, and so on
        run = self._run or active_run()
        if not isinstance(run, Run) or run.finished:
            return
        try:
            run.log_text(f"logging/{record.levelname.lower()}", self.format(record))
        except RunbaseError:
            self.handleError(record)
