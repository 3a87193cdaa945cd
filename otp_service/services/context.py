"""The parts of an installation that use cases need, wired by the composition root."""

from collections.abc import Mapping
from dataclasses import dataclass

from otp_service.domain.applications import Application
from otp_service.domain.guard import DestinationRules, Limits
from otp_service.domain.inbound import InboundRules
from otp_service.domain.keyring import Keyring
from otp_service.domain.messages import SegmentCounter
from otp_service.domain.prices import Prices
from otp_service.domain.proofs import ProofSigner
from otp_service.domain.routing import GatewayLimits, Routes
from otp_service.domain.sending_rules import SendingRules
from otp_service.domain.templates import MessageTemplates
from otp_service.domain.totp import PendingLimits
from otp_service.domain.verification import Purpose
from otp_service.domain.webhooks import WebhookRules
from otp_service.gateways.base import Gateway
from otp_service.ledger.ledger import Ledger
from otp_service.policies.base import Policies
from otp_service.policies.human_checks import HumanCheckRunner
from otp_service.services.access_cache import AccessCache, KeyUsage
from otp_service.services.gateway_calls import GatewayCalls
from otp_service.services.mirror import MirrorSync
from otp_service.store.rulesets import CompiledRuleset
from otp_service.store.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of an installation."""

    keyring: Keyring
    store: Store
    ledger: Ledger
    mirror_sync: MirrorSync
    access_cache: AccessCache
    key_uses: KeyUsage
    purposes: Mapping[str, Purpose]
    limits: Limits
    pending_limits: PendingLimits
    """Of authenticator apps that wait for their first code."""
    destinations: DestinationRules
    """The rules of the guard without counters."""
    routes: Routes
    gateways: Mapping[str, Gateway]
    """This, and the other mappings of gateways, by name."""
    gateway_limits: Mapping[str, GatewayLimits]
    gateway_calls: GatewayCalls
    policies: Policies
    """A site's own rules before a dispatch."""
    human_checks: Mapping[str, HumanCheckRunner]
    """Verifiers of human checks, by name."""
    proof_signer: ProofSigner | None
    """Signs proofs of approvals; ``None`` where no issuer is configured."""
    prices: Mapping[str, Prices]
    templates: MessageTemplates
    text_segments: SegmentCounter
    """The length of text messages without a payment."""
    sending_rules: SendingRules
    """Rules of countries, with the registered senders and templates."""
    inbound: InboundRules
    webhooks: WebhookRules
    public_url: str | None
    """Where gateways reach this service for receipts; ``None``: no receipts."""

    @property
    def applications(self) -> Mapping[str, Application]:
        """The applications in force now, by name."""
        return self.access_cache.snapshot.applications

    @property
    def rulesets(self) -> Mapping[str, CompiledRuleset]:
        """The rules of the guard in force now, by application."""
        return self.access_cache.snapshot.rulesets
