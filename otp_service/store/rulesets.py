"""Rulesets and plans as the scripts read them, by a name that is a hash of their text."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final

from otp_service.domain.guard import DAY, LimitScope, Ruleset, Window

_PARTS: Final = ("country", "block", "address", "network", "provider")
"""Subjects that count unapproved messages, in the order of their rules: a block's rules follow its country's."""
_WINDOWS_OF: Final = {LimitScope.IP: "address", LimitScope.APPLICATION: "application"}
"""Subjects that hold the counters of a scope; the windows of other scopes are texts in a number's state."""

Rule = dict[str, Any]
"""A rule in plain values."""


@dataclass(frozen=True, slots=True)
class CompiledRuleset:
    """A ruleset, with its text and its name in the scripts."""

    ruleset: Ruleset
    name: str
    text: str
    quota: Window | None
    """The window that the application sees."""
    lives: Mapping[str, int]
    """Longest life of each subject after a write, in milliseconds."""


def compile_ruleset(ruleset: Ruleset, remembered: int = 7 * DAY, buckets: int = 1) -> CompiledRuleset:
    """Return a ruleset as the scripts read it; a number's last verifications are ``remembered`` for milliseconds.

    Each of the ``buckets`` has its share of the ceilings. Windows of addresses and applications are summed over them.
    """
    data = asdict(ruleset)
    for ceiling in chain(data["ceilings"], *data["ceilings_of_countries"].values()):
        ceiling["amount"] //= buckets
    data["sharing"] = buckets if buckets > 1 else None
    data["lifetimes"] = {"guesses": ruleset.known, **ruleset.lifetimes}
    data["windows"] = {
        scope: [window for window in data["windows"] if window["scope"] == scope] for scope in LimitScope
    }
    data["parts"] = _parts(data.pop("buckets"), data.pop("breakers"))
    ttls = _ttls(ruleset, remembered)
    layouts = _layouts(ruleset, is_shared=buckets > 1)
    text = json.dumps(_without_nulls({**data, "layouts": layouts, "ttls": ttls}))
    name = _digest(text)
    quota = next((window for window in ruleset.windows if window.quota), None)
    known = max(ruleset.known, ruleset.lock.length if ruleset.lock else 0)
    return CompiledRuleset(ruleset, name, text, quota, {**ttls, "number": max(ttls["number"], known)})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _layouts(ruleset: Ruleset, *, is_shared: bool) -> dict[str, str]:
    """Return the names of the values of each subject but a number (see ``include_rows.lua``), in their order.

    Where buckets share them, ``is_shared``, moved amounts of ceilings and sums of windows have names too.
    """
    names: dict[str, dict[str, None]] = {part: {"ends": None, "time": None} for part in _PARTS}
    for bucket in ruleset.buckets:
        names[bucket.part] |= {
            f"l{bucket.name}": None,
            **{f"a{window // 1000}": None for window in bucket.approval_windows},
        }
    for breaker in ruleset.breakers:
        names[breaker.part]["b"] = None
    names["country"] |= dict.fromkeys(("tsuspicion", "ntrickle", "nchecked", "lusual", "ltrickle", "ttrickle"))
    names["application"] = {"ends": None}
    if ruleset.failures:
        names["application"] |= dict.fromkeys(("awrong", "aright", "ntold"))
    for window in ruleset.windows:
        if subject := _WINDOWS_OF.get(window.scope):
            names[subject] |= {f"{kind}{window.seconds}": None for kind in ("wf" if is_shared else "w")}
    of_countries = tuple(chain(*ruleset.ceilings_of_countries.values()))
    for kind in "sm" if is_shared else "s":
        names["application"] |= {f"{kind}{ceiling.name}": None for ceiling in ruleset.ceilings}
        names["country"] |= {f"{kind}{ceiling.name}": None for ceiling in of_countries}
    return {subject: " ".join(of_subject) for subject, of_subject in names.items()}


def _ttls(ruleset: Ruleset, remembered: int) -> dict[str, int]:
    """Return the life of each subject after a write in milliseconds, of a number that was never approved too."""
    ttls = {part: ruleset.lifetimes.get(part, DAY) for part in _PARTS}
    ttls["application"] = max(2 * DAY, ruleset.lifetimes.get("failures", 0))
    ttls["country"] = max(2 * DAY, ttls["country"])  # spending counts for a day and its neighbours
    ttls["number"] = max(remembered, ruleset.lifetimes.get("cooldown", 0))
    for window in ruleset.windows:
        subject = _WINDOWS_OF.get(window.scope, "number")
        ttls[subject] = max(ttls[subject], 2000 * window.seconds)
    return ttls


def _parts(buckets: tuple[Rule, ...], breakers: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rules against fraud by part: a part's rules are skipped, and written, together."""
    parts = []
    for name in _PARTS:
        counting = [rule for rule in buckets if rule["part"] == name]
        judging = [rule for rule in breakers if rule["part"] == name]
        for first in (counting + judging)[:1]:
            part = {"name": name, "exempts": first["exempts"], "starts": first.get("starts", False)}
            part["buckets"] = tuple(map(_without_part, counting))
            part["breakers"] = tuple(map(_without_part, judging))
            parts.append(part)
    return tuple(parts)


def _without_part(rule: Rule) -> Rule:
    return {member: value for member, value in rule.items() if member not in {"part", "exempts", "starts"}}


def _without_nulls(value: object) -> object:
    """Remove ``None`` and ``False``: in Lua they are nil, which JSON's null is not."""
    match value:
        case Mapping():
            members = ((name, member) for name, member in value.items() if member is not None and member is not False)
            return {name: _without_nulls(member) for name, member in members}
        case tuple() | list():
            return list(map(_without_nulls, value))
        case _:
            return value


NO_RULES = compile_ruleset(Ruleset())
"""Rules of an application that left the configuration."""


@dataclass(frozen=True, slots=True)
class CompiledPlan:
    """Values that all starts of an application, purpose, country and channel share."""

    name: str
    text: str
    """JSON."""
    ruleset: CompiledRuleset


def compile_plan(values: Mapping[str, str | int], ruleset: CompiledRuleset) -> CompiledPlan:
    """Return a plan of these values, by their names in ``start.lua``."""
    text = json.dumps({**values, "ruleset": ruleset.name})
    return CompiledPlan(_digest(text), text, ruleset)
