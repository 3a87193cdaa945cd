"""Traffic in several databases, by buckets: nobody who reads sees a difference, whoever dies, and wherever it began."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from sqlalchemy import func, select, text, update
from support_ledger import new_ledger
from support_ledger_events import EVIDENCE, agreed
from support_stats import story
from support_webhooks import endpoint

from otp_service.clock import now
from otp_service.domain.audit import Event, OperatorAction, OperatorActionEntry
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.keyring import Keyring, first_byte
from otp_service.domain.stats import StatsCount, StatsKey, hour_of
from otp_service.domain.webhooks import WebhookType
from otp_service.errors import LedgerFormatError, LedgerMismatchError, LedgerUnavailableError
from otp_service.ledger.audit import DisputeFilter, IncidentScope, SignedHead
from otp_service.ledger.divided import Division, divide
from otp_service.ledger.ledger import Ledger, open_ledger
from otp_service.ledger.migrations import FORMAT
from otp_service.ledger.retention import Purge
from otp_service.ledger.schema import TRAFFIC, events, hourly_stats, purges, verifications, webhooks
from otp_service.ledger.verifications import VerificationLedger
from otp_service.ledger.webhooks import PostingFilter
from otp_service.services.audit import (
    AuditProgress,
    HeadSigner,
    build_dispute_evidence,
    verify_chain,
    verify_dispute_pack,
)

DAY = 24 * 3_600_000
KEYRING = Keyring({"k1": b"r" * 31 + b"1"}, b"p" * 31 + b"1", buckets=4)
NUMBERS = [KEYRING.pseudonym(f"+923001{place:02}4567") for place in range(12)]
_TRAFFIC = ("verifications", "events")
_entries = count(1)


@pytest.fixture
def urls(request: pytest.FixtureRequest, kind: str) -> Iterator[list[str]]:
    """The addresses of six new ledgers."""
    request.param = kind
    with ExitStack() as stack:
        made = [stack.enter_context(new_ledger(request)) for _ in range(6)]
        for one in map(partial(open_ledger, timeout=10.0), made):
            one.mirror_source.rename(0)  # they are copies, and have one name
            one.close()
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


class Site:
    """Ledgers, and what they are for; opened anew with each division."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = urls
        self._opened: list[Ledger] = []

    def alone(self) -> Ledger:
        """Return the last ledger, which has all by itself."""
        return self._open(-1)

    def divided(self, current: Sequence[int] = (1, 2), former: Sequence[int] = ()) -> Ledger:
        """Return the first ledger, whose traffic is in others, by their places."""
        opened = {place: self._open(place) for place in {*current, *former}}
        people = self._open(0)
        division = Division(
            people, tuple(opened[one] for one in current), (people, *(opened[one] for one in former)), KEYRING
        )
        return divide(division)

    def rows(self, place: int, table: Any = verifications) -> int:
        with self._open(place).database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    def close(self) -> None:
        for one in self._opened:
            one.close()

    def _open(self, place: int) -> Ledger:
        self._opened.append(open_ledger(self.urls[place], 10.0, KEYRING.installation))
        return self._opened[-1]


@pytest.fixture
def site(urls: list[str]) -> Iterator[Site]:
    made = Site(urls)
    yield made
    made.close()


def of_bucket(happened: Sequence[Event], pseudonym: str) -> list[Event]:
    """Return events as a bucket's stream brings them."""
    bucket = KEYRING.bucket(pseudonym)
    return [replace(one, id=f"{bucket}:{one.at}-{next(_entries)}") for one in happened]


def happened(pseudonym: str, at: int, end: str = "approved") -> list[Event]:
    """Return all that happens to a verification of a number."""
    name = KEYRING.new_verification_id(first_byte(pseudonym))
    return of_bucket(story(name, at=at, end=end, pseudonym=pseudonym, ledger="0"), pseudonym)


def traffic(seed: int = 1) -> list[list[Event]]:
    """Return batches of the four buckets: a few verifications of each number."""
    chance, at = random.Random(seed), now() - DAY
    batches: dict[str, list[Event]] = {}
    for place in range(36):
        pseudonym = chance.choice(NUMBERS)
        end = chance.choice(["approved", "canceled", "expired"])
        batches.setdefault(KEYRING.bucket(pseudonym), []).extend(happened(pseudonym, at + 60_000 * place, end))
    return list(batches.values())


def told(ledger: Ledger) -> dict[str, Any]:
    """Return what all readers say."""
    since, until = now() - 2 * DAY, now() + DAY
    latest = {one: ledger.verifications.latest(one, 3) for one in NUMBERS}
    names = [one.id for some in latest.values() for one in some]
    exports = {one: ledger.subjects.export(one, None) for one in NUMBERS}
    return {
        "latest": latest,
        "found": {one: ledger.verifications.find(one) for one in names},
        "whose": {one: ledger.verifications.pseudonym_of(one) for one in names},
        "events": ledger.verifications.events_of(names),
        "senders": {one: ledger.verifications.last_sender(one, "primary", 0) for one in NUMBERS},
        "unapproved": ledger.verifications.unapproved(since, until, 10),
        "sums": ledger.stats.sums(since, until, ("application", "what", "hour")),
        "few sums": ledger.stats.sums(since, until, ("what",), most=2),
        "delays": ledger.stats.delays(since, until, ("what", "at_most")),
        "verifications": {one: found.verifications for one, found in exports.items()},
        "webhooks": {
            one: sorted((told["type"], told["verification"]) for told in found.webhooks)
            for one, found in exports.items()
        },
        "incident": ledger.incidents.count(IncidentScope(since, until)),
        "disputed": [
            sorted(
                (row.table, str(row.row))
                for row in ledger.disputes.find(wanted)
                if row.table in ("verifications", "events")
            )
            for wanted in (DisputeFilter(since=since), DisputeFilter(pseudonym=NUMBERS[0]), DisputeFilter(names[0]))
        ],
    }


def assert_alike(divided: Ledger, alone: Ledger) -> None:
    """Require that all readers say the same of two ledgers."""
    expected = told(alone)
    for name, answer in told(divided).items():
        assert answer == expected[name], name


def flaws(ledger: Ledger, outside: Sequence[SignedHead] = ()) -> list[tuple[str, str]]:
    context: Any = SimpleNamespace(ledger=ledger, keyring=KEYRING)
    return [(one.ledger, one.sentence) for one in verify_chain(context, AuditProgress(), outside)]


@pytest.mark.parametrize("folds", [False, True])
def test_readers_see_no_difference(site: Site, *, folds: bool) -> None:
    alone, divided, batches = site.alone(), site.divided(), traffic()
    for ledger in (alone, divided):
        endpoint(ledger)
        for batch in batches:
            whole = {one.member("id") for one in batch} if folds else None
            ledger.verifications.record(batch, whole)
            ledger.verifications.record(batch, whole)

    assert_alike(divided, alone)
    assert site.rows(0) == 0
    assert site.rows(1) + site.rows(2) == site.rows(-1) == 36
    assert min(site.rows(1), site.rows(2)) > 0
    assert (site.rows(1, events) == 0) is folds
    assert len(divided.postings.find(PostingFilter(), 1000)) == len(alone.postings.find(PostingFilter(), 1000)) > 0
    assert flaws(divided) == flaws(alone) == []


def test_a_buckets_traffic_is_in_one_ledger(site: Site) -> None:
    divided = site.divided()
    for batch in traffic():
        divided.verifications.record(batch)

    for place, ledger in enumerate(divided.parts[1:]):
        with ledger.database.read() as connection:
            found = connection.execute(select(verifications.c.pseudonym).distinct()).scalars().all()
        assert {int(KEYRING.bucket(one), 16) % 2 for one in found} == {place}


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_process_that_dies(site: Site, do: Callable[[Ledger], None]) -> None:
    """Do something in a process of its own, which has to be killed in it."""
    if not (process := os.fork()):
        try:
            do(Site(site.urls).divided())
        finally:
            os._exit(1)  # not killed
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def batch_with_all(at: int) -> list[Event]:
    """Return what a recorder has when it claims others' work: events of all buckets, a consent, an opt-out."""
    batch = [one for pseudonym in NUMBERS for one in happened(pseudonym, at)]
    consent = agreed(batch[0].member("id"), NUMBERS[0], evidence=replace(EVIDENCE, given=now()))
    failed = {**batch[4].fields, "pseudonym": NUMBERS[1], "opted_out": "1", "gateway": "first", "ledger": "0"}
    opted_out = replace(batch[4], id=f"{batch[4].id}9", type="delivery.failed", fields=failed)
    return [*of_bucket([consent], NUMBERS[0]), *batch, opted_out]  # of the number's first verification


@pytest.mark.parametrize("recorded", [0, 1])
def test_a_recorder_that_is_killed_between_two_databases_leaves_nothing_that_a_repetition_does_not_mend(
    site: Site, recorded: int
) -> None:
    alone, divided, batch = site.alone(), site.divided(), batch_with_all(now() - DAY)
    for ledger in (alone, divided):
        endpoint(ledger, "verification", "delivery", "suppression", "consent")
    alone.verifications.record(batch)

    def record(ledger: Ledger) -> None:
        last, normal = ledger.parts[1 + recorded].verifications, VerificationLedger.record_traffic
        VerificationLedger.record_traffic = lambda it, *some: die() if it is last else normal(it, *some)  # type: ignore[method-assign]
        ledger.verifications.record(batch)

    in_a_process_that_dies(site, record)
    assert site.rows(0, webhooks) > 0
    assert (site.rows(1) > 0, site.rows(2)) == (recorded > 0, 0)
    for _ in range(2):
        divided.verifications.record(batch)

    assert_alike(divided, alone)
    for ledger in (alone, divided):
        assert len(ledger.suppressions.of(NUMBERS[1])) == 1
        assert len(ledger.consents.of(NUMBERS[0], "shop", "login")) == 1
    posted, wanted = (_types_posted(ledger) for ledger in (divided, alone))
    assert posted == wanted
    assert wanted[WebhookType.SUPPRESSION_ADDED] == 1
    assert flaws(divided) == []


def _types_posted(ledger: Ledger) -> Counter[str]:
    return Counter(one.type for one in ledger.postings.find(PostingFilter(), 1000))


def test_of_recorders_that_race_with_the_same_events_each_thing_is_told_once(site: Site) -> None:
    alone, divided, batch = site.alone(), site.divided(), batch_with_all(now() - DAY)
    for ledger in (alone, divided):
        endpoint(ledger, "verification", "delivery", "suppression")
    alone.verifications.record(batch)
    with ThreadPoolExecutor(4) as pool:
        recorded = list(pool.map(lambda _: site.divided().verifications.record(batch), range(4)))

    assert sum(one.new for one in recorded) == len(batch) - 1
    assert _types_posted(divided) == _types_posted(alone)
    assert_alike(divided, alone)


def test_what_began_before_a_division_goes_on_where_it_is(site: Site) -> None:
    alone, first = site.alone(), site.divided((0,))
    batches = [batch_with_all(now() - DAY + 60_000 * place) for place in range(6)]
    begun = [[one for one in batch if one.type == "verification.started"] for batch in batches]
    for ledger in (alone, first):
        endpoint(ledger)
    for batch in batches:
        alone.verifications.record(batch)
    before, two, four = (
        site._open(0),
        site.divided((1, 2)),
        site.divided((1, 2, 3, 4), former=(1, 2)),
    )
    before.verifications.record(batches[0])
    before.verifications.record(begun[1])
    for batch in (batches[0], batches[1], batches[2], begun[3]):
        two.verifications.record(batch)
    for batch in batches[2:]:
        four.verifications.record(batch)

    assert_alike(four, alone)
    assert [site.rows(place) for place in range(5)] == [24, *(site.rows(place) for place in range(1, 5))]
    assert site.rows(3) > 0 < site.rows(4)
    assert _types_posted(four) == _types_posted(alone)
    assert first.stats.position("00") == ""
    assert flaws(four) == []


def test_refusals_are_counted_once_when_a_bucket_moves(site: Site) -> None:
    key = StatsKey(hour_of(now()), "shop", "login", "PK", "", "", "", "", "refused.start", "number.sends")
    before, after = site.divided((1,)), site.divided((2, 1), former=(1,))
    assert before.stats.add("02", "", "1000-2", {key: StatsCount(3, 0)})

    for ledger in (before, after):
        ledger.note_buckets()
        assert ledger.stats.position("02") == "1000-2"
    assert after.stats.add("02", "1000-2", "1001-0", {key: StatsCount(4, 0)})
    assert not after.stats.add("02", "1000-2", "1001-0", {key: StatsCount(4, 0)})
    assert [one.times for one in after.stats.sums(0, 2 * now(), ("what",))] == [7]
    assert site.rows(2, hourly_stats) == 1


def test_an_erasure_is_recorded_once_and_counts_what_is_elsewhere(site: Site) -> None:
    alone, divided, batch = site.alone(), site.divided(), batch_with_all(now() - DAY)
    done = []
    for ledger in (alone, divided):
        endpoint(ledger)
        ledger.verifications.record(batch)
        done.append(ledger.subjects.erase(NUMBERS[0], None, OperatorActionEntry(OperatorAction.SUBJECT_ERASED, "ops")))

    assert done[1].kept == done[0].kept
    assert done[1].kept["verifications"] == 1 < done[1].kept["events"]
    assert done[1].erased == done[0].erased
    assert divided.subjects.export(NUMBERS[0], None).erasures[0]["kept"] == done[0].kept
    assert divided.consents.of(NUMBERS[0], "shop", "login")[0].evidence.source == ""
    assert len(divided.operator_actions.latest(9)) == 1
    assert flaws(divided) == []


def test_who_wants_to_hear_of_suppressions_hears_which_verification_was_the_last(site: Site) -> None:
    divided, former = site.divided(), site.divided((0,))
    endpoint(divided, "suppression")
    old, new, other = happened(NUMBERS[0], 1000), happened(NUMBERS[0], 2000), happened(NUMBERS[1], 3000)
    former.verifications.record(old + other)
    divided.verifications.record(new)
    divided.suppressions.add(
        [Suppression(one, "shop", SuppressionScope.ALL, SuppressionSource.API, "") for one in NUMBERS[:3]]
    )

    told = divided.postings.find(PostingFilter(), 9)
    assert {one.verification for one in told} == {new[0].member("id"), other[0].member("id")}


def damage(ledger: Ledger) -> None:
    """Change a row, as who owns the database can."""
    with ledger.database.write() as connection:
        if ledger.database.kind == "sqlite":
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all()
            for name in names:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.execute(update(events).values(type="verification.approved"))


def test_each_chain_is_signed_and_verified_by_itself(site: Site) -> None:
    divided = site.divided()
    for batch in traffic():
        divided.verifications.record(batch)
    divided.operator_actions.add(OperatorActionEntry(OperatorAction.STORE_FENCED, "ops"))
    context: Any = SimpleNamespace(ledger=divided, keyring=KEYRING)
    exported: list[SignedHead] = []
    HeadSigner(context, 60, exported.append).sign_if_due()
    assert {one.head.ledger for one in exported} == {one.audit.head().ledger for one in divided.parts}
    assert len(exported) == 3
    progress = AuditProgress()
    assert not [*verify_chain(context, progress, exported)]
    assert progress.entries == sum(one.audit.head().sequence for one in divided.parts)

    damage(divided.parts[2])
    found = flaws(divided, exported)
    assert {name for name, _ in found} == {divided.parts[2].audit.head().ledger}
    assert all("was changed" in sentence for _, sentence in found)
    cut = replace(exported[1], head=replace(exported[1].head, sequence=exported[1].head.sequence + 1))
    assert (cut.head.ledger, "the signature under the head here is not this installation's") in flaws(divided, [cut])


def test_a_dispute_pack_has_rows_of_all_chains_and_holds(site: Site) -> None:
    divided = site.divided()
    divided.verifications.record(batch_with_all(now() - DAY))
    context: Any = SimpleNamespace(ledger=divided, keyring=KEYRING)
    for wanted, count_of in ((DisputeFilter(since=0), 12), (DisputeFilter(pseudonym=NUMBERS[0]), 1)):
        pack = build_dispute_evidence(context, wanted, {})
        assert len(pack["verifications"]) == count_of
        assert not [*verify_dispute_pack(pack, KEYRING.signer.public_key)]
        names = [pack["head"]["ledger"], *(one["ledger"] for one in pack["heads"])]
        assert {one["ledger"] for one in pack["rows"] if one["table"] == "consents"} == {names[0]}
        assert {one["ledger"] for one in pack["rows"] if one["table"] == "events"} <= set(names[1:])
    assert "heads" not in build_dispute_evidence(SimpleNamespace(ledger=site.alone(), keyring=KEYRING), wanted, {})


def test_what_is_too_old_goes_from_each_and_each_chain_tells(site: Site) -> None:
    divided = site.divided()
    with time_machine.travel(now() / 1000 - 40 * 24 * 3600):
        for batch in traffic(1):
            divided.verifications.record(batch)
    for batch in traffic(2):
        divided.verifications.record(batch)
    before = site.rows(1) + site.rows(2)
    moment = now()
    gone = sum(divided.purges.run(Purge(TRAFFIC, moment - 20 * DAY, moment, KEYRING.signer)))

    assert gone == 5 * before / 2
    assert site.rows(1) + site.rows(2) == before / 2
    assert (site.rows(0, purges), site.rows(1, purges), site.rows(2, purges)) == (0, 1, 1)
    last = divided.purges.latest(TRAFFIC)
    assert last is not None
    assert last.at == moment
    assert flaws(divided) == []


def test_all_are_made_upgraded_and_claimed(tmp_path: Path) -> None:
    site = Site([f"sqlite:///{tmp_path}/{name}.db" for name in ("people", "first", "second")])
    divided = site.divided()
    for one in divided.parts:
        assert not divided.there()
        one.upgrade()
    assert divided.there()
    assert divided.is_made()
    with divided.parts[2].database.write(any_key=True) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0004'")
    with pytest.raises(LedgerFormatError):
        divided.is_made()
    with divided.parts[2].database.write(any_key=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :form"), {"form": FORMAT})
    divided.close()
    (tmp_path / "second.db").unlink()
    divided.upgrade()
    assert divided.is_made()

    divided.claim()
    other = open_ledger(site.urls[2], 10.0, "of another key")
    with pytest.raises(LedgerMismatchError):
        other.database.claim()
    other.close()
    site.close()


@pytest.mark.parametrize(
    ("current", "former", "is_sound"),
    [
        ((1, 2), (), True),
        ((2, 1), (), False),
        ((1,), (), False),
        ((1,), (1, 2), True),
        ((1, 2, 3, 4), (), False),
        ((1, 2, 3, 4), (1, 2), True),
        ((3, 4), (1, 2), True),
        ((0,), (1, 2), True),
    ],
)
def test_a_bucket_is_not_given_to_another_ledger_unawares(
    site: Site, current: tuple[int, ...], former: tuple[int, ...], *, is_sound: bool
) -> None:
    assert site.divided((1, 2)).take_buckets()
    assert site.divided(current, former).take_buckets() is is_sound


def test_two_addresses_do_not_lead_to_one_database(site: Site) -> None:
    site.urls = [site.urls[0], site.urls[1], site.urls[1]]
    assert not site.divided((1, 2)).take_buckets()


def test_while_one_is_away_nothing_of_it_is_lost_nor_told_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    divided, batch = site.divided(), batch_with_all(now() - DAY)
    endpoint(divided)

    def away(*_: object) -> int:
        raise LedgerUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(type(divided.parts[2].verifications), "record_traffic", away)
        for _ in range(3):
            with pytest.raises(LedgerUnavailableError):
                divided.verifications.record(batch)
    posted = _types_posted(divided)
    assert divided.verifications.record(batch).new == len(batch) - 1
    assert _types_posted(divided) == posted
