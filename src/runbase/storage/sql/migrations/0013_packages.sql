-- opens-with: 13
-- Installed packages are stored once for all runs that have the same ones: they were most of the bytes of a short run.

create table package_sets (
  id       {id},                               -- counts them
  hash     text not null unique,               -- SHA-256 of the packages as JSON with sorted keys
  packages {json} not null                     -- JSON object: name -> version
);
alter table runs add column packages_id {integer} references package_sets (id); -- the packages that were installed
create index runs_packages on runs (packages_id) where packages_id is not null;

-- The packages of each run: one row for each package.
create view packages as
-- only: sqlite
select r.id as run_id, p.key as name, p.atom as version
from runs r join package_sets s on s.id = r.packages_id, json_each(s.packages) p;
-- only: postgres
select r.id as run_id, p.key as name, p.value as version
from runs r join package_sets s on s.id = r.packages_id, jsonb_each_text(s.packages) p;
-- only: end
