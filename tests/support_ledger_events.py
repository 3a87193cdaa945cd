"""What happens to verifications, as the event stream tells it."""

import json
from dataclasses import asdict, replace
from itertools import count

from otp_service.clock import now
from otp_service.domain.audit import CONSENT_GIVEN, Event
from otp_service.domain.consents import ConsentEvidence, NumberState
from otp_service.ledger.ledger import Ledger

EVIDENCE = ConsentEvidence(
    text_version="2026-11",
    text_sha256="9f" * 32,
    locale="ur-PK",
    channel="web",
    agreed_at=1_795_000_000_000,
    source="checkout",
    address_prefix="203.0.113.0/24",
)
NUMBER, OTHER = "n" * 22, "o" * 22
_entries = count(1)


def anew() -> ConsentEvidence:
    """Return what shows that somebody agrees once more, after all that was said so far."""
    return replace(EVIDENCE, agreed_at=now() + 1)


def event(kind: str, verification: str = "vf_1", at: int = 1000, **fields: str) -> Event:
    """Return an event of its own name."""
    about = {"id": verification, "application": "shop", "purpose": "login", "country": "PK"}
    return Event(f"00:{at}-{next(_entries)}", at, kind, {**about, **fields})


def started(
    verification: str = "vf_1", at: int = 1000, number: str = NUMBER, *, place: int = 0, **fields: str
) -> Event:
    """Return a start, when the mirror had come to a place."""
    return event("verification.started", verification, at, channel="sms", pseudonym=number, ledger=str(place), **fields)


def agreed(
    verification: str = "vf_1", number: str = NUMBER, *, place: int = 0, evidence: ConsentEvidence = EVIDENCE
) -> Event:
    """Return the consent that came with a start, when the mirror had come to a place."""
    consent = json.dumps(asdict(evidence))
    return event(CONSENT_GIVEN, verification, pseudonym=number, ledger=str(place), consent=consent)


def mirrored(ledger: Ledger, number: str = NUMBER) -> NumberState:
    """Return what the mirror has to know of a number."""
    changes = ledger.mirror_source.all_after("", 1000, ledger.mirror_source.head())
    assert changes is not None
    return next((one for one in changes.numbers if one.pseudonym == number), NumberState(number, {}, {}))
