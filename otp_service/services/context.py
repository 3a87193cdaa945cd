"""What every use case needs, wired once by the composition root."""

from collections.abc import Mapping
from dataclasses import dataclass

from otp_service.core.application import Application
from otp_service.core.catalogue import Catalogue
from otp_service.core.guard.limits import Limits
from otp_service.core.health import Allowance
from otp_service.core.keyring import Keyring
from otp_service.core.purpose import Purpose
from otp_service.core.routing import Routes
from otp_service.gateways.base import Gateway
from otp_service.policies.asked import Policies
from otp_service.store.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one installation."""

    keyring: Keyring
    store: Store
    applications: Mapping[str, Application]
    """By name."""
    application_of_key: Mapping[str, Application]
    """By API key hash (``sha256:…``)."""
    purposes: Mapping[str, Purpose]
    limits: Limits
    routes: Routes
    gateways: Mapping[str, Gateway]
    """By name."""
    allowances: Mapping[str, Allowance]
    """What each gateway may be asked to do, by its name."""
    policies: Policies
    """A site's own rules, asked before a dispatch."""
    catalogue: Catalogue
    """The words of messages."""
    public_url: str | None
    """Where gateways reach this service for receipts; ``None``: no receipts."""
