"""The disk of SQLite's file fills up: what asks for the ledger's state says so before the first refusal is a riddle."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import event
from support_installation import World
from support_ledger import make_ledger

from otp_service.bootstrap import Installation
from otp_service.cli.doctor import ledger_diagnoses
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.errors import LedgerUnavailableError
from otp_service.services.consents import add_suppressions
from otp_service.services.health import readiness

MEBIBYTE = 1024 * 1024


@pytest.fixture
def process(world: World, tmp_path: Path) -> Iterator[Installation]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    make_ledger(url)
    made = world.install(ledger={"url": url})
    made.context.mirror_sync.refresh()
    yield made
    made.close()


def states(process: Installation) -> tuple[object, set[str]]:
    """Return ``ledger`` of ``/readyz``, and the sentences in which ``doctor`` reports something wrong with it."""
    found = ledger_diagnoses(process.settings, process.context)
    wrong = {diagnosis.sentence for diagnosis in found if str(diagnosis.level) != "ok"}
    return readiness(process.context).details["ledger"], wrong


@pytest.mark.parametrize("free", [0, 16 * MEBIBYTE - 1])
def test_a_full_disk_is_reported(process: Installation, monkeypatch: pytest.MonkeyPatch, free: int):
    assert states(process) == ("ok", set())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    sentence = "The disk of the ledger's file has less than 16 MiB left: soon nothing is recorded."
    assert states(process) == ("disk-full", {sentence})


def test_a_write_that_does_not_fit_is_refused_with_the_cause(process: Installation):
    @event.listens_for(process.context.ledger.database.engine, "begin")
    def _begin(connection):
        connection.exec_driver_sql("PRAGMA max_page_count = 1")

    numbers = (f"{number:022}" for number in range(1000))
    stops = [Suppression(number, "shop", SuppressionScope.ALL, SuppressionSource.API) for number in numbers]
    with pytest.raises(LedgerUnavailableError, match="disk is full"):
        add_suppressions(process.context, stops)
