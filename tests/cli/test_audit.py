"""``audit`` on the command line: whether all is as it was recorded, and dispute packs that others can check."""

import json
import re

import pytest
from sqlalchemy import text
from support_caller import Caller
from support_cli import configured, run
from support_events import record_events
from support_installation import NUMBER
from support_ledger_events import EVIDENCE
from support_outbox import deliver_all

from otp_service.bootstrap import install
from otp_service.domain.payments import Transaction
from otp_service.settings import load_settings

PAYMENT = Transaction("1500", "PKR", "Daraz", reference="INV-7")
TRANSACTION = json.dumps({"amount": "1500.00", "currency": "PKR", "payee": "Daraz", "reference": "INV-7"})


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path):
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return configured(tmp_path, valkey.url, ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"})


@pytest.fixture
def shop(environ):
    return Caller(install(load_settings(environ=environ)))


@pytest.fixture
def paid(shop):
    """A payment that was confirmed, with its consent; returns its identifier and its code."""
    one = shop.start(purpose="payment", transaction=PAYMENT, consent=EVIDENCE)
    code = shop.code(one)
    deliver_all(shop.context)
    shop.check(one, code, PAYMENT)
    shop.start("+923007654321")
    record_events(shop.context)
    return one, code


def pack(environ, *arguments):
    result = run("audit", "export", *arguments, environ=environ)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    "asked",
    [
        ("--verification", None),
        ("--transaction", TRANSACTION, "--application", "shop"),
        ("--reference", "INV-7", "--application", "shop"),
        ("--subject", NUMBER),
        ("--from", "2026-01-01", "--to", "2099-01-01", "--subject", "0300 1234567", "--region", "PK"),
    ],
)
def test_a_pack_has_what_a_dispute_needs_by_what_support_knows(environ, paid, asked):
    one, code = paid
    document = pack(environ, *(part or one for part in asked))
    rows = {name: [row["row"] for row in document["rows"] if row["table"] == name] for name in ("events", "consents")}
    sent = next(json.loads(row["details"]) for row in rows["events"] if row["type"] == "delivery.sent")
    whole = json.dumps(document, ensure_ascii=False)

    assert document["verifications"] == [one]
    assert [row["type"] for row in rows["events"]] == [
        "verification.started", "delivery.sent", "verification.approved",
    ]  # fmt: skip
    assert re.fullmatch(r"en/transaction/sms 1 [0-9a-f]{64}", sent["template"])
    assert (sent["channel"], bool(sent["reference"])) == ("sms", True)
    assert [row["text_sha256"] for row in rows["consents"]] == [EVIDENCE.text_sha256]
    assert not re.search(f"(?<![0-9a-f]){code}(?![0-9a-f])", whole)
    assert NUMBER[-7:] not in whole


@pytest.mark.parametrize(
    "asked",
    [
        ("--reference", "INV-8", "--application", "shop"),
        ("--reference", "INV-7", "--application", "bank"),
        ("--transaction", TRANSACTION.replace("1500", "1501"), "--application", "shop"),
        ("--from", "2099-01-01"),
        ("--to", "2020-01-01"),
    ],
)
def test_of_another_payment_or_time_there_is_nothing(environ, paid, asked):
    assert pack(environ, *asked)["rows"] == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ((), "Use --verification"),
        (("--application", "shop"), "Use --verification"),
        (("--reference", "INV-7"), "add --application"),
        (("--transaction", "{}", "--application", "shop"), "--transaction must be JSON"),
        (("--transaction", "1500", "--application", "shop"), "--transaction must be JSON"),
    ],
)
def test_a_pack_of_everything_or_of_nothing_is_not_made(environ, asked, told):
    result = run("audit", "export", *asked, environ=environ)

    assert (result.exit_code, told in result.stderr) == (2, True)


def check(document, environ, *arguments):
    return run("audit", "check", "-", *arguments, environ=environ, stdin=json.dumps(document))


def test_a_pack_that_nobody_touched_holds_for_whoever_has_the_key(environ, paid, tmp_path, valkey):
    document = pack(environ, "--verification", paid[0])
    (tmp_path / "elsewhere").mkdir()
    elsewhere = configured(tmp_path / "elsewhere", valkey.url)

    assert check(document, environ).exit_code == 0
    assert check(document, elsewhere, "--key", document["key"]).exit_code == 0
    assert check(document, elsewhere).exit_code == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["rows"][1]["row"].update(gateway="another"),
        lambda document: document["rows"][1]["entry"].update(digest="0" * 64),
        lambda document: document["rows"][1].update(link="0" * 64),
        lambda document: document["rows"].pop(),
        lambda document: document.update(made=0),
        lambda document: document.update(signature="AAAA"),
    ],
)
def test_a_pack_that_was_changed_does_not_hold(environ, paid, change):
    document = pack(environ, "--verification", paid[0])
    change(document)

    assert check(document, environ).exit_code == 1


def test_a_row_that_was_changed_in_the_ledger_shows_in_the_pack_too(environ, shop, paid):
    with shop.context.ledger.database.write() as connection:
        connection.execute(text("UPDATE events SET gateway = 'another' WHERE type = 'delivery.sent'"))
    result = check(pack(environ, "--verification", paid[0]), environ)

    assert result.exit_code == 1
    assert "is not the one that was recorded" in result.stdout


@pytest.mark.parametrize("document", [{}, [], {"rows": 1, "signature": ""}])
def test_what_is_no_pack_is_told(environ, document):
    assert "not a dispute pack" in check(document, environ).stderr


def test_a_ledger_is_verified_and_a_cut_shows_against_a_head_that_was_kept(environ, shop, paid, tmp_path):
    kept = tmp_path / "heads"
    kept.write_text(f"<109>Nov 26 host otp-service: {run('audit', 'head', environ=environ).stdout}")
    whole = run("audit", "verify", "--heads", str(kept), environ=environ)
    with shop.context.ledger.database.write() as connection:
        connection.execute(text("DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)"))
    cut = run("audit", "verify", "--heads", str(kept), environ=environ)

    assert whole.exit_code == 0, whole.output
    assert "as it was recorded" in whole.stdout
    assert cut.exit_code == 1
    assert "the end was cut off" in cut.stdout


def test_a_line_that_is_no_head_is_told(environ):
    result = run("audit", "verify", "--heads", "-", environ=environ, stdin="{}")

    assert (result.exit_code, "not an exported head" in result.stderr) == (2, True)
