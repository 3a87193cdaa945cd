"""What commands tell of senders and approved templates."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from support_cli import rows, run
from support_installation import World
from support_pakistan import EXAMPLE, table_of

from otp_service.services.sender_registrations import today

Command = Callable[..., Result]


@pytest.fixture
def command(still_world: World, tmp_path: Path) -> Command:
    def command(*arguments: str, **changes: object) -> Result:
        table = table_of(still_world.url, **changes)
        keys = table.pop("keys")
        file = tmp_path / "otp.json"
        file.write_text(json.dumps(table))
        secrets = {"OTP_SERVICE_ROOT_KEYS": keys["root"], "OTP_SERVICE_PSEUDONYM_KEY": keys["pseudonym"]}
        return run(*arguments, environ={"OTP_SERVICE_CONFIG": str(file), **secrets})

    return command


def test_the_templates_are_listed_with_digests_and_where_they_are_approved(command: Command):
    listed = rows(command("messages", "templates").stdout)
    approved = {(template, digest) for template, _, digest, where in listed if where == "PK"}

    assert approved == {(one["template"], one["sha256"]) for one in EXAMPLE["approvals"].values()}
    assert {where for template, *_, where in listed if template.startswith(("ar/", "ur-Latn/"))} == {"-"}


def test_the_check_of_the_configuration_asks_for_approvals_too(command: Command):
    refused = command("config", "check", without=("approvals.login-ur",))

    assert refused.exit_code == 1
    assert "approvals: ur/possession/sms is not approved in PK. Its digest is 4021240ea6d1" in refused.output


def findings(result: Result, word: str) -> str:
    return " ".join(line for line in result.output.splitlines() if word in line)


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (31, "ok    registrations: No sender and no approval ends within a month."),
        (30, "warn  senders.dev: {day} is its last day; then no message to PK goes out by it."),
        (-1, "fail  senders.dev: It ended on {day}: no message to PK goes out by it."),
    ],
)
def test_doctor_tells_of_an_end_a_month_before(command: Command, days: int, told: str):
    day = str(today() + timedelta(days=days))
    result = command("doctor", senders={"dev": {"valid_until": day}})

    assert told.format(day=day) in result.output
    assert result.exit_code == (1 if days < 0 else 0), result.output


def test_a_test_message_is_no_approved_template(command: Command):
    refused = command("gateway", "test", "sandbox", "+923001234567")

    assert refused.exit_code == 1
    assert "PK allows only approved templates under registered senders: try the gateway with a start." in refused.output
    assert command("gateway", "test", "sandbox", "+447400123456").exit_code == 0
