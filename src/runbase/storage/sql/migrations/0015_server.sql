-- opens-with: 9
-- What `runbase server` needs: tokens of its clients, a log of what they changed, and documents of the page.

-- Tokens that clients of a server present. A token itself is shown once and not stored.
create table server_tokens (
  id          text primary key,
  name        text not null,                    -- whom or what it is for
  sha256      text not null unique,             -- SHA-256 of the token
  permissions {json} not null,                  -- JSON array of read, log, write, admin
  experiments {json},                           -- JSON array: ids of the experiments it is for; null: all
  created_at  {time} not null,
  expires_at  {time},                           -- null: never
  used_at     {time},                           -- when it was last used, to the minute
  revoked_at  {time}
);

-- Requests to a server that changed something.
create table server_audit (
  id      {id},                                 -- counts them
  time    {time} not null,
  who     text not null,                        -- name of the token, or local
  address text not null,                        -- network address of the client
  action  text not null,                        -- method and path of the request, or method of the storage
  status  {integer} not null                    -- HTTP status of the answer
);
create index server_audit_by_time on server_audit (time);

-- Saved views, reports and named queries of the page.
create table server_documents (
  id            text primary key,
  kind          text not null,                  -- view, report or query
  name          text not null,
  owner         text not null,                  -- name of the token, or local
  experiment_id text references experiments (id) on delete cascade, -- null: of the store
  version       {integer} not null,             -- counts its changes
  body          {json} not null,
  created_at    {time} not null,
  updated_at    {time} not null
);
create index server_documents_of on server_documents (kind, experiment_id);
