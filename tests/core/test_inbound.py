"""What people write back: a whole message is a word for stop, start or help, however it is spelt, or it is nothing."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.inbound import LONGEST, WORDS, Meaning, Vocabulary, plain

OURS = Vocabulary()
STOP = [
    "stop", "STOP", " Stop.", "ＳＴＯＰ", "ｓｔｏｐ．", "𝗦𝗧𝗢𝗣", "Stop!!!", "stop\n", "\tSTOP\r\n", "“Stop”", "(stop)",
    "*STOP*", "stop 🛑", "🛑️ Stop", "\u202bبند\u202c", "\u200fSTOP\u200e", "st\u00adop", "STOP\u200b", "Stop\u00a0",
    "STOP ALL", "stop \n all", "StopAll", "unsubscribe", "UNSUBSCRIBE", "Cancel", "End", "Quit", "opt-out", "OPT OUT",
    "optout", "Revoke", "رکیں", "رُکیں", "رکیں۔", "روکیں", "بند", "بند کریں", "بند  کریں!", "ختم", "بند کر دیں",
    "روكيں",  # an Arabic keyboard's kaf
    "روکيں",  # and yeh
    "band", "Band karo", "BAND KAREIN", "rokein", "Roko", "khatam",
    "إيقاف", "ايقاف", "أوقف", "اوقف", "توقف", "إلغاء الاشتراك", "الغاء الاشتراك",
]  # fmt: skip
START = ["start", " START ", "ＳＴＡＲＴ", "unstop", "opt in", "شروع", "شروع کریں", "shuru karo", "ابدأ", "ابدا"]
HELP = ["help", "HELP?", "Info", "مدد", "madad", "مساعدة", "مساعده", "معلومات"]
OTHER = [
    "don't stop", "dont stop", "stop it", "please stop", "Stop please", "non-stop", "unstoppable", "stopp", "stop 1",
    "1 stop", "s t o p", "stopstart", "stop start", "the end", "weekend", "STOP!start", "start stop",
    "رکیں مت", "بند گوبھی", "yes", "YES", "y", "ok", "no", "123456", "", " ", "...", "🛑", "\u200f", "\ud83d", "\x00",
    "husband", "quite",
    "canceled",
]  # fmt: skip


@pytest.mark.parametrize(
    ("meaning", "text"),
    [(meaning, text) for meaning, texts in zip(Meaning, (STOP, START, HELP, OTHER), strict=True) for text in texts],
)
def test_a_message_means_what_all_of_it_says(meaning, text):
    assert OURS.meaning(text) is meaning


@pytest.mark.parametrize("language", ["en", "ur", "ur-Latn", "ar"])
def test_every_language_of_our_messages_has_words_for_each(language):
    for meaning, languages in WORDS.items():
        assert languages[language]
        assert all(OURS.meaning(word) is meaning for word in languages[language])


def test_what_the_industry_expects_is_among_them():
    """The words that US carriers, and the CTIA's handbook, demand; ``yes`` would undo a refusal by accident."""
    stop = {"stop", "end", "cancel", "unsubscribe", "quit", "stopall", "optout", "revoke"}

    assert stop <= set(WORDS[Meaning.STOP]["en"])
    assert set(WORDS[Meaning.HELP]["en"]) == {"help", "info"}
    assert OURS.meaning("yes") is Meaning.OTHER


def test_further_words_come_from_the_configuration():
    further = Vocabulary({Meaning.STOP: ["Arrêt", "ローカル 停止"], Meaning.START: ["yes"]})

    assert [further.meaning(text) for text in ("ARRET", "arrêt.", "ローカル 停止")] == [Meaning.STOP] * 3
    assert further.meaning("Yes!") is Meaning.START
    assert further.meaning("stop") is Meaning.STOP


@pytest.mark.parametrize(
    ("meaning", "word", "fault"),
    [
        (Meaning.STOP, "...", "is empty"),
        (Meaning.STOP, "\u200f", "is empty"),
        (Meaning.STOP, "x" * (LONGEST + 1), "longer than"),
        (Meaning.START, "Stop!", "means stop already"),
        (Meaning.HELP, "ＢＡＮＤ", "means stop already"),
    ],
)
def test_a_word_that_could_not_be_understood_is_refused(meaning, word, fault):
    with pytest.raises(ValueError, match=fault):
        Vocabulary({meaning: [word]})


def test_a_long_message_is_no_word_of_ours():
    assert OURS.meaning("stop" + " " * (LONGEST - 4)) is Meaning.STOP
    assert OURS.meaning("stop" + " " * (LONGEST - 3)) is Meaning.OTHER


@given(st.text(max_size=2 * LONGEST))
def test_any_message_has_a_meaning_and_the_same_one_however_it_is_composed(text):
    meaning = OURS.meaning(text)

    assert plain(plain(text)) == plain(text)
    if len(text) <= LONGEST and len(unicodedata.normalize("NFD", text)) <= LONGEST:
        assert OURS.meaning(unicodedata.normalize("NFD", text)) is meaning


@given(
    st.sampled_from(STOP),
    st.sampled_from([str.upper, str.lower, str.title, str.swapcase]),
    st.sampled_from("’.!»\u200f 🛑"),
)
def test_case_and_signs_around_a_word_make_no_difference(word, spelt, sign):
    assert OURS.meaning(f"{sign}{spelt(word)}{sign}") is Meaning.STOP
