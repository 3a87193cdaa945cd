"""Inbound messages: record them, obey STOP and START, reply."""

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from typing import Final

from otp_service.clock import now
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import (
    EVERY_APPLICATION,
    HOLDER_SOURCES,
    Suppression,
    SuppressionScope,
    SuppressionSource,
    active_freezes,
)
from otp_service.domain.inbound import Meaning, readable_text
from otp_service.domain.keyring import SealBrokenError, first_byte, new_dispatch_id
from otp_service.domain.messages import Message
from otp_service.domain.numbers import ANY_TYPE, Destination, SubjectKey, parse_destination, subject_key
from otp_service.domain.templates import TemplateRef, Variable
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import (
    FrozenError,
    InvalidNumberError,
    LedgerUnavailableError,
    MessageNotAllowedError,
    NotFoundError,
    NumberTypeNotAllowedError,
    StoreUnavailableError,
    UnauthenticatedError,
)
from otp_service.gateways.base import (
    ForgedRequestError,
    Gateway,
    GatewayError,
    InboundMessage,
    InboundResponse,
    ProviderRequest,
    SupportsInbound,
    SupportsInboundResponse,
)
from otp_service.services.consents import add_suppressions, log_suppression
from otp_service.services.context import Context
from otp_service.services.operator_actions import perform_action
from otp_service.services.receipts import is_address_token
from otp_service.services.sender_registrations import today
from otp_service.store.inbox import WaitingMessage
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

# --- replies ---
# A reply belongs to no verification, and goes to suppressed numbers too, but not to frozen ones. It goes with the
# answer to the provider if that can carry it; otherwise a worker sends it, once, and a failed one is lost.

_log = get_logger(__name__)

REPLY_KIND: Final = "reply"
REPLY_EXPIRES_IN: Final = 600
"""Seconds until a reply is obsolete: the handset was on when its holder wrote."""
FROZEN: Final = "frozen"
_SEALED_LENGTH: Final = 512
BATCH_SIZE: Final = 100


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is due. The ``repr`` shows no number."""

    gateway: str
    application: str
    to: str = field(repr=False)
    """E.164."""
    channel: str
    locale: str
    """BCP 47, of the last message to the number, or of its application."""
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class ReplyContent:
    """The content of a reply. The ``repr`` does not show its text."""

    text: str = field(repr=False)
    locale: str
    """BCP 47, of the text."""
    brand: str
    template: TemplateRef
    sender: str | None
    """``None``: the gateway's own."""


def reply_content(context: Context, reply: Reply) -> ReplyContent | None:
    """Return the content of a reply, ``None`` without application; raises `FrozenError`, `MessageNotAllowedError`."""
    application = context.access_cache.find(reply.application)
    if application is None:
        return None
    if active_freezes(context.ledger.suppressions.of(context.keyring.pseudonym(reply.to), reply.application)):
        raise FrozenError("The number is frozen.")
    country, sending_rules = parse_destination(reply.to, None, ANY_TYPE).country, context.sending_rules
    template, reference, locale = context.templates.choose_reply(
        reply.meaning, reply.locale, application.locale, only=sending_rules.rules_of(country).languages
    )
    sender = sending_rules.sender_for(country, reply.channel, application.name, reference, today(), reply.gateway)
    text = template.fill({Variable.BRAND: application.brand})
    return ReplyContent(text, locale, application.brand, reference, sender)


def queue_reply(context: Context, reply: Reply) -> None:
    """Queue a reply for a worker, sealed and without its text."""
    keyring = context.keyring
    name = keyring.new_verification_id(first_byte(keyring.pseudonym(reply.to)))
    plain = json.dumps(asdict(reply)).encode().ljust(_SEALED_LENGTH)  # its length would reveal the number's
    sealed = keyring.seal(plain, verification_id=name, application=reply.application, kind=REPLY_KIND)
    context.store.replies.put(f"{name} {reply.application} ".encode() + sealed)


def send_replies(context: Context, has_expired: Callable[[], bool] = lambda: False) -> int:
    """Send the queued replies in turn until ``has_expired``; return how many were taken."""
    for count in range(BATCH_SIZE):
        if has_expired() or (entry := context.store.replies.take()) is None:
            return count
        name, application, sealed = entry.split(b" ", 2)
        verification_id = name.decode()
        try:
            plain = context.keyring.unseal(
                sealed, verification_id=verification_id, application=application.decode(), kind=REPLY_KIND
            )
        except SealBrokenError:  # its root key has been retired meanwhile
            continue
        members = json.loads(plain)
        reply = Reply(**{**members, "meaning": Meaning(members["meaning"])})
        outcome = _send_reply(context, reply, verification_id)
        metrics.replies.count(gateway=reply.gateway, outcome=outcome)
        _log.info("reply_sent", gateway=reply.gateway, meaning=str(reply.meaning), outcome=outcome)
    return BATCH_SIZE


def _send_reply(context: Context, reply: Reply, name: str) -> str:
    """Send a reply; return the outcome for the metric."""
    gateway = context.gateways.get(reply.gateway)
    if gateway is None or reply.channel not in gateway.channels:
        return "no_gateway"
    try:
        content = reply_content(context, reply)
    except LedgerUnavailableError:
        return "ledger_unavailable"
    except FrozenError:
        return FROZEN
    except MessageNotAllowedError as refused:
        return refused.violation
    if content is None:
        return "no_application"
    message = Message(
        to=reply.to,
        text=content.text,
        channel=reply.channel,
        locale=content.locale,
        expires_in=REPLY_EXPIRES_IN,
        dispatch_id=new_dispatch_id(first_byte(context.keyring.pseudonym(reply.to))),
        receipt_url=None,
        verification_id=name,
        application=reply.application,
        variables={str(Variable.BRAND): content.brand},
        sender=content.sender,
        template=content.template,
    )
    return _call(gateway, message)


def _call(gateway: Gateway, message: Message) -> str:
    try:
        gateway.send(message)
    except GatewayError as failure:
        return str(failure.kind)
    except Exception as defect:  # noqa: BLE001 - a stranger's gateway must not take the worker down
        _log.error("gateway_defect", error=type(defect).__name__)  # its text may hold the message
        return "defect"
    return "accepted"


# --- keywords ---
# A message counts for the application whose message the number got last through the same gateway. STOP takes effect
# before it is recorded: if the process dies between the two, the provider sends it again. START takes effect in the
# transaction that records it: a repetition would undo a later STOP.

ANSWERED_WITHIN: Final = 90 * 24 * 3600 * 1000
"""Milliseconds after which a message counts as unanswered."""
_MAY_HAVE_ARRIVED: Final = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.UNKNOWN})


def handle_message(context: Context, gateway: str, message: InboundMessage) -> Reply | None:
    """Act on an authentic message of a gateway; return the reply that is due, which is then used up."""
    sender = _sender(message, context.inbound.region)
    if sender is None:
        metrics.inbound_messages.count(gateway=gateway, meaning=Meaning.OTHER, outcome="no_number")
        _log.warning("inbound_without_number", gateway=gateway)
        return None
    meaning = message.opt_out or context.inbound.keywords.meaning(message.text)
    name = secrets.token_hex(16)
    if message.reference:
        name = hashlib.sha256(f"{gateway}\0{message.reference}".encode(errors="surrogatepass")).hexdigest()[:32]
        if context.ledger.inbound.known(name):
            metrics.inbound_messages.count(gateway=gateway, meaning=meaning, outcome="repeated")
            return None
    number = subject_key(context.keyring, sender)
    pseudonym = number.pseudonym
    application, locale = _answered_message(context, pseudonym, gateway)
    if meaning is Meaning.START and application:
        outcome = _apply_start(context, name, pseudonym, application, gateway)
        is_new = outcome != "repeated"
    else:
        outcome = _apply_keyword(context, pseudonym, application, meaning)
        is_new = context.ledger.inbound.record(name, pseudonym, application, gateway, meaning)
        if is_new and meaning is Meaning.OTHER:
            outcome = _keep_for_support(context, number, application, gateway, message.text)
    metrics.inbound_messages.count(gateway=gateway, meaning=meaning, outcome=outcome)
    if application or meaning is Meaning.OTHER:
        _log.info("inbound_message", gateway=gateway, application=application, meaning=str(meaning))
    else:
        _log.warning("inbound_message_to_nobody", gateway=gateway, meaning=str(meaning))
    if not is_new or message.opt_out or meaning not in context.inbound.replies:
        return None
    return _reserve(context, Reply(gateway, application, sender.e164, message.channel, locale, meaning))


def _reserve(context: Context, reply: Reply) -> Reply | None:
    """Return a reply with its locale; ``None`` if the number had one of this kind today, or for no application."""
    application = context.access_cache.find(reply.application) if reply.application else None
    if application is None:
        return None
    pseudonym = context.keyring.pseudonym(reply.to)
    bucket = context.keyring.bucket(pseudonym)
    if not context.store.replies.reserve(bucket, application.name, pseudonym, reply.meaning):
        return None
    return replace(reply, locale=reply.locale or application.locale)


def _sender(message: InboundMessage, region: str | None) -> Destination | None:
    """Return the sender's number, national or international without a plus; ``None`` for a name or short code."""
    bare = message.sender.strip().lstrip("+")
    for spelling in (message.sender, f"+{bare.removeprefix('00')}"):
        try:
            return parse_destination(spelling, region, ANY_TYPE)
        except (InvalidNumberError, NumberTypeNotAllowedError):
            continue
    return None


def _answered_message(context: Context, pseudonym: str, gateway: str) -> tuple[str, str]:
    """Return application and locale, empty for unknown, of the last message to a number through a gateway."""
    bucket = context.keyring.bucket(pseudonym)
    recent = context.store.history.recent(bucket, pseudonym)
    records = filter(None, (context.store.verifications.read(bucket, past.id) for past in recent))
    sent = [
        (delivery.begun, record)
        for record in records
        for delivery in record.deliveries
        if delivery.gateway == gateway and delivery.status in _MAY_HAVE_ARRIVED
    ]
    latest = max(sent, key=itemgetter(0), default=None)
    recorded = context.ledger.verifications.last_sender(pseudonym, gateway, now() - ANSWERED_WITHIN)
    if latest and (recorded is None or latest[0] >= recorded[1]):
        return latest[1].application, latest[1].locale
    return (recorded[0] if recorded else "", "")


def _apply_keyword(context: Context, pseudonym: str, application: str, meaning: Meaning) -> str:
    """Suppress the number after a STOP; return the outcome for the metric."""
    if meaning not in {Meaning.STOP, Meaning.START}:
        return "recorded"
    if not application:
        return "no_application"
    add_suppressions(context, (_suppression_entry(pseudonym, application, meaning),))
    return "obeyed"


def _keep_for_support(context: Context, number: SubjectKey, application: str, gateway: str, text: str) -> str:
    """Put a readable message into the inbox; return the outcome for the metric."""
    readable = readable_text(text) if context.inbound.inbox else ""
    if not readable:
        return "recorded"
    return "kept" if context.store.inbox.put(number, application, gateway, readable) else "not_kept"


def stop_for(context: Context, message: WaitingMessage, by: str) -> None:
    """Suppress the sender of a message that support read as a STOP, for the answered application or all."""
    entry = _suppression_entry(message.pseudonym, message.application or EVERY_APPLICATION, Meaning.STOP)
    action = OperatorActionEntry(OperatorAction.SUPPRESSION_ADDED, by, message.application, str(entry.scope))
    add_suppressions(context, (entry,), action)
    context.store.inbox.remove(message.id)


def dismiss(context: Context, message: WaitingMessage, by: str) -> bool:
    """Remove a message that needs no action from the inbox; return whether it was still in it."""
    action = OperatorActionEntry(OperatorAction.MESSAGE_DISMISSED, by, message.application)
    return bool(perform_action(context, action, lambda: int(context.store.inbox.remove(message.id))))


def _apply_start(context: Context, name: str, pseudonym: str, application: str, gateway: str) -> str:
    """Record a START and lift the holder's own suppressions; return the outcome for the metric."""
    entry = _suppression_entry(pseudonym, application, Meaning.START)
    is_new, lifted = context.ledger.inbound.record_start(name, gateway, entry, HOLDER_SOURCES)
    if not is_new:
        return "repeated"
    if lifted is None:
        return "kept_back"
    if lifted.new:
        context.mirror_sync.write_through(lifted.place, [pseudonym])
        log_suppression(entry)
    return "obeyed"


def _suppression_entry(pseudonym: str, application: str, meaning: Meaning) -> Suppression:
    return Suppression(
        pseudonym=pseudonym,
        application=application,
        scope=SuppressionScope.ALL,
        source=SuppressionSource.INBOUND,
        reason=f"wrote {meaning}",
        lifted=meaning is Meaning.START,
    )


def inbound_url(context: Context, gateway: str) -> str:
    """Return the address for a provider's inbound messages, which is part of its signatures."""
    return f"{context.public_url}/v1/inbound/{gateway}/{context.keyring.address_token(gateway)}"


def require_receiver(context: Context, gateway: str, token: str) -> SupportsInbound:
    """Return a gateway that receives messages; raises `NotFoundError`, also for a wrong token."""
    receiver = context.gateways.get(gateway)
    if not is_address_token(context, gateway, token) or not isinstance(receiver, SupportsInbound):
        raise NotFoundError("No gateway receives messages at this address.")
    return receiver


def authenticate_message(receiver: SupportsInbound, request: ProviderRequest) -> InboundMessage:
    """Return the message of a request; raise `UnauthenticatedError` for a forged one."""
    try:
        return receiver.parse_inbound(request)
    except ForgedRequestError as forged:
        raise UnauthenticatedError("The message is not authentic.") from forged


def receive_message(
    context: Context, gateway: str, receiver: SupportsInbound, message: InboundMessage
) -> InboundResponse | None:
    """Act on an authentic message; return the answer to the provider, if any."""
    reply, text = handle_message(context, gateway, message), None
    if isinstance(receiver, SupportsInboundResponse):
        if reply is not None and receiver.carries_reply:
            text = _text_of_answer(context, reply)
        elif reply is not None:
            queue_reply(context, reply)
        return receiver.inbound_response(text)
    if reply is not None:
        queue_reply(context, reply)
    return None


def _text_of_answer(context: Context, reply: Reply) -> str | None:
    """Return the text of a reply for the answer to the provider; ``None`` for a queued or dropped reply."""
    try:
        content = reply_content(context, reply)
    except MessageNotAllowedError as refused:
        metrics.replies.count(gateway=reply.gateway, outcome=refused.violation)
        return None
    except FrozenError:
        metrics.replies.count(gateway=reply.gateway, outcome=FROZEN)
        return None
    if content and content.sender:  # an answer would go out under the number that the message came to
        queue_reply(context, reply)
        return None
    metrics.replies.count(gateway=reply.gateway, outcome="answered" if content else "no_application")
    return content.text if content else None


class InboundReceiver:
    """The sink for the inbound messages of a gateway."""

    def __init__(self, context: Context, gateway: str) -> None:
        self._context = context
        self._gateway = gateway

    def accept(self, message: InboundMessage) -> bool:
        """Act on a message; return whether that succeeded."""
        try:
            reply = handle_message(self._context, self._gateway, message)
            if reply is not None:
                queue_reply(self._context, reply)
        except LedgerUnavailableError:
            metrics.ledger_errors.count(operation="inbound")
        except StoreUnavailableError:
            metrics.store_errors.count(operation="inbound")
        except Exception as defect:  # noqa: BLE001 - our defect must not lose the message
            _log.error("inbound_defect", gateway=self._gateway, error=type(defect).__name__)  # its text may hold it
        else:
            return True
        _log.warning("inbound_not_taken", gateway=self._gateway)
        return False
