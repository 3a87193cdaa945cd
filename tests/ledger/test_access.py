"""Applications and keys in the ledger: what is kept of them, and how a change is noticed."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from otp_service.domain.applications import NO_APPLICATION, ApiKey, KeyScope, new_key_id, parse_networks
from otp_service.errors import ConflictError, NameTakenError
from otp_service.ledger import access as module
from otp_service.ledger.schema import api_keys

DAY = 86_400_000
MINUTE = 60_000

BY = "cli:ali"


def key(application="shop", *scopes: KeyScope, addresses=()) -> ApiKey:
    name = new_key_id()
    return ApiKey(
        name, application, f"sha256:{name}", frozenset(scopes or {KeyScope.VERIFY}), parse_networks(addresses)
    )


@pytest.fixture
def at(monkeypatch):
    """Let the ledger's clock stand at a time."""

    def stand(milliseconds: int) -> None:
        monkeypatch.setattr(module, "now", lambda: milliseconds)

    stand(DAY)
    return stand


def test_a_key_is_kept_as_it_was_made(ledger):
    made = ledger.api_keys.add(
        key("shop", KeyScope.VERIFY, KeyScope.SUBJECTS, addresses=["192.0.2.0/24", "2001:db8::1"]), BY
    )
    other = ledger.api_keys.add(key("bank"), BY)
    operators = ledger.api_keys.add(key(NO_APPLICATION, KeyScope.ADMIN), BY)

    assert made.created > 0
    assert ledger.api_keys.of("shop") == (made,)
    assert set(ledger.api_keys.of()) == {made, other, operators}
    assert ledger.api_keys.of("club") == ()


def test_the_table_holds_nothing_that_a_caller_could_send(ledger):
    ledger.api_keys.add(key(), BY)
    with ledger.database.read() as connection:
        (row,) = connection.execute(select(api_keys)).all()

    assert set(row._mapping) == {
        "id", "application", "hash", "scopes", "addresses", "created", "expires", "revoked", "used",
    }  # fmt: skip


def test_a_rotation_leaves_both_for_the_overlap_with_the_same_rights(ledger, at):
    old = ledger.api_keys.add(key("shop", KeyScope.VERIFY, KeyScope.CONSENT, addresses=["192.0.2.7"]), BY)
    at(2 * DAY)
    ended, fresh = ledger.api_keys.rotate(old.id, "ak_new", "sha256:new", 5000, BY)

    assert (ended.id, ended.expires) == (old.id, 2 * DAY + 5000)
    assert (fresh.id, fresh.hash, fresh.created, fresh.expires) == ("ak_new", "sha256:new", 2 * DAY, None)
    assert (fresh.application, fresh.scopes, fresh.networks) == (old.application, old.scopes, old.networks)
    assert ledger.api_keys.of("shop") == (ended, fresh)


def test_a_second_rotation_never_lengthens_a_life(ledger, at):
    old = ledger.api_keys.add(key(), BY)
    ledger.api_keys.rotate(old.id, "ak_2", "sha256:2", 1000, BY)
    longer, _ = ledger.api_keys.rotate(old.id, "ak_3", "sha256:3", 50_000, BY)
    shorter, _ = ledger.api_keys.rotate(old.id, "ak_4", "sha256:4", 10, BY)

    assert (longer.expires, shorter.expires) == (DAY + 1000, DAY + 10)


def test_what_is_over_is_not_rotated(ledger, at):
    ended, revoked = ledger.api_keys.add(key(), BY), ledger.api_keys.add(key(), BY)
    ledger.api_keys.rotate(ended.id, "ak_2", "sha256:2", 0, BY)
    ledger.api_keys.revoke(revoked.id, BY)
    for one in (ended, revoked):
        with pytest.raises(ConflictError):
            ledger.api_keys.rotate(one.id, "ak_9", "sha256:9", DAY, BY)

    assert "ak_9" not in {one.id for one in ledger.api_keys.of()}


def test_a_revocation_is_for_good_and_keeps_its_time(ledger, at):
    made = ledger.api_keys.add(key(), BY)
    at(3 * DAY)
    first = ledger.api_keys.revoke(made.id, BY)
    at(4 * DAY)

    assert first.revoked == 3 * DAY
    assert ledger.api_keys.revoke(made.id, BY) == first


def test_a_key_of_another_application_is_not_there(ledger):
    made = ledger.api_keys.add(key("shop"), BY)

    assert ledger.api_keys.rotate(made.id, "ak_2", "sha256:2", 0, BY, "bank") is None
    assert ledger.api_keys.revoke(made.id, BY, "bank") is None
    assert ledger.api_keys.revoke("ak_none", BY) is None
    assert ledger.api_keys.of() == (made,)


def test_the_last_use_never_goes_back(ledger):
    one, other, third = (ledger.api_keys.add(key(), BY) for _ in range(3))
    ledger.api_keys.note_uses({one.id: 2 * MINUTE, other.id: 5 * MINUTE})
    ledger.api_keys.note_uses({one.id: MINUTE, other.id: 6 * MINUTE, "ak_none": MINUTE})
    ledger.api_keys.note_uses({})

    used = {found.id: found.used for found in ledger.api_keys.of()}
    assert used == {one.id: 2 * MINUTE, other.id: 6 * MINUTE, third.id: None}


def test_an_application_is_made_once_and_changed(ledger):
    made = ledger.applications.add("club", '{"a":1}', BY)
    with pytest.raises(NameTakenError):
        ledger.applications.add("club", '{"a":2}', BY)
    changed = ledger.applications.change("club", '{"a":3}', BY)

    assert (made.settings, changed.settings, changed.created) == ('{"a":1}', '{"a":3}', made.created)
    assert changed in ledger.applications.all()
    assert ledger.applications.change("none", "{}", BY) is None
    assert "none" not in {application.name for application in ledger.applications.all()}


def test_of_many_that_make_the_same_application_at_once_one_does(ledger):
    def make(place: int) -> bool:
        try:
            ledger.applications.add("club", str(place), BY)
        except NameTakenError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))

    assert sum(made) == 1
    assert [one.settings for one in ledger.applications.all()] == [str(made.index(True))]


def test_every_change_is_noticed_and_a_use_is_none(ledger):
    states = []

    def noticed() -> bool:
        listing = ledger.access.changed_since(states[-1] if states else "")
        states.append(listing.state if listing else states[-1])
        return listing is not None

    assert noticed()
    assert not noticed()
    one = ledger.api_keys.add(key(), BY)
    for change in (
        lambda: ledger.api_keys.add(key(), BY),
        lambda: ledger.api_keys.rotate(one.id, "ak_2", "sha256:2", DAY, BY),
        lambda: ledger.api_keys.revoke("ak_2", BY),
        lambda: ledger.applications.add("club", "{}", BY),
        lambda: ledger.applications.change("club", '{"a":1}', BY),
    ):
        noticed()
        change()
        assert noticed()
        assert not noticed()
    ledger.api_keys.note_uses({one.id: MINUTE})
    assert not noticed()


def test_a_listing_holds_what_may_be_used_and_nothing_that_was_revoked(ledger):
    one, other = ledger.api_keys.add(key(), BY), ledger.api_keys.add(key(), BY)
    ledger.api_keys.revoke(other.id, BY)
    club = ledger.applications.add("club", "{}", BY)
    listing = ledger.access.changed_since("")

    assert listing.keys == (one,)
    assert listing.applications == (club,)


def test_changes_made_at_once_are_all_noticed(ledger):
    """A count that two changes shared would hide one of them from whoever saw the other."""
    before = ledger.access.changed_since("").state
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ledger.api_keys.add(key(), BY), range(16)))
    listing = ledger.access.changed_since(before)

    assert len(listing.keys) == 16
    assert int(listing.state.partition("/")[2]) - int(before.partition("/")[2]) == 16


def test_a_scope_of_a_later_release_allows_nothing(ledger):
    ledger.api_keys.add(key(), BY)
    with ledger.database.write() as connection:
        connection.execute(api_keys.update().values(scopes="consents subjects prophecy"))

    (found,) = ledger.api_keys.of()
    assert found.scopes == {KeyScope.SUBJECTS}
