"""Sessions of the console, their handles of numbers, and attempts to sign in."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar, cast

from otp_service.console import keys
from otp_service.console.accounts import (
    CONFIRMED_FOR,
    FIRST_WAIT,
    FREE_TRIES,
    LONGEST_WAIT,
    SESSION_IDLE,
    SESSION_LIFE,
    ConsoleUser,
    digest,
)
from otp_service.domain.keyring import SealBrokenError
from otp_service.domain.numbers import ANY_TYPE, SubjectKey, parse_destination, subject_key
from otp_service.domain.phrases import Phrase
from otp_service.services.context import Context
from otp_service.store.connection import server_time, translate_errors
from otp_service.store.signatures.console import (
    CHAIN_TURN,
    CONSOLE_ATTEMPT,
    CONSOLE_SESSION_WRITE,
    ChainTurnArguments,
    ChainTurnKeys,
    ConsoleAttemptArguments,
    ConsoleAttemptKeys,
    ConsoleSessionArguments,
    ConsoleSessionKeys,
)

_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_NUMBER: Final = "number"
_SECRET: Final = "secret"  # noqa: S105 - kind of what is sealed


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """A session. Times are seconds since the epoch, by Redis' clock."""

    key: str
    """Digest of the name that the cookie holds."""
    user: str
    version: int
    """The user's at the sign-in: a changed version ends the session."""
    form_token: str
    """Part of each form of this session."""
    begun: int
    confirmed: int
    """Time of the app's last code."""
    now: int
    notes: tuple[tuple[str, Mapping[str, str]], ...] = ()
    """Sentences for the next page, with the values of their braces."""

    @property
    def is_confirmed(self) -> bool:
        """Whether irreversible actions are allowed without a further code."""
        return self.now - self.confirmed <= CONFIRMED_FOR


class ConsoleSessions:
    """All sessions. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, context: Context) -> None:
        self._client = context.store.client
        self._scripts = context.store.scripts
        self._keyring = context.keyring

    def may_try(self, name: str, network: str) -> int:
        """Count an attempt to sign in as failed until `forget_tries`; return the wait in milliseconds, 0 for none."""
        attempt = ConsoleAttemptArguments(FREE_TRIES, FIRST_WAIT, LONGEST_WAIT, 1000 * keys.tries.seconds)
        return self._scripts.call(CONSOLE_ATTEMPT, ConsoleAttemptKeys(self._tries(name, network)), attempt)

    def forget_tries(self, name: str, network: str) -> None:
        with translate_errors():
            self._client.delete(self._tries(name, network))

    def _tries(self, name: str, network: str) -> str:
        return keys.tries(self._keyring.fingerprint("console", name, network))

    def begin(self, user: ConsoleUser) -> str:
        """Begin a session; return its name for the cookie, which is not stored."""
        name = secrets.token_urlsafe(32)
        key = keys.session(digest(name))
        with translate_errors(), self._client.pipeline() as pipeline:
            now = server_time(self._client) // 1000
            fields: dict[Any, Any] = {
                "user": user.name,
                "version": user.version,
                "form_token": secrets.token_urlsafe(32),
                "begun": now,
                "confirmed": now,
            }
            pipeline.hset(key, mapping=fields)
            pipeline.expire(key, SESSION_IDLE)
            pipeline.execute()
        return name

    def find(self, name: str) -> ConsoleSession | None:
        """Return and prolong the session of a cookie; ``None`` if it is over."""
        digested = digest(name)
        key = keys.session(digested)
        with translate_errors():
            now = server_time(self._client) // 1000
            stored = cast("dict[bytes, bytes]", self._client.hgetall(key))
            if not stored:
                return None
            fields = {name.decode(): value.decode() for name, value in stored.items()}
            session = ConsoleSession(
                *(digested, fields["user"], int(fields["version"]), fields["form_token"]),
                *(int(fields["begun"]), int(fields["confirmed"]), now),
                notes=tuple((text, values) for text, values in json.loads(fields.get("notes", "[]"))),
            )
            left = session.begun + SESSION_LIFE - now
            if left <= 0:
                self._client.delete(key)
                return None
            self._client.expire(key, min(left, SESSION_IDLE))
            return session

    def confirm(self, session: ConsoleSession) -> None:
        self._write(session, "confirmed", session.now)

    def leave_notes(self, session: ConsoleSession, notes: Sequence[Phrase]) -> None:
        self._write(session, "notes", json.dumps([note.plain for note in notes]))

    def _write(self, session: ConsoleSession, field: str, value: str | int) -> None:
        key = ConsoleSessionKeys(keys.session(session.key))
        self._scripts.call(CONSOLE_SESSION_WRITE, key, ConsoleSessionArguments(field, value))

    def drop_notes(self, session: ConsoleSession) -> None:
        with translate_errors():
            self._client.hdel(keys.session(session.key), "notes")

    def end(self, session: ConsoleSession) -> None:
        with translate_errors():
            self._client.delete(keys.session(session.key))

    def point_to(self, session: ConsoleSession, to: SubjectKey) -> str:
        """Return a handle for a number: a random name for addresses, valid in the session for some minutes."""
        handle = secrets.token_urlsafe(16)
        number = self._keyring.seal_without_root_key(to.destination.e164.encode(), owner=session.key, kind=_NUMBER)
        with translate_errors():
            self._client.set(keys.handle(session.key, handle), number, ex=keys.handle.seconds)
        return handle

    def pointed_to(self, session: ConsoleSession, handle: str) -> SubjectKey | None:
        """Return the phone number behind a handle; ``None`` if it expired or belongs to another session."""
        if not _HANDLE.fullmatch(handle):
            return None
        with translate_errors():
            stored = cast("bytes | None", self._client.get(keys.handle(session.key, handle)))
        if stored is None:
            return None
        number = self._keyring.unseal_without_root_key(stored.decode(), owner=session.key, kind=_NUMBER)
        return subject_key(self._keyring, parse_destination(number.decode(), None, ANY_TYPE))

    def pending_secret(self, invitation: str, new: bytes) -> bytes:
        """Return the secret that was first shown for an invitation (its hash); store ``new`` if there was none."""
        key = keys.invitation(invitation)
        sealed = self._keyring.seal_without_root_key(new, owner=invitation, kind=_SECRET)
        with translate_errors():
            self._client.set(key, sealed, nx=True, ex=keys.invitation.seconds)
            stored = cast("bytes | None", self._client.get(key)) or sealed.encode()
        try:
            return self._keyring.unseal_without_root_key(stored.decode(), owner=invitation, kind=_SECRET)
        except SealBrokenError:  # tampered with in Redis
            with translate_errors():
                self._client.delete(key)
            raise


TURN_LEASE: Final = 30_000
"""Milliseconds after which a silent verifying process counts as dead."""


@dataclass(frozen=True, slots=True)
class ChainVerification:
    """A running verification of the audit chain."""

    name: str
    """Random."""
    by: str
    begun: int
    """Milliseconds since the epoch."""
    entries: int
    """Entries at the beginning."""
    seen: int = 0
    """Verified entries."""


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The result of a verification of the audit chain."""

    by: str
    begun: int
    ended: int
    """Milliseconds since the epoch."""
    is_intact: bool
    """Whether the whole chain was verified without a flaw."""
    sentences: Sequence[tuple[str, Mapping[str, Any]]]
    """Each with the values of its braces."""
    flaws: Sequence[tuple[str, Mapping[str, Any]]]


class ChainVerifications:
    """The lease of the verification of the audit chain, and the last result.

    Raises `StoreUnavailableError` when Redis does not answer in time.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.store.client
        self._scripts = context.store.scripts

    def keep(self, run: ChainVerification) -> bool:
        """Take or extend the lease; return whether it is this run's."""
        return self._turn(run, TURN_LEASE)

    def present(self) -> ChainVerification | None:
        with translate_errors():
            stored = cast("bytes | None", self._client.hget(keys.chain_turn(), "run"))
        return _read(ChainVerification, stored)

    def finish(self, run: ChainVerification, result: ChainResult) -> None:
        """Store the result and end the lease, unless another run has it."""
        if self.keep(run):
            with translate_errors():
                self._client.set(keys.chain_result(), json.dumps(asdict(result)), ex=keys.chain_result.seconds)
            self._turn(run, 0)

    def last(self) -> ChainResult | None:
        with translate_errors():
            stored = cast("bytes | None", self._client.get(keys.chain_result()))
        return _read(ChainResult, stored)

    def _turn(self, run: ChainVerification, milliseconds: int) -> bool:
        turn = ChainTurnArguments(run.name, milliseconds, json.dumps(asdict(run)))
        return bool(self._scripts.call(CHAIN_TURN, ChainTurnKeys(keys.chain_turn()), turn))


_Stored = TypeVar("_Stored", ChainVerification, ChainResult)


def _read(kind: type[_Stored], stored: bytes | None) -> _Stored | None:
    try:
        return kind(**json.loads(stored)) if stored else None
    except (TypeError, ValueError):  # tampered with, or of another release
        return None
