-- opens-with: 3
-- What could not be stored, and keys and texts of any length.
--
-- A line that is not an event, and an event that no table can hold, is listed; all else comes in.
-- Keys go into indexes, which on PostgreSQL hold at most 2,704 bytes a row: of a key with more than
-- 500 characters, `key` has the beginning and a hash, and `long_key` all of it.

create table problems (
  id         {id},                             -- counts them
  run_id     text not null references runs (id) on delete cascade, -- the run it is about
  journal_id text not null,                    -- the journal, or the import or scanned file that stands in for one
  file       text not null,                    -- the file it is in
  "offset"   {integer},                        -- where the line begins, in bytes; null where that is not known
  reason     text not null,                    -- why it could not be stored
  line       text not null default '',         -- the beginning of the line
  found_at   {time} not null                   -- when it was found
);
create index problems_run on problems (run_id);

alter table series add column long_key text; -- the whole key where it has more than 500 characters
alter table params add column long_key text; -- the whole key where it has more than 500 characters
alter table run_tags add column long_key text; -- the whole key where it has more than 500 characters
alter table experiment_tags add column long_key text; -- the whole key where it has more than 500 characters
alter table attributes add column long_key text; -- the whole key where it has more than 500 characters
alter table experiment_attributes add column long_key text; -- the whole key where it has more than 500 characters

alter table journals add column seen_at {time}; -- the time of its latest event
alter table journals add column state_at {time}; -- the time of the latest state that it reports
alter table runs add column dead_seconds {real} not null default 0; -- of a resumed run: for how long no process of it was there

create table artifact_roots (
  path     text primary key,                   -- a folder: files of imported and scanned runs may be read below it
  added_at {time} not null                     -- when it was first imported or scanned
);

drop view run_summary;
-- One row a run, with its parameters, tags and last metrics as JSON objects. `seconds` is for how long it ran,
-- `elapsed` from its beginning to its end: more, where it was resumed.
create view run_summary as
select r.id, e.name as experiment, r.number, r.name, r.status, r.started_at, r.ended_at,
-- only: sqlite
       round((julianday(coalesce(r.ended_at, r.seen_at, r.updated_at))
              - julianday(r.started_at)) * 86400 - r.dead_seconds, 3) as seconds,
       coalesce(c.params, '{}') as params,
       (select json_group_object(t.key, t.value) from run_tags t where t.run_id = r.id) as tags,
       (select json_group_object(s.key, case when abs(s.last) < 9e999 then s.last end)
          from series s where s.run_id = r.id and s.kind = 'metric') as metrics,
       round((julianday(coalesce(r.ended_at, r.seen_at, r.updated_at))
              - julianday(r.started_at)) * 86400, 3) as elapsed
-- only: postgres
       round((extract(epoch from coalesce(r.ended_at, r.seen_at, r.updated_at) - r.started_at)
              - r.dead_seconds)::numeric, 3) as seconds,
       coalesce(c.params, '{}') as params,
       (select coalesce(jsonb_object_agg(t.key, t.value), '{}')
          from run_tags t where t.run_id = r.id) as tags,
       (select coalesce(jsonb_object_agg(s.key, case when abs(s.last) < 'Infinity' then s.last end), '{}')
          from series s where s.run_id = r.id and s.kind = 'metric') as metrics,
       round(extract(epoch from coalesce(r.ended_at, r.seen_at, r.updated_at) - r.started_at), 3)
         as elapsed
-- only: end
from runs r
join experiments e on e.id = r.experiment_id
left join configs c on c.id = r.config_id
where r.deleted_at is null;

-- only: postgres
-- A hash index takes names of any length; of values, the first 200 characters narrow a search.
drop index experiments_name;
create index experiments_name on experiments using hash (name);
drop index runs_name;
create index runs_name on runs using hash (name);
drop index run_tags_key;
create index run_tags_key on run_tags (key, left(value, 200));
drop index experiment_tags_key;
create index experiment_tags_key on experiment_tags (key, left(value, 200));
drop index params_text;
create index params_text on params (key, left(text, 200));
-- only: end
