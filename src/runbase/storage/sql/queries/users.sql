-- name: add_user
-- Add a user, unless the name or the subject is taken.
insert into server_users (id, name, password, role, subject, created_at)
values (:id, :name, :password, :role, :subject, :now) on conflict do nothing;

-- name: users
-- All users, by name.
select id, name, password is not null as has_password, role, subject, created_at, signed_in_at
from server_users order by name;

-- name: user
-- The user with an id or a name; the id counts first.
select id, name, password is not null as has_password, role, subject, created_at, signed_in_at
from server_users where id = :word or name = :word order by case when id = :word then 0 else 1 end limit 1;

-- name: user_of_subject
-- The user with an issuer and subject of OpenID Connect.
select id, name, password is not null as has_password, role, subject, created_at, signed_in_at
from server_users where subject = :subject;

-- name: password_of_user
-- The hash of a user's password.
select password from server_users where id = :id;

-- name: set_password
-- Set the hash of a user's password.
update server_users set password = :password where id = :id;

-- name: set_role
-- Set what a user may do on all experiments.
update server_users set role = :role where id = :id;

-- name: rename_user
-- Change the name of a user.
update server_users set name = :name where id = :id;

-- name: remove_user
-- Remove a user; grants, sessions and tokens go with it.
delete from server_users where id = :id;

-- name: grants
-- What users may do on single experiments.
select user_id, experiment_id, role from server_grants order by user_id, experiment_id;

-- name: grants_of_user
-- What one user may do on single experiments.
select experiment_id, role from server_grants where user_id = :user order by experiment_id;

-- name: set_grant
-- Set what a user may do on one experiment, if both exist.
insert into server_grants (user_id, experiment_id, role)
select u.id, e.id, :role from server_users u, experiments e where u.id = :user and e.id = :experiment
on conflict (user_id, experiment_id) do update set role = excluded.role;

-- name: remove_grant
-- Remove what a user may do on one experiment.
delete from server_grants where user_id = :user and experiment_id = :experiment;

-- name: add_session
-- Add a session.
insert into server_sessions (sha256, user_id, created_at, used_at, expires_at)
values (:sha256, :user, :now, :now, :expires);

-- name: signed_in
-- Record that a session of a user began.
update server_users set signed_in_at = :now where id = :user;

-- name: session
-- The session with a hash, if it is valid.
select user_id, used_at, expires_at from server_sessions where sha256 = :sha256 and expires_at > :now;

-- name: touch_session
-- Record that a session was used.
update server_sessions set used_at = :now, expires_at = :expires where sha256 = :sha256;

-- name: remove_session
-- End a session.
delete from server_sessions where sha256 = :sha256;

-- name: remove_expired_sessions
-- Remove the sessions that were not used for too long.
delete from server_sessions where expires_at <= :now;

-- name: end_sessions_of_user
-- End all sessions of a user.
delete from server_sessions where user_id = :user;
