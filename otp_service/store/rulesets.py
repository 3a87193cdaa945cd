"""Rulesets and plans as the scripts read them, by a name that is a hash of their text."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final

from otp_service.domain.guard import DAY, LimitScope, Ruleset, Window

_PARTS: Final = ("country", "block", "address", "network", "provider")
"""Subjects in which unapproved messages count, in the order of their rules: a block's follow what a country's found."""
_WINDOWS_OF: Final = {LimitScope.IP: "address", LimitScope.APPLICATION: "application"}
"""Subjects that hold the counters of a scope; the windows of other scopes are texts in a number's state."""

Rule = dict[str, Any]
"""A rule in plain values."""


@dataclass(frozen=True, slots=True)
class CompiledRuleset:
    """A ruleset, its text, and the name under which the scripts know it."""

    ruleset: Ruleset
    name: str
    text: str
    quota: Window | None
    """The one that the application is told."""
    lives: Mapping[str, int]
    """For how many milliseconds each subject is kept after a write, at most."""


def compile_ruleset(ruleset: Ruleset, remembered: int = 7 * DAY, buckets: int = 1) -> CompiledRuleset:
    """Return a ruleset as the scripts read it; a number's last verifications are ``remembered`` for milliseconds.

    Each of the ``buckets`` has its share of what ceilings allow. Windows of addresses and applications are summed over
    the buckets.
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
    """Return the names of what is kept of each subject but a number (see ``include_rows.lua``), in their order.

    Where buckets share them, ``is_shared``, what was moved of ceilings has a name too, and sums of windows.
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
    """Return for how many milliseconds each subject is kept after a write, a number that was never approved too."""
    ttls = {part: ruleset.lifetimes.get(part, DAY) for part in _PARTS}
    ttls["application"] = max(2 * DAY, ruleset.lifetimes.get("failures", 0))
    ttls["country"] = max(2 * DAY, ttls["country"])  # what is spent counts for a day and its neighbours
    ttls["number"] = max(remembered, ruleset.lifetimes.get("cooldown", 0))
    for window in ruleset.windows:
        subject = _WINDOWS_OF.get(window.scope, "number")
        ttls[subject] = max(ttls[subject], 2000 * window.seconds)
    return ttls


def _parts(buckets: tuple[Rule, ...], breakers: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rules against fraud by the part that they count in: they are spared, and written, together."""
    ruled = {rule["part"] for rule in (*breakers, *buckets)}
    return tuple(_part(name, buckets, breakers) for name in _PARTS if name in ruled)


def _part(name: str, buckets: tuple[Rule, ...], breakers: tuple[Rule, ...]) -> Rule:
    own = [rule for rule in buckets if rule["part"] == name]
    judging = [rule for rule in breakers if rule["part"] == name]
    first = (own + judging)[0]
    return {
        "name": name,
        "exempts": first["exempts"],
        "starts": first.get("starts", False),
        "buckets": tuple(map(_without_part, own)),
        "breakers": tuple(map(_without_part, judging)),
    }


def _without_part(rule: Rule) -> Rule:
    return {member: value for member, value in rule.items() if member not in {"part", "exempts", "starts"}}


def _without_nulls(value: object) -> object:
    """Leave out what says nothing: in Lua it is nil, as JSON's null is not."""
    match value:
        case Mapping():
            members = ((name, member) for name, member in value.items() if member is not None and member is not False)
            return {name: _without_nulls(member) for name, member in members}
        case tuple() | list():
            return list(map(_without_nulls, value))
        case _:
            return value


NO_RULES = compile_ruleset(Ruleset())
"""For what belongs to an application that the configuration has lost."""


@dataclass(frozen=True, slots=True)
class CompiledPlan:
    """What the starts of an application, purpose, country and channel have in common, as the scripts are taught it."""

    name: str
    """Under which the scripts know it."""
    text: str
    """JSON."""
    ruleset: CompiledRuleset


def compile_plan(values: Mapping[str, str | int], ruleset: CompiledRuleset) -> CompiledPlan:
    """Return a plan of these values, by the names under which ``start.lua`` reads them."""
    text = json.dumps({**values, "ruleset": ruleset.name})
    return CompiledPlan(_digest(text), text, ruleset)
