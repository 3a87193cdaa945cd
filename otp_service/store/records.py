"""The form of a verification in Redis: a hash of short values.

`fields_of` and `counted_by` name what a start writes. The scripts add: ``created``, ``expires`` and ``last_send``
(milliseconds), ``start`` (the start's idempotency key), ``guard`` (flags of how the start was counted), ``n<message>``
(dispatches of a message) and ``d<message>.<dispatch>`` (what became of one: channel|gateway|status|time|reason|choice|
begun|raw status|reference), ``from<message>`` (dispatches before the message was put back from the dead letters),
``after<message>`` (which one a gateway's report on it has led to; 0: to none), ``p<message>`` (what one of its
dispatches may cost), ``r<message>.<dispatch>`` (what is reserved for one) and ``consented`` (when the consent was given
that came with the start).
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from otp_service.domain.guard import Sending
from otp_service.domain.verification import (
    Channel,
    Choice,
    Delivery,
    DeliveryStatus,
    Purpose,
    PurposeKind,
    Resend,
    Status,
    Verification,
)
from otp_service.store.scripts import Argument

_SEALED = frozenset({"destination", "mask", "details"})
_SLOT = re.compile(r"d(\d+)\.(\d+)")

VERSION = "1"
"""Format of records and jobs: a release reads what the one before it wrote."""


def slot_of(message: int, dispatch: int) -> str:
    """Return the field in which a record keeps what became of a dispatch; a message waits in that of its first."""
    return f"d{message}.{dispatch}"


def fields_of(verification: Verification, tag: str) -> tuple[Argument, ...]:
    """Return what a new record holds, name and value in turn; the script adds the times."""
    policy = verification.purpose
    fields: dict[str, Argument] = {
        "v": VERSION,
        "application": verification.application,
        "pseudonym": verification.pseudonym,
        "status": verification.status,
        "country": verification.country,
        "channel": verification.channel,
        "locale": verification.locale,
        "purpose": policy.name,
        "kind": policy.kind,
        "code_length": policy.code_length,
        "max_checks": policy.max_checks,
        "max_sends": policy.max_sends,
        "resend_delays": ",".join(map(str, policy.resend_delays)),
        "resend": policy.resend,
        "channels": ",".join(policy.channels),
        "fallback": int(policy.fallback),
        "checks": verification.checks,
        "sends": verification.sends,
        "generation": verification.generation,
        "transaction": verification.transaction_digest,
        "destination": verification.sealed_destination,
        "mask": verification.sealed_mask,
        "details": verification.sealed_details,
        "tag": tag,
    }
    return tuple(part for pair in fields.items() for part in pair)


def counted_by(sending: Sending) -> Iterator[str]:
    """Yield what a record remembers of how its start was counted, name and value in turn: pseudonyms.

    Each in a field of its own, for a long value would triple the record.
    """
    fields = (
        ("block", sending.block),
        ("network", sending.network),
        ("wide", sending.wide_network),
        ("provider", sending.provider),
        ("context", sending.context),
    )
    for name, value in fields:
        if value:
            yield name
            yield value


def pairs(flat: list[bytes]) -> dict[str, bytes]:
    """Return the hash that a script returned as a flat list."""
    names = iter(flat)
    return {name.decode(): value for name, value in zip(names, names, strict=True)}


def verification_of(verification_id: str, fields: Mapping[str, bytes], now: int) -> Verification:
    """Return a recorded verification as it is at ``now`` (milliseconds by Redis' clock)."""
    text = {name: value.decode() for name, value in fields.items() if name not in _SEALED}
    if text["v"] != VERSION:
        raise ValueError(f"the record of {verification_id} has the format {text['v']}")
    created, expires = int(text["created"]), int(text["expires"])
    return Verification(
        id=verification_id,
        application=text["application"],
        pseudonym=text["pseudonym"],
        status=_status_at(Status(text["status"]), expires, now),
        country=text["country"],
        channel=text["channel"],
        locale=text["locale"],
        purpose=_purpose_of(text, ttl=(expires - created) // 1000),
        created=created,
        expires=expires,
        checks=int(text["checks"]),
        sends=int(text["sends"]),
        last_send=int(text["last_send"]),
        generation=int(text["generation"]),
        transaction_digest=text["transaction"],
        sealed_destination=fields.get("destination", b""),
        sealed_mask=fields["mask"],
        sealed_details=fields["details"],
        consented=int(text.get("consented", 0)),
        deliveries=tuple(sorted(_deliveries(text.items()), key=lambda one: (one.message, one.dispatch))),
    )


def _status_at(status: Status, expires: int, now: int) -> Status:
    return Status.EXPIRED if status is Status.PENDING and now >= expires else status


def _purpose_of(text: Mapping[str, str], ttl: int) -> Purpose:
    return Purpose(
        name=text["purpose"],
        kind=PurposeKind(text["kind"]),
        code_length=int(text["code_length"]),
        ttl=ttl,
        max_checks=int(text["max_checks"]),
        max_sends=int(text["max_sends"]),
        resend_delays=tuple(map(int, text["resend_delays"].split(","))),
        resend=Resend(text["resend"]),
        channels=tuple(map(Channel, text["channels"].split(","))),
        fallback=text.get("fallback", "0") == "1",  # a record of an earlier release has none
    )


def _deliveries(fields: Iterable[tuple[str, str]]) -> Iterable[Delivery]:
    """Yield what the slots ``d<message>.<dispatch>`` hold; one of an earlier format has fewer values."""
    for name, value in fields:
        slot = _SLOT.fullmatch(name)
        if not slot:
            continue
        channel, gateway, status, at, reason, choice, begun, raw, reference, *_ = value.split("|") + [""] * 4
        yield Delivery(
            message=int(slot[1]),
            dispatch=int(slot[2]),
            channel=channel,
            gateway=gateway or None,
            status=DeliveryStatus(status),
            at=int(at),
            reason=reason or None,
            choice=Choice(choice) if choice else None,
            begun=int(begun or at),
            raw_status=raw or None,
            reference=reference or None,
        )
