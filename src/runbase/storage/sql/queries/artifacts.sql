-- name: set_artifact
-- Store an artifact; one with the same path is replaced.
insert into artifacts (run_id, path, kind, uri, size, sha256, mime, step, metadata, created_at, name, version)
values (:run, :path, :kind, :uri, :size, :sha256, :mime, :step, :metadata, :time, :name, :version)
on conflict (run_id, path) do update
set kind = excluded.kind, uri = excluded.uri, size = excluded.size, sha256 = excluded.sha256,
    mime = excluded.mime, step = excluded.step, metadata = excluded.metadata,
    created_at = excluded.created_at, name = excluded.name, version = excluded.version, removed_at = null
where artifacts.created_at <= excluded.created_at;

-- name: remove_artifact
-- Mark an artifact's content as removed.
update artifacts set removed_at = :time where run_id = :run and path = :path and created_at <= :time;

-- name: artifacts_of_run
-- The artifacts of a run.
select a.run_id, a.path, a.kind, a.uri, a.size, a.sha256, a.mime, a.step, a.metadata, a.created_at,
       a.name, a.version, a.removed_at
from artifacts a where a.run_id = :run order by a.path;

-- name: version_of_artifact
-- The newest version of a name in an experiment, and the version with the same content.
select max(a.version) as newest,
       max(case when a.sha256 = cast(:sha256 as text) then a.version end) as same
from artifacts a join runs r on r.id = a.run_id
where a.name = :name and r.experiment_id = :experiment;

-- name: artifact_versions
-- The versions of a name whose content exists; of several with the same content, the first.
select a.run_id, a.path, a.kind, a.uri, a.size, a.sha256, a.mime, a.step, a.metadata, a.created_at,
       a.name, a.version, a.removed_at
from artifacts a join runs r on r.id = a.run_id and r.deleted_at is null
join experiments e on e.id = r.experiment_id
where a.name = :name and (e.name = :experiment or e.id = :experiment or cast(:experiment as text) is null)
order by a.version, a.created_at;

-- name: artifact_names
-- Names of artifacts, for suggestions.
select distinct name from artifacts where name is not null order by name limit 200;

-- name: use_artifact
-- Record that a run used an artifact of another run.
insert into artifact_uses (run_id, owner_id, path, time) values (:run, :owner, :path, :time)
on conflict (run_id, owner_id, path) do nothing;

-- name: uses_of_run
-- Artifacts that a run used, and runs that used its artifacts.
select run_id, owner_id, path, time from artifact_uses
where run_id = :run or owner_id = :run order by time, path;

-- name: run_experiment
-- The experiment of a run.
select experiment_id from runs where id = :run;

-- name: add_artifact_root
-- Add a folder below which files of runs may be read.
insert into artifact_roots (path, added_at) values (:path, :time) on conflict (path) do nothing;

-- name: artifact_roots
-- Folders below which files of runs may be read.
select path from artifact_roots order by path;
