"""What the recorder counts is judged outside the hot path, once, by whichever worker's turn it is."""

from itertools import count

import pytest
from structlog.testing import capture_logs
from support_caller import Caller
from support_events import events_of, record_events
from support_frozen import START
from support_guard import approve, guarded, later, passes
from support_outbox import forget_queues
from support_traffic import Newcomers
from support_webhooks import endpoint

from otp_service.domain.newcomer_traffic import LASTING, CountryTraffic, PlaceTraffic
from otp_service.domain.tallies import Standing, TallyKind, tally
from otp_service.domain.webhooks import WebhookSlots
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.services import operator_actions
from otp_service.services.newcomer_traffic import TrafficJudge, report_traffic
from otp_service.store import keys
from otp_service.telemetry import metrics

NUMBER = "+923001234567"
FRESH = count(1)


def sample(name, **labels):
    return metrics.REGISTRY.get_sample_value(name, {"application": "shop", "country": "PK", **labels})


def counted(context):
    found = context.store.traffic.tallies("shop")[1]
    return {(one.number_prefix, one.standing, one.kind): count for one, count in found.items()}


def row(site, name):
    """Return what the country's row says; of a time how much of it is left."""
    now, values = site.context.store.guard._read(keys.country("00", "shop", "PK"))
    return values.get(name, 0) - (now if name == "tsuspicion" else 0)


def test_a_start_and_its_approval_are_counted_by_who_it_is_and_by_carrier_range(frozen):
    caller = Caller(guarded(frozen))
    approve(caller, NUMBER)
    caller.start("+923011234567")
    approve(caller, NUMBER)
    record_events(caller.context)

    assert counted(caller.context) == {
        ("92300", Standing.UNKNOWN, TallyKind.MESSAGE): 1,
        ("92300", Standing.UNKNOWN, TallyKind.MONEY): 0,
        ("92300", Standing.UNKNOWN, TallyKind.APPROVAL): 1,
        ("92301", Standing.UNKNOWN, TallyKind.MESSAGE): 1,
        ("92301", Standing.UNKNOWN, TallyKind.MONEY): 0,
        ("", Standing.KNOWN, TallyKind.MESSAGE): 1,
        ("", Standing.KNOWN, TallyKind.MONEY): 0,
        ("", Standing.KNOWN, TallyKind.APPROVAL): 1,
    }


def test_what_a_message_costs_is_counted_and_the_safe_list_is_nobodys(frozen):
    gateways = {"sandbox": {"kind": "sandbox", "prices": {"*": "2.50"}}}
    caller = Caller(guarded(frozen, gateways=gateways, guard={"destinations": {"safe": ["+923011234567"]}}))
    caller.start(NUMBER)
    approve(caller, "+923011234567")
    record_events(caller.context)

    assert counted(caller.context)[("92300", Standing.UNKNOWN, TallyKind.MONEY)] == 2_500_000
    assert {one for one, _, _ in counted(caller.context)} == {"92300"}


def test_what_further_messages_cost_is_counted(frozen):
    gateways = {"sandbox": {"kind": "sandbox", "prices": {"*": "2.50"}}}
    site = Newcomers(frozen, guarded(frozen, gateways=gateways))
    one = site.shop.start(site.number("92300"))
    for _ in range(2):
        site.shop.resend(one)
    site.record()

    assert counted(site.context) == {
        ("92300", Standing.UNKNOWN, TallyKind.MESSAGE): 1, ("92300", Standing.UNKNOWN, TallyKind.MONEY): 7_500_000
    }  # fmt: skip


def of_blocks(context, most=10):
    """Return what blocks took unapproved, in an hour and in a day, by the last digits of the block."""
    names = {context.keyring.block_pseudonym(f"+92300{last}"): str(last) for last in range(100, 1000)}
    found = context.store.traffic.busiest_blocks(context.store.decisions.now(), most)
    return {names[one.block]: (one.hour, one.day) for one in found}


def test_what_blocks_take_unapproved_is_counted_by_hours(frozen):
    frozen.move_to(START - START % 3_600_000)
    caller = Caller(guarded(frozen, guard={"destinations": {"safe": ["+923003339999"]}}))
    approve(caller, "+923002220001")
    caller.start("+923002220001")  # known
    approve(caller, "+923003339999")
    for last in range(4):
        caller.start(f"+92300333{last:04}")
    record_events(caller.context)
    assert of_blocks(caller.context) == {"333": (4, 4)}
    later(frozen, 5400)
    caller.start("+923005550001")
    record_events(caller.context)
    assert of_blocks(caller.context) == {"333": (2, 4), "555": (1, 1)}, "half of the hour before has passed"
    assert of_blocks(caller.context, 1) == {"333": (2, 4)}
    later(frozen, 23 * 3600)

    assert of_blocks(caller.context) == {"333": (0, 2), "555": (0, 1)}


def test_an_approval_takes_its_start_off_its_block_once_and_in_its_hour(frozen):
    frozen.move_to(START - START % 3_600_000 + 3_599_000)
    caller = Caller(guarded(frozen))
    ones = [caller.start(f"+92300333{last:04}") for last in range(3)]
    record_events(caller.context)
    frozen.advance(60)
    for _ in range(2):
        caller.check(ones[0], caller.code(ones[0]))
        record_events(caller.context)

    assert of_blocks(caller.context)["333"][1] == 2
    assert frozen.client.ttl(keys.blocks("00", frozen.now // 3_600_000 - 1)) > 0
    assert not frozen.client.exists(keys.blocks("00", frozen.now // 3_600_000))


def test_one_number_whose_codes_are_all_typed_in_approves_once(frozen):
    """Otherwise who owns a number could hide four messages more behind it."""
    caller = Caller(guarded(frozen))
    ones = [caller.start("+923003330001") for _ in range(3)]
    for one in ones:
        caller.check(one, caller.code(one))
    record_events(caller.context)

    assert counted(caller.context)["92300", Standing.UNKNOWN, TallyKind.MESSAGE] == 3
    assert counted(caller.context)["92300", Standing.UNKNOWN, TallyKind.APPROVAL] == 1
    assert of_blocks(caller.context) == {"333": (2, 2)}


def test_who_types_wrong_codes_is_counted_as_who_types_none(frozen):
    caller = Caller(guarded(frozen, "block.unapproved", guard={"block": {"unapproved": ["2/2 days"]}}))
    one = caller.start("+923003330001")
    while caller.read(one).verification.status == "pending":
        caller.check(one, caller.wrong(one))
    caller.start("+923003330002")
    record_events(caller.context)

    assert counted(caller.context) == {
        ("92300", Standing.UNKNOWN, TallyKind.MESSAGE): 2,
        ("92300", Standing.UNKNOWN, TallyKind.MONEY): 0,
    }
    assert of_blocks(caller.context) == {"333": (2, 2)}
    assert not passes(caller, "+923003330003")


def test_of_an_hour_a_bounded_number_of_blocks_is_kept(frozen, monkeypatch):
    monkeypatch.setattr("otp_service.store.newcomer_traffic._MAX_BLOCKS", 2)
    caller = Caller(guarded(frozen))
    for last in (333, 333, 444, 555, 555, 555):
        caller.start(f"+92300{last}{next(FRESH):04}")
    record_events(caller.context)

    assert of_blocks(caller.context) == {"333": (2, 2), "555": (3, 3)}


def test_the_ledger_gets_nothing_of_it(frozen):
    caller = Caller(guarded(frozen))
    approve(caller, NUMBER)
    record_events(caller.context)
    past = caller.context.ledger.subjects.export(caller.context.keyring.pseudonym(NUMBER), "shop").verifications

    assert {"guard", "created", "attempt"}.isdisjoint(name for one in past[0].events for name in one)


def test_an_attack_is_told_and_newcomers_come_under_suspicion(frozen):
    site = Newcomers(frozen)
    with capture_logs() as lines:
        site.minutes(20)
        assert not [line for line in lines if line["event"].startswith("unknown_numbers")]
        assert row(site, "tsuspicion") <= 0
        site.minutes(40, attack=8)
    told = next(line for line in lines if line["event"] == "unknown_numbers_unusual")

    assert (told["application"], told["country"], told["number_prefix"]) == ("shop", "PK", "")
    assert (told["whose"], told["cause"]) == ("unknown_numbers", "unknown_numbers")
    assert 0 < row(site, "tsuspicion") <= 600_000
    assert row(site, "ntrickle") == pytest.approx(72 / 4, abs=4)
    assert row(site, "lusual") == pytest.approx(1728, rel=0.05)
    assert sample("otp_service_unknown_number_alarms", cause="unknown_numbers") == 1
    assert sample("otp_service_unknown_number_alarms", cause="delivery") == 0


def test_a_quiet_hour_and_an_attacked_one_do_not_look_alike(frozen):
    site = Newcomers(frozen)
    site.minutes(60)
    (quiet, _) = next(report_traffic(site.context)).passed
    site.minutes(60, attack=8)
    (hour, day) = next(report_traffic(site.context)).passed

    assert quiet.messages == pytest.approx(quiet.usual, rel=0.6)
    assert hour.messages > 5 * hour.usual
    assert day.messages > quiet.messages + 300
    assert sample("otp_service_unapproved_messages", window="hour") == pytest.approx(hour.messages, rel=0.01)
    assert sample("otp_service_unapproved_messages_usual", window="day") == pytest.approx(day.usual, rel=0.01)


def test_an_attack_on_one_range_is_told_of_it_and_its_newcomers_alone_are_under_suspicion(frozen):
    site = Newcomers(frozen)
    site.minutes(30, attack=6, within="92301")
    shown = [(one.number_prefix, one.alarmed_since > 0) for one in report_traffic(site.context)]
    tail = frozen.client.get(keys.country("00", "shop", "PK")).rpartition(b"92301 ")[2].split(b"\n")[0].split()

    assert shown == [("", False), ("92301", True)]
    assert row(site, "tsuspicion") <= 0
    assert int(tail[0]) > frozen.now


def test_a_suspicion_that_nobody_renews_ends_by_its_time(frozen):
    site = Newcomers(frozen)
    site.minutes(30, attack=8)
    assert row(site, "tsuspicion") > 0
    frozen.advance(601)

    assert row(site, "tsuspicion") < 0


def test_what_a_country_is_told_outlives_what_its_last_start_left_there(frozen):
    site = Newcomers(frozen, guarded(frozen, "country.unapproved"))
    site.minutes(2)
    forgotten = row(site, "ends") - frozen.now
    frozen.advance((forgotten - 60_000) / 1000)
    site.judge.judge()
    usual = row(site, "lusual")
    frozen.advance(120)

    assert row(site, "lusual") == usual > 0


def test_events_of_a_clock_that_was_ahead_blind_nobody(frozen):
    site = Newcomers(frozen)
    site.minutes(2)
    before = frozen.now
    frozen.advance(86_400)
    site.minute()
    forget_queues(frozen.client)
    frozen.move_to(before)  # from now on events keep the time of that minute
    site.minutes(30, attack=8)

    assert site.learnt.whole.newcomers.alarm


def test_what_a_later_release_has_learnt_stops_nobody(frozen):
    site = Newcomers(frozen)
    site.minute()
    frozen.client.hset(keys.traffic("shop"), "GB", b"\x63" + bytes(800))
    TrafficJudge(site.context, "judge").judge()
    with capture_logs() as lines:
        TrafficJudge(site.context, "judge").judge()

    assert [(one["event"], one["application"]) for one in lines] == [("traffic_unreadable", "shop")]


def test_it_is_judged_no_further_than_all_is_recorded(frozen):
    """A recorder that hangs, or a ledger that is away: what is missing must not look like an attack."""
    site = Newcomers(frozen)
    site.minutes(10)
    held = [site.come(site.number(), approves=True) for _ in range(50)]
    taken = events_of(site.context)  # by a recorder that hangs
    site.context.store.traffic.add("00", {})
    before = site.learnt.minute, site.context.store.events.counted_until()
    frozen.advance(1800)
    site.judge.judge()

    assert held
    assert taken
    assert site.context.store.events.counted_until() == before[1] < frozen.now - 1_000_000
    assert not site.learnt.whole.newcomers.alarm
    site.record()
    site.judge.judge()
    assert site.context.store.events.counted_until() == frozen.now
    assert not site.learnt.whole.newcomers.alarm


def test_a_step_is_taken_once_whoever_takes_it(frozen):
    site = Newcomers(frozen)
    site.come(site.number(), approves=False)
    site.record()
    store, ruleset = site.context.store.traffic, site.context.rulesets["shop"]
    version, tallies = store.tallies("shop")

    assert store.commit("shop", version, {}, tallies, (), ruleset)
    assert not store.commit("shop", version, {}, tallies, (), ruleset)
    assert store.tallies("shop") == (str(int(version) + 1), {})


def test_what_is_counted_while_a_step_is_taken_is_left_for_the_next(frozen):
    site = Newcomers(frozen)
    store, ruleset = site.context.store.traffic, site.context.rulesets["shop"]
    for _ in range(3):
        site.come(site.number("92300"), approves=False)
    site.record()
    version, tallies = store.tallies("shop")
    for _ in range(2):
        site.come(site.number("92300"), approves=False)
    site.record()

    assert store.commit("shop", version, {}, tallies, (), ruleset)
    assert counted(site.context)[("92300", Standing.UNKNOWN, TallyKind.MESSAGE)] == 2


def test_a_worker_that_dies_before_a_step_is_kept_leaves_it_to_the_next(frozen, monkeypatch):
    site = Newcomers(frozen)
    before = site.learnt.whole.newcomers.waiting // 2  # they began in this hour, and are not ripe
    commit = type(site.context.store.traffic).commit

    def away(*_):
        raise StoreUnavailableError("away")

    site.minutes(5, attack=3)
    monkeypatch.setattr(type(site.context.store.traffic), "commit", away)
    with pytest.raises(StoreUnavailableError):
        site.minute(attack=3)
    monkeypatch.setattr(type(site.context.store.traffic), "commit", commit)
    twin = TrafficJudge(site.context, "twin")
    frozen.advance(16)
    twin.judge()
    for _ in range(8):
        frozen.advance(60)
        twin.judge()

    assert site.context.store.traffic.tallies("shop")[1] == {}
    assert site.learnt.whole.usual.hour_started == before + 6 * (2 + 3)


def test_one_worker_judges_at_a_time_and_another_when_it_has_gone(frozen):
    site = Newcomers(frozen)
    store = site.context.store.traffic

    assert store.lead("one")
    assert not store.lead("two")
    frozen.advance(10)
    assert store.lead("one")
    frozen.advance(16)
    assert store.lead("two")


def test_who_lost_the_lease_tells_nothing_any_more(frozen):
    site = Newcomers(frozen)
    site.minutes(2)
    assert sample("otp_service_unknown_number_alarms", cause="unknown_numbers") == 0
    frozen.client.set(keys.JUDGE, "another")
    site.judge.judge()

    assert sample("otp_service_unknown_number_alarms", cause="unknown_numbers") is None


def test_an_event_that_is_seen_twice_moves_no_share(frozen):
    site = Newcomers(frozen)
    site.minutes(5)
    for _ in range(100):
        site.come(site.number(), approves=True)
        site.come(site.number(), approves=False)
    (batch,) = events_of(site.context)
    for _ in range(2):
        site.context.store.traffic.add(batch.bucket, tally(batch.events))
    site.context.store.events.acknowledge(batch)
    site.minutes(20)

    assert not site.learnt.whole.newcomers.alarm


def test_unblocking_a_country_ends_its_alarm(frozen):
    site = Newcomers(frozen)
    site.minutes(30, attack=8)
    assert site.learnt.whole.newcomers.alarm
    restriction = operator_actions.country_restriction(site.context, "shop", "PK")
    assert operator_actions.unblock(site.context, restriction, "root")
    assert row(site, "tsuspicion") <= 0
    site.minute()

    assert not site.learnt.whole.newcomers.alarm
    assert row(site, "tsuspicion") <= 0
    site.minutes(10)
    assert not site.learnt.whole.newcomers.alarm, "raised again by what had come before"


def test_what_was_told_before_a_reload_is_dropped(frozen):
    site = Newcomers(frozen)
    site.minutes(30, attack=8)
    assert sample("otp_service_unknown_number_alarms", cause="unknown_numbers") == 1
    TrafficJudge(site.context, "the same process, reloaded").judge()

    assert sample("otp_service_unknown_number_alarms", cause="unknown_numbers") is None


def test_a_change_that_lasts_is_told_as_one_and_not_as_good_news(frozen):
    site = Newcomers(frozen)
    site.minutes(30, attack=8)
    own = site.judge._learnt["shop"].countries["PK"].whole
    own.newcomers.alarm.raised -= LASTING
    with capture_logs() as lines:
        site.minutes(30, attack=8)
    told = next(line for line in lines if line["event"] == "unknown_numbers_change_taken_for_usual")

    assert (told["log_level"], told["why"]) == ("warning", "rebased")


def test_an_alarm_and_its_end_are_told_by_webhooks_also_when_the_ledger_was_away(frozen, monkeypatch):
    site = Newcomers(frozen)
    endpoint(site.context.ledger, "alarm")
    add, away = type(site.context.ledger.webhook_outbox).add, [True] * 3

    def add_later(*arguments):
        if away and away.pop():
            raise LedgerUnavailableError("away")
        add(*arguments)

    monkeypatch.setattr(type(site.context.ledger.webhook_outbox), "add", add_later)
    site.minutes(30, attack=8)
    site.judge._learnt["shop"].countries["PK"].whole.newcomers.alarm.raised -= LASTING
    site.minutes(30, attack=8)
    told = sorted(site.context.ledger.webhook_outbox.claim(WebhookSlots(20), 1000, 4), key=lambda one: one.sequence)

    assert away == []
    assert [one.webhook.type for one in told[:2]] == ["alarm.raised", "alarm.ended"]
    assert told[0].webhook.details == {"country": "PK", "number_prefix": "", "cause": "unknown_numbers"}
    assert b'"number_prefix"' not in told[0].webhook.body(1)


def test_thousands_of_carrier_ranges_are_kept_in_one_step(frozen):
    site = Newcomers(frozen)
    whole, ranges = site.learnt.whole, {f"92{place:04}": PlaceTraffic() for place in range(9000)}
    version = site.context.store.traffic.tallies("shop")[0]
    ruleset = site.context.rulesets["shop"]
    assert site.context.store.traffic.commit(
        "shop", version, {"PK": (CountryTraffic(whole, ranges), ranges)}, {}, (), ruleset
    )

    assert len(site.context.store.traffic.learnt("shop")[1]["PK"].ranges) >= 9000


def test_messages_that_do_not_arrive_are_told_as_such_and_nobody_is_suspected(frozen):
    site = Newcomers(frozen, rate=8)
    known = [site.number() for _ in range(8)]
    for one in known:
        site.come(one, approves=True)
    for _ in range(40):
        for one in known:
            site.come(one, approves=False)
        site.minute(attack=16)

    assert sample("otp_service_unknown_number_alarms", cause="delivery") >= 1
    assert row(site, "tsuspicion") <= 0
