"""Twilio: what its error codes and statuses mean to us.

After "Error and warning dictionary" (https://www.twilio.com/docs/api/errors), "Message resource" and "Call resource".
A code that is not here is judged by the HTTP status when a request is refused, and means nothing more in a receipt.
"""

import json
from collections.abc import Mapping

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind, GatewayError, Receipt
from otp_service.gateways.wire import Answer, failure_of_status

FAILURES = {
    10004: FailureKind.THROTTLED,  # calls: as many at the same time as the account may make
    20003: FailureKind.ACCOUNT,  # permission denied: wrong credentials, or none for this
    20005: FailureKind.ACCOUNT,  # account not active
    20429: FailureKind.THROTTLED,  # too many requests
    21210: FailureKind.ACCOUNT,  # calls: 'From' is not verified
    21211: FailureKind.DESTINATION,  # invalid 'To' phone number
    21212: FailureKind.ACCOUNT,  # invalid 'From' number
    21214: FailureKind.CHANNEL,  # calls: 'To' cannot be reached
    21215: FailureKind.UNAVAILABLE,  # calls: this account may not call the country
    21216: FailureKind.FRAUD,  # calls: blocked, a destination of high risk
    21217: FailureKind.DESTINATION,  # calls: 'To' does not appear to be a valid number
    21219: FailureKind.ACCOUNT,  # calls: trial account, unverified destination
    21408: FailureKind.UNAVAILABLE,  # this account may not send messages to the region
    21606: FailureKind.ACCOUNT,  # 'From' is not a number of this account that can send
    21608: FailureKind.ACCOUNT,  # trial account, unverified destination
    21610: FailureKind.DESTINATION,  # recipient has replied STOP
    21611: FailureKind.THROTTLED,  # 'From' has too many messages queued
    21612: FailureKind.UNAVAILABLE,  # no route between this 'From' and 'To'; another sender may have one
    21614: FailureKind.CHANNEL,  # 'To' is not a mobile number
    21635: FailureKind.CHANNEL,  # 'To' is a landline
    30001: FailureKind.THROTTLED,  # queue overflow
    30002: FailureKind.ACCOUNT,  # account suspended
    30003: FailureKind.UNAVAILABLE,  # unreachable destination handset: off, out of coverage
    30004: FailureKind.UNAVAILABLE,  # message blocked, by the carrier or on the recipient's wish
    30005: FailureKind.DESTINATION,  # unknown destination handset
    30006: FailureKind.CHANNEL,  # landline, or a carrier that the sender does not reach
    30007: FailureKind.UNAVAILABLE,  # message filtered
    30008: FailureKind.UNAVAILABLE,  # unknown error
    30022: FailureKind.THROTTLED,  # US A2P 10DLC rate limits exceeded
    30023: FailureKind.THROTTLED,  # US A2P 10DLC daily cap reached
    30024: FailureKind.ACCOUNT,  # numeric sender not provisioned on the carrier
    30029: FailureKind.ACCOUNT,  # ContentRetention without Message Redaction: set redact = false, or have it enabled
    30030: FailureKind.ACCOUNT,  # AddressRetention without it
    30032: FailureKind.ACCOUNT,  # toll-free number not verified
    30033: FailureKind.ACCOUNT,  # US A2P 10DLC campaign suspended
    30034: FailureKind.ACCOUNT,  # US A2P 10DLC unregistered number
    30035: FailureKind.ACCOUNT,  # US A2P 10DLC number still being configured
    30036: FailureKind.UNAVAILABLE,  # validity period expired in Twilio's queue
    30037: FailureKind.ACCOUNT,  # outbound messaging disabled
    30046: FailureKind.UNAVAILABLE,  # delivery not confirmed
    30410: FailureKind.UNAVAILABLE,  # provider time-out
    30450: FailureKind.FRAUD,  # SMS pumping protection
    30453: FailureKind.FRAUD,  # unusual traffic towards the destination
    30454: FailureKind.THROTTLED,  # account exceeded the limit of messages
    30500: FailureKind.ERROR,  # internal error
    63001: FailureKind.ACCOUNT,  # WhatsApp: our authentication there failed
    63003: FailureKind.CHANNEL,  # WhatsApp: 'To' is not there
    63005: FailureKind.REJECTED,  # WhatsApp: content not accepted
    63007: FailureKind.ACCOUNT,  # WhatsApp: no such sender
    63012: FailureKind.ERROR,  # WhatsApp: internal error there
    63013: FailureKind.REJECTED,  # WhatsApp: against its policies
    63014: FailureKind.CHANNEL,  # WhatsApp: blocked by the recipient
    63016: FailureKind.CHANNEL,  # WhatsApp: text without a template outside the 24 hours after the user's own message
    63018: FailureKind.THROTTLED,  # WhatsApp: rate limit exceeded
    63021: FailureKind.REJECTED,  # WhatsApp: content not supported
    63024: FailureKind.CHANNEL,  # WhatsApp: recipient cannot receive it
    63027: FailureKind.REJECTED,  # WhatsApp: no such template in this language
    63028: FailureKind.REJECTED,  # WhatsApp: another number of variables than the template has
    63038: FailureKind.THROTTLED,  # account exceeded the daily limit of messages
}
OF_MESSAGE = frozenset({21215, 21219, 21408, 21608, 21612, 30003, 30004, 30007})
"""Those after which it goes on that the number or the text brings about, while Twilio and our account are well."""
OF_SENDER = frozenset({"21210", "21212", "21606", "30024", "30032", "30033", "30034", "30035", "63007"})
"""Those that are about the sender: where the message has one of its own, they are about the message."""
OPTED_OUT = 21610
STATUSES = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), DeliveryStatus.SENT),
    **dict.fromkeys(("delivered", "read"), DeliveryStatus.DELIVERED),
    "undelivered": DeliveryStatus.UNDELIVERED,
    **dict.fromkeys(("failed", "canceled"), DeliveryStatus.FAILED),
}
"""Of messages."""
CALL_STATUSES = {
    **dict.fromkeys(("queued", "initiated", "ringing", "in-progress"), DeliveryStatus.SENT),
    "completed": DeliveryStatus.DELIVERED,  # answered, and over: by a person or a machine
    **dict.fromkeys(("busy", "no-answer"), DeliveryStatus.UNDELIVERED),
    **dict.fromkeys(("failed", "canceled"), DeliveryStatus.FAILED),
}
_KINDS = {str(code): kind for code, kind in FAILURES.items()}
_EXPIRED = "30036"
_CODES = range(10_000, 100_000)


def failure_of(answer: Answer) -> GatewayError:
    """Return what an answer that is no success means, by Twilio's own code where there is one."""
    code, rest = _code(answer.text), answer.retry_after
    if code in FAILURES:
        return GatewayError(
            FAILURES[code],
            str(code),
            retry_after=rest,
            of_message=code in OF_MESSAGE,
            opted_out=code == OPTED_OUT,
        )
    return failure_of_status(answer.status, str(code) if code else None, retry_after=rest)


def receipt_of_message(form: Mapping[str, str]) -> Receipt:
    """Return what a callback says of a message; its reason is an error code in our words first: ``channel 63003``."""
    raw, code = form.get("MessageStatus", ""), form.get("ErrorCode", "")
    kind = _KINDS.get(code)
    status = DeliveryStatus.EXPIRED if code == _EXPIRED else STATUSES.get(raw, DeliveryStatus.UNKNOWN)
    return Receipt(status, raw, f"{kind} {code}" if kind else code or None, kind, opted_out=code == str(OPTED_OUT))


def receipt_of_call(raw: str) -> Receipt:
    """Return what a callback says of a call."""
    return Receipt(CALL_STATUSES.get(raw, DeliveryStatus.UNKNOWN), raw)


def _code(text: str) -> int:
    """Return Twilio's own code if it has five digits, else 0: what is longer may be a number, or a code of ours."""
    try:
        code = json.loads(text)["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0
    return code if isinstance(code, int) and code in _CODES else 0
