"""A page's address, what is typed there, and its result, followed through a run at DEBUG: they are written nowhere."""

import re

import pytest
from support_canary import ledger_as_it_is, logged_at_debug, redis_as_it_is
from support_collector import collecting
from support_factors import record
from support_installation import NUMBER, World
from support_ledger import another_ledger
from support_pages import PAYMENT, REDEEM, Person, api_with_pages, attempt_of

from otp_service.telemetry import tracing

RETURN = "https://canary-shop.example/back"
PLACES = ("log", "Redis", "ledger", "metrics", "traces")


Run = tuple[dict[str, bytes], list[str], list[str]]


@pytest.fixture
def run(real_world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Use a page in every way; return what was written, by where, and what must not be in it: texts, and codes."""
    ledger = another_ledger()
    with logged_at_debug() as log, collecting() as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
        tracing.set_enabled(on=True)
        api = api_with_pages(real_world, return_to=RETURN, ledger={"url": ledger}, telemetry={"traces": "otlp"})
        person = Person(api, f"{RETURN}?order=canary-1093", purpose="payment", transaction=PAYMENT)
        pages = [person.look(), person.look("?note=wrong"), api.client.get(f"{person.path}x")]
        wrong, right = api.wrong(person.id), api.code(person.id)
        person.said(code=wrong)
        person.said(code=NUMBER)
        person.said(channel="sms")
        person.send(code=right, headers={"Sec-Fetch-Site": "cross-site"})
        result = person.approve()
        pages.append(person.look())
        for _ in range(2):
            api.post(REDEEM, {"result": result})
        api.post(REDEEM, {"result": f"{result}x"})
        record(api)
        metrics = api.client.get("/metrics").data
        tracing.set_enabled(on=False)
        texts = (log.getvalue().encode(), redis_as_it_is(real_world), ledger_as_it_is(ledger), metrics)
        written = dict(zip(PLACES, (*texts, b"\n".join(collector.bodies)), strict=True))
    token = person.path.removeprefix("/p/")
    secrets = [token, token[-22:], result, result[-22:], NUMBER[1:], NUMBER[3:], "canary-1093", "Daraz"]
    return written, [*secrets, *filter(None, map(attempt_of, pages))], [right, wrong]


def test_no_address_and_no_result_of_a_page_is_written_anywhere(run: Run):
    written, secrets, codes = run

    assert all(len(text) > 200 for text in written.values()), "nothing was looked at"
    assert b"/p/<token>" in written["log"]
    assert b"/p/<token>" in written["metrics"]
    assert b"/p/<token>" in written["traces"]
    assert len(secrets) == 10
    assert [(place, one) for place, text in written.items() for one in secrets if one.encode() in text] == []
    for code in codes:  # alone: six digits in a row may come about in what is random
        alone = re.compile(rb"(?<![0-9a-f.])" + code.encode() + rb"(?![0-9a-f])")
        assert [place for place, text in written.items() if alone.search(text)] == []
