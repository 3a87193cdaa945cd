"""What operators did is recorded with it, in the audit chain, and is never changed."""

import pytest
from sqlalchemy import update

from otp_service.domain.applications import ApiKey, KeyScope
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.errors import ConflictError, NameTakenError, StoreUnavailableError
from otp_service.ledger.database import LedgerDefectError
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import operator_actions

BY = "cli:ali"
KEY = ApiKey("ak_1", "shop", "sha256:1", frozenset({KeyScope.VERIFY}))


def told(ledger: Ledger) -> list[tuple[str, str, str, str]]:
    return [
        (one.action, one.by, one.application, one.target) for one in ledger.operator_actions.between(None, None, 100)
    ]


def test_keys_and_applications_leave_who_changed_them(ledger: Ledger):
    ledger.applications.add("shop", "{}", "cli:ali")
    ledger.applications.change("shop", "{}", "ak_admin")
    ledger.api_keys.add(KEY, "cli:ali")
    ledger.api_keys.rotate("ak_1", "ak_2", "sha256:2", 0, by="cli:sana")
    ledger.api_keys.revoke("ak_2", by="cli:sana")

    assert sorted(told(ledger)) == [
        ("api-key-issued", "cli:ali", "shop", "ak_1"),
        ("api-key-revoked", "cli:sana", "shop", "ak_2"),
        ("api-key-rotated", "cli:sana", "shop", "ak_1"),
        ("application-added", "cli:ali", "shop", ""),
        ("application-changed", "ak_admin", "shop", ""),
    ]


def test_what_was_not_done_is_not_told(ledger: Ledger):
    ledger.applications.add("shop", "{}", BY)
    ledger.api_keys.add(KEY, BY)
    ledger.api_keys.revoke("ak_1", BY)
    before = told(ledger)
    with pytest.raises(NameTakenError):
        ledger.applications.add("shop", "{}", BY)
    with pytest.raises(ConflictError):
        ledger.api_keys.rotate("ak_1", "ak_2", "sha256:2", 0, BY)
    assert ledger.applications.change("other", "{}", BY) is None
    assert ledger.api_keys.revoke("ak_9", BY) is None
    ledger.api_keys.revoke("ak_1", BY)

    assert told(ledger) == before


def test_an_action_is_in_the_audit_chain(ledger: Ledger):
    ledger.operator_actions.add(OperatorActionEntry(OperatorAction.LIMITS_RESET, "cli:ali", target="number"))
    (link,) = ledger.audit.links(0, 10)

    assert (link.entry.table, link.digest) == ("operator_actions", link.entry.digest)
    assert not any(ledger.audit.unlinked_rows(0, 10).values())


def test_what_is_done_elsewhere_is_recorded_around_it_if_it_came_to_anything(ledger: Ledger):
    action = OperatorActionEntry(OperatorAction.LIMITS_RESET, "cli:ali")
    assert (ledger.operator_actions.perform(action, lambda: 0), told(ledger)) == (0, [])
    assert ledger.operator_actions.perform(action, lambda: 3) == 3

    assert told(ledger) == [("limits-reset", "cli:ali", "", "")]
    assert [one.entry.sequence for one in ledger.audit.links(0, 10)] == [1]


def test_what_failed_and_may_have_been_done_is_recorded(ledger: Ledger):
    def fails() -> int:
        raise StoreUnavailableError("away")

    with pytest.raises(StoreUnavailableError):
        ledger.operator_actions.perform(OperatorActionEntry(OperatorAction.LIMITS_RESET, "cli:ali"), fails)

    assert len(told(ledger)) == 1


def test_an_action_is_recorded_with_new_information_only(ledger: Ledger):
    entry = Suppression("p" * 22, "shop", SuppressionScope.ALL, SuppressionSource.OPERATOR)
    for _ in range(2):
        ledger.suppressions.add([entry], OperatorActionEntry(OperatorAction.SUPPRESSION_ADDED, "cli:ali", "shop"))
    ledger.subjects.erase("p" * 22, None, OperatorActionEntry(OperatorAction.SUBJECT_ERASED, "cli:ali"))

    assert [one[0] for one in told(ledger)] == ["suppression-added", "subject-erased"]


def test_it_cannot_be_changed(ledger: Ledger):
    ledger.operator_actions.add(OperatorActionEntry(OperatorAction.LIMITS_RESET, "cli:ali"))
    with pytest.raises(LedgerDefectError, match="never changed"), ledger.database.write() as connection:
        connection.execute(update(operator_actions).values(by="cli:sana"))

    assert told(ledger) == [("limits-reset", "cli:ali", "", "")]


def test_a_period_has_its_own_actions_only(ledger: Ledger):
    ledger.operator_actions.add(OperatorActionEntry(OperatorAction.MIRROR_REBUILT, "cli:ali"))
    at = ledger.operator_actions.latest(1)[0].at

    assert len(ledger.operator_actions.between(at, at + 1, 10)) == 1
    assert ledger.operator_actions.between(at + 1, None, 10) == ()
    assert ledger.operator_actions.between(None, at, 10) == ()
    assert ledger.operator_actions.between(None, None, 0) == ()


def test_a_long_login_is_cut(ledger: Ledger):
    ledger.operator_actions.add(OperatorActionEntry(OperatorAction.MIRROR_REBUILT, "cli:" + "x" * 100))

    assert len(told(ledger)[0][1]) == 64
