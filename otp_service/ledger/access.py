"""Applications and API keys in the ledger."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any, Literal

from sqlalchemy import BindParameter, Connection, Row, bindparam, insert, or_, select, update

from otp_service.clock import now
from otp_service.domain.applications import ApiKey, KeyScope
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.errors import ConflictError, NameTakenError
from otp_service.ledger.audit import append_state, record_action
from otp_service.ledger.database import Database, access_sequence, advance_access_head
from otp_service.ledger.schema import api_keys, applications

# No application is ever deleted: what was recorded under its name would be taken for that of a later one.


@dataclass(frozen=True, slots=True)
class StoredApplication:
    """An application as it is kept. Times are milliseconds since the epoch, ``None`` for one of the configuration."""

    name: str
    settings: str
    """What was given of its section, without keys, as JSON: the rest has its default. A later release may know more."""
    created: int | None = None
    changed: int | None = None

    @property
    def source(self) -> Literal["configuration", "ledger"]:
        """Where it is kept."""
        return "configuration" if self.created is None else "ledger"

    @property
    def members(self) -> dict[str, Any]:
        """The settings as they were given."""
        return dict(json.loads(self.settings))


class Applications:
    """Applications in the ledger. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, settings: str, by: str) -> StoredApplication:
        """Keep a new application; raise `NameTakenError` when there is one of the name. ``by`` says who does it."""
        with self._database.write() as connection:
            advance_access_head(connection)
            if _application_named(connection, name):
                raise NameTakenError("There is an application of this name.")
            made = now()
            record_action(connection, OperatorActionEntry(OperatorAction.APPLICATION_ADDED, by, name))
            connection.execute(insert(applications).values(name=name, settings=settings, created=made, changed=made))
            append_state(connection, applications, [name])
        return StoredApplication(name, settings, made, made)

    def change(self, name: str, settings: str, by: str) -> StoredApplication | None:
        """Give an application other settings; return it, ``None`` when there is none of the name."""
        with self._database.write() as connection:
            advance_access_head(connection)
            statement = update(applications).where(applications.c.name == name)
            if connection.execute(statement.values(settings=settings, changed=now())).rowcount:
                record_action(connection, OperatorActionEntry(OperatorAction.APPLICATION_CHANGED, by, name))
                append_state(connection, applications, [name])
            return _application_named(connection, name)

    def find(self, name: str) -> StoredApplication | None:
        """Return an application by its name."""
        with self._database.read() as connection:
            return _application_named(connection, name)

    def all(self) -> tuple[StoredApplication, ...]:
        """Return all, by name."""
        with self._database.read() as connection:
            return read_applications(connection)


def read_applications(connection: Connection) -> tuple[StoredApplication, ...]:
    """Return all applications that are kept, by name."""
    return tuple(map(_stored, connection.execute(select(applications).order_by(applications.c.name))))


def _application_named(connection: Connection, name: str) -> StoredApplication | None:
    row = connection.execute(select(applications).where(applications.c.name == name)).one_or_none()
    return _stored(row) if row else None


def _stored(row: Row[Any]) -> StoredApplication:
    return StoredApplication(row.name, row.settings, row.created, row.changed)


class ApiKeys:
    """API keys in the ledger. Raises `LedgerUnavailableError` when the database cannot serve.

    An ``application`` of ``None`` means a key of any, or of all.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: ApiKey, by: str) -> ApiKey:
        """Keep a new key; return it with the time at which it was made. ``by`` says who does it."""
        with self._database.write() as connection:
            advance_access_head(connection)
            record_action(connection, OperatorActionEntry(OperatorAction.API_KEY_ISSUED, by, key.application, key.id))
            return _insert(connection, replace(key, created=now()))

    def of(self, application: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of an application, oldest first; also those that are over."""
        wanted = select(api_keys).order_by(api_keys.c.created, api_keys.c.id)
        if application is not None:
            wanted = wanted.where(api_keys.c.application == application)
        with self._database.read() as connection:
            return tuple(map(_key, connection.execute(wanted)))

    def rotate(
        self,
        key_id: str,
        successor_id: str,
        successor_hash: str,
        overlap: int,
        by: str,
        application: str | None = None,
    ) -> tuple[ApiKey, ApiKey] | None:
        """Keep a key that may do the same as another, which ends in ``overlap`` milliseconds, or before if it did.

        Return the old and the new one, ``None`` when there is no such key. Raises `ConflictError` when it is over.
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
        """End a key now; return it, ``None`` when there is no such key. One that is revoked keeps its time."""
        with self._database.write() as connection:
            advance_access_head(connection)
            mine = (api_keys.c.id == key_id) & api_keys.c.revoked.is_(None)
            if application is not None:
                mine &= api_keys.c.application == application
            ended = connection.execute(update(api_keys).where(mine).values(revoked=now())).rowcount
            found = _key_named(connection, key_id, application)
            if found and ended:
                append_state(connection, api_keys, [key_id])
                record_action(
                    connection, OperatorActionEntry(OperatorAction.API_KEY_REVOKED, by, found.application, key_id)
                )
            return found

    def note_uses(self, used: Mapping[str, int]) -> None:
        """Note when keys were used last, by their names; an earlier time than the known one changes nothing."""
        if not used:
            return
        last = api_keys.c.used
        at: BindParameter[int] = bindparam("at")
        statement = update(api_keys).where(api_keys.c.id == bindparam("key"), or_(last.is_(None), last < at))
        with self._database.write() as connection:
            connection.execute(
                statement.values(used=at), [{"key": name, "at": when} for name, when in sorted(used.items())]
            )


def valid_keys(connection: Connection) -> tuple[ApiKey, ...]:
    """Return the keys that are not revoked."""
    return tuple(map(_key, connection.execute(select(api_keys).where(api_keys.c.revoked.is_(None)))))


def _insert(connection: Connection, key: ApiKey) -> ApiKey:
    connection.execute(
        insert(api_keys).values(
            **_columns(key),
            created=key.created,
            expires=key.expires,
            revoked=None,
            used=None,
        )
    )
    append_state(connection, api_keys, [key.id])
    return key


def _columns(key: ApiKey) -> dict[str, str]:
    """Return what of a key never changes, as its row has it."""
    return {
        "id": key.id,
        "application": key.application,
        "hash": key.hash,
        "scopes": " ".join(sorted(key.scopes)),
        "addresses": " ".join(map(str, key.networks)),
    }


def _key_named(connection: Connection, key_id: str, application: str | None) -> ApiKey | None:
    wanted = select(api_keys).where(api_keys.c.id == key_id)
    if application is not None:
        wanted = wanted.where(api_keys.c.application == application)
    row = connection.execute(wanted).one_or_none()
    return _key(row) if row else None


def _key(row: Any) -> ApiKey:  # noqa: ANN401 - a row, or what has the same attributes
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
    """All that the ledger lets in."""

    state: str
    """Names what the listing tells: another one after each change."""
    applications: tuple[StoredApplication, ...]
    keys: tuple[ApiKey, ...]
    """Those that are not revoked."""

    def to_json(self) -> str:
        """Return all of it as JSON."""
        members = [asdict(application) for application in self.applications]
        keys = [
            {**_columns(key), "created": key.created, "expires": key.expires, "revoked": None, "used": None}
            for key in self.keys
        ]
        return json.dumps({"state": self.state, "applications": members, "keys": keys})

    @classmethod
    def from_json(cls, text: str) -> "AccessList":
        """Return what `to_json` returned the text of."""
        document = json.loads(text)
        members = tuple(StoredApplication(**application) for application in document["applications"])
        return cls(document["state"], members, tuple(_key(SimpleNamespace(**key)) for key in document["keys"]))


class Access:
    """Who may call. Raises `LedgerUnavailableError` when the database cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changed_since(self, state: str) -> AccessList | None:
        """Return all applications and keys; ``None`` when they are as they were in a ``state``, which costs little."""
        with self._database.read() as connection:
            found = access_sequence(connection)
            if found == state:
                return None
            return AccessList(found, read_applications(connection), valid_keys(connection))
