"""A freeze ends what is pending and lets nothing begin, for its application or for all, until it is lifted."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from support_caller import Caller
from support_events import record_events
from support_installation import NUMBER, World
from support_ledger_events import EVIDENCE
from support_outbox import Scripted, Sender, events, jobs_of, letters, story, waiting

from otp_service.bootstrap import Installation
from otp_service.domain.consents import EVERY_APPLICATION, ConsentMode, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.numbers import SubjectKey, parse_destination, subject_key
from otp_service.errors import FrozenError, StoreUnavailableError, SuppressedError
from otp_service.gateways.base import InboundMessage
from otp_service.services.audit import AuditProgress, verify_chain
from otp_service.services.consents import add_suppressions, give_consent, lift
from otp_service.services.inbound import handle_message
from otp_service.services.number_history import Why, find_number_history
from otp_service.services.subjects import FreezeStatus, erase, export, freeze, unfreeze
from otp_service.store import keys
from otp_service.store.mirror import Mirror
from otp_service.telemetry import metrics

OTHER = "+923007654321"
QUICK = {"login": {"resend_delays": [0], "channels": ["sms", "voice"]}}
PERMISSIVE = {"number": ["1000/hour"], "failed_checks": ["1000/hour"]}
API = SuppressionSource.API


@pytest.fixture
def installation(world: World, ledger_url: str) -> Iterator[Installation]:
    made = world.install(ledger={"url": ledger_url}, purposes=QUICK, limits=PERMISSIVE)
    made.context.mirror_sync.refresh()
    yield made
    made.context.ledger.database.close()


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


@pytest.fixture
def bank(installation: Installation) -> Caller:
    return Caller(installation, "bank")


def number(caller: Caller, to: str = NUMBER) -> SubjectKey:
    return subject_key(caller.context.keyring, parse_destination(to, None))


def frozen(caller: Caller, application: str | None = None, to: str = NUMBER, reason: str = "") -> FreezeStatus:
    """Freeze a number for an application, by default the caller's own."""
    return freeze(caller.context, number(caller, to), application or caller.application.name, API, reason)


def thawed(caller: Caller, application: str | None = None) -> tuple[FreezeStatus, bool]:
    return unfreeze(caller.context, number(caller), application or caller.application.name, API)


def refused(caller: Caller, to: str = NUMBER) -> bool:
    try:
        caller.start(to)
    except FrozenError:
        return True
    return False


def forget_the_last_verifications(caller: Caller, world: World) -> None:
    assert world.client.delete(keys.number(number(caller).bucket, number(caller).pseudonym))


def test_what_is_pending_ends_at_once_and_what_waits_is_not_sent(shop: Caller, world: World) -> None:
    sender = Sender(shop, sandbox=Scripted())
    one = shop.start()
    code = shop.code(one)
    did = frozen(shop)
    sender.deliver()

    assert did.ended == (one,)
    assert shop.check(one, code) == ("canceled", False, 0, "canceled")
    assert sender.sent() == []
    assert story(shop, one) == [(1, 1, None, "failed", "canceled")]
    assert (letters(world.client), waiting(world.client)) == ([], 0)
    with pytest.raises(FrozenError):
        shop.start()


def test_a_message_whose_verification_was_not_found_is_not_sent_either(shop: Caller, world: World) -> None:
    sender = Sender(shop, sandbox=Scripted())
    one = shop.start()
    forget_the_last_verifications(shop, world)
    assert frozen(shop).ended == ()
    sender.deliver()

    assert sender.sent() == []
    assert story(shop, one) == [(1, 1, None, "failed", "frozen")]
    assert letters(world.client) == []


def test_support_is_told_that_a_code_was_not_sent_because_its_number_is_frozen(shop: Caller) -> None:
    sender = Sender(shop, sandbox=Scripted())
    shop.start()
    add_suppressions(shop.context, [Suppression(number(shop).pseudonym, "shop", SuppressionScope.FROZEN, API)])
    sender.deliver()
    (case,) = find_number_history(shop.context, parse_destination(NUMBER, None)).verifications

    assert case.explanation.why is Why.FROZEN


def test_a_verification_that_was_not_found_is_not_approved_and_ends_with_the_right_code(
    shop: Caller, world: World
) -> None:
    one = shop.start()
    forget_the_last_verifications(shop, world)
    frozen(shop)
    code = shop.code(one)

    assert shop.check(one, shop.wrong(one)) == ("pending", False, 4, "wrong_code")
    assert [shop.check(one, code) for _ in range(2)] == [("canceled", False, 0, "canceled")] * 2
    assert events(world.client) == ["verification.started", "check.failed", "verification.canceled"]
    thawed(shop)
    assert shop.check(one, code) == ("canceled", False, 0, "canceled")


def test_of_more_verifications_than_are_remembered_of_a_number_none_is_approved(shop: Caller) -> None:
    begun = [shop.start() for _ in range(23)]
    codes = [shop.code(one) for one in begun]
    did = frozen(shop)

    assert set(did.ended) == set(begun[3:])
    assert {shop.check(one, code) for one, code in zip(begun, codes, strict=True)} == {
        ("canceled", False, 0, "canceled")
    }


def test_a_lift_revives_none_of_more_verifications_than_are_remembered(shop: Caller, world: World) -> None:
    sender = Sender(shop, sandbox=Scripted())
    begun = [shop.start() for _ in range(43)]
    codes = [shop.code(one) for one in begun]
    frozen(shop)
    thawed(shop)
    fresh = shop.start()
    sender.deliver()

    with pytest.raises(FrozenError):
        shop.resend(begun[0])
    assert shop.check(begun[1], shop.wrong(begun[1]))[3] == "wrong_code"
    assert {shop.check(one, code) for one, code in zip(begun, codes, strict=True)} == {
        ("canceled", False, 0, "canceled")
    }
    assert (len(sender.sent()), story(shop, begun[0])[0][3:]) == (1, ("failed", "frozen"))
    assert letters(world.client) == []
    assert shop.check(fresh, shop.code(fresh))[1]


@pytest.mark.parametrize("loss", [False, True])
def test_what_starts_after_a_lift_lives_until_another_freeze_and_no_longer(
    shop: Caller, world: World, loss: bool
) -> None:
    frozen(shop)
    thawed(shop)
    sender = Sender(shop, sandbox=Scripted())
    one, other = shop.start(), shop.start()
    shop.resend(one)
    sender.deliver()
    assert len(sender.sent()) == 3
    assert shop.check(one, shop.code(one))[1]
    code = shop.code(other)
    forget_the_last_verifications(shop, world)
    frozen(shop)
    thawed(shop)
    if loss:
        world.client.delete(
            keys.mirror(number(shop).bucket), keys.mirrored(number(shop).bucket, number(shop).pseudonym)
        )
        shop.context.mirror_sync.refresh()

    assert shop.check(other, code)[3] == "canceled"


def test_a_policy_is_asked_about_what_was_started_after_a_lift_alone(shop: Caller) -> None:
    shop.start()
    frozen(shop)
    thawed(shop)
    shop.start()
    mirror_query = shop.context.mirror_sync.query("00", ConsentMode.OFF)
    jobs = jobs_of(shop.context, "worker", 2)

    assert [shop.context.store.dispatches.is_allowed(job, mirror_query) for job in jobs] == [False, True]


def test_to_lift_what_is_lifted_ends_nothing(shop: Caller) -> None:
    frozen(shop)
    thawed(shop)
    one = shop.start()
    again = Suppression(number(shop).pseudonym, "shop", SuppressionScope.FROZEN, API, lifted=True)
    assert add_suppressions(shop.context, [again]) == 1, "as of two calls at once the later one would"

    assert shop.check(one, shop.code(one))[1]


@pytest.mark.parametrize("application", ["bank", EVERY_APPLICATION])
def test_a_lift_is_of_its_own_application_or_of_all(shop: Caller, bank: Caller, world: World, application: str) -> None:
    one, other = shop.start(), bank.start()
    codes = shop.code(one), bank.code(other)
    forget_the_last_verifications(shop, world)
    frozen(shop, application)
    thawed(shop, application)

    sender = Sender(shop, sandbox=Scripted())
    sender.deliver()
    assert len(sender.sent()) == (application == "bank")
    assert bank.check(other, codes[1])[1] is False
    assert shop.check(one, codes[0])[1] is (application == "bank")


def test_a_right_code_that_is_refused_counts_as_no_approval(world: World) -> None:
    """Nothing is given back, the number is not known from now on, and a replay of what happened has no approval."""
    shop = Caller(world.install(guard={"modes": {}}))
    shop.context.mirror_sync.refresh()
    one = shop.start(client_ip="203.0.113.77", context="own phone")
    code = shop.code(one)
    shop.check(one, shop.wrong(one))
    forget_the_last_verifications(shop, world)
    frozen(shop)
    before = guarded(world)
    assert shop.check(one, code)[3] == "canceled"

    assert guarded(world) == before
    assert [one.kind for one in shop.context.store.attempts.all()] == ["start", "wrong"]
    assert {part(name) for name in before} == SUBJECTS - {b"number"}, "it was forgotten above"


SUBJECTS = {b"number", b"application_state", b"country", b"block", b"address"}


def part(name: bytes) -> bytes:
    """Return what a key is of: the third of its parts, between colons."""
    return name.split(b":", 3)[2] if name.count(b":") > 1 else b""


def guarded(world: World) -> dict[bytes, bytes]:
    return {name: world.client.dump(name) for name in world.client.scan_iter() if part(name) in SUBJECTS}


def test_a_check_that_is_repeated_with_its_key_hears_the_same(shop: Caller, world: World) -> None:
    one = shop.start()
    code = shop.code(one)
    forget_the_last_verifications(shop, world)
    frozen(shop)
    retry = shop.retry("once", "check")

    assert [shop.check(one, code, retry=retry) for _ in range(2)] == [("canceled", False, 0, "canceled")] * 2


def test_nothing_more_is_sent_for_what_was_not_found(shop: Caller, world: World) -> None:
    one = shop.start()
    forget_the_last_verifications(shop, world)
    frozen(shop)
    with pytest.raises(FrozenError):
        shop.resend(one)


def test_another_application_is_left_alone(shop: Caller, bank: Caller) -> None:
    mine, theirs = shop.start(), bank.start()
    code = bank.code(theirs)

    assert frozen(shop).ended == (mine,)
    assert bank.check(theirs, code)[1]
    assert not refused(bank)
    assert not refused(shop, OTHER)


def test_a_freeze_for_all_is_one_for_each(shop: Caller, bank: Caller) -> None:
    mine, theirs = shop.start(), bank.start()

    assert set(frozen(shop, EVERY_APPLICATION).ended) == {mine, theirs}
    assert refused(shop)
    assert refused(bank)


@pytest.mark.parametrize("application", ["bank", EVERY_APPLICATION])
def test_a_check_looks_for_its_own_application_and_for_all(
    shop: Caller, bank: Caller, world: World, application: str
) -> None:
    one, other = shop.start(), bank.start()
    codes = shop.code(one), bank.code(other)
    forget_the_last_verifications(shop, world)
    frozen(shop, application)

    assert bank.check(other, codes[1])[1] is False
    assert shop.check(one, codes[0])[1] is (application == "bank")


def test_to_freeze_again_records_nothing_new(shop: Caller) -> None:
    one = shop.start()
    first, again = (frozen(shop, reason="case A-17") for _ in range(2))

    assert (first.ended, again.ended) == ((one,), ())
    assert [entry.reason for entry in again.entries] == ["case A-17"]
    assert again.entries == first.entries
    assert len(shop.context.ledger.suppressions.of(number(shop).pseudonym)) == 1


def test_what_was_begun_before_a_call_died_is_ended_when_it_is_made_again(shop: Caller) -> None:
    one = shop.start()
    add_suppressions(shop.context, [Suppression(number(shop).pseudonym, "shop", SuppressionScope.FROZEN, API)])
    assert shop.read(one).verification.status == "pending"

    assert frozen(shop).ended == (one,)


def test_a_freeze_that_is_lifted_lets_verifications_start_and_revives_none(shop: Caller) -> None:
    one = shop.start()
    code = shop.code(one)
    add_suppressions(shop.context, [Suppression(number(shop).pseudonym, "shop", SuppressionScope.FROZEN, API)])
    found, was_frozen = thawed(shop)

    assert (was_frozen, found.entries, found.ended) == (True, (), (one,))
    assert shop.check(one, code)[3] == "canceled"
    assert not refused(shop)
    assert thawed(shop) == (FreezeStatus(()), False)


def test_an_application_does_not_lift_what_is_frozen_for_all(shop: Caller) -> None:
    frozen(shop)
    frozen(shop, EVERY_APPLICATION)
    found, was_frozen = thawed(shop)
    assert was_frozen
    assert [one.application for one in found.entries] == [EVERY_APPLICATION]
    assert refused(shop)

    found, _ = thawed(shop, EVERY_APPLICATION)
    assert found.entries == ()
    assert not refused(shop)


def test_neither_start_nor_a_lift_nor_an_erasure_nor_a_consent_lifts_a_freeze(shop: Caller) -> None:
    sender = Sender(shop, sandbox=Scripted())
    shop.start()
    sender.deliver()
    handle_message(shop.context, "sandbox", InboundMessage("1", NUMBER, "STOP"))
    frozen(shop)
    handle_message(shop.context, "sandbox", InboundMessage("2", NUMBER, "START"))
    for scope in (SuppressionScope.ALL, SuppressionScope.MARKETING_ONLY):
        entry = Suppression(number(shop).pseudonym, "shop", scope, SuppressionSource.OPERATOR, lifted=True)
        add_suppressions(shop.context, [Suppression(entry.pseudonym, "shop", scope, SuppressionSource.OPERATOR)])
        assert lift(shop.context, entry)
    erase(shop.context, number(shop), "shop")

    assert refused(shop)
    thawed(shop)
    assert not refused(shop)


def test_a_consent_that_comes_with_a_start_lifts_no_freeze(world: World) -> None:
    applications = {"shop": {"purposes": ["login"], "countries": ["PK"], "client_ip": "none", "consent": "required"}}
    strict = Caller(world.install(applications=applications))
    strict.context.mirror_sync.refresh()
    frozen(strict)
    give_consent(strict.context, strict.application, number(strict), "login", EVIDENCE)
    with pytest.raises(FrozenError):
        strict.start(consent=EVIDENCE)


def test_what_is_suppressed_too_is_told_as_frozen_and_stays_suppressed(shop: Caller) -> None:
    add_suppressions(shop.context, [Suppression(number(shop).pseudonym, "shop", SuppressionScope.ALL, API)])
    frozen(shop)
    assert refused(shop)
    thawed(shop)
    with pytest.raises(SuppressedError):
        shop.start()


def test_a_flush_forgets_no_freeze(shop: Caller, bank: Caller, world: World) -> None:
    frozen(shop)
    frozen(shop, EVERY_APPLICATION, OTHER)
    world.client.flushall()
    shop.context.mirror_sync.refresh()

    assert refused(shop)
    assert refused(bank, OTHER)
    assert not refused(bank)


def test_a_freeze_that_redis_did_not_hear_of_is_in_force_as_soon_as_it_does(
    shop: Caller, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise StoreUnavailableError("away")

    one = shop.start()
    code = shop.code(one)
    with monkeypatch.context() as away:
        away.setattr(Mirror, "write", silent)
        with pytest.raises(StoreUnavailableError):
            frozen(shop)
    shop.context.mirror_sync.refresh()
    shop.context.mirror_sync.refresh()

    assert refused(shop)
    assert shop.check(one, code)[3] == "canceled"


@pytest.mark.parametrize("damage", ["lost", "behind"])
def test_a_check_of_a_number_that_is_not_frozen_needs_no_mirror(shop: Caller, world: World, damage: str) -> None:
    one = shop.start()
    code = shop.code(one)
    if damage == "lost":
        world.client.delete(
            keys.mirror(number(shop).bucket), keys.mirrored(number(shop).bucket, number(shop).pseudonym)
        )
    else:
        world.client.hset(keys.mirror(number(shop).bucket), "sequence", -1)

    assert shop.check(one, code)[1]


def test_a_freeze_is_in_the_export_and_in_the_audit_chain_and_whatever_it_ended_too(shop: Caller) -> None:
    one = shop.start()
    frozen(shop, reason="case A-17")
    thawed(shop)
    record_events(shop.context)
    held = export(shop.context, number(shop), "shop").holding
    looked = AuditProgress()

    assert [(one.scope, one.source, one.reason, one.lifted) for one in held.suppressions] == [
        ("frozen", "api", "case A-17", False),
        ("frozen", "api", "", True),
    ]
    (past,) = held.verifications
    assert (past.id, past.status) == (one, "canceled")
    assert past.events[-1]["reason"] == "frozen"
    assert list(verify_chain(shop.context, looked)) == []
    assert looked.entries > 0


def test_it_is_logged_and_counted_without_the_number(shop: Caller) -> None:
    shop.start()
    with capture_logs() as lines:
        frozen(shop, reason="case A-17")
        thawed(shop)
    assert refused(shop) is False
    frozen(shop)
    assert refused(shop)

    assert [(line["event"], line["application"], line["source"], line["ended"]) for line in lines] == [
        ("subject_frozen", "shop", "api", 1),
        ("subject_unfrozen", "shop", "api", 0),
    ]
    assert NUMBER.removeprefix("+") not in repr(lines)
    assert number(shop).pseudonym not in repr(lines)
    assert b'outcome="recipient-frozen"' in metrics.exposition()
