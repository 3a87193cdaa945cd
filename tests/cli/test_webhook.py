"""Endpoints and webhooks at the command line, and what the doctor says of them."""

import json
from dataclasses import replace

import pytest
from support_cli import configured, rows, run
from support_installation import key
from support_ledger_events import event
from support_webhooks import LOOPBACK, receiving

from otp_service.bootstrap import install
from otp_service.clock import now
from otp_service.domain.webhooks import WebhookSlots
from otp_service.services.webhooks import send_webhook
from otp_service.settings import load_settings

URL = "http://127.0.0.1:9/hooks"


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path):
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return configured(
        tmp_path,
        valkey.url,
        ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"},
        webhooks={"networks": LOOPBACK, "timeout": 1.0},
    )


@pytest.fixture
def context(environ):
    return install(load_settings(environ=environ)).context


def webhook(*arguments, environ, status=0):
    result = run("webhook", *arguments, environ=environ)
    assert result.exit_code == status, result.output
    return result


def add(environ, *arguments):
    """Make an endpoint; return its name and secret."""
    result = webhook("add", *arguments, environ=environ)
    return result.output.rsplit("Endpoint: ", 1)[1].strip(), result.stdout.strip()


def send(context):
    for delivery in context.ledger.webhook_outbox.claim(WebhookSlots(20), 1000, 4):
        send_webhook(context, delivery)


def findings(environ):
    found = json.loads(run("doctor", "--json", environ=environ).stdout)["findings"]
    return [(one["level"], one["sentence"]) for one in found if one["subject"].startswith("webhooks")]


def test_an_operator_makes_lists_rotates_and_removes_an_endpoint(environ, context):
    name, secret = add(environ, "shop", URL, "--type", "suppression")

    assert secret.startswith("whsec_")
    ((listed, application, url, types, _, state),) = rows(webhook("list", environ=environ).stdout)
    assert (listed, application, url, types, state) == (name, "shop", URL, "suppression", "enabled")
    assert rows(webhook("list", "bank", environ=environ).stdout) == []
    assert webhook("rotate", name, environ=environ).stdout.strip() not in {"", secret}
    webhook("disable", name, environ=environ)
    assert rows(webhook("list", environ=environ).stdout)[0][-1] == "disabled"
    webhook("enable", name, environ=environ)
    webhook("remove", name, "--yes", environ=environ)
    assert rows(webhook("list", environ=environ).stdout) == []
    acts = [
        (one.action, one.application, one.target) for one in context.ledger.operator_actions.between(None, None, 10)
    ]
    assert acts == [
        (f"endpoint-{what}", "shop", name) for what in ("added", "rotated", "disabled", "enabled", "removed")
    ]


def test_an_endpoint_that_answers_late_is_listed_so_and_the_doctor_warns_of_it(environ, context):
    name, _ = add(environ, "shop", URL)
    context.ledger.endpoints.change(name, None, lambda one: replace(one, latency=14_049))

    ((*_, state),) = rows(webhook("list", environ=environ).stdout)
    assert state == "enabled, answers after 14.0 s"
    assert findings(environ)[-1] == (
        "warn",
        f"The endpoint {name} of shop answers after 14.0 s: it has half as many calls at once.",
    )
    context.ledger.endpoints.change(name, None, lambda one: replace(one, failing_since=now()))
    ((*_, state),) = rows(webhook("list", environ=environ).stdout)
    assert state.startswith("enabled, failing since 20")
    assert state.endswith(", answers after 14.0 s")
    webhook("disable", name, environ=environ)
    assert rows(webhook("list", environ=environ).stdout)[0][-1] == "disabled"
    assert "answers after" not in str(findings(environ))


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (("add", "shop", "https://10.0.0.1/"), "may not go to", 1),
        (("add", "nobody", URL), "The application nobody does not exist", 2),
        (("rotate", "we_none"), "There is no such endpoint", 1),
        (("replay", "wh_none"), "There is no such webhook", 1),
        (("replay", "we_none", "--since", "2026-01-01"), "There is no such endpoint", 1),
        (("replay", "wh_none", "--delivered"), "--delivered requires --since", 2),
    ],
)
def test_what_cannot_be_done_is_a_sentence(environ, arguments, said, status):
    assert said in webhook(*arguments, environ=environ, status=status).output


def test_tries_are_shown_and_what_failed_is_replayed(environ, context):
    with receiving() as receiver:
        receiver.answers["/x"] = 500
        name, _ = add(environ, "shop", receiver.url + "/x")
        context.ledger.verifications.record([event("verification.approved", "vf_1", at=now())])
        send(context)
        ((one, kind, verification, endpoint, _, status, _, tries),) = rows(webhook("tries", environ=environ).stdout)
        assert (kind, verification, endpoint, status, tries) == (
            "verification.approved", "vf_1", name, "waiting", "500",
        )  # fmt: skip
        assert "failing since" in webhook("list", environ=environ).stdout
        receiver.answers.clear()
        assert "1 webhook" in webhook("replay", name, "--since", "2026-01-01", environ=environ).output
        send(context)
        assert rows(webhook("tries", "--status", "delivered", environ=environ).stdout)[0][-1] == "500,200"
        assert "1 webhook" in webhook("replay", one, environ=environ).output
        assert rows(webhook("tries", "--application", "bank", environ=environ).stdout) == []


def test_the_doctor_tells_of_an_endpoint_that_is_sent_nothing_more(environ, context):
    with receiving() as receiver:
        receiver.answers["/gone"] = 410
        name, _ = add(environ, "shop", receiver.url + "/gone")
        assert findings(environ) == []
        context.ledger.verifications.record([event("verification.approved", "vf_1", at=now())])
        send(context)

    assert findings(environ) == [
        ("warn", f"The endpoint {name} of shop is disabled: it answered 410."),
    ]


def test_a_root_key_that_endpoints_need_is_told_until_secrets_are_sealed_anew(environ):
    add(environ, "shop", URL)
    old = environ["OTP_SERVICE_ROOT_KEYS"]
    new = f"k2:{key()}"
    both, without = environ | {"OTP_SERVICE_ROOT_KEYS": f"{new} {old}"}, environ | {"OTP_SERVICE_ROOT_KEYS": new}

    assert findings(both) == [("warn", "The root key k1 is still needed: secrets of 1 endpoint are sealed under it.")]
    ((level, sentence),) = findings(without)
    assert (level, "k1 is missing" in sentence) == ("fail", True)
    assert "1 endpoint" in webhook("reseal", environ=without, status=1).output
    webhook("reseal", environ=both)
    assert findings(both) == findings(without) == []


def test_production_is_warned_of_networks_that_webhooks_may_go_to(environ):
    warned = run("doctor", "--json", environ=environ | {"OTP_SERVICE__ENVIRONMENT": "production"}).stdout
    networks = [one["level"] for one in json.loads(warned)["findings"] if one["subject"] == "webhooks.networks"]

    assert networks == ["warn"]
    assert findings(environ) == []
