"""A real PostgreSQL of the tests' own: it listens on 127.0.0.1 only, and its folder goes with it."""

import contextlib
import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from support_memory import folder_in_memory
from support_pgbouncer import ASKED, PgBouncer
from support_valkey import free_port

_USER = "postgres"
_PASSWORD = "p@ss/word"
"""With characters that an address has to escape."""
_ESCAPED = "p%40ss%2Fword"
_PATIENCE = 30.0
"""Seconds for a start, on a busy machine and after a crash."""


def programs() -> Path | None:
    """Return the folder with the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parents[1].name))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


class PostgresServer:
    """Starts on construction; `stop` it."""

    def __init__(self, primary: "PostgresServer | None" = None) -> None:
        """Make a server of its own, or a streaming replica of another one."""
        found = programs()
        assert found, "there is no PostgreSQL"
        self._programs = found
        self._folder = folder_in_memory("postgres")
        self.port = free_port()
        if primary is None:
            self._initialise()
        else:
            self._copy(primary)
        self.start()
        self._pooler = PgBouncer(self._folder, _USER, _PASSWORD, self.port) if ASKED else None

    def start(self) -> None:
        """Start the server, and wait until it lets somebody in. After a crash it has to recover first."""
        deadline = time.monotonic() + _PATIENCE
        self.process = self._launch()
        while True:
            try:
                self._connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise AssertionError((self._folder / "log").read_text()) from None
                if self.process.poll() is not None:  # what it left behind is still there for a moment
                    self.process = self._launch()
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End the server as a crash does."""
        self.process.kill()
        self.process.wait(_PATIENCE)

    def stop(self) -> None:
        """End the server, and delete its folder."""
        if self._pooler:
            self._pooler.stop()
        self._end()
        shutil.rmtree(self._folder)

    def promote(self, port: int) -> None:
        """Make a replica the primary, which clients find on a port: as an address moves from one host to another."""
        self._end()
        self.port = port
        self.start()
        self.administer("SELECT pg_promote()")

    def wait_for_replicas(self, names: str) -> None:
        """Let a commit return when replicas have it, all of ``*`` or none of an empty text."""
        self.administer(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.administer("SELECT pg_reload_conf()")

    def url(self, database: str) -> str:
        """Return the address of a database, as ``ledger.url`` has it."""
        port = self._pooler.port if self._pooler else self.port
        return f"postgresql://{_USER}:{_ESCAPED}@127.0.0.1:{port}/{database}"

    def url_of_a_plain_role(self, database: str) -> str:
        """Return the address of a database for a role that may do what is in it, and nothing else."""
        role = f"role_{secrets.token_hex(6)}"
        self.administer("CREATE ROLE {} LOGIN PASSWORD 'p@ss/word'", role)
        self.administer("GRANT pg_read_all_data TO {}", role)
        return f"postgresql://{role}:{_ESCAPED}@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template1", encoding: str = "UTF8") -> str:
        """Return the name of a new database, a copy of another one."""
        name = f"ledger_{secrets.token_hex(6)}"
        if self._pooler:  # it keeps connections to that one
            with self.alone(template):
                pass
        self.administer("CREATE DATABASE {} TEMPLATE {} ENCODING {}", name, template, encoding)
        return name

    @contextlib.contextmanager
    def alone(self, database: str) -> Iterator[None]:
        """Send away whoever is connected to a database, and let nobody in meanwhile."""
        self.administer("ALTER DATABASE {} ALLOW_CONNECTIONS false", database)
        with contextlib.closing(self._connect()) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
            while connection.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", [database]).fetchone():
                time.sleep(0.01)
        try:
            yield
        finally:
            self.administer("ALTER DATABASE {} ALLOW_CONNECTIONS true", database)

    def replace(self, database: str, other: str) -> None:
        """Give a database's name to another one, which takes its place under whoever is connected."""
        lost = f"{database}_{secrets.token_hex(4)}"
        with self.alone(database):
            self.administer("ALTER DATABASE {} RENAME TO {}", database, lost)
            self.administer("ALTER DATABASE {} RENAME TO {}", other, database)

    def drop(self, database: str) -> None:
        """Delete a database, whoever uses it."""
        self.administer("DROP DATABASE {} WITH (FORCE)", database)

    def administer(self, statement: str, *names: str) -> object:
        """Run a statement as a superuser, and return what it answers first; braces stand for names."""
        with contextlib.closing(self._connect()) as connection:
            done = connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
            return done.fetchone() if done.description else None

    def _end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(_PATIENCE)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=_USER, password=_PASSWORD, dbname="postgres",
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def _initialise(self) -> None:
        password = self._folder / "password"
        password.write_text(_PASSWORD)
        self._give_away(self._folder, password)
        self._run("initdb", "--no-sync", "--auth=scram-sha-256", f"--username={_USER}", f"--pwfile={password}",
                  "--encoding=UTF8", "--locale=C", f"--pgdata={self._data}")  # fmt: skip

    def _copy(self, primary: "PostgresServer") -> None:
        self._give_away(self._folder)
        where = f"host=127.0.0.1 port={primary.port} user={_USER} password={_PASSWORD}"
        self._run("pg_basebackup", "--no-sync", "--checkpoint=fast", "--write-recovery-conf",
                  f"--dbname={where}", f"--pgdata={self._data}")  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user(), str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _launch(self) -> subprocess.Popen[bytes]:
        # What is committed is with the operating system: a crash of the server loses nothing of it.
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "max_connections": "200",
            "shared_buffers": "16MB", "wal_keep_size": "256MB", "wal_retrieve_retry_interval": "100ms",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen([*self._as_user(), *program], cwd=self._folder, stdout=log, stderr=log)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _as_user(self) -> list[str]:
        """Return what runs a command as another user than root, whom the server refuses, and ends it with its parent.

        That is the thread which starts it, as Linux sees it.
        """
        other = [f"--reuid={_USER}", f"--regid={_USER}", "--init-groups"] if _is_root() else []
        return ["setpriv", "--pdeathsig=INT", *other]

    def _give_away(self, *paths: Path) -> None:
        if _is_root():
            account = pwd.getpwnam(_USER)
            for path in paths:
                os.chown(path, account.pw_uid, account.pw_gid)


class ReplicatedServer:
    """A primary whose commits wait for its replica (``synchronous_commit = on``), and an address that moves along.

    `kill` ends the replica and the primary in turn; then `start` starts the one again, or lets the replica take the
    place of the other and copies it.
    """

    def __init__(self) -> None:
        self._primary, self.replaced = PostgresServer(), 0
        self._turns = itertools.cycle((False, True))

    def create(self) -> str:
        """Return the name of a new database; from now on commits wait."""
        name = self._primary.create()
        self._follow()
        return name

    def url(self, database: str) -> str:
        """Return the address of a database at whichever server is the primary."""
        return self._primary.url(database)

    def kill(self) -> None:
        """End one of the two as a crash does."""
        self._is_headless = next(self._turns)
        (self._primary if self._is_headless else self._replica).kill()

    def start(self) -> None:
        """Have a primary and a replica again."""
        if not self._is_headless:
            self._replica.start()
            return
        self._replica.promote(self._primary.port)
        self._primary.stop()
        self._primary = self._replica
        self._follow()
        self.replaced += 1

    def stop(self) -> None:
        """End both."""
        self._primary.wait_for_replicas("")
        self._replica.stop()
        self._primary.stop()

    def _follow(self) -> None:
        self._replica = PostgresServer(self._primary)
        self._primary.wait_for_replicas("*")


def _is_root() -> bool:
    return os.geteuid() == 0
