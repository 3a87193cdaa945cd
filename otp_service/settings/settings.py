"""`Settings`: all sections, and the domain objects built from them."""

import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import BaseModel, Field, PrivateAttr, create_model

from otp_service.domain.applications import Application
from otp_service.domain.guard import Ruleset
from otp_service.domain.keyring import Keyring, parse_key, parse_root_keys
from otp_service.domain.prices import Prices, to_micros
from otp_service.domain.routing import GatewayLimits, Route, Routes
from otp_service.domain.sending_rules import SendingRules
from otp_service.domain.verification import Purpose
from otp_service.errors import ConfigurationError
from otp_service.extensions import Extension, load_extensions
from otp_service.gateways.base import CountryCode
from otp_service.settings import schema
from otp_service.settings.guard_ruleset import build_ruleset
from otp_service.settings.urls import Host

ExtensionSection = TypeVar("ExtensionSection", bound=BaseModel)


class Settings(schema.Section):
    """All settings of an installation. Neither its ``repr`` nor `redacted` shows a secret."""

    environment: Literal["production", "development"] = "production"
    """In production the service refuses to start with unsafe settings."""
    profile: str | None = None
    """Requirements of a country, which these settings may not contradict: ``pk``, or the path of a file."""
    residency: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) that personal data may not leave; sections declare theirs by ``hosted_in``."""
    plaintext_hosts: tuple[Host, ...] = ()
    """Hosts that production may reach unencrypted or unverified, over your own network."""
    redis: schema.RedisSettings = schema.RedisSettings()
    ledger: schema.LedgerSettings = schema.LedgerSettings()
    retention: schema.RetentionSettings = schema.RetentionSettings()
    audit: schema.AuditSettings = schema.AuditSettings()
    keys: schema.KeysSettings = schema.KeysSettings()
    http: schema.HttpSettings = schema.HttpSettings()
    proofs: schema.ProofsSettings = schema.ProofsSettings()
    limits: schema.LimitsSettings = schema.LimitsSettings()
    guard: schema.GuardSettings = schema.GuardSettings()
    purposes: dict[schema.Name, schema.PurposeSettings] = Field(default_factory=dict)
    applications: dict[schema.Name, schema.ApplicationSettings] = Field(default_factory=dict)
    gateways: dict[schema.Name, schema.ConfiguredGateway] = Field(default_factory=dict)
    routes: tuple[schema.RouteSettings, ...] = ()
    """Without a route, all gateways carry all messages, in the order of their sections."""
    countries: dict[CountryCode, schema.CountrySettings] = Field(default_factory=dict)
    """Requirements of countries for messages to their numbers."""
    senders: dict[schema.Name, schema.SenderSettings] = Field(default_factory=dict)
    """Registered names that handsets show as the sender."""
    approvals: dict[schema.Name, schema.ApprovalSettings] = Field(default_factory=dict)
    """Templates that countries approved, word by word."""
    policies: dict[schema.Name, schema.ConfiguredPolicy] = Field(default_factory=dict)
    """A site's own rules, applied before a dispatch in the order of their sections."""
    human_checks: dict[schema.Name, schema.ConfiguredHumanCheck] = Field(default_factory=dict)
    """Verifiers of human checks, which applications name."""
    worker: schema.WorkerSettings = schema.WorkerSettings()
    breaker: schema.BreakerSettings = schema.BreakerSettings()
    streams: schema.StreamsSettings = schema.StreamsSettings()
    messages: schema.MessagesSettings = schema.MessagesSettings()
    inbound: schema.InboundSettings = schema.InboundSettings()
    webhooks: schema.WebhookSettings = schema.WebhookSettings()
    logging: schema.LoggingSettings = schema.LoggingSettings()
    telemetry: schema.TelemetrySettings = schema.TelemetrySettings()

    _files: Mapping[Path, bool] = PrivateAttr(default_factory=dict)

    @property
    def files(self) -> Mapping[Path, bool]:
        """The files that these settings were read from, and whether each contains secrets."""
        return self._files

    def note_files(self, files: Mapping[Path, bool]) -> None:
        self._files = files

    @property
    def production(self) -> bool:
        return self.environment == "production"

    def section(self, name: str, section_type: type[ExtensionSection]) -> ExtensionSection:
        """Return the section of an extension; raise `ConfigurationError` where the extension is not installed."""
        section = getattr(self, name, None)
        if not isinstance(section, section_type):
            raise ConfigurationError(f"The extension {name} is not installed.")
        return section

    @property
    def claim_after(self) -> float:
        """Seconds after which another worker takes over the job of a silent worker."""
        slowest = max((gateway.settings.timeout for gateway in self.gateways.values()), default=0.0)
        return slowest + self.worker.claim_margin

    @property
    def webhook_lease(self) -> int:
        """Milliseconds after which another worker sends the webhook of a silent worker."""
        return round(1000 * (self.webhooks.timeout + self.worker.claim_margin))

    @property
    def proof_issuer(self) -> str | None:
        return self.proofs.issuer or self.http.public_url

    @cached_property
    def named_purposes(self) -> dict[str, Purpose]:
        return {name: purpose.as_purpose(name) for name, purpose in self.purposes.items()}

    @cached_property
    def named_applications(self) -> dict[str, Application]:
        return {name: application.as_application(name) for name, application in self.applications.items()}

    @cached_property
    def application_of_key(self) -> dict[str, Application]:
        """Applications by the hashes of their API keys (``sha256:…``)."""
        return {
            key: self.named_applications[name]
            for name, application in self.applications.items()
            for key in application.keys
        }

    @cached_property
    def rulesets(self) -> dict[str, Ruleset]:
        return {
            name: build_ruleset(self.guard, self.limits.parsed, application.spend, asks=application.asks)
            for name, application in self.applications.items()
        }

    @cached_property
    def prices(self) -> dict[str, Prices]:
        return {
            name: Prices({key: to_micros(amount) for key, amount in gateway.settings.prices.items()})
            for name, gateway in self.gateways.items()
        }

    @cached_property
    def sending_rules(self) -> SendingRules:
        return SendingRules(
            rules={country: section.rules(production=self.production) for country, section in self.countries.items()},
            senders=tuple(sender.as_sender(name) for name, sender in self.senders.items()),
            approvals=tuple(approval.as_approval(name) for name, approval in self.approvals.items()),
            shows_sender=frozenset(name for name, gateway in self.gateways.items() if gateway.settings.sets_sender),
            sim_boxes=frozenset(name for name, gateway in self.gateways.items() if gateway.settings.sim_box),
        )

    @cached_property
    def routing(self) -> Routes:
        """The routing table; by default a route through all gateways."""
        default = (Route(tuple(self.gateways)),) if self.gateways else ()
        routes = tuple(route.route for route in self.routes) or default
        channels = {name: gateway.channels for name, gateway in self.gateways.items()}
        return Routes(routes, channels)

    @cached_property
    def gateway_limits(self) -> dict[str, GatewayLimits]:
        return {
            name: GatewayLimits(
                per_second=gateway.settings.per_second or 0.0,
                in_flight=gateway.settings.max_in_flight or 0,
                lease=round(1000 * (gateway.settings.timeout + self.worker.claim_margin)),
                slow=gateway.settings.slow or gateway.settings.timeout / 2,
            )
            for name, gateway in self.gateways.items()
        }

    def keyring(self) -> Keyring:
        """Return the keys, perhaps without root keys; raise `ConfigurationError` without the pseudonym key."""
        if self.keys.pseudonym is None:
            raise ConfigurationError("OTP_SERVICE_PSEUDONYM_KEY is needed.")
        return Keyring(
            parse_root_keys(self.keys.root.get_secret_value()) if self.keys.root else {},
            parse_key(self.keys.pseudonym.get_secret_value()),
            self.keys.buckets,
        )

    def redacted(self) -> dict[str, Any]:
        """Return the tree in plain values as in a file, with every secret masked."""
        tree = self.model_dump(mode="json", exclude_none=True, by_alias=True)
        tree["redis"]["url"] = self.redis.shown_url
        tree["ledger"]["url"] = self.ledger.shown_url
        tree["guard"]["destinations"]["safe"] = [MASK] * len(self.guard.destinations.safe)
        for section in ("gateways", "policies", "human_checks"):
            tree[section] = {
                name: {"kind": entry["kind"], **mask_secrets(entry["settings"])}
                for name, entry in tree[section].items()
            }
        return tree


def settings_class() -> type[Settings]:
    """Return the class of all settings: with a section for each installed extension that has one."""
    return _settings_with(load_extensions())


@cache
def _settings_with(extensions: tuple[Extension, ...]) -> type[Settings]:
    sections = {extension.name: extension.settings for extension in extensions if extension.settings}
    if taken := sorted(sections.keys() & Settings.model_fields.keys()):
        raise ConfigurationError(f"An extension brings a section that is the service's: {taken[0]}.")
    members: dict[str, Any] = {name: (section, section()) for name, section in sections.items()}
    return create_model(_INSTALLED, __base__=Settings, __module__=__name__, **members)


_INSTALLED: Final = "InstalledSettings"


def __getattr__(name: str) -> type[Settings]:
    """Return the class by its name, for pickle: processes get the settings of the one that starts them."""
    if name == _INSTALLED:
        return settings_class()
    raise AttributeError(name)


MASK = "**********"
"""The form of a `SecretStr` in pydantic."""
_SECRET_NAME = re.compile(r"auth|key|token|secret|pass|pwd|credential|signature|cookie|bearer|\bsig\b", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"(\{[\w.]+\})+")
_WEB = ("http://", "https://")


def mask_secrets(value: Any, name: str = "") -> Any:  # noqa: ANN401 - a tree of plain values
    """Return a tree with values masked whose names suggest a secret (``X-Api-Key``), and secrets in URLs."""
    if isinstance(value, Mapping):
        return {member: mask_secrets(below, f"{name} {member}") for member, below in value.items()}
    if isinstance(value, list):
        return [mask_secrets(below, name) for below in value]
    if isinstance(value, str | int | float) and not isinstance(value, bool) and _SECRET_NAME.search(name):
        return MASK
    return _masked_url(value) if isinstance(value, str) and value.lower().startswith(_WEB) else value


def _masked_url(url: str) -> str:
    """Return a URL with user, password and query values masked, except a template's placeholders in the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    _, at, host = parts.netloc.rpartition("@")
    query = "&".join(
        f"{name}={value if _PLACEHOLDER.fullmatch(value) else MASK}" if value else MASK
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    masked = SplitResult(parts.scheme, MASK + at + host if at else host, parts.path, query, "")
    return masked.geturl() + (f"#{MASK}" if parts.fragment else "")
