"""Messages that sandbox gateways caught."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import redis

from otp_service.domain.keyring import Keyring, SealBrokenError
from otp_service.domain.messages import Message
from otp_service.domain.numbers import parse_destination
from otp_service.domain.verification import RECORD_GRACE
from otp_service.store import keys
from otp_service.store.connection import server_time, translate_errors

MAX_MESSAGES = 100
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


class SandboxMailbox:
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
                pipeline.ltrim(key, 0, MAX_MESSAGES - 1)
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
            to, channel, text, sender = json.loads(plain)
            yield CaughtMessage(verification_id, to, channel, sender, text, int(at))
