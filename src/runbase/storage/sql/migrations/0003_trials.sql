-- Trials: runs that wait in their experiment's queue, are claimed once, and are tried again when a
-- machine dies; what optimizers keep about them; telemetry that others measured; search spaces.
-- opens-with: 3

alter table runs add column queued_at {time}; -- since when it is a trial: it waits, or waited, in its experiment's queue
alter table runs add column due_at {time}; -- it is not to be claimed before
alter table runs add column priority integer not null default 0; -- the greatest is claimed first
alter table runs add column attempt integer not null default 0; -- which attempt at this trial waits, runs or ended; 0 for what is no trial
alter table runs add column retries integer not null default 0; -- how many further attempts there may be when one is lost
alter table runs add column runner text; -- who claimed it, or is to
alter table runs add column lease_until {time}; -- until when the claim holds unless it is renewed
create index runs_queue on runs (experiment_id, priority desc, number)
  where status = 'PENDING' and queued_at is not null and deleted_at is null;
create index runs_leases on runs (experiment_id, lease_until) where lease_until is not null;

alter table status_history add column attempt integer not null default 0; -- of a trial: the attempt that was in it
alter table journals add column attempt integer not null default 0; -- of a trial: the attempt that writes it

alter table params add column suggested text; -- of a value that an optimizer chose: from what, as it says that, in JSON

-- What tools keep about a run beside parameters and metrics, typed as parameters are.
create table attributes (
  run_id text not null references runs (id) on delete cascade, -- whose attribute it is
  scope  text not null,                        -- whose word it is: result, extra, user, system, distribution, ...
  key    text not null,                        -- its name
  type   text not null check (type in ('null', 'bool', 'int', 'float', 'text', 'time', 'json')), -- what it was when it was set
  number {real},                               -- its value where it is a number or a bool; of a time, seconds since the epoch
  text   text,                                 -- its value as text: exact, and JSON for documents
  primary key (run_id, scope, key)
){clustered};

-- The same about an experiment.
create table experiment_attributes (
  experiment_id text not null references experiments (id) on delete cascade, -- whose attribute it is
  scope  text not null,                        -- whose word it is: user, system, ...
  key    text not null,                        -- its name
  type   text not null check (type in ('null', 'bool', 'int', 'float', 'text', 'time', 'json')), -- what it was when it was set
  number {real},                               -- its value where it is a number or a bool; of a time, seconds since the epoch
  text   text,                                 -- its value as text: exact, and JSON for documents
  primary key (experiment_id, scope, key)
){clustered};

-- What an experiment's parameters may be: its search space.
create table spaces (
  experiment_id text not null references experiments (id) on delete cascade, -- whose space it is
  position  integer not null,                  -- 0 is the first parameter
  key       text not null,                     -- the parameter
  kind      text not null check (kind in ('int', 'float', 'categorical')), -- what its values are
  low       {real},                            -- of a number: the least
  high      {real},                            -- and the greatest
  step      {real},                            -- the distance of neighbours, where it has such
  log       integer not null default 0,        -- 1: its logarithm is what matters
  choices   {json},                            -- JSON array: of a categorical one, what it may be
  fallback  {json},                            -- its default, as JSON
  condition {json},                            -- JSON object: other parameter -> the values at which it is there at all
  primary key (experiment_id, key)
){clustered};

-- What a metric must be for a trial to count as feasible.
create table limits (
  experiment_id text not null references experiments (id) on delete cascade, -- whose trials
  metric text not null,                        -- the key it looks at
  low    {real},                               -- no less than this
  high   {real},                               -- no more than this
  primary key (experiment_id, metric)
){clustered};

-- Numbers that are never given twice, for tools that want numbers.
create table counters (
  name  text primary key,                      -- what is counted
  value integer not null                       -- the number given last
){clustered};

-- Figures that were measured elsewhere and brought in by time: a row each, of any scalar type.
create table samples (
-- only: sqlite
  run_id text not null references runs (id) on delete cascade, -- what they were measured of
-- only: postgres
  run_id text not null,                        -- what they were measured of; goes with the run, by a trigger
-- only: end
  key    text not null,                        -- the figure's name
  time   {real} not null,                      -- when it was measured, seconds since the epoch
  type   text not null check (type in ('null', 'bool', 'int', 'float', 'text', 'time', 'json')), -- what it was
  number {real},                               -- its value where it is a number or a bool
  text   text,                                 -- its value as text: exact, and JSON for documents
  primary key (run_id, key, time)
){clustered};

-- only: postgres
-- A foreign key would be checked for each of them: that is a quarter of the time of bringing them in.
create function forget_samples() returns trigger language plpgsql set search_path from current as $$
begin
  delete from samples where run_id = old.id;
  return null;
end
$$;
create trigger runs_forget_samples after delete on runs
  for each row execute function forget_samples();
-- only: end

-- only: sqlite
drop view telemetry;
-- only: end
-- Figures about the machine or the system under test, by time: those that a run logged, and those that
-- were brought in from elsewhere.
-- only: sqlite
create view telemetry as
select s.run_id,
       s.key,
       g.first_time + (g.times ->> v.key) / 1e6 as time,
       v.value
from series s
join blocks b on b.series_id = s.id
join groups g on g.id = b.group_id,
     json_each(b.numbers) v
-- only: postgres
create or replace view telemetry as
select s.run_id,
       s.key,
       g.first_time + v.offset_us / 1e6::double precision as time,
       nullif(v.value, 'NaN') as value
from series s
join blocks b on b.series_id = s.id
join groups g on g.id = b.group_id,
     unnest(b.numbers, g.times) as v (value, offset_us)
-- only: end
where s.kind = 'telemetry'
union all
select run_id, key, time, number from samples;

-- One row a trial: where it stands in its experiment's queue, and what it is about.
create view trials as
select r.id as run_id, e.name as experiment, r.number, r.status, r.attempt, r.runner, r.priority,
       r.queued_at, r.due_at, r.lease_until, r.started_at, r.ended_at, c.params
from runs r
join experiments e on e.id = r.experiment_id
left join configs c on c.id = r.config_id
where r.queued_at is not null and r.deleted_at is null;
