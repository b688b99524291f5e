-- name: insert_alert
-- Store an alert, once.
insert into alerts (id, run_id, time, stored_at, title, text, level, rule_id, rule)
values (:id, :run, :time, :stored_at, :title, :text, :level, :rule_id, :rule)
on conflict (id) do nothing;

-- name: alerts_by_id
-- Alerts with the names of their runs.
select a.id, a.run_id, r.name as run, r.experiment_id, e.name as experiment, a.time, a.stored_at, a.title, a.text, a.level, a.rule
from alerts a join runs r on r.id = a.run_id join experiments e on e.id = r.experiment_id
where a.id = any(:ids);

-- name: alerts_of_runs
-- The alerts of runs.
select run_id, id, time, stored_at, title, text, level, rule_id, rule from alerts where run_id = any(:runs) order by time, id;

-- name: nudge_run
-- List a run as changed, without a change.
update runs set updated_at = updated_at where id = :run;

-- name: add_alert_rule
-- Add a rule.
insert into server_alert_rules
  (id, name, experiment_id, condition, level, targets, secret, owner, created_at, checked_at)
values (:id, :name, :experiment, :condition, :level, :targets, :secret, :owner, :now, :now)
on conflict (name) do nothing;

-- name: alert_rules
-- All rules, by name.
select u.id, u.name, u.experiment_id, e.name as experiment, u.condition, u.level, u.targets, u.secret, u.owner, u.created_at, u.checked_at
from server_alert_rules u left join experiments e on e.id = u.experiment_id order by u.name;

-- name: remove_alert_rule
-- Remove a rule.
delete from server_alert_rules where id = :id;

-- name: cancel_alert_deliveries
-- Give up the deliveries of a rule that is removed.
update server_alert_deliveries set status = 'failed', error = :error, ended_at = :now, claim = null
where rule_id = :rule and status = 'waiting';

-- name: check_alert_rule
-- Record that a rule was evaluated for all runs.
update server_alert_rules set checked_at = :time where id = :id;

-- name: see_run
-- Record that a rule raised its alert for a run; no row changes if it did before.
insert into server_alert_seen (rule_id, run_id)
select u.id, r.id from server_alert_rules u, runs r where u.id = :rule and r.id = :run
on conflict (rule_id, run_id) do nothing;

-- name: seen_of_rule
-- Which of some runs a rule has raised its alert for.
select run_id from server_alert_seen where rule_id = :rule and run_id = any(:runs);

-- name: alerts_to_forward
-- Alerts of the code of runs that a rule has not forwarded.
select a.id from alerts a join runs r on r.id = a.run_id
where a.stored_at >= :since and a.time >= :earliest and a.rule_id is null and a.level = any(:levels)
  and (r.experiment_id = :experiment or :experiment is null)
  and not exists (select 1 from server_alert_deliveries d where d.alert_id = a.id and d.rule_id = :rule)
order by a.stored_at, a.id;

-- name: add_alert_delivery
-- Add a delivery, once an alert, rule and target.
insert into server_alert_deliveries (id, alert_id, rule_id, rule, target, status, attempts, created_at, next_at)
values (:id, :alert, :rule, :name, :target, 'waiting', 0, :now, :now)
on conflict (alert_id, rule_id, target) do nothing;

-- name: due_alert_deliveries
-- Deliveries to be tried now, with the key of their signatures.
select d.id, d.alert_id, d.target, d.attempts, d.created_at, u.secret
from server_alert_deliveries d join server_alert_rules u on u.id = d.rule_id
where d.status = 'waiting' and d.next_at <= :now order by d.next_at limit :limit;

-- name: claim_alert_delivery
-- Begin an attempt, unless another process did.
update server_alert_deliveries set attempts = attempts + 1, claim = :claim, next_at = :until
where id = :id and status = 'waiting' and next_at <= :now;

-- name: end_alert_delivery
-- Record how an attempt ended.
update server_alert_deliveries set status = :status, error = :error, next_at = :next, ended_at = :ended, claim = null
where id = :id and claim = :claim;

-- name: alert_deliveries
-- The latest deliveries, newest first.
select d.id, d.alert_id, d.rule, d.target, d.status, d.attempts, d.created_at, d.next_at, d.ended_at, d.error,
       a.title, a.run_id, r.name as run, e.name as experiment
from server_alert_deliveries d
join alerts a on a.id = d.alert_id join runs r on r.id = a.run_id join experiments e on e.id = r.experiment_id
where (:everything = 1 or r.experiment_id = any(:experiments))
order by d.created_at desc, d.id desc limit :limit;
