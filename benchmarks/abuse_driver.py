"""Plays visits over HTTP, each request at its time."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from itertools import count
from typing import Any

from abuse_caller import Answer, Caller
from abuse_clock import Clock
from abuse_tally import Met, Outcome, Refusal, Tally
from abuse_traffic import Act, Group, Visit, What
from abuse_watch import Watch

from otp_service.domain.codes import generate_code
from otp_service.domain.keyring import Keyring

DIGITS = 6
SPRAYED_CODE = "135790"
HUMAN_CHECK_REQUIRED = "human-check-required"
CHECK_TAKES = 10.0
"""Seconds until a human check is passed."""
_REFUSALS = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.SERVICE_UNAVAILABLE,
}


class Driver:
    """Lets people, honest ones and others, call the API."""

    def __init__(self, caller: Caller, clock: Clock, keyring: Keyring, tally: Tally, watch: Watch) -> None:
        """Take what calls, what tells the time, the keys that codes are made from, and where to count."""
        self._caller = caller
        self._clock = clock
        self._keyring = keyring
        self._tally = tally
        self._watch = watch
        self._requests, self._asked = count(), dict[int, float]()

    @property
    def late(self) -> float:
        """Simulated seconds for which a request that is not answered is due; 0 without one."""
        return self._clock.now() - min(self._asked.values(), default=self._clock.now())

    async def play(self, visits: Iterable[Visit]) -> None:
        """Play visits, which are ordered by time; return when the last one is over."""
        async with asyncio.TaskGroup() as people:
            for visit in visits:
                await self._clock.until(visit.at)
                people.create_task(self._visit(visit))

    async def _visit(self, due: Visit) -> None:
        visit = self._tally.as_it_is(due)
        body = {"to": visit.number, "client_ip": visit.address}
        if visit.context:
            body["context"] = visit.context
        self._tally.row(visit).visits += 1
        answer = await self._post(visit, visit.at, "", body)
        asked_by = ""
        if answer.body.get("code") == HUMAN_CHECK_REQUIRED:
            self._tally.row(visit).asked += 1
            asked_by = answer.body["decision"]
            if not visit.passes_check:
                self._tally.outcomes.append(Outcome(visit, Met.ASKED, asked_by=asked_by))
                return
            passed = self._clock.now() + CHECK_TAKES
            await self._clock.until(passed)
            answer = await self._post(visit, passed, "", body | {"human_check": {"passed": True}})
        if answer.status != HTTPStatus.CREATED:
            self._tally.outcomes.append(Outcome(visit, Met.REFUSED, self._refused(visit, answer), asked_by))
            return
        self._tally.accept(visit, asked_by)
        verification = answer.body["id"]
        self._watch.expect(verification, visit)
        if visit.acts:
            answered = self._clock.now()
            await asyncio.gather(*(self._act(visit, verification, answered + act.after, act) for act in visit.acts))

    async def _act(self, visit: Visit, verification: str, at: float, act: Act) -> None:
        await self._clock.until(at)
        if act.what is What.RESEND:
            answer = await self._post(visit, at, f"/{verification}/resend", {})
            if answer.status == HTTPStatus.ACCEPTED:
                self._tally.resend(visit)
            elif answer.status != HTTPStatus.CONFLICT:  # it is over: nobody waits for a message
                self._refused(visit, answer)
            return
        code = self._code(visit, verification, act.what)
        answer = await self._post(visit, at, f"/{verification}/check", {"code": code})
        if answer.status == HTTPStatus.OK:
            self._checked(visit, answer.body)
        else:
            self._odd(answer)

    def _checked(self, visit: Visit, result: Mapping[str, Any]) -> None:
        if result["valid"]:
            self._tally.approve(visit)
        if result["reason"] == "wrong_code":
            self._tally.row(visit).compared += 1
            if visit.group is Group.ATTACK:
                self._tally.failures.append(self._clock.now())

    def _refused(self, visit: Visit, answer: Answer) -> Refusal | None:
        if answer.status in _REFUSALS:
            return self._tally.refuse(visit, answer.body)
        self._odd(answer)
        return None

    def _odd(self, answer: Answer) -> None:
        self._tally.unexpected[f"{answer.status} {answer.body.get('code', '')}"] += 1

    async def _post(self, visit: Visit, due: float, path: str, body: Mapping[str, Any]) -> Answer:
        self._asked[request := next(self._requests)] = due
        answer = await self._caller.post(f"/v1/verifications{path}", visit.application, body)
        del self._asked[request]
        self._tally.lags.append(self._clock.now() - due)
        return answer

    def _code(self, visit: Visit, verification: str, what: What) -> str:
        """Return what somebody types in. Who holds the phone knows the code: it is made as the service makes it."""
        if what is What.SPRAY:
            return SPRAYED_CODE
        if what is What.GUESS:
            return f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"
        pseudonym = self._keyring.pseudonym(visit.number)
        key = self._keyring.code_key(visit.application, verification, pseudonym, "login", "")
        code = generate_code(key, 0, DIGITS)
        return code if what is What.APPROVE else f"{(int(code) + 1) % 10**DIGITS:0{DIGITS}d}"
