"""Which application calls."""

from flask import g, request

from otp_service.core.application import Application
from otp_service.core.errors import UnauthenticatedError
from otp_service.services.authenticate import authenticate
from otp_service.services.context import Context

_PROTECTED = "/v1/"
_RECEIPTS = "/v1/receipts/"
_NEEDED = "This call needs a valid API key in the header: Authorization: Bearer KEY."


def require_application(context: Context) -> None:
    """Authenticate whatever is below ``/v1/``, known or not; raises `UnauthenticatedError`.

    Receipts are not from applications: their gateways sign them. Every refusal reads the same.
    """
    path = request.path
    if path.startswith(_PROTECTED) and not path.startswith(_RECEIPTS):
        g.application = _application(context)


def caller() -> Application:
    """Return the application that was authenticated."""
    application: Application = g.application
    return application


def _application(context: Context) -> Application:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        try:
            return authenticate(context, key.strip())
        except UnauthenticatedError:
            pass
    raise UnauthenticatedError(_NEEDED)
