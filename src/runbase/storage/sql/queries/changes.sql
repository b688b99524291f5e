-- name: last_change
-- Where the list of changes ends. (PostgreSQL: transactions from this one on may still be open, so their changes are read again.)
-- only: sqlite
select coalesce(max(seq), 0) as seq from changes;
-- only: postgres
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as seq;
-- only: end

-- name: changes_since
-- What changed since a place in the list, oldest first.
-- only: sqlite
select kind, id, seq from changes where seq > :since order by seq;
-- only: postgres
select kind, id, seq from changes where seq >= :since order by seq;
-- only: end
