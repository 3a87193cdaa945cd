"""The README, the first page and the integration guide show gateways, languages, answers and messages as they are."""

import json
import re
from dataclasses import fields, replace
from importlib.metadata import distribution

import pytest
from support_messages import CATALOGUE, LANGUAGES, message_content
from support_sources import ROOT, committed_files

from otp_service.api.verifications import (
    CaughtMessageAnswer,
    CheckResultAnswer,
    DeliveryAnswer,
    StartedVerificationAnswer,
)
from otp_service.domain.messages import render_message
from otp_service.domain.payments import Transaction
from otp_service.gateways.base import GATEWAY_ENTRY_POINTS

README = (ROOT / "README.md").read_text(encoding="utf-8")
INTRODUCTION = README.split("\n## ", 1)[0]
START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
INTEGRATION = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
SAMPLES = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", START, re.MULTILINE | re.DOTALL)]
NAMES = {"en": "English", "ur": "Urdu", "ur-Latn": "Roman Urdu", "ar": "Arabic"}


def members(answer):
    return {field.name for field in fields(answer)}


def test_it_names_every_kind_of_gateway_and_every_language_of_messages():
    kinds = {entry.name for entry in distribution("otp-service").entry_points.select(group=GATEWAY_ENTRY_POINTS)}

    assert set(re.findall(r"`(\w+)`", INTRODUCTION)) == kinds
    assert NAMES.keys() == set(LANGUAGES)
    assert [name for name in NAMES.values() if not re.search(rf"\b{name}\b", " ".join(INTRODUCTION.split()))] == []


def test_its_answers_have_exactly_the_members_of_an_answer():
    started, (caught,), checked = SAMPLES

    assert started.keys() == members(StartedVerificationAnswer)
    assert [delivery.keys() for delivery in started["deliveries"]] == [members(DeliveryAnswer)]
    assert caught.keys() == members(CaughtMessageAnswer)
    assert checked.keys() == members(CheckResultAnswer)


@pytest.mark.parametrize(
    ("page", "payment", "minutes", "shown"),
    [
        (START, None, 5, r'"text": "(.+?)"'),
        (INTEGRATION, Transaction("1500.00", "PKR", "Daraz"), 3, r'The person reads "(.+?)"'),
    ],
)
def test_its_messages_are_those_that_are_sent(page, payment, minutes, shown):
    (text,) = re.findall(shown, " ".join(page.split()))
    values = message_content("en", payment, minutes=minutes, brand="Dev Shop")
    (code,) = re.findall(r"\b\d{6}\b", text)

    assert text == render_message(CATALOGUE, replace(values, code=code)).text


def test_every_document_is_two_clicks_away():
    documents = {path.resolve() for path in committed_files() if path.suffix == ".md"}
    listed = {ROOT / "README.md", *linked({ROOT / "README.md"})}

    assert documents - listed - linked(listed) == set()


def linked(documents):
    """Return the documents that these lead to."""
    targets = ((path, one) for path in documents for one in re.findall(r"\]\(([\w./-]+\.md)", path.read_text("utf-8")))
    return {(path.parent / target).resolve() for path, target in targets}
