"""A node in cluster mode, where a script may touch keys of one slot only: what breaks that fails."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import support_valkey

from otp_service import bootstrap
from otp_service.store import keys, scripts
from otp_service.store.connection import Argument, Connection
from otp_service.store.scripts import MIXED_SLOTS, ScriptRunner
from otp_service.store.store import open_store

_KEEP = "tonumber, unpack, ipairs = all.tonumber, all.unpack, all.ipairs"
_ONE_BY_ONE = """
  local real = redis
  redis = setmetatable({ call = function(name, ...)
    if name ~= 'MGET' then return real.call(name, ...) end
    local values = { ... }
    for i, key in ipairs(values) do values[i] = real.call('GET', key) end
    return values
  end }, { __index = real })
"""
"""A command that reads several keys is refused where they are of several slots, whatever the script may."""
_TAKE_KEYS = """for _ = 1, tonumber(table.remove(arguments, 1)) do keys[#keys + 1] = table.remove(arguments, 1) end"""


def count_in_two_steps() -> None:
    """Let shared subjects be in other slots than numbers: scripts mix no slots then, but with gateways."""
    bootstrap.open_store = partial(open_store, shared_elsewhere=True)  # type: ignore[attr-defined]
    for name in ("start", "resend", "check", "dispatch_settle", "guard_give_back"):
        del MIXED_SLOTS[name]  # type: ignore[attr-defined]


def use_cluster_nodes() -> None:
    """Let each server that is started from now on be such a node, with all slots.

    Scripts that are known to mix slots may: they are told all keys but the first by arguments, and read one at a time.
    What the release before has in places without a tag goes into the bucket.
    """
    support_valkey.CLUSTER_NODES = True
    for former in (keys.former_mirror, keys.former_mirror_builder, keys.former_fence):
        object.__setattr__(former, "pattern", former.pattern.replace("otp:", "otp:{00}:former/"))
    assert scripts._BEGIN.count(_KEEP) == 1
    scripts._BEGIN = scripts._BEGIN.replace(_KEEP, _KEEP + _ONE_BY_ONE)
    write, ask = scripts._function, ScriptRunner._ask_loaded
    register = "redis.register_function("

    def function(name: str, body: str, parts: Mapping[str, str]) -> str:
        text = write(name, body, parts)
        if name not in MIXED_SLOTS:
            return text
        first, _, rest = text.removeprefix(register).partition(", ")
        callback = rest.rstrip().removesuffix(")").replace(scripts._KEEP, f"{scripts._KEEP}\n{_TAKE_KEYS}", 1)
        named = f"{{ function_name = {first}, flags = {{ 'allow-cross-slot-keys' }}, callback = {callback} }}"
        return f"redis.register_function({named})\n"

    def ask_loaded(runner: ScriptRunner, connection: Connection, command: tuple[Argument, ...], *more: Any) -> Any:
        _, name, count, *others = command
        if str(name).removeprefix(f"{runner.library_name}_") in MIXED_SLOTS:
            command = ("FCALL", name, 1, others[0], int(count) - 1, *others[1:])
        return ask(runner, connection, command, *more)

    scripts._function = function
    ScriptRunner._ask_loaded = ask_loaded  # type: ignore[method-assign]
