-- What people add to the record: tags, notes and headline figures of experiments, versions and uses
-- of artifacts, views of their own; and indexes that searching wants.
-- opens-with: 2

alter table experiments add column notes text not null default ''; -- prose about it, as it goes on
alter table experiments add column metrics {json} not null default '{}'; -- JSON object: its own headline figures
alter table experiments add column checkpoint text; -- its best checkpoint: a path or a URL

create table experiment_tags (
  experiment_id text not null references experiments (id) on delete cascade, -- whose tag it is
  key    text not null,                        -- the tag
  value  text,                                 -- null for a plain tag
  primary key (experiment_id, key)
){clustered};
create index experiment_tags_key on experiment_tags (key, value);

-- Where an experiment comes from, also after its parent is gone: every ancestor by name and id.
create table lineage (
  experiment_id text not null references experiments (id) on delete cascade, -- the one that descends
  distance      integer not null,              -- 1 is the parent, 2 the parent's parent
  ancestor_id   text not null,                 -- the one it descends from, whether it is still there or not
  ancestor_name text not null,                 -- what that was called when this one was forked from it
  primary key (experiment_id, distance)
){clustered};
create index lineage_ancestor on lineage (ancestor_id);

alter table runs add column source_status text; -- the state's word in the system it was imported from

alter table artifacts add column name text; -- the series of versions it belongs to, if any
alter table artifacts add column version integer; -- counts the versions of that name in the experiment, from 1
alter table artifacts add column removed_at {time}; -- when its bytes were let go of; what it was stays known
create index artifacts_name on artifacts (name, version) where name is not null;
create index artifacts_content on artifacts (sha256) where sha256 is not null;

-- Runs that were purged: their folders, met again, do not bring them back.
create table purged (
  id   text primary key,                       -- the run
  time {time} not null                         -- when it was purged
){clustered};

-- Lineage of data: which run read which artifact of another run.
create table artifact_uses (
  run_id   text not null references runs (id) on delete cascade, -- the run that used it
  owner_id text not null,                      -- the run whose artifact it is
  path     text not null,                      -- its path there
  time     {time} not null,                    -- when it was first used
  primary key (run_id, owner_id, path)
){clustered};
create index artifact_uses_owner on artifact_uses (owner_id, path);

-- Wide views made by `runbase view create`: one row a step, one column a metric.
create table metric_views (
  name       text primary key,                 -- the view's name
  metrics    {json} not null,                  -- JSON object: column -> metric
  created_at {time} not null                   -- when it was made
);

-- What a script of a user's did, beside the schema's own steps.
alter table migrations add column owner text not null default 'runbase'; -- runbase, or user for scripts of yours

create index runs_created on runs (created_at desc, id desc) where deleted_at is null;
drop index series_key;
create index series_last on series (key, kind, last);
create index series_run on series (key, kind, run_id, last);
-- only: postgres
create index configs_params on configs using gin (params jsonb_path_ops);
create index runs_args on runs using gin (args jsonb_path_ops);
create index runs_env on runs using gin (env jsonb_path_ops);
create index experiments_config on experiments using gin (config jsonb_path_ops);
-- only: end
