"""Plays visits over HTTP, each request at its time."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from abuse_caller import Answer, Caller
from abuse_clock import Clock
from abuse_tally import Tally
from abuse_traffic import Act, Group, Visit, What
from abuse_watch import Watch

from otp_service.domain.codes import generate_code
from otp_service.domain.keyring import CodeBinding, Keyring

DIGITS = 6
SPRAYED_CODE = "135790"
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

    async def play(self, visits: Iterable[Visit]) -> None:
        """Play visits, which are ordered by time; return when the last one is over."""
        async with asyncio.TaskGroup() as people:
            for visit in visits:
                await self._until(visit.at)
                people.create_task(self._visit(visit))

    async def _visit(self, visit: Visit) -> None:
        body = {"to": visit.number, "client_ip": visit.address}
        if visit.context:
            body["context"] = visit.context
        self._tally.row(visit).visits += 1
        answer = await self._post(visit, visit.at, "", body)
        if answer.status != HTTPStatus.CREATED:
            self._refused(visit, answer)
            return
        self._tally.row(visit).starts += 1
        verification = answer.body["id"]
        self._watch.expect(verification, visit)
        if visit.acts:
            answered = self._clock.now()
            await asyncio.gather(*(self._act(visit, verification, answered + act.after, act) for act in visit.acts))

    async def _act(self, visit: Visit, verification: str, at: float, act: Act) -> None:
        await self._until(at)
        if act.what is What.RESEND:
            answer = await self._post(visit, at, f"/{verification}/resend", {})
            if answer.status == HTTPStatus.ACCEPTED:
                self._tally.row(visit).resends += 1
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
        row = self._tally.row(visit)
        row.approved += result["valid"]
        if result["reason"] == "wrong_code":
            row.compared += 1
            if visit.group is Group.ATTACK:
                self._tally.failures.append(self._clock.now())

    def _refused(self, visit: Visit, answer: Answer) -> None:
        if answer.status in _REFUSALS:
            self._tally.refuse(visit, answer.body)
        else:
            self._odd(answer)

    def _odd(self, answer: Answer) -> None:
        self._tally.unexpected[f"{answer.status} {answer.body.get('code', '')}"] += 1

    async def _post(self, visit: Visit, due: float, path: str, body: Mapping[str, Any]) -> Answer:
        answer = await self._caller.post(f"/v1/verifications{path}", visit.application, body)
        self._tally.lags.append(self._clock.now() - due)
        return answer

    async def _until(self, simulated: float) -> None:
        if (wait := (simulated - self._clock.now()) / self._clock.speed) > 0:
            await asyncio.sleep(wait)

    def _code(self, visit: Visit, verification: str, what: What) -> str:
        """Return what somebody types in. Who holds the phone knows the code: it is made as the service makes it."""
        if what is What.SPRAY:
            return SPRAYED_CODE
        if what is What.GUESS:
            return f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"
        pseudonym = self._keyring.pseudonym(visit.number)
        subject = CodeBinding(visit.application, verification, pseudonym, "login", "")
        code = generate_code(self._keyring.code_key(subject), 0, DIGITS)
        return code if what is What.APPROVE else f"{(int(code) + 1) % 10**DIGITS:0{DIGITS}d}"
