"""A ruleset as the beginning of a script: a table of Lua.

Written into the text, it is compiled once and costs a call nothing; given as an argument, it would be parsed each time.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from otp_service.core.guard.ruleset import Ruleset, Window

Rule = dict[str, Any]
"""A rule in plain values."""


@dataclass(frozen=True, slots=True)
class LoadedRuleset:
    """A ruleset, and the statement that declares it to the scripts."""

    ruleset: Ruleset
    text: str
    quota: Window | None
    """The one that the application is told."""


def load_ruleset(ruleset: Ruleset) -> LoadedRuleset:
    """Return a ruleset as the scripts read it."""
    data = asdict(ruleset)
    buckets, breakers = data.pop("buckets"), data.pop("breakers")
    text = _literal({**data, "parts": _parts(buckets, breakers)})
    quota = next((window for window in ruleset.windows if window.quota), None)
    return LoadedRuleset(ruleset, f"local ruleset = {text}\n", quota)


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


def _literal(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _text(value)
        case Mapping():
            told = {name: one for name, one in value.items() if one is not None and one is not False}
            return "{" + ", ".join(f"[{_text(name)}] = {_literal(one)}" for name, one in told.items()) + "}"
        case tuple() | list():
            return "{" + ", ".join(map(_literal, value)) + "}"
        case _:
            raise TypeError(f"a ruleset holds no {type(value).__name__}")


def _text(value: str) -> str:
    if not value.isascii() or not value.isprintable() or set(value) & set("'\\"):
        raise ValueError("a name in a ruleset is plain")
    return f"'{value}'"


NO_RULES = load_ruleset(Ruleset())
"""For what belongs to an application that the configuration has lost."""
