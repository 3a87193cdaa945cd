"""A call of a gateway on a cluster: the gateway's slot lets it in before its number's slot records it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from otp_service.domain.routing import GatewayLimits
from otp_service.errors import StoreUnavailableError
from otp_service.store.script_runner import ScriptCall, ScriptRunner
from otp_service.store.signatures.gateways import (
    GATEWAY_ENTER,
    GATEWAY_LEAVE,
    GatewayEnterArguments,
    GatewayLeaveArguments,
)

_AWAY: Final = "limit 1000 - 0"
"""State of a gateway whose server does not answer: it takes nothing for a second."""


class GatewayCall:
    """A call of one of the gateways of a route, which enters the slot of one before it is recorded."""

    def __init__(self, scripts: ScriptRunner, dispatch_id: str, route: Mapping[str, GatewayLimits]) -> None:
        """Take the gateways that it may call, in the order in which it would try them."""
        self._scripts = scripts
        self._dispatch_id = dispatch_id
        self._route = route
        self._entered: set[str] = set()
        self.states: dict[str, str] = {}
        """What each gateway's slot answered: see `gateway_enter.lua`."""

    def decide(self, dispatch: Callable[[], list[Any]]) -> list[Any]:
        """Return what the number's slot answers, which ``dispatch`` calls; it says which other gateways it needs.

        Mostly the first gateway lets the call in, and is called. Raises `StoreUnavailableError`.
        """
        any(self._enter(gateway) for gateway in self._route)
        try:
            while (answer := dispatch())[0] == b"elsewhere":
                self._enter(answer[1].decode(), last_resort=bool(answer[2]))
        except StoreUnavailableError:
            self._leave()  # whatever was recorded: it is not made
            raise
        self._leave(but=answer[3].decode() if answer[0] == b"dispatched" else "")
        return answer

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
            state = self._scripts.call(GATEWAY_ENTER, self._scripts.gateway_keys(gateway), arguments).decode()
        except StoreUnavailableError:
            state = _AWAY
        self.states[gateway] = state
        if has_entered := state.endswith("1"):
            self._entered.add(gateway)
        return has_entered

    def _leave(self, but: str = "") -> None:
        """Leave all gateways that let it in but the one that is called; where none answers, the call's time ends it."""
        leave = GatewayLeaveArguments(self._dispatch_id)
        left = self._entered - {but}
        self._scripts.send_all(
            [ScriptCall(GATEWAY_LEAVE.script, self._scripts.gateway_keys(gateway), leave) for gateway in left]
        )
