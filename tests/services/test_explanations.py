"""What support reads and says: a sentence and an advice for each reason, which can be translated."""

import re
from dataclasses import replace
from string import Formatter

import pytest

from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.phrases import Phrase
from otp_service.domain.verification import Delivery, DeliveryStatus, Status
from otp_service.services.explanations import ADVICE, SENTENCES, advice, explain_rules, sentence, title
from otp_service.services.number_history import (
    DeliveryExplanation,
    ExplainedVerification,
    NumberHistory,
    VerificationHistory,
    Why,
)
from otp_service.store.events import Decision, RuleHit

JARGON = re.compile(
    r"\b(gateway|route|worker|verification|channel|dispatch|policy|suppress\w*|ceiling|guard|handset|operator|otp-service"
    r"|expired?|pending|undelivered|message was given up)\b",
    re.IGNORECASE,
)


def case(why: Why, *, again_in: int = 0) -> ExplainedVerification:
    about = Delivery(1, 1, "sms", "first", DeliveryStatus.FAILED, 1000, "destination 21211")
    history = VerificationHistory("vf_1", "shop", "login", "PK", "+92 •••", 0, Status.PENDING, 0, (about,))
    return ExplainedVerification(history, DeliveryExplanation(why, about, (about,)), {"first": None}, again_in)  # type: ignore[dict-item]


def holes(phrase: Phrase) -> set[str]:
    """Return the placeholders that have no value, of its parts too."""
    named = {name for _, name, _, _ in Formatter().parse(phrase.text) if name is not None}
    parts = [holes(one) for one in phrase.values.values() if isinstance(one, Phrase)]
    return named - phrase.values.keys() | set().union(*parts)


@pytest.mark.parametrize("why", Why)
def test_each_reason_has_a_sentence_and_an_advice_without_a_hole(why: Why) -> None:
    one = case(why)

    assert not holes(sentence(one, NumberHistory((one,), complete=True, reporting=frozenset({"first"}))))
    assert not holes(advice(one))


def test_no_reason_lacks_an_advice() -> None:
    assert set(ADVICE) == set(SENTENCES) == set(Why)


@pytest.mark.parametrize("why", Why)
def test_an_advice_is_one_sentence_that_a_caller_understands(why: Why) -> None:
    told = str(advice(case(why, again_in=30_000)))

    assert re.fullmatch(r"[A-Z][^.!?]+\.", told)
    assert not JARGON.search(told)
    assert "first" not in told
    assert "21211" not in told


@pytest.mark.parametrize(
    ("again_in", "when"),
    [(0, "now"), (1000, "now"), (1001, "in 2 seconds"), (29_500, "in 30 seconds"), (120_000, "in 120 seconds"),
     (121_000, "in 3 minutes"), (600_000, "in 10 minutes")],
)  # fmt: skip
def test_a_caller_hears_when_a_new_code_may_be_asked_for(again_in: int, when: str) -> None:
    told = str(advice(case(Why.UNDELIVERED, again_in=again_in)))

    assert told == f"Ask for a new code {when}; the last one could not be delivered."


def test_whoever_has_typed_the_code_is_not_sent_to_look_for_it() -> None:
    one = case(Why.DELIVERED)
    approved = replace(one, history=replace(one.history, status=Status.APPROVED))

    assert str(advice(one)).startswith("Your phone has received the code")
    assert str(advice(approved)) == "Your code arrived and was accepted; there is nothing more to do."


def decision(*hits: RuleHit, rule: str = "block.unapproved", mode: str = "enforce", trust: str = "") -> Decision:
    return Decision("00:1-0", rule, mode, "start", trust, 0, "", "shop", "login", "PK", hits)


def hit(rule: str, used: float, most: float, window: int = 0, wait: int = 0) -> RuleHit:
    return RuleHit(rule, used, most, window, wait, "enforce")


@pytest.mark.parametrize(
    ("found", "details"),
    [
        (hit("block.unapproved", 2, 2, 172_800_000), ["Counted: 2 of 2 in 2 d."]),
        (hit("block.unapproved", 2.5, 3), ["Counted: 2.5 of 3."]),
        (hit("application.failures", 20, 30, 3_600_000), ["Wrong: 20 of 30 codes in 1 h."]),
        (hit("spend.application", 2_500_000, 3_000_000, 3_600_000), ["Spent: 2.50 of 3.00 PKR in 1 h."]),
        (hit("country.conversion", 1, 0), ["Closed 1 time in a row."]),
        (hit("country.conversion", 2, 0), ["Closed 2 times in a row."]),
        (hit("number.cooldown", 1, 0, wait=90_500), ["In a row: 1.", "For 1 min 31 s from then."]),
        (hit("number.lock", 0, 0), []),
    ],
)
def test_what_a_rule_counted_is_told(found: RuleHit, details: list[str]) -> None:
    (told,) = explain_rules(decision(found, rule=found.rule), "PKR")

    assert list(map(str, told.details)) == ["It refused.", *details]
    assert str(told.sentence) == GUARD_RULES[found.rule].sentence


def test_the_rule_that_decided_comes_first() -> None:
    hits = (hit("number.cooldown", 1, 0), hit("block.unapproved", 2, 2))

    assert [one.rule for one in explain_rules(decision(*hits), "PKR")] == ["block.unapproved", "number.cooldown"]


def test_a_rule_of_an_earlier_configuration_and_a_mode_of_a_later_release_are_told() -> None:
    (told,) = explain_rules(decision(rule="gone.rule", mode="{odd}"), "PKR")

    assert (str(told.sentence), list(map(str, told.details))) == ("A rule of an earlier configuration.", ["{odd}"])


@pytest.mark.parametrize(
    ("trust", "words"), [("", ""), ("known", ", from a known context"), ("unknown", ", from no known context")]
)
def test_a_decision_is_named_by_what_was_asked_for(trust: str, words: str) -> None:
    assert str(title(decision(trust=trust))) == f"start of shop, login, PK{words}"
