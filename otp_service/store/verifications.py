"""Start, resend, check and cancel: the scripts that change a verification."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

import redis

from otp_service.domain import keyring
from otp_service.domain.applications import Zone
from otp_service.domain.guard import SendAttempt, Window, ceil_seconds
from otp_service.domain.keyring import IdempotentRequest
from otp_service.domain.payments import PaymentHashes
from otp_service.domain.proofs import EarlierApproval
from otp_service.domain.totp import UserKey
from otp_service.domain.verification import (
    RECORD_GRACE,
    Channel,
    CheckFailure,
    Delivery,
    DeliveryStatus,
    GatewayChoice,
    Purpose,
    PurposeKind,
    Resend,
    Status,
    Verification,
)
from otp_service.errors import InvalidProofError, LedgerUnavailableError, Quota, StoreUnavailableError
from otp_service.store import keys
from otp_service.store.ceiling_shares import CeilingShares, Spender, SpendingT
from otp_service.store.claims import MIRROR_BEHIND, VALID, Claims, revocation
from otp_service.store.connection import translate_errors
from otp_service.store.limit_sums import LimitSums
from otp_service.store.mirror import MirrorQuery
from otp_service.store.rulesets import NO_RULES, CompiledPlan, CompiledRuleset, compile_plan
from otp_service.store.script_runner import ScriptRunner, pairs_to_dict
from otp_service.store.signatures import proofs
from otp_service.store.signatures import verifications as signed
from otp_service.store.signatures.common import AlreadyFinal as AlreadyFinalReply
from otp_service.store.signatures.common import (
    Elsewhere,
    EvidenceKeys,
    KeyList,
    MirrorBehind,
    NotFound,
    NumberKeys,
    RecordKeys,
    VerificationKeys,
)
from otp_service.store.signatures.mirror import STARTS_READINESS, ReadinessArguments, ReadinessKeys, Ready
from otp_service.store.signatures.signature import KeysT, NoArguments, ReplyT, Signature, reply_word
from otp_service.store.streams import StreamLimits, entry_id

# Fields of a record beside `_FIXED` and `_STATE` (include_record.lua writes it):
#   n<message>                    number of the message's dispatches
#   d<message>.<dispatch>         channel|gateway|status|time|reason|choice|begun|raw status|reference|identifier
#   from<message>                 dispatches before the message was put back from the dead letters
#   after<message>                the message that followed a report on this one; 0 for none
#   p<message>                    the highest cost of a dispatch
#   r<message>.<dispatch>         the amount reserved for a dispatch


class _Row:
    """A row of a record: numbers, then texts with their lengths before them, long texts first, and a rest."""

    def __init__(
        self, numbers: tuple[tuple[str, int], ...], long: tuple[str, ...], short: tuple[str, ...], rest: str = ""
    ) -> None:
        """Take names: of numbers, with their bytes; of texts whose lengths have two bytes, and one byte."""
        self._rest = rest
        self._numbers, self._texts = numbers, (*((name, 2) for name in long), *((name, 1) for name in short))

    def unpack(self, row: bytes) -> dict[str, bytes]:
        """Return the values by name, numbers as decimals."""
        values, place = {}, 0
        for name, size in self._numbers:
            values[name] = b"%d" % int.from_bytes(row[place : place + size], "little")
            place += size
        for name, size in self._texts:
            begin = place + size
            place = begin + int.from_bytes(row[place:begin], "little")
            values[name] = row[begin:place]
        return {**values, self._rest: row[place:]} if self._rest else values


_FIXED = _Row(
    (("v", 1), ("created", 6), ("life", 3), ("ledger", 6)),
    ("details", "start"),
    (
        *("policy", "mask", "rare", "locale", "pseudonym", "transaction", "context", "block"),
        *("ip_prefix", "prefix_48", "prefix_32"),
    ),
)
"""Times in milliseconds; ``life`` is the code's; ``ledger`` is the mirror's place at the start; ``start`` is the
start's idempotency key."""
_RARE = _Row((("lifted", 6), ("consented", 6), ("fence", 6)), (), ())
"""Place in the ledger of the last freeze that was lifted before the start; time of the consent that came with the
start; the fence at the start."""
_STATE = _Row(
    (("checks", 1), ("sends", 1), ("generation", 1), ("last_send", 3)),
    ("guard",),
    ("status", "channel", "tag"),
    "destination",
)
"""``last_send`` counts from ``created``; ``guard`` is how the messages were counted (include_approvals.lua); the
``destination`` is the sealed number, deleted when the verification ends."""
_POLICY = (
    *("application", "purpose", "country", "kind", "code_length", "max_checks", "max_sends", "resend_delays"),
    *("resend", "channels", "fallback"),
)
"""Values of a record's policy. The kind is empty: it follows from the transaction."""
_SEALED = frozenset({"destination", "mask", "details"})
_SLOT = re.compile(r"d(\d+)\.(\d+)")

VERSION = "1"
"""Format of jobs."""
_FORM = b"\2"
"""Beginning of the rows of records."""
ANY_PENDING, NOTHING = "*", ""
"""Verifications of a number and purpose that may be pending at a start: these or an identifier."""


def delivery_slot(message: int, dispatch: int) -> str:
    """Return the record's field for the outcome of a dispatch; a message waits in the field of its first."""
    return f"d{message}.{dispatch}"


def record_values(fields: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the values of a record by name, with those of its messages; empty without a record.

    Raises `ValueError` for an unknown form.
    """
    if not fields:
        return {}
    if not fields["f"].startswith(_FORM):
        raise ValueError(f"a record of the form {fields['f'][0]}")
    fixed, state = _FIXED.unpack(fields["f"]), _STATE.unpack(fields["s"])
    created = int(fixed["created"])
    values = {
        **_RARE.unpack(fixed.pop("rare")),
        **fixed,
        **dict(zip(_POLICY, fixed["policy"].split(b"|"), strict=True)),
        **state,
        "expires": b"%d" % (created + int(fixed["life"])),
        "last_send": b"%d" % (created + int(state["last_send"])),
    }
    further = {name: value for name, value in fields.items() if name not in {"f", "s"}}
    return {**values, **further}


def parse_verification(verification_id: str, fields: Mapping[str, bytes], now: int) -> Verification:
    """Return a recorded verification at ``now`` (milliseconds by Redis' clock)."""
    values = record_values(fields)
    text = {name: value.decode() for name, value in values.items() if name not in _SEALED}
    created, expires, status = int(text["created"]), int(text["expires"]), Status(text["status"])
    return Verification(
        id=verification_id,
        application=text["application"],
        pseudonym=text["pseudonym"],
        status=Status.EXPIRED if status is Status.PENDING and now >= expires else status,
        country=text["country"],
        channel=text["channel"],
        locale=text["locale"],
        purpose=Purpose(
            name=text["purpose"],
            kind=PurposeKind.TRANSACTION if text["transaction"] else PurposeKind.POSSESSION,
            code_length=int(text["code_length"]),
            ttl=(expires - created) // 1000,
            max_checks=int(text["max_checks"]),
            max_sends=int(text["max_sends"]),
            resend_delays=tuple(map(int, text["resend_delays"].split(","))),
            resend=Resend(text["resend"]),
            channels=tuple(map(Channel, text["channels"].split(","))),
            fallback=text["fallback"] == "1",
        ),
        created=created,
        expires=expires,
        checks=int(text["checks"]),
        sends=int(text["sends"]),
        last_send=int(text["last_send"]),
        generation=int(text["generation"]),
        transaction_digest=text["transaction"],
        sealed_destination=values.get("destination", b""),
        sealed_mask=values["mask"],
        sealed_details=values["details"],
        consented=int(text.get("consented", 0)),
        block=text.get("block", ""),
        counted=text.get("guard", ""),
        deliveries=tuple(
            sorted(_parse_deliveries(text.items(), created), key=lambda delivery: (delivery.message, delivery.dispatch))
        ),
    )


def _parse_deliveries(fields: Iterable[tuple[str, str]], created: int) -> Iterable[Delivery]:
    """Yield the deliveries in the fields ``d<message>.<dispatch>``; a waiting message has fewer values.

    A delivery without a time has waited since the verification was ``created``.
    """
    for name, value in fields:
        slot = _SLOT.fullmatch(name)
        if not slot:
            continue
        channel, gateway, status, at, reason, choice, begun, raw, reference, made, *_ = value.split("|") + [""] * 5
        called = begun or (at if gateway or status == DeliveryStatus.QUEUED else "")
        yield Delivery(
            message=int(slot[1]),
            dispatch=int(slot[2]),
            channel=channel,
            gateway=gateway or None,
            status=DeliveryStatus(status),
            at=int(at or created),
            reason=reason or None,
            choice=GatewayChoice(choice) if choice else None,
            begun=int(called or created),
            raw_status=raw or None,
            reference=reference or None,
            dispatch_id=made or None,
        )


_MIRROR_IS_BUILT: Final = "The mirror of the ledger is built: whether the approval was revoked is not known right now."


@dataclass(frozen=True, slots=True)
class Started:
    """A new verification, at this time (milliseconds)."""

    now: int
    quota: Quota | None
    record_only_rules: tuple[str, ...] = ()
    """Rules that only record, and would have refused the message."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """An earlier start with the same idempotency key; the verification is ``None`` when its record is gone."""

    remembered: Mapping[str, str]
    verification_id: str
    verification: Verification | None
    now: int


@dataclass(frozen=True, slots=True)
class Pending:
    """Another verification is pending, so no new one was started."""

    verification_id: str


@dataclass(frozen=True, slots=True)
class Queued:
    """A further message of a verification."""

    verification: Verification
    quota: Quota | None
    record_only_rules: tuple[str, ...] = ()
    """Rules that only record, and would have refused the message."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check."""

    status: Status
    reason: CheckFailure | None
    checks_left: int
    at: int
    """Milliseconds; for a repeated check the time of the first."""
    alarm: bool
    """Whether this check raised the alarm: most of the application's codes are wrong."""
    approved: Verification | None
    """The approved verification, if requested."""


@dataclass(frozen=True, slots=True)
class RefusedByRule:
    """A rule of the guard refuses the message; ``wait`` in milliseconds."""

    rule: str
    wait: int
    decision: str
    """Identifier of the decision."""
    quota: Quota | None


@dataclass(frozen=True, slots=True)
class HumanCheckNeeded:
    """A rule of the guard lets the start pass after a human check, or after a ``wait`` (milliseconds)."""

    rule: str
    wait: int
    decision: str


@dataclass(frozen=True, slots=True)
class AlreadyFinal:
    """The verification has ended in this status."""

    status: Status


class Refusal(StrEnum):
    """Refusals without details."""

    NOT_FOUND = "not-found"
    NUMBER_MISMATCH = "number-mismatch"
    MISMATCH = "mismatch"
    TRANSACTION_MISSING = "transaction-missing"
    TRANSACTION_UNWANTED = "transaction-unwanted"
    NO_SENDS_LEFT = "no-sends-left"
    CONFLICT = "conflict"
    BACKLOG_FULL = "backlog-full"
    EVENTS_FULL = "events-full"
    MIRROR_BEHIND = "mirror-behind"
    SUPPRESSED = "suppressed"
    FROZEN = "frozen"
    CONSENT_REQUIRED = "consent-required"
    CONSENT_OUTDATED = "consent-outdated"
    STEP_UP = "step-up"


StoreRefusal = RefusedByRule | HumanCheckNeeded | signed.TooSoon | AlreadyFinal | signed.WrongLength | Refusal
"""Any answer but success."""
StartOutcome = Started | Replayed | Pending | StoreRefusal


def _send_refusal(
    bucket: str, reply: signed.StartRefusal | signed.ResendRefusal, ruleset: CompiledRuleset
) -> StoreRefusal:
    match reply:
        case signed.Refused():
            quota = build_quota(ruleset.quota, reply.quota_max, reply.quota_used, reply.quota_reset)
            return RefusedByRule(reply.rule.decode(), reply.wait, entry_id(bucket, reply.decision.decode()), quota)
        case signed.HumanCheckRequired(decision, rule, wait):
            return HumanCheckNeeded(rule.decode(), wait, entry_id(bucket, decision.decode()))
        case _:
            return _refusal(reply)


def _refusal(reply: tuple[object, ...]) -> StoreRefusal:
    """Return a script's refusal; a reply without values has the word of a `Refusal`."""
    match reply:
        case signed.TooSoon() | signed.WrongLength():
            return reply
        case signed.Withheld(reason):
            return Refusal(reason.decode())
        case AlreadyFinalReply(status):
            return AlreadyFinal(Status(status.decode()))
        case _:
            return Refusal(reply_word(type(reply)))


def build_quota(window: Window | None, maximum: int, used: int, reset: int) -> Quota | None:
    """Return the application's quota from a script's count in the window; ``reset`` in milliseconds."""
    if window is None:
        return None
    return Quota(maximum, window.seconds, max(0, maximum - used), ceil_seconds(reset))


_IDEMPOTENCY_LIFE = keyring.IDEMPOTENCY_SECONDS * 1000
_RevocableT = TypeVar("_RevocableT", signed.CheckArguments, proofs.ProofRedeemArguments, proofs.PageRedeemArguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVerification:
    """A verification to start, with its first message."""

    bucket: str
    verification: Verification
    """The script sets its times."""
    tag: str
    """Tag of the code's first generation."""
    attempt: SendAttempt
    mirror_query: MirrorQuery
    payment: PaymentHashes
    retry: IdempotentRequest | None = None
    trace: str = ""
    """The ``traceparent`` of the message; empty without traces."""
    allowed_pending: str = ANY_PENDING
    user: UserKey | None = None
    earlier: EarlierApproval | None = None
    """The approval that the start uses up."""
    request: str = ""
    """Identifier of the API request; empty outside the API."""


@dataclass(frozen=True, slots=True)
class FurtherMessage:
    """A message of a verification after its first."""

    channel: str
    next_tag: str = ""
    """Tag of the next generation of the code; empty for the same code."""
    price: int = 0
    """Highest cost, in millionths."""
    falls_back_from: int = 0
    """Number of the replaced message, which must be the last: then there is no delay. Otherwise 0."""
    after_dispatch: int = 0
    """Number of the replaced message's call that did not arrive, which must be its last; otherwise 0."""
    trace: str = ""
    """The ``traceparent`` of the requesting call; empty without traces."""
    request: str = ""
    """Identifier of the API request; empty outside the API."""


class Verifications:
    """The state of verifications. Raises `StoreUnavailableError` when Redis does not answer in time."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: ScriptRunner,
        limits: StreamLimits,
        buckets: tuple[str, ...],
        sums: LimitSums,
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._several_buckets = len(buckets) > 1
        self._limits = limits
        self._shares = CeilingShares(scripts, buckets)
        self._sums = sums
        self._plans: dict[tuple[str, ...], CompiledPlan] = {}

    def recent_of_user(self, user: UserKey) -> tuple[str, ...]:
        """Return the last verifications that name a user, newest first."""
        with translate_errors():
            names: list[bytes] = self._client.lrange(  # type: ignore[assignment]
                keys.user_verifications(user.bucket, user.pseudonym), 0, -1
            )
        return tuple(name.decode() for name in names)

    def _plan(
        self, verification: Verification, zone: Zone, consent_mode: str, ruleset: CompiledRuleset
    ) -> CompiledPlan:
        """Return the plan of all starts of an application, purpose, country and channel."""
        application, purpose, country = verification.application, verification.purpose, verification.country
        key = (application, purpose.name, country, verification.channel, zone, consent_mode, ruleset.name)
        plan = self._plans.get(key)
        if plan is None:
            delays, channels = ",".join(map(str, purpose.resend_delays)), ",".join(purpose.channels)
            numbers = purpose.code_length, purpose.max_checks, purpose.max_sends
            policy = application, purpose.name, country, "", *numbers, delays, purpose.resend, channels
            plan = self._plans[key] = compile_plan(
                {
                    "application": application,
                    "purpose": purpose.name,
                    "country": country,
                    "channel": verification.channel,
                    "zone": zone,
                    "policy": "|".join(map(str, (*policy, int(purpose.fallback)))),
                    "consent": consent_mode,
                    "life": purpose.ttl * 1000,
                    "grace": RECORD_GRACE * 1000,
                    "idempotency": _IDEMPOTENCY_LIFE,
                    "outbox": self._limits.outbox,
                    "unrecorded": self._limits.unrecorded,
                    "of_user": 1000 * keys.user_verifications.seconds,
                    "age": self._limits.milliseconds,
                    "decisions": self._limits.decisions,
                },
                ruleset,
            )
        return plan

    def start(self, new: NewVerification, ruleset: CompiledRuleset) -> StartOutcome:
        """Record a verification and queue its first message, or refuse.

        Returns `Pending` where the newest verification of the number and purpose is pending, and is not
        ``allowed_pending``. A user of another bucket and, with several buckets, an earlier approval are claimed first,
        and released where the start is refused; if the answer is lost, an approval is used up.
        """
        bucket, verification, attempt = new.bucket, new.verification, new.attempt
        further, claims = self._claim(new)
        networks: tuple[str, ...] = ()
        if attempt.ip_prefix and not attempt.checked:  # rules on addresses skip a start after a human check
            networks = keys.of_networks(bucket, attempt.ip_prefix, attempt.prefix_48, attempt.prefix_32)
        queue, queues, ready, wake = _queue(bucket, verification, verification.channel)
        names = signed.StartKeys(
            record=keys.record(bucket, verification.id),
            queue=queue,
            queues=queues,
            ready=ready,
            wake=wake,
            events=keys.events(bucket),
            idempotency=_idempotency_key(bucket, verification, new.retry),
            decisions=keys.decisions(bucket),
            mirror=keys.mirror(bucket),
            mirrored=keys.mirrored(bucket, verification.pseudonym),
            rest=(
                *further,
                keys.number(bucket, verification.pseudonym),
                *_shared_keys(bucket, verification, attempt.block),
                *networks,
            ),
        )
        arguments = signed.StartArguments(
            id=verification.id,
            fingerprint=new.retry.fingerprint if new.retry else "",
            locale=verification.locale,
            attempt=attempt.encoded,
            tag=new.tag,
            transaction=verification.transaction_digest,
            destination=verification.sealed_destination,
            mask=verification.sealed_mask,
            details=verification.sealed_details,
            record_only_rules=" ".join(attempt.record_only_rules),
            identity=new.mirror_query.identity,
            min_sequence=new.mirror_query.min_sequence,
            consent=new.mirror_query.evidence,
            payment=new.payment.payment,
            payment_reference=new.payment.reference,
            trace=new.trace,
            allowed_pending=new.allowed_pending,
            further=len(further),
            earlier_ends=claims.ends,
            request=new.request,
            claimed=claims.argument,
        )
        plan = self._plan(verification, attempt.zone, new.mirror_query.consent_mode, ruleset)
        with claims:
            spender = Spender(bucket, verification.application, verification.country, ruleset, attempt.ip_prefix)
            outcome = _start_outcome(bucket, self._call_limited(signed.START, names, arguments, spender, plan), ruleset)
            claims.are_used = isinstance(outcome, Started)
        return outcome

    def _call_limited(
        self,
        script: Signature[KeysT, SpendingT, ReplyT],
        names: KeysT,
        arguments: SpendingT,
        spender: Spender,
        plan: CompiledPlan | None = None,
    ) -> ReplyT:
        """Return the reply of a script that counts a message in limits which buckets share."""
        reply = self._shares.call(script, names, arguments, spender, plan)
        if subjects := getattr(reply, "to_sum", b""):
            self._sums.request(subjects.decode().split(), spender.application, spender.ip_prefix)
        return reply

    def _claim(self, new: NewVerification) -> tuple[tuple[str, ...], Claims]:
        """Claim a start's user and evidence in other buckets; return their keys in this bucket."""
        user, earlier, further = new.user, new.earlier, list[str]()
        claims = Claims(self._scripts, new.verification.application, new.verification.id, earlier)
        if user and user.bucket == new.bucket:
            further += (kind(user.bucket, user.pseudonym) for kind in (keys.mirrored, keys.user_verifications))
            user = None
        if earlier and not self._several_buckets:
            further.append(keys.evidence(earlier.bucket, earlier.id))
            earlier = None
        claims.claim(earlier, user)
        return tuple(further), claims

    def unavailable_reason(self, query: Callable[[str], MirrorQuery], buckets: tuple[str, ...]) -> str | None:
        """Return why every start would be refused now, ``None`` when starts are possible in any of the buckets.

        ``query`` returns what a bucket's mirror must have. Raises `StoreUnavailableError` when no server answers.
        """
        reason: str | None = None
        away: StoreUnavailableError | None = None
        for group in self._scripts.spread(buckets):
            known = query(group[0])
            names = ReadinessKeys(tuple(key for bucket in group for key in (keys.mirror(bucket), keys.events(bucket))))
            arguments = ReadinessArguments(known.identity, known.min_sequence, self._limits.unrecorded)
            try:
                reply = self._scripts.call(STARTS_READINESS, names, arguments)
            except StoreUnavailableError as error:
                away = error
                continue
            if isinstance(reply, Ready):
                return None
            reason = reason or reply.reason.decode()
        if away and not reason:
            raise away
        return reason

    def check(  # noqa: PLR0913, PLR0917 - all of it comes with one request
        self,
        bucket: str,
        verification_id: str,
        application: str,
        tag: str,
        code_length: int,
        transaction_digest: str,
        ruleset: CompiledRuleset,
        retry: IdempotentRequest | None,
        *,
        evidence_lives: str,
        with_record: bool,
        pseudonym: str = "",
        request: str = "",
    ) -> Checked | StoreRefusal:
        """Count, compare and consume a code in one step. A wrong code is a result, not an error.

        ``evidence_lives``: milliseconds for which an approval is evidence, by purpose, as JSON; empty for none.
        ``with_record``: an approval returns its verification. ``pseudonym``: of the only accepted number.
        """
        record = keys.record(bucket, verification_id)
        names = signed.CheckKeys(
            record=record,
            events=keys.events(bucket),
            idempotency=keys.idempotency(bucket, application, retry.key) if retry else record,
            decisions=keys.decisions(bucket),
            evidence=keys.evidence(bucket, verification_id),
            mirror=keys.mirror(bucket),
            application=keys.application(bucket, application),
        )
        arguments = signed.CheckArguments(
            application=application,
            tag=tag,
            code_length=code_length,
            transaction=transaction_digest,
            fingerprint=retry.fingerprint if retry else "",
            max_age=self._limits.milliseconds,
            max_decisions=self._limits.decisions,
            numbers=keys.number.beginning(bucket),
            mirrored=keys.mirrored.beginning(bucket),
            with_record=int(with_record),
            pseudonym=pseudonym,
            evidence_lives=evidence_lives,
            request=request,
            elsewhere="",
        )
        reply = self._call_revocable(signed.CHECK, names, arguments, ruleset)
        if not isinstance(reply, signed.Checked):
            return _refusal(reply)
        reason = CheckFailure(reply.reason.decode()) if reply.reason else None
        record_of = pairs_to_dict(reply.record)
        approved = parse_verification(verification_id, record_of, reply.at) if record_of else None
        return Checked(Status(reply.status.decode()), reason, reply.checks_left, reply.at, reply.alarm == 1, approved)

    def resend(
        self,
        bucket: str,
        verification: Verification,
        message: FurtherMessage,
        mirror_query: MirrorQuery,
        ruleset: CompiledRuleset,
        retry: IdempotentRequest | None = None,
    ) -> Queued | StoreRefusal:
        """Queue a further message."""
        queue, queues, ready, wake = _queue(bucket, verification, message.channel)
        application, country, block = _shared_keys(bucket, verification, verification.block)
        names = signed.ResendKeys(
            record=keys.record(bucket, verification.id),
            queue=queue,
            queues=queues,
            ready=ready,
            wake=wake,
            events=keys.events(bucket),
            idempotency=_idempotency_key(bucket, verification, retry),
            decisions=keys.decisions(bucket),
            mirror=keys.mirror(bucket),
            mirrored=keys.mirrored(bucket, verification.pseudonym),
            number=keys.number(bucket, verification.pseudonym),
            application=application,
            country=country,
            block=block,
        )
        arguments = signed.ResendArguments(
            application=verification.application,
            fingerprint=retry.fingerprint if retry else "",
            channel=message.channel,
            generation=verification.generation,
            next_tag=message.next_tag,
            max_queue=self._limits.outbox,
            max_events=self._limits.unrecorded,
            max_age=self._limits.milliseconds,
            max_decisions=self._limits.decisions,
            price=message.price,
            falls_back_from=message.falls_back_from,
            identity=mirror_query.identity,
            min_sequence=mirror_query.min_sequence,
            consent=mirror_query.consent_mode,
            trace=message.trace,
            after_dispatch=message.after_dispatch,
            request=message.request,
        )
        spender = Spender(bucket, verification.application, verification.country, ruleset)
        reply = self._call_limited(signed.RESEND, names, arguments, spender)
        while isinstance(reply, Elsewhere):
            state = revocation(self._scripts, verification.application, reply)
            reply = self._call_limited(signed.RESEND, names, arguments._replace(elsewhere=state), spender)
        if not isinstance(reply, signed.Queued):
            return _send_refusal(bucket, reply, ruleset)
        quota = build_quota(ruleset.quota, reply.quota_max, reply.quota_used, reply.quota_reset)
        shown = quota if reply.quota_used and not message.falls_back_from else None
        resent = parse_verification(verification.id, pairs_to_dict(reply.record), reply.now)
        return Queued(resent, shown, _rules(reply.record_only_rules))

    def cancel(
        self,
        bucket: str,
        verification_id: str,
        application: str,
        retry: IdempotentRequest | None = None,
        reason: str = "",
        request: str = "",
    ) -> Verification | StoreRefusal:
        """Cancel and return a pending verification; ``reason`` is reported, empty for the application's own request."""
        record = keys.record(bucket, verification_id)
        idempotency = keys.idempotency(bucket, application, retry.key) if retry else record
        reply = self._scripts.call(
            signed.CANCEL,
            signed.CancelKeys(record, keys.events(bucket), idempotency),
            signed.CancelArguments(application, retry.fingerprint if retry else "", reason, request),
        )
        if not isinstance(reply, signed.Canceled):
            return _refusal(reply)
        return parse_verification(verification_id, pairs_to_dict(reply.record), reply.now)

    def redeem(self, bucket: str, approval: str, application: str) -> bool:
        """Mark an approval's proof as used; return ``False`` where it was used before, or Redis has lost it.

        Raises `InvalidProofError` where the approval was revoked, and `LedgerUnavailableError` while the mirror is
        built.
        """
        names = EvidenceKeys(keys.evidence(bucket, approval), keys.mirror(bucket))
        arguments = proofs.ProofRedeemArguments(application, "")
        match self._call_revocable(proofs.PROOF_REDEEM, names, arguments):
            case MirrorBehind():
                raise LedgerUnavailableError(_MIRROR_IS_BUILT)
            case proofs.ApprovalRevoked():
                raise InvalidProofError("What the proof rests on was frozen, removed or erased since.")
            case reply:
                return isinstance(reply, proofs.ProofRedeemed)

    def redeem_result(self, bucket: str, verification_id: str, application: str, until: int) -> Status | None:
        """Mark the result of a page as used; return the verification's status, canceled if it was revoked since.

        Returns ``None`` where the result was used before, the record is gone, the verification has not ended, or the
        time ``until`` (ms) has come. Raises `LedgerUnavailableError` for an approval while the mirror is built.
        """
        names = VerificationKeys(keys.record(bucket, verification_id), keys.mirror(bucket))
        arguments = proofs.PageRedeemArguments(application, until, keys.mirrored.beginning(bucket), "")
        match self._call_revocable(proofs.PAGE_REDEEM, names, arguments):
            case MirrorBehind():
                raise LedgerUnavailableError(_MIRROR_IS_BUILT)
            case proofs.PageRedeemed(status):
                return Status(status.decode())
            case _:
                return None

    def _call_revocable(
        self,
        script: Signature[KeysT, _RevocableT, ReplyT],
        names: KeysT,
        arguments: _RevocableT,
        ruleset: CompiledRuleset | None = None,
    ) -> ReplyT | MirrorBehind:
        """Call a script, and again with the state of the approval in other buckets if it rests on any."""
        reply = self._scripts.call(script, names, arguments, ruleset)
        if not isinstance(reply, Elsewhere):
            return reply
        state = revocation(self._scripts, arguments.application, reply)
        if state == MIRROR_BEHIND:
            return MirrorBehind()
        return self._scripts.call(script, names, arguments._replace(elsewhere=state), ruleset)

    def count_page(self, network: str, max_requests: int) -> int:
        """Count a request for pages from a network; return the milliseconds to wait, or 0."""
        arguments = proofs.PageCountArguments(max_requests, 1000 * keys.page_requests.seconds)
        return self._scripts.call(proofs.PAGE_COUNT, proofs.PageCountKeys(keys.page_requests(network)), arguments)

    def roll_back(self, bucket: str, application: str, approved: Mapping[str, bool], ruleset: CompiledRuleset) -> int:
        """Roll back the guard's counts of approved verifications; return how many were not rolled back before.

        ``approved``: whether the number was known before, by identifier. A repetition changes nothing. A record that
        is gone, `RECORD_GRACE` after its code, rolls nothing back: its buckets leak as without an approval.
        """
        records = KeyList(tuple(keys.record(bucket, verification_id) for verification_id in approved))
        arguments = signed.GuardRollBackArguments(application, tuple(map(int, approved.values())))
        return self._scripts.call(signed.GUARD_ROLL_BACK, records, arguments, ruleset)

    def find(self, bucket: str, pseudonym: str, application: str, purpose: str) -> Verification | None:
        """Return the newest stored verification of a number for an application's purpose."""
        names = NumberKeys(keys.number(bucket, pseudonym))
        arguments = signed.VerificationFindArguments(application, purpose, keys.record.beginning(bucket))
        reply = self._scripts.call(signed.VERIFICATION_FIND, names, arguments, NO_RULES)
        if isinstance(reply, NotFound):
            return None
        return parse_verification(reply.id.decode(), pairs_to_dict(reply.record), reply.now)

    def read(self, bucket: str, verification_id: str) -> Verification | None:
        return self.read_at(bucket, verification_id)[1]

    def read_approved(self, bucket: str, verification_id: str) -> Verification | None:
        """Return an approved verification once replicas have it, canceled if it was revoked since.

        Raises `LedgerUnavailableError` while the mirror is built.
        """
        record = keys.record(bucket, verification_id)
        self._scripts.await_replicas([record])
        names = VerificationKeys(record, keys.mirror(bucket))
        arguments = signed.ApprovalReadArguments(keys.mirrored.beginning(bucket))
        reply = self._scripts.call(signed.APPROVAL_READ, names, arguments)
        if isinstance(reply, MirrorBehind):
            raise LedgerUnavailableError(_MIRROR_IS_BUILT)
        if not reply.record:
            return None
        verification = parse_verification(verification_id, pairs_to_dict(reply.record), reply.now)
        is_revoked = reply.revoked == 1
        if reply.elsewhere and not is_revoked:
            state = revocation(self._scripts, verification.application, Elsewhere(reply.elsewhere, reply.lifted))
            if state == MIRROR_BEHIND:
                raise LedgerUnavailableError(_MIRROR_IS_BUILT)
            is_revoked = state != VALID
        return replace(verification, status=Status.CANCELED) if is_revoked else verification

    def read_at(self, bucket: str, verification_id: str) -> tuple[int, Verification | None]:
        """Return the time in milliseconds, and a verification at that time."""
        names = RecordKeys(keys.record(bucket, verification_id))
        now, record = self._scripts.call(signed.VERIFICATION_READ, names, NoArguments())
        return now, parse_verification(verification_id, pairs_to_dict(record), now) if record else None


def _start_outcome(
    bucket: str,
    reply: signed.Started | signed.Replayed | signed.Pending | signed.StartRefusal,
    ruleset: CompiledRuleset,
) -> StartOutcome:
    match reply:
        case signed.Started(now, quota_max, quota_used, quota_reset, record_only_rules):
            quota = build_quota(ruleset.quota, quota_max, quota_used, quota_reset)
            return Started(now, quota, _rules(record_only_rules))
        case signed.Replayed(now, remembered, record):
            memory = {name: value.decode() for name, value in pairs_to_dict(remembered).items()}
            verification_id = memory["record"].rpartition(":")[2]
            verification = parse_verification(verification_id, pairs_to_dict(record), now) if record else None
            return Replayed(memory, verification_id, verification, now)
        case signed.Pending(pending):
            return Pending(pending.decode())
        case refusal:
            return _send_refusal(bucket, refusal, ruleset)


def _shared_keys(bucket: str, verification: Verification, block: str) -> tuple[str, str, str]:
    """Return the keys of the subjects that a number's messages share with other numbers."""
    application, country = verification.application, verification.country
    return keys.application(bucket, application), keys.country(bucket, application, country), keys.block(bucket, block)


def _rules(record_only_rules: bytes) -> tuple[str, ...]:
    """Return the rules that only record and would have refused; the script repeats a rule with several windows."""
    return tuple(dict.fromkeys(record_only_rules.decode().split()))


def _queue(bucket: str, verification: Verification, channel: str) -> tuple[str, str, str, str]:
    kind, country = verification.purpose.kind, verification.country
    return keys.queue_keys(bucket, kind, verification.application, country, channel)


def _idempotency_key(bucket: str, verification: Verification, retry: IdempotentRequest | None) -> str:
    if retry is None:
        return keys.record(bucket, verification.id)
    return keys.idempotency(bucket, verification.application, retry.key)
