"""The README shows what there is, and answers as they are."""

import json
import re
from dataclasses import fields, replace
from importlib.metadata import distribution

import pytest
from click import Context, Group
from support_messages import CATALOGUE, LANGUAGES, wording
from support_sources import ROOT

from otp_service.api.responses import CaughtAnswer, CheckAnswer, DeliveryAnswer, VerificationAnswer
from otp_service.cli.main import COMMANDS, commands
from otp_service.domain.payments import Transaction
from otp_service.domain.templates import write
from otp_service.gateways.base import GATEWAY_ENTRY_POINTS

README = (ROOT / "README.md").read_text(encoding="utf-8")
INTRODUCTION = README.split("\n## ", 1)[0]
SAMPLES = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)]
NAMES = {"en": "English", "ur": "Urdu", "ur-Latn": "Roman Urdu", "ar": "Arabic"}


def members(answer):
    return {field.name for field in fields(answer)}


def test_its_table_of_commands_is_complete():
    section = README.split("\n## Commands\n", 1)[1].split("\n## ", 1)[0]
    named = set()
    for cell in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", cell)
        path = first.split()[1:]
        named |= {" ".join(path), *(" ".join(["", *path[:-1], one]).strip() for one in others)}

    assert {name.removeprefix("otp-service ") for name in named if name} == set(existing())


def existing():
    """Yield every command, and of a group its own."""
    for name in COMMANDS:
        command = commands.get_command(Context(commands), name)
        yield from (f"{name} {sub}" for sub in command.commands) if isinstance(command, Group) else [name]


def test_it_names_every_kind_of_gateway_and_every_language_of_messages():
    kinds = {entry.name for entry in distribution("otp-service").entry_points.select(group=GATEWAY_ENTRY_POINTS)}

    assert set(re.findall(r"`(\w+)`", INTRODUCTION)) == kinds
    assert NAMES.keys() == set(LANGUAGES)
    assert [name for name in NAMES.values() if not re.search(rf"\b{name}\b", " ".join(INTRODUCTION.split()))] == []


def test_its_answers_have_exactly_the_members_of_an_answer():
    started, (caught,), *checked = SAMPLES

    assert started.keys() == members(VerificationAnswer)
    assert [delivery.keys() for delivery in started["deliveries"]] == [members(DeliveryAnswer)]
    assert caught.keys() == members(CaughtAnswer)
    assert [answer.keys() for answer in checked] == [members(CheckAnswer)] * 3


@pytest.mark.parametrize(
    ("payment", "minutes", "shown"),
    [
        (None, 5, r'"text": "(.+?)"'),
        (Transaction("1500.00", "PKR", "Daraz"), 3, r'The person reads "(.+?)"'),
    ],
)
def test_its_messages_are_those_that_are_sent(payment, minutes, shown):
    (text,) = re.findall(shown, README)
    values = wording("en", payment, minutes=minutes, title="Dev Shop")
    (code,) = re.findall(r"\b\d{6}\b", text)

    assert text == write(CATALOGUE, replace(values, code=code)).text


def test_every_page_of_docs_is_in_its_table_of_documents():
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    section = README.split("\n## Documents\n", 1)[1]

    assert pages - set(re.findall(r"\]\((docs/[\w-]+\.md)\)", section)) == set()
