"""What every use case needs, wired once by the composition root."""

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
    """The parts of one installation."""

    keyring: Keyring
    store: Store
    ledger: Ledger
    mirror_sync: MirrorSync
    """The ledger's mirror in the store."""
    access_cache: AccessCache
    """Applications and keys."""
    key_uses: KeyUsage
    purposes: Mapping[str, Purpose]
    limits: Limits
    pending_limits: PendingLimits
    """Of authenticator apps that wait for their first code."""
    destinations: DestinationRules
    """The rules of the guard that count nothing."""
    routes: Routes
    gateways: Mapping[str, Gateway]
    """By name."""
    gateway_limits: Mapping[str, GatewayLimits]
    """What each gateway may be asked to do, by its name."""
    gateway_calls: GatewayCalls
    """The calls that this process makes."""
    policies: Policies
    """A site's own rules, asked before a dispatch."""
    human_checks: Mapping[str, HumanCheckRunner]
    """Verifiers of human checks, by name."""
    proof_signer: ProofSigner | None
    """Signs proofs of approvals; ``None`` where no issuer is configured."""
    prices: Mapping[str, Prices]
    """What messages cost, by the name of the gateway."""
    templates: MessageTemplates
    """The words of messages."""
    text_segments: SegmentCounter
    """How long text messages without a payment are."""
    sending_rules: SendingRules
    """What countries ask of messages, and what is registered there."""
    inbound: InboundRules
    """How what people write back is read and answered."""
    webhooks: WebhookRules
    """Where webhooks may go, and for how long a call lasts."""
    public_url: str | None
    """Where gateways reach this service for receipts; ``None``: no receipts."""

    @property
    def applications(self) -> Mapping[str, Application]:
        """Those in force now, by name."""
        return self.access_cache.snapshot.applications

    @property
    def rulesets(self) -> Mapping[str, CompiledRuleset]:
        """The rules of the guard in force now, by the name of the application."""
        return self.access_cache.snapshot.rulesets
