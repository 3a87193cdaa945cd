"""The logins of the examples against the service: one account a number, and nobody in another's."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support_api import START, Api
from support_forgetful import serving
from support_installation import API_KEY, NUMBER, SPELLINGS, World, tree
from support_sources import ROOT

VICTIM = "+923007654321"
ORIGIN = "http://localhost:5000"


def _imported(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = import_module(name)
    monkeypatch.delitem(sys.modules, name)
    return module


@pytest.fixture
def api(real_world: World) -> Api:
    shop = tree(real_world.url)["applications"]["shop"] | {"browser_origins": [ORIGIN]}
    return Api(real_world, applications={"shop": shop})


@pytest.fixture
def service(api: Api) -> Iterator[str]:
    with serving(api.app) as address:
        yield address


# --- clients/python/examples/flask_login.py -------------------------------------------------------------------------


@pytest.fixture
def flask_login(service: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    for name, value in {"OTP_URL": service, "OTP_KEY": API_KEY, "SECRET_KEY": 40 * "x"}.items():
        monkeypatch.setenv(name, value)
    program = _imported(ROOT / "clients" / "python" / "examples", "flask_login", monkeypatch)
    with program.app.test_client() as person:
        yield person
    program.otp.close()


def _started(person: FlaskClient) -> str:
    with person.session_transaction() as session:
        return str(session["started"]["id"])


def test_every_spelling_logs_in_to_one_account(flask_login: FlaskClient, api: Api):
    welcomed = []
    for spelling in SPELLINGS:
        assert flask_login.post("/start", data={"phone": spelling}).status_code == 200
        answer = flask_login.post("/check", data={"code": api.code(_started(flask_login))})
        welcomed.append(answer.json["welcome"])

    assert welcomed == [NUMBER] * len(SPELLINGS)


def test_a_number_beside_the_code_logs_nobody_in(flask_login: FlaskClient, api: Api):
    flask_login.post("/start", data={"phone": NUMBER})
    code = api.code(_started(flask_login))
    answer = flask_login.post("/check", data={"code": code, "phone": VICTIM, "id": api.start(VICTIM)})

    assert answer.json == {"welcome": NUMBER}
    with flask_login.session_transaction() as session:
        assert session["account"] == NUMBER


# --- examples/browser/app.py ----------------------------------------------------------------------------------------


@pytest.fixture
def sites(service: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    return _imported(ROOT / "examples" / "browser", "app", monkeypatch).create_app(service, API_KEY, ORIGIN)


def _accounts(sites: Any) -> dict[str, list[str]]:
    return dict(sites.view_functions["start"].__self__.accounts)


def _approve(api: Api, started: dict[str, Any]) -> None:
    """Check the code as the page does, with its token."""
    headers = {"Authorization": f"Bearer {started['client_token']}", "Origin": ORIGIN}
    body = {"code": api.code(started["id"]), "transaction": started["transaction"]}
    answer = api.client.post(f"{START}/{started['id']}/check", json=body, headers=headers)
    assert answer.json["valid"]


def test_every_spelling_is_one_account_of_the_shop(sites: Any, api: Api):
    for spelling in SPELLINGS:
        person = sites.test_client()
        started = person.post("/shop/start", json={"to": spelling}, base_url=ORIGIN).json
        _approve(api, started)
        assert person.post("/shop/done", json={}, base_url=ORIGIN).status_code == 200
        assert "destination" not in started

    assert _accounts(sites) == {NUMBER: ["shop"] * len(SPELLINGS)}


@pytest.mark.parametrize("site", ["shop", "bank"])
def test_an_approval_of_ones_own_number_is_none_of_another(sites: Any, api: Api, site: str):
    attacker, victim = sites.test_client(), sites.test_client()
    own = attacker.post("/shop/start", json={"to": VICTIM}, base_url=ORIGIN).json
    theirs = victim.post(f"/{site}/start", json={"to": NUMBER}, base_url=ORIGIN).json
    forged = {"to": NUMBER, "id": theirs["id"], "destination": NUMBER, "status": "approved", "valid": True}
    _approve(api, own)

    assert attacker.post(f"/{site}/done", json=forged, base_url=ORIGIN).status_code == (200 if site == "shop" else 403)
    assert victim.post(f"/{site}/done", json=forged, base_url=ORIGIN).status_code == 403
    assert _accounts(sites) == ({VICTIM: ["shop"]} if site == "shop" else {})
