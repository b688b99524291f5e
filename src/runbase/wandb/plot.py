"""Charts with W&B's names. Each is recorded as its table, and as a Vega-Lite chart of that table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from runbase.events import Scalar
from runbase.run.encode_media import to_array
from runbase.typing import JsonObject
from runbase.wandb.errors import UsageError
from runbase.wandb.media import Media
from runbase.wandb.table import Table

if TYPE_CHECKING:
    from runbase.run.run import Run as Recorder

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_MOST_POINTS = 500
"""Points of a curve; more are thinned, at equal distances of its points."""


class CustomChart(Media):
    """A chart of a table.

    Args:
        table: the table.
        mark: the mark of Vega-Lite, such as ``bar``.
        encoding: the channels of Vega-Lite.
        title: the title.
    """

    kind = "custom-chart"

    def __init__(self, table: Table, mark: Any, encoding: JsonObject, title: str = "") -> None:
        self.table, self.mark, self.encoding, self.title = table, mark, encoding, title

    def to_dict(self) -> JsonObject:
        """Return the specification of Vega-Lite, with the data."""
        document = self.table.to_document()
        columns = cast("list[str]", document["columns"])
        rows = [dict(zip(columns, row, strict=True)) for row in document["data"]]
        return {
            "$schema": SCHEMA,
            "title": self.title,
            "data": {"values": rows},
            "mark": self.mark,
            "encoding": self.encoding,
        }

    def record(self, run: "Recorder", key: str, step: Scalar) -> None:
        """Log the chart under the key, and its table under `KEY_table`."""
        self.table.record(run, f"{key}_table", step)
        run.log_plot(key, self, step)


def bar(
    table: Table, label: str, value: str, title: str = "", split_table: bool = False
) -> CustomChart:
    """Return a chart of bars.

    Args:
        table: the table.
        label: the column with the names of the bars.
        value: the column with their lengths.
        title: the title.
        split_table: ignored.
    """
    del split_table
    encoding = {"x": _column(table, value, "quantitative"), "y": _column(table, label, "nominal")}
    return CustomChart(table, "bar", encoding, title)


def line(
    table: Table,
    x: str,
    y: str,
    stroke: str | None = None,
    title: str = "",
    split_table: bool = False,
) -> CustomChart:
    """Return a chart of lines.

    Args:
        table: the table.
        x: the column of the horizontal axis.
        y: the column of the vertical axis.
        stroke: the column that tells the lines apart.
        title: the title.
        split_table: ignored.
    """
    del split_table
    encoding = {"x": _column(table, x, "quantitative"), "y": _column(table, y, "quantitative")}
    if stroke is not None:
        encoding["color"] = _column(table, stroke, "nominal")
    return CustomChart(table, "line", encoding, title)


def scatter(
    table: Table, x: str, y: str, title: str = "", split_table: bool = False
) -> CustomChart:
    """Return a chart of points; the arguments are those of `line`."""
    del split_table
    encoding = {"x": _column(table, x, "quantitative"), "y": _column(table, y, "quantitative")}
    return CustomChart(table, "point", encoding, title)


def histogram(table: Table, value: str, title: str = "", split_table: bool = False) -> CustomChart:
    """Return a histogram of a column."""
    del split_table
    column = {**_column(table, value, "quantitative"), "bin": True}
    return CustomChart(table, "bar", {"x": column, "y": {"aggregate": "count"}}, title)


def line_series(
    xs: Iterable[Any],
    ys: Iterable[Iterable[Any]],
    keys: Iterable[str] | None = None,
    title: str = "",
    xname: str = "x",
    split_table: bool = False,
) -> CustomChart:
    """Return several lines.

    Args:
        xs: the horizontal values of all lines, or of each.
        ys: the vertical values of each line.
        keys: the names of the lines.
        title: the title.
        xname: the name of the horizontal axis.
        split_table: ignored.
    """
    del split_table
    lines = [[*one] for one in ys]
    axis: list[Any] = [*xs]
    shared = not axis or not isinstance(axis[0], Iterable) or isinstance(axis[0], str)
    axes: list[list[Any]] = [axis] * len(lines) if shared else [[*one] for one in axis]
    names = [f"key_{number}" for number in range(len(lines))] if keys is None else [*keys]
    if not len(axes) == len(lines) == len(names):
        raise UsageError(f"{len(lines)} lines have {len(axes)} axes and {len(names)} names")
    rows: list[list[Any]] = []
    for name, horizontal, vertical in zip(names, axes, lines, strict=True):
        rows += [[x, name, y] for x, y in zip(horizontal, vertical, strict=False)]
    table = Table(columns=[xname, "lineKey", "lineVal"], data=rows)
    return line(table, xname, "lineVal", "lineKey", title)


def confusion_matrix(
    probs: Sequence[Sequence[float]] | None = None,
    y_true: Sequence[Any] | None = None,
    preds: Sequence[Any] | None = None,
    class_names: Sequence[str] | None = None,
    title: str = "Confusion Matrix Curve",
    split_table: bool = False,
) -> CustomChart:
    """Return the numbers of predictions of each class for each true class.

    Args:
        probs: the probability of each class, for each example; or `preds`.
        y_true: the true class of each example.
        preds: the predicted class of each example.
        class_names: the names of the classes.
        title: the title.
        split_table: ignored.
    """
    import numpy as np

    del split_table
    if y_true is None or (probs is None) == (preds is None):
        raise UsageError("a confusion matrix needs y_true, and either probs or preds")
    guesses: list[Any]
    guesses = [*preds] if preds is not None else np.argmax(to_array("probs", probs), 1).tolist()
    truth: list[Any] = [*y_true]
    if len(truth) != len(guesses):
        raise UsageError(f"there are {len(truth)} true classes and {len(guesses)} predictions")
    classes: list[Any] = sorted({*truth, *guesses})
    if class_names is not None and all(isinstance(one, int | np.integer) for one in classes):
        classes = [*range(len(class_names))]
    names = [*(class_names or map(str, classes))]
    place = {one: number for number, one in enumerate(classes)}
    counts: Any = np.zeros((len(classes), len(classes)), int)
    for real, guess in zip(truth, guesses, strict=True):
        counts[place[real], place[guess]] += 1
    rows = [
        [names[i], names[j], int(counts[i, j])]
        for i in range(len(classes))
        for j in range(len(classes))
    ]
    table = Table(columns=["Actual", "Predicted", "nPredictions"], data=rows)
    encoding = {
        "x": _column(table, "Predicted", "nominal"),
        "y": _column(table, "Actual", "nominal"),
        "color": _column(table, "nPredictions", "quantitative"),
    }
    return CustomChart(table, "rect", encoding, title)


def roc_curve(
    y_true: Sequence[Any],
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    classes_to_plot: Sequence[Any] | None = None,
    title: str = "ROC Curve",
    split_table: bool = False,
) -> CustomChart | None:
    """Return the receiver operating characteristic of each class against all others.

    Args:
        y_true: the true class of each example.
        y_probas: the probability of each class, for each example.
        labels: the names of the classes.
        classes_to_plot: the classes. Default: all.
        title: the title.
        split_table: ignored.
    """
    del split_table
    rows: list[list[Any]] = []
    for name, hits, misses in _ranked(y_true, y_probas, labels, classes_to_plot):
        true, false = max(float(hits[-1]), 1.0), max(float(misses[-1]), 1.0)
        points = [(0.0, 0.0), *zip(misses / false, hits / true, strict=True)]
        rows += [[name, round(float(x), 4), round(float(y), 4)] for x, y in _thinned(points)]
    table = Table(columns=["class", "fpr", "tpr"], data=rows)
    return line(table, "fpr", "tpr", "class", title)


def pr_curve(
    y_true: Any = None,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    classes_to_plot: Sequence[Any] | None = None,
    interp_size: int = 21,
    title: str = "Precision-Recall Curve",
    split_table: bool = False,
) -> CustomChart | None:
    """Return precision against recall of each class against all others.

    Args:
        y_true: the true class of each example.
        y_probas: the probability of each class, for each example.
        labels: the names of the classes.
        classes_to_plot: the classes. Default: all.
        interp_size: the number of values of recall, from 0 to 1.
        title: the title.
        split_table: ignored.
    """
    import numpy as np

    del split_table
    rows: list[list[Any]] = []
    wanted = np.linspace(0, 1, interp_size)
    for name, hits, misses in _ranked(y_true, y_probas, labels, classes_to_plot):
        recall = hits / max(float(hits[-1]), 1.0)
        precision: Any = hits / np.maximum(hits + misses, 1)
        best: Any = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a greater one
        for value in wanted:
            at = min(int(np.searchsorted(recall, float(value))), len(best) - 1)
            rows.append([name, round(float(best[at]), 4), round(float(value), 4)])
    table = Table(columns=["class", "precision", "recall"], data=rows)
    return line(table, "recall", "precision", "class", title)


def plot_table(
    vega_spec_name: str,
    data_table: Table,
    fields: Mapping[str, Any],
    string_fields: Mapping[str, Any] | None = None,
    split_table: bool = False,
) -> CustomChart:
    """Return a chart of a table with the columns that `fields` names; W&B's own specification is not available.

    Args:
        vega_spec_name: the name of W&B's specification; the words bar, scatter, histogram and line in it are understood.
        data_table: the table.
        fields: channel → column.
        string_fields: texts; `title` is used.
        split_table: ignored.
    """
    del split_table
    title = str((string_fields or {}).get("title", ""))
    names = {key: str(column) for key, column in fields.items()}
    x, y = names.get("x"), names.get("y")
    if "bar" in vega_spec_name and {"label", "value"} <= names.keys():
        return bar(data_table, names["label"], names["value"], title)
    if "histogram" in vega_spec_name and "value" in names:
        return histogram(data_table, names["value"], title)
    if x is not None and y is not None:
        if "scatter" in vega_spec_name:
            return scatter(data_table, x, y, title)
        return line(data_table, x, y, names.get("stroke"), title)
    columns = {key: _column(data_table, column, "nominal") for key, column in names.items()}
    return CustomChart(data_table, "point", columns, title)


def visualize(id: str, value: Table) -> CustomChart:
    """Return a chart of the first columns of a table."""
    names = [str(column) for column in value.columns]
    return plot_table(id, value, dict(zip(("x", "y", "stroke"), names, strict=False)))


def _column(table: Table, name: str, kind: str) -> JsonObject:
    if name not in [str(column) for column in table.columns]:
        raise UsageError(f"the table has no column {name!r}; it has {table.columns}")
    # Vega-Lite reads dots and brackets in the names of fields as paths.
    field = name.replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[").replace("]", "\\]")
    return {"field": field, "type": kind, "title": name}


def _ranked(
    y_true: Any, y_probas: Any, labels: Sequence[str] | None, wanted: Sequence[Any] | None
) -> list[tuple[str, Any, Any]]:
    """Return, for each class, the numbers of right and wrong examples above each threshold, the greatest first."""
    import numpy as np

    if y_true is None or y_probas is None:
        raise UsageError("the curve needs y_true and y_probas")
    truth: Any = to_array("y_true", y_true).ravel()
    shares: Any = to_array("y_probas", y_probas)
    classes: list[Any] = sorted(set(truth.tolist()))
    if shares.ndim == 1:
        shares = np.stack([1 - shares, shares], axis=1)
    if len(classes) > shares.shape[1]:
        raise UsageError(
            f"there are {len(classes)} classes, and y_probas has {shares.shape[1]} columns"
        )
    if len(classes) < shares.shape[1]:
        classes = [*range(shares.shape[1])]
    found: list[tuple[str, Any, Any]] = []
    for number, one in enumerate(classes):
        if wanted is not None and one not in [*wanted]:
            continue
        order = np.argsort(-shares[:, number], kind="stable")
        right: Any = (truth == one)[order]
        ends = np.append(np.diff(shares[order, number]) != 0, True)  # of equal values, the last
        hits, misses = np.cumsum(right)[ends], np.cumsum(~right)[ends]
        name = str(one) if labels is None else str(labels[number])
        found.append((name, hits, misses))
    return found


def _thinned(points: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    if len(points) <= _MOST_POINTS:
        return points
    step = (len(points) - 1) / (_MOST_POINTS - 1)
    return [points[round(number * step)] for number in range(_MOST_POINTS)]
