"""The Lua scripts as one library of functions, which Redis keeps: what they share is set up once, not at every call.

Each file in ``lua/`` that is no part of others is a function. The library is named by a hash of its text, and its
functions by it: releases that share a server do not meet. The rulesets that scripts need are taught to the library,
which remembers them until the server restarts; each is known by a hash of its text too.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files
from itertools import pairwise

from otp_service.store import keys

PREFIX = "otp_service_"
"""Begins the names of all libraries of this service, of this release or another."""
UNKNOWN_RULES = b"ruleset-unknown"
"""What a function answers that was not taught its ruleset; it has done nothing."""

_INCLUDES = re.compile(r"^-- include (.+)$", re.MULTILINE)
_RULESET = re.compile(r"\bruleset\.")
_LUA = files("otp_service.store") / "lua"
_SUFFIX = ".lua"
_PART = "include_"
_NAME = "@name@"
_BEGIN = f"""#!lua name={_NAME}
local KEYS, ARGV, ruleset -- of the call at hand
local rulesets = {{}}
redis.register_function('{_NAME}_teach', function(_, taught)
  rulesets[taught[1]] = cjson.decode(taught[2])
  return 'OK'
end)
"""
_TAKE = "KEYS, ARGV = keys, arguments"
_TAKE_RULES = f"""KEYS, ARGV, ruleset = keys, arguments, rulesets[table.remove(arguments)]
if not ruleset then return {{ '{UNKNOWN_RULES.decode()}' }} end"""
_READ = {"clock": "clock.read()", "fence": f"fence.read('{keys.FENCE}')"}
"""What is read when a script begins that includes the part, in this order."""


@dataclass(frozen=True, slots=True)
class Library:
    """All scripts, as ``FUNCTION LOAD`` takes them."""

    name: str
    text: str

    def function(self, script: str) -> str:
        """Return the name of a script's function."""
        return f"{self.name}_{script}"

    @property
    def teach(self) -> str:
        """The function that is taught a ruleset: its name, and the ruleset as JSON."""
        return self.function("teach")


@cache
def script_names() -> tuple[str, ...]:
    """Return the names of all scripts: the files in ``lua/`` that are not parts of others."""
    names = sorted(file.name.removesuffix(_SUFFIX) for file in _LUA.iterdir() if file.name.endswith(_SUFFIX))
    return tuple(name for name in names if not name.startswith(_PART))


@cache
def library() -> Library:
    """Return the library of this release."""
    bodies = {name: _read(name) for name in script_names()}
    names = order(map(included, bodies.values()))
    parts = dict(zip(names, part_texts(names), strict=True))
    functions = [_function(name, body, parts) for name, body in bodies.items()]
    text = "\n".join([_BEGIN, *parts.values(), *functions])
    name = PREFIX + hashlib.sha256(text.encode()).hexdigest()[:12]
    return Library(name, text.replace(_NAME, name))


def part_texts(parts: Iterable[str]) -> list[str]:
    """Return the texts of parts, by their names."""
    return [_read(f"{_PART}{part}") for part in parts]


def included(body: str) -> list[str]:
    """Return the names of the parts that a script includes, in their order."""
    return [part for line in _INCLUDES.findall(body) for part in line.split()]


def order(includes: Iterable[list[str]]) -> list[str]:
    """Return all parts in an order that is each script's own, for a part uses those before it."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for parts in includes:
        for before, after in pairwise(parts):
            sorter.add(after, before)
        for part in parts:
            sorter.add(part)
    return list(sorter.static_order())


def _function(name: str, body: str, parts: Mapping[str, str]) -> str:
    """Return a script as a function; one that reads a ruleset, itself or in a part, is given its name at the end."""
    own = included(body)
    rules = any(_RULESET.search(text) for text in (body, *(parts[part] for part in own)))
    lines = [
        f"redis.register_function('{_NAME}_{name}', function(keys, arguments)",
        _TAKE_RULES if rules else _TAKE,
        *(read for part, read in _READ.items() if part in own),
        f"{body}end)\n",
    ]
    return "\n".join(lines)


def _read(name: str) -> str:
    return (_LUA / f"{name}{_SUFFIX}").read_text()
