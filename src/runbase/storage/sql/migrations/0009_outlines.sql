-- opens-with: 9
-- Outlines of long metrics, so that a chart costs its pixels and not its points.
--
-- A full block of 1,024 points is cut into 14 pieces of 73 or 74 points. The outline keeps the least, the greatest and the
-- mean value of each piece. A metric has an outline from four full blocks on; then all of its full blocks are in it. Blocks
-- that are not full are read themselves.

create table outlines (
  series_id    {integer} not null references series (id) on delete cascade, -- the metric
  seq          integer not null,               -- counts the rows of the metric
  blocks       integer not null,               -- how many full blocks are in this row, at most 16
  lowest_step  numeric not null,               -- the range of their steps
  highest_step numeric not null,               -- and the greatest of them
  first_step   numeric not null,               -- of their first point
  stride       numeric,                        -- point n has step first_step + n * stride; or null and:
  steps        text,                           -- JSON array: the least and the greatest step of each piece
  group_ids    text not null,                  -- JSON array: the groups of the blocks
  pieces       {bytes} not null,               -- of each piece, little endian: min and max (float64), mean (float32)
  nans         {bytes},                        -- of each piece, how many points are NaN (a byte); null if none is
  primary key (series_id, seq)
){clustered};

-- Metrics of the time before outlines. Each gets its outline when it is first drawn, or by `runbase sync`.
create table unoutlined (
  series_id {integer} primary key references series (id) on delete cascade -- the metric
){clustered};
insert into unoutlined (series_id) select id from series where count >= 4096;

create index groups_partial on groups (run_id) where count < 1024;
