"""What every use case needs, wired once by the composition root."""

from collections.abc import Mapping
from dataclasses import dataclass

from otp_service.core.application import Application
from otp_service.core.catalogue import Catalogue
from otp_service.core.guard.destinations import DestinationRules
from otp_service.core.guard.limits import Limits
from otp_service.core.guard.pricing import Prices
from otp_service.core.health import Allowance
from otp_service.core.keyring import Keyring
from otp_service.core.purpose import Purpose
from otp_service.core.routing import Routes
from otp_service.gateways.base import Gateway
from otp_service.policies.asked import Policies
from otp_service.store.rulesets import LoadedRuleset
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
    rulesets: Mapping[str, LoadedRuleset]
    """The rules of the guard, by the name of the application."""
    destinations: DestinationRules
    """The rules of the guard that count nothing."""
    routes: Routes
    gateways: Mapping[str, Gateway]
    """By name."""
    allowances: Mapping[str, Allowance]
    """What each gateway may be asked to do, by its name."""
    policies: Policies
    """A site's own rules, asked before a dispatch."""
    prices: Mapping[str, Prices]
    """What messages cost, by the name of the gateway."""
    catalogue: Catalogue
    """The words of messages."""
    public_url: str | None
    """Where gateways reach this service for receipts; ``None``: no receipts."""
