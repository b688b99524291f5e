-- Folders that were scanned: what was there, so that an unchanged one is not read again.
-- opens-with: 3

alter table runs add column missing_at {time}; -- since when its folder was not found by a scan

create table scans (
  path   text primary key,                     -- the folder, absolute
  format text not null,                        -- which format it was read as: runbase, stable-pretraining, ...
  run_id text not null,                        -- the run that it tells of
  stamp  text not null,                        -- JSON: size and modification time of each file that tells of it
  scanned_at {time} not null                   -- when it was last read
){clustered};
create index scans_run on scans (run_id);
