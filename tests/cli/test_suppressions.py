"""Suppressions by hand, lists of them, and what is held of the person behind a number; on a real Valkey."""

import json

import pytest
from support_caller import Caller
from support_cli import configured, rows, run
from support_installation import NUMBER, key, tree
from support_ledger import VARIABLE, make_ledger
from support_ledger_events import EVIDENCE

from otp_service.bootstrap import install
from otp_service.console.records import NumberView, NumberViews
from otp_service.domain.consents import Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.errors import LedgerUnavailableError, SuppressedError
from otp_service.services.consents import add_suppressions, give_consent
from otp_service.settings import load_settings
from otp_service.store import keys

MASK = "+92 ••• ••••567"
OTHER = "+923007654321"


@pytest.fixture
def environ(valkey, sqlite_template, tmp_path):
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    shop = {**tree(valkey.url)["applications"]["shop"], "consent": "recorded"}
    return configured(
        tmp_path,
        valkey.url,
        ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"},
        applications={"shop": shop},
    )


@pytest.fixture
def shop(environ):
    return Caller(install(load_settings(environ=environ)))


def told(*arguments, environ, stdin=None):
    result = run(*arguments, environ=environ, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.output


def suppressions(*arguments, environ, stdin=None):
    return told("suppressions", *arguments, environ=environ, stdin=stdin)


def refused(shop, to=NUMBER):
    try:
        shop.start(to)
    except SuppressedError:
        return True
    return False


def test_an_operator_suppresses_for_all_and_lifts_again(environ, shop):
    said = suppressions("add", NUMBER, "--reason", "letter of 2026-11-25", environ=environ)
    bank = Caller(install(load_settings(environ=environ)), "bank")
    assert said == f"Suppressed: messages of any application to {MASK} (all).\n"
    assert refused(shop)
    assert refused(bank)

    suppressions("lift", NUMBER, environ=environ)
    assert not refused(shop)


def test_a_suppression_of_one_application_leaves_another_alone(environ, shop):
    suppressions("add", NUMBER, "--application", "shop", environ=environ)
    bank = Caller(install(load_settings(environ=environ)), "bank")

    assert refused(shop)
    assert not refused(bank)


def test_who_said_so_and_when_is_shown(environ, shop):
    suppressions(
        "add", "0300 1234567", "--region", "pk", "--until", "2026-12-31", "--reason", "letter", environ=environ
    )
    suppressions("add", NUMBER, "--application", "bank", environ=environ)
    suppressions("lift", NUMBER, environ=environ)
    shown = suppressions("show", NUMBER, environ=environ)

    assert [row[1:] for row in rows(shown)[:3]] == [
        ["all", "all", "suppressed", "operator", "2026-12-31 00:00:00", "letter"],
        ["bank", "all", "suppressed", "operator", "-", "-"],
        ["all", "all", "lifted", "operator", "-", "-"],
    ]
    assert "of bank." in shown
    assert NUMBER[-7:] not in shown


def test_what_the_person_said_is_lifted_with_a_reason_only(environ, shop):
    to = subject_key(shop.context.keyring, parse_destination(NUMBER, None))
    add_suppressions(
        shop.context, (Suppression(to.pseudonym, "shop", SuppressionScope.ALL, SuppressionSource.INBOUND),)
    )
    lift = ("suppressions", "lift", NUMBER, "--application", "shop")
    result = run(*lift, environ=environ)
    assert result.exit_code == 2
    assert "state why" in result.output
    assert refused(shop)

    told(*lift, "--reason", "asked for it in the shop, case A-17", environ=environ)
    assert not refused(shop)
    assert "asked for it in the shop, case A-17" in suppressions("show", NUMBER, environ=environ)


@pytest.mark.parametrize("text", ["0300 123 4567", "۰۳۰۰-۱۲۳-۴۵۶۷"])
@pytest.mark.parametrize(
    "command",
    [("suppressions", "add"), ("suppressions", "lift"), ("subject", "freeze", "--all"), ("suppressions", "import")],
)
def test_no_reason_may_hold_a_number(environ, command, text, tmp_path):
    about = str(tmp_path / "list") if command[1] == "import" else NUMBER
    (tmp_path / "list").write_text(NUMBER)
    result = run(*command, about, "--reason", text, environ=environ)

    assert result.exit_code == 2
    assert "no phone number" in result.output


def test_what_is_not_suppressed_is_not_lifted(environ):
    result = run("suppressions", "lift", NUMBER, environ=environ)

    assert result.exit_code == 1
    assert f"Messages of any application to {MASK} are not suppressed (all)." in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", NUMBER, "--application", "nobody"], "The application nobody does not exist; choose from: bank, shop."),
        (["add", NUMBER, "--reason", "x" * 201], "A reason has at most 200 printable characters, and no phone number."),
        (["add", NUMBER, "--reason", "a\nb"], "A reason has at most 200 printable characters, and no phone number."),
        (["add", NUMBER, "--until", "soon"], "Invalid value for '--until'"),
        (["add", "12"], "A national number needs --region"),
        (["import", "/no/such/file"], "No such file"),
    ],
)
def test_what_cannot_be_meant_is_told(environ, arguments, sentence):
    result = run("suppressions", *arguments, environ=environ)

    assert result.exit_code in {1, 2}
    assert sentence in result.output


LIST = f"""\
number;since
# a comment

{NUMBER};2026-01-01
"{OTHER}",x
0301 2345678   # national
not a number
{NUMBER}
"""


def test_a_list_is_imported_and_what_is_no_number_is_told_by_its_line(environ, shop):
    said = suppressions("import", "-", "--region", "PK", "--reason", "a list", environ=environ, stdin=LIST)

    assert "Skipped, without a number: 2 lines (1, 7)." in said
    assert "Suppressed: messages of any application to the numbers of 4 lines (all)." in said
    assert "New: 3." in said, "one is there twice"
    assert all(refused(shop, to) for to in (NUMBER, OTHER, "+923012345678"))


def test_a_list_that_is_imported_again_adds_what_is_new(environ, shop):
    lists = (NUMBER, f"{NUMBER}\n{OTHER}")
    said = [suppressions("import", "-", "--reason", "a list", environ=environ, stdin=one) for one in lists]

    assert "New: 1." in said[0]
    assert "New: 1." in said[1]
    assert suppressions("show", NUMBER, environ=environ).count("import") == 1


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_a_list_without_a_number_is_refused(environ, shop, text):
    result = run("suppressions", "import", "-", environ=environ, stdin=text)

    assert (result.exit_code, "contains no numbers" in result.stderr) == (1, True)


def test_whoever_suppresses_in_another_ledger_than_redis_mirrors_is_told(environ, shop, tmp_path):
    shop.start()
    make_ledger(f"sqlite:///{tmp_path / 'another.db'}")
    elsewhere = {**environ, VARIABLE: f"sqlite:///{tmp_path / 'another.db'}"}
    result = run("suppressions", "add", NUMBER, environ=elsewhere)

    assert result.exit_code == 1
    assert "not in force. Redis belongs to another ledger" in result.stderr
    assert not refused(shop)


def test_a_list_for_marketing_leaves_codes_alone_and_redis_empty(environ, shop, valkey):
    suppressions("import", "-", "--scope", "marketing_only", environ=environ, stdin=NUMBER)

    assert not refused(shop)
    assert not list(valkey.client.scan_iter(match=keys.mirrored("??", "*")))
    assert "marketing_only\tsuppressed\timport" in suppressions("show", NUMBER, environ=environ)


def test_more_numbers_than_fit_a_transaction_are_imported(environ, shop):
    numbers = "".join(f"+92345{i:07d}\n" for i in range(4001))
    suppressions("import", "-", environ=environ, stdin=numbers)

    assert refused(shop, "+923450000000")
    assert refused(shop, "+923450004000")
    assert not refused(shop, "+923450004001")


# --- the person behind a number ------------------------------------------------------------------------------


def consented(shop):
    to = subject_key(shop.context.keyring, parse_destination(NUMBER, None))
    give_consent(shop.context, shop.application, to, "login", EVIDENCE)


def test_all_that_is_held_is_written_as_json(environ, shop):
    consented(shop)
    one = shop.start()
    held = json.loads(told("subject", "export", NUMBER, environ=environ))

    assert held["to"] == MASK
    assert held["applications"].keys() == {"*", "shop"}
    assert held["applications"]["*"]["counters"]["messages"], "what Redis counts of the number, whoever sends"
    assert held["applications"]["shop"]["consents"][0]["text_sha256"] == EVIDENCE.text_sha256
    assert held["applications"]["shop"]["recent"] == [one]


def test_what_is_held_is_told_by_application_and_what_is_of_all_apart(environ, shop):
    shop.start()
    suppressions("add", NUMBER, environ=environ)
    suppressions("add", NUMBER, "--application", "bank", environ=environ)
    text = told("subject", "export", NUMBER, environ=environ)
    held = json.loads(text)["applications"]

    assert {name: len(one["suppressions"]) for name, one in held.items()} == {"*": 1, "bank": 1, "shop": 0}
    assert "•" in text, "the mask, as people read it"


def test_who_looked_is_told_with_what_is_of_all(environ, shop):
    to = subject_key(shop.context.keyring, parse_destination(NUMBER, None))
    NumberViews(shop.context.ledger.database).record(NumberView("ayesha", "find", to.pseudonym, "case A-17"))
    shop.start()
    held = json.loads(told("subject", "export", NUMBER, environ=environ))["applications"]

    assert [(one["by"], one["view"]) for one in held["*"]["looks"]] == [("ayesha", "find")]
    assert held["shop"]["looks"] == []


def test_an_erasure_asks_and_tells_what_stays_and_why(environ, shop):
    consented(shop)
    refused_to = run("subject", "erase", NUMBER, environ=environ, stdin="n\n")
    assert refused_to.exit_code == 1
    said = told("subject", "erase", NUMBER, "--yes", environ=environ)

    assert (
        "Erased: addresses and words from 1 consent, reasons of 0 suppressions, senders of 0 inbound messages, "
        "reasons of 0 looks, reasons of 0 requests to two people." in said
    )
    assert "Kept: 0 verifications, 1 consent, 0 suppressions" in said
    assert "dispute" in said
    held = json.loads(told("subject", "export", NUMBER, environ=environ))
    assert held["applications"]["shop"]["consents"][0]["address_prefix"] is None
    assert len(held["applications"]["*"]["erasures"]) == 1


# --- the ledger and its mirror -------------------------------------------------------------------------------


def test_after_the_ledger_was_restored_an_operator_decides(environ, shop, tmp_path):
    backup = (tmp_path / "ledger.db").read_bytes()
    suppressions("add", NUMBER, environ=environ)
    shop.context.ledger.database.close()
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    (tmp_path / "ledger.db").write_bytes(backup)
    late = Caller(install(load_settings(environ=environ)))
    late.context.mirror_sync.refresh()
    with pytest.raises(LedgerUnavailableError):
        late.start()
    assert "Redis and the ledger have different histories" in run("doctor", environ=environ).output

    told("ledger", "rebuild", "--yes", environ=environ)
    late.context.mirror_sync.refresh()
    assert late.start()


def test_a_flush_is_told_by_doctor_and_mended_by_rebuild(environ, shop, valkey):
    suppressions("add", NUMBER, environ=environ)
    valkey.client.flushall()
    assert "Redis does not mirror this ledger yet" in run("doctor", environ=environ).output
    said = told("ledger", "rebuild", "--yes", environ=environ)

    all_of_it = "Redis mirrors all of it (consents and suppressions: 2 changes)."
    assert all_of_it in said, "that it is another ledger now is one"
    assert all_of_it in run("doctor", environ=environ).output


def test_a_ledger_that_is_not_there_is_not_made_by_looking(environ, tmp_path):
    (tmp_path / "ledger.db").unlink()
    result = run("doctor", environ=environ)
    assert "warn  ledger: The ledger is not created yet" in result.output
    assert (result.exit_code, "fail" in result.output) == (0, False), "nothing is wrong before the first start"
    assert not (tmp_path / "ledger.db").exists()

    told("ledger", "upgrade", environ=environ)
    assert (tmp_path / "ledger.db").exists()


OF_THE_LEDGER = [
    ("suppressions", "add", NUMBER, "--application", "shop", "--reason", "asked"),
    ("suppressions", "lift", NUMBER, "--application", "shop", "--reason", "asked"),
    ("suppressions", "show", NUMBER),
    ("suppressions", "import", "-", "--application", "shop"),
    ("subject", "export", NUMBER),
    ("subject", "erase", NUMBER, "--yes"),
    ("subject", "freeze", NUMBER, "--all", "--reason", "fraud"),
    ("subject", "unfreeze", NUMBER, "--all"),
    ("ledger", "status"),
    ("ledger", "rebuild", "--yes"),
    ("ledger", "purge"),
    ("audit", "verify"),
    ("audit", "actions"),
    ("audit", "head"),
    ("key", "add", "shop"),
    ("key", "list"),
    ("application", "list"),
]
FIRST = [one for one in OF_THE_LEDGER if one[1] in {"add", "freeze", "import"}]


@pytest.mark.parametrize("first", FIRST, ids=" ".join)
def test_the_first_command_that_writes_binds_the_ledger_to_its_key(environ, first, valkey):
    assert run(*first, environ=environ, stdin=f"{NUMBER}\n").exit_code == 0
    valkey.client.flushall()
    with_another = environ | {"OTP_SERVICE_PSEUDONYM_KEY": key()}

    for command in OF_THE_LEDGER:
        result = run(*command, environ=with_another, stdin=f"{NUMBER}\n")
        assert (result.exit_code, "another pseudonym key" in result.output) == (1, True), command
    assert valkey.client.dbsize() == 0
