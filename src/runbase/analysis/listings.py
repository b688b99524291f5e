"""What listings return: lists of records that know their next page and become data frames."""

from collections.abc import Iterable
from typing import Any, TypeVar

from runbase.model import Experiment, Run

T = TypeVar("T")


class Listing(list[T]):
    """A list of records; `cursor` gives the next page, and is None on the last."""

    def __init__(self, items: Iterable[T] = (), cursor: str | None = None) -> None:
        super().__init__(items)
        self.cursor = cursor

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary per record."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """A pandas DataFrame, one row a record, with flat columns such as `params.*` and `metrics.*`."""
        from runbase.analysis import frames

        return frames.to_pandas(frames.columns_of(self.rows()))

    def to_polars(self) -> Any:
        """The same as a Polars DataFrame."""
        from runbase.analysis import frames

        return frames.to_polars(frames.columns_of(self.rows()))

    def to_arrow(self) -> Any:
        """The same as an Arrow table."""
        from runbase.analysis import frames

        return frames.to_arrow(frames.columns_of(self.rows()))

    def _repr_html_(self) -> str:
        from runbase.analysis import html

        return html.listing(self.rows())


class Runs(Listing[Run]):
    """Runs, as a query returned them."""

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary per run: fields, own columns, `params.*`, `metrics.*` (last), `tags.*`."""
        from runbase.analysis.frames import run_row

        return [run_row(run) for run in self]


class Experiments(Listing[Experiment]):
    """Experiments, as a query returned them."""

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary per experiment: fields, own columns, `config.*`, `metrics.*`, `tags.*`."""
        from runbase.analysis.frames import experiment_row

        return [experiment_row(experiment) for experiment in self]
