"""Answers of the calls on applications and their keys. A key is shown once, its hash never."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flask import Response
from pydantic import ConfigDict, TypeAdapter

from otp_service.api.answers import Time, rfc3339
from otp_service.api.exchange import JSON
from otp_service.domain.applications import ApiKey
from otp_service.services.access import Issued
from otp_service.settings.stored import Kept

_DOCUMENTED = ConfigDict(use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class ApplicationAnswer:
    """An application, and what it may do."""

    __pydantic_config__ = _DOCUMENTED

    name: str
    source: Literal["configuration", "ledger"]
    """Where it is kept. One of the configuration is changed there, and by nothing here; its keys can be either's."""
    settings: Mapping[str, Any]
    """Its section as in a configuration file, without keys: what was given, the rest has its default."""
    created_at: Time | None
    """Null for one of the configuration, as is the next."""
    changed_at: Time | None


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """What is known of an API key of the ledger."""

    __pydantic_config__ = _DOCUMENTED

    id: str
    """Its name, which is no secret."""
    application: str
    scopes: tuple[str, ...]
    """What it may be used for."""
    addresses: tuple[str, ...]
    """Networks that it may be used from; empty for anywhere."""
    created_at: Time
    expires_at: Time | None
    """When it ends because another replaces it; null for never."""
    revoked_at: Time | None
    last_used_at: Time | None
    """To the minute; null when it never was."""


@dataclass(frozen=True, slots=True)
class IssuedKeyAnswer:
    """A new key. It is shown this once, and kept nowhere."""

    __pydantic_config__ = _DOCUMENTED

    secret: str
    """What the application sends: `Authorization: Bearer SECRET`."""
    key: KeyAnswer


APPLICATION: TypeAdapter[ApplicationAnswer] = TypeAdapter(ApplicationAnswer)
APPLICATIONS: TypeAdapter[list[ApplicationAnswer]] = TypeAdapter(list[ApplicationAnswer])
KEY: TypeAdapter[KeyAnswer] = TypeAdapter(KeyAnswer)
KEYS: TypeAdapter[list[KeyAnswer]] = TypeAdapter(list[KeyAnswer])
ISSUED: TypeAdapter[IssuedKeyAnswer] = TypeAdapter(IssuedKeyAnswer)


def application_answer(kept: Kept) -> ApplicationAnswer:
    """Return what is told of an application."""
    created, changed = (None if at is None else rfc3339(at) for at in (kept.created, kept.changed))
    return ApplicationAnswer(kept.name, kept.source, kept.members, created, changed)


def application_response(answer: ApplicationAnswer, status: int = 200) -> Response:
    """Return the response that shows an application."""
    return Response(APPLICATION.dump_json(answer), status, mimetype=JSON)


def applications_response(answers: Iterable[ApplicationAnswer]) -> Response:
    """Return the response that lists applications."""
    return Response(APPLICATIONS.dump_json(list(answers)), mimetype=JSON)


def key_response(key: ApiKey) -> Response:
    """Return the response that shows what is known of a key."""
    return Response(KEY.dump_json(_key(key)), mimetype=JSON)


def keys_response(keys: Iterable[ApiKey]) -> Response:
    """Return the response that lists keys."""
    return Response(KEYS.dump_json(list(map(_key, keys))), mimetype=JSON)


def issued_response(issued: Issued) -> Response:
    """Return the only response that shows a key itself."""
    answer = IssuedKeyAnswer(issued.secret, _key(issued.key))
    return Response(ISSUED.dump_json(answer), 201, mimetype=JSON)


def _key(key: ApiKey) -> KeyAnswer:
    return KeyAnswer(
        id=key.id,
        application=key.application,
        scopes=tuple(sorted(key.scopes)),
        addresses=tuple(map(str, key.networks)),
        created_at=rfc3339(key.created),
        expires_at=_time(key.expires),
        revoked_at=_time(key.revoked),
        last_used_at=_time(key.used),
    )


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else rfc3339(milliseconds)
