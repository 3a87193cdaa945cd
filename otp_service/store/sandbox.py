"""Messages that sandbox gateways caught."""

import json
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
"""Messages stored for an application."""
_KIND = "caught"


@dataclass(frozen=True, slots=True)
class CaughtMessage:
    """A message that would have been sent. The ``repr`` shows no text."""

    verification: str
    to: str
    """The mask."""
    channel: str
    sender: str | None
    """Name on the handset; ``None`` for the gateway's own."""
    text: str = field(repr=False)
    at: int
    """Milliseconds since the epoch, by Redis' clock."""


class SandboxMailbox:
    """The messages that sandbox gateways caught, by application and by verification."""

    def __init__(self, client: redis.Redis, keyring: Keyring) -> None:
        self._client = client
        self._keyring = keyring

    def put(self, message: Message) -> None:
        """Store a message as long as its verification's record."""
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
        """Return an application's caught messages, newest first: of a verification, or the last ones."""
        key = keys.sandbox_messages(application)
        if verification_id:
            key = keys.sandbox_messages_of(application, verification_id)
        with translate_errors():
            entries = cast("list[bytes]", self._client.lrange(key, 0, -1))
        messages = []
        for entry in entries:
            at, owner, sealed = entry.split(b" ", 2)
            name = owner.decode()
            try:
                plain = self._keyring.unseal(sealed, verification_id=name, application=application, kind=_KIND)
            except SealBrokenError:  # the root key was retired
                continue
            to, channel, text, sender = json.loads(plain)
            messages.append(CaughtMessage(name, to, channel, sender, text, int(at)))
        return messages
