-- name: has_table_sizes
-- Whether the database can tell the sizes of its tables; some builds of SQLite cannot.
-- only: sqlite
select 1 as known from pragma_compile_options where compile_options = 'ENABLE_DBSTAT_VTAB';
-- only: postgres
select 1 as known;
-- only: end

-- name: table_sizes
-- Bytes of each table with its indexes.
-- only: sqlite
select coalesce(m.tbl_name, d.name) as name, sum(d.pgsize) as bytes
from (select name, sum(pgsize) as pgsize from dbstat where aggregate = 1 group by name) d
left join sqlite_master m on m.name = d.name
group by 1 order by 2 desc;
-- only: postgres
select c.relname as name, pg_total_relation_size(c.oid) as bytes from pg_class c
where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace order by 2 desc;
-- only: end

-- name: run_sizes
-- Points, those in archives, bytes of archives, journals and artifacts of the runs with the most bytes, if a point takes :each bytes.
select r.id, r.name, e.name as experiment, coalesce(s.points, 0) as points,
       coalesce(h.points, 0) as archived, coalesce(h.bytes, 0) as archive,
       coalesce(j.bytes, 0) as journals, coalesce(a.bytes, 0) as artifacts
from runs r
join experiments e on e.id = r.experiment_id
left join (select run_id, sum(count) as points from series group by run_id) s on s.run_id = r.id
left join archives h on h.run_id = r.id
left join (select run_id, sum("offset") as bytes from journals group by run_id) j on j.run_id = r.id
left join (select run_id, sum(size) as bytes from artifacts where removed_at is null and path not like '%/' group by run_id) a on a.run_id = r.id
order by (coalesce(s.points, 0) - coalesce(h.points, 0)) * :each + coalesce(h.bytes, 0) + coalesce(j.bytes, 0) + coalesce(a.bytes, 0) desc, r.id
limit :most;

-- name: experiment_sizes
-- The same of each experiment, with its number of runs, deleted ones included.
select e.id, e.name, count(*) as runs, coalesce(sum(s.points), 0) as points,
       coalesce(sum(h.points), 0) as archived, coalesce(sum(h.bytes), 0) as archive,
       coalesce(sum(j.bytes), 0) as journals, coalesce(sum(a.bytes), 0) as artifacts
from runs r
join experiments e on e.id = r.experiment_id
left join (select run_id, sum(count) as points from series group by run_id) s on s.run_id = r.id
left join archives h on h.run_id = r.id
left join (select run_id, sum("offset") as bytes from journals group by run_id) j on j.run_id = r.id
left join (select run_id, sum(size) as bytes from artifacts where removed_at is null and path not like '%/' group by run_id) a on a.run_id = r.id
group by e.id, e.name
order by (coalesce(sum(s.points), 0) - coalesce(sum(h.points), 0)) * :each + coalesce(sum(h.bytes), 0) + coalesce(sum(j.bytes), 0) + coalesce(sum(a.bytes), 0) desc, e.id
limit :most;

-- name: points_to_archive
-- The points in the tables of runs that ended before a time.
select count(*) as runs, coalesce(sum(s.points), 0) as points
from runs r join (select run_id, sum(count) as points from series group by run_id) s on s.run_id = r.id
where r.ended_at < :before and r.deleted_at is null and not exists (select 1 from archives a where a.run_id = r.id);
