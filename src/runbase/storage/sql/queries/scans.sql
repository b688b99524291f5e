-- name: scans_below
-- Scanned folders below a root.
select path, format, run_id, stamp from scans where path = :root or substr(path, 1, cast(:length as integer)) = :below;

-- name: put_scan
-- Record a folder as it was read.
insert into scans (path, format, run_id, stamp, scanned_at) values (:path, :format, :run, :stamp, :time)
on conflict (path) do update
set format = excluded.format, run_id = excluded.run_id, stamp = excluded.stamp,
    scanned_at = excluded.scanned_at;

-- name: forget_scan
-- Delete the record of a folder that does not exist any more.
delete from scans where path = :path;

-- name: folder_missing
-- Mark a run whose folder was not found; no row if it is marked already, or has another folder.
update runs set missing_at = :time
where id = :run and missing_at is null and not exists (select 1 from scans s where s.run_id = :run);

-- name: folder_found
-- Unmark runs whose folder was found again.
update runs set missing_at = null where id = any(:runs) and missing_at is not null;
