"""The console's languages. The English text is the key of each translation."""

import tomllib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, Final

from markupsafe import Markup, escape

from otp_service.domain.phrases import Phrase, plain_text

LANGUAGES: Final = ("en", "ur")
DIRECTIONS: Final[Mapping[str, str]] = {"en": "ltr", "ur": "rtl"}


def words(language: str, text: str) -> str:
    """Return a text in a language, in English where it is not translated."""
    return text if language == "en" else catalogue(language).get(text, text)


def is_known(text: str) -> bool:
    """Whether a text is the console's own: all of these are translated."""
    return all(text in catalogue(language) for language in LANGUAGES if language != "en")


def known_phrases(sentences: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Phrase]:
    """Return sentences that were stored in Redis, without those that are not the console's own."""
    return [Phrase(text, values) for text, values in sentences if is_known(text)]


def translated(language: str, phrase: Phrase) -> Markup:
    """Return a phrase in a language, its values kept from turning what is around them."""
    shown = phrase.render(lambda text: escape(words(language, text)), isolated)
    return Markup(shown)  # noqa: S704 - all its parts are escaped


def isolated(value: object) -> Markup:
    """Return a value that does not turn the direction of what is around it, nor is turned by it."""
    return Markup("<bdi>{}</bdi>").format(plain_text(value) if isinstance(value, datetime | timedelta) else value)


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return the translations of a language, by the English text; each part of the console has a file of them."""
    folder = resources.files(__package__).joinpath(f"translations/{language}")
    files = (file for file in folder.iterdir() if file.name.endswith(".toml"))
    catalogues = (tomllib.loads(file.read_text(encoding="utf-8")) for file in files)
    return {text["en"]: text[language] for contents in catalogues for text in contents["text"]}
