"""What takes two people is done once, by another than who asked, in time; and what fails can be confirmed again."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support_console import ADMIN, new_person
from support_installation import NUMBER, World
from support_ledger_events import EVIDENCE

from otp_service.bootstrap import Installation, prepare
from otp_service.clock import now
from otp_service.console import dual_control
from otp_service.console import records as ledger_console
from otp_service.console.accounts import ConsoleUser, Role
from otp_service.console.records import (
    DECLINED,
    DONE,
    NOTHING_LEFT,
    REQUEST_LIFE,
    TAKEN,
    TAKEN_FOR,
    ConsoleUsers,
    DualControlAction,
    DualControlRequests,
)
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    Consent,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_freezes,
    is_suppressed,
)
from otp_service.domain.numbers import SubjectKey, parse_destination, subject_key
from otp_service.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    LedgerUnavailableError,
    NameTakenError,
    StoreUnavailableError,
)
from otp_service.ledger.subjects import Subjects
from otp_service.services.audit import AuditProgress, verify_chain
from otp_service.services.mirror import MirrorSync
from otp_service.services.subjects import freeze

REASON = "case A-17"
OPERATOR = SuppressionSource.OPERATOR


@pytest.fixture
def installation(real_world: World, ledger_url: str) -> Iterator[Installation]:
    made = real_world.install(ledger={"url": ledger_url})
    prepare(made)
    made.context.mirror_sync.refresh()
    yield made
    made.context.ledger.database.close()


class Office:
    """Two people of compliance, and a number."""

    def __init__(self, installation: Installation) -> None:
        self.installation, self.context = installation, installation.context
        self.ledger = installation.context.ledger
        self.number: SubjectKey = subject_key(self.context.keyring, parse_destination(NUMBER, None))
        self.asker, self.second = self.hire("ayesha"), self.hire("zain")

    def hire(self, name: str, role: Role = Role.COMPLIANCE, *applications: str) -> ConsoleUser:
        new_person(self.installation, name, role, *applications)
        found = ConsoleUsers(self.ledger.database).find(name)
        assert found is not None
        return found

    def ask(self, act: DualControlAction = DualControlAction.ERASE, application: str = "shop") -> str:
        return dual_control.ask(self.context, self.asker, act, self.number.pseudonym, application, REASON)

    def confirm(self, name: str, by: ConsoleUser | None = None) -> bool:
        return dual_control.confirm(self.context, by or self.second, name, self.number.pseudonym)

    def state(self, name: str) -> tuple[str, str]:
        found = DualControlRequests(self.ledger.database).find(name)
        assert found is not None
        return found.outcome, found.decided_by

    def acts(self) -> list[tuple[str, str, str, str]]:
        """Return what operators did to people."""
        found = self.ledger.operator_actions.between(None, None, 1000)
        return [(one.action, one.by, one.application, one.target) for one in found if "console-user" not in one.action]

    def suppress(self, scope: SuppressionScope = SuppressionScope.ALL) -> None:
        entry = Suppression(self.number.pseudonym, "shop", scope, SuppressionSource.INBOUND, "wrote stop")
        self.ledger.suppressions.add([entry])

    @property
    def entries(self) -> tuple[Suppression, ...]:
        return self.ledger.suppressions.of(self.number.pseudonym)


@pytest.fixture
def office(installation: Installation) -> Office:
    return Office(installation)


BOTH = "console:ayesha with zain"


# --- what is done ---


def test_an_erasure_is_done_by_both(office):
    for application in ("shop", "bank"):
        office.ledger.consents.add(Consent(office.number.pseudonym, application, "login", EVIDENCE))
    name = office.ask()

    assert office.acts() == []
    assert office.confirm(name)
    assert office.state(name) == (DONE, "zain")
    assert office.acts() == [("subject-erased", BOTH, "shop", "")]
    held = office.ledger.subjects.export(office.number.pseudonym, None)
    assert {one.application: one.evidence for one in held.consents} == {"shop": EVIDENCE.erased, "bank": EVIDENCE}


def test_a_freeze_is_lifted_by_both(office):
    freeze(office.context, office.number, EVERY_APPLICATION, OPERATOR, "", "console:ayesha")
    assert office.confirm(office.ask(DualControlAction.UNFREEZE, EVERY_APPLICATION))

    assert active_freezes(office.entries) == ()
    assert office.acts()[-1] == ("subject-unfrozen", BOTH, "", "")


def test_a_suppression_is_lifted_by_both_and_nothing_else_with_it(office):
    office.suppress()
    office.suppress(SuppressionScope.MARKETING_ONLY)
    freeze(office.context, office.number, "shop", OPERATOR, "", "console:ayesha")
    assert office.confirm(office.ask(DualControlAction.LIFT_SUPPRESSION))

    assert not is_suppressed(office.entries, now())
    assert len(active_freezes(office.entries)) == 1
    assert [one.scope for one in office.entries if one.lifted] == [SuppressionScope.ALL]
    assert [one.reason for one in office.entries if one.lifted] == [REASON]
    assert office.acts()[-1] == ("suppression-lifted", BOTH, "shop", "all")


@pytest.mark.parametrize("act", [DualControlAction.UNFREEZE, DualControlAction.LIFT_SUPPRESSION])
def test_that_there_was_nothing_to_do_is_told_and_is_no_act(office, act):
    name = office.ask(act)

    assert not office.confirm(name)
    assert office.state(name) == (NOTHING_LEFT, "zain")
    assert office.acts() == []


def test_the_chain_holds_after_all_of_it(office):
    office.suppress()
    office.confirm(office.ask(DualControlAction.LIFT_SUPPRESSION))
    office.confirm(office.ask())
    dual_control.decline(office.context, office.second, office.ask())

    assert list(verify_chain(office.context, AuditProgress())) == []


# --- by whom ---


def test_nobody_confirms_what_he_asked_for(office):
    name = office.ask()
    with pytest.raises(ForbiddenError):
        office.confirm(name, office.asker)

    assert DualControlRequests(office.ledger.database).take(name, "ayesha") is None
    assert office.state(name) == ("", "")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.COMPLIANCE])
def test_who_asked_does_not_confirm_with_another_role_and_his_request_falls_with_it(office, role):
    name = office.ask()
    ConsoleUsers(office.ledger.database).change("ayesha", role, (), ADMIN)
    changed = ConsoleUsers(office.ledger.database).find("ayesha")

    with pytest.raises(ForbiddenError):
        office.confirm(name, changed)
    with pytest.raises(ConflictError):
        office.confirm(name)
    ConsoleUsers(office.ledger.database).change("ayesha", Role.COMPLIANCE, (), ADMIN)
    with pytest.raises(ForbiddenError):
        office.confirm(name, ConsoleUsers(office.ledger.database).find("ayesha"))
    assert office.acts() == []


def test_nobody_comes_back_under_a_name_that_somebody_had(office):
    ConsoleUsers(office.ledger.database).disable("ayesha", ADMIN)

    with pytest.raises(NameTakenError):
        office.hire("ayesha")


@pytest.mark.parametrize("change", ["disabled", "restricted"])
def test_what_somebody_asked_who_may_not_ask_any_more_is_not_done(office, change):
    name = office.ask()
    users = ConsoleUsers(office.ledger.database)
    if change == "disabled":
        users.disable("ayesha", ADMIN)
    else:
        users.change("ayesha", Role.COMPLIANCE, ("bank",), ADMIN)

    with pytest.raises(ConflictError):
        office.confirm(name)
    assert office.acts() == []


def test_who_sees_one_application_neither_asks_nor_decides_for_another_or_for_all(office):
    clerk = office.hire("bilal", Role.COMPLIANCE, "bank")
    for application in ("shop", EVERY_APPLICATION):
        with pytest.raises(ForbiddenError):
            dual_control.ask(
                office.context, clerk, DualControlAction.ERASE, office.number.pseudonym, application, REASON
            )
        name = office.ask(application=application)
        with pytest.raises(ForbiddenError):
            office.confirm(name, clerk)
        with pytest.raises(ForbiddenError):
            dual_control.decline(office.context, clerk, name)
        assert office.state(name) == ("", "")
    assert office.confirm(office.ask(application="bank"), clerk)


def test_nobody_confirms_for_a_number_that_he_did_not_look_at(office):
    name = office.ask()
    with pytest.raises(ForbiddenError):
        dual_control.confirm(office.context, office.second, name, "o" * 22)

    assert office.state(name) == ("", "")


@pytest.mark.parametrize("reason", ["", "call 0300 1234567", "x" * 201, "a\u202eb", "a\nb", "۰۳۰۰۱۲۳۴۵۶۷"])
def test_a_reason_is_needed_that_may_be_kept(office, reason):
    with pytest.raises(InvalidRequestError):
        dual_control.ask(office.context, office.asker, DualControlAction.ERASE, office.number.pseudonym, "shop", reason)


# --- once, and in time ---


def test_what_is_declined_or_taken_back_is_over(office):
    for by in (office.second, office.asker):
        name = office.ask()
        dual_control.decline(office.context, by, name)

        assert office.state(name) == (DECLINED, by.name)
        with pytest.raises(ConflictError):
            office.confirm(name)
        with pytest.raises(ConflictError):
            dual_control.decline(office.context, office.second, name)


def test_a_request_is_over_after_a_week(office, monkeypatch):
    name = office.ask()
    later = now() + REQUEST_LIFE + 1
    monkeypatch.setattr(ledger_console, "now", lambda: later)
    monkeypatch.setattr(dual_control, "now", lambda: later)

    assert DualControlRequests(office.ledger.database).take(name, "zain") is None
    with pytest.raises(ConflictError):
        office.confirm(name)
    with pytest.raises(ConflictError):
        dual_control.decline(office.context, office.second, name)


def test_of_many_who_confirm_and_decline_at_once_one_does_it(office):
    people = [office.hire(f"person{number}") for number in range(6)]
    for _ in range(5):
        before, name, start = len(office.acts()), office.ask(), threading.Barrier(len(people))

        def decide(user, name=name, start=start):
            start.wait()
            try:
                if user.name == "person0":
                    dual_control.decline(office.context, user, name)
                else:
                    office.confirm(name, user)
            except ConflictError:
                return None
            return user.name

        with ThreadPoolExecutor(len(people)) as pool:
            winners = [name for name in pool.map(decide, people) if name]

        (winner,) = winners
        outcome = DECLINED if winner == "person0" else DONE
        assert office.state(name) == (outcome, winner)
        assert len(office.acts()) - before == (outcome == DONE)


# --- what fails ---


def test_what_fails_is_open_again_and_then_done(office, monkeypatch):
    name = office.ask()
    with monkeypatch.context() as broken:
        broken.setattr(Subjects, "erase", _fails(LedgerUnavailableError("away")))
        with pytest.raises(LedgerUnavailableError):
            office.confirm(name)

    assert office.state(name) == ("", "")
    assert office.acts() == []
    assert office.confirm(name)
    assert office.state(name) == (DONE, "zain")


def test_what_is_recorded_and_not_yet_in_force_is_open_again_and_does_no_harm(office, monkeypatch):
    office.suppress()
    name = office.ask(DualControlAction.LIFT_SUPPRESSION)
    with monkeypatch.context() as broken:
        broken.setattr(MirrorSync, "write_through", _fails(StoreUnavailableError("away")))
        with pytest.raises(StoreUnavailableError):
            office.confirm(name)

    assert office.state(name) == ("", "")
    assert not office.confirm(name)
    assert office.state(name) == (NOTHING_LEFT, "zain")
    assert len(office.acts()) == 1


def test_what_cannot_be_given_back_is_open_again_after_some_minutes(office, monkeypatch):
    name = office.ask()
    with monkeypatch.context() as broken:
        broken.setattr(Subjects, "erase", _fails(LedgerUnavailableError("away")))
        broken.setattr(DualControlRequests, "reopen", _fails(LedgerUnavailableError("away")))
        with pytest.raises(LedgerUnavailableError):
            office.confirm(name)
    third = office.hire("bilal")

    assert office.state(name) == (TAKEN, "zain")
    with pytest.raises(ConflictError):
        office.confirm(name, third)
    later = now() + TAKEN_FOR
    monkeypatch.setattr(ledger_console, "now", lambda: later)
    monkeypatch.setattr(dual_control, "now", lambda: later)
    with pytest.raises(ForbiddenError):
        office.confirm(name, office.asker)
    assert office.confirm(name, third)
    assert office.state(name) == (DONE, "bilal")


def test_who_comes_back_late_does_not_end_what_another_has_taken(office, monkeypatch):
    requests, name = DualControlRequests(office.ledger.database), office.ask()
    slow = requests.take(name, "zain")
    later = now() + TAKEN_FOR
    monkeypatch.setattr(ledger_console, "now", lambda: later)
    assert requests.take(name, "bilal") is not None
    requests.reopen(slow)
    requests.finish(slow, DONE)

    assert office.state(name) == (TAKEN, "bilal")


def test_that_something_was_done_counts_also_where_it_cannot_be_noted(office, monkeypatch):
    name = office.ask()
    monkeypatch.setattr(DualControlRequests, "finish", _fails(LedgerUnavailableError("away")))

    assert office.confirm(name)
    assert office.acts() == [("subject-erased", BOTH, "shop", "")]
    assert office.state(name) == (TAKEN, "zain")


def _fails(error):
    def fail(*_, **__):
        raise error

    return fail
