"""Write a message: choose the words for it, and fill them in."""

from otp_service.core.amount import PLAIN
from otp_service.core.catalogue import Catalogue
from otp_service.core.wording import Wording, Written, written
from otp_service.services.cldr import number_style


def write(catalogue: Catalogue, wording: Wording) -> Written:
    """Return the text of a message: in the locale asked for, or the application's, or English."""
    wanted = (wording.locale, wording.application.locale)
    words = catalogue.choose(wording.purpose, wording.channel, *wanted, only=wording.languages)
    return written(wording, words, number_style(words.locale) if wording.transaction else PLAIN)
