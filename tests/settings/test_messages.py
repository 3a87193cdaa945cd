"""Files of messages: ours, an operator's over them, and everything that is refused when they are read."""

import tomllib
from pathlib import Path

import pytest
from support_sources import PACKAGE, ROOT

from otp_service.domain.templates import MAX_MINUTES
from otp_service.domain.verification import Channel
from otp_service.errors import ConfigurationError
from otp_service.settings import Settings
from otp_service.settings.message_files import read_templates
from otp_service.settings.schema import PurposeSettings

OURS = PACKAGE / "messages"
ENGLISH = (OURS / "en.toml").read_text(encoding="utf-8")
GERMAN = """
alphabet = "gsm7"
never_share = "Geben Sie ihn nie weiter."
[minutes]
none = "weniger als eine Minute"
one = "{minutes} Minute"
other = "{minutes} Minuten"
[account]
written = " vom Konto {account}"
[templates.possession]
segments = 2
sms = "Ihr Code von {brand} ist {code}. Er gilt {minutes}. {never_share}"
[templates.transaction]
segments = 2
sms = "{brand}: {amount} an {payee}{account} zahlen mit {code}. Er gilt {minutes}. {never_share}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, **purposes):
    tree = {"messages": {"directory": str(folder)}, "purposes": purposes}
    return read_templates(Settings.model_validate(tree))


def faults(folder: Path, **purposes) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        read(folder, **purposes)
    return str(refused.value).splitlines()


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_ours_are_english_urdu_roman_urdu_and_arabic():
    assert list(read_templates(Settings()).languages) == ["ar", "en", "ur", "ur-latn"]


def test_the_folder_of_the_configuration_shows_the_files_of_the_package():
    link = ROOT / "config" / "messages"

    assert link.readlink() == Path("../otp_service/messages")
    assert sorted(link.iterdir()) == sorted(link / file.name for file in OURS.iterdir())


def test_another_language_is_one_file(folder: Path):
    write(folder, "de.toml", GERMAN)
    german = read(folder).languages["de"]

    assert german.duration(1) == "1 Minute"
    assert german.duration(0) == "weniger als eine Minute"
    assert german.texts["possession"].templates.keys() == {Channel.SMS, Channel.WHATSAPP, Channel.TELEGRAM}


def test_an_operators_file_is_laid_over_ours(folder: Path):
    write(folder, "UR-LATN.toml", '[templates.possession]\nsegments = 3\n[account]\nwritten = " acc {account} "\n')
    ours, read_now = read_templates(Settings()).languages["ur-latn"], read(folder).languages["ur-latn"]

    assert read_now.texts["possession"].segments == 3
    assert read_now.texts["possession"].templates == ours.texts["possession"].templates
    assert read_now.account_written.source == " acc {account} "
    assert read_now.minutes == ours.minutes
    assert read_now.tag == "ur-Latn"


def test_a_purpose_may_have_words_of_its_own(folder: Path):
    write(folder, "en.toml", '[templates.sign-up]\nsms = "Welcome to {brand}: {code}, for {minutes}. {never_share}"\n')
    texts = read(folder, **{"sign-up": {}}).languages["en"].texts["sign-up"]

    assert not texts.payment
    assert texts.segments == 1
    assert faults(folder) == [f"{folder}/en.toml: templates.sign-up: there is no section purposes.sign-up."]
    assert faults(folder, **{"sign-up": {"kind": "transaction"}}) == [
        f"{folder}/en.toml: templates.sign-up: purposes.sign-up is of kind transaction, but the text is not."
    ]


def test_words_of_a_payment_are_not_for_a_purpose_without_one(folder: Path):
    write(
        folder,
        "en.toml",
        '[templates.pay]\nsms = "{brand} {amount} {payee}{account}: {code}, {minutes}. {never_share}"\n',
    )

    assert read(folder, pay={"kind": "transaction"}).languages["en"].texts["pay"].payment
    assert faults(folder, pay={}) == [
        f"{folder}/en.toml: templates.pay: purposes.pay is of kind possession, but the text is not."
    ]


@pytest.mark.parametrize(
    ("changed", "into", "fault"),
    [
        ("Er gilt {minutes}. {never_share}", "{never_share}", "templates.possession.sms: does not name {minutes}."),
        ("gilt {minutes}. {never_share}", "gilt {minutes}.", "templates.possession.sms: does not name {never_share}."),
        ("ist {code}", "ist", "templates.possession.sms: names {code} not exactly once."),
        ("ist {code}", "ist {code!r}", "templates.possession.sms: has a conversion or a format"),
        ("ist {code}", "ist {code:>9}", "templates.possession.sms: has a conversion or a format"),
        ("ist {code}", "ist {to}", "templates.possession.sms: names {to}, which is not known here"),
        ("ist {code}", "ist {digits}", "templates.possession.sms: names {digits}, which is not known here"),
        ("ist {code}", "ist {code} {amount}", "templates.possession.sms: names {amount}, which is not known here"),
        ("ist {code}", "auf acme.de {code}", "templates.possession.sms: holds a link or a domain name at 'acme.de'"),
        ("Ihr Code von {brand} ist {code}.", "{code} von {brand}.", "templates.possession.sms: starts with {code}"),
        ("an {payee}", "", "templates.transaction.sms: does not name {payee}."),
        ("{payee}{account}", "{payee}", "templates.transaction.sms: does not name {account}."),
        ('one = "{minutes} Minute"\n', "", "minutes.one: is missing: the language has none, one, other from 0 to 10."),
        ("\none =", "\nfew =", "minutes.few: is no plural form of the language."),
        ("{minutes} Minuten", "{count} Minuten", "minutes.other: names {count}, which is not known here"),
        ("vom Konto {account}", "vom Konto", "account.written: does not name {account}."),
        ("vom Konto {account}", "von t.co {account}", "account.written: holds a link"),
        ("Geben Sie ihn nie weiter.", " ", "never_share: is empty"),
        ("Geben Sie ihn nie weiter.", "Weg damit {code}", "never_share: names {code}, which is not known here"),
        ("Geben Sie ihn nie weiter.", "Siehe bit.ly", "never_share: holds a link"),
        ('alphabet = "gsm7"', 'alphabet = "latin1"', "alphabet: input should be 'gsm7' or 'ucs2'."),
        ('alphabet = "gsm7"', "", "alphabet: is missing."),
        ('alphabet = "gsm7"', 'alphabet = "gsm7"\nurl = "x"', "url: there is no such setting."),
        ("segments = 2", "segments = 0", "templates.possession.segments: input should be greater than or equal to 1."),
        ("[templates.possession]", "[templates.login]", "templates.possession.sms: is missing."),
        ("segments = 2", "voice = 'x'", "templates.possession.voice: names {digits} not exactly twice"),
        ("segments = 2", "whatsapp = 'x'", "templates.possession.whatsapp: names {code} not exactly once"),
    ],
)  # fmt: skip
def test_what_would_harm_is_refused_with_its_file_and_place(folder: Path, changed, into, fault):
    assert changed in GERMAN
    write(folder, "de.toml", GERMAN.replace(changed, into, 1))

    assert [line for line in faults(folder) if line.startswith(f"{folder}/de.toml: {fault}")]


def test_every_fault_is_told_at_once(folder: Path):
    write(folder, "de.toml", GERMAN.replace("{code}", "{kode}"))
    write(folder, "en.toml", "never_share = ''")

    assert len(faults(folder)) == 3


def test_plural_forms_are_those_of_the_language(folder: Path):
    write(folder, "ar.toml", "[minutes]\ntwo = '{minutes} x'\n")
    arabic = read(folder).languages["ar"]

    assert [arabic.duration(count)[:3] for count in (2, 3, 10)] == ["2 x", "3 د", "10 "]
    write(folder, "pl.toml", GERMAN)
    assert faults(folder)[0] == (
        f"{folder}/pl.toml: minutes.few: is missing: the language has few, many, none, one from 0 to 10."
    )


def test_a_language_that_nobody_knows_has_one_form(folder: Path):
    write(folder, "skr.toml", GERMAN.replace('one = "{minutes} Minute"\n', ""))

    assert read(folder).languages["skr"].duration(1) == "1 Minuten"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{brand}: رقم {amount}", "two values"),
        ("کوڈ {code}", "stands alone in its line"),
    ],
)
def test_a_right_to_left_text_that_could_be_reordered_is_refused(folder: Path, line, fault):
    urdu = tomllib.loads((OURS / "ur.toml").read_text(encoding="utf-8"))["templates"]["transaction"]["sms"]
    changed = urdu.replace("رقم: {amount}", line) if "{amount}" in line else urdu.replace("کوڈ:\n{code}", line)
    assert changed != urdu
    write(folder, "ur.toml", f'[templates.transaction]\nsms = """{changed}"""\n')

    assert fault in "\n".join(faults(folder))


def test_the_phrase_of_the_account_may_not_bring_a_second_value_into_a_right_to_left_line(folder: Path):
    write(folder, "ur.toml", "[account]\nwritten = ' اکاؤنٹ {account}'\n")

    assert "two values" in faults(folder)[0]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("en_GB.toml", "", "is not named by a language tag"),
        ("english-language.toml", "", "is missing"),
        ("1.toml", "", "is not named by a language tag"),
        ("en.toml", "a = ", "en.toml: "),
        ("en.toml", "templates = 1", "en.toml: templates: "),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(folder: Path, name, content, fault):
    write(folder, name, content)

    assert fault in faults(folder)[0]


def test_a_file_that_is_no_text_is_refused(folder: Path):
    (folder / "en.toml").write_bytes(b"\xff\xfe")

    assert faults(folder)[0].startswith(f"{folder}/en.toml: ")


def test_two_files_of_one_language_are_refused(folder: Path):
    write(folder, "de.toml", GERMAN)
    write(folder, "DE.toml", GERMAN)

    assert faults(folder) == [f"{folder}/de.toml: the language has a file already, {folder}/DE.toml."]


def test_a_folder_that_is_not_there_or_empty_refuses_to_start(folder: Path):
    assert faults(folder / "no") == [f"messages.directory: {folder}/no cannot be read: No such file or directory."]
    assert faults(folder) == [f"messages.directory: {folder} has no file such as en.toml."]


def test_other_files_in_the_folder_are_left_alone(folder: Path):
    write(folder, "README.md", "x")
    write(folder, "de.toml", GERMAN)

    assert len(read(folder).languages) == 5


def test_english_cannot_lose_what_everybody_falls_back_to(folder: Path):
    """A file can change words, not take them away: `merged` has no way to delete a member."""
    write(folder, "en.toml", "[templates.possession]\nvoice = ''\n")

    assert "templates.possession.voice: does not name {brand}." in "\n".join(faults(folder))


def test_there_are_words_for_every_lifetime_that_a_purpose_may_have():
    longest = next(rule.le for rule in PurposeSettings.model_fields["ttl"].metadata if hasattr(rule, "le"))

    assert longest == MAX_MINUTES * 60


@pytest.mark.parametrize("app_hash", ["FA+9qCX9VSu", "AAAAAAAAAAA", "0/+bcdefGHI"])
def test_an_app_hash_is_kept(app_hash):
    table = {"purposes": ["login"], "countries": ["PK"], "app_hash": app_hash}
    settings = Settings.model_validate({"applications": {"shop": table}})

    assert settings.named_applications["shop"].app_hash == app_hash


@pytest.mark.parametrize(
    "app_hash", ["", "FA+9qCX9VS", "FA+9qCX9VSuX", "FA+9qCX9VS=", "FA 9qCX9VSu", "FA+9qCX9VSu\n", "۱A+9qCX9VSu"]
)
def test_what_is_no_app_hash_is_refused(app_hash):
    table = {"purposes": ["login"], "countries": ["PK"], "app_hash": app_hash}

    with pytest.raises(ValueError, match="11 characters of base64"):
        Settings.model_validate({"applications": {"shop": table}})
