"""Codes of authenticator apps while clocks are wrong, Redis is emptied, restarted or restored, and keys change."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import time_machine
from support_api import Api, code_of
from support_factors import FACTORS, USER, App, record
from support_frozen import FrozenValkey
from support_installation import BANK_KEY, key
from support_ledger import another_ledger
from support_missing import missing
from support_service import eventually

from otp_service.bootstrap import prepare
from otp_service.domain.consents import LedgerPosition
from otp_service.domain.keyring import SealBrokenError, user_of_factor
from otp_service.domain.totp import SECRET
from otp_service.errors import StartRefusedError, StoreUnavailableError
from otp_service.ledger.factors import Factors
from otp_service.services import factors
from otp_service.services.factors import remove, reseal
from otp_service.services.mirror import MirrorSync
from otp_service.store import keys

OPTIONS = ("--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
WINDOW = 90
"""Seconds that a code is right for, at most."""


@pytest.fixture
def sections() -> dict[str, Any]:
    """What installations have in common that come one after the other."""
    return {"keys": {"root": f"k1:{key()}", "pseudonym": key()}, "ledger": {"url": another_ledger()}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FrozenValkey]:
    """A Redis that writes down what it is told, to be restarted and restored."""
    if not FrozenValkey.possible():
        missing("libfaketime")
    folder = tmp_path / "redis"
    folder.mkdir()
    server = FrozenValkey(folder, options=OPTIONS)
    yield server
    server.stop()


def serving(server: FrozenValkey, sections: dict[str, Any]) -> Api:
    """Return a service that starts now."""
    api = Api(server.world(), **sections)
    prepare(api.installation)
    return api


def active(api: Api) -> App:
    app = App(api)
    assert app.activate()["valid"]
    return app


def moved(app: App, api: Api) -> App:
    """Return a person's app, to be used with another service."""
    app.api = api
    return app


def accepted(app: App, codes: list[str]) -> list[str]:
    """Return the codes that are accepted now; none may be while the service says that it waits."""
    answers = [app.api.post(f"{FACTORS}/{app.id}/check", {"code": code}) for code in codes]
    return [code for code, answer in zip(codes, answers, strict=True) if answer.json.get("valid")]


def assert_waits_until_used_codes_are_over(server: FrozenValkey, app: App, used: list[str]) -> None:
    answer = app.api.post(f"{FACTORS}/{app.id}/check", {"code": app.code(1)})
    assert code_of(answer) == (503, "store-unavailable")
    assert 0 < answer.json["retry_after"] <= WINDOW
    server.advance(answer.json["retry_after"] - 1)
    assert accepted(app, [*used, app.code()]) == []
    server.advance(1)
    assert accepted(app, used) == []
    assert app.check(app.code())["valid"]


# --- Redis loses what it knew -------------------------------------------------------------------------------


def test_an_emptied_redis_accepts_no_code_twice(server: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(server, sections))
    used = [app.code(), app.code(1)]
    assert accepted(app, used) == used
    server.client.flushall()

    assert_waits_until_used_codes_are_over(server, moved(app, serving(server, sections)), used)


def test_a_process_that_goes_on_accepts_no_code_twice_from_an_emptied_redis(
    server: FrozenValkey, sections: dict[str, Any]
):
    app = active(serving(server, sections))
    used = [app.code(), app.code(1)]
    assert accepted(app, used) == used
    server.client.flushall()

    assert accepted(app, used) == []  # the mirror is lost
    app.api.installation.context.mirror_sync.refresh()
    assert_waits_until_used_codes_are_over(server, app, used)


def test_a_restored_redis_accepts_no_code_twice(server: FrozenValkey, sections: dict[str, Any], tmp_path: Path):
    """Nobody has to fence it: that the server is another run of itself is enough."""
    app = active(serving(server, sections))
    shutil.copytree(server.folder / "appendonlydir", tmp_path / "backup")
    used = [app.code(), app.code(1)]
    assert accepted(app, used) == used
    restore(server, tmp_path / "backup")

    assert_waits_until_used_codes_are_over(server, moved(app, serving(server, sections)), used)


def test_a_process_that_goes_on_notices_that_the_server_was_restarted(server: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(server, sections))
    used = [app.code(), app.code(1)]
    assert accepted(app, used) == used
    restart(server)

    assert_waits_until_used_codes_are_over(server, app, used)


def test_the_wait_begins_with_the_first_process_that_comes_after_a_restart(
    server: FrozenValkey, sections: dict[str, Any]
):
    app = active(serving(server, sections))
    restart(server)
    api = serving(server, sections)
    server.advance(WINDOW)

    assert moved(app, api).check(app.code())["valid"]


def restart(server: FrozenValkey) -> None:
    server.stop(kill=True)
    server.start()


def restore(server: FrozenValkey, backup: Path) -> None:
    server.stop(kill=True)
    shutil.rmtree(server.folder / "appendonlydir")
    shutil.copytree(backup, server.folder / "appendonlydir")
    server.start()


def test_an_app_that_was_removed_after_a_backup_stays_removed(
    server: FrozenValkey, sections: dict[str, Any], tmp_path: Path
):
    app = active(serving(server, sections))
    shutil.copytree(server.folder / "appendonlydir", tmp_path / "backup")
    app.remove(reason="stolen")
    restore(server, tmp_path / "backup")
    api = serving(server, sections)
    server.advance(WINDOW)

    assert code_of(api.post(f"{FACTORS}/{app.id}/check", {"code": app.code()})) == (409, "factor-not-active")


def test_an_app_that_was_activated_after_a_backup_is_known_and_waits(
    server: FrozenValkey, sections: dict[str, Any], tmp_path: Path
):
    api = serving(server, sections)
    active(api)
    shutil.copytree(server.folder / "appendonlydir", tmp_path / "backup")
    app = active(api)
    used = [app.code(), app.code(1)]
    assert accepted(app, used) == used
    restore(server, tmp_path / "backup")

    assert_waits_until_used_codes_are_over(server, moved(app, serving(server, sections)), used)


def test_a_replica_that_takes_over_accepts_no_code_twice(
    server: FrozenValkey, sections: dict[str, Any], tmp_path: Path
):
    """It did not get the last writes."""
    app = active(serving(server, sections))
    with taken_over(server, tmp_path) as replica:
        used = [app.code(), app.code(1)]
        assert accepted(app, used) == used

        assert_waits_until_used_codes_are_over(replica, moved(app, serving(replica, sections)), used)


@contextmanager
def taken_over(server: FrozenValkey, folder: Path) -> Iterator[FrozenValkey]:
    """Yield a replica that gets no more of a server's writes, and takes its own."""
    place = folder / "replica"
    place.mkdir()
    replica = FrozenValkey(place)
    try:
        replica.client.replicaof("127.0.0.1", str(server.port))
        eventually(lambda: replica.client.info("replication")["master_link_status"] == "up")
        replica.client.replicaof("NO", "ONE")
        yield replica
    finally:
        replica.stop()


def test_a_server_that_takes_over_again_accepts_no_code_twice(
    server: FrozenValkey, sections: dict[str, Any], tmp_path: Path
):
    """It was to follow the one that had taken over, and got nothing of what was written there."""
    app = active(serving(server, sections))
    with taken_over(server, tmp_path) as replica:
        moved(app, serving(replica, sections))
        for one in (replica, server):
            one.advance(WINDOW)
        used = [app.code(), app.code(1)]
        assert accepted(app, used) == used
    server.client.replicaof("127.0.0.1", str(replica.port))
    server.client.replicaof("NO", "ONE")

    assert_waits_until_used_codes_are_over(server, moved(app, serving(server, sections)), used)


def test_an_app_that_was_activated_on_the_lost_server_waits_whoever_came_to_the_other_one_before(
    server: FrozenValkey, sections: dict[str, Any], tmp_path: Path
):
    api = serving(server, sections)
    with taken_over(server, tmp_path) as replica:
        other = serving(replica, sections)
        app = active(api)
        used = [app.code(), app.code(1)]
        assert accepted(app, used) == used
        other.installation.context.mirror_sync.refresh()

        assert_waits_until_used_codes_are_over(replica, moved(app, other), used)


def test_after_a_fence_codes_that_were_used_have_to_end(server: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(server, sections))
    used = [app.code(), app.code(1)]
    assert accepted(app, used) == used
    app.api.installation.context.store.fences.put()

    assert_waits_until_used_codes_are_over(server, app, used)


def test_a_restart_after_a_fence_counts_too(server: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(server, sections))
    app.api.installation.context.store.fences.put()
    server.advance(WINDOW)
    used = [app.code(), app.code(1)]
    assert accepted(app, used) == used
    restart(server)

    assert_waits_until_used_codes_are_over(server, app, used)


def test_a_step_is_recorded_behind_and_comes_back_with_the_mirror(server: FrozenValkey, sections: dict[str, Any]):
    """A server whose clock is behind the lost one's would otherwise take old codes for new."""
    app = active(serving(server, sections))
    server.advance(600)
    used = app.code(1)
    assert app.check(used)["valid"]
    record(app.api)
    server.client.flushall()
    server.advance(-WINDOW)
    api = serving(server, sections)
    server.advance(WINDOW)

    assert moved(app, api).check(used)["reason"] == "code_used"


def test_events_that_come_twice_or_late_move_no_step_back(server: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(server, sections))
    assert app.check(app.code())["valid"]
    context = app.api.installation.context
    (first,) = context.store.events.take("tests", 1000)
    server.advance(30)
    assert app.check(app.code())["valid"]
    record(app.api)
    last = context.ledger.factors.find(app.id).sealed.last_step
    context.ledger.verifications.record(first.events)

    assert context.ledger.factors.find(app.id).sealed.last_step == last == server.now // 30_000
    assert context.ledger.factors.find(app.id).used == server.now


def test_nothing_is_checked_while_the_mirror_is_behind(frozen: FrozenValkey):
    app = active(Api(frozen.world()))
    frozen.client.hincrby(keys.mirror("00"), "sequence", -1)

    for path, body in (
        (f"{FACTORS}/{app.id}/check", {"code": app.code()}),
        ("/v1/recovery-codes/check", {"user": USER, "code": "0" * 24}),
    ):
        assert code_of(app.api.post(path, body)) == (503, "ledger-unavailable")


def test_a_new_installation_does_not_wait(server: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(server, sections))

    assert app.check(app.code())["valid"]


def test_redis_knows_nothing_without_an_end_but_the_mirror(server: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(server, sections))
    app.check(app.code())
    app.check(app.wrong())
    App(app.api)

    for_ever = {name for name in server.client.scan_iter() if server.client.pttl(name) == -1}
    whose = user_of_factor(app.id)
    assert for_ever - {f"otp:{{00}}:mirror/number/{whose}".encode()} <= {
        b"otp:installation", b"otp:access", b"otp:mirror/head", b"otp:{00}:mirror/head", b"otp:{00}:events",
    }  # fmt: skip


# --- clocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-600, 600])
def test_the_clock_of_the_host_does_not_matter(frozen: FrozenValkey, seconds: int):
    with time_machine.travel(frozen.now / 1000 + seconds):
        app = active(Api(frozen.world()))

        assert app.check(app.code())["valid"]
        assert app.check(app.code(-1))["reason"] == "code_used"
        assert app.check(app.code(1))["valid"]


def test_a_clock_that_was_ahead_makes_no_used_code_good_again(frozen: FrozenValkey):
    app = active(Api(frozen.world()))
    code = app.code()
    assert app.check(code)["valid"]
    names = frozen.client.keys()
    frozen.advance(600)
    frozen.client.exists(*names)  # what is over is forgotten
    frozen.advance(-600)

    assert app.check(code)["reason"] == "code_used"


def test_a_clock_that_is_set_back_lets_nobody_in_who_is_frozen(frozen: FrozenValkey):
    app = active(Api(frozen.world()))
    assert app.api.post("/v1/users/freeze", {"user": USER, "reason": "stolen"}).json["frozen"]
    frozen.advance(-600)

    answer = app.api.post("/v1/recovery-codes/check", {"user": USER, "code": "0" * 24})
    assert code_of(answer) == (403, "recipient-frozen")


def test_of_two_steps_with_the_same_code_the_older_one_is_taken_first(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
):
    app = active(Api(frozen.world()))
    present = frozen.now // 30_000
    monkeypatch.setattr(factors, "matching_steps", lambda *_: (present, present + 1))

    assert [app.check(app.wrong())["reason"] for _ in range(3)] == [None, None, "code_used"]


def between_the_round_trips(app: App, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen once a check has read what it needs, and not decided yet."""
    kind = type(app.api.installation.context.store.factors)
    read = kind.read

    def slow(*about: Any) -> Any:
        known = read(*about)
        act()
        return known

    monkeypatch.setattr(kind, "read", slow)


def test_a_step_that_ends_between_the_two_round_trips_is_judged_by_the_second(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
):
    app = active(Api(frozen.world()))
    frozen.advance(120 + 30 - frozen.now / 1000 % 30 - 0.001)
    late, early = app.code(-1), app.code(2)
    between_the_round_trips(app, monkeypatch, lambda: frozen.advance(0.002))

    assert app.check(late)["reason"] == "wrong_code"
    frozen.advance(-0.002)
    assert app.check(early)["valid"]


def test_an_app_that_is_removed_between_the_two_round_trips_is_not_found(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
):
    app = active(Api(frozen.world()))
    context = app.api.installation.context

    def remove_it() -> None:
        if place := context.ledger.factors.remove(app.id, "stolen"):
            context.mirror_sync.write_through(place, [context.ledger.factors.find(app.id).user])

    between_the_round_trips(app, monkeypatch, remove_it)
    answer = app.api.post(f"{FACTORS}/{app.id}/check", {"code": app.code()})
    assert code_of(answer) == (404, "not-found")


# --- removals that meet something else ----------------------------------------------------------------------


def fails_once(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let Redis fail, in an act, when the ledger has what it is to bring into force."""

    def fail(*_: object) -> None:
        raise StoreUnavailableError("Redis is away.")

    with monkeypatch.context() as failing:
        failing.setattr(MirrorSync, "write_through", fail)
        act()


def test_an_app_whose_activation_failed_half_way_can_be_removed(frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch):
    app = App(Api(frozen.world()))
    body = {"code": app.code(-1)}
    fails_once(monkeypatch, lambda: app.api.post(f"{FACTORS}/{app.id}/activate", body))
    assert app.remove(reason="stolen")["status"] == "removed"
    app.api.installation.context.mirror_sync.refresh()

    answer = app.api.post(f"{FACTORS}/{app.id}/check", {"code": app.code()})
    assert code_of(answer) == (409, "factor-not-active")
    assert [one["reason"] for one in app.changes()] == ["", "stolen"]


def test_an_app_that_is_removed_while_it_is_activated_is_not_active(
    frozen: FrozenValkey, monkeypatch: pytest.MonkeyPatch
):
    app = App(Api(frozen.world()))
    activate = Factors.activate

    def removed_before(*about: Any) -> LedgerPosition:
        assert remove(app.api.installation.context, "shop", app.id, "stolen").status == "removed"
        return activate(*about)

    monkeypatch.setattr(Factors, "activate", removed_before)
    answer = app.api.post(f"{FACTORS}/{app.id}/activate", {"code": app.code(-1)})
    assert code_of(answer) == (404, "not-found")

    answer = app.api.post(f"{FACTORS}/{app.id}/check", {"code": app.code()})
    assert code_of(answer) == (409, "factor-not-active")
    assert app.read()["status"] == "removed"


def test_a_removal_that_is_repeated_at_another_process_is_in_force_there(
    frozen: FrozenValkey, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    app, other = active(serving(frozen, sections)), serving(frozen, sections)
    fails_once(monkeypatch, lambda: app.api.post(f"{FACTORS}/{app.id}/remove", {"reason": "stolen"}))
    assert moved(app, other).remove(reason="stolen")["status"] == "removed"

    answer = other.post(f"{FACTORS}/{app.id}/check", {"code": app.code()})
    assert code_of(answer) == (409, "factor-not-active")


def test_no_other_application_renames_an_app_that_the_mirror_lacks(frozen: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(frozen, sections))
    bank = Api(frozen.world(), BANK_KEY, **sections)
    frozen.client.delete(*frozen.client.keys("*:mirror/*"))

    answer = bank.post(f"{FACTORS}/{app.id}/rename", {"label": "mine"})
    assert code_of(answer) == (404, "not-found")
    assert app.api.post("/v1/user-factors", {"user": USER}).json["factors"][0]["label"] == "ali@example.com"


# --- keys ---------------------------------------------------------------------------------------------------


def test_a_secret_is_sealed_for_its_factor_and_application_alone(frozen: FrozenValkey):
    app = active(Api(frozen.world()))
    context = app.api.installation.context
    sealed = context.ledger.factors.find(app.id).sealed
    about = {"owner": app.id, "application": "shop", "kind": SECRET}

    assert context.keyring.unseal_secret(sealed.secret, **about) == app.totp.byte_secret()
    for changed in ({"owner": "fa_other"}, {"application": "bank"}, {"kind": "label"}):
        with pytest.raises(SealBrokenError):
            context.keyring.unseal_secret(sealed.secret, **{**about, **changed})
    with pytest.raises(SealBrokenError):
        context.keyring.unseal_secret(f"k2{sealed.secret[2:]}", **about)


def test_secrets_move_to_a_new_root_key_and_the_old_one_may_go(frozen: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(frozen, sections))
    old, new = sections["keys"]["root"], f"k2:{key()}"
    rotated = {**sections, "keys": {**sections["keys"], "root": f"{new} {old}"}}
    without = {**sections, "keys": {**sections["keys"], "root": new}}

    with pytest.raises(StartRefusedError, match="k1"):
        serving(frozen, without)
    api = serving(frozen, rotated)
    assert moved(app, api).check(app.code())["valid"]
    assert [*reseal(api.installation.context)] == [1]
    assert [*reseal(api.installation.context)] == []
    frozen.advance(30)
    api = serving(frozen, without)
    assert moved(app, api).check(app.code())["valid"]
    assert api.post("/v1/user-factors", {"user": USER}).json["factors"][0]["label"] == "ali@example.com"
    assert [one["change"] for one in app.changes()] == ["activated", "resealed"]


def test_a_process_that_still_seals_under_the_old_root_key_renames_under_that_of_the_secret(
    frozen: FrozenValkey, sections: dict[str, Any]
):
    old, new = sections["keys"]["root"], f"k2:{key()}"
    second, first, alone = (
        {**sections, "keys": {**sections["keys"], "root": root}} for root in (f"{old} {new}", f"{new} {old}", new)
    )
    app = active(serving(frozen, second))
    assert [*reseal(serving(frozen, first).installation.context)] == [1]
    assert app.api.post(f"{FACTORS}/{app.id}/rename", {"label": "tablet"}).json["label"] == "tablet"

    api = serving(frozen, alone)
    assert api.post("/v1/user-factors", {"user": USER}).json["factors"][0]["label"] == "tablet"
    assert moved(app, api).remove(reason="stolen")["status"] == "removed"


def test_a_label_that_is_given_while_its_factor_is_sealed_anew_stays(
    frozen: FrozenValkey, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    app = active(serving(frozen, sections))
    root = f"k2:{key()} {sections['keys']['root']}"
    api, rename = serving(frozen, {**sections, "keys": {**sections["keys"], "root": root}}), Factors.rename

    def sealed_anew_before(*about: Any) -> bool:
        [*reseal(api.installation.context)]
        return rename(*about)

    monkeypatch.setattr(Factors, "rename", sealed_anew_before)
    assert api.post(f"{FACTORS}/{app.id}/rename", {"label": "tablet"}).json["label"] == "tablet"
    assert {one.partition(".")[0] for one in app.secrets_in_ledger()[0]} == {"k2"}


def test_a_root_key_of_which_only_removed_apps_were_is_not_needed(frozen: FrozenValkey, sections: dict[str, Any]):
    app = active(serving(frozen, sections))
    app.remove(reason="lost")

    assert serving(frozen, {**sections, "keys": {**sections["keys"], "root": f"k2:{key()}"}})


def test_a_check_takes_two_round_trips(frozen: FrozenValkey):
    app = active(Api(frozen.world()))
    app.check(app.wrong())
    before = functions_called(frozen)
    assert app.check(app.code())["valid"]

    assert functions_called(frozen) - before == 2


def functions_called(server: FrozenValkey) -> int:
    return int(server.client.info("commandstats")["cmdstat_fcall"]["calls"])
