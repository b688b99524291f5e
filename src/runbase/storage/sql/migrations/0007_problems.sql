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
