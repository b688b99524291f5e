-- name: history_of_runs
-- The states of runs.
select run_id, time, status, reason, inferred, attempt from status_history where run_id = any(:runs) order by time;

-- name: journals_of_runs
-- The journals of runs, and how far each was read.
select run_id, id, file, "offset", lines, problems, host, pid, process_started, boot, opened_at, closed_at, seen_at,
       state_at, attempt
from journals where run_id = any(:runs);

-- name: problems_of_runs
-- What could not be stored of runs.
select run_id, journal_id as journal, file, "offset", reason, line, found_at as time
from problems where run_id = any(:runs) order by id;

-- name: purge_problems
-- Delete the problems of runs.
delete from problems where run_id = any(:ids);

-- name: all_series_of_runs
-- The metrics and telemetry of runs, with all statistics.
select run_id, id, kind, coalesce(long_key, key) as key, type, count, nans, first, first_step, first_time, last, last_step, last_time,
       min, min_step, max, max_step, sum
from series where run_id = any(:runs);

-- name: groups_of_runs
-- The axes of the points of runs.
select run_id, id, seq, journal_id, keys_hash, count, first_step, stride, steps, lowest_step, highest_step,
       first_time, times, progress
from groups where run_id = any(:runs);

-- name: all_blocks_of_runs
-- The points of runs.
select s.run_id, b.series_id, b.group_id, b.count, b.nans, b.min, b.max, b.sum, b.numbers
from series s join blocks b on b.series_id = s.id where s.run_id = any(:runs);

-- name: records_of_runs
-- The records of runs.
select run_id, key, kind, step, time, value, path from records where run_id = any(:runs) order by id;

-- name: artifacts_of_runs
-- The artifacts of runs.
select run_id, path, kind, uri, size, sha256, mime, step, metadata, created_at, name, version, removed_at
from artifacts where run_id = any(:runs);

-- name: uses_of_runs
-- The artifacts that runs used.
select run_id, owner_id, path, time from artifact_uses where run_id = any(:runs);

-- name: attributes_of_runs
-- The attributes of runs.
select run_id, scope, coalesce(long_key, key) as key, type, number, text from attributes where run_id = any(:runs);

-- name: samples_of_runs
-- Imported telemetry of runs.
select run_id, key, time, type, number, text from samples where run_id = any(:runs);

-- name: links_of_runs
-- Links from runs.
select from_id, kind, to_id from run_links where from_id = any(:runs);

-- name: runs_there
-- Which of these runs exist.
select id from runs where id = any(:ids);

-- name: experiment_of_id
-- One experiment, in the trash or not.
select id, name from experiments where id = :id;

-- name: run_of_number
-- The run with a number in its experiment.
select id from runs where experiment_id = :experiment and number = :number;

-- name: next_number
-- The number of an experiment's next run.
select coalesce(max(number), 0) + 1 as number from runs where experiment_id = :experiment;

-- name: load_run
-- Store a run of another database.
insert into runs (id, experiment_id, number, name, status, parent_id, username, host, pid, folder, checkpoint,
                  notes, exit_code, source_status, created_at, started_at, ended_at, updated_at, seen_at,
                  lost_at, deleted_at, git, args, env, system, error, queued_at, due_at, lease_until,
                  priority, attempt, retries, runner, dead_seconds)
values (:id, :experiment, :number, :name, :status, :parent_id, :username, :host, :pid, :folder, :checkpoint,
        :notes, :exit_code, :source_status, :created_at, :started_at, :ended_at, :updated_at, :seen_at,
        :lost_at, :deleted_at, :git, :args, :env, :system, :error, :queued_at, :due_at, :lease_until,
        :priority, :attempt, :retries, :runner, :dead_seconds);

-- name: complete_run
-- Set fields of a run that are empty here to their values in another database.
update runs set
  notes = case when notes = '' then :notes else notes end,
  folder = coalesce(folder, cast(:folder as text)),
  seen_at = case when seen_at is null or cast(:seen_at as {time}) > seen_at then coalesce(cast(:seen_at as {time}), seen_at) else seen_at end,
  updated_at = case when cast(:updated_at as {time}) > updated_at then cast(:updated_at as {time}) else updated_at end,
  exit_code = coalesce(exit_code, cast(:exit_code as {integer})),
  error = coalesce(error, cast(:error as {json}))
where id = :id;

-- name: offsets_of_run
-- How many bytes of each journal of a run were ingested.
select id, "offset" from journals where run_id = :run;

-- name: points_of_run
-- The number of points of a run.
select cast(coalesce(sum(count), 0) as {integer}) as points from series where run_id = :run;

-- name: purge_series
-- Delete the metrics of runs.
delete from series where run_id = any(:ids);

-- name: purge_records
-- Delete the records of runs.
delete from records where run_id = any(:ids);

-- name: purge_journals
-- Delete what is stored about the journals of runs.
delete from journals where run_id = any(:ids);

-- name: reserve_series
-- Reserve ids for new series: returns the first of them, or all.
-- only: sqlite
select coalesce(max(id), 0) + 1 as id from series where :count = :count;
-- only: postgres
select nextval(pg_get_serial_sequence('series', 'id')) as id from generate_series(1, :count);
-- only: end

-- name: reserve_groups
-- Reserve ids for new groups: returns the first of them, or all.
-- only: sqlite
select 1 + max(coalesce((select max(id) from groups), 0), coalesce((select max(last_group) from archives), 0)) as id
where :count = :count;
-- only: postgres
select nextval(pg_get_serial_sequence('groups', 'id')) as id from generate_series(1, :count);
-- only: end

-- name: load_series
-- Store a metric with its statistics.
insert into series (id, run_id, kind, key, type, count, nans, first, first_step, first_time, last, last_step,
                    last_time, min, min_step, max, max_step, sum, long_key)
values (:id, :run, :kind, :key, :type, :count, :nans, :first, :first_step, :first_time, :last, :last_step,
        :last_time, :min, :min_step, :max, :max_step, :sum, :long_key);

-- name: load_group
-- Store a group with its axis.
insert into groups (id, run_id, seq, journal_id, keys_hash, count, first_step, stride, steps, lowest_step,
                    highest_step, first_time, times, progress)
values (:id, :run, :seq, :journal_id, :keys_hash, :count, :first_step, :stride, :steps, :lowest_step,
        :highest_step, :first_time, :times, :progress);

-- name: load_journal
-- Store a journal, and how far it was read.
insert into journals (id, run_id, file, "offset", lines, problems, host, pid, process_started, boot,
                      opened_at, closed_at, seen_at, state_at, attempt)
values (:id, :run, :file, :offset, :lines, :problems, :host, :pid, :process_started, :boot, :opened_at,
        :closed_at, :seen_at, :state_at, :attempt)
on conflict (id) do nothing;

-- name: load_record
-- Store a record.
insert into records (run_id, key, kind, step, time, value, path)
values (:run, :key, :kind, :step, :time, :value, :path);

-- name: links_of_experiments
-- Links from experiments.
select from_id, kind, to_id from experiment_links where from_id = any(:ids);

-- name: experiments_there
-- Which of these experiments exist.
select id from experiments where id = any(:ids);

-- name: attributes_of_experiments
-- Attributes of experiments, except scopes that begin with _, which belong to one database only.
select experiment_id as of, scope, coalesce(long_key, key) as key, type, number, text from experiment_attributes
where experiment_id = any(:ids) and substr(scope, 1, 1) <> '_';

-- name: add_experiment_attribute
-- Add an attribute of an experiment, unless it exists.
insert into experiment_attributes (experiment_id, scope, key, type, number, text, long_key)
values (:of, :scope, :key, :type, :number, :text, :long_key)
on conflict (experiment_id, scope, key) do nothing;
