"""A message that counts on three real servers of a cluster: wherever its subjects are, the same rules hold."""

import threading
from collections.abc import Iterator

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
from otp_service.services.events import count_codes, give_back
from otp_service.services.operator_actions import address_restriction
from otp_service.settings import settings_from
from otp_service.store import keys

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
    own = tree(cluster.nodes[0].url, redis={"url": cluster.nodes[0].url, "cluster": True, "replicas": 0})
    own["applications"]["shop"]["spend"] = {"day": "30"}
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
        give_back(shop.context, batch)
        count_codes(shop.context, batch)
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


def test_a_start_is_four_calls_for_the_networks_of_an_address_are_in_one_slot(cluster: Cluster, shop: Caller) -> None:
    before = shop.start(number(1), client_ip="2001:db8::1") and _calls(cluster)

    shop.start(number(2), client_ip="2001:db8::1")

    found = [key.decode() for node in cluster.nodes for key in node.client.keys()]
    networks = [key for key in found if any(kind.has(key) for kind in (keys.address, keys.network, keys.provider))]
    assert len(networks) == 3
    assert len(set(map(keys.tag_of, networks))) == 1
    assert _calls(cluster) - before == 4


@pytest.mark.parametrize(("address", "networks"), [("192.0.2.1", 1), ("2001:db8::1", 3)])
def test_an_address_is_let_through_again(shop: Caller, address: str, networks: int) -> None:
    shop.start(number(1), client_ip=address)

    assert address_restriction(shop.context, address).forget() == networks
    assert address_restriction(shop.context, address).forget() == 0


def _calls(cluster: Cluster) -> int:
    return sum(node.client.info("commandstats")["cmdstat_fcall"]["calls"] for node in cluster.nodes)


def test_a_limit_is_never_exceeded_by_many_at_once(shop: Caller) -> None:
    passed = []

    def start(place: int) -> None:
        for last in range(15):
            try:
                passed.append(passes(shop, number(last, f"+9230{place}123")))
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
