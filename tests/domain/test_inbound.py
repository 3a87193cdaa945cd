"""What people write back: a whole message is a word for stop, start or help, however it is spelt, or it is nothing."""

import tomllib
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otp_service.domain.inbound import MAX_KEYWORD_LENGTH, KeywordMatcher, Keywords, Meaning, normalise_message
from otp_service.settings.schema import InboundSettings, default_keywords

OURS = InboundSettings().rules.keywords
WRITTEN = tomllib.loads(Path(__file__).with_name("written_back.toml").read_text(encoding="utf-8"))
STOP = WRITTEN["stop"]
START = [
    "start",
    " START ",
    "ＳＴＡＲＴ",
    "unstop",
    "opt in",
    "opt-in",
    "شروع",
    "شروع کریں",
    "شروع‌کریں",
    "shuru karo",
    "ابدأ",
    "ابدا",
]
HELP = ["help", "HELP?", "Info", "مدد", "madad", "مساعدة", "مساعده", "معلومات"]
OTHER = [*WRITTEN["other"], "\ud83d", "start\nwhat for?", "start start", "start otp", "help me", "sms help"]


@pytest.mark.parametrize(
    ("meaning", "text"),
    [(meaning, text) for meaning, texts in zip(Meaning, (STOP, START, HELP, OTHER), strict=True) for text in texts],
)
def test_a_message_means_what_all_of_it_says(meaning, text):
    assert OURS.meaning(text) is meaning


def test_the_tables_are_long_and_say_nothing_twice():
    assert len(set(STOP)) == len(STOP) >= 150
    assert len(set(OTHER)) == len(OTHER) >= 100


@pytest.mark.parametrize("language", ["en", "ur", "ur-Latn", "ar"])
def test_every_language_of_our_messages_has_words_for_each(language):
    for meaning, languages in default_keywords().items():
        words = languages[language]
        assert words.whole
        assert all(OURS.meaning(word) is meaning for word in (*words.whole, *words.firm))
        assert all(OURS.meaning(word) is Meaning.OTHER for word in words.beside)


def test_what_the_industry_expects_is_among_them():
    """The words that US carriers, and the CTIA's handbook, demand; ``yes`` would undo a refusal by accident."""
    stop = {"stop", "end", "cancel", "unsubscribe", "quit", "stopall", "optout", "revoke"}

    assert {OURS.meaning(word) for word in stop} == {Meaning.STOP}
    assert set(default_keywords()[Meaning.HELP]["en"].whole) == {"help", "info"}
    assert OURS.meaning("yes") is Meaning.OTHER


def test_further_words_come_from_the_configuration():
    further = InboundSettings(stop=("Arrêt", "ローカル 停止"), start=("yes",)).rules.keywords

    assert [further.meaning(text) for text in ("ARRET", "arrêt.", "ローカル 停止")] == [Meaning.STOP] * 3
    assert further.meaning("Yes!") is Meaning.START
    assert further.meaning("stop") is Meaning.STOP


@pytest.mark.parametrize(
    ("meaning", "word", "fault"),
    [
        (Meaning.STOP, "...", "is empty"),
        (Meaning.STOP, "\u200f", "is empty"),
        (Meaning.STOP, "x" * (MAX_KEYWORD_LENGTH + 1), "longer than"),
        (Meaning.START, "Stop!", "means stop already"),
        (Meaning.HELP, "ＢＡＮＤ", "means stop already"),
    ],
)
def test_a_word_that_could_not_be_understood_is_refused(meaning, word, fault):
    with pytest.raises(ValueError, match=fault):
        KeywordMatcher({Meaning.STOP: [Keywords(("stop", "band"))]}, {meaning: [word]})


def test_a_long_line_is_no_word_of_ours():
    assert OURS.meaning("stop" + " " * (MAX_KEYWORD_LENGTH - 4)) is Meaning.STOP
    assert OURS.meaning("stop" + " " * (MAX_KEYWORD_LENGTH - 3)) is Meaning.OTHER


@given(st.text(max_size=2 * MAX_KEYWORD_LENGTH))
def test_any_message_has_a_meaning_and_the_same_one_however_it_is_composed(text):
    meaning = OURS.meaning(text)

    assert normalise_message(normalise_message(text)) == normalise_message(text)
    if len(text) <= MAX_KEYWORD_LENGTH and len(unicodedata.normalize("NFD", text)) <= MAX_KEYWORD_LENGTH:
        assert OURS.meaning(unicodedata.normalize("NFD", text)) is meaning


@example("\n\nSTOP\nALI", str.upper, "\u2019")
@settings(deadline=None)  # the first example reads the words
@given(
    st.sampled_from(STOP),
    st.sampled_from([str.upper, str.lower, str.title, str.swapcase]),
    st.sampled_from("’.!»\u200f 🛑"),
)
def test_case_and_signs_around_a_word_make_no_difference(word, spelt, sign):
    assert OURS.meaning(f"{sign}{spelt(word)}{sign}") is Meaning.STOP
