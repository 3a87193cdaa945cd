"""Verification of the audit chain in the background, only once at a time over all processes."""

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from otp_service.clock import now
from otp_service.console.sessions import ChainResult, ChainVerification, ChainVerifications
from otp_service.domain.phrases import Phrase
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError
from otp_service.services.audit import AuditProgress, chain_notes, count_entries, early_purges, verdict, verify_chain
from otp_service.services.context import Context
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

MAX_FLAWS: Final = 50
"""Maximum listed flaws."""
UNFINISHED: Final = Phrase("It could not be finished: try again.")
_BEAT: Final = 2.0
"""Seconds between two signs of life."""


def begin(context: Context, by: str, retention: Mapping[str, int]) -> bool:
    """Begin to verify the chain; return false if a verification already runs.

    ``retention`` has days by class of data. After the death of the process another may begin in half a minute. Raises
    `LedgerUnavailableError` and `StoreUnavailableError`.
    """
    run = ChainVerification(secrets.token_hex(8), by, now(), count_entries(context))
    if not ChainVerifications(context).keep(run):
        return False
    threading.Thread(target=_verify, args=(context, run, retention), name="chain verification", daemon=True).start()
    return True


def _verify(context: Context, run: ChainVerification, retention: Mapping[str, int]) -> None:
    progress, is_whole, count = AuditProgress(), False, 0
    flaws: list[Phrase] = []
    try:
        with _keeping(context, run, progress):
            for count, violation in enumerate(verify_chain(context, progress), 1):
                if count <= MAX_FLAWS:
                    flaws.append(violation.phrase)
        is_whole = True
    except LedgerUnavailableError:
        _log.warning("chain_verification_stopped", by=run.by)
    except Exception:  # noqa: BLE001 - a thread of its own: nothing else logs its failure
        _log.exception("chain_verification_defect")
    verdicts = ([verdict(count)] if is_whole or count else []) + ([] if is_whole else [UNFINISHED])
    sentences = [phrase.plain for phrase in (*verdicts, *chain_notes(progress), *early_purges(progress, retention))]
    result = ChainResult(run.by, run.begun, now(), is_whole and not count, sentences, [flaw.plain for flaw in flaws])
    with suppress(StoreUnavailableError):
        ChainVerifications(context).finish(run, result)


@contextmanager
def _keeping(context: Context, run: ChainVerification, progress: AuditProgress) -> Iterator[None]:
    """Report the progress, which extends the lease."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with suppress(StoreUnavailableError):
                ChainVerifications(context).keep(replace(run, seen=progress.entries))

    beating = threading.Thread(target=beat, name="chain verification's turn", daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
