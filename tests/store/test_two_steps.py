"""A message that counts in other slots than its number's: reserved, decided by the number's slot, and given back."""

from functools import partial
from typing import Any
from unittest.mock import MagicMock

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_guard import SMS, approve, decisions, guarded, later, modes, number, passes, priced, refused, spent
from support_outbox import dispatch, dispatched, jobs_of, paced, settle
from support_rules import ABROAD, ADDRESS, MET, first, meeting

from otp_service import bootstrap
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.routing import CallResult, GatewayLimits
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import StoreUnavailableError
from otp_service.services.context import Context
from otp_service.services.events import count_codes, give_back
from otp_service.store import keys
from otp_service.store.outbox import Dropped, Job, NextStep, NoGatewayFree, Settlement
from otp_service.store.reserving import GatewayCall
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.store import open_store

BOUNDED = {"address": {"unapproved": ["2/day"]}, "block": {"unapproved": ["2/day"]}, "country": {"home": ["2/day"]}}
FRAUD = ("address.unapproved", "block.unapproved", "country.unapproved")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let addresses, blocks and applications be in other slots than numbers."""
    monkeypatch.setattr(bootstrap, "open_store", partial(open_store, shared_elsewhere=True, most_ahead=0))


def _break(monkeypatch: pytest.MonkeyPatch, script: str, *, after: bool, times: int = 1) -> None:
    """Let answers of a script be lost, ``after`` it has run or before."""
    run, left = ScriptRunner.run, [times]

    def lossy(self: ScriptRunner, name: str, of: tuple[str, ...], *given: Any) -> Any:
        if name != script or left[0] == 0:
            return run(self, name, of, *given)
        left[0] -= 1
        if after:
            run(self, name, of, *given)
        raise StoreUnavailableError("The answer was lost.")

    monkeypatch.setattr(ScriptRunner, "run", lossy)


def _record(shop: Caller) -> None:
    """Let follow what the recorder sees to."""
    for batch in shop.context.store.events.take("recorder", 1000):
        give_back(shop.context, batch)
        count_codes(shop.context, batch)
        shop.context.store.events.acknowledge(batch)


@pytest.mark.parametrize("rule", MET)
def test_every_rule_refuses_alike_wherever_its_subject_is(frozen: FrozenValkey, rule: str) -> None:
    shop = meeting(frozen, rule)
    _record(shop)

    assert refused(lambda: first(shop)) is not None
    assert decisions(shop)[-1].rule == rule


@pytest.mark.parametrize("rule", MET)
def test_a_rule_that_only_records_refuses_nothing(frozen: FrozenValkey, rule: str) -> None:
    shop = meeting(frozen, rule, "record_only")
    _record(shop)
    first(shop)

    assert (decisions(shop)[-1].rule, decisions(shop)[-1].mode) == (rule, "record_only")


def test_what_the_numbers_slot_refuses_is_given_back(frozen: FrozenValkey) -> None:
    shop = Caller(
        guarded(
            frozen,
            *("number.sends", "application.requests", *FRAUD),
            guard=BOUNDED,
            limits={"number": ["1/hour"], "application": ["4/hour"]},
        )
    )
    shop.start(number(1), client_ip=ADDRESS)
    for _ in range(5):
        assert refused(lambda: shop.start(number(1), client_ip=ADDRESS)) is not None

    assert refused(lambda: shop.start(number(2), client_ip=ADDRESS)) is None
    error = refused(lambda: shop.start(number(3), client_ip=ADDRESS))
    assert error is not None
    assert {hit.rule for hit in decisions(shop)[-1].rule_hits} == set(FRAUD)


def test_a_slot_that_has_no_room_counts_nothing(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "application.requests", limits={"application": ["2/hour"]}))
    assert [passes(shop, number(n)) for n in range(7)] == [True, True, *[False] * 5]
    later(frozen, 5400)

    assert passes(shop, number(8)), "two of the hour before count half by now"


def test_a_number_that_is_refused_stays_new_to_its_address(frozen: FrozenValkey) -> None:
    guard = {"address": {"numbers": ["2/day"]}}
    shop = Caller(guarded(frozen, "number.sends", "address.numbers", guard=guard, limits={"number": ["1/hour"]}))
    shop.start(number(1), client_ip="192.0.2.9")
    assert not passes(shop, number(1), client_ip=ADDRESS)
    later(frozen, 3601)

    assert [passes(shop, number(n), client_ip=ADDRESS) for n in (1, 2, 3)] == [True, True, False]


def test_a_country_that_an_address_was_known_for_stays_so_when_a_message_there_is_refused(frozen: FrozenValkey) -> None:
    guard = {"address": {"countries": ["2/day"]}, "destinations": {"safe": [number(9)]}}
    limits = {"number": ["1/hour"]}
    shop = Caller(guarded(frozen, "number.sends", "address.countries", guard=guard, limits=limits))
    shop.start(number(9), client_ip=ADDRESS)  # counts in no bucket: for the rules the address is new yet
    (address,) = frozen.client.scan_iter("otp:*:address:*")
    shop.start(number(1), client_ip="192.0.2.9")
    assert not passes(shop, number(1), client_ip=ADDRESS)

    assert b"PK," in (frozen.client.get(address) or b"")


def test_money_of_a_refused_message_is_given_back(frozen: FrozenValkey) -> None:
    shop = priced(
        frozen, {"PK": "2"}, guard={"modes": modes("number.sends", "spend.application")}, limits={"number": ["1/hour"]}
    )
    shop.start(number(1))
    for _ in range(3):
        assert refused(lambda: shop.start(number(1))) is not None

    assert spent(shop) == {"hour": 2.0}


def test_a_slot_that_has_no_room_for_the_price_counts_none_of_it(frozen: FrozenValkey) -> None:
    shop = priced(frozen, {"PK": "2", "GB": "1"}, spend={"hour": "3"})
    assert [passes(shop, number(n)) for n in range(4)] == [True, False, False, False]

    assert passes(shop, ABROAD)
    assert spent(shop) == {"hour": 3.0}


def test_a_known_number_counts_in_windows(frozen: FrozenValkey) -> None:
    rules = ("block.unapproved", "country.unapproved", "application.requests")
    shop = Caller(guarded(frozen, *rules, guard=BOUNDED, limits={"application": ["4/hour"]}))
    approve(shop, number(1))

    assert [passes(shop, number(1)) for _ in range(5)] == [True] * 3 + [False] * 2


def test_a_start_that_is_repeated_counts_once(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, *FRAUD, "application.requests", guard=BOUNDED, limits={"application": ["2/hour"]}))
    for _ in range(5):
        shop.start(number(1), shop.retry("once", "start"), client_ip=ADDRESS)

    assert refused(lambda: shop.start(number(2), client_ip=ADDRESS)) is None
    assert refused(lambda: shop.start(number(3), client_ip=ADDRESS)) is not None


def test_a_further_message_that_is_repeated_counts_once(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "application.requests", limits={"application": ["3/day"]}))
    one = shop.start(number(1))
    retry = shop.retry("a key", "resend")
    later(frozen, 60)

    assert shop.resend(one, retry).verification.sends == shop.resend(one, retry).verification.sends == 2
    assert [passes(shop, number(last)) for last in (2, 3)] == [True, False]


def test_a_known_number_counts_in_no_bucket_of_unapproved_messages(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "block.unapproved", "country.unapproved", guard=BOUNDED, purposes=SMS))
    approve(shop, number(1))
    for _ in range(5):
        shop.start(number(1))

    assert [passes(shop, number(2 + n)) for n in range(4)] == [True, True, True, False], (
        "an approval makes room for one more"
    )


def test_after_a_lost_answer_of_the_numbers_slot_nothing_is_given_back(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Caller(guarded(frozen, "application.requests", limits={"application": ["3/hour"]}))
    _break(monkeypatch, "start", after=False)
    with pytest.raises(StoreUnavailableError):
        shop.start(number(1))

    assert [passes(shop, number(2 + n)) for n in range(3)] == [True, True, False]


def test_where_one_slot_does_not_answer_the_others_give_back(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Caller(guarded(frozen, "application.requests", *FRAUD, guard=BOUNDED, limits={"application": ["3/hour"]}))
    run = ScriptRunner.run

    def lossy(self: ScriptRunner, name: str, of: tuple[str, ...], *given: Any) -> Any:
        answer = run(self, name, of, *given)
        if name == "reserve" and ":block:" in of[0]:
            raise StoreUnavailableError("The answer was lost.")
        return answer

    monkeypatch.setattr(ScriptRunner, "run", lossy)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            shop.start(number(1), client_ip=ADDRESS)
    monkeypatch.setattr(ScriptRunner, "run", run)

    assert refused(lambda: shop.start(number(1), client_ip=ADDRESS)) is not None
    assert {hit.rule for hit in decisions(shop)[-1].rule_hits} == {"block.unapproved"}, "whose unit leaked"


def test_a_bucket_follows_a_breaker_of_its_own_part_or_that_of_the_country(frozen: FrozenValkey) -> None:
    """So shared slots need no order: a block is told how the country's breaker stood last (include_findings.lua)."""
    context = guarded(frozen, "block.conversion", "country.conversion").context
    followed = {(one.part, one.breaker) for one in context.rulesets["shop"].ruleset.buckets if one.breaker}

    assert followed == {("block", "block"), ("country", "country"), ("block", "country")}


def test_a_block_learns_that_the_countrys_breaker_has_opened(frozen: FrozenValkey) -> None:
    conversion = {"sends": 5, "home_sends": 5, "rate": 0.9, "closed_for": 600, "home": "900/day", "home_block": "1/day"}
    shop = Caller(guarded(frozen, "country.conversion", guard={"conversion": conversion}))
    for last in range(12):
        passes(shop, number(last, "+92333777"))
        later(frozen, 60)
    later(frozen, 120)

    assert refused(lambda: shop.start(number(1))) is None
    assert refused(lambda: shop.start(number(2))) is not None, "the second of its block while the breaker is open"
    assert refused(lambda: shop.start(number(3, "+92321555"))) is None


@pytest.fixture
def job(frozen: FrozenValkey) -> tuple[Context, Job]:
    """A message that is to be delivered, which may be sent by several gateways."""
    return _started(Caller(frozen.world().install()))


def _started(shop: Caller) -> tuple[Context, Job]:
    shop.start()
    (one,) = jobs_of(shop.context)
    return shop.context, one


def test_a_gateway_is_left_that_the_numbers_slot_does_not_choose(job: tuple[Context, Job]) -> None:
    context, one = job
    bounds = {"first": paced(in_flight=1), "second": paced(in_flight=1)}
    failed = dispatched(context, one, **bounds)
    settle(context, one, failed, Settlement(NextStep.NEXT, DeliveryStatus.FAILED, reason="unavailable http 503"))
    context.store.health.observe("first", failed.dispatch_id, CallResult.WELL)
    made = dispatched(context, one, **bounds)

    assert (made.gateway, made.choice) == ("second", "fail_over")
    assert _in_flight(context, "first", "second") == [None, 1]


def test_a_message_that_is_not_wanted_leaves_the_gateway_to_the_next(frozen: FrozenValkey) -> None:
    shop, bounds = Caller(frozen.world().install()), paced(in_flight=1, per_second=1)
    context, unwanted = _started(shop)
    shop.cancel(unwanted.id)
    assert isinstance(dispatch(context, unwanted, first=bounds), Dropped)
    made = dispatched(*_started(shop), first=bounds)

    assert (made.gateway, made.choice) == ("first", "configured")
    assert dispatched(*_started(shop), first=bounds).choice == "limit"


def test_a_gateway_whose_server_does_not_answer_stops_no_other(
    job: tuple[Context, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, one = job
    _break(monkeypatch, "gateway_enter", after=False)
    made = dispatched(context, one)
    assert (made.gateway, made.choice) == ("second", "limit")

    _break(monkeypatch, "gateway_enter", after=False, times=2)
    found = dispatch(context, one)
    assert isinstance(found, NoGatewayFree)
    assert found.wait == 1000, "it is asked again a moment later"


def test_a_last_resort_is_entered_before_it_is_called(frozen: FrozenValkey) -> None:
    shop = Caller(frozen.world().install())
    for gateway in ("first", "second"):
        for _ in range(5):
            shop.context.store.health.observe(gateway, new_dispatch_id("00"), CallResult.BAD)
    made = [dispatched(*_started(shop)) for _ in range(2)]

    assert [(one.gateway, one.choice) for one in made] == [("first", "last_resort"), ("second", "last_resort")]


def _in_flight(context: Context, *gateways: str) -> list[int | None]:
    return [one.in_flight for one in context.store.health.of(gateways).values()]


def test_others_who_are_told_otherwise_do_not_make_a_message_assume_so(frozen: FrozenValkey) -> None:
    """Messages that were counted ahead find the breaker of their country as it stood up to a second ago."""
    shop = Caller(guarded(frozen, "block.conversion", "country.conversion"))
    shared = shop.context.store.shared
    assert shared
    shared._breakers = MagicMock(**{"get.return_value": "open"})

    assert passes(shop, number(1))


def test_abroad_counts_as_well(frozen: FrozenValkey) -> None:
    shop = Caller(guarded(frozen, "country.unapproved", guard={"country": {"unapproved": ["1/day"]}}))

    assert refused(lambda: shop.start(ABROAD)) is None
    assert refused(lambda: shop.start("+447400123457")) is not None


def test_a_number_that_two_ask_for_at_once_is_new_to_their_address_once(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that counted it as new is refused when the other one, which found it known, was sent."""
    guard = {"address": {"numbers": ["2/day"]}}
    shop = Caller(guarded(frozen, "number.sends", "address.numbers", guard=guard, limits={"number": ["1/hour"]}))
    run, asked = ScriptRunner.run, list[str]()

    def overtaken(self: ScriptRunner, name: str, *given: Any) -> Any:
        asked.append(name)
        if asked.count("start") == 1 and name == "start":
            frozen.advance(1)
            assert passes(shop, number(1), client_ip=ADDRESS)
        return run(self, name, *given)

    monkeypatch.setattr(ScriptRunner, "run", overtaken)

    assert not passes(shop, number(1), client_ip=ADDRESS)
    assert [passes(shop, number(n), client_ip=ADDRESS) for n in (2, 3)] == [True, False]


def test_what_is_settled_goes_back_to_the_hour_in_which_it_was_counted(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application counts a message in one hour, and its number's slot notes it in the next one."""
    shop = priced(frozen, {"*": "3"})
    run, hour = ScriptRunner.run, 3600

    def at_the_hour(self: ScriptRunner, name: str, *given: Any) -> Any:
        if name == "start":
            frozen.advance(hour)
        return run(self, name, *given)

    with monkeypatch.context() as patched:
        patched.setattr(ScriptRunner, "run", at_the_hour)
        shop.start(number(1))
    shop.start(number(2))
    first, *_ = jobs_of(shop.context)
    settle(
        shop.context,
        first,
        dispatched(shop.context, first, "first"),
        Settlement(NextStep.DONE, DeliveryStatus.SENT, cost=0),
    )

    assert spent(shop) == {"hour": 3.0}


def test_who_leaves_a_gateway_late_frees_no_turn_of_others(frozen: FrozenValkey) -> None:
    scripts, limits = ScriptRunner(frozen.client), GatewayLimits(per_second=1, in_flight=0, lease=1000, slow=1)
    late, other, next_one, after = (GatewayCall(scripts, f"dp_{place}") for place in range(4))
    assert late.enter("first", limits)
    frozen.advance(1.1)
    assert other.enter("first", limits)
    late.leave()
    assert not next_one.enter("first", limits)
    other.leave()

    assert after.enter("first", limits)


def _almost_closed(frozen: FrozenValkey) -> Caller:
    """Return a shop whose breakers open when they are judged next; the first number of each country is known."""
    conversion = {"sends": 5, "home_sends": 5, "rate": 0.9}
    shop = Caller(
        guarded(
            frozen,
            *("number.sends", "country.conversion"),
            guard={"conversion": conversion},
            applications={"shop": {"countries": ["PK", "GB"]}},
            limits={"number": ["2/day"]},
        )
    )
    for of in (_british, number):
        approve(shop, of(1))
        for last in range(2, 12):
            shop.start(of(last), shop.retry(f"once {of(last)}", "start"))
    shop.start(_british(2))
    _record(shop)
    later(frozen, 180)
    return shop


def _british(last: int) -> str:
    return f"+44740000{last:04}"


def _breaker(shop: Caller, country: str = "GB") -> Any:
    return shop.context.store.guard._read(keys.country("shop", country))[1]["b"]


def _changes(shop: Caller) -> list[tuple[str, str]]:
    return [(one.rule, one.mode) for one in decisions(shop) if one.kind == "change"]


def test_a_breaker_that_a_known_number_is_spared_is_not_judged_by_it(frozen: FrozenValkey) -> None:
    shop = _almost_closed(frozen)
    before = _breaker(shop)

    assert passes(shop, _british(1))
    assert (_breaker(shop), _changes(shop)) == (before, [])
    assert not passes(shop, _british(3))
    assert _changes(shop) == [("country.conversion", "open")]


def test_a_start_that_is_repeated_judges_no_breaker(frozen: FrozenValkey) -> None:
    shop = _almost_closed(frozen)
    before = _breaker(shop)

    shop.start(_british(3), shop.retry(f"once {_british(3)}", "start"))
    assert _breaker(shop) == before


def test_a_breaker_stays_as_it_was_judged_at_a_message_that_another_rule_refuses(frozen: FrozenValkey) -> None:
    shop = _almost_closed(frozen)

    assert not passes(shop, _british(2)), "number.sends"
    assert _changes(shop) == [("country.conversion", "open")]
    assert _breaker(shop)[7] > 0


def test_what_others_were_counted_for_in_a_breaker_is_kept(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, send_all = _almost_closed(frozen), ScriptRunner.send_all

    def late(self: ScriptRunner, calls: Any) -> None:
        monkeypatch.setattr(ScriptRunner, "send_all", send_all)
        assert passes(shop, number(20)), "the trickle of the home country"
        send_all(self, calls)

    monkeypatch.setattr(ScriptRunner, "send_all", late)
    assert passes(shop, number(1))

    assert _breaker(shop, "PK")[1] == 1
