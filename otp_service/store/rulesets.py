"""A ruleset as the scripts read it: JSON, which the library of functions is taught once (see library.py)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from otp_service.domain.guard import Ruleset, Window

Rule = dict[str, Any]
"""A rule in plain values."""


@dataclass(frozen=True, slots=True)
class LoadedRuleset:
    """A ruleset, its text, and the name under which the scripts know it."""

    ruleset: Ruleset
    name: str
    text: str
    quota: Window | None
    """The one that the application is told."""
    parts: frozenset[str]
    """Parts of the guard in which it counts unapproved messages."""


def load_ruleset(ruleset: Ruleset) -> LoadedRuleset:
    """Return a ruleset as the scripts read it."""
    data = asdict(ruleset)
    buckets, breakers = data.pop("buckets"), data.pop("breakers")
    parts = _parts(buckets, breakers)
    text = json.dumps(_told({**data, "parts": parts}))
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    quota = next((window for window in ruleset.windows if window.quota), None)
    return LoadedRuleset(ruleset, name, text, quota, frozenset(part["name"] for part in parts))


def _parts(buckets: tuple[Rule, ...], breakers: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rules against fraud by the part that they count in: they are spared, and written, together."""
    names = dict.fromkeys(one["part"] for one in (*breakers, *buckets))
    return tuple(_part(name, buckets, breakers) for name in names)


def _part(name: str, buckets: tuple[Rule, ...], breakers: tuple[Rule, ...]) -> Rule:
    own = [one for one in buckets if one["part"] == name]
    judging = [one for one in breakers if one["part"] == name]
    first = (own + judging)[0]
    return {
        "name": name,
        "spares": first["spares"],
        "starts": first.get("starts", False),
        "buckets": tuple(map(_without_part, own)),
        "breakers": tuple(map(_without_part, judging)),
    }


def _without_part(rule: Rule) -> Rule:
    return {member: value for member, value in rule.items() if member not in {"part", "spares", "starts"}}


def _told(value: object) -> object:
    """Leave out what says nothing: in Lua it is nil, as JSON's null is not."""
    match value:
        case Mapping():
            return {name: _told(one) for name, one in value.items() if one is not None and one is not False}
        case tuple() | list():
            return list(map(_told, value))
        case _:
            return value


NO_RULES = load_ruleset(Ruleset())
"""For what belongs to an application that the configuration has lost."""
