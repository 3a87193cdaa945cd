"""Connections to Redis: redis-py's for commands, a held socket for scripts; time limits, and what errors mean."""

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
    """The one that they know, where that is not their default user."""
    password: str | None = None
    """Theirs, where they ask for one."""


def connect(url: str, *, timeout: float, connect_timeout: float, sentinels: Sentinels | None = None) -> redis.Redis:
    """Return a client for a ``redis://``, ``rediss://`` or ``unix://`` address; opens no connection yet.

    With Sentinels the host in the address is the name under which they watch the primary; each new connection asks
    them where it is. Both time-outs in seconds. Nothing is ever sent again by the client: with redis-py's own retries
    a lost answer counted one wrong guess twice and turned an approval into ``already_approved``.
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
    of_sentinels = {name: value for name, value in settings.items() if name in limits or name.startswith("ssl_")}
    of_sentinels |= {"username": sentinels.user, "password": sentinels.password}
    of_sentinels |= {"socket_timeout": connect_timeout, "ssl": encrypted}
    manager = _Sentinels(sentinels.addresses, of_sentinels)
    primary: redis.Redis = manager.master_for(service, ssl=encrypted, **settings)  # type: ignore[no-untyped-call]
    return primary


class NoSentinelError(MasterNotFoundError):
    """No Sentinel answers: so none says that the primary is away."""


class PrimaryReplacedError(MasterNotFoundError):
    """Sentinels let a replica take the primary's place. If that was paused it may go on, and what it does is lost."""


@dataclass(frozen=True, slots=True)
class _Word:
    """What a Sentinel says of a primary."""

    address: tuple[str, int]
    epoch: int
    """Raised by each fail-over."""
    is_up: bool
    is_replaced: bool
    """By the Sentinel that says so; it names the former primary until all replicas follow the new one."""


class _Sentinels(Sentinel):
    """Takes the newest word of all Sentinels: the one that replaces a primary knows of it seconds before the others."""

    def __init__(self, addresses: Sequence[tuple[str, int]], settings: Mapping[str, Any]) -> None:
        """Take them, and the settings of a client of theirs."""
        super().__init__(addresses, sentinel_kwargs=settings)  # type: ignore[no-untyped-call]
        self.naming: Sequence[redis.Redis] = self.sentinels
        """Those that named the primary when one was last named."""
        self._silent: dict[redis.Redis, float] = {}
        """Until when each that was silent is left out, by the monotonic clock."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return host and port of the primary.

        Raises `NoSentinelError`, `PrimaryReplacedError`, and `MasterNotFoundError` where those that answer name none.
        """
        problems: list[str] = []
        now = time.monotonic()
        left_out = [sentinel for sentinel in self.sentinels if now < self._silent.get(sentinel, 0.0)]
        reachable = [sentinel for sentinel in self.sentinels if sentinel not in left_out]
        answers = self._ask(reachable, service_name, problems) or self._ask(left_out, service_name, problems)
        if not answers:
            raise NoSentinelError(f"No Sentinel answers: {'; '.join(problems)}")
        newest = max((word.epoch for word in answers.values() if word), default=0)
        words = {sentinel: word for sentinel, word in answers.items() if word and word.epoch == newest}
        replaced = {word.address for word in words.values() if word.is_replaced}
        named = {word.address for word in words.values() if word.is_up} - replaced
        if not named:
            kind = PrimaryReplacedError if replaced else MasterNotFoundError
            raise kind(f"Sentinels name no primary for {service_name!r}.")
        address = min(named)  # one server, that some know by its name and others by its address
        self.naming = [sentinel for sentinel, word in words.items() if word.address == address]
        return address

    def _ask(
        self, sentinels: Iterable[redis.Redis], service_name: str, problems: list[str]
    ) -> dict[redis.Redis, _Word | None]:  # fmt: skip
        """Return the word of each that answers, ``None`` where it does not watch that primary."""
        answers: dict[redis.Redis, _Word | None] = {}
        for sentinel in sentinels:
            if sentinel in self._silent:  # while this thread waits for it, others do not
                self._silent[sentinel] = time.monotonic() + _SILENT
            was_silent = False
            try:
                masters: Any = sentinel.sentinel_masters()
                answers[sentinel] = self._word(state) if (state := masters.get(service_name)) else None
            except (redis.RedisError, AttributeError, KeyError, TypeError) as problem:  # or it is something else
                settings = sentinel.get_connection_kwargs()
                problems.append(f"{settings['host']}:{settings['port']}: {problem}")
                was_silent = isinstance(problem, redis.TimeoutError)
            if was_silent:
                self._silent[sentinel] = time.monotonic() + _SILENT
            else:
                self._silent.pop(sentinel, None)
        return answers

    def _word(self, state: Mapping[str, Any]) -> _Word:
        is_up = self.check_master_state(state, "")  # type: ignore[no-untyped-call]
        is_replaced = "failover_in_progress" in state["flags"]
        return _Word((state["ip"], state["port"]), state["config-epoch"], is_up, is_replaced)


_SILENT: Final = 5.0
"""Seconds for which a Sentinel that was silent is not waited for again."""


def primary_address(client: redis.Redis) -> tuple[str, int]:
    """Return where Sentinels say that the primary is.

    Raises `ValueError` for a client that asks none, and as `_Sentinels.discover_master` does.
    """
    host, port = _sentinel_pool(client).get_master_address()  # type: ignore[no-untyped-call]
    return host, port


def present_primary(client: redis.Redis) -> redis.Redis:
    """Return a client for the server that is the primary now, also when it will be one no more.

    Raises as `primary_address` does.
    """
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
    """Tell from ``INFO replication`` whether a server is a replica that receives what is written."""
    return bool(replication["role"] == "slave" and replication.get("master_link_status") == "up")


def had_no_more(replication: Mapping[str, Any], former: str) -> bool:
    """Tell from ``INFO replication`` whether a replica had no more of a former history than its primary.

    A replica that had more copies everything anew, and then names no former history. One that was started from a copy
    names the history of the copy, but its backlog holds nothing of it: it may have had more.
    """
    backlog_begins = replication["repl_backlog_first_byte_offset"]
    holds = replication["repl_backlog_active"] and backlog_begins < replication["second_repl_offset"]
    return bool(holds and replication["master_replid2"] == former)


def _client_of(client: redis.Redis, host: str, port: int) -> redis.Redis:
    """Return a client for a server that Sentinels know."""
    settings = _sentinel_pool(client).connection_kwargs
    options = {name: value for name, value in settings.items() if name != "connection_pool"}
    kind = redis.SSLConnection if is_encrypted(client) else redis.Connection
    return redis.Redis(connection_pool=redis.ConnectionPool(kind, **{**options, "host": host, "port": port}))


def begin_failover(client: redis.Redis) -> None:
    """Ask Sentinels to let a replica take over once it has all that was written. Needs Valkey 9.

    Raises `ValueError` where they refuse, as where they have no replica, are too few or older; or where there are none.
    """
    pool = _sentinel_pool(client)
    sentinel = pool.sentinel_manager.naming[0]
    try:
        sentinel.execute_command("SENTINEL CKQUORUM", pool.service_name)  # begun in vain, it interrupts the service
        sentinel.execute_command("SENTINEL FAILOVER", pool.service_name, "COORDINATED")
    except ResponseError as refused:
        raise ValueError(f"The Sentinel refuses: {refused}") from refused


def begin_failover_to(replica: redis.Redis) -> None:
    """Let a replica of a cluster take over once it has all that was written. Raises `ValueError` where it refuses."""
    try:
        replica.execute_command("CLUSTER FAILOVER")  # type: ignore[no-untyped-call]
    except ResponseError as refused:
        raise ValueError(f"The replica refuses: {refused}") from refused


def is_encrypted(client: redis.Redis) -> bool:
    """Tell whether a client uses TLS."""
    return issubclass(client.connection_pool.connection_class, redis.SSLConnection)


def has_sentinels(client: redis.Redis) -> bool:
    """Tell whether a client asks Sentinels where the primary is."""
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
"""Of a cluster's server that has not the slot: they tell which one has."""
_ERR_CLASSES: Final = (
    ("ERR max number of clients", redis.ConnectionError),
    ("ERR AUTH", AuthenticationError),  # there is no password to be given
)


class Connection:
    """A connection to a server, for one thread; opened, and opened again when the server has closed it.

    It speaks RESP 2, as redis-py would with `hiredis`. A plain socket's time limit is the kernel's, which costs no
    call; `redis.Redis` asks for each answer whether it is there, and that takes longer than the server's work.
    """

    def __init__(self, client: redis.Redis, address: tuple[str, int] | None = None) -> None:
        """Take a client for its credentials, time limits and, if no ``address`` is given, its own."""
        self._client = client
        self._address = address
        self._settings = client.get_connection_kwargs()
        self._encrypted = is_encrypted(client)
        self._socket: socket.socket | None = None
        self.asked = False
        """Whether the last question may have been sent."""
        self._unread = 0
        """Answers without a reader: they come before the next one."""
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._readable = select.poll()

    def ask(self, *command: Argument) -> Any:  # noqa: ANN401 - whatever the server answers
        """Return the answer to a command. Raises redis-py's exceptions: `ResponseError` and those above it are answers.

        After any other one the connection must be closed: an answer that comes late would be taken for another's.
        """
        return self._answer(self._connected(), hiredis.pack_command(command))  # type: ignore[arg-type]

    def ask_all(self, *commands: tuple[Argument, ...]) -> list[Any]:
        """Return the answers to commands that are sent together, an error of the server as its exception."""
        self.write(*commands)
        return self.read(len(commands))

    def write(self, *commands: tuple[Argument, ...]) -> None:
        """Send commands, whose answers are to be received next. Raises as `ask` does."""
        opened = self._connected()
        packed = b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]
        try:
            opened.sendall(packed)
        except OSError as failed:
            raise _as_redis_error(failed) from failed

    def write_only(self, *commands: tuple[Argument, ...]) -> None:
        """Send commands, and wait for no answer: what became of them is not told. Raises as `ask` does."""
        self.write(*commands)
        self._unread = len(commands)

    def read(self, count: int, *, wait: bool = True) -> list[Any]:
        """Return so many answers to what was sent, an error of the server as its exception. Raises as `ask` does.

        Unless they are to be waited for, a server is silent of whose answers nothing has come yet.
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
        """Return the descriptor of an open connection, to wait for answers."""
        return self._readable_socket().fileno()

    def end_sending(self) -> None:
        """Have the server end the connection: it sends the answers that it has, and none later."""
        with suppress(OSError):
            socket.socket.shutdown(self._readable_socket(), socket.SHUT_WR)  # without TLS' own farewell

    def read_to_end(self) -> list[Any]:
        """Return the answers that come before the end of the connection, and close it."""
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
        """Whether it was opened, and not closed from here."""
        return self._socket is not None

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None
        self._unread = 0

    def __del__(self) -> None:
        """Close the connection when the thread that held it has gone: it must not refer to itself."""
        self.close()

    def _connected(self) -> socket.socket:
        """Return the socket, a new one where there is none, or the server has closed it.

        Nothing was asked, so what can be read is the end; but for answers without a reader.
        """
        self.asked = False
        if self._unread:
            try:
                self.read(self._unread)
            except redis.ConnectionError:  # what is asked now was not sent yet
                self.close()
            self._unread = 0
        if self._socket is not None and self._readable.poll(0):
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
            opened = _limited(self._encrypt(_dial(settings), settings), settings.get("socket_timeout"))
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
        """See that a server that has answered is still the primary: it may have been paused, and replaced meanwhile."""
        if primary_address(self._client) != address:
            raise redis.ConnectionError("Sentinels name another primary by now.")

    def _introduce(self, opened: socket.socket) -> None:
        """Say who asks, and for which database; then do what is done first."""
        settings = self._settings
        commands: list[tuple[Argument, ...]] = [("CLIENT", "SETNAME", CLIENT_NAME)]
        if password := settings.get("password"):
            user = settings.get("username")
            commands.insert(0, ("AUTH", *((user, password) if user else (password,))))
        if database := settings.get("db"):
            commands.append(("SELECT", database))
        for command in commands:  # not by `ask`: what TLS sends first can be read, and is not the end
            self._answer(opened, hiredis.pack_command(command))  # type: ignore[arg-type]
        self._begin()

    def _begin(self) -> None:
        """Do what is done first on each new connection: nothing, unless a subclass does."""

    def _encrypt(self, dialled: socket.socket, settings: Mapping[str, Any]) -> socket.socket:
        if not self._encrypted:
            return dialled
        context = ssl.create_default_context(cafile=settings.get("ssl_ca_certs"))
        demand = settings.get("ssl_cert_reqs", "required")
        context.check_hostname = demand != "none"
        context.verify_mode = ssl.VerifyMode[f"CERT_{demand.upper()}"]
        if certificate := settings.get("ssl_certfile"):
            context.load_cert_chain(certificate, settings.get("ssl_keyfile"))
        return context.wrap_socket(dialled, server_hostname=settings["host"])

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
    """Return what a connection fails with as redis-py's exception."""
    if isinstance(failed, (BlockingIOError, TimeoutError)):
        return redis.TimeoutError("The server did not answer in time.")
    if isinstance(failed, OSError):
        return redis.ConnectionError("The connection was lost.")
    return InvalidResponse("This is no answer of Redis.")


def _error(text: str) -> redis.RedisError:
    """Return an error that the server answered as redis-py's exception."""
    code, _, rest = text.partition(" ")
    if redirection := _REDIRECTIONS.get(code):
        return redirection(rest)
    fallback = next((kind for beginning, kind in _ERR_CLASSES if text.startswith(beginning)), ResponseError)
    return _CLASSES.get(code, fallback)(text)


def _dial(settings: Mapping[str, Any]) -> socket.socket:
    """Return a connected socket."""
    limit = settings.get("socket_connect_timeout")
    if path := settings.get("path"):
        dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        dialled.settimeout(limit)
        dialled.connect(path)
        return dialled
    dialled = socket.create_connection((settings["host"], settings["port"]), limit)
    dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return dialled


def _limited(opened: socket.socket, seconds: float | None) -> socket.socket:
    """Return a socket whose sending and receiving end after so many seconds."""
    if seconds is None or isinstance(opened, ssl.SSLSocket):  # encrypted, reading goes on after the kernel's limit
        opened.settimeout(seconds)
        return opened
    opened.settimeout(None)
    limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    return opened


PAUSE = 0.5
"""Seconds after a time-out without a question."""
_PROBE = 2.0
"""Seconds in which a single thread asks; longer than connecting and waiting for an answer, which ends
them."""


class FailFast:
    """Refuses at once while the server does not answer.

    Otherwise every request would wait for a time-out of its own, in turn on the few threads of a process.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._turn = threading.Lock()
        self.silences = 0
        """How often the server did not answer: a connection from before leads to what may be the primary no more."""

    def check(self) -> None:
        """Raise `StoreUnavailableError` while the server is silent, except for the one that asks again."""
        if not self._until:
            return
        with self._turn:
            if not self._until:  # the thread that had the turn was answered
                return
            now = time.monotonic()
            if now < self._until:
                raise StoreUnavailableError("The store does not answer.", nothing_ran=True)
            self._until = now + _PROBE

    @property
    def is_silent(self) -> bool:
        """Whether the last question got no answer in time."""
        return self._until > 0

    def trip(self) -> None:
        """Note that a question got no answer in time."""
        self._until = time.monotonic() + PAUSE
        self.silences += 1

    def reset(self) -> None:
        """Note that there was an answer, or that the server told at once that there will be none."""
        self._until = 0.0


_UNAVAILABLE: Final = (
    AskError,  # `MovedError`, too; of a slot that is moved key by key, in which a key that is derived may look absent
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
"""First words of answers that redis-py has no class for. ``NOGROUP``: the server has lost its data."""
_PIPELINE_PREFIX: Final = " caused error: "
"""What redis-py puts before the server's own words when a command of a pipeline fails."""


def server_time(client: redis.Redis) -> int:
    """Return the server's time in milliseconds since the epoch."""
    return to_milliseconds(client.time())


def to_milliseconds(time: tuple[int, int]) -> int:
    """Return what ``TIME`` answers, seconds and microseconds, in milliseconds."""
    seconds, micros = time
    return seconds * 1000 + micros // 1000


def is_unavailable(error: redis.RedisError) -> bool:
    """Tell whether an error is about the server's state: away, silent, full, busy, not letting us, or no Redis at all.

    Any other, such as a script's own or ``WRONGTYPE``, is a defect of ours: it must stay loud.
    """
    return isinstance(error, _UNAVAILABLE) or _code(error) in _UNAVAILABLE_CODES or _NO_DATABASE in str(error)


def _code(error: redis.RedisError) -> str:
    """Return the first word of a server's answer."""
    return error.status_code or str(error).rpartition(_PIPELINE_PREFIX)[2].partition(" ")[0]


class ConnectionProblem(StrEnum):
    """What keeps us from a server."""

    SILENT = "silent"
    """It does not answer, or is not able to."""
    UNNAMED = "unnamed"
    """No Sentinel names it."""
    USER = "user"
    """It does not know the user, or not with this password."""
    RIGHTS = "rights"
    """The user may not do this."""
    MEMORY = "memory"
    """It is full."""
    REPLICA = "replica"
    """It takes no writes."""
    REPLICAS = "replicas"
    """It has fewer replicas than it demands, and takes no writes."""
    DISK = "disk"
    """It cannot write its data to its disk, and takes no writes."""
    DATABASE = "database"
    """It has no database of this number."""
    NOT_REDIS = "other-server"
    """It is no Redis."""
    MEMBER = "cluster"
    """It is in cluster mode, which it did not report at the start."""
    CERTIFICATE = "certificate"
    """Its certificate is refused."""


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
"""First words of answers that redis-py has no class for."""


def connection_problem(error: StoreUnavailableError) -> ConnectionProblem:
    """Return why the store was not available."""
    cause = error.__cause__
    if _NO_DATABASE in str(cause):
        return ConnectionProblem.DATABASE
    if certificate_error(error):
        return ConnectionProblem.CERTIFICATE
    if isinstance(cause, redis.RedisError) and (problem := _CODES.get(_code(cause))):
        return problem
    return next((result for kind, result in _PROBLEMS if isinstance(cause, kind)), ConnectionProblem.SILENT)


def certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return the refusal of a certificate that led to an error; ``None`` where none did."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def raise_translated(failed: redis.RedisError, *, nothing_ran: bool = False) -> NoReturn:
    """Raise `StoreUnavailableError` for a failure of Redis, and a defect of ours as it is."""
    if is_unavailable(failed):
        raise StoreUnavailableError("The store does not answer, or refuses to.", nothing_ran=nothing_ran) from failed
    raise failed


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn a failure of Redis into `StoreUnavailableError`; leave a defect of ours as it is."""
    try:
        yield
    except redis.RedisError as failed:
        raise_translated(failed)
