-- name: run_exists
-- Whether a run exists.
select 1 as one from runs where id = :run;

-- name: lock_runs
-- Prevent other transactions from adding to these runs until this one ends. On SQLite, one transaction writes at a time.
select id from runs where id = any(:runs)
-- only: postgres
order by id for update
-- only: end
;

-- name: lock_creation
-- Let one transaction at a time create several runs: two that create the same runs in different orders would wait for each other.
-- only: sqlite
select 1 where false and 1 = any(:runs) and :many > 0;
-- only: postgres
select pg_advisory_xact_lock(hashtextextended('runs of ' || current_schema(), 0))
where (select count(*) from runs where id = any(:runs)) < :many;
-- only: end

-- name: insert_run
-- Create a run from its first journal that is ingested.
insert into runs (id, experiment_id, number, name, status, created_at, updated_at, host, pid, folder)
select :run, :experiment,
       coalesce((select max(number) from runs where experiment_id = :experiment), 0) + 1,
       :name, 'PENDING', :time, :time, :host, :pid, :folder
where true
on conflict (id) do nothing;

-- name: place_run
-- Set where a run's folder was found last.
update runs set folder = :folder where id = :run and (folder is null or folder <> :folder);

-- name: earlier_run
-- Set a run's creation time and process to those of an event that is earlier than the known ones.
update runs set created_at = :time, host = :host, pid = :pid where id = :run and created_at > :time;

-- name: start_run
-- Store what a run's first process reports.
update runs set parent_id = coalesce(:parent, parent_id), username = coalesce(:username, username)
where id = :run;

-- name: capture_run
-- Add captured facts to those already stored.
update runs set
  -- only: sqlite
  git = json_patch(git, :git), args = json_patch(args, :args),
  env = json_patch(env, :env), system = json_patch(system, :system)
  -- only: postgres
  git = git || :git, args = args || :args, env = env || :env, system = system || :system
  -- only: end
where id = :run;

-- name: insert_packages
-- Store a set of installed packages, unless it is stored already.
insert into package_sets (hash, packages) values (:hash, :packages) on conflict (hash) do nothing;

-- name: set_packages
-- Set which packages were installed for a run.
update runs set packages_id = (select id from package_sets where hash = :hash) where id = :run;

-- name: clear_packages
-- Forget which packages were installed for a run.
update runs set packages_id = null where id = :run and packages_id is not null;

-- name: package_sets_by_id
-- Sets of installed packages.
select id, packages from package_sets where id = any(:ids);

-- name: note_run
-- Replace the notes of a run.
update runs set notes = :text where id = :run;

-- name: append_note
-- Add a line to the notes of a run.
update runs set notes = case when notes = '' then :text else notes || :newline || :text end where id = :run;

-- name: end_run
-- Store the end of a run.
update runs set error = :error, exit_code = :exit_code where id = :run;

-- name: touch_run
-- Record a change of a run; its time never goes back.
update runs set updated_at = case when updated_at < :time then :time else updated_at end where id = :id;

-- name: touch_runs
-- Record a change of runs; their times never go back.
update runs set updated_at = case when updated_at < :time then :time else updated_at end where id = any(:runs);

-- name: seen_run
-- Set the times of the latest heartbeat and the latest change.
update runs set
  seen_at = case when seen_at is null or seen_at < :time then :time else seen_at end,
  updated_at = case when updated_at < :time then :time else updated_at end
where id = :run;

-- name: set_dead_seconds
-- Set how long a run with several journals had no process: the gaps between its journals.
update runs set dead_seconds = (
  select coalesce(sum(case when gap > 0 then gap else 0 end), 0) from (
    select
      -- only: sqlite
      (julianday(opened_at) - julianday(max(until) over before)) * 86400 as gap
      -- only: postgres
      extract(epoch from opened_at - max(until) over before)::double precision as gap
      -- only: end
    from (select id, opened_at, coalesce(closed_at, seen_at, opened_at) as until
          from journals where run_id = :run) j
    window before as (order by opened_at, id rows between unbounded preceding and 1 preceding)
  ) gaps
)
where id = :run and (select count(*) from journals where run_id = :run) > 1;

-- name: add_status
-- Add a status to a run's history, unless it exists.
insert into status_history (run_id, time, status, reason, inferred, attempt)
values (:run, :time, :status, :reason, :inferred,
        coalesce(:attempt, (select attempt from runs where id = :run)))
on conflict (run_id, time, status) do nothing;

-- name: last_status
-- The latest status that a run itself reported. For a trial, that of its latest attempt, which does not wait
-- any more once it has started: the clocks of several machines may differ.
select h.status, h.time, h.attempt, s.phase from status_history h join statuses s on s.status = h.status
where h.run_id = :run and h.inferred = 0
order by h.attempt desc, case when h.attempt > 0 and s.phase = 'waiting' then 1 else 0 end,
         h.time desc, case s.phase when 'ended' then 0 when 'active' then 1 else 2 end
limit 1;

-- name: first_running
-- When a run first started running.
select min(time) as time from status_history where run_id = :run and status = 'RUNNING' and inferred = 0;

-- name: settle_run
-- Set a run's status to the one that its history determines.
update runs set status = :status, started_at = coalesce(:started, started_at), ended_at = :ended,
       lost_at = :lost, lease_until = case when :held = 1 then lease_until end
where id = :run;

-- name: run_state
-- The data that determine a run's status.
select status, lost_at, seen_at, updated_at, created_at, attempt, retries, queued_at
from runs where id = :run;

-- name: set_tag
-- Set or change a tag.
insert into run_tags (run_id, key, value, long_key) values (:run, :key, :value, :long_key)
on conflict (run_id, key) do update set value = excluded.value;

-- name: remove_tag
-- Remove a tag.
delete from run_tags where run_id = :run and key = :key;

-- name: set_tag_of_runs
-- Set or change a tag of runs that exist.
insert into run_tags (run_id, key, value, long_key)
select r.id, :key, :value, :long_key from runs r where r.id = any(:runs) order by r.id
on conflict (run_id, key) do update set value = excluded.value;

-- name: remove_tag_of_runs
-- Remove a tag of runs.
delete from run_tags where run_id = any(:runs) and key = :key;

-- name: set_param
-- Set or change a parameter.
insert into params (run_id, key, type, number, text, long_key)
values (:run, :key, :type, :number, :text, :long_key)
on conflict (run_id, key) do update
set type = excluded.type, number = excluded.number, text = excluded.text;

-- name: add_param
-- Add a parameter of a new run.
insert into params (run_id, key, type, number, text, suggested, long_key)
values (:run_id, :key, :type, :number, :text, :suggested, :long_key)
on conflict (run_id, key) do nothing;

-- name: params_of_run
-- The parameters of a run.
select coalesce(p.long_key, p.key) as key, p.type, p.number, p.text from params p
where p.run_id = :run order by p.key;

-- name: insert_config
-- Store a set of parameters once. An existing one does not use up an id.
insert into configs (hash, params)
select cast(:hash as text), cast(:params as {json})
where not exists (select 1 from configs where hash = :hash)
on conflict (hash) do nothing;

-- name: set_config
-- Set the configuration of a run.
update runs set config_id = (select id from configs where hash = :hash) where id = :run;

-- name: set_record
-- Store a record: text, a table, an image, …
insert into records (run_id, key, kind, step, time, value, path)
values (:run, :key, :kind, :step, :time, :value, :path);

-- name: kept_run_of_id
-- The run with an id, if it is not in the trash.
select id from runs where id = :id and deleted_at is null;

-- name: ids_of_prefix
-- The first few runs with this prefix of an id.
select id, name from runs where deleted_at is null
  -- only: sqlite
  and id >= :low and id < :high
  -- only: postgres
  and id ~>=~ :low and id ~<~ :high
  -- only: end
order by id limit 6;

-- name: ids_of_name
-- The runs with this name, newest first.
-- (Materialized: without it, PostgreSQL may walk all runs by their time to find the newest with the name.)
with named as materialized (select id, name, experiment_id, created_at from runs where name = :name and deleted_at is null)
select r.id, r.name from named r join experiments e on e.id = r.experiment_id
where e.name = :experiment or cast(:experiment as text) is null
order by r.created_at desc limit 6;

-- name: names_of_runs
-- Names of the newest runs, for suggestions.
select name from runs where deleted_at is null order by created_at desc limit 200;

-- name: active_runs
-- Runs that have not ended or are marked as lost, with each of their journals that is not closed.
select r.id, r.folder, r.lost_at, r.seen_at, r.updated_at, r.status, r.source_status,
       -- only: sqlite
       (julianday('now') - julianday(r.beat_at)) * 86400 as silent,
       -- only: postgres
       case when r.beat_at is not null
            then extract(epoch from now() - greatest(r.beat_at, pg_postmaster_start_time())) end as silent,
       -- only: end
       j.host, j.pid, j.process_started, j.boot
from runs r
left join journals j on j.run_id = r.id and j.closed_at is null
where r.id in (
  select a.id from runs a
  where a.status in ('RUNNING', 'COMPLETING', 'RESIZING', 'SIGNALING', 'STAGE_OUT', 'STOPPED', 'SUSPENDED')
  union
  select l.id from runs l where l.lost_at is not null
);

-- name: tags_of_runs
-- The tags of runs.
select t.run_id, coalesce(t.long_key, t.key) as key, t.value from run_tags t where t.run_id = any(:runs);

-- name: params_of_runs
-- The parameters of runs.
select p.run_id, coalesce(p.long_key, p.key) as key, p.type, p.number, p.text, p.suggested from params p
where p.run_id = any(:runs) order by p.run_id, p.key;

-- name: series_of_runs
-- The metrics of runs with their statistics.
select s.run_id, s.id, s.kind, coalesce(s.long_key, s.key) as key, s.type, s.count, s.nans, s.first, s.first_step, s.last,
       s.last_step, s.last_time, s.min, s.min_step, s.max, s.max_step, s.sum
from series s where s.kind = 'metric' and s.run_id = any(:runs)
order by s.run_id, s.key;

-- name: history_of_run
-- The states of a run, oldest first.
select h.status, h.time, h.reason, h.attempt
from status_history h join statuses s on s.status = h.status where h.run_id = :run
order by h.attempt, h.time, h.inferred, case s.phase when 'waiting' then 0 when 'active' then 1 else 2 end;

-- name: records_of_run
-- The records of a run, of one key or all.
select key, kind, step, time, value, path from records
where run_id = :run and (key = :key or cast(:key as text) is null) order by key, step, id;

-- name: runs_by_id
-- Runs with their experiments' names, and the seconds since the last heartbeat of each.
-- (Time in which the database was down does not count.)
select r.*, e.name as experiment_name,
       -- only: sqlite
       (julianday('now') - julianday(coalesce(r.beat_at, r.seen_at, r.updated_at))) * 86400 as silent
       -- only: postgres
       extract(epoch from now() - case when r.beat_at is null then coalesce(r.seen_at, r.updated_at)
                                       else greatest(r.beat_at, pg_postmaster_start_time()) end) as silent
       -- only: end
from runs r join experiments e on e.id = r.experiment_id where r.id = any(:runs);

-- name: purged_of
-- Which of these runs were purged, and must not be ingested again.
select id from purged where id = any(:ids);

-- name: trash_runs
-- Move runs to the trash, or out of it if no time is given.
update runs set deleted_at = :time where id = any(:ids);

-- name: trash_runs_of_experiments
-- Move the runs of an experiment to the trash with it.
update runs set deleted_at = :time where experiment_id = any(:ids) and deleted_at is null;

-- name: restore_runs_of_experiments
-- Restore the runs that were moved to the trash with their experiment.
update runs set deleted_at = null
where experiment_id = any(:ids)
  and deleted_at = (select e.deleted_at from experiments e where e.id = runs.experiment_id);

-- name: folders_of_runs
-- Folders that only these runs have files in: a forked run shares the folder of its original.
select distinct r.folder from runs r
where r.id = any(:ids) and r.folder is not null
  and not exists (select 1 from runs o where o.folder = r.folder and not (o.id = any(:ids)));

-- name: uploads_of_runs
-- Uploaded files of these runs that no other run refers to, each below the name of its folder (runs/…).
select distinct a.uri from artifacts a join runs r on r.id = a.run_id
where a.run_id = any(:ids) and a.removed_at is null
  and a.uri like '%' || substr(r.folder, 5) || '/' || a.path
  and not exists (select 1 from artifacts o where o.uri = a.uri and not (o.run_id = any(:ids)));

-- name: purge_blocks
-- Delete the points of runs.
delete from blocks where series_id in (select id from series where run_id = any(:ids));

-- name: purge_groups
-- Delete the axes of the points of runs.
delete from groups where run_id = any(:ids);

-- name: purge_runs
-- Delete runs permanently, with all that belongs to them.
delete from runs where id = any(:ids);

-- name: record_purged
-- Record that a run was purged, so that its folder is not ingested again.
insert into purged (id, time) values (:id, :time) on conflict (id) do nothing;

-- name: forget_purged
-- Allow a purged run to be ingested again.
delete from purged where id = :id;

-- name: link_runs
-- Link one run to another.
insert into run_links (from_id, kind, to_id) values (:from_id, :kind, :to_id)
on conflict (from_id, kind, to_id) do nothing;

-- name: unlink_runs
-- Remove links between two runs; of all kinds if none is given.
delete from run_links
where from_id = :from_id and to_id = :to_id and (kind = :kind or cast(:kind as text) is null);

-- name: links_of_run
-- Links from and to a run.
select from_id, kind, to_id from run_links where from_id = :id or to_id = :id
order by kind, from_id, to_id;

-- name: clear_tags
-- Remove all tags of a run.
delete from run_tags where run_id = :run;

-- name: clear_params
-- Remove all parameters of a run.
delete from params where run_id = :run;

-- name: remove_param
-- Remove a parameter.
delete from params where run_id = :run and key = :key;

-- name: make_run
-- Create a run that waits for its start.
insert into runs (id, experiment_id, number, name, status, parent_id, username, notes, created_at, updated_at)
select :run, :experiment,
       coalesce((select max(number) from runs where experiment_id = :experiment), 0) + 1,
       :name, 'PENDING', :parent, :username, :notes, :time, :time
where true
on conflict (id) do nothing;

-- name: runs_deleted_before
-- Runs that were deleted before a time.
select id from runs where deleted_at < :before order by deleted_at;

-- name: run_of_id
-- One run, in the trash or not.
select id, name, experiment_id, status, deleted_at from runs where id = :run;

-- name: deleted_runs_of_word
-- Runs in the trash with this name, id or prefix of an id.
select id, name from runs
where deleted_at is not null and (name = :word or id = :word
  -- only: sqlite
  or (id >= :low and id < :high)
  -- only: postgres
  or (id ~>=~ :low and id ~<~ :high)
  -- only: end
)
order by created_at desc limit 2;

-- name: table_params
-- Parameters of runs for a table: those of some keys, or all; a row a run.
select p.run_id,
       -- only: sqlite
       json_group_array(coalesce(p.long_key, p.key)) as keys,
       json_group_array(p.type) as types,
       json_group_array(p.text) as texts
       -- only: postgres
       array_agg(coalesce(p.long_key, p.key)) as keys,
       array_agg(p.type) as types,
       array_agg(p.text) as texts
       -- only: end
from params p
where p.run_id = any(:runs) and (:all = 1 or p.key = any(:keys))
group by p.run_id;

-- name: table_attributes
-- Attributes of runs for a table.
select a.run_id, a.scope, a.key, a.type, a.text from attributes a
where a.run_id = any(:runs) and a.key = any(:keys);

-- name: table_tags
-- Tags of runs for a table: those of some keys, or all.
select t.run_id, coalesce(t.long_key, t.key) as key, t.value from run_tags t
where t.run_id = any(:runs) and (:all = 1 or t.key = any(:keys));

-- name: table_last
-- The last values of all metrics of runs for a table.
select s.run_id, coalesce(s.long_key, s.key) as key, s.last, s.count from series s
where s.kind = 'metric' and s.run_id = any(:runs);

-- name: table_series
-- Statistics of some metrics of runs for a table.
select s.run_id, coalesce(s.long_key, s.key) as key, s.count, s.nans, s.first, s.first_step, s.last, s.last_step,
       s.min, s.min_step, s.max, s.max_step, s.sum / nullif(s.count - s.nans, 0) as mean
from series s where s.run_id = any(:runs) and s.kind = 'metric' and s.key = any(:keys);

-- name: table_artifacts
-- Artifacts of runs for a table.
select a.run_id, a.path, a.size, a.step, a.version, a.kind, a.sha256, a.uri, a.created_at from artifacts a
where a.run_id = any(:runs) and a.path = any(:paths);

-- name: table_slurm
-- What Slurm said of runs, where it said anything.
-- only: sqlite
select r.id, json_extract(r.system, '$.slurm') as slurm from runs r
where r.id = any(:runs) and json_extract(r.system, '$.slurm') is not null;
-- only: postgres
select r.id, r.system -> 'slurm' as slurm from runs r where r.id = any(:runs) and r.system ? 'slurm';
-- only: end

-- name: keys_of_params
-- Keys of parameters, with the number of the newest runs that have them.
select k.key, count(*) as runs, min(k.type) as type, min(k.number) as least, max(k.number) as greatest
from (
  select id from runs
  where deleted_at is null and (experiment_id = :experiment or :all = 1)
  order by created_at desc limit :newest
) r cross join params k -- in this order: a scan of all keys in the order of an index takes several times as long
where k.run_id = r.id and (:text = '' or lower(k.key) like :text escape '\')
group by k.key order by runs desc, k.key limit :limit;

-- name: keys_of_series
-- Keys of metrics or telemetry, with the number of the newest runs that have them.
select k.key, count(*) as runs, min(k.type) as type, min(k.last) as least, max(k.last) as greatest
from (
  select id from runs
  where deleted_at is null and (experiment_id = :experiment or :all = 1)
  order by created_at desc limit :newest
) r cross join series k -- in this order: a scan of all keys in the order of an index takes several times as long
where k.run_id = r.id and k.kind = :kind and (:text = '' or lower(k.key) like :text escape '\')
group by k.key order by runs desc, k.key limit :limit;

-- name: keys_of_tags
-- Keys of tags, with the number of the newest runs that have them.
select k.key, count(*) as runs, 'text' as type, null as least, null as greatest
from (
  select id from runs
  where deleted_at is null and (experiment_id = :experiment or :all = 1)
  order by created_at desc limit :newest
) r cross join run_tags k -- in this order: a scan of all keys in the order of an index takes several times as long
where k.run_id = r.id and (:text = '' or lower(k.key) like :text escape '\')
group by k.key order by runs desc, k.key limit :limit;
