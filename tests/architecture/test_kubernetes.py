"""deploy/kubernetes fits the code, as kustomize builds it; `make kubernetes-check` holds it to Kubernetes' schemas."""

import json
import re
import shutil
import subprocess
from functools import cache

import click
import pytest
import yaml
from support_missing import missing
from support_programs import programs_of
from support_sources import ROOT

from otp_service.api.app import all_routes
from otp_service.cli.child_processes import KILL_AFTER
from otp_service.cli.main import commands
from otp_service.console.app import HEALTH
from otp_service.domain.keyring import new_key
from otp_service.gateways.base import GatewaySettings
from otp_service.policies.base import PolicySettings
from otp_service.settings import load_settings
from otp_service.telemetry import metrics
from otp_service.worker import webhooks

KUSTOMIZE = shutil.which("kustomize")
if KUSTOMIZE is None:
    missing("kustomize")
FOLDER = ROOT / "deploy" / "kubernetes"
VARIANTS = ["base", *(f"overlays/{path.name}" for path in sorted(FOLDER.glob("overlays/*")))]
COMPONENTS = ["api", "worker", "console", "ledger-upgrade"]
(maker,) = programs_of("observe", "make_prometheus_rule")
PROMETHEUS = yaml.safe_load((ROOT / "observe" / "prometheus" / "prometheus.yml").read_text())
SECRETS = {
    "redis_url": "rediss://otp:Zx9qLw3Rt7Vb2Nm5@redis.example.com:6379/0",
    "ledger_url": "postgresql://otp:Zx9qLw3Rt7Vb2Nm5@db.example.com/otp?sslmode=verify-full",
    "pseudonym_key": new_key(),
    "root_keys": f"k1:{new_key()}",
}


@cache
def _built(variant):
    built = subprocess.run([KUSTOMIZE, "build", FOLDER / variant], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(built.stdout))


def _of_kind(kind, variant="base"):
    return {one["metadata"]["name"]: one for one in _built(variant) if one["kind"] == kind}


def _pods(variant="base"):
    """Return the template of the pods of each component."""
    made = [*_of_kind("Deployment", variant).values(), *_of_kind("Job", variant).values()]
    return {_labels(one)["app.kubernetes.io/component"]: one["spec"]["template"] for one in made}


def _labels(one):
    return one["metadata"]["labels"]


def _container(component, variant="base"):
    (container,) = _pods(variant)[component]["spec"]["containers"]
    return container


def _mounted(component, variant):
    """Return the folder of each volume, and the volume: what a process finds where."""
    volumes = {one["name"]: one for one in _pods(variant)[component]["spec"]["volumes"]}
    return {one["mountPath"]: volumes[one["name"]] for one in _container(component, variant)["volumeMounts"]}


def _variables(component, variant):
    container, maps = _container(component, variant), _of_kind("ConfigMap", variant)
    shared = [maps[one["configMapRef"]["name"]]["data"] for one in container["envFrom"]]
    own = {one["name"]: one["value"] for one in container.get("env", [])}
    return {name: value for of in (*shared, own) for name, value in of.items()}


@pytest.fixture
def settings_of(tmp_path):
    """Return the settings with which a process of a component starts, in production."""

    def settings(component, variant="base"):
        variables = _variables(component, variant)
        folders = _mounted(component, variant)
        for name, value in variables.items():
            folder, _, file = value.rpartition("/")
            if name == "OTP_SERVICE_CONFIG":
                configuration = _of_kind("ConfigMap", variant)[folders[folder]["configMap"]["name"]]["data"][file]
            elif name.endswith("_FILE"):
                assert "secret" in folders[folder], name
                (tmp_path / file).write_text(SECRETS.get(file, new_key()))
                (tmp_path / file).chmod(0o600)
                variables[name] = str(tmp_path / file)
        path = tmp_path / "otp_service.toml"
        path.write_text(configuration)
        return load_settings(path, variables, root_keys=component in {"api", "worker"})

    return settings


def _seconds_of(component):
    return _pods()[component]["spec"]["terminationGracePeriodSeconds"]


def _longest(model):
    """Return the longest time-out that a setting allows."""
    return next(one.le for one in model.model_fields["timeout"].metadata if hasattr(one, "le"))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("component", COMPONENTS)
def test_a_process_starts_in_production_with_what_is_mounted(component, variant, settings_of):
    settings = settings_of(component, variant)

    assert settings.environment == "production"
    assert bool(settings.keyring().root_ids) is (component in {"api", "worker"})
    assert settings.ledger.upgrade is False
    assert settings.http.processes == 2, "what the memory is measured with"


@pytest.mark.parametrize("component", COMPONENTS)
def test_only_what_makes_codes_has_the_root_keys(component):
    secrets = {one["secret"]["secretName"] for one in _mounted(component, "base").values() if "secret" in one}
    root_keys = {"otp-service-root-keys"} if component in {"api", "worker"} else set()

    assert secrets == {"otp-service-shared", "otp-service-gateways"} | root_keys
    assert {folder for folder, one in _mounted(component, "base").items() if "emptyDir" in one} == {"/tmp"}  # noqa: S108
    assert not any("subPath" in one for one in _container(component)["volumeMounts"]), "changes would not arrive"


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_secret_is_in_the_manifests(variant):
    named = {name for component in COMPONENTS for name in _variables(component, variant)}

    assert not _of_kind("Secret", variant)
    assert not [name for name in named if re.search("(KEYS?|TOKEN|SECRET|PASSWORD|REDIS__URL|LEDGER__URL)$", name)]


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_container_runs_a_command_of_ours(component):
    context, command = click.Context(commands), commands
    for word in _container(component)["args"]:
        command = command.get_command(context, word)
        assert command

    assert not isinstance(command, click.Group)
    assert "command" not in _container(component), "the image's"


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_container_has_no_rights_that_it_does_not_need_and_no_more_than_its_share(component):
    pod, container = _pods()[component]["spec"], _container(component)
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user[1]),
        "runAsGroup": int(user[2]),
        "fsGroup": int(user[2]),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert _of_kind("ServiceAccount")[pod["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert container["resources"].keys() == {"requests", "limits"}
    assert all(of.keys() == {"cpu", "memory"} for of in container["resources"].values())
    assert "@sha256:" in container["image"]


def test_ports_are_those_of_the_settings(settings_of):
    settings = settings_of("api")
    ports = {
        component: {one["name"]: one["containerPort"] for one in _container(component).get("ports", [])}
        for component in COMPONENTS
    }

    assert ports == {
        "api": {"http": settings.http.port, "metrics": settings.http.metrics_port},
        "worker": {"metrics": settings.worker.metrics_port},
        "console": {"http": settings.console.port},
        "ledger-upgrade": {},
    }
    assert settings_of("console").console.host == "0.0.0.0"  # noqa: S104 - of a container
    assert "OTP_SERVICE__HTTP__HOST=0.0.0.0" in (ROOT / "Dockerfile").read_text()
    for service in _of_kind("Service").values():
        asked = {one["targetPort"] for one in service["spec"]["ports"]}
        assert asked <= ports[service["spec"]["selector"]["app.kubernetes.io/component"]].keys()


def test_probes_ask_for_what_is_answered_and_give_it_time(settings_of):
    probes = {
        component: {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
        for component in COMPONENTS
        if "ports" in (container := _container(component))
    }
    asked = {
        component: {name: (one["httpGet"]["path"], one["httpGet"]["port"]) for name, one in of.items()}
        for component, of in probes.items()
    }
    routes = {route.rule for route in all_routes(with_metrics=False) if route.method == "GET"}
    ready = "/readyz/checks"  # with /readyz whatever keeps starts back would keep checks back too

    assert {"/healthz", ready} <= routes
    assert asked == {
        "api": {"startup": ("/healthz", "http"), "liveness": ("/healthz", "http"), "readiness": (ready, "http")},
        "worker": dict.fromkeys(("startup", "liveness", "readiness"), ("/healthz", "metrics")),
        "console": dict.fromkeys(("startup", "liveness", "readiness"), (HEALTH, "http")),
    }
    redis = settings_of("api").redis
    for of in probes.values():
        assert of["startup"]["periodSeconds"] * of["startup"]["failureThreshold"] >= 1800
        assert of["liveness"]["periodSeconds"] * of["liveness"]["failureThreshold"] >= 60
        assert of["readiness"]["timeoutSeconds"] > redis.timeout + redis.connect_timeout
        assert of["readiness"]["periodSeconds"] * of["readiness"]["failureThreshold"] > 10, "a fail-over"


def test_the_api_ends_after_its_delay_and_the_requests_in_flight(settings_of):
    delay = settings_of("api").http.shutdown_delay

    assert delay >= 5, "endpoints are told meanwhile"
    assert _seconds_of("api") > delay + KILL_AFTER


def test_a_worker_has_longer_than_the_slowest_gateway_can_take():
    last = webhooks._PATIENCE  # no setting

    assert _seconds_of("worker") > _longest(GatewaySettings) + _longest(PolicySettings) + last


def test_the_console_ends_after_its_pause_and_the_requests_in_flight():
    pause = _container("console")["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert _seconds_of("console") > pause + KILL_AFTER


def _selected(selector):
    """Return the components whose pods a selector selects."""
    return {
        component
        for component, pod in _pods().items()
        if selector.get("matchLabels", {}).items() <= _labels(pod).items()
        and all(_labels(pod).get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))
    }


def _allowed(variant, direction, peer):
    """Return who may talk to whom at which ports: component, namespace's label or addresses, ports."""
    for policy in _of_kind("NetworkPolicy", variant).values():
        for rule in policy["spec"].get(direction, []):
            for of in rule[peer]:
                namespace = of.get("namespaceSelector", {}).get("matchLabels")
                name = next(iter(namespace)).removeprefix("otp-service/") if namespace else of["ipBlock"]["cidr"]
                for component in _selected(policy["spec"]["podSelector"]):
                    yield (component, name), {one["port"] for one in rule["ports"]}


@pytest.mark.parametrize("variant", VARIANTS)
def test_exactly_what_is_needed_may_leave(variant, settings_of):
    settings = settings_of("api")
    redis = {6379, *({26379} if variant.endswith("sentinel") else ())}
    internet = {443, *settings.webhooks.ports}
    expected = {(component, "kubernetes.io/metadata.name"): {53} for component in COMPONENTS}
    expected |= {(component, "postgresql"): {5432} for component in COMPONENTS}
    expected |= {(component, "redis"): redis for component in COMPONENTS[:3]}
    expected |= {("worker", "0.0.0.0/0"): internet, ("worker", "::/0"): internet, ("worker", "syslog"): {514}}

    assert dict(_allowed(variant, "egress", "to")) == expected
    assert settings.audit.export.endswith(":514")
    assert settings.redis.shown_url.endswith(":6379/0")


def test_exactly_what_is_needed_may_enter_and_nothing_else_passes():
    assert dict(_allowed("base", "ingress", "from")) == {
        ("api", "ingress"): {"http"},
        ("console", "ingress"): {"http"},
        ("api", "prometheus"): {"metrics"},
        ("worker", "prometheus"): {"metrics"},
    }
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert deny in [policy["spec"] for policy in _of_kind("NetworkPolicy").values()]


def test_what_selects_pods_selects_those_that_it_is_named_after():
    assert _of_kind("PodDisruptionBudget").keys() == _of_kind("Deployment").keys()
    for kind in ("Deployment", "PodDisruptionBudget"):
        for name, one in _of_kind(kind).items():
            assert _selected(one["spec"]["selector"]) == {name.removeprefix("otp-service-")}
    for one in _of_kind("Service").values():
        assert _selected({"matchLabels": one["spec"]["selector"]}) == {_labels(one)["app.kubernetes.io/component"]}
    for one in _of_kind("Deployment").values():
        for spread in one["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"] == one["spec"]["selector"]


def test_autoscalers_never_go_below_two_and_ask_for_what_there_is():
    deployments, scalers = _of_kind("Deployment"), _of_kind("HorizontalPodAutoscaler")
    (lag,) = scalers["otp-service-worker"]["spec"]["metrics"]

    assert lag["pods"]["metric"]["name"] in {metric.name for metric in metrics.METRICS if metric.kind == "gauge"}
    assert scalers.keys() == {"otp-service-api", "otp-service-worker"}
    for name, one in scalers.items():
        assert one["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"], "two would decide"
        assert one["spec"]["minReplicas"] >= 2


def _folded(groups):
    """Return groups as text, in which an expression is one line: kustomize folds them differently."""
    return re.sub(r"(\s|\\n)+", " ", json.dumps(groups, sort_keys=True))


def test_the_rules_are_what_their_maker_makes_and_know_the_jobs():
    (rules,) = _of_kind("PrometheusRule").values()
    sources = [yaml.safe_load((maker.RULES / name).read_text()) for name in ("alerts.yml", "objectives.yml")]
    (monitor,) = _of_kind("ServiceMonitor").values()
    watched = {
        name: one["spec"]["ports"]
        for name, one in _of_kind("Service").items()
        if _selected(monitor["spec"]["selector"]) & {_labels(one)["app.kubernetes.io/component"]}
    }

    assert maker.document() == maker.MADE.read_text(encoding="utf-8"), "python observe/make_prometheus_rule.py"
    assert _folded(rules["spec"]["groups"]) == _folded([group for source in sources for group in source["groups"]])
    assert watched.keys() == {job["job_name"] for job in PROMETHEUS["scrape_configs"]} - {"proxy", "redis"}
    assert all("metrics" in {port["name"] for port in ports} for ports in watched.values())
