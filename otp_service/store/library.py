"""The library of functions in Lua: how it is put together from the files in ``lua/``."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files
from itertools import pairwise

from otp_service.store.signatures import SIGNATURES
from otp_service.store.signatures.signature import reply_functions

# Each file in ``lua/`` that is no part of others is a function of one library, named by a hash of its text: releases
# that share a server do not meet. Rulesets and plans are registered with the library by a hash of theirs; it keeps
# them until the server restarts, or thousands of others were registered.

PREFIX = "otp_service_"
"""Begins the names of all libraries of this service, of this release or another."""
UNREGISTERED = b"unregistered"
"""Answer of a function whose ruleset or plan is not registered; it has done nothing."""

_INCLUDES = re.compile(r"^-- include (.+)$", re.MULTILINE)
_PLAN = re.compile(r"\bplan\.")
_RULESET = re.compile(r"\bruleset\.")
_LUA = files("otp_service.store") / "lua"
_SUFFIX = ".lua"
_PART = "include_"
_NAME = "@name@"
_BEGIN = f"""#!lua name={_NAME}
local KEYS, ARGV, ruleset, plan -- of the call at hand
local rulesets, plans, taught = {{}}, {{}}, 0
-- To look globals up took 2 % of a start: the first call keeps them here. Before it there is redis only, to register.
local redis, string, struct, math, table, tonumber, unpack, ipairs = redis

local function keep_globals(all)
  redis, string, struct, math, table = all.redis, all.string, all.struct, all.math, all.table
  tonumber, unpack, ipairs = all.tonumber, all.unpack, all.ipairs
end

local function make_room() -- what is forgotten is taught again when it is used
  taught = taught + 1
  if taught > 20000 then rulesets, plans, taught = {{}}, {{}}, 1 end
end

local function by_name(list) -- name, value, …
  local values = {{}}
  for i = 1, #list, 2 do values[list[i]] = list[i + 1] end
  return values
end
"""
_KEEP = "if not string then keep_globals(_G) end"
_TAKE = "KEYS, ARGV = keys, arguments"
_TAKE_RULESET = "KEYS, ARGV, ruleset = keys, arguments, rulesets[table.remove(arguments)]"
_TAKE_PLAN = """KEYS, ARGV, plan = keys, arguments, plans[table.remove(arguments)]
ruleset = plan and rulesets[plan.ruleset]"""
_REQUIRE_RULESET = f"if not ruleset then return {{ '{UNREGISTERED.decode()}' }} end"
_READ = {"clock": "clock.read()", "fence": "fence.read(table.remove(KEYS))"}
"""What is read when a script begins that includes the part, in this order."""


@dataclass(frozen=True, slots=True)
class Library:
    """All scripts, as ``FUNCTION LOAD`` takes them."""

    name: str
    text: str

    def function(self, script: str) -> str:
        """Return the name of a script's function."""
        return f"{self.name}_{script}"


@cache
def script_names() -> tuple[str, ...]:
    """Return the names of all scripts: the files in ``lua/`` that are not parts of others."""
    names = sorted(file.name.removesuffix(_SUFFIX) for file in _LUA.iterdir() if file.name.endswith(_SUFFIX))
    return tuple(name for name in names if not name.startswith(_PART))


@cache
def library() -> Library:
    """Return the library of this release."""
    bodies = {}
    for script in script_names():
        body = _read(script)
        SIGNATURES[script].check(body)
        bodies[script] = SIGNATURES[script].bind(body)
    names = order(map(included, bodies.values()))
    parts = dict(zip(names, part_texts(names), strict=True))
    functions = [_function(name, body, parts) for name, body in bodies.items()]
    text = "\n".join([_BEGIN, reply_functions(SIGNATURES.values()), *parts.values(), *functions])
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
    """Return a script as a function.

    One that reads a plan is given its name at the end; one that reads a ruleset, itself or in a part, that name.
    """
    own = included(body)
    rules = any(_RULESET.search(text) for text in (body, *(parts[part] for part in own)))
    take = (_TAKE_PLAN, _REQUIRE_RULESET) if _PLAN.search(body) else (_TAKE_RULESET, _REQUIRE_RULESET)
    lines = [
        f"redis.register_function('{_NAME}_{name}', function(keys, arguments)",
        _KEEP,
        *(take if rules else (_TAKE,)),
        *(read for part, read in _READ.items() if part in own),
        f"{body}end)\n",
    ]
    return "\n".join(lines)


@cache
def fenced_scripts() -> frozenset[str]:
    """Return the names of the scripts that read the fence, whose key is their last one."""
    return frozenset(name for name in script_names() if "fence" in included(_read(name)))


def _read(name: str) -> str:
    return (_LUA / f"{name}{_SUFFIX}").read_text()
