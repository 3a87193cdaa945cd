"""Numbers in 16 buckets on three real servers of a cluster: a start is one call, and the same rules hold in each."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support_caller import Caller
from support_cluster import Cluster
from support_guard import PERMISSIVE, guess, modes, number, passes
from support_installation import tree
from support_memory import folder_in_memory
from support_outbox import dispatched, jobs_of, paced

from otp_service import bootstrap
from otp_service.domain.keyring import new_dispatch_id
from otp_service.domain.routing import CallResult
from otp_service.errors import StoreUnavailableError
from otp_service.services.events import roll_back
from otp_service.services.operator_actions import address_restriction
from otp_service.settings import settings_from
from otp_service.store import keys
from otp_service.store.rulesets import compile_ruleset
from otp_service.store.script_runner import ScriptCall, ScriptRunner

FRAUD = ("address.unapproved", "address.network", "address.provider", "block.unapproved", "country.unapproved")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(folder_in_memory("cluster"))
    yield made
    made.stop()


@pytest.fixture
def shop(cluster: Cluster) -> Caller:
    """An application with few messages, on an empty cluster."""
    for node in cluster.nodes:
        node.client.flushall()
    own = tree(cluster.nodes[0].url, redis={"replicas": 0}, keys={"buckets": 16})
    own["applications"]["shop"]["spend"] = {"day": "1600"}
    own["guard"] = {
        "modes": modes(*FRAUD, "number.sends", "application.requests", "spend.application", "number.guesses"),
        "address": {"unapproved": ["20/day"], "network": ["900/day"], "provider": ["900/day"]},
        "block": {"unapproved": ["20/day"]}, "country": {"home": ["20/day"]},
    }  # fmt: skip
    own["limits"] = {**PERMISSIVE, "number": ["3/day"], "application": ["25/day"], "failed_checks": ["3/day"]}
    own["gateways"]["sandbox"]["prices"] = {"*": "1"}
    own["purposes"]["login"]["resend_delays"] = [0]
    installation = bootstrap.install(settings_from(own))
    bootstrap.prepare(installation)
    return Caller(installation)


def _record(shop: Caller) -> None:
    for batch in shop.context.store.events.take("recorder", 1000):
        roll_back(shop.context, batch)
        shop.context.store.events.acknowledge(batch)


def test_a_verification_is_started_sent_again_and_approved(shop: Caller) -> None:
    one = shop.start(number(1), client_ip="2001:db8::1")
    shop.resend(one)

    assert guess(shop, one) == "wrong_code"
    assert shop.check(one, shop.code(one))[0] == "approved"


def test_a_number_may_have_so_many_messages_and_what_it_is_refused_counts_nowhere(shop: Caller) -> None:
    assert [passes(shop, number(1), client_ip="192.0.2.1") for _ in range(9)] == [True] * 3 + [False] * 6
    others = [passes(shop, number(last), client_ip="192.0.2.1") for last in range(2, 22)]

    assert others == [True] * 17 + [False] * 3, "twenty of a block, an address, a country"


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_approvals_are_given_back_on_each_server(shop: Caller, address: str) -> None:
    for last in range(20):
        one = shop.start(number(last), client_ip=address)
        shop.check(one, shop.code(one))
    _record(shop)

    others = [passes(shop, number(50 + n), client_ip=address) for n in range(7)]

    assert others == [True] * 5 + [False] * 2, "25 requests of the application"


def test_a_start_a_resend_and_a_check_are_one_call_each_of_one_slot(
    shop: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, run = Counter[str](), ScriptRunner.run

    def count(runner: ScriptRunner, call: ScriptCall) -> Any:
        calls[call.name] += 1
        assert len({keys.tag_of(key) for key in call.keys}) == 1, call.name
        return run(runner, call)

    monkeypatch.setattr(ScriptRunner, "run", count)
    one = shop.start(number(1), client_ip="2001:db8::1")
    shop.resend(one)
    code = shop.code(one)
    dispatched(shop.context, jobs_of(shop.context)[0], "first")
    del calls["verification_read"]
    shop.check(one, code)

    assert {name: calls[name] for name in ("start", "resend", "check", "gateway_enter", "dispatch")} == dict.fromkeys(
        ("start", "resend", "check", "gateway_enter", "dispatch"), 1
    )
    assert sum(count for name, count in calls.items() if name != "jobs_take") == 5


@pytest.mark.parametrize(("address", "networks"), [("192.0.2.1", 1), ("2001:db8::1", 3)])
def test_an_address_is_let_through_again(shop: Caller, address: str, networks: int) -> None:
    shop.start(number(1), client_ip=address)

    assert address_restriction(shop.context, address).forget() == networks
    assert address_restriction(shop.context, address).forget() == 0


def test_a_ceiling_of_money_is_never_exceeded_by_the_buckets_together(shop: Caller) -> None:
    blocks = [f"+92300{block:03d}" for block in range(60)]
    ruleset = shop.context.rulesets["shop"]
    (ceiling,) = compile_ruleset(ruleset.ruleset, buckets=16).ruleset.ceilings

    passed = sum(passes(shop, number(1, block)) for block in blocks)

    (use,) = shop.context.store.guard.spent(ruleset.ruleset, "shop")
    assert (use.amount, use.ceiling) == (passed * 1_000_000, ceiling.amount)


def test_a_limit_is_never_exceeded_by_many_at_once(shop: Caller) -> None:
    passed = []

    def start(place: int) -> None:
        for last in range(15):
            try:
                passed.append(passes(shop, number(20 * place + last)))
            except StoreUnavailableError:
                passed.append(False)

    threads = [threading.Thread(target=start, args=(place,)) for place in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert 15 <= sum(passed) <= 20


def test_messages_are_delivered_by_gateways_that_other_servers_know(shop: Caller) -> None:
    context, route = shop.context, ("first", "second", "third")
    for last in range(3):
        shop.start(number(last, f"+92300{last}55"))
    for _ in range(5):
        context.store.health.observe("first", new_dispatch_id("00"), CallResult.BAD)
    sent = [dispatched(context, job, *route, second=paced(in_flight=2)) for job in jobs_of(context)]
    for made in sent:
        assert context.store.references.remember(made.gateway, "abc", made.dispatch_id, 60_000) == []

    assert [(made.gateway, made.choice) for made in sent] == [("second", "breaker")] * 2 + [("third", "breaker")]
    assert context.store.references.dispatch_of("third", ("none", "abc"), "receipt") == sent[-1].dispatch_id
    assert {name: now.in_flight for name, now in context.store.health.of(route).items()}["second"] == 2


def test_it_is_spread_over_all_servers(cluster: Cluster, shop: Caller) -> None:
    for last in range(45):
        passes(shop, number(last, f"+92300{100 + last}"), client_ip=f"192.0.2.{last}")

    assert all(node.client.dbsize() > 5 for node in cluster.nodes)
