"""Signatures of the scripts that register rulesets and plans."""

from typing import NamedTuple

from otp_service.store.signatures.signature import Signature


class NoKeys(NamedTuple):
    """The keys of a script that has none."""


class RegisterArguments(NamedTuple):
    """A ruleset or plan."""

    name: str
    """A digest of the text."""
    text: str
    """JSON."""


PLAN_REGISTER = Signature("plan_register", NoKeys, RegisterArguments, bytes)
RULESET_REGISTER = Signature("ruleset_register", NoKeys, RegisterArguments, bytes)
