"""Dialects: other forms of the API that packages bring, each below a path of its own."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
from support_api import API_KEY, Api
from support_installation import World, tree

from otp_service import plugins
from otp_service.api.dialects import Dialect, load_dialects
from otp_service.api.errors import PROBLEM_KINDS
from otp_service.api.exchange import Exchange
from otp_service.api.routes import Answer, Resource
from otp_service.api.twilio.errors import OWN_MEMBERS
from otp_service.domain.applications import KeyScope
from otp_service.errors import ConfigurationError

resource = Resource("acme", "Acme", KeyScope.VERIFY)


@resource.route("GET /acme/name", {})
def read_acme_name(exchange: Exchange) -> Answer:
    return Answer(exchange.application.name.encode(), 200, "text/plain")


ACME = Dialect(
    name="acme",
    prefix="/acme/",
    resources=(resource,),
    authenticate=lambda authorization: authorization.removeprefix("Acme "),
    challenge="Acme",
    error=lambda code, _faults: Answer(code.encode(), PROBLEM_KINDS[code].status, "text/plain"),
)


@pytest.fixture
def install(monkeypatch):
    """Replace the installed entry points of a group; those of others stay."""

    def install(**claims: str) -> None:
        module = ModuleType("acme_dialect")
        module.ACME = ACME
        monkeypatch.setitem(sys.modules, "acme_dialect", module)
        brought = [EntryPoint(name, value, plugins.DIALECTS) for name, value in claims.items()]
        real = plugins.installed_entry_points
        monkeypatch.setattr(
            plugins, "installed_entry_points", lambda group: brought if group == plugins.DIALECTS else real(group)
        )

    return install


def acme_api(world: World, *dialects: str) -> Api:
    applications = tree(world.url)["applications"]
    return Api(world, applications={**applications, "shop": {**applications["shop"], "dialects": [*dialects]}})


def test_a_dialect_of_another_package_is_served_in_its_own_form(install, still_world: World):
    install(acme="acme_dialect:ACME")
    client = acme_api(still_world, "acme").client

    answer = client.get("/acme/name", headers={"Authorization": f"Acme {API_KEY}"})
    assert (answer.status_code, answer.text) == (200, "shop")
    refused = client.get("/acme/name", headers={"Authorization": f"Bearer {API_KEY}"})
    assert (refused.status_code, refused.text) == (401, "unauthenticated")
    assert refused.headers["WWW-Authenticate"] == "Acme"
    assert client.get("/acme/other", headers={"Authorization": f"Acme {API_KEY}"}).text == "not-found"
    assert client.get("/twilio/v2/Services").headers.get("WWW-Authenticate") is None, "it is not installed"


def test_an_application_that_does_not_list_a_dialect_may_not_call_it(install, still_world: World):
    install(acme="acme_dialect:ACME")
    client = acme_api(still_world).client

    answer = client.get("/acme/name", headers={"Authorization": f"Acme {API_KEY}"})
    assert (answer.status_code, answer.text) == (404, "not-found")


def test_an_application_may_list_installed_dialects_only(install, still_world: World):
    install(acme="acme_dialect:ACME")
    with pytest.raises(ConfigurationError, match=r"dialects: a dialect is not installed; installed: acme\."):
        acme_api(still_world, "twilio")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("acme_dialect:Nothing", "cannot be imported"),
        ("nowhere_to_be_found:ACME", "needs the package 'nowhere_to_be_found'"),
        ("otp_service.api.dialects:Dialect", "is not a dialect"),
    ],
)
def test_an_entry_point_without_a_dialect_is_refused(install, value: str, fault: str):
    install(acme=value)
    with pytest.raises(ConfigurationError, match=fault):
        load_dialects()


def test_each_of_twilios_errors_belongs_to_a_problem():
    assert PROBLEM_KINDS.keys() >= OWN_MEMBERS.keys()
