-- name: has_table
-- Whether a table exists.
-- only: sqlite
select 1 as one from sqlite_master where type = 'table' and name = :name;
-- only: postgres
select 1 as one from pg_tables where schemaname = :schema and tablename = :name;
-- only: end

-- name: definitions
-- Every table, index and view as SQL; on PostgreSQL, which does not store the SQL of tables, only indexes and views.
-- only: sqlite
select type, name, tbl_name, sql, null as comment from sqlite_master
where sql is not null and name not like 'sqlite_%'
order by case type when 'table' then 0 when 'index' then 1 else 2 end, rowid;
-- only: postgres
select 'index' as type, indexname as name, tablename as tbl_name, indexdef as sql, null as comment
from pg_indexes
where schemaname = :schema
  and indexname not in (select conname from pg_constraint where contype in ('p', 'u'))
union all
select 'view', viewname, viewname,
       'create view ' || viewname || ' as' || chr(10) || rtrim(definition, ';'),
       obj_description(format('%I.%I', schemaname, viewname)::regclass)
from pg_views where schemaname = :schema
order by 1, 2;
-- only: end

-- name: columns
-- The columns of every table, with their descriptions.
-- only: sqlite
select m.name as table_name, c.name, c.type, c."notnull" as required, c.dflt_value as standard,
       null as comment, null as table_comment
from sqlite_master m, pragma_table_info(m.name) c
where m.type = 'table' and m.name not like 'sqlite_%' order by m.rowid, c.cid;
-- only: postgres
select c.relname as table_name, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
       a.attnotnull as required,
       case a.attidentity when '' then pg_get_expr(d.adbin, d.adrelid) end as standard,
       col_description(c.oid, a.attnum) as comment, obj_description(c.oid) as table_comment
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where n.nspname = :schema and c.relkind = 'r'
order by c.oid, a.attnum;
-- only: end

-- name: constraints
-- The constraints of every table, as SQL; in SQLite they are part of the table's SQL.
-- only: sqlite
select null as table_name, null as definition where false;
-- only: postgres
select c.relname as table_name, pg_get_constraintdef(k.oid) as definition
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname = :schema and k.contype <> 'n'
order by c.oid, k.contype desc, k.conname;
-- only: end

-- name: series_without_their_blocks
-- Series whose statistics do not match their blocks; none if the database is sound. Archived runs are not compared.
select s.run_id, s.key, s.count, coalesce(b.held, 0) as held
from series s
left join (select series_id, sum(count) as held from blocks group by series_id) b on b.series_id = s.id
where s.count <> coalesce(b.held, 0) and not exists (select 1 from archives a where a.run_id = s.run_id)
order by s.id limit 20;

-- name: totals
-- Totals of the database.
select (select count(*) from experiments) as experiments,
       (select count(*) from runs) as runs,
       (select cast(coalesce(sum(count), 0) as bigint) from series) as points;

-- name: columns_of_all
-- The columns of every table and view, with their descriptions.
-- only: sqlite
select m.type as kind, m.name as table_name, c.name, c.type, null as comment, null as table_comment
from sqlite_master m, pragma_table_info(m.name) c
where m.type in ('table', 'view') and m.name not like 'sqlite_%' order by m.type, m.rowid, c.cid;
-- only: postgres
select case c.relkind when 'r' then 'table' else 'view' end as kind, c.relname as table_name,
       a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
       col_description(c.oid, a.attnum) as comment, obj_description(c.oid) as table_comment
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = :schema and c.relkind in ('r', 'v', 'm')
order by 1, c.oid, a.attnum;
-- only: end

-- name: ledger
-- Every step of the schema, in the order in which they were applied.
select name, owner, sha256, applied from migrations order by applied, name;

-- name: insert_step
-- Record that a user's script was applied.
insert into migrations (name, sha256, opens_with, applied, owner) values (:name, :sha256, 0, :time, 'user');

-- name: has_object
-- Whether a table or view of this name exists.
-- only: sqlite
select 1 as one from sqlite_master where lower(name) = lower(:name);
-- only: postgres
select 1 as one from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = :schema and c.relname = :name;
-- only: end

-- name: insert_view
-- Record a wide view.
insert into metric_views (name, metrics, created_at) values (:name, :metrics, :time);

-- name: list_views
-- The wide views.
select name, metrics from metric_views order by name;

-- name: delete_view
-- Delete the record of a wide view.
delete from metric_views where name = :name;
