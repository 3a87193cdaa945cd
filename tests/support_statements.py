"""Statements compiled once for all ledgers of a kind: each test has an engine of its own, which would compile anew.

SQLAlchemy keeps what it compiled by the dialect too, an object of each engine; here those of a kind are equal.
"""

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import registry, sqlite
from sqlalchemy.dialects.postgresql import psycopg

_COMPILED: dict[Any, Any] = {}


class _Alike:
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


class Sqlite(_Alike, sqlite.dialect):
    """SQLite's, all equal."""

    supports_statement_cache = True


class Postgresql(_Alike, psycopg.dialect):
    """PostgreSQL's, all equal."""

    supports_statement_cache = True


def share_statements() -> None:
    """Let all engines that are made from now on share what they compile."""
    registry.register("sqlite", __name__, Sqlite.__name__)
    registry.register("postgresql.psycopg", __name__, Postgresql.__name__)
    event.listen(Engine, "engine_connect", _share)


def _share(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_COMPILED)
