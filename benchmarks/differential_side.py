"""One of two releases that do the same steps (differential.py): reads each as a line of JSON, tells what it led to.

It runs in the environment of its release; each release has a file of its own, with its own names. Changes made on
purpose are switched off in it. The recorder gives back at once what approvals give back.
"""

import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar

import redis

import otp_service.settings.settings as settings_module
from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.domain.codes import derive_code
from otp_service.domain.consents import ConsentEvidence, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.guard import Ruleset
from otp_service.domain.keyring import IdempotentRequest, Keyring, base64url, idempotent_request
from otp_service.domain.messages import Message
from otp_service.domain.numbers import (
    SubjectKey,
    ip_prefix_of,
    parse_destination,
    subject_key,
    wider_prefix,
)
from otp_service.domain.payments import Transaction
from otp_service.domain.verification import DeliveryStatus
from otp_service.errors import OtpServiceError
from otp_service.gateways.base import Accepted, FailureKind, GatewayError, GatewaySettings, Receipt
from otp_service.services import consents, receipts, subjects, verifications
from otp_service.services.context import Context
from otp_service.services.delivery import DeferredJob, RetryPolicy, deliver
from otp_service.services.events import record_events, roll_back
from otp_service.services.start import StartRequest, start
from otp_service.settings import settings_from
from otp_service.store import keys
from otp_service.store.events import EventBatch, parse_decision
from otp_service.store.outbox import Job
from otp_service.store.verifications import Verifications


def _pseudonym(keyring: Keyring, e164: str) -> str:
    """Return a number's name as this release makes it, in both: the first byte is that of its block's."""
    blocks, numbers = keyring._blocks, keyring._numbers  # noqa: SLF001 - the release before has no other name for them
    return base64url(blocks.digest(e164[:-4].encode())[:1] + numbers.digest(e164.encode())[1:16])


Keyring.pseudonym = _pseudonym  # type: ignore[method-assign,assignment]
BUCKET = "00"
POLICY = RetryPolicy(max_ambiguous=2, backoff=(0.003,))
"""A back-off so short that chance adds nothing to it."""
_ALL = 10_000
_KEPT = 7 * 86_400_000
"""Milliseconds for which the release before kept a number's last verifications after the last one."""
_SHOWN = (
    "status", "country", "channel", "created", "expires", "checks", "checks_left", "sends", "sends_left", "last_send",
    "generation",
)  # fmt: skip
"""What a verification shows of itself."""
_ONLY_NOW = {"known", "guard", "created", "dispatch", "request"}
"""What an event tells the recorder of the later release alone."""
_ATTEMPT = 8
"""How many parts of what is told of a start the release before knew."""
_IN_TURN = {"ahead", "place", "gone"}
"""What a job tells of its turn: what had gone before it, or, before, how many were ahead of it and its place."""
_BY_CHANCE = {"consent", "reference", *_IN_TURN}
"""What an event tells that has a time of this host, or the name of a call."""


def as_before(ruleset: Ruleset) -> Ruleset:
    """Return the rules without what the later release changed on purpose."""
    before: dict[str, Any] = {
        "newcomers": None,  # no trickle for newcomers under suspicion
        "known_messages": {"home": 1000, "abroad": 1000},  # more than are remembered: a known number stays known
        "buckets": tuple(
            replace(one, max_growth=None) if hasattr(one, "max_growth") else one for one in ruleset.buckets
        ),
    }
    return replace(ruleset, **{name: value for name, value in before.items() if name in _names(ruleset)})


def _names(ruleset: Ruleset) -> set[str]:
    return {one.name for one in fields(ruleset)}


class Scripted:
    """A gateway that answers as it is told."""

    kind = "scripted"
    channels: ClassVar[frozenset[str]] = frozenset({"sms", "voice", "whatsapp"})
    development_only = False
    Settings = GatewaySettings

    def __init__(self, name: str, side: "Side") -> None:
        self._name, self._side = name, side

    def send(self, message: Message) -> Accepted:
        return self._side.called(self._name, message)


class Side:
    """An installation of this release."""

    def __init__(self, trees: list[dict[str, Any]]) -> None:
        self._trees = trees
        self._ids: list[str] = []
        """Verifications in the order in which they were started."""
        self._places: dict[str, int] = {}
        self._calls: list[tuple[str, str]] = []
        """Gateway and name of each call."""
        self._sent: list[list[Any]] = []
        self._outcomes: Iterable[str] = itertools.repeat("accept")
        self._batches: list[EventBatch] = []
        """What is taken, and not recorded."""
        self._held: list[Job] = []
        self._last = "-"
        self._use(trees[0])

    def perform(self, do: str, **step: Any) -> dict[str, Any]:
        """Do a step; return the answer, and what decisions and events tell of it."""
        act: Callable[..., Any] = getattr(self, f"do_{do}")
        try:
            answer = act(**step)
        except OtpServiceError as refused:
            quota = getattr(refused, "quota", None)
            answer = {"refused": refused.code, "after": refused.retry_after, "quota": quota and asdict(quota)}
        decisions = sorted(self._decisions(), key=lambda one: (one["kind"], one["rule"]))
        return {"answer": answer, "decisions": decisions, "events": list(self._events())}

    # --- what callers do -----------------------------------------------------------------------------------------

    def do_start(self, application: str, key: str = "", consent: str = "", **asked: Any) -> Any:
        transaction, checked = asked.pop("transaction", None), asked.pop("human_check", None)
        request = StartRequest(
            consent=self._evidence(consent),
            transaction=transaction and Transaction(**transaction),
            **asked,
            **({"human_check": checked} if checked else {}),
        )
        retry = self._retry(application, "start", key, [sorted(asked.items()), transaction])
        view = start(self._context, self._context.applications[application], request, retry)
        self._remember(view.verification.id)
        return self._shown(view)

    def do_resend(self, application: str, one: int, key: str = "", channel: str | None = None) -> Any:
        retry = self._retry(application, "resend", key, [one, channel])
        of = self._context.applications[application]
        return self._shown(verifications.resend(self._context, of, self._ids[one], channel, retry))

    def do_check(
        self, application: str, one: int, code: str, key: str = "", transaction: dict[str, str] | None = None
    ) -> Any:
        retry = self._retry(application, "check", key, [one, code, transaction])
        shown = Transaction(**transaction) if transaction else None
        result = verifications.check(
            self._context,
            self._context.applications[application],
            self._ids[one],
            self._code(one, code),
            shown,
            retry,
        )
        return [result.status, result.valid, result.checks_left, result.reason]

    def do_cancel(self, application: str, one: int, key: str = "") -> Any:
        retry = self._retry(application, "cancel", key, [one])
        return self._shown(
            verifications.cancel(self._context, self._context.applications[application], self._ids[one], retry)
        )

    def do_read(self, application: str, one: int) -> Any:
        return self._shown(verifications.read(self._context, self._context.applications[application], self._ids[one]))

    def do_consent(self, application: str, to: str, purpose: str, given: str) -> Any:
        of, subject = self._context.applications[application], self._subject(to)
        evidence = self._evidence(given)
        recorded: Any = (
            consents.give_consent(self._context, of, subject, purpose, evidence)
            if evidence
            else consents.end_consent(self._context, of, subject, purpose)
        )
        entries = getattr(recorded, "entries", recorded)  # releases before answered a view
        return "withdrawn" if entries[-1].withdrawn else "given"

    def do_suppress(self, application: str, to: str, scope: str, lifted: bool) -> Any:  # noqa: FBT001 - of JSON
        subject = self._subject(to)
        if scope == "frozen":
            if lifted:
                status, was = subjects.unfreeze(self._context, subject, application, SuppressionSource.OPERATOR)
                return [self._place(one) for one in status.ended], was
            ended = subjects.freeze(self._context, subject, application, SuppressionSource.API).ended
            return [self._place(one) for one in ended]
        entry = Suppression(
            subject.pseudonym, application, SuppressionScope(scope), SuppressionSource.OPERATOR, lifted=lifted
        )
        return consents.lift(self._context, entry) if lifted else consents.add_suppressions(self._context, [entry])

    # --- what workers do -----------------------------------------------------------------------------------------

    def do_deliver(self, outcomes: list[str]) -> Any:
        """Bring to an end what is new, or was held, as gateways answer in turn."""
        self._outcomes, self._sent = iter(itertools.cycle(outcomes)), []
        outbox = self._context.store.outbox
        held, self._held = self._held, []
        return self._hand_over([*held, *outbox.take("worker", _ALL)])

    def do_die(self) -> Any:
        """Take what is new, and be heard of no more."""
        return self._jobs(self._context.store.outbox.take("dead", _ALL))

    def do_claim(self, idle: int) -> Any:
        """Take over what others hold for so many milliseconds."""
        self._outcomes, self._sent = itertools.repeat("accept"), []
        return self._hand_over(self._context.store.outbox.claim("worker", _ALL, idle))

    def do_report(self, call: int, status: str, kind: str, opted_out: bool) -> Any:  # noqa: FBT001 - of JSON
        gateway, dispatch = self._calls[call]
        failure = FailureKind(kind) if kind else None
        receipt = Receipt(DeliveryStatus(status), f"raw {status}", kind or None, failure, opted_out)
        return receipts.record_receipt(self._context, gateway, dispatch, receipt)

    def do_record(self) -> Any:
        """Bring into the ledger what happened."""
        events = self._context.store.events
        for batch in self._batches:
            record_events(self._context, batch.events)
            events.acknowledge(batch)
        self._batches = []
        events.trim()
        return events.unrecorded()

    # --- what operators do ---------------------------------------------------------------------------------------

    def do_settings(self, which: int) -> Any:
        self._installation.close()
        self._use(self._trees[which])

    def do_fence(self) -> Any:
        put: Any = self._context.store.fences.put()
        if isinstance(put, int):
            return put
        for name in self._client.keys("otp:*fence"):  # the release before halves limits behind a new fence
            self._client.hset(name, "until", 0)
        return put.at

    def do_mirror(self, lost: bool) -> Any:  # noqa: FBT001 - of JSON
        if lost:
            self._context.store.mirror.close()
        else:
            self._context.mirror_sync.rebuild()

    def do_reset(self, to: str) -> Any:
        """Forget a number's windows; how many there were the release before tells by its host's clock."""
        subject = self._subject(to)
        self._context.store.limits.reset(subject.bucket, subject.pseudonym, self._context.applications)

    def do_unblock(self, what: str, to: str, application: str, address: str) -> Any:
        """Forget what holds something back; the releases count differently how much that is."""
        guard, keyring = self._context.store.guard, self._context.keyring
        subject = self._subject(to)
        if what == "number":
            guard.forget_number(subject.bucket, subject.pseudonym, self._context.applications)
        elif what == "block":
            guard.forget_block(keyring.block_pseudonym(subject.destination.block))
        elif what == "country":
            guard.forget_country(application, subject.destination.country)
        else:
            network = ip_prefix_of(address)
            wider = filter(None, (wider_prefix(network, 48), wider_prefix(network, 32)))
            guard.forget_network(*map(keyring.network_pseudonym, (network, *wider)))

    def do_look(self, application: str, to: str) -> Any:
        """Tell what is kept."""
        store, subject = self._context.store, self._subject(to)
        country, ruleset = subject.destination.country, self._context.rulesets[application].ruleset
        stop, fence = store.guard.stop(application, country), store.fences.current()
        spent = (*store.guard.spent(ruleset, application), *store.guard.spent(ruleset, application, country))
        recent, last = [], store.decisions.now()
        for one in store.history.recent(subject.bucket, subject.pseudonym):
            if one.at < last - _KEPT:
                break
            recent.append([self._place(one.id), one.at])
            last = one.at
        return {
            "spent": [asdict(one) for one in spent],
            "stop": stop and asdict(stop),
            "recent": recent,
            "waiting": sorted((name, count) for name, count in store.history.waiting_messages().items() if count),
            "health": {name: asdict(one) for name, one in store.health.of(("first", "second")).items()},
            "fence": getattr(fence, "at", fence),
        }

    # -------------------------------------------------------------------------------------------------------------

    def called(self, gateway: str, message: Message) -> Accepted:
        """Note a call of a gateway, and answer it as this step has it."""
        self._calls.append((gateway, message.dispatch_id))
        words = re.sub("[0-9]", "#", message.text)
        self._sent.append([gateway, message.channel, self._place(message.verification_id), message.locale, words])
        outcome = next(iter(self._outcomes))
        if outcome == "accept":
            return Accepted(f"reference {len(self._calls)}")
        kind, _, extra = outcome.partition("+")
        raise GatewayError(
            FailureKind(kind),
            "said so",
            ambiguous=extra == "ambiguous",
            retry_after=60 if extra == "wait" else 0,
            message_specific=extra == "message",
        )

    @property
    def _context(self) -> Context:
        return self._installation.context

    def _use(self, tree: dict[str, Any]) -> None:
        self._installation: Installation = bootstrap.install(settings_from(tree))
        self._client = redis.Redis.from_url(tree["redis"]["url"])
        bootstrap.prepare(self._installation)
        self._context.gateways.update(  # type: ignore[attr-defined] # filled once by the composition root
            {name: Scripted(name, self) for name in ("first", "second")}
        )

    def _remember(self, verification_id: str) -> None:
        if verification_id not in self._places:
            self._places[verification_id] = len(self._ids)
            self._ids.append(verification_id)

    def _place(self, verification_id: str) -> Any:
        return self._places.get(verification_id, verification_id and "another")

    def _retry(self, application: str, operation: str, key: str, body: list[Any]) -> IdempotentRequest | None:
        return idempotent_request(self._context.keyring, application, operation, key, body) if key else None

    def _subject(self, to: str) -> SubjectKey:
        return subject_key(self._context.keyring, parse_destination(to, None))

    def _evidence(self, given: str) -> ConsentEvidence | None:
        if not given:
            return None
        at = round(1000 * time.time()) + 60_000 if given == "now" else 1_700_000_000_000
        return ConsentEvidence("v1", "0" * 64, "en", "web", at, "page")

    def _code(self, one: int, which: str) -> str:
        """Return the code of a verification that is ``right``, ``old``, ``wrong`` or ``short``."""
        found = self._context.store.verifications.read(BUCKET, self._ids[one])
        if found is None or which == "short":
            return "123456" if found is None else "12"
        view: Any = verifications.read(self._context, self._context.applications[found.application], found.id)
        digest = self._context.keyring.transaction_digest(found.id, getattr(view, "details", view).transaction)
        generation = max(0, found.generation - (which == "old"))
        code = derive_code(self._context.keyring, found, generation, digest)
        return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}" if which == "wrong" else code

    def _shown(self, view: verifications.VerificationView) -> Any:
        one = view.verification
        deliveries = [{**asdict(each), "reference": None, "dispatch_id": None} for each in one.deliveries]
        return {
            "one": self._place(one.id),
            **{name: str(getattr(one, name)) for name in _SHOWN},
            "locale": view.locale,
            "mask": view.mask,
            "deliveries": deliveries,
            "quota": view.quota and asdict(view.quota),
        }

    def _hand_over(self, jobs: list[Job]) -> Any:
        told = self._jobs(jobs)
        for job in sorted(jobs, key=self._order):
            held: DeferredJob | None = deliver(self._context, job, POLICY)
            if held is not None:
                self._held.append(held.job)
        return [told, self._sent, len(self._held)]

    def _order(self, job: Job) -> tuple[int, int]:
        return self._places[job.id], job.message

    def _jobs(self, jobs: Iterable[Job]) -> list[Any]:
        """Return messages as they were queued."""
        told = []
        for job in sorted(jobs, key=self._order):
            left_out = (
                _IN_TURN if ":retry:" in job.queue else set()
            )  # those due at once come in the order of their names
            values = dict(zip(job.fields[::2], map(str, job.fields[1::2]), strict=True))
            if "place" in values:
                values["gone"] = str(int(values.pop("place")) - 1 - int(values.pop("ahead")))
            kept = {name: value for name, value in values.items() if value and name not in left_out}
            told.append({**kept, "id": self._place(job.id), "called": sorted(job.called)})
        return told

    def _decisions(self) -> Iterable[Any]:
        """Yield the decisions since the last step."""
        found: Any = self._client.xrange(keys.decisions(BUCKET), self._last if self._last == "-" else f"({self._last}")
        for name, raw in found:
            self._last = name.decode()
            told = asdict(parse_decision(BUCKET, (name, raw)))
            del told["id"]
            told.pop("request", None)  # which the release before did not name
            told.pop("number_prefix", None)  # the release before recorded it too, and did not read it
            hits = sorted(told["rule_hits"], key=lambda hit: (hit["rule"], hit["window"]))
            yield {**told, "verification": self._place(told["verification"]), "rule_hits": hits}

    def _events(self) -> Iterable[Any]:
        """Yield what happened since the last step; the recorder has it from now on."""
        for batch in self._context.store.events.take("recorder", _ALL):
            roll_back(self._context, batch)
            self._batches.append(batch)
            for one in batch.events:
                told = {name: value for name, value in one.fields.items() if value not in {"", None}}
                told = {name: str(value) for name, value in told.items() if name not in _ONLY_NOW | _BY_CHANCE}
                with suppress(KeyError):
                    told["id"] = self._place(told["id"])
                if "attempt" in told:
                    told["sending"] = "|".join(told.pop("attempt").split("|")[:_ATTEMPT])
                yield {**told, "at": one.at, "type": one.type}


def main() -> None:
    """Do steps as the release before could."""
    build = settings_module.build_ruleset
    settings_module.build_ruleset = lambda *given, **named: as_before(build(*given, **named))
    Verifications.read_approved = Verifications.read  # type: ignore[method-assign]
    perform(Side)


def perform(kind: type[Side]) -> None:
    """Do steps until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints
    side = kind(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        print(json.dumps(side.perform(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
