-- opens-with: 9
-- Three short lists instead of one: a claim does not read trials that are reserved for others or due later.

drop index runs_queue;
create index runs_queue on runs (experiment_id, priority desc, number)
  where status = 'PENDING' and queued_at is not null and deleted_at is null and runner is null and due_at is null;
create index runs_queue_reserved on runs (experiment_id, runner, priority desc, number)
  where status = 'PENDING' and queued_at is not null and deleted_at is null and runner is not null;
create index runs_queue_due on runs (experiment_id, due_at)
  where status = 'PENDING' and queued_at is not null and deleted_at is null and runner is null and due_at is not null;
create index runs_queue_dated on runs (experiment_id, priority desc, number)
  where status = 'PENDING' and queued_at is not null and deleted_at is null and runner is null and due_at is not null;
