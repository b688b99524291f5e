"""Rows of a run: which step a value is recorded at, by W&B's rules for `log`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from runbase.errors import InvalidValue, RunFinished
from runbase.events import Scalar
from runbase.values import to_step
from runbase.wandb.definitions import Definitions, Metric, counts_steps
from runbase.wandb.media import Sorted
from runbase.wandb.summaries import Summary
from runbase.wandb.terms import warn_once

if TYPE_CHECKING:
    from runbase.run.run import Run as Recorder


class Rows:
    """Logs rows to a run.

    A row is what W&B calls a step: log calls with the same step add to it, and a call without a step completes it.
    Values are written at once; W&B holds a row back until it is complete.

    Args:
        recorder: the run; None: nothing is recorded.
        summary: its summary.
        step: the first row.
    """

    def __init__(self, recorder: "Recorder | None", summary: Summary, step: Scalar) -> None:
        self.step: Scalar = step
        """The number of the current row."""
        self.last: Scalar = max(step - 1, 0)
        """The step at which the last values were recorded."""
        self.definitions = Definitions()
        self._recorder, self._summary = recorder, summary
        self.keys: set[str] = set()
        """The keys that were logged."""
        self._present: set[str] = set()
        self._steps: dict[str, Scalar] = {}

    def log(self, data: Mapping[Any, Any], step: Any = None, commit: bool | None = None) -> None:
        """Add values to a row.

        Args:
            data: key → value.
            step: the row. Default: the current one.
            commit: whether the row is complete. Default: if no step is passed.
        """
        row = self._row(step)
        if commit is None:
            commit = step is None
        if row != self.step:
            self._write(data, row, set())
        else:
            self._write(data, row, self._present)
            if commit:
                self._begin(row + 1)

    def _row(self, step: Any) -> Scalar:
        """Return the row of a step, and begin it if it is a later one."""
        if step is None:
            return self.step
        try:
            row = to_step(step)
        except InvalidValue as error:
            warn_once(f"{error}; the values are recorded at the current step")
            return self.step
        if row == int(row):
            row = int(row)
        if row > self.step:
            self._begin(row)
        elif row < self.step:
            warn_once(
                f"log was called with step {row} after step {self.step}; W&B drops such values, and runbase "
                "records them at their step"
            )
        return row

    def _begin(self, row: Scalar) -> None:
        self.step = row
        self._present = set()

    def _write(self, data: Mapping[Any, Any], row: Scalar, present: set[str]) -> None:
        values = Sorted()
        values.take(data)
        if self.definitions:
            self._add_steps(values, present)
        definitions = self.definitions
        for key, number in values.numbers.items():
            self._summary.observe(key, number, definitions.of(key) if definitions else None)
        for key, value in values.summary.items():
            self._summary.hold(key, value)
        self.keys.update(values.numbers, values.summary)
        if self._recorder is None:
            return
        self._record(self._recorder, values, row)

    def _add_steps(self, values: Sorted, present: set[str]) -> None:
        """Keep the values of step metrics, and add them to rows that lack them."""
        keys = [*values.numbers, *(key for key, _ in values.others)]
        present.update(keys)
        for key in keys:
            if key in self.definitions.steps and key in values.numbers:
                self._steps[key] = values.numbers[key]
        for key in keys:
            metric = self.definitions.step_of(key)
            name = None if metric is None else metric.step_metric
            if metric is None or name is None or name in present or name not in self._steps:
                continue
            if metric.step_sync:
                values.numbers[name] = self._steps[name]
                present.add(name)

    def _record(self, recorder: "Recorder", values: Sorted, row: Scalar) -> None:
        places: dict[Scalar, dict[str, Scalar]] = {}
        if self.definitions:
            for key, number in values.numbers.items():
                places.setdefault(self._place(key, row), {})[key] = number
        elif values.numbers:
            places[row] = values.numbers
        for place, numbers in places.items():
            recorder.log(numbers, place)
            self.last = place
        for key, write in values.others:
            self.last = place = self._place(key, row)
            attempt(key, lambda write=write, key=key, place=place: write(recorder, key, place))

    def _place(self, key: str, row: Scalar) -> Scalar:
        """Return the step of a point: that of its step metric if it counts steps, else the number of the row."""
        name = key if key in self.definitions.steps else self._step_metric(self.definitions.of(key))
        if name is None or name not in self._steps or not counts_steps(name):
            return row
        try:
            step = to_step(self._steps[name])
        except InvalidValue:
            return row
        return int(step) if isinstance(step, float) and step.is_integer() else step

    def _step_metric(self, metric: Metric | None) -> str | None:
        return None if metric is None else metric.step_metric


def attempt(key: str, work: Callable[[], object]) -> None:
    """Do something that must not stop training; an error is a warning, given once.

    Raises:
        RunFinished: the run has ended.
    """
    try:
        work()
    except RunFinished:
        raise
    except Exception as error:  # whatever a value or a package raises, training continues
        warn_once(f"{key!r} was not logged: {error}")
