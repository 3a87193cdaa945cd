"""Twilio: what a call says, as TwiML, and in which voice.

After "TwiML Voice: <Say>" and "Text-to-Speech" (https://www.twilio.com/docs/voice/twiml/say and below). A language
without a voice of its own that is named beside it is spoken by the account's default voice, which knows few, so each
has a voice of Amazon Polly here.
"""

import html
import re
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Voice(BaseModel):
    """Who speaks a language."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    language: str = Field(pattern=r"^[A-Za-z0-9-]{2,16}$")
    """Attribute ``language`` of ``<Say>``."""
    voice: str = Field(pattern=r"^[\w.-]{1,64}$")
    """Attribute ``voice`` of ``<Say>``."""


def _voices(*rows: tuple[str, str, str]) -> dict[str, Voice]:
    return {locale: Voice(language=language, voice=f"Polly.{name}") for locale, language, name in rows}


VOICES = _voices(
    ("ar", "arb", "Zeina"),
    ("cy", "cy-GB", "Gwyneth"),
    ("da", "da-DK", "Naja"),
    ("de", "de-DE", "Vicki"),
    ("en", "en-US", "Joanna"),
    ("en-au", "en-AU", "Nicole"),
    ("en-gb", "en-GB", "Amy"),
    ("en-in", "en-IN", "Raveena"),
    ("en-pk", "en-IN", "Raveena"),
    ("es", "es-ES", "Lucia"),
    ("es-mx", "es-MX", "Mia"),
    ("es-us", "es-US", "Lupe"),
    ("fr", "fr-FR", "Celine"),
    ("fr-ca", "fr-CA", "Chantal"),
    ("hi", "hi-IN", "Aditi"),
    ("is", "is-IS", "Dora"),
    ("it", "it-IT", "Bianca"),
    ("ja", "ja-JP", "Mizuki"),
    ("ko", "ko-KR", "Seoyeon"),
    ("nb", "nb-NO", "Liv"),
    ("nl", "nl-NL", "Lotte"),
    ("no", "nb-NO", "Liv"),
    ("pl", "pl-PL", "Ewa"),
    ("pt", "pt-PT", "Ines"),
    ("pt-br", "pt-BR", "Camila"),
    ("ro", "ro-RO", "Carmen"),
    ("ru", "ru-RU", "Tatyana"),
    ("sv", "sv-SE", "Astrid"),
    ("tr", "tr-TR", "Filiz"),
    ("ur-latn", "hi-IN", "Aditi"),  # Roman Urdu: Hindi sounds the same, and this voice reads Latin letters too
    ("zh", "zh-CN", "Zhiyu"),
)
"""By locale in lower case."""
FALL_BACK = VOICES["en"]
"""For languages without a voice, Urdu in its own script among them. Digits at least are understood by many."""


def voice_for(locale: str, own: Mapping[str, Voice]) -> Voice:
    """Return who speaks a message of a locale: the longest part of it that has a voice, ``own`` ones first."""
    subtags = locale.lower().replace("_", "-").split("-")
    parts = ["-".join(subtags[:length]) for length in range(len(subtags), 0, -1)]
    known = {**VOICES, **{part.lower(): voice for part, voice in own.items()}}
    return next((known[part] for part in parts if part in known), FALL_BACK)


def twiml(text: str, voice: Voice) -> str:
    """Return the document of a call that says a text, whatever characters it has, and ends."""
    said = html.escape(_NOT_XML.sub(" ", text))
    say = f'<Say language="{voice.language}" voice="{voice.voice}">{said}</Say>'
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{say}</Response>'
