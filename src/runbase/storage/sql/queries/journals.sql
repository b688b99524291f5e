-- name: journal_offsets
-- How many bytes of each journal were ingested.
select id, "offset" from journals where id = any(:journals);

-- name: insert_journal
-- Register a new journal.
insert into journals (id, run_id, file, "offset", host, pid, process_started, boot, opened_at, attempt)
values (:id, :run, :file, 0, :host, :pid, :process_started, :boot, :time, :attempt)
on conflict (id) do nothing;

-- name: advance_journal
-- Advance a journal from the offset at which it was read; no row if another process did so first.
update journals set "offset" = :offset, lines = lines + :lines, problems = problems + :problems
where id = :id and "offset" = :start;

-- name: count_refused
-- Count events that could not be stored.
update journals set problems = problems + :problems where id = :id;

-- name: state_of_journal
-- The attempt that writes a journal (0 for runs that are not trials), and the time of the latest status in it.
select attempt, state_at from journals where id = :id;

-- name: set_state_of_journal
-- Set the time of the latest status in a journal.
update journals set state_at = :time where id = :id;

-- name: seen_journal
-- Set the time of the latest event in a journal.
update journals set seen_at = :time where id = :id and (seen_at is null or seen_at < :time);

-- name: close_journal
-- Mark a journal as closed by its process.
update journals set closed_at = :time where id = :id;

-- name: journal_totals
-- Totals of all journals.
select count(*) as journals, coalesce(sum(lines), 0) as lines, coalesce(sum(problems), 0) as problems
from journals;

-- name: add_problem
-- Store a damaged line, or an event that could not be stored.
insert into problems (run_id, journal_id, file, "offset", reason, line, found_at)
values (:run, :journal, :file, :offset, :reason, :line, :time);

-- name: count_problems
-- The number of problems of a journal.
select problems from journals where id = :id;

-- name: problems_of_run
-- What could not be stored of a run, in order.
select run_id, file, "offset", reason, line from problems where run_id = :run order by id;

-- name: newest_problems
-- What could not be stored, of all runs, newest first.
select r.name as run, p.run_id, p.file, p."offset", p.reason, p.line
from problems p join runs r on r.id = p.run_id where r.deleted_at is null
order by p.id desc limit :limit;

-- name: synced_folders
-- Run folders whose journals are all closed and ingested, with their modification times.
select path, changed from synced_folders;

-- name: put_synced_folder
-- Record a folder whose journals are all closed and ingested.
insert into synced_folders (path, changed, packed) values (:path, :changed, :packed)
on conflict (path) do update set changed = excluded.changed, packed = excluded.packed;

-- name: plain_folders
-- Folders with journals that are not packed, and that have not changed since a time, oldest first.
select path from synced_folders where packed = 0 and changed < :before order by changed limit :most;
