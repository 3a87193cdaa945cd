"""How messages that people write back are read and answered."""

import tomllib
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from otp_service.domain.people import LONGEST, InboundPolicy, Meaning, Vocabulary, Words
from otp_service.gateways.base import CountryCode
from otp_service.settings.sections import Section

Further = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)], ...], Field(max_length=100)
]


class InboundSettings(Section):
    """Words beside ours that a whole message may be, in any spelling of case and width; and what is answered."""

    stop: Further = ()
    """No more messages of the application that the number was written to by last."""
    start: Further = ()
    """Messages again."""
    help: Further = ()
    """Who this is, and how to end it."""
    replies: tuple[Literal["stop", "help"], ...] = ("stop", "help")
    """What is answered, once a day for a number; none where the provider does so itself."""
    region: CountryCode | None = None
    """Region of senders in national spelling, where a provider passes them on so."""

    @model_validator(mode="after")
    def _words_have_one_meaning(self) -> Self:
        self._vocabulary()
        return self

    def to_core(self) -> InboundPolicy:
        """Return the policy."""
        return InboundPolicy(self._vocabulary(), self.region, frozenset(map(Meaning, self.replies)))

    def _vocabulary(self) -> Vocabulary:
        ours = {meaning: languages.values() for meaning, languages in our_words().items()}
        return Vocabulary(ours, {Meaning.STOP: self.stop, Meaning.START: self.start, Meaning.HELP: self.help})


@cache
def our_words() -> dict[Meaning, dict[str, Words]]:
    """Return the words that come with the package, by meaning and language."""
    found = tomllib.loads((files(__package__) / "inbound.toml").read_text(encoding="utf-8"))
    return {
        Meaning(meaning): {language: _words(one) for language, one in languages.items()}
        for meaning, languages in found.items()
    }


def _words(given: dict[str, Any]) -> Words:
    """Return the words of a language; a noun and a verb are one that is firm."""
    phrases = map(" ".join, product(given.get("nouns", ()), given.get("verbs", ())))
    return Words(tuple(given.get("whole", ())), (*given.get("firm", ()), *phrases), tuple(given.get("beside", ())))
