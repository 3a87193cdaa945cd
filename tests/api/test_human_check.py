"""Newcomers under suspicion are asked for a human check before anybody is refused, or get a trickle."""

import pytest
from support_api import START, Api
from support_caller import Caller
from support_events import record_events
from support_guard import PERMISSIVE, decisions, guarded, modes, number, passes
from support_installation import tree
from support_outbox import forget_queues
from support_traffic import Newcomers

from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.tallies import TallyKind
from otp_service.services.start import HumanCheckResult
from otp_service.store import keys

PASSED = {"human_check": {"passed": True}}
CHECKED = {"human_check": HumanCheckResult(passed=True)}
RULE = "country.unknown_numbers"


def api_of(
    frozen, *rules, human_check="assertion", mode="enforce", guard=None, limits=None, client_ip="none", **others
):
    own = tree(frozen.url)["applications"]
    return Api(
        frozen.world(),
        guard={**(guard or {}), "modes": modes(*rules, mode=mode)},
        limits={**PERMISSIVE, **(limits or {})},
        purposes={"login": {"resend_delays": [0], "max_sends": 5, "channels": ["sms"]}},
        applications={**own, "shop": {**own["shop"], "client_ip": client_ip, "human_check": human_check}, **others},
    )


class Site:
    """A site whose newcomers are under suspicion."""

    def __init__(self, frozen, *others, within="", **how):
        self.api = api_of(frozen, RULE, *others, **how)
        self.people = Newcomers(frozen, self.api.installation)
        self.before = self.people.minutes(30, attack=8, within=within)

    def begin_an_interval(self):
        """Forget who was asked: what is counted only once is counted approximately, so there must be few."""
        frozen = self.people.frozen
        frozen.move_to((frozen.now // 600_000 + 1) * 600_000)
        self.people.judge.judge()

    def start(self, to=None, **members):
        answer = self.api.post(START, {"to": to or self.people.number(), **members})
        return "sent" if answer.status_code == 201 else answer.json["code"]


@pytest.fixture
def site(frozen):
    return Site(frozen)


def test_a_newcomer_is_asked_and_passes_with_the_check(site):
    to = site.people.number()
    asked = site.api.post(START, {"to": to})
    problem = asked.json

    assert (asked.status_code, problem["code"], problem["title"]) == (
        429, "human-check-required", "A human check is required"
    )  # fmt: skip
    assert 0 < int(asked.headers["Retry-After"]) <= 600, "a suspicion that nobody renews ends"
    assert site.api.installation.context.store.decisions.find(problem["decision"]).rule == RULE
    assert site.start(to, human_check={"passed": False}) == "human-check-required"
    assert site.start(to, **PASSED) == "sent"


def test_known_numbers_and_known_devices_pass_as_before(frozen):
    site = Site(frozen)
    known = site.people.number()
    site.people.come(known, approves=True, **CHECKED, context="phone")

    assert site.start(known) == "sent"
    assert site.start(known, context="phone") == "sent"
    assert site.start() == "human-check-required"


def test_the_safe_list_is_not_asked(frozen):
    safe = "+923009999999"
    site = Site(frozen, guard={"destinations": {"safe": [safe]}})

    assert site.start(safe) == "sent"


def test_who_started_before_is_not_asked_for_a_further_message(frozen):
    api = api_of(frozen, RULE)
    people = Newcomers(frozen, api.installation)
    while (answer := api.post(START, {"to": people.number()})).status_code == 201:
        last = answer.json["id"]
        people.minute(attack=8)

    assert api.post(f"{START}/{last}/resend").status_code == 202


def test_who_is_asked_costs_nothing_and_counts_nowhere_but_for_those_who_judge(site):
    def present():
        return {
            name for name in site.api.keys() if not any(one in name for one in (b"tallies", b"asked", b"decisions"))
        }

    site.begin_an_interval()
    before = present()
    assert [site.start() for _ in range(5)] == 5 * ["human-check-required"]

    assert present() == before
    assert asked_for(site) == 5


def asked_for(site):
    record_events(site.api.installation.context)
    tallies = site.api.installation.context.store.traffic.tallies("shop")[1]
    assert {one.kind for one in tallies} == {TallyKind.ASKED}
    return sum(tallies.values())


def test_a_number_that_is_asked_again_and_again_lets_no_alarm_stand(site):
    to = site.people.number()
    site.begin_an_interval()
    assert {site.start(to) for _ in range(9)} == {"human-check-required"}
    assert asked_for(site) == 1
    site.start()
    assert asked_for(site) == 2
    site.begin_an_interval()
    assert {site.start(to) for _ in range(9)} == {"human-check-required"}

    assert asked_for(site) == 1


def test_an_address_may_be_asked_as_often_as_it_may_start(frozen):
    site = Site(frozen, "address.starts", limits={"ip": ["7/10 minutes"]}, client_ip="connection")
    assert [site.start() for _ in range(10)] == 10 * ["human-check-required"]
    assert {hit.rule for hit in decisions(Caller(site.api.installation))[-1].rule_hits} == {RULE, "address.starts"}

    assert asked_for(site) == 1, "of an address one lets the alarm stand"
    (address,) = frozen.client.keys("*:address:*")
    assert 0 < frozen.client.pttl(address) <= 1_200_000
    frozen.advance(601)
    assert site.start() == "sent", "the last three were not counted, or they would still hold"


def test_of_an_ipv6_network_one_that_is_asked_counts(frozen):
    site = Site(frozen, client_ip="connection")
    site.begin_an_interval()
    came = [
        site.people.come(site.people.number(), approves=False, client_ip=f"2001:db8:1:{one}::1") for one in range(5)
    ]
    assert set(came) == {"human-check-required"}
    assert asked_for(site) == 1
    site.people.come(site.people.number(), approves=False, client_ip="2001:db8:2::1")

    assert asked_for(site) == 2


def test_an_application_is_asked_within_its_requests(frozen):
    site = Site(frozen, "application.requests", limits={"application": ["100/minute"]})
    frozen.advance(61)

    got = [site.start() for _ in range(103)]
    assert got == [*100 * ["human-check-required"], *3 * ["rate-limited"]]


def test_who_is_asked_because_a_block_is_full_is_no_attempt_twice(frozen):
    api = api_of(frozen, RULE, "block.unapproved")
    people = Newcomers(frozen, api.installation)
    for one in range(4):
        people.come(number(one), approves=False)
    assert api.post(START, {"to": number(5)}).json["code"] == "human-check-required"
    assert api.post(START, {"to": number(5), **PASSED}).status_code == 201
    record_events(people.context)

    counts = people.context.store.traffic.tallies("shop")[1]
    assert {one.kind for one in counts} == {TallyKind.MESSAGE, TallyKind.MONEY}


def test_a_start_that_another_rule_refuses_uses_up_nothing_of_the_trickle(frozen):
    site = Site(
        frozen,
        "country.conversion",
        human_check="none",
        guard={"conversion": {"home_sends": 20, "rate": 0.9, "closed_for": 60}},
    )
    for _ in range(60):
        site.people.minute(attack=8)
        _, row = site.people.context.store.guard._read(keys.country("00", "shop", "PK"))
        assert row["ltrickle"] <= max(1, row["ntrickle"] / 4)

    found = decisions(Caller(site.api.installation))
    assert any((one.kind, one.rule) == ("change", "country.conversion") for one in found)


def test_those_who_passed_are_counted_apart_and_the_alarm_stands_as_long_as_the_attack(site):
    for _ in range(40):
        got = site.people.minute(attack=8)
        assert set(got) == {"human-check-required"}
    site.people.minute(**CHECKED)

    assert site.people.learnt.whole.newcomers.alarm
    assert site.people.learnt.whole.checked.waiting == 2 * 2, "attempts and messages of two"


def test_an_attack_is_not_hidden_by_people_who_share_an_address_and_pass_the_check(frozen):
    site = Site(frozen, client_ip="connection")
    for minute in range(90):
        for place in range(2):
            site.people.come(site.people.number(), approves=False, client_ip=f"198.51.{minute}.{place}")
            to = site.people.number()
            assert site.people.come(to, approves=False, client_ip="192.0.2.1") == "human-check-required"
            site.people.come(to, approves=place == 0 or minute % 5 == 0, client_ip="192.0.2.1", **CHECKED)
        site.people.end_minute()

    assert site.people.learnt.whole.newcomers.alarm


def test_suspicion_ends_when_newcomers_approve_again(site):
    for _ in range(120):
        site.people.minute(**CHECKED)

    assert not site.people.learnt.whole.newcomers.alarm
    assert site.start() == "sent"


def test_who_is_asked_and_passes_is_one_attempt(frozen):
    site = Site(frozen, client_ip="connection")
    for minute in range(120):
        for place in range(2):
            to, address = site.people.number(), f"198.51.{minute}.{place}"
            site.people.come(to, approves=False, client_ip=address)
            site.people.come(to, approves=place == 0 or minute % 5 == 0, client_ip=address, **CHECKED)
        site.people.end_minute()

    assert not site.people.learnt.whole.newcomers.alarm


def test_an_attacker_who_passes_checks_and_does_not_approve_gets_the_trickle_too(site):
    for _ in range(40):
        site.people.minute(attack=8, **CHECKED)
    got = [site.start(**PASSED) for _ in range(30)]

    assert site.people.learnt.whole.checked.alarm
    assert set(got) <= {"sent", "rate-limited"}
    assert got.count("sent") <= 5


def test_an_application_that_cannot_ask_lets_a_trickle_pass_of_the_whole_country(frozen):
    site = Site(frozen, human_check="none")
    sent = 0
    for _ in range(60):
        got = [site.start(**PASSED) for _ in range(8)]
        assert set(got) <= {"sent", "rate-limited"}
        sent += got.count("sent")
        site.people.minute()

    assert 12 <= sent <= 30, "a quarter of those who usually approve in an hour"


def test_a_further_message_of_a_newcomer_takes_from_the_trickle(frozen):
    site = Site(frozen, human_check="none", within="92301")
    frozen.advance(580)  # the trickle has room again, and the suspicion stands
    to = site.people.number("92301")
    one = site.api.post(START, {"to": to}).json["id"]
    while site.start(site.people.number("92301")) == "sent":
        pass
    assert site.api.post(f"{START}/{one}/resend", {}).json["code"] == "rate-limited"
    other = site.api.post(START, {"to": site.people.number("92302")}).json["id"]

    assert site.api.post(f"{START}/{other}/resend", {}).status_code == 202


def test_who_was_known_at_the_start_gets_further_messages_though_they_make_him_a_stranger(frozen):
    site = Site(frozen, human_check="none", within="92301")
    to = site.people.number("92301")
    frozen.advance(580)  # the trickle has room again, and the suspicion stands
    site.people.come(to, approves=True)
    frozen.advance(1)
    one = site.api.post(START, {"to": to}).json["id"]
    while site.start(site.people.number("92301")) == "sent":
        pass
    further = [site.api.post(f"{START}/{one}/resend", {}).status_code for _ in range(4)]

    assert further == [202] * 4
    assert site.start(to) == "rate-limited", "after five messages in vain"


def test_a_trickle_that_only_recorded_refuses_nobody_for_days_when_it_is_enforced(frozen):
    site = Site(frozen, human_check="none", mode="record_only")
    assert {site.start() for _ in range(300)} == {"sent"}
    enforcing = api_of(frozen, RULE, human_check="none")
    site.people.minute()
    frozen.advance(600)
    site.people.judge.judge()

    assert enforcing.post(START, {"to": site.people.number()}).status_code == 201


def test_only_the_range_under_suspicion_is_asked(frozen):
    site = Site(frozen, within="92301")

    assert site.start(site.people.number("92301")) == "human-check-required"
    assert site.start(site.people.number("92302")) == "sent"


def test_a_rule_that_refuses_anyway_does_not_ask(frozen):
    api = api_of(frozen, RULE, "number.cooldown", guard={"number": {"cooldown": [600]}})
    people = Newcomers(frozen, api.installation)
    people.minutes(30, attack=8)
    to = people.number()
    assert api.post(START, {"to": to, **PASSED}).status_code == 201

    assert api.post(START, {"to": to}).json["code"] == "rate-limited"


def test_the_rule_can_only_record_or_be_off(frozen):
    site = Site(frozen, mode="record_only")
    assert site.start() == "sent"
    assert (RULE, "record_only") in {(one.rule, one.mode) for one in decisions(Caller(site.api.installation))}
    frozen.reset()
    off = Newcomers(frozen, guarded(frozen))
    off.minutes(30, attack=8)

    assert off.come(off.number(), approves=False) == "sent"
    assert RULE in GUARD_RULES


def test_unblock_lifts_it(site):
    site.api.installation.context.store.guard.forget_country("shop", "PK")

    assert site.start() == "sent"


# --- a block ---------------------------------------------------------------------------------------------------------


def test_strangers_who_fill_a_blocks_bucket_shut_nobody_out_who_passes_a_check(frozen):
    api = api_of(frozen, "block.unapproved")
    people = Newcomers(frozen, api.installation)
    assert [people.come(number(one), approves=False) for one in range(4)] == 4 * ["sent"]
    asked = api.post(START, {"to": number(5)}).json

    assert asked["code"] == "human-check-required"
    assert api.installation.context.store.decisions.find(asked["decision"]).rule == "block.unapproved"
    assert api.post(START, {"to": number(5), **PASSED}).status_code == 201


def test_those_who_passed_have_a_bucket_of_the_same_size_which_refuses(frozen):
    api = api_of(frozen, "block.unapproved")
    people = Newcomers(frozen, api.installation)
    assert [people.come(number(one), approves=False, **CHECKED) for one in range(5)] == [
        *4 * ["sent"], "rate-limited"
    ]  # fmt: skip
    assert people.come(number(6), approves=False) == "sent", "the others' is empty"


def test_the_bucket_of_those_who_passed_leaks_though_another_application_sends_there(frozen):
    guard = {"block": {"unapproved": ["4/hour"]}}
    api = api_of(
        frozen,
        "block.unapproved",
        guard=guard,
        bank={**tree(frozen.url)["applications"]["bank"], "human_check": "none"},
    )
    people, bank = Newcomers(frozen, api.installation), Caller(api.installation, "bank")
    assert {people.come(number(one), approves=False, **CHECKED) for one in range(4)} == {"sent"}
    for minute in range(6):
        forget_queues(frozen.client)
        frozen.advance(600)
        passes(bank, number(100 + minute))

    assert people.come(number(9), approves=False, **CHECKED) == "sent"


def test_an_approval_gives_back_to_the_bucket_that_counted_it_and_resends_count_there_too(frozen):
    api = api_of(frozen, "block.unapproved", guard={"block": {"unapproved": ["2/2 days"], "growth": [0]}})
    shop = Caller(api.installation)
    one = shop.start(number(1), **CHECKED)
    shop.resend(one)
    assert api.post(START, {"to": number(2), **PASSED}).json["code"] == "rate-limited"
    assert shop.check(one, shop.code(one))[1]
    record_events(shop.context)

    assert [api.post(START, {"to": number(turn), **PASSED}).status_code for turn in (2, 3, 4)] == [201, 201, 429]


def test_a_closed_block_lets_those_pass_who_passed_a_check(frozen):
    api = api_of(frozen, "block.conversion", guard={"conversion": {"sends": 5}})
    people = Newcomers(frozen, api.installation)
    for _ in range(4):
        for one in range(5):
            people.come(number(one), approves=False)
        frozen.client.delete(*frozen.client.keys("*outbox*"), "-")
        frozen.advance(60)
    assert api.post(START, {"to": number(9)}).json["code"] == "human-check-required"

    assert api.post(START, {"to": number(9), **PASSED}).status_code == 201


def test_who_cannot_ask_is_refused_as_before(frozen):
    api = api_of(frozen, "block.unapproved", human_check="none")
    people = Newcomers(frozen, api.installation)

    assert [people.come(number(one), approves=False) for one in range(5)] == [*4 * ["sent"], "rate-limited"]
    assert api.post(START, {"to": number(9), **PASSED}).json["code"] == "rate-limited"


@pytest.mark.parametrize(("human_check", "sent", "came_in"), [("none", 7, 0), ("assertion", 66, 48)])
def test_what_it_costs_to_keep_a_block_shut_for_two_days_and_who_comes_in(frozen, human_check, sent, came_in):
    """An attacker asks every ten minutes, somebody honest every hour; docs/performance/abuse.md has the figures."""
    api = api_of(frozen, "block.unapproved", "block.conversion", human_check=human_check)
    shop, got, honest = Caller(api.installation), 0, 0
    for turn in range(288):
        got += api.post(START, {"to": number(turn)}).status_code == 201
        if turn % 6 == 3:
            assert human_check == "assertion" or api.post(START, {"to": number(6000 + turn)}).status_code == 429
            answer = api.post(START, {"to": number(7000 + turn), **PASSED})
            if answer.status_code == 201:
                honest += shop.check(answer.json["id"], shop.code(answer.json["id"]))[1]
                record_events(shop.context)
        forget_queues(frozen.client)
        frozen.advance(600)

    assert (got, honest) == (sent, came_in)
