"""``otp-service store``: what its commands ask, do and tell, and who else tells of a fence."""

import json
import re

import pytest
from support_caller import Caller
from support_cli import configured, run
from support_keys import assert_all_keys_expire

from otp_service.bootstrap import install, prepare
from otp_service.settings import load_settings
from otp_service.store import keys
from otp_service.store.library import PREFIX

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
FENCED = rf"Fenced: verifications started until {TIME} are expired\."


@pytest.fixture
def environ(valkey, tmp_path):
    return configured(tmp_path, valkey.url, limits={"number": ["5/day"]})


@pytest.fixture
def shop(environ):
    installation = install(load_settings(environ=environ))
    prepare(installation)
    return Caller(installation)


def fence(environ, *arguments, **more):
    return run("store", "fence", *arguments, environ=environ, **more)


def told(*arguments, environ):
    result = run(*arguments, environ=environ)
    assert result.exit_code == 0, result.output
    return result


def test_what_was_started_before_is_expired_and_what_holds_now_is_told(environ, shop):
    one = shop.start()
    result = fence(environ, "--yes")

    assert result.exit_code == 0
    assert re.fullmatch(f"{FENCED}\n", result.stdout)
    assert "Check whether starts are refused now (mirror-restored): " in result.stderr
    assert shop.check(one, shop.code(one))[3] == "expired"


def test_it_is_logged_for_whoever_keeps_what_commands_print(environ):
    (line,) = (json.loads(line) for line in fence(environ, "--yes").stderr.splitlines() if line.startswith("{"))

    assert (line["message"], line["level"]) == ("store_fenced", "warning")


@pytest.mark.parametrize(("answer", "status", "put"), [("y\n", 0, 1), ("n\n", 1, 0), ("", 1, 0)])
def test_it_says_what_it_means_and_where_and_asks(environ, valkey, answer, status, put):
    result = fence({**environ, "OTP_SERVICE__REDIS__URL": valkey.url.replace("//", "//:hunter2@")}, stdin="n\n")
    assert "hunter2" not in result.output
    result = fence(environ, stdin=answer)

    assert result.exit_code == status
    assert "people who wait for a code have to start again. Starts are refused until" in " ".join(result.stderr.split())
    assert f"Fence the store at {valkey.url}?" in result.output
    assert valkey.client.exists(keys.fence("00")) == put


def test_a_redis_that_no_process_has_used_is_fenced_and_nothing_else_is_written(environ, valkey):
    valkey.client.function_flush()

    assert fence(environ, "--yes").exit_code == 0
    assert set(valkey.client.keys("*")) == {keys.fence("00").encode()}
    assert len(valkey.client.function_list(f"{PREFIX}*")) == 1
    assert_all_keys_expire(valkey.client)


def test_it_needs_no_ledger(environ):
    away = {**environ, "OTP_SERVICE__LEDGER__URL": "postgresql://otp@127.0.0.1:1/otp"}

    assert fence(away, "--yes").exit_code == 0


def test_the_redis_of_another_installation_is_left_alone(environ, shop, valkey, tmp_path):
    one = shop.start()
    result = fence(configured(tmp_path, valkey.url), "--yes")

    assert result.exit_code == 1
    assert "Redis was first used with another pseudonym_key" in result.output
    assert not valkey.client.exists(keys.fence("00"))
    assert shop.check(one, shop.code(one))[1]


def test_a_redis_that_is_not_there_is_named(tmp_path):
    result = fence(configured(tmp_path, "redis://:hunter2@127.0.0.1:1/0"), "--yes")

    assert result.exit_code == 1
    assert "does not answer" in result.output
    assert "hunter2" not in result.output


def test_a_replica_is_not_fenced_and_its_primary_asked_for(environ, valkey):
    valkey.client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        result = fence(environ, "--yes")
    finally:
        valkey.client.execute_command("REPLICAOF", "NO", "ONE")

    assert result.exit_code == 1
    assert "Name its primary in redis.url." in result.output


def test_doctor_tells_of_the_fence_that_stands(environ, shop):
    assert "fence" not in told("doctor", environ=environ).stdout
    fence(environ, "--yes")
    shop.context.mirror_sync.refresh()  # it ran before, and has seen that the ledger lacks nothing
    assert re.search(rf"^ok    fence: {FENCED}$", told("doctor", environ=environ).stdout, re.MULTILINE)


def test_starts_wait_behind_a_fence_until_an_operator_decides_where_no_process_ran_before(environ, shop):
    fence(environ, "--yes")
    doctor = run("doctor", environ=environ)
    assert doctor.exit_code == 1
    assert "Redis was restored from a copy" in doctor.stdout

    told("ledger", "rebuild", "--yes", environ=environ)
    assert "Redis was restored from a copy" not in told("doctor", environ=environ).stdout
    assert "mirror-rebuilt" in told("audit", "actions", environ=environ).stdout


def test_no_fail_over_is_planned_where_no_sentinel_could_begin_it(environ):
    result = run("store", "failover", "--yes", environ=environ)
    assert result.exit_code == 1
    assert result.stderr.endswith("Error: There are no Sentinels.\n")
