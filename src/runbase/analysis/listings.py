"""What listings return: lists of records that know their next page and become data frames."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from runbase.model import Experiment, Run, Shown

T = TypeVar("T")


class Frames:
    """Objects that convert to data frames: listings of records, and tables of columns."""

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per row."""
        raise NotImplementedError

    def _columns(self) -> Mapping[str, list[Any]]:
        from runbase.analysis import frames

        return frames.columns_of(self.rows())

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with one row per record, and columns such as `params.*` and `metrics.*`."""
        from runbase.analysis import frames

        return frames.to_pandas(self._columns())

    def to_polars(self) -> Any:
        """Return a Polars DataFrame with the same columns; columns of several types become text."""
        from runbase.analysis import frames

        return frames.to_polars(self._columns())

    def to_arrow(self) -> Any:
        """Return an Arrow table with the same columns; columns of several types become text."""
        from runbase.analysis import frames

        return frames.to_arrow(self._columns())

    def _repr_html_(self) -> str:
        from runbase.analysis import html

        return html.listing(self.rows())


class Listing(Frames, list[T]):
    """A list of records.

    Attributes:
        cursor: the argument `after` of the next page; None on the last page.
    """

    def __init__(self, items: Iterable[T] = (), cursor: str | None = None) -> None:
        super().__init__(items)
        self.cursor = cursor


class Runs(Listing[Run]):
    """A list of run records, which `Store.runs` returns.

    Attributes:
        cursor: the argument `after` of the next page; None on the last page.
    """

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per run: fields, own columns, `params.*`, `metrics.*` (last), `tags.*`."""
        from runbase.analysis.frames import run_row

        return [run_row(run) for run in self]


class Table(Frames):
    """Columns of runs, or of groups of runs.

    Attributes:
        columns: name → one value a row, in the order in which the columns were requested.
        ids: the id of each run, in the order of the rows; empty for groups.
        cursor: the argument `after` of the next page; None on the last page.
    """

    def __init__(
        self, columns: dict[str, list[Any]], ids: list[str], cursor: str | None = None
    ) -> None:
        self.columns, self.ids, self.cursor = columns, ids, cursor

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), self.ids))

    def __getitem__(self, name: str) -> list[Any]:
        """Return a column."""
        return self.columns[name]

    def __repr__(self) -> str:
        """Return the size and the names of the columns."""
        names = ", ".join([*self.columns][:8]) + (", …" if len(self.columns) > 8 else "")
        return f"<Table of {len(self):,} rows × {len(self.columns):,} columns: {names}>"

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per row."""
        names = list(self.columns)
        return [
            dict(zip(names, row, strict=True)) for row in zip(*self.columns.values(), strict=True)
        ]

    def _columns(self) -> Mapping[str, list[Any]]:
        return self.columns


class Experiments(Listing[Experiment]):
    """A list of experiments, which `Store.experiments` returns.

    Attributes:
        cursor: the argument `after` of the next page; None on the last page.
    """

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per experiment: fields, own columns, `config.*`, `metrics.*`, `tags.*`."""
        from runbase.analysis.frames import experiment_row

        return [experiment_row(experiment) for experiment in self]


def _view(name: str) -> Callable[[Any], str]:
    def make(shown: Any) -> str:
        from runbase.analysis import views  # imported here: only notebooks need it

        return getattr(views, name)(shown)

    return make


Shown.views |= {
    "Run": _view("run"),
    "Experiment": _view("experiment"),
    "Series": _view("series"),
    "Envelope": _view("envelope"),
    "Rows": _view("rows"),
}
