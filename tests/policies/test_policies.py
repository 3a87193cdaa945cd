"""How long a policy is waited for, and what counts as its answer."""

import logging
import subprocess
import sys
import threading
import time

import pytest
from support_policies import NUMBER, REQUEST, Judge, asked
from support_service import eventually

from otp_service.policies.base import (
    ALLOW,
    DENY,
    Policies,
    PolicyError,
    TimeLimitedExecutor,
    Verdict,
    VerdictKind,
    not_by,
    only_by,
)

EVERY = {"sms", "voice", "whatsapp", "telegram"}


@pytest.fixture
def never():
    """Return what hangs until the test is over."""
    over = threading.Event()
    yield over.wait
    over.set()


def told(policy):
    verdict = policy.judge(REQUEST)
    return str(verdict.kind), verdict.reason


def test_verdicts_name_the_channels_that_are_left():
    assert ALLOW.channels == DENY.channels == EVERY
    assert only_by("whatsapp").channels == not_by("sms", "voice", "telegram").channels == {"whatsapp"}
    assert not_by(*EVERY).channels == set()


@pytest.mark.parametrize("verdict", [ALLOW, DENY, only_by("voice")])
def test_a_verdict_is_passed_on(verdict):
    assert asked("one", Judge(verdict)).judge(REQUEST) == verdict


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (PolicyError("http 503"), "http 503"),
        (ValueError(f"no such number: {NUMBER}"), "defect ValueError"),
        (TimeoutError(), "defect TimeoutError"),
        (lambda: sys.exit(1), "defect SystemExit"),
        (lambda: None, "no verdict"),
        (lambda: True, "no verdict"),
        (lambda: "allow", "no verdict"),
        (lambda: Verdict("nonsense"), "no verdict"),
        (lambda: Verdict(VerdictKind.ALLOW, channels=None), "no verdict"),
    ],
)
def test_whatever_else_it_does_is_unknown(answer, reason):
    assert told(asked("one", Judge(answer))) == ("unknown", reason)


def test_a_policy_that_hangs_is_not_waited_for_and_others_are_not_held_up(never):
    policy = asked("one", Judge(never, ALLOW), timeout=0.2)
    began = time.monotonic()

    assert told(policy) == ("unknown", "timeout")
    assert 0.2 <= time.monotonic() - began < 0.6
    assert told(policy) == ("allow", "")


def test_a_policy_whose_every_thread_hangs_is_unknown_in_time_and_begins_nothing_more(never):
    judge = Judge(never)
    policy = asked("one", judge, threads=2, timeout=0.1)
    began = time.monotonic()

    assert {told(policy) for _ in range(5)} == {("unknown", "timeout")}
    assert time.monotonic() - began < 1.5
    assert len(judge.requests) == 2
    assert not policy._executor._waiting


def test_a_policy_that_was_late_answers_the_next_request_in_its_place(never):
    late = threading.Event()
    policy = asked("one", Judge(late.wait, ALLOW), threads=1, timeout=0.2)

    assert told(policy) == ("unknown", "timeout")
    late.set()
    assert told(policy) == ("allow", "")


def test_threads_are_kept_and_are_no_more_than_the_bound():
    executor: TimeLimitedExecutor[str] = TimeLimitedExecutor("of this test", 3)
    found: list[str] = []

    def work():
        time.sleep(0.01)
        return threading.current_thread().name

    def wait():
        found.append(executor.run(work, 5))

    threads = [threading.Thread(target=wait) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == ["of this test"] * 12
    assert executor._threads <= 3
    assert executor._idle == executor._threads


def test_one_thread_does_one_piece_of_work_after_the_other():
    executor: TimeLimitedExecutor[int] = TimeLimitedExecutor("of this test", 3)
    found = set()
    for _ in range(5):
        found.add(executor.run(threading.get_ident, 5))
        eventually(lambda: executor._idle == 1, 5)

    assert len(found) == 1


def test_threads_end_with_what_they_were_made_for():
    policy = asked("ending", Judge(ALLOW))
    policies = Policies([policy], 4)
    assert told(policy)[0] == "allow"
    assert [one.name for one in threading.enumerate()].count("policy ending") == 1
    policies.close()
    eventually(lambda: "policy ending" not in [one.name for one in threading.enumerate()])


def test_where_no_thread_can_be_made_it_is_unknown(monkeypatch):
    def full(_):
        raise RuntimeError("can't start new thread")

    policy = asked("one", Judge())
    with monkeypatch.context() as world:
        world.setattr(threading.Thread, "start", full)
        assert told(policy) == ("unknown", "no thread")
    assert not policy._executor._waiting
    assert told(policy) == ("allow", "")


def test_a_process_ends_although_a_policy_hangs():
    program = (
        "import threading\n"
        "from otp_service.policies.base import TimeLimitedExecutor\n"
        "try:\n    TimeLimitedExecutor('x', 1).run(threading.Event().wait, 0.05)\n"
        "except TimeoutError:\n    print('late')\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)

    assert finished.stdout == "late\n"


@pytest.mark.parametrize(
    ("members", "concerned"),
    [
        ({}, True),
        ({"mode": "record_only"}, True),
        ({"mode": "off"}, False),
        ({"applications": ["shop", "bank"], "purposes": ["login"], "channels": ["sms"]}, True),
        ({"applications": ["bank"]}, False),
        ({"purposes": ["payment"]}, False),
        ({"channels": ["voice", "whatsapp"]}, False),
    ],
)
def test_it_is_asked_where_its_settings_say(members, concerned):
    policies = Policies([asked("one", Judge(), **members)], 4)

    assert bool(policies.applicable("shop", "login", "sms")) == concerned


def test_what_passed_long_ago_is_forgotten(monkeypatch):
    monkeypatch.setattr("otp_service.policies.base._MAX_PASSED", 2)
    policies = Policies((), 4)
    for name in ("first", "second", "third"):
        policies.remember((name, 1, "sms"))

    assert [policies.has_passed((name, 1, "sms")) for name in ("first", "second", "third")] == [False, True, True]


def test_a_request_does_not_show_its_number(caplog):
    with caplog.at_level(logging.DEBUG):
        asked("one", Judge(PolicyError("http 503"))).judge(REQUEST)

    assert NUMBER not in repr(REQUEST) + str(REQUEST) + caplog.text
