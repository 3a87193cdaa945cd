"""A back end as it calls the service: with an ``Idempotency-Key``, and again with the same one after a 503."""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import gevent
from geventhttpclient import HTTPClient
from journal import Entry, Journal
from locust.contrib.fasthttp import FastHttpSession
from people import Person

TRIES = 20
LONGEST_PAUSE = 1.0
"""Seconds between two tries: what the service asks for, and no longer than this."""
AGAIN = frozenset({503, 0})
"""A 503 or no answer leaves open whether it was done."""
PATIENCE = 15.0
"""Seconds that a handset is waited for."""
SLICE = 0.25


class Handset:
    """The phone of whomever a message is for, as the sink has it."""

    def __init__(self, sink: str) -> None:
        """Take the sink's address."""
        parts = urlsplit(sink)
        self._client = HTTPClient(
            parts.hostname, parts.port or 80, connection_timeout=PATIENCE, network_timeout=2 * PATIENCE
        )

    def texts(self, number: str, after: int = 0, wait: float = PATIENCE) -> list[str]:
        """Return the messages after so many, once there are some; none when none came in time."""
        path = f"/inbox?to=%2B{number.removeprefix('+')}&after={after}&wait={wait:g}"
        return list(json.loads(self._client.get(path).read()))


class Call:
    """One thing that is asked of the service, over as many requests as it takes."""

    def __init__(self, caller: "Caller", name: str, path: str, body: Mapping[str, Any], person: Person) -> None:
        """Take what to ask, of whom."""
        self.key = uuid.uuid4().hex
        self._caller, self._name, self._path, self._body, self._person = caller, name, path, body, person
        self.status = 0
        self.answer: dict[str, Any] = {}

    def make(self, expected: Callable[["Call"], str]) -> "Call":
        """Ask until there is an answer that is none of `AGAIN`; ``expected`` tells what is wrong with it, if anything.

        Every request is written down.
        """
        for _ in range(TRIES):
            self._ask(expected)
            if self.status not in AGAIN:
                break
            gevent.sleep(min(LONGEST_PAUSE, float(self.answer.get("retry_after", LONGEST_PAUSE))))
        return self

    @property
    def code(self) -> str:
        """Code of the problem, if it is one."""
        return str(self.answer.get("code", ""))

    def _ask(self, expected: Callable[["Call"], str]) -> None:
        began = time.time()
        self.status, self.answer = self._caller.post(self._name, self._path, self._body, self._person, self.key)
        surprise = "" if self.status in AGAIN else expected(self)
        self._caller.journal.note(
            Entry(
                scenario=self._caller.scenario,
                call=self._name,
                key=self.key,
                number=self._person.number,
                began=began,
                at=time.time(),
                status=self.status,
                code=self.code,
                verification=str(self.answer.get("id", "")),
                valid=self.answer.get("valid"),
                reason=str(self.answer.get("reason") or ""),
                surprise=surprise,
            )
        )


class Caller:
    """A back end of one scenario."""

    def __init__(self, session: FastHttpSession, api_key: str, scenario: str, journal: Journal) -> None:
        """Take a connection, the key, and where requests are written down."""
        self._session, self._key = session, api_key
        self.scenario, self.journal = scenario, journal

    def post(
        self, name: str, path: str, body: Mapping[str, Any], person: Person, key: str
    ) -> tuple[int, dict[str, Any]]:
        """Post once; return the status, and the answer if there is one.

        A browser of a returning person comes by itself, through the proxy; the others' back ends pass the address on.
        """
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": key}
        direct = name == "start" and "client_ip" not in body
        forwarded = {"X-Forwarded-For": person.address} if direct else {}
        with self._session.request(
            "POST", path, name=name, json=dict(body), headers={**headers, **forwarded}, catch_response=True
        ) as answer:
            answer.success()  # what is a failure is for the books to say
            content = answer.json() if answer.status_code and answer.text else {}
        return answer.status_code, content

    def start(self, person: Person, expected: Callable[[Call], str], **members: Any) -> Call:
        """Start a verification."""
        body = {"to": person.number, "locale": person.locale, "context": person.context, **members}
        return Call(self, "start", "/v1/verifications", body, person).make(expected)

    def check(
        self, person: Person, verification: str, code: str, expected: Callable[[Call], str], **members: Any
    ) -> Call:
        """Check a code."""
        path = f"/v1/verifications/{verification}/check"
        return Call(self, "check", path, {"code": code, **members}, person).make(expected)

    def resend(self, person: Person, verification: str, expected: Callable[[Call], str]) -> Call:
        """Ask for another message."""
        return Call(self, "resend", f"/v1/verifications/{verification}/resend", {}, person).make(expected)

    def cancel(self, person: Person, verification: str, expected: Callable[[Call], str]) -> Call:
        """Cancel."""
        return Call(self, "cancel", f"/v1/verifications/{verification}/cancel", {}, person).make(expected)


Expectation = Callable[[Call], str]
"""Tells what is wrong with an answer; nothing when all is as it must be."""


def either(*expectations: Expectation) -> Expectation:
    """Return what is content when one of them is."""
    return lambda call: min((one(call) for one in expectations), key=len)


def status(*allowed: int) -> Expectation:
    """Return what finds an answer surprising that has none of these statuses."""
    return lambda call: "" if call.status in allowed else f"answered {call.status} {call.code}"


def refused(status: int, code: str) -> Expectation:
    """Return what expects this refusal and nothing else."""
    return lambda call: "" if (call.status, call.code) == (status, code) else f"answered {call.status} {call.code}"


def checked(*, valid: bool, reasons: frozenset[str] = frozenset()) -> Expectation:
    """Return what expects a check to be right, or to be wrong for one of these reasons."""

    def expected(call: Call) -> str:
        reason = call.answer.get("reason") or ""
        fits = call.status == 200 and call.answer["valid"] is valid and (valid or reason in reasons)  # noqa: PLR2004
        return "" if fits else f"answered {call.status} {call.code} valid={call.answer.get('valid')} {reason}".strip()

    return expected
