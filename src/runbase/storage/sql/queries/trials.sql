-- name: insert_trial
-- A run that waits in its experiment's queue.
insert into runs (id, experiment_id, number, name, status, config_id, created_at, updated_at, queued_at,
                  due_at, priority, retries, runner, started_at, attempt)
values (:run, :experiment, :number, :name, :status, (select id from configs where hash = :hash),
        :time, :time, :time, :due, :priority, :retries, :runner, :started, 1);

-- name: insert_next_trial
-- The same, with the number behind the experiment's last run: the experiment is locked.
insert into runs (id, experiment_id, number, name, status, config_id, created_at, updated_at, queued_at,
                  due_at, priority, retries, runner, started_at, attempt)
values (:run, :experiment, (select coalesce(max(number), 0) + 1 from runs where experiment_id = :experiment),
        :name, :status, (select id from configs where hash = :hash),
        :time, :time, :time, :due, :priority, :retries, :runner, :started, 1)
returning number;

-- name: work_there_is
-- Whether a runner would find something to do: a trial that waits, or a claim that ran out.
select 1 as one where exists (
  select 1 from runs
  where experiment_id = :experiment and status = 'PENDING' and queued_at is not null
    and deleted_at is null and (due_at is null or due_at <= :now)
    and (runner is null or runner = :runner)
) or exists (
  select 1 from runs where experiment_id = :experiment and lease_until < :now
);

-- name: claim_trial
-- The first trial that waits becomes a runner's: of several claimers at once, each gets another.
update runs set status = 'RUNNING', runner = :runner, lease_until = :until, lost_at = null, ended_at = null,
       started_at = coalesce(started_at, :time), updated_at = :time, seen_at = :time
where id = (
  select id from runs
  where experiment_id = :experiment and status = 'PENDING' and queued_at is not null
    and deleted_at is null and (due_at is null or due_at <= :now)
    and (runner is null or runner = :runner)
  order by priority desc, number limit 1
  -- only: postgres
  for update skip locked
  -- only: end
)
returning id, attempt;

-- name: take_trial
-- A certain trial that waits becomes a runner's; no row where it does not wait (any more).
update runs set status = 'RUNNING', runner = :runner, lease_until = :until, lost_at = null, ended_at = null,
       started_at = coalesce(started_at, :time), updated_at = :time, seen_at = :time
where id = :run and status = 'PENDING' and deleted_at is null
returning id, attempt;

-- name: untake_trial
-- A claim is to have been none: it was only looked at.
update runs set lease_until = null, runner = null, started_at = null
where id = :run and attempt = :attempt and lease_until is not null;

-- name: forget_claim
-- The state that it was in by that claim.
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
-- A claim holds for longer, as long as it is still the same one.
update runs set lease_until = :until, seen_at = :now, beat_at = :now, updated_at = :now
where id = :run and attempt = :attempt and lease_until is not null;

-- name: release_claim
-- A claim that is given back uses up no retry.
update runs set retries = retries + 1
where id = :run and attempt = :attempt and lease_until is not null;

-- name: queue_run
-- A run becomes a trial, or may be tried once more than was said.
update runs set retries = case when queued_at is null then retries else retries + 1 end,
       queued_at = coalesce(queued_at, :time), due_at = null
where id = :run;

-- name: enqueue_run
-- A run that waits becomes a trial of its experiment's queue.
update runs set queued_at = coalesce(queued_at, created_at), due_at = :due
where id = :run and status = 'PENDING';

-- name: next_attempt
-- A trial is to be tried once more: the claim on it is gone.
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
-- Runs that have ended in one of some states, with their parameters as one document.
select r.id, r.experiment_id, r.number, r.status, r.config_id, c.params
from runs r left join configs c on c.id = r.config_id
where r.experiment_id = any(:experiments) and r.number > :least and r.deleted_at is null
  and r.status = any(:statuses)
order by r.experiment_id, r.number;

-- name: observed_metrics
-- Their last values of some metrics.
select s.run_id, coalesce(s.long_key, s.key) as key, s.last
from series s where s.run_id = any(:runs) and s.kind = 'metric' and s.key = any(:keys);

-- name: clear_space
-- An experiment's whole search space.
delete from spaces where experiment_id = :id;

-- name: add_to_space
-- What one parameter may be.
insert into spaces (experiment_id, position, key, kind, low, high, step, log, choices, special, fallback,
                    condition)
values (:experiment, :position, :key, :kind, :low, :high, :step, :log, :choices, :special, :fallback,
        :condition);

-- name: spaces_of_experiments
-- What their parameters may be.
select experiment_id, key, kind, low, high, step, log, choices, special, fallback, condition
from spaces where experiment_id = any(:experiments) order by experiment_id, position;

-- name: clear_limits
-- All limits of an experiment's metrics.
delete from limits where experiment_id = :id;

-- name: add_limit
-- What a metric must be.
insert into limits (experiment_id, metric, low, high) values (:id, :metric, :low, :high);

-- name: limits_of_experiments
-- What their metrics must be.
select experiment_id, metric, low, high from limits
where experiment_id = any(:experiments) order by experiment_id, metric;

-- name: begin_trial
-- One that waits runs from now on; of several that try, one does it.
update runs set status = 'RUNNING', started_at = coalesce(started_at, :time), updated_at = :time,
       seen_at = :time
where id = :run and status = 'PENDING';

-- name: tell_trial
-- A state on the way that a tool tells of: never of one that it said runs, or that has ended. What is
-- claimed runs in any case.
update runs set status = case when lease_until is null then :status else status end, source_status = :source,
       started_at = :time, updated_at = :time, seen_at = :time
where id = :run and coalesce(source_status, '') <> 'RUNNING'
  and exists (select 1 from statuses s where s.status = runs.status and s.phase <> 'ended');

-- name: close_trial
-- The end of a run that has not ended; no row where it has.
update runs set status = :status, ended_at = :time, lease_until = null, lost_at = null, error = null,
       source_status = :source, config_id = (select id from configs where hash = :hash),
       seen_at = case when seen_at is null or seen_at < :time then :time else seen_at end,
       updated_at = case when updated_at < :time then :time else updated_at end
where id = :run and (cast(:attempt as integer) is null or attempt = :attempt)
  and exists (select 1 from statuses s where s.status = runs.status and s.phase <> 'ended');

-- name: trials_of_experiment
-- An experiment's runs, by number, without what they measured.
select id, number, status, source_status, coalesce(started_at, due_at, queued_at, created_at) as began,
       ended_at, queued_at, lease_until, config_id
from runs where experiment_id = :experiment and deleted_at is null
order by number;

-- name: due_trials
-- The same of trials that wait or run, and began or are due by a time.
select id, number, status, source_status, coalesce(started_at, due_at, queued_at, created_at) as began,
       ended_at, queued_at, lease_until, config_id
from runs where experiment_id = :experiment and deleted_at is null and status in ('PENDING', 'RUNNING')
  and queued_at is not null and coalesce(started_at, due_at, queued_at, created_at) <= :by
order by number;

-- name: trial_of_number
-- The same of one.
select id, number, status, source_status, coalesce(started_at, due_at, queued_at, created_at) as began,
       ended_at, queued_at, lease_until, config_id
from runs where experiment_id = :experiment and deleted_at is null and number = :number;

-- name: configs_by_id
-- Sets of parameters, each as one document.
select id, params from configs where id = any(:ids) order by id;

-- name: trials_behind
-- Runs of an experiment behind a number, and some others of it.
select id, number, status, started_at, ended_at from runs
where experiment_id = :experiment and deleted_at is null and (number > :after or id = any(:also))
order by number;

-- name: params_behind
-- Their parameters.
select p.run_id, coalesce(p.long_key, p.key) as key, p.type, p.number, p.text, p.suggested
from runs r join params p on p.run_id = r.id
where r.experiment_id = :experiment and (r.number > :after or r.id = any(:also));

-- name: attributes_behind
-- All that tools keep about them.
select a.run_id, a.scope, coalesce(a.long_key, a.key) as key, a.type, a.number, a.text
from runs r join attributes a on a.run_id = r.id
where r.experiment_id = :experiment and (r.number > :after or r.id = any(:also));

-- name: beat_runs
-- A sign of life, by the database's clock.
update runs set beat_at = :now, seen_at = case when seen_at is null or seen_at < :now then :now else seen_at end
where id = any(:runs) returning id, lost_at;

-- name: silent_trials
-- Trials that run, and gave no sign of life since.
select number from runs
where experiment_id = :experiment and status = 'RUNNING' and coalesce(beat_at, seen_at) < :since
  and deleted_at is null
order by number;

-- name: count_on
-- The next number of a counter.
insert into counters (name, value) values (:name, 1)
on conflict (name) do update set value = counters.value + 1
returning value;
