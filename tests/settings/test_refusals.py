"""What refuses to start: each unsafe setting with its name, its line, its safe neighbour and its documentation."""

import json
import re
import tempfile
from pathlib import Path

import pytest
from support_cli import run, start
from support_factors import factor
from support_installation import key
from support_refusals import (
    EVERYWHERE,
    HTTP,
    IN_PRODUCTION,
    NOT_OF_THE_HOST,
    PSEUDONYM,
    ROOTS,
    SIM_SWAP,
    SMPP,
    TWILIO,
    UNSAFE,
    written,
)
from support_sources import ROOT

from otp_service.bootstrap import LEDGER_NOT_MADE, install, prepare
from otp_service.domain.keyring import api_key_hash
from otp_service.errors import RefusalName, StartRefusedError
from otp_service.ledger.migrations import FORMAT
from otp_service.settings import load_settings
from otp_service.store import keys


def refused(folder, changes):
    """Return the names and the lines with which a start is refused."""
    with pytest.raises(StartRefusedError) as refusal:
        load_settings(environ=written(folder, changes))
    return [one.name for one in refusal.value.refusals], str(refusal.value).splitlines()


def every(rows):
    return pytest.mark.parametrize("unsafe", rows.values(), ids=rows.keys())


@every(UNSAFE)
def test_what_is_unsafe_refuses_by_its_name_in_one_line(unsafe, tmp_path):
    assert refused(tmp_path, unsafe.given) == ([unsafe.name], [unsafe.line])


@every(UNSAFE)
def test_its_safe_neighbour_is_accepted(unsafe, tmp_path):
    assert load_settings(environ=written(tmp_path, unsafe.safe)).production


@every(UNSAFE)
def test_doctor_fails_for_it_under_the_same_name_with_what_to_do(unsafe, tmp_path):
    result = run("doctor", environ=written(tmp_path, unsafe.given))
    lines = result.output.splitlines()
    told = lines.index(f"fail  {unsafe.place}: {unsafe.sentence} [{unsafe.name}]")

    assert result.exit_code == 1
    assert lines[told + 1] == f"      → {unsafe.action}"
    assert any(line.startswith("warn  server: Redis and the ledger were not checked") for line in lines)


@every(IN_PRODUCTION)
def test_development_allows_it(unsafe, tmp_path):
    assert load_settings(environ=written(tmp_path, unsafe.given | {"environment": "development"}))


@every(EVERYWHERE)
def test_development_does_not_allow_it_without_keys(unsafe, tmp_path):
    assert refused(tmp_path, unsafe.given | {"environment": "development"}) == ([unsafe.name], [unsafe.line])


def test_the_check_of_the_configuration_tells_the_same_lines(tmp_path):
    given = {"redis.url": "redis://redis.example/0", "gateways.primary": {"kind": "sandbox"}}
    result = run("config", "check", environ=written(tmp_path, given))
    _, lines = refused(tmp_path, given)

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "Error: 2 faults:",
        *(f"  {line}" for line in lines),
        "docs/refusals.md explains the names in brackets.",
    ]


# --- what a file tells --------------------------------------------------------------------------------------


@pytest.fixture
def seen(tmp_path_factory):
    """Return a folder that every user of the host gets into."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _with_a_key(folder, at=None):
    """Put the root keys into a file, by default the folder's own; return file and environment."""
    file = at or folder / "root_keys"
    file.parent.mkdir(exist_ok=True)
    environ = written(folder, {"gateways.primary": SECRETLESS})
    file.write_text(environ.pop(ROOTS))
    file.chmod(0o600)
    return file, {**environ, f"{ROOTS}_FILE": str(file)}


def _in_the_configuration(folder):
    """Leave the token of the gateway in the configuration file."""
    environ = written(folder, {})
    file = Path(environ["OTP_SERVICE_CONFIG"])
    file.chmod(0o600)
    return file, environ


SECRETLESS = HTTP


def _open_line(file):
    what = "It holds secrets, and every user of this host can read or change it."
    return f"{file}: {what} Restrict it to the service's user: chmod 600 {file} [open-file]"


@pytest.mark.parametrize("put", [_with_a_key, _in_the_configuration])
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_file_with_secrets_that_others_reach_refuses(put, mode, seen):
    file, environ = put(seen)
    assert load_settings(environ=environ)  # 0600
    file.chmod(0o640)
    assert load_settings(environ=environ)
    file.chmod(mode)

    with pytest.raises(StartRefusedError) as refusal:
        load_settings(environ=environ)
    assert str(refusal.value) == _open_line(file)
    assert f"fail  {file}:" in run("doctor", environ=environ).output
    assert load_settings(environ=environ | {"OTP_SERVICE__ENVIRONMENT": "development"})


def test_a_configuration_file_without_secrets_may_be_read_by_all(seen):
    _, environ = _with_a_key(seen)
    Path(environ["OTP_SERVICE_CONFIG"]).chmod(0o644)

    assert load_settings(environ=environ)


def test_a_configuration_file_that_others_may_write_refuses_also_without_secrets(seen):
    _, environ = _with_a_key(seen)
    config = Path(environ["OTP_SERVICE_CONFIG"])
    config.chmod(0o646)

    with pytest.raises(StartRefusedError, match="Every user of this host can change it") as refusal:
        load_settings(environ=environ)
    assert [one.place for one in refusal.value.refusals] == [str(config)]


def test_a_file_that_others_may_put_another_in_place_of_refuses(seen):
    file, environ = _with_a_key(seen, seen / "secrets" / "root_keys")
    link = seen / "links" / "root_keys"
    link.parent.mkdir()
    link.symlink_to(file)
    linked = environ | {f"{ROOTS}_FILE": str(link)}
    for folder, of_which in ((file.parent, environ), (file.parent, linked), (link.parent, linked)):
        folder.chmod(0o777)
        with pytest.raises(StartRefusedError, match=f"{folder} is open to all") as refusal:
            load_settings(environ=of_which)
        assert [one.name for one in refusal.value.refusals] == ["open-file"]
        folder.chmod(0o1777)
        assert load_settings(environ=of_which), "as /tmp is"
        folder.chmod(0o755)


@pytest.mark.parametrize("section", ["redis", "ledger"])
def test_a_password_in_an_address_makes_a_secret_of_the_file(section, seen):
    _, environ = _with_a_key(seen)
    config = Path(environ["OTP_SERVICE_CONFIG"])
    table = json.loads(config.read_text())
    table[section] = {"url": {"redis": "redis://otp:9f2c-of-redis@localhost/0", "ledger": LOCAL_LEDGER}[section]}
    config.write_text(json.dumps(table))
    config.chmod(0o644)

    with pytest.raises(StartRefusedError) as refusal:
        load_settings(environ=environ)
    assert str(refusal.value) == _open_line(config)


LOCAL_LEDGER = "postgresql://otp:9f2c-of-sql@localhost/otp"


def test_a_folder_that_is_closed_closes_the_files_in_it(seen):
    file, environ = _with_a_key(seen, seen / "secrets" / "root_keys")
    file.chmod(0o644)
    file.parent.chmod(0o700)

    assert load_settings(environ=environ)
    file.parent.chmod(0o711)
    assert refused_by(environ) == ["open-file"]


def test_what_kubernetes_mounts_is_open_in_the_container_alone(seen):
    mounted, named = seen / "..2026_11_28_06_30_00.1", seen / "root_keys"
    real, environ = _with_a_key(seen, mounted / "root_keys")
    real.chmod(0o644)
    (seen / "..data").symlink_to(mounted.name)
    named.symlink_to("..data/root_keys")

    assert load_settings(environ=environ | {f"{ROOTS}_FILE": str(named)})


def refused_by(environ):
    with pytest.raises(StartRefusedError) as refusal:
        load_settings(environ=environ)
    return [one.name for one in refusal.value.refusals]


# --- what only a server tells -------------------------------------------------------------------------------


def _evicting(tmp_path, valkey):
    valkey.client.config_set("maxmemory-policy", "allkeys-lru")
    return written(tmp_path, {"redis.url": valkey.url})


def _of_another(tmp_path, valkey):
    prepare(install(load_settings(environ=written(tmp_path, {"redis.url": valkey.url}))))
    return written(tmp_path, {"redis.url": valkey.url, PSEUDONYM: key()})


def _of_another_format(tmp_path, valkey):
    environ = written(tmp_path, {"redis.url": valkey.url})
    prepare(install(load_settings(environ=environ)))
    valkey.client.hset(keys.INSTALLATION, "format", 1)
    return environ


def _with_an_empty_ledger(tmp_path, valkey):
    ledger = tmp_path / "ledger.db"
    ledger.touch()
    return written(tmp_path, {"redis.url": valkey.url, "ledger": {"url": f"sqlite:///{ledger}", "upgrade": False}})


def _with_a_ledger_of_another_release(tmp_path, valkey):
    environ = written(tmp_path, {"redis.url": valkey.url, "ledger": {"url": f"sqlite:///{tmp_path / 'ledger.db'}"}})
    installation = install(load_settings(environ=environ))
    prepare(installation)
    with installation.context.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0004'")
    return environ


def _with_a_ledger_of_another(tmp_path, valkey):
    ledger = {"url": f"sqlite:///{tmp_path / 'ledger.db'}"}
    prepare(install(load_settings(environ=written(tmp_path, {"redis.url": valkey.url, "ledger": ledger}))))
    valkey.reset()
    return written(tmp_path, {"redis.url": valkey.url, "ledger": ledger, PSEUDONYM: key()})


def _without_an_approval(tmp_path, valkey):
    asked = {"PK": {"templates": "approved", "languages": ["en"]}}
    return written(tmp_path, {"redis.url": valkey.url, "countries": asked})


def _without_a_root_key(tmp_path, valkey):
    ledger = {"url": f"sqlite:///{tmp_path / 'ledger.db'}"}
    environ = written(tmp_path, {"redis.url": valkey.url, "ledger": ledger})
    installation = install(load_settings(environ=environ))
    prepare(installation)
    installation.context.ledger.factors.activate(factor("fa_1", "x" * 22, root="old"))
    return environ


OF_A_SERVER = {
    "key-still-needed": (
        _without_a_root_key,
        "OTP_SERVICE_ROOT_KEYS: Of authenticator apps 1 are sealed under old, and would be lost.",
        "Add that key behind the others, and before it goes: otp-service factor reseal",
    ),
    "eviction": (
        _evicting,
        "maxmemory-policy: With allkeys-lru Redis may evict counters, and an evicted counter is a free guess.",
        "CONFIG SET maxmemory-policy noeviction, and in its configuration file.",
    ),
    "other-installation": (
        _of_another,
        "installation: Redis was first used with another pseudonym_key: budgets would be forgotten.",
        "Restore the original, or use another Redis.",
    ),
    "other-format": (
        _of_another_format,
        "installation: Redis has data of format 1: this release reads format 2 only.",
        "Use the release that wrote the data, or an empty Redis.",
    ),
    "ledger-of-other-key": (
        _with_a_ledger_of_another,
        (
            "OTP_SERVICE_PSEUDONYM_KEY: The ledger was made with another pseudonym key: no number would match, "
            "and every opt-out would be void."
        ),
        "Use the original key, or correct ledger.url.",
    ),
    "template-not-approved": (
        _without_an_approval,
        (
            "approvals: en/possession/sms is not approved in PK. Its digest is "
            "b5514af431c5b656115c6dd25ebbd31d0496839f73eefe0ac9da6a0d2ab4d604."
        ),
        "Have it approved, and add a section [approvals.NAME].",
    ),
    "ledger-not-made": (
        _with_an_empty_ledger,
        "ledger.upgrade: The ledger does not exist yet.",
        "Create it: otp-service ledger upgrade",
    ),
    "ledger-of-other-format": (
        _with_a_ledger_of_another_release,
        f"ledger.url: The ledger has the format 0004, and this release reads {FORMAT}.",
        "Use the release that made it, or another ledger.",
    ),
}


@pytest.fixture
def server(valkey):
    yield valkey
    valkey.client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(("name", "row"), OF_A_SERVER.items(), ids=OF_A_SERVER.keys())
def test_what_a_server_tells_refuses_by_its_name_and_doctor_fails_for_it(name, row, waits, tmp_path, server):
    bring_about, told, action = row
    environ = bring_about(tmp_path, server)
    with pytest.raises(StartRefusedError) as refusal:
        prepare(install(load_settings(environ=environ)), waits_for_ledger=waits)
    result = run("doctor", environ=environ)

    assert str(refusal.value) == f"{told} {action} [{name}]"
    assert result.exit_code == 1
    assert f"fail  {told} [{name}]\n      → {action}\n" in result.output


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"])
def test_every_policy_of_eviction_is_refused(policy, tmp_path, server):
    environ = written(tmp_path, {"redis.url": server.url})
    server.client.config_set("maxmemory-policy", policy)

    with pytest.raises(StartRefusedError, match=rf"With {policy} .+ \[eviction\]$"):
        prepare(install(load_settings(environ=environ)))


def test_a_ledger_that_processes_upgrade_by_themselves_is_no_reason(tmp_path, valkey):
    environ = _with_an_empty_ledger(tmp_path, valkey) | {"OTP_SERVICE__LEDGER__UPGRADE": "true"}

    assert f"warn  ledger.upgrade: {LEDGER_NOT_MADE.sentence}" in run("doctor", environ=environ).output
    prepare(install(load_settings(environ=environ)))


def test_a_ledger_that_another_process_writes_for_long_is_no_reason(tmp_path, valkey):
    ledger = {"url": f"sqlite:///{tmp_path / 'ledger.db'}", "timeout": 0.2}
    first = install(load_settings(environ=written(tmp_path, {"redis.url": valkey.url, "ledger": ledger})))
    prepare(first)

    with first.context.ledger.database.write():
        prepare(install(first.settings))


# --- the processes themselves -------------------------------------------------------------------------------


def ended(command, environ):
    """Run a command in a process of its own; return its exit status, and what it wrote to standard error."""
    with start(command, environ=environ, stderr=-1) as process:
        output, errors = process.communicate(timeout=60)
    assert output == ""
    return process.returncode, errors.splitlines()


def test_a_process_ends_with_all_reasons_at_once(tmp_path):
    given = {
        "redis.url": "redis://redis.example/0",
        "ledger.url": NOT_OF_THE_HOST,
        "gateways.primary": {"kind": "sandbox"},
    }

    assert ended("serve", written(tmp_path, given)) == (
        1,
        [
            "Error: 3 faults:",
            f"  {IN_PRODUCTION['Redis in plain text'].line}",
            f"  {IN_PRODUCTION['PostgreSQL as its driver has it'].line}",
            f"  {IN_PRODUCTION['the sandbox'].line}",
            "docs/refusals.md explains the names in brackets.",
        ],
    )


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_process_ends_where_counters_could_be_evicted(command, tmp_path, server):
    _, told, action = OF_A_SERVER["eviction"]

    assert ended(command, _evicting(tmp_path, server)) == (
        1,
        [f"Error: {told} {action} [eviction]", "docs/refusals.md explains the names in brackets."],
    )


# --- names and documentation --------------------------------------------------------------------------------


def documented():
    """Return what the documentation says of each name: what is refused, why, and what to do instead."""
    text = (ROOT / "docs" / "refusals.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.+) \| (.+) \|$", text, flags=re.MULTILINE)
    return {name: cells for name, *cells in rows}


def test_every_name_is_provoked():
    elsewhere = {"open-file", "cluster-address"}  # store/test_endpoint.py
    assert {unsafe.name for unsafe in UNSAFE.values()} | OF_A_SERVER.keys() | elsewhere == set(RefusalName)


def test_every_name_is_documented_and_no_other():
    assert list(documented()) == list(RefusalName)


# --- secrets ------------------------------------------------------------------------------------------------


def test_no_line_shows_a_secret(tmp_path):
    secret = "hunter2"
    given = {
        "redis.url": f"redis://otp:{secret}@redis.example/0",
        "ledger.url": f"postgresql://otp:{secret}@db.example/otp",
        "gateways.primary": {**TWILIO, "auth_token": secret, "base_url": "http://twilio.example/canary-path"},
        "gateways.second": {**HTTP, "url": "http://sms.example/send?token=canary-query", "secrets": {"a": secret}},
        "gateways.third": {**SMPP, "password": secret},
        "policies": {"simswap": {**SIM_SWAP, "client_secret": secret, "base_url": "http://api.example/canary-path"}},
        "applications.shop.keys": [api_key_hash(secret)],
        ROOTS: f"k1:{secret}",
        PSEUDONYM: secret,
    }
    names, lines = refused(tmp_path, given)
    shown = "\n".join([*lines, run("doctor", environ=written(tmp_path, given)).output])

    assert (names.count("sample-secret"), names.count("key-invalid"), len(names)) == (7, 2, 14)
    assert not re.search(f"{secret}|canary|{api_key_hash(secret)}", shown)
