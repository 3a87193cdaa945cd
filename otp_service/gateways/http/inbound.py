"""Inbound messages of ``http`` gateways: how one is believed, read and answered, by configuration alone."""

from urllib.parse import parse_qsl, urlsplit

from pydantic import Field

from otp_service.gateways.base import InboundAnswer, InboundForgedError, InboundMessage, ProviderRequest
from otp_service.gateways.http.proof import Place, Proof, ProofSettings

SUBJECT = "inbound"
"""What a token in the inbound address is made for."""
CHARSETS = {
    **dict.fromkeys(("utf-16be", "utf-16", "ucs-2", "ucs2"), "utf-16-be"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1"), "iso-8859-1"),
    "windows-1252": "windows-1252",
}
"""Encodings by the names that providers have for them; all others are taken for UTF-8."""


class InboundSettings(ProofSettings):
    """How messages from people are believed, and where their parts stand."""

    sender: Place = Field(alias="from")
    """The number that somebody wrote from."""
    text: Place
    charset: Place | None = None
    """Where the provider tells how the text is encoded, such as ``UTF-16BE``; without it, and in JSON, in UTF-8."""
    reference: Place | None = None
    """The provider's own name of the message, by which a repetition is known; without it none is."""
    reply: bool = False
    """Whether the provider sends the text of our answer to whoever wrote, as Kannel does."""


class ConfiguredInbound:
    """Reads messages as a section says."""

    def __init__(self, settings: InboundSettings) -> None:
        self._settings, self._proof = settings, Proof(settings)

    def address(self, url: str) -> str:
        """Return the address for the provider, with the proof. It ends within a query: more is added with ``&``."""
        return self._proof.address(url, SUBJECT)

    def read(self, request: ProviderRequest) -> InboundMessage:
        """Return the message of a request; raise `InboundForgedError`."""
        if not self._proof.holds(request, SUBJECT):
            raise InboundForgedError
        reference = self._settings.reference
        return InboundMessage(
            reference=reference.of(request) if reference else "",
            sender=self._settings.sender.of(request),
            text=self._text(request),
        )

    def _text(self, request: ProviderRequest) -> str:
        place, told = self._settings.text, self._settings.charset
        charset = CHARSETS.get(told.of(request).casefold()) if told else None
        if charset is None or place.path is not None:
            return place.of(request)
        members = request.body.decode("latin-1") if place.form else urlsplit(request.url).query
        octets = dict(parse_qsl(members, keep_blank_values=True, encoding="latin-1")).get(
            place.form or place.query or ""
        )
        return (octets or "").encode("latin-1").decode(charset, "replace")


def answer_of(reply: str | None) -> InboundAnswer:
    """Return a reply as plain text, or an answer without any."""
    return InboundAnswer(reply or "", "text/plain; charset=utf-8")
