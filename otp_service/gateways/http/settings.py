"""HTTP: the members of its section in the configuration."""

import re
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from otp_service.gateways.base import GatewaySettings
from otp_service.gateways.http.dotted import leaves
from otp_service.gateways.http.inbound import InboundSettings
from otp_service.gateways.http.receipts import ReceiptSettings
from otp_service.gateways.http.templates import (
    JsonTemplate,
    LineTemplate,
    Template,
    WholeTemplate,
    needs,
    placeholders,
)
from otp_service.gateways.http.verdict import Condition, Failure, Part, Reference

_TEMPLATES = {"url", "basic_auth", "headers", "query", "form", "document"}


class EncodingWords(Part):
    """A provider's words for how a text is encoded on the air; what has none is left out of the request."""

    gsm7: str | None = None
    ucs2: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.gsm7 is None and self.ucs2 is None:
            raise ValueError("needs gsm7 or ucs2")
        return self


class HttpSettings(GatewaySettings):
    """What to ask, and how to read the answer. Templates take ``{to}``, ``{text}``, ``{secret.NAME}`` and more."""

    channels: frozenset[Literal["sms", "voice", "whatsapp"]] = Field(default=frozenset({"sms"}), min_length=1)
    """What the provider carries."""
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """Values that templates name and that nobody is shown."""
    method: Literal["GET", "POST", "PUT"] = "POST"
    sender: str | None = Field(default=None, min_length=1, max_length=15)
    """What ``{sender}`` stands for where a message has no sender of its own."""
    url: WholeTemplate
    """Values in its path or query are percent-encoded."""
    basic_auth: tuple[WholeTemplate, WholeTemplate] | None = None
    """User and password."""
    headers: dict[str, LineTemplate] = Field(default_factory=dict)
    query: dict[str, Template] = Field(default_factory=dict)
    form: dict[str, Template] | None = None
    """A body of type ``application/x-www-form-urlencoded``."""
    document: JsonTemplate | None = Field(default=None, alias="json")
    """A body of type ``application/json``."""
    encoding: EncodingWords | None = None
    """What ``{encoding}`` stands for."""
    success: Condition | None = None
    """By default any status of success (2xx)."""
    failures: tuple[Failure, ...] = ()
    """The first that holds decides; without one, the status does."""
    reference: Reference | None = None
    """Without one, or where it is missing, the reference is our own id of the dispatch."""
    receipts: ReceiptSettings | None = None
    """How the provider's reports are believed and read; without it none is."""
    inbound: InboundSettings | None = None
    """How messages from people are believed and read; without it none is."""

    @property
    def sets_sender(self) -> bool:
        """Whether a template names the sender."""
        return any("sender" in placeholders(template) for _, template in self._templates())

    def _templates(self) -> list[tuple[str, str]]:
        return leaves(self.model_dump(include=_TEMPLATES, by_alias=True))

    @property
    def takes_receipts(self) -> bool:
        """Whether it is said how they are read."""
        return self.receipts is not None

    @property
    def takes_messages(self) -> bool:
        """Whether it is said how they are read."""
        return self.inbound is not None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("is not a URL") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            raise ValueError("starts with http:// or https:// and a host")
        if re.search(r"[\\\s]", url):
            raise ValueError("has neither blanks nor backslashes")
        if "{" in parts.netloc or "@" in parts.netloc:
            raise ValueError("has neither placeholders nor a password before its path; use basic_auth and secrets")
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.form is not None and self.document is not None:
            raise ValueError("a request has either form or json")
        for path, template in self._templates():
            for member in needs(template):
                if not self._has(member):
                    raise ValueError(f"{path} needs {member}, which is not set")
        return self

    def _has(self, member: str) -> bool:
        table, _, name = member.partition(".")
        return name in self.secrets if name else getattr(self, table) is not None
