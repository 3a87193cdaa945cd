"""People who log in: most type the code, some mistype, wait, give up, cancel, or send the form twice."""

import gevent
from caller import checked, either, status
from locust import task
from people import Person, other_than
from scene import CHANCE, RESEND_DELAY, TOWN, TYPING, Scene

ABANDONED, CANCELED, MISTYPED, IMPATIENT, PATIENT, TWICE = 0.08, 0.04, 0.1, 0.03, 0.04, 0.1
"""Shares of the people who never type the code, cancel, type a wrong one first, ask for another message at once, ask
for one when they may, and send the right code twice at the same time."""


class Login(Scene):
    """Logs in, again and again, each time as somebody else."""

    scenario = "login"
    weight = 6

    @task
    def log_in(self) -> None:
        """Come, and perhaps get in."""
        person = TOWN.visitor()
        already = self.arrived(person)
        started = self.begin(person, passed_on=CHANCE.random() < 0.5)  # noqa: PLR2004 - half of them
        if started.status != 201:  # noqa: PLR2004 - HTTP's
            return
        verification = str(started.answer["id"])
        if CHANCE.random() < IMPATIENT:
            self.too_soon(person, verification)
        code = self.code(person, already, verification)
        if not code or CHANCE.random() < ABANDONED:
            return
        if CHANCE.random() < CANCELED:
            self._cancel(person, verification, code)
            return
        self.pause(CHANCE.uniform(*TYPING))
        if CHANCE.random() < PATIENT:
            self._ask_again(person, verification)
        if CHANCE.random() < MISTYPED:
            self.caller.check(person, verification, other_than(code), _WRONG)
            self.pause(CHANCE.uniform(*TYPING))
        self._type(person, verification, person.typed(code))

    def _type(self, person: Person, verification: str, code: str) -> None:
        if CHANCE.random() < TWICE:
            both = [gevent.spawn(self.caller.check, person, verification, code, _RIGHT_OR_SPENT) for _ in range(2)]
            gevent.joinall(both, raise_error=True)
            right = any(one.value.answer.get("valid") for one in both)
        else:
            right = bool(self.caller.check(person, verification, code, checked(valid=True)).answer.get("valid"))
        if right:
            TOWN.came_in(person)

    def _cancel(self, person: Person, verification: str, code: str) -> None:
        if self.caller.cancel(person, verification, status(200)).status == 200:  # noqa: PLR2004 - HTTP's
            self.caller.check(person, verification, code, checked(valid=False, reasons=frozenset({"canceled"})))

    def _ask_again(self, person: Person, verification: str) -> None:
        self.pause(RESEND_DELAY)
        if not self.over():
            self.resent(person, verification)


_WRONG = checked(valid=False, reasons=frozenset({"wrong_code"}))
_RIGHT_OR_SPENT = either(checked(valid=True), checked(valid=False, reasons=frozenset({"already_approved"})))
