"""Templates of messages: text with typed variables, taken apart when it is read and put together once a message.

Nothing that a caller sends is ever a template, and a value that looks like a variable stays what it is.
"""

import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Variable(StrEnum):
    """What a template may name. There is no other: no attribute, no index, no format."""

    BRAND = "brand"
    """The application's title."""
    CODE = "code"
    """The code as one run of ASCII digits, to be read."""
    DIGITS = "digits"
    """The code digit by digit, to be heard."""
    MINUTES = "minutes"
    """How long the code is still valid, in the words of the language."""
    NEVER_SHARE = "never_share"
    """The language's phrase against passing the code on."""
    AMOUNT = "amount"
    """Amount and currency of a payment."""
    PAYEE = "payee"
    ACCOUNT = "account"
    """What the language says of the payer's account; nothing when the payment names none."""


class TemplateError(ValueError):
    """A template cannot be used; ``str(error)`` says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Template:
    """Text with variables."""

    source: str
    """As it is written in its file."""
    pieces: tuple[tuple[str, str | None], ...]
    """Literal text, and the variable after it, if any."""

    @property
    def names(self) -> tuple[str, ...]:
        """The variables in the order of the text, repeated ones too."""
        return tuple(name for _, name in self.pieces if name is not None)

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the text with its values; they are not looked at for variables again."""
        return "".join(literal + ("" if name is None else values[name]) for literal, name in self.pieces)


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """Which template a text was made of: what an approval is of, and what a dispute asks for."""

    id: str
    """Language, purpose or kind of purpose, and channel: ``ur/transaction/sms``."""
    version: str
    """As its file says."""
    sha256: str
    """Of all its words, those of the phrases that it names too."""

    def __str__(self) -> str:
        return f"{self.id} {self.version} {self.sha256}"


def parse_template(source: str, allowed: Collection[str]) -> Template:
    """Return a template that names allowed variables only; raise `TemplateError`."""
    try:
        parsed = list(string.Formatter().parse(source))
    except ValueError:
        raise TemplateError("has a single brace: write {{ and }} for braces") from None
    pieces = tuple((literal, name) for literal, name, _, _ in parsed)
    if _plainly(pieces) != source:
        raise TemplateError("has a conversion or a format: variables stand as they are, such as {code}")
    for _, name in pieces:
        if name is not None and name not in allowed:
            there_are = ", ".join(f"{{{known}}}" for known in allowed)
            raise TemplateError(f"names {{{name}}}, which is not known here; there are {there_are}")
    return Template(source, pieces)


def _plainly(pieces: tuple[tuple[str, str | None], ...]) -> str:
    """Return how pieces are written without anything beside the names."""
    literals = ((literal.replace("{", "{{").replace("}", "}}"), name) for literal, name in pieces)
    return "".join(literal + ("" if name is None else f"{{{name}}}") for literal, name in literals)
