"""The guard's settings: what is refused, what production demands, and the rules that they become."""

import copy

import pytest
from support_installation import NUMBER, tree

from otp_service.domain.guard import GUARD_RULES, Mode
from otp_service.errors import ConfigurationError
from otp_service.settings import settings_from
from otp_service.settings.settings import MASK

URL = "redis://localhost:6379/0"
DAY = 86_400_000


def changed(path, value, **sections):
    """Return a valid table with one member replaced; the guard as it is by default."""
    table = copy.deepcopy(tree(URL, **{"guard": {"modes": {}}, **sections}))
    *steps, last = path.split(".")
    place = table
    for step in steps:
        place = place.setdefault(step, {})
    place[last] = value
    return table


def refused(table):
    with pytest.raises(ConfigurationError) as refusal:
        settings_from(table)
    return str(refusal.value).splitlines()


FAULTS = {
    "an unknown rule": ("guard.modes", {"block.unaproved": "off"}, "guard.modes.block.unaproved"),
    "an unknown mode": ("guard.modes", {"block.unapproved": "of"}, "guard.modes.block.unapproved"),
    "a rule that is a word": ("guard.modes", {"block": "off"}, "guard.modes.block"),
    "a notation that is none": ("guard.block.unapproved", ["lots"], "guard: block.unapproved: 'lots'"),
    "a notation that allows nothing": ("guard.country.home", ["0/day"], "guard: country.unapproved: '0/day'"),
    "a trickle that is none": ("guard.conversion.trickle", "x", "guard: block.conversion: 'x'"),
    "a prefix without its plus": ("guard.destinations.denied", ["92300"], "guard.destinations.denied.0"),
    "a safe number that is none": ("guard.destinations.safe", ["0300"], "guard.destinations.safe.0"),
    "a safe number that is a prefix": ("guard.destinations.safe", ["+92300123"], "guard.destinations.safe.0"),
    "a safe number as people write it": ("guard.destinations.safe", ["+92 300 1234567"], "guard.destinations.safe.0"),
    "no type at all": ("guard.destinations.types", [], "guard.destinations.types"),
    "a type that is none": ("guard.destinations.types", ["mobile", "mobil"], "guard.destinations.types.1"),
    "all of it reserved": ("guard.number.reserved", 1, "guard.number.reserved"),
    "a lock after too many": ("guard.number.lock_after", 101, "guard.number.lock_after"),
    "a share above all": ("guard.failures.share", 1.5, "guard.failures.share"),
    "a currency in small letters": ("guard.currency", "pkr", "guard.currency"),
    "a price that is a number": ("gateways.sandbox.prices", {"PK": 2.5}, "gateways.sandbox.prices.PK"),
    "a price below nothing": ("gateways.sandbox.prices", {"PK": "-1"}, "gateways.sandbox.prices.PK"),
    "a price of a place that is none": ("gateways.sandbox.prices", {"Pakistan": "1"}, "gateways.sandbox.prices"),
    "a ceiling with seven decimals": ("applications.shop.spend", {"hour": "1.0000001"}, "applications.shop.spend.hour"),
    "a ceiling of a country that is none": (
        "applications.shop.spend",
        {"countries": {"PKR": {"day": "1"}}},
        "applications.shop.spend.countries.PKR",
    ),
    "a home that is none": ("applications.shop.home", "Pakistan", "applications.shop.home"),
}


@pytest.mark.parametrize(("path", "value", "begins"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_told_in_one_line_with_its_path(path, value, begins):
    (line,) = refused(changed(path, value))

    assert line.startswith(begins)


CAPPED = {"shop": {"purposes": ["login"], "countries": ["PK", "GB"], "spend": {"day": "10"}}}
LOGIN = {"login": {"channels": ["sms", "voice"]}}


def capped(prices, **sections):
    """Return a table of an application with a ceiling, whose gateways have these prices."""
    gateways = {name: {"kind": "sandbox", "prices": own} for name, own in prices.items()}
    return tree(URL, purposes=LOGIN, applications=CAPPED, **sections) | {"gateways": gateways}


def test_a_ceiling_without_prices_is_refused_since_it_would_see_nothing():
    (line,) = refused(capped({"sandbox": {}}))
    assert line == (
        "gateways.sandbox.prices: there is none for GB/sms, GB/voice, PK/sms, PK/voice: "
        "applications.shop.spend would not count these messages."
    )
    assert settings_from(capped({"sandbox": {"*": "1"}}))


def test_a_price_of_one_channel_is_none_of_another():
    (line,) = refused(capped({"sandbox": {"PK/voice": "9", "GB": "1"}}))

    assert line.startswith("gateways.sandbox.prices: there is none for PK/sms: ")


def test_only_what_a_route_sends_through_a_gateway_needs_a_price_there():
    routes = [{"countries": ["GB"], "gateways": ["british"]}, {"gateways": ["other"]}]

    assert settings_from(capped({"british": {"GB": "1"}, "other": {"PK": "1"}, "idle": {}}, routes=routes))
    assert refused(capped({"british": {"PK": "1"}, "other": {"PK": "1"}}, routes=routes))


def test_a_route_to_nowhere_is_told_before_any_price():
    routes = [{"gateways": ["nowhere"]}]

    assert refused(capped({"sandbox": {}}, routes=routes)) == [
        "routes.0.gateways: there is no section gateways.nowhere."
    ]


@pytest.mark.parametrize(
    "modes",
    [
        {"number.cooldown": "off", "block.unapproved": "record_only"},
        {"number": {"cooldown": "off"}, "block": {"unapproved": "record_only"}},
        {"number": {"cooldown": "off"}, "block.unapproved": "record_only"},
    ],
    ids=str,
)
def test_a_rule_may_be_named_with_its_dot_or_as_a_table(modes):
    guard = settings_from(changed("guard.modes", modes)).guard

    assert guard.mode("number.cooldown") is Mode.OFF
    assert guard.mode("block.unapproved") is Mode.RECORD_ONLY
    assert guard.mode("number.sends") is Mode.ENFORCE
    assert guard.mode("application.failures") is Mode.RECORD_ONLY


@pytest.mark.parametrize("mode", ["record_only", "off"])
@pytest.mark.parametrize("rule", [rule.id for rule in GUARD_RULES.values()])
def test_production_enforces_what_is_vital_and_leaves_the_rest_to_the_operator(rule, mode):
    found = refused(changed("guard.modes", {rule: mode}, environment="production"))
    told = [one for one in found if one.startswith("guard.modes")]

    assert bool(told) == (rule in {"number.sends", "number.guesses", "number.lock"})
    assert all(rule in one for one in told)


def test_the_safe_list_is_not_shown():
    settings = settings_from(changed("guard.destinations.safe", [NUMBER]))

    assert NUMBER not in f"{settings!r} {settings.redacted()} {settings.guard.destination_rules()!r}"
    assert NUMBER in settings.guard.destination_rules().allowlisted
    assert settings.redacted()["guard"]["destinations"]["safe"] == [MASK]


def test_rules_that_are_off_are_not_in_the_ruleset_and_those_that_record_are_marked():
    off = settings_from(changed("guard.modes", dict.fromkeys(GUARD_RULES, "off"))).rulesets["shop"]
    assert (off.windows, off.buckets, off.breakers, off.ceilings) == ((), (), (), ())
    assert (off.cooldown, off.guess_wait, off.lock, off.failures) == (None, None, None, None)
    recording = settings_from(changed("guard.modes", dict.fromkeys(GUARD_RULES, "record_only"))).rulesets["shop"]
    one_by_one = (recording.cooldown, recording.guess_wait, recording.lock, recording.failures)

    assert all(one.record_only for one in (*recording.windows, *recording.buckets, *recording.breakers, *one_by_one))


@pytest.mark.parametrize(
    ("notation", "reserved", "unknown", "known"),
    [
        ("10/day", 0.4, 6, 4),
        ("5/10 minutes", 0.4, 3, 2),
        ("1/day", 0.4, 1, 1),
        ("2/day", 0.9, 1, 2),
        ("10/day", 0, 10, None),
    ],
)
def test_unknown_contexts_have_what_is_not_reserved_and_at_least_one(notation, reserved, unknown, known):
    table = changed("guard.number.reserved", reserved, limits={"number": [notation]})
    (window,) = [one for one in settings_from(table).rulesets["shop"].windows if one.rule == "number.sends"]

    assert (window.for_unknown, window.for_known) == (unknown, known)


def test_what_is_kept_lives_as_long_as_any_rule_needs_it():
    table = changed("guard.number.lock_days", 90, guard={"modes": {}, "number": {"known_days": 1}})
    lives = settings_from(table).rulesets["shop"].lifetimes

    assert lives["guesses"] == 90 * DAY
    assert lives["block"] >= 4 * DAY
    assert lives["country"] >= 2 * DAY
