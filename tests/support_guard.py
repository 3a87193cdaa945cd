"""Installations with some rules of the guard only, and what their rules did."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

from support_caller import Caller
from support_events import record_events
from support_frozen import FrozenValkey
from support_installation import tree
from support_outbox import queues

from otp_service.bootstrap import Installation
from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.newcomer_traffic import BLOCK_MEMORY
from otp_service.domain.prices import MICRO
from otp_service.errors import OtpServiceError, TooManyError
from otp_service.store import keys
from otp_service.store.events import Decision
from otp_service.store.library import part_texts
from otp_service.store.newcomer_traffic import CountrySuspicion

PERMISSIVE = {scope: ["1000000/day"] for scope in ("number", "ip", "application", "failed_checks")}
"""Limits that nobody meets."""
SMS = {"login": {"resend_delays": [0], "max_sends": 5, "channels": ["sms"]}}
ADDRESS = "192.0.2.1"


def modes(*rules: str, mode: str = "enforce") -> dict[str, str]:
    """Return modes by which these rules hold, and no others."""
    return {rule: mode if rule in rules else "off" for rule in GUARD_RULES}


def guarded(frozen: FrozenValkey, *rules: str, guard: dict[str, Any] | None = None, **sections: Any) -> Installation:
    """Return an installation with these rules only, where one start follows the other."""
    own = tree(frozen.url)["applications"]
    given = sections.pop("applications", {})
    purposes = {"login": {"resend_delays": [0], "max_sends": 5, "channels": ["sms", "voice"]}}
    return frozen.world().install(
        guard={"modes": modes(*rules), **(guard or {})},
        limits={**PERMISSIVE, **sections.pop("limits", {})},
        purposes={**purposes, **sections.pop("purposes", {})},
        applications={name: {**one, **given.get(name, {})} for name, one in own.items()},
        **sections,
    )


def priced(frozen: FrozenValkey, first: Any, second: Any = None, **sections: Any) -> Caller:
    """Return a caller whose messages go through gateways with these prices; by default with a ceiling far away."""
    prices = {"first": first, "second": second or {}, "sandbox": {}}
    sections = {"purposes": SMS, "routes": [{"gateways": ["first", "second"]}], **sections}
    spend = sections.pop("spend", {"hour": "1000"})
    installation = guarded(
        frozen,
        "spend.application",
        "spend.country",
        gateways={name: {"kind": "sandbox", "prices": {"*": "0", **own}} for name, own in prices.items()},
        applications={"shop": {"spend": spend}},
        **sections,
    )
    return Caller(installation)


def later(frozen: FrozenValkey, seconds: float) -> None:
    """Let time pass, in which nobody sends what waits: a code too old to be sent would close the door."""
    for queue in queues(frozen.client):
        frozen.client.delete(queue)
    frozen.advance(seconds)


def number(last: int, block: str = "+92300123") -> str:
    """Return a number of a block."""
    return f"{block}{last:04}"


def refused(act: Callable[[], Any]) -> TooManyError | None:
    """Do something; return the refusal, ``None`` when there is none."""
    try:
        act()
    except TooManyError as error:
        return error
    return None


def passes(caller: Caller, to: str, **members: Any) -> bool:
    """Start a verification; tell whether a rule lets it."""
    return refused(lambda: caller.start(to, **members)) is None


def passed(caller: Caller, to: str, tries: int, **members: Any) -> int:
    """Try so many starts; return how many a rule lets."""
    return sum(passes(caller, to, **members) for _ in range(tries))


def approve(caller: Caller, to: str, **members: Any) -> str:
    """Let somebody verify a number; return the verification."""
    one = caller.start(to, **members)
    come_in(caller, one)
    return one


def come_in(caller: Caller, one: str) -> None:
    """Type the right code in, and let the recorder see it, which gives back what it was counted for."""
    assert caller.check(one, caller.code(one))[1]
    record_events(caller.context)


def learn_usual(caller: Caller, **approvals: float) -> None:
    """Let so many approvals of newcomers be usual in a day, by country."""
    name, store = caller.application.name, caller.context.store.traffic
    version, meets = (
        store.tallies(name)[0],
        (CountrySuspicion(country, usual=usual) for country, usual in approvals.items()),
    )
    assert store.commit(name, version, {}, {}, tuple(meets), caller.context.rulesets[name])


_LEARN_BLOCK = """
local row = rows.unpack(KEYS[1], redis.call('GET', KEYS[1]), rows.layout(ARGV[1]))
local at = row.layout.at['a' .. ARGV[2] / 1000]
row[at], row[at + 1], row[rows.ENDS] = math.floor(now / ARGV[2]), ARGV[2] / 86400000 * ARGV[3], now + 4 * 86400000
rows.write(row, 4 * 86400000)
"""


def learn_block(frozen: FrozenValkey, caller: Caller, daily: float, block: str = "+92300123") -> None:
    """Let so many approvals of newcomers be usual in a block in a day."""
    text = "\n".join([*part_texts(("clock", "rows")), "clock.read()", _LEARN_BLOCK])
    context, key = caller.context, keys.block("00", caller.context.keyring.block_pseudonym(block))
    layout = json.loads(context.rulesets[caller.application.name].text)["layouts"]["block"]
    frozen.client.eval(text, 1, key, layout, BLOCK_MEMORY, daily)


def guess(caller: Caller, one: str) -> str | None:
    """Type a wrong code in; return the reason."""
    return caller.check(one, caller.wrong(one))[3]


def guesses(caller: Caller, to: str, tries: int, **members: Any) -> int:
    """Type so many wrong codes in, over as many verifications as it takes; return how many were compared."""
    compared = 0
    one = None
    for turn in count():
        if turn == tries:
            return compared
        try:
            if one is None or caller.read(one).verification.status != "pending":
                one = caller.start(to, **members)
        except OtpServiceError:
            continue
        compared += guess(caller, one) == "wrong_code"
    raise AssertionError


def decisions(caller: Caller) -> list[Decision]:
    """Return all decisions, the first ones first."""
    return list(caller.context.store.decisions.latest(100_000))[::-1]


def told(caller: Caller) -> list[tuple[str, str]]:
    """Return rule and mode of all decisions."""
    return [(one.rule, one.mode) for one in decisions(caller)]


def spent(caller: Caller, country: str = "") -> dict[str, float]:
    """Return what an application spent, reservations too, in units of money by interval."""
    ruleset = caller.context.rulesets[caller.application.name].ruleset
    found = caller.context.store.guard.spent(ruleset, caller.application.name, country)
    return {one.interval: one.amount / MICRO for one in found}
