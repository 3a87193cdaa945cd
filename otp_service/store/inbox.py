"""Messages that the sandbox caught, and replies that wait to be sent."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, cast

import redis

from otp_service.domain.keyring import Keyring, SealBrokenError
from otp_service.domain.messages import Message
from otp_service.domain.numbers import parse_destination
from otp_service.domain.verification import RECORD_GRACE
from otp_service.store import keys
from otp_service.store.scripts import server_time, translate_errors

KEPT = 100
"""Messages kept for an application."""
_KIND = "caught"


@dataclass(frozen=True, slots=True)
class CaughtMessage:
    """One message that would have gone out. The ``repr`` shows no text."""

    verification: str
    to: str
    """The mask."""
    channel: str
    sender: str | None
    """Name that the handset would show; ``None``: the gateway's own."""
    text: str = field(repr=False)
    at: int
    """Milliseconds since the epoch, by Redis' clock."""


class Mailbox:
    """The messages that sandbox gateways caught, by application and by verification."""

    def __init__(self, client: redis.Redis, keyring: Keyring) -> None:
        self._client = client
        self._keyring = keyring

    def put(self, message: Message) -> None:
        """Keep a message as long as its verification's record."""
        mask = parse_destination(message.to, None).mask
        plain = json.dumps([mask, message.channel, message.text, message.sender]).encode()
        sealed = self._keyring.seal(
            plain, verification_id=message.verification_id, application=message.application, kind=_KIND
        )
        places = (
            keys.sandbox_messages(message.application),
            keys.sandbox_messages_of(message.application, message.verification_id),
        )
        with translate_errors(), self._client.pipeline(transaction=False) as pipeline:
            entry = f"{server_time(self._client)} {message.verification_id} ".encode() + sealed
            for key in places:
                pipeline.lpush(key, entry)
                pipeline.ltrim(key, 0, KEPT - 1)
                pipeline.expire(key, message.expires_in + RECORD_GRACE)
            pipeline.execute()

    def messages(self, application: str, verification_id: str | None) -> list[CaughtMessage]:
        """Return what was caught for an application, newest first: of one verification, or the last ones."""
        key = (
            keys.sandbox_messages_of(application, verification_id)
            if verification_id
            else keys.sandbox_messages(application)
        )
        with translate_errors():
            entries = cast("list[bytes]", self._client.lrange(key, 0, -1))
        return list(self._open(entries, application))

    def _open(self, entries: Iterable[bytes], application: str) -> Iterable[CaughtMessage]:
        for entry in entries:
            at, name, sealed = entry.split(b" ", 2)
            verification_id = name.decode()
            try:
                plain = self._keyring.unseal(
                    sealed, verification_id=verification_id, application=application, kind=_KIND
                )
            except SealBrokenError:  # its root key has been retired meanwhile
                continue
            to, channel, text, *of_this_release = json.loads(plain)
            sender = of_this_release[0] if of_this_release else None
            yield CaughtMessage(verification_id, to, channel, sender, text, int(at))


APART: Final = keys.replied.seconds
"""Seconds from one reply of a kind, by an application to a number, to the next."""
LATEST: Final = keys.replies.seconds
"""Seconds after which a reply that waits is not sent any more."""
MOST: Final = 1000
"""Replies that wait at most; older ones go."""


class Replies:
    """The replies that wait. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def spend(self, bucket: str, application: str, pseudonym: str, meaning: str) -> bool:
        """Tell whether a number may get an application's reply of a kind, and then none for a day, come what may."""
        place = keys.replied(bucket, application, pseudonym, meaning)
        with translate_errors():
            return bool(self._client.set(place, 1, nx=True, ex=APART))

    def put(self, entry: bytes) -> None:
        """Let a reply wait for a worker."""
        with translate_errors(), self._client.pipeline(transaction=True) as pipeline:
            stamp = server_time(self._client)
            pipeline.lpush(keys.REPLIES, b"%d " % stamp + entry)
            pipeline.ltrim(keys.REPLIES, 0, MOST - 1)
            pipeline.expire(keys.REPLIES, LATEST)
            pipeline.execute()

    def take(self) -> bytes | None:
        """Return the reply that waits longest, which nobody else gets; ``None`` when none waits."""
        with translate_errors():
            while found := cast("bytes | None", self._client.rpop(keys.REPLIES)):
                stamp, _, entry = found.partition(b" ")
                if server_time(self._client) - int(stamp) < 1000 * LATEST:
                    return entry
        return None
