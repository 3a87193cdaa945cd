"""Tokens of human checks: verified by a stranger's package, in time, and closed where that fails."""

import json
import sys
import threading
import tomllib
from importlib.metadata import EntryPoint, entry_points
from urllib.parse import parse_qs

import pytest
from pytest_httpserver import HTTPServer
from support_caller import Caller
from support_guard import guarded, number
from support_sources import ROOT
from werkzeug import Request, Response

from otp_service import plugins
from otp_service.errors import ConfigurationError, HumanCheckRequiredError
from otp_service.policies.human_checks import (
    HUMAN_CHECK_ENTRY_POINTS,
    HumanCheckError,
    HumanCheckRunner,
    HumanCheckSettings,
)
from otp_service.services.start import HumanCheckResult
from otp_service.telemetry import metrics

EXAMPLE = ROOT / "examples" / "human-check-package"
PACKAGE = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
SECRET, TOKEN = "0x4AAA-of-this-test", "03AF-token-of-this-test"
ADDRESS = "192.0.2.7"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch):
    """Let the package be installed beside ours."""
    theirs = [
        EntryPoint(name, value, HUMAN_CHECK_ENTRY_POINTS)
        for name, value in PACKAGE["entry-points"][HUMAN_CHECK_ENTRY_POINTS].items()
    ]

    def found(group):
        return [*entry_points(group=group), *(one for one in theirs if one.group == group)]

    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.setattr(plugins, "installed_entry_points", found)
    yield
    sys.modules.pop("captchas", None)


class StandIn:
    """A local server that speaks as the providers document it: a token counts once."""

    def __init__(self, server: HTTPServer) -> None:
        self.url, self.forms, self.tokens, self.status = server.url_for("/siteverify"), [], {TOKEN}, 200
        server.expect_request("/siteverify", method="POST").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.get_data(as_text=True)).items()}
        self.forms.append(form)
        errors = []
        if form.get("secret") != SECRET:
            errors = ["invalid-input-secret"]
        elif form.get("response") not in self.tokens:
            errors = ["invalid-input-response"]
        self.tokens.discard(form.get("response"))
        said = {"success": not errors, "hostname": "shop.example", "error-codes": errors}
        return Response(json.dumps(said), status=self.status, content_type="application/json")


@pytest.fixture
def provider(httpserver: HTTPServer) -> StandIn:
    return StandIn(httpserver)


def shop_of(frozen, provider, kind="turnstile", **members):
    """Return an application whose blocks hold one unapproved message."""
    section = {"kind": kind, "secret": SECRET, "url": provider.url, **members}
    installation = guarded(
        frozen, "block.unapproved", guard={"block": {"unapproved": ["1/day"], "growth": [0]}},
        human_checks={"captcha": section}, applications={"shop": {"human_check": "captcha"}},
    )  # fmt: skip
    shop = Caller(installation)
    shop.start(number(1))
    return shop


def passes(shop, last, **given):
    try:
        shop.start(number(last), client_ip=ADDRESS, human_check=HumanCheckResult(**given))
    except HumanCheckRequiredError:
        return False
    return True


def counted(outcome):
    labels = {"check": "captcha", "outcome": outcome}
    return metrics.REGISTRY.get_sample_value("otp_service_human_checks_total", labels) or 0


@pytest.mark.parametrize("kind", ["turnstile", "hcaptcha"])
def test_a_token_that_the_provider_takes_lets_a_start_pass_once(frozen, provider, kind):
    shop, before = shop_of(frozen, provider, kind), (counted("passed"), counted("failed"))

    assert not passes(shop, 2)
    assert passes(shop, 2, token=TOKEN)
    assert not passes(shop, 3, token=TOKEN), "a token counts once"
    assert not passes(shop, 3, token="another")
    assert provider.forms[0] == {"secret": SECRET, "response": TOKEN}
    assert (counted("passed"), counted("failed")) == (before[0] + 1, before[1] + 2)


def test_an_assertion_is_not_believed_where_a_verifier_is_set(frozen, provider):
    assert not passes(shop_of(frozen, provider), 2, passed=True)
    assert provider.forms == []


def test_the_address_is_told_where_the_settings_say_so(frozen, provider):
    passes(shop_of(frozen, provider, send_address=True), 2, token=TOKEN)

    assert provider.forms[0]["remoteip"] == ADDRESS


@pytest.mark.parametrize(("hostnames", "passed"), [(["shop.example"], True), (["elsewhere.example"], False)])
def test_a_token_of_another_site_is_none(frozen, provider, hostnames, passed):
    assert passes(shop_of(frozen, provider, hostnames=hostnames), 2, token=TOKEN) is passed


@pytest.mark.parametrize("broken", ["secret", "status", "away"])
def test_a_provider_that_fails_lets_nobody_pass(frozen, provider, broken):
    before = counted("unknown")
    shop = shop_of(frozen, provider, **({"secret": "wrong"} if broken == "secret" else {}),
                   **({"url": "http://127.0.0.1:1/"} if broken == "away" else {}))  # fmt: skip
    provider.status = 500 if broken == "status" else 200

    assert not passes(shop, 2, token=TOKEN)
    assert counted("unknown") == before + 1


class _Verifier:
    def __init__(self, does):
        self._does = does

    def passed(self, request):
        assert TOKEN not in repr(request)
        return self._does()


def _raises(error):
    raise error


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        (lambda: True, ("passed", "")),
        (lambda: False, ("failed", "")),
        (lambda: "yes", ("failed", "")),
        (lambda: _raises(HumanCheckError("quota")), ("unknown", "quota")),
        (lambda: _raises(HumanCheckError()), ("unknown", "")),
        (lambda: _raises(KeyError(TOKEN)), ("unknown", "defect KeyError")),
        (lambda: threading.Event().wait(5), ("unknown", "timeout")),
    ],
)
def test_what_a_verifier_does_is_an_outcome_in_time(does, expected):
    runner = HumanCheckRunner("captcha", _Verifier(does), HumanCheckSettings(timeout=0.2), 1)

    assert runner.verify(TOKEN, ADDRESS, "shop") == expected
    runner.close()


def test_an_application_names_a_verifier_that_there_is(frozen):
    with pytest.raises(ConfigurationError, match=r"applications\.shop\.human_check: must be none, assertion or"):
        guarded(frozen, applications={"shop": {"human_check": "captcha"}})


def test_a_secret_and_a_token_are_nowhere_to_be_seen(frozen, provider):
    shop = shop_of(frozen, provider)

    assert TOKEN not in repr(HumanCheckResult(token=TOKEN))
    assert SECRET not in repr(shop.context.human_checks)
