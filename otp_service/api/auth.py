"""Who calls, and whether the key may be used for that."""

from collections.abc import Mapping
from wsgiref.types import WSGIEnvironment

from otp_service.api.client_address import peer_of
from otp_service.api.exchange import Exchange
from otp_service.bootstrap import Installation
from otp_service.domain.applications import Scope
from otp_service.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from otp_service.services.access import Caller, authenticate
from otp_service.services.delivery import expected_receipt
from otp_service.services.inbound import receiver_of

SCOPES: Mapping[str, Scope] = {
    "verifications": Scope.VERIFY,
    "sandbox": Scope.VERIFY,
    "consents": Scope.CONSENT,
    "suppressions": Scope.CONSENT,
    "subjects": Scope.SUBJECTS,
    "admin": Scope.ADMIN,
}
"""What the calls below ``/v1/`` need, by the next part of their path."""
SIGNED = ("/v1/receipts/", "/v1/inbound/")
"""Beginnings of paths that gateways call, which prove themselves in their own way."""

_PROTECTED = "/v1/"
_NEEDED = "This call needs a valid API key in the header: Authorization: Bearer KEY."


def require_caller(exchange: Exchange, installation: Installation) -> None:
    """Authenticate whatever is below ``/v1/``, known or not, and look whether the key's scopes are those of the call.

    Raises `UnauthenticatedError`, every time in the same words, and `ForbiddenError`.
    """
    path = exchange.path
    if path.startswith(_PROTECTED) and not path.startswith(SIGNED):
        exchange.caller = _authenticated(exchange, installation)
        if exchange.route is not None:  # no such call: what follows is a refusal
            _require_scope(exchange.caller, exchange.route)


def awaits_body(environ: WSGIEnvironment, installation: Installation) -> bool:
    """Tell whether a body will be read, by what its address and headers prove: a key, a dispatch, a token.

    Raises `StoreUnavailableError` where that cannot be told now.
    """
    exchange, context = Exchange(environ, None, None), installation.context
    try:
        match exchange.path.split("/"):
            case ["", "v1", "receipts", gateway, dispatch_id]:
                expected_receipt(context, gateway, dispatch_id)
            case ["", "v1", "inbound", gateway, token]:
                receiver_of(context, gateway, token)
            case ["", "v1", *_]:
                require_caller(exchange, installation)
            case _:
                return False
    except (NotFoundError, UnauthenticatedError):
        return False
    return True


def scope_of(path: str) -> Scope:
    """Return what a call below ``/v1/`` needs, by its path or the rule of its route."""
    return SCOPES[path.split("/")[2]]


def _authenticated(exchange: Exchange, installation: Installation) -> Caller:
    scheme, _, key = (exchange.header("Authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        proxies = installation.settings.http.trusted_proxies
        try:
            return authenticate(installation.context, key.strip(), lambda: peer_of(exchange, proxies))
        except UnauthenticatedError:
            pass
    raise UnauthenticatedError(_NEEDED)


def _require_scope(caller: Caller, rule: str) -> None:
    needed = scope_of(rule)
    if needed not in caller.key.scopes:
        raise ForbiddenError(f"This API key may not be used for that: it lacks the scope {needed}.")
