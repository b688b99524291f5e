-- name: add_token
-- Add a token.
insert into server_tokens (id, name, sha256, permissions, experiments, runs, documents, created_at, expires_at, user_id)
values (:id, :name, :sha256, :permissions, :experiments, :runs, :documents, :created, :expires, :user);

-- name: tokens
-- All tokens, newest first.
select id, name, permissions, experiments, runs, documents, created_at, expires_at, used_at, revoked_at, user_id
from server_tokens order by created_at desc, id;

-- name: token_by_hash
-- The token with a hash, if it is valid.
select id, name, permissions, experiments, runs, documents, created_at, expires_at, used_at, revoked_at, user_id
from server_tokens where sha256 = :sha256 and revoked_at is null and (expires_at is null or expires_at > :now);

-- name: touch_token
-- Record that a token was used.
update server_tokens set used_at = :now where id = :id;

-- name: revoke_token
-- Revoke the tokens with an id or a name: those of a user, or by name those of nobody and by id any.
update server_tokens set revoked_at = :now where revoked_at is null
and ((user_id = :user and (id = :word or name = :word)) or (:user is null and (id = :word or (name = :word and user_id is null))));

-- name: add_audit
-- Record a request that changed something.
insert into server_audit (time, who, address, action, status) values (:time, :who, :address, :action, :status);

-- name: audit
-- The latest requests that changed something, newest first.
select time, who, address, action, status from server_audit order by id desc limit :limit;

-- name: put_document
-- Add a document.
insert into server_documents (id, kind, name, owner, experiment_id, version, body, created_at, updated_at)
values (:id, :kind, :name, :owner, :experiment, 1, :body, :now, :now);

-- name: change_document
-- Replace a document, if it still has the version that the change was made of.
update server_documents set name = :name, body = :body, version = version + 1, updated_at = :now
where id = :id and version = :version;

-- name: document
-- One document.
select id, kind, name, owner, experiment_id, version, body, created_at, updated_at from server_documents where id = :id;

-- name: documents
-- The documents of a kind, of an experiment or of the store.
select id, kind, name, owner, experiment_id, version, body, created_at, updated_at from server_documents
where kind = :kind and (experiment_id = :experiment or (experiment_id is null and :experiment is null))
order by name, id;

-- name: remove_document
-- Remove a document.
delete from server_documents where id = :id;
