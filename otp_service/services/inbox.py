"""Inbound messages that come over a gateway's own connection, not over HTTP."""

from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.gateways.base import InboundMessage
from otp_service.services.context import Context
from otp_service.services.inbound import receive
from otp_service.services.replies import queue
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


class Inbox:
    """Where one gateway hands in what people write back."""

    def __init__(self, context: Context, gateway: str) -> None:
        self._context = context
        self._gateway = gateway

    def hand_in(self, message: InboundMessage) -> bool:
        """Act on a message; return whether that was possible, so that it need not come again."""
        try:
            reply = receive(self._context, self._gateway, message)
            if reply is not None:
                queue(self._context, reply)
        except LedgerUnavailableError:
            metrics.record_ledger_error("inbound")
        except StoreUnavailableError:
            metrics.record_store_error("inbound")
        except Exception as defect:  # noqa: BLE001 - ours, and no reason to lose what somebody wrote
            _log.error("inbound_defect", gateway=self._gateway, error=type(defect).__name__)  # its text may hold it
        else:
            return True
        _log.warning("inbound_not_taken", gateway=self._gateway)
        return False
