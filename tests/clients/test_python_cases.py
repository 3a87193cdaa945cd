"""The table of cases, by the Python client of either kind."""

import asyncio
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import otp_service_client
import pytest
from otp_service_client import AsyncOtpService, OtpError, OtpService
from support_clients import CASES, NUMBERS, Script, closed_port, must_have_seen, scripted, service_for_clients
from support_installation import API_KEY

Client = Callable[..., Any]
"""Makes a client; its methods are called by `call`, whatever its kind."""
KINDS = ["OtpService", "AsyncOtpService"]


class _Blocking:
    """An `AsyncOtpService` that is called like an `OtpService`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncOtpService(*args, **options)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def call(self, name: str, *ids: str, **members: Any) -> Any:
        return self._runner.run(attrgetter(name)(self._client)(*ids, **members))


class _Plain(OtpService):
    def call(self, name: str, *ids: str, **members: Any) -> Any:
        return attrgetter(name)(self)(*ids, **members)


@pytest.fixture(scope="module", params=[_Plain, _Blocking], ids=KINDS)
def client(request: pytest.FixtureRequest) -> Client:
    return request.param


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    with scripted() as script:
        yield script


@pytest.fixture(scope="module")
def way_to_service(valkey_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    with service_for_clients(tmp_path_factory.mktemp("service"), valkey_server) as service, scripted(service) as script:
        yield script


def _expect(step: dict[str, Any], act: Callable[[], Any]) -> Any:
    """Make a call; compare what it gives or raises with what the table says."""
    if "raises" not in step:
        given = act()
        assert {name: getattr(given, name) for name in step.get("gives", {})} == step.get("gives", {})
        return given
    with pytest.raises(OtpError) as raised:
        act()
    assert type(raised.value) is getattr(otp_service_client, step["raises"]), raised.value
    assert {name: getattr(raised.value, name) for name in step.get("error", {})} == step.get("error", {})
    if step.get("says_when"):
        assert raised.value.retry_after > 0
    return None


@pytest.mark.parametrize("number", range(len(CASES["scripted"])), ids=[one["name"] for one in CASES["scripted"]])
def test_a_script(client: Client, script: Script, number: int):
    case, run = CASES["scripted"][number], f"{number}.{client.__name__}"
    url = closed_port() if case.get("nobody") else f"{script.url}/{run}"
    key = {"idempotency_key": case["key"]} if "key" in case else {}
    began = time.monotonic()

    with client(url, API_KEY, timeout=case.get("timeout", 30), retries=case.get("retries", 2)) as service:
        _expect(case, lambda: service.call(case["call"], *case.get("ids", ()), **case.get("body", {}), **key))

    assert case.get("at_least", 0) <= time.monotonic() - began <= case.get("at_most", 30)
    must_have_seen(case, script.seen[run])


@pytest.mark.parametrize("case", CASES["service"], ids=[one["name"] for one in CASES["service"]])
def test_the_service(client: Client, way_to_service: Script, case: dict[str, Any]):
    number = next(NUMBERS)
    names = {"$number": number, "$key": f"key-{number}", "$user": f"user-{number}"}
    base = f"{way_to_service.url}/lossy" if case.get("lossy") else way_to_service.service.base
    key = "otp_of_nobody" if case.get("key_of_another") else API_KEY
    with client(base, key, retries=case.get("retries", 2)) as service:
        for step in case["steps"]:
            if what := step.get("do"):
                way_to_service.act(what.split()[0])
                continue
            ids, body, options = ([*_filled(step.get("ids", []), names)], _filled(step.get("body", {}), names), {})
            if "key" in step:
                options["idempotency_key"] = names[step["key"]]
            given = _expect(step, lambda: service.call(step["call"], *ids, **body, **options))  # noqa: B023
            if "as" in step:
                code = service.call("sandbox.code_of", given.id)
                wrong = f"{(int(code) + 1) % 1_000_000:06}"
                names |= {f"${step['as']}": given.id, "$code": code, "$wrong": wrong}


def _filled(shown: Any, names: dict[str, str]) -> Any:
    if isinstance(shown, dict):
        return {name: _filled(one, names) for name, one in shown.items()}
    if isinstance(shown, list):
        return [_filled(one, names) for one in shown]
    return names.get(shown, shown)
