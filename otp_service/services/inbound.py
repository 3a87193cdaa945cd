"""Act on what people write back: stop, start and help. Everything else is only counted.

A message is obeyed for the application whose message the number got last through the same gateway; where none is known,
nothing is changed for anybody. A stop is obeyed before it is recorded, so that a process that ends between the two
loses nothing: the provider sends it again, and to obey it twice does no harm. A start is obeyed in the transaction that
records it. Once a message is recorded it is not obeyed again, however late somebody repeats it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from otp_service.domain.numbers import Destination, NumberType, parse_destination
from otp_service.domain.people import OF_THE_HOLDER, Meaning, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.verification import DeliveryStatus, Verification
from otp_service.errors import InvalidNumberError, NumberTypeNotAllowedError
from otp_service.gateways.base import InboundMessage
from otp_service.ledger.database import now
from otp_service.services.context import Context
from otp_service.services.replies import Reply
from otp_service.services.suppressions import suppress, tell
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

MEMORY: Final = 90 * 24 * 3600 * 1000
"""Milliseconds after which a message is too long ago to be answered."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """What a message answers."""

    application: str
    """Empty when it is not known."""
    locale: str = ""
    """BCP 47 of the message that was sent; empty when it is not known."""


_NOBODY: Final = _Answered("")
_ON_ITS_WAY: Final = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.UNKNOWN})
"""Statuses of a message that may have arrived."""


def receive(context: Context, gateway: str, message: InboundMessage) -> Reply | None:
    """Act on an authentic message that came through a gateway; return the reply that is due, which is then spent.

    Raises `LedgerUnavailableError` or `StoreUnavailableError`: then the message has to come again.
    """
    sender = _sender(message, context.inbound.region)
    if sender is None:
        metrics.record_inbound(gateway, Meaning.OTHER, "no_number")
        _log.warning("inbound_without_number", gateway=gateway)
        return None
    name = _name(gateway, message.reference)
    meaning = message.opt_out or context.inbound.vocabulary.meaning(message.text)
    if message.reference and context.ledger.inbound.known(name):
        metrics.record_inbound(gateway, meaning, "repeated")
        return None
    pseudonym = context.keyring.pseudonym(sender.e164)
    answered = _answered(context, pseudonym, gateway)
    if meaning is Meaning.START and answered.application:
        outcome = _let_through(context, name, pseudonym, answered.application, gateway)
        is_new = outcome != "repeated"
    else:
        outcome = _obey(context, pseudonym, answered.application, meaning)
        is_new = context.ledger.inbound.record(name, pseudonym, answered.application, gateway, meaning)
    metrics.record_inbound(gateway, meaning, outcome)
    _tell(gateway, answered.application, meaning)
    if not is_new or message.opt_out or meaning not in context.inbound.replies:
        return None
    return _reply(context, gateway, message.channel, sender, answered, meaning)


def _sender(message: InboundMessage, region: str | None) -> Destination | None:
    """Return who wrote; ``None`` when that is no number, such as the name or short code of another sender.

    A spelling without a plus is national where a region is set, or else international.
    """
    bare = message.sender.strip().lstrip("+")
    for spelling in (message.sender, f"+{bare.removeprefix('00')}"):
        try:
            return parse_destination(spelling, region, tuple(NumberType))
        except (InvalidNumberError, NumberTypeNotAllowedError):
            continue
    return None


def _name(gateway: str, reference: str) -> str:
    """Return the name under which a message is recorded; of one without a reference no repetition is known."""
    if not reference:
        return secrets.token_hex(16)
    return hashlib.sha256(f"{gateway}\0{reference}".encode(errors="surrogatepass")).hexdigest()[:32]


def _answered(context: Context, pseudonym: str, gateway: str) -> _Answered:
    """Return whose message the number got last through a gateway: Redis knows the latest, the ledger all others."""
    bucket = context.keyring.bucket(pseudonym)
    recent = context.store.history.recent(bucket, pseudonym)
    records = filter(None, (context.store.verifications.read(bucket, one.id) for one in recent))
    latest = max(((_sent(one, gateway), one) for one in records), key=lambda pair: pair[0], default=None)
    known = context.ledger.traffic.answered(pseudonym, gateway, now() - MEMORY)
    if latest and latest[0] and (known is None or latest[0] >= known[1]):
        return _Answered(latest[1].application, latest[1].locale)
    return _Answered(known[0]) if known else _NOBODY


def _sent(verification: Verification, gateway: str) -> int:
    """Return when the last message of a verification went out through a gateway; 0 for never."""
    return max(
        (one.begun for one in verification.deliveries if one.gateway == gateway and one.status in _ON_ITS_WAY),
        default=0,
    )


def _obey(context: Context, pseudonym: str, application: str, meaning: Meaning) -> str:
    """Do what a message asks for that is none to let messages through; return a word for it."""
    if meaning not in {Meaning.STOP, Meaning.START}:
        return "recorded"
    if not application:
        return "no_application"
    suppress(context, (_said(pseudonym, application, meaning),))
    return "obeyed"


def _let_through(context: Context, name: str, pseudonym: str, application: str, gateway: str) -> str:
    """Record a message that asks for messages again, and lift what the holder said; return a word for it.

    What somebody else said, he has to lift. Unlike a stop it is not obeyed before it is recorded, but with that: a
    repetition would undo a later stop.
    """
    entry = _said(pseudonym, application, Meaning.START)
    is_new, lifted = context.ledger.inbound.record_start(name, gateway, entry, OF_THE_HOLDER)
    if not is_new:
        return "repeated"
    if lifted is None:
        return "kept_back"
    if lifted.new:
        context.reflection.write_through(lifted.place)
        tell(entry)
    return "obeyed"


def _said(pseudonym: str, application: str, meaning: Meaning) -> Suppression:
    return Suppression(
        pseudonym=pseudonym,
        application=application,
        scope=SuppressionScope.ALL,
        source=SuppressionSource.INBOUND,
        reason=f"wrote {meaning}",
        lifted=meaning is Meaning.START,
    )


def _tell(gateway: str, application: str, meaning: Meaning) -> None:
    if application or meaning is Meaning.OTHER:
        _log.info("inbound_message", gateway=gateway, application=application, meaning=str(meaning))
    else:
        _log.warning("inbound_message_to_nobody", gateway=gateway, meaning=str(meaning))


def _reply(
    context: Context, gateway: str, channel: str, to: Destination, answered: _Answered, meaning: Meaning
) -> Reply | None:
    """Return what is answered in the words of the catalogue, unless the number had its reply of this kind today."""
    application = context.directory.find(answered.application) if answered.application else None
    if application is None:
        return None
    pseudonym = context.keyring.pseudonym(to.e164)
    if not context.store.replies.spend(context.keyring.bucket(pseudonym), application.name, pseudonym, meaning):
        return None
    return Reply(
        gateway=gateway,
        application=application.name,
        to=to.e164,
        channel=channel,
        locale=answered.locale or application.locale,
        meaning=meaning,
    )
