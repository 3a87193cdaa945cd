"""Fence the store: what was started before is expired, and send limits are halved for an hour."""

from otp_service.services.context import Context
from otp_service.store.mirror import Fence
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def fence(context: Context) -> Fence:
    """Fence the store, whether or not any process serves; return the fence that stands now.

    Raises `StartRefusedError` when the store is another installation's, to which nothing is done then, and
    `StoreUnavailableError`.
    """
    context.store.server.require_own()
    put = context.store.fences.put()
    _log.warning("store_fenced", cautious_for=(put.until - put.now) // 1000)
    return put
