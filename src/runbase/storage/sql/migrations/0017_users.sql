-- opens-with: 9
-- Users of a server, what they may do, and their sessions.

-- People who sign in to a server.
create table server_users (
  id           text primary key,
  name         text not null unique,            -- the name to sign in with
  password     text,                            -- Argon2 hash of the password; null: signs in with OpenID Connect only
  role         text not null,                   -- none, viewer, editor or admin, on all experiments
  subject      text unique,                     -- issuer and subject of OpenID Connect
  created_at   {time} not null,
  signed_in_at {time}                           -- when a session of the user began last
);

-- Roles of users on single experiments, instead of the role on all experiments.
create table server_grants (
  user_id       text not null references server_users (id) on delete cascade,
  experiment_id text not null references experiments (id) on delete cascade,
  role          text not null,                  -- none, viewer or editor
  primary key (user_id, experiment_id)
);
create index server_grants_of_experiment on server_grants (experiment_id);

-- Browsers that are signed in.
create table server_sessions (
  sha256     text primary key,                  -- SHA-256 of the session's cookie
  user_id    text references server_users (id) on delete cascade, -- null: who opened the one-time URL of the server
  created_at {time} not null,
  used_at    {time} not null,                   -- when it was last used, to the minute
  expires_at {time} not null                    -- moves with each use
);
create index server_sessions_of_user on server_sessions (user_id);

alter table server_tokens add column user_id text references server_users (id) on delete cascade; -- whose token it is; null: nobody's
create index server_tokens_of_user on server_tokens (user_id);
