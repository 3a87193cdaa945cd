"""Connections to other hosts that are not encrypted: who is on the way reads numbers, codes and passwords."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from otp_service.core.start_refusal import RefusalName, StartRefusal
from otp_service.settings.gateways import ConfiguredGateway
from otp_service.settings.hosts import host_of, is_local
from otp_service.settings.leaves import leaves
from otp_service.settings.policies import ConfiguredPolicy
from otp_service.settings.tree import Settings

_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
"""Of PostgreSQL's ``sslmode``; the driver's default, ``prefer``, falls back to plain text."""


@dataclass(frozen=True, slots=True)
class PlainLine:
    """A connection in the clear."""

    host: str
    """The other end."""
    refusal: StartRefusal
    """What production says of it."""


def plaintext_refusals(settings: Settings) -> Iterator[StartRefusal]:
    """Yield one refusal for each connection in the clear that is no exception of ``plaintext_hosts``."""
    for line in plain_lines(settings):
        if line.host not in settings.plaintext_hosts:
            yield line.refusal


def plain_lines(settings: Settings) -> Iterator[PlainLine]:
    """Yield every connection in the clear to another host, the exceptions too."""
    yield from _redis(settings.redis.url.get_secret_value())
    yield from _ledger(settings.ledger.url.get_secret_value())
    yield from _web(RefusalName.GATEWAY_IN_THE_CLEAR, "gateways", settings.gateways, "numbers and codes")
    yield from _web(RefusalName.POLICY_IN_THE_CLEAR, "policies", settings.policies, "numbers and credentials")


def _redis(url: str) -> Iterator[PlainLine]:
    host = host_of(url)
    if urlsplit(url).scheme == "redis" and not is_local(host):
        yield PlainLine(
            host,
            StartRefusal(
                RefusalName.REDIS_IN_THE_CLEAR,
                "redis.url",
                "Redis is on another host and the connection is not encrypted.",
                "Use rediss://.",
            ),
        )


def _ledger(url: str) -> Iterator[PlainLine]:
    host, modes = host_of(url), parse_qs(urlsplit(url).query).get("sslmode", [])
    encrypted = modes and _ENCRYPTED.issuperset(modes)
    if urlsplit(url).scheme == "postgresql" and not is_local(host) and not encrypted:
        yield PlainLine(
            host,
            StartRefusal(
                RefusalName.LEDGER_IN_THE_CLEAR,
                "ledger.url",
                "PostgreSQL is on another host and the connection may not be encrypted.",
                "Add sslmode=verify-full and sslrootcert.",
            ),
        )


def _web(
    name: RefusalName, section: str, entries: Mapping[str, ConfiguredGateway | ConfiguredPolicy], what: str
) -> Iterator[PlainLine]:
    for entry_name, entry in entries.items():
        for place, value in leaves(entry.settings, f"{section}.{entry_name}", tables=False):
            address = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            if address.lower().startswith("http://") and not is_local(host_of(address)):
                sentence = f"The connection is not encrypted: {what} can be read on the way."
                yield PlainLine(host_of(address), StartRefusal(name, place, sentence, "Use https://."))
