"""What somebody who can write to Redis can do, and what he cannot: docs/security-model.md tells both, by these tests.

What he can do is no promise. A test of that kind which fails tells that the document says too little of us.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import support_valkey
from support_caller import PAYMENT, Caller
from support_events import record_events
from support_frozen import FrozenValkey
from support_installation import NUMBER, World
from support_outbox import Scripted, Sender, deliver_all, queue
from support_records import change_record, record_of

from otp_service.bootstrap import Installation, prepare
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.payments import Transaction
from otp_service.errors import SuppressedError
from otp_service.services.consents import add_suppressions
from otp_service.store import keys
from otp_service.store.connection import connect
from otp_service.store.library import library

OTHER = "+923337185206"
DEARER = Transaction("15000", "PKR", "Daraz")
OPEN = {"purposes": ["login", "renewed", "payment"], "countries": ["PK"], "region": "PK", "client_ip": "none"}


@pytest.fixture
def installation(frozen: FrozenValkey) -> Installation:
    return frozen.world().install(
        limits={"number": ["2/hour"], "failed_checks": ["3/hour"]},
        purposes={"login": {"resend_delays": [0]}, "renewed": {"resend_delays": [0], "resend": "new_code"}},
        applications={"shop": {**OPEN, "spend": {"hour": "4"}}},
        gateways={"sandbox": {"kind": "sandbox", "prices": {"*": "2"}}},
        guard={"currency": "PKR"},
    )


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


@pytest.fixture
def client(frozen: FrozenValkey) -> redis.Redis:
    return frozen.client


def record(one: str) -> str:
    return keys.record("00", one)


def forget(client: redis.Redis, *words: str) -> None:
    """Delete all keys with one of these words in their name."""
    for word in words:
        for name in client.scan_iter(f"*{word}*"):
            client.delete(name)


def sent(shop: Caller) -> list[str]:
    """Deliver what waits; return to whom."""
    sender = Sender(shop, sandbox=Scripted())
    sender.deliver()
    return [message.to for message in sender.gateways["sandbox"].sent]


def add_job(client: redis.Redis, one: str, message: int) -> None:
    """Write a job as a start does."""
    job = {"v": 1, "id": one, "application": "shop", "purpose": "login", "country": "PK", "channel": "sms",
           "message": message, "generation": 0, "expires": 2**50, "queued": 1}  # fmt: skip
    client.hset(keys.queues("00"), queue(), 1)
    client.sadd(keys.ready("00"), queue())
    client.xadd(queue(), job)


# --- what he can do ---------------------------------------------------------------------------------------------


def test_he_can_have_a_verification_read_as_approved_while_no_check_of_it_is_valid(
    shop: Caller, client: redis.Redis
) -> None:
    one = shop.start()
    change_record(client, record(one), status="approved")

    assert shop.read(one).verification.status == "approved"
    for code in (shop.wrong(one), shop.code(one)):
        assert shop.check(one, code)[1:] == (False, 0, "already_approved")


def test_he_can_have_a_wrong_code_answered_as_right_when_its_check_is_repeated(
    shop: Caller, client: redis.Redis
) -> None:
    one = shop.start()
    retry = shop.retry("again", "check", one)
    assert shop.check(one, shop.wrong(one), retry=retry)[1] is False
    (remembered,) = client.scan_iter("*:idempotency:*")
    client.hset(remembered, "reason", "")
    change_record(client, record(one), status="approved")

    assert shop.check(one, shop.wrong(one), retry=retry)[:2] == ("approved", True)


def test_he_can_have_a_code_approved_once_more(shop: Caller, client: redis.Redis) -> None:
    one = shop.start()
    code = shop.code(one)
    assert shop.check(one, code)[1]
    change_record(client, record(one), status="pending")

    assert shop.check(one, code)[1]


def test_he_can_bring_a_code_back_that_a_resend_replaced(shop: Caller, client: redis.Redis) -> None:
    one = shop.start(purpose="renewed")
    old, tag = shop.code(one), record_of(client, record(one))["tag"]
    shop.resend(one)
    assert shop.check(one, old)[3] == "wrong_code"
    change_record(client, record(one), tag=tag)

    assert shop.check(one, old)[1]


def test_he_can_have_a_login_pass_for_another_purpose_without_a_payment(shop: Caller, client: redis.Redis) -> None:
    one = shop.start()
    code = shop.code(one)
    change_record(client, record(one), purpose="renewed")

    assert shop.check(one, code)[1]
    assert shop.read(one).verification.purpose.name == "renewed"


def test_he_can_have_as_many_guesses_as_he_likes_for_as_long_as_he_likes(
    shop: Caller, client: redis.Redis, frozen: FrozenValkey
) -> None:
    one = shop.start()
    code = shop.code(one)
    later = frozen.now + 365 * 24 * 3600 * 1000
    change_record(client, record(one), created=later - 300_000, expires=later)
    client.pexpire(record(one), 365 * 24 * 3600 * 1000)
    for _ in range(20):
        assert shop.check(one, shop.wrong(one))[3] == "wrong_code"
        change_record(client, record(one), checks=0)
        forget(client, ":number:")
    frozen.advance(24 * 3600)

    assert shop.check(one, code)[1]
    client.delete(record(one))


def test_he_can_have_limits_and_ceilings_forgotten(shop: Caller, client: redis.Redis) -> None:
    for _ in range(6):
        shop.start()
        forget(client, ":number:", ":application_state:")


def test_he_can_have_a_live_code_sent_to_its_own_number_again_and_again(shop: Caller, client: redis.Redis) -> None:
    one = shop.start()
    for message in (2, 3, 4):
        add_job(client, one, message)

    assert sent(shop) == [NUMBER] * 4
    assert shop.read(one).verification.sends == 1


def test_he_can_take_an_opt_out_away_until_the_mirror_is_built_anew(
    shop: Caller, client: redis.Redis, installation: Installation
) -> None:
    number = shop.context.keyring.pseudonym(NUMBER)
    add_suppressions(shop.context, [Suppression(number, "shop", SuppressionScope.ALL, SuppressionSource.API)])
    with pytest.raises(SuppressedError):
        shop.start()
    client.delete(keys.mirrored("00", number))
    shop.context.mirror_sync.refresh()
    assert shop.start()
    shop.context.mirror_sync.rebuild()

    with pytest.raises(SuppressedError):
        shop.start()


def test_he_can_have_the_ledger_record_what_never_happened(shop: Caller, client: redis.Redis) -> None:
    number, one = shop.context.keyring.pseudonym(NUMBER), f"vf_k1_00{'0' * 32}"
    told = {"id": one, "application": "shop", "purpose": "login", "country": "PK"}
    begun = {"channel": "sms", "pseudonym": number, "ledger": "0", "expires": "1"}
    client.xadd(keys.events("00"), {"type": "verification.started", **told, **begun})
    client.xadd(keys.events("00"), {"type": "verification.approved", **told, "reason": ""})
    record_events(shop.context)

    (past,) = shop.context.ledger.subjects.export(number, "shop").verifications
    assert (past.id, past.status) == (one, "approved")


def test_who_can_load_functions_can_have_any_code_approved(shop: Caller, client: redis.Redis) -> None:
    one, ours = shop.start(), library().text
    theirs = ours.replace("verification.tag == record.stored_tag(ARGV[2])", "true")
    assert theirs != ours
    client.function_load(theirs, replace=True)
    try:
        assert shop.check(one, shop.wrong(one))[1]
    finally:
        client.function_load(ours, replace=True)


def test_who_can_watch_commands_can_have_a_code_of_his_choice_approved(shop: Caller, client: redis.Redis) -> None:
    one = shop.start()
    wrong = shop.wrong(one)
    client.config_set("slowlog-log-slower-than", 0)
    try:
        shop.check(one, wrong)
        seen = [call["command"].split() for call in client.slowlog_get(10) if b"_check" in call["command"]]
    finally:
        client.config_set("slowlog-log-slower-than", 10_000)
    tag = shop.context.keyring.tag(one, "shop", "", wrong).encode()
    assert tag in seen[0]
    change_record(client, record(one), tag=tag[:21])

    assert shop.check(one, wrong)[1]


# --- what he cannot do: no key is in Redis ----------------------------------------------------------------------


def test_he_cannot_have_his_own_code_approved_for_somebody_elses_verification(
    shop: Caller, client: redis.Redis
) -> None:
    victims, his = shop.start(), shop.start(OTHER)
    client.copy(record(his), record(victims), replace=True)

    assert shop.check(victims, shop.code(his))[3] == "wrong_code"


def test_he_cannot_make_the_code_of_a_payment_fit_another_one(shop: Caller, client: redis.Redis) -> None:
    one = shop.start(purpose="payment", transaction=PAYMENT)
    his = shop.start(OTHER, purpose="payment", transaction=DEARER)
    code = shop.code(one)
    for name in ("transaction", "details"):
        change_record(client, record(one), **{name: record_of(client, record(his))[name]})

    assert shop.check(one, code, DEARER)[3] == "transaction_changed"


def test_he_cannot_make_a_code_for_a_login_confirm_a_payment(shop: Caller, client: redis.Redis) -> None:
    one, his = shop.start(), shop.start(OTHER, purpose="payment", transaction=PAYMENT)
    code = shop.code(one)
    change_record(client, record(one), purpose="payment", transaction=record_of(client, record(his))["transaction"])

    assert shop.check(one, code, PAYMENT)[3] == "transaction_changed"


def test_he_cannot_have_a_message_say_or_name_anything_else(shop: Caller, client: redis.Redis) -> None:
    one = shop.start(purpose="payment", transaction=PAYMENT)
    his = shop.start(OTHER, purpose="payment", transaction=DEARER)
    change_record(client, record(one), details=record_of(client, record(his))["details"])

    assert sent(shop) == [OTHER]


def test_he_cannot_have_a_message_sent_to_a_number_for_which_no_verification_is_pending(
    shop: Caller, client: redis.Redis
) -> None:
    ended = shop.start()
    assert sent(shop) == [NUMBER]
    shop.cancel(ended)
    change_record(client, record(ended), status="pending")
    add_job(client, ended, 2)
    add_job(client, f"vf_k1_00{'0' * 32}", 1)

    assert sent(shop) == []


# --- what the user that the service should have leaves him (docs/install.md) ---------------------------------

RECOMMENDED = re.compile(r"^ *ACL SETUSER otp on >PASSWORD (.+)$", re.MULTILINE)
IN_CLUSTER = re.compile(r"for its user\s+`([^`]+)`")
DOCS = Path(__file__).resolve().parents[2] / "docs"
DENIED = ("MONITOR", "SLOWLOG GET", "FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG SET save x", "ACL LIST", "CLIENT LIST",
          "SHUTDOWN", "REPLICAOF NO ONE", "GET another:key")  # fmt: skip


@pytest.fixture
def as_recommended(frozen: FrozenValkey) -> Iterator[redis.Redis]:
    """A client whose user may do what the document says, and no more."""
    rights = RECOMMENDED.search((DOCS / "install.md").read_text(encoding="utf-8"))[1]
    if support_valkey.CLUSTER_NODES:
        rights += " " + IN_CLUSTER.search((DOCS / "scale.md").read_text(encoding="utf-8"))[1]
    frozen.client.execute_command(f"ACL SETUSER otp reset on >pw {rights}")
    client = connect(frozen.url.replace("//", "//otp:pw@"), timeout=1.0, connect_timeout=0.5)
    yield client
    client.close()
    frozen.client.execute_command("ACL DELUSER otp")


def test_the_service_does_all_of_it_as_the_recommended_user(frozen: FrozenValkey, as_recommended: redis.Redis) -> None:
    installation = World(as_recommended, frozen.url, frozen.advance).install()
    prepare(installation)
    shop = Caller(installation)
    one = shop.start()

    assert deliver_all(shop.context) == 1
    assert shop.check(one, shop.code(one))[1]


@pytest.mark.parametrize("command", DENIED)
def test_the_recommended_user_can_neither_watch_nor_empty_nor_change_the_server(
    as_recommended: redis.Redis, command: str
) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        as_recommended.execute_command(*command.split())


def test_the_recommended_user_can_still_load_functions(as_recommended: redis.Redis) -> None:
    """The service loads its scripts itself, so the document says so."""
    assert as_recommended.function_load(library().text, replace=True)
