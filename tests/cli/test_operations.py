"""Commands that talk to the store and to gateways, on a real Valkey."""

import re
import shlex
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from support_cli import configured, rows, run, start
from support_installation import tree
from support_valkey import ValkeyServer, free_port

from otp_service.bootstrap import install, prepare
from otp_service.cli import verification
from otp_service.cli.dev import lock
from otp_service.domain.phrases import duration
from otp_service.domain.verification import CheckFailure
from otp_service.settings import load_settings

NUMBER = "+923001234567"


@pytest.fixture
def environ(valkey, tmp_path):
    return configured(tmp_path, valkey.url)


def context_of(environ):
    return install(load_settings(environ=environ)).context


# --- gateway ------------------------------------------------------------------------------------------------


def test_gateway_list_shows_what_is_configured(environ):
    result = run("gateway", "list", environ=environ)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "Name\tKind\tChannels\tTime-out\tReceipts",
        "sandbox\tsandbox\tsms,telegram,voice,whatsapp\t1 s\treceipts",
    ]


def test_gateway_test_really_sends(environ):
    result = run("gateway", "test", "sandbox", "0300 1234567", "--region", "pk", environ=environ)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Accepted for +92 ••• ••••567; the gateway's reference is sandbox-dp_")


def test_gateway_test_tells_why_nothing_was_sent(valkey, tmp_path):
    environ = configured(tmp_path, valkey.url, gateways={"sandbox": {"kind": "sandbox", "fail": "destination"}})
    result = run("gateway", "test", "sandbox", NUMBER, environ=environ)
    assert (result.exit_code, result.output) == (1, "Error: Not accepted: destination: sandbox.\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nope", NUMBER), "The gateway 'nope' does not exist; choose from: sandbox."),
        (("sandbox", "+12"), "This is not a phone number."),
        (("sandbox", "0300 1234567"), "A national number needs --region, such as --region PK."),
        (("sandbox", "(0300) 1234567"), "A national number needs --region, such as --region PK."),
        (("sandbox", "0300", "--region", "PK"), "This is not a valid phone number."),
        (("sandbox", "+442079460123"), "Numbers of this type do not receive codes."),
    ],
)
def test_gateway_test_refuses_what_cannot_be_sent(environ, arguments, sentence):
    result = run("gateway", "test", *arguments, environ=environ)
    assert (result.exit_code, result.output) == (1, f"Error: {sentence}\n")


# --- send, check, limits ------------------------------------------------------------------------------------


def sent(environ, *options):
    result = run("send", NUMBER, "--application", "shop", *options, environ=environ)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_send_starts_a_verification_and_check_refuses_a_wrong_code(environ):
    verification = sent(environ)
    assert re.fullmatch(r"vf_\w+", verification)
    result = run("check", verification, "000000", "--application", "shop", environ=environ)
    assert (result.exit_code, result.output) == (1, "Error: The code is wrong. (wrong_code, 4 checks left)\n")


def test_send_and_check_take_a_transaction(environ):
    transaction = ("--amount", "1500", "--currency", "PKR", "--payee", "Daraz")
    verification = sent(environ, "--purpose", "payment", *transaction)
    changed = ("--amount", "1501", "--currency", "PKR", "--payee", "Daraz")
    result = run("check", verification, "123456", "--application", "shop", *changed, environ=environ)
    assert (result.exit_code, result.output) == (
        1,
        "Error: The transaction is not the one that the code was sent for. (transaction_changed, 0 checks left)\n",
    )


def test_the_next_command_that_send_names_can_be_pasted(environ):
    transaction = ("--amount", "1500", "--currency", "PKR", "--payee", "Corner Shop")
    told = run("send", NUMBER, "--application", "shop", "--purpose", "payment", *transaction, environ=environ).stderr
    pasted = shlex.split(told.partition("Next: otp-service ")[2])
    assert {"--application", "shop", "Corner Shop"} <= set(pasted)
    result = run(*(word if word != "CODE" else "000000" for word in pasted), environ=environ)
    assert "(wrong_code, " in result.output


def test_every_reason_has_a_sentence():
    assert set(verification._SENTENCES) == set(CheckFailure)


def test_half_a_transaction_is_wrong_usage(environ):
    result = run("send", NUMBER, "--application", "shop", "--amount", "1", environ=environ)
    assert result.exit_code == 2
    assert "must be given together" in result.output


def test_an_application_must_be_named_when_there_are_several(environ):
    result = run("send", NUMBER, environ=environ)
    assert result.exit_code == 1
    assert "--application: bank, shop." in result.output


def test_who_lacks_a_consent_is_told_how_one_is_given(valkey, tmp_path):
    shop = {**tree(valkey.url)["applications"]["shop"], "consent": "required"}
    environ = configured(tmp_path, valkey.url, applications={"shop": shop})
    result = run("send", NUMBER, "--application", "shop", environ=environ)
    assert result.exit_code == 1
    assert "No consent for this number" in result.output
    assert "PUT /v1/consents" in result.output


def test_a_refusal_is_a_sentence(environ):
    for _ in range(5):
        sent(environ)
    result = run("send", NUMBER, "--application", "shop", environ=environ)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1


def test_limits_are_shown_without_being_spent_and_reset(environ):
    verification = sent(environ)
    run("check", verification, "000000", "--application", "shop", environ=environ)
    states = rows(run("limits", "show", NUMBER, environ=environ).stdout)
    assert [row[:4] for row in states] == [
        ["number 5 in 10 min", "all", "1", "4"],
        ["number 10 in 1 d", "all", "1", "9"],
        ["failed_checks 10 in 1 d", "shop", "1", "9"],
        ["failed_checks 10 in 1 d", "bank", "0", "10"],
    ]
    assert run("limits", "reset", NUMBER, "--yes", environ=environ).output == (
        "Reset for +92 ••• ••••567: 3 used windows.\n"
    )
    assert {row[2] for row in rows(run("limits", "show", NUMBER, environ=environ).stdout)} == {"0"}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59, "59 s"), (600, "10 min"), (86399, "23 h 59 min"), (86400, "1 d")]
)
def test_durations_are_told_in_the_two_largest_units(seconds, words):
    assert duration(seconds) == words


def test_a_national_number_without_a_region_is_told_what_it_needs(environ):
    result = run("limits", "show", "03001234567", environ=environ)
    assert result.output == "Error: A national number needs --region, such as --region PK.\n"


def test_reset_asks_first(environ):
    sent(environ)
    assert run("limits", "reset", NUMBER, environ=environ, stdin="n\n").exit_code == 1
    assert "\t1\t" in run("limits", "show", NUMBER, environ=environ).stdout


# --- doctor -------------------------------------------------------------------------------------------------


def test_doctor_is_content_with_a_sound_set_up(environ):
    result = run("doctor", environ=environ)
    assert result.exit_code == 0, result.output
    assert "ok    server: Valkey " in result.output
    assert "ok    installation: The server is new" in result.output
    assert "fail" not in result.output


def test_doctor_writes_nothing(environ, valkey):
    run("doctor", environ=environ)
    assert valkey.client.dbsize() == 0


def test_doctor_finds_a_server_that_evicts(environ, valkey):
    valkey.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        result = run("doctor", environ=environ)
    finally:
        valkey.client.config_set("maxmemory-policy", "noeviction")
    assert result.exit_code == 1
    assert "fail  maxmemory-policy: With allkeys-lru" in result.output
    assert "[eviction]" in result.output
    assert "→ CONFIG SET maxmemory-policy noeviction" in result.output


def test_doctor_finds_another_installation_s_data(environ, valkey, tmp_path):
    prepare(install(load_settings(environ=environ)))
    assert "The server belongs to this installation." in run("doctor", environ=environ).output
    result = run("doctor", environ=configured(tmp_path, valkey.url))
    assert result.exit_code == 1
    assert "fail  installation: Redis was first used with another pseudonym_key" in result.output


def test_doctor_finds_a_server_that_does_not_answer(tmp_path):
    result = run("doctor", environ=configured(tmp_path, "redis://:hunter2@127.0.0.1:1/0"))
    assert result.exit_code == 1
    assert "fail  redis.url: Redis at redis://127.0.0.1:1/0 does not answer." in result.output
    assert "hunter2" not in result.output


@pytest.mark.parametrize("access", [":wrong-hunter2@", "who:hunter2@", ""])
@pytest.mark.parametrize("command", ["doctor", "worker"])
def test_a_server_that_refuses_the_password_is_not_called_silent(tmp_path, access, command):
    server = ValkeyServer(tmp_path)
    server.client.config_set("requirepass", "hunter2")
    try:
        address = server.url.partition("//")[2]
        result = run(command, environ=configured(tmp_path, f"redis://{access}{address}"))
    finally:
        server.stop()
    assert result.exit_code == 1
    assert f"Redis at redis://{address} refuses the user or the password." in result.output
    assert "does not answer" not in result.output
    assert "hunter2" not in result.output


@pytest.mark.parametrize("command", [("doctor",), ("gateway", "status")])
def test_that_make_run_is_not_running_is_told_where_the_settings_are_its_own(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / ".otp-service"
    own.mkdir()
    elsewhere = run(*command, environ=configured(tmp_path, "redis://127.0.0.1:1/0"))
    environ = configured(own, "redis://127.0.0.1:1/0")
    with lock(own):
        running = run(*command, environ=environ)
    stopped = run(*command, environ=environ)

    words = "does not answer: the service of make run in this folder is not running."
    assert [one.exit_code for one in (elsewhere, running, stopped)] == [1, 1, 1]
    assert [words in one.output for one in (elsewhere, running, stopped)] == [False, False, True]
    assert "Start it: make run" in stopped.output


def test_doctor_lists_the_faults_of_the_settings(tmp_path):
    result = run("doctor", environ=configured(tmp_path, "redis://localhost/0", http={"prot": 1}))
    assert (result.exit_code, result.output) == (1, 'fail  http.prot: there is no such setting. Did you mean "port"?\n')


# --- without Redis ------------------------------------------------------------------------------------------

NOWHERE = "redis://:hunter2@127.0.0.1:1/0"
AWAY = "Error: Redis at redis://127.0.0.1:1/0 does not answer. Start it, or correct redis.url."


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_process_refuses_to_start_without_redis_in_a_sentence(tmp_path, command):
    environ = configured(tmp_path, NOWHERE, http={"port": free_port()})
    with start(command, environ=environ) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.splitlines()[-1] == AWAY
    assert "hunter2" not in output


@pytest.mark.parametrize(
    "command",
    [
        ("gateway", "status"),
        ("gateway", "pause", "sandbox"),
        ("gateway", "resume", "sandbox"),
        ("gateway", "test", "sandbox", NUMBER),
        ("dead-letters", "list"),
        ("dead-letters", "redrive", "--all"),
        ("dead-letters", "redrive", "00:1-1"),
        ("find", NUMBER),
        ("limits", "show", NUMBER),
        ("limits", "reset", "--yes", NUMBER),
        ("send", NUMBER, "--application", "shop"),
        ("check", f"vf_k1_00{'0' * 32}", "123456", "--application", "shop"),
    ],
    ids=" ".join,
)
def test_a_command_that_needs_redis_says_where_it_is_missed_and_what_to_do(tmp_path, command):
    result = run(*command, environ=configured(tmp_path, NOWHERE))

    assert (result.exit_code, result.output) == (1, f"{AWAY}\n")


@pytest.mark.parametrize("command", [("key", "list"), ("audit", "verify"), ("webhook", "list")], ids=" ".join)
def test_a_command_that_needs_the_ledger_names_it_and_what_to_do(tmp_path, valkey, command):
    ledger = {"url": "postgresql://otp:hunter2@127.0.0.1:1/otp", "timeout": 1}
    result = run(*command, environ=configured(tmp_path, valkey.url, ledger=ledger))

    away = "postgresql://127.0.0.1:1/otp: The ledger is not responding. Correct ledger.url, or start it."
    assert (result.exit_code, result.output) == (1, f"Error: {away}\n")


def test_a_ledger_that_was_not_made_is_to_be_made_and_nothing_else(tmp_path, valkey):
    file = tmp_path / "ledger.db"
    file.touch()
    ledger = {"url": f"sqlite:///{file}", "upgrade": False}
    result = run("audit", "verify", environ=configured(tmp_path, valkey.url, ledger=ledger))

    not_made = f"sqlite:///{file}: The ledger does not exist yet: otp-service ledger upgrade."
    assert (result.exit_code, result.output) == (1, f"Error: {not_made}\n")


@pytest.mark.parametrize(
    "command", [("config", "check"), ("config", "show"), ("gateway", "list"), ("messages", "check")]
)
def test_a_command_that_asks_redis_for_nothing_does_not_miss_it(tmp_path, command):
    result = run(*command, environ=configured(tmp_path, NOWHERE))

    assert result.exit_code == 0
    assert "hunter2" not in result.output


def test_a_command_says_when_redis_refuses_the_password(tmp_path):
    server = ValkeyServer(tmp_path)
    server.client.config_set("requirepass", "another")
    try:
        result = run("gateway", "status", environ=configured(tmp_path, server.url.replace("//", "//:hunter2@")))
    finally:
        server.stop()
    assert result.exit_code == 1
    assert result.output == (
        f"Error: Redis at {server.url} refuses the user or the password. Correct them in redis.url.\n"
    )


def _no_rights(server):
    server.client.execute_command("ACL", "SETUSER", "default", "-@scripting")


def _full(server):
    server.client.config_set("maxmemory", 1)


def _replica(server):
    server.client.execute_command("REPLICAOF", "127.0.0.1", "1")
    server.client.config_set("replica-serve-stale-data", "yes")


@pytest.mark.parametrize(
    ("makes", "what"),
    [
        (_no_rights, "refuses fcall to this user. Give the user the rights of docs/install.md (ACL)."),
        (_full, "is full. Give it more memory (maxmemory)."),
        (_replica, "is a replica and takes no writes. Name its primary in redis.url."),
    ],
)
def test_a_command_says_what_keeps_it_from_a_server_that_answers(tmp_path, makes, what):
    server = ValkeyServer(tmp_path)
    makes(server)
    try:
        result = run("send", NUMBER, "--application", "shop", environ=configured(tmp_path, server.url))
    finally:
        server.stop()
    assert (result.exit_code, result.output) == (1, f"Error: Redis at {server.url} {what}\n")


def test_a_command_says_when_there_is_no_such_database(tmp_path, valkey):
    url = f"{valkey.url.removesuffix('/0')}/99"
    result = run("gateway", "status", environ=configured(tmp_path, url))

    assert result.exit_code == 1
    assert result.output == (
        f"Error: Redis at {url} has no database of this number. Correct the number at the end of redis.url.\n"
    )


def test_a_command_says_when_no_sentinel_names_a_primary(tmp_path):
    environ = configured(tmp_path, "redis://otp/0", redis={"url": "redis://otp/0", "sentinels": ["127.0.0.1:1"]})
    result = run("gateway", "status", environ=environ)

    assert result.exit_code == 1
    assert result.output.startswith("Error: Redis at redis://otp/0 is named by no Sentinel. Correct redis.sentinels,")


def test_a_command_says_when_something_else_listens_there(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as stranger, ThreadPoolExecutor(1) as pool:
        answers = pool.submit(_answer_as_http, stranger)
        url = f"redis://127.0.0.1:{stranger.getsockname()[1]}/0"
        result = run("gateway", "status", environ=configured(tmp_path, url))
        stranger.shutdown(socket.SHUT_RDWR)
        answers.result()

    assert (result.exit_code, result.output) == (
        1,
        f"Error: Redis at {url} does not answer as Redis does. Correct redis.url: another server listens there.\n",
    )


def _answer_as_http(server):
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # shut down
            return
        with connection:
            connection.recv(1024)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
