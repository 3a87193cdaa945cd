"""Settings of the gateway ``smpp``."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from otp_service.gateways.base import GatewaySettings

_ASCII = r"^[\x21-\x7e]*$"
_ALPHANUMERIC = 5
"""Type of number of an alphanumeric sender (section 5.2.5)."""


class SmppSettings(GatewaySettings):
    """An account at an SMSC, and the form of its messages. ``timeout`` also limits a bind."""

    host: str = Field(pattern=r"^([^\s/@:]+|[^\s/@:]*:[^\s/@:]*:[^\s/@]*)$")
    """Name or IP address; the port is a separate member."""
    port: int = Field(default=2775, ge=1, le=65535)
    tls: bool = False
    """Encrypt, and verify the certificate for ``host``."""
    system_id: str = Field(min_length=1, max_length=64, pattern=_ASCII)
    password: SecretStr = Field(max_length=64)
    system_type: str = Field(default="", max_length=12, pattern=_ASCII)
    bind: Literal["transceiver", "transmitter_and_receiver"] = "transceiver"
    """A session for both directions, or one for each direction."""
    binds: int = Field(default=1, ge=1, le=16)
    """Sessions (or pairs of sessions) of each worker process."""
    window: int = Field(default=10, ge=1, le=1000)
    """Maximum submits without an answer in a session."""
    enquire_link: float = Field(default=15.0, gt=0, le=3600)
    """Seconds between ``enquire_link``; without an answer within ``timeout`` the session ends."""
    rebind_after: float = Field(default=1.0, gt=0, le=60)
    """Seconds before the second attempt to bind; each further attempt doubles them, to a minute at most."""
    source: str = Field(default="", max_length=20, pattern=r"^(\+?[0-9]*|[\x21-\x7e][\x20-\x7e]{0,10})$")
    """Number or name (at most 11 characters) of the sender; empty if the SMSC sets it."""
    source_ton: int | None = Field(default=None, ge=0, le=255)
    """Type of number (section 5.2.5); default: 5 for a name, 1 for a number with a plus, else 0."""
    source_npi: int | None = Field(default=None, ge=0, le=255)
    """Numbering plan (section 5.2.6); default: 0 for a name or an empty source, else 1."""
    destination_ton: int = Field(default=1, ge=0, le=255)
    destination_npi: int = Field(default=1, ge=0, le=255)
    gsm7_data_coding: int = Field(default=0, ge=0, le=255)
    """``data_coding`` of the GSM 7-bit alphabet, one septet an octet; UCS-2 is always 8."""
    concatenation: Literal["udh", "sar", "payload"] = "udh"
    """Form of a long text: parts with a user data header, parts with ``sar_*`` parameters, or whole."""
    validity_period: bool = True
    """Send the lifetime of the code to the SMSC, in the relative format."""
    receipt_ids: Literal["same", "hex_to_decimal", "decimal_to_hex", "auto"] = "same"
    """How the message id of a receipt is converted to the message id of the SMSC's answer."""

    @field_validator("password")
    @classmethod
    def _is_ascii(cls, password: SecretStr) -> SecretStr:
        if not password.get_secret_value().isascii() or not password.get_secret_value().isprintable():
            raise ValueError("has characters that SMPP does not allow in a password")
        return password

    @property
    def sets_sender(self) -> bool:
        return True

    @property
    def plaintext_host(self) -> str | None:
        return None if self.tls else self.host

    @property
    def endpoint(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"

    def source_of(self, sender: str | None) -> tuple[tuple[int, int], str]:
        """Return type of number and numbering plan, and name or number, of a source; ``sender`` is the message's."""
        if sender:
            return (_ALPHANUMERIC, 0), sender
        return self.source_type, self.source.removeprefix("+")

    @property
    def source_type(self) -> tuple[int, int]:
        """Type of number and numbering plan of ``source``."""
        name = bool(self.source) and not self.source.removeprefix("+").isdigit()
        default_ton = _ALPHANUMERIC if name else int(self.source.startswith("+"))
        default_npi = int(bool(self.source) and not name)
        return (
            default_ton if self.source_ton is None else self.source_ton,
            default_npi if self.source_npi is None else self.source_npi,
        )
