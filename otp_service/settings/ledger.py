"""Where the ledger is."""

from pydantic import Field, SecretStr, field_validator

from otp_service.gateways.base import CountryCode
from otp_service.settings.ledger_url import check_ledger_url, shown
from otp_service.settings.sections import Section


class LedgerSettings(Section):
    """The database for what must not be lost. Starts and checks never ask it."""

    url: SecretStr = SecretStr("sqlite:////var/lib/otp-service/ledger.db")
    """``sqlite:///PATH``, for one host, or ``postgresql://…``, which may hold a user, a password, parameters of TLS."""
    timeout: float = Field(default=5.0, gt=0, le=60)
    """Seconds to wait for a connection, a lock or an answer."""
    hosted_in: CountryCode | None = None
    """Country (ISO 3166-1 alpha-2) in which the database and its backups are, for ``residency``."""
    upgrade: bool = True
    """Whether a process brings the tables up to date when it starts."""

    rebuild_lost_mirror: bool | None = None
    """Whether an emptied Redis is filled from the ledger without asking an operator: a ledger that was restored from an
    older copy goes unnoticed then. ``None``: in development only."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        check_ledger_url(url.get_secret_value())
        return url

    @property
    def shown_url(self) -> str:
        """The address without user, password and parameters."""
        return shown(self.url.get_secret_value())
