"""What ``doctor`` makes of gateways that are left alone, messages that were given up, and messages that wait."""

import json
from pathlib import Path

import pytest
from support_caller import Caller
from support_cli import configured, run
from support_outbox import Scripted, Sender, refused

from otp_service.bootstrap import install
from otp_service.cli.checks import Level
from otp_service.cli.doctor import backlog_diagnosis, dead_letter_diagnosis, gateway_diagnoses
from otp_service.domain.routing import BreakerState, GatewayHealth
from otp_service.settings import load_settings


@pytest.fixture
def environ(valkey, tmp_path):
    return configured(tmp_path, valkey.url)


@pytest.fixture
def shop(environ):
    return Caller(install(load_settings(environ=environ)))


def doctor(environ):
    result = run("doctor", environ=environ)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("health", "sentence"),
    [
        (GatewayHealth(BreakerState.OPEN, probe_in=29_001),
         "It is resting after failures, for 30 s yet."),
        (GatewayHealth(BreakerState.HALF_OPEN),
         "It is to be tried with the next message."),
        (GatewayHealth(BreakerState.OPEN, opened_by="cli:ali", probe_in=3_600_000),
         "It is paused by cli:ali, for 1 h yet."),
    ],
)  # fmt: skip
def test_a_gateway_that_is_left_alone_is_told(health, sentence):
    (finding,) = gateway_diagnoses("primary", health)
    assert (finding.level, finding.subject, finding.sentence) == (Level.WARN, "gateways.primary", sentence)
    assert ("gateway resume primary" in finding.action) == bool(health.opened_by)


def test_a_gateway_that_refuses_our_account_has_to_be_mended():
    health = GatewayHealth(BreakerState.OPEN, probe_in=29_001, refusal="account 20003", refused=90_000)
    refused_us, left_alone = gateway_diagnoses("primary", health)

    assert (refused_us.level, refused_us.subject) == (Level.FAIL, "gateways.primary")
    assert refused_us.sentence == "It refuses our account, for the last time 1 min 30 s ago: account 20003."
    assert (left_alone.level, left_alone.sentence) == (
        Level.WARN,
        "It is resting since it refuses our account, for 30 s yet.",
    )


def test_a_gateway_that_is_well_needs_no_words():
    assert list(gateway_diagnoses("primary", GatewayHealth(BreakerState.CLOSED, bad=3, calls=9))) == []


@pytest.mark.parametrize(
    ("reasons", "level", "words"),
    [
        ({}, Level.OK, "no deliverable message was given up"),
        ({"destination": 9, "channel": 1, "policy": 2}, Level.OK, "no deliverable message was given up"),
        ({"no_verdict": 1}, Level.WARN, "in the last hour: 1 no_verdict."),
        ({"expired": 1, "rejected": 2, "destination": 9}, Level.WARN, "in the last hour: 2 rejected, 1 expired."),
    ],
)
def test_messages_that_were_given_up_are_told_unless_their_numbers_are_at_fault(reasons, level, words):
    finding = dead_letter_diagnosis(reasons)
    assert finding.level is level
    assert words in finding.sentence


@pytest.mark.parametrize(("lag", "level"), [(0.0, Level.OK), (30.0, Level.OK), (30.1, Level.WARN)])
def test_a_backlog_is_told_by_the_age_of_its_oldest_message(lag, level):
    assert backlog_diagnosis(lag, {"shop": 3}).level is level


def test_a_backlog_is_told_by_application_the_largest_first():
    waiting = {"bank": 1, "shop": 20, "idle": 0}
    assert (
        backlog_diagnosis(61.0, waiting).sentence
        == "The oldest message has waited for 1 min 1 s: 20 of shop, 1 of bank."
    )


def test_doctor_looks_at_the_gateways_the_dead_letters_and_the_backlog(environ, shop, valkey):
    shop.start()
    Sender(shop, sandbox=Scripted(refused("rejected", "20003"))).deliver()
    shop.context.store.health.open("sandbox", 600_000, "cli:ali")
    shop.start()
    valkey.advance(45)
    told = doctor(environ)

    assert "warn  gateways.sandbox: It is paused by cli:ali, for 9 min " in told
    assert "warn  dead letters: Messages were given up in the last hour: 1 rejected." in told
    assert "warn  backlog: The oldest message has waited for 4" in told
    assert " s: 1 of shop." in told


def test_doctor_forgets_what_was_given_up_more_than_an_hour_ago(environ, shop, valkey):
    shop.start()
    Sender(shop, sandbox=Scripted(refused("rejected", "20003"))).deliver()
    valkey.advance(3601)

    assert "ok    dead letters: In the last hour no deliverable message was given up" in doctor(environ)


def test_doctor_tells_of_messages_of_an_application_that_has_left_the_configuration(environ, shop, valkey):
    shop.start()
    valkey.advance(40)
    settings = json.loads(Path(environ["OTP_SERVICE_CONFIG"]).read_text())
    del settings["applications"]["shop"]
    Path(environ["OTP_SERVICE_CONFIG"]).write_text(json.dumps(settings))

    assert ": 1 of shop." in doctor(environ)
