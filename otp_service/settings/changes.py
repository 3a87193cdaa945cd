"""What may change while a process runs, and what needs another start."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from otp_service.settings.tree import Settings

ELSEWHERE = ("redis.url", "ledger.url")
"""Processes change one after the other: in two places at once they would not find what the others record. Whom they
log in as, and with which password, may change."""
_WHERE = frozenset({"db", "host"})
"""Parameters of an address that say where it is."""


def kept(present: Settings, fresh: Settings, fixed: Iterable[str]) -> tuple[Settings, tuple[str, ...]]:
    """Return fresh settings in which the ``fixed`` ones are as at present, and the names of those that had changed."""
    changed = tuple(name for name in fixed if _compared(_value(present, name)) != _compared(_value(fresh, name)))
    for name in changed:
        section, member = name.split(".")
        part = getattr(fresh, section).model_copy(update={member: _value(present, name)})
        fresh = fresh.model_copy(update={section: part})
    return fresh, changed


def _value(settings: Settings, name: str) -> Any:  # noqa: ANN401 - whatever a setting is
    section, member = name.split(".")
    return getattr(getattr(settings, section), member)


def _compared(value: object) -> object:
    """Return what must not change of a value; of an address, the place."""
    return _place_of(value.get_secret_value()) if isinstance(value, SecretStr) else value


def _place_of(url: str) -> tuple[object, ...]:
    parts = urlsplit(url)
    where = sorted(pair for pair in parse_qsl(parts.query) if pair[0] in _WHERE)
    return parts.scheme, parts.netloc.rpartition("@")[2], parts.path, where
