"""A call of a gateway on a cluster: the gateway's slot lets it in before its number's slot records it."""

from collections.abc import Callable, Mapping
from typing import Final

from otp_service.domain.routing import GatewayLimits
from otp_service.errors import StoreUnavailableError
from otp_service.store.script_runner import ScriptCall, ScriptRunner
from otp_service.store.signatures.gateways import (
    GATEWAY_ENTER,
    GATEWAY_LEAVE,
    GatewayEnterArguments,
    GatewayLeaveArguments,
)
from otp_service.store.signatures.outbox import DispatchDecision, Dispatched, GatewayNeeded

_AWAY: Final = b"limit 1000 - 0"
"""State of a gateway whose server does not answer: it takes no message for a second."""


class GatewayCall:
    """A call of a gateway of a route, which enters the gateway's slot before it is recorded."""

    def __init__(self, scripts: ScriptRunner, dispatch_id: str, route: Mapping[str, GatewayLimits]) -> None:
        """Take the gateways that may be called, the preferred one first."""
        self._scripts = scripts
        self._dispatch_id = dispatch_id
        self._route = route
        self._entered: set[str] = set()
        self._states: dict[str, bytes] = {}
        """`GATEWAY_ENTER`'s reply by gateway."""

    def decide(self, dispatch: Callable[[Mapping[str, bytes]], DispatchDecision | GatewayNeeded]) -> DispatchDecision:
        """Return the reply of the number's slot, which ``dispatch`` calls with the states of gateways.

        The first gateway usually lets the call in, and is called. Raises `StoreUnavailableError`.
        """
        any(self._enter(gateway) for gateway in self._route)
        try:
            while isinstance(reply := dispatch(self._states), GatewayNeeded):
                self._enter(reply.gateway.decode(), last_resort=bool(reply.last_resort))
        except StoreUnavailableError:
            self._leave()  # the call is not made, even if it was recorded
            raise
        self._leave(but=reply.gateway.decode() if isinstance(reply, Dispatched) else "")
        return reply

    def _enter(self, gateway: str, *, last_resort: bool = False) -> bool:
        """Return whether a gateway lets the call in."""
        limits = self._route[gateway]
        arguments = GatewayEnterArguments(
            dispatch=self._dispatch_id,
            per_second=f"{limits.per_second:g}",
            max_in_flight=limits.in_flight,
            lease=limits.lease,
            last_resort=int(last_resort),
        )
        try:
            state = self._scripts.call(GATEWAY_ENTER, self._scripts.gateway_keys(gateway), arguments)
        except StoreUnavailableError:
            state = _AWAY
        self._states[gateway] = state
        if has_entered := state.endswith(b"1"):
            self._entered.add(gateway)
        return has_entered

    def _leave(self, but: str = "") -> None:
        """Leave all gateways that let the call in but one; without an answer the call's lease ends there."""
        leave = GatewayLeaveArguments(self._dispatch_id)
        places = [self._scripts.gateway_keys(gateway) for gateway in self._entered - {but}]
        if places:
            self._scripts.send_all([ScriptCall.of(GATEWAY_LEAVE, place, leave) for place in places])
