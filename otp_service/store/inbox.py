"""Messages from people that match no keyword, sealed, until support has read them."""

import json
import re
from dataclasses import dataclass, field
from typing import Final, cast

import redis

from otp_service.domain.keyring import Keyring, SealBrokenError
from otp_service.domain.numbers import SubjectKey
from otp_service.store import keys
from otp_service.store.connection import server_time, translate_errors

INBOX_SECONDS: Final = keys.inbox.seconds
"""How long a message waits to be read."""
MAX_WAITING: Final = 1000
"""Messages that may wait; more are not stored, so that a flood drops no message."""
MAX_PER_NUMBER: Final = 5
"""Messages of a number that are stored in a day."""
_KIND: Final = "inbox"
_MAX_TEXT: Final = 400
"""Characters of a message that are stored."""
_SEALED_LENGTH: Final = 1024
"""Bytes to which a message is padded, so that its length reveals nothing."""
_MESSAGE_ID: Final = re.compile(r"\d{1,15}-\d{1,9}")


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message that waits to be read. The ``repr`` shows no text."""

    id: str
    """Entry of the stream: milliseconds since the epoch, by Redis' clock, and a sequence."""
    pseudonym: str
    """Of the sender's number."""
    mask: str
    application: str
    """The application that the message answers; empty if unknown."""
    gateway: str
    text: str = field(repr=False)

    @property
    def received(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.id.partition("-")[0])


class Inbox:
    """The messages that wait to be read. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis, keyring: Keyring) -> None:
        self._client = client
        self._keyring = keyring

    def put(self, number: SubjectKey, application: str, gateway: str, text: str) -> bool:
        """Store a message; return whether there was room: in all, and for the number today."""
        counter = keys.inbox_count(number.bucket, number.pseudonym)
        with translate_errors():
            if self._client.xlen(keys.INBOX) >= MAX_WAITING and not self._client.xtrim(
                keys.INBOX, minid=self._oldest(), approximate=False
            ):
                return False
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.incr(counter)
                pipeline.expire(counter, keys.inbox_count.seconds, nx=True)
                count, _ = pipeline.execute()
            if count > MAX_PER_NUMBER:
                return False
            content = json.dumps([number.mask, text[:_MAX_TEXT]], ensure_ascii=False)
            plain = content.encode(errors="replace").ljust(_SEALED_LENGTH)
            sealed = self._keyring.seal_without_root_key(plain, owner=number.pseudonym, kind=_KIND)
            members = {"pseudonym": number.pseudonym, "application": application, "gateway": gateway, "sealed": sealed}
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.xadd(keys.INBOX, members)  # type: ignore[arg-type]  # an invariant type of redis-py's
                pipeline.expire(keys.INBOX, INBOX_SECONDS)
                pipeline.execute()
            return True

    def waiting(self) -> tuple[WaitingMessage, ...]:
        """Return the waiting messages, the oldest first."""
        return self._entries(self._oldest(), "+")

    def find(self, message_id: str) -> WaitingMessage | None:
        """Return a waiting message by its id, or ``None``."""
        entries = self._entries(message_id, message_id) if _MESSAGE_ID.fullmatch(message_id) else ()
        return next(iter(entries), None)

    def of(self, pseudonym: str) -> tuple[WaitingMessage, ...]:
        """Return the waiting messages of a number."""
        return tuple(message for message in self.waiting() if message.pseudonym == pseudonym)

    def remove(self, message_id: str) -> bool:
        """Delete a message; return whether it waited: true for one of several callers."""
        with translate_errors():
            return bool(self._client.xdel(keys.INBOX, message_id))

    def _entries(self, first: str, last: str) -> tuple[WaitingMessage, ...]:
        with translate_errors():
            entries = self._client.xrange(keys.INBOX, min=first, max=last, count=MAX_WAITING)
        opened = (self._opened(*entry) for entry in cast("list[tuple[bytes, dict[bytes, bytes]]]", entries))
        return tuple(filter(None, opened))

    def _oldest(self) -> str:
        return str(server_time(self._client) - 1000 * INBOX_SECONDS)

    def _opened(self, entry: bytes, members: dict[bytes, bytes]) -> WaitingMessage | None:
        """Return a message; ``None`` if it was changed."""
        sealed, owner = members[b"sealed"].decode(), members[b"pseudonym"].decode()
        try:
            mask, text = json.loads(self._keyring.unseal_without_root_key(sealed, owner=owner, kind=_KIND))
        except SealBrokenError:
            return None
        application, gateway = members[b"application"].decode(), members[b"gateway"].decode()
        return WaitingMessage(entry.decode(), owner, mask, application, gateway, text)
