"""Applications and API keys in the ledger."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any, Literal

from sqlalchemy import BindParameter, Connection, bindparam, insert, or_, select, update

from otp_service.clock import now
from otp_service.domain.applications import ApiKey, KeyScope
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.errors import ConflictError, NameTakenError
from otp_service.ledger.audit import append_state, record_action
from otp_service.ledger.database import LedgerPart, advance_access_head, head_row, of_application
from otp_service.ledger.schema import api_keys, applications

# No application is ever deleted: a later one of the same name would take over its records.


@dataclass(frozen=True, slots=True)
class StoredApplication:
    """A stored application. Times are milliseconds since the epoch, ``None`` in the configuration."""

    name: str
    settings: str
    """The set members of its section, without keys, as JSON: the rest has its default."""
    created: int | None = None
    changed: int | None = None

    @property
    def source(self) -> Literal["configuration", "ledger"]:
        return "configuration" if self.created is None else "ledger"

    @property
    def members(self) -> dict[str, Any]:
        return dict(json.loads(self.settings))


class Applications(LedgerPart):
    """Applications in the ledger."""

    def add(self, name: str, settings: str, by: str) -> StoredApplication:
        """Record a new application; raise `NameTakenError` for a name in use. ``by``: the operator."""
        with self._database.write() as connection:
            advance_access_head(connection)
            if _application_named(connection, name):
                raise NameTakenError("An application with this name exists.")
            made = now()
            record_action(connection, OperatorActionEntry(OperatorAction.APPLICATION_ADDED, by, name))
            connection.execute(insert(applications).values(name=name, settings=settings, created=made, changed=made))
            append_state(connection, applications, [name])
        return StoredApplication(name, settings, made, made)

    def change(self, name: str, settings: str, by: str) -> StoredApplication | None:
        """Change an application's settings; return it, ``None`` for an unknown name."""
        with self._database.write() as connection:
            advance_access_head(connection)
            statement = update(applications).where(applications.c.name == name)
            if connection.execute(statement.values(settings=settings, changed=now())).rowcount:
                record_action(connection, OperatorActionEntry(OperatorAction.APPLICATION_CHANGED, by, name))
                append_state(connection, applications, [name])
            return _application_named(connection, name)

    def all(self) -> tuple[StoredApplication, ...]:
        with self._database.read() as connection:
            return _read_applications(connection)


def _read_applications(connection: Connection) -> tuple[StoredApplication, ...]:
    rows = connection.execute(select(applications).order_by(applications.c.name))
    return tuple(StoredApplication(*row) for row in rows)


def _application_named(connection: Connection, name: str) -> StoredApplication | None:
    row = connection.execute(select(applications).where(applications.c.name == name)).one_or_none()
    return StoredApplication(*row) if row else None


class ApiKeys(LedgerPart):
    """API keys in the ledger; an ``application`` of ``None`` means any."""

    def add(self, key: ApiKey, by: str) -> ApiKey:
        """Record a new key; return it with its time of creation. ``by``: the operator."""
        with self._database.write() as connection:
            advance_access_head(connection)
            record_action(connection, OperatorActionEntry(OperatorAction.API_KEY_ISSUED, by, key.application, key.id))
            return _insert(connection, replace(key, created=now()))

    def of(self, application: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of an application, oldest first; also those that have ended."""
        mine = of_application(api_keys, application)
        statement = select(api_keys).where(mine).order_by(api_keys.c.created, api_keys.c.id)
        with self._database.read() as connection:
            return tuple(map(_key, connection.execute(statement)))

    def rotate(
        self, key_id: str, successor_id: str, successor_hash: str, overlap: int, by: str, application: str | None = None
    ) -> tuple[ApiKey, ApiKey] | None:
        """Record a successor of a key, which ends in ``overlap`` milliseconds, or earlier if it had an end.

        Return the old and the new key, ``None`` for an unknown key. Raises `ConflictError` when it has ended.
        """
        with self._database.write() as connection:
            advance_access_head(connection)
            old, at = _key_named(connection, key_id, application), now()
            if old is None:
                return None
            if not old.is_valid(at):
                raise ConflictError("The key is revoked, or has ended: make a new one.")
            ends = at + overlap if old.expires is None else min(old.expires, at + overlap)
            connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(expires=ends))
            append_state(connection, api_keys, [key_id])
            record_action(connection, OperatorActionEntry(OperatorAction.API_KEY_ROTATED, by, old.application, key_id))
            fresh = replace(old, id=successor_id, hash=successor_hash, created=at, expires=None, used=None)
            return replace(old, expires=ends), _insert(connection, fresh)

    def revoke(self, key_id: str, by: str, application: str | None = None) -> ApiKey | None:
        """Revoke a key; return it, ``None`` for an unknown key. A revoked key keeps its time."""
        with self._database.write() as connection:
            advance_access_head(connection)
            mine = update(api_keys).where(
                api_keys.c.id == key_id, api_keys.c.revoked.is_(None), of_application(api_keys, application)
            )
            ended = connection.execute(mine.values(revoked=now())).rowcount
            key = _key_named(connection, key_id, application)
            if key and ended:
                append_state(connection, api_keys, [key_id])
                record_action(
                    connection, OperatorActionEntry(OperatorAction.API_KEY_REVOKED, by, key.application, key_id)
                )
            return key

    def note_uses(self, used: Mapping[str, int]) -> None:
        """Record the last use of keys, by their names; earlier times change nothing."""
        if not used:
            return
        last = api_keys.c.used
        at: BindParameter[int] = bindparam("at")
        statement = update(api_keys).where(api_keys.c.id == bindparam("key"), or_(last.is_(None), last < at))
        with self._database.write() as connection:
            connection.execute(
                statement.values(used=at), [{"key": name, "at": when} for name, when in sorted(used.items())]
            )


def _insert(connection: Connection, key: ApiKey) -> ApiKey:
    connection.execute(insert(api_keys).values(_row(key)))
    append_state(connection, api_keys, [key.id])
    return key


def _row(key: ApiKey) -> dict[str, Any]:
    """Return the row of a valid key. Its last use is left out, which the cache of keys does not need."""
    return {
        "id": key.id,
        "application": key.application,
        "hash": key.hash,
        "scopes": " ".join(sorted(key.scopes)),
        "addresses": " ".join(map(str, key.networks)),
        "created": key.created,
        "expires": key.expires,
        "revoked": None,
        "used": None,
    }


def _key_named(connection: Connection, key_id: str, application: str | None) -> ApiKey | None:
    statement = select(api_keys).where(api_keys.c.id == key_id, of_application(api_keys, application))
    row = connection.execute(statement).one_or_none()
    return _key(row) if row else None


def _key(row: Any) -> ApiKey:  # noqa: ANN401 - a row, or a namespace with the same attributes
    """Return a row as a key. A scope that this release does not know allows nothing."""
    return ApiKey(
        id=row.id,
        application=row.application,
        hash=row.hash,
        scopes=frozenset(scope for scope in KeyScope if scope in row.scopes.split()),
        networks=tuple(map(ipaddress.ip_network, row.addresses.split())),
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        used=row.used,
    )


@dataclass(frozen=True, slots=True)
class AccessList:
    """The applications and valid keys of the ledger."""

    state: str
    """Name of the list's state, which differs after each change."""
    applications: tuple[StoredApplication, ...]
    keys: tuple[ApiKey, ...]
    """Keys that are not revoked."""

    def to_json(self) -> str:
        members = [asdict(application) for application in self.applications]
        return json.dumps({"state": self.state, "applications": members, "keys": list(map(_row, self.keys))})

    @classmethod
    def from_json(cls, text: str) -> "AccessList":
        """Return the list from the text of `to_json`."""
        document = json.loads(text)
        members = tuple(StoredApplication(**application) for application in document["applications"])
        return cls(document["state"], members, tuple(_key(SimpleNamespace(**key)) for key in document["keys"]))


class Access(LedgerPart):
    """The list of applications and keys."""

    def changed_since(self, state: str) -> AccessList | None:
        """Return all applications and keys; ``None`` while the state is the same, which costs little."""
        with self._database.read() as connection:
            row = head_row(connection)
            current = f"{row.identity}/{row.access}"
            if current == state:
                return None
            valid = connection.execute(select(api_keys).where(api_keys.c.revoked.is_(None)))
            return AccessList(current, _read_applications(connection), tuple(map(_key, valid)))
