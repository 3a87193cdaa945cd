"""Cloudflare Turnstile and hCaptcha, by their documented contract, `siteverify`. Not tried against the providers."""

import json
from typing import ClassVar

import requests
from pydantic import SecretStr

from otp_service.gateways.http_client import HttpCallError, HttpClient
from otp_service.policies.base import PolicyContext
from otp_service.policies.human_checks import HumanCheckError, HumanCheckRequest, HumanCheckSettings

_SECRET_ERRORS = frozenset({"missing-input-secret", "invalid-input-secret"})


class _SiteVerify:
    """Posts secret, token and address as a form. The answer is JSON with ``success`` or ``error-codes``."""

    class Settings(HumanCheckSettings):
        """The provider's URL and the site's secret."""

        secret: SecretStr
        url: str
        hostnames: tuple[str, ...] = ()
        """Hosts that may show the check; empty for any."""
        send_address: bool = False
        """Whether the provider gets the end user's address."""

    def __init__(self, settings: Settings, context: PolicyContext) -> None:
        self._settings, self._client = settings, HttpClient(settings.timeout)

    def passed(self, request: HumanCheckRequest) -> bool:
        """Ask the provider; a token is valid once, for some minutes."""
        form = {"secret": self._settings.secret.get_secret_value(), "response": request.token}
        if self._settings.send_address and request.address:
            form["remoteip"] = request.address
        answer = self._client.try_call(requests.Request("POST", self._settings.url, data=form))
        if isinstance(answer, HttpCallError):
            raise HumanCheckError(answer.code)
        if answer.status != requests.codes.ok:
            raise HumanCheckError(f"http {answer.status}")
        members = json.loads(answer.text)
        if _SECRET_ERRORS.intersection(() if members["success"] else members.get("error-codes", ())):
            raise HumanCheckError("secret refused")
        hostnames = self._settings.hostnames
        return members["success"] is True and (not hostnames or members["hostname"] in hostnames)


class Turnstile(_SiteVerify):
    """https://developers.cloudflare.com/turnstile/get-started/server-side-validation."""

    kind: ClassVar[str] = "turnstile"

    class Settings(_SiteVerify.Settings):
        """With the provider's URL."""

        url: str = "https://challenges.cloudflare.com/turnstile/v0/siteverify"


class HCaptcha(_SiteVerify):
    """https://docs.hcaptcha.com/#verify-the-user-response-server-side."""

    kind: ClassVar[str] = "hcaptcha"

    class Settings(_SiteVerify.Settings):
        """With the provider's URL."""

        url: str = "https://api.hcaptcha.com/siteverify"
