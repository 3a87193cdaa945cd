"""What the release before kept still holds after an upgrade; the data are those that its own code wrote."""

import json
import re
from typing import Any

import pytest
import redis
from support_caller import Caller
from support_cli import configured, run
from support_former import (
    COMMANDS,
    GUARD,
    KINDS,
    SETTINGS,
    convert,
    install,
    load,
    pakistani,
    rules_of_numbers,
    upgraded,
)
from support_frozen import START, FrozenValkey
from support_guard import approve, modes, passed, passes, spent, told
from support_keys import assert_all_keys_expire, kinds_of, make_key
from support_service import in_parallel

from otp_service.bootstrap import Installation, prepare
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys, upgrade
from otp_service.store.guard import CountryBreaker
from otp_service.store.rulesets import NO_RULES
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.upgrade import FormerStates

BRITISH = "+447400100777"
REFUSED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("number.sends", "shop", pakistani(1), {}),
    ("number.cooldown", "shop", pakistani(2), {}),
    ("number.guesses", "shop", pakistani(3), {}),
    ("number.guess_wait", "shop", pakistani(4), {}),
    ("number.lock", "shop", pakistani(5), {}),
    ("number.sends", "shop", pakistani(6), {"context": "another phone"}),  # what is left is for the known one
    ("address.starts", "shop", pakistani(11), {"client_ip": "192.0.2.1"}),
    ("address.unapproved", "shop", pakistani(12), {"client_ip": "192.0.2.2"}),
    ("address.numbers", "shop", pakistani(24), {"client_ip": "192.0.2.3"}),
    ("address.countries", "shop", BRITISH, {"client_ip": "192.0.2.4"}),
    ("address.network", "shop", pakistani(40), {"client_ip": "2001:db8:1:9::1"}),
    ("address.provider", "shop", pakistani(41), {"client_ip": "2001:db9:9:1::1"}),
    ("block.unapproved", "shop", pakistani(51, 77), {}),
    ("block.conversion", "shop", pakistani(500, 98), {}),
    ("country.unapproved", "abroad", BRITISH, {}),
    ("country.unapproved", "inland", pakistani(79), {}),
    ("country.conversion", "far", BRITISH, {}),
    ("country.conversion", "near", pakistani(699), {}),
    ("spend.application", "rich", pakistani(86), {}),
    ("spend.country", "land", pakistani(89), {}),
    ("application.requests", "busy", pakistani(81), {}),
    ("application.failures", "sprayed", pakistani(121), {}),
]
PASSED: list[tuple[str, str, str, dict[str, Any]]] = [
    ("number.sends", "shop", pakistani(6), {"context": "own phone"}),
    ("address.unapproved", "shop", pakistani(6), {"client_ip": "192.0.2.2", "context": "own phone"}),
    ("address.unapproved", "bank", pakistani(6), {"client_ip": "192.0.2.2", "context": "own phone"}),
    ("address.numbers", "shop", pakistani(20), {"client_ip": "192.0.2.3"}),
    ("address.countries", "shop", pakistani(32), {"client_ip": "192.0.2.4"}),
    ("block.unapproved", "shop", pakistani(51, 9), {}),
    ("number.guesses", "bank", pakistani(3), {}),
    ("number.lock", "bank", pakistani(5), {}),
]


@pytest.mark.parametrize(("rule", "application", "number", "members"), REFUSED)
def test_what_was_full_locked_or_open_refuses(
    frozen: FrozenValkey, rule: str, application: str, number: str, members: dict[str, Any]
) -> None:
    load(frozen)
    assert passes(Caller(install(frozen, rule), application), number, **members), "nobody would know of it"
    caller = upgraded(frozen, rule, application=application)

    assert not passes(caller, number, **members)
    assert told(caller)[-1] == (rule, "enforce")


@pytest.mark.parametrize(("rule", "application", "number", "members"), PASSED)
def test_what_was_known_asked_for_or_of_another_application_passes(
    frozen: FrozenValkey, rule: str, application: str, number: str, members: dict[str, Any]
) -> None:
    assert passes(upgraded(frozen, rule, application=application), number, **members)


@pytest.mark.parametrize(
    ("rule", "application", "members"),
    [("address.starts", "shop", {"client_ip": "192.0.2.5"}), ("application.requests", "rolling", {})],
)
def test_what_fades_of_the_interval_before_leaves_room_for_one(
    frozen: FrozenValkey, rule: str, application: str, members: dict[str, Any]
) -> None:
    assert passed(upgraded(frozen, rule, application=application), pakistani(82), 3, **members) == 1


def test_all_that_was_counted_is_told_as_it_was(frozen: FrozenValkey) -> None:
    rules = ("spend.application", "spend.country")
    shop, installation = upgraded(frozen, *rules), install(frozen, *rules)
    store, keyring = shop.context.store, shop.context.keyring

    def windows(block: int, *applications: str) -> list[tuple[int, str | None, int, float]]:
        found = store.limits.windows("00", keyring.pseudonym(pakistani(block)), applications)
        return [(one.limit.seconds, one.application, one.used, one.reset_in) for one in found if one.used]

    assert windows(1) == [(600, None, 3, 521), (86_400, None, 3, 86_321)]
    assert windows(3, "bank", "shop") == [(600, "shop", 4, 554), (86_400, "shop", 4, 86_354)]
    recent = store.history.recent("00", keyring.pseudonym(pakistani(1)))
    assert [one.at for one in recent] == [1_795_001_042_000, 1_795_001_041_000, 1_795_001_040_000]
    assert [one.id[:6] for one in recent] == ["vf_k1_"] * 3
    assert store.guard.stop("far", "GB") == CountryBreaker(1_795_004_640_000, 1)
    assert store.guard.stop("near", "PK") == CountryBreaker(1_795_004_640_000, 1)
    assert spent(Caller(installation, "rich")) == {"hour": 2, "day": 2}
    assert spent(Caller(installation, "land"), "PK") == {"day": 2}


def test_the_commands_show_it(frozen: FrozenValkey, tmp_path: Any) -> None:
    rules = ("country.conversion", "spend.application")
    upgraded(frozen, *rules)
    environ = configured(tmp_path, frozen.url, guard={"modes": modes(*rules), **GUARD}, **SETTINGS)
    shown = run("limits", "show", pakistani(1), environ=environ).output
    status = run("guard", "status", environ=environ).output

    assert "number 3 in 10 min\tall\t3\t0\t8 min 41 s\n" in shown
    assert "far\tGB\tenforce\t58 min 41 s\t1\n" in status
    assert "rich\tall\thour\t2.00\t2.00\tPKR\n" in status


def kept_by_name(installation: Installation, key: str) -> dict[str, Any]:
    found = installation.context.store.guard._read(key)[1]
    return dict(found)


def test_counters_levels_and_times_come_as_they_were(frozen: FrozenValkey) -> None:
    shop = upgraded(frozen)
    installation, keyring = install(frozen), shop.context.keyring
    block = kept_by_name(installation, keys.block(keyring.block_pseudonym("+92300051")))
    failures = kept_by_name(installation, keys.application("bank"))

    assert (block["lu86400"], block["a86400"], block["time"]) == (3, [20775, 1, 0], 1_795_001_074_000)
    assert block["ends"] == 1_795_001_074_000 + 2 * 86_400_000
    assert (failures["aright"], failures["awrong"]) == ([2_991_668, 1, 0], [2_991_668, 2, 0])
    assert failures["w600"] == [2, 1_795_002_274_000, 0, 0]
    assert kept_by_name(installation, keys.application("rolling"))["w600"] == [
        1, 1_795_002_000_000, 3, 1_795_001_400_000,
    ]  # fmt: skip
    assert kept_by_name(installation, keys.application("sprayed"))["ntold"] == 2_991_668


def test_a_lock_and_what_is_known_end_when_they_would_have(frozen: FrozenValkey) -> None:
    locked = upgraded(frozen, "number.lock")
    number = keys.number("00", locked.context.keyring.pseudonym(pakistani(6)))
    assert frozen.client.pexpiretime(number) == 1_795_001_074_000 + 90 * 86_400_000
    frozen.move_to(1_795_001_073_000 + 30 * 86_400_000 - 1)
    assert not passes(locked, pakistani(5))
    frozen.advance(0.001)

    assert passes(locked, pakistani(5))


def snapshot(client: redis.Redis) -> dict[bytes, tuple[Any, int]]:
    return {
        name: (client.dump(name), client.pexpiretime(name))
        for name in client.scan_iter(count=1000)
        if name != keys.INSTALLATION.encode()
    }


def forget_that_it_was_done(frozen: FrozenValkey) -> None:
    frozen.client.hdel(keys.INSTALLATION, "states")


@pytest.mark.parametrize("later", [0, 90])
def test_to_do_it_twice_changes_nothing_and_nothing_old_is_deleted(frozen: FrozenValkey, later: int) -> None:
    load(frozen)
    before = snapshot(frozen.client)
    installation = install(frozen, "number.sends", "address.numbers")
    convert(installation)
    first = snapshot(frozen.client)
    forget_that_it_was_done(frozen)
    frozen.advance(later)
    convert(installation)
    changed = dict(snapshot(frozen.client).items() - first.items())

    assert first.items() >= before.items()
    others = [name for name in changed if b" b " not in frozen.client.get(name)]
    assert others == [], "a breaker is kept as of the minute in which it is looked at"
    assert bool(changed) == bool(later)


def test_what_lives_longer_than_what_it_is_converted_from_lives_on(frozen: FrozenValkey) -> None:
    load(frozen)
    installation = install(frozen, "number.sends", "address.numbers")
    convert(installation)
    rows = [name for name in snapshot(frozen.client) if {*kinds_of(name.decode())} & {keys.number, keys.address}]
    ends = {name: frozen.client.pexpiretime(name) + 1000 for name in rows}
    for name, end in ends.items():
        frozen.client.pexpireat(name, end)
    forget_that_it_was_done(frozen)
    convert(installation)

    assert {*map(keys.number.has, map(bytes.decode, ends))} == {True, False}
    assert {name: frozen.client.pexpiretime(name) for name in ends} == ends


ROWS = {keys.number, keys.address, keys.network, keys.provider, keys.block, keys.country, keys.application}


def normal_forms(frozen: FrozenValkey) -> dict[bytes, Any]:
    """Return all rows in a form that does not tell in which order they were made."""
    rows = {
        name: frozen.client.get(name)
        for name in frozen.client.scan_iter(count=1000)
        if {*kinds_of(name.decode())} & ROWS
    }
    runner = ScriptRunner(frozen.client)
    return {
        name: sorted(row) if b":number:" in name else json.loads(runner.run("guard_read", (name.decode(),), ())[1])
        for name, row in rows.items()
    }


class Dying(ScriptRunner):
    """Is killed after so many scripts."""

    left = 3

    def run(self, *about: Any, **further: Any) -> Any:
        if not self.left:
            raise StoreUnavailableError("The process died.")
        self.left -= 1
        return super().run(*about, **further)


def test_who_dies_in_the_middle_leaves_it_to_the_next(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    upgraded(frozen)
    whole = normal_forms(frozen)
    monkeypatch.setattr(upgrade, "_PAGE", 20)
    load(frozen)
    installation = install(frozen)
    dying = FormerStates(frozen.client, Dying(frozen.client))
    with pytest.raises(StoreUnavailableError):
        dying.convert(rules_of_numbers(installation.settings))
    half = normal_forms(frozen)
    assert not frozen.client.exists(keys.INSTALLATION)
    convert(installation)

    assert 0 < len(half) < len(whole)
    assert normal_forms(frozen) == whole


class Cut(ScriptRunner):
    """Loses all connections after each script, as when the server restarts, and another order of keys with it."""

    def run(self, *about: Any, **further: Any) -> Any:
        answer = super().run(*about, **further)
        self._client.client_kill_filter(_type="normal", skipme=True)
        return answer


def test_who_loses_the_server_in_the_middle_does_not_go_on_with_another_one(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "_PAGE", 20)
    load(frozen)
    rules = rules_of_numbers(install(frozen).settings)
    with pytest.raises(StoreUnavailableError):
        FormerStates(frozen.client, Cut(frozen.client)).convert(rules)

    assert not frozen.client.exists(keys.INSTALLATION)


def test_those_who_start_together_do_what_one_does(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    upgraded(frozen)
    whole = normal_forms(frozen)
    monkeypatch.setattr(upgrade, "_PAGE", 2)
    load(frozen)
    installations = [install(frozen) for _ in range(3)]
    in_parallel(3, lambda place: convert(installations[place]))

    assert normal_forms(frozen) == whole


def test_whoever_comes_late_changes_nothing(frozen: FrozenValkey) -> None:
    """A process that began before another one was done: people are served by then, and operators unlock."""
    shop = upgraded(frozen, "number.lock")
    pseudonym = shop.context.keyring.pseudonym(pakistani(5))
    assert shop.context.store.guard.forget_number("00", pseudonym, ["shop"]) == 1
    old = f"otp:{{00}}:guard/guesses/shop/{pseudonym}"
    rules = rules_of_numbers(install(frozen, "number.lock").settings)

    assert ScriptRunner(frozen.client).run("former_convert", (keys.INSTALLATION, old), (0,), rules) == 1
    assert passes(shop, pakistani(5))


def test_what_is_newer_stays(frozen: FrozenValkey) -> None:
    load(frozen)
    installation = install(frozen, "number.sends", "address.numbers", "spend.application")
    shop, rich = Caller(installation), Caller(installation, "rich")
    busy = Caller(install(frozen, "application.requests"), "busy")
    approve(shop, pakistani(6), context="tablet", client_ip="192.0.2.3")
    shop.start(pakistani(25), client_ip="192.0.2.3")
    rich.start(pakistani(86))
    busy.start(pakistani(81))
    pseudonym = shop.context.keyring.pseudonym(pakistani(6))
    row = keys.number("00", pseudonym)
    frozen.client.persist(row)
    frozen.client.pexpire(row, 10_000_000_000)
    convert(installation)
    windows = shop.context.store.limits.windows("00", pseudonym, ())

    assert [one.used for one in windows] == [2, 2], "one of then, one of now"
    assert passes(shop, pakistani(6), context="own phone"), "known of then"
    assert [passes(shop, pakistani(26 + n), client_ip="192.0.2.3") for n in range(2)] == [True, False], (
        "for the approval"
    )
    assert passes(shop, pakistani(25), client_ip="192.0.2.3"), "asked for by now"
    assert passes(shop, pakistani(20), client_ip="192.0.2.3"), "asked for by then"
    assert spent(rich) == {"hour": 2, "day": 2}
    assert not passes(busy, pakistani(81))
    assert len(shop.context.store.history.recent("00", pseudonym)) == 4
    assert frozen.client.pttl(row) > 7 * 86_400_000


def test_it_is_done_before_a_process_serves_and_once(frozen: FrozenValkey) -> None:
    load(frozen)
    installation = install(frozen, "number.lock")
    prepare(installation)
    assert not passes(Caller(installation), pakistani(5))
    assert assert_all_keys_expire_but_old_ones(frozen) > 50
    frozen.client.config_resetstat()
    convert(installation)

    stats = frozen.client.info("commandstats")

    assert stats["cmdstat_fcall"]["calls"] == 1
    asked = {"cmdstat_time", "cmdstat_hexists"}
    assert stats.keys() == {"cmdstat_config|resetstat", "cmdstat_fcall", *asked}, "one command, and what it asks"


def assert_all_keys_expire_but_old_ones(frozen: FrozenValkey) -> int:
    frozen.client.delete(*{command[1] for command in COMMANDS})
    return assert_all_keys_expire(frozen.client)


SLOT, TEN_MINUTES, HOUR, SECOND = START // 60_000, START // 600_000, START // 3_600_000, 1000
NOTHING = [0] * 7
MERGED: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("block", {"u60": 3, "at": START - 9}, {"u60": 2.5, "at": START}, {"lu60": 3, "time": START}),
    ("block", {"u60": 3, "at": START}, {"t60": 2, "at": START}, {"lu60": 3, "lt60": 2}),
    ("block", {"a600": [TEN_MINUTES, 2, 5]}, {"a600": [TEN_MINUTES, 3, 1]}, {"a600": [TEN_MINUTES, 3, 5]}),
    ("block", {"a600": [TEN_MINUTES - 1, 4, 9]}, {"a600": [TEN_MINUTES, 1, 0]}, {"a600": [TEN_MINUTES, 1, 4]}),
    ("block", {"a600": [TEN_MINUTES - 2, 4, 9]}, {"a600": [TEN_MINUTES, 1, 0]}, {"a600": [TEN_MINUTES, 1, 0]}),
    (
        "block",
        {"c": [SLOT - 1, 2, 1, *NOTHING]},
        {"c": [SLOT, 1, *NOTHING, 0]},
        {"b": [SLOT, 1, 0, 2, 1, 0, 0, 0, 0, 0]},
    ),
    (
        "block",
        {"c": [SLOT, *NOTHING[:6], 77, 2, 5]},
        {"c": [SLOT, 1, *NOTHING, 0]},
        {"b": [SLOT, 1, *NOTHING[:5], 77, 2, 5]},
    ),
    ("spend", {"hour": [HOUR, 5]}, {"hour": [HOUR, 3.5], "day": [1, 1]}, {"shour": [HOUR, 5], "sday": [1, 1]}),
    ("spend", {"hour": [HOUR - 1, 5]}, {"hour": [HOUR, 3]}, {"shour": [HOUR, 3]}),
    ("failures", {"told": 7, "wrong": [1, 2, 3]}, {"told": 8, "right": [1, 0, 0]}, {"ntold": 8, "awrong": [1, 2, 3]}),
]
"""Part of the guard; what was kept of it by one and by another; what becomes of both."""
OWN_ROW = {"block": keys.block("x"), "spend": keys.application("x"), "failures": keys.application("x")}


def keep(frozen: FrozenValkey, key: str, kept: dict[str, Any], life: int = 900 * SECOND) -> None:
    """Keep something as the release before did."""
    text = "redis.call('SET', KEYS[1], cmsgpack.pack(cjson.decode(ARGV[1])), 'PX', ARGV[2])"
    frozen.client.eval(text, 1, key, json.dumps(kept), life)


def convert_anew(frozen: FrozenValkey, installation: Installation) -> None:
    forget_that_it_was_done(frozen)
    convert(installation)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("part", "one", "other", "merged"), MERGED)
def test_of_what_two_know_the_greater_stays_at_the_same_time(
    frozen: FrozenValkey, part: str, one: Any, other: Any, merged: Any, turned: bool
) -> None:
    installation = install(frozen)
    for kept, life in zip((other, one) if turned else (one, other), (800 * SECOND, 700 * SECOND), strict=True):
        keep(frozen, f"otp:{{x}}:guard/{part}/x", kept, life)
        convert_anew(frozen, installation)
    row = kept_by_name(installation, OWN_ROW[part])

    assert merged.items() <= row.items()
    assert row["ends"] == (0 if part == "spend" else START + 800 * SECOND)
    assert frozen.client.pexpiretime(OWN_ROW[part]) == START + 800 * SECOND


def test_what_a_row_tells_of_the_minute_before_is_brought_to_the_present(frozen: FrozenValkey) -> None:
    installation, old = install(frozen), "otp:{x}:guard/block/x"
    keep(frozen, old, {"c": [SLOT, 2, 1, *NOTHING]})
    convert_anew(frozen, installation)
    frozen.advance(60)
    keep(frozen, old, {"c": [SLOT + 1, 1, *NOTHING, 0]})
    convert_anew(frozen, installation)

    assert kept_by_name(installation, keys.block("x"))["b"] == [SLOT + 1, 1, 0, 2, 1, 0, 0, 0, 0, 0]


def test_of_two_counts_of_a_window_the_greater_stays_until_the_later_end(frozen: FrozenValkey) -> None:
    installation = install(frozen)

    def count(amount: int, life: int, which: str = "") -> Any:
        frozen.client.set(f"otp:{{ip/x/600}}{which}", amount, px=life)
        convert_anew(frozen, installation)
        return kept_by_name(installation, keys.address("x"))["w600"]

    assert count(5, 700 * SECOND) == [5, START + 700 * SECOND, 0, 0]
    assert count(3, 900 * SECOND) == [5, START + 900 * SECOND, 0, 0]
    assert count(4, 2 * SECOND, "/-1") == [5, START + 900 * SECOND, 4, START + 2 * SECOND]
    frozen.advance(2)
    assert count(1, 300 * SECOND, "/-1") == [5, START + 900 * SECOND, 1, START + 302 * SECOND]


def little(*sizes_and_values: tuple[int, int]) -> bytes:
    """Return numbers as a row packs them."""
    return b"".join(value.to_bytes(size, "little") for size, value in sizes_and_values)


@pytest.mark.parametrize("turned", [False, True])
def test_of_what_two_know_of_a_number_lists_are_united_and_the_later_stays(frozen: FrozenValkey, turned: bool) -> None:
    installation, device, key = install(frozen), "d" * 22, keys.number("00", "x")
    earlier = {
        "reputation": {"approved": START - 9, "known": START - 9, "a:shop": START - 9, f"c:{device}": START - 9},
        "cooldown": {"unknown": [5, START - 9]},
        "guesses/shop": {"known": [6, START - 9], "row": 8, "ends": START + 9},
    }
    later = {
        "reputation": {"approved": START - 3, "known": START - 3, "a:shop": START - 3, f"c:{device}": START - 3},
        "cooldown": {"unknown": [1, START - 3]},
        "guesses/shop": {"known": [2, START - 3], "row": 4, "ends": START + 99},
    }
    times = (START - 40, START - 30, START - 30, START - 20)
    for kept, sends in (
        ((later, times[1:]), (earlier, times[:2])) if turned else ((earlier, times[:2]), (later, times[1:]))
    ):
        for part, value in kept.items():
            keep(frozen, f"otp:{{00}}:guard/{part}/x", value)
        frozen.client.delete("otp:{00}:number/x/600")
        frozen.client.rpush("otp:{00}:number/x/600", *(f"{one // 1000}.{one % 1000:03}999" for one in reversed(sends)))
        frozen.client.pexpire("otp:{00}:number/x/600", 600 * SECOND)
        convert_anew(frozen, installation)
    row = frozen.client.get(key)

    assert row is not None
    assert row.count(device.encode()) == 1
    assert row.startswith(b"1\n" + little((6, START - 3), (6, START - 3), (2, 0), (6, 0), (2, 1), (6, START - 3)))
    assert device.encode() + little((6, START - 3)) in row
    streaks = little((6, START - 3), (2, 2), (6, START - 3), (2, 0), (6, 0), (2, 8), (6, START + 99))
    assert b"\x04shop" + streaks in row
    _, _, found = ScriptRunner(frozen.client).run("number_read", (key,), (), NO_RULES)
    assert found == list(reversed(times))


def test_numbers_that_an_address_asked_for_are_forgotten_with_those_of_now_or_of_then(frozen: FrozenValkey) -> None:
    installation = install(frozen, "address.numbers")
    key = keys.address("x")

    def ask(*members: str, life: int) -> bytes:
        old = "otp:{x}:guard/asked/x"
        frozen.client.delete(old)
        frozen.client.sadd(old, *members)
        frozen.client.pexpire(old, life)
        convert_anew(frozen, installation)
        row = frozen.client.get(key)
        assert row is not None
        return bytes(row).partition(b"\n")[2][6:]

    assert ask("a" * 22, "PK", life=60 * SECOND) == little((6, START + 60 * SECOND)) + b"PK,\n" + b"a" * 12
    both = little((6, START + 90 * SECOND)) + b"PK,GB,\n" + b"a" * 12 + b"b" * 12
    assert ask("b" * 22, "GB", life=90 * SECOND) == both
    frozen.client.pexpire(key, 200 * SECOND)  # for what else is in the row
    frozen.advance(90.001)
    assert ask("c" * 22, life=60 * SECOND) == little((6, START + 150 * SECOND + 1)) + b"\n" + b"c" * 12


CONVERTED = {
    "otp:{<bucket>}:recent:<pseudonym>": "number",
    "otp:{<bucket>}:guard/reputation/<pseudonym>": "number",
    "otp:{<bucket>}:guard/cooldown/<pseudonym>": "number",
    "otp:{<bucket>}:guard/guesses/<application>/<pseudonym>": "number",
    "otp:{<bucket>}:number/<pseudonym>/<seconds>": "number",
    "otp:{<bucket>}:failed_checks/<application>/<pseudonym>/<seconds>": "number",
    "otp:{<block>}:guard/block/<block>": "block",
    "otp:{<application>}:guard/country/<application>/<country>": "country",
    "otp:{<application>}:guard/spendcountry/<application>/<country>": "country",
    "otp:{<network>}:guard/address/<network>": "address",
    "otp:{<network>}:guard/asked/<network>": "address",
    "otp:{ip/<network>/<seconds>}": "address",
    "otp:{ip/<network>/<seconds>}/-1": "address",
    "otp:{<network>}:guard/network/<network>": "network",
    "otp:{<network>}:guard/provider/<network>": "provider",
    "otp:{<application>}:guard/failures/<application>": "application",
    "otp:{<application>}:guard/spend/<application>": "application",
    "otp:{application/<application>/<seconds>}": "application",
    "otp:{application/<application>/<seconds>}/-1": "application",
}
"""Keys of the release before, and the rows in which they are now."""
KEPT = {kind.pattern.replace("{<gateways>}", "{gateways}") for kind in keys.KEYS}
"""On one server gateways have one tag, as before; on a cluster each its own."""


def test_each_key_of_the_release_before_is_converted_or_what_it_was() -> None:
    assert CONVERTED.keys() == KINDS.keys() - KEPT


def _of_kind(pattern: str) -> set[str]:
    exact = re.escape(pattern).replace("<bucket>", "[0-9a-f]{2}")
    regex = re.compile(re.sub("<[^>]+>", "[^:/{}]*", exact))
    return {name for _, name, *_ in COMMANDS if regex.fullmatch(name)}


@pytest.mark.parametrize("pattern", CONVERTED)
def test_each_of_them_becomes_a_row_of_its_own(frozen: FrozenValkey, pattern: str) -> None:
    names = _of_kind(pattern)
    load(frozen, names)
    assert frozen.client.dbsize() == len(names) > 0
    convert(install(frozen))
    rows = {name.decode() for name in frozen.client.scan_iter()} - names - {keys.INSTALLATION}

    assert rows
    assert {kind for row in rows for kind in kinds_of(row)} == {getattr(keys, CONVERTED[pattern])}


@pytest.mark.parametrize("pattern", sorted(KINDS.keys() - CONVERTED.keys() - {"otp:installation"}))
def test_all_others_are_left_alone(frozen: FrozenValkey, pattern: str) -> None:
    name = re.sub("<[^>]+>", "x", pattern.replace("<bucket>", "00"))
    make_key(frozen.client, name, KINDS[pattern])
    convert(install(frozen))

    assert {one.decode() for one in frozen.client.scan_iter()} == {name, keys.INSTALLATION}
