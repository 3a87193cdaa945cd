"""The last use of keys: once a minute it is news, and no news is lost."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from otp_service.errors import LedgerUnavailableError
from otp_service.services.access_cache import USE_RESOLUTION, KeyUsage

NOON = 1_795_000_020_000 - 1_795_000_020_000 % USE_RESOLUTION


class Ledger:
    """Takes down what is written, unless it is away."""

    def __init__(self) -> None:
        self.written: list[dict[str, int]] = []
        self.away = False

    def note_uses(self, used) -> None:
        if self.away:
            raise LedgerUnavailableError("away")
        if used:
            self.written.append(dict(used))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def uses(ledger: Ledger) -> KeyUsage:
    return KeyUsage(ledger)


def test_a_use_is_written_once_a_minute(uses, ledger):
    for milliseconds in (0, 1, USE_RESOLUTION - 1, USE_RESOLUTION, 2 * USE_RESOLUTION - 1):
        uses.note("ak_1", NOON + milliseconds)
        uses.write()

    assert ledger.written == [{"ak_1": NOON}, {"ak_1": NOON + USE_RESOLUTION}]


def test_many_are_written_at_once(uses, ledger):
    for name in ("ak_1", "ak_2", "ak_3"):
        uses.note(name, NOON)
    uses.write()

    assert ledger.written == [dict.fromkeys(("ak_1", "ak_2", "ak_3"), NOON)]


def test_what_could_not_be_written_is_written_later_and_the_last_use_counts(uses, ledger):
    uses.note("ak_1", NOON)
    uses.note("ak_2", NOON)
    ledger.away = True
    with pytest.raises(LedgerUnavailableError):
        uses.write()
    uses.note("ak_1", NOON + USE_RESOLUTION)
    ledger.away = False
    uses.write()

    assert ledger.written == [{"ak_1": NOON + USE_RESOLUTION, "ak_2": NOON}]


def test_what_was_noted_while_writing_failed_is_not_overwritten(uses, ledger):
    uses.note("ak_1", NOON)

    def use_meanwhile(_):
        uses.note("ak_1", NOON + USE_RESOLUTION)
        raise LedgerUnavailableError("away")

    plain, ledger.note_uses = ledger.note_uses, use_meanwhile
    with pytest.raises(LedgerUnavailableError):
        uses.write()
    ledger.note_uses = plain
    uses.write()

    assert ledger.written == [{"ak_1": NOON + USE_RESOLUTION}]


def test_of_many_threads_none_loses_a_use(uses, ledger):
    names = [f"ak_{place}" for place in range(400)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda name: (uses.note(name, NOON), uses.write()), names):
            pass

    assert {name for written in ledger.written for name in written} == set(names)
