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
from otp_service.store.signatures.outbox import (
    DispatchDecision,
    Dispatched,
    GatewayNeeded,
)

_AWAY: Final = b"limit 1000 - 0"
"""State of a gateway whose server does not answer: it takes nothing for a second."""


class GatewayCall:
    """A call of a gateway of a route, which enters the slot of one before it is recorded."""

    def __init__(self, scripts: ScriptRunner, dispatch_id: str, route: Mapping[str, GatewayLimits]) -> None:
        """Take the gateways that it may call, in the order in which it would try them."""
        self._scripts = scripts
        self._dispatch_id = dispatch_id
        self._route = route
        self._entered: set[str] = set()
        self._states: dict[str, bytes] = {}
        """What `GATEWAY_ENTER` returned, by gateway."""

    def decide(self, dispatch: Callable[[Mapping[str, bytes]], DispatchDecision | GatewayNeeded]) -> DispatchDecision:
        """Return the reply of the number's slot, which ``dispatch`` calls with the states of gateways.

        The first gateway usually lets the call in, and is called. Raises `StoreUnavailableError`.
        """
        any(self._enter(gateway) for gateway in self._route)
        try:
            while isinstance(reply := dispatch(self._states), GatewayNeeded):
                self._enter(reply.gateway.decode(), last_resort=bool(reply.last_resort))
        except StoreUnavailableError:
            self._leave()  # whatever was recorded: it is not made
            raise
        self._leave(but=reply.gateway.decode() if isinstance(reply, Dispatched) else "")
        return reply

    def _enter(self, gateway: str, *, last_resort: bool = False) -> bool:
        """Tell whether a gateway lets the call in."""
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
        """Leave all gateways that let it in but the one that is called; where none answers, the call's time ends it."""
        leave = GatewayLeaveArguments(self._dispatch_id)
        if left := self._entered - {but}:
            self._scripts.send_all(
                [ScriptCall.of(GATEWAY_LEAVE, self._scripts.gateway_keys(gateway), leave) for gateway in left]
            )
