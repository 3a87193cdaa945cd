"""HTTP to a provider, as a gateway makes it: `otp_service.transport.wire`, with failures by what to do next."""

import base64
import re

import requests

from otp_service.domain.templates import Message
from otp_service.gateways.base import FailureKind, GatewayError
from otp_service.transport import wire
from otp_service.transport.wire import Answer, WireError

__all__ = ["Answer", "Wire", "failure_of_status", "reference_of"]

_TIMED_OUT = (504, 524)
"""Somebody before the provider's server waited for it in vain."""
_STATUSES = {
    # Who we are, what we may do and where we ask: not authorised, unpaid, forbidden, not there, not by this method, not
    # past this proxy, gone, not here, not in this protocol, not for legal reasons.
    **dict.fromkeys((401, 402, 403, 404, 405, 407, 410, 421, 426, 451), FailureKind.ACCOUNT),
    408: FailureKind.UNAVAILABLE,  # not there in time, or a connection was idle for too long: it says nothing of us
    429: FailureKind.THROTTLED,
    # Of a server's errors, those of before anybody handled the request: not now, not past this network, and not from
    # Cloudflare to the origin: down, no connection, no way, no or no good TLS, no name.
    **dict.fromkeys((503, 511, 521, 522, 523, 525, 526, 530), FailureKind.UNAVAILABLE),
    **dict.fromkeys(_TIMED_OUT, FailureKind.UNAVAILABLE),
}
"""What is known of single statuses."""
_REFERENCE = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_LAST = 7
"""Digits of a number that are looked for: fewer are in many a reference by chance."""


class Wire(wire.Wire):
    """Calls of one gateway. Made once, used by many threads."""

    def call(self, request: requests.Request) -> Answer:
        """Send a request and return the answer, of whatever status.

        Raises `GatewayError`: *account* when it cannot be sent at all, which lies with the gateway's settings;
        *unavailable* when no answer came, ambiguous when something had been sent. Nothing that the library raised hangs
        on it.
        """
        outcome = self.attempt(request)
        if isinstance(outcome, WireError):
            kind = FailureKind.UNAVAILABLE if outcome.sendable else FailureKind.ACCOUNT
            raise GatewayError(kind, outcome.code, ambiguous=outcome.ambiguous)
        return outcome


def reference_of(found: object, message: Message) -> str:
    """Return what a provider gave as its reference if it can be one, else our own id of the dispatch.

    A reference is kept in the clear: what is long, has blanks, or holds the number's last digits is none.
    """
    text = str(found)
    plain = _REFERENCE.fullmatch(text) and not _holds(text, message.to[-_LAST:])
    return text if found is not None and plain else message.dispatch_id


def _holds(text: str, digits: str) -> bool:
    """Tell whether a reference holds digits: with signs between them, or in Base64, as WhatsApp's own have them."""
    if digits in re.sub(r"[^A-Za-z0-9]", "", text):
        return True
    encoded = re.sub(r"[^A-Za-z0-9+/]", "", text)
    shifted = (encoded[start:] for start in range(4))
    return any(digits.encode() in base64.b64decode(one[: len(one) // 4 * 4]) for one in shifted)


def failure_of_status(status: int, provider_code: str | None = None, *, retry_after: float = 0.0) -> GatewayError:
    """Return what a status means where a gateway's own table says nothing."""
    code = provider_code or f"http {status}"
    return GatewayError(_kind_of(status), code, ambiguous=status in _TIMED_OUT, retry_after=retry_after)


def _kind_of(status: int) -> FailureKind:
    if status in _STATUSES:
        return _STATUSES[status]
    if status >= 500:  # noqa: PLR2004 - the server's errors
        return FailureKind.ERROR
    return FailureKind.ACCOUNT if status < 400 else FailureKind.REJECTED  # noqa: PLR2004 - moved, or to a notice
