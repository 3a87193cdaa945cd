"""Connections to Redis: redis-py's for commands, a socket for scripts; time limits, and translated errors."""

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NoReturn

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ExecAbortError,
    InvalidResponse,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from otp_service.errors import StoreUnavailableError

CLIENT_NAME: Final = "otp-service"
Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The Sentinels that know which server is the primary (https://valkey.io/topics/sentinel)."""

    addresses: Sequence[tuple[str, int]]
    """Host and port of each."""
    user: str | None = None
    """``None`` for their default user."""
    password: str | None = None


def connect(url: str, *, timeout: float, connect_timeout: float, sentinels: Sentinels | None = None) -> redis.Redis:
    """Return a client for a ``redis://``, ``rediss://`` or ``unix://`` address; opens no connection yet.

    With Sentinels the host in the address is their name of the primary; each new connection asks them for its address.
    Both time-outs are in seconds. The client never repeats a command: with redis-py's own retries a lost answer counted
    one wrong guess twice and turned an approval into ``already_approved``.
    """
    limits: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": connect_timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "client_name": CLIENT_NAME,
    }
    client = redis.Redis.from_url(url, **limits)
    if sentinels is None:
        return client
    settings = client.get_connection_kwargs()
    service = settings.pop("host")
    settings.pop("port", None)
    encrypted = is_encrypted(client)
    sentinel_settings = {name: value for name, value in settings.items() if name in limits or name.startswith("ssl_")}
    sentinel_settings |= {"username": sentinels.user, "password": sentinels.password}
    sentinel_settings |= {"socket_timeout": connect_timeout, "ssl": encrypted}
    manager = _Sentinels(sentinels.addresses, sentinel_kwargs=sentinel_settings)
    primary: redis.Redis = manager.master_for(service, ssl=encrypted, **settings)  # type: ignore[no-untyped-call]
    return primary


class NoSentinelError(MasterNotFoundError):
    """No Sentinel answers, which does not mean that the primary is away."""


class PrimaryReplacedError(MasterNotFoundError):
    """A replica takes the primary's place. A paused primary may go on, and its writes are lost."""


@dataclass(frozen=True, slots=True)
class _PrimaryReport:
    """A Sentinel's report on a primary."""

    address: tuple[str, int]
    epoch: int
    """Raised by each fail-over."""
    is_up: bool
    is_replaced: bool
    """By this Sentinel, which names the former primary until all replicas follow the new one."""


class _Sentinels(Sentinel):
    """Takes the newest report of all Sentinels: the Sentinel of a fail-over knows of it seconds before the others."""

    def __init__(self, addresses: Sequence[tuple[str, int]], sentinel_kwargs: Mapping[str, Any]) -> None:
        super().__init__(addresses, sentinel_kwargs=sentinel_kwargs)  # type: ignore[no-untyped-call]
        self.naming: Sequence[redis.Redis] = self.sentinels
        """The Sentinels that named the last primary."""
        self._silent: dict[redis.Redis, float] = {}
        """End of each silent Sentinel's pause, by the monotonic clock."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return host and port of the primary.

        Raises `NoSentinelError`, `PrimaryReplacedError`, and `MasterNotFoundError` where no answer names a primary.
        """
        problems: list[str] = []
        now = time.monotonic()
        skipped = [sentinel for sentinel in self.sentinels if now < self._silent.get(sentinel, 0.0)]
        reachable = [sentinel for sentinel in self.sentinels if sentinel not in skipped]
        answers = self._ask(reachable, service_name, problems) or self._ask(skipped, service_name, problems)
        if not answers:
            raise NoSentinelError(f"No Sentinel answers: {'; '.join(problems)}")
        newest = max((report.epoch for report in answers.values() if report), default=0)
        reports = {sentinel: report for sentinel, report in answers.items() if report and report.epoch == newest}
        replaced = {report.address for report in reports.values() if report.is_replaced}
        named = {report.address for report in reports.values() if report.is_up} - replaced
        if not named:
            kind = PrimaryReplacedError if replaced else MasterNotFoundError
            raise kind(f"Sentinels name no primary for {service_name!r}.")
        address = min(named)  # Sentinels may know a server by its name or by its address
        self.naming = [sentinel for sentinel, report in reports.items() if report.address == address]
        return address

    def _ask(
        self, sentinels: Iterable[redis.Redis], service_name: str, problems: list[str]
    ) -> dict[redis.Redis, _PrimaryReport | None]:  # fmt: skip
        """Return the report of each Sentinel that answers, ``None`` where it does not watch that primary."""
        answers: dict[redis.Redis, _PrimaryReport | None] = {}
        for sentinel in sentinels:
            if sentinel in self._silent:  # only one thread waits for a silent Sentinel
                self._silent[sentinel] = time.monotonic() + _SILENT
            was_silent = False
            try:
                masters: Any = sentinel.sentinel_masters()
                answers[sentinel] = self._report(state) if (state := masters.get(service_name)) else None
            except (redis.RedisError, AttributeError, KeyError, TypeError) as problem:  # or it is no Sentinel
                settings = sentinel.get_connection_kwargs()
                problems.append(f"{settings['host']}:{settings['port']}: {problem}")
                was_silent = isinstance(problem, redis.TimeoutError)
            if was_silent:
                self._silent[sentinel] = time.monotonic() + _SILENT
            else:
                self._silent.pop(sentinel, None)
        return answers

    def _report(self, state: Mapping[str, Any]) -> _PrimaryReport:
        is_up = self.check_master_state(state, "")  # type: ignore[no-untyped-call]
        is_replaced = "failover_in_progress" in state["flags"]
        return _PrimaryReport((state["ip"], state["port"]), state["config-epoch"], is_up, is_replaced)


_SILENT: Final = 5.0
"""Seconds for which a silent Sentinel is skipped."""


def primary_address(client: redis.Redis) -> tuple[str, int]:
    """Return host and port of the primary, from Sentinels.

    Raises `ValueError` for a client without Sentinels, and as `_Sentinels.discover_master` does.
    """
    host, port = _sentinel_pool(client).get_master_address()  # type: ignore[no-untyped-call]
    return host, port


def present_primary(client: redis.Redis) -> redis.Redis:
    """Return a client for the present primary, which stays with that server; raises as `primary_address` does."""
    return _client_of(client, *primary_address(client))


def servers_of_primary(client: redis.Redis) -> tuple[int, Sequence[redis.Redis]]:
    """Return how many servers Sentinels know, the primary and its replicas, and a client for each that is not down.

    Raises as `primary_address` does.
    """
    pool = _sentinel_pool(client)
    primary_address(client)
    known: dict[tuple[str, int], bool] = {}
    for sentinel in pool.sentinel_manager.naming:
        states = [sentinel.sentinel_masters()[pool.service_name], *sentinel.sentinel_slaves(pool.service_name)]
        for state in states:
            address = state["ip"], state["port"]
            known[address] = known.get(address, False) or not state["is_sdown"]
    return len(known), [_client_of(client, *address) for address, is_up in known.items() if is_up]


def follows(replication: Mapping[str, Any]) -> bool:
    """Return whether a server is a replica that receives writes, by its ``INFO replication``."""
    return bool(replication["role"] == "slave" and replication.get("master_link_status") == "up")


def had_no_more(replication: Mapping[str, Any], former: str) -> bool:
    """Return whether a replica had no more of a former history than its primary, by its ``INFO replication``.

    A replica that had more copies everything anew, and then names no former history. A replica that was started from a
    copy names the history of the copy, but its backlog has nothing of it: it may have had more.
    """
    backlog_begins = replication["repl_backlog_first_byte_offset"]
    holds = replication["repl_backlog_active"] and backlog_begins < replication["second_repl_offset"]
    return bool(holds and replication["master_replid2"] == former)


def _client_of(client: redis.Redis, host: str, port: int) -> redis.Redis:
    settings = _sentinel_pool(client).connection_kwargs
    options = {name: value for name, value in settings.items() if name != "connection_pool"}
    kind = redis.SSLConnection if is_encrypted(client) else redis.Connection
    return redis.Redis(connection_pool=redis.ConnectionPool(kind, **{**options, "host": host, "port": port}))


def begin_failover(client: redis.Redis) -> None:
    """Have Sentinels let a replica take over once it has all writes. Needs Valkey 9.

    Raises `ValueError` without Sentinels, and where they refuse: without a replica or a quorum, or if they are older.
    """
    pool = _sentinel_pool(client)
    sentinel = pool.sentinel_manager.naming[0]
    try:
        sentinel.execute_command("SENTINEL CKQUORUM", pool.service_name)  # a failed attempt interrupts the service
        sentinel.execute_command("SENTINEL FAILOVER", pool.service_name, "COORDINATED")
    except ResponseError as refused:
        raise ValueError(f"The Sentinel refuses: {refused}") from refused


def begin_failover_to(replica: redis.Redis) -> None:
    """Let a replica of a cluster take over once it has all writes. Raises `ValueError` where it refuses."""
    try:
        replica.execute_command("CLUSTER FAILOVER")  # type: ignore[no-untyped-call]
    except ResponseError as refused:
        raise ValueError(f"The replica refuses: {refused}") from refused


def is_encrypted(client: redis.Redis) -> bool:
    return issubclass(client.connection_pool.connection_class, redis.SSLConnection)


def has_sentinels(client: redis.Redis) -> bool:
    return isinstance(client.connection_pool, SentinelConnectionPool)


def _sentinel_pool(client: redis.Redis) -> SentinelConnectionPool:
    if isinstance(pool := client.connection_pool, SentinelConnectionPool):
        return pool
    raise ValueError("There are no Sentinels.")


_READ_SIZE: Final = 65536
_INCOMPLETE: Final = object()
_CLASSES: Final[Mapping[str, type[ResponseError | redis.ConnectionError]]] = {
    "CLUSTERDOWN": ClusterDownError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": MasterDownError,
    "NOAUTH": AuthenticationError,
    "NOPERM": NoPermissionError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
    "WRONGPASS": AuthenticationError,
}
"""redis-py's exception for the first word of an error; `ResponseError` for all others but these."""
_REDIRECTIONS: Final[Mapping[str, type[AskError]]] = {"MOVED": MovedError, "ASK": AskError}
"""Errors of a cluster's server without the slot, which name the server that has it."""
_ERR_CLASSES: Final = (
    ("ERR max number of clients", redis.ConnectionError),
    ("ERR AUTH", AuthenticationError),  # the server has no password
)


class Connection:
    """A connection to a server, for one thread; opened again when the server has closed it.

    It speaks RESP 2, as redis-py would with `hiredis`. A plain socket's time limit is the kernel's, which costs no
    call; `redis.Redis` polls for each answer, which takes longer than the server's work.
    """

    def __init__(self, client: redis.Redis, address: tuple[str, int] | None = None) -> None:
        """Take a client for its credentials and time limits, and its address without an ``address``."""
        self._client = client
        self._address = address
        self._settings = client.get_connection_kwargs()
        self._encrypted = is_encrypted(client)
        self._socket: socket.socket | None = None
        self.asked = False
        """Whether the last command may have been sent."""
        self._unread = 0
        """Answers that `write_only` left, which come before the next answer."""
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._readable = select.poll()

    def ask(self, *command: Argument) -> Any:  # noqa: ANN401 - whatever the server answers
        """Return the answer to a command. Raises redis-py's exceptions; a `ResponseError` is an answer.

        After any other exception the connection must be closed: a late answer would be taken for a later command's.
        """
        return self._answer(self._connected(), hiredis.pack_command(command))  # type: ignore[arg-type]

    def ask_all(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Return the answers to commands that are sent together, with a server's errors as exceptions."""
        self.write(*commands)
        return self.read(len(commands))

    def write(self, *commands: tuple[Argument, ...]) -> None:
        """Send commands, whose answers `read` returns. Raises as `ask` does."""
        opened = self._connected()
        packed = b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]
        try:
            opened.sendall(packed)
        except OSError as failed:
            raise _as_redis_error(failed) from failed

    def write_only(self, *commands: tuple[Argument, ...]) -> None:
        """Send commands and ignore their answers. Raises as `ask` does."""
        self.write(*commands)
        self._unread = len(commands)

    def read(self, count: int, *, wait: bool = True) -> list[Any]:
        """Return so many answers, with a server's errors as exceptions. Raises as `ask` does.

        Without ``wait`` a server is silent if no part of an answer has arrived yet.
        """
        opened = self._readable_socket()
        if not (wait or self._readable.poll(0)):
            raise redis.TimeoutError("The server did not answer in time.")
        answers: list[Any] = []
        for _ in range(count):
            try:
                answers.append(self._answer(opened))
            except ResponseError as refused:
                answers.append(refused)
        return answers

    def fileno(self) -> int:
        """Return the descriptor, to poll for answers."""
        return self._readable_socket().fileno()

    def end_sending(self) -> None:
        """Have the server end the connection after the answers that it has."""
        with suppress(OSError):
            socket.socket.shutdown(self._readable_socket(), socket.SHUT_WR)  # without TLS' own farewell

    def read_to_end(self) -> list[Any]:
        """Return the answers before the end of the connection, and close it."""
        answers: list[Any] = []
        with suppress(redis.RedisError):
            while True:
                answers += self.read(1)
        self.close()
        return answers

    def _readable_socket(self) -> socket.socket:
        if self._socket is None:
            raise redis.ConnectionError("The connection was closed.")
        return self._socket

    @property
    def is_open(self) -> bool:
        """``True`` also after the server has closed the connection."""
        return self._socket is not None

    def close(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None
        self._unread = 0

    def __del__(self) -> None:
        """Close the connection when its thread has gone: it must not refer to itself."""
        self.close()

    def _connected(self) -> socket.socket:
        """Return the socket, a new socket where there is none or the server has closed it."""
        self.asked = False
        if self._unread:
            try:
                self.read(self._unread)
            except redis.ConnectionError:  # the present command was not sent yet
                self.close()
            self._unread = 0
        if self._socket is not None and self._readable.poll(0):  # no answer is due, so this is the end
            self.close()
        opened = self._socket or self._open()
        self.asked = True
        return opened

    def _open(self) -> socket.socket:
        settings, address = self._settings, self._address
        if by_sentinels := has_sentinels(self._client):
            address = primary_address(self._client)
        if address:
            settings = {**settings, "host": address[0], "port": address[1]}
        try:
            opened = self._dial(settings)
        except TimeoutError as silent:
            raise redis.TimeoutError("The server did not take the connection in time.") from silent
        except OSError as refused:
            raise redis.ConnectionError("The server cannot be reached.") from refused
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._readable = select.poll()
        self._readable.register(opened, select.POLLIN)
        self._socket = opened
        try:
            self._introduce(opened)
            if by_sentinels:
                self._confirm(address)
        except BaseException:
            self.close()
            raise
        return opened

    def _confirm(self, address: tuple[str, int] | None) -> None:
        if primary_address(self._client) != address:  # the server was paused, and replaced meanwhile
            raise redis.ConnectionError("Sentinels name another primary by now.")

    def _introduce(self, opened: socket.socket) -> None:
        """Send name, credentials and database, then `_begin`."""
        settings = self._settings
        commands: list[tuple[Argument, ...]] = [("CLIENT", "SETNAME", CLIENT_NAME)]
        if password := settings.get("password"):
            user = settings.get("username")
            commands.insert(0, ("AUTH", *((user, password) if user else (password,))))
        if database := settings.get("db"):
            commands.append(("SELECT", database))
        for command in commands:  # not by `ask`: TLS' first bytes are readable, and not the end
            self._answer(opened, hiredis.pack_command(command))  # type: ignore[arg-type]
        self._begin()

    def _begin(self) -> None:
        """Do nothing: a subclass may override this for each new connection."""

    def _dial(self, settings: Mapping[str, Any]) -> socket.socket:
        """Return a connected socket with its time limit."""
        limit, seconds = settings.get("socket_connect_timeout"), settings.get("socket_timeout")
        if path := settings.get("path"):
            dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            dialled.settimeout(limit)
            dialled.connect(path)
        else:
            dialled = socket.create_connection((settings["host"], settings["port"]), limit)
            dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._encrypted:
            context = ssl.create_default_context(cafile=settings.get("ssl_ca_certs"))
            demand = settings.get("ssl_cert_reqs", "required")
            context.check_hostname = demand != "none"
            context.verify_mode = ssl.VerifyMode[f"CERT_{demand.upper()}"]
            if certificate := settings.get("ssl_certfile"):
                context.load_cert_chain(certificate, settings.get("ssl_keyfile"))
            dialled = context.wrap_socket(dialled, server_hostname=settings["host"])
        if seconds is None or self._encrypted:  # reading TLS goes on after the kernel's limit
            dialled.settimeout(seconds)
            return dialled
        dialled.settimeout(None)
        kernel_limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
        dialled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, kernel_limit)
        dialled.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, kernel_limit)
        return dialled

    def _answer(self, opened: socket.socket, packed: bytes = b"") -> Any:  # noqa: ANN401
        """Send commands, if there are any, and return the next answer."""
        reader = self._reader
        try:
            if packed:
                opened.sendall(packed)
            while (answer := reader.gets()) is _INCOMPLETE:
                read = opened.recv(_READ_SIZE)
                if not read:
                    raise redis.ConnectionError("The server closed the connection.")
                reader.feed(read)
        except (OSError, hiredis.ProtocolError) as failed:
            raise _as_redis_error(failed) from failed
        if isinstance(answer, hiredis.ReplyError):
            raise _error(str(answer))
        return answer


def _as_redis_error(failed: OSError | hiredis.ProtocolError) -> redis.RedisError:
    """Return redis-py's exception for a failed connection."""
    if isinstance(failed, (BlockingIOError, TimeoutError)):
        return redis.TimeoutError("The server did not answer in time.")
    if isinstance(failed, OSError):
        return redis.ConnectionError("The connection was lost.")
    return InvalidResponse("This is no answer of Redis.")


def _error(text: str) -> redis.RedisError:
    """Return redis-py's exception for a server's error."""
    code, _, rest = text.partition(" ")
    if redirection := _REDIRECTIONS.get(code):
        return redirection(rest)
    fallback = next((kind for beginning, kind in _ERR_CLASSES if text.startswith(beginning)), ResponseError)
    return _CLASSES.get(code, fallback)(text)


PAUSE = 0.5
"""Seconds without a call after a time-out."""
_PROBE = 2.0
"""Seconds in which a single thread calls; longer than a connection and an answer may take."""


class FailFast:
    """Refuses at once while the server does not answer: no request waits for a time-out of its own."""

    def __init__(self) -> None:
        self._until = 0.0
        self._turn = threading.Lock()
        self.silences = 0
        """How often the server did not answer: an older connection may lead to a former primary."""

    def check(self) -> None:
        """Raise `StoreUnavailableError` while the server is silent, except for the thread that calls again."""
        if not self._until:
            return
        with self._turn:
            if not self._until:  # another thread got an answer
                return
            now = time.monotonic()
            if now < self._until:
                raise StoreUnavailableError("The store does not answer.", nothing_ran=True)
            self._until = now + _PROBE

    @property
    def is_silent(self) -> bool:
        """Whether the last call got no answer in time."""
        return self._until > 0

    def trip(self) -> None:
        """Note that a call got no answer in time."""
        self._until = time.monotonic() + PAUSE
        self.silences += 1

    def reset(self) -> None:
        """Note an answer, or an error that came at once."""
        self._until = 0.0


_UNAVAILABLE: Final = (
    AskError,  # `MovedError`, too; while a slot is moved key by key, a derived key may look absent
    redis.ConnectionError,  # loading, and a wrong password, too
    redis.TimeoutError,
    ClusterDownError,  # a replica without its primary, too
    ExecAbortError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_NO_DATABASE: Final = "DB index is out of range"
_UNAVAILABLE_CODES: Final = frozenset({"BUSY", "MISCONF", "NOGROUP", "NOREPLICAS", "UNBLOCKED"})
"""First words of errors without a class in redis-py. ``NOGROUP``: the server has lost its data."""
_PIPELINE_PREFIX: Final = " caused error: "
"""redis-py's words before a server's error in a pipeline."""


def server_time(client: redis.Redis) -> int:
    """Return the server's time in milliseconds since the epoch."""
    return to_milliseconds(client.time())


def to_milliseconds(time: tuple[int, int]) -> int:
    """Return the answer to ``TIME``, seconds and microseconds, in milliseconds."""
    seconds, micros = time
    return seconds * 1000 + micros // 1000


def is_unavailable(error: redis.RedisError) -> bool:
    """Return whether an error is the server's state: away, silent, full, busy, without rights, or no Redis at all.

    Any other error, such as a script's own or ``WRONGTYPE``, is a defect of ours.
    """
    return isinstance(error, _UNAVAILABLE) or _code(error) in _UNAVAILABLE_CODES or _NO_DATABASE in str(error)


def _code(error: redis.RedisError) -> str:
    """Return the first word of a server's answer."""
    return error.status_code or str(error).rpartition(_PIPELINE_PREFIX)[2].partition(" ")[0]


class ConnectionProblem(StrEnum):
    """Why a server is unavailable."""

    SILENT = "silent"
    """It does not answer, or cannot."""
    UNNAMED = "unnamed"
    """No Sentinel names it."""
    USER = "user"
    """It refuses the user or the password."""
    RIGHTS = "rights"
    MEMORY = "memory"
    """It is full."""
    REPLICA = "replica"
    """It takes no writes."""
    REPLICAS = "replicas"
    """It takes no writes: it has fewer replicas than it demands."""
    DISK = "disk"
    """It takes no writes: it cannot write its data to its disk."""
    DATABASE = "database"
    """It has no database of this number."""
    NOT_REDIS = "other-server"
    MEMBER = "cluster"
    """It is in cluster mode, which it did not report at the start."""
    CERTIFICATE = "certificate"


_PROBLEMS: Final = (
    (MasterNotFoundError, ConnectionProblem.UNNAMED),
    (redis.AuthenticationError, ConnectionProblem.USER),
    (NoPermissionError, ConnectionProblem.RIGHTS),
    (OutOfMemoryError, ConnectionProblem.MEMORY),
    (ReadOnlyError, ConnectionProblem.REPLICA),
    (InvalidResponse, ConnectionProblem.NOT_REDIS),
    (MovedError, ConnectionProblem.MEMBER),
)

_CODES: Final = {"NOREPLICAS": ConnectionProblem.REPLICAS, "MISCONF": ConnectionProblem.DISK}


def connection_problem(error: StoreUnavailableError) -> ConnectionProblem:
    cause = error.__cause__
    if _NO_DATABASE in str(cause):
        return ConnectionProblem.DATABASE
    if certificate_error(error):
        return ConnectionProblem.CERTIFICATE
    if isinstance(cause, redis.RedisError) and (problem := _CODES.get(_code(cause))):
        return problem
    return next((result for kind, result in _PROBLEMS if isinstance(cause, kind)), ConnectionProblem.SILENT)


def certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return the refused certificate behind an error, or ``None``."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def raise_translated(failed: redis.RedisError, *, nothing_ran: bool = False) -> NoReturn:
    """Raise `StoreUnavailableError` for a failure of Redis, and a defect of ours unchanged."""
    if is_unavailable(failed):
        raise StoreUnavailableError("The store does not answer, or refuses to.", nothing_ran=nothing_ran) from failed
    raise failed


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn a failure of Redis into `StoreUnavailableError`; leave a defect of ours unchanged."""
    try:
        yield
    except redis.RedisError as failed:
        raise_translated(failed)
