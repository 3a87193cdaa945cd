"""The dialect ``twilio``: Basic authentication, and errors as Twilio's libraries read them."""

from base64 import b64decode
from typing import Final

from otp_service.api.dialects import Dialect
from otp_service.api.twilio import factors, verifications
from otp_service.api.twilio.errors import error_for


def basic_password(authorization: str) -> str:
    """Return the password of Basic authentication (RFC 7617), the API key; the user name means nothing."""
    scheme, _, text = authorization.partition(" ")
    try:
        return b64decode(text.strip(), validate=True).decode().partition(":")[2] if scheme.lower() == "basic" else ""
    except ValueError:  # no base64, or not UTF-8
        return ""


DIALECT: Final = Dialect(
    name="twilio",
    prefix="/twilio/",
    resources=(verifications.services, factors.entities, factors.challenges),
    authenticate=basic_password,
    challenge='Basic realm="otp-service"',
    error=lambda code, faults: error_for(code, faults).answer(),
)
