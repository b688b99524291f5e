-- name: experiment_by_name
-- The newest experiment of a name that is not in the bin.
select id from experiments where name = :name and deleted_at is null order by created_at desc, id desc limit 1;

-- name: insert_experiment
-- A new experiment.
insert into experiments (id, name, description, base_model, method, config, parent_id, created_at, updated_at)
values (:id, :name, :description, :base_model, :method, :config, :parent_id, :time, :time);

-- name: touch_experiment
-- The latest moment at which something of it changed.
update experiments set updated_at = :time where id = :id and updated_at < :time;

-- name: list_experiments
-- Experiments that are not in the bin with how many runs each has, newest first; or just one, by id.
select e.id, e.name, e.description, e.base_model, e.method, e.status, e.parent_id, e.config,
       e.created_at, e.updated_at,
       (select count(*) from runs r where r.experiment_id = e.id and r.deleted_at is null) as runs
from experiments e
where e.deleted_at is null and (e.id = :id or cast(:id as text) is null)
order by e.created_at desc, e.id desc;

-- name: lock_name
-- Nobody else makes an experiment of this name before this transaction ends.
-- only: sqlite
select :name as name where false;
-- only: postgres
select pg_advisory_xact_lock(hashtextextended(:name, 0));
-- only: end

-- name: lock_experiment
-- Nobody else counts up its runs before this transaction ends.
select id from experiments where id = :id
-- only: postgres
for update
-- only: end
;
