"""A device that an application approved for a number keeps its share there, whatever strangers do."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from support_caller import Caller
from support_events import record_events
from support_frozen import START, FrozenValkey
from support_guard import decisions, passes, refused
from support_installation import tree
from support_outbox import forget_queues
from support_traffic import Newcomers

from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import HumanCheckRequiredError, RateLimitedError, TooManyError
from otp_service.services.operator_actions import reset_limits
from otp_service.services.start import HumanCheckResult

DAY = 86_400
CUSTOMER = "+923001234567"
ABROAD = "+447400123456"
OWN = {"context": "the customer's own phone", "client_ip": "198.51.100.7"}
PASSED = {"human_check": HumanCheckResult(passed=True)}
TEN_MINUTES, A_DAY = 2, 4
"""The share of a known device: two of 5/10 minutes, four of 10/day."""


class Site:
    """A shop that knows the customer, and another one, under the default rules but for some amounts."""

    def __init__(self, frozen: FrozenValkey, *, human_check: str = "none", **sections: Any) -> None:
        self.frozen = frozen
        own = tree(frozen.url)["applications"]["shop"]
        spend = sections.pop("spend", {})
        shop = {**own, "purposes": ["login"], "home": "PK", "human_check": human_check, "spend": spend}
        frozen.move_to(START - 7 * DAY * 1000)
        installation = frozen.world().install(
            guard={"modes": {}, **sections.pop("guard", {})},
            limits={"application": ["6000/minute"], **sections.pop("limits", {})},
            purposes={"login": {"resend_delays": [0], "max_sends": 5, "channels": ["sms"]}},
            applications={"shop": shop, "other": {**shop, "keys": []}},
            **sections,
        )
        self.installation = installation
        self.shop, self.other = Caller(installation), Caller(installation, "other")
        self._strangers = count(1)

    def later(self, seconds: float) -> None:
        """Let time pass; what waits is not sent, and does not close the door."""
        record_events(self.shop.context)
        forget_queues(self.frozen.client)
        self.frozen.advance(seconds)

    def approve(self, caller: Caller, to: str, **members: Any) -> None:
        """Let the number's holder come in."""
        one = caller.start(to, **members)
        assert caller.check(one, caller.code(one))[1]
        record_events(caller.context)

    def become_known(self, to: str = CUSTOMER) -> None:
        """Let the customer come in at the shop on five days."""
        for _ in range(5):
            self.approve(self.shop, to, **OWN)
            self.later(DAY)
        self.frozen.move_to(START)

    def stranger(self, block: str = "") -> str:
        """Return a number that nobody has had, in a block, or in one of its own."""
        one = next(self._strangers)
        return f"{block}{one % 10_000:04}" if block else f"+92301{one % 1000:03}{one % 10_000:04}"

    def rules(self) -> set[str]:
        """Return the rules that spoke against the start that was decided last."""
        return {hit.rule for hit in decisions(self.shop)[-1].rule_hits}


@dataclass(frozen=True)
class Attack:
    """What strangers do, and the start that a rule refuses a stranger afterwards."""

    act: Callable[[Site], Any]
    rule: str
    closed: Callable[[Site], Any] = lambda site: site.shop.start(CUSTOMER)
    customer: str = CUSTOMER
    guard: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)


def _ask(site: Site, to: str = CUSTOMER) -> None:
    """Ask the other shop's form for codes to a number as fast as it lets strangers, for half an hour."""
    for _ in range(10):
        passes(site.other, to)
        site.later(181)


def _block(site: Site) -> None:
    """Three codes for the customer, four for their neighbours, from the other shop's form."""
    for _ in range(3):
        site.other.start(CUSTOMER)
        site.later(121)
    _fill_block(site)


def _fill_block(site: Site) -> None:
    for _ in range(6):
        passes(site.other, site.stranger(CUSTOMER[:-4]))


def _country(site: Site) -> None:
    _ask(site)
    for _ in range(30):
        passes(site.shop, site.stranger())


def _breaker(site: Site) -> None:
    _ask(site, ABROAD)
    for turn in range(30):
        passes(site.shop, f"+447401{turn:02}1234")
    site.later(180)


def _address(addresses: Callable[[int], str]) -> Callable[[Site], Any]:
    def act(site: Site) -> None:
        for turn in range(40):
            passes(site.shop, site.stranger(), client_ip=addresses(turn))

    return act


def _from(address: str) -> Callable[[Site], Any]:
    return lambda site: site.shop.start(site.stranger(), client_ip=address)


def _devices(site: Site) -> None:
    """Devices that are new, at both shops; and those that the holder lets in at the other one, too many to keep."""
    for turn in range(12):
        site.approve(site.other, CUSTOMER, context=f"one of many {turn}")
        site.later(DAY / 4)
    site.later(DAY)
    for turn, caller in enumerate(6 * (site.shop, site.other)):
        passes(caller, CUSTOMER, context=f"a stranger's {turn}")
        site.later(121)


def _applications(site: Site) -> None:
    """All that a number may have, by a device that the other shop knows."""
    site.approve(site.other, CUSTOMER, context="the other shop's own")
    for _ in range(12):
        passes(site.other, CUSTOMER, context="the other shop's own")
        site.later(121)


def _resends(site: Site) -> None:
    """Few starts, each with as many resends as it may have."""
    for _ in range(3):
        with suppress(TooManyError):
            one = site.other.start(CUSTOMER)
            for _ in range(4):
                site.other.resend(one)
        site.later(601)
    _fill_block(site)


def _alarm(site: Site) -> None:
    """Newcomers who approve less than usual, from a hundred blocks, and codes for the customer among them."""
    people = Newcomers(site.frozen, site.installation)
    _ask(site)
    people.minutes(30, attack=8)


_WIDE = {"address": {"network": ["20/day"], "provider": ["20/day"]}}
ATTACKS = {
    "block": Attack(_block, "block.unapproved", lambda site: site.shop.start(site.stranger(CUSTOMER[:-4]))),
    "country": Attack(
        _country,
        "country.unapproved",
        lambda site: site.shop.start(site.stranger()),
        guard={"country": {"home": ["20/day"]}},
    ),
    "address": Attack(
        _address(lambda _: OWN["client_ip"]),
        "address.starts",
        _from(OWN["client_ip"]),
        guard={"address": {"unapproved": ["900/day"], "numbers": ["900/day"]}},
        limits={"ip": ["30/10 minutes"]},
    ),
    "/48 of IPv6": Attack(
        _address(lambda turn: f"2001:db8:1:{turn}::1"), "address.network", _from("2001:db8:1:ffff::1"), guard=_WIDE
    ),
    "/32 of IPv6": Attack(
        _address(lambda turn: f"2001:db8:{turn}::1"), "address.provider", _from("2001:db8:ffff::1"), guard=_WIDE
    ),
    "applications": Attack(_applications, "number.sends"),
    "devices": Attack(_devices, "number.sends"),
    "resends": Attack(_resends, "number.sends"),
    "cool-down": Attack(lambda site: site.other.start(CUSTOMER), "number.cooldown"),
    "breaker": Attack(
        _breaker,
        "country.conversion",
        lambda site: site.shop.start("+447402991234"),
        customer=ABROAD,
        guard={"country": {"unapproved": ["900/day"]}},
    ),
    "alarm": Attack(_alarm, "country.unknown_numbers", lambda site: site.shop.start(site.stranger())),
}
"""Ways to close a customer out who is known, by what strangers use up."""
THE_ADDRESS = {"/48 of IPv6": "2001:db8:1:77::1", "/32 of IPv6": "2001:db8:77::1"}
"""Where the customer is then; else at home."""


@pytest.mark.parametrize("name", ATTACKS)
def test_a_known_device_has_its_share_after_an_attack(frozen: FrozenValkey, name: str) -> None:
    attack = ATTACKS[name]
    site = Site(frozen, guard=attack.guard, limits=attack.limits)
    site.become_known(attack.customer)
    attack.act(site)
    assert refused(lambda: attack.closed(site)) is not None, "strangers have closed it to strangers"
    assert attack.rule in site.rules()

    own = {**OWN, "client_ip": THE_ADDRESS.get(name, OWN["client_ip"])}
    for _ in range(A_DAY // TEN_MINUTES):
        for _ in range(TEN_MINUTES):
            site.approve(site.shop, attack.customer, **own)
        site.later(601)


def test_the_same_name_of_a_device_at_another_number_has_no_share(frozen: FrozenValkey) -> None:
    """Whoever has a device that one number knows can neither bomb another with it, nor pump."""
    site = Site(frozen)
    site.become_known()
    victim, neighbours = "+923005550001", "+92300555"
    site.approve(site.other, victim, context="the victim's own")
    site.later(DAY)
    bombs = 0
    for _ in range(12):
        bombs += passes(site.shop, victim, **OWN)
        site.later(121)
    pumped = sum(passes(site.shop, site.stranger(neighbours), **OWN) for _ in range(20))

    assert bombs == 6, "what is not reserved of ten a day"
    assert pumped <= 1, "of four that a block gets the victim's last ones are three"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_a_device_has_its_share_and_the_number_no_more_than_all_shares(
    frozen: FrozenValkey, seed: int
) -> None:
    """Strangers, and the devices of two applications, ask for codes for days; none approves."""
    chance = random.Random(seed)
    site = Site(frozen)
    site.become_known()
    site.approve(site.other, CUSTOMER, context="the other shop's own")
    site.later(DAY)
    kinds = ((site.shop, OWN), (site.other, {"context": "the other shop's own"}), (site.shop, {}), (site.other, {}))
    got: list[tuple[int, int]] = []

    def recently(seconds: int, *of: int) -> int:
        return sum(at > frozen.now - 1000 * seconds for at, who in got if who in of)

    for _ in range(250):
        site.later(chance.choice([121, 150, 200, 3600]))
        who = chance.choice([0, 1, 2, 3, 3, 3])
        caller, members = kinds[who]
        if passes(caller, CUSTOMER, **members):
            got.append((frozen.now, who))
        else:
            assert who > 1 or recently(600, who) >= TEN_MINUTES or recently(DAY, who) >= A_DAY, "it has its share"
        assert recently(600, 0, 1, 2, 3) <= 5 + TEN_MINUTES
        assert recently(DAY, 0, 1, 2, 3) <= 10 + A_DAY
    assert Counter(who for _, who in got).keys() == {0, 1, 2, 3}


def test_a_share_that_is_used_up_is_refused_and_comes_back(frozen: FrozenValkey) -> None:
    site = Site(frozen)
    site.become_known()
    _ask(site)
    site.later(601)
    one = site.shop.start(CUSTOMER, **OWN)
    resent = sum(refused(lambda: site.shop.resend(one)) is None for _ in range(4))
    assert 1 + resent == A_DAY
    site.later(601)
    assert not passes(site.shop, CUSTOMER, **OWN)
    assert site.rules() == {"number.sends"}
    site.later(DAY)

    assert passes(site.shop, CUSTOMER, **OWN)


def test_operators_reset_what_a_share_was_used_for(frozen: FrozenValkey) -> None:
    site = Site(frozen)
    site.become_known()
    for _ in range(A_DAY):
        site.approve(site.shop, CUSTOMER, **OWN)
    number = subject_key(site.shop.context.keyring, parse_destination(CUSTOMER, None))
    reset_limits(site.shop.context, number, site.shop.context.applications, "support")
    _applications(site)

    assert not passes(site.other, CUSTOMER, context="the other shop's own")
    assert passes(site.shop, CUSTOMER, **OWN)


def test_a_share_holds_in_a_window_that_has_no_room_for_two(frozen: FrozenValkey) -> None:
    site = Site(frozen, limits={"number": ["1/hour"]})
    site.become_known()
    site.other.start(CUSTOMER)
    site.later(121)

    assert not passes(site.other, CUSTOMER)
    assert passes(site.shop, CUSTOMER, **OWN)
    assert not passes(site.shop, CUSTOMER, **OWN)


def test_without_a_reserve_there_is_no_share(frozen: FrozenValkey) -> None:
    site = Site(frozen, guard={"number": {"reserved": 0}}, limits={"number": ["3/day"]})
    site.become_known()
    site.later(DAY)
    _ask(site)

    assert not passes(site.shop, CUSTOMER, **OWN)


def test_a_device_that_was_known_for_too_long_is_a_stranger(frozen: FrozenValkey) -> None:
    site = Site(frozen)
    site.become_known()
    site.later(91 * DAY)
    _block(site)

    assert not passes(site.shop, CUSTOMER, **OWN)


def test_a_new_device_takes_the_place_of_its_applications_oldest(frozen: FrozenValkey) -> None:
    site = Site(frozen, guard={"number": {"contexts": 2}})
    site.become_known()
    for caller, context in ((site.other, "a"), (site.shop, "b"), (site.other, "c"), (site.other, "d")):
        site.approve(caller, CUSTOMER, context=context)
        site.later(DAY / 2)
    _block(site)
    known = []
    for caller, context in ((site.shop, OWN["context"]), (site.shop, "b"), (site.other, "a"), (site.other, "c")):
        known.append(passes(caller, CUSTOMER, context=context))
        site.later(121)

    assert known == [True, True, False, True]


def test_strangers_who_type_wrong_codes_stop_no_known_device(frozen: FrozenValkey) -> None:
    """Where `application.failures` is enforced, which anybody can set off."""
    site = Site(frozen, guard={"modes": {"application.failures": "enforce"}, "failures": {"wrong": 10, "share": 0.1}})
    site.become_known()
    for one in [site.shop.start(site.stranger()) for _ in range(10)]:
        site.shop.check(one, site.shop.wrong(one))
    assert not passes(site.shop, site.stranger())
    assert site.rules() == {"application.failures"}

    assert passes(site.shop, CUSTOMER, **OWN)


@pytest.mark.parametrize("rule", ["spend.application", "application.requests"])
def test_money_and_the_applications_own_quota_hold_for_known_devices_too(frozen: FrozenValkey, rule: str) -> None:
    sections: dict[str, Any] = {"limits": {"application": ["10/hour"]}}
    if rule == "spend.application":
        prices = {"sandbox": {"kind": "sandbox", "prices": {"*": "1"}}}
        sections = {"gateways": prices, "spend": {"hour": "10"}}
    site = Site(frozen, **sections)
    site.become_known()
    for _ in range(12):
        passes(site.shop, site.stranger())

    assert not passes(site.shop, CUSTOMER, **OWN)
    assert site.rules() == {rule}


ADDRESSES = {
    "address.starts": (lambda _: "192.0.2.1", {}, {"ip": ["30/10 minutes"]}),
    "address.unapproved": (lambda _: "192.0.2.1", {"unapproved": ["20/day"]}, {}),
    "address.numbers": (lambda _: "192.0.2.1", {"numbers": ["20/day"]}, {}),
    "address.network": (lambda turn: f"2001:db8:1:{turn}::1", {"network": ["20/day"]}, {}),
    "address.provider": (lambda turn: f"2001:db8:{turn}::1", {"provider": ["20/day"]}, {}),
}
"""How thirty requests close an address that many people share."""


@pytest.mark.parametrize("rule", ADDRESSES)
def test_who_passes_a_check_is_let_in_at_an_address_that_others_closed(frozen: FrozenValkey, rule: str) -> None:
    addresses, amounts, limits = ADDRESSES[rule]
    roomy = {name: ["900/day"] for name in ("unapproved", "numbers", "countries", "network", "provider")}
    site = Site(frozen, human_check="assertion", guard={"address": {**roomy, **amounts}}, limits=limits)
    known = site.stranger()
    site.approve(site.shop, known)
    for turn in range(30):
        passes(site.shop, site.stranger(), client_ip=addresses(turn))

    there = {"client_ip": addresses(99)}
    for to in (site.stranger(), known):
        asked = refused(lambda to=to: site.shop.start(to, **there))
        assert isinstance(asked, HumanCheckRequiredError)
        assert site.rules() == {rule}
        assert passes(site.shop, to, **there, **PASSED)
    site.approve(site.shop, site.stranger(), **there, **PASSED)
    assert refused(lambda: site.shop.start(site.stranger(), **there)) is not None, "an approval there makes no room"


def test_where_nobody_can_ask_an_address_is_closed_for_all_who_are_not_known(frozen: FrozenValkey) -> None:
    site = Site(frozen, guard={"address": {"unapproved": ["20/day"]}})
    site.become_known()
    for _ in range(30):
        passes(site.shop, site.stranger(), client_ip=OWN["client_ip"])
    error = refused(lambda: site.shop.start(site.stranger(), client_ip=OWN["client_ip"], **PASSED))

    assert isinstance(error, RateLimitedError), "a check is not believed that the application cannot ask for"
    assert passes(site.shop, CUSTOMER, **OWN)


def test_who_passes_checks_gets_from_one_address_no_more_than_blocks_countries_and_numbers_have(
    frozen: FrozenValkey,
) -> None:
    site = Site(frozen, human_check="assertion", guard={"country": {"home": ["40/day"]}})
    in_a_block = sum(passes(site.shop, site.stranger("+92300777"), client_ip="192.0.2.1", **PASSED) for _ in range(50))
    in_all = sum(passes(site.shop, site.stranger(), client_ip="192.0.2.1", **PASSED) for _ in range(100))
    site.later(2 * DAY)
    to_one = sum(passes(site.shop, "+923008880001", client_ip="192.0.2.1", **PASSED) for _ in range(50))

    assert in_a_block == 4
    assert in_a_block + in_all == 40
    assert to_one == 1, "the next one has to wait"
