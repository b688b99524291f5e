"""`Table`: rows and columns, whose cells may be media."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from runbase import extras
from runbase.events import Scalar
from runbase.typing import JsonObject
from runbase.values import to_text
from runbase.wandb.errors import UsageError
from runbase.wandb.media import Media

if TYPE_CHECKING:
    from runbase.run.run import Run as Recorder


class Table(Media):
    """A table.

    Args:
        columns: the names of the columns.
        data: rows, an array of two dimensions, or a data frame.
        rows: another name of `data`.
        dataframe: a data frame of pandas.
        dtype: ignored; cells keep their types.
        optional: ignored.
        allow_mixed_types: ignored; a column may contain values of several types.
        log_mode: ignored; each log call records the whole table.
    """

    kind = "table-file"

    def __init__(
        self,
        columns: Sequence[Any] | None = None,
        data: Any = None,
        rows: Any = None,
        dataframe: Any = None,
        dtype: Any = None,
        optional: Any = True,
        allow_mixed_types: bool = False,
        log_mode: str | None = "IMMUTABLE",
    ) -> None:
        del dtype, optional, allow_mixed_types
        self.log_mode = log_mode
        source = dataframe if dataframe is not None else data if data is not None else rows
        if hasattr(source, "columns") and hasattr(source, "itertuples"):
            columns = [*source.columns] if columns is None else columns
            source = [list(row) for row in source.itertuples(index=False, name=None)]
        elif hasattr(source, "tolist"):
            source = source.tolist()
        self.data: list[list[Any]] = [list(row) for row in source or []]
        width = len(self.data[0]) if self.data else 0
        default = ["Input", "Output", "Expected"] if not self.data else range(width)
        self.columns: list[Any] = [*(default if columns is None else columns)]
        for row in self.data:
            self._check(row)

    def add_data(self, *data: Any) -> None:
        """Add a row, one argument a column."""
        self._check(data)
        self.data.append([*data])

    def add_row(self, *row: Any) -> None:
        """Add a row; another name of `add_data`."""
        self.add_data(*row)

    def add_column(self, name: Any, data: Any, optional: bool = False) -> None:
        """Add a column.

        Args:
            name: its name.
            data: its values, one a row.
            optional: ignored.
        """
        del optional
        values = data.tolist() if hasattr(data, "tolist") else [*data]
        if self.data and len(values) != len(self.data):
            raise UsageError(
                f"column {name!r} has {len(values)} values and the table {len(self.data)} rows"
            )
        if not self.data:
            self.data = [[] for _ in values]
            self.columns = []
        self.columns.append(name)
        for row, value in zip(self.data, values, strict=True):
            row.append(value)

    def add_computed_columns(self, fn: Any) -> None:
        """Add columns computed by a function of the number and the values of a row."""
        added = [fn(number, self._as_dict(row)) for number, row in enumerate(self.data)]
        for name in added[0] if added else ():
            self.add_column(name, [values[name] for values in added])

    def get_column(self, name: Any, convert_to: str | None = None) -> Any:
        """Return the values of a column; with ``convert_to="numpy"`` as an array."""
        if name not in self.columns:
            raise UsageError(f"the table has no column {name!r}; it has {self.columns}")
        place = self.columns.index(name)
        values = [row[place] for row in self.data]
        if convert_to == "numpy":
            import numpy as np

            return np.array(values)
        return values

    def get_index(self) -> list[int]:
        """Return the numbers of the rows."""
        return [*range(len(self.data))]

    def get_dataframe(self) -> Any:
        """Return the table as a data frame of pandas."""
        pandas = extras.load("pandas", "analysis", "Table.get_dataframe")
        return pandas.DataFrame(self.data, columns=self.columns)

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield the number and the cells of each row."""
        yield from enumerate(self.data)

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log it as a table; a cell that is a medium is logged as `KEY/COLUMN/ROW`, and the cell names that."""
        names = [str(column) for column in self.columns]
        rows: list[list[Any]] = []
        for number, row in enumerate(self.data):
            cells: list[Any] = []
            for name, value in zip(names, row, strict=True):
                if isinstance(value, Media):
                    place = f"{key}/{name}/{number}"
                    value.record(run, place, step)
                    cells.append(place)
                else:
                    cells.append(_cell(value))
            rows.append(cells)
        run.log_table(key, rows, names, step)

    def summary(self) -> JsonObject:
        """Return the size of the table."""
        return {"_type": self.kind, "ncols": len(self.columns), "nrows": len(self.data)}

    def to_document(self) -> JsonObject:
        """Return the table as a JSON document of columns and data."""
        rows = [[_cell(value) for value in row] for row in self.data]
        return {"columns": [str(column) for column in self.columns], "data": rows}

    def _as_dict(self, row: list[Any]) -> dict[Any, Any]:
        return dict(zip(self.columns, row, strict=True))

    def _check(self, row: Sequence[Any]) -> None:
        if len(row) != len(self.columns):
            raise UsageError(
                f"a row has {len(row)} values and the table {len(self.columns)} columns: {self.columns}"
            )

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<Table of {len(self.data)} rows, columns {self.columns}>"


class JoinedTable(Media):
    """Two tables and the column that joins them; recorded as two tables.

    Args:
        table_1: a table.
        table_2: another.
        join_key: the column.
    """

    kind = "joined-table"

    def __init__(self, table_1: Table, table_2: Table, join_key: Any) -> None:
        self.tables, self.join_key = (table_1, table_2), join_key

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log both tables as `KEY/0` and `KEY/1`."""
        for number, table in enumerate(self.tables):
            table.record(run, f"{key}/{number}", step)


def _cell(value: Any) -> Any:
    """Return a cell as plain data."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Media):
        return to_text(value)
    return value
