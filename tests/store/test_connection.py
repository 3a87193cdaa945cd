"""The held connection speaks to any server that redis-py speaks to, and says the same of what goes wrong."""

import contextlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from support_sentinel import wait_until
from support_tls import make_certificate
from support_valkey import ValkeyServer

from otp_service.store.connection import Connection, connect

LIMIT = 0.3


def to(url: str) -> Connection:
    return Connection(connect(url, timeout=LIMIT, connect_timeout=LIMIT))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that also listens on a Unix socket; it will not be treated well."""
    server = ValkeyServer(tmp_path, options=("--unixsocket", str(tmp_path / "socket")))
    yield server
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.process.pid, signal.SIGCONT)
    server.stop(kill=True)


@pytest.mark.parametrize("answer", [b"x" * 10, b"x" * 3_000_000, b"\r\n$-1\r\n\0\xff", b""])
def test_what_was_written_is_read(valkey: ValkeyServer, answer: bytes) -> None:
    connection = to(valkey.url)

    assert connection.ask("SET", "name", answer) == b"OK"
    assert connection.ask("GET", "name") == answer
    assert connection.ask("MGET", "name", "other") == [answer, None]
    assert connection.ask("STRLEN", "name") == len(answer)


def test_answers_that_nobody_waits_for_are_taken_for_no_others(valkey: ValkeyServer) -> None:
    connection = to(valkey.url)
    connection.write_only(("SET", "name", "x"), ("LPUSH", "name", "is no list"), ("APPEND", "name", "y"))
    connection.write_only(("APPEND", "name", "z"))

    assert connection.ask("GET", "name") == b"xyz"
    assert connection.ask_all(("STRLEN", "name"), ("PING",)) == [3, b"PONG"]


def test_where_the_server_closed_before_it_answered_what_is_asked_next_is_asked_anew(valkey: ValkeyServer) -> None:
    connection = to(valkey.url)
    client = str(connection.ask("CLIENT", "ID"))
    connection.write_only(("SET", "name", "x"), ("QUIT",))
    wait_until(lambda: client not in [one["id"] for one in valkey.client.client_list()])
    connection.write_only(("APPEND", "name", "y"))

    assert connection.ask("GET", "name") == b"xy"


def test_a_database_a_user_and_a_unix_socket(own_server: ValkeyServer, tmp_path: Path) -> None:
    own_server.client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
    for address in (f"127.0.0.1:{own_server.port}/3", f"{tmp_path / 'socket'}?db=3"):
        scheme = "unix" if address.startswith("/") else "redis"
        connection = to(f"{scheme}://app:secret@{address}")

        assert connection.ask("ACL", "WHOAMI") == b"app"
        assert b" db=3 " in connection.ask("CLIENT", "INFO")
        assert connection.ask("CLIENT", "GETNAME") == b"otp-service"


def test_a_password_alone(own_server: ValkeyServer) -> None:
    own_server.client.config_set("requirepass", "secret")

    assert to(f"redis://:secret@127.0.0.1:{own_server.port}").ask("PING") == b"PONG"
    for url in (f"redis://:wrong@127.0.0.1:{own_server.port}", f"redis://127.0.0.1:{own_server.port}"):
        with pytest.raises(redis.AuthenticationError):
            to(url).ask("PING")


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("GET",), redis.ResponseError),
        (("LPUSH", "text", "x"), redis.ResponseError),
        (("SELECT", "99"), redis.ResponseError),
    ],
)
def test_an_error_is_an_answer_and_the_connection_goes_on(valkey: ValkeyServer, command, error) -> None:
    connection = to(valkey.url)
    connection.ask("SET", "text", "x")
    with pytest.raises(error) as ours:
        connection.ask(*command)
    with pytest.raises(error) as theirs:
        valkey.client.execute_command(*command)

    assert type(ours.value) is type(theirs.value)
    assert connection.ask("PING") == b"PONG"


def test_a_server_that_takes_no_more_connections_is_away(own_server: ValkeyServer) -> None:
    own_server.client.ping()
    own_server.client.config_set("maxclients", 1)

    with pytest.raises(redis.ConnectionError):
        to(own_server.url).ask("PING")


def test_a_server_that_may_not_be_written_to(own_server: ValkeyServer) -> None:
    own_server.client.replicaof("127.0.0.1", 1)
    connection = to(own_server.url)

    with pytest.raises(redis.exceptions.ReadOnlyError):
        connection.ask("SET", "a", "b")


def test_a_silent_server_is_left_after_the_time_limit(own_server: ValkeyServer) -> None:
    held = to(own_server.url)
    held.ask("PING")
    os.kill(own_server.process.pid, signal.SIGSTOP)
    for connection in (held, to(own_server.url)):
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            connection.ask("PING")
        assert LIMIT * 0.9 < time.monotonic() - began < 3 * LIMIT
        connection.close()
    os.kill(own_server.process.pid, signal.SIGCONT)

    assert held.ask("PING") == b"PONG"


def test_a_command_that_the_server_does_not_take_ends_after_the_time_limit(own_server: ValkeyServer) -> None:
    connection = to(own_server.url)
    connection.ask("PING")
    os.kill(own_server.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        connection.ask("SET", "large", b"x" * 20_000_000)

    assert time.monotonic() - began < 10 * LIMIT


def test_a_connection_that_was_closed_meanwhile_is_opened_again(own_server: ValkeyServer) -> None:
    connection = to(own_server.url)
    own_server.client.set("name", "kept")
    for _ in range(3):
        assert connection.ask("GET", "name") == b"kept"
        own_server.client.client_kill_filter(_type="normal", skipme=True)


@pytest.mark.parametrize("written", [b"", b"$5\r\nab", b"*2\r\n:1\r\n"])
def test_half_an_answer_is_none(written: bytes) -> None:
    with _answering(written) as port, pytest.raises(redis.ConnectionError):
        to(f"redis://127.0.0.1:{port}").ask("PING")


def test_what_is_no_answer_of_redis() -> None:
    with _answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, pytest.raises(redis.exceptions.InvalidResponse):
        to(f"redis://127.0.0.1:{port}").ask("PING")


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(redis.ConnectionError):
        to("redis://nowhere.invalid:1").ask("PING")


@contextlib.contextmanager
def _answering(text: bytes) -> Iterator[int]:
    """Serve one connection with this text, whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            taken, _ = listener.accept()
            with taken:
                taken.recv(1000)
                taken.sendall(text)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


# --- TLS --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def _encrypted(server: ValkeyServer, certificate: Path, *, of_clients: bool = False) -> Iterator[int]:
    """Serve a Valkey over TLS, until the context ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if of_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, server.port), daemon=True).start()
        yield listener.getsockname()[1]


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            taken, _ = listener.accept()
            threading.Thread(target=_pass_on, args=(taken, context, port), daemon=True).start()


def _pass_on(taken: socket.socket, context: ssl.SSLContext, port: int) -> None:
    """Answer one connection: commands come one by one, so each answer is passed on before the next is read."""
    with (
        contextlib.suppress(OSError),
        context.wrap_socket(taken, server_side=True) as client,
        socket.create_connection(("127.0.0.1", port)) as server,
    ):
        while asked := client.recv(65536):
            server.sendall(asked)
            client.sendall(server.recv(65536))


def test_tls_with_the_authority_that_is_named(valkey: ValkeyServer, certificate: Path) -> None:
    with _encrypted(valkey, certificate) as port:
        connection = to(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")

        assert [connection.ask("ECHO", str(turn)) for turn in range(20)] == [str(turn).encode() for turn in range(20)]
        assert valkey.client.client_list()
        unverified = to(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none")
        assert unverified.ask("PING") == b"PONG"


def test_tls_with_a_certificate_of_the_clients_own(valkey: ValkeyServer, certificate: Path) -> None:
    with _encrypted(valkey, certificate, of_clients=True) as port:
        own = f"ssl_certfile={certificate}&ssl_keyfile={certificate}"

        assert to(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}&{own}").ask("PING") == b"PONG"
        with pytest.raises(redis.ConnectionError):
            to(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}").ask("PING")


def test_tls_refuses_a_strangers_certificate_and_another_name(valkey: ValkeyServer, certificate: Path) -> None:
    with _encrypted(valkey, certificate) as port:
        for url in (f"rediss://127.0.0.1:{port}", f"rediss://localhost:{port}?ssl_ca_certs={certificate}"):
            with pytest.raises(redis.ConnectionError):
                to(url).ask("PING")


def test_tls_with_a_silent_server_ends_after_the_time_limit(own_server: ValkeyServer, certificate: Path) -> None:
    with _encrypted(own_server, certificate) as port:
        connection = to(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
        connection.ask("PING")
        os.kill(own_server.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            connection.ask("PING")

        assert time.monotonic() - began < 3 * LIMIT
