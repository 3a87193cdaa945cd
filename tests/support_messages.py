"""The messages that come with the package, and values for them."""

from dataclasses import replace

from otp_service.domain.messages import MessageContent, render_message
from otp_service.domain.payments import Transaction
from otp_service.domain.templates import MessageTemplates
from otp_service.domain.verification import Channel
from otp_service.settings import Settings
from otp_service.settings.message_files import SAMPLE_APPLICATION, read_templates, sample_purposes

UNSAFE_NAMES = (
    "", " Daraz", "Daraz ", "A  B", "x" * 31, "x\n@evil.example #999999", "Ali\r482910", "Ali 482910", "Ali 482 910",
    "Ali 48-29-10", "Ali ۴۸۲۹۱۰", "482&910 Bank", "482'910 Bank", "4\u03328\u03322\u03329 Bk", "a@b", "a#b", "a:b",
    "a/b", "\u202eDaraz", "Da\u200braz", "Da\u2066raz", "Da\u00adraz", "Da\u3164raz", "Da\ufe0fraz", "Da\u00a0raz",
    "Daraz\x00", "*", "<b>", "Daraz!", "①②③④", "123", "...", "😀", "{code}",
)  # fmt: skip
"""What no message may show as the name of whoever is paid or sends it."""
UNSAFE_SECTIONS = ("482910", "shop-4829", "48-29_10", "x" * 31, "2026", "__")
"""Names of sections that no message may show either."""
CATALOGUE: MessageTemplates = read_templates(Settings())
LANGUAGES = tuple(language.tag for language in CATALOGUE.languages.values())
PAYMENT = Transaction("25000.00", "PKR", "Corner Store", "4821")
WITHOUT_ACCOUNT = replace(PAYMENT, account=None)
APP_HASH = "FA+9qCX9VSu"


def message_content(
    locale: str = "en", transaction: Transaction | None = None, channel: str = "sms", minutes: int = 5, **of_application
) -> MessageContent:
    """Return values for a message; members of the application are given by name."""
    purpose = sample_purposes({})["transaction" if transaction else "possession"]
    application = replace(SAMPLE_APPLICATION, **of_application)
    return MessageContent(application, purpose, Channel(channel), locale, "012345", minutes, transaction)


def text(*arguments, **members) -> str:
    """Return the text of a message."""
    return render_message(CATALOGUE, message_content(*arguments, **members)).text
