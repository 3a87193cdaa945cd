"""Acme: an SMS API that takes JSON and a bearer token."""

from typing import ClassVar

import requests
from pydantic import Field, SecretStr

from otp_service.domain.messages import Message
from otp_service.gateways.base import FailureKind, GatewayError, GatewaySettings
from otp_service.gateways.http_client import (
    HttpApiGateway,
    HttpResponse,
    api_url,
    bearer,
    failure_of_status,
    json_object,
)

FAILURES = {
    "unknown_subscriber": FailureKind.DESTINATION,
    "landline": FailureKind.CHANNEL,
    "slow_down": FailureKind.THROTTLED,
    "suspicious_traffic": FailureKind.FRAUD,
}


class AcmeGateway(HttpApiGateway):
    """Sends SMS through Acme."""

    kind: ClassVar[str] = "acme"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False

    class Settings(GatewaySettings):
        """An account at Acme."""

        token: SecretStr
        sender: str = Field(max_length=11)
        base_url: str = "https://api.acme.example"

    def request(self, message: Message) -> requests.Request:
        """Return the request that sends a message."""
        body = {"to": message.to, "from": self.settings.sender, "text": message.text, "ttl": message.expires_in}
        url = api_url(self.settings.base_url, "sms")
        return requests.Request("POST", url, json=body, headers=bearer(self.settings.token))

    def failure(self, answer: HttpResponse, _: Message) -> GatewayError | None:
        """Return why Acme refuses a message."""
        if answer.status == requests.codes.accepted:
            return None
        error = json_object(answer.text).get("error")
        return GatewayError(FAILURES[error], error) if error in FAILURES else failure_of_status(answer.status)

    def reference(self, answer: HttpResponse) -> object:
        """Return Acme's id of a message."""
        return json_object(answer.text).get("id")
