-- opens-with: 19
-- Runs whose points are in Parquet files: their rows of groups and blocks were moved there, all other rows stay.

create table archives (
  run_id          text primary key references runs (id) on delete cascade, -- the run
  uri             text not null,               -- the file: a path or a URL; other runs can be in it too
  first_row_group integer not null,            -- the first row group of the file that has points of the run
  row_groups      integer not null,            -- how many row groups have points of it
  groups          integer not null,            -- how many groups of log calls were moved
  points          {integer} not null,          -- how many points were moved
  last_seq        integer not null,            -- the greatest seq among the groups
  last_group      {integer} not null,          -- the greatest id among the groups
  bytes           {integer} not null,          -- the run's share of the file
  sha256          text not null,               -- of the file
  created_at      {time} not null              -- when the points were moved
);
create index archives_uri on archives (uri);
create index archives_last_group on archives (last_group);
