"""Developers: keys and webhooks of their own applications, and a verification by its identifier."""

import re
from dataclasses import replace

import pytest
from support_caller import Caller
from support_console import Browser, new_person, sign_in
from support_events import record_events
from support_installation import NUMBER
from support_outbox import Sender

from otp_service.console.accounts import Role
from otp_service.console.records import NumberViews
from otp_service.domain.applications import KeyScope
from otp_service.domain.keyring import api_key_hash
from otp_service.errors import LedgerUnavailableError
from otp_service.services import access, webhooks
from otp_service.services.webhooks import Actor

MASK = "+92 ••• ••••567"


def developer(console, installation, *applications) -> Browser:
    browser = sign_in(console, new_person(installation, "sana", Role.DEVELOPER, *(applications or ("shop",))))
    browser.get("/developers")
    return browser


def keys(installation, application="shop"):
    return installation.context.ledger.api_keys.of(application)


def looks(installation):
    return NumberViews(installation.context.ledger.database).latest(10)


def acts(installation):
    return [str(one.action) for one in installation.context.ledger.operator_actions.between(None, None, 99)
            if one.by == "console:sana"]  # fmt: skip


def test_a_key_is_shown_once_and_works(console, installation):
    browser = developer(console, installation)
    shown = browser.post("/developers/keys", application="shop", scope="verify", addresses="192.0.2.0/24").text
    (key,) = keys(installation)
    secret = re.search(r'<code class="long">([^<]+)</code>', shown)[1]

    assert key.hash == api_key_hash(secret)
    assert (key.scopes, [*map(str, key.networks)]) == ({KeyScope.VERIFY}, ["192.0.2.0/24"])
    assert acts(installation) == ["api-key-issued"]
    later = browser.get("/developers").text
    assert key.id in later
    assert secret not in later
    assert key.hash not in shown + later


@pytest.mark.parametrize("scope", ["subjects", "consent", "admin", "everything", ""])
def test_no_key_is_made_for_what_takes_two_people(console, installation, scope):
    answer = developer(console, installation).post("/developers/keys", application="shop", scope=scope)

    assert answer.status_code == 422
    assert keys(installation) == ()


def test_no_key_is_made_with_addresses_that_are_none(console, installation):
    answer = developer(console, installation).post(
        "/developers/keys", application="shop", scope="verify", addresses="here"
    )

    assert (answer.status_code, keys(installation)) == (422, ())


def test_a_key_that_may_do_more_is_not_replaced_here(console, installation):
    context = installation.context
    key = access.issue_key(context, "shop", {KeyScope.SUBJECTS}, (), "cli:x").key
    answer = developer(console, installation).post(f"/developers/keys/{key.id}/rotate", application="shop")

    assert answer.status_code == 422
    assert len(keys(installation)) == 1


def test_a_key_is_replaced_and_revoked(console, installation):
    key = access.issue_key(installation.context, "shop", {KeyScope.VERIFY}, (), "cli:x").key
    browser = developer(console, installation)
    assert 'class="long"' in browser.post(f"/developers/keys/{key.id}/rotate", application="shop").text
    old, fresh = sorted(keys(installation), key=lambda one: one.expires is None)
    assert (old.id, old.expires is not None) == (key.id, True)
    answer = browser.post(f"/developers/keys/{fresh.id}/revoke", application="shop")

    assert (answer.status_code, answer.location) == (303, "/developers")
    assert f"The key <bdi>{fresh.id}</bdi> of <bdi>shop</bdi> is revoked." in browser.get("/developers").text
    assert acts(installation) == ["api-key-rotated", "api-key-revoked"]
    assert browser.post(f"/developers/keys/{fresh.id}/rotate", application="shop").status_code == 422


@pytest.mark.parametrize("named", ["shop", "bank", ""])
def test_keys_of_others_are_out_of_reach(console, installation, named):
    bank = access.issue_key(installation.context, "bank", {KeyScope.VERIFY}, (), "cli:x").key
    operators = access.issue_operator_key(installation.context, (), "cli:x").key
    browser = developer(console, installation)

    assert bank.id not in browser.page
    assert browser.post("/developers/keys", application="bank", scope="verify").status_code == 404
    for key in (bank, operators):
        for act in ("rotate", "revoke"):
            assert browser.post(f"/developers/keys/{key.id}/{act}", application=named).status_code == 404
    assert all(key.revoked is None for key in installation.context.ledger.api_keys.of(None))


def test_keys_take_another_code_after_some_minutes(console, installation, real_world):
    browser = developer(console, installation)
    real_world.advance(301)

    assert browser.post("/developers/keys", application="shop", scope="verify").status_code == 403
    assert keys(installation) == ()


def test_endpoints_are_shown_without_secrets(console, installation):
    context = installation.context
    issued = webhooks.add_endpoint(context, "shop", "https://shop.example/hook", ("verification",), Actor("cli:x"))
    webhooks.add_endpoint(context, "bank", "https://bank.example/hook", ("verification",), Actor("cli:x"))
    started = Caller(installation).start()
    record_events(installation.context)
    page = developer(console, installation).page

    assert "https://shop.example/hook" in page
    assert "bank.example" not in page
    assert issued.secret not in page
    assert issued.endpoint.secret not in page
    assert "verification.started" in page
    assert f'href="/developers/verifications/{started}"' in page
    assert "It answers after" not in page


def test_a_slow_endpoint_is_shown_so(console, installation):
    context = installation.context
    issued = webhooks.add_endpoint(context, "shop", "https://shop.example/hook", ("verification",), Actor("cli:x"))
    context.ledger.endpoints.change(issued.endpoint.id, None, lambda one: replace(one, latency=14_049))

    assert "It is sent to. It answers after <bdi>14.0</bdi> s." in developer(console, installation).page


def test_a_verification_is_found_by_its_id_and_the_look_is_recorded(console, installation):
    caller = Caller(installation)
    one = caller.start()
    Sender(caller).deliver()
    browser = developer(console, installation)
    browser.get("/developers/verifications")
    answer = browser.post("/developers/verifications", id=one)
    assert (answer.status_code, answer.location) == (303, f"/developers/verifications/{one}")
    assert looks(installation) == ()
    page = browser.get(answer.location).text

    assert MASK in page
    assert "pending" in page
    assert "<bdi>sandbox</bdi> took the message" in page
    assert NUMBER[3:] not in page
    pseudonym = installation.context.keyring.pseudonym(NUMBER)
    assert pseudonym not in page
    (look,) = looks(installation)
    assert (look.by, look.view, look.pseudonym, look.reason) == ("sana", "verification", pseudonym, one)


def test_a_verification_whose_record_is_gone_is_told_by_the_ledger(console, installation, real_world):
    one = Caller(installation).start()
    record_events(installation.context)
    installation.client.flushdb()
    page = developer(console, installation).get(f"/developers/verifications/{one}").text

    assert "verification.started" in page
    assert "no longer kept" in page
    assert "•" not in page
    assert len(looks(installation)) == 1


@pytest.mark.parametrize("gone", [True, False])
def test_a_verification_of_another_application_is_not_there(console, installation, gone):
    one = Caller(installation, "bank").start()
    if gone:
        record_events(installation.context)
        installation.client.flushdb()
    browser = developer(console, installation)
    browser.get("/developers/verifications")

    assert browser.get(f"/developers/verifications/{one}").status_code == 404
    browser.get("/developers/verifications")
    for name in (one, "vf_x", "", "é", "x" * 400):
        assert browser.post("/developers/verifications", id=name).status_code == 404
    assert looks(installation) == ()


def test_no_look_recorded_nothing_shown(console, installation, monkeypatch):
    one = Caller(installation).start()
    browser = developer(console, installation)

    def away(*_):
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(type(NumberViews(installation.context.ledger.database)), "record", away)
    answer = browser.get(f"/developers/verifications/{one}")

    assert answer.status_code == 503
    assert MASK not in answer.text
