"""Cloudflare Turnstile and hCaptcha, by their documented contract, `siteverify`. Not tried against the providers."""

import json
from typing import ClassVar

import requests
from pydantic import SecretStr

from otp_service.gateways.http_client import HttpCallError, HttpClient
from otp_service.policies.base import PolicyContext
from otp_service.policies.human_checks import HumanCheckError, HumanCheckQuestion, HumanCheckSettings


class _SiteVerify:
    """Posts secret, token and address as a form; the answer is JSON with ``success``, and ``error-codes`` else."""

    class Settings(HumanCheckSettings):
        """Where to ask, and the secret of the site."""

        secret: SecretStr
        url: str
        hostnames: tuple[str, ...] = ()
        """Where the check may have been shown; anywhere without it."""
        send_address: bool = False
        """Whether the provider is told the end user's address."""

    def __init__(self, settings: Settings, context: PolicyContext) -> None:
        self._settings, self._client = settings, HttpClient(settings.timeout)

    def passed(self, question: HumanCheckQuestion) -> bool:
        """Ask the provider; a token counts once, and for some minutes."""
        form = {"secret": self._settings.secret.get_secret_value(), "response": question.token}
        if self._settings.send_address and question.address:
            form["remoteip"] = question.address
        answer = self._client.try_call(requests.Request("POST", self._settings.url, data=form))
        if isinstance(answer, HttpCallError):
            raise HumanCheckError(answer.code)
        if answer.status != requests.codes.ok:
            raise HumanCheckError(f"http {answer.status}")
        return self._judge(json.loads(answer.text))

    def _judge(self, said: dict[str, object]) -> bool:
        if not said["success"] and {"missing-input-secret", "invalid-input-secret"} & set(said.get("error-codes", ())):
            raise HumanCheckError("secret refused")
        return said["success"] is True and (
            not self._settings.hostnames or said["hostname"] in self._settings.hostnames
        )


class Turnstile(_SiteVerify):
    """https://developers.cloudflare.com/turnstile/get-started/server-side-validation."""

    kind: ClassVar[str] = "turnstile"

    class Settings(_SiteVerify.Settings):
        """With the provider's address."""

        url: str = "https://challenges.cloudflare.com/turnstile/v0/siteverify"


class HCaptcha(_SiteVerify):
    """https://docs.hcaptcha.com/#verify-the-user-response-server-side."""

    kind: ClassVar[str] = "hcaptcha"

    class Settings(_SiteVerify.Settings):
        """With the provider's address."""

        url: str = "https://api.hcaptcha.com/siteverify"
