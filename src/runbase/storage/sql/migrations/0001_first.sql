-- The first schema: experiments, runs, points in blocks, records, artifacts, journals.
-- opens-with: 1
--
-- One text for both dialects. A word in braces is a type that they spell differently:
--   {id} an integer that counts rows    {integer} 64 bits    {real} double precision
--   {time} UTC: timestamptz, or ISO-8601 text (2026-11-20T22:36:01.123456Z) on SQLite
--   {json} a document: jsonb, or text   {reals} {integers} {numerics} arrays, or JSON text
-- In points, times are seconds since the epoch.

create table experiments (
  id           text primary key,               -- UUIDv7, 32 hexadecimal characters
  name         text not null,                  -- what people call it; start_run finds it by this
  description  text not null default '',       -- what it is about, in prose
  base_model   text,                           -- the model it starts from
  method       text,                           -- how it trains or searches
  status       text not null default 'created', -- free text; the runs have states of their own
  parent_id    text references experiments (id) on delete set null, -- the experiment it was forked from
  config       {json} not null default '{}',   -- JSON object: what its runs have in common
  created_at   {time} not null,                -- when it was first named
  updated_at   {time} not null,                -- the latest change of it or its runs
  deleted_at   {time}                          -- set while it lies in the bin
);
create index experiments_name on experiments (name);

create table objectives (
  experiment_id text not null references experiments (id) on delete cascade, -- whose objective it is
  position      integer not null,              -- 0 is the first objective
  metric        text not null,                 -- the key it looks at
  direction     text not null check (direction in ('min', 'max')), -- whether less or more is better
  weight        {real} not null default 1,     -- its share where several are added up
  primary key (experiment_id, position)
);

create table experiment_links (
  from_id text not null references experiments (id) on delete cascade, -- the experiment that points
  kind    text not null,                       -- such as 'fork', 'follows'
  to_id   text not null references experiments (id) on delete cascade, -- the one it points to
  primary key (from_id, kind, to_id)
);

create table configs (
  id     {id},                                 -- counts them
  hash   text not null unique,                 -- SHA-256 of the parameters as JSON with sorted keys
  params {json} not null                       -- JSON object: key -> value
);

create table statuses (
  status text primary key,                     -- Slurm's job states, and PRUNED
  phase  text not null check (phase in ('waiting', 'active', 'ended')) -- not begun, under way, or over
);
insert into statuses (status, phase) values
  ('BOOT_FAIL', 'ended'), ('CANCELLED', 'ended'), ('COMPLETED', 'ended'), ('COMPLETING', 'active'),
  ('CONFIGURING', 'waiting'), ('DEADLINE', 'ended'), ('FAILED', 'ended'), ('NODE_FAIL', 'ended'),
  ('OUT_OF_MEMORY', 'ended'), ('PENDING', 'waiting'), ('PREEMPTED', 'ended'), ('PRUNED', 'ended'),
  ('REQUEUED', 'waiting'), ('REQUEUE_FED', 'waiting'), ('REQUEUE_HOLD', 'waiting'),
  ('RESIZING', 'active'), ('RESV_DEL_HOLD', 'waiting'), ('REVOKED', 'ended'), ('RUNNING', 'active'),
  ('SIGNALING', 'active'), ('SPECIAL_EXIT', 'waiting'), ('STAGE_OUT', 'active'),
  ('STOPPED', 'active'), ('SUSPENDED', 'active'), ('TIMEOUT', 'ended');

create table runs (
  id            text primary key,              -- UUIDv7, 32 hexadecimal characters
  experiment_id text not null references experiments (id) on delete cascade, -- the group it belongs to
  number        integer not null,              -- counts the experiment's runs from 1
  name          text not null,                 -- readable, such as brisk-heron-42
  status        text not null references statuses (status), -- as its history has it; statuses says which phase that is
  config_id     {integer} references configs (id), -- the parameters; runs that share one form a group
  parent_id     text,                          -- the run it is nested in
  created_at    {time} not null,               -- the first thing known of it
  started_at    {time},                        -- when it first ran
  ended_at      {time},                        -- when it ended; the last sign of life where it was lost
  updated_at    {time} not null,               -- the latest thing known of it
  seen_at       {time},                        -- its last sign of life
  lost_at       {time},                        -- set while it is taken for lost: the sign of life before
  username      text,                          -- who ran it
  host          text,                          -- where it first ran
  pid           integer,                       -- its first process
  folder        text,                          -- its folder, below the home where it was last found
  checkpoint    text,                          -- the artifact path of its best checkpoint
  notes         text not null default '',      -- prose about it
  git           {json} not null default '{}',  -- JSON object: commit, branch, dirty, remote, ...
  args          {json} not null default '{}',  -- JSON object: script, argv, parsed options
  env           {json} not null default '{}',  -- JSON object: environment variables of the allow-list
  system        {json} not null default '{}',  -- JSON object: Python, packages, CPU, memory, GPUs, Slurm
  error         {json},                        -- JSON object: type, message, traceback
  exit_code     {integer},                     -- what its process returned
  deleted_at    {time},                        -- set while it lies in the bin
  unique (experiment_id, number)
);
create index runs_name on runs (name);
create index runs_status on runs (status);
create index runs_config on runs (config_id);
create index runs_parent on runs (parent_id) where parent_id is not null;

create table run_links (
  from_id text not null references runs (id) on delete cascade, -- the run that points
  kind    text not null,                       -- such as 'uses', 'continues'
  to_id   text not null references runs (id) on delete cascade, -- the one it points to
  primary key (from_id, kind, to_id)
);

create table run_tags (
  run_id text not null references runs (id) on delete cascade, -- whose tag it is
  key    text not null,                        -- the tag
  value  text,                                 -- null for a plain tag
  primary key (run_id, key)
){clustered};
create index run_tags_key on run_tags (key, value);

create table params (
  run_id text not null references runs (id) on delete cascade, -- whose parameter it is
  key    text not null,                        -- nested parameters have / between their keys
  type   text not null check (type in ('null', 'bool', 'int', 'float', 'text', 'json')), -- what it was when it was logged
  number {real},                               -- its value where it is a number or a bool
  text   text,                                 -- its value as text: exact, and JSON for lists
  primary key (run_id, key)
){clustered};
create index params_number on params (key, number);
create index params_text on params (key, text);

create table status_history (
  run_id   text not null references runs (id) on delete cascade, -- whose state it is
  time     {time} not null,                    -- when it came into it
  status   text not null references statuses (status), -- the state
  reason   text,                               -- why, where that is known
  inferred integer not null default 0,         -- 1: concluded from silence, not reported by the run
  primary key (run_id, time, status)
){clustered};

create table journals (
  id              text primary key,            -- stands in the journal's first line
  run_id          text not null references runs (id) on delete cascade, -- the run it tells of
  file            text not null,               -- its path below the run's folder
  "offset"        {integer} not null,          -- how many bytes of it are in this database
  lines           integer not null default 0,  -- events and log calls taken from it
  problems        integer not null default 0,  -- damaged lines passed over
  host            text not null,               -- the process that writes it
  pid             integer not null,            -- its number there
  process_started text,                        -- the kernel's mark of when it began
  boot            text,                        -- which boot, and which container
  opened_at       {time} not null,             -- when it was begun
  closed_at       {time}                       -- when its process was done with it
);
create index journals_run on journals (run_id);

create table series (
  id         {id},                             -- counts them
  run_id     text not null references runs (id) on delete cascade, -- the run that logged it
  kind       text not null default 'metric',   -- metric, or telemetry: figures about the machine
  key        text not null,                    -- its name
  type       text not null default 'float',    -- float, int, bool; time: seconds since the epoch
  count      {integer} not null default 0,     -- how many points it has, NaN among them
  nans       {integer} not null default 0,     -- how many of them are NaN
  first      {real},                           -- the value at the least step (there, the earliest)
  first_step numeric,                          -- that step
  first_time {real},                           -- when it was logged, seconds since the epoch
  last       {real},                           -- the value at the greatest step (there, the latest)
  last_step  numeric,                          -- that step
  last_time  {real},                           -- when it was logged, seconds since the epoch
  min        {real},                           -- the least value that is a number
  min_step   numeric,                          -- the step where it was first met
  max        {real},                           -- the greatest value that is a number
  max_step   numeric,                          -- the step where it was first met
  sum        {real},                           -- of the values that are numbers
  unique (run_id, kind, key)
);
create index series_key on series (key, kind);

-- Up to 1,024 log calls with the same keys, made by one process, in the order they were made. Their
-- steps and times are stored once, here; the values of each key are one row of blocks.
create table groups (
  id         {id},                             -- counts them
  run_id     text not null references runs (id) on delete cascade, -- the run that logged it
  seq        integer not null,                 -- counts the run's groups
  journal_id text not null,                    -- which journal they were made in
  keys_hash  text not null,                    -- of its kind and keys: finds the group to go on with
  count      integer not null,                 -- how many log calls
  first_step numeric not null,                 -- of the first call
  stride     numeric,                          -- call n has step first_step + n * stride; or null and:
  steps      {numerics},                       -- JSON array: the step of each call
  lowest_step numeric not null,                -- the range of its steps
  highest_step numeric not null,               -- and the greatest of them
  first_time {real} not null,                  -- of the first call, seconds since the epoch
  times      {integers} not null,              -- JSON array: microseconds after first_time
  progress   {reals}                           -- JSON array: progress of each call, where any was given
);
create index groups_run on groups (run_id, seq);
create index groups_open on groups (journal_id, keys_hash) where count < 1024;

create table blocks (
  series_id {integer} not null references series (id) on delete cascade, -- the metric
  group_id  {integer} not null references groups (id) on delete cascade, -- the group that has their steps and times
  count     integer not null,                  -- how many values
  nans      integer not null,                  -- how many of them are NaN
  min       {real},                            -- the least that is a number
  max       {real},                            -- the greatest that is a number
  sum       {real},                            -- of those that are numbers
  numbers   {reals} not null,                  -- JSON array: the values; NaN as null, infinities as 9e999
  primary key (series_id, group_id)
){clustered};
create index blocks_group on blocks (group_id);

create table records (
  id     {id},                                 -- counts them
  run_id text not null references runs (id) on delete cascade, -- the run that logged it
  key    text not null,                        -- its name
  kind   text not null,                        -- text, json, table, histogram, image, audio, video, ...
  step   numeric,                              -- where in the run it belongs
  time   {time} not null,                      -- when it was logged
  value  {json},                               -- JSON: the value itself, or
  path   text                                  -- the file that holds it, below the run's folder
);
create index records_run on records (run_id, key, step);

create table artifacts (
  run_id     text not null references runs (id) on delete cascade, -- the run it belongs to
  path       text not null,                    -- its name within the run
  kind       text not null,                    -- file, checkpoint, model, image, ...
  uri        text not null,                    -- where it is: below the run's folder, or a URL
  size       {integer} not null,               -- bytes
  sha256     text,                             -- of its bytes
  mime       text,                             -- what its name says it is
  step       numeric,                          -- where in the run it belongs
  metadata   {json} not null default '{}',     -- JSON object: what its owner says of it
  created_at {time} not null,                  -- when it was logged
  primary key (run_id, path)
);

-- Every point, one row each: what most questions are asked of. A key's duplicate steps are all here.
create view metrics as
-- only: sqlite
select s.run_id,
       s.key,
       case when g.steps is null then g.first_step + v.key * g.stride
            else g.steps ->> v.key end as step,
       g.first_time + (g.times ->> v.key) / 1e6 as time,
       v.value,
       case when g.progress is not null then g.progress ->> v.key end as progress
from series s
join blocks b on b.series_id = s.id
join groups g on g.id = b.group_id,
     json_each(b.numbers) v
-- only: postgres
select s.run_id,
       s.key,
       case when g.steps is null then g.first_step + (v.nth - 1) * g.stride
            else v.step end as step,
       g.first_time + v.offset_us / 1e6::double precision as time,
       nullif(v.value, 'NaN') as value,
       v.progress
from series s
join blocks b on b.series_id = s.id
join groups g on g.id = b.group_id,
     unnest(b.numbers, g.times, g.steps, g.progress)
       with ordinality as v (value, offset_us, step, progress, nth)
-- only: end
where s.kind = 'metric';

-- The same for figures about the machine, which have times and no steps of meaning.
create view telemetry as
-- only: sqlite
select s.run_id,
       s.key,
       g.first_time + (g.times ->> v.key) / 1e6 as time,
       v.value
from series s
join blocks b on b.series_id = s.id
join groups g on g.id = b.group_id,
     json_each(b.numbers) v
-- only: postgres
select s.run_id,
       s.key,
       g.first_time + v.offset_us / 1e6::double precision as time,
       nullif(v.value, 'NaN') as value
from series s
join blocks b on b.series_id = s.id
join groups g on g.id = b.group_id,
     unnest(b.numbers, g.times) as v (value, offset_us)
-- only: end
where s.kind = 'telemetry';

-- One row a metric of a run: its last, least, greatest and mean value, without touching points.
create view latest as
select r.id as run_id, e.name as experiment, r.name as run, s.key, s.count,
       s.last_step as step, s.last as value, s.min, s.max,
       s.sum / nullif(s.count - s.nans, 0) as mean
from series s
join runs r on r.id = s.run_id and r.deleted_at is null
join experiments e on e.id = r.experiment_id
where s.kind = 'metric';

-- One row a run, with its parameters, tags and last metrics as JSON objects.
create view run_summary as
select r.id, e.name as experiment, r.number, r.name, r.status, r.started_at, r.ended_at,
-- only: sqlite
       round((julianday(coalesce(r.ended_at, r.seen_at, r.updated_at))
              - julianday(r.started_at)) * 86400, 3) as seconds,
       coalesce(c.params, '{}') as params,
       (select json_group_object(t.key, t.value) from run_tags t where t.run_id = r.id) as tags,
       (select json_group_object(s.key, case when abs(s.last) < 9e999 then s.last end)
          from series s where s.run_id = r.id and s.kind = 'metric') as metrics
-- only: postgres
       round(extract(epoch from coalesce(r.ended_at, r.seen_at, r.updated_at) - r.started_at), 3)
         as seconds,
       coalesce(c.params, '{}') as params,
       (select coalesce(jsonb_object_agg(t.key, t.value), '{}')
          from run_tags t where t.run_id = r.id) as tags,
       (select coalesce(jsonb_object_agg(s.key, case when abs(s.last) < 'Infinity' then s.last end), '{}')
          from series s where s.run_id = r.id and s.kind = 'metric') as metrics
-- only: end
from runs r
join experiments e on e.id = r.experiment_id
left join configs c on c.id = r.config_id
where r.deleted_at is null;
