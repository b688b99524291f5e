-- name: journal_offsets
-- How much of each journal is in here.
select id, "offset" from journals where id = any(:journals);

-- name: insert_journal
-- A journal that was not known.
insert into journals (id, run_id, file, "offset", host, pid, process_started, boot, opened_at, attempt)
values (:id, :run, :file, 0, :host, :pid, :process_started, :boot, :time, :attempt)
on conflict (id) do nothing;

-- name: advance_journal
-- Takes a journal from the offset that was read at to the next; no row where another was first.
update journals set "offset" = :offset, lines = lines + :lines, problems = problems + :problems
where id = :id and "offset" = :start;

-- name: count_refused
-- Counts events that could not be stored.
update journals set problems = problems + :problems where id = :id;

-- name: state_of_journal
-- Which attempt at a trial writes it (0 for other runs), and when the latest state was that it reported.
select attempt, state_at from journals where id = :id;

-- name: set_state_of_journal
-- The latest state that it reports.
update journals set state_at = :time where id = :id;

-- name: seen_journal
-- The time of its latest event.
update journals set seen_at = :time where id = :id and (seen_at is null or seen_at < :time);

-- name: close_journal
-- Its process is done with it.
update journals set closed_at = :time where id = :id;

-- name: journal_totals
-- All journals together.
select count(*) as journals, coalesce(sum(lines), 0) as lines, coalesce(sum(problems), 0) as problems
from journals;

-- name: add_problem
-- A line that is not an event, or an event that could not be stored.
insert into problems (run_id, journal_id, file, "offset", reason, line, found_at)
values (:run, :journal, :file, :offset, :reason, :line, :time);

-- name: count_problems
-- How many problems of a journal were counted.
select problems from journals where id = :id;

-- name: problems_of_run
-- What of a run could not be stored, in the order it was found.
select run_id, file, "offset", reason, line from problems where run_id = :run order by id;

-- name: newest_problems
-- What could not be stored, of all runs, the newest first.
select r.name as run, p.run_id, p.file, p."offset", p.reason, p.line
from problems p join runs r on r.id = p.run_id where r.deleted_at is null
order by p.id desc limit :limit;

-- name: synced_folders
-- Run folders whose journals are all closed and in here, as they looked then.
select path, changed from synced_folders;

-- name: put_synced_folder
-- Such a folder.
insert into synced_folders (path, changed) values (:path, :changed)
on conflict (path) do update set changed = excluded.changed;
