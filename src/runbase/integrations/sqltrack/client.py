"""SQLTrack's interface on a runbase store: `from runbase.integrations.sqltrack import Client, Experiment`.

Classes and arguments are the same; ids are text (32 hexadecimal characters). Differences:

- `add_metrics` writes to the run folder, not to the database. It takes microseconds, also while the database is
  offline.
- Metrics need no columns. `setup` converts `ALTER TABLE metrics ADD COLUMN …` to the wide view `metrics_wide` with
  one row per run and step, and executes all other statements unchanged.
- SIGTERM is always handled, and a run whose process exits without closing it becomes NODE_FAIL.
- `env="auto"` stores the variables of an allow-list; values that look like secrets are never stored.

The interface is that of https://gitlab.com/jfolz/sqltrack, 0.1.4.
"""

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from configparser import ConfigParser
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import runbase
from runbase.capture import environment
from runbase.capture.secrets import as_environment
from runbase.errors import UsageError
from runbase.integrations.sqltrack.reader import ENDED

VIEW = "metrics_wide"
Documents = Mapping[str, Any] | str | None
"""A mapping, ``"auto"``, or None to do nothing."""
Moment = datetime | str | None
"""A time, ``"auto"`` (now), or None to do nothing."""


class Client:
    """A store, opened with SQLTrack's connection parameters.

    Keyword arguments take precedence over ``SQLTRACK_DSN_<PARAM>`` variables, and these over the file
    `config_path` (``SQLTRACK_CONFIG_PATH``, ``./sqltrack.conf``). Without any parameter, the store is
    that of runbase's settings.

    Args:
        config_path: the configuration file.
        url: the database URL, used instead of the parameters.
        kwargs: connection parameters.
    """

    def __init__(
        self, config_path: str | None = None, *, url: str | None = None, **kwargs: Any
    ) -> None:
        self.store = runbase.open(url or _url(config_path, kwargs), sync=False)
        self._connection: Any = None
        self._depth = 0

    @contextmanager
    def connect(self) -> Generator[Any]:
        """Open a connection of psycopg or sqlite3; nested uses share it and its transaction."""
        self._connection = self._connection if self._depth else self._open()
        self._depth += 1
        try:
            yield self._connection
        except BaseException:
            self._connection.rollback()
            raise
        finally:
            self._depth -= 1
            if self._depth == 0:
                connection, self._connection = self._connection, None
                connection.commit()
                connection.close()

    @contextmanager
    def cursor(self) -> Generator[Any]:
        """Open a cursor of such a connection."""
        with self.connect() as connection:
            cursor = connection.cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    def commit(self) -> None:
        """Commit the transaction of the open connection."""
        if self._connection is not None:
            self._connection.commit()

    def rollback(self) -> None:
        """Roll back the transaction of the open connection."""
        if self._connection is not None:
            self._connection.rollback()

    def _open(self) -> Any:
        return self.store.connect()


class Experiment:
    """An experiment, found by id, name or both, or created. UsageError if the id and the name disagree."""

    def __init__(
        self,
        client: Client,
        experiment_id: str | None = None,
        name: str | None = None,
        comment: str | None = None,
        tags: Iterable[str] | None = None,
    ) -> None:
        if experiment_id is None and name is None:
            raise UsageError("pass experiment_id or name")
        self.client = client
        store = client.store
        if experiment_id is None:
            assert name is not None
            record = store.create_experiment(name, exist_ok=True)
        else:
            try:
                record = store.experiment(str(experiment_id))
            except runbase.NotFound:
                if name is None:
                    raise
                record = store.create_experiment(name, experiment_id=str(experiment_id))
        if name is not None and record.name != name:
            raise UsageError(f"experiment {experiment_id} is named {record.name!r}, not {name!r}")
        self.id = record.id
        if comment is not None:
            self.set_comment(comment)
        if tags is not None:
            self.set_tags(*tags)

    def set_name(self, name: str) -> None:
        """Rename the experiment."""
        self.client.store.update_experiment(self.id, name=name)

    def set_comment(self, comment: str | None) -> None:
        """Set the notes."""
        self.client.store.update_experiment(self.id, notes=comment)

    def set_tags(self, *tags: str) -> None:
        """Replace all tags."""
        self.client.store.update_experiment(self.id, tags=_flat(tags))

    def add_tags(self, *tags: str) -> None:
        """Add tags."""
        self.client.store.tag(self.client.store.experiment(self.id), *_flat(tags))

    def remove_tags(self, *tags: str) -> None:
        """Remove tags."""
        self.client.store.untag(self.client.store.experiment(self.id), *_flat(tags))

    def add_link(self, kind: str, to_id: str) -> None:
        """Add a link to another experiment, unless it exists."""
        store = self.client.store
        store.link(store.experiment(self.id), kind, store.experiment(to_id))

    def remove_link(self, kind: str, to_id: str) -> None:
        """Remove a link."""
        store = self.client.store
        store.unlink(store.experiment(self.id), store.experiment(to_id), kind)

    def get_run(
        self,
        run_id: str | None = None,
        status: str | None = None,
        comment: str | None = None,
        tags: Iterable[str] | None = None,
        args: Documents = None,
        env: Documents = None,
        updated: Moment = None,
    ) -> "Run":
        """Create a run, or return the one with an id; `run_id` can name an environment variable with the id."""
        return Run(self.client, self.id, run_id, status, comment, tags, args, env, updated)


class Run:
    """A run: a record that can be edited and, once started, logged to."""

    def __init__(
        self,
        client: Client,
        experiment_id: str | None = None,
        run_id: str | None = None,
        status: str | None = None,
        comment: str | None = None,
        tags: Iterable[str] | None = None,
        args: Documents = None,
        env: Documents = None,
        updated: Moment = None,
    ) -> None:
        self.client = client
        self._writer: runbase.Run | None = None
        store = client.store
        key = None if run_id is None else os.environ.get(str(run_id), str(run_id))
        if key is None:
            if experiment_id is None:
                raise UsageError("pass experiment_id or run_id")
            record = store.create_run(store.experiment(experiment_id))
        else:
            record = store.run(key)
            if experiment_id is not None and record.experiment_id != experiment_id:
                raise UsageError(
                    f"run {record.id} is of experiment {record.experiment!r}, not of {experiment_id}"
                )
        self.id, self._experiment = record.id, record.experiment
        if status is not None:
            self.set_status(status)
        if comment is not None:
            self.set_comment(comment)
        if tags is not None:
            self.set_tags(*tags)
        self.set_args(args)
        self.set_env(env)
        self.set_updated(updated)

    def set_status(self, status: str | None) -> None:
        """Set the status; None does nothing."""
        if status is not None:
            stopped = (
                status.upper() == "STOPPED"
            )  # for Slurm a paused job, for SQLTrack an ended run
            self.client.store.set_status(self.id, ENDED["STOPPED"] if stopped else status)

    def set_created(self, dt: Moment = "auto") -> None:
        """Set the creation time."""
        self._set_time("created_at", dt)

    def set_started(self, dt: Moment = "auto") -> None:
        """Set the start time."""
        self._set_time("started_at", dt)

    def set_updated(self, dt: Moment = "auto") -> None:
        """Set the time of the last change."""
        self._set_time("updated_at", dt)

    def set_comment(self, comment: str | None) -> None:
        """Set the notes."""
        self.client.store.update_run(self.id, notes=comment)

    def set_tags(self, *tags: str) -> None:
        """Replace all tags."""
        self.client.store.update_run(self.id, tags=_flat(tags))

    def add_tags(self, *tags: str) -> None:
        """Add tags."""
        self.client.store.add_to_run(self.id, tags=dict.fromkeys(_flat(tags)))

    def remove_tags(self, *tags: str) -> None:
        """Remove tags."""
        self.client.store.remove_from_run(self.id, tags=_flat(tags))

    def set_args(self, args: Documents = "auto") -> None:
        """Replace all arguments; "auto" uses those of the program's command line."""
        if args is not None:
            self.client.store.update_run(self.id, args=_args(args))

    def add_args(self, args: Documents = "auto") -> None:
        """Add arguments."""
        if args is not None:
            self.client.store.add_to_run(self.id, args=_args(args))

    def remove_args(self, *args: str) -> None:
        """Remove arguments."""
        self.client.store.remove_from_run(self.id, args=_flat(args))

    def set_env(self, env: Documents = "auto") -> None:
        """Replace all environment variables; "auto" uses those of the allow-list."""
        if env is not None:
            self.client.store.update_run(self.id, env=as_environment(env))

    def add_env(self, env: Documents = "auto") -> None:
        """Add environment variables."""
        if env is not None:
            self.client.store.add_to_run(self.id, env=as_environment(env))

    def remove_env(self, *env: str) -> None:
        """Remove environment variables."""
        self.client.store.remove_from_run(self.id, env=_flat(env))

    def add_link(self, kind: str, to_id: str) -> None:
        """Add a link to another run, unless it exists."""
        store = self.client.store
        store.link(store.run(self.id), kind, store.run(to_id))

    def remove_link(self, kind: str, to_id: str) -> None:
        """Remove a link."""
        store = self.client.store
        store.unlink(store.run(self.id), store.run(to_id), kind)

    def add_metrics(
        self,
        step: int = 0,
        progress: float = 0.0,
        set_updated: Moment = "auto",
        **metrics: Any,
    ) -> None:
        """Log metrics at a step; reads return the latest value of a step.

        Metrics can be numbers and datetimes, with any name (`**{"val/loss": 0.1}`). None is ignored. The
        first metrics start a run that was not started.
        """
        del set_updated  # the time of each point is stored
        values = {key: value for key, value in metrics.items() if value is not None}
        if values:
            self._writing().log(values, step=step, progress=progress)

    def start(
        self,
        terminated: str = "CANCELLED",
        started: Moment = "auto",
        updated: Moment = "auto",
        args: Documents = None,
        env: Documents = None,
    ) -> None:
        """Start the run; `terminated` is its status after SIGTERM."""
        del updated
        self._begin({"terminate": terminated}, args, env, started)

    def stop(self, status: str = "COMPLETED", updated: Moment = "auto") -> None:
        """End the run."""
        del updated
        self._writing().finish(ENDED.get(status.upper(), status))

    @contextmanager
    def track(
        self,
        normal: str = "COMPLETED",
        exception: str = "FAILED",
        interrupt: str = "CANCELLED",
        terminated: str = "CANCELLED",
        started: Moment = "auto",
        updated: Moment = "auto",
        args: Documents = None,
        env: Documents = None,
    ) -> Generator["Run"]:
        """Start the run, and end it with the block: normally, by an exception, Ctrl-C or SIGTERM."""
        del updated
        ends = {
            "normal": normal,
            "exception": exception,
            "interrupt": interrupt,
            "terminate": terminated,
        }
        with self._begin(ends, args, env, started):
            yield self

    def _begin(
        self, ends: Mapping[str, str], args: Documents, env: Documents, started: Moment
    ) -> runbase.Run:
        self.set_args(args)
        self.set_env(env)
        if self._writer is None or self._writer.finished:
            store = self.client.store
            self._writer = runbase.start_run(
                self._experiment,
                run_id=self.id,
                store=store,
                ends=dict(ends),
                capture=("git", "packages", "host", "slurm", "output"),
            )
        if started not in (None, "auto"):
            self.set_started(started)
        return self._writer

    def _writing(self) -> runbase.Run:
        return self._writer or self._begin({}, None, None, None)

    def _set_time(self, column: str, moment: Moment) -> None:
        if moment is None:
            return
        when = datetime.now(UTC) if moment == "auto" else moment
        fields: dict[str, Any] = {column: when}
        self.client.store.update_run(self.id, **fields)


def run_from_env(client: Client) -> Run:
    """Return the run given by SQLTRACK_EXPERIMENT_NAME or SQLTRACK_EXPERIMENT_ID, and SQLTRACK_RUN_ID."""
    experiment = Experiment(
        client,
        experiment_id=os.environ.get("SQLTRACK_EXPERIMENT_ID"),
        name=os.environ.get("SQLTRACK_EXPERIMENT_NAME"),
    )
    return experiment.get_run(os.environ.get("SQLTRACK_RUN_ID"))


def setup(client: Client, scripts: Iterable[str | Path | tuple[str, str]]) -> None:
    """Apply SQL scripts, each once, in order; columns added to `metrics` become the view `metrics_wide`."""
    prepared: list[tuple[str, str]] = []
    columns = list(client.store.views().get(VIEW, {}).values())
    for script in scripts:
        name, code = (
            script if isinstance(script, tuple) else (Path(script).name, Path(script).read_text())
        )
        rest, declared = _without_metrics(code)
        columns += [column for column in declared if column not in columns]
        prepared.append((name, rest or "select 1;"))
    for step in client.store.setup(*prepared):
        print("(OK)" if "before" in step.state else "(NEW)", step.name)
    if columns:
        if VIEW in client.store.views():
            client.store.drop_view(VIEW)
        client.store.create_view(VIEW, columns)


def _without_metrics(code: str) -> tuple[str, list[str]]:
    """Return a script without BEGIN, END and the columns that it adds to `metrics`, and these columns."""
    import sqlglot
    from sqlglot import exp

    statements: list[str] = []
    columns: list[str] = []
    for statement in sqlglot.parse(code, dialect="postgres"):
        if statement is None or isinstance(statement, exp.Transaction | exp.Commit):
            continue
        table = statement.this if isinstance(statement, exp.Alter) else None
        if isinstance(table, exp.Table) and table.name == "metrics":
            columns += [column.name for column in statement.find_all(exp.ColumnDef)]
        elif statement.sql(dialect="postgres").upper() not in ("END", "BEGIN"):
            statements.append(statement.sql(dialect="postgres") + ";")
    return "\n".join(statements), columns


def _url(config_path: str | None, arguments: Mapping[str, Any]) -> str | None:
    """Return a database URL from arguments, the environment and a file; None if none of them sets a parameter."""
    path = Path(config_path or os.environ.get("SQLTRACK_CONFIG_PATH") or "sqltrack.conf")
    parser = ConfigParser(interpolation=None)
    if path.exists():
        parser.read_string("[DEFAULT]\n" + path.read_text("utf-8"))
    config: dict[str, Any] = dict(parser["DEFAULT"])
    start = "SQLTRACK_DSN_"
    config |= {k[len(start) :].lower(): v for k, v in os.environ.items() if k.startswith(start)}
    config |= {key: value for key, value in arguments.items() if value is not None}
    if not config:
        return None
    database = config.pop("dbname", None) or config.pop("database", None)
    user = config.get("user") or os.environ.get("USER")
    config = {**config, "user": user} if user else config
    return (
        f"postgresql:///{quote(str(database or user or ''))}?{urlencode(config, quote_via=quote)}"
    )


def _args(args: Mapping[str, Any] | str) -> dict[str, Any]:
    return environment.command().get("options", {}) if isinstance(args, str) else dict(args)


def _flat(words: Sequence[Any]) -> list[str]:
    """Return words, where an argument can also be a list of words."""
    flat: list[str] = []
    for word in words:
        flat += [word] if isinstance(word, str) else [str(item) for item in word]
    return flat


def _on(owner: type[Any], name: str) -> Any:
    """Return SQLTrack's function for a method, with client and id as the first arguments."""
    method = getattr(owner, name)

    @wraps(method)
    def call(client: Client, key: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(owner(client, **{f"{owner.__name__.lower()}_id": key}), name)(
            *args, **kwargs
        )

    return call


experiment_set_name = _on(Experiment, "set_name")
experiment_set_comment = _on(Experiment, "set_comment")
experiment_set_tags = _on(Experiment, "set_tags")
experiment_add_tags = _on(Experiment, "add_tags")
experiment_remove_tags = _on(Experiment, "remove_tags")
experiment_add_link = _on(Experiment, "add_link")
experiment_remove_link = _on(Experiment, "remove_link")
run_set_status = _on(Run, "set_status")
run_set_created = _on(Run, "set_created")
run_set_started = _on(Run, "set_started")
run_set_updated = _on(Run, "set_updated")
run_set_comment = _on(Run, "set_comment")
run_set_tags = _on(Run, "set_tags")
run_add_tags = _on(Run, "add_tags")
run_remove_tags = _on(Run, "remove_tags")
run_set_args = _on(Run, "set_args")
run_add_args = _on(Run, "add_args")
run_remove_args = _on(Run, "remove_args")
run_set_env = _on(Run, "set_env")
run_add_env = _on(Run, "add_env")
run_remove_env = _on(Run, "remove_env")
run_add_metrics = _on(Run, "add_metrics")
run_add_link = _on(Run, "add_link")
run_remove_link = _on(Run, "remove_link")
