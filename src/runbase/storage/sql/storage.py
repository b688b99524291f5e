"""The storage: one class over a driver, for both dialects. Its methods are made from functions of a session."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runbase.errors import StoreError, StoreUnavailable
from runbase.events import Points, Scalar
from runbase.filesystems import atomic_write
from runbase.ids import new_id
from runbase.model import Envelope
from runbase.status import Status
from runbase.storage.sql import (
    alerts as alert_verbs,
)
from runbase.storage.sql import (
    apply,
    changes,
    edits,
    envelopes,
    journals,
    known_keys,
    liveness,
    outlines,
    points_read,
    scanned_folders,
    sizes,
    trash,
    trials,
    typed_values,
    user_schema,
)
from runbase.storage.sql import archives as archive_verbs
from runbase.storage.sql import artifacts as artifact_verbs
from runbase.storage.sql import attributes as attribute_verbs
from runbase.storage.sql import dump as dump_verbs
from runbase.storage.sql import experiments as experiment_verbs
from runbase.storage.sql import links as link_verbs
from runbase.storage.sql import load as load_verbs
from runbase.storage.sql import runs as run_verbs
from runbase.storage.sql import schema as schema_verbs
from runbase.storage.sql import server as server_verbs
from runbase.storage.sql import users as user_verbs
from runbase.storage.sql.driver import Driver
from runbase.storage.sql.migrate import migrate, migrations, pending
from runbase.storage.sql.own_columns import OwnColumns
from runbase.storage.sql.search import fetch, table
from runbase.storage.sql.trial_writer import trial_writer
from runbase.storage.sql.verbs import autocommits, reads, writes
from runbase.storage.trial_protocol import TrialWriter
from runbase.storage.types import Applied, Delivery, NewTrial, Rows, Script, Step, TrialRow


class SqlStorage:
    """Implements `runbase.storage.protocol.Storage`, which describes each method, over a driver."""

    def __init__(self, driver: Driver, *, create: bool = True, upgrade: bool = True) -> None:
        self.driver = driver
        self.own = OwnColumns(driver.dialect)
        self.url = driver.url
        self.dialect = driver.dialect
        self._trial_writers: list[TrialWriter] = []
        self._all_outlined = False
        driver.prepare = migrate
        if not create and (driver.new() or self._is_empty()):
            elsewhere = driver.elsewhere()
            driver.close()
            raise StoreUnavailable(
                f"no such store: {driver.url} has no tables of runbase{elsewhere}"
            )
        if driver.new() or self._is_behind():
            if not upgrade:
                raise StoreUnavailable(f"{driver.url} has the schema of an older runbase")
            with driver.write():
                pass

    @property
    def crowded(self) -> bool:
        """Whether the database has few connections left, so that a process should use it rarely."""
        return self.driver.crowded

    def _is_behind(self) -> bool:
        with self.driver.read() as session:
            return bool(pending(session))

    def _is_empty(self) -> bool:
        with self.driver.read() as session:
            return len(pending(session)) == len(migrations(self.dialect))

    # Observations

    def apply(self, deliveries: Sequence[Delivery]) -> list[Applied]:
        """Store events, all deliveries in one transaction; if one delivery fails, store them in parts."""
        try:
            return self.driver.transact(
                lambda session: apply.deliver(session, deliveries), bulk=True
            )
        except Exception as error:
            apply.reraise_unless_refused(error)
        errors = self.driver.errors
        return self.driver.transact(
            lambda session: apply.Careful(session, errors).deliver(deliveries)
        )

    problems = reads(journals.problems)
    offsets = autocommits(journals.offsets)
    totals = reads(journals.totals)
    sizes = reads(sizes.read)
    synced_folders = reads(journals.synced_folders)
    put_synced_folders = writes(journals.put_synced_folders)
    plain_folders = reads(journals.plain_folders)

    # Scanned folders

    scans = reads(scanned_folders.below)
    put_scans = writes(scanned_folders.put)
    mark_missing = writes(scanned_folders.gone)

    # Liveness

    live_runs = reads(liveness.live_runs)
    heartbeat = writes(liveness.beat)
    mark_lost = writes(liveness.mark_lost)
    mark_alive = writes(liveness.mark_alive)

    # Experiments

    experiments = reads(fetch.search_experiments)
    find_experiment = reads(experiment_verbs.find)
    get_experiments = reads(fetch.experiments_of)
    create_experiment = writes(edits.create_experiment)
    get_or_create_experiment = writes(edits.get_or_create_experiment)
    date_experiment = writes(experiment_verbs.set_dates)
    add_ancestor = writes(experiment_verbs.add_ancestor)
    lineage = reads(experiment_verbs.lineage)
    figures_of_experiments = reads(experiment_verbs.figures)

    # Runs

    runs = reads(fetch.search_runs)
    table = reads(table.read)
    count_runs = reads(fetch.count_runs)
    unknown_keys = reads(fetch.unknown_keys)
    find_run = reads(run_verbs.find)
    get_runs = reads(fetch.runs_of)
    whole_run = reads(fetch.whole_run)
    create_run = writes(edits.create_run)
    history = reads(run_verbs.history)
    records = reads(run_verbs.records)

    # Artifacts

    artifacts = reads(artifact_verbs.listing)
    artifact_versions = reads(artifact_verbs.versions)
    uses = reads(artifact_verbs.uses)
    artifact_roots = reads(artifact_verbs.roots)
    add_artifact_root = writes(artifact_verbs.add_root)
    log_artifact = writes(artifact_verbs.logged)
    remove_artifact = writes(artifact_verbs.removed)

    # Changes of runs and experiments

    update = writes(edits.update)
    _update_runs = writes(edits.update_runs)
    add = writes(edits.add)
    remove = writes(edits.remove)
    tag_runs = writes(edits.tag_runs)
    set_status = writes(edits.set_status)
    link = writes(link_verbs.link)
    unlink = writes(link_verbs.unlink)
    links = reads(link_verbs.of)

    def update_runs(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Set fields of many runs in one transaction; without changes, no transaction is started."""
        if changes:
            self._update_runs(changes)

    # The trash

    delete = writes(trash.put)
    purge = writes(trash.purge)
    purged = reads(trash.purged)
    deleted_before = reads(trash.old)
    folders = reads(trash.folders)
    uploads = reads(trash.uploads)
    runs_of_experiments = reads(trash.runs_of_experiments)

    # Changes in the database

    changes = autocommits(changes.since)

    def await_change(self, timeout: float) -> None:
        """Return after the next change, or after `timeout` seconds."""
        self.driver.await_change(timeout)

    # Copies

    dump = reads(dump_verbs.dump_runs)
    dump_related = reads(dump_verbs.dump_related)
    load_experiments = writes(load_verbs.load_experiments)
    load_related = writes(load_verbs.load_related)
    load = writes(load_verbs.load, bulk=True)

    def fork_runs(self, ids: Sequence[str], experiment: str) -> list[str]:
        """Copy runs into another experiment, each with an id of its own and a link to the original."""
        copies: list[str] = []
        for run in ids:
            dump = self.dump([run])[0]
            dump.id = new_id()
            dump.links, dump.journals, dump.uses = [(dump.id, "fork", run)], [], []
            self.load([dump], {dump.experiment_id: experiment})
            copies.append(dump.id)
        return copies

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Write the whole database to a file, which appears when it is complete."""
        try:
            with atomic_write(path, sync=True) as partial:
                self.driver.backup(partial, progress)
        except OSError as error:
            raise StoreError(f"cannot write the backup {path}: {error.strerror}") from error

    # Archives

    def vacuum(self) -> tuple[int, int]:
        """Return free space of the database to the file system; returns its size in bytes before and after."""
        return self.driver.vacuum()

    archives = reads(archive_verbs.of)
    archived_files = reads(archive_verbs.files)
    archived_totals = reads(archive_verbs.totals)
    archive_problems = reads(archive_verbs.problems)
    archive_place = reads(archive_verbs.place)
    archive_mark = reads(archive_verbs.mark)
    points_in_tables = reads(archive_verbs.in_tables)
    series_to_move = reads(archive_verbs.series)
    axes_to_move = reads(archive_verbs.axes)
    blocks_to_move = reads(archive_verbs.blocks)
    move_to_archive = writes(archive_verbs.move)
    take_back = writes(archive_verbs.take_back)
    change_archive = writes(archive_verbs.change)
    rename_archive = writes(archive_verbs.rename)

    # Points

    series = reads(points_read.series)
    _envelopes = reads(envelopes.read)
    clocks = reads(envelopes.clocks)
    _unoutlined_of = reads(envelopes.unoutlined)
    unoutlined = reads(outlines.unoutlined)
    build_outline = writes(outlines.build_missing)
    points = reads(points_read.many)

    def envelopes(
        self,
        curves: Sequence[tuple[str, str]],
        start: Scalar | None = None,
        end: Scalar | None = None,
        resolution: int = 1000,
        kind: str = "metric",
    ) -> list[Envelope]:
        """Return metrics as envelopes; metrics of the time before outlines get theirs first."""
        if not curves:
            return []
        if not self._all_outlined:
            for run, series in self._unoutlined_of(curves, kind):
                with suppress(StoreError):  # without the right to write, the points are read
                    self.build_outline(run, series)
            self.is_outlined()
        return self._envelopes(curves, start, end, resolution, kind)

    def is_outlined(self) -> bool:
        """Return whether all metrics have outlines."""
        self._all_outlined = self._all_outlined or not self.unoutlined()
        return self._all_outlined

    def envelope(
        self,
        run: str,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        resolution: int = 1000,
        kind: str = "metric",
    ) -> Envelope:
        """Return one metric as an envelope."""
        return self.envelopes([(run, key)], start, end, resolution, kind)[0]

    # Trials

    add_trial = writes(trials.add_one, bulk=True)
    claim_trial_by_id = writes(trials.take)
    undo_claim = writes(trials.untake)
    renew_claim = writes(trials.renew)
    release_claim = writes(trials.release)
    end_trial = writes(trials.finish, bulk=True)
    requeue_trial = writes(trials.requeue)
    enqueue = writes(trials.enqueue)
    cancel_trial = writes(trials.cancel)
    begin_trial = writes(trials.begin)
    set_attribute_once = writes(trials.set_attribute_once)
    set_trial_status = writes(trials.tell)
    _close = writes(trials.close, bulk=True)
    trial_updates = autocommits(trials.told)
    trial_rows = autocommits(trials.rows)
    configs = autocommits(trials.configs)
    stale_trials = reads(trials.silent)
    count_on = writes(trials.count_on)
    observations = reads(trials.observations)
    _claim = writes(trials.claim)
    _has_work = autocommits(trials.has_work)
    _due = autocommits(trials.due)
    _expire_and_list_due = writes(trials.expire_and_list_due)

    def add_trials(self, experiment: str, new: Sequence[NewTrial]) -> None:
        """Queue trials, numbered without gaps, in one transaction."""
        self.driver.transact(
            lambda session: trials.add(session, experiment, new)(),
            bulk=len(new)
            == 1,  # many trials are copied in at once, which a pipeline does not support
        )

    def claim_trial(self, experiment: str, runner: str, lease: float) -> Any:
        """Claim the next trial in the queue, for this runner alone, for `lease` seconds."""
        if not self._has_work(experiment, runner):  # a runner without work must not block writers
            return None
        return self._claim(experiment, runner, lease)

    def due_trials(self, experiment: str, by: float) -> list[TrialRow]:
        """Return the trials that are due by a time; expired claims on them are released first."""
        rows, expired = self._due(experiment, by)
        return self._expire_and_list_due(experiment, by) if expired else rows

    def finish_trial(
        self,
        run: str,
        status: Status,
        *,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        metrics: Sequence[Points] = (),
        ended: float | None = None,
        attempt: int | None = None,
        source: str | None = None,
    ) -> bool:
        """End a trial; False, without any change, if it has ended or is in another attempt."""
        ending = trials.Ending(
            status=status,
            attributes=attributes or {},
            metrics=metrics,
            ended=ended,
            attempt=attempt,
            source=source,
        )
        return self._close(run, ending)

    def set_attribute(self, run: str, scope: str, key: str, value: Any) -> bool:
        """Set an attribute of a trial; False, without any change, if it has ended."""
        row = {"of": run, "scope": scope, "key": key, **typed_values.typed(value)}
        return bool(self.driver.execute_once("tell_attribute", **row))

    def set_param(self, run: str, key: str, value: Any, suggested: str) -> bool:
        """Set a parameter that an optimizer chose, and the distribution; False if the trial has ended."""
        row = {"of": run, "key": key, **typed_values.typed(value), "suggested": suggested}
        return bool(self.driver.execute_once("suggest_param", **row))

    def trial_writer(self) -> TrialWriter:
        """Return the writer of this process's own trials, which does not wait for each statement."""
        if not self._trial_writers:
            self._trial_writers.append(trial_writer(self, self.driver))
        return self._trial_writers[0]

    def flush(self) -> None:
        """Wait until all statements that were sent are stored."""
        for writer in self._trial_writers:
            writer.flush()

    # Attributes and telemetry

    attributes = reads(attribute_verbs.get)
    put_attributes = writes(attribute_verbs.put)
    put_all_attributes = writes(attribute_verbs.put_all)
    samples = reads(attribute_verbs.samples)
    add_samples = writes(attribute_verbs.add_samples)

    known_keys = reads(known_keys.read)

    # What a server keeps for itself

    add_token = writes(server_verbs.add_token)
    tokens = reads(server_verbs.tokens)
    find_token = reads(server_verbs.find_token)
    touch_token = writes(server_verbs.touch_token)
    revoke_token = writes(server_verbs.revoke_token)
    add_audit = writes(server_verbs.add_audit)
    audit = reads(server_verbs.audit)
    put_document = writes(server_verbs.put_document)
    document = reads(server_verbs.one_document)
    documents = reads(server_verbs.documents)
    remove_document = writes(server_verbs.remove_document)

    # Alerts

    alerts = reads(alert_verbs.alerts)
    add_alert_rule = writes(alert_verbs.add_rule)
    alert_rules = reads(alert_verbs.rules)
    remove_alert_rule = writes(alert_verbs.remove_rule)
    check_alert_rule = writes(alert_verbs.check_rule)
    pass_over = writes(alert_verbs.pass_over)
    raise_alerts = writes(alert_verbs.raise_alerts)
    forward_alerts = writes(alert_verbs.forward)
    due_deliveries = reads(alert_verbs.due)
    claim_delivery = writes(alert_verbs.claim)
    end_delivery = writes(alert_verbs.end)
    alert_deliveries = reads(alert_verbs.deliveries)
    add_user = writes(user_verbs.add_user)
    users = reads(user_verbs.users)
    find_user = reads(user_verbs.find_user)
    user_of_subject = reads(user_verbs.user_of_subject)
    password_of = reads(user_verbs.password_of)
    set_password = writes(user_verbs.set_password)
    set_role = writes(user_verbs.set_role)
    rename_user = writes(user_verbs.rename_user)
    remove_user = writes(user_verbs.remove_user)
    set_grant = writes(user_verbs.set_grant)
    remove_grant = writes(user_verbs.remove_grant)
    add_session = writes(user_verbs.add_session)
    find_session = reads(user_verbs.find_session)
    touch_session = writes(user_verbs.touch_session)
    remove_session = writes(user_verbs.remove_session)

    # SQL and the schema

    schema = reads(schema_verbs.text)
    objects = reads(schema_verbs.objects)
    check = reads(schema_verbs.faults)
    ledger = reads(user_schema.ledger)
    create_view = writes(user_schema.create_view)
    views = reads(user_schema.views)
    drop_view = writes(user_schema.drop_view)

    def setup(self, scripts: Sequence[Script], *, dry_run: bool) -> list[Step]:
        """Apply users' scripts, each once, all or none."""
        try:
            return self.driver.transact(
                lambda session: user_schema.apply_scripts(session, scripts, dry_run=dry_run)
            )
        except user_schema.TakeBack as done:
            return done.steps
        finally:
            self.own.forget()

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any] = (),
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> Rows:
        """Run any query and return its rows."""
        return self.driver.sql(query, params, write, timeout)

    def first_rows(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any],
        most: int,
        timeout: float | None = None,
    ) -> Rows:
        """Run a query that only reads, and return its first rows."""
        return self.driver.sql(query, params, False, timeout, most)

    def connect(self) -> Any:
        """Open a connection of the caller's own: sqlite3's or psycopg's."""
        return self.driver.connect()

    def close(self) -> None:
        """Wait for statements that were sent, and close the connections."""
        try:
            for writer in self._trial_writers:
                writer.end()
        finally:
            self.driver.close()
