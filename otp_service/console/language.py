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
    """Return stored sentences, only the console's own: Redis may be tampered with."""
    return [Phrase(text, values) for text, values in sentences if is_known(text)]


def translated(language: str, phrase: Phrase) -> Markup:
    shown = phrase.render(lambda text: escape(words(language, text)), isolated)
    return Markup(shown)  # noqa: S704 - all its parts are escaped


def isolated(value: object) -> Markup:
    """Return a value isolated from the text direction around it."""
    return Markup("<bdi>{}</bdi>").format(plain_text(value) if isinstance(value, datetime | timedelta) else value)


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return the translations of a language, by the English text."""
    folder = resources.files(__package__).joinpath(f"translations/{language}")
    files = (file for file in folder.iterdir() if file.name.endswith(".toml"))
    catalogues = (tomllib.loads(file.read_text(encoding="utf-8")) for file in files)
    return {text["en"]: text[language] for contents in catalogues for text in contents["text"]}
