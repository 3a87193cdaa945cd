"""People who confirm payments: the message names amount and payee, and the code is good for these alone."""

from typing import Any

from caller import checked
from locust import task
from people import Person, other_than
from scene import CHANCE, TOWN, TYPING, Scene

ABANDONED, MISTYPED, CHANGED = 0.05, 0.06, 0.05
"""Shares of the people who never type the code, type a wrong one first, and whose payment is changed on its way."""
PAYEES = ("Daraz", "K-Electric", "Foodpanda", "Sui Southern Gas", "Ali & Sons")


class Payment(Scene):
    """Pays, again and again, each time as somebody else."""

    scenario = "payment"
    weight = 3

    @task
    def pay(self) -> None:
        """Confirm a payment, or not."""
        person, payment = TOWN.visitor(), _payment()
        already = self.arrived(person)
        started = self.begin(person, purpose="payment", transaction=payment)
        if started.status != 201:  # noqa: PLR2004 - HTTP's
            return
        verification = str(started.answer["id"])
        code = self.code(person, already, verification)
        if not code or CHANCE.random() < ABANDONED:
            return
        self.pause(CHANCE.uniform(*TYPING))
        if CHANCE.random() < CHANGED:
            self._change(person, verification, code, payment)
            return
        if CHANCE.random() < MISTYPED:
            self.caller.check(person, verification, other_than(code), _WRONG, transaction=payment)
            self.pause(CHANCE.uniform(*TYPING))
        right = self.caller.check(
            person, verification, person.typed(code), checked(valid=True), transaction=payment
        )  # fmt: skip
        if right.answer.get("valid"):
            TOWN.came_in(person)

    def _change(self, person: Person, verification: str, code: str, payment: dict[str, Any]) -> None:
        """Try the right code for another amount, and then for the right one: it is worthless by then."""
        dearer = {**payment, "amount": f"{float(payment['amount']) + 1:.2f}"}
        self.caller.check(person, verification, code, _CHANGED, transaction=dearer)
        self.caller.check(person, verification, code, _FAILED, transaction=payment)


def _payment() -> dict[str, Any]:
    return {
        "amount": f"{CHANCE.randrange(100, 90_000)}.00",
        "currency": "PKR",
        "payee": CHANCE.choice(PAYEES),
        "account": f"{CHANCE.randrange(10_000):04d}",
        "reference": f"inv-{CHANCE.getrandbits(32):x}",
    }


_WRONG = checked(valid=False, reasons=frozenset({"wrong_code"}))
_CHANGED = checked(valid=False, reasons=frozenset({"transaction_changed"}))
_FAILED = checked(valid=False, reasons=frozenset({"failed"}))
