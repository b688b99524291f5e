"""The screen of `runbase top`, in Textual: it updates itself, and reads the database in a thread."""

import time
from io import StringIO
from typing import Any, ClassVar, cast

from rich.console import Console
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from runbase.cli import details, tables
from runbase.cli.show import print_run
from runbase.cli.toprows import ORDERS, cells
from runbase.cli.watching import Row, Watch, sort_rows
from runbase.errors import RunbaseError
from runbase.model import Run
from runbase.server.alerts.news import AlertNews
from runbase.storage.alert_protocol import Alert
from runbase.store.store import Store

COLUMNS = ("run", "experiment", "state", "progress", "step")
SHOWN = 3
"""The number of alerts above the table."""
LINES = 20
"""The number of output lines shown on the page of a run."""


class RunPage(ModalScreen[None]):
    """The details of one run."""

    BINDINGS: ClassVar[list[Any]] = [Binding("escape,q,enter,o", "dismiss", "back")]
    CSS = """
    RunPage { align: center middle; }
    #page { width: 96%; height: 94%; border: round $accent; padding: 0 1; background: $surface; }
    """

    def __init__(self, store: Store, run: str) -> None:
        super().__init__()
        self._store, self._run = store, run

    def compose(self) -> ComposeResult:
        """Lay out a page that scrolls."""
        with VerticalScroll(id="page"):
            yield Static("reading …", id="text")
        yield Footer()

    def on_mount(self) -> None:
        """Read the run."""
        self._read()

    @work(thread=True)
    def _read(self) -> None:
        try:
            text = page_text(self._store, self._store.run(self._run))
        except RunbaseError as error:
            text = Text(str(error), style="red")
        cast("App[None]", self.app).call_from_thread(self._show, text)  # pyright: ignore[reportUnknownMemberType]

    def _show(self, text: Text) -> None:
        self.query_one("#text", Static).update(text)


class TopScreen(App[None]):
    """The table of active runs."""

    TITLE = "runbase top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: 1; padding: 0 1; background: $panel; }
    #alerts { display: none; padding: 0 1; max-height: 3; }
    #alerts.some { display: block; }
    DataTable { height: 1fr; }
    #ask { display: none; dock: bottom; }
    #ask.open { display: block; }
    """
    BINDINGS: ClassVar[list[Any]] = [
        Binding("q", "quit", "quit"),
        Binding("s", "sort", "sort"),
        Binding("r", "reverse", "reverse"),
        Binding("slash", "ask('filter')", "filter", key_display="/"),
        Binding("t", "ask('tag')", "tag"),
        Binding("enter,o", "open", "open", key_display="⏎"),
        Binding("p", "pause", "pause"),
        Binding("escape", "close", show=False),
    ]

    def __init__(
        self, store: Store, watch: Watch, *, sort: str = "started", every: float = 2.0
    ) -> None:
        super().__init__()
        self._store, self._watch = store, watch
        self._every = every
        self.sorted_by, self.descending = sort, sort == "started"
        self.rows: list[Row] = []
        """The rows of the last update, in the order shown."""
        self.alerts: list[Alert] = []
        """The alerts since the start, the latest first."""
        self._news = AlertNews(store)
        self._begun = False
        self._paused = False
        self._asked = ""
        self._error = ""
        self._looking = False

    def compose(self) -> ComposeResult:
        """Lay out the summary line, the table, the input and the keys."""
        yield Static(id="head")
        yield Static(id="alerts")
        yield DataTable[Any](id="runs", cursor_type="row", zebra_stripes=True)
        yield Input(id="ask")
        yield Footer()

    def on_mount(self) -> None:
        """Start the updates."""
        self.query_one(DataTable[Any]).focus()
        self.look()
        self.set_interval(self._every, self._tick)

    def _tick(self) -> None:
        if not self._paused and not self._looking:
            self.look()

    @work(thread=True)
    def look(self) -> None:
        """Read the store, in a thread."""
        self._looking = True
        began = time.perf_counter()
        try:
            self._store.sync()
            rows = self._watch.look()
            news, message = self._new_alerts(), ""
        except RunbaseError as error:
            rows, news, message = self.rows, list[Alert](), str(error)
        finally:
            self._looking = False
        self.call_from_thread(self._show, rows, message, time.perf_counter() - began)
        if news:
            self.call_from_thread(self._announce, news)

    def _new_alerts(self) -> list[Alert]:
        """Return alerts that were stored since the previous look; none at the first."""
        if self._begun:
            return self._news.look()
        self._news.begin()
        self._begun = True
        return []

    def _announce(self, news: list[Alert]) -> None:
        """Show new alerts above the table, and let the terminal notify the user."""
        self.alerts = [*news[::-1], *self.alerts][:SHOWN]
        lines = [
            f"[{details.LEVELS[alert.level]}]▲ {alert.time:%H:%M:%S} {tables.escape(tables.line(alert.title))}[/]  "
            f"[bold]{tables.escape(alert.run)}[/]  [dim]{tables.escape(tables.line(alert.text))}[/]"
            for alert in self.alerts
        ]
        shown = self.query_one("#alerts", Static)
        shown.update("\n".join(lines))
        shown.add_class("some")
        for alert in news:
            self.tell_terminal(f"runbase: {alert.title}: {alert.run}")

    def tell_terminal(self, text: str) -> None:
        """Send the notification of terminals that have one (OSC 9), and the bell."""
        plain = "".join(letter for letter in text if letter.isprintable())
        if self._driver is not None:
            self._driver.write(f"\x1b]9;{plain}\x07")
        self.bell()

    def _show(self, rows: list[Row], message: str, took: float) -> None:
        self.rows = sort_rows(rows, self.sorted_by, descending=self.descending)
        self._error = message
        grid = self.query_one(DataTable[Any])
        chosen = self._chosen()
        place = grid.scroll_offset
        names = [figure.key for figure in self.rows[0].figures] if self.rows else []
        heads = [*COLUMNS, *names, "last point", "took"]
        lines = [[Text.from_markup(cell) for cell in cells(row)] for row in self.rows]
        grid.clear(columns=True)
        for n, head in enumerate(heads):
            grid.add_column(head, width=max([len(head), *(line[n].cell_len for line in lines)]))
        for row, line in zip(self.rows, lines, strict=True):
            grid.add_row(*line, key=row.run.id)
        ids = [row.run.id for row in self.rows]
        if chosen in ids:
            grid.move_cursor(row=ids.index(chosen), scroll=False)
        grid.scroll_to(place.x, place.y, animate=False)
        self._head(took)

    def _head(self, took: float = 0.0) -> None:
        count = {
            state: sum(row.state == state for row in self.rows)
            for state in ("alive", "silent", "lost")
        }
        parts = [f"[bold]{count['alive']}[/] alive"]
        parts += [f"[yellow]{count['silent']} silent[/]"] if count["silent"] else []
        parts += [f"[red]{count['lost']} lost[/]"] if count["lost"] else []
        arrow = "↓" if self.descending else "↑"
        parts.append(f"by {self.sorted_by} {arrow}")
        if self._watch.where:
            parts.append(f"where {tables.escape(self._watch.where)}")
        if self._paused:
            parts.append("[reverse] paused [/]")
        parts.append(f"[dim]{took * 1000:.0f} ms[/]")
        if self._error:
            parts = [f"[red]{tables.escape(self._error)}[/]"]
        self.query_one("#head", Static).update("  ·  ".join(parts))

    def _chosen(self) -> str | None:
        grid = self.query_one(DataTable[Any])
        if not grid.row_count:
            return None
        key = grid.coordinate_to_cell_key(grid.cursor_coordinate).row_key.value
        return None if key is None else str(key)

    def action_sort(self) -> None:
        """Sort by the next column."""
        names = [figure.key for figure in self.rows[0].figures] if self.rows else []
        orders = [*ORDERS, *names]
        at = orders.index(self.sorted_by) if self.sorted_by in orders else -1
        self.sorted_by = orders[(at + 1) % len(orders)]
        self._show(self.rows, "", 0.0)

    def action_reverse(self) -> None:
        """Reverse the order."""
        self.descending = not self.descending
        self._show(self.rows, "", 0.0)

    def action_pause(self) -> None:
        """Pause or resume the updates."""
        self._paused = not self._paused
        self._head()

    def action_open(self) -> None:
        """Open the page of the selected run."""
        chosen = self._chosen()
        if chosen is not None:
            self.push_screen(RunPage(self._store, chosen))

    def action_ask(self, what: str) -> None:
        """Open the input for a filter or a tag."""
        self._asked = what
        ask = self.query_one("#ask", Input)
        ask.placeholder = (
            "a filter, such as params.lr < 0.01; empty: all"
            if what == "filter"
            else "a tag for this run, such as look-at-this; -tag removes it"
        )
        ask.value = (self._watch.where or "") if what == "filter" else ""
        ask.add_class("open")
        ask.focus()

    def action_close(self) -> None:
        """Close the input."""
        self.query_one("#ask", Input).remove_class("open")
        self.query_one(DataTable[Any]).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Apply the filter, or change the tag."""
        value = event.value.strip()
        self.action_close()
        if self._asked == "filter":
            self._watch.where = value or None
            self.look()
        elif value and (chosen := self._chosen()) is not None:
            self._tag(chosen, value)

    @work(thread=True)
    def _tag(self, run: str, tag: str) -> None:
        try:
            if tag.startswith("-"):
                self._store.remove_from_run(run, tags=[tag[1:]])
                message = f"removed tag {tag[1:]}"
            else:
                self._store.add_to_run(run, tags={tag: None})
                message = f"added tag {tag}"
        except RunbaseError as error:
            message = str(error)
        self.call_from_thread(self.notify, message)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the selected run."""
        del event
        self.action_open()


def page_text(store: Store, run: Run) -> Text:
    """Return the page of a run, as printed by `runbase show`."""
    out = Console(
        record=True,
        width=120,
        highlight=False,
        force_terminal=True,
        color_system="standard",
        file=StringIO(),
    )
    print_run(out, store, run, lines=LINES)
    return Text.from_ansi(out.export_text(styles=True))
