"""Messages that an application's slot counts ahead of their coming, where many come that are alike."""

import logging
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any

import pytest
from support_caller import Caller
from support_cluster import Cluster
from support_frozen import FrozenValkey
from support_guard import PERMISSIVE, guarded, later, modes, number, passes
from support_installation import tree

from otp_service import bootstrap
from otp_service.api.app import ReloadableService, create_app
from otp_service.cli import child_processes
from otp_service.errors import StoreUnavailableError
from otp_service.settings import settings_from
from otp_service.store import keys, reserving
from otp_service.store.newcomer_traffic import CountrySuspicion, RangeSuspicion
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.store import open_store

_ASKED = RangeSuspicion("31", ask=True, checked_too=False)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count calls of an application's slot, which is elsewhere, by script."""
    counted, command = Counter[str](), ScriptRunner._command

    def counting(self: ScriptRunner, name: str, of: tuple[str, ...], *given: Any) -> Any:
        counted[name] += of[:1] == (keys.application("shop"),)
        return command(self, name, of, *given)

    monkeypatch.setattr(ScriptRunner, "_command", counting)
    monkeypatch.setattr(bootstrap, "open_store", partial(open_store, shared_elsewhere=True))
    return counted


def _counted(shop: Caller) -> int:
    _, kept = shop.context.store.guard._read(keys.application("shop"))
    return int(kept["w86400"][0])


def _give_back(shop: Caller, *, all_of_it: bool = True) -> None:
    shared = shop.context.store.shared
    assert shared
    shared.give_back_ahead(all_of_it=all_of_it)


def _shop(frozen: FrozenValkey, *rules: str, **sections: Any) -> Caller:
    sections = {"limits": {"application": ["10000/day"]}, **sections}
    return Caller(guarded(frozen, "application.requests", *rules, **sections))


def test_most_of_many_messages_ask_their_application_nothing(frozen: FrozenValkey, calls: Counter[str]) -> None:
    shop = _shop(frozen)

    assert all(passes(shop, number(last)) for last in range(100))

    assert calls["reserve"] < 20, "buckets in which they do not count leave room"
    assert _counted(shop) >= 100
    _give_back(shop)
    assert _counted(shop) == 100


def test_each_rule_counts_what_comes(frozen: FrozenValkey, calls: Counter[str]) -> None:
    prices = {"gateways": {"sandbox": {"kind": "sandbox", "prices": {"*": "1"}}}}
    rules = ("country.unapproved", "country.conversion", "spend.application")
    shop = _shop(frozen, *rules, **prices, applications={"shop": {"spend": {"day": "6000"}}})
    for last in range(100):
        passes(shop, number(last))

    _give_back(shop)

    _, application = shop.context.store.guard._read(keys.application("shop"))
    _, country = shop.context.store.guard._read(keys.country("shop", "PK"))
    assert calls["reserve"] < 20
    assert (application["w86400"][0], application["sday"][1]) == (100, 100 * 1_000_000)
    assert (country["lu86400"], country["b"][1]) == (100, 100)


def test_what_is_left_is_given_back_once_it_is_over(
    frozen: FrozenValkey, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, now = _shop(frozen), reserving.time.monotonic()
    monkeypatch.setattr(reserving.time, "monotonic", lambda: now)
    for last in range(100):
        passes(shop, number(last))
    ahead = _counted(shop) - 100

    _give_back(shop, all_of_it=False)
    assert (ahead > 0, _counted(shop)) == (True, 100 + ahead)

    monkeypatch.setattr(reserving.time, "monotonic", lambda: now + 1)
    _give_back(shop, all_of_it=False)
    assert _counted(shop) == 100


def test_a_process_of_serve_gives_back_when_it_ends(
    frozen: FrozenValkey, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", lambda _: None)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    installed = guarded(frozen, "application.requests", limits={"application": ["10000/day"]})
    shop = Caller(installed)
    started = next(last for last in range(1, 200) if shop.start(number(last)) and _counted(shop) > last)

    child_processes._exit_process(ReloadableService(create_app(installed)))

    assert _counted(shop) == started


def test_a_process_that_ends_waits_for_what_another_thread_gives_back(
    frozen: FrozenValkey, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, begun, goes_on = _shop(frozen), Event(), Event()
    started = next(last for last in range(1, 200) if shop.start(number(last)) and _counted(shop) > last)
    run_all = ScriptRunner.run_all

    def slowly(self: ScriptRunner, given: Any) -> Any:
        if given:
            begun.set()
            goes_on.wait(10)
        return run_all(self, given)

    monkeypatch.setattr(ScriptRunner, "run_all", slowly)
    with ThreadPoolExecutor(2) as threads:
        threads.submit(_give_back, shop)
        begun.wait(10)
        end = threads.submit(_give_back, shop)
        with suppress(TimeoutError):
            end.result(0.2)
        assert not end.done(), "nothing is left to give back, but it is not given back yet"
        goes_on.set()
    assert _counted(shop) == started


def test_a_process_that_ends_gives_back_what_was_counted_under_settings_before_too(
    frozen: FrozenValkey, calls: Counter[str]
) -> None:
    installed = guarded(frozen, "application.requests", limits={"application": ["10000/day"]})
    shop, old, left, ends = Caller(installed), create_app(installed), Event(), Event()
    service = ReloadableService(old)
    old.on_close(left.set, lambda: ends.wait(10) and None)
    started = next(last for last in range(1, 200) if shop.start(number(last)) and _counted(shop) > last)

    with ThreadPoolExecutor(1) as reload:
        reload.submit(service.replace, create_app(bootstrap.install(installed.settings, installed.client)))
        left.wait(10)
        service.give_back()
        ends.set()

    assert _counted(shop) == started


def test_what_is_left_is_given_back_wherever_its_slot_is_by_then(cluster: Cluster, calls: Counter[str]) -> None:
    redis = {"url": cluster.nodes[0].url, "cluster": True, "replicas": 0}
    own = tree("", redis=redis, guard={"modes": modes("application.requests")}, limits=PERMISSIVE)
    shop = Caller(bootstrap.open_installation(settings_from(own)))
    started = next(last for last in range(1, 200) if shop.start(number(last)) and _counted(shop) > last)
    at = cluster.of(keys.application("shop"))
    cluster.move(keys.application("shop"), next(node for node in cluster.nodes if node is not at))

    _give_back(shop)

    assert _counted(shop) == started


def test_of_many_that_are_given_back_no_more_has_leaked_than_a_bucket_leaks(
    frozen: FrozenValkey, calls: Counter[str]
) -> None:
    shop = _shop(frozen, "country.unapproved", guard={"country": {"home": ["86400/day"]}})
    for last in range(100):
        passes(shop, number(last))
    ahead = _counted(shop) - 100
    later(frozen, 1)

    _give_back(shop)

    _, country = shop.context.store.guard._read(keys.country("shop", "PK"))
    assert ahead > 1
    assert country["lu86400"] == 101, "one leaks in a second"


def test_what_is_given_back_fills_no_bucket(
    frozen: FrozenValkey, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [reserving.time.monotonic()]
    monkeypatch.setattr(reserving.time, "monotonic", lambda: clock[0])
    shop = _shop(
        frozen,
        "country.unapproved",
        "number.sends",
        guard={"country": {"home": ["400/hour"]}},
        limits={"number": ["1/day"]},
    )
    assert all(passes(shop, number(last)) for last in range(210))
    for _ in range(200):
        assert not passes(shop, number(0))
        frozen.advance(0.02)
        clock[0] += 0.02
    _give_back(shop)

    _, country = shop.context.store.guard._read(keys.country("shop", "PK"))
    assert calls["reserve"] < 300, "most are counted ahead"
    assert country["lu3600"] <= 210, "it leaks one in nine seconds"


def test_answers_that_are_lost_cost_little_room(
    frozen: FrozenValkey, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = _shop(frozen)
    for last in range(100):
        passes(shop, number(last))
    run, clock = ScriptRunner.run, [reserving.time.monotonic()]

    def lossy(self: ScriptRunner, name: str, *given: Any) -> Any:
        answer = run(self, name, *given)
        if name == "reserve":
            raise StoreUnavailableError("The answer was lost.")
        return answer

    monkeypatch.setattr(ScriptRunner, "run", lossy)
    monkeypatch.setattr(reserving.time, "monotonic", lambda: clock[0])
    for last in range(200):
        clock[0] += 0.02
        with suppress(StoreUnavailableError):
            shop.start(number(last))
    monkeypatch.setattr(ScriptRunner, "run", run)
    _give_back(shop)

    assert _counted(shop) <= 100 + 1.5 * 200 + reserving.MOST_AHEAD, "once many, then one for every second try"


def test_little_room_is_left_to_all(frozen: FrozenValkey, calls: Counter[str]) -> None:
    shop = _shop(frozen, limits={"application": ["60/day"]})

    assert [passes(shop, number(last)) for last in range(62)] == [True] * 60 + [False] * 2
    assert calls["reserve"] >= 40, "one part of the room in 32"


@pytest.mark.parametrize(
    ("rule", "sections"),
    [
        ("country.unapproved", {"guard": {"country": {"home": ["57/day"]}}}),
        ("spend.application", {"applications": {"shop": {"spend": {"day": "57"}}}}),
    ],
)
def test_no_rule_lets_more_pass(frozen: FrozenValkey, calls: Counter[str], rule: str, sections: dict[str, Any]) -> None:
    """Of an amount at which what is counted ahead of these does not end by itself: at 60 it does."""
    prices = {"gateways": {"sandbox": {"kind": "sandbox", "prices": {"*": "1"}}}}
    shop = _shop(frozen, rule, **prices, **sections)

    assert [passes(shop, number(last)) for last in range(59)] == [True] * 57 + [False] * 2


def test_nothing_is_counted_ahead_where_a_rule_has_found_something(frozen: FrozenValkey, calls: Counter[str]) -> None:
    shop = _shop(frozen, guard={"modes": {**modes(), "application.failures": "record_only"}, "failures": {"wrong": 20}})
    shared = shop.context.store.shared
    assert shared
    assert shared.count_codes("shop", [False] * 20, shop.context.rulesets["shop"])

    assert all(passes(shop, number(last)) for last in range(50))

    assert calls["reserve"] == 50


@pytest.mark.parametrize(
    "suspicion",
    [
        CountrySuspicion("PK", ask=True),
        CountrySuspicion("PK", ranges=(RangeSuspicion("30", ask=False, checked_too=False), _ASKED)),
    ],
)
def test_nothing_is_counted_ahead_while_newcomers_are_under_suspicion(
    frozen: FrozenValkey, calls: Counter[str], suspicion: CountrySuspicion
) -> None:
    shop = _shop(frozen)
    version, _ = shop.context.store.traffic.tallies("shop")
    assert shop.context.store.traffic.commit("shop", version, {}, {}, (suspicion,), shop.context.rulesets["shop"])

    assert all(passes(shop, number(last)) for last in range(50))

    assert calls["reserve"] == 50


def test_what_is_counted_ahead_is_not_used_in_another_interval(frozen: FrozenValkey, calls: Counter[str]) -> None:
    shop = _shop(frozen, limits={"application": ["100000/minute"]})
    passes(shop, number(0))
    later(frozen, 59.8)
    for last in range(1, 60):
        passes(shop, number(last))

    held = next(iter(shop.context.store.shared._ahead._held.values()))
    assert held.until - held.asked <= 0.21
