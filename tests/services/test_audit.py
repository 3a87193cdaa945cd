"""Whatever is changed, removed or swapped in the ledger shows, and where; what was purged or erased does not."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import time_machine
from sqlalchemy import Connection, delete, insert, select, text, update
from structlog.testing import capture_logs
from support_installation import World
from support_ledger_events import EVIDENCE, NUMBER, agreed, event, started

from otp_service import clock
from otp_service.domain.applications import KeyScope
from otp_service.domain.consents import Consent, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.inbound import Meaning
from otp_service.domain.keyring import api_key_hash
from otp_service.errors import UnauthenticatedError
from otp_service.ledger.audit import ChainLink, DisputeFilter, SignedHead
from otp_service.ledger.retention import PURGE_RULES, Purge
from otp_service.ledger.schema import (
    AUDIT,
    TRAFFIC,
    api_keys,
    applications,
    audit,
    consents,
    events,
    head,
    suppressions,
    verifications,
)
from otp_service.services.access import authenticate
from otp_service.services.audit import (
    AuditProgress,
    HeadSigner,
    build_dispute_evidence,
    head_to_json,
    read_heads,
    sign_head,
    verify_chain,
)
from otp_service.services.context import Context
from otp_service.telemetry import metrics
from otp_service.telemetry.redaction import redact_event

DAY = 24 * 3600 * 1000
_LATER = count(1)


@pytest.fixture
def context(world: World, ledger_url: str) -> Iterator[Context]:
    made = world.install(ledger={"url": ledger_url}).context
    yield made
    made.ledger.database.close()


@pytest.fixture
def filled(context: Context) -> Context:
    for number in range(3):
        fill(context, f"vf_{number}")
    return context


def fill(context: Context, name: str = "vf_1") -> None:
    """Record something of every kind: eight entries."""
    ledger = context.ledger
    given = EVIDENCE.agreed_at + next(_LATER)
    consent = agreed(name, evidence=replace(EVIDENCE, agreed_at=given))
    ledger.verifications.record([started(name), consent, event("delivery.sent", name, 1100, gateway="first")])
    ledger.consents.add(Consent(NUMBER, "shop", "login", None))
    ledger.suppressions.add([Suppression(NUMBER, "shop", SuppressionScope.ALL, SuppressionSource.API, reason=name)])
    ledger.inbound.record(f"message of {name}", NUMBER, "shop", "first", Meaning.STOP)
    ledger.subjects.erase(NUMBER, "shop")


def flaws(context: Context, *outside: SignedHead) -> list[tuple[int, str]]:
    return [(one.sequence, one.sentence) for one in verify_chain(context, AuditProgress(), outside)]


def tamper(context: Context, change: Callable[[Connection], object]) -> None:
    """Change the database behind the service's back, triggers left out: whoever owns it can."""
    with context.ledger.database.write() as connection:
        for table in ("consents", "suppressions", "audit"):
            suffix = f" ON {table}" if context.ledger.database.kind == "postgresql" else ""
            connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_fixed{suffix}"))
        change(connection)


def now(context: Context) -> SignedHead:
    return sign_head(context, context.ledger.audit.head())


def test_a_ledger_that_nobody_touched_is_as_it_was_recorded(filled: Context) -> None:
    progress = AuditProgress()

    assert list(verify_chain(filled, progress, [now(filled)])) == []
    assert (progress.entries, progress.first, progress.last, progress.gone, progress.heads) == (24, 1, 24, 0, 1)


def test_an_empty_one_is_too(context: Context) -> None:
    assert flaws(context, now(context)) == []


@pytest.mark.parametrize("column", ["at", "table", "row", "digest", "link"])
@pytest.mark.parametrize("place", [1, 12, 24])
def test_one_byte_of_an_entry_that_is_changed_shows_at_its_place(filled: Context, column: str, place: int) -> None:
    def change(connection: Connection) -> None:
        one = audit.c[column]
        value: Any = connection.execute(select(one).where(audit.c.sequence == place)).scalar()
        other = value + 1 if isinstance(value, int) else ("0" if value[0] != "0" else "1") + value[1:]
        connection.execute(update(audit).where(audit.c.sequence == place).values({column: other}))

    tamper(filled, change)

    found = flaws(filled)
    assert found
    assert found[0][0] == place


@pytest.mark.parametrize("place", [1, 12, 23])
def test_an_entry_that_is_removed_shows_at_its_place(filled: Context, place: int) -> None:
    tamper(filled, lambda connection: connection.execute(delete(audit).where(audit.c.sequence == place)))

    assert flaws(filled)[0] == (place, f"entry {place} is missing")


def test_two_entries_that_are_swapped_show_at_the_first_of_them(filled: Context) -> None:
    def swap(connection: Connection) -> None:
        for old, new in ((7, -1), (9, 7), (-1, 9)):
            connection.execute(update(audit).where(audit.c.sequence == old).values(sequence=new))

    tamper(filled, swap)

    assert flaws(filled)[0] == (7, "entry 7 was changed, or is not where it was")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (update(events).where(events.c.id.like("%:1100-%")).values(gateway="second"), "of events was changed"),
        (update(consents).values(text_sha256="0" * 64), "of consents was changed"),
        (update(suppressions).values(until=5), "of suppressions was changed"),
        (delete(events), "of events is gone, and no purge took it"),
        (delete(suppressions), "of suppressions is gone, and no purge took it"),
    ],
)
def test_a_row_that_is_changed_or_removed_shows_by_its_entry(filled: Context, change: Any, told: str) -> None:
    tamper(filled, lambda connection: connection.execute(change))
    found = flaws(filled)

    assert found
    assert all(told in sentence for _, sentence in found)
    assert all(place for place, _ in found)


def test_a_row_that_was_never_recorded_shows(filled: Context) -> None:
    row = {
        "id": "forged",
        "verification": "vf_1",
        "type": "delivery.delivered",
        "at": 1,
        "gateway": "",
        "details": "{}",
    }
    tamper(filled, lambda connection: connection.execute(insert(events).values(row)))

    assert flaws(filled) == [(0, "the row forged of events has no entry in the chain")]


def cut(connection: Connection) -> None:
    """Cut off the last entries with all that they are of, and let the head agree."""
    link = connection.execute(select(audit.c.link).where(audit.c.sequence == 16)).scalar()
    connection.execute(delete(audit).where(audit.c.sequence > 16))
    connection.execute(update(head).values(audit=16, audit_link=link))
    connection.execute(delete(verifications).where(verifications.c.id == "vf_2"))
    connection.execute(delete(events).where(events.c.verification == "vf_2"))
    connection.execute(delete(consents).where(consents.c.sequence > 8))
    connection.execute(delete(suppressions).where(suppressions.c.sequence > 8))
    connection.execute(text("DELETE FROM inbound WHERE id = 'message of vf_2'"))
    connection.execute(text("DELETE FROM erasures WHERE at >= (SELECT max(at) FROM erasures)"))


def test_a_tail_that_was_cut_off_shows_against_a_head_that_was_exported_and_by_nothing_else(filled: Context) -> None:
    exported = list(read_heads([head_to_json(filled, now(filled))]))
    tamper(filled, cut)

    assert [place for place, sentence in flaws(filled) if "erasures" not in sentence] == []
    assert (24, "a head was signed at entry 24, which is missing: the end was cut off") in flaws(filled, *exported)


def test_a_chain_that_was_written_anew_shows_against_a_head_that_was_exported(filled: Context) -> None:
    one = now(filled)
    forged = SignedHead(replace(one.head, link="0" * 64), one.signature)
    with_key = sign_head(filled, replace(one.head, link="0" * 64))

    assert flaws(filled, forged)[0] == (24, "the signature under the head here is not this installation's")
    anew = "a head was signed at entry 24 with another link: the chain was written anew"
    assert flaws(filled, with_key) == [(24, anew)]


def test_what_is_added_as_we_would_add_it_shows_nowhere(filled: Context) -> None:
    """No key makes an entry: that of a head only tells that what was there at its time is still so."""
    exported = now(filled)
    fill(filled, "vf_that_never_was")

    assert flaws(filled, exported) == []


def test_a_key_that_somebody_put_into_the_database_opens_the_api_and_shows(filled: Context) -> None:
    row = {"id": "ak_his", "application": "", "hash": api_key_hash("his"), "scopes": "admin", "addresses": ""}
    with pytest.raises(UnauthenticatedError):
        authenticate(filled, "his", lambda: None)
    tamper(filled, lambda connection: connection.execute(insert(api_keys).values(**row, created=1)))
    tamper(filled, lambda connection: connection.execute(update(head).values(access=head.c.access + 1)))
    filled.access_cache.refresh()

    assert authenticate(filled, "his", lambda: None).key.scopes == {KeyScope.ADMIN}
    assert flaws(filled) == [(0, "the row ak_his of api_keys has no entry in the chain")]


def test_how_a_verification_ended_is_proven_by_its_events_alone(filled: Context) -> None:
    tamper(filled, lambda connection: connection.execute(update(verifications).values(status="approved", ended=1)))
    made = build_dispute_evidence(filled, DisputeFilter(verification="vf_1"), {})

    assert flaws(filled) == []
    assert "status" not in made["rows"][0]["row"]
    assert [one["row"]["type"] for one in made["rows"] if one["table"] == "events"] == [
        "verification.started",
        "delivery.sent",
    ]


def test_a_purge_and_an_erasure_leave_the_chain_as_it_was(filled: Context) -> None:
    later = filled.ledger.audit.head().at + 800 * DAY
    with time_machine.travel(later / 1000, tick=False):
        for data in PURGE_RULES:
            list(filled.ledger.purges.run(Purge(data, later - 400 * DAY, later, filled.keyring.signer)))
        filled.ledger.subjects.erase(NUMBER, None)
        progress = AuditProgress()
        found = list(verify_chain(filled, progress))

    assert found == []
    assert progress.gone > 6


def test_the_chain_itself_goes_up_to_a_signed_head_and_begins_there(filled: Context) -> None:
    kept: list[str] = []
    keeper = HeadSigner(filled, 60, lambda one: kept.append(head_to_json(filled, one)))
    keeper.sign_if_due()
    fill(filled, "vf_9")
    later = filled.ledger.audit.head().at + 4000 * DAY
    with time_machine.travel(later / 1000, tick=False):
        for data in PURGE_RULES:
            list(filled.ledger.purges.run(Purge(data, later - 3650 * DAY, later, filled.keyring.signer)))
        progress = AuditProgress()
        found = list(verify_chain(filled, progress, read_heads(kept)))

    assert found == []
    assert progress.first == 25


def test_of_a_row_that_was_changed_the_chain_keeps_the_last_entry_when_its_beginning_goes(filled: Context) -> None:
    filled.ledger.applications.add("bank", "{}", "cli:ali")
    HeadSigner(filled, 60, None).sign_if_due()
    filled.ledger.applications.change("bank", '{"name":"Bank"}', "cli:ali")
    later = filled.ledger.audit.head().at + 4000 * DAY
    with time_machine.travel(later / 1000, tick=False):
        list(filled.ledger.purges.run(Purge(AUDIT, later - 3650 * DAY, later, filled.keyring.signer)))
        assert flaws(filled) == []
        tamper(filled, lambda connection: connection.execute(update(applications).values(settings="{}")))
        assert [sentence for _, sentence in flaws(filled)] == ["the row bank of applications was changed"]


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("purged", [True, False])
def test_a_day_is_gone_without_a_flaw_where_a_purge_dropped_it_and_with_one_where_somebody_else_did(
    context: Context, purged: bool
) -> None:
    today = clock.now() // DAY * DAY
    context.ledger.verifications.record([started("vf_1", today), event("delivery.sent", "vf_1", today + 9)])
    context.ledger.verifications.record([started("vf_2", today + DAY)])
    if purged:
        rows = context.ledger.purges.run(Purge(TRAFFIC, today + DAY, today + 400 * DAY, context.keyring.signer))
        assert sum(rows) == 3
    else:
        tamper(context, lambda it: it.execute(text("DROP TABLE events_before, verifications_before")))

    gone = [sentence for _, sentence in flaws(context)]
    assert len(gone) == (0 if purged else 3)
    assert all("is gone, and no purge took it" in sentence for sentence in gone)


def test_a_purge_while_the_chain_is_looked_through_is_no_flaw(filled: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    HeadSigner(filled, 60, None).sign_if_due()
    fill(filled, "vf_9")
    later = filled.ledger.audit.head().at + 4000 * DAY
    monkeypatch.setattr("otp_service.services.audit.BATCH_SIZE", 2)
    monkeypatch.setattr("otp_service.ledger.retention.DELETE_BATCH", 3)
    read = filled.ledger.audit.links
    with time_machine.travel(later / 1000, tick=False):
        purge = (
            gone
            for data in PURGE_RULES
            for gone in filled.ledger.purges.run(Purge(data, later - 3650 * DAY, later, filled.keyring.signer))
        )

        def read_and_purge(after: int, most: int) -> tuple[ChainLink, ...]:
            next(purge, None)
            return read(after, most)

        monkeypatch.setattr(filled.ledger.audit, "links", read_and_purge)
        progress = AuditProgress()
        during = list(verify_chain(filled, progress))
        list(purge)
        after = list(verify_chain(filled, AuditProgress()))

    assert (during, after) == ([], [])
    assert progress.gone


def test_a_head_that_was_handed_to_nobody_is_not_taken_for_exported(filled: Context) -> None:
    kept: list[int] = []
    HeadSigner(filled, 3600, None).sign_if_due()
    assert [one.head.sequence for one in filled.ledger.audit.unexported()] == [24]

    HeadSigner(filled, 3600, lambda one: kept.append(one.head.sequence)).sign_if_due()
    assert kept == [24]
    assert filled.ledger.audit.unexported() == ()


def test_the_log_tells_of_a_head_all_that_is_needed_to_compare_it(filled: Context) -> None:
    with capture_logs(processors=[redact_event]) as lines:
        HeadSigner(filled, 3600, None).sign_if_due()

    (signed,) = filled.ledger.audit.unexported()
    (line,) = (line for line in lines if line["event"] == "audit_head_signed")
    assert (line["sequence"], line["link"], line["signature"]) == (24, signed.head.link, signed.signature)


def _export_lag() -> float | None:
    return metrics.REGISTRY.get_sample_value("otp_service_audit_export_lag_seconds")


def test_a_head_is_signed_once_in_its_time_and_exported_until_that_worked(filled: Context) -> None:
    kept: list[int] = []
    works = [False]

    def export(one: SignedHead) -> None:
        if not works[0]:
            raise OSError(28, "No space left on device")
        kept.append(one.head.sequence)

    keeper, other = HeadSigner(filled, 3600, export), HeadSigner(filled, 3600, export)
    begun = filled.ledger.audit.head().at
    with time_machine.travel(begun / 1000, tick=False) as clock:
        for one in (keeper, other):
            one.sign_if_due()
        fill(filled, "vf_9")
        clock.move_to(begun / 1000 + 3599)
        keeper.sign_if_due()
        assert _export_lag() == pytest.approx(3599, abs=1)
        works[0] = True
        for one in (keeper, other):
            one.sign_if_due()
        assert kept == [24]
        assert _export_lag() == 0
        clock.move_to(begun / 1000 + 3600)
        for one in (keeper, other, keeper):
            one.sign_if_due()

    assert kept == [24, 32]
