"""Random lives of verifications: the scripts on a real Valkey and a plain model must answer alike.

``OTP_SERVICE_MODEL_EXAMPLES`` sets the number of lives; a number of one's own also leaves the fixed seed.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support_caller import PAYMENT, Caller
from support_frozen import FrozenValkey
from support_installation import key
from support_keys import assert_all_keys_expire
from support_ledger import use_another_ledger
from support_model import GRACE, Checked, Model, Policy, Refused, Rules, Shown
from support_outbox import POLICY, jobs_of, waiting
from support_records import entries_of

from otp_service.domain.guard import coarse_retry_after
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.domain.payments import Transaction
from otp_service.errors import OtpServiceError, RateLimitedError
from otp_service.services.delivery import deliver
from otp_service.services.operator_actions import fence_store

EXAMPLES = os.environ.get("OTP_SERVICE_MODEL_EXAMPLES")
STEPS = 40
FEW = 3
"""Verifications that are pending at a time: with more of them too little happens to each."""
NUMBERS = {"first": "+923001234567", "second": "+923001234568", "third": "0301 7654321"}
TRANSACTIONS = {None: None, "agreed": PAYMENT, "changed": Transaction("1500.01", "PKR", "Daraz")}
PAY = Policy(ttl=90, max_checks=2, max_sends=2, resend_delays=(15,), transaction=True)


@dataclass(frozen=True)
class Setup:
    """An installation, as its settings and as the model's rules."""

    login: Policy
    rules: Rules


SETUPS = {
    "same code": Setup(
        Policy(ttl=60, max_checks=3, max_sends=3, resend_delays=(10, 20)),
        Rules(number=((3, 600), (6, 86400)), failed_checks=((4, 86400),), application=((1000, 60),)),
    ),
    "new code": Setup(
        Policy(ttl=120, max_checks=5, max_sends=4, resend_delays=(0,), new_code=True),
        Rules(number=((4, 60), (20, 86400)), failed_checks=((2, 60), (5, 3600)), application=((5, 60), (30, 3600))),
    ),
    "hardly any limit": Setup(
        Policy(ttl=300, max_checks=1, max_sends=1, resend_delays=(30,)),
        Rules(number=((1000, 3600),), failed_checks=((6, 3600),), application=()),
    ),
}
STEPS_RUN: Counter[str] = Counter()


def _in_buckets(setup: Setup, buckets: int) -> Setup:
    """Return a setup without what is exact in one bucket only: limits of an application, which buckets share."""
    return setup if buckets == 1 else replace(setup, rules=replace(setup.rules, application=()))


def _notations(windows: Any) -> list[str]:
    return [f"{amount}/{seconds} seconds" for amount, seconds in windows]


def _purpose(policy: Policy) -> dict[str, Any]:
    return {
        "kind": "transaction" if policy.transaction else "possession",
        "ttl": policy.ttl,
        "max_checks": policy.max_checks,
        "max_sends": policy.max_sends,
        "resend_delays": list(policy.resend_delays),
        "resend": "new_code" if policy.new_code else "same_code",
        "channels": ["sms"],
    }


def _install(frozen: FrozenValkey, setup: Setup, keys: dict[str, str]) -> Any:
    return frozen.world().install(
        keys=keys,
        purposes={"login": _purpose(setup.login), "payment": _purpose(PAY)},
        limits={
            "number": _notations(setup.rules.number),
            "failed_checks": _notations(setup.rules.failed_checks),
            "application": _notations(setup.rules.application),
            "ip": [],
        },
    )


def _shown(view: Any) -> Shown:
    one = view.verification
    return Shown(
        str(one.status),
        one.created,
        one.expires,
        one.checks_left,
        one.sends_left,
        one.resend_after,
        tuple(str(each.status) for each in one.deliveries),
    )


def _same_error(wanted: Refused, got: OtpServiceError) -> bool:
    """Compare errors; a window's wait may be a millisecond off, since the clock runs within its millisecond."""
    quota = bool(getattr(got, "quota", None))
    if wanted.code != got.code or wanted.quota not in {None, quota}:
        return False
    if wanted.wait is None:
        return True
    exact = quota or not isinstance(got, RateLimitedError)
    rounded = (lambda wait: max(1, -(-wait // 1000))) if exact else coarse_retry_after
    return got.retry_after in {rounded(wanted.wait + off) for off in (-1, 0, 1)}


keys_or_none = st.sampled_from([None, None, None, "key-1", "key-2"])
guesses = st.sampled_from(["right", "wrong", "wrong", "old", "old", "short", "long"])
applications = st.sampled_from(["shop", "shop", "shop", "bank"])
OWN = st.sampled_from([True] * 9 + [False])
WORKER = st.sampled_from([True, True, True, False])
"""Whether a worker is there before time passes: without one the door closes."""


class Life(RuleBasedStateMachine):
    """Drives both and compares every answer."""

    frozen: FrozenValkey
    installations: dict[str, Any]
    buckets: int
    verifications = Bundle("verifications")

    @initialize(name=st.sampled_from(sorted(SETUPS)), may_be_fenced=st.sampled_from([False, False, True]))
    def install(self, name: str, may_be_fenced: bool) -> None:
        self.may_be_fenced = may_be_fenced
        self.frozen.reset()
        self.installations[name].context.mirror_sync.refresh()
        setup = _in_buckets(SETUPS[name], self.buckets)
        self.callers = {each: Caller(self.installations[name], each) for each in ("shop", "bank")}
        keyring = self.callers["shop"].context.keyring
        buckets = {name: subject_key(keyring, parse_destination(to, "PK")).bucket for name, to in NUMBERS.items()}
        self.model = Model(setup.rules, {"login": setup.login, "payment": PAY}, self.frozen.now, buckets)
        self.last: Callable[[], Any] | None = None
        self.windows = {seconds for _, seconds in setup.rules.number + setup.rules.failed_checks}

    # --- what callers do -------------------------------------------------------------------------------------

    @precondition(lambda self: self._alive() < FEW)
    @rule(
        target=verifications,
        name=applications,
        number=st.sampled_from(sorted(NUMBERS)),
        purpose=st.sampled_from(["login", "login", "payment"]),
        fits=st.sampled_from([True] * 9 + [False]),
        key=keys_or_none,
    )
    def start(self, name: str, number: str, purpose: str, fits: bool, key: str | None) -> Any:
        self._note(key, lambda: self.start(name, number, purpose, fits, key))
        caller = self.callers[name]
        transaction = "agreed" if (purpose == "payment") == fits else None
        retry = caller.retry(key, "start", number, purpose, transaction) if key else None
        got = self._outcome(
            lambda: caller.send(NUMBERS[number], retry, purpose=purpose, transaction=TRANSACTIONS[transaction])
        )
        identifier = "" if isinstance(got, OtpServiceError) else got.verification.id
        wanted = self._outcome(lambda: self.model.start(identifier, name, number, purpose, transaction, key))
        self._compare_start(name, wanted, got)
        return identifier or multiple()

    def _compare_start(self, name: str, wanted: Any, got: Any) -> None:
        if isinstance(wanted, Refused) or isinstance(got, OtpServiceError):
            self._compare("start", wanted, got)
            return
        assert got.verification.id == wanted.id
        shown = wanted.shown(self.model.now)
        if not self.model.is_gone(wanted):
            self._compare("start", shown, _shown(got))
        else:  # only the outcome is still known
            one = got.verification
            self._compare("start", (shown.status, shown.created), (str(one.status), one.created))
        if got.quota:
            assert got.quota.remaining == self.model.quota_left(name)

    @rule(one=verifications, own=OWN, key=keys_or_none)
    def resend(self, one: str, own: bool, key: str | None) -> None:
        self._note(key, lambda: self.resend(one, own, key))
        name, caller = self._caller(one, own)
        retry = caller.retry(key, f"resend {one}") if key else None
        got = self._outcome(lambda: _shown(caller.resend(one, retry)))
        self._compare("resend", self._outcome(lambda: self.model.resend(one, name, key)), got)

    @rule(one=verifications)
    def guess_wrong(self, one: str) -> None:
        self.check(one, True, "wrong", "as started", None)

    @rule(one=verifications, key=st.sampled_from(["key-1", "key-2"]), typed=guesses)
    def check_with_a_key(self, one: str, key: str, typed: str) -> None:
        self.check(one, True, typed, "as started", key)

    @rule()
    def ask_again(self) -> None:
        """Repeat the last request that had an idempotency key, to the letter."""
        if self.last:
            self.last()

    @rule(
        one=verifications,
        own=OWN,
        typed=guesses,
        transaction=st.sampled_from(["as started", "as started", "as started", "changed", "missing"]),
        key=keys_or_none,
        number=st.sampled_from([None, None, None, None, *sorted(NUMBERS)]),
    )
    def check(
        self, one: str, own: bool, typed: str, transaction: str, key: str | None, number: str | None = None
    ) -> None:
        self._note(key, lambda: self.check(one, own, typed, transaction, key, number))
        name, caller = self._caller(one, own)
        told = self._transaction(one, transaction)
        code = self._typed(one, typed)
        retry = caller.retry(key, f"check {one}", typed, told, number) if key else None
        to = NUMBERS[number] if number else None
        got = self._outcome(lambda: caller.check(one, code, TRANSACTIONS[told], retry, to))
        if not isinstance(got, OtpServiceError):
            status, valid, left, reason = got
            got = Checked(str(status), valid, left, str(reason) if reason else None)
        self._compare("check", self._outcome(lambda: self.model.check(one, name, typed, told, key, number)), got)

    @rule(one=verifications, own=OWN, key=keys_or_none)
    def cancel(self, one: str, own: bool, key: str | None) -> None:
        self._note(key, lambda: self.cancel(one, own, key))
        name, caller = self._caller(one, own)
        retry = caller.retry(key, f"cancel {one}") if key else None
        got = self._outcome(lambda: _shown(caller.cancel(one, retry)))
        self._compare("cancel", self._outcome(lambda: self.model.cancel(one, name, key)), got)

    @rule(one=verifications, own=OWN)
    def read(self, one: str, own: bool) -> None:
        name, caller = self._caller(one, own)
        got = self._outcome(lambda: _shown(caller.read(one)))
        self._compare("read", self._outcome(lambda: self.model.read(one, name)), got)

    # --- what a worker does ----------------------------------------------------------------------------------

    @rule()
    def deliver(self) -> None:
        """Bring everything that waits to an end; nothing reaches a handset but what is still wanted."""
        context = self.callers["shop"].context
        jobs = jobs_of(context)
        assert sorted((job.id, job.message) for job in jobs) == sorted(self.model.waiting)
        for job in jobs:
            STEPS_RUN["deliver"] += 1
            deliver(context, job, POLICY)
            self.model.deliver(job.id, job.message)
            found = self.model.verifications[job.id]
            if not self.model.is_gone(found):
                caught = context.store.mailbox.messages(job.application, job.id)
                assert len(caught) == sum(message.status == "sent" for message in found.messages)

    # --- what an operator does -------------------------------------------------------------------------------

    @precondition(lambda self: self.may_be_fenced)
    @rule(now=st.sampled_from([False, False, False, True]))
    def fence(self, now: bool) -> None:
        if not now:
            return
        STEPS_RUN["fence"] += 1
        fence_store(self.callers["shop"].context)
        self.model.fence()

    # --- time ------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.001, 1, 1, 9, 9, 9, 31, 31, 65, 601, 3601, 24 * 3600]), worker=WORKER)
    def wait(self, seconds: float, worker: bool) -> None:
        if worker:
            self.deliver()
        self._move_to(self.model.now + round(seconds * 1000))

    @rule(
        one=verifications,
        edge=st.sampled_from(["resend", "resend", "resend", "expiry", "gone"]),
        off=st.sampled_from([-1, 0, 1]),
        worker=WORKER,
    )
    def wait_for_an_edge_of_a_verification(self, one: str, edge: str, off: int, worker: bool) -> None:
        if worker:
            self.deliver()
        found = self.model.verifications[one]
        at = {"resend": found.next_send, "expiry": found.ends, "gone": found.ends + GRACE}[edge]
        self._move_to(at + off)

    @rule(number=st.sampled_from(sorted(NUMBERS)), data=st.data(), off=st.sampled_from([-1, 1]), worker=WORKER)
    def wait_for_an_edge_of_a_window(self, number: str, data: Any, off: int, worker: bool) -> None:
        if worker:
            self.deliver()
        times = self.model.sends[number] + self.model.wrong["shop", number]
        ends = sorted({time + 1000 * seconds + off for time in times for seconds in self.windows})
        ahead = [end for end in ends if end > self.model.now]
        if ahead:
            self._move_to(data.draw(st.sampled_from(ahead)))

    def _move_to(self, at: int) -> None:
        """Go forward, but not to the very moment at which a window's event leaves: there microseconds decide."""
        if at <= self.model.now:
            return
        times = [time for log in (self.model.sends, self.model.wrong) for times in log.values() for time in times]
        ends = {time + 1000 * seconds for time in times for seconds in self.windows}
        for (_, seconds), counter in self.model.counters.items():
            ends |= {counter.start + 1000 * seconds, counter.start + 2000 * seconds}
        while at in ends:
            at += 1
        self.frozen.move_to(at)
        self.model.now = at
        STEPS_RUN["time"] += 1

    # --- helpers ---------------------------------------------------------------------------------------------

    def _alive(self) -> int:
        return sum(one.status_at(self.model.now) == "pending" for one in self.model.verifications.values())

    def _note(self, key: str | None, request: Callable[[], Any]) -> None:
        if key:
            self.last = request

    def _caller(self, one: str, own: bool) -> tuple[str, Caller]:
        owner = self.model.verifications[one].application
        name = owner if own else {"shop": "bank", "bank": "shop"}[owner]
        return name, self.callers[name]

    def _transaction(self, one: str, kind: str) -> str | None:
        started_with = self.model.verifications[one].transaction
        other = None if started_with else "agreed"
        return {"as started": started_with, "changed": "changed", "missing": other}[kind]

    def _typed(self, one: str, typed: str) -> str:
        found = self.model.verifications[one]
        fixed = {"short": "12345", "long": "1234567"}
        if typed in fixed or self.model.is_gone(found):
            return fixed.get(typed, "123456")
        caller = self.callers[found.application]
        if typed == "wrong":
            return caller.wrong(one)
        return caller.code(one, max(0, found.generation - (typed == "old")))

    @staticmethod
    def _outcome(action: Any) -> Any:
        try:
            return action()
        except (Refused, OtpServiceError) as refused:
            return refused

    @staticmethod
    def _compare(step: str, wanted: Any, got: Any) -> None:
        STEPS_RUN[step] += 1
        if isinstance(wanted, Refused) and isinstance(got, OtpServiceError):
            assert _same_error(wanted, got), (wanted, got.code, vars(got))
        else:
            assert got == wanted

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        client = self.frozen.client
        assert waiting(client) == len(self.model.waiting)
        streams = (entries_of(client, f"otp:{{{bucket:02x}}}:events") for bucket in range(self.buckets))
        events = [(event["type"], event["id"]) for stream in streams for event in stream]
        assert events == self.model.events if self.buckets == 1 else sorted(events) == sorted(self.model.events)
        assert_all_keys_expire(client)


@pytest.mark.timeout(0 if EXAMPLES else 120)
@pytest.mark.parametrize(("buckets", "examples"), [(1, 300), (4, 60), (16, 60)])
def test_the_scripts_and_the_model_agree(frozen_server: FrozenValkey, buckets: int, examples: int) -> None:
    keys = {"root": f"k1:{key()}", "pseudonym": key(), "buckets": buckets}
    Life.frozen, Life.buckets = frozen_server, buckets
    frozen_server.reset()  # Redis belongs to one pseudonym key and number of buckets
    use_another_ledger()
    Life.installations = {
        name: _install(frozen_server, _in_buckets(setup, buckets), keys) for name, setup in SETUPS.items()
    }
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=int(EXAMPLES or examples),
            stateful_step_count=STEPS,
            derandomize=EXAMPLES is None,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print("steps:", sum(STEPS_RUN.values()), dict(STEPS_RUN))  # noqa: T201 - what was proved, with pytest -rP
