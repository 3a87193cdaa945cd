"""Bearer keys: who calls, and what the caller may."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from wsgiref.types import WSGIEnvironment

from flask import Blueprint

from otp_service.api.exchange import Exchange
from otp_service.api.requests import peer_of
from otp_service.bootstrap import Installation
from otp_service.domain.applications import Scope
from otp_service.errors import ForbiddenError, LedgerUnavailableError, NotFoundError, UnauthenticatedError
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


PATIENCE = 0.2
"""Seconds that a call waits for its turn: many times what one takes while the ledger answers."""


class Turns:
    """The turns of one process. Who has one for longer than that is taken to wait for a database that is away."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)
        self._begun: dict[int, float] = {}
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a turn; raise `LedgerUnavailableError` when it does not come.

        It is waited for only where it may come soon: otherwise all threads would wait, one after the other.
        """
        if not self._free.acquire(blocking=False) and not (self._moves() and self._free.acquire(timeout=PATIENCE)):
            raise LedgerUnavailableError("Too many wait for the ledger.")
        with self._lock:
            self._begun[threading.get_ident()] = time.monotonic()

    def end(self) -> None:
        """Give it back, if this thread has one."""
        with self._lock:
            had = self._begun.pop(threading.get_ident(), None)
        if had is not None:
            self._free.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold a turn for a while; raise `LedgerUnavailableError` when it does not come."""
        self.take()
        try:
            yield
        finally:
            self.end()

    def _moves(self) -> bool:
        with self._lock:
            oldest = min(self._begun.values(), default=time.monotonic())
        return time.monotonic() - oldest < PATIENCE


def bound(routes: Blueprint, turns: Turns) -> Blueprint:
    """Let the calls of a resource take a turn each; return the routes."""

    def end_turn(_: BaseException | None) -> None:
        turns.end()

    routes.before_request(turns.take)
    routes.teardown_request(end_turn)
    return routes
