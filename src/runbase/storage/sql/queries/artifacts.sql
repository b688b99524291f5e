-- name: set_artifact
-- A file; one of the same path replaces it.
insert into artifacts (run_id, path, kind, uri, size, sha256, mime, step, metadata, created_at, name, version)
values (:run, :path, :kind, :uri, :size, :sha256, :mime, :step, :metadata, :time, :name, :version)
on conflict (run_id, path) do update
set kind = excluded.kind, uri = excluded.uri, size = excluded.size, sha256 = excluded.sha256,
    mime = excluded.mime, step = excluded.step, metadata = excluded.metadata,
    created_at = excluded.created_at, name = excluded.name, version = excluded.version, removed_at = null
where artifacts.created_at <= excluded.created_at;

-- name: remove_artifact
-- Its bytes are gone.
update artifacts set removed_at = :time where run_id = :run and path = :path and created_at <= :time;

-- name: artifacts_of_run
-- Its files.
select a.run_id, a.path, a.kind, a.uri, a.size, a.sha256, a.mime, a.step, a.metadata, a.created_at,
       a.name, a.version, a.removed_at
from artifacts a where a.run_id = :run order by a.path;

-- name: version_of_artifact
-- The newest version of a name in an experiment, and the one that has the same bytes.
select max(a.version) as newest,
       max(case when a.sha256 = cast(:sha256 as text) then a.version end) as same
from artifacts a join runs r on r.id = a.run_id
where a.name = :name and r.experiment_id = :experiment;

-- name: artifact_versions
-- Each version of a name, where its bytes still are; of several with the same bytes the first.
select a.run_id, a.path, a.kind, a.uri, a.size, a.sha256, a.mime, a.step, a.metadata, a.created_at,
       a.name, a.version, a.removed_at
from artifacts a join runs r on r.id = a.run_id and r.deleted_at is null
join experiments e on e.id = r.experiment_id
where a.name = :name and (e.name = :experiment or e.id = :experiment or cast(:experiment as text) is null)
order by a.version, a.created_at;

-- name: artifact_names
-- Names of artifacts, to suggest from.
select distinct name from artifacts where name is not null order by name limit 200;

-- name: use_artifact
-- A run read an artifact of another.
insert into artifact_uses (run_id, owner_id, path, time) values (:run, :owner, :path, :time)
on conflict (run_id, owner_id, path) do nothing;

-- name: uses_of_run
-- What a run used, and who used what it made.
select run_id, owner_id, path, time from artifact_uses
where run_id = :run or owner_id = :run order by time, path;

-- name: run_experiment
-- Which experiment a run is in.
select experiment_id from runs where id = :run;

-- name: add_artifact_root
-- A folder below which files of runs may be read.
insert into artifact_roots (path, added_at) values (:path, :time) on conflict (path) do nothing;

-- name: artifact_roots
-- Folders below which files of runs may be read.
select path from artifact_roots order by path;
