"""Acme: an SMS API that takes JSON and a bearer token."""

import json
from typing import ClassVar

import requests
from pydantic import Field, SecretStr

from otp_service.domain.messages import Message
from otp_service.gateways.base import Accepted, FailureKind, GatewayContext, GatewayError, GatewaySettings
from otp_service.gateways.http_client import GatewayClient, HttpResponse, failure_of_status, reference_of

FAILURES = {
    "unknown_subscriber": FailureKind.DESTINATION,
    "landline": FailureKind.CHANNEL,
    "slow_down": FailureKind.THROTTLED,
    "suspicious_traffic": FailureKind.FRAUD,
}


class AcmeGateway:
    """Sends SMS through Acme."""

    kind: ClassVar[str] = "acme"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False

    class Settings(GatewaySettings):
        """An account at Acme."""

        token: SecretStr
        sender: str = Field(max_length=11)
        base_url: str = "https://api.acme.example"

    def __init__(self, settings: Settings, context: GatewayContext) -> None:
        self._settings = settings
        self._http_client = GatewayClient(settings.timeout)

    def send(self, message: Message) -> Accepted:
        """Post the message; raise `GatewayError`."""
        headers = {"Authorization": f"Bearer {self._settings.token.get_secret_value()}"}
        body = {"to": message.to, "from": self._settings.sender, "text": message.text, "ttl": message.expires_in}
        answer = self._http_client.call(
            requests.Request("POST", f"{self._settings.base_url}/sms", json=body, headers=headers)
        )
        members = _members(answer)
        if answer.status != requests.codes.accepted:
            error = members.get("error")
            raise GatewayError(FAILURES[error], error) if error in FAILURES else failure_of_status(answer.status)
        return Accepted(reference_of(members.get("id"), message))


def _members(answer: HttpResponse) -> dict[str, str]:
    try:
        members = json.loads(answer.text)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}
