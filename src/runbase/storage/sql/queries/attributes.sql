-- name: set_attribute
-- Set an attribute of a run.
insert into attributes (run_id, scope, key, type, number, text, long_key)
values (:of, :scope, :key, :type, :number, :text, :long_key)
on conflict (run_id, scope, key) do update
set type = excluded.type, number = excluded.number, text = excluded.text;

-- name: tell_attribute
-- Set an attribute of a run that has not ended; no row if it has.
insert into attributes (run_id, scope, key, type, number, text, long_key)
select r.id, :scope, :key, :type, :number, :text, :long_key
from runs r join statuses s on s.status = r.status
where r.id = :of and s.phase <> 'ended'
on conflict (run_id, scope, key) do update
set type = excluded.type, number = excluded.number, text = excluded.text;

-- name: assign_attribute
-- Set an attribute once: it can change while the trial waits, or is claimed and not yet started.
insert into attributes (run_id, scope, key, type, number, text, long_key)
values (:of, :scope, :key, :type, :number, :text, :long_key)
on conflict (run_id, scope, key) do update
set type = excluded.type, number = excluded.number, text = excluded.text
where exists (
  select 1 from runs r where r.id = attributes.run_id
    and (r.status = 'PENDING' or (r.lease_until is not null and r.source_status is null))
);

-- name: suggest_param
-- Set a parameter that an optimizer chose, of a run that has not ended; no row if it has.
insert into params (run_id, key, type, number, text, suggested, long_key)
select r.id, :key, :type, :number, :text, :suggested, :long_key
from runs r join statuses s on s.status = r.status
where r.id = :of and s.phase <> 'ended'
on conflict (run_id, key) do update
set type = excluded.type, number = excluded.number, text = excluded.text, suggested = excluded.suggested;

-- name: set_experiment_attribute
-- Set an attribute of an experiment.
insert into experiment_attributes (experiment_id, scope, key, type, number, text, long_key)
values (:of, :scope, :key, :type, :number, :text, :long_key)
on conflict (experiment_id, scope, key) do update
set type = excluded.type, number = excluded.number, text = excluded.text;

-- name: attributes_in_scope
-- Attributes of runs in one scope.
select a.run_id as of, coalesce(a.long_key, a.key) as key, a.type, a.number, a.text from attributes a
where a.run_id = any(:ids) and a.scope = :scope order by a.run_id, a.key;

-- name: attributes_of_run
-- All attributes of a run.
select scope, coalesce(long_key, key) as key, type, number, text from attributes
where run_id = :run order by scope, key;

-- name: experiment_attributes_in_scope
-- Attributes of experiments in one scope.
select a.experiment_id as of, coalesce(a.long_key, a.key) as key, a.type, a.number, a.text
from experiment_attributes a
where a.experiment_id = any(:ids) and a.scope = :scope order by a.experiment_id, a.key;

-- name: set_sample
-- Store a sample at a time, unless it exists.
insert into samples (run_id, key, time, type, number, text)
values (:run_id, :key, :time, :type, :number, :text)
on conflict (run_id, key, time) do nothing;

-- name: any_sample
-- Whether a run has samples; locks the run.
select 1 as one from samples where run_id = :run limit 1;

-- name: samples_by_time
-- Samples of runs, of one key or all.
select run_id, key, time, type, number, text from samples
where run_id = any(:runs) and (key = :key or cast(:key as text) is null)
order by run_id, time, key;
