-- name: insert_trial
-- Queue a run in its experiment.
insert into runs (id, experiment_id, number, name, status, config_id, created_at, updated_at, queued_at,
                  due_at, priority, retries, runner, started_at, attempt)
values (:run, :experiment, :number, :name, :status, (select id from configs where hash = :hash),
        :time, :time, :time, :due, :priority, :retries, :runner, :started, 1);

-- name: insert_next_trial
-- Queue a run with the number after the experiment's last run; the experiment is locked.
insert into runs (id, experiment_id, number, name, status, config_id, created_at, updated_at, queued_at,
                  due_at, priority, retries, runner, started_at, attempt)
values (:run, :experiment, (select coalesce(max(number), 0) + 1 from runs where experiment_id = :experiment),
        :name, :status, (select id from configs where hash = :hash),
        :time, :time, :time, :due, :priority, :retries, :runner, :started, 1)
returning number;

-- name: work_there_is
-- Whether a runner can claim a trial: one that waits for anybody, for it, or until now, or one whose claim has expired.
select 1 as one where exists (
  select 1 from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is null
) or exists (
  select 1 from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is not null and runner = :runner and (due_at is null or due_at <= :now)
) or exists (
  select 1 from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is not null and due_at <= :now
) or exists (
  select 1 from runs where experiment_id = :experiment and lease_until < :now
);

-- name: queue_heads
-- The first trial of each list that a runner may claim from: the open ones, those reserved for it, and those due. A few due
-- trials are sorted; if there are many (200 or more), the list by priority is read.
select 'open' as list, priority, number from (
  select priority, number from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is null
  order by priority desc, number limit 1) o
union all
select 'reserved' as list, priority, number from (
  select priority, number from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is not null and runner = :runner and (due_at is null or due_at <= :now)
  order by priority desc, number limit 1) r
union all
select 'few_due' as list, priority, number from (
  select priority, number from (
    select priority, number from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is not null and due_at <= :now
    order by due_at limit 200) f
  where (select count(*) from (select 1 from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is not null and due_at <= :now limit 200) l) < 200
  order by priority desc, number limit 1) d
union all
select 'many_due' as list, priority, number from (
  select priority, number from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is not null
    -- only: sqlite
    and +due_at <= :now
    -- only: postgres
    and due_at <= :now
    -- only: end
  order by priority desc, number
  limit (select count(*) / 200 from (select 1 from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is not null and due_at <= :now limit 200) l)) m
order by 2 desc, 3, 1;

-- name: lock_open
-- The first trial for anybody that no other claimer has locked.
select id from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is null
order by priority desc, number limit 1
-- only: postgres
for update skip locked
-- only: end
;

-- name: lock_reserved
-- The first trial that is reserved for a runner and due.
select id from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is not null and runner = :runner and (due_at is null or due_at <= :now)
order by priority desc, number limit 1
-- only: postgres
for update skip locked
-- only: end
;

-- name: lock_few_due
-- The first trial for anybody that is due, if few are.
select id from runs where id in (
  select id from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is not null and due_at <= :now
  order by due_at limit 200)
  -- only: postgres
  and status = 'PENDING' and deleted_at is null
  -- only: end
order by priority desc, number limit 1
-- only: postgres
for update skip locked
-- only: end
;

-- name: lock_many_due
-- The same, if many are. (The plus keeps SQLite from the list by time, all of which it would sort.)
select id from runs where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
    and runner is null and due_at is not null
    -- only: sqlite
    and +due_at <= :now
    -- only: postgres
    and due_at <= :now
    -- only: end
order by priority desc, number limit 1
-- only: postgres
for update skip locked
-- only: end
;

-- name: claim_trial
-- Claim a trial that no other claimer can take.
update runs set status = 'RUNNING', runner = :runner, lease_until = :until, lost_at = null, ended_at = null,
       started_at = coalesce(started_at, :time), updated_at = :time, seen_at = :time
where id = :run
returning id, attempt;

-- name: take_trial
-- Claim a certain waiting trial; no row if it is not waiting (any more).
update runs set status = 'RUNNING', runner = :runner, lease_until = :until, lost_at = null, ended_at = null,
       started_at = coalesce(started_at, :time), updated_at = :time, seen_at = :time
where id = :run and status = 'PENDING' and deleted_at is null
returning id, attempt;

-- name: untake_trial
-- Undo a claim that was made only to look at the trial.
update runs set lease_until = null, runner = null, started_at = null
where id = :run and attempt = :attempt and lease_until is not null;

-- name: forget_claim
-- Delete the status that a claim added.
delete from status_history where run_id = :run and attempt = :attempt and status = 'RUNNING';

-- name: expired_trials
-- Trials whose runner did not renew its claim.
select id, attempt, retries, runner from runs
where experiment_id = :experiment and lease_until < :now
-- only: postgres
for update skip locked
-- only: end
;

-- name: renew_claim
-- Extend a claim, unless it is lost.
update runs set lease_until = :until, seen_at = :now, beat_at = :now, updated_at = :now
where id = :run and attempt = :attempt and lease_until is not null;

-- name: release_claim
-- Release a claim without using up a retry.
update runs set retries = retries + 1
where id = :run and attempt = :attempt and lease_until is not null;

-- name: queue_run
-- Make a run a trial, or allow one more attempt at it.
update runs set retries = case when queued_at is null then retries else retries + 1 end,
       queued_at = coalesce(queued_at, :time), due_at = null
where id = :run;

-- name: enqueue_run
-- Make a waiting run a trial of its experiment's queue.
update runs set queued_at = coalesce(queued_at, created_at), due_at = :due
where id = :run and status = 'PENDING';

-- name: next_attempt
-- Start the next attempt at a trial and remove its claim.
update runs set attempt = attempt + 1, lease_until = null, runner = null, error = null, exit_code = null,
       source_status = null, beat_at = null
where id = :run;

-- name: server_time
-- The database's clock.
-- only: sqlite
select (julianday('now') - 2440587.5) * 86400.0 as now;
-- only: postgres
select cast(extract(epoch from clock_timestamp()) as double precision) as now;
-- only: end

-- name: observed_runs
-- Runs that ended with one of some statuses, with their parameters as one document.
select r.id, r.experiment_id, r.number, r.status, r.config_id, c.params
from runs r left join configs c on c.id = r.config_id
where r.experiment_id = any(:experiments) and r.number > :least and r.deleted_at is null
  and r.status = any(:statuses)
order by r.experiment_id, r.number;

-- name: observed_metrics
-- Last values of some metrics of these runs.
select s.run_id, coalesce(s.long_key, s.key) as key, s.last
from series s where s.run_id = any(:runs) and s.kind = 'metric' and s.key = any(:keys);

-- name: clear_space
-- Delete the search space of an experiment.
delete from spaces where experiment_id = :id;

-- name: add_to_space
-- Add a parameter to a search space.
insert into spaces (experiment_id, position, key, kind, low, high, step, log, choices, special, fallback,
                    condition)
values (:experiment, :position, :key, :kind, :low, :high, :step, :log, :choices, :special, :fallback,
        :condition);

-- name: spaces_of_experiments
-- The search spaces of experiments.
select experiment_id, key, kind, low, high, step, log, choices, special, fallback, condition
from spaces where experiment_id = any(:experiments) order by experiment_id, position;

-- name: clear_limits
-- Delete all limits of an experiment's metrics.
delete from limits where experiment_id = :id;

-- name: add_limit
-- Add the limits of a metric.
insert into limits (experiment_id, metric, low, high) values (:id, :metric, :low, :high);

-- name: limits_of_experiments
-- The limits of metrics of experiments.
select experiment_id, metric, low, high from limits
where experiment_id = any(:experiments) order by experiment_id, metric;

-- name: begin_trial
-- Start a waiting trial; of several that try, one succeeds.
update runs set status = 'RUNNING', started_at = coalesce(started_at, :time), updated_at = :time,
       seen_at = :time
where id = :run and status = 'PENDING';

-- name: tell_trial
-- Store a status that a tool reports, unless the tool reported that the trial runs, or it has ended. A claimed
-- trial is running in any case.
update runs set status = case when lease_until is null then :status else status end, source_status = :source,
       started_at = :time, updated_at = :time, seen_at = :time
where id = :run and coalesce(source_status, '') <> 'RUNNING'
  and exists (select 1 from statuses s where s.status = runs.status and s.phase <> 'ended');

-- name: close_trial
-- End a run that has not ended; no row if it has.
update runs set status = :status, ended_at = :time, lease_until = null, lost_at = null, error = null,
       source_status = :source, config_id = (select id from configs where hash = :hash),
       seen_at = case when seen_at is null or seen_at < :time then :time else seen_at end,
       updated_at = case when updated_at < :time then :time else updated_at end
where id = :run and (cast(:attempt as integer) is null or attempt = :attempt)
  and exists (select 1 from statuses s where s.status = runs.status and s.phase <> 'ended');

-- name: trials_of_experiment
-- An experiment's runs, by number, without their measurements.
select id, number, status, source_status, coalesce(started_at, due_at, queued_at, created_at) as began,
       ended_at, queued_at, lease_until, config_id
from runs where experiment_id = :experiment and deleted_at is null
order by number;

-- name: due_trials
-- The same columns, of waiting or running trials that started or are due by a time.
select id, number, status, source_status, coalesce(started_at, due_at, queued_at, created_at) as began,
       ended_at, queued_at, lease_until, config_id
from runs where experiment_id = :experiment and deleted_at is null and status in ('PENDING', 'RUNNING')
  and queued_at is not null and coalesce(started_at, due_at, queued_at, created_at) <= :by
order by number;

-- name: trial_of_number
-- The same columns, of one trial.
select id, number, status, source_status, coalesce(started_at, due_at, queued_at, created_at) as began,
       ended_at, queued_at, lease_until, config_id
from runs where experiment_id = :experiment and deleted_at is null and number = :number;

-- name: configs_by_id
-- Sets of parameters, each as one document.
select id, params from configs where id = any(:ids) order by id;

-- name: trials_behind
-- Runs of an experiment after a number, and some others of it.
select id, number, status, started_at, ended_at from runs
where experiment_id = :experiment and deleted_at is null and (number > :after or id = any(:also))
order by number;

-- name: params_behind
-- The parameters of these runs.
select p.run_id, coalesce(p.long_key, p.key) as key, p.type, p.number, p.text, p.suggested
from runs r join params p on p.run_id = r.id
where r.experiment_id = :experiment and (r.number > :after or r.id = any(:also));

-- name: attributes_behind
-- All attributes of these runs.
select a.run_id, a.scope, coalesce(a.long_key, a.key) as key, a.type, a.number, a.text
from runs r join attributes a on a.run_id = r.id
where r.experiment_id = :experiment and (r.number > :after or r.id = any(:also));

-- name: beat_runs
-- Record a heartbeat of runs, using the database clock.
update runs set beat_at = :now, seen_at = case when seen_at is null or seen_at < :now then :now else seen_at end
where id = any(:runs) returning id, lost_at;

-- name: silent_trials
-- Running trials without a heartbeat since a time.
select number from runs
where experiment_id = :experiment and status = 'RUNNING' and coalesce(beat_at, seen_at) < :since
  and deleted_at is null
order by number;

-- name: count_on
-- The next number of a counter.
insert into counters (name, value) values (:name, 1)
on conflict (name) do update set value = counters.value + 1
returning value;
