"""Small days of the simulator (`benchmarks/abuse.py`): the default rules stop each attack, and hardly anybody else."""

from collections.abc import Callable, Sequence

import pytest
from support_attacks import Books, Days, Snapshot, attacks, numbers, town, traffic
from support_frozen import FrozenValkey
from support_installation import tree

from otp_service.bootstrap import Installation

HONEST = 960
TOWN = town(HONEST)
HOURS = 2
"""Short, so that the pace is that of a real attack."""
ATTACK = 5 * HONEST * HOURS // 24


@pytest.fixture
def conversion() -> dict[str, int]:
    """Return how conversion is judged; by default as the rules say."""
    return {}


def _install(frozen: FrozenValkey, conversion: dict[str, int]) -> Installation:
    own = tree(frozen.url)["applications"]["shop"]
    shop = {**own, "purposes": ["login"], "client_ip": "required", "countries": ["PK", numbers.ABROAD]}
    applications = {name: {**shop, "keys": []} for name in attacks.APPLICATIONS}
    return frozen.world().install(guard={"modes": {}, "conversion": conversion}, applications=applications)


@pytest.fixture(scope="module")
def evenings() -> dict[str, tuple[Days, Snapshot]]:
    """Return how a server was left, by how conversion is judged there: a day on which all came, and one more."""
    return {}


@pytest.fixture
def play(
    frozen: FrozenValkey, conversion: dict[str, int], evenings: dict[str, tuple[Days, Snapshot]]
) -> Callable[..., Books]:
    """Return what plays an attack beside honest traffic, after a day on which all who are known came, and one more."""
    if str(conversion) not in evenings:
        days = Days(frozen, _install(frozen, conversion))
        days.play(traffic.warm_up(TOWN, 0), 0)
        days.play([one for one in traffic.honest_traffic(TOWN, HOURS, day="eve") if one.at >= 0], 1)
        evenings[str(conversion)] = days, Snapshot.of(frozen)
    days, evening = evenings[str(conversion)]
    evening.restore(frozen)

    def play(attack: list[traffic.Visit], attacked: Sequence[str] = ()) -> Books:
        honest = [one for one in traffic.honest_traffic(TOWN, HOURS, attacked) if one.at >= 0]
        return days.play(traffic.in_order(honest, attack), 2)

    return play


def _spared(books: Books) -> None:
    """Assert that of those who were seen before nobody is refused, or one by the limits of its own number."""
    known = books.of(books.refused, "honest", "known")
    own = sum(count for (group, rule), count in books.rules.items() if group == "honest" and rule == "number.sends")
    assert known <= own <= 1


def test_honest_people_alone_are_left_alone(play: Callable[..., Books]) -> None:
    books = play([])

    assert books.of(books.visits, "honest") == pytest.approx(HONEST * HOURS / 24, rel=0.1)
    assert books.of(books.refused, "honest") <= 1


def test_one_block_is_closed_after_a_handful(play: Callable[..., Books]) -> None:
    block = TOWN.blocks[numbers.HOME][:1]
    books = play(attacks.block(TOWN, HOURS), block)

    assert books.of(books.visits, "attack") == ATTACK
    assert books.before_closing <= 20
    assert books.of(books.messages, "attack") <= 20
    assert {rule for group, rule in books.rules if group == "attack"} <= {"block.unapproved", "number.sends"}
    _spared(books)


def test_who_pumps_many_blocks_of_the_home_country_keeps_out_nobody_elsewhere(play: Callable[..., Books]) -> None:
    blocks = TOWN.blocks[numbers.HOME][:40]
    books = play(attacks.pump(TOWN, HOURS, blocks), blocks)

    assert books.of(books.visits, "attack") == ATTACK
    assert books.of(books.messages, "attack") <= 4 * len(blocks) + 20
    assert {rule for group, rule in books.rules if group == "attack"} == {"block.unapproved"}
    assert books.refused["honest", "new"] == 0 < books.visits["honest", "new"]
    _spared(books)


def test_a_country_with_little_traffic_is_closed_after_its_floor(play: Callable[..., Books]) -> None:
    books = play(attacks.pump(TOWN, HOURS, TOWN.blocks[numbers.ABROAD]), TOWN.blocks[numbers.ABROAD])

    assert books.of(books.messages, "attack") <= 100
    rules = {rule for group, rule in books.rules if group == "attack"}
    assert rules <= {"country.unapproved", "country.conversion", "block.unapproved"}
    _spared(books)


@pytest.mark.parametrize("conversion", [{"home_sends": 20}])  # the traffic here is a twentieth of that of a large site
def test_who_wants_the_home_country_closed_keeps_out_nobody_who_is_known(play: Callable[..., Books]) -> None:
    books = play(attacks.weapon(TOWN, HOURS))

    assert 20 <= books.of(books.messages, "attack") <= 200
    assert {rule for group, rule in books.rules if group == "attack"} <= {"country.conversion", "block.unapproved"}
    _spared(books)


def test_a_bombed_number_gets_no_more_than_its_day_allows(play: Callable[..., Books]) -> None:
    books = play(attacks.bombing(TOWN, HOURS))

    assert books.of(books.visits, "attack") == ATTACK
    assert books.of(books.messages, "attack") <= 10
    _spared(books)


def test_a_country_that_is_not_listed_gets_nothing(play: Callable[..., Books]) -> None:
    books = play(attacks.unlisted(TOWN, HOURS))

    assert books.of(books.messages, "attack") == 0
    assert {rule for group, rule in books.rules if group == "attack"} == {"destination.country"}
