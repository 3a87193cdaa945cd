"""Templates of requests: text with placeholders, read when the configuration is, filled for each message.

A template is taken apart before any value is known and put together once, so that a value that looks like a
placeholder stays what it is; encoding (URL, form, JSON) happens after it, to the whole.
"""

import string
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

from otp_service.domain.templates import Message, encoding_of
from otp_service.gateways.http.dotted import leaves

Value = str | int
_VALUES: Mapping[str, Callable[[Message], Value | None]] = {
    "to": lambda message: message.to,
    "to_plain": lambda message: message.to.removeprefix("+"),
    "text": lambda message: message.text,
    "text_hex_ucs2": lambda message: message.text.encode("utf-16-be").hex().upper(),
    "locale": lambda message: message.locale,
    "channel": lambda message: message.channel,
    "sender": lambda message: message.sender,
    "dispatch_id": lambda message: message.dispatch_id,
    "expires_in": lambda message: message.expires_in,
    "expires_in_minutes": lambda message: -(-message.expires_in // 60),
    "receipt_url": lambda message: message.receipt_url,
    "encoding": lambda message: encoding_of(message.text),
}
_MULTILINE = frozenset({"text"})
_OPTIONAL = {"receipt_url": "receipts", "encoding": "encoding"}
"""Placeholders that may have no value, and the table of the section that each needs."""
_NEEDS = {**_OPTIONAL, "sender": "sender"}
"""Placeholders, and the member of the section that each needs."""
_SECRET = "secret."  # noqa: S105 - a prefix
Json = dict[str, Any]
Secrets = Mapping[str, SecretStr]
Words = Mapping[str, str | None]


def placeholders(template: str) -> list[str]:
    """Return the names in a template; ``{{`` and ``}}`` stand for braces. Raises `PydanticCustomError`."""
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError:
        raise PydanticCustomError("template", "has a single brace: write {{ and }} for braces") from None
    names = [name for _, name, _, _ in pieces if name is not None]
    for _, name, specification, conversion in pieces:
        if name is not None and (specification or conversion or not _is_known(name)):
            raise PydanticCustomError("template", _unknown(name))
    return names


def needs(template: str) -> list[str]:
    """Return the members of the section that a template needs: such as ``secrets.NAME``."""
    names = placeholders(template)
    secrets = [f"secrets.{name.removeprefix(_SECRET)}" for name in names if name.startswith(_SECRET)]
    return secrets + [_NEEDS[name] for name in names if name in _NEEDS]


def _is_known(name: str) -> bool:
    return name in _VALUES or (name.startswith(_SECRET) and len(name) > len(_SECRET))


def _unknown(name: str) -> str:
    known = ", ".join(f"{{{known}}}" for known in (*_VALUES, f"{_SECRET}NAME"))
    return f"has an unknown placeholder {{{name}}}; there are {known}"


def _checked(template: str) -> str:
    placeholders(template)
    return template


def _checked_whole(template: str) -> str:
    if optional := [name for name in placeholders(template) if name in _OPTIONAL]:
        raise PydanticCustomError("template", f"cannot hold {{{optional[0]}}}: it may have no value")
    return template


def _checked_line(template: str) -> str:
    if _MULTILINE.intersection(placeholders(template)):
        raise PydanticCustomError("template", "cannot hold a message's text: a header is one line")
    return template


def _checked_json(value: Any) -> Any:  # noqa: ANN401 - whatever JSON is
    for path, leaf in leaves(value):
        try:
            placeholders(leaf)
        except PydanticCustomError as fault:
            raise PydanticCustomError("template", f"at {path} {fault.message()}") from None
    return value


Template = Annotated[str, AfterValidator(_checked)]
"""Text with placeholders. What it is a member of is left out where one of them has no value."""
WholeTemplate = Annotated[str, AfterValidator(_checked), AfterValidator(_checked_whole)]
"""Text with placeholders that always have one."""
LineTemplate = Annotated[str, AfterValidator(_checked_line)]
"""Text with placeholders, for a header."""
JsonTemplate = Annotated[Json, AfterValidator(_checked_json)]
"""JSON whose strings have placeholders."""


class Filler:
    """The values for one message."""

    def __init__(self, message: Message, secrets: Secrets, encodings: Words, sender: str | None = None) -> None:
        """Take them from a message, the section's secrets, its words for the encodings, and its sender."""
        self._message = message if message.sender else replace(message, sender=sender)
        self._secrets = secrets
        self._encodings = encodings

    def text(self, template: str, encode: Callable[[str], str] = str) -> str:
        """Return a template filled, every value through ``encode``; one that has none is empty."""
        return "".join(
            literal + ("" if name is None else encode(str(self._value(name) or "")))
            for literal, name, _, _ in string.Formatter().parse(template)
        )

    def texts(self, templates: Mapping[str, str]) -> dict[str, str]:
        """Return templates filled, without those that lack a value."""
        return {name: self.text(template) for name, template in templates.items() if self._has_all(template)}

    def json(self, value: Any) -> Any:  # noqa: ANN401 - whatever JSON is
        """Return a JSON value with its strings filled; one that is only ``{expires_in}`` becomes a number."""
        if isinstance(value, dict):
            return {name: self.json(member) for name, member in value.items() if self._has_all(member)}
        if isinstance(value, list):
            return [self.json(member) for member in value if self._has_all(member)]
        if not isinstance(value, str):
            return value
        only = value.startswith("{") and value.endswith("}") and value[1:-1] in _VALUES
        return self._value(value[1:-1]) if only else self.text(value)

    def _has_all(self, value: Any) -> bool:  # noqa: ANN401 - whatever JSON is
        names = placeholders(value) if isinstance(value, str) else ()
        return all(self._value(name) is not None for name in names)

    def _value(self, name: str) -> Value | None:
        if name.startswith(_SECRET):
            return self._secrets[name.removeprefix(_SECRET)].get_secret_value()
        value = _VALUES[name](self._message)
        return self._encodings.get(str(value)) if name == "encoding" else value
