"""The release before against this one: ``make differential BEFORE=folder``.

Two processes, one of each release with its own environment and differential_side.py, do the same steps on a Valkey
each, whose clocks stand still and are moved by milliseconds or by weeks. A seed decides what the steps are: callers
start verifications, ask again, type codes in, right and wrong; workers deliver, fail and die; gateways report;
operators fence, freeze, suppress, lift, forget, and change the settings. After each step the two have to agree on the
answer, on what rules found and how far each was from its limit, on events, and on messages: on all but what is named by
chance. Ends with 1 when they do not, or when a rule was never seen to apply.
"""

import argparse
import base64
import hashlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from breaches import ended_with
from support_frozen import START, FrozenValkey
from support_memory import folder_in_memory

from otp_service.domain.guard import GUARD_RULES

HERE = Path(__file__).parent.parent
PROGRAM = "differential_side.py"
ON_PURPOSE = {
    "known numbers": "earn that again after messages that nobody approved; switched off here",
    "known contexts": "have a share of messages of their own, and more rules spare them; none comes here",
    "buckets of countries and blocks": "grow to a bound, at home too; without the bound here",
    "newcomers under suspicion": "get a trickle or are asked for a human check; off here, and no application can ask",
    "an approval": "is given back by the recorder, a moment later; here at once",
    "what was approved": "reads as canceled once the number is frozen; here as it is recorded",
    "limits show": "goes by Redis' clock, no longer by the host's; not compared",
    "unblock, limits reset": "tell the number of subjects, no longer of keys; what they forget is compared",
    "windows": "count in milliseconds, no longer in microseconds: a wait may be a millisecond less",
    "a number's last verifications": "are kept as long as its row, which may be longer than 7 days",
    "a country's rules": "come before a block's, and are named where both have to be waited for as long",
    "jobs that are too old": "go when queues are swept, no longer at each write; nothing sweeps here",
    "retries": "that are due at once come in the order of their names, as before: their places are not compared",
}
"""What this release does otherwise, and what becomes of it here."""
UNUSED = {"country.unknown_numbers"}
"""Rules that the release before has not."""
OTHERS = {
    *(f"refused {code}" for code in ("backlog-full", "ledger-unavailable", "recipient-frozen", "recipient-suppressed")),
    *(f"did {what}" for what in ("fence", "settings", "mirror", "unblock", "reset")),
}
"""What has to be seen beside all rules; the ledger is unavailable, too, while too many events wait."""
IN_MICROSECONDS = {"number.sends", "number.guesses"}
"""Rules whose windows count in milliseconds now."""
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
APPLICATIONS = {"shop": ("PK", "GB", "IN"), "club": ("GB", "PK"), "bank": ("PK",)}
"""Where each sends, at home first."""
BLOCKS = {
    "PK": ("+92300123", "+92300124", "+92333777", "+92321555", "+92345888", "+92311222"),
    "GB": ("+44740012", "+44740013", "+44740055"),
    "IN": ("+91987650", "+91987651"),
}
ODD_NUMBERS = ("+442079460018", "+33612345678", "+923009990001", "+92300", "+923451234567")
"""One that is no mobile, of another country, denied, too short, and on the safe list."""
ADDRESSES = (
    *(f"192.0.2.{last}" for last in range(1, 9)),
    *(f"2001:db8:{site:x}:{net:x}::1" for site in range(1, 4) for net in range(4)),
)
PAYMENTS = (
    {"amount": "1500", "currency": "PKR", "payee": "Daraz"},
    {"amount": "7", "currency": "PKR", "payee": "Careem"},
)
OUTCOMES = ("accept",) * 6 + (
    "unavailable", "unavailable+ambiguous", "error+ambiguous", "throttled+wait", "rejected", "channel",
    "destination+message", "account",
)  # fmt: skip
REPORTS = (
    ("delivered", ""), ("delivered", ""), ("failed", ""), ("failed", "channel"), ("failed", "account"),
    ("failed", "rejected"), ("expired", ""), ("unknown", ""), ("sent", ""),
)  # fmt: skip


@dataclass(frozen=True)
class Mood:
    """What happens for some hundred steps."""

    acts: dict[str, int]
    """Weights."""
    jumps: tuple[int, ...]
    """The longest jumps of the clock, in milliseconds; each step draws one."""
    right: float = 0.6
    """Share of right codes."""
    strangers: float = 0.2
    """Share of starts to numbers that were not seen before."""
    focus: int | None = None
    """How many of the known numbers are used."""


_ACTS = {
    "start": 34, "check": 30, "resend": 8, "deliver": 7, "report": 6, "record": 2, "cancel": 1, "read": 2, "look": 2,
    "die": 1, "claim": 2, "consent": 2, "suppress": 2, "reset": 1, "unblock": 1, "again": 2,
}  # fmt: skip
_QUICK = (0, 0, 0, 2000)
_CALM = (0, 0, 0, 0, 2000, 2000, 45_000, 2 * MINUTE, 10 * MINUTE)
MOODS = (
    Mood(_ACTS, _CALM),
    Mood(_ACTS, (*_CALM, *_CALM, 2 * HOUR, DAY)),
    Mood(_ACTS, (0, 0, 0, MINUTE, HOUR, DAY, 21 * DAY)),
    Mood({**_ACTS, "start": 90, "check": 6}, _QUICK, right=0.1, strangers=0.8),
    Mood({**_ACTS, "start": 90, "check": 20}, (*_QUICK, 5 * MINUTE, HOUR), right=0.2, strangers=0.9),
    Mood({**_ACTS, "start": 20, "check": 90}, (*_QUICK, 3 * MINUTE, 20 * MINUTE), right=0.02, strangers=0, focus=2),
    Mood({**_ACTS, "start": 30, "check": 90}, (0, 0, 0, 20_000), right=0.0, strangers=0, focus=1),
    Mood({**_ACTS, "start": 60, "check": 90}, (*_QUICK, MINUTE), right=0.1, strangers=0.5),
    Mood({**_ACTS, "deliver": 0, "claim": 0, "start": 90}, _QUICK, strangers=0.6),
    Mood({**_ACTS, "resend": 40, "report": 30, "deliver": 30}, (*_CALM, MINUTE, MINUTE), right=0.3),
)
RARE = {"fence": 0.001, "settings": 0.001, "mirror": 0.001, "back": 0.001}
"""Chances of what an operator does now and then, and of a clock that is set back."""


@dataclass
class Started:
    """A verification, as the driver remembers it."""

    one: int
    at: int
    """When, in the clock's milliseconds."""
    application: str
    transaction: dict[str, str] | None


class Draw:
    """Draws steps from a seed."""

    def __init__(self, seed: int, trees: int) -> None:
        self._random = random.Random(seed)
        self._trees = trees
        self._numbers = {code: [self._stranger(code) for _ in range(8)] for code in BLOCKS}
        self._mood, self._addresses, self._left, self._recorder_rests = MOODS[0], [*ADDRESSES], 0, 0
        self._started: list[Started] = []
        self._keyed: dict[str, Any] | None = None
        """The last step with an idempotency key."""
        self._calls = 0
        self._ahead, self._delivered = 0, False
        """A jump that waits until workers have delivered, and whether they have."""
        self._lost = False
        self._waits: list[int] = []
        """Milliseconds that the last refusal told to wait, and some beside them."""
        self.now = START

    def step(self) -> dict[str, Any]:
        """Move the clock, and return what is done then."""
        if self._left == 0:
            self._mood, self._left = self._random.choice(MOODS), self._random.randint(50, 400)
            self._addresses = self._random.sample(ADDRESSES, self._random.choice((1, 3, len(ADDRESSES))))
            self._recorder_rests = self._random.choice((0,) * 30 + (3500,)) or self._recorder_rests
        self._left -= 1
        self._recorder_rests = max(0, self._recorder_rests - 1)
        if self._lost and self._happens(0.3):
            self._lost = False
            return {"do": "mirror", "lost": False}
        for what, chance in RARE.items():
            if self._happens(chance):
                return self._rare(what)
        jump, self._ahead = self._ahead or self._jump(), 0
        if jump > MINUTE and self._mood.acts["deliver"] and not self._delivered and self._happens(0.95):
            self._ahead, self._delivered = jump, True
            return {"do": "deliver", **self._deliver()}
        self.now, self._delivered = self.now + jump, False
        acts = self._mood.acts
        what = self._random.choices(tuple(acts), tuple(acts.values()))[0]
        drawn = getattr(self, f"_{what}")()
        step = {"do": "start", **self._start()} if drawn is None else {"do": what, **drawn}
        if "key" in step:
            self._keyed = step
        return step

    def learn(self, step: dict[str, Any], came: dict[str, Any]) -> None:
        """Learn what came of a step."""
        answer = came["answer"]
        if step["do"] == "start" and "one" in answer:
            started = Started(answer["one"], self.now, step["application"], step.get("transaction"))
            self._started = [*self._started[-60:], started]
        if step["do"] in {"deliver", "claim"}:
            self._calls += len(answer[1])
        hits = [hit for one in came["decisions"] for hit in one["rule_hits"]]
        beside = (-2, 2) if any(hit["rule"] in IN_MICROSECONDS for hit in hits) else (-1, 0, 1)
        self._waits = [max(hit["wait"] for hit in hits) + one for one in beside] if hits else []

    def _happens(self, chance: float) -> bool:
        return self._random.random() < chance

    def _jump(self) -> int:
        if self._waits and self._happens(0.1):
            return max(0, self._random.choice(self._waits))
        return self._random.randint(0, self._random.choice(self._mood.jumps))

    def _rare(self, what: str) -> dict[str, Any]:
        if what == "back":
            self.now -= self._random.randint(1, 3000)
            return {"do": "deliver", "outcomes": ["accept"]}
        if what == "mirror":
            self._lost = True
            return {"do": "mirror", "lost": True}
        return {"do": what, **({"which": self._random.randrange(self._trees)} if what == "settings" else {})}

    def _stranger(self, country: str) -> str:
        block = self._random.choice(BLOCKS[country])
        return f"{block}{self._random.randrange(10_000):04}"

    def _number(self, country: str) -> str:
        return self._random.choice(self._numbers[country][: self._mood.focus])

    def _start(self) -> dict[str, Any]:
        draw = self._random
        application = draw.choice(tuple(APPLICATIONS))
        countries = APPLICATIONS[application]
        country = countries[0] if self._happens(0.5) else draw.choice(countries)
        to = self._stranger(country) if self._happens(self._mood.strangers) else self._number(country)
        if self._happens(0.03):
            to = draw.choice(ODD_NUMBERS)
        step: dict[str, Any] = {"application": application, "to": to, "purpose": "login"}
        if self._happens(0.15):
            step |= {"purpose": "payment", "transaction": draw.choice(PAYMENTS)}
        elif self._happens(0.3):
            step["purpose"] = "new_code"
        if self._happens(0.9):
            step["client_ip"] = draw.choice(self._addresses)
        if self._happens(0.1):
            step["key"] = f"key-{draw.randrange(400)}"
        if self._happens(0.8 if application == "club" else 0.05):
            step["consent"] = draw.choice(("now", "now", "now", "old"))
        return step

    def _of_one(self) -> tuple[Started, dict[str, Any]] | None:
        """Choose a verification, of late ones most often; now and then another application asks for it."""
        draw = self._random
        alive = [one for one in self._started if one.at > self.now - 8 * MINUTE][-8:]
        if not (among := alive if self._happens(0.95) else self._started):
            return None
        found = draw.choice(among)
        application = draw.choice(tuple(APPLICATIONS)) if self._happens(0.03) else found.application
        key = {"key": f"key-{draw.randrange(400)}"} if self._happens(0.1) else {}
        return found, {"application": application, "one": found.one, **key}

    def _check(self) -> dict[str, Any] | None:
        if not (chosen := self._of_one()):
            return None
        found, step = chosen
        draw = self._random
        code = "right" if self._happens(self._mood.right) else draw.choice(("wrong",) * 8 + ("old", "short"))
        shown = draw.choice((*PAYMENTS, None)) if self._happens(0.05) else found.transaction
        return {**step, "code": code, "transaction": shown}

    def _resend(self) -> dict[str, Any] | None:
        chosen = self._of_one()
        return chosen and {**chosen[1], "channel": self._random.choice((None, None, "sms", "voice"))}

    def _cancel(self) -> dict[str, Any] | None:
        chosen = self._of_one()
        return chosen and chosen[1]

    def _read(self) -> dict[str, Any] | None:
        chosen = self._of_one()
        return chosen and {name: chosen[1][name] for name in ("application", "one")}

    def _again(self) -> dict[str, Any] | None:
        return self._keyed

    def _deliver(self) -> dict[str, Any]:
        return {"outcomes": self._random.choices(OUTCOMES, k=5)}

    def _die(self) -> dict[str, Any]:
        return {}

    def _claim(self) -> dict[str, Any]:
        return {"idle": self._random.choice((0, 30_000))}

    def _report(self) -> dict[str, Any] | None:
        if not self._calls:
            return None
        status, kind = self._random.choice(REPORTS)
        call = self._calls - 1 - self._random.randrange(min(30, self._calls))
        return {"call": call, "status": status, "kind": kind, "opted_out": self._happens(0.02)}

    def _record(self) -> dict[str, Any] | None:
        return None if self._recorder_rests else {}

    def _consent(self) -> dict[str, Any]:
        application = self._random.choice(("shop", "club"))
        to = self._number(APPLICATIONS[application][0])
        return {
            "application": application,
            "to": to,
            "purpose": "login",
            "given": self._random.choice(("now", "old", "")),
        }

    def _suppress(self) -> dict[str, Any]:
        application = self._random.choice(tuple(APPLICATIONS))
        scope = self._random.choice(("frozen", "all", "marketing_only"))
        to = self._number(APPLICATIONS[application][0])
        return {"application": application, "to": to, "scope": scope, "lifted": self._happens(0.8)}

    def _somewhere(self) -> tuple[str, str]:
        application = self._random.choice(tuple(APPLICATIONS))
        return application, self._number(self._random.choice(APPLICATIONS[application]))

    def _reset(self) -> dict[str, Any]:
        return {"to": self._somewhere()[1]}

    def _unblock(self) -> dict[str, Any]:
        application, to = self._somewhere()
        what = self._random.choice(("number", "block", "country", "address"))
        return {"what": what, "application": application, "to": to, "address": self._random.choice(ADDRESSES)}

    def _look(self) -> dict[str, Any]:
        application, to = self._somewhere()
        return {"application": application, "to": to}


def settings(url: str, ledger: str, seed: int) -> list[dict[str, Any]]:
    """Return settings whose limits are met often: those to begin with, some of which only record, and wider ones."""
    draw = random.Random(-seed)
    modes = {rule: "enforce" for rule in GUARD_RULES if rule not in UNUSED}
    softer = {rule: draw.choice(("enforce", "record_only")) for rule in modes}
    return [_tree(url, ledger, modes, 1), _tree(url, ledger, softer, 1), _tree(url, ledger, modes, 3)]


def _tree(url: str, ledger: str, modes: dict[str, str], wide: int) -> dict[str, Any]:
    def times(*notations: str) -> list[str]:
        amounts = (notation.partition("/") for notation in notations)
        return [f"{wide * int(amount)}/{window}" for amount, _, window in amounts]

    login = {"resend_delays": [20, 40], "max_sends": 4, "channels": ["sms", "voice"]}
    applications = {
        name: {
            "name": f"The {name}", "keys": [f"sha256:{place:064x}"], "purposes": ["login", "new_code", "payment"],
            "countries": countries, "region": countries[0],
            "client_ip": ("connection", "required", "none")[place], "consent": ("recorded", "required", "off")[place],
            "spend": {"hour": f"{40 * wide}", "day": f"{150 * wide}", "countries": {"GB": {"hour": f"{25 * wide}"}}},
        }
        for place, (name, countries) in enumerate(APPLICATIONS.items())
    }  # fmt: skip
    gateway = {"kind": "sandbox", "timeout": 60, "prices": {"PK": "1.5", "*": "4", "PK/voice": "3.25"}}
    return {
        "environment": "development",
        "redis": {"url": url},
        "ledger": {"url": ledger},
        "keys": {"root": f"k1:{_key('root')}", "pseudonym": _key("pseudonyms of the differential test")},
        "purposes": {
            "login": login,
            "new_code": {**login, "resend": "new_code", "fallback": False},
            "payment": {"kind": "transaction", "ttl": 180, "max_checks": 3, "channels": ["sms"]},
        },
        "applications": applications,
        "limits": {
            "number": times("4/10 minutes", "12/day"), "failed_checks": times("6/10 minutes", "25/day"),
            "ip": times("8/minute", "60/day"), "application": times("12/minute", "300/day"),
        },
        "guard": {
            "modes": modes,
            "destinations": {"denied": ["+92300999"], "safe": ["+923451234567"]},
            "number": {
                "cooldown": [5, 30, 60], "guess_waits": [0, 0, 10, 30], "lock_after": 10, "lock_days": 1,
                "known_days": 5, "contexts": 3,
            },
            "address": {
                "unapproved": times("12/day"), "numbers": times("9/day"), "countries": times("2/day"),
                "network": times("15/day"), "provider": times("30/day"),
            },
            "block": {"unapproved": times("8/hour", "16/2 days")},
            "country": {"unapproved": times("8/day"), "home": times("30/day")},
            "conversion": {
                "sends": 5, "home_sends": 12, "rate": 0.4, "closed_for": 300, "max_closed_for": 7200,
                "trickle": "3/10 minutes", "home": "10/day", "home_block": "2/2 days",
            },
            "failures": {"wrong": 10, "share": 0.6},
        },
        "gateways": {"first": {**gateway, "per_second": 2.3}, "second": gateway},
        "routes": [{"gateways": ["first", "second"]}],
        "streams": {"max_events": 1000, "max_outbox": 30},
        "worker": {"claim_margin": 0.5},
    }  # fmt: skip


def _key(name: str) -> str:
    return base64.b64encode(hashlib.blake2b(name.encode(), digest_size=32).digest()).decode()


class Side:
    """A release in a process of its own, and its server."""

    def __init__(
        self, checkout: Path, folder: Path, trees: Callable[[str, str], list[dict[str, Any]]], program: str = PROGRAM
    ) -> None:
        """Start both; ``trees`` returns the settings for a server's address and a ledger's."""
        folder.mkdir()
        self.server = FrozenValkey(folder)
        python = checkout / ".venv" / "bin" / "python"
        self._process = subprocess.Popen(
            [python, checkout / "benchmarks" / program, folder.name],
            env={"PYTHONPATH": f"{checkout}:{checkout / 'benchmarks'}", "PYTHONSAFEPATH": "1", "PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / "log").open("w"), text=True,
        )  # fmt: skip
        self._log = folder / "log"
        self.trees = trees(self.server.url, f"sqlite:///{folder}/ledger.db")
        self._say(self.trees)

    def do(self, at: int, step: dict[str, Any]) -> dict[str, Any]:
        """Do a step when the clock shows a time; return what came of it."""
        if at != self.server.now:
            self.server.move_to(at)
        self._say(step)
        line = next(iter(self._process.stdout or ()), "")
        if not line:
            raise SystemExit(f"{self._log}: {self._log.read_text()[-3000:]}")
        return json.loads(line)

    def stop(self) -> None:
        """End the process and the server."""
        self._process.terminate()
        self._process.wait(10)
        self.server.stop(kill=True)

    def _say(self, what: object) -> None:
        print(json.dumps(what), file=self._process.stdin, flush=True)


@dataclass
class Books:
    """What it came to."""

    steps: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    """How often each rule applied, and what else became of calls."""
    differences: list[str] = field(default_factory=list)

    def note(self, step: dict[str, Any], came: dict[str, Any]) -> None:
        """Count a step, and what came of it."""
        self.steps += 1
        self.seen[f"did {step['do']}"] += 1
        answer = came["answer"]
        if isinstance(answer, dict) and "refused" in answer:
            self.seen[f"refused {answer['refused']}"] += 1
        for one in came["decisions"]:
            for hit in one["rule_hits"]:
                self.seen[f"{hit['rule']} {hit['mode']}"] += 1
            if not one["rule_hits"]:
                self.seen[f"{one['rule']} {one['mode']}"] += 1
        for one in came["events"]:
            why = one.get("reason", "") if one["type"].startswith("verification.") else ""
            self.seen[f"event {one['type']} {why}".strip()] += 1


def unlike(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield where two answers differ, and how."""
    if isinstance(old, dict) and isinstance(new, dict):
        about = f"{path} {old['rule']}" if "rule" in old else path
        for name in sorted({*old, *new}):
            yield from unlike(old.get(name), new.get(name), f"{about}/{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, pair in enumerate(zip(old, new, strict=True)):
            yield from unlike(*pair, f"{path}/{place}")
    elif isinstance(old, float) and isinstance(new, float):
        if abs(old - new) > 1e-6 * max(1, abs(old)):
            yield f"{path}: {old} is {new} now"
    elif old != new:
        yield f"{path}: {old} is {new} now"


def allow(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Let it make no difference that a window waits a millisecond less, and which of two equal waits is named."""
    for one, other in zip(old["decisions"], new["decisions"], strict=False):
        hits = list(zip(one["rule_hits"], other["rule_hits"], strict=False))
        for before, after, name in [(one, other, "until"), *((*pair, "wait") for pair in hits)]:
            if before["rule"] in IN_MICROSECONDS and before[name] == after[name] + 1:
                after[name] = before[name]
                if isinstance(new["answer"], dict) and "after" in new["answer"]:
                    new["answer"]["after"] = old["answer"].get("after")
        waits = {hit["rule"]: hit["wait"] for hit, _ in hits}
        if abs(waits.get(one["rule"], 0) - waits.get(other["rule"], -2)) <= 1:
            other["rule"] = one["rule"]


def play(before: Path, seed: int, steps: int) -> Books:
    """Do the steps of a seed; stop where the releases differ: what follows would follow from that."""
    books, draw = Books(), Draw(seed, 3)
    told: list[str] = []
    with ExitStack() as stack:
        folder = folder_in_memory("differential")
        trees = partial(settings, seed=seed)
        both = [Side(checkout, folder / name, trees) for name, checkout in (("old", before), ("new", HERE))]
        for side in both:
            stack.callback(side.stop)
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for count in range(steps):
            step = draw.step()
            old, new = pool.map(lambda side, at, what: side.do(at, what), both, [draw.now] * 2, [step] * 2)
            allow(old, new)
            books.note(step, old)
            told = [*told[-12:], f"  {draw.now} {json.dumps(step)} {json.dumps(old['answer'])[:300]}"]
            if found := list(unlike(old, new)):
                books.differences.append("\n".join([f"seed {seed}, step {count}:", *told, *found]))
                break
            draw.learn(step, old)
    print(f"seed {seed}: {books.steps:,} steps, {len(books.differences)} differences", *books.differences, flush=True)
    return books


def main() -> int:
    """Play all seeds; print what was seen; return 1 when the releases differ, or something was never seen."""
    options = _options()
    began, books = time.monotonic(), Books()
    with ThreadPoolExecutor(options.at_once) as pool:
        for one in pool.map(lambda seed: play(options.before.resolve(), seed, options.steps), options.seeds):
            books.steps, books.seen = books.steps + one.steps, books.seen + one.seen
            books.differences += one.differences
    print("\nChanged on purpose:\n")
    for what, how in ON_PURPOSE.items():
        print(f"- {what}: {how}")
    print("\n| | times |\n|---|---:|")
    for what, times in sorted(books.seen.items()):
        print(f"| {what} | {times:,} |")
    rules = {f"{rule} enforce" for rule in GUARD_RULES if rule not in UNUSED}
    unseen = [f"never seen: {one}" for one in sorted(rules | OTHERS) if not books.seen[one]]
    print(f"\n{books.steps:,} steps, {len(books.differences)} differences, {time.monotonic() - began:.0f} s")
    return ended_with([*books.differences, *unseen])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="another checkout, of the release before")
    parser.add_argument("--steps", type=int, default=10_000, help="of each seed")
    parser.add_argument("--seeds", type=int, nargs="*", default=range(1, 11))
    parser.add_argument("--at-once", type=int, default=4, help="seeds that are played side by side")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
