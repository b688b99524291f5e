-- name: experiment_by_name
-- The newest experiment of a name that is not in the trash.
select id from experiments where name = :name and deleted_at is null order by created_at desc, id desc limit 1;

-- name: insert_experiment
-- Create an experiment.
insert into experiments (id, name, created_at, updated_at) values (:id, :name, :time, :time);

-- name: touch_experiment
-- Set the time of an experiment's latest change.
update experiments set updated_at = case when updated_at < :time then :time else updated_at end where id = :id;

-- name: date_experiment
-- Set when an imported experiment was created and last changed in its source.
update experiments set created_at = :created, updated_at = :updated where id = :id;

-- name: lock_name
-- Prevent other transactions from creating an experiment of this name until this one ends.
-- only: sqlite
select :name as name where false;
-- only: postgres
select pg_advisory_xact_lock(hashtextextended(:name, 0));
-- only: end

-- name: lock_experiment
-- Prevent other transactions from numbering runs of this experiment until this one ends.
select id from experiments where id = :id
-- only: postgres
for update
-- only: end
;

-- name: experiments_by_id
-- Experiments, each with its number of runs.
select e.*, coalesce(n.runs, 0) as runs
from experiments e
left join (select experiment_id, count(*) as runs from runs
           where deleted_at is null and experiment_id = any(:experiments) group by experiment_id) n
  on n.experiment_id = e.id
where e.id = any(:experiments);

-- name: tags_of_experiments
-- The tags of experiments.
select t.experiment_id, coalesce(t.long_key, t.key) as key, t.value from experiment_tags t
where t.experiment_id = any(:experiments) order by t.experiment_id, t.key;

-- name: objectives_of_experiments
-- The objectives of experiments, in order.
select experiment_id, metric, direction, weight from objectives
where experiment_id = any(:experiments) order by experiment_id, position;

-- name: experiments_of_word
-- Experiments with this name, id or prefix of an id, newest first.
select id, name, deleted_at from experiments
where name = :word or id = :word
  -- only: sqlite
  or (id >= :low and id < :high)
  -- only: postgres
  or starts_with(id, :low)
  -- only: end
order by case when id = :word then 0 when name = :word then 1 else 2 end, created_at desc, id desc limit 6;

-- name: names_of_experiments
-- Names of the newest experiments, for suggestions.
select name from experiments where deleted_at is null order by created_at desc limit 200;

-- name: set_experiment_tag
-- Set or change a tag of an experiment.
insert into experiment_tags (experiment_id, key, value, long_key) values (:id, :key, :value, :long_key)
on conflict (experiment_id, key) do update set value = excluded.value;

-- name: remove_experiment_tag
-- Remove a tag of an experiment.
delete from experiment_tags where experiment_id = :id and key = :key;

-- name: clear_experiment_tags
-- Remove all tags of an experiment.
delete from experiment_tags where experiment_id = :id;

-- name: clear_objectives
-- Remove all objectives of an experiment.
delete from objectives where experiment_id = :id;

-- name: add_objective
-- Add an objective of an experiment.
insert into objectives (experiment_id, position, metric, direction, weight)
values (:id, :position, :metric, :direction, :weight);

-- name: link_experiments
-- Link one experiment to another.
insert into experiment_links (from_id, kind, to_id) values (:from_id, :kind, :to_id)
on conflict (from_id, kind, to_id) do nothing;

-- name: unlink_experiments
-- Remove links between two experiments; of all kinds if none is given.
delete from experiment_links
where from_id = :from_id and to_id = :to_id and (kind = :kind or cast(:kind as text) is null);

-- name: links_of_experiment
-- Links from and to an experiment.
select from_id, kind, to_id from experiment_links where from_id = :id or to_id = :id
order by kind, from_id, to_id;

-- name: descend
-- Record an experiment's ancestors: its parent, and those of the parent.
insert into lineage (experiment_id, distance, ancestor_id, ancestor_name)
select :id, 1, e.id, e.name from experiments e where e.id = :parent
union all
select :id, l.distance + 1, l.ancestor_id, l.ancestor_name from lineage l where l.experiment_id = :parent;

-- name: add_ancestor
-- Record an ancestor that is not in the database.
insert into lineage (experiment_id, distance, ancestor_id, ancestor_name)
values (:id, 1, :ancestor, :ancestor_name)
on conflict (experiment_id, distance) do nothing;

-- name: set_parent
-- Set or remove the parent of an experiment.
update experiments set parent_id = :parent where id = :id;

-- name: clear_lineage
-- Remove all ancestors of an experiment.
delete from lineage where experiment_id = :id;

-- name: ancestors
-- The ancestors of an experiment, nearest first, deleted ones included.
select distance, ancestor_id as id, ancestor_name as name from lineage where experiment_id = :id order by distance;

-- name: descendants
-- The experiments that were forked from it, nearest first.
select l.distance, e.id, e.name from lineage l join experiments e on e.id = l.experiment_id
where l.ancestor_id = :id and e.deleted_at is null order by l.distance, e.created_at;

-- name: trash_experiments
-- Move experiments to the trash, or out of it if no time is given.
update experiments set deleted_at = :time where id = any(:ids);

-- name: purge_experiments
-- Delete experiments permanently, with all that belongs to them.
delete from experiments where id = any(:ids);

-- name: runs_of_experiments
-- All runs of experiments, deleted ones included.
select id from runs where experiment_id = any(:ids) order by id;

-- name: experiments_deleted_before
-- Experiments that were deleted before a time.
select id from experiments where deleted_at < :before order by deleted_at;

-- name: figures_of_experiments
-- The least and greatest last value of each metric over each experiment's runs.
select r.experiment_id, coalesce(s.long_key, s.key) as key, min(s.last) as low, max(s.last) as high
from runs r join series s on s.run_id = r.id and s.kind = 'metric'
where r.experiment_id = any(:ids) and r.deleted_at is null
group by r.experiment_id, coalesce(s.long_key, s.key);
