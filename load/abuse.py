"""Fraudsters: some pump a block, some bomb one number, some guess codes. It is checked that they are refused."""

from caller import Call, checked, either, refused, status
from locust import between, task
from people import Person, block, code_in, other_than, victim
from scene import CHANCE, TOWN, Scene

PUMPED, BOMBS, GUESSES = 25, 10, 8
"""Starts for one block, starts for one victim, and codes that are guessed for one verification."""
_CREATED = 201


class Abuse(Scene):
    """Attacks, one time after the other."""

    scenario = "abuse"
    weight = 1
    wait_time = between(0.5, 1.5)

    @task(2)
    def pump(self) -> None:
        """Ask for codes for numbers of one block, in a row, from addresses all over."""
        for number, _ in zip(block(CHANCE), range(PUMPED), strict=False):
            self._start(_stranger(number))
            self.pause(0.2)
            if self.over():
                return

    @task(1)
    def bomb(self) -> None:
        """Ask for codes for one number, from addresses all over."""
        number = victim(CHANCE)
        for _ in range(BOMBS):
            self._start(_stranger(number))
            self.pause(0.2)
            if self.over():
                return

    @task(1)
    def guess(self) -> None:
        """Guess until nothing is compared any more, then try the right code, which must not help."""
        person = _stranger(victim(CHANCE))
        started = self._start(person)
        if started.status != _CREATED:
            return
        verification = str(started.answer["id"])
        code = code_in(self.message(person))
        if not code:
            return
        for _ in range(GUESSES):
            self.caller.check(person, verification, other_than(code), _NOT_RIGHT)
        self.caller.check(person, verification, code, _TOO_LATE)

    def _start(self, person: Person) -> Call:
        return self.caller.start(person, _ACCEPTED_OR_LIMITED, client_ip=person.address)


def _stranger(number: str) -> Person:
    return Person(number, TOWN.address(CHANCE), "en", f"bot-{CHANCE.getrandbits(64):x}")


_ACCEPTED_OR_LIMITED = either(status(_CREATED), refused(429, "rate-limited"))
_NOT_RIGHT = checked(valid=False, reasons=frozenset({"wrong_code", "max_attempts_reached", "number_locked"}))
_TOO_LATE = checked(valid=False, reasons=frozenset({"max_attempts_reached", "number_locked"}))
