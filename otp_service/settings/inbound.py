"""How messages that people write back are read and answered."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from otp_service.core.inbound import LONGEST, InboundPolicy, Meaning, Vocabulary
from otp_service.settings.sections import Section
from otp_service.transport.country_code import CountryCode

Words = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)], ...], Field(max_length=100)
]


class InboundSettings(Section):
    """Words beside ours that a whole message may be, in any spelling of case and width; and what is answered."""

    stop: Words = ()
    """No more messages of the application that the number was written to by last."""
    start: Words = ()
    """Messages again."""
    help: Words = ()
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
        return Vocabulary({Meaning.STOP: self.stop, Meaning.START: self.start, Meaning.HELP: self.help})
