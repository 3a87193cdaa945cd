"""The mirror follows the ledger: at once, after a loss, after a backup; and never shows less than is known."""

import json
from dataclasses import replace

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import NUMBER, World
from support_ledger_events import EVIDENCE, anew
from support_outbox import POLICY, deliver_all, jobs_of
from support_records import entries_of

from otp_service.domain.consents import EVERY_APPLICATION, ConsentMode, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import (
    ConsentOutdatedError,
    ConsentRequiredError,
    LedgerMismatchError,
    LedgerUnavailableError,
    StoreUnavailableError,
    SuppressedError,
)
from otp_service.services.consents import add_suppressions, end_consent, give_consent, lift
from otp_service.services.delivery import deliver
from otp_service.services.start import StartRequest, start
from otp_service.store import keys

OPEN = {"purposes": ["login", "payment"], "countries": ["PK"], "region": "PK", "client_ip": "none"}


@pytest.fixture
def install(frozen: FrozenValkey, sqlite_template, tmp_path):
    """Installs with one ledger of the test's own, and one set of keys."""
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    fixed = frozen.world().install().settings.keys

    def made(consent="off", **of_ledger):
        keyring = {"root": fixed.root.get_secret_value(), "pseudonym": fixed.pseudonym.get_secret_value()}
        applications = {name: {**OPEN, "consent": consent} for name in ("shop", "bank")}
        ledger = {"url": f"sqlite:///{tmp_path / 'ledger.db'}", **of_ledger}
        installation = frozen.world().install(ledger=ledger, keys=keyring, applications=applications)
        installation.context.mirror_sync.refresh()
        return installation

    return made


def place(installation):
    return installation.context.store.mirror.head().place


def begin(installation, application="shop", to=NUMBER):
    context = installation.context
    return start(context, context.applications[application], StartRequest(to)).verification


def number(installation, to=NUMBER):
    return subject_key(installation.context.keyring, parse_destination(to, None))


def stop(installation, application="shop", to=NUMBER, **members):
    add_suppressions(installation.context, [entry(installation, to, application, **members)])


def entry(installation, to, application="shop", **members):
    one = number(installation, to).pseudonym
    return Suppression(one, application, SuppressionScope.ALL, SuppressionSource.API, **members)


def refused(installation, application="shop", to=NUMBER):
    try:
        begin(installation, application, to)
    except SuppressedError:
        return True
    return False


def test_a_suppression_is_in_force_in_every_process_at_once_and_of_its_application_alone(install):
    one, other = install(), install()
    stop(one)

    assert refused(other)
    assert not refused(other, "bank")


def test_an_operator_suppresses_for_all(install):
    one = install()
    stop(one, EVERY_APPLICATION)

    assert refused(one)
    assert refused(one, "bank")


def test_what_is_lifted_lets_messages_through(install):
    one = install()
    stop(one)
    entry = Suppression(number(one).pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.API, lifted=True)

    assert lift(one.context, entry)
    assert not refused(one)
    assert not lift(one.context, entry), "it holds no more"


def test_a_list_for_marketing_leaves_codes_alone(install):
    one = install()
    add_suppressions(one.context, [
        Suppression(number(one).pseudonym, "shop", SuppressionScope.MARKETING_ONLY, SuppressionSource.IMPORT)
    ])  # fmt: skip
    one.context.mirror_sync.refresh()

    assert not refused(one)


def sent(installation, verification):
    return [(one.status, one.reason) for one in
            installation.context.store.verifications.read("00", verification.id).deliveries]  # fmt: skip


def test_a_message_that_waits_when_stop_comes_is_not_sent(install):
    one = install()
    mine, others = begin(one), begin(one, "bank")
    stop(one)
    deliver_all(one.context)

    assert sent(one, mine) == [("failed", "suppressed")]
    assert [status for status, _ in sent(one, others)] == ["sent"]
    assert one.context.store.dead_letters.count() == 0


def test_a_message_that_waits_when_consent_is_withdrawn_is_not_sent(install):
    one = install("required")
    shop = one.context.applications["shop"]
    give_consent(one.context, shop, number(one), "login", EVIDENCE)
    mine = begin(one)
    end_consent(one.context, shop, number(one), "login")
    deliver_all(one.context)

    assert sent(one, mine) == [("failed", "consent-required")]
    with pytest.raises(ConsentRequiredError):
        begin(one)


def test_a_consent_given_again_lets_messages_through(install):
    one = install("required")
    shop = one.context.applications["shop"]
    give_consent(one.context, shop, number(one), "login", EVIDENCE)
    end_consent(one.context, shop, number(one), "login")
    give_consent(one.context, shop, number(one), "login", anew())

    assert sent(one, begin(one)) == [("queued", None)]


def test_a_start_with_a_consent_needs_no_other_and_is_sent_before_that_is_recorded(install, frozen):
    one = install("required")
    shop = Caller(one)
    end_consent(one.context, shop.application, number(one), "login")
    mine = shop.send(consent=anew()).verification
    deliver_all(one.context)
    told = entries_of(frozen.client, keys.events("00"))[1]

    assert [status for status, _ in sent(one, mine)] == ["sent"]
    assert json.loads(told["consent"])["text_sha256"] == EVIDENCE.text_sha256


def test_a_withdrawal_is_newer_than_a_consent_that_came_with_a_start_by_a_clock_that_is_ahead(install):
    one = install("required")
    shop = Caller(one)
    ahead = replace(anew(), agreed_at=anew().agreed_at + 60_000)
    shop.start(consent=ahead)
    end_consent(one.context, shop.application, number(one), "login")

    with pytest.raises(ConsentOutdatedError):
        shop.start(consent=ahead)
    shop.start(consent=replace(ahead, agreed_at=ahead.agreed_at + 1))


def test_a_flush_forgets_no_suppression(install, frozen):
    one = install()
    stop(one)
    frozen.client.flushall()
    with pytest.raises(LedgerUnavailableError):
        begin(one)
    one.context.mirror_sync.refresh()

    assert refused(one)
    assert not refused(one, "bank")


def test_a_backup_that_is_restored_forgets_no_suppression(install, frozen):
    one = install()
    before = {name: frozen.client.dump(name) for name in frozen.client.scan_iter()}
    stop(one)
    frozen.client.flushall()
    for name, value in before.items():
        frozen.client.restore(name, 0, value)
    with pytest.raises(LedgerUnavailableError):
        begin(one)
    one.context.mirror_sync.refresh()

    assert refused(one)


def copy_of_ledger(tmp_path):
    return {path.name: path.read_bytes() for path in tmp_path.glob("ledger.db*")}


def restore(copy, tmp_path):
    for path in tmp_path.glob("ledger.db*"):
        path.unlink()
    for name, content in copy.items():
        (tmp_path / name).write_bytes(content)


OTHERS = ("+923007654321", "+923007654322", "+923007654323")


@pytest.mark.parametrize("before_anybody_looks", [True, False])
@pytest.mark.parametrize("written", [0, 1, 3])
def test_a_restored_ledger_lets_nothing_through_until_an_operator_decides_whatever_is_written_to_it(
    install, tmp_path, written, before_anybody_looks
):
    one = install()
    stop(one, to="+923001111111")
    copy = copy_of_ledger(tmp_path)
    stop(one)
    one.close()
    restore(copy, tmp_path)
    late = one if before_anybody_looks else install()
    for to in OTHERS[:written]:  # as many as were lost, and more
        if before_anybody_looks:
            late.context.ledger.suppressions.add([entry(late, to)])
            continue
        with pytest.raises(LedgerMismatchError, match="recorded, and not in force"):
            stop(late, to=to)
    late = install()
    with pytest.raises(LedgerMismatchError):
        begin(late)
    again = install()
    with pytest.raises(LedgerMismatchError):
        begin(again)

    late.context.mirror_sync.rebuild()
    assert [refused(late, to=to) for to in OTHERS] == [place < written for place in range(3)]
    assert refused(late, to="+923001111111")
    assert not refused(late), "what the ledger does not say is forgotten, because an operator said so"
    again.context.mirror_sync.refresh()
    assert not refused(again, "bank")


def test_a_ledger_that_is_restored_under_a_running_process_is_noticed_without_redis(install, frozen, tmp_path):
    """Also where Redis was emptied meanwhile, and as much was written to the copy as was lost."""
    one = install()
    copy = copy_of_ledger(tmp_path)
    stop(one)
    one.context.ledger.database.close()
    restore(copy, tmp_path)
    frozen.client.flushall()
    other = install()
    stop(other, to=OTHERS[0])
    one.context.mirror_sync.refresh()

    with pytest.raises(LedgerMismatchError):
        begin(one)
    with pytest.raises(LedgerUnavailableError):
        begin(other, "bank")


def test_a_stop_that_a_restore_took_before_it_was_mirrored_is_not_said_to_be_in_force(install, tmp_path, monkeypatch):
    one = install()
    copy = copy_of_ledger(tmp_path)
    follow = type(one.context.mirror_sync).write_through

    def restore_first(*arguments):
        one.context.ledger.database.close()
        restore(copy, tmp_path)
        return follow(*arguments)

    monkeypatch.setattr(type(one.context.mirror_sync), "write_through", restore_first)
    with pytest.raises(LedgerMismatchError):
        stop(one)
    with pytest.raises(LedgerMismatchError):
        begin(one, "bank")


def test_a_mirror_is_not_finished_of_a_ledger_that_was_restored_meanwhile(install, frozen, tmp_path, monkeypatch):
    one = install()
    copy = copy_of_ledger(tmp_path)
    stop(one)
    frozen.client.flushall()
    forget = type(one.context.store.mirror.begin("x")).forget
    frozen.client.flushall()

    def restore_first(building):
        restored = copy_of_ledger(tmp_path)
        assert restored != copy
        forget(building)
        monkeypatch.setattr(type(one.context.ledger.mirror_source), "all_after", restored_first)

    all_after = type(one.context.ledger.mirror_source).all_after

    def restored_first(*arguments):
        one.context.ledger.database.close()
        restore(copy, tmp_path)
        return all_after(*arguments)

    monkeypatch.setattr(type(one.context.store.mirror.begin("x")), "forget", restore_first)
    frozen.client.flushall()
    one.context.mirror_sync.refresh()
    assert place(one) is None
    one.context.mirror_sync.refresh()

    with pytest.raises(LedgerMismatchError):
        begin(one)


def test_a_lost_mirror_is_built_anew_when_an_operator_says_so(install, frozen):
    """In production: nobody can tell whether a copy of the ledger was restored, too."""
    one = install(rebuild_lost_mirror=False)
    stop(one)
    frozen.client.flushall()
    for _ in range(2):
        one.context.mirror_sync.refresh()
        with pytest.raises(LedgerMismatchError, match="emptied"):
            begin(one, "bank")
    with pytest.raises(LedgerMismatchError):
        begin(install(rebuild_lost_mirror=False), "bank")

    one.context.mirror_sync.rebuild()
    assert refused(one)
    assert not refused(one, "bank")


def test_what_redis_did_not_hear_of_is_caught_up(install, frozen, monkeypatch):
    one, other = install(), install()

    def silent(*_):
        raise StoreUnavailableError("away")

    monkeypatch.setattr(type(one.context.store.mirror), "write", silent)
    with pytest.raises(StoreUnavailableError):
        stop(one)
    monkeypatch.undo()
    with pytest.raises(LedgerUnavailableError):
        begin(one)
    other.context.mirror_sync.refresh()

    assert refused(one)
    assert refused(other)


def test_more_numbers_than_are_written_in_one_step_are_all_mirrored(install, frozen):
    one = install()
    entries = [Suppression(f"{i:022d}", "shop", SuppressionScope.ALL, SuppressionSource.IMPORT) for i in range(1201)]
    add_suppressions(one.context, entries)
    assert len(list(frozen.client.scan_iter(match="*mirror/number*"))) == 1201
    frozen.client.flushall()
    one.context.mirror_sync.refresh()

    assert len(list(frozen.client.scan_iter(match="*mirror/number*"))) == 1201
    assert place(one).sequence == 1201


def test_a_ledger_that_is_away_keeps_what_is_known_in_force(install, monkeypatch):
    one = install()

    def away(*_):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(type(one.context.ledger.mirror_source), "head", away)
    with pytest.raises(LedgerUnavailableError):
        one.context.mirror_sync.refresh()

    assert one.context.mirror_sync.query("00", ConsentMode.OFF).min_sequence == 0
    assert not refused(one)


def test_a_message_waits_while_the_mirror_is_behind(install, frozen):
    one = install()
    mine = begin(one)
    kept = frozen.client.hgetall(keys.mirror("00"))
    frozen.client.delete(keys.mirror("00"))
    (job,) = jobs_of(one.context)
    held = deliver(one.context, job, POLICY)
    assert held is not None
    assert sent(one, mine) == [("queued", None)]
    frozen.client.hset(keys.mirror("00"), mapping=kept)

    assert deliver(one.context, job, POLICY) is None
    assert [status for status, _ in sent(one, mine)] == ["sent"]


def test_a_resend_goes_by_the_mirror_too(install, frozen):
    one = install()
    shop = Caller(one)
    mine = shop.start()
    stop(one)
    frozen.advance(31)
    with pytest.raises(SuppressedError):
        shop.resend(mine)


def test_a_resend_after_a_withdrawal_is_refused_and_one_after_another_consent_is_not(install, frozen):
    one = install("required")
    shop = Caller(one)
    give_consent(one.context, shop.application, number(one), "login", EVIDENCE)
    mine = shop.start()
    end_consent(one.context, shop.application, number(one), "login")
    frozen.advance(31)
    with pytest.raises(ConsentRequiredError):
        shop.resend(mine)

    give_consent(one.context, shop.application, number(one), "login", anew())
    assert shop.resend(mine)


def test_the_world_of_other_tests_has_a_mirror(world: World):
    assert world.install().context.mirror_sync.query("00", ConsentMode.OFF).identity


def test_a_writer_that_is_about_to_mirror_its_change_keeps_nobody_waiting(install, monkeypatch):
    """Between the commit and the mirror others may look: they must not refuse what the writer allows in a moment."""
    one, other = install(), install()
    write = type(one.context.store.mirror).write
    looks, refusals = iter([True]), []

    def look_first(mirror, *arguments):
        if next(looks, False):
            other.context.mirror_sync.refresh()
        refusals.append(refused(other, "bank"))
        return write(mirror, *arguments)

    stop(one, to="+923007654321")
    monkeypatch.setattr(type(one.context.store.mirror), "write", look_first)
    stop(one)

    assert not any(refusals)
    assert refused(other)


def test_a_writer_that_dies_before_it_mirrors_its_change_is_followed_up(install, monkeypatch):
    one, other = install(), install()
    monkeypatch.setattr(type(one.context.store.mirror), "write", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        stop(one)
    monkeypatch.undo()
    for _ in range(2):
        other.context.mirror_sync.refresh()

    assert refused(other)


def test_a_process_with_another_ledger_sends_nothing_and_disturbs_nobody(install, frozen, sqlite_template, tmp_path):
    one = install()
    stop(one)
    (tmp_path / "other.db").write_bytes(sqlite_template.read_bytes())
    made = one.settings.keys
    stranger = frozen.world().install(
        ledger={"url": f"sqlite:///{tmp_path / 'other.db'}"},
        keys={"root": made.root.get_secret_value(), "pseudonym": made.pseudonym.get_secret_value()},
        applications=dict.fromkeys(("shop", "bank"), OPEN),
    )
    stranger.context.ledger.mirror_source.rename()  # the template's ledger has one name
    stranger.context.mirror_sync.refresh()
    with pytest.raises(LedgerUnavailableError):
        begin(stranger, "bank")

    assert refused(one)
    assert not refused(one, "bank")


def test_a_process_that_could_not_look_trusts_no_older_mirror_when_redis_is_back(install, monkeypatch):
    """Redis lost its last second while it was away, and with that the suppression that another process wrote."""
    one, other = install(), install()
    other.context.mirror_sync.refresh()
    before = place(one).sequence
    stop(one)

    def away(*_: object) -> None:
        raise StoreUnavailableError

    with monkeypatch.context() as patch:
        patch.setattr(other.context.store.mirror, "heads", away)
        with pytest.raises(StoreUnavailableError):
            other.context.mirror_sync.refresh()

    assert other.context.mirror_sync.query("00", ConsentMode.OFF).min_sequence > before


def test_each_state_of_the_mirror_is_told_without_a_change(install):
    one = install(rebuild_lost_mirror=False)
    ledger, mirror_sync, mirror = one.context.ledger, one.context.mirror_sync, one.context.store.mirror
    found = [mirror_sync.inspect()]
    ledger.suppressions.add([entry(one, NUMBER)])
    found += [mirror_sync.inspect(), mirror_sync.inspect()]
    mirror_sync.refresh()
    mirror.close()
    found.append(mirror_sync.inspect())
    ledger.mirror_source.rename(ledger.mirror_source.head().sequence)
    found.append(mirror_sync.inspect())
    mirror.drop()
    found.append(mirror_sync.inspect())
    mirror_sync.refresh()
    mirror.drop()
    found.append(mirror_sync.inspect())

    states = ["ok", "behind", "behind", "diverged", "foreign", "absent", "lost"]
    assert [str(status.state) for status in found] == states
    assert [status.lag for status in found[:3]] == [0, 1, 1]
