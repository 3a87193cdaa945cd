"""What ``doctor`` makes of settings and of what a server tells."""

import pytest
from support_installation import key, tree

from otp_service.cli.checks import Level, refusal_diagnosis
from otp_service.cli.doctor import (
    clock_diagnosis,
    cluster_diagnoses,
    replication_diagnoses,
    safety_diagnoses,
    server_diagnoses,
    settings_diagnoses,
    version_diagnosis,
    worker_diagnosis,
)
from otp_service.gateways.sandbox import SandboxGateway
from otp_service.settings import settings_from
from otp_service.store.mirror import installation_refusal

LOCAL = "redis://localhost/0"
HTTP = {"kind": "http", "url": "https://sms.example/send", "form": {"to": "{to}", "text": "{text}"}}


def found(url=LOCAL, **sections):
    """Return the subjects and sentences of what is not well."""
    settings = settings_from(tree(url, **sections))
    return [(f.level, f.subject, f.sentence) for f in settings_diagnoses(settings) if f.level is not Level.OK]


def test_a_sound_installation_has_no_finding():
    assert found() == []


@pytest.mark.parametrize(
    ("purpose", "words"),
    [
        (
            {"ttl": 60, "resend_delays": [60]},
            "No message is ever sent again: the wait for it is 60 s, and the code lives 60 s.",
        ),
        ({"ttl": 60, "resend_delays": [60], "max_sends": 1}, None),
        ({"ttl": 61, "resend_delays": [60]}, None),
        ({"ttl": 59}, 'A code lives 59 s: messages say "less than a minute", and many arrive later.'),
    ],
)
def test_a_life_of_codes_that_is_too_short_is_told(purpose, words):
    told = found(purposes={"login": purpose})
    assert told == ([(Level.WARN, "purposes.login", words)] if words else [])


@pytest.mark.parametrize(
    ("root", "sentence", "action"),
    [
        (["k1"], "The pseudonym key is set. New verifications are made with the root key k1.", ""),
        (
            ["k2", "k1"],
            "The pseudonym key is set. New verifications are made with the root key k2; those of k1 are still known.",
            "A retired key may be removed 20 min after the last process was reloaded with k2 in front.",
        ),
    ],
)
def test_the_root_keys_are_named_and_when_one_may_go(root, sentence, action):
    root_keys = " ".join(f"{name}:{key()}" for name in root)
    keys = {"root": root_keys, "pseudonym": key()}
    settings = settings_from(tree(LOCAL, keys=keys, purposes={"login": {"ttl": 600}}))
    told = next(finding for finding in safety_diagnoses(settings) if finding.subject == "keys")
    assert (told.level, told.sentence, told.action) == (Level.OK, sentence, action)


def test_a_country_that_no_route_reaches_fails_and_a_further_channel_warns():
    routes = [
        {"gateways": ["sandbox"], "countries": ["PK"]},
        {"gateways": ["sandbox"], "channels": ["sms"], "purposes": ["login"]},
    ]
    assert found(routes=routes) == [
        (Level.FAIL, "applications.shop", "No gateway carries sms for payment to GB."),
        (Level.WARN, "applications.shop", "No gateway carries voice for login to GB."),
    ]


def test_all_countries_need_a_route_without_countries():
    applications = {"shop": {"purposes": ["login"], "countries": ["*"], "keys": [f"sha256:{'0' * 64}"]}}
    routes = [{"gateways": ["sandbox"], "countries": ["PK"]}]
    lines = found(applications=applications, routes=routes)
    assert (Level.FAIL, "applications.shop", "No gateway carries sms for login to some countries.") in lines


@pytest.mark.parametrize(
    ("section", "has_home"),
    [
        ({"countries": ["PK"]}, True),
        ({"countries": ["PK", "GB"]}, False),
        ({"countries": ["*"]}, False),
        ({"countries": ["PK", "GB"], "region": "PK"}, True),
        ({"countries": ["*"], "home": "PK"}, True),
    ],
)
def test_an_application_without_a_home_is_told(section, has_home):
    applications = {"shop": {"purposes": ["login"], "keys": [f"sha256:{'0' * 64}"], **section}}
    lines = [sentence for _, subject, sentence in found(applications=applications) if subject == "applications.shop"]
    assert [line.startswith("It has no home") for line in lines] == ([] if has_home else [True])


_PLAIN = "People would sign in at the console without encryption, and their browsers keep no cookie of it."
_SHARED = "It is the API's host: cookies know no port."
_PROXIES = "All users behind a proxy share an address: one user's wrong passwords make the others wait."


@pytest.mark.parametrize(
    ("console", "sentences"),
    [
        ({}, set()),
        ({"public_url": "https://console.example", "trusted_proxies": 1}, set()),
        ({"public_url": "http://console.example", "trusted_proxies": 1}, {_PLAIN}),
        ({"public_url": "https://api.example:8443", "trusted_proxies": 1}, {_SHARED}),
        ({"public_url": "https://console.example"}, {_PROXIES}),
    ],
)
def test_a_console_that_is_reached_badly_is_told(console, sentences):
    settings = settings_from(tree(LOCAL, http={"public_url": "https://api.example"}, console=console))
    for environment, expected in (("production", sentences), ("development", sentences & {_SHARED})):
        there = settings.model_copy(update={"environment": environment})
        told = {one.sentence for one in settings_diagnoses(there) if one.subject.startswith("console.")}
        assert told == expected, environment


def test_a_gateway_that_carries_none_of_a_route_s_channels_is_told():
    gateways = {"texts": HTTP}
    routes = [
        {"gateways": ["texts", "sandbox"], "channels": ["voice"]},
        {"gateways": ["texts", "sandbox"]},
    ]
    assert (
        Level.WARN,
        "routes.0",
        "The gateway texts is never used: it carries none of voice.",
    ) in found(gateways=gateways, routes=routes)
    assert found(gateways=gateways, routes=routes[1:]) == []


def test_a_gateway_that_could_report_needs_a_public_address(monkeypatch):
    monkeypatch.setattr(SandboxGateway, "development_only", False)
    assert found() == [
        (Level.WARN, "gateways.sandbox", "It could report delivery, but does not know the address of this service.")
    ]
    assert found(http={"public_url": "https://otp.example"}) == []


def test_a_gateway_whose_settings_say_nothing_of_receipts_needs_no_public_address():
    assert found(gateways={"plain": HTTP}) == []
    read = {"secret": "0123456789abcdef", "status": {"form": "state"}, "statuses": {"delivered": ["DELIVRD"]}}
    with_receipts = HTTP | {"receipts": read, "form": {"to": "{to}", "text": "{text}", "report": "{receipt_url}"}}
    assert [subject for _, subject, _ in found(gateways={"plain": with_receipts})] == ["gateways.plain"]


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("Redis 7.2.4", Level.OK),
        ("Redis 8.0.2", Level.OK),
        ("Redis 7.0.15", Level.FAIL),
        ("Valkey 8.0.1", Level.OK),
        ("Valkey 9.1.2", Level.OK),
        ("Valkey 7.2.9", Level.FAIL),
        ("Redis unknown", Level.WARN),
        ("Dragonfly 1.0", Level.WARN),
    ],
)
def test_versions_are_judged_by_what_the_scripts_need(version, level):
    assert version_diagnosis(version).level is level


GOOD = {
    "maxmemory": "1073741824",
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "hash-max-listpack-value": "1024",
}


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("maxmemory", "0", Level.WARN),
        ("maxmemory", None, Level.WARN),
        ("maxmemory-policy", "allkeys-lru", Level.FAIL),
        ("maxmemory-policy", "volatile-ttl", Level.FAIL),
        ("maxmemory-policy", None, Level.WARN),
        ("appendonly", "no", Level.WARN),
        ("appendonly", None, Level.WARN),
        ("appendfsync", "no", Level.WARN),
        ("hash-max-listpack-value", "64", Level.WARN),
        ("hash-max-listpack-value", None, Level.WARN),
    ],
)
def test_a_setting_of_the_server_that_costs_something_is_told(name, value, level):
    settings = GOOD | {name: value}
    bad = [finding for finding in server_diagnoses(settings) if finding.level is not Level.OK]
    assert [finding.level for finding in bad] == [level]
    assert bad[0].subject == name
    assert bad[0].action


def test_good_settings_of_the_server_have_no_finding():
    assert all(finding.level is Level.OK for finding in server_diagnoses(GOOD))


@pytest.mark.parametrize(("skew", "words"), [(0.5, "agrees"), (-2.5, "2.5 s behind"), (600.0, "600.0 s ahead of")])
def test_clocks_are_compared(skew, words):
    assert words in clock_diagnosis(skew).sentence


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        ((0, 0, 0, False), []),
        ((2, 0, 0, False), []),
        (
            (2, 1, 1, True),
            [(Level.WARN, "but Sentinels or the cluster know 1"), (Level.OK, "1 of 2 replicas")],
        ),
        ((2, 0, 1, False), [(Level.OK, "1 of 2 replicas have an approval")]),
        ((0, 1, 1, True), [(Level.FAIL, "0 of 1 awaited replicas are online")]),
        ((1, 1, 1, True), [(Level.WARN, "when one fails, starts and checks get 503")]),
        (
            (1, 2, 1, True),
            [(Level.WARN, "when one fails, starts"), (Level.WARN, "1 of 2 replicas are online")],
        ),
        ((2, 3, 1, True), [(Level.WARN, "2 of 3 replicas are online")]),
        ((2, 3, 2, True), [(Level.WARN, "when one fails, starts")]),
        ((2, 2, 0, True), [(Level.WARN, "and ends all pending codes")]),
        ((2, 2, 1, True), [(Level.OK, "1 of 2 replicas have an approval")]),
    ],
)
def test_what_a_fail_over_would_forget_or_refuse_is_told(replicas, expected):
    *counts, replaceable = replicas
    found = list(replication_diagnoses(*counts, replaceable=replaceable))
    assert [one.level for one in found] == [level for level, _ in expected]
    assert all(words in one.sentence for one, (_, words) in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("state", "bad"),
    [
        ((["Valkey 9.0.0", "Valkey 10.1.0"], ["no", "no"], 0, 16), []),
        ((["Valkey 9.1.2", "Valkey 8.1.1"], ["no", "no"], 0, 16), [("server", Level.FAIL)]),
        ((["Redis 8.0.2"] * 2, ["no", None], 0, 16), [("server", Level.FAIL)]),
        ((["Redis 7.2.4"], ["yes"], 0, 1), []),
        ((["Valkey 9.1.2"] * 2, ["no", "yes"], 3, 1),
         [("cluster", Level.FAIL), ("cluster-require-full-coverage", Level.WARN), ("keys.buckets", Level.WARN)]),
    ],
)  # fmt: skip
def test_what_a_cluster_would_lose_or_refuse_is_told(state, bad):
    faults = [diagnosis for diagnosis in cluster_diagnoses(*state) if diagnosis.level is not Level.OK]
    assert [(fault.subject, fault.level) for fault in faults] == bad


def test_another_pseudonym_key_fails():
    finding = refusal_diagnosis(installation_refusal(["pseudonym_key", "buckets"]))
    assert (finding.level, finding.name) == (Level.FAIL, "other-installation")
    assert "another pseudonym_key and another buckets" in finding.sentence


def test_a_missing_worker_is_told():
    assert [worker_diagnosis(age).level for age in (None, 3)] == [Level.WARN, Level.OK]
