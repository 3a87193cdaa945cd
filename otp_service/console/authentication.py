"""Invitations, sign-in and confirmation of the console's users."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from otp_service.console.accounts import (
    ConsoleUser,
    Role,
    digest,
    hash_password,
    is_password,
    new_invitation,
    password_fault,
)
from otp_service.console.records import ConsoleUsers
from otp_service.console.sessions import ConsoleSession, ConsoleSessions
from otp_service.domain.keyring import SealBrokenError
from otp_service.domain.numbers import ip_prefix_of
from otp_service.domain.totp import TotpParameters, code_at, matching_steps, new_secret, otpauth_uri
from otp_service.errors import InvalidCodeError, NameTakenError, NotFoundError
from otp_service.services.context import Context
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

_APP: Final = TotpParameters()
_STEPS_AROUND: Final = (-1, 0, 1)
"""Accepted periods, relative to the present."""
_ISSUER: Final = "otp-service console"
_SECRET: Final = "secret"  # noqa: S105 - kind of what is sealed
_DEMO: Final = "dev"
"""The inviting user of demo users."""
_AT_ONCE: Final = 2
"""Concurrent comparisons of passwords: each takes 19 MiB and a core for some 50 ms."""
_CODES: Final = "codes"
"""In place of a network: attempts at codes after a correct password, from any network."""
_PATIENCE: Final = 5.0
"""Maximum wait for a hashing slot, in seconds."""
_turns: Final = threading.BoundedSemaphore(_AT_ONCE)


class SignInError(Exception):
    """A sign-in failed."""


class SignInRefusedError(SignInError):
    """Name, password or code are wrong; the answer does not say which."""


class SignInWaitsError(SignInError):
    """Too many failures under this name from this network."""

    def __init__(self, milliseconds: int) -> None:
        super().__init__("Too many failures.")
        self.seconds = -(-milliseconds // 1000)


class SignInBusyError(SignInError):
    """No hashing slot was free in time."""


def sign_in(context: Context, name: str, password: str, code: str, address: str) -> str:
    """Begin a session and return its name, for the cookie only; all failures look alike and take as long.

    ``address`` is the browser's. After a correct password, wrong codes are limited by name, from all networks together:
    strangers cannot lock a user out, and a thief of the password cannot guess on from other networks.

    Raises `SignInRefusedError`, `SignInWaitsError`, `SignInBusyError`, `LedgerUnavailableError` and
    `StoreUnavailableError`.
    """
    network = ip_prefix_of(address)
    tries = ConsoleSessions(context)
    if wait := tries.may_try(name, network):
        raise SignInWaitsError(wait)
    user = ConsoleUsers(context.ledger.database).find(name)
    with _turn():
        knows_password = is_password(password, user.password if user else "")
    # An empty name only takes the same time.
    has_to_wait = tries.may_try(name if knows_password else "", _CODES) > 0 and knows_password and bool(name)
    if has_to_wait:
        _log.warning("console_codes_guessed", user=name)
    step = 0 if has_to_wait else _accepted_step(context, user, code)
    is_right = knows_password and user is not None and user.is_active and bool(step)
    if not is_right or user is None or not ConsoleUsers(context.ledger.database).use_step(user, step):
        _log.warning("console_sign_in_refused")
        raise SignInRefusedError("That is not right.")
    tries.forget_tries(name, network)
    tries.forget_tries(name, _CODES)
    _log.info("console_signed_in", user=user.name, role=user.role)
    return tries.begin(user)


def confirm(context: Context, user: ConsoleUser, session: ConsoleSession, code: str) -> None:
    """Allow irreversible actions for some minutes, by a further code of the user's app.

    Raises `SignInRefusedError` and `SignInWaitsError`.
    """
    if wait := ConsoleSessions(context).may_try(user.name, session.key):
        raise SignInWaitsError(wait)
    step = _accepted_step(context, user, code)
    if not step or not ConsoleUsers(context.ledger.database).use_step(user, step):
        raise SignInRefusedError("That is not right.")
    ConsoleSessions(context).forget_tries(user.name, session.key)
    ConsoleSessions(context).confirm(session)


def sign_in_as(context: Context, role: Role) -> str:
    """Begin a session of the user ``dev-ROLE`` without a password; add the user if it does not exist.

    For demos only. Raises `SignInRefusedError` for a disabled user.
    """
    users, name = ConsoleUsers(context.ledger.database), demo_name(role)
    user = users.find(name)
    if user is None:
        invitation = new_invitation()
        sealed = context.keyring.seal_without_root_key(new_secret(), owner=name, kind=_SECRET)
        with suppress(NameTakenError):  # another request was faster
            users.invite(name, role, (), digest(invitation), _DEMO)
            users.accept(digest(invitation), hash_password(new_invitation()), sealed, 0)
        user = users.find(name)
    if user is None or not user.is_active:
        raise SignInRefusedError("This user may not sign in.")
    _log.info("console_signed_in_for_demo", user=user.name, role=user.role)
    return ConsoleSessions(context).begin(user)


def demo_name(role: Role) -> str:
    return f"dev-{role}"


def demo_code(context: Context, role: Role) -> str:
    """Return the code that a demo user's app would show; empty if the user does not exist yet."""
    user = ConsoleUsers(context.ledger.database).find(demo_name(role))
    try:
        sealed = user.secret if user else ""
        secret = context.keyring.unseal_without_root_key(sealed, owner=demo_name(role), kind=_SECRET)
    except SealBrokenError:
        return ""
    present = _APP.step_at(context.store.decisions.now())
    used = user.last_step if user else 0
    return code_at(secret, _APP, present + 1 if used == present else present)  # the next one is taken too


def user_of(context: Context, session: ConsoleSession) -> ConsoleUser | None:
    """Return the user of a session; end the session and return ``None`` if the user changed since."""
    user = ConsoleUsers(context.ledger.database).find(session.user)
    if user and user.is_active and user.version == session.version:
        return user
    ConsoleSessions(context).end(session)
    return None


@contextmanager
def _turn() -> Iterator[None]:
    if not _turns.acquire(timeout=_PATIENCE):
        raise SignInBusyError("Too many people sign in at this moment.")
    try:
        yield
    finally:
        _turns.release()


def _accepted_step(context: Context, user: ConsoleUser | None, code: str) -> int:
    """Return the period of a code, 0 if it is wrong or used; takes as long for an unknown user."""
    last: float = user.last_step if user else math.inf
    try:
        name, sealed = (user.name, user.secret) if user else ("", "")
        secret = context.keyring.unseal_without_root_key(sealed, owner=name, kind=_SECRET)
    except SealBrokenError:  # none yet, or the ledger was tampered with
        secret, last = new_secret(), math.inf
    return next((step for step in _steps(secret, code, context.store.decisions.now()) if step > last), 0)


def _steps(secret: bytes, code: str, now: int) -> tuple[int, ...]:
    present = _APP.step_at(now)
    try:
        return matching_steps(secret, _APP, code, [present + step for step in _STEPS_AROUND])
    except InvalidCodeError:
        return ()


def invite(context: Context, name: str, role: Role, applications: tuple[str, ...], by: str) -> str:
    """Add a user; return the secret part of the URL to set a password. Raises `NameTakenError`."""
    invitation = new_invitation()
    ConsoleUsers(context.ledger.database).invite(name, role, applications, digest(invitation), by)
    return invitation


def invite_again(context: Context, name: str, by: str) -> str:
    """Invalidate a user's password and app; return the secret part of a new URL. Raises `NotFoundError`."""
    invitation = new_invitation()
    if not ConsoleUsers(context.ledger.database).invite_again(name, digest(invitation), by):
        raise NotFoundError("There is no such user, or the user is disabled.")
    return invitation


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation that may be accepted."""

    user: ConsoleUser
    uri: str
    """Encodes the secret for an authenticator app."""
    secret: bytes


def open_invitation(context: Context, invitation: str) -> Invitation:
    """Return an open invitation, with the same secret each time. Raises `NotFoundError`."""
    user = ConsoleUsers(context.ledger.database).invited(digest(invitation))
    if user is None:
        raise NotFoundError("This invitation was accepted, or it is over.")
    secret = ConsoleSessions(context).pending_secret(digest(invitation), new_secret())
    return Invitation(user, otpauth_uri(secret, _APP, _ISSUER, user.name), secret)


def accept_invitation(context: Context, invitation: str, password: str, code: str) -> str:
    """Set the invited user's password and app; return the fault of the password, empty for none.

    Raises `NotFoundError` and `SignInRefusedError`.
    """
    opened = open_invitation(context, invitation)
    if fault := password_fault(password, opened.user.name):
        return fault
    steps = _steps(opened.secret, code, context.store.decisions.now())
    if not steps:
        raise SignInRefusedError("The code is not the one that the app shows.")
    sealed = context.keyring.seal_without_root_key(opened.secret, owner=opened.user.name, kind=_SECRET)
    with _turn():
        hashed = hash_password(password)
    if not ConsoleUsers(context.ledger.database).accept(digest(invitation), hashed, sealed, max(steps)):
        raise NotFoundError("This invitation was accepted, or it is over.")
    return ""
