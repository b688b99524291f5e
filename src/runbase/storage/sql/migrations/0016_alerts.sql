-- opens-with: 9
-- Alerts of runs, the rules that raise them, and their deliveries.

-- Alerts that the code of runs, or rules, raised.
create table alerts (
  id        text primary key,                   -- UUIDv7, 32 hexadecimal characters
  run_id    text not null references runs (id) on delete cascade, -- the run that it is about
  time      {time} not null,                    -- when it was raised
  stored_at {time} not null,                    -- when it was stored
  title     text not null,                      -- what happened, in a few words
  text      text not null default '',           -- the details
  level     text not null check (level in ('info', 'warning', 'error')), -- how urgent it is
  rule_id   text,                               -- the rule that raised it; null: the code of the run
  rule      text                                -- the name of that rule
);
create index alerts_of_run on alerts (run_id, time);
create index alerts_by_time on alerts (stored_at, id);

-- Rules that a server, or `runbase alerts watch`, evaluates.
create table server_alert_rules (
  id            text primary key,
  name          text not null unique,           -- the title of its alerts
  experiment_id text references experiments (id) on delete cascade, -- null: all experiments
  condition     text,                           -- a filter over runs; null: it forwards what the code of runs raises
  level         text not null check (level in ('info', 'warning', 'error')), -- of its alerts; or the least to forward
  targets       {json} not null,                -- JSON array: where its alerts are delivered to
  secret        text not null,                  -- the key of the signatures of its webhooks
  owner         text not null,                  -- name of the token, or local
  created_at    {time} not null,                -- when it was made
  checked_at    {time} not null                 -- when it was last evaluated for all runs
);

-- Runs for which a rule has raised its alert, or that matched when it was made: a rule raises one alert a run.
create table server_alert_seen (
  rule_id text not null references server_alert_rules (id) on delete cascade, -- the rule
  run_id  text not null references runs (id) on delete cascade, -- the run
  primary key (rule_id, run_id)
){clustered};
create index server_alert_seen_run on server_alert_seen (run_id);

-- Deliveries of alerts, one a target.
create table server_alert_deliveries (
  id         text primary key,                  -- UUIDv7; webhooks send it as Runbase-Delivery
  alert_id   text not null references alerts (id) on delete cascade, -- the alert
  rule_id    text not null,                     -- the rule that has the target
  rule       text not null,                     -- its name
  target     text not null,                     -- where it is delivered to
  status     text not null check (status in ('waiting', 'delivered', 'failed')), -- failed: given up
  attempts   {integer} not null,                -- how often it was tried
  claim      text,                              -- the attempt that runs now
  created_at {time} not null,                   -- when the alert was raised or forwarded
  next_at    {time} not null,                   -- when it is tried next; during an attempt, when others may try
  ended_at   {time},                            -- when it was delivered or given up
  error      text,                              -- why the last attempt failed
  unique (alert_id, rule_id, target)
);
create index server_alert_deliveries_due on server_alert_deliveries (next_at) where status = 'waiting';
create index server_alert_deliveries_by_time on server_alert_deliveries (created_at, id);
create index server_alert_deliveries_rule on server_alert_deliveries (rule_id);
