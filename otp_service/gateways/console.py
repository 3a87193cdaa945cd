"""Gateway ``console``: prints messages on the terminal, for developers."""

from typing import ClassVar

from otp_service.domain.messages import Message
from otp_service.domain.verification import Channel
from otp_service.gateways.base import Accepted, FailureKind, GatewayContext, GatewayError, GatewaySettings


class ConsoleGateway:
    """Prints every message with number and code; production refuses it."""

    kind: ClassVar[str] = "console"
    channels = frozenset[str](Channel)
    development_only: ClassVar[bool] = True

    class Settings(GatewaySettings):
        """No settings of its own."""

    def __init__(self, settings: Settings, context: GatewayContext) -> None:  # noqa: ARG002 - the contract's
        self._name = context.name

    def send(self, message: Message) -> Accepted:
        """Print the message; raise `GatewayError` (*unavailable*) if standard output fails."""
        if not self._print(message):
            raise GatewayError(FailureKind.UNAVAILABLE, "stdout")
        return Accepted(message.dispatch_id)

    def _print(self, message: Message) -> bool:
        text = message.text.replace("\n", "\n    ")
        try:
            print(f"[{self._name}] {message.channel} to {message.to}\n    {text}", flush=True)  # noqa: T201 - its purpose
        except (OSError, ValueError):  # closed, or an encoding without these letters
            return False
        return True
