"""HTTP: any provider whose API takes one request a message, by configuration alone."""

from typing import ClassVar, Literal, Self
from urllib.parse import quote, urlsplit

import requests
from pydantic import Field, SecretStr, field_validator, model_validator

from otp_service.core.message import Message
from otp_service.gateways.base import Accepted, GatewayContext, GatewaySettings
from otp_service.gateways.templates import Filler, JsonTemplate, LineTemplate, Template, leaves, missing_secrets
from otp_service.gateways.verdict import Condition, Failure, Reference, failure_of
from otp_service.gateways.wire import Wire, reference_of


class HttpSettings(GatewaySettings):
    """What to ask, and how to read the answer. Templates take ``{to}``, ``{text}``, ``{secret.NAME}`` and more."""

    channels: frozenset[Literal["sms", "voice", "whatsapp"]] = Field(default=frozenset({"sms"}), min_length=1)
    """What the provider carries."""
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """Values that templates name and that nobody is shown."""
    method: Literal["GET", "POST", "PUT"] = "POST"
    url: Template
    """Values in its path or query are percent-encoded."""
    basic_auth: tuple[Template, Template] | None = None
    """User and password."""
    headers: dict[str, LineTemplate] = Field(default_factory=dict)
    query: dict[str, Template] = Field(default_factory=dict)
    form: dict[str, Template] | None = None
    """A body of type ``application/x-www-form-urlencoded``."""
    document: JsonTemplate | None = Field(default=None, alias="json")
    """A body of type ``application/json``."""
    success: Condition | None = None
    """By default any status of success (2xx)."""
    failures: tuple[Failure, ...] = ()
    """The first that holds decides; without one, the status does."""
    reference: Reference | None = None
    """Without one, or where it is missing, the reference is our own id of the dispatch."""

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
        if "{" in parts.netloc or "@" in parts.netloc:
            raise ValueError("has neither placeholders nor a password before its path; use basic_auth and secrets")
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.form is not None and self.document is not None:
            raise ValueError("a request has either form or json")
        for path, template in leaves(self.model_dump(include=_TEMPLATES, by_alias=True)):
            for name in missing_secrets(template, self.secrets):
                raise ValueError(f"{path} needs secrets.{name}, which is not set")
        return self


_TEMPLATES = {"url", "basic_auth", "headers", "query", "form", "document"}


class HttpGateway:
    """Speaks to a provider as its section describes it."""

    kind: ClassVar[str] = "http"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False
    Settings: ClassVar[type[GatewaySettings]] = HttpSettings

    def __init__(self, settings: HttpSettings, context: GatewayContext) -> None:  # noqa: ARG002 - the contract's
        self.channels = frozenset[str](settings.channels)
        self._settings = settings
        self._wire = Wire(settings.timeout)

    def send(self, message: Message) -> Accepted:
        """Make the one request for a message and judge the answer."""
        settings = self._settings
        answer = self._wire.call(self._request(Filler(message, settings.secrets)))
        failure = failure_of(answer, settings.success, settings.failures)
        if failure is not None:
            raise failure
        reference = settings.reference.of(answer) if settings.reference else None
        return Accepted(reference_of(reference, message))

    def _request(self, fill: Filler) -> requests.Request:
        settings = self._settings
        user_and_password = tuple(map(fill.text, settings.basic_auth or ()))
        return requests.Request(
            settings.method,
            fill.text(settings.url, lambda value: quote(value, safe="")),
            headers=fill.texts(settings.headers),
            params=fill.texts(settings.query),
            data=fill.texts(settings.form) if settings.form is not None else None,
            json=fill.json(settings.document),
            auth=requests.auth.HTTPBasicAuth(*user_and_password) if user_and_password else None,
        )
