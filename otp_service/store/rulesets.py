"""A ruleset as the beginning of a script: a table of Lua.

Written into the text, it is compiled once and costs a call nothing; given as an argument, it would be parsed each time.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from otp_service.core.guard.ruleset import Ruleset


@dataclass(frozen=True, slots=True)
class LoadedRuleset:
    """A ruleset, and the statement that declares it to the scripts."""

    ruleset: Ruleset
    text: str


def load_ruleset(ruleset: Ruleset) -> LoadedRuleset:
    """Return a ruleset as the scripts read it."""
    return LoadedRuleset(ruleset, f"local ruleset = {_literal(asdict(ruleset))}\n")


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
