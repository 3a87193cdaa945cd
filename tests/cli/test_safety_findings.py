"""What ``doctor`` makes of settings that are not safe: what production refuses, and what it only warns of."""

import contextlib

import pytest
from support_installation import tree
from support_refusals import HTTP, SIM_SWAP, SMPP

from otp_service.bootstrap import install
from otp_service.cli.checks import Level
from otp_service.cli.doctor import ledger_diagnoses, safety_diagnoses
from otp_service.settings import settings_from

LOCAL = "redis://localhost/0"
BOUNDED = tree(LOCAL)["applications"]
for _application in BOUNDED.values():
    _application["spend"] = {"day": "4000"}
PRICES = {"prices": {"*": "2.50"}}
SMPP, HTTP = {**SMPP, **PRICES}, {**HTTP, **PRICES}
SOUND = {
    "applications": BOUNDED,
    "audit": {"export": "syslog:/dev/log"},
    "gateways": {"sandbox": {"kind": "sandbox", "timeout": 1.0, **PRICES}},
    "guard": {"modes": {}},
}
"""What production asks for beyond the tests' own settings."""


def found(url=LOCAL, **sections):
    """Return what is not well, but for what the tests' own gateway is refused for."""
    gateways = {**SOUND["gateways"], **sections.pop("gateways", {})}
    settings = settings_from(tree(url, **{**SOUND, **sections, "gateways": gateways}), to_start=False)
    return [
        finding
        for finding in safety_diagnoses(settings)
        if finding.level is not Level.OK and finding.name != "gateway-for-development"
    ]


def told(url=LOCAL, **sections):
    """Return level, subject and name of what is not well."""
    return [(finding.level.value, finding.subject, finding.name) for finding in found(url, **sections)]


@pytest.mark.parametrize("environment", ["production", "development"])
def test_a_sound_installation_has_no_finding(environment):
    assert found(environment=environment) == []


CLEAR = ("redis.url", "redis-unencrypted")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://db.example/0", [CLEAR, ("redis.url", "")]),
        ("redis://:9f2c-of-redis@db.example/0", [CLEAR]),
        ("rediss://:9f2c-of-redis@db.example/0", []),
        ("rediss://db.example/0", [("redis.url", "")]),
        ("unix://db.example/run/redis.sock", []),
        ("redis://127.0.0.1/0", []),
        ("redis://[::1]/0", []),
        ("unix:///run/redis.sock", []),
    ],
)
def test_a_remote_redis_needs_encryption_and_a_password(url, expected):
    assert told(url) == [("warn", *one) for one in expected]
    assert [name for _, _, name in told(url, environment="production")] == [name for _, name in expected]


@pytest.mark.parametrize(("environment", "level"), [("production", "fail"), ("development", "warn")])
def test_what_is_in_the_clear_fails_in_production_and_warns_in_development(environment, level):
    sections = {
        "ledger": {"url": "postgresql://otp:9f2c-of-sql@db.example/otp"},
        "gateways": {"second": {**HTTP, "url": "http://sms.example/send"}},
        "policies": {"simswap": {**SIM_SWAP, "base_url": "http://api.example/v2"}},
    }

    assert told(environment=environment, **sections) == [
        (level, "ledger.url", "ledger-unencrypted"),
        (level, "gateways.second.url", "gateway-unencrypted"),
        (level, "policies.simswap.base_url", "policy-unencrypted"),
    ]


@pytest.mark.parametrize("environment", ["production", "development"])
def test_an_exception_is_a_warning_each_time_it_is_made_use_of(environment):
    sections = {
        "plaintext_hosts": ["db.example", "smsc.example"],
        "ledger": {"url": "postgresql://otp:9f2c-of-sql@db.example/otp"},
        "gateways": {"second": {**HTTP, "url": "http://db.example/send"}, "third": SMPP},
    }
    findings = found(environment=environment, **sections)

    assert [(one.level, one.subject) for one in findings] == [
        (Level.WARN, "ledger.url"),
        (Level.WARN, "gateways.second.url"),
        (Level.WARN, "gateways.third"),
    ]
    assert findings[0].sentence == "db.example is reached without encryption, which plaintext_hosts allows."


def test_an_exception_without_use_is_a_warning():
    (finding,) = found("rediss://:9f2c-of-redis@redis.internal/0", plaintext_hosts=["redis.internal"])

    assert (finding.subject, finding.sentence) == (
        "plaintext_hosts",
        "Nothing is reached at redis.internal without encryption.",
    )


@pytest.mark.parametrize("environment", ["production", "development"])
@pytest.mark.parametrize(
    ("changed", "warned"),
    [({}, True), ({"tls": True}, False), ({"host": "127.0.0.1"}, False), ({"host": "::1"}, False)],
)
def test_smpp_without_encryption_is_a_warning(changed, warned, environment):
    findings = found(environment=environment, gateways={"operator": {**SMPP, **changed}})

    assert [(one.level, one.subject) for one in findings] == [(Level.WARN, "gateways.operator")] * warned


@pytest.mark.parametrize(("environment", "level"), [("production", Level.FAIL), ("development", Level.WARN)])
@pytest.mark.parametrize(
    ("redis", "ledger", "subjects"),
    [
        ("rediss://:9f2c-of-redis@a.example/0?ssl_cert_reqs=none", "", ["redis.url"]),
        ("rediss://:9f2c-of-redis@a.example/0?ssl_cert_reqs=required", "", []),
        ("rediss://localhost/0?ssl_cert_reqs=none", "", []),
        (LOCAL, "a.example/otp?sslmode=require", ["ledger.url"]),
        (LOCAL, "a.example/otp?sslmode=require&sslrootcert=/ca.pem", []),
        (LOCAL, "a.example/otp?sslmode=verify-full", []),
        (LOCAL, "localhost/otp?sslmode=require", []),
    ],
)
def test_encryption_to_whoever_answers_fails_in_production_and_warns_in_development(
    redis, ledger, subjects, environment, level
):
    sections = {"ledger": {"url": f"postgresql://{ledger}"}} if ledger else {}
    findings = found(redis, environment=environment, **sections)

    assert [(one.level, one.subject, one.name) for one in findings] == [
        (level, subject, "certificate-not-verified") for subject in subjects
    ]


def test_an_exception_tells_that_nobody_asks_who_answers():
    url = "rediss://:9f2c-of-redis@a.example/0?ssl_cert_reqs=none"
    (finding,) = found(url, environment="production", plaintext_hosts=["a.example"])

    assert (finding.level, finding.subject) == (Level.WARN, "redis.url")
    assert finding.sentence == "a.example is reached without a check of its certificate, which plaintext_hosts allows."


def test_a_short_secret_of_a_provider_is_a_warning_and_no_refusal():
    """The provider chose it: SMPP has no passwords of more than eight characters, and many are shorter."""
    findings = found(environment="production", gateways={"operator": {**SMPP, "tls": True, "password": "7f3b90c"}})

    assert [(one.level, one.subject) for one in findings] == [(Level.WARN, "gateways.operator.password")]
    assert "7f3b90c" not in f"{findings}"
    assert found(environment="production", gateways={"operator": {**SMPP, "tls": True}}) == []
    sample = found(environment="production", gateways={"operator": {**SMPP, "tls": True, "password": "secret"}})
    assert [(one.level, one.name) for one in sample] == [(Level.FAIL, "sample-secret")]


def test_the_keys_are_told_to_be_there_only_where_they_are():
    tables = [tree(LOCAL), tree(LOCAL, keys={"pseudonym": "A" * 43 + "="})]
    subjects = [[one.subject for one in safety_diagnoses(settings_from(table, to_start=False))] for table in tables]

    assert subjects == [["keys"], ["OTP_SERVICE_PSEUDONYM_KEY"]]


@pytest.mark.parametrize(
    ("sections", "subject", "sentence"),
    [
        (
            {"guard": {"modes": {"block.unapproved": "record_only", "country.conversion": "off"}}},
            "guard.modes",
            "These rules refuse nothing: block.unapproved (record_only), country.conversion (off).",
        ),
        (
            {"applications": {"shop": {**BOUNDED["shop"], "spend": {"countries": {"*": {"hour": "none"}}}}}},
            "applications.shop.spend",
            "Nothing limits its spending.",
        ),
        (
            {"ledger": {"rebuild_lost_mirror": True}},
            "ledger.rebuild_lost_mirror",
            "An empty Redis is filled from the ledger without asking: a ledger that was restored too is not noticed.",
        ),
        (
            {"audit": {}},
            "audit.export",
            "Heads of the audit chain are not exported: a database administrator can cut its end off unnoticed.",
        ),
    ],
)
def test_a_protection_that_is_not_at_work_is_a_warning_in_production(sections, subject, sentence):
    changed = {**SOUND, **sections}
    changed["applications"] = {**BOUNDED, **changed["applications"]}
    production = found(environment="production", **changed)

    assert [(one.level, one.subject, one.sentence) for one in production] == [(Level.WARN, subject, sentence)]
    assert production[0].action
    assert found(environment="development", **changed) == []


@pytest.mark.parametrize(("superuser", "warned"), [(True, 1), (False, 0)])
def test_a_superuser_as_role_of_the_database_is_a_warning(
    superuser, warned, postgres_server, postgres_template, valkey
):
    name = postgres_server.create(postgres_template)
    url = postgres_server.url(name) if superuser else postgres_server.url_of_a_plain_role(name)
    sections = {**SOUND, "ledger": {"url": url}}
    settings = settings_from(tree(valkey.url, environment="production", **sections), to_start=False)
    with contextlib.closing(install(settings)) as installation:
        findings = list(ledger_diagnoses(settings, installation.context))
    postgres_server.drop(name)

    assert [one.sentence.startswith("The database's role is a superuser") for one in findings].count(True) == warned
    assert findings  # the ledger was asked


@pytest.mark.parametrize(("readers", "warned"), [(1, 0), (1_000_000, 1)])
def test_too_few_locks_for_the_partitions_of_the_ledger_are_a_warning(
    readers, warned, postgres_server, postgres_template, valkey, monkeypatch
):
    monkeypatch.setattr("otp_service.ledger.partitions.READERS", readers)
    name = postgres_server.create(postgres_template)
    sections = {**SOUND, "ledger": {"url": postgres_server.url(name)}}
    settings = settings_from(tree(valkey.url, **sections), to_start=False)
    with contextlib.closing(install(settings)) as installation:
        findings = list(ledger_diagnoses(settings, installation.context))
    postgres_server.drop(name)

    assert [one.action.startswith("Set max_locks_per_transaction") for one in findings].count(True) == warned
