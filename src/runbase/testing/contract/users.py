"""What a storage promises to a server about users, grants, sessions, and the tokens of users."""

# pyright: basic
import pytest

from runbase.errors import Conflict, NotFound
from runbase.storage.protocol import Storage
from runbase.storage.server_protocol import Shared


class UserContract:
    """Run on every backend that a server can serve; override `storage`."""

    @pytest.fixture
    def storage(self) -> Storage:
        """The storage under test."""
        raise NotImplementedError

    def test_a_user_is_found_by_id_name_and_subject(self, storage: Storage) -> None:
        ada = storage.add_user("ada", "editor", "hash of ada")
        bob = storage.add_user("bob", "none", subject="https://id.example 7")
        user = storage.find_user("ada")
        assert user is not None
        assert (user.id, user.name, user.role, user.grants) == (ada, "ada", "editor", {})
        assert (user.has_password, user.subject, user.signed_in_at) == (True, None, None)
        assert storage.find_user(ada) == user
        found = storage.user_of_subject("https://id.example 7")
        assert found is not None
        assert (found.id, found.has_password) == (bob, False)
        assert [each.name for each in storage.users()] == ["ada", "bob"]
        assert storage.find_user("eve") is None
        assert storage.user_of_subject("https://id.example 8") is None
        assert storage.password_of(ada) == "hash of ada"
        assert storage.password_of(bob) is storage.password_of("eve") is None

    def test_names_and_subjects_of_users_are_unique(self, storage: Storage) -> None:
        storage.add_user("ada", "viewer", subject="s")
        bob = storage.add_user("bob", "viewer")
        for name, subject in (("ada", None), ("eve", "s")):
            with pytest.raises(Conflict):
                storage.add_user(name, "viewer", subject=subject)
        with pytest.raises(Conflict, match="there is a user 'ada'"):
            storage.rename_user(bob, "ada")
        assert storage.rename_user(bob, "bob")
        assert storage.rename_user(bob, "bert")
        assert not storage.rename_user("nobody", "carl")
        assert [user.name for user in storage.users()] == ["ada", "bert"]

    def test_roles_and_grants(self, storage: Storage) -> None:
        ada = storage.add_user("ada", "none")
        first, second = (storage.get_or_create_experiment(name, {}) for name in ("a", "b"))
        assert storage.set_role(ada, "admin")
        assert not storage.set_role("nobody", "admin")
        storage.set_grant(ada, first, "viewer")
        storage.set_grant(ada, first, "editor")
        storage.set_grant(ada, second, "none")
        user = storage.find_user("ada")
        assert user is not None
        assert (user.role, user.grants) == ("admin", {first: "editor", second: "none"})
        assert storage.users() == [user]
        assert storage.remove_grant(ada, second)
        assert not storage.remove_grant(ada, second)
        for user_id, experiment in (("nobody", first), (ada, "nothing")):
            with pytest.raises(NotFound):
                storage.set_grant(user_id, experiment, "viewer")

    def test_sessions_last_while_they_are_used(self, storage: Storage) -> None:
        ada = storage.add_user("ada", "viewer")
        storage.add_session("one", ada, 30)
        storage.add_session("local", None, 30)
        found = storage.find_session("one")
        assert found is not None
        assert found.user == ada
        assert (found.expires_at - found.used_at).total_seconds() == pytest.approx(30 * 86400)
        local = storage.find_session("local")
        assert local is not None
        assert local.user is None
        user = storage.find_user(ada)
        assert user is not None
        assert user.signed_in_at is not None
        storage.touch_session("one", 60)
        touched = storage.find_session("one")
        assert touched is not None
        assert touched.expires_at > found.expires_at
        storage.touch_session("one", -1)
        assert storage.find_session("one") is None
        assert storage.remove_session("local")
        assert not storage.remove_session("local")
        storage.add_session("two", ada, 30)  # removes those that expired
        assert not storage.remove_session("one")

    def test_a_new_password_ends_the_sessions_of_its_user(self, storage: Storage) -> None:
        ada, bob = (storage.add_user(name, "viewer", "old") for name in ("ada", "bob"))
        storage.add_session("of ada", ada, 30)
        storage.add_session("of bob", bob, 30)
        assert storage.set_password(ada, "new")
        assert not storage.set_password("nobody", "new")
        assert storage.password_of(ada) == "new"
        assert storage.find_session("of ada") is None
        assert storage.find_session("of bob") is not None

    def test_what_belongs_to_a_user_goes_with_the_user(self, storage: Storage) -> None:
        ada = storage.add_user("ada", "viewer")
        experiment = storage.get_or_create_experiment("a", {})
        storage.set_grant(ada, experiment, "editor")
        storage.add_session("of ada", ada, 30)
        storage.add_token("laptop", "hash", ["read"], user=ada)
        storage.add_token("robot", "other hash", ["read"])
        assert storage.remove_user(ada)
        assert not storage.remove_user(ada)
        assert storage.find_session("of ada") is storage.find_token("hash") is None
        assert [token.name for token in storage.tokens()] == ["robot"]
        bob = storage.add_user("bob", "viewer")
        storage.set_grant(bob, experiment, "editor")
        storage.delete("experiment", [experiment])
        storage.purge("experiment", [experiment])
        user = storage.find_user(bob)
        assert user is not None
        assert user.grants == {}

    def test_a_token_of_a_link_reads_single_runs_and_documents(self, storage: Storage) -> None:
        only = Shared(runs=["a" * 32], documents=["b" * 32])
        storage.add_token("link", "1", ["read"], only=only)
        storage.add_token("whole", "2", ["read"])
        token = storage.find_token("1")
        assert token is not None
        assert (token.only, token.experiments) == (only, None)
        assert {token.name: token.only for token in storage.tokens()} == {
            "link": only,
            "whole": None,
        }

    def test_a_user_revokes_own_tokens_only(self, storage: Storage) -> None:
        ada, bob = (storage.add_user(name, "viewer") for name in ("ada", "bob"))
        storage.add_token("laptop", "1", ["read"], user=ada)
        other = storage.add_token("laptop", "2", ["read"], user=bob)
        storage.add_token("laptop", "3", ["read"])
        token = storage.find_token("1")
        assert token is not None
        assert token.user == ada
        assert storage.revoke_token("laptop", ada) == 1
        assert storage.revoke_token(other, ada) == 0
        assert storage.revoke_token("laptop") == 1  # nobody's
        assert storage.find_token("2") is not None
        assert storage.revoke_token(other) == 1
        assert storage.find_token("2") is None
