"""What a gateway answers when a number's holder told its provider to want no messages: keep ours back, too."""

from otp_service.core.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.core.suppression import Suppression, SuppressionScope, SuppressionSource
from otp_service.core.verification import Verification
from otp_service.services.context import Context
from otp_service.services.suppressions import suppress
from otp_service.telemetry import metrics
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)


def respect_opt_out(context: Context, verification: Verification, gateway: str) -> None:
    """Keep the messages of a verification's application back from its number.

    Raises nothing. What cannot be recorded now is lost until the gateway says so again, which it does of each message.
    """
    entry = Suppression(
        pseudonym=verification.pseudonym,
        application=verification.application,
        scope=SuppressionScope.ALL,
        source=SuppressionSource.GATEWAY,
        reason=f"opted out at {gateway}",
    )
    try:
        suppress(context, (entry,))
    except LedgerUnavailableError:
        metrics.record_ledger_error("opt_out")
        _log.warning("opt_out_not_recorded", gateway=gateway)
    except StoreUnavailableError:  # it is recorded, and the mirror is behind until Redis answers
        metrics.record_store_error("opt_out")
        _log.warning("opt_out_not_in_force_yet", gateway=gateway)
