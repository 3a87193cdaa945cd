"""``[inbound]``: further words, and what is answered."""

import pytest
from pydantic import ValidationError

from otp_service.domain.inbound import Meaning
from otp_service.settings import Settings


def policy(**members):
    return Settings.model_validate({"inbound": members}).inbound.rules


def test_by_default_our_words_hold_and_stop_and_help_are_answered():
    found = policy()

    assert found.keywords.meaning("stop") is Meaning.STOP
    assert (found.region, found.replies) == (None, {Meaning.STOP, Meaning.HELP})


def test_further_words_hold_beside_ours():
    found = policy(stop=["Arrêt"], start=["oui"], help=["Aide"], region="PK", replies=["stop"])
    meanings = [found.keywords.meaning(text) for text in ("arret", "OUI", "aide!", "stop")]

    assert meanings == [Meaning.STOP, Meaning.START, Meaning.HELP, Meaning.STOP]
    assert (found.region, found.replies) == ("PK", {Meaning.STOP})


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"stop": ["…"]}, "is empty"),
        ({"stop": [""]}, "at least 1 character"),
        ({"start": ["Stop!"]}, "means stop already"),
        ({"stop": ["x"], "help": ["X"]}, "means stop already"),
        ({"stop": ["x" * 101]}, "at most 100 characters"),
        ({"stop": ["x"] * 101}, "at most 100 items"),
        ({"replies": ["start"]}, "'stop' or 'help'"),
        ({"region": "XX"}, "ISO 3166-1"),
        ({"stopp": ["x"]}, "Extra inputs"),
    ],
)
def test_what_could_not_be_understood_is_refused(members, fault):
    with pytest.raises(ValidationError, match=fault):
        policy(**members)
