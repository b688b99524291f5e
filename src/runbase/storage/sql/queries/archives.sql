-- name: archives_of
-- The archives of runs.
select run_id, uri, first_row_group, row_groups, groups, points, last_seq, last_group, bytes, sha256, created_at
from archives where run_id = any(:runs) order by run_id;

-- name: archived_files
-- The files of archives with their runs.
select uri, run_id, points, sha256 from archives order by uri, run_id;

-- name: archived_totals
-- How much is archived.
select count(*) as runs, count(distinct uri) as files, coalesce(sum(points), 0) as points, coalesce(sum(bytes), 0) as bytes
from archives;

-- name: points_in_tables
-- How many groups, and points of all metrics, runs have in the tables.
select r.id as run_id,
       (select count(*) from groups g where g.run_id = r.id) as groups,
       (select cast(coalesce(sum(b.count), 0) as {integer})
          from series s join blocks b on b.series_id = s.id where s.run_id = r.id) as points
from runs r where r.id = any(:runs);

-- name: series_to_move
-- The metrics and telemetry of a run, with the types of their values.
select id, kind, coalesce(long_key, key) as key, type from series where run_id = :run order by kind, coalesce(long_key, key);

-- name: axes_to_move
-- Groups of a run after one of them.
select id, seq, journal_id, keys_hash, count, first_step, stride, steps, lowest_step, highest_step, first_time, times, progress
from groups where run_id = :run and seq > :after order by seq limit :most;

-- name: blocks_to_move
-- Blocks of a metric after one of them.
select g.seq, b.group_id, b.count, b.nans, b.min, b.max, b.sum, b.numbers
-- only: sqlite
from groups g cross join blocks b on b.group_id = g.id
-- only: postgres
from groups g join blocks b on b.group_id = g.id
-- only: end
where g.run_id = :run and b.series_id = :series and g.seq > :after order by g.seq limit :most;

-- name: insert_archive
-- Record that the points of a run are in a file.
insert into archives (run_id, uri, first_row_group, row_groups, groups, points, last_seq, last_group, bytes, sha256, created_at)
values (:run, :uri, :first_row_group, :row_groups, :groups, :points, :last_seq, :last_group, :bytes, :sha256, :time);

-- name: delete_archives
-- Forget the archives of runs.
delete from archives where run_id = any(:ids);

-- name: move_archive
-- The points of a run are in another file now, unless they were moved elsewhere in the meantime.
update archives set uri = :uri, first_row_group = :first_row_group, row_groups = :row_groups, bytes = :bytes, sha256 = :sha256
where run_id = :run and uri = :old;

-- name: rename_archive
-- A file is at another place now, with the same content.
update archives set uri = :new where uri = :old;

-- name: when_created
-- When the database was created: it tells files of this database from those of others.
select min(applied) as time from migrations;
