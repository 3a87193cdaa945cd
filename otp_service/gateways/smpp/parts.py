"""Parts: which message the receipt of one of its parts belongs to."""

import threading
from collections import OrderedDict

from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.smpp.receipt import Report, spellings

MOST = 20_000
"""Parts that are remembered, about the last hour's; their receipts come within minutes."""
_FATAL = {DeliveryStatus.UNDELIVERED, DeliveryStatus.FAILED, DeliveryStatus.EXPIRED}


class Parts:
    """Of the messages that this process submitted. A message goes by the id of its last part.

    That part's receipt speaks for the message. Of the parts before it only a failure is of interest: without one part
    the handset may show nothing. One that comes to another process is found by nobody, and changes nothing.
    """

    def __init__(self, receipt_ids: str) -> None:
        self._receipt_ids = receipt_ids
        self._messages: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, ids: tuple[str, ...], reference: str) -> None:
        """Note the ids of a message's parts before the last one, and what the message goes by.

        An SMSC that gives all parts one id reports on the message under it, as if it had one part.
        """
        with self._lock:
            self._messages.update((part, reference) for part in ids if part != reference)
            while len(self._messages) > MOST:
                self._messages.popitem(last=False)

    def references(self, report: Report) -> tuple[tuple[str, ...], ...]:
        """Return what a message is known by to which a report belongs, and each guess at that.

        What would be a part's is that of its message, or nothing when the report says too little.
        """
        fatal = report.receipt.status in _FATAL
        with self._lock:
            return tuple(self._of(own, fatal=fatal) for own in spellings(report.message_id, self._receipt_ids))

    def _of(self, own: tuple[str, ...], *, fatal: bool) -> tuple[str, ...]:
        whole = next((self._messages[spelling] for spelling in own if spelling in self._messages), None)
        if whole is None:
            return own
        return (whole,) if fatal else ()
