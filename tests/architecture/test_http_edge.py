"""Nothing is forgotten at the HTTP edge: every error has a status, every route asks who calls."""

import pytest
from support_api import START, Api

from otp_service.api.app import all_routes, create_app
from otp_service.api.auth import PROVIDER_PATHS
from otp_service.api.dialects import load_dialects
from otp_service.api.errors import PROBLEM_KINDS
from otp_service.domain.applications import KeyScope
from otp_service.errors import OtpServiceError

WITHOUT_API_KEY = {
    "/.well-known/jwks.json": "holds public keys, for who has no key of ours",
    "/healthz": "tells only that the process is alive",
    "/readyz": "tells load balancers what they cannot ask with a key",
    "/metrics": "holds no personal data; has a port of its own outside of development",
    "/openapi.json": "is public documentation",
    "/docs": "is public documentation",
    "/problems": "is public documentation",
    "/p/": "is for people's browsers, which know an address that cannot be guessed",
    "/v1/receipts/": "is called by gateways, which sign or know an address that cannot be guessed",
    "/v1/inbound/": "is called by gateways, which prove themselves as they do for receipts",
}
"""The beginnings of the paths that anybody may call, and why."""
FROM_HTTP_ITSELF = {"method-not-allowed", "body-too-large", "unsupported-media-type"}
TOLD_BY_THE_PROXY = {"overloaded", "service-unavailable"}
LATER = {"recipient-suppressed"}
"""Codes of the contract whose cause comes with later work."""


def _errors(root=OtpServiceError):
    return [root] + [found for child in root.__subclasses__() for found in _errors(child)]


def _is_public(path):
    return any(path == start or path.startswith(start.rstrip("/") + "/") for start in WITHOUT_API_KEY)


@pytest.fixture
def app(still_world):
    return create_app(still_world.install())


@pytest.mark.parametrize("error", _errors(), ids=lambda error: error.__name__)
def test_every_error_has_a_status(error):
    assert error.code in PROBLEM_KINDS


def test_every_error_that_is_raised_has_a_code_of_its_own():
    leaves = [error for error in _errors() if not error.__subclasses__()]
    codes = [vars(error)["code"] for error in _errors() if "code" in vars(error)]

    assert [error.__name__ for error in leaves if "code" not in vars(error)] == []
    assert len(codes) == len(set(codes))


def test_every_status_belongs_to_an_error():
    assert PROBLEM_KINDS.keys() - {error.code for error in _errors()} <= FROM_HTTP_ITSELF | TOLD_BY_THE_PROXY | LATER


def test_every_route_asks_for_an_api_key_except_the_named_ones(app):
    urls = app.url_map.bind("localhost")
    open_routes = []
    for rule in app.url_map.iter_rules():
        path = urls.build(rule.endpoint, dict.fromkeys(rule.arguments, "x"))
        for method in rule.methods - {"OPTIONS"}:
            answer = app.test_client().open(path, method=method, json=None if method in {"GET", "HEAD"} else {})
            if answer.status_code != 401:
                open_routes.append(rule.rule)

    assert [route for route in open_routes if not _is_public(route)] == []
    assert "/healthz" in open_routes


def test_the_list_of_open_routes_names_only_routes_that_exist(app):
    paths = [rule.rule for rule in app.url_map.iter_rules()]

    assert [start for start in WITHOUT_API_KEY if not any(path.startswith(start) for path in paths)] == []


def test_every_call_below_v1_needs_exactly_one_scope_or_proves_itself():
    routes = list(all_routes(with_metrics=True, dialects=load_dialects()))
    protected = {route.rule for route in routes if route.resource.scope}
    signed = {route.rule for route in routes if route.rule.startswith(PROVIDER_PATHS)}

    assert protected == {route.rule for route in routes if route.rule.startswith(("/v1/", "/twilio/"))} - signed
    assert {start for start in PROVIDER_PATHS if any(rule.startswith(start) for rule in signed)} == set(PROVIDER_PATHS)
    assert set(PROVIDER_PATHS) <= WITHOUT_API_KEY.keys()
    assert {route.resource.scope for route in routes} == {None, *KeyScope}


def test_a_start_and_a_check_go_past_flask(still_world):
    api = Api(still_world)
    api.app.wsgi_app.flask = None
    one = api.start()

    assert api.post(f"{START}/{one}/check", {"code": api.code(one)}).json["valid"]
    assert [route.name for route in all_routes(with_metrics=True, dialects=load_dialects()) if route.hot] == [
        *("startVerification", "checkCode", "checkCodePreflight", "checkFactor"),
        *("startTwilioVerification", "checkTwilioCode"),
    ]
