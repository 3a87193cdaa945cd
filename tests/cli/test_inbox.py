"""What people wrote back in their own words, read and decided at a terminal."""

import json

import pytest
from support_cli import configured, rows, run
from support_installation import NUMBER

from otp_service.bootstrap import install
from otp_service.cli.doctor import inbox_diagnoses
from otp_service.gateways.base import InboundMessage
from otp_service.services.inbound import handle_message
from otp_service.settings import load_settings


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path):
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    return configured(tmp_path, valkey.url, ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"})


@pytest.fixture
def context(environ):
    context = install(load_settings(environ=environ)).context
    handle_message(context, "sandbox", InboundMessage("first", NUMBER, "no thanks, that is all from you"))
    return context


def test_a_message_is_listed_and_dismissed_once(environ, context):
    (row,) = rows(run("inbox", "list", environ=environ).output)
    (listed,) = json.loads(run("inbox", "list", "--json", environ=environ).output)["messages"]

    assert row[-2:] == ["+92 ••• ••••567", "no thanks, that is all from you"]
    assert (listed["id"], listed["text"]) == (row[0], row[-1])
    assert run("inbox", "dismiss", row[0], environ=environ).exit_code == 0
    again = run("inbox", "dismiss", row[0], environ=environ)
    assert (again.exit_code, again.output) == (
        1,
        f"Error: No message {row[0]}: already reviewed, or older than five days.\n",
    )


def test_a_message_that_asks_to_stop_is_obeyed(environ, context):
    (row,) = rows(run("inbox", "list", environ=environ).output)
    done = run("inbox", "stop", row[0], environ=environ)

    assert (done.exit_code, done.output) == (0, "Suppressed: messages of any application to +92 ••• ••••567.\n")
    assert context.store.inbox.waiting() == ()
    shown = json.loads(run("suppressions", "show", NUMBER, "--json", environ=environ).output)
    assert shown["kept_back"] == ["*"]


@pytest.mark.parametrize("wrong", ["", "x", "*", "+", "-", "1-1", "999999999999999999999-0"])
def test_an_id_that_is_none_is_refused(environ, wrong):
    assert run("inbox", "stop", wrong, environ=environ).exit_code in {1, 2}


def test_doctor_warns_of_a_message_that_nobody_read_for_two_days(context, monkeypatch):
    waiting = context.store.inbox.waiting()
    assert list(inbox_diagnoses(waiting)) == []

    monkeypatch.setattr("otp_service.cli.doctor.clock.now", lambda: waiting[0].received + 3 * 24 * 3600 * 1000)
    (warned,) = inbox_diagnoses(waiting)
    assert (warned.level, warned.sentence) == (
        "warn",
        "Unread messages from people: 1, the oldest since 3 d. Some may ask to stop.",
    )
