"""Settings of a gateway that speaks SMPP."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from otp_service.gateways.base import GatewaySettings

_ASCII = r"^[\x21-\x7e]*$"
_ALPHANUMERIC = 5
"""Type of number of a sender that is a name (section 5.2.5)."""


class SmppSettings(GatewaySettings):
    """An account at an SMSC, and how it wants its messages. ``timeout`` bounds a bind, too."""

    host: str = Field(pattern=r"^([^\s/@:]+|[^\s/@:]*:[^\s/@:]*:[^\s/@]*)$")
    """Name, or address of either version; the port is a member of its own."""
    port: int = Field(default=2775, ge=1, le=65535)
    tls: bool = False
    """Encrypted, with a certificate that this host trusts for ``host``."""
    system_id: str = Field(min_length=1, max_length=64, pattern=_ASCII)
    password: SecretStr = Field(max_length=64)
    system_type: str = Field(default="", max_length=12, pattern=_ASCII)
    bind: Literal["transceiver", "transmitter_and_receiver"] = "transceiver"
    """One session for both ways, or one for each."""
    binds: int = Field(default=1, ge=1, le=16)
    """Sessions (or pairs of them) that each worker process keeps."""
    window: int = Field(default=10, ge=1, le=1000)
    """Submits without an answer at a time in one session."""
    enquire_link: float = Field(default=15.0, gt=0, le=3600)
    """Seconds after which the SMSC is asked for a sign of life; one not given within ``timeout`` ends the session."""
    rebind_after: float = Field(default=1.0, gt=0, le=60)
    """Seconds before the second try to bind; each further one doubles them, to a minute at most."""
    source: str = Field(default="", max_length=20, pattern=r"^(\+?[0-9]*|[\x21-\x7e][\x20-\x7e]{0,10})$")
    """Number or name (at most 11 characters) of the sender; empty where the SMSC fills it in."""
    source_ton: int | None = Field(default=None, ge=0, le=255)
    """Type of number (section 5.2.5); default: 5 for a name, 1 for a number with a plus, else 0."""
    source_npi: int | None = Field(default=None, ge=0, le=255)
    """Numbering plan (section 5.2.6); default: 0 for a name or nothing, else 1."""
    destination_ton: int = Field(default=1, ge=0, le=255)
    destination_npi: int = Field(default=1, ge=0, le=255)
    gsm7_data_coding: int = Field(default=0, ge=0, le=255)
    """What stands for the GSM 7-bit alphabet, one septet an octet; UCS-2 is always 8."""
    concatenation: Literal["udh", "sar", "payload"] = "udh"
    """How a long text goes: in parts with a user data header, in parts with ``sar_*`` parameters, or whole."""
    validity_period: bool = True
    """Tell the SMSC for how long the code is of use, in the relative format."""
    receipt_ids: Literal["same", "hex_to_decimal", "decimal_to_hex", "auto"] = "same"
    """How a receipt's message id becomes the one that the SMSC answered with."""

    @field_validator("password")
    @classmethod
    def _is_ascii(cls, password: SecretStr) -> SecretStr:
        if not password.get_secret_value().isascii() or not password.get_secret_value().isprintable():
            raise ValueError("has characters that no SMPP password can have")
        return password

    @property
    def sets_sender(self) -> bool:
        """Whether a message can name its sender: each can."""
        return True

    @property
    def plaintext_host(self) -> str | None:
        """The SMSC, unless TLS is on: SMPP encrypts nothing by itself."""
        return None if self.tls else self.host

    @property
    def endpoint(self) -> str:
        """The SMSC."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"

    def source_of(self, sender: str | None) -> tuple[tuple[int, int], str]:
        """Return who a message comes from: type of number and numbering plan, and the name or number.

        A ``sender`` of the message's own is a name, and goes before ``source``.
        """
        if sender:
            return (_ALPHANUMERIC, 0), sender
        return self.source_type, self.source.removeprefix("+")

    @property
    def source_type(self) -> tuple[int, int]:
        """Type of number and numbering plan of ``source``."""
        name = bool(self.source) and not self.source.removeprefix("+").isdigit()
        guessed = _ALPHANUMERIC if name else int(self.source.startswith("+"))
        plan = int(bool(self.source) and not name)
        return (
            guessed if self.source_ton is None else self.source_ton,
            plan if self.source_npi is None else self.source_npi,
        )
