"""A watch on everything that could give a message or a secret away."""

import html
import logging
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from pydantic import BaseModel, SecretStr

from otp_service.gateways.contract.samples import CODE, MESSAGE


class Watch:
    """Hears all loggers at every level, and what is printed, while a gateway works."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
        self._caplog = caplog
        self._capsys = capsys
        caplog.set_level(logging.DEBUG)
        # An SDK that is quiet by its level may be made to speak by whoever configures logging.
        for name, logger in list(logging.Logger.manager.loggerDict.items()):
            if isinstance(logger, logging.Logger):
                caplog.set_level(logging.DEBUG, logger=name)

    def assert_no_log_gives_away(self, settings: BaseModel) -> None:
        """Fail when a log line holds something private."""
        for record in self._caplog.records:
            told = f"{record.getMessage()} {vars(record)}"
            if record.exc_info and record.exc_info[1]:
                told += everything_told(record.exc_info[1])
            assert_holds_nothing_private(told, settings, f"a line of the logger {record.name!r}")

    def assert_no_print_gives_away(self, settings: BaseModel) -> None:
        """Fail when something private was printed."""
        printed = self._capsys.readouterr()
        assert_holds_nothing_private(printed.out + printed.err, settings, "printed output")


def assert_holds_nothing_private(told: str, settings: BaseModel, where: str) -> None:
    """Fail when a text holds the number, the code, the text or a secret, plainly or encoded for a URL, form or XML."""
    for what, private in _private(settings):
        spellings = {private, quote(private), quote(private, safe=""), quote_plus(private), ascii(private)[1:-1]}
        spellings.add(html.escape(private))
        # Not an assertion on the texts themselves: a report of pytest would show the secret.
        if any(spelling in told for spelling in spellings):
            pytest.fail(f"{where} holds {what}")


def everything_told(error: BaseException | None) -> str:
    """Return all that an exception tells: its texts and those of every exception that hangs on it."""
    if error is None:
        return ""
    own = "".join(traceback.format_exception(error)) + f"{error!r} {error.args} {vars(error)}"
    return own + everything_told(error.__cause__) + everything_told(error.__context__)


def _private(settings: BaseModel) -> Iterator[tuple[str, str]]:
    yield "the number", MESSAGE.to.removeprefix("+")
    yield "the number in national spelling", MESSAGE.to.removeprefix("+92")
    yield "the code", CODE
    yield "the text", MESSAGE.text
    yield "the text in hexadecimal UCS-2", MESSAGE.text.encode("utf-16-be").hex()
    yield "the text in hexadecimal UCS-2", MESSAGE.text.encode("utf-16-be").hex().upper()
    for path, secret in secrets(settings):
        yield f"the secret {path}", secret


def secrets(value: Any, path: str = "settings") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - whatever settings hold
    """Yield the secrets in settings, with their paths."""
    if isinstance(value, SecretStr):
        yield path, value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from secrets(member, f"{path}.{name}")
