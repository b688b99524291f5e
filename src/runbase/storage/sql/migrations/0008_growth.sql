-- opens-with: 3
-- Costs that follow what is new, not how many runs there are.
--
-- Run folders that are complete in here are remembered, so that a sync looks at each once. The indexes are for
-- questions that read every run before: which are active, which are deleted, which share a folder.

create table synced_folders (
  path    text primary key,                    -- a run folder, below its home
  changed {integer} not null                   -- its modification time in nanoseconds when all of its journals were closed and in here
){clustered};

create index runs_active on runs (status)
  where status in ('RUNNING', 'COMPLETING', 'RESIZING', 'SIGNALING', 'STAGE_OUT', 'STOPPED', 'SUSPENDED');
create index runs_lost on runs (lost_at) where lost_at is not null;
create index runs_deleted on runs (deleted_at) where deleted_at is not null;
create index experiments_deleted on experiments (deleted_at) where deleted_at is not null;
create index runs_folder on runs (folder) where folder is not null;
create index artifacts_uri on artifacts (uri);
create index run_links_to on run_links (to_id);
create index experiment_links_to on experiment_links (to_id);
create index experiments_parent on experiments (parent_id) where parent_id is not null;

-- only: postgres
-- Of ids in their binary order, whatever the database's language is: a prefix is a range.
create index runs_prefix on runs (id text_pattern_ops);
-- only: end
