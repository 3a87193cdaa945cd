"""Templates of requests: text with placeholders, read when the configuration is, filled for each message.

A template is taken apart before any value is known and put together once, so that a value that looks like a
placeholder stays what it is; encoding (URL, form, JSON) happens after it, to the whole.
"""

import string
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

from otp_service.core.message import Message

Value = str | int
_VALUES: Mapping[str, Callable[[Message], Value]] = {
    "to": lambda message: message.to,
    "to_plain": lambda message: message.to.removeprefix("+"),
    "text": lambda message: message.text,
    "text_hex_ucs2": lambda message: message.text.encode("utf-16-be").hex().upper(),
    "locale": lambda message: message.locale,
    "channel": lambda message: message.channel,
    "dispatch_id": lambda message: message.dispatch_id,
    "expires_in": lambda message: message.expires_in,
}
_MULTILINE = frozenset({"text"})
_SECRET = "secret."  # noqa: S105 - a prefix
Json = dict[str, Any]
Secrets = Mapping[str, SecretStr]


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


def missing_secrets(template: str, secrets: Secrets) -> list[str]:
    """Return the names of secrets that a template needs and that are not there."""
    needed = [name.removeprefix(_SECRET) for name in placeholders(template) if name.startswith(_SECRET)]
    return [name for name in needed if name not in secrets]


def _is_known(name: str) -> bool:
    return name in _VALUES or (name.startswith(_SECRET) and len(name) > len(_SECRET))


def _unknown(name: str) -> str:
    known = ", ".join(f"{{{known}}}" for known in (*_VALUES, f"{_SECRET}NAME"))
    return f"has an unknown placeholder {{{name}}}; there are {known}"


def _checked(template: str) -> str:
    placeholders(template)
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
"""Text with placeholders."""
LineTemplate = Annotated[str, AfterValidator(_checked_line)]
"""Text with placeholders, for a header."""
JsonTemplate = Annotated[Json, AfterValidator(_checked_json)]
"""JSON whose strings have placeholders."""


def leaves(value: Any, path: str = "") -> list[tuple[str, str]]:  # noqa: ANN401 - whatever JSON is
    """Return the strings in a JSON value with their dotted paths."""
    if isinstance(value, str):
        return [(path, value)]
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [leaf for name, member in members for leaf in leaves(member, f"{path}.{name}".lstrip("."))]


class Filler:
    """The values for one message."""

    def __init__(self, message: Message, secrets: Secrets) -> None:
        self._message = message
        self._secrets = secrets

    def text(self, template: str, encode: Callable[[str], str] = str) -> str:
        """Return a template filled, every value through ``encode``."""
        return "".join(
            literal + ("" if name is None else encode(str(self._value(name))))
            for literal, name, _, _ in string.Formatter().parse(template)
        )

    def texts(self, templates: Mapping[str, str]) -> dict[str, str]:
        """Return templates filled."""
        return {name: self.text(template) for name, template in templates.items()}

    def json(self, value: Any) -> Any:  # noqa: ANN401 - whatever JSON is
        """Return a JSON value with its strings filled; one that is only ``{expires_in}`` becomes a number."""
        if isinstance(value, dict):
            return {name: self.json(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.json(member) for member in value]
        if not isinstance(value, str):
            return value
        only = value.startswith("{") and value.endswith("}") and value[1:-1] in _VALUES
        return self._value(value[1:-1]) if only else self.text(value)

    def _value(self, name: str) -> Value:
        if name.startswith(_SECRET):
            return self._secrets[name.removeprefix(_SECRET)].get_secret_value()
        return _VALUES[name](self._message)
