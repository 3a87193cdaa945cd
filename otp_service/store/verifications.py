"""The verifications in Redis: start, check, resend, cancel, read. Each is one script and one round trip."""

from typing import Any

from otp_service.core import idempotency
from otp_service.core.guard.limits import Limit
from otp_service.core.idempotency import Retry
from otp_service.core.verification import GRACE, Reason, Status, Verification
from otp_service.store import keys, outcomes
from otp_service.store.records import fields_of, pairs, verification_of
from otp_service.store.retention import Retention
from otp_service.store.scripts import ScriptRunner
from otp_service.store.windows import Counted, limit_arguments

_KEPT = idempotency.KEPT * 1000


class Verifications:
    """The state of verifications. Raises `StoreUnavailableError` whenever Redis does not answer in time."""

    def __init__(self, scripts: ScriptRunner, retention: Retention) -> None:
        self._scripts = scripts
        self._kept = retention

    def start(
        self, bucket: str, verification: Verification, tag: str, counted: Counted, retry: Retry | None
    ) -> outcomes.Started | outcomes.Replayed | outcomes.Refused:
        """Record a verification and queue its first message, or refuse without a trace.

        Its times are set by the script: the ones in ``verification`` are not read.
        """
        record = keys.record(bucket, verification.id)
        answer = self._scripts.run(
            "start",
            (
                record,
                *_queue(bucket, verification, verification.channel),
                keys.events(bucket),
                keys.recent(bucket, verification.pseudonym),
                _retry_key(bucket, verification, retry),
                *counted.keys,
            ),
            (
                retry.fingerprint if retry else "",
                _KEPT,
                verification.purpose.ttl * 1000,
                GRACE * 1000,
                self._kept.outbox,
                self._kept.events,
                self._kept.milliseconds,
                len(counted.locks),
                len(counted.spent),
                counted.quota_place,
                verification.id,
                verification.application,
                verification.purpose.name,
                verification.country,
                verification.channel,
                *counted.arguments,
                *fields_of(verification, tag),
            ),
        )
        match answer:
            case [b"started", now, used, reset]:
                return outcomes.Started(now, counted.quota(used, reset))
            case [b"replayed", now, remembered, found]:
                return _replayed(now, remembered, found)
            case _:
                return _send_refusal(answer, counted)

    def check(  # noqa: PLR0913, PLR0917 - all of it comes with one request
        self,
        bucket: str,
        verification_id: str,
        application: str,
        tag: str,
        code_length: int,
        transaction_digest: str,
        limits: tuple[Limit, ...],
        retry: Retry | None,
    ) -> outcomes.Checked | outcomes.Refused:
        """Count, compare and consume. A wrong code is a result."""
        record = keys.record(bucket, verification_id)
        answer = self._scripts.run(
            "check",
            (record, keys.events(bucket), keys.idempotency(bucket, application, retry.key) if retry else record),
            (
                application,
                tag,
                code_length,
                transaction_digest,
                retry.fingerprint if retry else "",
                self._kept.events,
                self._kept.milliseconds,
                f"{keys.PREFIX}:{keys.failed_checks_windows(bucket, application)}",
                len(limits),
                *(part for limit in limits for part in limit_arguments(limit)),
            ),
        )
        match answer:
            case [b"checked", status, reason, left]:
                return outcomes.Checked(Status(status.decode()), Reason(reason.decode()) if reason else None, left)
            case _:
                return outcomes.refused(answer)

    def resend(
        self,
        bucket: str,
        verification: Verification,
        channel: str,
        next_tag: str,
        counted: Counted,
        retry: Retry | None = None,
        *,
        falls_back_from: int = 0,
    ) -> outcomes.Queued | outcomes.Refused:
        """Queue a further message; ``next_tag`` is empty when it carries the same code.

        ``falls_back_from`` is the number of the message that it replaces, which must be the last one: then it need not
        wait. 0 when a caller asks for it.
        """
        record = keys.record(bucket, verification.id)
        answer = self._scripts.run(
            "resend",
            (
                record,
                *_queue(bucket, verification, channel),
                keys.events(bucket),
                _retry_key(bucket, verification, retry),
                *counted.keys,
            ),
            (
                verification.application,
                retry.fingerprint if retry else "",
                channel,
                verification.generation,
                next_tag,
                self._kept.outbox,
                self._kept.events,
                self._kept.milliseconds,
                len(counted.locks),
                len(counted.spent),
                counted.quota_place,
                falls_back_from,
                *counted.arguments,
            ),
        )
        match answer:
            case [b"queued", now, found, used, reset]:
                quota = counted.quota(used, reset) if used else None
                return outcomes.Queued(verification_of(verification.id, pairs(found), now), quota)
            case _:
                return _send_refusal(answer, counted)

    def cancel(
        self, bucket: str, verification_id: str, application: str, retry: Retry | None
    ) -> outcomes.Canceled | outcomes.Refused:
        """Make a pending verification final."""
        record = keys.record(bucket, verification_id)
        answer = self._scripts.run(
            "cancel",
            (record, keys.events(bucket), keys.idempotency(bucket, application, retry.key) if retry else record),
            (application, retry.fingerprint if retry else "", self._kept.events, self._kept.milliseconds),
        )
        match answer:
            case [b"canceled", now, found]:
                return outcomes.Canceled(verification_of(verification_id, pairs(found), now))
            case _:
                return outcomes.refused(answer)

    def read(self, bucket: str, verification_id: str) -> Verification | None:
        """Return a verification as it is now."""
        now, found = self._scripts.run("read", (keys.record(bucket, verification_id),), ())
        return verification_of(verification_id, pairs(found), now) if found else None


def _queue(bucket: str, verification: Verification, channel: str) -> tuple[str, ...]:
    kind, country = verification.purpose.kind, verification.country
    return keys.queue(bucket, kind, verification.application, country, channel)


def _retry_key(bucket: str, verification: Verification, retry: Retry | None) -> str:
    if retry is None:
        return keys.record(bucket, verification.id)
    return keys.idempotency(bucket, verification.application, retry.key)


def _replayed(now: int, remembered: list[bytes], found: list[bytes]) -> outcomes.Replayed:
    memory = {name: value.decode() for name, value in pairs(remembered).items()}
    verification_id = memory["record"].rpartition(":")[2]
    verification = verification_of(verification_id, pairs(found), now) if found else None
    return outcomes.Replayed(memory, verification_id, verification, now)


def _send_refusal(answer: list[Any], counted: Counted) -> outcomes.Refused:
    match answer:
        case [b"limited", place, wait, used, reset]:
            own = counted.quota_place and place >= counted.quota_place
            return outcomes.Limited(wait, counted.quota(used, reset) if own else None)
        case _:
            return outcomes.refused(answer)
