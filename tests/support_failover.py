"""Callers who verify, and remember what they were answered. Racers find it by its name."""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from support_caller import Caller, wrong_code

from otp_service.bootstrap import Installation
from otp_service.domain.codes import derive_code
from otp_service.errors import LedgerUnavailableError, StoreUnavailableError

WRONG_EACH = 4
"""Each fourth verification is checked with a wrong code first."""


@dataclass
class Answered:
    """What was answered."""

    approved: list[str] = field(default_factory=list)
    guesses: dict[str, int] = field(default_factory=dict)
    """By verification: how many checks were left after a wrong code."""
    codes: dict[str, str] = field(default_factory=dict)
    """Of all verifications that were started."""

    def __iadd__(self, other: "Answered") -> Self:
        self.approved += other.approved
        self.guesses |= other.guesses
        self.codes |= other.codes
        return self


def verify_for(installation: Installation, given: tuple[int, int, float]) -> Answered:
    """Verify numbers from one on, in some threads, for some seconds, whether or not the store is there."""
    first, threads, seconds = given
    numbers, end = itertools.count(first), time.monotonic() + seconds
    total = Answered()
    installation.context.store.server.follow_primary()
    with ThreadPoolExecutor(threads) as pool:
        for answered in pool.map(lambda _: _verify(installation, numbers, end), range(threads)):
            total += answered
    return total


def _verify(installation: Installation, numbers: Iterator[int], end: float) -> Answered:
    shop, answered = Caller(installation), Answered()
    while time.monotonic() < end:
        try:
            verify_one(shop, next(numbers), answered)
        except (StoreUnavailableError, LedgerUnavailableError):  # on a busy machine SQLite, too, is held for too long
            time.sleep(0.05)
    return answered


def verify_one(shop: Caller, number: int, answered: Answered) -> None:
    """Start a verification and check it. Raises `StoreUnavailableError`."""
    view = shop.send(f"+923{number:09d}")
    one = view.verification.id
    keyring = shop.context.keyring
    code = derive_code(keyring, view.verification, view.verification.generation, keyring.transaction_digest(one, None))
    answered.codes[one] = code
    if number % WRONG_EACH == 0:
        answered.guesses[one] = shop.check(one, wrong_code(code))[2]
    if shop.check(one, code)[1]:
        answered.approved.append(one)
