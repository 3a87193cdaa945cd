"""Sections of the tree that stand alone: what surrounds the rules, such as servers, sizes and time-outs."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from otp_service.domain.guard import Limits, Scope, parse_limits
from otp_service.domain.verification import BreakerPolicy
from otp_service.gateways.base import CountryCode
from otp_service.settings.redis_url import check_redis_url

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
"""A port; 0 for none."""
Notations = tuple[Annotated[str, Field(max_length=64)], ...]


class Section(BaseModel):
    """A part of the tree: frozen, and every unknown member is an error. Errors never show what was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RedisSettings(Section):
    """Where the hot state lives. The bounds keep the refusal of a start within 1.5 s when Redis is lost."""

    url: SecretStr = SecretStr("redis://localhost:6379/0")
    """``redis://``, ``rediss://`` (TLS) or ``unix://``; may hold a user and a password, and parameters of TLS."""
    timeout: float = Field(default=1.0, gt=0, le=1.0)
    """Seconds to wait for an answer."""
    connect_timeout: float = Field(default=0.5, gt=0, le=0.5)
    """Seconds to wait for a connection."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which it runs, for ``residency``."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        check_redis_url(url.get_secret_value())
        return url

    @property
    def shown_url(self) -> str:
        """The address without user, password and parameters."""
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class KeysSettings(Section):
    """The installation's keys. Both come from the environment, never from the configuration file."""

    root: SecretStr | None = None
    """``OTP_SERVICE_ROOT_KEYS``: ``id:base64 …``, the first active, the others still accepted."""
    pseudonym: SecretStr | None = None
    """``OTP_SERVICE_PSEUDONYM_KEY``: base64, the same for the life of the installation."""
    bucket_bits: int = Field(default=0, ge=0, le=8)
    """Bits of a number's pseudonym that choose its Redis Cluster slot; 0 on one server."""


class HttpSettings(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    processes: int = Field(default=2, ge=1, le=256)
    """Server processes; about one for each core."""
    threads: int = Field(default=2, ge=1, le=64)
    """Threads of each process; two serve best."""
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    """Proxies before the service: the peer is taken so many hops from the right of ``X-Forwarded-For``."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#@]+$")
    """Where gateways reach this service for receipts; without it there are no receipts."""
    leave_after: float = Field(default=0.0, ge=0, le=300)
    """Seconds that a server which is asked to end goes on to serve, its probes saying no, for proxies to notice."""
    metrics_port: PortOrNone = 9090
    """Port of ``/metrics``; 0 for none."""
    metrics_on_same_port: bool = False
    """Serve ``/metrics`` on the service's own port instead, to everybody who reaches it."""

    @field_validator("public_url")
    @classmethod
    def _ends_without_slash(cls, url: str | None) -> str | None:
        return url.rstrip("/") if url else url


class LimitsSettings(Section):
    """Limits in the notation of the ``limits`` library; one window may stand in a list once."""

    number: Notations = ("5/10 minutes", "10/day")
    """Messages to one number, all applications together."""
    ip: Notations = ("100/10 minutes",)
    """Starts from one end-user address (IPv4) or /64 (IPv6)."""
    application: Notations = ("6000/minute",)
    """Starts and resends of one application."""
    failed_checks: Notations = ("10/day",)
    """Wrong codes for one number, per application, across verifications."""

    def to_core(self) -> Limits:
        """Return the limits as the guard counts them; raise `ConfigurationError` for a bad notation."""
        return Limits(**{scope.value: parse_limits(scope, getattr(self, scope)) for scope in Scope})


class WorkerSettings(Section):
    """The delivery worker."""

    concurrency: int = Field(default=64, ge=1, le=1024)
    """Messages that one worker process hands over at the same time."""
    claim_margin: Seconds = 5.0
    """Seconds beyond the slowest gateway's timeout after which a silent worker's job is claimed by another."""
    backoff: tuple[Annotated[float, Field(ge=0.1, le=600)], ...] = Field(
        default=(1.0, 5.0, 15.0, 30.0), min_length=1, max_length=20
    )
    """Seconds to wait after the first, second … failed round of gateways; the last one repeats.

    Each lasts up to a quarter longer, by chance, and never longer than half of what is left of the code's life.
    """
    max_ambiguous: int = Field(default=1, ge=0, le=20)
    """How often a message goes on after a call that may have been sent all the same, such as a time-out."""
    metrics_port: PortOrNone = 9091
    """Port of the worker's ``/metrics``; 0 for none."""


class BreakerSettings(Section):
    """When a gateway is left alone. A call is bad when the gateway fails, or answers slowly (its ``slow``)."""

    bad_in_a_row: int = Field(default=5, ge=1, le=1000)
    """Bad calls in a row that open the breaker."""
    bad_percent: int = Field(default=50, ge=1, le=100)
    """Share of bad calls of a window that opens it."""
    min_calls: int = Field(default=20, ge=1, le=100_000)
    """Calls of a window from which on the share counts."""
    window: Seconds = 30.0
    """Seconds that a window lasts."""
    block: float = Field(default=30.0, ge=0.1, le=86_400)
    """Seconds that an open breaker blocks at first; the time doubles with each probe that fails."""
    max_block: float = Field(default=1800.0, ge=0.1, le=86_400)
    """Seconds that it blocks at most."""
    pause: float = Field(default=1.0, ge=0.01, le=3600)
    """Seconds that a gateway is left alone that says it is asked too fast; the time doubles while it says so."""
    max_pause: float = Field(default=30.0, ge=0.01, le=3600)
    """Seconds that it is left alone at most, unless it asks for longer itself."""

    def to_core(self) -> BreakerPolicy:
        """Return the policy in milliseconds."""
        return BreakerPolicy(
            run=self.bad_in_a_row,
            calls=self.min_calls,
            percent=self.bad_percent,
            window=round(1000 * self.window),
            block=round(1000 * self.block),
            longest_block=round(1000 * max(self.block, self.max_block)),
            pause=round(1000 * self.pause),
            longest_pause=round(1000 * max(self.pause, self.max_pause)),
        )


class StreamsSettings(Section):
    """The outbox and the event stream, trimmed at each write."""

    retention_days: int = Field(default=7, ge=1, le=90)
    max_events: int = Field(default=1_000_000, ge=1000)
    """Events kept at most, approximately."""
    max_outbox: int = Field(default=100_000, ge=10)
    """Messages waiting of one application, country and channel; a start beyond that is refused as ``backlog-full``."""


class MessagesSettings(Section):
    """The words of messages."""

    directory: str | None = None
    """Folder with files of your own, laid over ours; another language is one file more."""


class LoggingSettings(Section):
    """Logs, written to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which logs and metrics are kept, for ``residency``."""


class TelemetrySettings(Section):
    """Traces, with the extra ``otel``; where they go, and how many, say OpenTelemetry's own variables (``OTEL_…``)."""

    traces: Literal["otlp"] | None = None
    """``otlp``: over HTTP to a collector."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which traces are kept, for ``residency``."""
