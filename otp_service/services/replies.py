"""Replies to what people write back: one text of the catalogue, through the gateway that passed their message on.

They are no messages of a verification: nobody can ask for one or say what is in it, no start is counted for it, and it
is not kept back from a number that has just been suppressed. A number that is frozen gets none. Where the provider
sends what it is answered, the reply goes with the answer. Through any other gateway a worker sends it, once: one that
fails is lost, and so is one that a worker held when it ended.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from otp_service.domain.keyring import SealBrokenError, new_dispatch_id
from otp_service.domain.numbers import NumberType, parse_destination
from otp_service.domain.people import Meaning, freezes
from otp_service.domain.templates import Message, TemplateRef, Variable
from otp_service.errors import FrozenError, LedgerUnavailableError, MessageNotClearedError
from otp_service.gateways.base import Gateway, GatewayError
from otp_service.services.clearance import today
from otp_service.services.context import Context
from otp_service.services.suppressions import entries_of
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

KIND: Final = "reply"
"""Kind of a sealed reply."""
LIFE: Final = 600
"""Seconds after which a provider need not deliver one any more: the handset was on when its holder wrote."""
FROZEN: Final = "frozen"
"""What became of a reply to a number that is frozen."""
_SEALED_LENGTH: Final = 512
AT_ONCE: Final = 100
"""Replies that are sent in one go."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Who is answered what, by whom. The ``repr`` shows no number."""

    gateway: str
    """Through which the message came."""
    application: str
    to: str = field(repr=False)
    """E.164."""
    channel: str
    locale: str
    """BCP 47, of the last message to the number, or of its application."""
    meaning: Meaning
    """Of what is answered."""


@dataclass(frozen=True, slots=True)
class ReplyWords:
    """What somebody is answered. The ``repr`` does not show it."""

    text: str = field(repr=False)
    locale: str
    """BCP 47, of the text."""
    brand: str
    template: TemplateRef
    sender: str | None
    """Name under which it goes out; ``None``: the gateway's own."""


def words_of(context: Context, reply: Reply) -> ReplyWords | None:
    """Return the words of a reply; ``None`` when its application is gone.

    Raises `LedgerUnavailableError` when it cannot be looked up whether the number is frozen, or an application that is
    not known here; `FrozenError` when it is frozen, and `MessageNotClearedError` when the rules of the country do not
    let the reply go out.
    """
    application = context.directory.find(reply.application)
    if application is None:
        return None
    if freezes(entries_of(context, context.keyring.pseudonym(reply.to), reply.application)):
        raise FrozenError("The number is frozen.")
    country, clearance = parse_destination(reply.to, None, tuple(NumberType)).country, context.clearance
    template, reference, locale = context.catalogue.choose_reply(
        reply.meaning, reply.locale, application.locale, only=clearance.rules_of(country).languages
    )
    sender = clearance.clear(country, reply.channel, application.name, reference, today(), reply.gateway)
    text = template.filled({Variable.BRAND: application.title})
    return ReplyWords(text, locale, application.title, reference, sender)


def queue(context: Context, reply: Reply) -> None:
    """Let a worker send a reply; raise `StoreUnavailableError`. It waits sealed, and without its text."""
    keyring = context.keyring
    name = keyring.new_verification_id(keyring.bucket(keyring.pseudonym(reply.to)))
    plain = json.dumps(asdict(reply)).encode().ljust(_SEALED_LENGTH)  # its length would tell of the number's
    sealed = keyring.seal(plain, verification_id=name, application=reply.application, kind=KIND)
    context.store.replies.put(f"{name} {reply.application} ".encode() + sealed)


def send_waiting(context: Context, is_over: Callable[[], bool] = lambda: False) -> int:
    """Send the replies that wait, one after the other, until ``is_over``; return how many there were.

    Raises `StoreUnavailableError` when Redis does not answer.
    """
    for count in range(AT_ONCE):
        if is_over() or (entry := context.store.replies.take()) is None:
            return count
        _send(context, entry)
    return AT_ONCE


def _send(context: Context, entry: bytes) -> None:
    name, application, sealed = entry.split(b" ", 2)
    try:
        plain = context.keyring.unseal(
            sealed, verification_id=name.decode(), application=application.decode(), kind=KIND
        )
    except SealBrokenError:  # its root key has been retired meanwhile
        return
    members = json.loads(plain)
    reply = Reply(**{**members, "meaning": Meaning(members["meaning"])})
    outcome = _handed_over(context, reply, name.decode())
    metrics.record_reply(reply.gateway, outcome)
    _log.info("reply_sent", gateway=reply.gateway, meaning=str(reply.meaning), outcome=outcome)


def _handed_over(context: Context, reply: Reply, name: str) -> str:
    """Return a word for what became of a reply."""
    gateway = context.gateways.get(reply.gateway)
    if gateway is None or reply.channel not in gateway.channels:
        return "no_gateway"
    try:
        message = _message(context, reply, name)
    except LedgerUnavailableError:
        return "ledger_unavailable"
    except FrozenError:
        return FROZEN
    except MessageNotClearedError as refused:
        return refused.obstacle
    return "no_application" if message is None else _call(gateway, message)


def _call(gateway: Gateway, message: Message) -> str:
    try:
        gateway.send(message)
    except GatewayError as failure:
        return str(failure.kind)
    except Exception as defect:  # noqa: BLE001 - a stranger's gateway must not take the worker down
        _log.error("gateway_defect", error=type(defect).__name__)  # its text may hold the message
        return "defect"
    return "accepted"


def _message(context: Context, reply: Reply, name: str) -> Message | None:
    words = words_of(context, reply)
    if words is None:
        return None
    return Message(
        to=reply.to,
        text=words.text,
        channel=reply.channel,
        locale=words.locale,
        expires_in=LIFE,
        dispatch_id=new_dispatch_id(context.keyring.bucket(context.keyring.pseudonym(reply.to))),
        receipt_url=None,
        verification_id=name,
        application=reply.application,
        variables={str(Variable.BRAND): words.brand},
        sender=words.sender,
        template=words.template,
    )
