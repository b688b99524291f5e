-- name: blocks_of_group
-- The blocks of a group with its steps.
select b.series_id, b.numbers, g.first_step, g.stride, g.steps
from blocks b join groups g on g.id = b.group_id where b.group_id = :group;

-- name: outline_tails
-- The last row of the outline of each metric that has one.
select o.series_id, o.seq, o.blocks, o.first_step, o.stride, o.steps is not null as has_steps
-- only: sqlite
from json_each(:series) s cross join outlines o
  on o.series_id = s.value and o.seq = (select max(l.seq) from outlines l where l.series_id = s.value);
-- only: postgres
from unnest(cast(:series as bigint[])) s (value) join outlines o
  on o.series_id = s.value and o.seq = (select max(l.seq) from outlines l where l.series_id = s.value);
-- only: end

-- name: full_blocks
-- How many full blocks metrics have; none of an archived run, whose full blocks are not all here.
select b.series_id, count(*) as blocks from blocks b
where b.series_id = any(:series) and b.count = 1024
  and not exists (select 1 from series s join archives a on a.run_id = s.run_id where s.id = b.series_id)
group by b.series_id;

-- name: unoutlined_of
-- Which of these metrics have no outline yet though they are long.
select series_id from unoutlined where series_id = any(:series);

-- name: all_unoutlined
-- All metrics without an outline, with the size of each.
select s.run_id, u.series_id, s.count from unoutlined u join series s on s.id = u.series_id order by u.series_id;

-- name: outlined
-- A metric has its outline now.
delete from unoutlined where series_id = :series;

-- name: clear_outline
-- Remove the outline of a metric.
delete from outlines where series_id = :series;

-- name: blocks_for_outline
-- The full blocks of a metric, in the order they were logged.
select b.series_id, b.group_id, b.numbers, g.first_step, g.stride, g.steps
from blocks b join groups g on g.id = b.group_id
where b.series_id = :series and b.count = 1024 order by g.seq;

-- name: insert_outline
-- Begin a row of an outline.
insert into outlines (series_id, seq, blocks, lowest_step, highest_step, first_step, stride, steps, group_ids, pieces, nans)
values (:series, :seq, :blocks, :lowest_step, :highest_step, :first_step, :stride, :steps, :group_ids, :pieces, :nans);

-- name: extend_outline
-- Append a block to a row of an outline.
update outlines set
  blocks = blocks + 1,
  lowest_step = case when :lowest_step < lowest_step then :lowest_step else lowest_step end,
  highest_step = case when :highest_step > highest_step then :highest_step else highest_step end,
  steps = case when steps is null then null
               else substr(steps, 1, length(steps) - 1) || ',' || substr(cast(:steps as text), 2) end,
  group_ids = substr(group_ids, 1, length(group_ids) - 1) || ',' || :group || ']',
  -- only: sqlite
  pieces = cast(pieces || :pieces as blob),
  nans = case when nans is null and :nans is null then null
              else cast(coalesce(nans, :no_nans_before) || coalesce(:nans, :no_nans_now) as blob) end
  -- only: postgres
  pieces = pieces || cast(:pieces as bytea),
  nans = case when nans is null and cast(:nans as bytea) is null then null
              else coalesce(nans, cast(:no_nans_before as bytea)) || coalesce(cast(:nans as bytea), cast(:no_nans_now as bytea)) end
  -- only: end
where series_id = :series and seq = :seq;

-- name: outlined_of
-- Which of these metrics have an outline.
select series_id from outlines where series_id = any(:series) and seq = 0;

-- name: outlines_of
-- The outlines of metrics between two steps.
select series_id, blocks, first_step, stride, steps, group_ids, pieces, nans from outlines
where series_id = any(:series)
  and (cast(:start as numeric) is null or highest_step >= :start)
  and (cast(:stop as numeric) is null or lowest_step <= :stop)
order by series_id, seq;

-- name: partial_blocks
-- The blocks of metrics that are not full, between two steps. (A cross join makes SQLite start with the few groups.)
select b.series_id, b.numbers, g.count, g.first_step, g.stride, g.steps
-- only: sqlite
from groups g cross join blocks b on b.group_id = g.id
-- only: postgres
from groups g join blocks b on b.group_id = g.id
-- only: end
where g.run_id = any(:runs) and g.count < 1024 and b.series_id = any(:series)
  and (cast(:start as numeric) is null or g.highest_step >= :start)
  and (cast(:stop as numeric) is null or g.lowest_step <= :stop)
order by b.series_id, g.seq;

-- name: chosen_blocks
-- Some blocks of a metric with their steps.
select b.group_id, b.numbers, g.count, g.first_step, g.stride, g.steps
from blocks b join groups g on g.id = b.group_id
where b.series_id = :series and b.group_id = any(:groups) order by g.seq;

-- name: numbers_of_series
-- The blocks of a metric between two steps, without times.
select g.count, g.first_step, g.stride, g.steps, b.numbers
from blocks b join groups g on g.id = b.group_id
where b.series_id = :series
  and (cast(:start as numeric) is null or g.highest_step >= :start)
  and (cast(:stop as numeric) is null or g.lowest_step <= :stop)
order by g.seq;

-- name: clocks_of_series
-- When the first call of each group of some metrics was logged: what turns steps into times.
select b.series_id, g.lowest_step, g.first_time
from blocks b join groups g on g.id = b.group_id
where b.series_id = any(:series)
order by b.series_id, g.lowest_step;

-- name: ends_of_series
-- The last step of some metrics, and when it was logged.
select id as series_id, last_step, last_time from series
where id = any(:series) and last_step is not null;

-- name: series_of_keys
-- The series of metrics of several runs.
select run_id, coalesce(long_key, key) as key, id, count,
       exists (select 1 from archives a where a.run_id = series.run_id) as archived
from series
where run_id = any(:runs) and kind = :kind and key = any(:keys);
