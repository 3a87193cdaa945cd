"""Redis and the ledger are restored from copies: nothing is sent until who knows what is missing has decided."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support_api import START, code_of
from support_installation import NUMBER
from support_site import Site, api, follow, new_site, told

from otp_service.bootstrap import Installation
from otp_service.cli.checks import Level
from otp_service.cli.doctor import mirror_diagnosis
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.services.consents import add_suppressions
from otp_service.services.operator_actions import fence_store, rebuild_mirror

OTHER = "+923001234568"
CLOSED, MISMATCH = (503, "ledger-unavailable"), (503, "ledger-mismatch")
STOPPED = (403, "recipient-suppressed")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with new_site(tmp_path) as made:
        yield made


def stop(process: Installation, number: str) -> None:
    pseudonym = process.context.keyring.pseudonym(number)
    add_suppressions(process.context, [Suppression(pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.API)])


def starts(process: Installation) -> object:
    return told(process)["starts"]


def begun(process: Installation, number: str = NUMBER) -> tuple[int, str | None]:
    answer = api(process).post(START, {"to": number})
    return (201, None) if answer.status_code == 201 else code_of(answer)


def restored_after_a_stop(site: Site, *, fenced: bool = True) -> None:
    """Restore both stores to copies from before a stop, while no process runs."""
    before = site.open(rebuild_lost_mirror=False)
    site.copy()
    stop(before, NUMBER)
    assert begun(before) == STOPPED
    before.close()
    site.restore_valkey()
    site.restore_ledger()
    if fenced:
        fence_store(site.wire().context, restored=True)


def test_with_both_restored_nothing_starts_until_an_operator_has_decided(site: Site):
    restored_after_a_stop(site)
    process = site.open(rebuild_lost_mirror=False)
    diagnosis = mirror_diagnosis(process.context)

    assert starts(process) == "mirror-restored"
    assert begun(process) == MISMATCH
    assert (diagnosis.level, "otp-service ledger rebuild" in diagnosis.action) == (Level.FAIL, True)

    stop(process, NUMBER)  # as the log has it
    rebuild_mirror(process.context, "tests")
    assert starts(process) == "accepted"
    assert (begun(process), begun(process, OTHER)) == (STOPPED, (201, None))
    assert mirror_diagnosis(process.context).level is Level.OK


def test_after_a_loss_of_redis_a_fence_and_then_one_rebuild_open_starts(site: Site):
    """In the other order the fence asks for a second rebuild."""
    before = site.open(rebuild_lost_mirror=False)
    assert starts(before) == "accepted"
    before.close()
    site.valkey.client.flushall()
    process = site.open(rebuild_lost_mirror=False)
    assert (starts(process), "store fence, then" in mirror_diagnosis(process.context).action) == (
        "mirror-lost", True,
    )  # fmt: skip

    fence_store(site.wire().context, restored=True)
    rebuild_mirror(process.context, "tests")
    assert (starts(process), begun(process)) == ("accepted", (201, None))


def test_however_often_it_looks_a_process_that_knew_neither_before_does_not_vouch(site: Site):
    restored_after_a_stop(site)
    processes = [site.open(rebuild_lost_mirror=False) for _ in range(2)]
    for _ in range(3):
        for process in processes:
            follow(process)

    assert [begun(process) for process in processes] == [MISMATCH, MISMATCH]


def test_a_restart_closes_nothing(site: Site):
    before = site.open(rebuild_lost_mirror=False)
    stop(before, NUMBER)
    site.restart_valkey()
    follow(before)
    after = site.open(rebuild_lost_mirror=False)

    assert [(begun(process), begun(process, OTHER)) for process in (before, after)] == 2 * [(STOPPED, (201, None))]
    site.restart_valkey()
    before.close()
    after.close()
    assert starts(site.open(rebuild_lost_mirror=False)) == "accepted", "nor where no process ran meanwhile"


def test_a_process_that_knew_both_vouches_for_a_ledger_that_was_not_restored(site: Site):
    running = site.open(rebuild_lost_mirror=False)
    site.copy()
    stop(running, NUMBER)
    site.restore_valkey()
    fence_store(site.wire().context, restored=True)
    fresh = site.open(rebuild_lost_mirror=False)
    assert (begun(fresh), begun(running, OTHER)) == (MISMATCH, CLOSED)

    follow(running)
    follow(fresh)
    assert [(begun(process), begun(process, OTHER)) for process in (running, fresh)] == 2 * [(STOPPED, (201, None))]


def test_with_both_restored_under_a_process_that_runs_the_histories_differ(site: Site):
    running = site.open(rebuild_lost_mirror=False)
    site.copy()
    stop(running, NUMBER)
    site.restore_valkey()
    site.restore_ledger()
    fence_store(site.wire().context, restored=True)
    follow(running)
    fresh = site.open(rebuild_lost_mirror=False)

    assert (starts(running), starts(fresh)) == ("mirror-diverged", "mirror-diverged")
    assert [begun(process) for process in (running, fresh)] == [MISMATCH, MISMATCH]


def test_who_vouches_does_so_for_the_fence_that_it_saw(site: Site):
    process = site.open(rebuild_lost_mirror=False)
    mirror = process.context.store.mirror
    first = fence_store(process.context, restored=True)
    second = fence_store(process.context, restored=True)
    mirror.vouch(dict.fromkeys(mirror.parts, first))

    assert mirror.head().restored == second
    mirror.vouch(dict.fromkeys(mirror.parts, second))
    assert mirror.head().restored is None


def test_a_process_that_starts_without_the_ledger_takes_no_place_of_a_restored_mirror(site: Site):
    before = site.open(rebuild_lost_mirror=False)
    fence_store(before.context, restored=True)
    site.take_ledger_away()

    assert starts(site.open(rebuild_lost_mirror=False)) == "ledger-unknown"


@pytest.mark.parametrize("rebuilds", [True, False])
def test_a_flush_does_not_clear_a_divergence(site: Site, rebuilds: bool):
    """Nor do new processes: it is noted in the ledger."""
    before = site.open(rebuild_lost_mirror=rebuilds)
    site.copy()
    stop(before, NUMBER)
    site.restore_ledger()
    follow(before)
    assert starts(before) == "mirror-diverged"
    before.close()
    site.valkey.client.flushall()
    process = site.open(rebuild_lost_mirror=rebuilds)
    follow(process)

    assert (starts(process), begun(process)) == ("mirror-diverged", MISMATCH)
    rebuild_mirror(process.context, "tests")
    assert (starts(process), begun(process)) == ("accepted", (201, None))
    process.close()
    site.valkey.client.flushall()
    assert starts(site.open(rebuild_lost_mirror=rebuilds)) == ("accepted" if rebuilds else "mirror-lost")


def test_nor_does_a_restored_redis_that_is_of_the_same_history(site: Site):
    before = site.open(rebuild_lost_mirror=False)
    site.copy()
    stop(before, NUMBER)
    site.restore_ledger()
    follow(before)
    assert starts(before) == "mirror-diverged"
    site.restore_valkey()
    process = site.open(rebuild_lost_mirror=False)

    assert (starts(process), begun(process)) == ("mirror-diverged", MISMATCH)
    assert mirror_diagnosis(process.context).level is Level.FAIL


def test_a_divergence_is_not_noted_in_a_ledger_that_was_renamed_since(site: Site):
    source = site.open().context.ledger.mirror_source
    seen = source.head().identity
    source.rename()
    source.note_diverged(seen)
    assert not source.is_diverged()

    source.note_diverged(source.head().identity)
    assert source.is_diverged()
