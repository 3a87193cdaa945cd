"""Connections to other hosts that somebody on the way reads, or answers in the server's place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from otp_service.errors import RefusalName, StartRefusal
from otp_service.settings.gateways import ConfiguredGateway
from otp_service.settings.hosts import host_of, leads_elsewhere
from otp_service.settings.leaves import leaves
from otp_service.settings.policies import ConfiguredPolicy
from otp_service.settings.tree import Settings

_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
"""Of PostgreSQL's ``sslmode``; the driver's default, ``prefer``, falls back to plain text."""
_PLAIN: Final = "without encryption"
_UNASKED: Final = "without being asked who it is"


@dataclass(frozen=True, slots=True)
class UnsafeLine:
    """A connection that somebody on the way could read, or take over."""

    host: str
    """The other end."""
    how: str
    """How it is reached."""
    refusal: StartRefusal
    """What production says of it."""


def line_refusals(settings: Settings) -> Iterator[StartRefusal]:
    """Yield one refusal for each unsafe connection that is no exception of ``plaintext_hosts``."""
    for line in unsafe_lines(settings):
        if line.host not in settings.plaintext_hosts:
            yield line.refusal


def unsafe_lines(settings: Settings) -> Iterator[UnsafeLine]:
    """Yield every unsafe connection to another host, the exceptions too."""
    yield from _redis(settings.redis.url.get_secret_value())
    yield from _ledger(settings.ledger.url.get_secret_value())
    yield from _web(RefusalName.GATEWAY_IN_THE_CLEAR, "gateways", settings.gateways, "numbers and codes")
    yield from _web(RefusalName.POLICY_IN_THE_CLEAR, "policies", settings.policies, "numbers and credentials")


def _redis(url: str) -> Iterator[UnsafeLine]:
    if not leads_elsewhere(url):
        return
    if urlsplit(url).scheme == "redis":
        sentence = "Redis is on another host and the connection is not encrypted."
        refusal = StartRefusal(RefusalName.REDIS_IN_THE_CLEAR, "redis.url", sentence, "Use rediss://.")
        yield UnsafeLine(host_of(url), _PLAIN, refusal)
    elif "none" in _parameters(url).get("ssl_cert_reqs", []):
        action = "Take ssl_cert_reqs=none away, and name the authority of the certificate in ssl_ca_certs."
        yield _of_any_certificate(url, "redis.url", action)


def _ledger(url: str) -> Iterator[UnsafeLine]:
    if not leads_elsewhere(url):
        return
    parameters = _parameters(url)
    modes = parameters.get("sslmode", [])
    if not modes or not _ENCRYPTED.issuperset(modes):
        sentence = "PostgreSQL is on another host and the connection may not be encrypted."
        action = "Add sslmode=verify-full and sslrootcert."
        refusal = StartRefusal(RefusalName.LEDGER_IN_THE_CLEAR, "ledger.url", sentence, action)
        yield UnsafeLine(host_of(url), _PLAIN, refusal)
    elif "require" in modes and "sslrootcert" not in parameters:  # with one it is verify-ca
        action = "Set sslmode=verify-full, and name the authority of the certificate in sslrootcert."
        yield _of_any_certificate(url, "ledger.url", action)


def _parameters(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def _of_any_certificate(url: str, place: str, action: str) -> UnsafeLine:
    sentence = "It is encrypted, but any certificate will do: who is on the way may pose as the server."
    return UnsafeLine(host_of(url), _UNASKED, StartRefusal(RefusalName.ANY_CERTIFICATE, place, sentence, action))


def _web(
    name: RefusalName, section: str, entries: Mapping[str, ConfiguredGateway | ConfiguredPolicy], what: str
) -> Iterator[UnsafeLine]:
    for entry_name, entry in entries.items():
        for place, value in leaves(entry.settings, f"{section}.{entry_name}", tables=False):
            address = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            if address.lower().startswith("http://") and leads_elsewhere(address):
                sentence = f"The connection is not encrypted: {what} can be read on the way."
                yield UnsafeLine(host_of(address), _PLAIN, StartRefusal(name, place, sentence, "Use https://."))
