"""Why a process does not start. Each refusal has a name, under which docs/refusals.md explains it."""

from dataclasses import dataclass
from enum import StrEnum

from otp_service.core.errors import ConfigurationError


class RefusalName(StrEnum):
    """What a refusal is looked up by: here, in the documentation, and in the tests that provoke it."""

    KEY_MISSING = "key-missing"
    KEY_UNFIT = "key-unfit"
    SAMPLE_KEY = "sample-key"
    EVICTION = "eviction"
    OTHER_INSTALLATION = "other-installation"
    LEDGER_BEHIND = "ledger-behind"
    LEDGER_OF_OTHER_KEY = "ledger-of-other-key"
    RESIDENCY = "residency"
    CONSENT_NOT_REQUIRED = "consent-not-required"
    NO_SENDER = "no-sender"
    SENDER_NOT_SHOWN = "sender-not-shown"
    TEMPLATE_NOT_APPROVED = "template-not-approved"
    # Those above refuse everywhere, those below in production.
    KEY_USED_TWICE = "key-used-twice"
    OPEN_FILE = "open-file"
    SAMPLE_SECRET = "sample-secret"  # noqa: S105 - a name
    REDIS_IN_THE_CLEAR = "redis-in-the-clear"
    LEDGER_IN_THE_CLEAR = "ledger-in-the-clear"
    ANY_CERTIFICATE = "any-certificate"
    GATEWAY_IN_THE_CLEAR = "gateway-in-the-clear"
    POLICY_IN_THE_CLEAR = "policy-in-the-clear"
    GATEWAY_FOR_DEVELOPMENT = "gateway-for-development"
    ALL_COUNTRIES = "all-countries"
    NO_CEILING = "no-ceiling"
    PRICE = "price"
    NUMBER_LIMIT = "number-limit"
    GUESS_LIMIT = "guess-limit"
    VITAL_RULE = "vital-rule"
    FRAUD_RULE = "fraud-rule"
    NO_PURPOSE = "no-purpose"
    NO_GATEWAY = "no-gateway"
    SIM_BOX = "sim-box"


@dataclass(frozen=True, slots=True)
class StartRefusal:
    """One reason not to start. No part of it shows a secret."""

    name: RefusalName
    place: str
    """What is to be changed: a setting, a variable, a setting of a server."""
    sentence: str
    """What is wrong with it."""
    action: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence} {self.action} [{self.name}]"


class StartRefusedError(ConfigurationError):
    """Nothing is wrong with the form of the settings, but a process must not start with them: one line a refusal."""

    def __init__(self, *refusals: StartRefusal) -> None:
        super().__init__("\n".join(map(str, refusals)))
        self.refusals = refusals
