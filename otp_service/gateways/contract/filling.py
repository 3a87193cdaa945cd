"""What stands for something else in the file of wire exchanges: the message's members, the stand-in's address."""

import html
import re
from collections.abc import Callable, Mapping
from typing import Any

from otp_service.gateways.contract.samples import MESSAGE

_TOKEN = re.compile(r"\{(to|to_plain|text|text_xml|expires_in|dispatch_id|receipt_url)\}")


def filled(value: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Return a value of the file with the message's members in their places; those are the same in all exchanges."""
    return _replaced(value, lambda text: _TOKEN.sub(lambda token: _of_message(token[1]), text))


def at_server(value: Any, url: str) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Return settings of the file with the stand-in's address in its place."""
    return _replaced(value, lambda text: text.replace("{server}", url))


def _replaced(value: Any, replace: Callable[[str], str]) -> Any:  # noqa: ANN401 - whatever TOML holds
    if isinstance(value, Mapping):
        return {name: _replaced(member, replace) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(member, replace) for member in value]
    return replace(value) if isinstance(value, str) else value


def _of_message(name: str) -> str:
    special = {"to_plain": MESSAGE.to.removeprefix("+"), "text_xml": html.escape(MESSAGE.text)}
    return special[name] if name in special else str(getattr(MESSAGE, name))
