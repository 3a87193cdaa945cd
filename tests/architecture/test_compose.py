"""docker-compose.yml, its configuration and its secret files fit each other and the settings."""

import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address, ip_network
from typing import ClassVar

import pytest
import yaml
from support_sources import ROOT

from otp_service.domain.keyring import api_key_hash
from otp_service.errors import StartRefusedError
from otp_service.settings import load_settings

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = ("api", "worker", "console")
ALL = sorted(COMPOSE["services"])
PROXY = (ROOT / "config" / "haproxy.cfg").read_text()


@pytest.fixture
def secrets(tmp_path):
    """Return the folder that `make compose-secrets` fills."""
    script = tmp_path / "config" / "compose_secrets.py"
    script.parent.mkdir()
    script.write_text((ROOT / "config" / "compose_secrets.py").read_text())
    made = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True)
    assert made.stdout == ""
    return tmp_path / "secrets"


def _environment(service, secrets):
    """Return the variables of a service, with the secrets where they were made."""
    variables = dict(COMPOSE["services"][service]["environment"])
    name, _, value = (secrets / "applications.env").read_text().strip().partition("=")
    mounted = {name: value.replace("/run/secrets", str(secrets)) for name, value in variables.items()}
    return {**mounted, name: value}


@pytest.mark.parametrize("service", OURS)
def test_the_processes_start_with_what_is_mounted(service, secrets):
    has_root_keys = service != "console"
    settings = load_settings(ROOT / "config" / "compose.toml", _environment(service, secrets), root_keys=has_root_keys)

    assert bool(settings.keyring().root_ids) is has_root_keys
    assert ("root_keys" in COMPOSE["services"][service]["secrets"]) is has_root_keys
    assert settings.redis.shown_url == "redis://redis:6379/0"
    assert settings.ledger.shown_url == "postgresql://postgres:5432/otp_service"
    key = (secrets / "api_key").read_text().strip()
    assert settings.application_of_key[api_key_hash(key)].name == "dev"


def test_abuse_is_refused_as_in_production(secrets):
    settings = load_settings(ROOT / "config" / "compose.toml", _environment("api", secrets))

    assert settings.guard.modes == {}


def test_the_sink_has_a_gateway_for_each_name_of_the_route_and_proves_its_reports(secrets):
    settings = load_settings(ROOT / "config" / "compose.toml", _environment("worker", secrets))
    secret = (secrets / "receipt_secret").read_text().strip()
    (route,) = settings.routes

    assert route.gateways == tuple(settings.gateways)
    for name, gateway in settings.gateways.items():
        assert gateway.settings.url == f"http://sink:8025/{name}/messages"
        assert gateway.settings.receipts.secret.get_secret_value() == secret
    assert "sink" in COMPOSE["services"]
    assert "8025" in COMPOSE["services"]["sink"]["ports"][0]


def test_end_users_addresses_come_through_exactly_one_proxy_that_trusts_no_other_peer(secrets):
    settings = load_settings(ROOT / "config" / "compose.toml", _environment("api", secrets))
    published, believed = (PROXY.split(f"\nfrontend {name}\n")[1].split("\n\n")[0] for name in ("outside", "load"))
    port = re.search(r"bind :(\d+)", believed)[1]

    assert settings.http.trusted_proxies == 1
    assert "http-request set-header X-Forwarded-For %[src]" in published
    assert "http-request del-header _ -m sub" in published  # X_Forwarded_For is the same header to a WSGI server
    assert "X-Forwarded-For" not in believed
    assert [one.rpartition(":")[2] for one in COMPOSE["services"]["proxy"]["ports"]] == ["8080"] != [port]
    assert "ports" not in COMPOSE["services"]["api"]
    assert f"http://proxy:{port}" in (ROOT / "load" / "run.py").read_text()


def test_the_console_is_behind_the_same_proxy_under_a_host_name_of_its_own(secrets):
    settings = load_settings(ROOT / "config" / "compose.toml", _environment("console", secrets), root_keys=False)
    published = PROXY.split("\nfrontend outside\n")[1].split("\n\n")[0]
    name = settings.console.public_url.removeprefix("http://").partition(":")[0]

    assert f"use_backend console if {{ req.hdr(host),host_only -i {name} }}" in published
    assert f"server-template console 2 console:{settings.console.port}" in PROXY
    assert (settings.console.trusted_proxies, settings.console.dev_token) == (1, None)
    assert settings.console.public_url.endswith(":${OTP_SERVICE_PORT:-8080}")
    assert "ports" not in COMPOSE["services"]["console"]


def test_the_proxy_lets_the_api_wait_for_a_silent_redis_before_it_takes_it_for_dead(secrets):
    settings = load_settings(ROOT / "config" / "compose.toml", _environment("api", secrets))

    patience = int(re.search(r"^ +timeout check (\d+)s", PROXY, re.MULTILINE)[1])
    assert patience > settings.redis.timeout + settings.redis.connect_timeout


def test_a_process_that_refuses_starts_stays_in_service_for_all_the_rest():
    """What takes it out of service, or restarts it, asks whether it checks codes; test_proxy.py tries the proxy."""
    asked = {
        path
        for text in ((ROOT / "Dockerfile").read_text(), (ROOT / "docker-compose.yml").read_text())
        for path in re.findall(r"/(?:readyz|healthz)[/a-z]*", text)
    }

    assert "healthcheck" not in COMPOSE["services"]["api"], "that of the image"
    assert asked == {"/readyz/checks", "/healthz"}


def test_the_load_ends_by_itself_and_waits_for_all_that_it_needs():
    load = COMPOSE["services"]["load"]

    assert load["restart"] == "no"
    assert set(load["depends_on"]) == {"proxy", "worker", "sink"}
    assert {needed["condition"] for needed in load["depends_on"].values()} == {"service_healthy"}
    assert load["secrets"] == ["api_key"]


def test_only_the_load_and_what_observes_are_started_on_request():
    profiles = {name: service.get("profiles", []) for name, service in COMPOSE["services"].items()}

    assert {name for name, asked in profiles.items() if not asked} == {*OURS, "redis", "postgres", "proxy", "sink"}
    assert {one for asked in profiles.values() for one in asked} == {"load", "load-page", "observe"}


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, {"redis-unencrypted", "ledger-unencrypted", "gateway-unencrypted", "all-countries"}),
        ({"OTP_SERVICE__PLAINTEXT_HOSTS": '["redis", "postgres"]'}, {"gateway-unencrypted", "all-countries"}),
    ],
)
def test_production_asks_for_what_the_comment_says(variables, names, secrets):
    environ = _environment("api", secrets) | {"OTP_SERVICE__ENVIRONMENT": "production"} | variables

    with pytest.raises(StartRefusedError) as refusal:
        load_settings(ROOT / "config" / "compose.toml", environ)

    assert {one.name for one in refusal.value.refusals} == names


def test_all_files_that_are_mounted_are_made_and_kept(secrets):
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    mounted = {declared["file"] for declared in COMPOSE["secrets"].values()}

    subprocess.run([sys.executable, str(secrets.parent / "config" / "compose_secrets.py")], check=True)

    assert mounted <= {f"secrets/{name}" for name in before}
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("service", ALL)
def test_processes_have_no_rights_that_they_do_not_need_and_no_more_than_their_share(service):
    declared = COMPOSE["services"][service]

    assert declared["read_only"]
    assert declared["cap_drop"] == ["ALL"]
    assert declared["security_opt"] == ["no-new-privileges:true"]
    assert declared["mem_limit"]
    assert declared["pids_limit"]
    assert not str(declared.get("user", "ours")).startswith(("0", "root"))
    assert all(port.startswith("127.0.0.1:") for port in declared.get("ports", ()))


@pytest.mark.parametrize("service", OURS)
def test_our_processes_change_nothing_that_is_mounted_and_are_not_root(service):
    assert all(volume.endswith(":ro") for volume in COMPOSE["services"][service]["volumes"])
    assert "root" not in (ROOT / "Dockerfile").read_text().rpartition("\nUSER ")[2].partition("\n")[0]


def test_redis_keeps_what_it_accepted_and_is_not_published():
    redis = COMPOSE["services"]["redis"]

    for option in ("--appendonly yes", "--maxmemory-policy noeviction", "--hash-max-listpack-value 1024"):
        assert option in redis["command"]
    assert "ports" not in redis
    assert not redis["user"].startswith(("0", "root"))
    assert redis["volumes"] == ["redis:/data"]


def test_only_our_processes_and_the_exporter_reach_redis_and_it_reaches_nobody():
    networks = {name: service.get("networks", ["default"]) for name, service in COMPOSE["services"].items()}

    assert networks["redis"] == ["store"]
    assert {name for name, joined in networks.items() if "store" in joined} == {"redis", "redis-exporter", *OURS}
    assert {COMPOSE["networks"][name]["internal"] for name in networks["redis-exporter"]} == {True}
    assert COMPOSE["networks"]["store"]["internal"] is True
    assert all(set(networks[service]) - {"store"} for service in OURS)  # gateways, and a published port


def test_the_ledger_is_kept_apart_from_all_but_our_processes():
    postgres = COMPOSE["services"]["postgres"]
    networks = {name: service.get("networks", ["default"]) for name, service in COMPOSE["services"].items()}

    assert networks["postgres"] == ["ledger"]
    assert {name for name, joined in networks.items() if "ledger" in joined} == {"postgres", *OURS}
    assert COMPOSE["networks"]["ledger"]["internal"] is True
    assert "ports" not in postgres
    assert not postgres["user"].startswith(("0", "root"))
    assert postgres["volumes"] == ["postgres:/var/lib/postgresql/data"]


def test_the_ledger_is_opened_with_the_password_that_the_server_is_given(secrets):
    user = COMPOSE["services"]["postgres"]["environment"]["POSTGRES_USER"]
    password = (secrets / "postgres_password").read_text().strip()
    url = (secrets / "ledger_url").read_text().strip()

    assert url == f"postgresql://{user}:{password}@postgres:5432/{user}"
    assert len(password) > 40
    assert "postgres_password" not in {one for service in OURS for one in COMPOSE["services"][service]["secrets"]}


@pytest.mark.parametrize("service", OURS)
def test_our_processes_wait_for_what_they_need(service):
    assert COMPOSE["services"][service]["depends_on"] == {
        needed: {"condition": "service_healthy"} for needed in ("redis", "postgres")
    }


def _seconds(text):
    number, unit = re.fullmatch(r"(\d+)([sm])", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def _checks():
    """Return interval, timeout, start period, retries and command of each check of health, that of the image too."""
    for name, service in COMPOSE["services"].items():
        if check := service.get("healthcheck"):
            yield name, {**check, "test": " ".join(check["test"])}
    options, _, command = (ROOT / "Dockerfile").read_text().split("\nHEALTHCHECK ")[1].partition(" CMD ")
    given = dict(option.removeprefix("--").split("=") for option in options.split())
    yield "api", {name.replace("-", "_"): value for name, value in given.items()} | {"test": command}


class _Noted(BaseHTTPRequestHandler):
    paths: ClassVar[list[str]] = []
    status = 200

    def do_GET(self):
        self.paths.append(self.path)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize(
    ("command", "variable", "path"),
    [
        (["otp-service", "serve"], "OTP_SERVICE__HTTP__PORT", "/readyz/checks"),
        (["otp-service", "worker"], "OTP_SERVICE__WORKER__METRICS_PORT", "/healthz"),
        (["docker-init", "--", "otp-service", "console"], "OTP_SERVICE__CONSOLE__PORT", "/healthz"),
    ],
)
def test_the_image_is_checked_by_the_command_that_runs_in_it(command, variable, path, status, tmp_path, monkeypatch):
    text = (ROOT / "Dockerfile").read_text().split("\nHEALTHCHECK ")[1].partition(" CMD ")[2].partition("\nENTRY")[0]
    _, option, program = json.loads(text.replace("\\\n", ""))
    (tmp_path / "cmdline").write_text("\0".join(["/opt/otp-service/bin/python", *command, ""]))
    monkeypatch.setattr(_Noted, "paths", [])
    monkeypatch.setattr(_Noted, "status", status)

    with HTTPServer(("127.0.0.1", 0), _Noted) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        asked = program.replace("/proc/1/cmdline", str(tmp_path / "cmdline"))
        environ = {variable: str(server.server_port)}
        done = subprocess.run([sys.executable, option, asked], env=environ, check=False, capture_output=True)
        thread.join()

    assert _Noted.paths == [path]
    assert (done.returncode == 0) == (status == 200)


@pytest.mark.parametrize(
    ("service", "check"), list(_checks()), ids=lambda given: given if isinstance(given, str) else ""
)
def test_a_service_has_half_an_hour_to_begin_and_its_answer_has_time(service, check):
    own = [int(seconds) for seconds in re.findall(r"timeout=(\d+)", check["test"])]

    assert _seconds(check["start_period"]) >= 1800
    assert _seconds(check["timeout"]) >= 20 > max(own, default=15) >= 15
    assert 1 <= _seconds(check["interval"]) <= 5
    assert int(check["retries"]) >= 6


def test_whoever_is_waited_for_is_checked_and_nothing_is_given_up():
    checked = {name for name, _ in _checks()}
    services = COMPOSE["services"]
    awaited = {needed for service in services.values() for needed in service.get("depends_on", ())}

    assert awaited - {"prometheus"} <= checked
    assert {name for name, service in services.items() if service["restart"] != "unless-stopped"} == {"load"}


def test_redis_refuses_before_the_kernel_ends_it():
    redis = COMPOSE["services"]["redis"]

    assert 2 * _mebibytes(re.search(r"--maxmemory (\w+)", redis["command"])[1]) <= _mebibytes(redis["mem_limit"])


def _mebibytes(size):
    number, unit = re.fullmatch(r"(\d+)([mg])b?", size).groups()
    return int(number) * {"m": 1, "g": 1024}[unit]


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="needs docker-compose, though no engine")
@pytest.mark.parametrize(
    "files",
    [["docker-compose.yml"], *(["docker-compose.yml", f"compose.{kind}.yml"] for kind in ("sentinel", "cluster"))],
)
def test_compose_itself_understands_the_files(secrets, files):
    for name in files:
        (secrets.parent / name).write_text((ROOT / name).read_text())

    command = ["docker-compose", *(f"--file={name}" for name in files), "config", "--quiet"]
    told = subprocess.run(command, cwd=secrets.parent, check=False, capture_output=True, text=True)

    assert (told.returncode, told.stderr) == (0, "")


# --- with Sentinels ---------------------------------------------------------------------------------------------


def _resolved(value):
    """Return what compose makes of a text, where no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


SENTINEL = yaml.safe_load(_resolved((ROOT / "compose.sentinel.yml").read_text()))
SERVERS = ("redis", "redis-2", "redis-3")
SENTINELS = ("sentinel-1", "sentinel-2", "sentinel-3")


def _address(service):
    return SENTINEL["services"][service]["networks"]["store"]["ipv4_address"]


def _with_sentinels(service, secrets):
    return _environment(service, secrets) | SENTINEL["services"][service]["environment"]


@pytest.mark.parametrize("service", OURS)
def test_our_processes_ask_all_sentinels_and_wait_for_a_replica(service, secrets):
    environ = _with_sentinels(service, secrets)
    redis = load_settings(ROOT / "config" / "compose.toml", environ, root_keys=service != "console").redis

    assert list(redis.sentinels) == [f"{_address(one)}:26379" for one in SENTINELS]
    assert redis.replicas is None  # with Sentinels: 1
    assert SENTINEL["services"][service]["depends_on"] == {one: {"condition": "service_healthy"} for one in SENTINELS}
    for one in SENTINELS:
        command = SENTINEL["services"][one]["command"][-1]
        assert f'"monitor {redis.shown_url[len("redis://") : -len("/0")]} {_address("redis")} 6379 2"' in command


def test_production_asks_with_sentinels_too_for_what_the_comment_says(secrets):
    variables = {
        "OTP_SERVICE__ENVIRONMENT": "production",
        "OTP_SERVICE__PLAINTEXT_HOSTS": '["otp-primary", "postgres"]',
    }
    with pytest.raises(StartRefusedError) as refusal:
        load_settings(ROOT / "config" / "compose.toml", _with_sentinels("api", secrets) | variables)

    assert {one.name for one in refusal.value.refusals} == {"gateway-unencrypted", "all-countries"}


@pytest.mark.parametrize("service", SERVERS)
def test_each_server_keeps_what_the_one_would_and_whom_it_follows(service):
    declared = SENTINEL["services"][service]
    options = [re.findall(r"--[a-z-]+ [^ ]+", one["command"] if isinstance(one["command"], str) else one["command"][-1])
               for one in (COMPOSE["services"]["redis"], declared)]  # fmt: skip

    assert set(options[0]) < set(options[1])
    assert declared["command"][-1].startswith(
        'test -f server.conf || echo "$$FOLLOWS" >server.conf; exec valkey-server'
    )
    assert declared["environment"]["FOLLOWS"] == ("" if service == "redis" else f"replicaof {_address('redis')} 6379")


def _check_added(file, added):
    """Assert that what a file adds is bounded as Redis is, and has a volume and an address of its own."""
    (network,) = file["networks"]["store"]["ipam"]["config"]
    services = file["services"]

    assert added == services.keys() - COMPOSE["services"].keys()
    for name in added:
        assert services[name]["extends"] == {"file": "docker-compose.yml", "service": "redis"}
        assert services[name]["volumes"] == [f"{name}:/data"]
        assert name in file["volumes"]
    fixed = [ip_address(services[one]["networks"]["store"]["ipv4_address"]) for one in ("redis", *added)]
    assert len(set(fixed)) == len(fixed)
    assert all(one in ip_network(network["subnet"]) and one not in ip_network(network["ip_range"]) for one in fixed)
    assert file["name"] != COMPOSE["name"], "Valkey does not read the volume of Redis"


def test_whatever_sentinels_add_is_bounded_as_redis_is_and_has_an_address_and_a_volume_of_its_own():
    _check_added(SENTINEL, {*SERVERS, *SENTINELS} - {"redis"})


# --- on a cluster -----------------------------------------------------------------------------------------------

CLUSTER = yaml.safe_load(_resolved((ROOT / "compose.cluster.yml").read_text()))
MEMBERS = ("redis", *(f"redis-{place}" for place in range(2, 10)))


@pytest.mark.parametrize("service", OURS)
def test_our_processes_have_as_many_buckets_as_a_cluster_needs(service, secrets):
    environ = _environment(service, secrets) | CLUSTER["services"][service]["environment"]
    settings = load_settings(ROOT / "config" / "compose.toml", environ, root_keys=service != "console")
    name = settings.redis.shown_url.removeprefix("redis://").partition(":")[0]

    assert (settings.redis.replicas, settings.keys.buckets) == (None, 16)
    assert CLUSTER["services"][service]["depends_on"] == {MEMBERS[-1]: {"condition": "service_healthy"}}
    for one in MEMBERS:
        assert name in CLUSTER["services"][one]["networks"]["store"]["aliases"]


def test_the_last_server_makes_a_cluster_of_all():
    last = CLUSTER["services"][MEMBERS[-1]]
    addresses = [CLUSTER["services"][one]["networks"]["store"]["ipv4_address"] for one in MEMBERS]

    assert last["environment"]["SERVERS"].split() == [f"{one}:6379" for one in addresses]
    assert last["depends_on"] == {one: {"condition": "service_healthy"} for one in MEMBERS[:-1]}
    assert "--cluster create $$SERVERS --cluster-replicas 2" in last["command"][-1]
    assert last["command"][-1].endswith(CLUSTER["services"]["redis"]["command"][-1])


@pytest.mark.parametrize("service", MEMBERS)
def test_each_server_of_a_cluster_keeps_what_the_one_would(service):
    alone = re.findall(r"--[a-z-]+ [^ ]+", COMPOSE["services"]["redis"]["command"])
    options = re.findall(r"--[a-z-]+ [^ ]+", CLUSTER["services"][service]["command"][-1])

    assert {*alone, "--cluster-enabled yes", "--cluster-require-full-coverage no"} < set(options)


def test_whatever_a_cluster_adds_is_bounded_as_redis_is_and_has_an_address_and_a_volume_of_its_own():
    _check_added(CLUSTER, set(MEMBERS[1:]))
