-- name: scans_below
-- What is known of folders below a root.
select path, format, run_id, stamp from scans where path = :root or substr(path, 1, cast(:length as integer)) = :below;

-- name: put_scan
-- A folder, as it was read.
insert into scans (path, format, run_id, stamp, scanned_at) values (:path, :format, :run, :stamp, :time)
on conflict (path) do update
set format = excluded.format, run_id = excluded.run_id, stamp = excluded.stamp,
    scanned_at = excluded.scanned_at;

-- name: forget_scan
-- A folder that is not there any more.
delete from scans where path = :path;

-- name: folder_missing
-- A run whose folder was not found; no row where that is known, or it has another folder.
update runs set missing_at = :time
where id = :run and missing_at is null and not exists (select 1 from scans s where s.run_id = :run);

-- name: folder_found
-- Runs whose folder was found again.
update runs set missing_at = null where id = any(:runs) and missing_at is not null;
