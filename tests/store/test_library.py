"""The library of functions: what is in it, in which order, and under which name."""

from functools import partial
from graphlib import CycleError
from typing import Any

import pytest
from support_frozen import FrozenValkey

from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store import library as module
from otp_service.store.library import PREFIX, included, library, order, script_names
from otp_service.store.rulesets import NO_RULES
from otp_service.store.script_runner import ScriptCall, ScriptRunner


@pytest.mark.parametrize("name", script_names())
def test_parts_stand_in_the_order_in_which_every_script_includes_them(name: str) -> None:
    own = included(module._read(name))
    declared = [line.split()[1] for line in library().text.splitlines() if line.startswith("local ")]

    assert [part for part in declared if part in own] == own


def test_orders_that_contradict_each_other_are_refused() -> None:
    parts = order([["states", "guard"], ["clock", "states"]])
    assert parts == ["clock", "states", "guard"]
    with pytest.raises(CycleError):
        order([["clock", "states"], ["states", "clock"]])


def test_another_text_is_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases that share a server must not replace each other's scripts."""
    before, read = library(), module._read
    monkeypatch.setattr(module, "_read", lambda name: read(name) + "-- changed\n" * (name == "include_number"))
    after = library.__wrapped__()

    assert before.name.startswith(PREFIX)
    assert {after.name, after.function("start"), after.function("check")}.isdisjoint(
        {before.name, before.function("start"), before.function("check")}
    )


RULED = (
    "check",
    "dispatch",
    "dispatch_finish",
    "factor_check",
    "guard_roll_back",
    "number_forget",
    "number_read",
    "number_show",
    "number_unblock",
    "resend",
    "share_move",
    "suspicions_note",
    "user_guess",
    "verification_find",
    "windows_read",
    "windows_write",
)


def test_the_scripts_that_read_a_ruleset_are_known_by_their_text() -> None:
    functions = library().text.split("redis.register_function('")[1:]
    ruled = {one.partition("'")[0] for one in functions if "rulesets[table.remove(arguments)]" in one}
    planned = {one.partition("'")[0] for one in functions if "plans[table.remove(arguments)]" in one}

    assert ruled == {library().function(name) for name in RULED}
    assert planned == {library().function("start")}


@pytest.mark.parametrize(("times", "answered"), [(1, True), (2, True), (9, False)])
@pytest.mark.parametrize("after", ["_load", "_register"])
def test_scripts_that_processes_of_another_release_delete_meanwhile_are_loaded_and_taught_again(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch, after: str, times: int, answered: bool
) -> None:
    frozen.client.function_flush()
    runner, left = ScriptRunner(frozen.client), iter(range(times))
    act = getattr(runner, after)

    def cut(*about: Any) -> None:
        act(*about)
        if next(left, None) is not None:
            frozen.client.function_delete(runner.library_name)

    monkeypatch.setattr(runner, after, cut)
    ask = partial(runner.run, ScriptCall("number_read", (keys.number("00", "somebody"),), (), NO_RULES))
    if answered:
        assert ask()[0] == b"number-read"
    else:
        with pytest.raises(StoreUnavailableError):
            ask()
