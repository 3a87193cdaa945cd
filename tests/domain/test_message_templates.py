"""Which words a message gets: by purpose, language and channel."""

import pytest

from otp_service.domain.segments import Encoding
from otp_service.domain.templates import Language, MessageTemplates, PurposeTemplates, fallback_tags, parse_template
from otp_service.domain.verification import Channel, Purpose, PurposeKind, Resend

ACCOUNT = parse_template("", ())


def texts(name, *channels, payment=False):
    return PurposeTemplates(payment, 1, {channel: parse_template(f"{name}-{channel}", ()) for channel in channels})


def language(tag, **by_name):
    minutes = tuple(map(str, range(11)))
    return Language(tag, Encoding.GSM7, "never", minutes, ACCOUNT, ACCOUNT, by_name)


def purpose(name="login", kind=PurposeKind.POSSESSION):
    return Purpose(name, kind, 6, 300, 5, 5, (30,), Resend.SAME_CODE, (Channel.SMS,))


BOTH = (Channel.SMS, Channel.VOICE)
CATALOGUE = MessageTemplates(
    {
        "en": language("en", possession=texts("en", *BOTH), transaction=texts("en-pay", *BOTH, payment=True)),
        "ur": language("ur", possession=texts("ur", *BOTH)),
        "ur-latn": language("ur-Latn", possession=texts("ur-Latn", Channel.SMS)),
        "ar": language("ar", possession=texts("ar", *BOTH), **{"sign-up": texts("ar-sign-up", Channel.SMS)}),
    }
)


@pytest.mark.parametrize(
    ("tag", "tags"),
    [
        ("en", ["en"]),
        ("zh-Hant-CN-x-private1-private2", ["zh-Hant-CN-x-private1-private2", "zh-Hant-CN-x-private1",
                                            "zh-Hant-CN", "zh-Hant", "zh"]),
        ("de-a-foo-b-bar", ["de-a-foo-b-bar", "de-a-foo", "de"]),
    ],
)  # fmt: skip
def test_a_tag_is_shortened_as_rfc_4647_says(tag, tags):
    assert list(fallback_tags(tag)) == tags


@pytest.mark.parametrize(
    ("wanted", "words", "locale"),
    [
        (("ur",), "ur-sms", "ur"),
        (("ur-PK",), "ur-sms", "ur-PK"),
        (("ur-Latn",), "ur-Latn-sms", "ur-Latn"),
        (("UR-latn-pk",), "ur-Latn-sms", "UR-latn-pk"),
        (("de", "ar"), "ar-sms", "ar"),
        (("de-AT", "fr-CH"), "en-sms", "en"),
        (("ar-Latn-EG",), "ar-sms", "ar"),
        ((), "en-sms", "en"),
    ],
)
def test_the_first_locale_that_has_words_is_taken(wanted, words, locale):
    choice = CATALOGUE.choose(purpose(), Channel.SMS, *wanted)

    assert (choice.template.source, choice.locale) == (words, locale)


def test_a_language_without_words_for_a_channel_leaves_it_to_a_shorter_tag():
    choice = CATALOGUE.choose(purpose(), Channel.VOICE, "ur-Latn-PK", "ar")

    assert (choice.template.source, choice.language.tag, choice.locale) == ("ur-voice", "ur", "ur")


def test_words_of_a_purpose_go_before_those_of_its_kind():
    assert CATALOGUE.choose(purpose("sign-up"), Channel.SMS, "ar").template.source == "ar-sign-up-sms"
    assert CATALOGUE.choose(purpose("sign-up"), Channel.VOICE, "ar").template.source == "ar-voice"


def test_words_of_a_login_are_never_used_for_a_payment():
    payment = purpose("sign-up", PurposeKind.TRANSACTION)

    assert CATALOGUE.choose(payment, Channel.SMS, "ar").template.source == "en-pay-sms"


def test_a_time_in_words_is_never_too_long():
    assert [CATALOGUE.languages["en"].duration(minutes) for minutes in (0, 1, 10, 11, 60)] == [
        "0",
        "1",
        "10",
        "10",
        "10",
    ]
