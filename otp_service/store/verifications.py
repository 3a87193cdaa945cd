"""The verifications in Redis: start, check, resend, cancel, read. Each is one script and one round trip."""

from dataclasses import dataclass
from typing import Any

from otp_service.domain import keyring
from otp_service.domain.guard import Sending
from otp_service.domain.keyring import Retry
from otp_service.domain.payments import PaymentNames
from otp_service.domain.verification import GRACE, Reason, Status, Verification
from otp_service.store import keys, outcomes
from otp_service.store.entries import name_of
from otp_service.store.mirror import Permission
from otp_service.store.records import counted_by, fields_of, pairs, verification_of
from otp_service.store.retention import Retention
from otp_service.store.rulesets import LoadedRuleset
from otp_service.store.scripts import ScriptRunner
from otp_service.store.windows import (
    SCOPES_OF_FALLBACK,
    SCOPES_WITHOUT_ADDRESS,
    keys_of_resend,
    keys_of_start,
    quota_of,
    scopes_of_start,
)

_KEPT = keyring.IDEMPOTENCY_SECONDS * 1000


@dataclass(frozen=True, slots=True)
class Further:
    """A message of a verification after its first."""

    channel: str
    next_tag: str = ""
    """Tag of the next generation of the code; empty when the message carries the same."""
    price: int = 0
    """The most that it may cost, in millionths."""
    falls_back_from: int = 0
    """Number of the message that it replaces, which must be the last one: then it need not wait. Otherwise 0."""
    after_dispatch: int = 0
    """Number of that message's call that did not arrive, which must be its last one; otherwise 0."""
    trace: str = ""
    """The ``traceparent`` of the call that asks for it; empty without traces."""


class Verifications:
    """The state of verifications. Raises `StoreUnavailableError` whenever Redis does not answer in time."""

    def __init__(self, scripts: ScriptRunner, retention: Retention) -> None:
        self._scripts = scripts
        self._kept = retention

    def start(  # noqa: PLR0913, PLR0917 - all of it comes with one request
        self,
        bucket: str,
        verification: Verification,
        tag: str,
        sending: Sending,
        permission: Permission,
        names: PaymentNames,
        ruleset: LoadedRuleset,
        retry: Retry | None,
        trace: str = "",
    ) -> outcomes.Started | outcomes.Replayed | outcomes.Refused:
        """Record a verification and queue its first message, which carries a ``trace`` on, or refuse and leave nothing.

        Its times are set by the script: the ones in ``verification`` are not read.
        """
        answer = self._scripts.run(
            "start",
            (
                keys.record(bucket, verification.id),
                *_queue(bucket, verification, verification.channel),
                keys.events(bucket),
                keys.recent(bucket, verification.pseudonym),
                _retry_key(bucket, verification, retry),
                keys.decisions(bucket),
                keys.attempts(bucket),
                *_mirror_keys(bucket, verification),
                *keys_of_start(ruleset, bucket, verification, sending),
            ),
            (
                retry.fingerprint if retry else "",
                _KEPT,
                verification.purpose.ttl * 1000,
                GRACE * 1000,
                self._kept.outbox,
                self._kept.unrecorded,
                *self._kept.of_logs,
                verification.id,
                verification.application,
                verification.purpose.name,
                verification.country,
                verification.channel,
                verification.pseudonym,
                ",".join(scopes_of_start(sending)),
                sending.place,
                int(sending.safe),
                sending.context,
                sending.price,
                f"{verification.application}|{verification.country}|{sending.packed}",
                " ".join(sending.noted),
                *permission.of_start,
                names.payment,
                names.reference,
                trace,
                *fields_of(verification, tag),
                *counted_by(sending),
            ),
            ruleset,
        )
        return _started(bucket, answer, ruleset)

    def closed(self, permission: Permission, buckets: tuple[str, ...]) -> str | None:
        """Return why every start would be refused now, ``None`` when none is for that."""
        why: bytes | None = self._scripts.run(
            "closed",
            (keys.MIRROR, *map(keys.events, buckets)),
            (permission.identity, permission.least, self._kept.unrecorded),
        )
        return why.decode() if why else None

    def check(  # noqa: PLR0913, PLR0917 - all of it comes with one request
        self,
        bucket: str,
        verification_id: str,
        application: str,
        tag: str,
        code_length: int,
        transaction_digest: str,
        ruleset: LoadedRuleset,
        retry: Retry | None,
    ) -> outcomes.Checked | outcomes.Refused:
        """Count, compare and consume. A wrong code is a result."""
        record = keys.record(bucket, verification_id)
        answer = self._scripts.run(
            "check",
            (
                record,
                keys.events(bucket),
                keys.idempotency(bucket, application, retry.key) if retry else record,
                keys.decisions(bucket),
                keys.attempts(bucket),
                keys.failures(application),
            ),
            (
                application,
                tag,
                code_length,
                transaction_digest,
                retry.fingerprint if retry else "",
                *self._kept.of_logs,
                f"{keys.PREFIX}:{keys.failed_checks_windows(bucket, application)}",
                keys.guard_of_number(bucket),
                keys.mirrored_numbers(bucket),
            ),
            ruleset,
        )
        match answer:
            case [b"checked", status, reason, left, alarm]:
                known = Reason(reason.decode()) if reason else None
                return outcomes.Checked(Status(status.decode()), known, left, alarm == 1)
            case _:
                return outcomes.refused(answer)

    def resend(
        self,
        bucket: str,
        verification: Verification,
        message: Further,
        permission: Permission,
        ruleset: LoadedRuleset,
        retry: Retry | None = None,
    ) -> outcomes.Queued | outcomes.Refused:
        """Queue a further message."""
        record = keys.record(bucket, verification.id)
        scopes = SCOPES_OF_FALLBACK if message.falls_back_from else SCOPES_WITHOUT_ADDRESS
        answer = self._scripts.run(
            "resend",
            (
                record,
                *_queue(bucket, verification, message.channel),
                keys.events(bucket),
                _retry_key(bucket, verification, retry),
                keys.decisions(bucket),
                keys.attempts(bucket),
                *_mirror_keys(bucket, verification),
                *keys_of_resend(ruleset.ruleset, bucket, verification, scopes),
            ),
            (
                verification.application,
                retry.fingerprint if retry else "",
                message.channel,
                verification.generation,
                message.next_tag,
                self._kept.outbox,
                self._kept.unrecorded,
                *self._kept.of_logs,
                ",".join(scopes),
                message.price,
                message.falls_back_from,
                *permission.of_further,
                message.trace,
                message.after_dispatch,
            ),
            ruleset,
        )
        match answer:
            case [b"queued", now, found, most, used, reset, noted]:
                quota = quota_of(ruleset.quota, most, used, reset) if used and not message.falls_back_from else None
                return outcomes.Queued(verification_of(verification.id, pairs(found), now), quota, _rules(noted))
            case _:
                return _send_refusal(bucket, answer, ruleset)

    def cancel(
        self, bucket: str, verification_id: str, application: str, retry: Retry | None = None, reason: str = ""
    ) -> outcomes.Canceled | outcomes.Refused:
        """Make a pending verification final; ``reason`` is reported where it is not the application that asks."""
        record = keys.record(bucket, verification_id)
        answer = self._scripts.run(
            "cancel",
            (record, keys.events(bucket), keys.idempotency(bucket, application, retry.key) if retry else record),
            (application, retry.fingerprint if retry else "", reason),
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


def _started(
    bucket: str, answer: list[Any], ruleset: LoadedRuleset
) -> outcomes.Started | outcomes.Replayed | outcomes.Refused:
    match answer:
        case [b"started", now, most, used, reset, noted]:
            return outcomes.Started(now, quota_of(ruleset.quota, most, used, reset), _rules(noted))
        case [b"replayed", now, remembered, found]:
            return _replayed(now, remembered, found)
        case _:
            return _send_refusal(bucket, answer, ruleset)


def _rules(noted: bytes) -> tuple[str, ...]:
    """Return the rules that only record and would have refused; one that has several windows may be there twice."""
    return tuple(dict.fromkeys(noted.decode().split()))


def _queue(bucket: str, verification: Verification, channel: str) -> tuple[str, ...]:
    kind, country = verification.purpose.kind, verification.country
    return keys.queue(bucket, kind, verification.application, country, channel)


def _mirror_keys(bucket: str, verification: Verification) -> tuple[str, str]:
    return keys.MIRROR, keys.mirrored(bucket, verification.pseudonym)


def _retry_key(bucket: str, verification: Verification, retry: Retry | None) -> str:
    if retry is None:
        return keys.record(bucket, verification.id)
    return keys.idempotency(bucket, verification.application, retry.key)


def _replayed(now: int, remembered: list[bytes], found: list[bytes]) -> outcomes.Replayed:
    memory = {name: value.decode() for name, value in pairs(remembered).items()}
    verification_id = memory["record"].rpartition(":")[2]
    verification = verification_of(verification_id, pairs(found), now) if found else None
    return outcomes.Replayed(memory, verification_id, verification, now)


def _send_refusal(bucket: str, answer: list[Any], ruleset: LoadedRuleset) -> outcomes.Refused:
    match answer:
        case [b"refused", decision, rule, wait, most, used, reset]:
            quota = quota_of(ruleset.quota, most, used, reset)
            return outcomes.RefusedByRule(rule.decode(), wait, name_of(bucket, decision.decode()), quota)
        case _:
            return outcomes.refused(answer)
