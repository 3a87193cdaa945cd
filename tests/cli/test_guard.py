"""``otp-service guard status``, ``explain``, ``unblock`` and ``rules``, on a real Valkey."""

import json
from collections import Counter
from typing import Any

import pytest
from support_caller import Caller
from support_cli import configured, run
from support_events import record_events
from support_guard import ADDRESS, PERMISSIVE, learn_block, modes, number, passed, passes, refused, spent
from support_installation import tree
from support_traffic import Newcomers

from otp_service.bootstrap import install
from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.newcomer_traffic import CountryTraffic
from otp_service.errors import UnacceptableError
from otp_service.settings import load_settings

RULESET: dict[str, Any] = {
    "address": {"unapproved": ["2/hour"], "network": ["3/day"]},
    "block": {"unapproved": ["2/2 days"]},
    "country": {"home": ["2/day"], "unapproved": ["2/day"]},
    "number": {"cooldown": [600], "guess_waits": [600], "lock_after": 10},
}
HEADINGS = ("Rule\t", "At\t", "Application\t", "Block\t")
PRICED = {"sandbox": {"kind": "sandbox", "timeout": 1.0, "prices": {"*": "1.25"}}}


def configure(frozen, folder, *rules, **sections):
    own = tree(frozen.url)["applications"]
    spend = sections.pop("spend", {})
    sections.setdefault("guard", {**RULESET, "modes": modes(*rules)})
    return configured(
        folder,
        frozen.url,
        limits={**PERMISSIVE, **sections.pop("limits", {})},
        purposes={"login": {"resend_delays": [0], "max_sends": 5, "channels": ["sms"]}},
        gateways=PRICED,
        applications={**own, "shop": {**own["shop"], "spend": spend}},
        **sections,
    )


def caller(environ):
    return Caller(install(load_settings(environ=environ)))


def guard(*arguments, environ):
    result = run("guard", *arguments, environ=environ)
    assert result.exit_code == 0, result.output
    return result


def rows(text):
    return [line.split("\t") for line in text.splitlines() if not line.startswith(HEADINGS)]


def test_the_list_of_rules_tells_each_with_its_mode_and_what_it_does_without_redis(tmp_path):
    environ = configured(tmp_path, "redis://127.0.0.1:1/0", guard={"modes": {"block.unapproved": "record_only"}})
    told = {row[0]: row[1:] for row in rows(guard("rules", environ=environ).output)}

    assert told.keys() == GUARD_RULES.keys()
    assert told["block.unapproved"] == ["record only", "refuses", GUARD_RULES["block.unapproved"].sentence]
    assert told["application.failures"][0] == "record only"
    assert told["destination.country"][:2] == ["enforce", "decides"]
    assert all(cells[1] == "refuses" for rule, cells in told.items() if not rule.startswith("destination."))


def test_status_of_an_installation_where_nothing_happened(frozen, tmp_path):
    result = guard("status", environ=configure(frozen, tmp_path))

    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "Refused in the last 1 d, or would have been: nothing.",
        "Breakers and alarms: nothing.",
        "Passed unapproved to first-time numbers, about: nothing.",
        "Blocks of 10,000 numbers that most passed to unapproved: nothing.",
        "Closed now: nothing.",
        "Spent: nothing.",
    ]


def test_status_counts_refusals_by_rule_mode_application_and_country(frozen, tmp_path):
    kept = {**modes("block.unapproved", "destination.country"), "country.unapproved": "record_only"}
    environ = configure(frozen, tmp_path, guard={**RULESET, "modes": kept})
    shop = caller(environ)
    assert passed(shop, number(1), 5) == 2
    with pytest.raises(UnacceptableError):
        shop.start("+33612345678")
    assert passed(shop, "+447400123456", 1) == 1
    assert passed(shop, "+447400223456", 2) == 2
    told = {tuple(row[:4]): row[4:] for row in rows(guard("status", environ=environ).stdout)}

    (last,) = [row[-1] for row in rows(guard("status", environ=environ).stdout) if row[0] == "block.unapproved"]
    assert told[("block.unapproved", "enforce", "shop", "PK")] == ["3", "2026-11-18 11:06:40", last]
    assert "It refused." in guard("explain", last, environ=environ).output
    assert told[("destination.country", "enforce", "shop", "FR")][0] == "1"
    assert told[("country.unapproved", "record only", "shop", "GB")][0] == "1"
    assert len(told) == 3


def test_status_looks_back_as_far_as_it_is_told(frozen, tmp_path):
    environ = configure(frozen, tmp_path, "block.unapproved")
    passed(caller(environ), number(1), 3)
    frozen.advance(2 * 3600)

    assert "block.unapproved" in guard("status", "--hours", "3", environ=environ).stdout
    assert "block.unapproved" not in guard("status", "--hours", "1", environ=environ).stdout


def test_status_tells_from_when_on_decisions_are_kept(frozen, tmp_path):
    kept = {**RULESET, "modes": modes("block.unapproved"), "decisions": 1000}
    environ = configure(frozen, tmp_path, guard=kept)
    decisions = caller(environ).context.store.decisions
    for _ in range(1000):
        decisions.note("00", "destination.country", "shop", "login", "FR")

    told = guard("status", environ=environ).stderr.splitlines()[0]
    assert told == "No more than 1,000 decisions are kept or looked at (guard.decisions), since 2026-11-18 11:06:40."


def test_status_tells_what_is_spent_and_what_is_closed(frozen, tmp_path):
    frozen.move_to(frozen.now - frozen.now % 60_000)
    kept = {**RULESET, "modes": modes("country.conversion", "spend.application"), "conversion": {"sends": 5}}
    environ = configure(frozen, tmp_path, guard=kept, spend={"day": "100"})
    shop = caller(environ)
    for turn in range(5):
        frozen.client.delete(*frozen.client.keys("*outbox*"), "-")
        for place in range(3):
            passes(shop, f"+447400{turn}{place}3456")
        frozen.advance(60)
    result = guard("status", environ=environ)
    table = rows(result.stdout)

    assert ["2026-11-18 11:09:00", "country.conversion", "shop", "GB", "-", "open", "2026-11-18 11:24:00"] in table
    assert ["shop", "GB", "enforce", "13 min", "1"] in table
    assert ["shop", "all", "day", "11.25", "100.00", "PKR"] in table


# --- explain ------------------------------------------------------------------------------------------------


def test_a_decision_that_the_api_told_is_explained_with_counts_and_until_when(frozen, tmp_path):
    environ = configure(frozen, tmp_path, "block.unapproved", "number.cooldown")
    shop = caller(environ)
    shop.start(number(1))
    shop.start(number(2))
    decision = refused(lambda: shop.start(number(2))).decision

    assert guard("explain", decision, environ=environ).output.splitlines() == [
        "2026-11-18 11:06:40  start of shop, login, PK, from no known context",
        f"  decision {decision}",
        f"  block.unapproved: {GUARD_RULES['block.unapproved'].sentence}",
        "    It refused.",
        "    Counted: 2 of 2 in 2 d.",
        "    For 1 d from then.",
        f"  number.cooldown: {GUARD_RULES['number.cooldown'].sentence}",
        "    It refused.",
        "    In a row: 1.",
        "    For 10 min from then.",
    ]


def test_a_verification_is_explained_by_all_that_rules_said_of_it(frozen, tmp_path):
    kept = {**modes("number.guess_wait"), "number.cooldown": "record_only"}
    environ = configure(frozen, tmp_path, guard={**RULESET, "modes": kept})
    shop = caller(environ)
    shop.start(number(1))
    one = shop.start(number(1))
    shop.check(one, shop.wrong(one))
    shop.check(one, shop.code(one))
    told = guard("explain", one, environ=environ).output

    assert told.count(f"verification {one}") == 2
    assert "start of shop" in told
    assert "It only records: it would have refused." in told
    assert "check of shop" in told
    assert told.index("number.cooldown") < told.index("number.guess_wait")


def test_money_is_explained_in_its_currency(frozen, tmp_path):
    environ = configure(frozen, tmp_path, "spend.application", spend={"hour": "3"})
    shop = caller(environ)
    assert passed(shop, number(1), 2) == 2
    decision = refused(lambda: shop.start(number(1))).decision

    assert "Spent: 2.50 of 3.00 PKR in 1 h." in guard("explain", decision, environ=environ).output


def test_a_destination_that_was_refused_is_explained(frozen, tmp_path):
    environ = configure(frozen, tmp_path, "destination.country")
    with pytest.raises(UnacceptableError) as error:
        caller(environ).start("+33612345678")

    told = guard("explain", error.value.decision, environ=environ).output.splitlines()
    assert told[2:] == [f"  destination.country: {GUARD_RULES['destination.country'].sentence}", "    It refused."]


@pytest.mark.parametrize("name", ["1-1", "nonsense", "vf_k1_00" + "0" * 32])
def test_what_nobody_knows_is_told_as_unknown(frozen, tmp_path, name):
    result = run("guard", "explain", name, environ=configure(frozen, tmp_path))

    assert (result.exit_code, result.output) == (
        1,
        f"Error: No decision found for {name}: not refused, or expired.\n",
    )


# --- unblock ------------------------------------------------------------------------------------------------

FORMS = {
    "number.cooldown": ("--number", number(1)),
    "block.unapproved": ("--block-of", number(9)),
    "country.unapproved": ("--country", "shop", "pk"),
    "address.unapproved": ("--address", ADDRESS),
}


@pytest.mark.parametrize("rule", FORMS)
def test_each_form_of_unblock_forgets_its_own_and_nothing_else(frozen, tmp_path, rule):
    environ = configure(frozen, tmp_path, rule)
    shop = caller(environ)
    first = passed(shop, number(1), 3, client_ip=ADDRESS)
    for other, arguments in FORMS.items():
        if other != rule:
            guard("unblock", *arguments, "--yes", environ=environ)
    assert not passes(shop, number(1), client_ip=ADDRESS)
    result = guard("unblock", *FORMS[rule], "--yes", environ=environ)

    assert result.stdout == "Lifted. The counters start from zero.\n"
    (told,) = [row for row in rows(guard("status", environ=environ).stdout) if row[-2:-1] == ["lifted"]]
    assert told[2:4] == (["shop", "PK"] if rule.startswith("country.") else ["-", "-"])
    assert passed(shop, number(1), 3, client_ip=ADDRESS) == first


def test_unblocking_an_ipv6_address_frees_its_48_too(frozen, tmp_path):
    environ = configure(frozen, tmp_path, "address.network")
    shop = caller(environ)
    assert sum(passes(shop, number(1), client_ip=f"2001:db8:1:{last}::1") for last in range(9)) == 3
    guard("unblock", "--address", "2001:db8:1:1::1", "--yes", environ=environ)

    assert passes(shop, number(1), client_ip="2001:db8:1:5::1")


def test_unblock_forgets_neither_who_is_known_nor_what_was_spent(frozen, tmp_path):
    environ = configure(frozen, tmp_path, "number.cooldown", "spend.application", spend={"day": "5"})
    shop = caller(environ)
    one = shop.start(number(1), context="own phone")
    shop.check(one, shop.code(one))
    for arguments in FORMS.values():
        guard("unblock", *arguments, "--yes", environ=environ)

    assert spent(shop) == {"day": 1.25}
    shop.start(number(1))
    assert passes(shop, number(1), context="own phone"), "it has waits of its own, so it is known"


def test_unblock_asks_first_and_says_when_there_was_nothing(frozen, tmp_path):
    environ = configure(frozen, tmp_path, "number.cooldown")
    shop = caller(environ)
    shop.start(number(1))

    assert run("guard", "unblock", "--number", number(1), environ=environ, stdin="n\n").exit_code == 1
    assert not passes(shop, number(1))
    assert (
        guard("unblock", "--number", number(2), "--yes", environ=environ).output
        == "Nothing to lift: the counters are empty.\n"
    )


@pytest.mark.parametrize("arguments", [(), ("--number", number(1), "--address", ADDRESS), ("--address", "nowhere")])
def test_unblock_takes_exactly_one_thing_that_makes_sense(frozen, tmp_path, arguments):
    assert run("guard", "unblock", *arguments, "--yes", environ=configure(frozen, tmp_path)).exit_code == 2


def test_status_shows_what_passes_unapproved_by_country_and_range_against_what_is_usual(frozen, tmp_path):
    site = Newcomers(frozen, install(load_settings(environ=configure(frozen, tmp_path))))
    environ = configure(frozen, tmp_path)
    site.minutes(30, attack=6, within="92301")
    quiet, busy = Counter(), Counter()
    for row in rows(guard("status", environ=environ).stdout):
        if row[0] not in {"shop", "bank"}:
            continue  # a block, or the alarm
        name, country, number_prefix, window, messages, usual, cost, *_, alarm = row
        assert (name, country) == ("shop", "PK")
        quiet[number_prefix, window], busy[number_prefix, window] = int(usual), int(messages)
        assert (alarm != "-") == (number_prefix == "92301")
        assert float(cost) > 0

    assert set(busy) == {(place, window) for place in ("all", "92301") for window in ("hour", "day")}
    assert all(busy["92301", window] > quiet["92301", window] + 50 for window in ("hour", "day"))


def section(name, environ, *options):
    """Return a section of the status, as it is in JSON."""
    return json.loads(guard("status", "--json", *options, environ=environ).stdout)[name]


def test_status_names_an_alarm_for_as_long_as_it_stands(frozen, tmp_path):
    site = Newcomers(frozen, install(load_settings(environ=configure(frozen, tmp_path))))
    environ = configure(frozen, tmp_path)
    site.minutes(30, attack=6, within="92301")
    (told,) = section("changes", environ)
    told_again = guard("status", "--hours", "1", environ=environ)

    assert (told["rule"], told["application"], told["country"], told["range"]) == (
        "country.unknown_numbers", "shop", "PK", "92301",
    )  # fmt: skip
    assert told["what"] == "alarm (unknown_numbers)"
    assert "Breakers and alarms: nothing." not in told_again.stderr
    frozen.advance(25 * 3600)
    frozen.client.delete(*frozen.client.keys("*decisions*"), "-")
    assert [one["at"] for one in section("changes", environ, "--hours", "1")] == [told["at"]]


def test_status_tells_of_a_breaker_that_is_open_since_before_what_is_looked_at(frozen, tmp_path):
    frozen.move_to(frozen.now - frozen.now % 60_000)
    kept = {**RULESET, "modes": modes("country.conversion"), "conversion": {"sends": 5, "closed_for": 7200}}
    environ = configure(frozen, tmp_path, guard=kept)
    shop = caller(environ)
    for turn in range(5):
        frozen.client.delete(*frozen.client.keys("*outbox*"), "-")
        for place in range(3):
            passes(shop, f"+447400{turn}{place}3456")
        frozen.advance(60)
    frozen.advance(5400)

    assert [one["what"] for one in section("changes", environ, "--hours", "1")] == ["open"]
    learnt, ruleset = {"GB": (CountryTraffic(), ())}, shop.context.rulesets["shop"]
    assert shop.context.store.traffic.commit("shop", "0", learnt, {}, (), ruleset)
    frozen.client.delete(*frozen.client.keys("*decisions*"), "-")
    assert [one["country"] for one in section("closed", environ)] == ["GB"], "though no decision tells of it any more"


def blocks(environ):
    """Return what the status tells of blocks, by name."""
    return {row[0]: row[1:] for row in rows(guard("status", environ=environ).stdout) if len(row[0]) == 22}


def test_status_shows_the_blocks_that_most_passed_to_unapproved_against_what_is_usual_there(frozen, tmp_path):
    environ = configure(frozen, tmp_path, guard={**RULESET, "modes": {**modes(), "block.unapproved": "record_only"}})
    site = Newcomers(frozen, install(load_settings(environ=environ)))
    learn_block(frozen, site.shop, 6, "+92301777")
    site.minutes(20)
    for last in range(9):
        site.come(number(last, "+92301777"), approves=last == 0)
    site.minutes(10)
    busiest = site.context.keyring.block_pseudonym("+92301777")
    shown = blocks(environ)

    assert len(shown) == 10, "however many there are"
    assert next(iter(shown)) == busiest
    assert shown[busiest][:5] == ["PK", "92301", "8", "8", "4"], "of ten who come usually six approve"
    (all_of_day,) = (row for row in rows(guard("status", environ=environ).stdout) if row[2:4] == ["all", "day"])
    assert float(shown[busiest][5]) == pytest.approx(8 * float(all_of_day[6]) / int(all_of_day[4]), rel=0.05)


def test_a_block_is_unblocked_by_the_name_that_status_tells(frozen, tmp_path):
    environ = configure(frozen, tmp_path, "block.unapproved")
    shop = caller(environ)
    assert passed(shop, number(1), 3) == 2
    record_events(shop.context)
    (name,) = blocks(environ)
    result = guard("unblock", "--block", name, "--yes", environ=environ)

    assert result.stdout == "Lifted. The counters start from zero.\n"
    assert passed(shop, number(1), 3) == 2
