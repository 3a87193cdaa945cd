"""``otp-service dead-letters``, on a real Valkey."""

import re

import pytest
from support_caller import Caller
from support_cli import configured, rows, run
from support_installation import NUMBER
from support_outbox import DEAD, Scripted, Sender, jobs_of, letters, refused, waiting

from otp_service.bootstrap import install
from otp_service.cli.common import operator_login
from otp_service.settings import load_settings

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def environ(valkey, tmp_path):
    return configured(tmp_path, valkey.url)


@pytest.fixture
def shop(environ):
    return Caller(install(load_settings(environ=environ)))


def given_up(shop, kind="rejected", code="20003"):
    """Give a message up; return its verification."""
    one = shop.start()
    Sender(shop, sandbox=Scripted(refused(kind, code))).deliver()
    return one


def command(environ, *arguments):
    return run("dead-letters", *arguments, environ=environ)


def names(environ):
    return [row[0] for row in rows(command(environ, "list").stdout)]


def test_what_was_given_up_is_listed_newest_first_with_the_reason(environ, shop):
    first, second = given_up(shop), given_up(shop, "fraud", "30450")
    result = command(environ, "list")
    headings, *letters_told = result.stdout.splitlines()

    assert re.fullmatch(rf"00:\d+-\d+\t{TIME}\tfraud 30450\tshop\tlogin\tPK\tsms\t{second}", letters_told[0])
    assert letters_told[1].endswith(f"\trejected 20003\tshop\tlogin\tPK\tsms\t{first}")
    assert result.stderr == "2 of 2 shown.\n"
    assert NUMBER[-7:] not in result.output
    assert command(environ, "list", "--most", "1").stdout.splitlines() == [headings, *letters_told[:1]]


def test_a_letter_that_cannot_be_read_is_listed_too(environ, valkey):
    valkey.client.xadd(DEAD, {"reason": "unreadable", "odd": "\x07"})

    assert command(environ, "list").stdout.rstrip("\n").endswith("\tunreadable" + "\t-" * 5)


def test_one_that_is_named_is_put_back_and_no_other(environ, shop, valkey):
    first, second = given_up(shop), given_up(shop)
    name = names(environ)[1]
    result = command(environ, "redrive", name)

    assert (result.exit_code, result.output) == (0, f"{name}\t{first}\tput back\n")
    assert command(environ, "list").stdout.splitlines()[1].endswith(second)
    assert waiting(valkey.client) == 1
    Sender(shop, sandbox=Scripted()).deliver()
    assert shop.read(first).verification.deliveries[-1].status == "sent"


def test_all_are_put_back_and_it_is_said_what_became_of_each(environ, shop, valkey):
    wanted, canceled = given_up(shop), given_up(shop)
    shop.cancel(canceled)
    valkey.client.xadd(DEAD, {"reason": "unreadable", "odd": "1"})
    unreadable, second, first = names(environ)
    result = command(environ, "redrive", "--all")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{first}\t{wanted}\tput back",
        f"{second}\t{canceled}\tnot put back: canceled",
        f"{unreadable}\t-\tnot put back: unreadable",
        "1 of 3 put back.",
    ]
    assert letters(valkey.client) == ["rejected 20003", "unreadable"]
    assert waiting(valkey.client) == 1


def test_what_is_older_than_a_code_can_be_is_left_alone_and_counted(environ, shop, valkey):
    given_up(shop)
    valkey.advance(601)
    result = command(environ, "redrive", "--all")

    assert result.stdout == "0 of 0 put back.\n"
    assert result.stderr == "1 older ones were left: their codes have expired.\n"
    assert letters(valkey.client) == ["rejected 20003"]


def test_the_exit_status_tells_that_one_was_not_put_back_and_the_others_are(environ, shop, valkey):
    given_up(shop)
    shop.cancel(given_up(shop))
    canceled, wanted = names(environ)
    result = command(environ, "redrive", canceled, wanted)

    assert result.exit_code == 1
    assert [line.split("\t")[2] for line in result.output.splitlines()] == ["not put back: canceled", "put back"]
    assert waiting(valkey.client) == 1


def test_a_name_of_no_letter_is_refused_before_any_is_put_back(environ, shop, valkey):
    given_up(shop)
    result = command(environ, "redrive", *names(environ), "00:1-1")

    assert (result.exit_code, result.output) == (
        1,
        "Error: No dead letter has the ID 00:1-1 (otp-service dead-letters list).\n",
    )
    assert waiting(valkey.client) == 0


def test_all_of_one_reason_are_put_back_and_no_others(environ, shop, valkey):
    wanted, _ = given_up(shop), given_up(shop, "fraud", "30450")
    result = command(environ, "redrive", "--all", "--reason", "rejected")

    assert result.stdout.splitlines()[1:] == ["1 of 1 put back."]
    assert wanted in result.stdout
    assert letters(valkey.client) == ["fraud 30450"]


def test_what_another_try_does_not_change_is_left_out_of_all_and_it_is_said(environ, shop, valkey):
    bad_number, another, fraud = (given_up(shop, *why) for why in [("destination", "21211")] * 2 + [("fraud", "30450")])
    wanted = given_up(shop)
    result = command(environ, "redrive", "--all")

    assert (result.exit_code, result.stdout.splitlines()[1:]) == (0, ["1 of 1 put back."])
    assert wanted in result.stdout
    assert not any(one in result.output for one in (bad_number, another, fraud))
    assert result.stderr.splitlines() == [
        "2 left for the reason destination: another try changes nothing. To try all the same: --reason destination",
        "1 left for the reason fraud: another try changes nothing. To try all the same: --reason fraud",
    ]
    assert letters(valkey.client) == ["destination 21211", "destination 21211", "fraud 30450"]
    assert waiting(valkey.client) == 1


@pytest.mark.parametrize("reason", ["destination", "fraud"])
def test_what_is_left_out_of_all_is_put_back_when_its_reason_is_named(environ, shop, reason):
    one = given_up(shop, reason, "1")
    result = command(environ, "redrive", "--all", "--reason", reason)

    assert re.fullmatch(rf"00:\d+-\d+\t{one}\tput back\n1 of 1 put back\.\n", result.output)


def test_what_a_policy_denied_is_left_out_of_all_too(environ, shop, valkey):
    shop.start()
    (job,) = jobs_of(shop.context)
    shop.context.store.dispatches.give_up(job, "policy simswap")

    assert "1 left for the reason policy: another try changes nothing" in command(environ, "redrive", "--all").stderr
    assert letters(valkey.client) == ["policy simswap"]
    assert "1 of 1 put back." in command(environ, "redrive", "--all", "--reason", "policy").stdout


def test_the_help_says_what_is_left_out_of_all(environ):
    told = " ".join(command(environ, "redrive", "--help").output.split())

    assert "All whose code may still live, but for the reasons destination, fraud and policy." in told
    assert "another try changes nothing, and may cost" in told


@pytest.mark.parametrize("arguments", [(), ("--all", "00:1-1"), ("--reason", "rejected", "00:1-1")])
def test_it_must_be_said_which(environ, arguments):
    result = command(environ, "redrive", *arguments)

    assert result.exit_code == 2
    assert "Name dead letters by their ID, or use --all." in result.output


def test_a_redrive_is_recorded_as_an_action_with_its_operator_and_the_number_of_letters(environ, shop):
    given_up(shop)
    given_up(shop)
    assert command(environ, "redrive", "--all").exit_code == 0
    assert command(environ, "redrive", "--all").exit_code == 0, "there is nothing more to put back"
    found = [
        one
        for one in shop.context.ledger.operator_actions.between(None, None, 1000)
        if one.action == "messages-redriven"
    ]

    assert [(one.by, one.application, one.target) for one in found[-1:]] == [
        (operator_login(), "shop", "dead letters: 2")
    ]
