"""The guard decides in the scripts as it does in memory: whatever is tried in whatever order, the same rule refuses."""

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from support_caller import Caller
from support_events import record_events
from support_frozen import FrozenValkey
from support_installation import tree
from support_outbox import forget_queues

from otp_service.bootstrap import Installation
from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.guard_replay import Attempt, Replay
from otp_service.errors import OtpServiceError, TooManyError
from otp_service.services.start import HumanCheckResult

SECONDS = [0, 0.3, 1, 5, 31, 61, 130, 400, 3700, 90_000]
PERMISSIVE: dict[str, Any] = {
    "address": {name: ["900/day"] for name in ("unapproved", "numbers", "countries", "network", "provider")},
    "block": {"unapproved": ["900/hour", "900/2 days"]},
    "country": {"unapproved": ["900/day"], "home": ["900/day"]},
    "conversion": {"sends": 500},
    "number": {"cooldown": [1, 2], "guess_waits": [0, 1], "lock_after": 100},
    "failures": {"wrong": 500},
}
TIGHT: dict[str, dict[str, Any]] = {
    "address.unapproved": {"address": {**PERMISSIVE["address"], "unapproved": ["5/hour", "9/day"]}},
    "address.numbers": {"address": {**PERMISSIVE["address"], "numbers": ["4/day"]}},
    "address.countries": {"address": {**PERMISSIVE["address"], "countries": ["1/hour"]}},
    "address.network": {"address": {**PERMISSIVE["address"], "network": ["3/hour"]}},
    "address.provider": {"address": {**PERMISSIVE["address"], "provider": ["3/hour"]}},
    "block.unapproved": {"block": {"unapproved": ["3/hour", "9/2 days"]}},
    "block.conversion": {
        "conversion": {"sends": 5, "home_sends": 5, "rate": 0.6, "closed_for": 60, "trickle": "2/minute"},
        "modes": {"country.conversion": "off"},
    },
    "country.unapproved": {"country": {"unapproved": ["4/day"], "home": ["9/day"]}},
    "country.conversion": {
        "conversion": {
            "sends": 5,
            "home_sends": 5,
            "rate": 0.7,
            "closed_for": 60,
            "home": "5/hour",
            "home_block": "1/hour",
        },
        "modes": {"block.conversion": "off"},
    },
    "number.cooldown": {"number": {**PERMISSIVE["number"], "cooldown": [400, 600, 3500]}},
    "number.guess_wait": {"number": {**PERMISSIVE["number"], "guess_waits": [40, 400]}},
    "number.lock": {"number": {**PERMISSIVE["number"], "lock_after": 10, "lock_days": 30}},
    "application.failures": {
        "failures": {"wrong": 10, "share": 0.8, "window": 7200},
        "modes": {"application.failures": "enforce"},
    },
    "number.sends": {},
    "number.guesses": {},
    "address.starts": {},
    "application.requests": {},
    "spend.application": {},
    "spend.country": {},
}
"""Rules of which each has its turn to be met."""
LIMITS = {
    "number.sends": {"number": ["3/10 minutes", "7/day"]},
    "number.guesses": {"failed_checks": ["3/10 minutes", "5/day"]},
    "address.starts": {"ip": ["3/10 minutes"]},
    "application.requests": {"application": ["4/10 minutes"]},
}
GUESSES = {"number.lock", "number.guesses", "number.guess_wait", "application.failures"}
"""Rules that need many wrong codes for few numbers."""
SEVERAL = (
    ("number.guess_wait", "number.guesses", "number.sends", "spend.application"),
    ("number.cooldown", "number.sends", "address.unapproved", "address.starts", "spend.country"),
)
"""Rules that refuse the same message, each for another time."""
SPEND = {
    "spend.application": {"hour": "20", "day": "90"},
    "spend.country": {"countries": {"GB": {"day": "60"}, "*": {"hour": "10"}}},
}


CHECKED = ("address.unapproved", "address.numbers", "address.network", "block.unapproved", "country.unapproved")
"""Rules that a human check lifts, or counts apart."""


def _install(
    frozen: FrozenValkey, rules: str | tuple[str, ...], contexts: int = 2, human_check: str = "none", **modes: str
) -> Installation:
    rules = (rules,) if isinstance(rules, str) else rules
    own = tree(frozen.url)["applications"]
    roomy = {scope: ["900/day"] for scope in ("number", "ip", "application", "failed_checks")}
    guard = {**PERMISSIVE}
    for rule in rules:
        guard |= TIGHT[rule]
    guard["number"] = {**guard["number"], "contexts": contexts}
    return frozen.world().install(
        guard={**guard, "modes": {**guard.get("modes", {}), **modes}},
        limits={**roomy, **{scope: one for rule in rules for scope, one in LIMITS.get(rule, {}).items()}},
        purposes={"login": {"resend_delays": [0], "max_sends": 4, "max_checks": 5, "channels": ["sms", "voice"]}},
        applications={
            **own,
            "shop": {
                **own["shop"],
                "human_check": human_check,
                "spend": {name: one for rule in rules for name, one in SPEND.get(rule, {}).items()},
            },
        },
        gateways={"sandbox": {"kind": "sandbox", "timeout": 1.0, "prices": {"PK": "2.50", "*": "12", "PK/voice": "1"}}},
    )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("rule", TIGHT)
def test_the_log_of_what_was_tried_tells_the_same_refusals_in_memory(
    frozen: FrozenValkey, rule: str, seed: int
) -> None:
    chance = random.Random(f"{rule} {seed}")
    installation = _install(frozen, rule)
    steps = 500 if rule == "number.lock" else 300
    made = _live(frozen, installation, chance, steps=steps, guessing=rule in GUESSES)
    again, differences = _replayed(installation)

    assert [_outcome(one) for one in installation.context.store.attempts.all()] == made, "all of it was recorded"
    assert not differences, _told(differences[0])
    assert again.unknown == again.never_started == 0
    assert again.before == again.after
    assert again.before.refused[rule] > 0
    assert again.before.messages > 10


@pytest.mark.parametrize("seed", range(4))
def test_where_several_rules_refuse_the_same_one_decides(frozen: FrozenValkey, seed: int) -> None:
    chance = random.Random(f"several {seed}")
    installation = _install(frozen, SEVERAL[seed % 2], contexts=2)
    _live(frozen, installation, chance, steps=300, guessing=seed % 2 == 0)
    again, differences = _replayed(installation)

    assert not differences, _told(differences[0])
    assert len(+again.before.refused) >= 3


@pytest.mark.parametrize("rule", CHECKED)
def test_who_passed_a_human_check_is_spared_alike(frozen: FrozenValkey, rule: str) -> None:
    chance = random.Random(f"checked {rule}")
    installation = _install(frozen, rule, human_check="assertion")
    _live(frozen, installation, chance, steps=500, guessing=False)
    again, differences = _replayed(installation)

    assert not differences, _told(differences[0])
    assert again.before.refused[rule] > 0


@pytest.mark.parametrize("seed", range(6))
def test_rules_that_only_record_or_are_off_refuse_nothing_in_memory_either(frozen: FrozenValkey, seed: int) -> None:
    chance = random.Random(seed)
    modes = {rule: chance.choice(["enforce", "record_only", "off"]) for rule in GUARD_RULES}
    installation = _install(frozen, chance.choice(sorted(TIGHT)), **modes)
    _live(frozen, installation, chance, steps=200, guessing=seed % 2 == 0)
    again, differences = _replayed(installation)

    assert not differences, _told(differences[0])
    assert all(modes[rule] == "enforce" for rule in again.after.refused)


def _replayed(installation: Installation) -> tuple[Replay, list[tuple[Attempt, str | None]]]:
    """Return a replay under the rules of the time, and the attempts that go otherwise than they went."""
    replay = Replay({name: loaded.ruleset for name, loaded in installation.context.rulesets.items()})
    judged = [(one, replay.judge(one)) for one in installation.context.store.attempts.all()]
    return replay, [(one, rule) for one, rule in judged if rule != one.refused]


def _live(
    frozen: FrozenValkey, installation: Installation, chance: random.Random, *, steps: int, guessing: bool
) -> list[tuple[str, str]]:
    """Let two applications start, resend and check at random; return what their callers were answered."""
    made = []
    callers = [Caller(installation), Caller(installation, "bank")]
    alive: list[tuple[Caller, str]] = []
    right = 0.12 if guessing else chance.choice([0.2, 0.5, 0.8])
    numbers = 3 if guessing else 40
    for _ in range(steps):
        frozen.advance(chance.choice(SECONDS[:7] if chance.random() < 0.95 else SECONDS))
        with suppress(OtpServiceError):
            made += _act(chance, callers, alive, right=right, numbers=numbers)
        forget_queues(frozen.client)  # what is not delivered is not settled either
    return made


def _outcome(attempt: Attempt) -> tuple[str, str]:
    """Return what the caller of an attempt was answered; of a code that was not compared no rule is told."""
    return attempt.kind, attempt.refused if attempt.kind in {"start", "resend"} else ""


def _act(
    chance: random.Random, callers: list[Caller], alive: list[Any], *, right: float, numbers: int
) -> list[tuple[str, str]]:
    act = chance.random()
    if act < (0.2 if numbers < 10 else 0.55) or not alive:
        caller = chance.choice(callers)
        country = chance.random() < 0.8 or caller.application.name == "bank"
        number = f"+92300123{chance.choice([4, 4, 5])}{chance.randrange(numbers):03}" if country else _british(chance)
        members: dict[str, Any] = {"context": chance.choice([None, "one", "two", f"c{chance.randrange(20)}"])}
        if caller.application.name == "shop":
            members["client_ip"] = chance.choice(["192.0.2.1", "192.0.2.2", "2001:db8:1:2::3", "2001:db8:1:3::3"])
        if caller.application.human_check == "assertion":
            members["human_check"] = HumanCheckResult(passed=chance.random() < 1 / 3)
        return _sent(caller, "start", lambda: alive.append((caller, caller.start(number, **members))))
    caller, one = chance.choice(alive[-6:])
    if act > 0.85:
        return _sent(caller, "resend", lambda: caller.resend(one))
    reason = caller.check(one, caller.code(one) if chance.random() < right else caller.wrong(one))[3]
    if reason is None:
        record_events(caller.context)  # which gives back to the guard what an approval gives back
    return [(_COMPARED[reason], "")] if reason in _COMPARED else []


_COMPARED = {None: "approved", "wrong_code": "wrong", "number_locked": "check"}
"""What a code was, by the reason that its caller was given; any other is of one that came too late."""


def _sent(caller: Caller, kind: str, send: Callable[[], Any]) -> list[tuple[str, str]]:
    """Send a message; return what the guard decided, nothing when it was not asked."""
    try:
        send()
    except TooManyError as error:
        decision = error.decision and caller.context.store.decisions.find(error.decision)
        return [(kind, decision.rule)] if decision else []
    return [(kind, "")]


def _british(chance: random.Random) -> str:
    return f"+447400123{chance.randrange(20):03}"


def _told(differences: tuple[Attempt, str | None]) -> str:
    attempt, rule = differences
    return f"{attempt}: {rule or 'nothing'} refuses it in memory"
