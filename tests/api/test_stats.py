"""Stats over HTTP: of the key's application alone, by what is asked, and nothing that is not."""

import copy
from collections.abc import Iterator

import pytest
from support_api import Api, code_of
from support_installation import BANK_KEY, World
from support_ledger import another_ledger
from support_stats import AT, record, refuse, stories

from otp_service.clock import now, rfc3339
from otp_service.domain.guard import DAY, HOUR
from otp_service.errors import LedgerUnavailableError
from otp_service.ledger.database import Database

STATS = "/v1/stats"
FROM = f"from={rfc3339(AT)}"
SPAN = f"{FROM}&until={rfc3339(AT + HOUR)}"
KINDS = ("verifications", "messages", "refusals", "delays")


@pytest.fixture
def shop(world: World) -> Iterator[Api]:
    api = Api(world, ledger={"url": another_ledger()})
    ledger = api.installation.context.ledger
    record(ledger, stories(3, "a"), stories(2, "b", country="GB", end=""), stories(7, "c", application="bank"))
    refuse(ledger, 4)
    yield api
    ledger.database.close()


def rows(api: Api, query: str) -> list[dict]:
    answer = api.get(f"{STATS}/{query}")
    assert answer.status_code == 200, answer.text
    return list(answer.json["rows"])


def test_verifications_are_counted(shop: Api):
    answer = shop.get(f"{STATS}/verifications?{SPAN}&by=country")

    assert answer.json["currency"] == "PKR"
    assert answer.json["rows"][1] == {
        "hour": None, "day": None, "purpose": None, "country": "PK", "number_prefix": None, "channel": None,
        "standing": None, "started": 3, "approved": 3, "canceled": 0, "max_attempts_reached": 0, "failed": 0,
        "expired": 0,
        "unapproved": 0, "sent": 3, "delivered": 3, "amount": "7.50", "estimated_unapproved_amount": "0.00",
        "unfinished": False,
    }  # fmt: skip
    assert answer.json["rows"][0]["estimated_unapproved_amount"] == "5.00"


def test_messages_refusals_and_delays_are_counted(shop: Api):
    (message,) = rows(shop, f"messages?{SPAN}&by=gateway&by=channel")
    assert (message["gateway"], message["channel"], message["sent"], message["amount"]) == (
        "primary",
        "sms",
        5,
        "12.50",
    )
    (refused,) = rows(shop, f"refusals?{SPAN}&by=rule")
    assert (refused["rule"], refused["refused"], refused["would_be_refused"]) == ("number.sends", {"start": 4}, {})
    delays = {one["until"]: one for one in rows(shop, f"delays?{SPAN}")}
    assert (delays["sent"]["times"], delays["sent"]["p50_ms"], delays["approved"]["p95_ms"]) == (5, 2000, 20_000)
    assert delays["sent"]["within"][:2] == [{"at_most_ms": 1000, "times": 0}, {"at_most_ms": 2000, "times": 5}]


def test_what_gets_rows_of_its_own_is_repeated_or_has_commas_between(shop: Api):
    one = rows(shop, f"verifications?{SPAN}&by=hour,country&by=channel")

    assert one == rows(shop, f"verifications?{SPAN}&by=hour&by=country&by=channel")
    assert [(row["hour"], row["country"], row["channel"]) for row in one] == [
        (rfc3339(AT), "GB", "sms"),
        (rfc3339(AT), "PK", "sms"),
    ]
    (day,) = rows(shop, f"verifications?{SPAN}&by=day")
    assert day["day"] == rfc3339(AT - AT % DAY)


def test_until_now_is_what_is_meant_where_nothing_is_said(shop: Api):
    record(shop.installation.context.ledger, stories(1, "new", at=now()))

    assert [(row["sent"], row["unfinished"]) for row in rows(shop, f"messages?from={rfc3339(now() - DAY)}")] == [
        (1, True)
    ]
    assert code_of(shop.get(f"{STATS}/messages?{FROM}")) == (422, "invalid-time"), "more than 400 days ago"


def test_another_applications_are_never_shown(shop: Api):
    bank = copy.copy(shop)
    bank.key = BANK_KEY

    assert [row["started"] for row in rows(bank, f"verifications?{SPAN}")] == [7]
    assert rows(bank, f"refusals?{SPAN}") == []
    assert code_of(shop.get(f"{STATS}/verifications?{SPAN}&by=application")) == (400, "invalid-request")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        (f"until={rfc3339(AT)}", 400),
        ("from=yesterday", 400),
        ("from=2025-02-30T00:00:00Z", 400),
        (f"{FROM}&until=", 400),
        (f"{SPAN}&by=", 400),
        (f"{SPAN}&by=pseudonym", 400),
        (f"{SPAN}&by=hour,", 400),
        (f"{SPAN}&{FROM}", 400),
        (f"{SPAN}&more=1", 400),
        (f"{FROM}&until={rfc3339(AT)}", 422),
        (f"{FROM}&until={rfc3339(AT + 32 * DAY)}&by=hour", 422),
        (f"{FROM}&until={rfc3339(AT + 401 * DAY)}", 422),
    ],
)
def test_what_is_no_question_is_refused(shop: Api, kind: str, query: str, status: int):
    code = {400: "invalid-request", 422: "invalid-time"}[status]

    assert code_of(shop.get(f"{STATS}/{kind}?{query}")) == (status, code)


def test_while_the_ledger_is_away_that_is_told(shop: Api, monkeypatch: pytest.MonkeyPatch):
    def away(*_: object) -> None:
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(Database, "read", away)
    for kind in KINDS:
        assert code_of(shop.get(f"{STATS}/{kind}?{SPAN}")) == (503, "ledger-unavailable")


def test_they_are_only_read(shop: Api):
    assert {code_of(shop.call(method, f"{STATS}/delays?{SPAN}"))[0] for method in ("POST", "PUT", "DELETE")} == {405}
