"""Vonage: delivery receipts, and what they say.

After "Delivery receipts" and "Messaging Opted-out Numbers" of its documentation. The signature of a receipt does not
cover its address, so that the dispatch is held against ``client-ref``, which we gave.
"""

from collections.abc import Mapping

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind, Receipt, ReceiptForgedError, ReceiptRequest
from otp_service.gateways.vonage.proof import is_proven, members_of
from otp_service.gateways.vonage.settings import VonageSettings

STATUSES = {
    **dict.fromkeys(("accepted", "buffered"), DeliveryStatus.SENT),
    "delivered": DeliveryStatus.DELIVERED,
    "expired": DeliveryStatus.EXPIRED,
    "undelivered": DeliveryStatus.UNDELIVERED,
    **dict.fromkeys(("failed", "rejected"), DeliveryStatus.FAILED),
}
FAILURES = {
    "1": FailureKind.UNAVAILABLE,  # not delivered for an unknown reason
    "2": FailureKind.UNAVAILABLE,  # absent subscriber, temporary
    "3": FailureKind.DESTINATION,  # absent subscriber, permanent: the number is no longer active
    "4": FailureKind.DESTINATION,  # call barred by the user
    "5": FailureKind.UNAVAILABLE,  # portability error
    "6": FailureKind.UNAVAILABLE,  # anti-spam rejection
    "7": FailureKind.UNAVAILABLE,  # handset busy
    "8": FailureKind.UNAVAILABLE,  # network error
    "9": FailureKind.DESTINATION,  # the user asked not to receive such messages: "Messaging Opted-out Numbers"
    "10": FailureKind.REJECTED,  # error in a parameter of the message
    "11": FailureKind.UNAVAILABLE,  # no route found
    "12": FailureKind.CHANNEL,  # no route to this number
    "13": FailureKind.CHANNEL,  # age restriction
    "14": FailureKind.CHANNEL,  # SMS not enabled on the subscriber's plan
    "15": FailureKind.CHANNEL,  # the subscriber's prepaid balance is too low
    "99": FailureKind.UNAVAILABLE,  # error in the route
}
OPTED_OUT = "9"


def authentic_members(request: ReceiptRequest, settings: VonageSettings) -> Mapping[str, str]:
    """Return the members of a receipt; raise `ReceiptForgedError` unless it is proven to be about its dispatch."""
    members = members_of(request)
    named = settings.signature_secret is None or members.get("client-ref") == request.dispatch_id
    if not (is_proven(request, members, settings, request.dispatch_id) and named):
        raise ReceiptForgedError
    return members


def receipt_of(members: Mapping[str, str]) -> Receipt:
    """Return what a receipt says; its reason is an error code in our words first: ``destination 3``."""
    raw, code = members.get("status", ""), members.get("err-code", "")
    status, kind = STATUSES.get(raw, DeliveryStatus.UNKNOWN), FAILURES.get(code)
    if code == "0":
        return Receipt(status, raw)
    return Receipt(status, raw, f"{kind} {code}" if kind else code or None, kind, opted_out=code == OPTED_OUT)
