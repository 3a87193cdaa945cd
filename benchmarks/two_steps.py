"""One call against reserve, commit and give back: the same steps, with the clock jumping; both have to decide alike.

Two processes of this release (two_steps_side.py) do the steps of differential.py on a Valkey each, whose clocks stand
still and are moved. One counts a message in one call, the other in two steps, as where addresses, blocks and
applications are on other nodes. After each step the two have to agree on the answer, on what rules found and how far
each was from its limit, on events and messages, and on what every shared subject would say to the next message. Then
what the first keeps of shared subjects is laid over the second: there a message that is refused lets buckets leak
earlier, and where approvals fade, what leaks in two parts is not quite what leaks in one. Ends with 1 when they
differ, or when a rule was never seen to apply.
"""

import argparse
import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import redis
from breaches import ended_with
from differential import APPLICATIONS, HERE, Books, Draw, Side, settings, unlike
from support_memory import folder_in_memory

from otp_service.domain.guard import GUARD_RULES
from otp_service.settings import settings_from
from otp_service.store.library import part_texts
from otp_service.store.rulesets import compile_ruleset

SHARED = ("application_state", "country", "block", "address", "network", "provider")
BESIDE = ("tallies", "asked", "unapproved")
"""Kinds of keys of shared subjects, and of what is counted beside them."""
SUSPECTED = {"PK": ("92300", "92333"), "GB": ("44740",), "IN": ("91987",)}
_PARTS = ("clock", "rows", "counters", "limits", "buckets", "conversions")
OTHERS = {
    "refused human-check-required",
    "refused backlog-full",
    "did suspect",
    "did resend",
    "did deliver",
    "did settings",
}
TIE = 2
"""Milliseconds: a decision may turn on the last bit of a fraction, where a wait ends now."""


class CountingDraw(Draw):
    """Draws steps also of newcomers under suspicion, and of human checks."""

    def step(self) -> dict[str, Any]:
        """Move the clock, and return what is done then."""
        if self._happens(0.006):
            country = self._random.choice(tuple(SUSPECTED))
            homes = [name for name, countries in APPLICATIONS.items() if country in countries]
            return {
                "do": "suspect",
                "application": self._random.choice(homes),
                "country": country,
                "ask": self._happens(0.6),
                "checked_too": self._happens(0.3),
                "narrow": self._random.choice(("", "", *SUSPECTED[country])),
            }
        step = super().step()
        if step["do"] == "start" and self._happens(0.4):
            step["passed"] = True
        return step


def trees(url: str, ledger: str, seed: int) -> list[dict[str, Any]]:
    """Return the settings, with newcomers and human checks."""
    made = settings(url, ledger, seed)
    for tree in made:
        tree["guard"]["modes"] = {**tree["guard"]["modes"], "country.unknown_numbers": "enforce"}
        tree["applications"]["club"]["human_check"] = "assertion"
    return made


class Subjects:
    """What is kept of shared subjects at both sides."""

    def __init__(self, one: Side, two: Side) -> None:
        self._one, self._two = one.server.client, two.server.client
        self._rules = [_rules(tree) for tree in one.trees]
        self._homes = {name: countries[0] for name, countries in APPLICATIONS.items()}
        stubs = "local rulesets, taught = {}, 0 local function make_room() end"
        body = Path(__file__).with_suffix(".lua").read_text()
        text = "\n".join([stubs, *part_texts(_PARTS), _register(), "clock.read()", body])
        self._scripts = [client.register_script(text) for client in (self._one, self._two)]
        self.which = 0

    def differences(self) -> Iterator[str]:
        """Yield what would tell the next message something else."""
        found = [self._keys(client, SHARED) for client in (self._one, self._two)]
        names = sorted({*found[0], *found[1]})
        if not names:
            return
        arguments = [part for name in names for part in self._about(name)]
        told = [script(names, [json.dumps(self._rules[self.which]), *arguments]) for script in self._scripts]
        for name, old, new in zip(names, *told, strict=True):
            if not _is_like(old, new):
                yield f"{name.decode()}:\n    {old!r}\n    {new!r}"

    def lay_over(self) -> None:
        """Let the second have what the first has."""
        kinds = (*SHARED, *BESIDE)
        wanted, there = self._keys(self._one, kinds), self._keys(self._two, kinds)
        with self._two.pipeline(transaction=False) as pipeline:
            for name in there - wanted:
                pipeline.delete(name)
            for name in wanted:
                life, text = self._one.pttl(name), self._one.dump(name)
                if text and (name not in there or text != self._two.dump(name)):
                    pipeline.restore(name, max(1, life), text, replace=True)
            pipeline.execute()

    def _keys(self, client: redis.Redis, kinds: tuple[str, ...]) -> set[bytes]:
        return {name for name in client.scan_iter("otp:*:*", count=10_000) if name.decode().split(":")[2] in kinds}

    def _about(self, name: bytes) -> tuple[str, str, str]:
        kind, subject = name.decode().split(":")[2:4]
        application, _, country = subject.partition("/")
        if kind not in {"application_state", "country"}:
            return kind, "shop", "home"
        place = "home" if country == self._homes[application] else "abroad"
        return kind.removesuffix("_state"), application, place


def _is_like(old: bytes, new: bytes) -> bool:
    """Tell whether two subjects hold the same, but for the last bits of fractions."""
    pairs = list(zip_longest(re.split(b"[ =,]", old), re.split(b"[ =,]", new)))
    return all(one == other or _is_close(one, other) for one, other in pairs)


def _is_close(one: bytes | None, other: bytes | None) -> bool:
    try:
        return math.isclose(float(one or b""), float(other or b""), rel_tol=1e-9, abs_tol=1e-9)
    except ValueError:
        return False


def _rules(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: json.loads(compile_ruleset(one).text) for name, one in settings_from(tree).rulesets.items()}


def _register() -> str:
    """Return a function that learns rules which are decoded already."""
    text = (HERE / "otp_service" / "store" / "lua" / "ruleset_register.lua").read_text()
    body = text.replace("local rules = cjson.decode(ARGV[2])", "local rules = given")
    body = body.replace("rulesets[ARGV[1]] = rules", "")
    body = body.replace("return 'OK'", "given.is_registered = true return given")
    return f"local function register(given) if given.is_registered then return given end\n{body}\nend"


def _decided(came: dict[str, Any]) -> dict[str, Any]:
    """Return what came of a step, but what tells of breakers and alarms: a breaker is judged by who is spared too."""
    return {**came, "decisions": [one for one in came["decisions"] if one["kind"] != "change"]}


def _is_tie(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Tell whether a decision turned on the last bit of a fraction."""
    hits = [hit for came in (old, new) for one in came["decisions"] for hit in one["rule_hits"]]
    return any(hit["wait"] <= TIE for hit in hits)


def play(seed: int, steps: int) -> Books:
    """Do the steps of a seed; stop where the ways differ."""
    books, draw = Books(), CountingDraw(seed, 3)
    told: list[str] = []
    with ExitStack() as stack:
        folder = folder_in_memory("two-steps")
        sides = [Side(HERE, folder / name, partial(trees, seed=seed), "two_steps_side.py") for name in ("one", "two")]
        for side in sides:
            stack.callback(side.stop)
        subjects = Subjects(*sides)
        pool = stack.enter_context(ThreadPoolExecutor(2))
        for count in range(steps):
            step = draw.step()
            old, new = pool.map(lambda side, at, what: side.do(at, what), sides, [draw.now] * 2, [step] * 2)
            if step["do"] == "settings":
                subjects.which = step["which"]
            books.note(step, old)
            told = [*told[-12:], f"  {draw.now} {json.dumps(step)} {json.dumps(old['answer'])[:300]}"]
            found = list(unlike(_decided(old), _decided(new)))
            if found and _is_tie(old, new):
                books.seen["tie"] += 1
                break
            found += subjects.differences()
            if found:
                books.differences.append("\n".join([f"seed {seed}, step {count}:", *told, *found]))
                break
            subjects.lay_over()
            draw.learn(step, old)
    print(f"seed {seed}: {books.steps:,} steps, {len(books.differences)} differences", *books.differences, flush=True)
    return books


def main() -> int:
    """Play all seeds; print what was seen; return 1 when the ways differ, or something was never seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000, help="of each seed")
    parser.add_argument("--seeds", type=int, nargs="*", default=range(1, 11))
    parser.add_argument("--at-once", type=int, default=1, help="seeds that are played side by side")
    options = parser.parse_args()
    began, steps, seen, differences = time.monotonic(), 0, Counter[str](), list[str]()
    with ThreadPoolExecutor(options.at_once) as pool:
        for one in pool.map(lambda seed: play(seed, options.steps), options.seeds):
            steps, seen, differences = steps + one.steps, seen + one.seen, differences + one.differences
    for what, times in sorted(seen.items()):
        print(f"| {what} | {times:,} |")
    wanted = {f"{rule} enforce" for rule in GUARD_RULES} | OTHERS
    unseen = [f"never seen: {one}" for one in sorted(wanted) if not seen[one]]
    print(f"{steps:,} steps, {len(differences)} differences, {time.monotonic() - began:.0f} s")
    return ended_with([*differences, *unseen])


if __name__ == "__main__":
    sys.exit(main())
