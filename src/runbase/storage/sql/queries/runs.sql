-- name: run_exists
-- Whether a run is known.
select 1 as one from runs where id = :run;

-- name: lock_runs
-- Nobody else adds to these runs before this transaction ends. On SQLite one transaction writes at a time.
select id from runs where id = any(:runs)
-- only: postgres
order by id for update
-- only: end
;

-- name: insert_run
-- A run, at the first journal of it that comes in.
insert into runs (id, experiment_id, number, name, status, created_at, updated_at, host, pid, folder)
select :run, :experiment,
       coalesce((select max(number) from runs where experiment_id = :experiment), 0) + 1,
       :name, 'PENDING', :time, :time, :host, :pid, :folder
where true
on conflict (id) do nothing;

-- name: place_run
-- Where its folder was last found.
update runs set folder = :folder where id = :run and (folder is null or folder <> :folder);

-- name: earlier_run
-- A run began no later than its earliest known event, on the host of that event.
update runs set created_at = :time, host = :host, pid = :pid where id = :run and created_at > :time;

-- name: start_run
-- What its first process says of it.
update runs set parent_id = coalesce(:parent, parent_id), username = coalesce(:username, username)
where id = :run;

-- name: capture_run
-- Facts of capture, added to those that are known.
update runs set
  -- only: sqlite
  git = json_patch(git, :git), args = json_patch(args, :args),
  env = json_patch(env, :env), system = json_patch(system, :system)
  -- only: postgres
  git = git || :git, args = args || :args, env = env || :env, system = system || :system
  -- only: end
where id = :run;

-- name: note_run
-- Its notes, replaced.
update runs set notes = :text where id = :run;

-- name: end_run
-- How it ended.
update runs set error = :error, exit_code = :exit_code where id = :run;

-- name: seen_run
-- The latest sign of life, and the latest change.
update runs set
  seen_at = case when seen_at is null or seen_at < :time then :time else seen_at end,
  updated_at = case when updated_at < :time then :time else updated_at end
where id = :run;

-- name: set_dead_seconds
-- For how long no process of a run that has several journals was there: the gaps between them.
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
-- One step of its status history; the same one twice is one.
insert into status_history (run_id, time, status, reason, inferred, attempt)
values (:run, :time, :status, :reason, :inferred,
        coalesce(:attempt, (select attempt from runs where id = :run)))
on conflict (run_id, time, status) do nothing;

-- name: last_status
-- The latest state that the run itself reported. Of a trial, that of its latest attempt, which waits
-- no more once it has begun: clocks of several machines need not agree.
select h.status, h.time, h.attempt, s.phase from status_history h join statuses s on s.status = h.status
where h.run_id = :run and h.inferred = 0
order by h.attempt desc, case when h.attempt > 0 and s.phase = 'waiting' then 1 else 0 end,
         h.time desc, case s.phase when 'ended' then 0 when 'active' then 1 else 2 end
limit 1;

-- name: first_running
-- When it first ran.
select min(time) as time from status_history where run_id = :run and status = 'RUNNING' and inferred = 0;

-- name: settle_run
-- Its state as its history has it.
update runs set status = :status, started_at = coalesce(:started, started_at), ended_at = :ended,
       lost_at = :lost, lease_until = case when :held = 1 then lease_until end
where id = :run;

-- name: run_state
-- What deciding on its state needs.
select status, lost_at, seen_at, updated_at, created_at, attempt, retries, queued_at
from runs where id = :run;

-- name: set_tag
-- A tag, set or changed.
insert into run_tags (run_id, key, value, long_key) values (:run, :key, :value, :long_key)
on conflict (run_id, key) do update set value = excluded.value;

-- name: remove_tag
-- A tag, taken away.
delete from run_tags where run_id = :run and key = :key;

-- name: set_param
-- A parameter, set or changed.
insert into params (run_id, key, type, number, text, long_key)
values (:run, :key, :type, :number, :text, :long_key)
on conflict (run_id, key) do update
set type = excluded.type, number = excluded.number, text = excluded.text;

-- name: add_param
-- A parameter of a new run.
insert into params (run_id, key, type, number, text, suggested, long_key)
values (:run_id, :key, :type, :number, :text, :suggested, :long_key)
on conflict (run_id, key) do nothing;

-- name: params_of_run
-- Its parameters.
select coalesce(p.long_key, p.key) as key, p.type, p.number, p.text from params p
where p.run_id = :run order by p.key;

-- name: insert_config
-- A set of parameters, stored once. One that is there uses up no number.
insert into configs (hash, params)
select cast(:hash as text), cast(:params as {json})
where not exists (select 1 from configs where hash = :hash)
on conflict (hash) do nothing;

-- name: set_config
-- The set that a run has.
update runs set config_id = (select id from configs where hash = :hash) where id = :run;

-- name: set_record
-- Text, a table, an image...
insert into records (run_id, key, kind, step, time, value, path)
values (:run, :key, :kind, :step, :time, :value, :path);

-- name: ids_of_prefix
-- The first few runs whose id begins so.
select id, name from runs where deleted_at is null
  -- only: sqlite
  and id >= :low and id < :high
  -- only: postgres
  and id ~>=~ :low and id ~<~ :high
  -- only: end
order by id limit 6;

-- name: ids_of_name
-- The runs of that name, newest first.
select r.id, r.name from runs r join experiments e on e.id = r.experiment_id
where r.name = :name and r.deleted_at is null and (e.name = :experiment or cast(:experiment as text) is null)
order by r.created_at desc limit 6;

-- name: names_of_runs
-- The newest runs' names, to suggest from.
select name from runs where deleted_at is null order by created_at desc limit 200;

-- name: active_runs
-- Runs that are not over, or were taken for lost, with each journal of theirs that was not closed.
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
select t.run_id, coalesce(t.long_key, t.key) as key, t.value from run_tags t where t.run_id = any(:runs);

-- name: params_of_runs
select p.run_id, coalesce(p.long_key, p.key) as key, p.type, p.number, p.text, p.suggested from params p
where p.run_id = any(:runs) order by p.run_id, p.key;

-- name: series_of_runs
select s.run_id, s.id, s.kind, coalesce(s.long_key, s.key) as key, s.type, s.count, s.nans, s.first, s.first_step, s.last,
       s.last_step, s.last_time, s.min, s.min_step, s.max, s.max_step, s.sum
from series s where s.kind = 'metric' and s.run_id = any(:runs)
order by s.run_id, s.key;

-- name: history_of_run
-- Its states, oldest first.
select h.status, h.time, h.reason, h.attempt
from status_history h join statuses s on s.status = h.status where h.run_id = :run
order by h.attempt, h.time, h.inferred, case s.phase when 'waiting' then 0 when 'active' then 1 else 2 end;

-- name: records_of_run
-- Its records of a key, or all.
select key, kind, step, time, value, path from records
where run_id = :run and (key = :key or cast(:key as text) is null) order by key, step, id;

-- name: runs_by_id
-- Runs as they stand, with their experiments' names, and for how many seconds each has given no sign of life.
-- (That a database is down is no silence of its runs.)
select r.*, e.name as experiment_name,
       -- only: sqlite
       (julianday('now') - julianday(coalesce(r.beat_at, r.seen_at, r.updated_at))) * 86400 as silent
       -- only: postgres
       extract(epoch from now() - case when r.beat_at is null then coalesce(r.seen_at, r.updated_at)
                                       else greatest(r.beat_at, pg_postmaster_start_time()) end) as silent
       -- only: end
from runs r join experiments e on e.id = r.experiment_id where r.id = any(:runs);

-- name: purged_of
-- Which of these runs were purged, and are not to come back.
select id from purged where id = any(:ids);

-- name: trash_runs
-- Runs into the bin, or out of it where no time is given.
update runs set deleted_at = :time where id = any(:ids);

-- name: trash_runs_of_experiments
-- An experiment's runs go with it into the bin.
update runs set deleted_at = :time where experiment_id = any(:ids) and deleted_at is null;

-- name: restore_runs_of_experiments
-- Those that went with it come back with it.
update runs set deleted_at = null
where experiment_id = any(:ids)
  and deleted_at = (select e.deleted_at from experiments e where e.id = runs.experiment_id);

-- name: folders_of_runs
-- Folders that only these runs have files in: a fork's run shares that of the run it was copied from.
select distinct r.folder from runs r
where r.id = any(:ids) and r.folder is not null
  and not exists (select 1 from runs o where o.folder = r.folder and not (o.id = any(:ids)));

-- name: uploads_of_runs
-- What these runs uploaded, each below the name of its folder (runs/…), and no other run refers to.
select distinct a.uri from artifacts a join runs r on r.id = a.run_id
where a.run_id = any(:ids) and a.removed_at is null
  and a.uri like '%' || substr(r.folder, 5) || '/' || a.path
  and not exists (select 1 from artifacts o where o.uri = a.uri and not (o.run_id = any(:ids)));

-- name: purge_blocks
-- The points of runs.
delete from blocks where series_id in (select id from series where run_id = any(:ids));

-- name: purge_groups
-- And their axes.
delete from groups where run_id = any(:ids);

-- name: purge_runs
-- Runs for good, with all below them.
delete from runs where id = any(:ids);

-- name: record_purged
-- Remembers that a run was purged, so that its folder does not bring it back.
insert into purged (id, time) values (:id, :time) on conflict (id) do nothing;

-- name: forget_purged
-- It may come back.
delete from purged where id = :id;

-- name: link_runs
-- One run points to another.
insert into run_links (from_id, kind, to_id) values (:from_id, :kind, :to_id)
on conflict (from_id, kind, to_id) do nothing;

-- name: unlink_runs
-- It does so no more; of every kind where none is named.
delete from run_links
where from_id = :from_id and to_id = :to_id and (kind = :kind or cast(:kind as text) is null);

-- name: links_of_run
-- What it points to, and what points to it.
select from_id, kind, to_id from run_links where from_id = :id or to_id = :id
order by kind, from_id, to_id;

-- name: clear_tags
-- All its tags.
delete from run_tags where run_id = :run;

-- name: clear_params
-- All its parameters.
delete from params where run_id = :run;

-- name: remove_param
-- A parameter, taken away.
delete from params where run_id = :run and key = :key;

-- name: make_run
-- A run that waits for its start.
insert into runs (id, experiment_id, number, name, status, parent_id, username, notes, created_at, updated_at)
select :run, :experiment,
       coalesce((select max(number) from runs where experiment_id = :experiment), 0) + 1,
       :name, 'PENDING', :parent, :username, :notes, :time, :time
where true
on conflict (id) do nothing;

-- name: runs_deleted_before
-- Runs that were deleted before a moment.
select id from runs where deleted_at < :before order by deleted_at;

-- name: run_of_id
-- One run, in the bin or not.
select id, name, experiment_id, status, deleted_at from runs where id = :run;

-- name: deleted_runs_of_word
-- Runs in the bin with this name, id or beginning of an id.
select id, name from runs
where deleted_at is not null and (name = :word or id = :word
  -- only: sqlite
  or (id >= :low and id < :high)
  -- only: postgres
  or (id ~>=~ :low and id ~<~ :high)
  -- only: end
)
order by created_at desc limit 2;
