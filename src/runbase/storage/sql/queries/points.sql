-- name: series_ids
-- The series of a run.
select id, coalesce(long_key, key) as key, type from series where run_id = :run and kind = :kind;

-- name: insert_series
-- Create the series of a new metric of a run.
insert into series (run_id, kind, key, type, long_key) values (:run, :kind, :key, :type, :long_key)
on conflict (run_id, kind, key) do nothing;

-- name: set_type
-- Set the type of a metric's values, unless it is 'float'.
insert into series (run_id, kind, key, type, long_key)
values (:run, 'metric', :key, :type, :long_key)
on conflict (run_id, kind, key) do update set type = excluded.type;

-- name: add_to_series
-- Add a batch to a metric's statistics. All right-hand sides refer to the row before the update.
update series set
  count = count + :count,
  nans = nans + :nans,
  first = case when first_step is null or :first_step < first_step or (:first_step = first_step and :first_time < first_time) then :first else first end,
  first_time = case when first_step is null or :first_step < first_step or (:first_step = first_step and :first_time < first_time) then :first_time else first_time end,
  first_step = case when first_step is null or :first_step < first_step or (:first_step = first_step and :first_time < first_time) then :first_step else first_step end,
  last = case when last_step is null or :last_step > last_step or (:last_step = last_step and :last_time >= last_time) then :last else last end,
  last_time = case when last_step is null or :last_step > last_step or (:last_step = last_step and :last_time >= last_time) then :last_time else last_time end,
  last_step = case when last_step is null or :last_step > last_step or (:last_step = last_step and :last_time >= last_time) then :last_step else last_step end,
  min_step = case when cast(:min as {real}) is not null and (min is null or :min < min) then :min_step else min_step end,
  min = case when cast(:min as {real}) is not null and (min is null or :min < min) then :min else min end,
  max_step = case when cast(:max as {real}) is not null and (max is null or :max > max) then :max_step else max_step end,
  max = case when cast(:max as {real}) is not null and (max is null or :max > max) then :max else max end,
  sum = case when cast(:sum as {real}) is null then sum else coalesce(sum, 0) + :sum end
where id = :id;

-- name: open_group
-- The group of a journal that has room for more calls with these keys.
select id, count, first_step, stride, first_time from groups
where journal_id = :journal and keys_hash = :keys_hash and count < 1024
order by id desc limit 1;

-- name: open_groups
-- All groups of a journal that have room for more calls, one for each set of keys.
select id, keys_hash, count, first_step, stride, first_time from groups
where journal_id = :journal and count < 1024 order by id;

-- name: next_seq
-- The sequence number of a run's next group.
-- only: sqlite
select 1 + max(
-- only: postgres
select 1 + greatest(
-- only: end
  coalesce((select max(seq) from groups where run_id = :run), -1),
  coalesce((select last_seq from archives where run_id = :run), -1)) as seq;

-- name: insert_group
-- Create a group with its axis.
insert into groups (id, run_id, seq, journal_id, keys_hash, count, first_step, stride, steps,
                    lowest_step, highest_step, first_time, times, progress)
values (:id, :run, :seq, :journal, :keys_hash, :count, :first_step, :stride, :steps,
        :lowest_step, :highest_step, :first_time, :times, :progress);

-- name: extend_group
-- Append calls to a group.
update groups set
  count = count + :count,
  stride = :stride,
  -- only: sqlite
  steps = case when :steps is null then null when :all_steps then :steps
               else substr(steps, 1, length(steps) - 1) || ',' || substr(:steps, 2) end,
  times = substr(times, 1, length(times) - 1) || ',' || substr(:times, 2),
  progress = case when progress is null and :progress is null then null
                  else substr(coalesce(progress, :no_progress_before), 1, length(coalesce(progress, :no_progress_before)) - 1)
                       || ',' || substr(coalesce(:progress, :no_progress_now), 2) end,
  -- only: postgres
  steps = case when cast(:steps as numeric[]) is null then null
               when :all_steps then cast(:steps as numeric[]) else steps || cast(:steps as numeric[]) end,
  times = times || cast(:times as bigint[]),
  progress = case when progress is null and cast(:progress as double precision[]) is null then null
                  else coalesce(progress, cast(:no_progress_before as double precision[]))
                       || coalesce(cast(:progress as double precision[]), cast(:no_progress_now as double precision[])) end,
  -- only: end
  lowest_step = case when :lowest_step < lowest_step then :lowest_step else lowest_step end,
  highest_step = case when :highest_step > highest_step then :highest_step else highest_step end
where id = :id;

-- name: insert_block
-- Create a block: the values of one key in a group.
insert into blocks (series_id, group_id, count, nans, min, max, sum, numbers)
values (:series, :group, :count, :nans, :min, :max, :sum, :numbers);

-- name: extend_block
-- Append values to a block.
update blocks set
  count = count + :count,
  nans = nans + :nans,
  min = case when min is null or :min < min then coalesce(cast(:min as {real}), min) else min end,
  max = case when max is null or :max > max then coalesce(cast(:max as {real}), max) else max end,
  sum = case when cast(:sum as {real}) is null then sum else coalesce(sum, 0) + :sum end,
  -- only: sqlite
  numbers = substr(numbers, 1, length(numbers) - 1) || ',' || substr(:numbers, 2)
  -- only: postgres
  numbers = numbers || cast(:numbers as double precision[])
  -- only: end
where series_id = :series and group_id = :group;

-- name: series_of_key
-- The series of one metric of a run.
select id, type, count, first_step, last_step,
       exists (select 1 from archives where archives.run_id = :run) as archived
from series where run_id = :run and kind = :kind and key = :key;

-- name: keys_of_run
-- The keys that a run has logged.
select coalesce(s.long_key, s.key) as key from series s
where s.run_id = :run and s.kind = :kind order by s.key;

-- name: read_blocks
-- The blocks of a series with points between two steps, in the order they were logged.
select g.count, g.first_step, g.stride, g.steps, g.first_time, g.times, b.numbers
from blocks b join groups g on g.id = b.group_id
where b.series_id = :series
  and (cast(:start as numeric) is null or g.highest_step >= :start)
  and (cast(:stop as numeric) is null or g.lowest_step <= :stop)
order by g.seq;

-- name: blocks_of_runs
-- The blocks of all metrics of runs, or of some metrics, in the order they were logged.
select s.run_id, coalesce(s.long_key, s.key) as key, g.count, g.first_step, g.stride, g.steps, g.first_time, g.times, b.numbers
from series s join blocks b on b.series_id = s.id join groups g on g.id = b.group_id
where s.run_id = any(:runs) and s.kind = :kind and (:all = 1 or s.key = any(:keys))
order by s.run_id, s.key, g.seq;
