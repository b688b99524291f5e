-- opens-with: 9
-- Which runs and experiments changed, in the order in which they did: a page, a watcher and a mirror read what moved, at a
-- cost that does not depend on how much is stored.
--
-- Triggers keep the table, so that every way to write is seen, also your own SQL. A row that is changed again moves to
-- the end. A run or an experiment that is not in its table any more was purged.

create table changes (
  kind text not null check (kind in ('run', 'experiment')), -- what changed
  id   text not null,                          -- its id
  seq  {integer} not null,                     -- SQLite: counts changes. PostgreSQL: the transaction that changed it
  primary key (kind, id)
){clustered};
create index changes_seq on changes (seq);

-- only: sqlite
create trigger runs_added after insert on runs begin
  insert into changes (kind, id, seq) values ('run', new.id, (select coalesce(max(seq), 0) + 1 from changes))
  on conflict (kind, id) do update set seq = excluded.seq;
end;
create trigger runs_changed after update on runs begin
  insert into changes (kind, id, seq) values ('run', new.id, (select coalesce(max(seq), 0) + 1 from changes))
  on conflict (kind, id) do update set seq = excluded.seq;
end;
create trigger runs_removed after delete on runs begin
  insert into changes (kind, id, seq) values ('run', old.id, (select coalesce(max(seq), 0) + 1 from changes))
  on conflict (kind, id) do update set seq = excluded.seq;
end;
create trigger experiments_added after insert on experiments begin
  insert into changes (kind, id, seq) values ('experiment', new.id, (select coalesce(max(seq), 0) + 1 from changes))
  on conflict (kind, id) do update set seq = excluded.seq;
end;
create trigger experiments_changed after update on experiments begin
  insert into changes (kind, id, seq) values ('experiment', new.id, (select coalesce(max(seq), 0) + 1 from changes))
  on conflict (kind, id) do update set seq = excluded.seq;
end;
create trigger experiments_removed after delete on experiments begin
  insert into changes (kind, id, seq) values ('experiment', old.id, (select coalesce(max(seq), 0) + 1 from changes))
  on conflict (kind, id) do update set seq = excluded.seq;
end;
-- only: postgres
create function record_change() returns trigger language plpgsql as $$
declare
  here text := quote_ident(tg_table_schema);
begin
  execute format(
    'insert into %s.changes as c (kind, id, seq) values ($1, $2, pg_current_xact_id()::text::bigint)
     on conflict (kind, id) do update set seq = excluded.seq where c.seq <> excluded.seq', here)
  using tg_argv[0], case when tg_op = 'DELETE' then old.id else new.id end;
  perform pg_notify('runbase_changes', tg_table_schema);
  return null;
end
$$;
create trigger runs_changed after insert or update or delete on runs
  for each row execute function record_change('run');
create trigger experiments_changed after insert or update or delete on experiments
  for each row execute function record_change('experiment');
-- only: end
