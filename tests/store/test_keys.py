"""Every key goes away by itself, whatever was done, and nothing comes back without a life."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support_caller import PAYMENT, Caller
from support_frozen import FrozenValkey
from support_keys import assert_all_keys_expire, guard_lives, kinds_of, make_key
from support_ledger import make_ledger
from support_outbox import POLICY, dispatch, dispatched, jobs_of, paced, queues, report, settle

from otp_service.bootstrap import Installation, prepare
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.routing import CallResult
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import OtpServiceError
from otp_service.services.delivery import deliver
from otp_service.store import keys
from otp_service.store.keys import Key, all_keys
from otp_service.store.outbox import DispatchResult, NextStep


@pytest.fixture
def installation(frozen: FrozenValkey, tmp_path: Path) -> Installation:
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"  # with no other tests' numbers, which would be mirrored
    make_ledger(ledger)
    made = frozen.world().install(
        ledger={"url": ledger},
        limits={"number": ["100/hour", "500/day"], "failed_checks": ["100/hour", "500/day"]},
        purposes={"login": {"resend_delays": [0], "resend": "new_code"}},
    )
    prepare(made)
    return made


@pytest.fixture
def shop(installation: Installation) -> Caller:
    return Caller(installation)


def _everything(installation: Installation, shop: Caller) -> None:
    """Bring verifications to every end there is, with idempotency keys, deliveries and failures."""
    ends: list[Callable[[str], Any]] = [
        lambda one: shop.check(one, shop.code(one), retry=shop.retry(f"right {one}", "check")),
        lambda one: [shop.check(one, shop.wrong(one), retry=shop.retry(f"{n} {one}", "check")) for n in range(5)],
        lambda one: shop.cancel(one, shop.retry(f"cancel {one}", "cancel")),
        lambda one: shop.resend(one, shop.retry(f"resend {one}", "resend")),
        shop.read,
    ]
    for place, end in enumerate(ends):
        end(shop.start(f"+9230012345{place:02d}", shop.retry(f"start {place}", "start"), peer_ip="192.0.2.1"))
    shop.check(shop.start(purpose="payment", transaction=PAYMENT), "123456", PAYMENT)
    for place, job in enumerate(jobs_of(installation.context)):
        ended = dispatch(installation.context, job, first=paced(per_second=9, in_flight=9))
        settle(installation.context, job, ended, DispatchResult(list(NextStep)[place % 4], delay=1000))
    shop.start()
    for job in jobs_of(installation.context):
        deliver(installation.context, job, POLICY)
    store = installation.context.store
    for place, call in enumerate(CallResult):
        store.health.observe(call, new_dispatch_id("00"), call, place)
    store.references.dispatch_of("first", ("unknown", "UNKNOWN"), "a receipt")
    store.references.remember("first", "known", new_dispatch_id("00"), 1_200_000)
    store.server.note_worker("worker", 15)


def test_after_everything_was_done_every_key_expires(
    frozen: FrozenValkey, installation: Installation, shop: Caller
) -> None:
    _everything(installation, shop)

    assert assert_all_keys_expire(frozen.client) > 30
    kinds = {name.decode().split(":")[2].split("/")[0] for name in frozen.client.scan_iter("otp:{00}:*")}
    assert {
        "v", "dispatch", "idempotency", "outbox", "queues", "events", "delayed", "dead", "number",
    } <= kinds  # fmt: skip
    all_kinds = {name.decode().split(":")[2] for name in frozen.client.scan_iter("otp:{*}:*")}
    assert {"health", "in_flight", "reference", "early"} <= all_kinds


def test_a_quarter_later_only_the_named_exceptions_are_left(
    frozen: FrozenValkey, installation: Installation, shop: Caller
) -> None:
    _everything(installation, shop)
    frozen.advance(91 * 24 * 3600)

    left = {name.decode() for name in frozen.client.scan_iter() if frozen.client.exists(name)}
    assert left - {keys.server("00")} == {  # on a cluster
        keys.INSTALLATION, keys.ACCESS, keys.mirror("00"), keys.events("00"), keys.queues("00"),
        *queues(frozen.client),
    }  # fmt: skip


@pytest.mark.parametrize("seconds", [299.999, 300, 300.001, 899.999, 900, 900.001, 1000])
def test_whatever_comes_late_makes_no_ghost(
    frozen: FrozenValkey, installation: Installation, shop: Caller, seconds: float
) -> None:
    """A key written after its record has expired would live for ever."""
    one, other = shop.start(retry=shop.retry("start", "start")), shop.start()
    code, context = shop.code(one), installation.context
    jobs = jobs_of(installation.context)
    made = [dispatched(context, job) for job in jobs]
    frozen.advance(seconds)
    late: list[Callable[[], Any]] = [
        lambda: settle(context, jobs[0], made[0], DispatchResult(NextStep.DONE, DeliveryStatus.SENT, reference="SM1")),
        lambda: settle(context, jobs[1], made[1], DispatchResult(NextStep.DEAD, DeliveryStatus.FAILED, reason="late")),
        lambda: report(context, made[0], "delivered"),
        lambda: dispatch(context, jobs[0]),
        lambda: shop.resend(one, shop.retry("resend", "resend")),
        lambda: shop.check(one, code, retry=shop.retry("check", "check")),
        lambda: shop.check(one, code, retry=shop.retry("check", "check")),
        lambda: shop.cancel(other, shop.retry("cancel", "cancel")),
        lambda: shop.start(retry=shop.retry("start", "start")),
    ]
    for act in late:
        with contextlib.suppress(OtpServiceError):
            act()
        assert_all_keys_expire(frozen.client)

    frozen.advance(601)
    assert not list(frozen.client.scan_iter("otp:{00}:v:*"))
    assert not list(frozen.client.scan_iter("otp:{00}:dispatch:*"))


def test_an_idempotency_key_that_is_gone_does_not_come_back(frozen: FrozenValkey, shop: Caller) -> None:
    ids = [shop.start(retry=shop.retry(f"start {place}", "start")) for place in range(3)]
    for name in frozen.client.scan_iter("otp:{00}:idempotency:*"):
        frozen.client.delete(name)
    shop.check(ids[0], shop.code(ids[0]))
    shop.cancel(ids[1])
    frozen.advance(300)
    shop.check(ids[2], "123456")

    assert not list(frozen.client.scan_iter("otp:{00}:idempotency:*"))
    assert_all_keys_expire(frozen.client)


def test_neither_a_guess_nor_a_resend_lengthens_a_life(
    frozen: FrozenValkey, installation: Installation, shop: Caller
) -> None:
    one = shop.start()
    record = keys.record("00", one)
    frozen.advance(100)
    shop.check(one, shop.wrong(one))
    shop.resend(one)
    (*_, job) = jobs_of(installation.context)
    deliver(installation.context, job, POLICY)
    assert frozen.client.pttl(record) == 800_000
    shop.check(one, shop.code(one))

    assert frozen.client.pttl(record) == 800_000
    assert all(frozen.client.pttl(name) <= 800_000 for name in frozen.client.scan_iter("otp:{00}:dispatch:*"))


def test_a_starts_idempotency_key_lives_for_a_day_and_the_others_as_long_as_the_record(
    frozen: FrozenValkey, shop: Caller
) -> None:
    def life(name: str, operation: str) -> int:
        return int(frozen.client.pttl(keys.idempotency("00", "shop", shop.retry(name, operation).key)))

    one = shop.start(retry=shop.retry("a", "start"))
    frozen.advance(10)
    shop.resend(one, shop.retry("b", "resend"))
    shop.check(one, shop.wrong(one), retry=shop.retry("c", "check"))
    shop.cancel(one, shop.retry("d", "cancel"))
    frozen.advance(10)
    shop.cancel(one, shop.retry("d", "cancel"))

    day = 24 * 3600 * 1000
    assert [life("a", "start"), life("b", "resend"), life("c", "check"), life("d", "cancel")] == [
        day - 20_000, 880_000, 880_000, 880_000,
    ]  # fmt: skip


DAY = 24 * 3600


@pytest.mark.parametrize(
    ("name", "kind", "seconds"),
    [
        ("otp:{00}:v:vf_1", "hash", None),
        ("otp:{00}:v:vf_1", "hash", 1300),
        ("otp:{00}:v:vf_1", "string", 1200),
        ("otp:{00}:number:somebody", "string", None),
        ("otp:{00}:number:somebody", "string", 91 * DAY),
        ("otp:{00}:idempotency:shop:key", "hash", 25 * 3600),
        ("otp:{00}:dead", "stream", None),
        ("otp:{00}:events", "stream", 60),
        ("otp:{00}:outbox:retry:shop", "stream", None),
        ("otp:{00}:outbox:retry:shop:PK:sms", "stream", 60),
        ("otp:{gateways}:health:first", "hash", None),
        ("otp:{gateways}:in_flight:first", "zset", None),
        ("otp:{gateways}:reference:first:abc", "string", None),
        ("otp:{gateways}:reference:first:abc", "string", 1300),
        ("otp:{gateways}:early:first:abc", "list", 700),
        ("otp:{00}:application_state:shop", "string", 3 * DAY),
        ("otp:{00}:unheard_of:somebody", "string", 60),
    ],
)
def test_the_watch_over_keys_sees_what_is_wrong(
    frozen: FrozenValkey, name: str, kind: str, seconds: int | None
) -> None:
    make_key(frozen.client, name, kind)
    if seconds is not None:
        frozen.client.expire(name, seconds)
    with pytest.raises(AssertionError, match=r"otp:"):
        assert_all_keys_expire(frozen.client)


@pytest.mark.parametrize("kind", all_keys(), ids=lambda kind: kind.pattern)
def test_the_watch_over_keys_lets_pass_what_is_right(frozen: FrozenValkey, kind: Key) -> None:
    name = re.sub("<[^>]+>", "x", kind.pattern.replace("<bucket>", "00"))
    longest = kind.life.longest({"streams": 7 * DAY, **guard_lives()})
    assert kinds_of(name) == (kind,)
    make_key(frozen.client, name, kind.type)
    if longest is not None:
        frozen.client.expire(name, longest)

    assert assert_all_keys_expire(frozen.client) == 1
