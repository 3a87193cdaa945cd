"""What stands for something else in the file of wire exchanges: the message's members, the stand-in's address."""

import base64
import html
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from otp_service.domain.templates import Message
from otp_service.gateways.contract.samples import MESSAGE, ExpectedRequest

_TOKEN = re.compile(r"\{(to|to_plain|text|text_xml|expires_in|dispatch_id|receipt_url)\}")
_OF_A_URL = re.compile(rb"(?:[\w.~*+-]|%[0-9A-Fa-f]{2})*")


def filled(value: Any, message: Message = MESSAGE) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Return a value of the file with a message's members in their places."""
    return _replaced(value, lambda text: _TOKEN.sub(lambda token: member_of(message, token[1]), text))


def at_server(value: Any, url: str) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Return settings of the file with the stand-in's address in its place."""
    return _replaced(value, lambda text: text.replace("{server}", url))


def named_in(expected: ExpectedRequest) -> set[str]:
    """Return which members of the message a sample looks at, of a body that is neither form nor JSON or beside it."""
    beside: set[str] = set()
    _replaced([expected.path, expected.query, expected.headers], lambda text: beside.update(_TOKEN.findall(text)))
    return beside | set(expected.body.groupindex if expected.body else ())


def read_back(expected: ExpectedRequest, body: bytes) -> dict[str, str] | None:
    """Return what the groups of a sample's pattern hold, unescaped by its rule; ``None`` when a body does not match.

    Raises `ValueError` for what is not escaped as the rule wants it.
    """
    match = expected.body.fullmatch(body) if expected.body else None
    return match and {name: _unescaped(octets or b"", expected) for name, octets in match.groupdict().items()}


def member_of(message: Message, name: str) -> str:
    """Return a member of a message, or one of its ``variables``, as text."""
    special = {**message.variables, "to_plain": message.to.removeprefix("+"), "text_xml": html.escape(message.text)}
    return special[name] if name in special else str(getattr(message, name))


def _replaced(value: Any, replace: Callable[[str], Any]) -> Any:  # noqa: ANN401 - whatever TOML holds
    if isinstance(value, Mapping):
        return {name: _replaced(member, replace) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(member, replace) for member in value]
    return replace(value) if isinstance(value, str) else value


def _unescaped(octets: bytes, expected: ExpectedRequest) -> str:
    """Return a text as it was before it was written into a body."""
    match expected.unescape:
        case "base64":
            octets = base64.b64decode(octets, validate=True)
        case "hex":
            octets = bytes.fromhex(octets.decode())
        case "url" if not _OF_A_URL.fullmatch(octets):
            raise ValueError("not all is escaped")
        case "url":
            octets = unquote_to_bytes(octets.replace(b"+", b" "))
    text = octets.decode(expected.charset)
    match expected.unescape:
        case "xml":
            return _of_xml(text)
        case "json":
            return str(json.loads(f'"{text}"'))
        case Mapping() as table:
            return _by_table(text, table)
    return text


def _of_xml(text: str) -> str:
    try:
        element = ET.fromstring(f"<text>{text}</text>")  # noqa: S314 - of the gateway that is tried
    except ET.ParseError:
        raise ValueError("not well-formed") from None
    if len(element):
        raise ValueError("elements in the text")
    return element.text or ""


def _by_table(text: str, table: Mapping[str, str]) -> str:
    """Replace what stands for something else; what it stands for may not stand there itself."""
    written = re.compile("|".join(map(re.escape, sorted(table, key=len, reverse=True))))
    if set(written.sub("", text)) & set("".join(table.values())):
        raise ValueError("not all is escaped")
    return written.sub(lambda one: table[one[0]], text)
